-- Three more kinds of opinions: decision processes, ranked responses, the record of the ratings. What was written before
-- stays valid; it is checked by the next migration, which does not keep others from reading and writing.

alter table ledger
    drop constraint ledger_kind_check,
    add constraint ledger_kind_check check (
        kind in (
            'signal', 'rating', 'ranking', 'ranks', 'forecast', 'predictability', 'process', 'responses', 'rating_record'
        )
    ) not valid;

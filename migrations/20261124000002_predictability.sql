-- A sixth kind of opinion: whether anything about an instrument can be predicted. What was written before stays valid.

alter table ledger
    drop constraint ledger_kind_check,
    add constraint ledger_kind_check
        check (kind in ('signal', 'rating', 'ranking', 'ranks', 'forecast', 'predictability'));

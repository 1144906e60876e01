-- Scores: how each published answer came out, written once when its horizon has matured, never changed.

create table scores (
    sequence bigint constraint scores_pkey primary key constraint scores_sequence_fkey references ledger,
    publication uuid not null constraint scores_publication_fkey references publications,
    as_of date not null,
    horizon text not null,
    symbol text,
    matured_on date not null,
    counted boolean not null,
    left_out text,
    measures jsonb,
    reason text,
    known_until timestamptz not null,
    recorded_until timestamptz not null,
    code_version text not null,
    scored_at timestamptz not null default clock_timestamp(),
    constraint scores_left_out_check check (counted = (left_out is null)),
    constraint scores_measures_check check ((measures is null) = (reason is not null)),
    constraint scores_matured_on_check check (matured_on > as_of)
);
comment on column scores.sequence is 'The forecast that was scored, together with the signal and the ranks beside it; of the whole universe the ranks.';
comment on column scores.left_out is 'Why it is not part of the track record: late, or not the first publication of its day.';
comment on column scores.reason is 'Why there are no numbers.';
comment on column scores.known_until is 'What happened was taken from the rows that passed these two cutoffs; later revisions never score anew.';
create index scores_series_index on scores (coalesce(symbol, ''), horizon, as_of);

grant select, insert on scores to forecastd_service;

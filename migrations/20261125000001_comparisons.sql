-- What a model's rewards were learnt from: one comparison of two responses a line. Written with the model, never changed.

create table comparison_data (
    model_id text constraint comparison_data_pkey primary key
        constraint comparison_data_model_id_fkey references models,
    recorded_at timestamptz not null default clock_timestamp(),
    rows integer not null,
    lines bytea not null,
    constraint comparison_data_rows_check check (rows >= 0)
);
comment on column comparison_data.lines is 'JSON lines (UTF-8), one comparison each; the server compresses them.';

grant select, insert on comparison_data to forecastd_service;

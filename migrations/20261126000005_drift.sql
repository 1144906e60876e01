-- Drift: how far the features have left the span that the model in force was trained on, and how old the rows are. Reports
-- are written once and never changed; the newest is in force.

create table drift_reports (
    report_id bigint generated always as identity constraint drift_reports_pkey primary key,
    as_of date not null,
    model_id text,
    reported_at timestamptz not null,
    recorded_at timestamptz not null default clock_timestamp(),
    universe jsonb not null,
    alarms jsonb not null,
    train_job_id uuid
);
comment on column drift_reports.model_id is 'The model in force; null before the first. No reference, for a model may be removed later.';
comment on column drift_reports.reported_at is 'The time of the service, which may be rehearsed; recorded_at is the store''s.';
comment on column drift_reports.train_job_id is 'The training that its alarms asked for.';
create index drift_reports_trained_index on drift_reports (reported_at) where train_job_id is not null;

create table drift_instruments (
    report_id bigint not null constraint drift_instruments_report_id_fkey references drift_reports,
    symbol text not null,
    as_of date not null,
    measures jsonb not null,
    constraint drift_instruments_pkey primary key (report_id, symbol)
);
comment on column drift_instruments.measures is 'What /instruments/{symbol} shows as drift: opinion::drift::InstrumentDrift.';

grant select, insert on drift_reports, drift_instruments to forecastd_service;

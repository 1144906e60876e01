-- Jobs: what was asked for, by whom or by which slot of the schedule, how far it is, how it ended. The queue itself is the
-- library's (schema forecastd_queue); this is the record that stays, and the lease that admits one run to effect.

create table jobs (
    job_id uuid constraint jobs_pkey primary key,
    kind text not null,
    slot text,
    reason text not null,
    arguments jsonb not null,
    priority smallint not null,
    max_attempts smallint not null,
    created_at timestamptz not null default clock_timestamp(),
    state text not null default 'queued',
    attempts smallint not null default 0,
    worker text,
    started_at timestamptz,
    renewed_at timestamptz,
    finished_at timestamptz,
    cancel_requested_at timestamptz,
    progress jsonb,
    error text,
    result jsonb,
    constraint jobs_kind_slot_key unique (kind, slot),
    constraint jobs_kind_check check (length(kind) between 1 and 32),
    constraint jobs_max_attempts_check check (max_attempts between 1 and 100),
    constraint jobs_state_check check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'skipped'))
);
comment on column jobs.slot is 'What the job is for, such as the instant of its schedule; one job a kind and slot, however many ask.';
comment on column jobs.attempts is 'Runs begun. The newest holds the lease: a transaction of an older one finds another number and gives up.';
create index jobs_created_index on jobs (created_at, job_id);
create index jobs_state_index on jobs (state) where state in ('queued', 'running');

create table job_attempts (
    job_id uuid not null constraint job_attempts_job_id_fkey references jobs,
    attempt smallint not null,
    worker text not null,
    started_at timestamptz not null,
    finished_at timestamptz not null default clock_timestamp(),
    outcome text not null,
    error text,
    constraint job_attempts_pkey primary key (job_id, attempt),
    constraint job_attempts_outcome_check check (outcome in ('succeeded', 'failed', 'cancelled', 'lost', 'stopped'))
);
comment on table job_attempts is 'How each run of a job ended; lost is one whose worker was never heard of again, stopped one whose worker was told to end.';

create table schedules (
    kind text constraint schedules_pkey primary key,
    reached timestamptz not null
);
comment on column schedules.reached is 'The newest slot that was asked for or skipped; a new schedule begins when it is first kept.';

grant select, insert on jobs, job_attempts, schedules to forecastd_service;
grant update (state, attempts, max_attempts, worker, started_at, renewed_at, finished_at, cancel_requested_at, progress, error, result)
    on jobs to forecastd_service;
grant update (reached) on schedules to forecastd_service;

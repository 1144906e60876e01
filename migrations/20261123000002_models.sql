-- Models: what was trained, from what, and how it scored. Immutable: an entry of the ledger names its model for good.

create table models (
    model_id text constraint models_pkey primary key,
    recorded_at timestamptz not null default clock_timestamp(),
    trained_until date not null,
    known_until timestamptz not null,
    recorded_until timestamptz not null,
    recipe jsonb not null,
    seed bigint not null,
    data_hash bytea not null,
    code_version text not null,
    state bytea not null,
    artifact bytea,
    sha256 bytea not null,
    scores jsonb not null,
    constraint models_data_hash_check check (length(data_hash) = 32),
    constraint models_sha256_check check (length(sha256) = 32)
);
comment on column models.state is 'JSON: fitted benchmarks, conformal maps and the decision, head by head, of what is served.';
comment on column models.artifact is 'Weights (safetensors); null when only benchmarks were fitted.';
comment on column models.sha256 is 'SHA-256 of the artifact followed by the state, both as stored.';

create table trainings (
    training_id bigint generated always as identity constraint trainings_pkey primary key,
    model_id text not null constraint trainings_model_id_fkey references models,
    finished_at timestamptz not null default clock_timestamp()
);
comment on table trainings is 'One row a finished training; the newest names the model in force. The same rows and recipe give the same model again.';

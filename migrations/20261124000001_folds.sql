-- Folds: the networks that a recipe would have trained at past refits, and what they said of later days, out of sample.
-- Written once and never changed: the record that the gate judges a recipe by.

create table folds (
    fold_id bytea constraint folds_pkey primary key,
    recipe bytea not null,
    refit_day date not null,
    recorded_at timestamptz not null default clock_timestamp(),
    artifact bytea not null,
    artifact_sha256 bytea not null,
    constraint folds_fold_id_check check (length(fold_id) = 32),
    constraint folds_recipe_check check (length(recipe) = 32),
    constraint folds_artifact_sha256_check check (length(artifact_sha256) = 32)
);
comment on column folds.fold_id is 'SHA-256 over the recipe, the refit day and every feature and target of the training rows.';
comment on column folds.artifact is 'Weights (safetensors).';

create table fold_forecasts (
    fold_id bytea not null constraint fold_forecasts_fold_id_fkey references folds,
    day date not null,
    recorded_at timestamptz not null default clock_timestamp(),
    symbols text[] not null,
    outputs real[] not null,
    constraint fold_forecasts_pkey primary key (fold_id, day)
);
comment on column fold_forecasts.outputs is 'One output row of the ensemble a symbol, one after the other, before any share.';

create table kept_back (
    kept_back_id bigint generated always as identity constraint kept_back_pkey primary key,
    model_id text not null constraint kept_back_model_id_fkey references models,
    decided_at timestamptz not null default clock_timestamp(),
    reason text not null
);
comment on table kept_back is 'Trainings whose model was not put in force, and why; what was in force stayed.';

grant select, insert on folds, fold_forecasts, kept_back to forecastd_service;
grant usage on all sequences in schema public to forecastd_service;

-- The registry: which model answers, since when, by whom and why, as a record that only grows; where models came from;
-- and how the weights of models that nothing names are let go.

-- Every row of trainings put a model in force, and so does every row of promotions: the table goes on under the new name.
-- Versions before this one read and write it under the old one, and see what operators decide by this one.
alter table trainings rename to promotions;
alter table promotions rename column training_id to promotion_id;
alter table promotions rename column finished_at to promoted_at;
alter table promotions rename constraint trainings_pkey to promotions_pkey;
alter table promotions rename constraint trainings_model_id_fkey to promotions_model_id_fkey;
alter sequence trainings_training_id_seq rename to promotions_promotion_id_seq;
create view trainings as select promotion_id as training_id, model_id, promoted_at as finished_at from promotions;
comment on view trainings is 'Promotions as versions before the registry know them: they read it, and a training of theirs writes into it.';

alter table promotions
    add column by text not null default 'training',
    add column reason text not null default 'trained',
    add column forced boolean not null default false,
    add column previous_model_id text constraint promotions_previous_model_id_fkey references models,
    add column code_version text,
    add constraint promotions_by_check check (by in ('training', 'command') or by like 'operator _%'),
    add constraint promotions_reason_check check (length(reason) between 1 and 500);
update promotions p set code_version = m.code_version from models m where m.model_id = p.model_id;
update promotions p set previous_model_id = b.before
from (
    select promotion_id, lag(model_id) over (partition by code_version order by promotion_id) as before from promotions
) b
where b.promotion_id = p.promotion_id;
alter table promotions alter column code_version set not null;
create index promotions_model_id_index on promotions (model_id, promotion_id);
create index promotions_code_version_index on promotions (code_version, promotion_id);
comment on table promotions is 'Which model answers: the newest row of a code version names its model in force. Rows are only added.';
comment on column promotions.by is 'training; command, at a command line; operator NAME, with the key of that name.';
comment on column promotions.forced is 'Put in force although its training had kept it back.';
comment on column promotions.previous_model_id is 'What this code version had in force before.';

alter table models
    add column parent text constraint models_parent_fkey references models,
    add column pruned_at timestamptz;
update models m set parent = (
    select p.model_id from promotions p
    where p.code_version = m.code_version and p.promoted_at < m.recorded_at
    order by p.promotion_id desc limit 1
);
comment on column models.parent is 'What this code version had in force when the model was stored.';
comment on column models.pruned_at is 'Since when artifact and state are gone (null and empty); sha256 still says what they were.';

-- The model in force: the one that this version of the code promoted last, or any version if this one has none.
create function model_in_force(version text) returns text language sql stable as $$
    select p.model_id from promotions p order by (p.code_version = version) desc, p.promotion_id desc limit 1
$$;

-- One promotion at a time, so that each knows what it replaces, in the order of promotion_id. It counts as recording, as
-- rows of history do: after a cutoff no promotion from before it comes to light, and a replay finds the same ones again.
create function begin_promotion() returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(28832984742453505);
    perform pg_advisory_xact_lock(28832984742453507);
end
$$;
create function promotions_begin() returns trigger language plpgsql as $$
begin
    perform begin_promotion();
    return null;
end
$$;
create function promotions_complete() returns trigger language plpgsql as $$
begin
    new.code_version := (select m.code_version from models m where m.model_id = new.model_id);
    new.previous_model_id := (
        select p.model_id from promotions p where p.code_version = new.code_version order by p.promotion_id desc limit 1
    );
    perform pg_notify('forecastd_promoted', new.model_id);
    return new;
end
$$;
create function models_complete() returns trigger language plpgsql as $$
begin
    new.parent := (
        select p.model_id from promotions p where p.code_version = new.code_version order by p.promotion_id desc limit 1
    );
    return new;
end
$$;
create trigger promotions_begin_trigger before insert on promotions for each statement execute function promotions_begin();
create trigger promotions_complete_trigger before insert on promotions for each row execute function promotions_complete();
create trigger models_complete_trigger before insert on models for each row execute function models_complete();

-- Retention. The running role may not delete; these functions do it with the rights of their owner and hold to the rule
-- themselves, whoever calls them: of a model that an entry of the ledger names, or that may be wanted back, nothing goes.

create function kept_models(keep integer) returns table (model text) language sql stable
security definer set search_path = public, pg_temp as $$
    select r.model_id from (
        select p.model_id, row_number() over (partition by p.code_version order by max(p.promotion_id) desc) as place
        from promotions p group by p.code_version, p.model_id
    ) r where r.place <= greatest(keep, 2)
    union
    select r.model_id from (
        select m.model_id, row_number() over (partition by m.code_version order by m.recorded_at desc, m.model_id desc) as place
        from models m
    ) r where r.place <= greatest(keep, 2)
$$;
comment on function kept_models is 'The last models that were promoted, and the last that were stored, so many of each code version; at least two, so that the one before can always be put back.';

create function prunable_models(keep integer) returns table (model text, bytes bigint) language plpgsql stable
security definer set search_path = public, pg_temp as $$
declare
    backfilled text[] := '{}';
begin
    if to_regclass('backfill.publications') is not null then
        execute 'select coalesce(array_agg(distinct model_id), ''{}'') from backfill.publications' into backfilled;
    end if;
    return query
        select m.model_id, (octet_length(m.state) + coalesce(octet_length(m.artifact), 0))::bigint
        from models m
        where m.pruned_at is null
            and not exists (select from publications p where p.model_id = m.model_id)
            and m.model_id <> all (backfilled)
            and not exists (select from kept_models(keep) k where k.model = m.model_id)
        order by m.recorded_at, m.model_id;
end
$$;

create function prune_models(keep integer) returns table (model text, bytes bigint) language plpgsql
security definer set search_path = public, pg_temp as $$
begin
    perform pg_advisory_xact_lock(28832984742453507);
    -- Publications under way are waited for, and later ones for us.
    lock table publications in share mode;
    if to_regclass('backfill.publications') is not null then
        execute 'lock table backfill.publications in share mode';
    end if;
    return query
        with gone as materialized (select p.model, p.bytes from prunable_models(keep) p),
        emptied as (
            update models m set state = '', artifact = null, pruned_at = clock_timestamp()
            from gone where m.model_id = gone.model
        ),
        forgotten as (
            delete from comparison_data c using gone where c.model_id = gone.model
        )
        select gone.model, gone.bytes from gone;
end
$$;

-- A training may give the same model again after its weights went: they come back if they are the same.
create function restore_model(model text, model_state bytea, model_artifact bytea) returns boolean language plpgsql
security definer set search_path = public, pg_temp as $$
begin
    update models m set state = model_state, artifact = model_artifact, pruned_at = null
    where m.model_id = model and m.pruned_at is not null
        and m.sha256 = sha256(coalesce(model_artifact, ''::bytea) || model_state);
    return found;
end
$$;

-- Nothing answers from a model whose weights are gone, whatever happened between reading and writing.
create function publication_has_model() returns trigger language plpgsql as $$
begin
    if exists (select from models m where m.model_id = new.model_id and m.pruned_at is not null) then
        raise exception 'the weights of model % were pruned', new.model_id using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end
$$;
create trigger publications_model_trigger before insert on publications for each row execute function publication_has_model();
do $$
begin
    if to_regclass('backfill.publications') is not null then
        create trigger publications_model_trigger before insert on backfill.publications
            for each row execute function publication_has_model();
    end if;
end
$$;

-- Folds are found again by the next training of their recipe, or trained again.
create function prunable_folds(keep integer) returns table (fold bytea, bytes bigint) language sql stable
security definer set search_path = public, pg_temp as $$
    with idle as (
        select f.recipe from folds f left join fold_forecasts d on d.fold_id = f.fold_id
        group by f.recipe
        having greatest(max(f.recorded_at), max(d.recorded_at)) < clock_timestamp() - interval '1 year'
    )
    select f.fold_id, octet_length(f.artifact)::bigint
    from folds f join idle on idle.recipe = f.recipe
    where not exists (
        select from models m join kept_models(keep) k on k.model = m.model_id
        where m.scores #>> '{folds,recipe}' = encode(f.recipe, 'hex')
    )
    order by f.recorded_at, f.fold_id
$$;
comment on function prunable_folds is 'Folds of recipes that no kept model uses and that no training touched for a year.';

create function prune_folds(keep integer) returns table (fold bytea, bytes bigint) language sql
security definer set search_path = public, pg_temp as $$
    with gone as materialized (select p.fold, p.bytes from prunable_folds(keep) p),
    silenced as (
        delete from fold_forecasts d using gone where d.fold_id = gone.fold
    ),
    forgotten as (
        delete from folds f using gone where f.fold_id = gone.fold
    )
    select gone.fold, gone.bytes from gone
$$;

revoke all on function prune_models, prune_folds, restore_model, prunable_models, prunable_folds, kept_models from public;
grant execute on function prune_models, prune_folds, restore_model, prunable_models, prunable_folds, kept_models
    to forecastd_service;
grant select, insert on promotions, trainings to forecastd_service;
grant usage on all sequences in schema public to forecastd_service;

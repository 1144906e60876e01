-- Keys for writing and operating, kept only as hashes; and what the running role may do.

create table keys (
    key_id uuid constraint keys_pkey primary key,
    name text not null,
    hash bytea not null constraint keys_hash_key unique,
    scopes text[] not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    constraint keys_hash_check check (length(hash) = 32),
    constraint keys_scopes_check check (scopes <@ array['ingest', 'operate', 'admin'] and cardinality(scopes) >= 1)
);

-- Roles belong to the server, not to this database, so another database, or an administrator, may have made the role.
do $$
begin
    if not exists (select from pg_roles where rolname = 'forecastd_service') then
        create role forecastd_service nologin;
    end if;
exception
    when duplicate_object or unique_violation then
        null;
    when insufficient_privilege then
        raise exception 'the role forecastd_service is missing and % may not create it', current_user
            using hint = format('as an administrator: create role forecastd_service nologin; grant forecastd_service to %I;', current_user);
end
$$;

do $$
begin
    if not pg_has_role(current_user, 'forecastd_service', 'member') then
        execute format('grant forecastd_service to %I', current_user);
    end if;
exception when insufficient_privilege then
    raise exception '% may not take the role forecastd_service', current_user
        using hint = format('as an administrator: grant forecastd_service to %I;', current_user);
end
$$;

grant usage on schema public to forecastd_service;
grant select, insert on
    store_identity, instruments, descriptions, bars, actions, factors, observations, filings, imports,
    models, trainings, publications, ledger, ledger_heads, keys
    to forecastd_service;
grant update (revoked_at) on keys to forecastd_service;
grant usage on all sequences in schema public to forecastd_service;

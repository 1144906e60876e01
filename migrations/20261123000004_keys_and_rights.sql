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

-- Roles belong to the server, not to this database, so another database may have made the role already.
do $$
begin
    create role forecastd_service nologin;
exception when duplicate_object or unique_violation then
    null;
end
$$;

do $$
begin
    execute format('grant forecastd_service to %I', current_user);
exception when others then
    raise notice 'membership of forecastd_service not granted: %', sqlerrm;
end
$$;

grant usage on schema public to forecastd_service;
grant select, insert on
    store_identity, instruments, descriptions, bars, actions, factors, observations, filings, imports,
    models, publications, ledger, ledger_heads, keys
    to forecastd_service;
grant update (revoked_at) on keys to forecastd_service;
grant usage on all sequences in schema public to forecastd_service;

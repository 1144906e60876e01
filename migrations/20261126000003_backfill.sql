-- The backfilled chain: what would have been answered on past days, written later. A schema of its own with tables of the
-- same names and form, so that the same code writes and checks both chains and no query can mix them. Everything else,
-- models and prices among it, is shared.

create schema backfill;

create table backfill.publications (
    publication uuid constraint publications_pkey primary key,
    as_of date not null,
    published_at timestamptz not null,
    known_until timestamptz not null,
    recorded_until timestamptz not null,
    model_id text not null constraint publications_model_id_fkey references public.models,
    first_sequence bigint not null,
    last_sequence bigint not null,
    constraint publications_sequence_check check (first_sequence <= last_sequence)
);
create index publications_as_of_index on backfill.publications (as_of, first_sequence);

create table backfill.ledger (
    sequence bigint constraint ledger_pkey primary key,
    previous_hash bytea not null constraint ledger_previous_hash_key unique,
    hash bytea not null constraint ledger_hash_key unique,
    publication uuid not null constraint ledger_publication_fkey references backfill.publications,
    kind text not null,
    symbol text,
    horizon text not null,
    as_of date not null,
    published_at timestamptz not null,
    valid_until date not null,
    late boolean not null,
    entry bytea not null,
    constraint ledger_sequence_check check (sequence >= 1),
    constraint ledger_previous_hash_check check (length(previous_hash) = 32),
    constraint ledger_hash_check check (length(hash) = 32),
    constraint ledger_late_check check (late),
    constraint ledger_kind_check check (
        kind in (
            'signal', 'rating', 'ranking', 'ranks', 'forecast', 'predictability', 'process', 'responses', 'rating_record'
        )
    )
);
comment on table backfill.ledger is 'Backfilled answers: as public.ledger, but written after the fact. They are no track record.';
create index ledger_publication_index on backfill.ledger (publication, kind, horizon, symbol);

-- As public.ledger_continues. The search path is fixed: whatever the caller's is, each chain is held against itself.
create function backfill.ledger_continues() returns trigger language plpgsql set search_path = backfill, pg_temp as $$
declare
    head record;
begin
    select l.sequence, l.hash into head from backfill.ledger l order by l.sequence desc limit 1;
    if new.sequence is distinct from coalesce(head.sequence, 0) + 1 then
        raise exception 'ledger sequence % does not follow %', new.sequence, coalesce(head.sequence, 0)
            using errcode = 'integrity_constraint_violation';
    end if;
    if new.previous_hash is distinct from coalesce(head.hash, decode(repeat('00', 32), 'hex')) then
        raise exception 'ledger entry % does not name the hash of its predecessor', new.sequence
            using errcode = 'integrity_constraint_violation';
    end if;
    if new.hash is distinct from sha256(new.previous_hash || new.entry) then
        raise exception 'ledger entry % carries a wrong hash', new.sequence
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end
$$;
create trigger ledger_continues_trigger before insert on backfill.ledger
    for each row execute function backfill.ledger_continues();
alter function public.ledger_continues() set search_path = public, pg_temp;

create table backfill.ledger_heads (
    sequence bigint constraint ledger_heads_pkey primary key
        constraint ledger_heads_sequence_fkey references backfill.ledger,
    hash bytea not null,
    signature bytea not null,
    public_key bytea not null,
    signed_at timestamptz not null default clock_timestamp(),
    constraint ledger_heads_signature_check check (length(signature) = 64),
    constraint ledger_heads_public_key_check check (length(public_key) = 32)
);
comment on table backfill.ledger_heads is 'Ed25519 over "forecastd backfill head SEQUENCE HASH", one a publication.';

create table backfill.spans (
    publication uuid constraint spans_pkey primary key
        constraint spans_publication_fkey references backfill.publications,
    first_day date not null,
    last_day date not null,
    constraint spans_days_check check (first_day <= last_day),
    constraint spans_days_exclude exclude using gist (daterange(first_day, last_day, '[]') with &&)
);
comment on table backfill.spans is 'The days that a publication answers for. No day has two, so what was once answered for a day stays the answer.';

create table backfill.fits (
    fingerprint bytea constraint fits_pkey primary key,
    model_id text not null constraint fits_model_id_fkey references public.models,
    fitted_at timestamptz not null default clock_timestamp(),
    constraint fits_fingerprint_check check (length(fingerprint) = 32)
);
comment on table backfill.fits is 'Models of past days by SHA-256 of rows, recipe and code, so that none is fitted twice. None of them is in force.';

grant usage on schema backfill to forecastd_service;
grant select, insert on
    backfill.publications, backfill.ledger, backfill.ledger_heads, backfill.spans, backfill.fits
    to forecastd_service;

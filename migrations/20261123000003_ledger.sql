-- The ledger: every answer, written before its outcome, chained by hashes, never changed.

create table publications (
    publication uuid constraint publications_pkey primary key,
    as_of date not null,
    published_at timestamptz not null,
    known_until timestamptz not null,
    recorded_until timestamptz not null,
    model_id text not null constraint publications_model_id_fkey references models,
    first_sequence bigint not null,
    last_sequence bigint not null,
    constraint publications_sequence_check check (first_sequence <= last_sequence)
);
create index publications_as_of_index on publications (as_of, first_sequence);

create table ledger (
    sequence bigint constraint ledger_pkey primary key,
    previous_hash bytea not null constraint ledger_previous_hash_key unique,
    hash bytea not null constraint ledger_hash_key unique,
    publication uuid not null constraint ledger_publication_fkey references publications,
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
    constraint ledger_kind_check check (kind in ('signal', 'rating', 'ranking', 'ranks', 'forecast'))
);
comment on table ledger is 'hash = SHA-256(previous_hash || entry); the first previous_hash is 32 zero bytes. The running role may insert and select, nothing else.';
create index ledger_answer_index on ledger (kind, horizon, symbol, as_of, sequence);
create index ledger_publication_index on ledger (publication);

-- No chain may fork, skip or carry a wrong hash, whoever inserts.
create function ledger_continues() returns trigger language plpgsql as $$
declare
    head record;
begin
    select l.sequence, l.hash into head from ledger l order by l.sequence desc limit 1;
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
create trigger ledger_continues_trigger before insert on ledger for each row execute function ledger_continues();

create table ledger_heads (
    sequence bigint constraint ledger_heads_pkey primary key constraint ledger_heads_sequence_fkey references ledger,
    hash bytea not null,
    signature bytea not null,
    public_key bytea not null,
    signed_at timestamptz not null default clock_timestamp(),
    constraint ledger_heads_signature_check check (length(signature) = 64),
    constraint ledger_heads_public_key_check check (length(public_key) = 32)
);
comment on table ledger_heads is 'Ed25519 over "forecastd ledger head SEQUENCE HASH", one a publication.';

-- History: who is traded, at what prices, against which factors, with which filings.
-- Every fact carries two knowledge times: known_at, when the world could know it (assumed for files), and recorded_at,
-- when this store got it (server clock only). A revision is a new row; nothing is overwritten.

create table store_identity (
    only_row boolean constraint store_identity_pkey primary key default true,
    simulated boolean not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint store_identity_only_row_check check (only_row)
);
comment on table store_identity is 'One row: whether this database holds a simulated market. Set once, never mixed.';

create table instruments (
    instrument_id bigint generated always as identity constraint instruments_pkey primary key,
    symbol text not null constraint instruments_symbol_key unique,
    recorded_at timestamptz not null default clock_timestamp(),
    constraint instruments_symbol_check check (symbol ~ '^[A-Z0-9.^=_-]{1,24}$')
);

create table descriptions (
    instrument_id bigint not null constraint descriptions_instrument_id_fkey references instruments,
    recorded_at timestamptz not null,
    name text,
    sector text,
    kind text not null,
    currency text not null,
    constraint descriptions_pkey primary key (instrument_id, recorded_at),
    constraint descriptions_kind_check check (kind in ('equity', 'etf', 'index')),
    constraint descriptions_currency_check check (currency ~ '^[A-Z]{3}$')
);

create table bars (
    instrument_id bigint not null,
    day date not null,
    recorded_at timestamptz not null,
    known_at timestamptz not null,
    known_at_assumed boolean not null,
    open double precision,
    high double precision,
    low double precision,
    close double precision not null,
    volume double precision,
    source text not null,
    constraint bars_pkey primary key (instrument_id, day, recorded_at),
    constraint bars_positive_check check (close > 0 and open > 0 and high > 0 and low > 0),
    constraint bars_volume_check check (volume >= 0),
    constraint bars_range_check check (high >= low * 0.999998)
);
comment on table bars is 'Raw daily prices as the source states them. The newest recorded_at of a day is in force.';

create table actions (
    instrument_id bigint not null,
    day date not null,
    recorded_at timestamptz not null,
    known_at timestamptz not null,
    known_at_assumed boolean not null,
    split double precision not null,
    dividend double precision not null,
    source text not null,
    constraint actions_pkey primary key (instrument_id, day, recorded_at),
    constraint actions_split_check check (split > 0),
    constraint actions_dividend_check check (dividend >= 0)
);
comment on table actions is 'Splits (new shares for one old) and dividends (per share, basis of the previous close). split 1 and dividend 0 withdraw an earlier row.';

create table factors (
    factor_id bigint generated always as identity constraint factors_pkey primary key,
    id text not null constraint factors_id_key unique,
    recorded_at timestamptz not null default clock_timestamp(),
    constraint factors_id_check check (length(id) between 1 and 64)
);

create table observations (
    factor_id bigint not null,
    day date not null,
    recorded_at timestamptz not null,
    known_at timestamptz not null,
    known_at_assumed boolean not null,
    value double precision not null,
    source text not null,
    constraint observations_pkey primary key (factor_id, day, recorded_at)
);

create table filings (
    instrument_id bigint not null constraint filings_instrument_id_fkey references instruments,
    period_end date not null,
    period_months integer not null,
    filed date not null,
    recorded_at timestamptz not null,
    known_at timestamptz not null,
    known_at_assumed boolean not null,
    body jsonb not null,
    source text not null,
    constraint filings_pkey primary key (instrument_id, period_end, period_months, filed, recorded_at),
    constraint filings_period_months_check check (period_months in (3, 6, 9, 12)),
    constraint filings_filed_check check (filed >= period_end)
);
comment on column filings.body is 'The filing as forecastd reads it: market::filing::Filing.';

create table imports (
    import_id bigint generated always as identity constraint imports_pkey primary key,
    recorded_at timestamptz not null default clock_timestamp(),
    file text not null,
    sha256 bytea not null,
    inserted bigint not null,
    revised bigint not null,
    unchanged bigint not null,
    warnings jsonb not null,
    constraint imports_sha256_check check (length(sha256) = 32)
);

-- Every row belongs to an instrument or a factor. A foreign key looks that up row by row, which costs two thirds of a
-- bulk import; one look for a whole statement refuses the same rows. Instruments and factors are never deleted: the
-- running role has no right to.
create function refers_to_instrument() returns trigger language plpgsql as $$
begin
    if exists (
        select from (select distinct instrument_id from added) as a
        where not exists (select from instruments i where i.instrument_id = a.instrument_id)
    ) then
        raise exception 'a row of % names an instrument that does not exist', tg_table_name
            using errcode = 'foreign_key_violation';
    end if;
    return null;
end
$$;
create function refers_to_factor() returns trigger language plpgsql as $$
begin
    if exists (
        select from (select distinct factor_id from added) as a
        where not exists (select from factors f where f.factor_id = a.factor_id)
    ) then
        raise exception 'a row of % names a factor that does not exist', tg_table_name
            using errcode = 'foreign_key_violation';
    end if;
    return null;
end
$$;
create trigger bars_refer_trigger after insert on bars
    referencing new table as added for each statement execute function refers_to_instrument();
create trigger actions_refer_trigger after insert on actions
    referencing new table as added for each statement execute function refers_to_instrument();
create trigger observations_refer_trigger after insert on observations
    referencing new table as added for each statement execute function refers_to_factor();

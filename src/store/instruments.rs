//! Instruments and their descriptions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::market::bar::Day;
use crate::market::instrument::{Instrument, InstrumentKind, Symbol};
use crate::store::StoreError;

/// The id of an instrument, made when it is new. Holds a lock on it until the transaction ends, so that two imports of
/// the same instrument follow one another.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn lock(connection: &mut PgConnection, symbol: &Symbol) -> Result<i64, StoreError> {
    sqlx::query!("insert into instruments (symbol) values ($1) on conflict (symbol) do nothing", symbol.as_str())
        .execute(&mut *connection)
        .await?;
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 1)) as locked", symbol.as_str())
        .fetch_one(&mut *connection)
        .await?;
    let row = sqlx::query!("select instrument_id from instruments where symbol = $1", symbol.as_str())
        .fetch_one(&mut *connection)
        .await?;
    Ok(row.instrument_id)
}

/// Adds a description when it differs from the one in force; returns whether it did.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn describe(
    connection: &mut PgConnection,
    instrument: &Instrument,
    recorded_at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let id = lock(connection, &instrument.symbol).await?;
    let stored = sqlx::query!(
        "insert into descriptions (instrument_id, recorded_at, name, sector, kind, currency)
         select $1, $2, $3, $4, $5, $6
         where not exists (
             select from (
                 select name, sector, kind, currency from descriptions
                 where instrument_id = $1 order by recorded_at desc limit 1
             ) as newest
             where (name, sector, kind, currency) is not distinct from ($3::text, $4::text, $5::text, $6::text)
         )",
        id,
        recorded_at,
        instrument.name.as_deref(),
        instrument.sector.as_deref(),
        instrument.kind.as_str(),
        instrument.currency
    )
    .execute(connection)
    .await?;
    Ok(stored.rows_affected() == 1)
}

/// All instruments with the description that was in force at a cutoff, by id.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds a row that breaks a rule.
pub async fn described(
    connection: &mut PgConnection,
    recorded_until: DateTime<Utc>,
) -> Result<BTreeMap<i64, Instrument>, StoreError> {
    let rows = sqlx::query!(
        r#"select i.instrument_id, i.symbol, d.name as "name?", d.sector as "sector?", d.kind as "kind?", d.currency as "currency?"
           from instruments i
           left join lateral (
               select name, sector, kind, currency from descriptions
               where instrument_id = i.instrument_id and recorded_at <= $1
               order by recorded_at desc limit 1
           ) d on true
           order by i.instrument_id"#,
        recorded_until
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|r| Ok((r.instrument_id, instrument(&r.symbol, r.name, r.sector, r.kind.as_deref(), r.currency)?)))
        .collect()
}

/// What the store holds of one instrument.
#[derive(Debug, Clone, PartialEq)]
pub struct Coverage {
    /// Description in force.
    pub instrument: Instrument,
    /// First session with a bar.
    pub first_day: Option<Day>,
    /// Last session with a bar.
    pub last_day: Option<Day>,
    /// Sessions with a bar.
    pub bars: i64,
}

/// Which instruments are asked for.
#[derive(Debug, Clone)]
pub struct CoveragePage {
    /// Only symbols after this one.
    pub after: Option<Symbol>,
    /// Only these.
    pub symbols: Option<Vec<Symbol>>,
    /// At most so many.
    pub limit: i64,
}

/// What is known of one instrument.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds a row that breaks a rule.
pub async fn coverage(pool: &PgPool, symbol: &Symbol) -> Result<Option<Coverage>, StoreError> {
    let page = CoveragePage { after: None, symbols: Some(vec![symbol.clone()]), limit: 1 };
    Ok(coverages(pool, &page).await?.pop())
}

/// What is known of the instruments of a page, ascending by symbol.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds a row that breaks a rule.
pub async fn coverages(pool: &PgPool, page: &CoveragePage) -> Result<Vec<Coverage>, StoreError> {
    let symbols: Option<Vec<String>> = page.symbols.as_ref().map(|s| s.iter().map(|s| s.as_str().to_owned()).collect());
    let rows = sqlx::query!(
        r#"select i.symbol, d.name as "name?", d.sector as "sector?", d.kind as "kind?", d.currency as "currency?",
                  b.first_day as "first_day?", b.last_day as "last_day?", b.bars as "bars!"
           from (
               select instrument_id, symbol from instruments
               where ($1::text is null or symbol collate "C" > $1) and ($2::text[] is null or symbol = any ($2))
               order by symbol collate "C" limit $3
           ) i
           left join lateral (
               select name, sector, kind, currency from descriptions
               where instrument_id = i.instrument_id order by recorded_at desc limit 1
           ) d on true
           left join lateral (
               select min(day) as first_day, max(day) as last_day, count(distinct day) as bars from bars
               where instrument_id = i.instrument_id
           ) b on true
           order by i.symbol collate "C""#,
        page.after.as_ref().map(Symbol::as_str),
        symbols.as_deref(),
        page.limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|r| {
            let instrument = instrument(&r.symbol, r.name, r.sector, r.kind.as_deref(), r.currency)?;
            Ok(Coverage { instrument, first_day: r.first_day, last_day: r.last_day, bars: r.bars })
        })
        .collect()
}

/// The newest session with a bar.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn newest_day(pool: &PgPool) -> Result<Option<Day>, StoreError> {
    let row = sqlx::query!(
        "select max(b.last_day) as day from instruments i
         left join lateral (
             select day as last_day from bars where instrument_id = i.instrument_id order by day desc limit 1
         ) b on true"
    )
    .fetch_one(pool)
    .await?;
    Ok(row.day)
}

/// All symbols, ascending.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds a row that breaks a rule.
pub async fn symbols(pool: &PgPool) -> Result<Vec<Symbol>, StoreError> {
    let rows = sqlx::query!(r#"select symbol from instruments order by symbol collate "C""#).fetch_all(pool).await?;
    rows.into_iter().map(|r| Symbol::parse(&r.symbol).map_err(StoreError::row)).collect()
}

/// Whether the store holds any instrument.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn any(pool: &PgPool) -> Result<bool, StoreError> {
    Ok(sqlx::query!(r#"select exists (select from bars) as "found!""#).fetch_one(pool).await?.found)
}

fn instrument(
    symbol: &str,
    name: Option<String>,
    sector: Option<String>,
    kind: Option<&str>,
    currency: Option<String>,
) -> Result<Instrument, StoreError> {
    let symbol = Symbol::parse(symbol).map_err(StoreError::row)?;
    let kind = kind.unwrap_or("equity").parse::<InstrumentKind>().map_err(StoreError::row)?;
    Ok(Instrument { symbol, name, sector, kind, currency: currency.unwrap_or_else(|| "USD".into()) })
}

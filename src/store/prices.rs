//! Prices as they are asked for and posted over HTTP.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::market::bar::{Action, Bar, Day};
use crate::market::instrument::Symbol;
use crate::store::bars::{self, PriceRows, Recorded};
use crate::store::{StoreError, pool};

/// A session's prices with its action.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceRow {
    /// Session.
    pub day: Day,
    /// First price.
    pub open: Option<f64>,
    /// Highest price.
    pub high: Option<f64>,
    /// Lowest price.
    pub low: Option<f64>,
    /// Last price.
    pub close: f64,
    /// Shares traded.
    pub volume: Option<f64>,
    /// New shares for one old; 1 without a split.
    pub split: f64,
    /// Cash per share held at the previous close; 0 without a dividend.
    pub dividend: f64,
    /// Where the prices come from.
    pub source: String,
    /// When the world could know them.
    pub known_at: DateTime<Utc>,
    /// When this store got them.
    pub recorded_at: DateTime<Utc>,
}

/// Which sessions are asked for.
#[derive(Debug, Clone, Default)]
pub struct PriceRange {
    /// First session, inclusive.
    pub from: Option<Day>,
    /// Last session, inclusive.
    pub to: Option<Day>,
    /// Only revisions that were known by then.
    pub known_until: Option<DateTime<Utc>>,
}

/// A checked row of a `POST`.
#[derive(Debug, Clone, PartialEq)]
pub struct PostedRow {
    /// Whose prices.
    pub symbol: Symbol,
    /// The prices.
    pub bar: Bar,
    /// New shares for one old; 1 without a split.
    pub split: f64,
    /// Cash per share held at the previous close; 0 without a dividend.
    pub dividend: f64,
}

/// The prices of an instrument, ascending by day; the newest revision of each session that was known by the cutoff.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn price_rows(pool: &PgPool, symbol: &Symbol, range: &PriceRange) -> Result<Vec<PriceRow>, StoreError> {
    Ok(sqlx::query_as!(
        PriceRow,
        r#"select b.day as "day!", b.open, b.high, b.low, b.close as "close!", b.volume,
                  coalesce(a.split, 1) as "split!", coalesce(a.dividend, 0) as "dividend!",
                  b.source as "source!", b.known_at as "known_at!", b.recorded_at as "recorded_at!"
           from (
               select distinct on (instrument_id, day) * from bars
               where instrument_id = (select instrument_id from instruments where symbol = $1)
                 and ($2::date is null or day >= $2) and ($3::date is null or day <= $3)
                 and ($4::timestamptz is null or known_at <= $4)
               order by instrument_id, day, recorded_at desc
           ) b
           left join lateral (
               select split, dividend from actions
               where instrument_id = b.instrument_id and day = b.day and ($4::timestamptz is null or known_at <= $4)
               order by recorded_at desc limit 1
           ) a on true
           order by b.day"#,
        symbol.as_str(),
        range.from,
        range.to,
        range.known_until
    )
    .fetch_all(pool)
    .await?)
}

/// Records posted rows, all or nothing. Rows must be one a symbol and day. A field that a row does not have says nothing
/// against the stored one; an action, once stored, is changed by another action of that day.
///
/// A caller who goes away does not stop the recording: a COPY that is dropped halfway would leave its connection with an
/// answer that nobody has read.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached; then nothing was recorded.
pub async fn post(pool: &PgPool, source: &str, rows: Vec<PostedRow>) -> Result<Recorded, StoreError> {
    let (pool, source) = (pool.clone(), source.to_owned());
    tokio::spawn(async move { record(&pool, &source, &rows).await }).await.map_err(StoreError::row)?
}

async fn record(pool: &PgPool, source: &str, rows: &[PostedRow]) -> Result<Recorded, StoreError> {
    let mut by_symbol: BTreeMap<&Symbol, Vec<&PostedRow>> = BTreeMap::new();
    for row in rows {
        by_symbol.entry(&row.symbol).or_default().push(row);
    }
    let mut transaction = pool.begin().await?;
    let recorded_at = pool::begin_recording(&mut transaction).await?;
    let mut recorded = Recorded::default();
    for (symbol, mut rows) in by_symbol {
        rows.sort_by_key(|r| r.bar.day());
        let prices: Vec<Bar> = rows.iter().map(|r| r.bar).collect();
        let actions: Vec<Action> = rows
            .iter()
            .filter(|r| r.split != 1.0 || r.dividend != 0.0)
            .map(|r| Action { day: r.bar.day(), split: r.split, dividend: r.dividend })
            .collect();
        let price_rows =
            PriceRows { symbol, bars: &prices, actions: &actions, has_all_actions: false, source, restates: false };
        recorded += bars::record(&mut transaction, recorded_at, &price_rows).await?;
    }
    transaction.commit().await?;
    Ok(recorded)
}

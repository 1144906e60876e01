//! Drift reports: written once, the newest in force.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::market::bar::Day;
use crate::market::instrument::Symbol;
use crate::store::StoreError;

/// A report that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReport {
    /// Newest session that was looked at.
    pub as_of: Day,
    /// The model in force.
    pub model_id: Option<String>,
    /// The time of the service.
    pub reported_at: DateTime<Utc>,
    /// What is said of the universe.
    pub universe: Value,
    /// What an operator should see.
    pub alarms: Value,
    /// The training that the alarms asked for.
    pub train_job_id: Option<Uuid>,
    /// What is said of each instrument.
    pub instruments: Vec<(Symbol, Value)>,
}

/// A report without its instruments.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportRow {
    /// Its number.
    pub report_id: i64,
    /// Newest session that was looked at.
    pub as_of: Day,
    /// The model in force then.
    pub model_id: Option<String>,
    /// The time of the service.
    pub reported_at: DateTime<Utc>,
    /// What is said of the universe.
    pub universe: Value,
    /// What an operator should see.
    pub alarms: Value,
    /// The training that the alarms asked for.
    pub train_job_id: Option<Uuid>,
}

/// Writes a report; returns its number.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn insert(connection: &mut PgConnection, report: &NewReport) -> Result<i64, StoreError> {
    let report_id = sqlx::query!(
        "insert into drift_reports (as_of, model_id, reported_at, universe, alarms, train_job_id)
         values ($1, $2, $3, $4, $5, $6)
         returning report_id",
        report.as_of,
        report.model_id,
        report.reported_at,
        report.universe,
        report.alarms,
        report.train_job_id
    )
    .fetch_one(&mut *connection)
    .await?
    .report_id;
    let (symbols, measures): (Vec<String>, Vec<Value>) =
        report.instruments.iter().map(|(symbol, measures)| (symbol.as_str().to_owned(), measures.clone())).unzip();
    sqlx::query!(
        "insert into drift_instruments (report_id, symbol, as_of, measures)
         select $1, symbol, $2, measures from unnest($3::text[], $4::jsonb[]) as row (symbol, measures)",
        report_id,
        report.as_of,
        &symbols,
        &measures
    )
    .execute(connection)
    .await?;
    Ok(report_id)
}

/// The newest report.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn newest(pool: &PgPool) -> Result<Option<ReportRow>, StoreError> {
    Ok(sqlx::query_as!(
        ReportRow,
        "select report_id, as_of, model_id, reported_at, universe, alarms, train_job_id
         from drift_reports order by report_id desc limit 1"
    )
    .fetch_optional(pool)
    .await?)
}

/// What the newest report says of instruments; those that it does not know are left out.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds a row that breaks a rule.
pub async fn of_instruments(pool: &PgPool, symbols: &[&Symbol]) -> Result<BTreeMap<Symbol, Value>, StoreError> {
    let symbols: Vec<String> = symbols.iter().map(|symbol| symbol.as_str().to_owned()).collect();
    let rows = sqlx::query!(
        "select symbol, measures from drift_instruments
         where report_id = (select max(report_id) from drift_reports) and symbol = any ($1)",
        &symbols
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|r| Ok((Symbol::parse(&r.symbol).map_err(StoreError::row)?, r.measures))).collect()
}

/// Trainings that reports asked for after an instant.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn trainings_since(connection: &mut PgConnection, since: DateTime<Utc>) -> Result<i64, StoreError> {
    let row = sqlx::query!(
        r#"select count(*) as "count!" from drift_reports where train_job_id is not null and reported_at > $1"#,
        since
    )
    .fetch_one(connection)
    .await?;
    Ok(row.count)
}

/// Whether a training waits or runs.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn is_training_under_way(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let row = sqlx::query!(
        r#"select exists (select from jobs where state in ('queued', 'running') and kind = 'train') as "found!""#
    )
    .fetch_one(connection)
    .await?;
    Ok(row.found)
}

/// Bars since a day that were stored more than once by a cutoff, by instrument; those without any are left out.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds a row that breaks a rule.
pub async fn revised_bars(
    pool: &PgPool,
    since: Day,
    recorded_until: DateTime<Utc>,
) -> Result<BTreeMap<Symbol, u32>, StoreError> {
    let rows = sqlx::query!(
        r#"select i.symbol, b.revised as "revised!" from instruments i
           cross join lateral (
               select count(*) - count(distinct day) as revised from bars
               where instrument_id = i.instrument_id and day >= $1 and recorded_at <= $2
           ) b
           where b.revised > 0"#,
        since,
        recorded_until
    )
    .fetch_all(pool)
    .await?;
    let counted = |revised: i64| u32::try_from(revised).map_err(StoreError::row);
    rows.into_iter().map(|r| Ok((Symbol::parse(&r.symbol).map_err(StoreError::row)?, counted(r.revised)?))).collect()
}

//! Factor observations, recorded by difference.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::market::factor::{FactorHistory, Observation};
use crate::store::StoreError;
use crate::store::bars::Recorded;
use crate::store::copy::BinaryRows;

const COPY_OBSERVATIONS: &str = "copy observations (factor_id, day, recorded_at, known_at, known_at_assumed, value, source) from stdin (format binary)";

/// Records a series by difference. New days keep their assumed `known_at`; a revision is known from `recorded_at` on.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached; the caller's transaction then rolls back.
pub async fn record(
    connection: &mut PgConnection,
    recorded_at: DateTime<Utc>,
    series: &FactorHistory,
    source: &str,
) -> Result<Recorded, StoreError> {
    let id = lock(connection, &series.id).await?;
    let stored: BTreeMap<_, _> = sqlx::query!(
        "select distinct on (day) day, value from observations where factor_id = $1 order by day, recorded_at desc",
        id
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|r| (r.day, r.value))
    .collect();
    let mut recorded = Recorded::default();
    let mut copy = BinaryRows::new();
    for observation in &series.observations {
        let before = stored.get(&observation.day);
        if before == Some(&observation.value) {
            recorded.unchanged += 1;
            continue;
        }
        let known_at = if before.is_some() { recorded_at } else { observation.known_at };
        copy.row(7)
            .int8(id)
            .date(observation.day)
            .instant(recorded_at)
            .instant(known_at)
            .boolean(before.is_none())
            .float8(observation.value)
            .text(source);
        if before.is_some() { recorded.revised += 1 } else { recorded.inserted += 1 }
    }
    if recorded.inserted + recorded.revised > 0 {
        copy.copy(connection, COPY_OBSERVATIONS).await?;
    }
    Ok(recorded)
}

/// All series as they were known and recorded at two cutoffs: every version of a value, so that a session which lies
/// before a revision still sees what it knew. With `revised` false the first versions alone.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn known(
    connection: &mut PgConnection,
    known_until: DateTime<Utc>,
    recorded_until: DateTime<Utc>,
    revised: bool,
) -> Result<Vec<FactorHistory>, StoreError> {
    let rows = sqlx::query!(
        r#"select f.id, o.day, o.known_at, o.value
           from factors f join observations o using (factor_id)
           where o.known_at <= $1 and o.recorded_at <= $2 and (o.known_at_assumed or $3)
           order by f.id collate "C", o.day, o.recorded_at"#,
        known_until,
        recorded_until,
        revised
    )
    .fetch_all(connection)
    .await?;
    let mut series: Vec<FactorHistory> = Vec::new();
    for row in rows {
        let observation = Observation { day: row.day, known_at: row.known_at, value: row.value };
        match series.last_mut() {
            Some(last) if last.id == row.id => last.observations.push(observation),
            _ => series.push(FactorHistory { id: row.id, observations: vec![observation] }),
        }
    }
    Ok(series)
}

async fn lock(connection: &mut PgConnection, id: &str) -> Result<i64, StoreError> {
    sqlx::query!("insert into factors (id) values ($1) on conflict (id) do nothing", id)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 2)) as locked", id)
        .fetch_one(&mut *connection)
        .await?;
    Ok(sqlx::query!("select factor_id from factors where id = $1", id).fetch_one(connection).await?.factor_id)
}

//! How far each schedule has been kept.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::store::StoreError;

/// The newest slot that was asked for or skipped; a schedule that is new begins `now`.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn reached(pool: &PgPool, kind: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    let found = sqlx::query!("select reached from schedules where kind = $1", kind).fetch_optional(pool).await?;
    if let Some(row) = found {
        return Ok(row.reached);
    }
    sqlx::query!("insert into schedules (kind, reached) values ($1, $2) on conflict (kind) do nothing", kind, now)
        .execute(pool)
        .await?;
    Ok(sqlx::query!("select reached from schedules where kind = $1", kind).fetch_one(pool).await?.reached)
}

/// Notes that a schedule was kept up to a slot.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn reach(connection: &mut PgConnection, kind: &str, slot: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!("update schedules set reached = greatest(reached, $2) where kind = $1", kind, slot)
        .execute(connection)
        .await?;
    Ok(())
}

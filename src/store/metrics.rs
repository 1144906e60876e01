//! Numbers about the service itself that only the store knows.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::store::StoreError;

/// Jobs of one kind in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobCount {
    /// Such as `train`.
    pub kind: String,
    /// `queued`, `running`, `succeeded`, `failed`, `cancelled` or `skipped`.
    pub state: String,
    /// How many.
    pub count: i64,
    /// When the first of them was asked for.
    pub oldest_at: Option<DateTime<Utc>>,
}

/// The jobs, by kind and state.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn job_counts(pool: &PgPool) -> Result<Vec<JobCount>, StoreError> {
    Ok(sqlx::query_as!(
        JobCount,
        r#"select kind, state, count(*) as "count!", min(created_at) as oldest_at from jobs
           group by kind, state order by kind, state"#
    )
    .fetch_all(pool)
    .await?)
}

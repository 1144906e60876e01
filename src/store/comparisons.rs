//! What a model's rewards were learnt from: comparisons of responses as JSON lines, kept beside the model.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::store::StoreError;

/// The comparisons of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparisons {
    /// When they were stored.
    pub recorded_at: DateTime<Utc>,
    /// Number of lines.
    pub rows: u32,
    /// JSON lines, each ended by a line feed.
    pub lines: Vec<u8>,
}

/// Keeps the comparisons of a model that is stored in the same transaction. Those that are there already stay: the name
/// of the model holds a hash of what they led to.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or the lines are too many.
pub(crate) async fn keep(connection: &mut PgConnection, model_id: &str, lines: &[u8]) -> Result<(), StoreError> {
    let rows = i32::try_from(lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count());
    sqlx::query!(
        "insert into comparison_data (model_id, rows, lines) values ($1, $2, $3) on conflict (model_id) do nothing",
        model_id,
        rows.map_err(StoreError::row)?,
        lines
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The comparisons of the model of that name; `None` where it was stored without.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn find(pool: &PgPool, model_id: &str) -> Result<Option<Comparisons>, StoreError> {
    let row = sqlx::query!("select recorded_at, rows, lines from comparison_data where model_id = $1", model_id)
        .fetch_optional(pool)
        .await?;
    row.map(|r| {
        let rows = u32::try_from(r.rows).map_err(StoreError::row)?;
        Ok(Comparisons { recorded_at: r.recorded_at, rows, lines: r.lines })
    })
    .transpose()
}

//! The record of imports: which file brought what, and what was odd in it.

use sqlx::PgConnection;
use sqlx::types::Json;

use crate::store::StoreError;
use crate::store::bars::Recorded;

/// One imported file.
#[derive(Debug, Clone)]
pub struct ImportRecord {
    /// Name of the file, without its folder.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// What it changed.
    pub recorded: Recorded,
    /// Its quality report.
    pub warnings: Vec<String>,
}

/// Keeps the record of a file in the transaction of its rows.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn insert(connection: &mut PgConnection, record: &ImportRecord) -> Result<(), StoreError> {
    let count = |rows: u64| i64::try_from(rows).map_err(StoreError::row);
    sqlx::query!(
        "insert into imports (file, sha256, inserted, revised, unchanged, warnings) values ($1, $2, $3, $4, $5, $6)",
        record.file,
        &record.sha256[..],
        count(record.recorded.inserted)?,
        count(record.recorded.revised)?,
        count(record.recorded.unchanged)?,
        Json(&record.warnings) as _
    )
    .execute(connection)
    .await?;
    Ok(())
}

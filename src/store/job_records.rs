//! Reading the record of jobs.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::store::StoreError;

/// A job as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Its name.
    pub job_id: Uuid,
    /// What is to be done.
    pub kind: String,
    /// What it is for.
    pub slot: Option<String>,
    /// Who or what asked.
    pub reason: String,
    /// What it is given.
    pub arguments: Value,
    /// Lower runs first.
    pub priority: i16,
    /// Runs after which it is given up.
    pub max_attempts: i16,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// `queued`, `running`, `succeeded`, `failed`, `cancelled` or `skipped`.
    pub state: String,
    /// Runs begun.
    pub attempts: i16,
    /// Who runs it, or ran it last.
    pub worker: Option<String>,
    /// When the newest run began.
    pub started_at: Option<DateTime<Utc>>,
    /// When its worker was last heard of.
    pub renewed_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When somebody asked to cancel it.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Phase, steps done and in all, note.
    pub progress: Option<Value>,
    /// Why the newest run failed.
    pub error: Option<String>,
    /// What came of it.
    pub result: Option<Value>,
}

/// How one run of a job ended.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRow {
    /// Which run, from 1.
    pub attempt: i16,
    /// Who ran it.
    pub worker: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// `succeeded`, `failed`, `cancelled`, `lost` or `stopped`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// The job of that name.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn find(pool: &PgPool, job_id: Uuid) -> Result<Option<JobRow>, StoreError> {
    Ok(sqlx::query_as!(
        JobRow,
        "select job_id, kind, slot, reason, arguments, priority, max_attempts, created_at, state, attempts, worker, started_at,
                renewed_at, finished_at, cancel_requested_at, progress, error, result
         from jobs where job_id = $1",
        job_id
    )
    .fetch_optional(pool)
    .await?)
}

/// The runs of a job, from the first on; one that is under way is not among them.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn attempts(pool: &PgPool, job_id: Uuid) -> Result<Vec<AttemptRow>, StoreError> {
    Ok(sqlx::query_as!(
        AttemptRow,
        "select attempt, worker, started_at, finished_at, outcome, error from job_attempts where job_id = $1 order by attempt",
        job_id
    )
    .fetch_all(pool)
    .await?)
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only of that kind.
    pub kind: Option<String>,
    /// Only in that state.
    pub state: Option<String>,
    /// Only jobs made before that one.
    pub before: Option<Uuid>,
}

/// Jobs, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn list(pool: &PgPool, wanted: &Wanted, limit: i64) -> Result<Vec<JobRow>, StoreError> {
    Ok(sqlx::query_as!(
        JobRow,
        "select job_id, kind, slot, reason, arguments, priority, max_attempts, created_at, state, attempts, worker, started_at,
                renewed_at, finished_at, cancel_requested_at, progress, error, result
         from jobs
         where ($1::text is null or kind = $1) and ($2::text is null or state = $2) and ($3::uuid is null or job_id < $3)
         order by job_id desc limit $4",
        wanted.kind,
        wanted.state,
        wanted.before,
        limit
    )
    .fetch_all(pool)
    .await?)
}

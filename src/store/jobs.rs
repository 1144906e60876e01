//! Jobs: the record of what was asked for and how it went, and the lease that lets one run take effect.

use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

pub use crate::store::job_records::{AttemptRow, JobRow, Wanted, attempts, find, list};
use crate::store::{StoreError, queue};

/// A job that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What is to be done, such as `train`.
    pub kind: &'static str,
    /// What it is for; a second job of the same kind and slot is not made. `None` for one that stands for itself.
    pub slot: Option<String>,
    /// Who or what asked.
    pub reason: String,
    /// What it is given.
    pub arguments: Value,
    /// Lower runs first.
    pub priority: i16,
    /// Runs after which it is given up.
    pub max_attempts: i16,
}

/// What a worker finds that wants to run a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// It is this run's.
    Run(Box<JobRow>),
    /// It is done, cancelled or gone; nothing is left to do.
    Over,
    /// Another worker was heard of a moment ago; it may be asked for again later.
    Busy,
    /// Too many runs ended without a word; it is given up.
    GivenUp,
}

/// The right of one run of a job to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job_id: Uuid,
    /// Which run of it.
    pub attempt: i16,
}

/// What a renewal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Go on.
    Held,
    /// Somebody wants it cancelled.
    CancelRequested,
    /// Another run holds the lease, or the job is over.
    Lost,
}

/// Asks for a job, in the caller's transaction; `None` when there is one of its kind and slot already.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn ask(connection: &mut PgConnection, job: &NewJob) -> Result<Option<Uuid>, StoreError> {
    let job_id = Uuid::now_v7();
    let made = insert(connection, job_id, job, "queued").await?;
    if !made {
        return Ok(None);
    }
    queue::add(connection, job_id, job).await?;
    Ok(Some(job_id))
}

/// Records that a slot passed without a run, and why; `false` when the slot has a job.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn skip(connection: &mut PgConnection, job: &NewJob, why: &str) -> Result<bool, StoreError> {
    let job_id = Uuid::now_v7();
    if !insert(&mut *connection, job_id, job, "skipped").await? {
        return Ok(false);
    }
    sqlx::query!("update jobs set error = $2, finished_at = clock_timestamp() where job_id = $1", job_id, why)
        .execute(connection)
        .await?;
    Ok(true)
}

async fn insert(connection: &mut PgConnection, job_id: Uuid, job: &NewJob, state: &str) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "insert into jobs (job_id, kind, slot, reason, arguments, priority, max_attempts, state)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict on constraint jobs_kind_slot_key do nothing",
        job_id,
        job.kind,
        job.slot,
        job.reason,
        job.arguments,
        job.priority,
        job.max_attempts,
        state
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Begins a run of a job: counts it, which ends the lease of an earlier one.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn claim(pool: &PgPool, job_id: Uuid, worker: &str) -> Result<Claim, StoreError> {
    let mut transaction = pool.begin().await?;
    let Some(job) = locked(&mut transaction, job_id).await? else { return Ok(Claim::Over) };
    if !matches!(job.state.as_str(), "queued" | "running") {
        return Ok(Claim::Over);
    }
    if job.state == "running" && job.worker.as_deref() != Some(worker) && is_fresh(&mut transaction, job_id).await? {
        return Ok(Claim::Busy);
    }
    if job.state == "running" {
        keep_attempt(&mut transaction, &job, "lost", Some("its worker was not heard of any more")).await?;
    }
    if job.cancel_requested_at.is_some() || job.attempts >= job.max_attempts {
        let cancelled = job.cancel_requested_at.is_some();
        let why = "its workers died or were cut off every time";
        sqlx::query!(
            "update jobs set state = $2, finished_at = clock_timestamp(), error = coalesce($3, error) where job_id = $1",
            job_id,
            if cancelled { "cancelled" } else { "failed" },
            (!cancelled).then_some(why)
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        return Ok(if cancelled { Claim::Over } else { Claim::GivenUp });
    }
    sqlx::query!(
        "update jobs set state = 'running', attempts = attempts + 1, worker = $2, started_at = clock_timestamp(),
                renewed_at = clock_timestamp(), progress = null
         where job_id = $1",
        job_id,
        worker
    )
    .execute(&mut *transaction)
    .await?;
    let claimed = locked(&mut transaction, job_id).await?;
    transaction.commit().await?;
    Ok(claimed.map_or(Claim::Over, |job| Claim::Run(Box::new(job))))
}

/// Whether a run was heard of within five seconds; one that lives says so each second.
async fn is_fresh(connection: &mut PgConnection, job_id: Uuid) -> Result<bool, StoreError> {
    let row = sqlx::query!(
        r#"select renewed_at > clock_timestamp() - interval '5 seconds' as "is_fresh!" from jobs where job_id = $1"#,
        job_id
    )
    .fetch_one(connection)
    .await?;
    Ok(row.is_fresh)
}

/// Refuses the caller's transaction when the lease was lost or the job is to be cancelled: for effects that do not end it.
///
/// # Errors
/// [`StoreError::LeaseLost`]: the transaction must not commit.
pub async fn hold(connection: &mut PgConnection, lease: Lease) -> Result<(), StoreError> {
    let held = sqlx::query!(
        "select job_id from jobs
         where job_id = $1 and attempts = $2 and state = 'running' and cancel_requested_at is null for update",
        lease.job_id,
        lease.attempt
    )
    .fetch_optional(connection)
    .await?;
    held.map(|_| ()).ok_or(StoreError::LeaseLost)
}

/// Says that a run is alive and how far it is.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn renew(pool: &PgPool, lease: Lease, progress: Option<&Value>) -> Result<Renewal, StoreError> {
    let row = sqlx::query!(
        r#"update jobs set renewed_at = clock_timestamp(), progress = coalesce($3, progress)
           where job_id = $1 and attempts = $2 and state = 'running'
           returning cancel_requested_at is not null as "cancelled!""#,
        lease.job_id,
        lease.attempt,
        progress
    )
    .fetch_optional(pool)
    .await?;
    Ok(match row {
        None => Renewal::Lost,
        Some(row) if row.cancelled => Renewal::CancelRequested,
        Some(_) => Renewal::Held,
    })
}

/// Ends a job well, in the transaction that makes its effect: either both are seen or neither, so a job that is run again
/// after a crash has no second effect.
///
/// # Errors
/// [`StoreError::LeaseLost`] when another run took over or the job was cancelled meanwhile: the transaction must not commit.
pub async fn succeed(connection: &mut PgConnection, lease: Lease, result: &Value) -> Result<(), StoreError> {
    let row = sqlx::query!(
        "update jobs set state = 'succeeded', finished_at = clock_timestamp(), error = null, result = $3
         where job_id = $1 and attempts = $2 and state = 'running' and cancel_requested_at is null
         returning worker, started_at",
        lease.job_id,
        lease.attempt,
        result
    )
    .fetch_optional(&mut *connection)
    .await?;
    let row = row.ok_or(StoreError::LeaseLost)?;
    sqlx::query!(
        "insert into job_attempts (job_id, attempt, worker, started_at, outcome) values ($1, $2, $3, $4, 'succeeded')",
        lease.job_id,
        lease.attempt,
        row.worker.unwrap_or_default(),
        row.started_at.unwrap_or_default()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// [`succeed`] where the work is a job's; nothing where a person does it.
///
/// # Errors
/// As [`succeed`].
pub async fn succeed_if_leased(
    connection: &mut PgConnection,
    lease: Option<Lease>,
    result: &Value,
) -> Result<(), StoreError> {
    match lease {
        Some(lease) => succeed(connection, lease, result).await,
        None => Ok(()),
    }
}

/// How a run ended that had no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It failed; tried again while attempts are left.
    Failed(String),
    /// It was cancelled.
    Cancelled,
    /// Its worker was told to end; the run does not count.
    Stopped,
}

/// Records a run without effect; returns the state that the job is in now. A run that lost its lease changes nothing.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn end(pool: &PgPool, lease: Lease, ending: &Ending) -> Result<String, StoreError> {
    let mut transaction = pool.begin().await?;
    let Some(job) = locked(&mut transaction, lease.job_id).await? else { return Ok("failed".into()) };
    if job.attempts != lease.attempt || job.state != "running" {
        return Ok(job.state);
    }
    let (outcome, error) = match ending {
        Ending::Failed(why) => ("failed", Some(why.as_str())),
        Ending::Cancelled => ("cancelled", None),
        Ending::Stopped => ("stopped", None),
    };
    let state = match ending {
        Ending::Failed(_) if job.attempts >= job.max_attempts => "failed",
        Ending::Cancelled => "cancelled",
        Ending::Failed(_) | Ending::Stopped => "queued",
    };
    keep_attempt(&mut transaction, &job, outcome, error).await?;
    let more = i16::from(*ending == Ending::Stopped);
    sqlx::query!(
        "update jobs set state = $2, error = coalesce($3, error), max_attempts = least(max_attempts + $4, 100),
                finished_at = case when $2 = 'queued' then null else clock_timestamp() end
         where job_id = $1",
        lease.job_id,
        state,
        error,
        more
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(state.into())
}

async fn keep_attempt(
    connection: &mut PgConnection,
    job: &JobRow,
    outcome: &str,
    error: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into job_attempts (job_id, attempt, worker, started_at, outcome, error) values ($1, $2, $3, $4, $5, $6)
         on conflict on constraint job_attempts_pkey do nothing",
        job.job_id,
        job.attempts,
        job.worker.as_deref().unwrap_or_default(),
        job.started_at.unwrap_or(job.created_at),
        outcome,
        error
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Asks for a job to be cancelled: one that waits is cancelled at once, one that runs when its worker hears of it. `None`
/// when there is no such job; else its record afterwards.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn cancel(pool: &PgPool, job_id: Uuid) -> Result<Option<JobRow>, StoreError> {
    let mut transaction = pool.begin().await?;
    if locked(&mut transaction, job_id).await?.is_none() {
        return Ok(None);
    }
    sqlx::query!(
        "update jobs set cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
                finished_at = case when state = 'queued' then clock_timestamp() end,
                state = case when state = 'queued' then 'cancelled' else state end
         where job_id = $1 and state in ('queued', 'running')",
        job_id
    )
    .execute(&mut *transaction)
    .await?;
    let job = locked(&mut transaction, job_id).await?;
    transaction.commit().await?;
    Ok(job)
}

async fn locked(connection: &mut PgConnection, job_id: Uuid) -> Result<Option<JobRow>, StoreError> {
    Ok(sqlx::query_as!(
        JobRow,
        "select job_id, kind, slot, reason, arguments, priority, max_attempts, created_at, state, attempts, worker, started_at,
                renewed_at, finished_at, cancel_requested_at, progress, error, result
         from jobs where job_id = $1 for update",
        job_id
    )
    .fetch_optional(connection)
    .await?)
}

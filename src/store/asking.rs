//! Asking for jobs by people and programs: the same request once, and the same work once.

use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::store::arguments::JobArguments;
use crate::store::jobs::{self, JobRow, NewJob};
use crate::store::kinds::JobKind;
use crate::store::{StoreError, keys};

/// Advisory lock: held by the one transaction that looks for a job and asks for it where there is none.
const ASKING_LOCK: i64 = 0x0066_6f72_6563_6103;

/// Who asks for what.
#[derive(Debug, Clone, PartialEq)]
pub struct Asking {
    /// What is to be done.
    pub arguments: JobArguments,
    /// Names the request, so that asking again for the same gives the same job; see [`slot_of_key`].
    pub slot: Option<String>,
    /// Who asks, for the record.
    pub reason: String,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// A new job.
    Made(Box<JobRow>),
    /// The job that this request made, or was given, when it came before.
    SameRequest(Box<JobRow>),
    /// A job that does the same and was asked for already.
    SameWork(Box<JobRow>),
    /// The slot stands for another request; this is its job.
    SlotTaken(Box<JobRow>),
}

/// The slot of a request that names itself by a key of its own choice (`Idempotency-Key`), which is only kept as a hash.
#[must_use]
pub fn slot_of_key(key_id: Uuid, idempotency_key: &str) -> String {
    format!("key {key_id} {}", hex::encode(keys::hash_secret(idempotency_key)))
}

/// Asks for a job unless the same request made one before, or one that does the same waits. A job that has not begun will
/// see everything that is there now, so nothing is lost by waiting for it. Of a training and of a backfill also the one
/// that runs counts: they take long, and a second would only do it again.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn ask_once(pool: &PgPool, asking: &Asking) -> Result<Asked, StoreError> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock($1) as locked", ASKING_LOCK).fetch_one(&mut *transaction).await?;
    if let Some(slot) = &asking.slot
        && let Some(earlier) = of_slot(&mut transaction, slot).await?
    {
        transaction.rollback().await?;
        let same = earlier.kind == asking.arguments.kind().as_str() && earlier.arguments == asking.arguments.to_value();
        let job = found(pool, followed(&earlier)).await?;
        return Ok(if same { Asked::SameRequest(job) } else { Asked::SlotTaken(job) });
    }
    let job = asking.arguments.new_job(asking.slot.clone(), &asking.reason);
    if let Some(job_id) = same_work(&mut transaction, &job, counts_while_running(asking.arguments.kind())).await? {
        if job.slot.is_some() {
            remember(&mut transaction, &job, job_id).await?;
        }
        transaction.commit().await?;
        return Ok(Asked::SameWork(found(pool, job_id).await?));
    }
    let made = jobs::ask(&mut transaction, &job).await?;
    transaction.commit().await?;
    let job_id = made.ok_or_else(|| StoreError::row("a slot was taken while it was held"))?;
    Ok(Asked::Made(found(pool, job_id).await?))
}

/// Asks for a job unless one with the same arguments waits already; tells the one that waits or was made. One that runs
/// does not count: it may have looked before what it is asked for happened.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn ask_unless_queued(connection: &mut PgConnection, job: &NewJob) -> Result<Uuid, StoreError> {
    sqlx::query!("select pg_advisory_xact_lock($1) as locked", ASKING_LOCK).fetch_one(&mut *connection).await?;
    let queued = same_work(connection, job, false).await?;
    match queued {
        Some(job_id) => Ok(job_id),
        None => {
            let asked = jobs::ask(connection, &NewJob { slot: None, ..job.clone() }).await?;
            asked.ok_or_else(|| StoreError::row("a job without a slot was taken for another"))
        }
    }
}

const fn counts_while_running(kind: JobKind) -> bool {
    matches!(kind, JobKind::Train | JobKind::Backfill)
}

struct Earlier {
    job_id: Uuid,
    kind: String,
    arguments: Value,
    result: Option<Value>,
}

/// The job that was given to the request: its own, or the one that did the same at the time.
fn followed(earlier: &Earlier) -> Uuid {
    let other = earlier.result.as_ref().and_then(|result| result.get(GIVEN)?.as_str()?.parse().ok());
    other.unwrap_or(earlier.job_id)
}

/// Field of a skipped request's result that names the job it was given.
const GIVEN: &str = "same_work";

async fn of_slot(connection: &mut PgConnection, slot: &str) -> Result<Option<Earlier>, StoreError> {
    let kinds: Vec<String> = JobKind::ALL.iter().map(ToString::to_string).collect();
    Ok(sqlx::query_as!(
        Earlier,
        "select job_id, kind, arguments, case when state = 'skipped' then result end as result
         from jobs where kind = any($1) and slot = $2 order by job_id limit 1",
        &kinds,
        slot
    )
    .fetch_optional(connection)
    .await?)
}

async fn same_work(connection: &mut PgConnection, job: &NewJob, running: bool) -> Result<Option<Uuid>, StoreError> {
    let row = sqlx::query!(
        "select job_id from jobs
         where kind = $1 and arguments = $2 and cancel_requested_at is null
             and (state = 'queued' or ($3 and state = 'running'))
         order by job_id limit 1",
        job.kind,
        job.arguments,
        running
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.job_id))
}

/// Keeps what the request was given, so that asking again finds it.
async fn remember(connection: &mut PgConnection, job: &NewJob, given: Uuid) -> Result<(), StoreError> {
    let why = format!("the job {given} does the same and was asked for before");
    jobs::skip(connection, job, &why).await?;
    sqlx::query!(
        "update jobs set result = $3 where kind = $1 and slot = $2",
        job.kind,
        job.slot,
        json!({ GIVEN: given })
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn found(pool: &PgPool, job_id: Uuid) -> Result<Box<JobRow>, StoreError> {
    let job = jobs::find(pool, job_id).await?;
    job.map(Box::new).ok_or_else(|| StoreError::row("a job has gone while it was asked for"))
}

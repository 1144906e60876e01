//! The job queue: the library's tables in a schema of their own, and the rights of the running role on them.

use std::time::Duration;

use graphile_worker::{SweepStaleWorkersOptions, WorkerUtils};
use serde_json::json;
use sqlx::{Executor, PgConnection, PgPool};
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::jobs::NewJob;

/// Schema of the library's tables.
pub const SCHEMA: &str = "forecastd_queue";
/// What the queue calls a job of ours; its payload names the job.
pub const TASK: &str = "run_job";

/// Newest migration of the library's tables that the compiled version of the library has; a test holds it against what
/// the library makes.
pub const NEWEST_MIGRATION: i32 = 22;

/// Rights of the running role. The library guards its tables by row security, which lets in nobody but their owner, so
/// each gets a policy for the role as well. Said again at every start, because the library may bring new tables.
const RIGHTS: &str = r"
do $$
declare
    guarded record;
begin
    grant usage on schema forecastd_queue to forecastd_service;
    grant select, insert, update, delete on all tables in schema forecastd_queue to forecastd_service;
    grant usage on all sequences in schema forecastd_queue to forecastd_service;
    grant execute on all functions in schema forecastd_queue to forecastd_service;
    for guarded in
        select c.relname from pg_class c
        where c.relnamespace = 'forecastd_queue'::regnamespace and c.relrowsecurity
            and not exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'forecastd_service_policy')
    loop
        execute format('create policy forecastd_service_policy on forecastd_queue.%I to forecastd_service using (true)', guarded.relname);
    end loop;
end
$$";

/// Brings the library's tables up to date with the rights of their owner; the pool has two connections at least.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached or refuses.
pub async fn migrate(owner: &PgPool) -> Result<(), StoreError> {
    let mut transaction = owner.begin().await?;
    // Two programs that start at once would collide over the same catalogue rows.
    transaction.execute("select pg_advisory_xact_lock(29099034600989187)").await?;
    let utils = WorkerUtils::new(owner.clone(), SCHEMA.to_owned());
    utils.migrate().await.map_err(|error| StoreError::Queue(error.to_string()))?;
    transaction.execute(RIGHTS).await?;
    transaction.commit().await?;
    Ok(())
}

/// Whether the library's tables have all that this version of it needs. The running role may not make the schema, so a
/// worker would fail to.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached.
pub async fn is_current(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let exists: bool = sqlx::query_scalar("select to_regclass('forecastd_queue.migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(false);
    }
    let newest: Option<i32> =
        sqlx::query_scalar("select max(id) from forecastd_queue.migrations").fetch_one(connection).await?;
    Ok(newest >= Some(NEWEST_MIGRATION))
}

/// Takes the jobs of all workers back into the queue at once. Only for a server that has just been started and is nobody
/// else's: then every worker that it knows is dead.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn take_back(pool: &PgPool) -> Result<(), StoreError> {
    let now = Some(Duration::ZERO);
    let options = SweepStaleWorkersOptions { sweep_threshold: now, recovery_delay: now, dry_run: false };
    let swept = WorkerUtils::new(pool.clone(), SCHEMA.to_owned()).sweep_stale_workers(options).await;
    let swept = swept.map_err(|error| StoreError::Queue(error.to_string()))?;
    if swept.recovered_count > 0 {
        tracing::info!("{} jobs were cut off with the service and are taken up again", swept.recovered_count);
    }
    Ok(())
}

/// Puts a job into the queue, in the caller's transaction. The schema is made by the library, not by our migrations, so
/// the query cannot be checked when it is compiled.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn add(connection: &mut PgConnection, job_id: Uuid, job: &NewJob) -> Result<(), StoreError> {
    sqlx::query(
        "select id from forecastd_queue.add_job($1, $2::json, queue_name => $3, max_attempts => 100, job_key => $4, priority => $5)",
    )
    .bind(TASK)
    .bind(json!({ "job_id": job_id }))
    .bind(job.kind)
    .bind(job_id.to_string())
    .bind(i32::from(job.priority))
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts jobs that wait or run by their record, and are not in the queue, into it again: after a restore, or where a run
/// that had lost its lease took the queue's row along. Frees queues whose lock such a run left behind. Returns how many jobs.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn repair(pool: &PgPool) -> Result<u64, StoreError> {
    let mut transaction = pool.begin().await?;
    transaction.execute("select pg_advisory_xact_lock(29099034600989187)").await?;
    // Materialized, because adding a job has effects and must only see those that are missing.
    let added = sqlx::query(
        "with missing as materialized (
             select j.job_id, j.kind, j.priority from jobs j
             where j.state in ('queued', 'running')
                 and not exists (select from forecastd_queue._private_jobs as p where p.key = j.job_id::text)
             for update skip locked
         )
         select q.id
         from missing m
         cross join lateral forecastd_queue.add_job($1, json_build_object('job_id', m.job_id), queue_name => m.kind,
             max_attempts => 100, job_key => m.job_id::text, priority => m.priority::int) as q",
    )
    .bind(TASK)
    .execute(&mut *transaction)
    .await?;
    // A queue whose lock belongs to no job would never be worked on again.
    transaction
        .execute(
            "update forecastd_queue._private_job_queues as q set locked_by = null, locked_at = null
             where q.locked_by is not null and q.locked_at < now() - interval '10 seconds'
                 and not exists (
                     select from forecastd_queue._private_jobs as p
                     where p.job_queue_id = q.id and p.locked_by = q.locked_by
                 )",
        )
        .await?;
    transaction.commit().await?;
    Ok(added.rows_affected())
}

//! Takes jobs from the queue and runs each in a child process of the same program.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use graphile_worker::{
    FailureReason, IntoTaskHandlerResult, JobRecovery, JobRecoveryResult, TaskHandler, WorkerContext, WorkerOptions,
    WorkerRecoveryConfig,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use crate::jobs::child::{ChildSettings, Outcome, run};
use crate::store::jobs::{self, Claim, Ending, Lease};
use crate::store::kinds::JobKind;
use crate::store::queue::{SCHEMA, TASK};

/// Rest before the queue is joined again after the store failed.
const REST: Duration = Duration::from_secs(1);
/// How long a run may take to end after a stop was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// How jobs are worked on.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Jobs at once.
    pub jobs_at_once: NonZeroUsize,
    /// A worker that was not heard of for so long has lost its jobs to the others.
    pub lease: Duration,
    /// How the child processes are started, and within what limits.
    pub child: ChildSettings,
}

/// Works until a stop is asked for. A store that goes away is waited for.
pub async fn work(pool: PgPool, settings: WorkerSettings, mut stop: watch::Receiver<bool>) {
    let shared = Arc::new(Shared { pool, settings, stop: stop.clone() });
    while !*stop.borrow() {
        let outcome = join_queue(&shared).await;
        if *stop.borrow() {
            break;
        }
        if let Err(reason) = outcome {
            tracing::warn!("the worker left the queue and joins it again: {reason}");
        }
        let _ = tokio::time::timeout(REST, stop.changed()).await;
    }
}

/// Works until the stop, or until the library gives up because of the store: a fresh worker must join then.
async fn join_queue(shared: &Arc<Shared>) -> Result<(), String> {
    let lease = shared.settings.lease;
    let recovery = WorkerRecoveryConfig::default()
        .enabled(true)
        .heartbeat_interval(lease / 4)
        .sweep_interval(lease / 4)
        .sweep_threshold(lease)
        .recovery_delay(Duration::ZERO);
    let mut stopped = shared.stop.clone();
    let worker = WorkerOptions::default()
        .pg_pool(shared.pool.clone())
        .schema(SCHEMA)
        .concurrency(shared.settings.jobs_at_once.get())
        .poll_interval(REST)
        .worker_recovery(recovery)
        .listen_os_shutdown_signals(false)
        .shutdown_signal(async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .shutdown_grace_period(GRACE)
        .shutdown_interrupted_job_retry_delay(Duration::ZERO)
        .add_extension(Arc::clone(shared))
        .define_job::<RunJob>()
        // The library would not count a run that took its worker along; the record does, and gives up in the end.
        .on(JobRecovery, |recovered| async move {
            match recovered.reason {
                FailureReason::WorkerCrashed => JobRecoveryResult::FailWithBackoff,
                _ => JobRecoveryResult::Default,
            }
        })
        .init()
        .await
        .map_err(|error| error.to_string())?;
    worker.run().await.map_err(|error| error.to_string())
}

struct Shared {
    pool: PgPool,
    settings: WorkerSettings,
    stop: watch::Receiver<bool>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct RunJob {
    job_id: Uuid,
}

impl TaskHandler for RunJob {
    const IDENTIFIER: &'static str = TASK;

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let shared =
            context.get_ext::<Arc<Shared>>().cloned().ok_or_else(|| "the worker has no settings".to_owned())?;
        run_to_end(&shared, self.job_id, context.worker_id()).await
    }
}

/// Runs a job as far as this worker can: `Err` asks the queue to bring it again after a while.
async fn run_to_end(shared: &Shared, job_id: Uuid, worker: &str) -> Result<(), String> {
    let worker = format!("{}:{}:{}", host(), std::process::id(), worker.trim_start_matches("graphile_worker_"));
    if let Some(job) = jobs::find(&shared.pool, job_id).await.map_err(|error| error.to_string())?
        && job.kind.parse::<JobKind>().is_err()
    {
        return Err(format!("{} jobs are for a later version of this program", job.kind));
    }
    let job = match jobs::claim(&shared.pool, job_id, &worker).await.map_err(|error| error.to_string())? {
        Claim::Run(job) => job,
        Claim::Over => return Ok(()),
        Claim::Busy => return Err("another run of it was heard of just now".into()),
        Claim::GivenUp => {
            tracing::error!("job {job_id} is given up: its workers died or were cut off every time");
            return Ok(());
        }
    };
    let lease = Lease { job_id, attempt: job.attempts };
    tracing::info!("job {job_id}: {} begins, run {} ({})", job.kind, job.attempts, job.reason);
    let outcome = run(&shared.pool, lease, &shared.settings.child, shared.stop.clone()).await;
    let ending = match outcome {
        Outcome::Succeeded => {
            tracing::info!("job {job_id}: {} is done", job.kind);
            return Ok(());
        }
        Outcome::Lost => {
            tracing::warn!("job {job_id}: {} was taken over by another worker; this run was ended", job.kind);
            // Not done for the queue: that would take the row of the run that took over along.
            return Err("another run took over".into());
        }
        Outcome::Cancelled => Ending::Cancelled,
        Outcome::Stopped => Ending::Stopped,
        Outcome::Failed(why) => Ending::Failed(why),
    };
    let state = jobs::end(&shared.pool, lease, &ending).await.map_err(|error| error.to_string())?;
    match (state.as_str(), ending) {
        ("queued", Ending::Failed(why)) => {
            tracing::warn!("job {job_id}: {} failed and is tried again: {why}", job.kind);
            Err(why)
        }
        ("queued", _) => Err("the worker was told to end".into()),
        ("failed", Ending::Failed(why)) => {
            tracing::error!("job {job_id}: {} failed for good after {} runs: {why}", job.kind, job.attempts);
            Ok(())
        }
        (state, _) => {
            tracing::info!("job {job_id}: {} is {state}", job.kind);
            Ok(())
        }
    }
}

/// The name of this machine, for the record.
fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

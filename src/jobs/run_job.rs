//! One run of a job in a process of its own: what the worker's child does.

use anyhow::Context;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::{Map, Value, json};

use crate::cli::operation::RunJobArgs;
use crate::cli::research::BackfillArgs;
use crate::clock;
use crate::jobs::live_performance::live_performance;
use crate::jobs::progress::{self, Message};
use crate::jobs::prune::{self, Pruning};
use crate::jobs::scheduler::SCHEDULED;
use crate::jobs::train::{Past, Training};
use crate::jobs::{backfill, drift, import, publish, score, tools, train};
use crate::store::arguments::JobArguments;
use crate::store::asking;
use crate::store::jobs::{self, JobRow, Lease};
use crate::store::kinds::JobKind;
use crate::store::open::Store;
use crate::store::signing::{HeadSigner, KeyFile};

/// A scheduled training wants so many new sessions at least.
const FEWEST_NEW_SESSIONS: usize = 3;

/// Prepares this process: low priority, limited memory, an end with its worker, progress for the worker.
///
/// # Errors
/// When the memory cannot be limited.
pub fn prepare(arguments: &RunJobArgs) -> anyhow::Result<()> {
    tools::lower_priority();
    tools::stop_with_parent();
    progress::report_to_worker();
    if let Some(bytes) = arguments.memory_limit_bytes {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        setrlimit(Resource::As, limit).context("the memory cannot be limited")?;
    }
    Ok(())
}

/// Runs the job; its effect and its end are recorded together.
///
/// # Errors
/// When the job is not this run's, or fails; the reason was told to the worker then.
pub async fn run_job(store: &Store, key: &KeyFile, arguments: &RunJobArgs) -> anyhow::Result<()> {
    let lease = Lease { job_id: arguments.job_id, attempt: arguments.attempt };
    let outcome = dispatch(store, key, lease, arguments).await;
    if let Err(error) = &outcome {
        progress::tell(&Message::Error { error: format!("{error:#}") });
    }
    outcome
}

async fn dispatch(store: &Store, key: &KeyFile, lease: Lease, arguments: &RunJobArgs) -> anyhow::Result<()> {
    let recipe = &arguments.recipe;
    let job = jobs::find(&store.pool, lease.job_id).await?.context("there is no such job")?;
    anyhow::ensure!(
        job.state == "running" && job.attempts == lease.attempt,
        "run {} of this job is over; it is {} in run {}",
        lease.attempt,
        job.state,
        job.attempts
    );
    let result = match checked(&job)? {
        JobArguments::Publish(wanted) => {
            match publish::publish_as_job(store, &HeadSigner::for_ledger(&store.pool, key).await?, wanted.again, lease)
                .await?
            {
                Some(_) => return Ok(()),
                None => json!({ "published": null, "reason": "nothing new was recorded since the last publication" }),
            }
        }
        JobArguments::Train(wanted) => {
            let past = if wanted.walk { Past::Walked } else { Past::Kept };
            // A person who asks wants a training; the schedule only one that could learn something.
            let unless_fewer_than = (job.reason == SCHEDULED).then_some(FEWEST_NEW_SESSIONS);
            train::train_if_due(store, &Training { config: recipe, past, unless_fewer_than, lease: Some(lease) })
                .await?;
            return Ok(());
        }
        JobArguments::Import(wanted) => {
            let paths: Vec<_> = wanted.paths.iter().map(Into::into).collect();
            let report = import::import(&store.pool, &paths).await?;
            anyhow::ensure!(report.files > 0, "no file could be imported; the reasons are in the worker's messages");
            json!({ "files": report.files, "refused": report.refused.len() })
        }
        JobArguments::Score => return score_all(store, lease).await,
        JobArguments::Drift => {
            let live = live_performance(&store.pool, clock::now().date_naive()).await?;
            drift::drift(store, arguments.drift, live, Some(lease)).await?;
            return Ok(());
        }
        JobArguments::Prune(wanted) => {
            let keep = wanted.keep.and_then(|keep| i32::try_from(keep).ok()).unwrap_or(prune::KEEP);
            prune::prune(store, Some(lease), Pruning { keep, folds: false }).await?;
            return Ok(());
        }
        JobArguments::Backfill(wanted) => {
            let asked = BackfillArgs { range: serde_json::from_value(json!(wanted))?, recipe: recipe.clone() };
            backfill::backfill(store, &HeadSigner::for_ledger(&store.pool, key).await?, &asked, Some(lease)).await?;
            return Ok(());
        }
    };
    finish(store, lease, &result).await
}

/// One run scores as much as fits into a transaction; what is left is the next job's.
async fn score_all(store: &Store, lease: Lease) -> anyhow::Result<()> {
    let scored = score::score(store, Some(lease)).await?;
    if scored.left > 0 {
        let mut transaction = store.pool.begin().await?;
        let next = JobArguments::Score.new_job(None, format!("{} publications are left to score", scored.left));
        asking::ask_unless_queued(&mut transaction, &next).await?;
        transaction.commit().await?;
    }
    Ok(())
}

fn checked(job: &JobRow) -> anyhow::Result<JobArguments> {
    let kind: JobKind = job.kind.parse().map_err(|error| anyhow::anyhow!("{:?} {error}", job.kind))?;
    let none = Map::new();
    let given = match &job.arguments {
        Value::Object(given) => given,
        _ => &none,
    };
    JobArguments::read(kind, given).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the arguments of the job cannot be used: {}", errors.join("; "))
    })
}

/// Ends a job that had nothing to change, or whose changes are idempotent and done.
async fn finish(store: &Store, lease: Lease, result: &Value) -> anyhow::Result<()> {
    let mut transaction = store.pool.begin().await?;
    jobs::succeed(&mut transaction, lease, result).await?;
    transaction.commit().await?;
    Ok(())
}

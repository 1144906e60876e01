//! Asks for the jobs that are due. Any number of instances may do so: a slot has one job.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::PgPool;
use tokio::sync::watch;

use crate::cli::operation::ScheduleConfig;
use crate::clock;
use crate::market::schedule::Schedule;
use crate::store::arguments::{JobArguments, PruneArguments, PublishArguments, TrainArguments};
use crate::store::jobs::{self, NewJob};
use crate::store::{StoreError, queue, schedules};

/// How often the schedules are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How often they are when time is rehearsed.
const LOOK_REHEARSED: Duration = Duration::from_millis(100);
/// How often the queue is compared with the record of jobs.
const REPAIR: Duration = Duration::from_secs(60);

/// Why a job was asked for that is due by its schedule.
pub const SCHEDULED: &str = "schedule";

/// One kind of job and when it is due.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// What is asked for.
    pub arguments: JobArguments,
    /// When.
    pub schedule: Schedule,
}

/// The jobs of a configuration, with their schedules.
#[must_use]
pub fn scheduled(config: &ScheduleConfig) -> Vec<Scheduled> {
    let entries = [
        (JobArguments::Publish(PublishArguments::default()), &config.publish_schedule),
        (JobArguments::Score, &config.score_schedule),
        (JobArguments::Drift, &config.drift_schedule),
        (JobArguments::Train(TrainArguments { walk: true }), &config.train_schedule),
        (JobArguments::Prune(PruneArguments::default()), &config.prune_schedule),
    ];
    let due = |(arguments, due): (JobArguments, &crate::cli::operation::Due)| {
        due.0.clone().map(|schedule| Scheduled { arguments, schedule })
    };
    entries.into_iter().filter_map(due).collect()
}

/// Asks for what is due until a stop is asked for. A store that goes away is waited for, and what was missed meanwhile is
/// caught up with.
pub async fn keep_schedule(pool: PgPool, scheduled: Vec<Scheduled>, mut stop: watch::Receiver<bool>) {
    let pause = if clock::is_rehearsed() { LOOK_REHEARSED } else { LOOK };
    let mut repaired = tokio::time::Instant::now();
    while !*stop.borrow() {
        for one in &scheduled {
            if let Err(error) = ask_for_due(&pool, one, clock::now()).await {
                tracing::warn!("the schedule of {} jobs waits for the store: {error}", one.arguments.kind());
                break;
            }
        }
        if repaired.elapsed() >= REPAIR {
            repaired = tokio::time::Instant::now();
            match queue::repair(&pool).await {
                Ok(0) => {}
                Ok(found) => tracing::warn!("{found} jobs were missing from the queue and are in it again"),
                Err(error) => tracing::debug!("the queue could not be looked through: {error}"),
            }
        }
        let _ = tokio::time::timeout(pause, stop.changed()).await;
    }
}

/// Asks for the newest slot that is due and has no job; slots before it that nobody ran are recorded as skipped, because
/// the newest stands for them: it publishes, scores and learns all that came in meanwhile. Returns the slots asked for.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn ask_for_due(
    pool: &PgPool,
    scheduled: &Scheduled,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let kind = scheduled.arguments.kind();
    let after = schedules::reached(pool, kind.as_str(), now).await?;
    let slots = scheduled.schedule.slots(after, now);
    let Some((newest, missed)) = slots.split_last() else { return Ok(None) };
    let job = |slot: &DateTime<Utc>| NewJob {
        slot: Some(slot.to_rfc3339_opts(SecondsFormat::Secs, true)),
        ..scheduled.arguments.new_job(None, SCHEDULED)
    };
    let mut transaction = pool.begin().await?;
    for slot in missed {
        jobs::skip(&mut transaction, &job(slot), "missed while nothing kept the schedule; the next slot stands for it")
            .await?;
    }
    let asked = jobs::ask(&mut transaction, &job(newest)).await?;
    schedules::reach(&mut transaction, kind.as_str(), *newest).await?;
    transaction.commit().await?;
    if asked.is_some() {
        tracing::info!("{kind} is due since {newest}");
    }
    Ok(asked.map(|_| *newest))
}

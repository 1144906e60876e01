//! Whether the alarms of a drift report ask for a training, and the limits on that.

use chrono::{DateTime, Datelike, Days, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::opinion::drift::Alarm;
use crate::store::arguments::{JobArguments, TrainArguments};
use crate::store::jobs::{self, NewJob};
use crate::store::{StoreError, drift};

/// Days over which the trainings are counted.
const DAYS: u64 = 30;
/// Sessions after the training span from which on a training would see something new.
const NEW_SESSIONS: usize = 5;
/// Place of the training in the queue: after what is due by the schedule.
const PRIORITY: i16 = 10;

/// When drift may ask.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    /// The time of the service.
    pub now: DateTime<Utc>,
    /// Sessions that the model in force has not learnt from; `None` without a model.
    pub new_sessions: Option<usize>,
    /// Trainings that drift may ask for in 30 days.
    pub most: u32,
}

/// What came of the alarms.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Retrain {
    /// The training that was asked for.
    pub job_id: Option<Uuid>,
    /// Why, or why not.
    pub reason: String,
}

impl Retrain {
    fn not(reason: impl Into<String>) -> Self {
        Self { job_id: None, reason: reason.into() }
    }
}

/// Asks for a training when an alarm calls for one, in the caller's transaction: at most one a week, at most so many in 30
/// days, none while one waits or runs, none when there is nothing new to learn from.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn ask(connection: &mut PgConnection, alarms: &[Alarm], situation: Situation) -> Result<Retrain, StoreError> {
    let Some(alarm) = alarms.iter().find(|alarm| alarm.kind.calls_for_training()) else {
        return Ok(Retrain::not("no alarm calls for a training"));
    };
    match situation.new_sessions {
        None => return Ok(Retrain::not("there is no model yet")),
        Some(new) if new < NEW_SESSIONS => {
            return Ok(Retrain::not(format!("the model in force has learnt from all but {new} sessions")));
        }
        Some(_) => {}
    }
    if drift::is_training_under_way(connection).await? {
        return Ok(Retrain::not("a training waits or runs already"));
    }
    let since = situation.now.checked_sub_days(Days::new(DAYS)).unwrap_or(situation.now);
    let asked = drift::trainings_since(connection, since).await?;
    if asked >= i64::from(situation.most) {
        return Ok(Retrain::not(format!("drift has asked for {asked} trainings in {DAYS} days, the limit")));
    }
    let train = JobArguments::Train(TrainArguments { walk: true });
    let job = NewJob {
        slot: Some(slot(situation.now)),
        reason: format!("drift: {}", alarm.message),
        priority: PRIORITY,
        ..train.new_job(None, "")
    };
    Ok(match jobs::ask(connection, &job).await? {
        Some(job_id) => Retrain { job_id: Some(job_id), reason: job.reason },
        None => Retrain::not("drift has asked for a training this week"),
    })
}

/// The ISO week: `drift 2024-W40`.
fn slot(now: DateTime<Utc>) -> String {
    let week = now.iso_week();
    format!("drift {}-W{:02}", week.year(), week.week())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_a_week_and_the_last_days_of_a_year_may_belong_to_the_next() {
        let of = |text: &str| slot(text.parse().unwrap());
        assert_eq!(of("2024-09-30T21:00:00Z"), "drift 2024-W40");
        assert_eq!(of("2024-12-31T21:00:00Z"), "drift 2025-W01");
        assert_eq!(of("2027-01-01T21:00:00Z"), "drift 2026-W53");
    }
}

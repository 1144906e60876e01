//! A job as an answer: what was asked for, how far it is, how each of its runs ended.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::jobs::{AttemptRow, JobRow};

/// What a list says of a job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = JobSummary)]
pub struct SummaryAnswer {
    /// Name.
    #[schema(example = "0193576e-0a3c-7c53-b2c8-1f9f5d2c7a10")]
    pub id: Uuid,
    /// What is to be done: `publish`, `import`, `score`, `drift`, `train`, `prune` or `backfill`.
    #[schema(example = "train")]
    pub kind: String,
    /// `queued`, `running`, `succeeded`, `failed`, `cancelled`, or `skipped` for a slot that passed without a run.
    #[schema(example = "running")]
    pub state: String,
    /// What it is given.
    #[schema(value_type = Object, example = json!({"walk": false}))]
    pub arguments: Value,
    /// Who or what asked.
    #[schema(example = "asked over HTTP with the key operations")]
    pub reason: String,
    /// What it is for, such as the instant of its schedule: one job a kind and slot. `null` for one that stands for itself.
    #[schema(example = "2024-09-30T20:15:00Z")]
    pub slot: Option<String>,
    /// Lower runs first.
    #[schema(example = 0)]
    pub priority: i16,
    /// Runs begun, the newest included.
    #[schema(example = 1)]
    pub attempt: i16,
    /// Failed runs after which it is given up.
    #[schema(example = 3)]
    pub max_attempts: i16,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: DateTime<Utc>,
    /// When the newest run began; `null` before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended for good; `null` until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<DateTime<Utc>>,
    /// Who runs it, or ran it last.
    #[schema(example = "worker-1/4711")]
    pub worker: Option<String>,
    /// When its worker was last heard of.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub renewed_at: Option<DateTime<Utc>>,
    /// Seconds since then, while it runs. A worker that stays silent loses the job to another.
    #[schema(minimum = 0, example = 4)]
    pub heartbeat_age_seconds: Option<i64>,
    /// When somebody asked to cancel it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// How far the newest run is, or got; `null` until it says so.
    pub progress: Option<Progress>,
    /// Why the newest failed run failed, or the slot was skipped; `null` where nothing went wrong.
    #[schema(example = "exceeded its memory limit of 4 GiB")]
    pub error: Option<String>,
    /// What came of it; `null` until it succeeds.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobProgress)]
pub struct Progress {
    /// What it does now.
    #[schema(example = "train")]
    pub phase: String,
    /// Steps of the phase that are done.
    #[serde(default)]
    #[schema(example = 3)]
    pub done: u64,
    /// Steps of the phase in all; `null` where nobody knows.
    #[serde(default)]
    #[schema(example = 8)]
    pub total: Option<u64>,
    /// What it works on.
    #[serde(default)]
    #[schema(example = "member 4 of 8")]
    pub note: Option<String>,
}

/// A job with its runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobAnswer {
    /// The job.
    #[serde(flatten)]
    pub summary: SummaryAnswer,
    /// The runs that ended, from the first on.
    pub attempts: Vec<Attempt>,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = JobAttempt)]
pub struct Attempt {
    /// Which run, from 1.
    #[schema(example = 1)]
    pub attempt: i16,
    /// Who ran it.
    #[schema(example = "worker-1/4711")]
    pub worker: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: DateTime<Utc>,
    /// When it ended, or was found dead.
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: DateTime<Utc>,
    /// `succeeded`, `failed`, `cancelled`, `lost` (its worker was not heard of again) or `stopped` (its worker was told to
    /// end; such a run does not count).
    #[schema(example = "lost")]
    pub outcome: String,
    /// Why it failed.
    #[schema(example = "its worker was not heard of any more")]
    pub error: Option<String>,
}

/// Why no new job was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExistingJob)]
pub enum Existing {
    /// The same request, by its `Idempotency-Key`, came before.
    SameRequest,
    /// A job that does the same was asked for already.
    SameWork,
}

/// The job that a request asked for.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AskedJob {
    /// The job.
    #[serde(flatten)]
    pub job: JobAnswer,
    /// Why this is not a new job; `null` for a new one.
    pub existing: Option<Existing>,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobPage {
    /// Jobs, newest first.
    pub items: Vec<SummaryAnswer>,
    /// The `cursor` of the next page; `null` on the last.
    pub next: Option<Uuid>,
}

impl SummaryAnswer {
    /// The record as seen at a moment.
    #[must_use]
    pub fn of(row: JobRow, now: DateTime<Utc>) -> Self {
        let silent_for = row.renewed_at.filter(|_| row.state == "running").map(|at| (now - at).num_seconds().max(0));
        Self {
            id: row.job_id,
            kind: row.kind,
            state: row.state,
            arguments: row.arguments,
            reason: row.reason,
            slot: row.slot,
            priority: row.priority,
            attempt: row.attempts,
            max_attempts: row.max_attempts,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            worker: row.worker,
            renewed_at: row.renewed_at,
            heartbeat_age_seconds: silent_for,
            cancel_requested_at: row.cancel_requested_at,
            progress: row.progress.and_then(understood),
            error: row.error,
            result: row.result,
        }
    }

    /// Whether nothing will happen to it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "queued" | "running")
    }
}

/// Progress as a worker tells it, where an empty note is none.
fn understood(told: Value) -> Option<Progress> {
    let progress: Progress = serde_json::from_value(told).ok()?;
    Some(Progress { note: progress.note.filter(|note| !note.is_empty()), ..progress })
}

impl JobAnswer {
    /// The record and its runs as seen at a moment.
    #[must_use]
    pub fn of(row: JobRow, attempts: Vec<AttemptRow>, now: DateTime<Utc>) -> Self {
        let attempts = attempts.into_iter().map(|run| Attempt {
            attempt: run.attempt,
            worker: run.worker,
            started_at: run.started_at,
            finished_at: run.finished_at,
            outcome: run.outcome,
            error: run.error,
        });
        Self { summary: SummaryAnswer::of(row, now), attempts: attempts.collect() }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    fn row(state: &str, progress: Option<Value>) -> JobRow {
        let at: DateTime<Utc> = "2024-09-30T21:00:00Z".parse().unwrap();
        JobRow {
            job_id: Uuid::nil(),
            kind: "train".into(),
            slot: None,
            reason: "test".into(),
            arguments: json!({}),
            priority: 0,
            max_attempts: 3,
            created_at: at,
            state: state.into(),
            attempts: 1,
            worker: Some("w".into()),
            started_at: Some(at),
            renewed_at: Some(at),
            finished_at: None,
            cancel_requested_at: None,
            progress,
            error: None,
            result: None,
        }
    }

    #[test]
    fn a_heartbeat_has_an_age_only_while_the_job_runs() {
        let now = row("running", None).created_at + TimeDelta::milliseconds(4900);
        assert_eq!(SummaryAnswer::of(row("running", None), now).heartbeat_age_seconds, Some(4));
        assert_eq!(SummaryAnswer::of(row("succeeded", None), now).heartbeat_age_seconds, None);
        let before = now - TimeDelta::hours(1);
        assert_eq!(SummaryAnswer::of(row("running", None), before).heartbeat_age_seconds, Some(0));
    }

    #[test]
    fn progress_is_told_as_far_as_it_is_understood() {
        let told = |value: Value| {
            let answer = SummaryAnswer::of(row("running", Some(value)), Utc::now());
            serde_json::to_value(answer.progress).unwrap()
        };
        let whole = json!({"phase": "train", "done": 3, "total": 8, "note": "member 4"});
        assert_eq!(told(whole.clone()), whole);
        for silent in [json!({"phase": "x"}), json!({"phase": "x", "note": ""})] {
            assert_eq!(told(silent), json!({"phase": "x", "done": 0, "total": null, "note": null}));
        }
        assert_eq!(told(json!(7)), Value::Null);
    }
}

//! Waiting for a job that somebody else does, with its progress as a bar.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sqlx::PgPool;
use uuid::Uuid;

use crate::api::job_answers::{Progress, SummaryAnswer};
use crate::store::StoreError;
use crate::store::jobs::{self, JobRow, Wanted};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// A new job that nobody takes within this time waits in vain, unless workers are busy.
const PATIENCE_NEW: Duration = Duration::from_secs(30);
/// Between two runs of a job lie pauses, and the time until a dead worker is missed.
const PATIENCE_BEGUN: Duration = Duration::from_secs(600);
/// A worker that was heard of within this time lives.
const ALIVE_FOR: TimeDelta = TimeDelta::seconds(60);

/// Waits until a job is over, and returns its record. A store that is away for a while is waited for as well.
///
/// # Errors
/// When the store fails for good, the job has gone, or nobody does it.
pub async fn watch(pool: &PgPool, job_id: Uuid) -> anyhow::Result<JobRow> {
    let mut shown = Shown::new();
    let mut life = Life { since: Instant::now(), mark: None };
    loop {
        match jobs::find(pool, job_id).await {
            Ok(Some(row)) => {
                let job = SummaryAnswer::of(row.clone(), Utc::now());
                if job.is_over() {
                    shown.clear();
                    return Ok(row);
                }
                shown.show(&job);
                life.look(pool, &row).await?;
            }
            Ok(None) => anyhow::bail!("the job {job_id} has gone"),
            Err(error) if error.is_transient() => {
                shown.say("the store does not answer");
                life.since = Instant::now();
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// When there was a sign that somebody does the job, or will.
struct Life {
    since: Instant,
    mark: Option<(String, i16, Option<chrono::DateTime<Utc>>)>,
}

impl Life {
    async fn look(&mut self, pool: &PgPool, row: &JobRow) -> anyhow::Result<()> {
        let mark = Some((row.state.clone(), row.attempts, row.renewed_at));
        if mark != self.mark {
            (self.mark, self.since) = (mark, Instant::now());
        }
        let patience = if row.attempts == 0 { PATIENCE_NEW } else { PATIENCE_BEGUN };
        if self.since.elapsed() < patience {
            return Ok(());
        }
        if are_workers_busy(pool).await? {
            self.since = Instant::now();
            return Ok(());
        }
        anyhow::bail!(
            "nobody has taken the job {id} for {} s: no worker runs. `forecastd serve` or `forecastd work` does it, now or \
             later; `forecastd jobs cancel {id}` takes it back",
            patience.as_secs(),
            id = row.job_id
        )
    }
}

async fn are_workers_busy(pool: &PgPool) -> Result<bool, StoreError> {
    let running = Wanted { state: Some("running".into()), ..Wanted::default() };
    let alive_since = Utc::now() - ALIVE_FOR;
    let rows = jobs::list(pool, &running, 1000).await?;
    Ok(rows.iter().any(|row| row.renewed_at.is_some_and(|at| at > alive_since)))
}

/// What the bar shows, or the messages say where there is no terminal.
struct Shown {
    bar: ProgressBar,
    said: String,
    counts: Option<bool>,
}

impl Shown {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, said: String::new(), counts: None }
    }

    fn show(&mut self, job: &SummaryAnswer) {
        match &job.progress {
            Some(progress) if job.state == "running" && job.cancel_requested_at.is_none() => self.count(progress),
            _ => self.say(&waiting(job)),
        }
    }

    fn count(&mut self, progress: &Progress) {
        self.style(progress.total.is_some());
        self.bar.set_prefix(progress.phase.clone());
        self.bar.set_length(progress.total.unwrap_or_default());
        self.bar.set_position(progress.done);
        self.bar.set_message(progress.note.clone().unwrap_or_default());
        self.log(&progress.phase);
    }

    fn say(&mut self, text: &str) {
        self.style(false);
        self.bar.set_prefix("");
        self.bar.set_message(text.to_owned());
        self.log(text);
    }

    fn style(&mut self, counts: bool) {
        if self.counts == Some(counts) {
            return;
        }
        self.counts = Some(counts);
        let template = match counts {
            true => "{prefix:>10} {bar:28} {human_pos}/{human_len}  {wide_msg}",
            false => "{prefix:>10} {spinner} {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    fn log(&mut self, text: &str) {
        if self.bar.is_hidden() && text != self.said {
            tracing::info!("{text}");
        }
        text.clone_into(&mut self.said);
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn waiting(job: &SummaryAnswer) -> String {
    match (job.state.as_str(), &job.error) {
        ("queued", None) => "waits for a worker".into(),
        ("queued", Some(error)) => {
            format!("waits for run {}, since run {} failed: {error}", job.attempt + 1, job.attempt)
        }
        (_, _) if job.cancel_requested_at.is_some() => "is being cancelled".into(),
        _ => format!("run {} has begun", job.attempt),
    }
}

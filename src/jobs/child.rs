//! The child process that a job runs in: its start, its limits, its progress, its end.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::drift::DriftArgs;
use crate::config::{RecipeConfig, Secret};
use crate::jobs::progress::Message;
use crate::store::jobs::{self, Lease, Renewal};

/// How often a run says that it is alive and hears whether somebody wants it to end.
const RENEWAL: Duration = Duration::from_secs(1);
/// Longest line that is read from a child.
const LINE_MAX_BYTES: usize = 64 << 10;

/// How child processes are started.
#[derive(Debug, Clone)]
pub struct ChildSettings {
    /// Address of the store.
    pub url: Secret,
    /// Whether it holds a simulated market.
    pub simulated: bool,
    /// Folder of the signing key.
    pub data_dir: PathBuf,
    /// File of the signing key, if one was named.
    pub signing_key: Option<PathBuf>,
    /// How forecasts are made.
    pub recipe: RecipeConfig,
    /// How drift is looked for.
    pub drift: DriftArgs,
    /// A run that takes longer is ended.
    pub time_limit: Duration,
    /// Address space of a run, in bytes; `None` for all there is.
    pub memory_limit: Option<u64>,
    /// Where a rehearsed time is written, if time is rehearsed.
    pub clock_file: Option<PathBuf>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its effect and its end were recorded in one transaction.
    Succeeded,
    /// It failed.
    Failed(String),
    /// Somebody asked for it to be cancelled.
    Cancelled,
    /// This worker was told to end.
    Stopped,
    /// Another run holds the lease.
    Lost,
}

/// Runs a job to its end, renewing its lease on the way.
pub async fn run(pool: &PgPool, lease: Lease, settings: &ChildSettings, mut stop: watch::Receiver<bool>) -> Outcome {
    let (mut child, lifeline, lines) = match spawn(lease, settings) {
        Ok(started) => started,
        Err(error) => return Outcome::Failed(format!("its process cannot be started: {error}")),
    };
    let (sender, mut heard) = watch::channel(Heard::default());
    let reader = tokio::spawn(listen(lines, sender));
    let deadline = Instant::now() + settings.time_limit;
    let ended = loop {
        tokio::select! {
            status = child.wait() => break Ok(status),
            _ = stop.wait_for(|stopped| *stopped) => break Err(Outcome::Stopped),
            () = tokio::time::sleep_until(deadline) => {
                let minutes = settings.time_limit.as_secs_f64() / 60.0;
                break Err(Outcome::Failed(format!("it took longer than the limit of {minutes:.1} minutes and was ended")));
            }
            () = sleep(RENEWAL) => {}
        }
        let progress = heard.borrow_and_update().progress.clone();
        // A store that never answers must not keep us from the limits.
        match timeout(RENEWAL * 5, jobs::renew(pool, lease, progress.as_ref())).await {
            Ok(Ok(Renewal::Held)) => {}
            Ok(Ok(Renewal::CancelRequested)) => break Err(Outcome::Cancelled),
            // It may just have recorded its success: then it ends by itself.
            Ok(Ok(Renewal::Lost)) => match timeout(RENEWAL * 5, child.wait()).await {
                Ok(status) => break Ok(status),
                Err(_) => break Err(Outcome::Lost),
            },
            // Without the store the run cannot take effect either; it goes on as long as its lease may still be ours.
            Ok(Err(error)) => tracing::debug!("the lease of job {} could not be renewed: {error}", lease.job_id),
            Err(_) => tracing::debug!("the lease of job {} could not be renewed: the store is silent", lease.job_id),
        }
    };
    let status = match ended {
        Ok(status) => status,
        Err(outcome) => {
            if let Err(error) = child.kill().await {
                tracing::warn!("the process of job {} cannot be ended: {error}", lease.job_id);
            }
            return outcome;
        }
    };
    drop(lifeline);
    let _ = reader.await;
    let said = heard.borrow().error.clone();
    judge(pool, lease, status, said, settings).await
}

/// What a child has said so far.
#[derive(Debug, Clone, Default)]
struct Heard {
    progress: Option<Value>,
    error: Option<String>,
}

async fn listen(stdout: ChildStdout, sender: watch::Sender<Heard>) {
    let mut lines = BufReader::with_capacity(LINE_MAX_BYTES, stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Message>(&line) {
            Ok(Message::Progress { phase, done, total, note }) => {
                let progress = json!({ "phase": phase, "done": done, "total": total, "note": note });
                sender.send_modify(|heard| heard.progress = Some(progress));
            }
            Ok(Message::Error { error }) => sender.send_modify(|heard| heard.error = Some(error)),
            Err(_) => tracing::debug!("a job said something else than its progress"),
        }
    }
}

/// The record tells whether a run took effect; the process only why it did not.
async fn judge(
    pool: &PgPool,
    lease: Lease,
    status: std::io::Result<ExitStatus>,
    said: Option<String>,
    settings: &ChildSettings,
) -> Outcome {
    let recorded = loop {
        match jobs::find(pool, lease.job_id).await {
            Ok(job) => break job,
            Err(error) if error.is_transient() => sleep(RENEWAL).await,
            Err(error) => return Outcome::Failed(error.to_string()),
        }
    };
    match recorded {
        Some(job) if job.attempts != lease.attempt => return Outcome::Lost,
        Some(job) if job.state == "succeeded" => return Outcome::Succeeded,
        Some(job) if job.cancel_requested_at.is_some() => return Outcome::Cancelled,
        Some(_) => {}
        None => return Outcome::Lost,
    }
    let how = match status {
        Ok(status) if status.success() => "its process ended without recording a result".to_owned(),
        Ok(status) => format!("its process ended with {status}"),
        Err(error) => format!("its process could not be watched: {error}"),
    };
    // What is out of memory seldom says so: a thread that cannot be started, an abort.
    let limit = settings.memory_limit.map(|bytes| format!("; its memory was limited to {} MiB", bytes >> 20));
    Outcome::Failed(said.unwrap_or(how) + &limit.unwrap_or_default())
}

fn spawn(lease: Lease, settings: &ChildSettings) -> std::io::Result<(Child, Option<ChildStdin>, ChildStdout)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run-job").arg(lease.job_id.to_string()).arg(lease.attempt.to_string());
    command.arg("--data-dir").arg(&settings.data_dir);
    // In the environment, where other accounts cannot read it.
    command.env("DATABASE_URL", settings.url.expose());
    // The worker has seen to the schema.
    command.env("FORECASTD_NO_MIGRATE", "true");
    if let Some(file) = &settings.signing_key {
        command.arg("--signing-key").arg(file);
    }
    if settings.simulated {
        command.arg("--simulated");
    }
    if let Some(bytes) = settings.memory_limit {
        command.arg("--memory-limit-bytes").arg(bytes.to_string());
    }
    if let Some(file) = &settings.clock_file {
        command.arg("--clock-file").arg(file);
    }
    command.args(settings.recipe.arguments()).args(settings.drift.arguments());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    // Held open as long as we live: its end tells the child that nobody waits for the job any more.
    let lifeline = child.stdin.take();
    let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("its output cannot be read"))?;
    Ok((child, lifeline, stdout))
}

//! Progress of long work: phase, count, rate and remaining time, as bars on a terminal and as messages elsewhere.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

/// Whether a worker reads our standard output.
static REPORTING: AtomicBool = AtomicBool::new(false);
/// When the worker was last told.
static LAST_TOLD: Mutex<Option<Instant>> = Mutex::new(None);
/// The worker is told so often at most.
const TELLING: Duration = Duration::from_millis(300);

/// What the process of a job says to its worker, one line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// How far it is.
    Progress {
        /// What is being done.
        phase: String,
        /// Steps that are done.
        done: u64,
        /// Steps in all.
        total: u64,
        /// What is being worked on.
        note: String,
    },
    /// Why it failed.
    Error {
        /// The reason with its causes.
        error: String,
    },
}

/// From now on progress is told to the worker that reads our standard output.
pub fn report_to_worker() {
    REPORTING.store(true, Ordering::Relaxed);
}

/// Says something to the worker. One that is gone is no reason to fail: the lease decides.
pub fn tell(message: &Message) {
    if let Ok(line) = serde_json::to_string(message) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// One phase of long work. Dropping it leaves its last line standing.
pub struct Phase {
    bar: ProgressBar,
    name: &'static str,
}

impl Phase {
    /// Starts a phase of `total` steps.
    #[must_use]
    pub fn start(name: &'static str, unit: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
        let template = format!(
            "{{prefix:>10}} {{bar:28}} {{human_pos}}/{{human_len}} {unit}  {{per_sec}}  remaining {{eta}}  {{wide_msg}}"
        );
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_prefix(name);
        bar.enable_steady_tick(Duration::from_millis(250));
        if bar.is_hidden() {
            tracing::info!(total, "{name} started");
        }
        Self { bar, name }
    }

    /// Counts steps that are done.
    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        self.report();
    }

    /// Adds steps that turned out to be needed.
    pub fn extend(&self, steps: u64) {
        self.bar.inc_length(steps);
    }

    /// Sets how many steps are done.
    pub fn at(&self, position: u64) {
        self.bar.set_position(position);
        self.report();
    }

    /// What is being worked on.
    pub fn note(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
        self.report();
    }

    fn report(&self) {
        if !REPORTING.load(Ordering::Relaxed) {
            return;
        }
        let mut told = LAST_TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|at| at.elapsed() < TELLING) {
            return;
        }
        *told = Some(Instant::now());
        tell(&Message::Progress {
            phase: self.name.to_owned(),
            done: self.bar.position(),
            total: self.bar.length().unwrap_or_default(),
            note: self.bar.message(),
        });
    }

    /// Leaves the line to a phase within this one.
    pub fn pause(&self) {
        self.bar.disable_steady_tick();
    }

    /// Takes the line again.
    pub fn resume(&self) {
        self.bar.enable_steady_tick(Duration::from_millis(250));
    }

    /// Writes a line above the bar.
    pub fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            tracing::info!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// Writes a line about something refused, whatever messages are shown.
    pub fn refuse(&self, text: &str) {
        self.bar.suspend(|| tracing::error!("refused: {text}"));
    }

    /// Ends the phase with one line that stays.
    pub fn finish(self, summary: &str) {
        let seconds = self.bar.elapsed().as_secs_f64();
        if self.bar.is_hidden() {
            tracing::info!("{} finished in {seconds:.1} s: {summary}", self.name);
        } else {
            self.bar.finish_and_clear();
            eprintln!("{:>10} {summary} ({seconds:.1} s)", self.name);
        }
    }
}

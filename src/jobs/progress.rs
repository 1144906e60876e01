//! Progress of long work: phase, count, rate and remaining time, as bars on a terminal and as messages elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
    }

    /// Adds steps that turned out to be needed.
    pub fn extend(&self, steps: u64) {
        self.bar.inc_length(steps);
    }

    /// Sets how many steps are done.
    pub fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// What is being worked on.
    pub fn note(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
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

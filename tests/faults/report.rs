//! What a scenario found: lines as it goes, a table at the end.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The findings of a scenario. Everything is told at once and kept for the table.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    took: Duration,
    rows: Vec<(String, String)>,
    failures: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(name: &'static str) -> Self {
        Self { name, begun: Instant::now(), state: Mutex::default() }
    }

    /// Tells how it goes.
    pub fn say(&self, text: &str) {
        println!("{} {:6.1} s: {text}", self.name, self.begun.elapsed().as_secs_f64());
    }

    /// Keeps a number for the table.
    pub fn measure(&self, what: &str, value: impl std::fmt::Display) {
        self.say(&format!("{what}: {value}"));
        self.with(|state| state.rows.push((what.to_owned(), value.to_string())));
    }

    /// Keeps what held, or did not; the scenario goes on.
    pub fn check(&self, what: &str, holds: bool, detail: impl std::fmt::Display) {
        let verdict = if holds { "PASS" } else { "FAIL" };
        self.say(&format!("{verdict} {what}: {detail}"));
        self.with(|state| {
            state.rows.push((what.to_owned(), format!("{verdict} {detail}")));
            if !holds {
                state.failures.push(format!("{what}: {detail}"));
            }
        });
    }

    /// Ends it as failed.
    pub fn fail(&self, why: &str) {
        self.say(&format!("FAIL {why}"));
        self.with(|state| state.failures.push(why.to_owned()));
    }

    /// Notes how long it took.
    pub fn end(&self) {
        self.with(|state| state.took = self.begun.elapsed());
        self.say(if self.passed() { "done" } else { "failed" });
    }

    /// Whether everything held.
    pub fn passed(&self) -> bool {
        self.with(|state| state.failures.is_empty())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // A scenario that panicked has left whole rows.
        act(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// All findings, scenario by scenario.
pub fn table(reports: &[Report]) -> String {
    let mut text = String::from("\n| scenario | finding | value |\n|---|---|---|\n");
    for report in reports {
        let verdict = if report.passed() { "PASS" } else { "FAIL" };
        report.with(|state| {
            text.push_str(&format!("| **{}** | {verdict} | {:.0} s |\n", report.name, state.took.as_secs_f64()));
            for (what, value) in &state.rows {
                text.push_str(&format!("| {} | {what} | {value} |\n", report.name));
            }
            for failure in &state.failures {
                text.push_str(&format!("| {} | failure | {} |\n", report.name, failure.replace('\n', " ")));
            }
        });
    }
    text + "\n"
}

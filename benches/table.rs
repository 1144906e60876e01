//! Tables for people, and the stopwatch behind them.

use std::future::Future;
use std::time::Instant;

/// A table that is printed once: first column to the left, the others to the right.
pub struct Table {
    title: String,
    caption: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// An empty table; the caption says on which data, and the machine is added to it.
    pub fn new(title: &str, caption: &str, heads: &[&str]) -> Self {
        let heads = heads.iter().map(ToString::to_string).collect();
        Self { title: title.into(), caption: format!("{caption}; {}", machine()), rows: vec![heads], notes: vec![] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(ToString::to_string).collect());
    }

    /// Adds a line below the table.
    pub fn note(&mut self, text: &str) {
        self.notes.push(text.into());
    }

    /// Prints it.
    pub fn print(&self) {
        let width = |column: usize| self.rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..self.rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
        println!("\n== {} ==\n   {}", self.title, self.caption);
        for (position, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            println!("   {}", cells.collect::<Vec<_>>().join("  ").trim_end());
            if position == 0 {
                println!("   {}", "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
            }
        }
        for note in &self.notes {
            println!("   {note}");
        }
    }
}

/// The result of some work and the seconds that it took.
pub async fn timed<T>(work: impl Future<Output = T>) -> (T, f64) {
    let started = Instant::now();
    let outcome = work.await;
    (outcome, started.elapsed().as_secs_f64())
}

/// [`timed`] for work that does not wait.
pub fn clocked<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let started = Instant::now();
    let outcome = work();
    (outcome, started.elapsed().as_secs_f64())
}

/// The middle value; of an even number the mean of the middle two; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len().wrapping_sub(1) / 2), sorted.get(sorted.len() / 2)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

/// Seconds, three significant digits from a millisecond on.
pub fn seconds(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}

/// A rate a second, rounded to three digits, thousands separated.
pub fn rate(count: f64, seconds: f64) -> String {
    let rate = count / seconds;
    let unit = 10f64.powf((rate.log10().floor() - 2.0).max(0.0));
    thousands((rate / unit).round() * unit)
}

/// A whole number with its thousands separated.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups: Vec<String> = digits.as_bytes().rchunks(3).rev().map(|g| String::from_utf8_lossy(g).into()).collect();
    groups.join(",")
}

/// MiB, or a dash where the system does not tell.
pub fn mib(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |v| format!("{v:.0}"))
}

/// Cores that may be used, the processor's name where the system tells it, and how busy it is.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = text("/proc/cpuinfo");
    let name = processors.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(": ").nth(1));
    let load = text("/proc/loadavg").split(' ').next().map(str::to_owned).filter(|l| !l.is_empty());
    let name = name.map(|n| format!(" ({n})")).unwrap_or_default();
    let load = load.map(|l| format!(", load {l}")).unwrap_or_default();
    format!("{cores} cores{name}{load}")
}

//! A year of daily operation with weekly retrains on one instance: what it does, what it costs, and whether anything grows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Days, Utc};
use rustix::process::Pid;

use crate::instances::wait_for_greeting;
use crate::postgres::{embedded_url, pool};
use crate::process::{Home, Process, free_address};
use crate::record::{check, head, jobs_by_state, median, promotions, table_sizes};
use crate::rehearsal::{Clock, Ended, Rehearsal, Slot, in_new_york, schedule_options, slots};
use crate::report::Report;
use crate::stage::Stage;

/// Sessions of a year.
const SESSIONS: usize = 252;
/// Sessions of the short version.
const SESSIONS_SHORT: usize = 8;
/// Names another number of sessions, to try a part of the year.
const SESSIONS_VARIABLE: &str = "REHEARSED_SESSIONS";
/// A year takes no longer than this.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long the service may take to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// The memory of the service may end so much above what it was after the first month, as a share of it.
const GROWTH: f64 = 0.1;

/// Plays the scenario.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    let begun = Instant::now();
    let count = match std::env::var(SESSIONS_VARIABLE) {
        Ok(text) => text.parse()?,
        Err(_) => stage.pick(SESSIONS_SHORT, SESSIONS),
    };
    let recipe: [&str; 2] = stage.pick(["--members", "0"], ["--members", "2"]);
    let clock = Clock::new(&stage.folder);
    // Weekends, holidays and some days to spare.
    let first_day = Utc::now().date_naive() - Days::new(count as u64 * 3 / 2 + 4);
    let begins = in_new_york(first_day, (19, 0));
    clock.set(begins)?;
    let home = Home { data_dir: stage.folder.join("data"), url: None };
    let address = free_address()?;
    let (listen, file) = (address.to_string(), clock.file());
    let schedule = schedule_options();
    let words =
        ["serve", "--listen", &listen, "--metrics-listen", "none", "--clock-file", &file].into_iter().chain(recipe);
    let command = home.command(words.chain(schedule.iter().map(String::as_str)));
    let mut service = Process::start("serve", command, &stage.folder)?;
    service.wait_for(address, "/signals").await?;
    wait_for_greeting(&mut service).await?;
    let url = embedded_url(&home.data_dir).context("the embedded Postgres does not run")?;
    let store = pool(&url.replacen("/forecastd?", "/forecastd_simulated?", 1))?;
    let rehearsal = Rehearsal::begin(clock, store, begins).await?;
    report.measure("from nothing to answers of a first network", seconds(begun.elapsed()));
    let mut year = Year { rehearsal, service: service.pid(), memory: Vec::new(), months: BTreeMap::new() };
    let passed = year.play(begins, count, report).await?;
    year.tell(report).await?;
    let record = check(&year.rehearsal, &passed, &BTreeSet::new()).await;
    let detail = format!("{} slots", passed.len());
    report.check("each slot ran once", record.is_ok(), record.err().map_or(detail, |error| error.to_string()));
    let verified = home.run(&["verify"]).await?;
    report.check("verify", verified.status.success(), verified.output.lines().next().unwrap_or_default());
    year.rehearsal.pool.close().await;
    let (status, _) = service.stop(PATIENCE).await?;
    ensure!(status.success(), "the service ended with {status}");
    report.check("at most 30 minutes", begun.elapsed() < LIMIT, seconds(begun.elapsed()));
    Ok(())
}

/// A year under way.
struct Year {
    rehearsal: Rehearsal,
    service: Pid,
    /// Memory of the service at the end of each month.
    memory: Vec<(String, Memory)>,
    /// Time of the suite spent in each month.
    months: BTreeMap<String, Duration>,
}

/// Memory of a process in KiB.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    /// All that is in memory.
    resident: u64,
    /// The part that no file stands behind.
    anonymous: u64,
}

impl Year {
    /// Puts the clock from slot to slot; returns the slots.
    async fn play(&mut self, begins: DateTime<Utc>, count: usize, report: &Report) -> Result<Vec<Slot>> {
        let all = &self.rehearsal.sessions;
        let mut later = all.iter().copied().filter(|day| in_new_york(*day, (16, 45)) > begins);
        let last = later.nth(count - 1).context("the simulated market ends too early")?;
        let slots = slots(all, begins, in_new_york(last, (23, 0)));
        self.memory.push(("start".into(), memory(self.service)?));
        let mut begun = Instant::now();
        for (place, slot) in slots.iter().enumerate() {
            self.rehearsal.step(&[*slot]).await?;
            let month = slot.at.format("%Y-%m").to_string();
            let next = slots.get(place + 1).map(|next| next.at.format("%Y-%m").to_string());
            if next.as_ref() != Some(&month) {
                let (took, memory) = (begun.elapsed(), memory(self.service)?);
                begun = Instant::now();
                report.say(&format!("{month} took {}, the service holds {} MiB", seconds(took), memory.resident >> 10));
                self.months.insert(month.clone(), took);
                self.memory.push((month, memory));
            }
        }
        Ok(slots)
    }

    /// Tells what the year was like.
    async fn tell(&self, report: &Report) -> Result<()> {
        let ended = &self.rehearsal.ended;
        println!("\nTrainings: day, model, outcome, who asked, what was decided");
        promotions(&self.rehearsal.pool, ended).await?.iter().for_each(|line| println!("  {line}"));
        println!("\nSeconds a job, median by month: {}", KINDS.join(", "));
        for month in self.months.keys() {
            let of = |kind: &str| median(&mut durations(ended, kind, month));
            let cells: Vec<String> = KINDS.iter().map(|kind| format!("{:.2}", of(kind))).collect();
            println!("  {month}  {}", cells.join("  "));
        }
        println!("\nMemory of the service in MiB: resident, of that anonymous");
        for (when, memory) in &self.memory {
            println!("  {when}  {}  {}", memory.resident >> 10, memory.anonymous >> 10);
        }
        println!("\nTables in MiB with their indices");
        for (table, bytes) in table_sizes(&self.rehearsal.pool).await?.iter().take(12) {
            println!("  {table}  {:.1}", *bytes as f64 / f64::from(1 << 20));
        }
        println!();
        for ((kind, state), count) in jobs_by_state(ended) {
            report.measure(&format!("{kind} jobs that are {state}"), count);
        }
        report.measure("entries of the ledger", head(&self.rehearsal.pool).await?);
        for kind in KINDS {
            self.compare_months(kind, report);
        }
        self.judge_memory(report);
        Ok(())
    }

    fn compare_months(&self, kind: &str, report: &Report) {
        let whole: Vec<&String> = self.months.keys().collect();
        let (Some(first), Some(last)) = (whole.first(), whole.last()) else { return };
        let (mut early, mut late) =
            (durations(&self.rehearsal.ended, kind, first), durations(&self.rehearsal.ended, kind, last));
        if !early.is_empty() && !late.is_empty() {
            let value = format!("{:.2} s, {:.2} s", median(&mut early), median(&mut late));
            report.measure(&format!("a {kind} job in the first month and in the last"), value);
        }
    }

    fn judge_memory(&self, report: &Report) {
        let (Some((_, first)), Some((_, last))) = (self.memory.get(1), self.memory.last()) else { return };
        let growth = last.anonymous as f64 / first.anonymous as f64 - 1.0;
        let detail =
            format!("{} MiB after the first month, {} MiB at the end", first.anonymous >> 10, last.anonymous >> 10);
        report.check("the memory of the service does not grow", growth < GROWTH, detail);
    }
}

/// Kinds of jobs whose times are compared.
const KINDS: [&str; 4] = ["publish", "score", "drift", "train"];

/// How long the jobs of a kind took that belong to a month.
fn durations(ended: &[Ended], kind: &str, month: &str) -> Vec<f64> {
    let of_month = |one: &&Ended| one.job.kind == kind && one.at.format("%Y-%m").to_string() == month;
    ended.iter().filter(of_month).filter_map(|one| one.job.seconds).collect()
}

fn memory(process: Pid) -> Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let read = || Some(Memory { resident: value("VmRSS:")?, anonymous: value("RssAnon:")? });
    read().context("the system does not tell the memory of a process")
}

fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}

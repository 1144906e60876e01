//! Faults: what the program does when processes are killed, Postgres goes away, disks are full and workers freeze.
//!
//! Without arguments every scenario runs in a short version, as part of `cargo test`. `make faults` runs the full one; names
//! choose scenarios, and `--seed` repeats the random choices of a run: `cargo test --test faults -- --full kills --seed 7`.

mod disk;
mod http;
mod instances;
mod invariants;
mod jobs;
mod kills;
mod limits;
mod load;
mod market;
mod observer;
mod outage;
mod postgres;
mod process;
mod proxy;
mod quarter;
mod record;
mod rehearsal;
mod report;
mod retrain;
mod slow;
mod stage;
mod takeover;
mod tally;
mod year;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::report::{Report, table};
use crate::stage::{Stage, Template};

/// Scenarios at once in the short version, which asserts no times.
const AT_ONCE: usize = 3;
/// A scenario that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// Likewise in the short version.
const LIMIT_SHORT: Duration = Duration::from_secs(5 * 60);

/// What can go wrong, in the order in which it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Kills,
    Takeover,
    Limits,
    Outage,
    Slow,
    Disk,
    Retrain,
    Quarter,
    Year,
}

impl Scenario {
    const ALL: [Self; 9] = [
        Self::Kills,
        Self::Takeover,
        Self::Limits,
        Self::Outage,
        Self::Slow,
        Self::Disk,
        Self::Retrain,
        Self::Quarter,
        Self::Year,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Kills => "kills",
            Self::Takeover => "takeover",
            Self::Limits => "limits",
            Self::Outage => "outage",
            Self::Slow => "slow",
            Self::Disk => "disk",
            Self::Retrain => "retrain",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    async fn run(self, stage: &Stage, report: &Report) -> Result<()> {
        match self {
            Self::Kills => kills::run(stage, report).await,
            Self::Takeover => takeover::run(stage, report).await,
            Self::Limits => limits::run(stage, report).await,
            Self::Outage => outage::run(stage, report).await,
            Self::Slow => slow::run(stage, report).await,
            Self::Disk => disk::run(stage, report).await,
            Self::Retrain => retrain::run(stage, report).await,
            Self::Quarter => quarter::run(stage, report).await,
            Self::Year => year::run(stage, report).await,
        }
    }
}

/// What was asked for on the command line.
struct Arguments {
    full: bool,
    list: bool,
    seed: u64,
    scenarios: Vec<Scenario>,
}

impl Arguments {
    /// Reads the command line. Flags of the usual test harness mean nothing here; a name that is no scenario's chooses
    /// none, as a filter of `cargo test` for the other tests does.
    fn read(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut read = Self { full: false, list: false, seed: rand::random_range(0..1_000_000), scenarios: Vec::new() };
        let mut named = false;
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--full" => read.full = true,
                "--list" => read.list = true,
                "--seed" => read.seed = words.next().ok_or_else(|| anyhow!("--seed needs a number"))?.parse()?,
                flag if flag.starts_with('-') => {}
                name => {
                    named = true;
                    read.scenarios.extend(Scenario::ALL.into_iter().filter(|scenario| scenario.name() == name));
                }
            }
        }
        if !named {
            read.scenarios = Scenario::ALL.to_vec();
        }
        Ok(read)
    }
}

fn main() -> ExitCode {
    let outcome = Arguments::read(std::env::args().skip(1)).and_then(|arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(run(&arguments))
    });
    outcome.unwrap_or_else(|error| {
        println!("the fault suite could not run: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        Scenario::ALL.iter().for_each(|scenario| println!("{}: test", scenario.name()));
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.scenarios.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let how = if arguments.full { "full" } else { "short" };
    println!("faults: {how} version of {} scenarios, --seed {}", arguments.scenarios.len(), arguments.seed);
    let begun = Instant::now();
    let template = Arc::new(Template::make().await?);
    println!("faults: a small market is imported, trained and published, {:.1} s", begun.elapsed().as_secs_f64());
    let places = Arc::new(Semaphore::new(if arguments.full { 1 } else { AT_ONCE }));
    let mut running = JoinSet::new();
    for (order, scenario) in arguments.scenarios.iter().copied().enumerate() {
        let (template, places) = (Arc::clone(&template), Arc::clone(&places));
        let (full, seed) = (arguments.full, arguments.seed);
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            (order, play(scenario, &template, full, seed).await)
        });
    }
    let mut reports = Vec::new();
    while let Some(played) = running.join_next().await {
        reports.push(played?);
    }
    reports.sort_by_key(|(order, _)| *order);
    let reports: Vec<Report> = reports.into_iter().map(|(_, report)| report).collect();
    print!("{}", table(&reports));
    let failed = reports.iter().filter(|report| !report.passed()).count();
    println!(
        "faults: {} of {} scenarios passed, {:.0} s",
        reports.len() - failed,
        reports.len(),
        begun.elapsed().as_secs_f64()
    );
    if failed > 0 {
        println!("faults: repeat with --seed {}", arguments.seed);
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays one scenario in a folder of its own, which stays where the scenario fails.
async fn play(scenario: Scenario, template: &Template, full: bool, seed: u64) -> Report {
    let report = Report::new(scenario.name());
    let stage = match Stage::new(template, scenario.name(), full, seed) {
        Ok(stage) => stage,
        Err(error) => {
            report.fail(&format!("{error:#}"));
            return report;
        }
    };
    let limit = if full { LIMIT } else { LIMIT_SHORT };
    match timeout(limit, scenario.run(&stage, &report)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => report.fail(&format!("{error:#}")),
        Err(_) => report.fail(&format!("it took longer than {} minutes", limit.as_secs() / 60)),
    }
    report.end();
    if report.passed() {
        stage.remove();
    } else {
        println!("{}: messages of the processes are in {}", scenario.name(), stage.folder.display());
    }
    report
}

//! `make bench`: prints tables of rates, times, scores and memory. Nothing is asserted about time.
//!
//! `cargo bench --bench tables -- import http` runs those sections alone. Rates on a machine that does other work at the
//! same time are rates of that moment; each table says how busy it was.

mod benchmarks;
mod data;
mod decisions;
mod http;
mod import;
mod lesson;
mod memory;
mod publishing;
mod pytorch;
mod rows;
mod simulated_folder;
mod steps;
mod stores;
mod table;
mod training;
mod worker;

use forecastd::forecast::prepared::Prepared;
use forecastd::jobs::import::import as import_files;
use forecastd::store::history::{LoadedHistory, Revisions, load};
use forecastd::store::open::Store;
use forecastd::store::pool;

use crate::data::Data;
use crate::stores::Stores;
use crate::table::{Table, mib, seconds, timed};

/// Sections in the order in which they run.
const SECTIONS: [&str; 6] = ["import", "benchmarks", "training", "publishing", "decisions", "http"];
/// Sections that run only when asked for: one takes minutes, the other needs PyTorch.
const ON_REQUEST: [&str; 2] = ["retrain", "pytorch"];

/// What all sections use.
pub struct Bench {
    /// The files.
    pub data: Data,
    /// The data in words, for the captions.
    pub caption: String,
    /// A store with all files imported.
    pub store: Store,
    /// Its rows, laid out.
    pub prepared: Prepared,
    /// Their hash.
    pub inputs_hash: [u8; 32],
    /// Seconds that laying out took.
    pub prepare_seconds: f64,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` starts this program too, without the flag.
    if !arguments.iter().any(|a| a == "--bench") {
        println!("tables are printed by `make bench` or `cargo bench --bench tables`");
        return Ok(());
    }
    let asked: Vec<&str> = arguments.iter().map(String::as_str).filter(|a| !a.starts_with("--")).collect();
    let unknown: Vec<&&str> = asked.iter().filter(|a| !SECTIONS.contains(a) && !ON_REQUEST.contains(a)).collect();
    anyhow::ensure!(unknown.is_empty(), "unknown sections {unknown:?}; there are {SECTIONS:?} and {ON_REQUEST:?}");
    let wanted = |section: &str| asked.contains(&section) || (asked.is_empty() && SECTIONS.contains(&section));
    tokio::runtime::Runtime::new()?.block_on(run(wanted))
}

async fn run(wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let data = Data::find()?;
    let stores = Stores::start(false).await?;
    let bench = prepare(data, &stores).await?;
    if wanted("import") {
        import::run(&bench).await?;
    }
    if wanted("benchmarks") {
        benchmarks::run(&bench)?;
    }
    if wanted("training") {
        training::run(&bench)?;
    }
    if wanted("retrain") {
        training::retrain(&bench).await?;
    }
    if wanted("pytorch") {
        training::beside_pytorch(&bench)?;
    }
    if wanted("publishing") || wanted("http") {
        publishing::run(&bench).await?;
    }
    if wanted("decisions") {
        decisions::run(&bench).await?;
    }
    if wanted("http") {
        http::run(&bench).await?;
    }
    bench.store.pool.close().await;
    stores.stop().await
}

/// Imports everything once, the first thing that this process does, so that its peak of memory is the import's.
async fn prepare(data: Data, stores: &Stores) -> anyhow::Result<Bench> {
    let store = stores.open("working").await?;
    let (report, import_seconds) = timed(import_files(&store.pool, std::slice::from_ref(&data.folder))).await;
    let report = report?;
    let import_peak = memory::peak_mib();
    let cutoff = pool::cutoff(&store.pool).await?;
    let (loaded, load_seconds) = timed(load(&store.pool, cutoff, cutoff, Revisions::First)).await;
    let LoadedHistory { history, inputs_hash } = loaded?;
    let (prepared, prepare_seconds) = timed(async { Prepared::new(history) }).await;
    let (instruments, sessions) = (prepared.history.instruments.len(), prepared.sessions());
    let caption = format!("{}: {instruments} instruments, {sessions} sessions", data.description);
    let mut table = Table::new("Start", &caption, &["step", "rows", "seconds", "peak memory MiB"]);
    let rows = report.recorded.inserted;
    table.row(&["first import (cold)", &rows.to_string(), &seconds(import_seconds), &mib(import_peak)]);
    table.row(&["load the history", "", &seconds(load_seconds), ""]);
    table.row(&["prepare the history", "", &seconds(prepare_seconds), &mib(memory::peak_mib())]);
    table.note("memory of this process since its start; Postgres has its own");
    table.note(&format!("{} files, {} refused, {} with warnings", report.files, report.refused.len(), report.warned));
    table.print();
    Ok(Bench { data, caption, store, prepared, inputs_hash, prepare_seconds })
}

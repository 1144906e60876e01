//! `forecastd evaluate`: walks through the past, writes forecasts as CSV and their scores.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use chrono::Utc;
use serde_json::json;
use tokio::runtime::Handle;

use crate::cli::research::EvaluateArgs;
use crate::evaluation::forecast_csv::{
    write_direction_csv, write_quantiles_csv, write_ranks_csv, write_volatility_csv,
};
use crate::evaluation::forecasts::Forecasts;
use crate::evaluation::split::{Decision, decisions_every, decisions_on};
use crate::forecast::evaluation::{SERVED, WalkRequest, WalkStep, Walked, walk};
use crate::forecast::prepared::Prepared;
use crate::forecast::training::FitRequest;
use crate::forecast::walker::Folds;
use crate::jobs::evaluation_report::{write_report, write_scores};
use crate::jobs::progress::Phase;
use crate::jobs::shelf::StoreShelf;
use crate::jobs::train::{CODE_VERSION, recipe, settings};
use crate::learning::device::device_named;
use crate::learning::training::Control;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::envelope::NETWORK;
use crate::store::history::{LoadedHistory, Revisions, load};
use crate::store::open::Store;
use crate::store::pool;

/// Largest symbols file that is read, bytes.
const SYMBOLS_LIMIT: u64 = 1 << 20;

/// Walks and writes.
///
/// # Errors
/// When the store fails, nothing is asked for, or a file cannot be written.
pub async fn evaluate(store: &Store, arguments: &EvaluateArgs) -> anyhow::Result<()> {
    let cutoff = pool::cutoff(&store.pool).await?;
    // First revisions: no correction is known before it was made.
    let loaded = load(&store.pool, cutoff, cutoff, Revisions::First).await?;
    anyhow::ensure!(
        !loaded.history.sessions.is_empty(),
        "the store holds no prices; import some first: forecastd import FOLDER"
    );
    let arguments = arguments.clone();
    let shelf = StoreShelf { pool: store.pool.clone(), runtime: Handle::current() };
    tokio::task::spawn_blocking(move || run(loaded, &arguments, &shelf)).await?
}

fn run(loaded: LoadedHistory, arguments: &EvaluateArgs, shelf: &StoreShelf) -> anyhow::Result<()> {
    let started = Utc::now();
    let prepared = Prepared::new(loaded.history);
    let universe = arguments.symbols.as_deref().map(|path| read_universe(path, &prepared)).transpose()?;
    let decisions = decisions(&prepared, arguments)?;
    let (settings, recipe) = (settings(&arguments.recipe), recipe(&arguments.recipe));
    anyhow::ensure!(
        recipe.members > 0 || !arguments.models.iter().any(|model| model == NETWORK),
        "--model network needs members: leave out --members 0"
    );
    let mut horizons = arguments.horizons.clone();
    horizons.sort_unstable();
    horizons.dedup();
    let request = WalkRequest {
        prepared: &prepared,
        decisions: &decisions,
        horizons: &horizons,
        models: &arguments.models,
        universe: universe.as_deref(),
        fit: FitRequest { settings, recipe: &recipe, data_hash: hex::encode(loaded.inputs_hash), horizons: &horizons },
    };
    // A fold costs about as much as all its decision days; its epochs are counted so that the remaining time is fair.
    let phase = Phase::start("evaluate", "steps", decisions.len() as u64);
    let control = Control {
        threads: arguments.recipe.threads as usize,
        progress: &|p| {
            phase.advance(1);
            phase.note(format!("training member {} of a fold", p.member + 1));
        },
        cancelled: &AtomicBool::new(false),
        device: device_named(arguments.recipe.device.as_str())?,
    };
    let folds = Folds { shelf, train_missing: true };
    let walked = walk(&request, folds, &control, &|step| match step {
        WalkStep::Folds { missing } => phase.extend((missing * recipe.members * recipe.epochs) as u64),
        WalkStep::Decided(decision) => {
            phase.note(decision.as_of.to_string());
            phase.advance(1);
        }
    })?;
    phase.finish(&format!("{} decision days to {}", decisions.len(), arguments.out.display()));
    write_all(&walked, &prepared, arguments)?;
    let seconds = (Utc::now() - started).num_milliseconds() as f64 / 1000.0;
    write_file(&arguments.out.join("run.json"), |out| {
        let run = json!({
            "decision_days": decisions.len(), "seconds": seconds, "inputs_hash": hex::encode(loaded.inputs_hash),
            "settings": settings, "network": &recipe, "models": &arguments.models,
            "gate": walked.decisions.iter().map(|(day, d)| json!({ "refit": day, "decisions": d })).collect::<Vec<_>>(),
        });
        Ok(serde_json::to_writer_pretty(out, &run)?)
    })
}

fn decisions(prepared: &Prepared, arguments: &EvaluateArgs) -> anyhow::Result<Vec<Decision>> {
    let sessions = &prepared.history.sessions;
    let decisions = match (arguments.from, arguments.to) {
        (Some(from), Some(to)) => {
            anyhow::ensure!(from <= to, "--from {from} lies after --to {to}");
            decisions_every(sessions, from, to, arguments.every as usize)
        }
        _ => decisions_on(sessions, &arguments.on),
    };
    let (first, last) = (sessions.first(), sessions.last());
    anyhow::ensure!(
        !decisions.is_empty(),
        "no decision day lies in the stored history, {} to {}",
        first.map(ToString::to_string).unwrap_or_default(),
        last.map(ToString::to_string).unwrap_or_default()
    );
    Ok(decisions)
}

fn read_universe(path: &Path, prepared: &Prepared) -> anyhow::Result<Vec<usize>> {
    let size = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?.len();
    anyhow::ensure!(size <= SYMBOLS_LIMIT, "{} is larger than a list of symbols can be", path.display());
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let (mut universe, mut unknown) = (Vec::new(), Vec::new());
    let words =
        text.lines().map(|l| l.split('#').next().unwrap_or_default()).flat_map(|l| l.split([' ', '\t', ',', ';']));
    for word in words.map(str::trim).filter(|w| !w.is_empty()) {
        let symbol = Symbol::parse(word).with_context(|| format!("{}: {word:?}", path.display()))?;
        match prepared.history.instruments.binary_search_by(|i| i.instrument.symbol.cmp(&symbol)) {
            Ok(i) => universe.push(i),
            Err(_) => unknown.push(symbol.to_string()),
        }
    }
    universe.sort_unstable();
    universe.dedup();
    if !unknown.is_empty() {
        tracing::warn!("{} symbols have no prices in the store and are left out: {}", unknown.len(), unknown.join(" "));
    }
    anyhow::ensure!(!universe.is_empty(), "{} names no symbol that is in the store", path.display());
    Ok(universe)
}

fn write_all(walked: &Walked, prepared: &Prepared, arguments: &EvaluateArgs) -> anyhow::Result<()> {
    let out = &arguments.out;
    for (name, forecasts) in &walked.forecasts {
        let folder = folder_of(out, name);
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        write_forecasts(&folder, forecasts)?;
    }
    let comparison = write_report(out, &walked.forecasts, &prepared.history, &described(arguments))?;
    for name in walked.forecasts.keys() {
        write_scores(&folder_of(out, name), name, &comparison)?;
    }
    println!("{}", comparison.summary());
    println!("written to {}; begin with report.md", out.display());
    Ok(())
}

fn folder_of(out: &Path, model: &str) -> PathBuf {
    if model == SERVED { out.to_owned() } else { out.join(model) }
}

/// What the report says about how it came about.
fn described(arguments: &EvaluateArgs) -> Vec<(String, String)> {
    let recipe = &arguments.recipe;
    let days = match (arguments.from, arguments.to) {
        (Some(from), Some(to)) => format!("{from} to {to}, every {} sessions", arguments.every),
        _ => format!("{} chosen days", arguments.on.len()),
    };
    let pairs = [
        ("asked for", days),
        ("members", recipe.members.to_string()),
        ("sharing", recipe.sharing.as_str().to_owned()),
        ("weighting", recipe.weighting.as_str().to_owned()),
        ("epochs", recipe.epochs.to_string()),
        ("seed", recipe.seed.to_string()),
        ("scenarios", recipe.scenarios.to_string()),
        ("code", CODE_VERSION.to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn write_forecasts(folder: &Path, forecasts: &Forecasts) -> anyhow::Result<()> {
    for (horizon, rows) in forecasts.ranks.iter().filter(|(_, rows)| !rows.is_empty()) {
        let standard = *horizon == Horizon::FourWeeks.sessions();
        let name = if standard { "ranks.csv".to_owned() } else { format!("ranks_{horizon}.csv") };
        write_file(&folder.join(name), |out| Ok(write_ranks_csv(rows, out)?))?;
    }
    if !forecasts.volatility.is_empty() {
        write_file(&folder.join("volatility.csv"), |out| Ok(write_volatility_csv(&forecasts.volatility, out)?))?;
    }
    if !forecasts.quantiles.is_empty() {
        write_file(&folder.join("quantiles.csv"), |out| Ok(write_quantiles_csv(&forecasts.quantiles, out)?))?;
    }
    if !forecasts.direction.is_empty() {
        write_file(&folder.join("direction.csv"), |out| Ok(write_direction_csv(&forecasts.direction, out)?))?;
    }
    Ok(())
}

fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path).with_context(|| format!("{} cannot be written", path.display()))?);
    write(&mut out).and_then(|()| Ok(out.flush()?)).with_context(|| format!("{} cannot be written", path.display()))
}

//! Training: its parts with a short recipe; a full retrain; the speed beside PyTorch's.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use forecastd::cli::commands::{Cli, Command};
use forecastd::config::RecipeConfig;
use forecastd::features::price_basis::PriceBasis;
use forecastd::forecast::samples::{SampleRequest, features_on, samples, training_sessions};
use forecastd::forecast::settings::ForecastSettings;
use forecastd::forecast::walk::VolatilityWalk;
use forecastd::jobs::train::{self, Past};
use forecastd::learning::dataset::Samples;
use forecastd::learning::device::DeviceKind;
use forecastd::learning::ensemble::{Provenance, train as train_network};
use forecastd::learning::training::Control;
use forecastd::market::horizon::Horizon;
use forecastd::scenario::volatility::VolatilityModel;

use crate::lesson::Lesson;
use crate::table::{Table, clocked, mib, rate, seconds, thousands, timed};
use crate::{Bench, memory, pytorch};

/// The default recipe, cut short.
const MEMBERS: u32 = 2;
const EPOCHS: u32 = 2;
const THREADS: u32 = 2;

/// The recipe of `forecastd train` with these options.
pub fn recipe(options: &[(&str, u32)]) -> anyhow::Result<RecipeConfig> {
    let options = options.iter().flat_map(|(name, value)| [format!("--{name}"), value.to_string()]);
    let command = ["forecastd".to_owned(), "train".to_owned()].into_iter().chain(options);
    match Cli::try_parse_from(command)?.command {
        Command::Train(arguments) => Ok(arguments.recipe),
        _ => anyhow::bail!("train is no longer a command"),
    }
}

/// Prints the times of the parts.
pub fn run(bench: &Bench) -> anyhow::Result<()> {
    let heads = ["step", "count", "seconds", "a second", "peak memory MiB"];
    let mut table = Table::new("Training by parts", &bench.caption, &heads);
    let is_own_peak = memory::reset_peak();
    let rows = time_features(bench, &mut table);
    time_network(bench, &rows, &mut table)?;
    table.note(&format!("{MEMBERS} members, {EPOCHS} epochs, {THREADS} threads; else the default recipe"));
    table.note(&memory_note(is_own_peak));
    table.print();
    Ok(())
}

/// Walks through the past, which takes minutes, then prints what a retrain costs that finds the folds of the past stored.
pub async fn retrain(bench: &Bench) -> anyhow::Result<()> {
    let config = recipe(&[("threads", THREADS)])?;
    let (walked, walk_seconds) = timed(train::train(&bench.store, &config, Past::Walked)).await;
    walked?;
    let is_own_peak = memory::reset_peak();
    let (model, took) = timed(train::train(&bench.store, &config, Past::Kept)).await;
    model?;
    let mut table = Table::new("Full retrain", &bench.caption, &["job", "seconds", "peak memory MiB"]);
    table.row(&["walk through the past, once, and a first training", &seconds(walk_seconds), ""]);
    table.row(&["retrain: load, fits, features, gate, network", &seconds(took), &mib(memory::peak_mib())]);
    table.note(&format!("{} members, {} epochs, {THREADS} threads: the default recipe", config.members, config.epochs));
    table.note(&memory_note(is_own_peak));
    table.print();
    Ok(())
}

/// Prints the speed beside PyTorch's.
pub fn beside_pytorch(bench: &Bench) -> anyhow::Result<()> {
    let mut unprinted = Table::new("", "", &["step"]);
    let samples = time_features(bench, &mut unprinted);
    pytorch::run(&Lesson { samples: &samples, until_day: until(bench) as u32, caption: &bench.caption })
}

/// The last session.
fn until(bench: &Bench) -> usize {
    bench.prepared.sessions().saturating_sub(1)
}

/// Times features, targets and the fits between them; returns the rows.
fn time_features(bench: &Bench, table: &mut Table) -> Samples {
    let prepared = &bench.prepared;
    let (instruments, sessions) = (prepared.history.instruments.len(), prepared.sessions());
    let all: Vec<usize> = (0..sessions).collect();
    let (basis, basis_seconds) = clocked(|| PriceBasis::infer(&prepared.history));
    table.row(&["split basis of the whole history", "", &seconds(basis_seconds), "", ""]);
    let mut timed_features = |what: &str, sessions: &[usize]| {
        let (features, took) = clocked(|| features_on(prepared, &basis, sessions));
        let count = (sessions.len() * instruments) as f64;
        let what = format!("features: {what}, {} columns", features.schema.columns.len());
        table.row(&[&what, &thousands(count), &seconds(took), &rate(count, took), ""]);
        features
    };
    drop(timed_features("rows of all sessions", &all));
    let features = timed_features("rows to learn from", &training_sessions(until(bench)));
    let (benchmark, fit_seconds) =
        clocked(|| VolatilityWalk::fit(&prepared.inputs, VolatilityModel::HarX2, &Horizon::ALL, until(bench)));
    table.row(&["fits of harX2, all horizons, one a year", "", &seconds(fit_seconds), "", ""]);
    let equity_premium = ForecastSettings::default().equity_premium;
    let request = SampleRequest { prepared, benchmark: &benchmark, equity_premium };
    let (rows, took) = clocked(|| samples(request, &features));
    let count = rows.targets.len() as f64;
    table.row(&["targets: samples", &thousands(count), &seconds(took), &rate(count, took), ""]);
    rows
}

fn time_network(bench: &Bench, rows: &Samples, table: &mut Table) -> anyhow::Result<()> {
    let config = recipe(&[("members", MEMBERS), ("epochs", EPOCHS), ("threads", THREADS)])?;
    let provenance = Provenance {
        seed: config.seed,
        data_hash: hex::encode(bench.inputs_hash),
        schema: serde_json::to_value(forecastd::features::schema::schema())?,
    };
    let speeds = Mutex::new(Vec::new());
    let control = Control {
        threads: config.threads as usize,
        device: DeviceKind::Cpu,
        progress: &|p| speeds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(p.rows_per_second),
        cancelled: &AtomicBool::new(false),
    };
    let recipe = train::recipe(&config);
    let plan = recipe.plan(until(bench) as u32);
    let (model, took) = clocked(|| train_network(rows, &plan, &recipe, provenance, &control));
    let model = model?;
    let epochs: usize = model.record.members.iter().map(|m| m.epochs).sum();
    let count = (model.record.training_rows * epochs) as f64;
    table.row(&["network: samples x members x epochs", &thousands(count), &seconds(took), &rate(count, took), ""]);
    let speeds = speeds.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let speed = crate::table::median(&speeds);
    table.row(&["network: one member while learning", "", "", &rate(speed, 1.0), &mib(memory::peak_mib())]);
    let newest = &rows.features[rows.features.len().saturating_sub(rows.feature_count * 10_000)..];
    let (forecasts, took) = clocked(|| model.forecast(newest));
    let count = forecasts?.len() as f64;
    table.row(&["network: forecasts of the ensemble", &thousands(count), &seconds(took), &rate(count, took), ""]);
    Ok(())
}

fn memory_note(is_own_peak: bool) -> String {
    let since = if is_own_peak { "since it began, the bench's own history included" } else { "of the whole run" };
    format!("memory of this process, {since}; Postgres has its own")
}

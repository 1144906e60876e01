//! Training: a short run of the whole job, then its parts.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use forecastd::cli::{Cli, Command};
use forecastd::config::RecipeConfig;
use forecastd::features::price_basis::PriceBasis;
use forecastd::forecast::samples::{SampleRequest, features_on, samples, training_sessions};
use forecastd::forecast::settings::ForecastSettings;
use forecastd::jobs::train;
use forecastd::learning::dataset::{Samples, TrainingPlan};
use forecastd::learning::ensemble::{Provenance, train as train_network};
use forecastd::learning::training::Control;
use forecastd::market::horizon::Horizon;
use forecastd::scenario::volatility::{VolatilityModel, fit};

use crate::table::{Table, clocked, mib, rate, seconds, thousands, timed};
use crate::{Bench, memory};

/// The default recipe, cut short.
const MEMBERS: u32 = 2;
const EPOCHS: u32 = 2;
const THREADS: u32 = 2;
/// Sessions before the end at which the timed network stops learning, and its validation span.
const HELD_BACK: usize = 504;
const VALIDATION: usize = 378;

/// The recipe of `forecastd train` with other numbers of members and epochs.
pub fn recipe(members: u32, epochs: u32) -> anyhow::Result<RecipeConfig> {
    let numbers = [members, THREADS, epochs].map(|n| n.to_string());
    let [members, threads, epochs] = &numbers;
    let options = ["forecastd", "train", "--members", members, "--threads", threads, "--epochs", epochs];
    match Cli::try_parse_from(options)?.command {
        Command::Train(arguments) => Ok(arguments.recipe),
        _ => anyhow::bail!("train is no longer a command"),
    }
}

/// Prints the table.
pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let heads = ["step", "count", "seconds", "a second", "peak memory MiB"];
    let mut table = Table::new("Training", &bench.caption, &heads);
    let is_own_peak = memory::reset_peak();
    let config = recipe(MEMBERS, EPOCHS)?;
    let (model, took) = timed(train::train(&bench.store, &config)).await;
    model?;
    table.row(&["whole job: load, fits, network, audition", "", &seconds(took), "", &mib(memory::peak_mib())]);
    let rows = time_features(bench, &mut table);
    time_network(bench, &config, &rows, &mut table)?;
    let what = format!("{MEMBERS} members, {EPOCHS} epochs, {THREADS} threads; else the default recipe");
    table.note(&format!("{what}; a full training has 8 members and up to 8 epochs"));
    let since = if is_own_peak { "since the training began, the history above included" } else { "of the whole run" };
    table.note(&format!("memory of this process, {since}"));
    table.print();
    Ok(())
}

/// Times features, targets and the fits between them; returns the rows.
fn time_features(bench: &Bench, table: &mut Table) -> Samples {
    let prepared = &bench.prepared;
    let (instruments, sessions) = (prepared.history.instruments.len(), prepared.sessions());
    let until = sessions.saturating_sub(HELD_BACK + 1);
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
    let features = timed_features("rows to learn from", &training_sessions(until));
    let (benchmarks, fit_seconds) =
        clocked(|| Horizon::ALL.map(|h| fit(&prepared.inputs, VolatilityModel::HarX2, h, until)));
    table.row(&["fits of harX2, all horizons, once", "5", &seconds(fit_seconds), "", ""]);
    let equity_premium = ForecastSettings::default().equity_premium;
    let request = SampleRequest { prepared, benchmarks: &benchmarks, equity_premium, known_until: until };
    let (rows, took) = clocked(|| samples(request, &features));
    let count = rows.targets.len() as f64;
    table.row(&["targets: samples", &thousands(count), &seconds(took), &rate(count, took), ""]);
    rows
}

fn time_network(bench: &Bench, config: &RecipeConfig, rows: &Samples, table: &mut Table) -> anyhow::Result<()> {
    let until = bench.prepared.sessions().saturating_sub(HELD_BACK + 1);
    let plan = TrainingPlan {
        validation_from_day: until.saturating_sub(VALIDATION) as u32,
        validation_until_day: until as u32,
    };
    let provenance = Provenance {
        seed: config.seed,
        data_hash: hex::encode(bench.inputs_hash),
        schema: serde_json::to_value(forecastd::features::schema::schema())?,
    };
    let speeds = Mutex::new(Vec::new());
    let control = Control {
        threads: config.threads as usize,
        progress: &|p| speeds.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(p.rows_per_second),
        cancelled: &AtomicBool::new(false),
    };
    let recipe = train::recipe(config);
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

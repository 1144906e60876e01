//! Trains: loads what is known, fits benchmarks and network, stores an immutable model.

use std::sync::atomic::AtomicBool;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::config::RecipeConfig;
use crate::decision::signal::GameSettings;
use crate::forecast::prepared::Prepared;
use crate::forecast::settings::ForecastSettings;
use crate::forecast::training::{FitRequest, FitStep, FittedModel, fit_model};
use crate::jobs::progress::Phase;
use crate::learning::artifact::Artifact;
use crate::learning::recipe::Recipe;
use crate::learning::training::{Control, Progress};
use crate::market::horizon::Horizon;
use crate::opinion::envelope::Source;
use crate::store::history::{LoadedHistory, Revisions, load};
use crate::store::models::{self, StoredModel};
use crate::store::open::Store;
use crate::store::pool;

/// Version of the code, kept with models and entries: the release, and the version of the answers. The part after `+` is
/// raised by hand with every change that gives other bytes for the same inputs, so that a replay names what it needs.
pub const CODE_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+1");

/// Trains on everything in the store; returns the model's name.
///
/// # Errors
/// When the store fails, holds no prices, or the training fails.
pub async fn train(store: &Store, config: &RecipeConfig) -> anyhow::Result<String> {
    let cutoff = pool::cutoff(&store.pool).await?;
    let loaded = load(&store.pool, cutoff, cutoff, Revisions::Newest).await?;
    anyhow::ensure!(
        !loaded.history.sessions.is_empty(),
        "the store holds no prices; import some first: forecastd import FOLDER"
    );
    let config = config.clone();
    let model = tokio::task::spawn_blocking(move || fit(loaded, &config, cutoff)).await??;
    models::insert(&store.pool, &model).await?;
    Ok(model.model_id)
}

/// The forecast settings of a configuration.
#[must_use]
pub fn settings(config: &RecipeConfig) -> ForecastSettings {
    ForecastSettings {
        scenarios: config.scenarios,
        seed: config.seed,
        equity_premium: config.equity_premium,
        game: GameSettings {
            cost: config.cost,
            impact: config.impact,
            precision: config.precision,
            threshold: config.dominance_threshold,
        },
    }
}

/// The network of a configuration.
#[must_use]
pub fn recipe(config: &RecipeConfig) -> Recipe {
    Recipe { members: config.members as usize, epochs: config.epochs as usize, ..Recipe::new() }
}

fn fit(loaded: LoadedHistory, config: &RecipeConfig, cutoff: DateTime<Utc>) -> anyhow::Result<StoredModel> {
    let last = loaded.history.decision_day().context("the history has no session")?;
    let prepared = Prepared::new(loaded.history.until(last));
    let (settings, recipe) = (settings(config), recipe(config));
    let request =
        FitRequest { settings, recipe: &recipe, data_hash: hex::encode(loaded.inputs_hash), horizons: &Horizon::ALL };
    let phase = Phase::start("train", "epochs", (recipe.members * recipe.epochs) as u64);
    let control = Control {
        threads: config.threads as usize,
        progress: &|p| report_epoch(&phase, &p),
        cancelled: &AtomicBool::new(false),
    };
    let fitted = fit_model(&prepared, &request, &control, &|step| phase.note(doing(step)))?;
    phase.finish(&summary(&fitted));
    stored(&fitted, &prepared, (loaded.inputs_hash, cutoff))
}

fn stored(
    fitted: &FittedModel,
    prepared: &Prepared,
    (inputs_hash, cutoff): ([u8; 32], DateTime<Utc>),
) -> anyhow::Result<StoredModel> {
    let artifact = fitted.network.as_ref().map(Artifact::of).transpose()?;
    let record = fitted.network.as_ref().map(|n| json!({ "training": n.record, "recipe": n.recipe }));
    let trained_until = *prepared.history.sessions.last().context("the history has no session")?;
    let settings = fitted.state.settings;
    let mut model = StoredModel {
        model_id: String::new(),
        trained_until,
        known_until: cutoff,
        recorded_until: cutoff,
        recipe: json!({ "settings": settings, "network": fitted.network.as_ref().map(|n| &n.recipe) }),
        seed: i64::try_from(settings.seed)?,
        data_hash: inputs_hash,
        code_version: CODE_VERSION.into(),
        state: serde_json::to_vec(&fitted.state)?,
        artifact: artifact.map(Artifact::into_bytes),
        scores: json!({ "decisions": fitted.decisions, "without_network": fitted.without_network, "network": record }),
    };
    model.model_id = format!("{trained_until}.{}", &hex::encode(model.sha256())[..8]);
    Ok(model)
}

fn report_epoch(phase: &Phase, p: &Progress) {
    phase.advance(1);
    phase.note(format!(
        "member {} validation loss {:.4}, {:.0} rows/s",
        p.member + 1,
        p.validation_loss,
        p.rows_per_second
    ));
}

fn doing(step: FitStep) -> &'static str {
    match step {
        FitStep::Benchmarks => "fitting benchmarks",
        FitStep::Features => "computing features and targets",
        FitStep::Training => "training the network",
        FitStep::Audition => "comparing the network with the benchmarks",
    }
}

/// What will be served, in one line.
fn summary(fitted: &FittedModel) -> String {
    let from_network = |h: &Horizon| fitted.state.seats(*h).sources("", "").source() == Source::Network;
    let seated: Vec<&str> = Horizon::ALL.iter().filter(|h| from_network(h)).map(|h| h.label()).collect();
    match (seated.is_empty(), fitted.without_network) {
        (_, Some(reason)) => format!("benchmarks are served; no network: {reason}"),
        (true, None) => "benchmarks are served; no head of the network passed its gate".into(),
        (false, None) => format!("heads of the network are served at {}", seated.join(", ")),
    }
}

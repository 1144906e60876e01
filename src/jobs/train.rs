//! Trains: loads what is known, fits benchmarks and network, stores an immutable model.

use std::sync::atomic::AtomicBool;

use anyhow::Context;
use serde_json::json;
use tokio::runtime::Handle;

use crate::config::{RecipeConfig, SharingKind, WeightingKind};
use crate::decision::comparison::to_jsonl;
use crate::decision::signal::GameSettings;
use crate::forecast::folds::FoldShelf;
use crate::forecast::prepared::Prepared;
use crate::forecast::settings::ForecastSettings;
use crate::forecast::training::{FitRequest, FitStep, FittedModel, NOT_WALKED, RECORD_INCOMPLETE, fit_model};
use crate::forecast::walker::Folds;
use crate::jobs::moment::Moment;
use crate::jobs::progress::Phase;
use crate::jobs::promotion::{self, Outcome, Trained};
use crate::jobs::shelf::StoreShelf;
use crate::learning::artifact::Artifact;
use crate::learning::device::device_named;
use crate::learning::recipe::{Recipe, Weighting};
use crate::learning::sharing::Sharing;
use crate::learning::task::Head;
use crate::learning::training::{Control, Progress};
use crate::market::horizon::Horizon;
use crate::opinion::envelope::Source;
pub use crate::opinion::version::CODE_VERSION;
use crate::store::history::{LoadedHistory, Revisions, load};
use crate::store::jobs::Lease;
use crate::store::models::StoredModel;
use crate::store::open::Store;

/// How a training goes about the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Uses the folds that are there.
    Kept,
    /// Trains the missing ones first.
    Walked,
}

/// What to train, and whether it is worth while.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// How forecasts are made.
    pub config: &'a RecipeConfig,
    /// How it goes about the past.
    pub past: Past,
    /// Trains only when so many sessions came since the model in force was trained, unless it was trained by another recipe;
    /// `None`, as for a person who asks, in any case.
    pub unless_fewer_than: Option<usize>,
    /// The job, if it is one.
    pub lease: Option<Lease>,
}

/// Trains on everything in the store; returns the name of the model that was put in force, else of the one that was kept
/// back.
///
/// # Errors
/// When the store fails, holds no prices, or the training fails.
pub async fn train(store: &Store, config: &RecipeConfig, past: Past) -> anyhow::Result<String> {
    let trained = train_if_due(store, &Training { config, past, unless_fewer_than: None, lease: None }).await?;
    trained.promoted.or(trained.model_id).context("a training that was asked for was not done")
}

/// Trains on everything in the store, and puts the model in force if it passed its trials.
///
/// # Errors
/// When the store fails, holds no prices, or the training fails, or another run of the job took over.
pub async fn train_if_due(store: &Store, training: &Training<'_>) -> anyhow::Result<Trained> {
    let moment = Moment::take(&store.pool).await?;
    let loaded = load(&store.pool, moment.known_until, moment.recorded_until, Revisions::Newest).await?;
    anyhow::ensure!(
        !loaded.history.sessions.is_empty(),
        "the store holds no prices; import some first: forecastd import FOLDER"
    );
    if let Some(reason) = promotion::not_due(&store.pool, training, &loaded.history).await? {
        return promotion::leave(&store.pool, reason, training.lease).await;
    }
    let shelf = StoreShelf { pool: store.pool.clone(), runtime: Handle::current() };
    let outcome = fit_rows((loaded, moment, store.simulated), training.config, shelf, training.past).await?;
    promotion::conclude(&store.pool, &outcome, training.lease).await
}

/// Trains on the rows of a moment, away from the runtime's threads. Nothing is stored but folds, on the shelf.
///
/// # Errors
/// When there is no session, or the training fails.
pub async fn fit_rows(
    (loaded, moment, simulated): (LoadedHistory, Moment, bool),
    config: &RecipeConfig,
    shelf: impl FoldShelf + Send + 'static,
    past: Past,
) -> anyhow::Result<Outcome> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || fit(loaded, &config, (moment, simulated), &shelf, past)).await?
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
        discount: config.discount,
        prior_weeks: config.prior_weeks,
        policy_temperature: config.policy_temperature,
    }
}

/// The network of a configuration.
#[must_use]
pub fn recipe(config: &RecipeConfig) -> Recipe {
    Recipe {
        members: config.members as usize,
        epochs: config.epochs as usize,
        sharing: match config.sharing {
            SharingKind::Hard => Sharing::Hard,
            SharingKind::Soft => Sharing::Soft,
            SharingKind::Experts => Sharing::Experts,
        },
        weighting: match config.weighting {
            WeightingKind::Equal => Weighting::Equal,
            WeightingKind::Uncertainty => Weighting::Uncertainty,
        },
        ..Recipe::new()
    }
}

fn fit(
    loaded: LoadedHistory,
    config: &RecipeConfig,
    (moment, simulated): (Moment, bool),
    shelf: &dyn FoldShelf,
    past: Past,
) -> anyhow::Result<Outcome> {
    let last = loaded.history.decision_day().context("the history has no session")?;
    let prepared = Prepared::new(loaded.history.until(last));
    let (settings, recipe) = (settings(config), recipe(config));
    let request =
        FitRequest { settings, recipe: &recipe, data_hash: hex::encode(loaded.inputs_hash), horizons: &Horizon::ALL };
    let epochs = (recipe.members * recipe.epochs) as u64;
    let phase = Phase::start("train", "epochs", epochs);
    let control = Control {
        threads: config.threads as usize,
        progress: &|p| report_epoch(&phase, &p),
        cancelled: &AtomicBool::new(false),
        device: device_named(config.device.as_str())?,
    };
    let folds = Folds { shelf, train_missing: past == Past::Walked };
    let fitted = fit_model(&prepared, &request, folds, &control, &|step| {
        if let (FitStep::Walk(missing), Past::Walked) = (step, past) {
            phase.extend(missing as u64 * epochs);
        }
        phase.note(doing(step));
    })?;
    let refusal = fitted.refusal();
    phase.finish(&refusal.as_ref().map_or_else(|| summary(&fitted), |reason| format!("kept back: {reason}")));
    let rows = (loaded.inputs_hash, moment, simulated);
    let model = stored(&fitted, &prepared, rows)?;
    let benchmarks = match &refusal {
        Some(_) => Some(stored(&fitted.benchmarks_alone(), &prepared, rows)?),
        None => None,
    };
    Ok(Outcome { model, refusal, unjudged: fitted.unjudged(), benchmarks })
}

fn stored(
    fitted: &FittedModel,
    prepared: &Prepared,
    (inputs_hash, moment, simulated): ([u8; 32], Moment, bool),
) -> anyhow::Result<StoredModel> {
    let artifact = fitted.network.as_ref().map(Artifact::of).transpose()?;
    let record = fitted.network.as_ref().map(|n| json!({ "training": n.record, "recipe": n.recipe }));
    let trained_until = *prepared.history.sessions.last().context("the history has no session")?;
    let settings = fitted.state.settings;
    let mut model = StoredModel {
        model_id: String::new(),
        trained_until,
        known_until: moment.known_until,
        recorded_until: moment.recorded_until,
        recipe: json!({ "settings": settings, "network": fitted.network.as_ref().map(|n| &n.recipe) }),
        seed: i64::try_from(settings.seed)?,
        data_hash: inputs_hash,
        code_version: CODE_VERSION.into(),
        state: serde_json::to_vec(&fitted.state)?,
        artifact: artifact.map(Artifact::into_bytes),
        scores: scores(fitted, record),
        comparisons: (!fitted.comparisons.is_empty()).then(|| to_jsonl(&fitted.comparisons, simulated).into_bytes()),
    };
    model.model_id = format!("{trained_until}.{}", &hex::encode(model.sha256())[..8]);
    Ok(model)
}

/// What decided what is served, for `GET /models/{id}`.
fn scores(fitted: &FittedModel, record: Option<serde_json::Value>) -> serde_json::Value {
    let walk = fitted.decisions.iter().map(|(day, d)| json!({ "as_of": day, "gate": d })).collect::<Vec<_>>();
    let has_network = fitted.network.is_some();
    let shares = has_network.then(|| {
        let head = |(k, head): (usize, Head)| {
            let numbers = json!({ "share": fitted.shares[k], "relative_loss": fitted.relative_loss[k] });
            (head.label(), numbers)
        };
        Head::all().into_iter().enumerate().map(head).collect::<serde_json::Map<_, _>>()
    });
    json!({
        "gate": fitted.decisions.last().map(|(_, decisions)| decisions),
        "walk": has_network.then_some(walk),
        "shares": shares,
        "canaries": (!fitted.canaries.is_empty()).then_some(&fitted.canaries),
        "non_inferiority": has_network.then_some(&fitted.non_inferiority),
        "attribution": has_network.then_some(&fitted.significance),
        "next_state": fitted.state.responses.next_state,
        "reward": fitted.state.responses.reward.as_ref().map(|r| &r.record),
        "without_network": fitted.without_network,
        "folds": fitted.folds,
        "training": record,
    })
}

fn report_epoch(phase: &Phase, p: &Progress) {
    phase.advance(1);
    phase.note(format!("member {}, {:.0} rows/s", p.member + 1, p.rows_per_second));
}

fn doing(step: FitStep) -> &'static str {
    match step {
        FitStep::Benchmarks => "fitting benchmarks",
        FitStep::Features => "computing features and targets",
        FitStep::Walk(_) => "walking through the past",
        FitStep::Gate => "judging the record out of sample",
        FitStep::Training => "training the network",
        FitStep::Canaries => "sending canaries, giving verdicts",
        FitStep::Games => "playing the games of the past",
    }
}

/// What will be served, in one line.
fn summary(fitted: &FittedModel) -> String {
    let from_network = |h: &Horizon| fitted.state.seats(*h).sources("", "").source() == Source::Network;
    let seated: Vec<&str> = Horizon::ALL.iter().filter(|h| from_network(h)).map(|h| h.label()).collect();
    match (seated.is_empty(), fitted.without_network) {
        (_, Some(NOT_WALKED)) => "no network: it has no record out of sample yet: forecastd train --walk".into(),
        (_, Some(RECORD_INCOMPLETE)) => "no network: folds of its record are missing: forecastd train --walk".into(),
        (_, Some(reason)) => format!("benchmarks are served; no network: {reason}"),
        (true, None) => "benchmarks are served; no head of the network passed its gate".into(),
        (false, None) => format!("heads of the network are served at {}", seated.join(", ")),
    }
}

//! Fits a model: benchmarks on everything known, the network on the rows before a span that it never sees, and seats by
//! what the network gained on that span.

use crate::features::price_basis::PriceBasis;
use crate::forecast::audition::{AuditionDay, HeadDecisions, HorizonAudition};
use crate::forecast::calibration::Calibration;
use crate::forecast::prepared::Prepared;
use crate::forecast::samples::{ROW_SPACING, SampleRequest, features_on, network_day, samples, training_sessions};
use crate::forecast::settings::ForecastSettings;
use crate::forecast::state::{ModelState, STATE_VERSION, Seats};
use crate::forecast::walk::VolatilityWalk;
use crate::learning::dataset::{DatasetError, TrainingPlan};
use crate::learning::ensemble::{ForecastError, Provenance, TrainedModel, train};
use crate::learning::recipe::Recipe;
use crate::learning::training::{Control, TrainingError};
use crate::market::horizon::Horizon;
use crate::scenario::volatility::{VolatilityModel, fit};

/// Sessions of history below which no network is trained: two years of training rows and the spans after them.
const NETWORK_MINIMUM: usize = 1_000;
/// Longest span for the audition and for early stopping, sessions.
const AUDITION_SESSIONS: usize = 504;
const VALIDATION_SESSIONS: usize = 378;
/// Rank days of the audition are this many decision days apart.
const RANK_EVERY: usize = 4;

/// Reason for no network: no row trains, or none validates.
const NOTHING_TO_LEARN: &str = "insufficient_history";

/// What to fit.
pub struct FitRequest<'a> {
    /// Configured numbers, kept with the model.
    pub settings: ForecastSettings,
    /// The network; no members fit the benchmarks alone.
    pub recipe: &'a Recipe,
    /// Hash of the rows.
    pub data_hash: String,
    /// Horizons to fit.
    pub horizons: &'a [Horizon],
}

/// A fitted model.
pub struct FittedModel {
    /// Benchmarks and seats.
    pub state: ModelState,
    /// The network, if one was trained.
    pub network: Option<TrainedModel>,
    /// Why there is no network.
    pub without_network: Option<&'static str>,
    /// What decided the seats.
    pub decisions: Vec<HeadDecisions>,
}

/// Why a model could not be fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The training stopped.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// The trained network gave no forecast.
    #[error(transparent)]
    Forecast(#[from] ForecastError),
    /// There is nothing to fit on.
    #[error("the history has no session")]
    Empty,
}

/// Steps of a fit, for progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FitStep {
    /// Benchmarks are being fitted.
    Benchmarks,
    /// Features and targets are being computed.
    Features,
    /// The network is being trained.
    Training,
    /// The network plays against the benchmarks.
    Audition,
}

/// Fits benchmarks and network on all rows of a history.
///
/// # Errors
/// [`FitError`]; a cancelled training is one.
pub fn fit_model(
    prepared: &Prepared,
    request: &FitRequest<'_>,
    control: &Control<'_>,
    step: &dyn Fn(FitStep),
) -> Result<FittedModel, FitError> {
    let last = prepared.sessions().checked_sub(1).ok_or(FitError::Empty)?;
    step(FitStep::Benchmarks);
    let state = fit_benchmarks(prepared, request, last);
    let without = match () {
        () if request.recipe.members == 0 => Some("no_members_configured"),
        () if prepared.sessions() < NETWORK_MINIMUM => Some("insufficient_history"),
        () => None,
    };
    if without.is_some() {
        return Ok(FittedModel { state, network: None, without_network: without, decisions: vec![] });
    }
    let spans = Spans::of(prepared.sessions());
    step(FitStep::Features);
    let basis = PriceBasis::infer(&prepared.history);
    let table = features_on(prepared, &basis, &training_sessions(spans.audition_from));
    let benchmarks = Horizon::ALL.map(|h| fit(&prepared.inputs, VolatilityModel::HarX2, h, spans.audition_from));
    let rows = samples(
        SampleRequest {
            prepared,
            benchmarks: &benchmarks,
            equity_premium: request.settings.equity_premium,
            known_until: spans.audition_from,
        },
        &table,
    );
    let provenance = Provenance {
        seed: request.settings.seed,
        data_hash: request.data_hash.clone(),
        schema: serde_json::to_value(&table.schema).unwrap_or_default(),
    };
    step(FitStep::Training);
    let plan = TrainingPlan {
        validation_from_day: spans.validation_from as u32,
        validation_until_day: spans.audition_from as u32,
    };
    let network = match train(&rows, &plan, request.recipe, provenance, control) {
        Ok(network) => network,
        Err(TrainingError::Dataset(DatasetError::EmptySpan { .. })) => {
            return Ok(FittedModel {
                state,
                network: None,
                without_network: Some(NOTHING_TO_LEARN),
                decisions: vec![],
            });
        }
        Err(error) => return Err(error.into()),
    };
    drop(rows);
    step(FitStep::Audition);
    let auditions = hold_auditions(prepared, &state, &network, &spans)?;
    Ok(seat(state, network, &auditions, last))
}

/// Benchmarks of all horizons, fitted by the close of a session, with no seat taken.
#[must_use]
pub fn fit_benchmarks(prepared: &Prepared, request: &FitRequest<'_>, until: usize) -> ModelState {
    let harx2 = VolatilityWalk::fit(&prepared.inputs, VolatilityModel::HarX2, request.horizons, until);
    ModelState {
        version: STATE_VERSION,
        fitted_until: prepared.history.sessions[until],
        har: VolatilityWalk::fit(&prepared.inputs, VolatilityModel::LogHar, request.horizons, until),
        year_log_error: harx2.log_error(&prepared.inputs, Horizon::Year, until),
        harx2,
        seats: [Seats::default(); 5],
        network_maps: [const { None }; 5],
        settings: request.settings,
    }
}

struct Spans {
    validation_from: usize,
    audition_from: usize,
    sessions: usize,
}

impl Spans {
    fn of(sessions: usize) -> Self {
        let audition_from = sessions - AUDITION_SESSIONS.min(sessions / 5);
        let validation_from = audition_from - VALIDATION_SESSIONS.min(sessions / 6);
        Self { validation_from, audition_from, sessions }
    }
}

fn hold_auditions(
    prepared: &Prepared,
    state: &ModelState,
    network: &TrainedModel,
    spans: &Spans,
) -> Result<[HorizonAudition; 5], FitError> {
    let basis = PriceBasis::infer(&prepared.history);
    let days: Vec<usize> = (spans.audition_from + 1..spans.sessions).filter(|t| t % ROW_SPACING == 0).collect();
    let table = features_on(prepared, &basis, &days);
    // Intervals do not take part, so the maps may stay Gaussian.
    let calibrations = Horizon::ALL.map(|h| Calibration::new(vec![], h));
    let mut auditions = [(); 5].map(|()| HorizonAudition::default());
    for (position, &session) in days.iter().enumerate() {
        let said = network_day(prepared, network, &table, position)?;
        for horizon in Horizon::ALL {
            let day = AuditionDay {
                prepared,
                state,
                calibration: &calibrations[horizon.index()],
                network: &said,
                session,
                with_ranks: position % RANK_EVERY == 0,
            };
            auditions[horizon.index()].add(day, horizon);
        }
    }
    Ok(auditions)
}

fn seat(mut state: ModelState, network: TrainedModel, auditions: &[HorizonAudition; 5], last: usize) -> FittedModel {
    let mut decisions = Vec::new();
    for horizon in Horizon::ALL {
        let audition = &auditions[horizon.index()];
        let decision = audition.decide(horizon, last);
        let map = audition.map_at(horizon, last);
        state.seats[horizon.index()] = decision.seats(map.is_some());
        state.network_maps[horizon.index()] = map;
        decisions.push(decision);
    }
    FittedModel { state, network: Some(network), without_network: None, decisions }
}

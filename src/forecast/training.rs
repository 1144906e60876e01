//! Fits a model: benchmarks on everything known, the seats from the recipe's out-of-sample record, and the network on all
//! rows, believed as far as that record supports it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decision::comparison::Comparison;
use crate::evaluation::verdict::Predictability;
use crate::forecast::audition::HeadDecisions;
use crate::forecast::canaries::{self, Canary, Trial};
use crate::forecast::examination::{HeadNonInferiority, HorizonSignificance, compare_weights, volatility_significance};
use crate::forecast::folds::{FoldShelf, ShelfError};
use crate::forecast::past_games::PastRequest;
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_record::RatingRecord;
use crate::forecast::responses::{Learnt, Responses, ResponsesError, learn};
use crate::forecast::school::FIRST_FOLD;
use crate::forecast::settings::ForecastSettings;
use crate::forecast::state::{ModelState, STATE_VERSION, Seats};
use crate::forecast::verdicts::verdicts;
use crate::forecast::walk::VolatilityWalk;
use crate::forecast::walker::{Folds, Walker};
use crate::learning::arrays::ArtifactError;
use crate::learning::dataset::DatasetError;
use crate::learning::ensemble::{ForecastError, TrainedModel};
use crate::learning::recipe::Recipe;
use crate::learning::task::HEADS;
use crate::learning::training::{Control, TrainingError};
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::rating::term::RatingSettings;
use crate::scenario::volatility::VolatilityModel;

/// Reason for no network: no fold of the recipe has a record yet.
pub const NOT_WALKED: &str = "not_walked_yet";
/// Reason for no network: some folds of the recipe are missing, because rows changed or a year began, and a part of the
/// record judges nobody.
pub const RECORD_INCOMPLETE: &str = "record_incomplete";

/// What to fit.
pub struct FitRequest<'a> {
    /// Configured numbers, kept with the model.
    pub settings: ForecastSettings,
    /// The network; no members fit the benchmarks alone.
    pub recipe: &'a Recipe,
    /// Hash of the rows.
    pub data_hash: String,
    /// Horizons to fit and to judge; with a network the benchmark of its volatility is fitted at all.
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
    /// What decided the seats, at each refit of the walk and last at the end.
    pub decisions: Vec<(Day, Vec<HeadDecisions>)>,
    /// Share of each head's output that is believed.
    pub shares: [f32; HEADS],
    /// Loss of each head over the benchmark's on the out-of-sample record, at that share.
    pub relative_loss: [f64; HEADS],
    /// Trials with a known outcome; one that failed blocks promotion.
    pub canaries: Vec<Canary>,
    /// New weights against the newest fold's, for the heads that are seated.
    pub non_inferiority: Vec<HeadNonInferiority>,
    /// Whether each factor group matters to the volatility that was said out of sample.
    pub significance: Vec<HorizonSignificance>,
    /// What the reward model learnt from.
    pub comparisons: Vec<Comparison>,
    /// The folds of the recipe, if it has any.
    pub folds: Option<FoldCount>,
}

/// The folds of a recipe: how many there should be, and how many there were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoldCount {
    /// Hash of the recipe, lowercase hexadecimal.
    pub recipe: String,
    /// Refits of the past.
    pub expected: usize,
    /// Those without a fold when the walk began.
    pub missing: usize,
}

impl FittedModel {
    /// The same with the benchmarks alone: what may be served when the network must not be promoted.
    #[must_use]
    pub fn benchmarks_alone(&self) -> Self {
        // How sure actions are was found for a game that the network took part in.
        let responses = Responses { confidence: BTreeMap::new(), ..self.state.responses.clone() };
        let verdicts = self.state.verdicts.clone();
        Self {
            state: ModelState { verdicts, responses, ..self.state.benchmarks() },
            network: None,
            without_network: Some("canaries_failed"),
            decisions: self.decisions.clone(),
            shares: [0.0; HEADS],
            relative_loss: [1.0; HEADS],
            canaries: self.canaries.clone(),
            non_inferiority: self.non_inferiority.clone(),
            significance: vec![],
            comparisons: self.comparisons.clone(),
            folds: self.folds.clone(),
        }
    }

    /// Why there is no network although the recipe has one that could be judged after a walk; `None` otherwise.
    #[must_use]
    pub fn unjudged(&self) -> Option<String> {
        let why = self.without_network.filter(|why| [NOT_WALKED, RECORD_INCOMPLETE].contains(why))?;
        let FoldCount { expected, missing, .. } = self.folds.as_ref()?;
        Some(format!("{why}: {missing} of {expected} folds are missing; walk first: forecastd train --walk"))
    }

    /// Why the model must not be promoted; `None` when it may.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let canary = self.canaries.iter().find(|c| !c.passed).map(|c| format!("canary {}: {}", c.name, c.detail));
        let inferior = self.non_inferiority.iter().find(|n| !n.accepted);
        canary.or_else(|| inferior.map(|n| format!("the new weights of {} are worse than the last ones", n.head)))
    }
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
    /// A fold could not be saved or read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The folds of the past could not be reached.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// Nothing could be learnt from the games of the past.
    #[error(transparent)]
    Responses(#[from] ResponsesError),
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
    /// This many folds of the past are missing and being walked.
    Walk(usize),
    /// The gate judges the record.
    Gate,
    /// The network is being trained.
    Training,
    /// Canaries are sent, weights compared, verdicts given.
    Canaries,
    /// The games of the past are played.
    Games,
}

/// Fits benchmarks and network on all rows of a history, the seats by the record of the recipe's folds.
///
/// # Errors
/// [`FitError`]; a cancelled training is one.
pub fn fit_model(
    prepared: &Prepared,
    request: &FitRequest<'_>,
    folds: Folds<'_>,
    control: &Control<'_>,
    step: &dyn Fn(FitStep),
) -> Result<FittedModel, FitError> {
    let last = prepared.sessions().checked_sub(1).ok_or(FitError::Empty)?;
    step(FitStep::Benchmarks);
    let state = fit_benchmarks(prepared, request, last);
    let fit = Fit { prepared, request, shelf: folds.shelf, step, folds: None };
    let settings = RatingSettings { equity_premium: request.settings.equity_premium, ..RatingSettings::default() };
    let ratings = Some(RatingRecord::walk(prepared, &state.harx2, &settings, last));
    let state = ModelState { ratings, ..state };
    let reason = match () {
        () if request.recipe.members == 0 => Some("no_members_configured"),
        () if last < FIRST_FOLD => Some("insufficient_history"),
        () => None,
    };
    if let Some(reason) = reason {
        return fit.without_network(state, None, reason);
    }
    step(FitStep::Features);
    let mut walker = Walker::begin(prepared, request, folds, &state, last);
    let (expected, missing) = (walker.expected(last).len(), walker.missing(last)?);
    let recipe = walker.school.as_ref().map(|school| hex::encode(school.recipe));
    let fit = Fit { folds: recipe.map(|recipe| FoldCount { recipe, expected, missing }), ..fit };
    step(FitStep::Walk(missing));
    if missing > 0 && !folds.train_missing {
        return fit.without_network(state, None, if missing < expected { RECORD_INCOMPLETE } else { NOT_WALKED });
    }
    walker.advance(last, control)?;
    step(FitStep::Gate);
    walker.settle(last)?;
    let (Some(school), false) = (&walker.school, walker.record.rows.is_empty()) else {
        return fit.without_network(state, None, NOT_WALKED);
    };
    step(FitStep::Training);
    let network = match school.train(last, request, request.data_hash.clone(), control) {
        Ok(network) => network.with_shrink(walker.standing().shares),
        Err(TrainingError::Dataset(DatasetError::EmptySpan { .. })) => {
            return fit.without_network(state, Some(&walker), "insufficient_history");
        }
        Err(error) => return Err(error.into()),
    };
    step(FitStep::Canaries);
    let newest_fold = walker.network()?;
    fit.with_network(state, &walker, (network, newest_fold))
}

/// What the end of a fit needs.
struct Fit<'a> {
    prepared: &'a Prepared,
    request: &'a FitRequest<'a>,
    shelf: &'a dyn FoldShelf,
    step: &'a dyn Fn(FitStep),
    folds: Option<FoldCount>,
}

impl Fit<'_> {
    fn without_network(
        &self,
        state: ModelState,
        walker: Option<&Walker<'_>>,
        reason: &'static str,
    ) -> Result<FittedModel, FitError> {
        let learnt = self.learn(&state, None)?;
        let verdicts = verdicts_by_symbol(self.prepared, &state, walker);
        Ok(FittedModel {
            state: ModelState { verdicts, responses: learnt.responses, ..state },
            network: None,
            without_network: Some(reason),
            decisions: vec![],
            shares: [0.0; HEADS],
            relative_loss: [1.0; HEADS],
            canaries: vec![],
            non_inferiority: vec![],
            significance: vec![],
            comparisons: learnt.comparisons,
            folds: self.folds.clone(),
        })
    }

    fn with_network(
        &self,
        state: ModelState,
        walker: &Walker<'_>,
        (network, newest_fold): (TrainedModel, Option<TrainedModel>),
    ) -> Result<FittedModel, FitError> {
        let (prepared, standing) = (self.prepared, walker.standing());
        let seed = self.request.settings.seed;
        let school = walker.school.as_ref().ok_or(FitError::Empty)?;
        let canaries = canaries::send(&Trial {
            prepared,
            benchmark: &state.harx2,
            school,
            recipe: self.request.recipe,
            relative_loss: &standing.relative_loss,
            record_days: walker.record.day_count(),
            seed,
        })?;
        let non_inferiority = compare_weights(walker, &network)?;
        let significance = match &newest_fold {
            Some(fold) => volatility_significance(walker, fold, seed)?,
            None => vec![],
        };
        let verdicts = verdicts_by_symbol(prepared, &state, Some(walker));
        let learnt = self.learn(&state, Some(walker))?;
        let network_maps = standing.maps.clone();
        let responses = learnt.responses;
        Ok(FittedModel {
            state: ModelState { seats: standing.seats, network_maps, verdicts, responses, ..state },
            network: Some(network),
            without_network: None,
            shares: standing.shares,
            relative_loss: standing.relative_loss,
            decisions: walker.decisions.clone(),
            canaries,
            non_inferiority,
            significance,
            comparisons: learnt.comparisons,
            folds: self.folds.clone(),
        })
    }

    fn learn(&self, benchmarks: &ModelState, walker: Option<&Walker<'_>>) -> Result<Learnt, FitError> {
        (self.step)(FitStep::Games);
        let past = PastRequest {
            prepared: self.prepared,
            benchmarks,
            recipe: walker.map(|walker| (walker, self.shelf)),
            members: self.request.recipe.members,
            until: self.prepared.sessions() - 1,
        };
        learn(&past, &self.request.settings)
    }
}

fn verdicts_by_symbol(
    prepared: &Prepared,
    state: &ModelState,
    walker: Option<&Walker<'_>>,
) -> BTreeMap<Symbol, Predictability> {
    let verdicts = verdicts(prepared, state, walker, prepared.sessions() - 1);
    let symbols = prepared.history.instruments.iter().map(|i| i.instrument.symbol.clone());
    symbols.zip(verdicts).collect()
}

/// Benchmarks of all horizons, fitted by the close of a session, with no seat taken.
#[must_use]
pub fn fit_benchmarks(prepared: &Prepared, request: &FitRequest<'_>, until: usize) -> ModelState {
    let corrected = if request.recipe.members > 0 { &Horizon::ALL[..] } else { request.horizons };
    let harx2 = VolatilityWalk::fit(&prepared.inputs, VolatilityModel::HarX2, corrected, until);
    ModelState {
        version: STATE_VERSION,
        fitted_until: prepared.history.sessions[until],
        har: VolatilityWalk::fit(&prepared.inputs, VolatilityModel::LogHar, request.horizons, until),
        year_log_error: harx2.log_error(&prepared.inputs, Horizon::Year, until),
        harx2,
        seats: [Seats::default(); 5],
        network_maps: [const { None }; 5],
        verdicts: BTreeMap::new(),
        responses: Responses::default(),
        ratings: None,
        settings: request.settings,
    }
}

//! The walk through the past: on every decision day the forecasts that would have been served, and those of named
//! models, from rows known by then, with yearly refits.
//!
//! One exception to "known by then": the split basis of the prices is inferred from the whole history, because the
//! closes of a download are on its last day's basis already (see [`PriceBasis`]).

use std::collections::BTreeMap;

use crate::evaluation::forecasts::{DirectionRow, Forecasts, QuantileRow, RankRow, VolatilityRow};
use crate::evaluation::split::Decision;
use crate::features::price_basis::PriceBasis;
use crate::forecast::audition::{AuditionDay, HeadDecisions, HorizonAudition};
use crate::forecast::calibration::Calibration;
use crate::forecast::day::{DayForecast, DayInputs, NetworkDay, benchmark_ranks, forecast_day, forecast_ranks};
use crate::forecast::prepared::Prepared;
use crate::forecast::samples::{ROW_SPACING, SampleRequest, features_on, network_day, samples, training_sessions};
use crate::forecast::state::{ModelState, Seats};
use crate::forecast::training::{FitError, FitRequest, fit_benchmarks};
use crate::forecast::walk::refit_sessions;
use crate::learning::dataset::{DatasetError, TrainingPlan};
use crate::learning::ensemble::{Provenance, TrainedModel, train};
use crate::learning::training::{Control, TrainingError};
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::scenario::conformal::QUANTILE_LEVELS;
use crate::scenario::recipes::RankModel;
use crate::scenario::volatility::{VolatilityModel, fit};

/// Name of the served mix among the forecasts.
pub const SERVED: &str = "served";
/// Sessions of validation before a refit, at most.
const VALIDATION_SESSIONS: usize = 378;
/// First refit at which a network is trained.
const NETWORK_FROM: usize = 756;

/// What is walked.
pub struct WalkRequest<'a> {
    /// The rows and their columns.
    pub prepared: &'a Prepared,
    /// Decision days, ascending.
    pub decisions: &'a [Decision],
    /// Horizons to forecast.
    pub horizons: &'a [Horizon],
    /// Named models to forecast besides the served mix.
    pub models: &'a [String],
    /// Instruments that are asked for, all of them ranked, whatever their age; `None` for all, the rankable ones ranked.
    /// The others still help to fit.
    pub universe: Option<&'a [usize]>,
    /// Settings and network.
    pub fit: FitRequest<'a>,
}

/// Forecasts by model name, and the gate's decisions by refit day.
#[derive(Debug, Default)]
pub struct Walked {
    /// Rows by model; [`SERVED`] is the served mix.
    pub forecasts: BTreeMap<String, Forecasts>,
    /// What the gate decided at each refit.
    pub decisions: Vec<(Day, Vec<HeadDecisions>)>,
}

/// Walks.
///
/// # Errors
/// [`FitError`] when a training fails or is cancelled.
pub fn walk(
    request: &WalkRequest<'_>,
    control: &Control<'_>,
    progress: &dyn Fn(&Decision),
) -> Result<Walked, FitError> {
    let Some(last) = request.decisions.last().map(|d| d.session) else { return Ok(Walked::default()) };
    let refits = refit_sessions(&request.prepared.history.sessions);
    let newest = refits.iter().rev().find(|r| **r <= last).copied();
    let mut state = fit_benchmarks(request.prepared, &request.fit, newest.unwrap_or(last));
    let premium = request.fit.settings.equity_premium;
    let calibrations = Horizon::ALL.map(|h| match request.horizons.contains(&h) {
        true => Calibration::of_walk(request.prepared, &state.harx2, h, premium),
        false => Calibration::new(vec![], h),
    });
    let mut walker = Walker {
        request,
        basis: PriceBasis::infer(&request.prepared.history),
        calibrations,
        auditions: [(); 5].map(|()| HorizonAudition::default()),
        network: None,
        auditioned_until: 0,
        walked: Walked::default(),
    };
    let mut refitted = None;
    for decision in request.decisions {
        let due = refits.iter().rev().find(|r| **r <= decision.session).copied();
        for refit in refits.iter().filter(|r| Some(**r) > refitted && Some(**r) <= due) {
            walker.refit(*refit, &mut state, control)?;
        }
        refitted = due.max(refitted);
        walker.decide(decision, &state)?;
        progress(decision);
    }
    Ok(walker.walked)
}

struct Walker<'a> {
    request: &'a WalkRequest<'a>,
    basis: PriceBasis,
    calibrations: [Calibration; 5],
    auditions: [HorizonAudition; 5],
    network: Option<TrainedModel>,
    auditioned_until: usize,
    walked: Walked,
}

impl Walker<'_> {
    /// Lets the network in force play until the refit, decides the seats by all that matured, and trains its successor.
    fn refit(&mut self, refit: usize, state: &mut ModelState, control: &Control<'_>) -> Result<(), FitError> {
        if self.request.fit.recipe.members == 0 || refit < NETWORK_FROM {
            return Ok(());
        }
        self.audition_until(refit, state)?;
        let mut decisions = Vec::new();
        for &horizon in self.request.horizons {
            let audition = &self.auditions[horizon.index()];
            let decision = audition.decide(horizon, refit);
            let map = audition.map_at(horizon, refit);
            state.seats[horizon.index()] = decision.seats(map.is_some());
            state.network_maps[horizon.index()] = map;
            decisions.push(decision);
        }
        self.walked.decisions.push((self.request.prepared.history.sessions[refit], decisions));
        self.network = match self.train(refit, control) {
            Err(FitError::Training(TrainingError::Dataset(DatasetError::EmptySpan { .. }))) => None,
            trained => Some(trained?),
        };
        self.auditioned_until = refit;
        Ok(())
    }

    fn train(&self, refit: usize, control: &Control<'_>) -> Result<TrainedModel, FitError> {
        let prepared = self.request.prepared;
        let table = features_on(prepared, &self.basis, &training_sessions(refit));
        let benchmarks = Horizon::ALL.map(|h| fit(&prepared.inputs, VolatilityModel::HarX2, h, refit));
        let settings = self.request.fit.settings;
        let request = SampleRequest {
            prepared,
            benchmarks: &benchmarks,
            equity_premium: settings.equity_premium,
            known_until: refit,
        };
        let rows = samples(request, &table);
        let plan = TrainingPlan {
            validation_from_day: (refit - VALIDATION_SESSIONS.min(refit / 4)) as u32,
            validation_until_day: refit as u32,
        };
        let provenance = Provenance {
            seed: settings.seed,
            data_hash: self.request.fit.data_hash.clone(),
            schema: serde_json::to_value(&table.schema).unwrap_or_default(),
        };
        Ok(train(&rows, &plan, self.request.fit.recipe, provenance, control)?)
    }

    fn audition_until(&mut self, refit: usize, state: &ModelState) -> Result<(), FitError> {
        let Some(network) = &self.network else { return Ok(()) };
        let prepared = self.request.prepared;
        let days: Vec<usize> = (self.auditioned_until + 1..=refit).filter(|t| t % ROW_SPACING == 0).collect();
        let table = features_on(prepared, &self.basis, &days);
        for (position, &session) in days.iter().enumerate() {
            let said = network_day(prepared, network, &table, position)?;
            for &horizon in self.request.horizons {
                let day = AuditionDay {
                    prepared,
                    state,
                    calibration: &self.calibrations[horizon.index()],
                    network: &said,
                    session,
                    with_ranks: position % 4 == 0,
                };
                self.auditions[horizon.index()].add(day, horizon);
            }
        }
        Ok(())
    }

    fn decide(&mut self, decision: &Decision, state: &ModelState) -> Result<(), FitError> {
        let (prepared, session) = (self.request.prepared, decision.session);
        let said = match &self.network {
            Some(network) => Some(network_day(prepared, network, &features_on(prepared, &self.basis, &[session]), 0)?),
            None => None,
        };
        for &horizon in self.request.horizons {
            let calibration = self.calibrations[horizon.index()].clone();
            let inputs =
                DayInputs { prepared, state, calibration: &calibration, network: said.as_ref(), session, horizon };
            let day = forecast_day(inputs);
            let ranked = self.ranked(session, &day);
            let ranks = forecast_ranks(inputs, &ranked).map(|r| r.quintile_probabilities);
            let rows = Rows { request: self.request, decision, horizon };
            let served = self.walked.forecasts.entry(SERVED.to_owned()).or_default();
            rows.ranks(served, &ranked, ranks);
            rows.laws(served, &day);
            for model in self.request.models {
                let forecasts = self.walked.forecasts.entry(model.clone()).or_default();
                named(forecasts, model, &rows, &Named { inputs, day: &day, ranked: &ranked, said: said.as_ref() });
            }
        }
        Ok(())
    }

    fn ranked(&self, session: usize, day: &DayForecast) -> Vec<usize> {
        let prepared = self.request.prepared;
        match self.request.universe {
            Some(named) => {
                let priced =
                    |i: &usize| prepared.last_bar(*i, session).is_some() && !prepared.universe.is_index(*i, session);
                named.iter().copied().filter(priced).collect()
            }
            None => {
                let rankable = |i: &usize| prepared.universe.is_rankable(*i, session) && day.instruments[*i].is_some();
                prepared.alive(session).into_iter().filter(rankable).collect()
            }
        }
    }
}

struct Named<'a> {
    inputs: DayInputs<'a>,
    day: &'a DayForecast,
    ranked: &'a [usize],
    said: Option<&'a NetworkDay>,
}

/// Adds the rows of a named model; a model that does not forecast a head adds none there.
fn named(forecasts: &mut Forecasts, model: &str, rows: &Rows<'_>, on: &Named<'_>) {
    if let Ok(benchmark) = model.parse::<RankModel>() {
        let scenarios = on.inputs.state.settings.scenarios;
        let ranks = benchmark_ranks(&on.inputs, benchmark, on.ranked, scenarios).map(|r| r.quintile_probabilities);
        rows.ranks(forecasts, on.ranked, ranks);
    }
    if let Some(benchmark) = VolatilityModel::ALL.into_iter().find(|m| m.as_str() == model) {
        rows.volatility(forecasts, &named_variances(benchmark, on));
    }
    let unseated = ModelState { seats: [Seats::default(); 5], ..on.inputs.state.clone() };
    let benchmark = DayInputs { state: &unseated, network: None, ..on.inputs };
    match (model, on.said) {
        ("base_rate", _) => {
            let rate = on.inputs.prepared.base_rate(on.inputs.session, on.inputs.horizon);
            rows.direction(forecasts, on.day, |_| rate);
        }
        ("harx2", _) => rows.quantiles(forecasts, &forecast_day(benchmark)),
        ("network", Some(said)) => {
            let all = Seats { volatility: true, direction: true, tilt_weight: 0.25, mean_weight: 0.0 };
            let seated = ModelState { seats: [all; 5], ..on.inputs.state.clone() };
            let inputs = DayInputs { state: &seated, network: Some(said), ..on.inputs };
            rows.ranks(forecasts, on.ranked, forecast_ranks(inputs, on.ranked).map(|r| r.quintile_probabilities));
            rows.laws(forecasts, &forecast_day(inputs));
        }
        _ => {}
    }
}

fn named_variances(model: VolatilityModel, on: &Named<'_>) -> Vec<Option<f64>> {
    let DayInputs { prepared, state, session, horizon, .. } = on.inputs;
    let day = prepared.history.sessions[session];
    let fitted = match model {
        VolatilityModel::LogHar => state.har.in_force(day, horizon).cloned(),
        VolatilityModel::HarX2 => state.harx2.in_force(day, horizon).cloned(),
        simple => fit(&prepared.inputs, simple, horizon, session),
    };
    let count = prepared.history.instruments.len();
    fitted.map_or_else(
        || vec![None; count],
        |f| f.forecasts(&prepared.inputs, session).into_iter().map(|v| v.map(|v| v.daily_variance)).collect(),
    )
}

/// Rows of one decision day and horizon.
struct Rows<'a> {
    request: &'a WalkRequest<'a>,
    decision: &'a Decision,
    horizon: Horizon,
}

impl Rows<'_> {
    fn is_asked(&self, instrument: usize) -> bool {
        self.request.universe.is_none_or(|named| named.contains(&instrument))
    }

    fn symbol(&self, instrument: usize) -> Symbol {
        self.request.prepared.history.instruments[instrument].instrument.symbol.clone()
    }

    fn ranks(&self, forecasts: &mut Forecasts, ranked: &[usize], probabilities: Option<Vec<[f64; 5]>>) {
        let rows = forecasts.ranks.entry(self.horizon.sessions()).or_default();
        for (i, quintile_probabilities) in ranked.iter().zip(probabilities.unwrap_or_default()) {
            rows.push(RankRow { as_of: self.decision.as_of, symbol: self.symbol(*i), quintile_probabilities });
        }
    }

    fn volatility(&self, forecasts: &mut Forecasts, daily_variances: &[Option<f64>]) {
        let prepared = self.request.prepared;
        for i in prepared.alive(self.decision.session).into_iter().filter(|i| self.is_asked(*i)) {
            if let Some(daily) = daily_variances[i] {
                let horizon = self.horizon.sessions();
                let sigma = (daily * horizon as f64).sqrt();
                forecasts.volatility.push(VolatilityRow {
                    as_of: self.decision.as_of,
                    symbol: self.symbol(i),
                    horizon,
                    sigma,
                });
            }
        }
    }

    fn direction(&self, forecasts: &mut Forecasts, day: &DayForecast, probability: impl Fn(usize) -> f64) {
        let (as_of, horizon) = (self.decision.as_of, self.horizon.sessions());
        for i in self.forecast(day) {
            let (symbol, probability_up) = (self.symbol(i), probability(i));
            forecasts.direction.push(DirectionRow { as_of, symbol, horizon, probability_up });
        }
    }

    /// Instruments that are asked for and have a forecast.
    fn forecast<'a>(&'a self, day: &'a DayForecast) -> impl Iterator<Item = usize> + 'a {
        (0..day.instruments.len()).filter(|i| day.instruments[*i].is_some() && self.is_asked(*i))
    }

    /// Volatility, quantiles and direction of a day.
    fn laws(&self, forecasts: &mut Forecasts, day: &DayForecast) {
        let (as_of, horizon) = (self.decision.as_of, self.horizon.sessions());
        for i in self.forecast(day) {
            if let Some(f) = &day.instruments[i] {
                let (symbol, sigma) = (self.symbol(i), f.volatility);
                forecasts.volatility.push(VolatilityRow { as_of, symbol, horizon, sigma });
                let (symbol, probability_up) = (self.symbol(i), f.probability_up);
                forecasts.direction.push(DirectionRow { as_of, symbol, horizon, probability_up });
            }
        }
        self.quantiles(forecasts, day);
    }

    fn quantiles(&self, forecasts: &mut Forecasts, day: &DayForecast) {
        let (as_of, horizon) = (self.decision.as_of, self.horizon.sessions());
        for i in self.forecast(day) {
            let Some(law) = day.instruments[i].as_ref().map(|f| f.scenario(&day.map)) else { continue };
            for quantile in QUANTILE_LEVELS {
                let value = law.quantile(quantile);
                forecasts.quantiles.push(QuantileRow { as_of, symbol: self.symbol(i), horizon, quantile, value });
            }
        }
    }
}

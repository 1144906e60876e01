//! The walk through the past: on every decision day the forecasts that would have been served, and those of named
//! models, from rows known by then, with yearly refits.
//!
//! One exception to "known by then": the split basis of the prices is inferred from the whole history, because the
//! closes of a download are on its last day's basis already (see [`PriceBasis`]).

use std::collections::BTreeMap;

use crate::evaluation::forecasts::{DirectionRow, Forecasts, QuantileRow, RankRow, VolatilityRow};
use crate::evaluation::split::Decision;
use crate::features::price_basis::PriceBasis;
use crate::forecast::audition::HeadDecisions;
use crate::forecast::calibration::Calibration;
use crate::forecast::day::{DayForecast, DayInputs, NetworkDay, benchmark_ranks, forecast_day, forecast_ranks};
use crate::forecast::prepared::Prepared;
use crate::forecast::samples::{features_on, network_day};
use crate::forecast::state::{ModelState, Seats};
use crate::forecast::training::{FitError, FitRequest, fit_benchmarks};
use crate::forecast::walk::{VolatilityWalk, refit_sessions};
use crate::forecast::walker::{Folds, Walker};
use crate::learning::training::Control;
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::scenario::conformal::QUANTILE_LEVELS;
use crate::scenario::recipes::RankModel;
use crate::scenario::volatility::{VolatilityModel, fit};

/// Name of the served mix among the forecasts.
pub const SERVED: &str = "served";

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
    folds: Folds<'_>,
    control: &Control<'_>,
    progress: &dyn Fn(WalkStep<'_>),
) -> Result<Walked, FitError> {
    let Some(last) = request.decisions.last().map(|d| d.session) else { return Ok(Walked::default()) };
    let refits = refit_sessions(&request.prepared.history.sessions);
    let newest = refits.iter().rev().find(|r| **r <= last).copied().unwrap_or(last);
    let state = fit_benchmarks(request.prepared, &request.fit, newest);
    let premium = request.fit.settings.equity_premium;
    let calibrations = Horizon::ALL.map(|h| match request.horizons.contains(&h) {
        true => Calibration::of_walk(request.prepared, &state.harx2, h, premium),
        false => Calibration::new(vec![], h),
    });
    let garch = request
        .models
        .iter()
        .any(|m| m == VolatilityModel::Garch11.as_str())
        .then(|| VolatilityWalk::fit(&request.prepared.inputs, VolatilityModel::Garch11, request.horizons, newest));
    let walker = Walker::begin(request.prepared, &request.fit, folds, &state, last);
    progress(WalkStep::Folds { missing: walker.missing(last)? });
    let basis = PriceBasis::infer(&request.prepared.history);
    let mut evaluator = Evaluator { request, basis, calibrations, garch, state, walker, forecasts: BTreeMap::new() };
    for decision in request.decisions {
        evaluator.walker.advance(decision.session, control)?;
        evaluator.decide(decision)?;
        progress(WalkStep::Decided(decision));
    }
    Ok(Walked { forecasts: evaluator.forecasts, decisions: evaluator.walker.decisions })
}

/// How far a walk is.
#[derive(Debug, Clone, Copy)]
pub enum WalkStep<'a> {
    /// It begins, and has to train this many folds.
    Folds {
        /// Folds that are on no shelf.
        missing: usize,
    },
    /// A day was decided.
    Decided(&'a Decision),
}

struct Evaluator<'a> {
    request: &'a WalkRequest<'a>,
    basis: PriceBasis,
    calibrations: [Calibration; 5],
    garch: Option<VolatilityWalk>,
    state: ModelState,
    walker: Walker<'a>,
    forecasts: BTreeMap<String, Forecasts>,
}

impl Evaluator<'_> {
    fn decide(&mut self, decision: &Decision) -> Result<(), FitError> {
        let (prepared, session) = (self.request.prepared, decision.session);
        let said = match self.walker.network()? {
            Some(network) => Some(network_day(prepared, &network, &features_on(prepared, &self.basis, &[session]), 0)?),
            None => None,
        };
        let standing = self.walker.standing();
        self.state.seats = standing.seats;
        self.state.network_maps = standing.maps.clone();
        for &horizon in self.request.horizons {
            let calibration = &self.calibrations[horizon.index()];
            let inputs =
                DayInputs { prepared, state: &self.state, calibration, network: said.as_ref(), session, horizon };
            let day = forecast_day(inputs);
            let ranked = self.ranked(session, &day);
            let ranks = forecast_ranks(inputs, &ranked).map(|r| r.quintile_probabilities);
            let rows = Rows { request: self.request, decision, horizon };
            let served = self.forecasts.entry(SERVED.to_owned()).or_default();
            rows.ranks(served, &ranked, ranks);
            rows.laws(served, &day);
            for model in self.request.models {
                let forecasts = self.forecasts.entry(model.clone()).or_default();
                let on = Named { inputs, day: &day, ranked: &ranked, said: said.as_ref(), garch: self.garch.as_ref() };
                named(forecasts, model, &rows, &on);
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
    garch: Option<&'a VolatilityWalk>,
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
    let unseated = on.inputs.state.benchmarks();
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
        VolatilityModel::Garch11 => on.garch.and_then(|walk| walk.in_force(day, horizon)).cloned(),
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

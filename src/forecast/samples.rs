//! From a history to rows that the network learns from: features looking back, targets looking forward, each target
//! expressed against the benchmark that it corrects.

use std::ops::Range;

use crate::features::price_basis::PriceBasis;
use crate::features::states::MarketStates;
use crate::features::table::{FeatureTable, compute_on_basis};
use crate::features::targets::{HorizonTarget, horizon_targets};
use crate::forecast::day::NetworkDay;
use crate::forecast::prepared::Prepared;
use crate::forecast::school::FIRST_FOLD;
use crate::forecast::walk::VolatilityWalk;
use crate::learning::dataset::{HorizonTargets, RowTargets, Samples};
use crate::learning::ensemble::{ForecastError, TrainedModel};
use crate::learning::forecast::RowForecast;
use crate::market::horizon::Horizon;
use crate::scenario::volatility::MINIMUM_RETURNS;
use crate::scenario::volatility_inputs::VARIANCE_FLOOR;

/// Sessions between decision days that the network learns from.
pub const ROW_SPACING: usize = 5;
/// First session with rows: the longest feature window.
const FIRST_ROW: usize = 252;
/// Returns an instrument needs in the last year to be learned from, and asked about: as many as the benchmark needs, so
/// that both answer for the same instruments.
const RETURNS_MINIMUM: usize = MINIMUM_RETURNS;

/// Which rows are made, and against which benchmark.
#[derive(Clone, Copy)]
pub struct SampleRequest<'a> {
    /// The rows and their columns.
    pub prepared: &'a Prepared,
    /// harX2, each row against the fit that was in force on its day.
    pub benchmark: &'a VolatilityWalk,
    /// Equity premium a year.
    pub equity_premium: f64,
}

/// Sessions that training may learn from up to `until`, ascending.
#[must_use]
pub fn training_sessions(until: usize) -> Vec<usize> {
    (FIRST_ROW..=until).filter(|t| t % ROW_SPACING == 0).collect()
}

/// Features of chosen sessions, on the split basis of the whole history given.
#[must_use]
pub fn features_on(prepared: &Prepared, basis: &PriceBasis, sessions: &[usize]) -> FeatureTable {
    compute_on_basis(&prepared.history, &prepared.inputs, basis, sessions)
}

/// The rows of a table with their targets. Base rates of drawdowns are those of the rows that had matured.
///
/// A row's features and benchmarks look at nothing after its session, and its targets at nothing after their horizon, so
/// one set of rows serves every fold: a fold reads the rows before its refit, and of their targets those matured by then.
///
/// # Shapes
/// Rows ascend by session, then by instrument; instruments with too short a past are left out.
#[must_use]
pub fn samples(request: SampleRequest<'_>, table: &FeatureTable) -> Samples {
    let prepared = request.prepared;
    let states = MarketStates::new(&prepared.history);
    let mut samples = Samples { feature_count: table.schema.columns.len(), ..Samples::default() };
    let mut drawdowns = [(); 5].map(|()| DrawdownRate::default());
    for (position, &session) in table.sessions.iter().enumerate() {
        let targets = day_targets(&request, session, &mut drawdowns);
        for instrument in learnable(prepared, session) {
            samples.features.extend_from_slice(table.row(position, instrument));
            samples.day_index.push(session as u32);
            samples.instrument.push(instrument as u32);
            let next_state = states.next_state(instrument, session);
            samples.targets.push(RowTargets {
                horizons: targets.each_ref().map(|day| day[instrument]),
                next_state: next_state.unwrap_or(RowTargets::UNKNOWN_STATE),
            });
        }
    }
    samples
}

/// Rows of one session.
#[must_use]
pub fn rows_of_session(samples: &Samples, session: usize) -> Range<usize> {
    let from = samples.day_index.partition_point(|&day| (day as usize) < session);
    let until = samples.day_index.partition_point(|&day| day as usize <= session);
    from..until
}

/// What a network says on one session of a table.
///
/// # Errors
/// [`ForecastError`] when the network does not fit the features.
pub fn network_day(
    prepared: &Prepared,
    model: &TrainedModel,
    table: &FeatureTable,
    position: usize,
) -> Result<NetworkDay, ForecastError> {
    let asked = learnable(prepared, table.sessions[position]);
    let features: Vec<f32> = asked.iter().flat_map(|i| table.row(position, *i).iter().copied()).collect();
    let spread = |rows: Vec<RowForecast>| {
        let mut by_instrument = vec![None; prepared.history.instruments.len()];
        for (instrument, row) in asked.iter().zip(rows) {
            by_instrument[*instrument] = Some(row);
        }
        by_instrument
    };
    let members = model.member_forecasts(&features)?.into_iter().map(spread).collect();
    Ok(NetworkDay { ensemble: spread(model.forecast(&features)?), members })
}

fn learnable(prepared: &Prepared, session: usize) -> Vec<usize> {
    let mut alive = prepared.alive(session);
    alive.retain(|i| prepared.inputs.returns_in_year(*i, session) >= RETURNS_MINIMUM);
    alive
}

fn day_targets(
    request: &SampleRequest<'_>,
    session: usize,
    drawdowns: &mut [DrawdownRate; 5],
) -> [Vec<HorizonTargets>; 5] {
    let prepared = request.prepared;
    Horizon::ALL.map(|horizon| {
        let rate = &mut drawdowns[horizon.index()];
        rate.mature(session);
        let mut day = vec![HorizonTargets::UNKNOWN; prepared.history.instruments.len()];
        let known = session + horizon.sessions() < prepared.sessions();
        let sessions = &prepared.history.sessions;
        let first_fold = sessions[FIRST_FOLD.min(sessions.len() - 1)];
        let fit = request.benchmark.in_force_or_first(sessions[session], horizon, first_fold);
        let Some(benchmark) = fit.filter(|_| known) else { return day };
        let happened = horizon_targets(&prepared.history, &prepared.universe, horizon, session);
        let forecasts = benchmark.forecasts(&prepared.inputs, session);
        let (mut hits, mut rows) = (0.0, 0.0);
        for (i, (target, forecast)) in happened.iter().zip(&forecasts).enumerate() {
            let (Some(target), Some(forecast)) = (target, forecast) else { continue };
            let context = RowContext { instrument: i, session, horizon, daily_variance: forecast.daily_variance };
            day[i] = row_targets(request, &context, target, rate.value());
            hits += f64::from(day[i].drawdown);
            rows += 1.0;
        }
        rate.pending.push((session + horizon.sessions(), hits, rows));
        day
    })
}

struct RowContext {
    instrument: usize,
    session: usize,
    horizon: Horizon,
    daily_variance: f64,
}

fn row_targets(
    request: &SampleRequest<'_>,
    row: &RowContext,
    target: &HorizonTarget,
    drawdown_rate: f64,
) -> HorizonTargets {
    let RowContext { instrument, session, horizon, daily_variance } = *row;
    let prepared = request.prepared;
    let variance = daily_variance * horizon.sessions() as f64;
    let mean = prepared.mean_without_skill(instrument, session, horizon, request.equity_premium);
    let log_ratio = |realized: f64, benchmark: f64| (realized.max(VARIANCE_FLOOR) / benchmark).ln() as f32;
    // The dispersion benchmark keeps the share of the variance that was idiosyncratic over the last year.
    let share =
        prepared.universe.dispersion(instrument, session, 252).zip(prepared.inputs.variance(instrument, session, 252));
    let dispersion = share.map(|(excess, total)| daily_variance * (excess / total).max(0.01));
    HorizonTargets {
        log_variance_ratio: log_ratio(target.realized_variance, daily_variance),
        log_dispersion_ratio: dispersion.map_or(f32::NAN, |d| log_ratio(target.realized_dispersion, d)),
        scaled_return: ((target.realized_return - (mean.ln_1p() - variance / 2.0)) / variance.sqrt()) as f32,
        up: f32::from(u8::from(target.is_up())),
        benchmark_probability_up: prepared.base_rate(session, horizon) as f32,
        drawdown: f32::from(u8::from(target.has_drawdown(variance.sqrt()))),
        benchmark_probability_drawdown: drawdown_rate as f32,
        quintile: target.quintile.unwrap_or([f32::NAN; 5]),
    }
}

/// Expanding share of drawdowns among the rows whose horizon has matured.
#[derive(Default)]
struct DrawdownRate {
    hits: f64,
    rows: f64,
    pending: Vec<(usize, f64, f64)>,
}

impl DrawdownRate {
    /// Share before anything matured; about what a random walk gives at 1.5 volatilities.
    const PRIOR: f64 = 0.2;

    fn mature(&mut self, session: usize) {
        let known = self.pending.partition_point(|(end, ..)| *end <= session);
        for (_, hits, rows) in self.pending.drain(..known) {
            self.hits += hits;
            self.rows += rows;
        }
    }

    fn value(&self) -> f64 {
        // Clamped away from 0 and 1, whose log odds are infinite.
        if self.rows > 0.0 { (self.hits / self.rows).clamp(0.005, 0.995) } else { Self::PRIOR }
    }
}

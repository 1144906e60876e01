//! The forecasts of one decision day: for every instrument the law of its return, head by head from whoever holds the
//! seat, and the models that the game is played against.

use crate::decision::game::ModelView;
use crate::decision::holder::LongRun;
use crate::decision::liquidity::Liquidity;
use crate::forecast::calibration::Calibration;
use crate::forecast::players::member_name;
use crate::forecast::prepared::Prepared;
use crate::forecast::state::{ModelState, Seats};
use crate::learning::forecast::RowForecast;
use crate::market::horizon::Horizon;
use crate::opinion::envelope::Sources;
use crate::scenario::conformal::QuantileMap;
use crate::scenario::joint::Scenario;
use crate::scenario::ranks::{apply_tilt, expected_rank, tilt_of};
use crate::scenario::recipes::{RankForecast, RankInputs, RankModel};
use crate::scenario::volatility::{VolatilityModel, fit};

/// The law of ranks that is served, and that the network's tilt has to beat.
pub const RANKS: RankModel = RankModel::Seasonal;

/// What the network says on one day, by instrument of the history; `None` where it was not asked.
#[derive(Debug, Clone, Default)]
pub struct NetworkDay {
    /// The ensemble.
    pub ensemble: Vec<Option<RowForecast>>,
    /// Each member.
    pub members: Vec<Vec<Option<RowForecast>>>,
}

/// What the forecasts of a day are computed from.
#[derive(Clone, Copy)]
pub struct DayInputs<'a> {
    /// The rows and their columns.
    pub prepared: &'a Prepared,
    /// Fitted benchmarks and seats.
    pub state: &'a ModelState,
    /// Matured errors of harX2 at this horizon.
    pub calibration: &'a Calibration,
    /// The network's outputs, if there is one.
    pub network: Option<&'a NetworkDay>,
    /// Decision day.
    pub session: usize,
    /// How far ahead.
    pub horizon: Horizon,
}

/// All forecasts of a day over one horizon.
#[derive(Debug, Clone)]
pub struct DayForecast {
    /// How far ahead.
    pub horizon: Horizon,
    /// Who won each head.
    pub sources: Sources,
    /// The calibrated shape of the returns.
    pub map: QuantileMap,
    /// By instrument of the history; `None` where there is no forecast.
    pub instruments: Vec<Option<InstrumentForecast>>,
}

/// The forecast of one instrument. Returns and volatilities are over the horizon.
#[derive(Debug, Clone)]
pub struct InstrumentForecast {
    /// Expected simple return.
    pub mean: f64,
    /// Median log return.
    pub median: f64,
    /// Standard deviation of the log return, before calibration.
    pub volatility: f64,
    /// Probability of a positive return.
    pub probability_up: f64,
    /// mu0 and the long-run volatility.
    pub long_run: LongRun,
    /// The models that the game is played against.
    pub models: Vec<ModelView>,
    /// What trading it costs.
    pub liquidity: Liquidity,
    /// Whether the universe fills in for a young instrument.
    pub borrowed: bool,
}

impl InstrumentForecast {
    /// The law of the log return.
    #[must_use]
    pub fn scenario<'a>(&self, map: &'a QuantileMap) -> Scenario<'a> {
        Scenario::with_median(self.median, self.volatility, map)
    }
}

/// Forecasts all instruments of a day over one horizon.
#[must_use]
pub fn forecast_day(inputs: DayInputs<'_>) -> DayForecast {
    let DayInputs { prepared, state, calibration, session, horizon, .. } = inputs;
    let seats = state.seats(horizon);
    let (volatility_model, variances) = benchmark_variances(&inputs);
    let network_map = state.network_maps[horizon.index()].as_ref().filter(|_| seats.volatility);
    let map = network_map.cloned().unwrap_or_else(|| calibration.map_at(session));
    let mut instruments = vec![None; prepared.history.instruments.len()];
    let game = &state.settings.game;
    let liquidity = prepared.liquidity(session, (game.cost, game.impact));
    for i in prepared.alive(session) {
        if let Some((variance, borrowed)) = variances[i] {
            instruments[i] = forecast_instrument(
                &inputs,
                Benchmark { instrument: i, variance, borrowed, model: volatility_model },
                liquidity[i],
            );
        }
    }
    let mut sources = seats.sources(volatility_model.as_str(), RANKS.as_str());
    if !map.is_calibrated() {
        // Too few errors have matured, so the intervals are those of the normal law.
        sources.intervals = "gaussian".to_owned();
    }
    DayForecast { horizon, sources, map, instruments }
}

/// Chances of the fifths for some instruments: the benchmark's symmetric law, tilted by the network's rank head at the
/// weight it has earned. `None` when the returns give no correlation matrix.
#[must_use]
pub fn forecast_ranks(inputs: DayInputs<'_>, instruments: &[usize]) -> Option<RankForecast> {
    let settings = &inputs.state.settings;
    let mut forecast = benchmark_ranks(&inputs, RANKS, instruments, settings.scenarios)?;
    let weight = inputs.state.seats(inputs.horizon).tilt_weight;
    if let Some(network) = inputs.network.filter(|_| weight > 0.0) {
        for (p, i) in forecast.quintile_probabilities.iter_mut().zip(instruments) {
            if let Some(row) = &network.ensemble[*i] {
                *p = apply_tilt(p, &tilt_of(&row.horizons[inputs.horizon.index()].quintile_probabilities), weight);
            }
        }
        let count = instruments.len();
        forecast.expected_rank = forecast.quintile_probabilities.iter().map(|p| expected_rank(p, count)).collect();
    }
    Some(forecast)
}

/// A named rank benchmark for some instruments.
#[must_use]
pub fn benchmark_ranks(
    inputs: &DayInputs<'_>,
    model: RankModel,
    instruments: &[usize],
    scenarios: usize,
) -> Option<RankForecast> {
    let (_, variances) = benchmark_variances(inputs);
    let history = &inputs.prepared.history;
    let log_returns: Vec<&[f64]> =
        instruments.iter().map(|i| &history.instruments[*i].log_return[..=inputs.session]).collect();
    let forecast_variance: Vec<f64> = instruments.iter().map(|i| variances[*i].map_or(f64::NAN, |v| v.0)).collect();
    let rank_inputs = RankInputs {
        log_returns: &log_returns,
        forecast_variance: &forecast_variance,
        horizon_sessions: inputs.horizon.sessions(),
        draws: scenarios,
        seed: inputs.state.settings.seed,
    };
    model.quintile_probabilities(&rank_inputs).ok()
}

/// Mean daily variances of the benchmark in force: harX2, or an exponential average while the history is too short to
/// fit it.
fn benchmark_variances(inputs: &DayInputs<'_>) -> (VolatilityModel, Vec<Option<(f64, bool)>>) {
    let DayInputs { prepared, state, session, horizon, .. } = *inputs;
    let day = prepared.history.sessions[session];
    let fitted = state.harx2.in_force(day, horizon).cloned();
    let fitted = fitted.or_else(|| fit(&prepared.inputs, VolatilityModel::Ewma94, horizon, session));
    match fitted {
        Some(fit) => {
            let forecasts = fit.forecasts(&prepared.inputs, session);
            (fit.model, forecasts.into_iter().map(|f| f.map(|f| (f.daily_variance, f.borrowed))).collect())
        }
        None => (VolatilityModel::Ewma94, vec![None; prepared.history.instruments.len()]),
    }
}

struct Benchmark {
    instrument: usize,
    variance: f64,
    borrowed: bool,
    model: VolatilityModel,
}

fn forecast_instrument(
    inputs: &DayInputs<'_>,
    benchmark: Benchmark,
    liquidity: Liquidity,
) -> Option<InstrumentForecast> {
    let DayInputs { prepared, state, session, horizon, network, .. } = *inputs;
    let (seats, i) = (state.seats(horizon), benchmark.instrument);
    let mu0 = prepared.mean_without_skill(i, session, horizon, state.settings.equity_premium);
    let long_run_variance = prepared.long_run_variance(i, session)?;
    let over_horizon = |daily: f64| (daily * horizon.sessions() as f64).sqrt();
    let sigma0 = over_horizon(benchmark.variance);
    let own = |row: &RowForecast| own_view(row, seats, horizon, View { mean: mu0, volatility: sigma0 });
    let row = network.and_then(|n| n.ensemble[i].as_ref());
    let view = row.map_or(View { mean: mu0, volatility: sigma0 }, own);
    let mut models = vec![ModelView { name: benchmark.model.as_str().into(), mean: mu0, volatility: sigma0 }];
    // Without a seat for mean or volatility the members have the benchmark's numbers and add nothing to the game.
    let plays = seats.volatility || seats.mean_weight > 0.0;
    for (k, member) in network.iter().filter(|_| plays).flat_map(|n| &n.members).enumerate() {
        if let Some(row) = &member[i] {
            let View { mean, volatility } = own(row);
            models.push(ModelView { name: member_name(k), mean, volatility });
        }
    }
    let base_rate = prepared.base_rate(session, horizon);
    let direction = row.filter(|_| seats.direction).map(|r| r.horizons[horizon.index()].probability_up(base_rate));
    Some(InstrumentForecast {
        mean: view.mean,
        median: median(view.mean, view.volatility),
        volatility: view.volatility,
        probability_up: direction.unwrap_or(base_rate),
        long_run: LongRun { mean: mu0, volatility: over_horizon(long_run_variance) },
        models,
        liquidity,
        borrowed: benchmark.borrowed,
    })
}

/// Median log return of a log-normal law with that expected simple return and volatility: `ln(1 + mean) - sigma^2 / 2`.
#[must_use]
pub fn median(mean: f64, volatility: f64) -> f64 {
    mean.ln_1p() - volatility * volatility / 2.0
}

#[derive(Clone, Copy)]
struct View {
    mean: f64,
    volatility: f64,
}

/// What the network says where it holds the seat, the benchmark's elsewhere.
fn own_view(row: &RowForecast, seats: &Seats, horizon: Horizon, benchmark: View) -> View {
    let head = &row.horizons[horizon.index()];
    let factor = if seats.volatility { (head.log_variance_correction / 2.0).exp() } else { 1.0 };
    let volatility = benchmark.volatility * factor;
    View { mean: benchmark.mean + seats.mean_weight * head.scaled_mean * benchmark.volatility, volatility }
}

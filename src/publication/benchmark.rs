//! What the benchmarks alone would have said in a publication: the same forecasts with every seat given to them.

use std::collections::BTreeMap;

use crate::forecast::calibration::Calibration;
use crate::forecast::day::{DayInputs, forecast_day, forecast_ranks};
use crate::forecast::prepared::Prepared;
use crate::forecast::state::ModelState;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::canonical::rounded;
use crate::opinion::envelope::Interval;
use crate::opinion::forecast::Quantile;
use crate::opinion::numbers::rounded_distribution;
use crate::publication::compose::rankable;
use crate::publication::forecast::Subject;
use crate::scenario::conformal::QUANTILE_LEVELS;

/// The benchmarks' forecast of one instrument, rounded as answers are.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchmarkForecast {
    /// Quantiles of the simple return.
    pub quantiles: Vec<Quantile>,
    /// Central intervals of the simple return, of 50 and 90 %.
    pub intervals: Vec<Interval>,
    /// Volatility, annualized.
    pub volatility: f64,
    /// Probability of a rise.
    pub probability_up: f64,
}

/// The benchmarks' forecasts of one day and horizon.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BenchmarkDay {
    /// By instrument; without those that cannot be forecast.
    pub forecasts: BTreeMap<Symbol, BenchmarkForecast>,
    /// Chances of the fifths of the ranked instruments, worst first.
    pub quintiles: BTreeMap<Symbol, [f64; 5]>,
}

/// Forecasts the newest session with the benchmarks of a model; `None` for a history without sessions.
#[must_use]
pub fn benchmark_day(prepared: &Prepared, state: &ModelState, horizon: Horizon) -> Option<BenchmarkDay> {
    let session = prepared.sessions().checked_sub(1)?;
    let state = state.benchmarks();
    let calibration = Calibration::of_walk(prepared, &state.harx2, horizon, state.settings.equity_premium);
    let inputs = DayInputs { prepared, state: &state, calibration: &calibration, network: None, session, horizon };
    let day = forecast_day(inputs);
    let symbol = |i: usize| &prepared.history.instruments[i].instrument.symbol;
    let forecast = |(i, forecast): (usize, &Option<_>)| {
        let subject = Subject {
            symbol: symbol(i),
            horizon,
            last: None,
            forecast: forecast.as_ref(),
            without: "",
            map: &day.map,
            sources: &day.sources,
        };
        Some((subject.symbol.clone(), of_subject(&subject)?))
    };
    let ranked = rankable(prepared, session);
    let ranks = if ranked.len() >= 5 { forecast_ranks(inputs, &ranked) } else { None };
    let chances = ranks.map(|r| r.quintile_probabilities).unwrap_or_default();
    Some(BenchmarkDay {
        forecasts: day.instruments.iter().enumerate().filter_map(forecast).collect(),
        quintiles: ranked.iter().zip(chances).map(|(i, p)| (symbol(*i).clone(), rounded_distribution(p))).collect(),
    })
}

fn of_subject(subject: &Subject<'_>) -> Option<BenchmarkForecast> {
    let forecast = subject.forecast?;
    let law = forecast.scenario(subject.map);
    let quantile = |probability| Quantile { probability, value: rounded(law.quantile(probability).exp_m1()) };
    Some(BenchmarkForecast {
        quantiles: QUANTILE_LEVELS.map(quantile).to_vec(),
        intervals: [0.5, 0.9].into_iter().filter_map(|level| subject.interval(level)).collect(),
        volatility: subject.volatility()?.forecast?,
        probability_up: rounded(forecast.probability_up),
    })
}

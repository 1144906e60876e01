//! All scores of one set of forecasts against what happened.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::evaluation::direction_scorecard::{DirectionScore, score_direction};
use crate::evaluation::forecasts::{ForecastError, Forecasts};
use crate::evaluation::quantile_scorecard::{QuantileScore, score_quantiles};
use crate::evaluation::rank_scorecard::{RankScore, score_ranks};
use crate::evaluation::volatility_scorecard::{VolatilityScore, score_volatility};
use crate::market::bar::Day;
use crate::market::history::History;

/// Name under which the caller's benchmark stands in every comparison.
pub const BENCHMARK: &str = "benchmark";

/// All scores, by head and horizon.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Scorecard {
    /// Ranks, by horizon ascending.
    pub ranks: Vec<RankScore>,
    /// Volatility, by horizon ascending.
    pub volatility: Vec<VolatilityScore>,
    /// Quantiles and the intervals between them, by horizon ascending.
    pub quantiles: Vec<QuantileScore>,
    /// Direction, by horizon ascending.
    pub direction: Vec<DirectionScore>,
}

/// Scores forecasts against `history`, which must reach past the decision days for anything to be scored; a benchmark is
/// compared on the rows that it shares.
///
/// # Errors
/// [`ForecastError`] for the first row of either set that breaks a rule of [`Forecasts::check`].
pub fn score(
    forecasts: &Forecasts,
    history: &History,
    benchmark: Option<&Forecasts>,
) -> Result<Scorecard, ForecastError> {
    forecasts.check()?;
    if let Some(benchmark) = benchmark {
        benchmark.check()?;
    }
    let rank = |(horizon, rows): (&usize, &Vec<_>)| {
        let benchmark = benchmark.and_then(|b| b.ranks.get(horizon)).map(Vec::as_slice);
        score_ranks(*horizon, rows, benchmark, history)
    };
    Ok(Scorecard {
        ranks: forecasts.ranks.iter().map(rank).collect(),
        volatility: score_volatility(&forecasts.volatility, benchmark.map(|b| b.volatility.as_slice()), history),
        quantiles: score_quantiles(&forecasts.quantiles, benchmark.map(|b| b.quantiles.as_slice()), history),
        direction: score_direction(&forecasts.direction, benchmark.map(|b| b.direction.as_slice()), history),
    })
}

impl Scorecard {
    /// The whole card as Markdown, one section of level 3 a head and horizon.
    #[must_use]
    pub fn markdown(&self) -> String {
        let ranks = self.ranks.iter().map(RankScore::markdown);
        let volatility = self.volatility.iter().map(VolatilityScore::markdown);
        let quantiles = self.quantiles.iter().map(QuantileScore::markdown);
        let direction = self.direction.iter().map(DirectionScore::markdown);
        ranks.chain(volatility).chain(quantiles).chain(direction).collect::<Vec<_>>().join("\n")
    }
}

/// The names of the benchmarks of a head: its own references, then the caller's, if there is one.
pub(super) fn benchmark_names(references: &[&str], benchmark: bool) -> Vec<String> {
    references.iter().copied().chain(benchmark.then_some(BENCHMARK)).map(String::from).collect()
}

/// Groups rows by a key, ascending, in their order within it.
pub(super) fn grouped<Row, Key: Ord>(rows: &[Row], key: impl Fn(&Row) -> Key) -> BTreeMap<Key, Vec<&Row>> {
    let mut groups: BTreeMap<Key, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    groups
}

/// Session indices of distinct decision days, in the order of the days.
pub(super) fn sessions_of(history: &History, days: impl Iterator<Item = Day>) -> Vec<usize> {
    let mut days: Vec<Day> = days.collect();
    days.sort_unstable();
    days.dedup();
    days.into_iter().filter_map(|d| history.session_at(d)).collect()
}

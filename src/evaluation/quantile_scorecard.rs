//! Quantile forecasts against realized returns: pinball loss, and coverage of the intervals between the quantiles.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::evaluation::forecasts::{QuantileRow, quantile_key};
use crate::evaluation::interval_scorecard::{IntervalScore, score_intervals};
use crate::evaluation::outcomes::{is_scorable, realized_return, trailing_variance};
use crate::evaluation::paired_tests::overlap_steps;
use crate::evaluation::periods::crash_decisions;
use crate::evaluation::rank_scores::average_ranks;
use crate::evaluation::report::{LossReport, LossRow, LossTable, table_of};
use crate::evaluation::scorecard::{benchmark_names, grouped, sessions_of};
use crate::evaluation::scores::pinball_loss;
use crate::market::bar::Day;
use crate::market::history::History;
use crate::market::instrument::Symbol;

/// The zero-mean Gaussian reference with the volatility of 252 sessions.
pub(super) const GAUSSIAN: &str = "gaussian_252";
/// Losses are in percent of log return.
pub(super) const PERCENT: f64 = 100.0;
/// Fewest known returns among the last 252.
const MINIMUM_RETURNS: usize = 200;

/// Scores of quantile forecasts over one horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantileScore {
    /// Horizon in sessions.
    pub horizon_sessions: usize,
    /// Rows given.
    pub forecasts: usize,
    /// Pinball loss in percent of log return, over all quantiles, against `gaussian_252` and the benchmark; `None` when
    /// nothing could be scored.
    pub pinball_loss: Option<LossReport>,
    /// By quantile, ascending.
    pub quantiles: Vec<QuantileLevel>,
    /// Instruments and days whose quantiles cross.
    pub crossing: usize,
    /// Instruments and days with an outcome.
    pub scored: usize,
    /// Central intervals, widest first.
    pub intervals: Vec<IntervalScore>,
}

/// One quantile over all its rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct QuantileLevel {
    /// Probability below.
    pub quantile: f64,
    /// Scored rows.
    pub rows: usize,
    /// Share of outcomes at or below the forecast.
    pub share_below: f64,
    /// Mean pinball loss, percent.
    pub loss: f64,
    /// Mean pinball loss of the Gaussian reference, percent.
    pub gaussian_loss: f64,
}

/// What happened to one instrument after one decision.
pub(super) struct Outcome {
    pub(super) as_of: Day,
    pub(super) realized: f64,
    /// Standard deviation of the Gaussian reference over the horizon.
    pub(super) gaussian_sigma: f64,
    /// Tercile of the volatility of 252 sessions among the instruments of the day.
    pub(super) across: usize,
    /// Tercile of the volatility of 20 over that of 252 sessions, among all rows of all horizons.
    pub(super) over_time: usize,
    volatility_252: f64,
    /// Volatility of 20 over that of 252 sessions; infinite, so in the last tercile, without a return in the last 20.
    state: f64,
}

/// The forecast values of one instrument and day by [`quantile_key`].
pub(super) type Values = BTreeMap<u32, f64>;
pub(super) type Key<'r> = (Day, &'r Symbol);
type HorizonKey<'r> = (usize, Day, &'r Symbol);

/// Forecasts and outcomes of one horizon.
pub(super) struct Panel<'r> {
    pub(super) horizon: usize,
    pub(super) overlap_steps: usize,
    pub(super) crash: Range<Day>,
    outcomes: &'r BTreeMap<HorizonKey<'r>, Outcome>,
    pub(super) forecasts: BTreeMap<Key<'r>, Values>,
    pub(super) benchmark: Option<BTreeMap<Key<'r>, Values>>,
}

/// Scores quantile forecasts, by horizon ascending.
#[must_use]
pub fn score_quantiles(
    rows: &[QuantileRow],
    benchmark: Option<&[QuantileRow]>,
    history: &History,
) -> Vec<QuantileScore> {
    let outcomes = outcomes(rows, history);
    let sessions = sessions_of(history, outcomes.keys().map(|k| k.1));
    let benchmark = benchmark.map(|rows| grouped(rows, |r| r.horizon));
    let score = |(horizon, rows): (usize, Vec<&QuantileRow>)| {
        let panel = Panel {
            horizon,
            overlap_steps: overlap_steps(horizon, &sessions),
            crash: crash_decisions(history, horizon),
            outcomes: &outcomes,
            forecasts: values(&rows),
            benchmark: benchmark.as_ref().map(|b| b.get(&horizon).map(|rows| values(rows)).unwrap_or_default()),
        };
        panel.score(rows.len())
    };
    grouped(rows, |r| r.horizon).into_iter().map(score).collect()
}

impl QuantileScore {
    /// The score as Markdown sections.
    #[must_use]
    pub fn markdown(&self) -> String {
        let title = format!("Quantiles over {} sessions: pinball loss, percent", self.horizon_sessions);
        let Some(pinball) = &self.pinball_loss else { return format!("### {title}\n\nNothing could be scored.\n") };
        let rows = self.quantiles.iter().map(|q| {
            let QuantileLevel { quantile, share_below, loss, gaussian_loss, .. } = q;
            vec![quantile.to_string(), format!("{share_below:.4}"), format!("{loss:.4}"), format!("{gaussian_loss:.4}")]
        });
        let table = table_of(&["quantile", "share at or below", "loss", GAUSSIAN], rows);
        let crossing = format!("Crossing quantiles: {} of {}.\n", self.crossing, self.scored);
        let intervals: String =
            self.intervals.iter().map(|i| format!("\n{}", i.markdown(self.horizon_sessions))).collect();
        format!("{}\n{table}\n{crossing}{intervals}", pinball.markdown(&title))
    }
}

impl<'r> Panel<'r> {
    /// What happened, where the row can be scored.
    pub(super) fn outcome(&self, key: &Key<'r>) -> Option<&Outcome> {
        self.outcomes.get(&(self.horizon, key.0, key.1))
    }

    fn score(&self, forecasts: usize) -> QuantileScore {
        let scored = || self.forecasts.iter().filter_map(|(key, values)| Some((key, values, self.outcome(key)?)));
        let mut levels: BTreeMap<u32, Vec<&LossRow>> = BTreeMap::new();
        let rows: Vec<(u32, bool, LossRow)> =
            scored().flat_map(|(key, values, outcome)| self.pinball_rows(key, values, outcome)).collect();
        for (quantile, _, row) in &rows {
            levels.entry(*quantile).or_default().push(row);
        }
        let below = |quantile| rows.iter().filter(|r| r.0 == quantile && r.1).count();
        let quantiles = levels.iter().map(|(quantile, rows)| level(*quantile, below(*quantile), rows)).collect();
        let benchmarks = benchmark_names(&[GAUSSIAN], self.benchmark.is_some());
        let crosses = |values: &Values| values.values().zip(values.values().skip(1)).any(|(a, b)| b - a < -1e-12);
        QuantileScore {
            horizon_sessions: self.horizon,
            forecasts,
            quantiles,
            crossing: scored().filter(|s| crosses(s.1)).count(),
            scored: scored().count(),
            intervals: score_intervals(self),
            pinball_loss: LossReport::of(&LossTable {
                benchmarks,
                overlap_steps: self.overlap_steps,
                crash: self.crash.clone(),
                rows: rows.into_iter().map(|r| r.2).collect(),
            }),
        }
    }

    /// One row a quantile: its key, whether the outcome lies at or below it, its losses.
    fn pinball_rows(&self, key: &Key<'r>, values: &Values, outcome: &Outcome) -> Vec<(u32, bool, LossRow)> {
        let benchmark = self.benchmark.as_ref().and_then(|b| b.get(key));
        let row = |(quantile, value): (&u32, &f64)| {
            let probability = f64::from(*quantile) / 1e6;
            let loss = |value: f64| pinball_loss(probability, value, outcome.realized) * PERCENT;
            let gaussian = Normal::standard().inverse_cdf(probability) * outcome.gaussian_sigma;
            let benchmark = benchmark.and_then(|b| b.get(quantile)).map(|v| loss(*v));
            let benchmark_losses = vec![Some(loss(gaussian)), benchmark];
            let losses = LossRow { as_of: outcome.as_of, loss: loss(*value), benchmark_losses };
            (*quantile, outcome.realized <= *value, losses)
        };
        values.iter().map(row).collect()
    }
}

fn level(quantile: u32, below: usize, rows: &[&LossRow]) -> QuantileLevel {
    let count = rows.len() as f64;
    QuantileLevel {
        quantile: f64::from(quantile) / 1e6,
        rows: rows.len(),
        share_below: below as f64 / count,
        loss: rows.iter().map(|r| r.loss).sum::<f64>() / count,
        gaussian_loss: rows.iter().filter_map(|r| r.benchmark_losses[0]).sum::<f64>() / count,
    }
}

fn values<'r>(rows: &[&'r QuantileRow]) -> BTreeMap<Key<'r>, Values> {
    let mut values: BTreeMap<Key<'_>, Values> = BTreeMap::new();
    for row in rows {
        values.entry((row.as_of, &row.symbol)).or_default().insert(quantile_key(row.quantile), row.value);
    }
    values
}

/// What happened after each forecast that can be scored.
fn outcomes<'r>(rows: &'r [QuantileRow], history: &History) -> BTreeMap<HorizonKey<'r>, Outcome> {
    let keys: BTreeSet<HorizonKey<'r>> = rows.iter().map(|r| (r.horizon, r.as_of, &r.symbol)).collect();
    let mut found: Vec<(HorizonKey<'r>, Outcome)> =
        keys.into_iter().filter_map(|key| Some((key, outcome(key, history)?))).collect();
    for day in found.chunk_by_mut(|a, b| (a.0.0, a.0.1) == (b.0.0, b.0.1)) {
        let count = day.len() as f64;
        let ranks = average_ranks(&day.iter().map(|o| o.1.volatility_252).collect::<Vec<_>>());
        for (one, rank) in day.iter_mut().zip(ranks) {
            one.1.across = (3.0 * rank / count - 1e-9) as usize;
        }
    }
    let mut states: Vec<f64> = found.iter().map(|o| o.1.state).filter(|s| s.is_finite()).collect();
    states.sort_by(f64::total_cmp);
    let bounds = [linear_quantile(&states, 1.0 / 3.0), linear_quantile(&states, 2.0 / 3.0)];
    for (_, one) in &mut found {
        one.over_time = bounds.iter().filter(|b| one.state >= **b).count();
    }
    found.into_iter().collect()
}

pub(super) fn outcome((horizon, as_of, symbol): HorizonKey<'_>, history: &History) -> Option<Outcome> {
    let session = history.session_at(as_of).filter(|s| is_scorable(history, *s, horizon))?;
    let instrument = history.find(symbol)?;
    let realized = realized_return(instrument, session, horizon)?;
    let volatility_252 = trailing_variance(instrument, session, 252, MINIMUM_RETURNS)?.sqrt();
    let state = trailing_variance(instrument, session, 20, 1).map_or(f64::INFINITY, f64::sqrt) / volatility_252;
    let gaussian_sigma = volatility_252 * (horizon as f64).sqrt();
    Some(Outcome { as_of, realized, gaussian_sigma, across: 0, over_time: 0, volatility_252, state })
}

/// Quantile of ascending values by linear interpolation; NaN without values.
fn linear_quantile(sorted: &[f64], probability: f64) -> f64 {
    let at = probability * sorted.len().saturating_sub(1) as f64;
    let value = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
    value(at.floor()) + (value(at.ceil()) - value(at.floor())) * at.fract()
}

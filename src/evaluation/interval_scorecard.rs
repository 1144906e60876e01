//! Central intervals against realized returns: coverage, by state of volatility and by year, and interval score.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::evaluation::periods::{InPeriod, Period, by_period};
use crate::evaluation::quantile_scorecard::{GAUSSIAN, Key, Outcome, PERCENT, Panel, Values};
use crate::evaluation::report::{LossReport, LossRow, LossTable, optional};
use crate::evaluation::scorecard::benchmark_names;
use crate::evaluation::scores::interval_score;

/// Scores of one central interval over one horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IntervalScore {
    /// Nominal coverage, .9 for the quantiles .05 and .95.
    pub level: f64,
    /// Share of outcomes within, bounds included.
    pub coverage: f64,
    /// Share within the Gaussian reference.
    pub gaussian_coverage: f64,
    /// Mean of high - low, log return.
    pub mean_width: f64,
    /// Interval score in percent of log return, against `gaussian_252` and the benchmark.
    pub interval_score: Option<LossReport>,
    /// By tercile of an instrument's volatility of 252 sessions within the day.
    pub across: TercileCoverage,
    /// By tercile of the volatility of 20 over that of 252 sessions.
    pub over_time: TercileCoverage,
    /// By calendar year of the decision, ascending.
    pub years: Vec<(i32, f64)>,
    /// Coverage by period; the terciles are those of all days.
    pub periods: Vec<InPeriod<IntervalCoverage>>,
}

/// Coverage over a set of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct IntervalCoverage {
    /// Scored rows.
    pub rows: usize,
    /// Share of outcomes within, bounds included.
    pub coverage: f64,
    /// By tercile of an instrument's volatility of 252 sessions within the day.
    pub across: TercileCoverage,
    /// By tercile of the volatility of 20 over that of 252 sessions.
    pub over_time: TercileCoverage,
}

/// Coverage by tercile of volatility.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TercileCoverage {
    /// Calm, middle, turbulent; `None` for an empty tercile.
    pub coverage: [Option<f64>; 3],
    /// Largest less smallest.
    pub spread: f64,
}

/// Scores the interval of each pair of quantiles `q` and `1 - q`.
pub(super) fn score_intervals(panel: &Panel<'_>) -> Vec<IntervalScore> {
    let mut quantiles: Vec<u32> = panel.forecasts.values().flat_map(BTreeMap::keys).copied().collect();
    quantiles.sort_unstable();
    quantiles.dedup();
    let pairs = quantiles.iter().filter(|q| **q < 500_000).map(|low| (*low, 1_000_000 - low));
    pairs.filter(|(_, high)| quantiles.contains(high)).filter_map(|pair| score_interval(panel, pair)).collect()
}

impl IntervalScore {
    /// The score as a Markdown section.
    #[must_use]
    pub fn markdown(&self, horizon_sessions: usize) -> String {
        let title = format!("Interval {} over {horizon_sessions} sessions: interval score, percent", self.level);
        let losses = self.interval_score.as_ref().map(|r| r.markdown(&title)).unwrap_or_default();
        let width = PERCENT * self.mean_width;
        let coverage =
            format!("{:.4} (Gaussian {:.4}), mean width {width:.2} %", self.coverage, self.gaussian_coverage);
        let terciles = |t: TercileCoverage| {
            let [calm, middle, turbulent] = t.coverage.map(|c| optional(c, 3));
            format!("{calm} {middle} {turbulent}, spread {:.3}", t.spread)
        };
        let years: Vec<String> = self.years.iter().map(|(year, share)| format!("{year} {share:.3}")).collect();
        format!(
            "{losses}\nCoverage {coverage}. By tercile of volatility across instruments: {}; over time: {}. By year: {}.\n",
            terciles(self.across),
            terciles(self.over_time),
            years.join(", ")
        )
    }
}

struct Scored<'p> {
    outcome: &'p Outcome,
    low: f64,
    high: f64,
    hit: bool,
    gaussian_hit: bool,
    losses: LossRow,
}

fn score_interval(panel: &Panel<'_>, pair: (u32, u32)) -> Option<IntervalScore> {
    let level = 1.0 - f64::from(pair.0) / 500_000.0;
    let rows: Vec<Scored<'_>> = panel.forecasts.iter().filter_map(|row| scored(panel, level, pair, row)).collect();
    let all = coverage(&rows.iter().collect::<Vec<_>>())?;
    let periods = by_period(&rows, |r| r.outcome.as_of, &panel.crash, coverage);
    let year = |p: &InPeriod<IntervalCoverage>| match p.period {
        Period::Year(year) => Some((year, p.value.coverage)),
        _ => None,
    };
    let table = LossTable {
        benchmarks: benchmark_names(&[GAUSSIAN], panel.benchmark.is_some()),
        overlap_steps: panel.overlap_steps,
        crash: panel.crash.clone(),
        rows: rows.iter().map(|r| r.losses.clone()).collect(),
    };
    Some(IntervalScore {
        level,
        coverage: all.coverage,
        gaussian_coverage: share(rows.iter(), |r| r.gaussian_hit)?,
        mean_width: rows.iter().map(|r| r.high - r.low).sum::<f64>() / rows.len() as f64,
        interval_score: LossReport::of(&table),
        across: all.across,
        over_time: all.over_time,
        years: periods.iter().filter_map(year).collect(),
        periods,
    })
}

fn scored<'p, 'r>(panel: &'p Panel<'r>, level: f64, pair: (u32, u32), row: (&Key<'r>, &Values)) -> Option<Scored<'p>> {
    let bounds = |values: &Values| Some((*values.get(&pair.0)?, *values.get(&pair.1)?));
    let (low, high) = bounds(row.1)?;
    let outcome = panel.outcome(row.0)?;
    let half = Normal::standard().inverse_cdf(f64::from(pair.1) / 1e6) * outcome.gaussian_sigma;
    let loss = |(low, high): (f64, f64)| interval_score(level, low, high, outcome.realized) * PERCENT;
    let benchmark = panel.benchmark.as_ref().and_then(|b| b.get(row.0)).and_then(bounds).map(loss);
    Some(Scored {
        outcome,
        low,
        high,
        hit: (low..=high).contains(&outcome.realized),
        gaussian_hit: outcome.realized.abs() <= half,
        losses: LossRow {
            as_of: outcome.as_of,
            loss: loss((low, high)),
            benchmark_losses: vec![Some(loss((-half, half))), benchmark],
        },
    })
}

fn share<Row>(rows: impl Iterator<Item = Row>, hit: impl Fn(&Row) -> bool) -> Option<f64> {
    let (count, hits) = rows.fold((0usize, 0usize), |(count, hits), r| (count + 1, hits + usize::from(hit(&r))));
    (count > 0).then(|| hits as f64 / count as f64)
}

fn coverage(rows: &[&Scored<'_>]) -> Option<IntervalCoverage> {
    Some(IntervalCoverage {
        rows: rows.len(),
        coverage: share(rows.iter(), |r| r.hit)?,
        across: terciles(rows, |o| o.across),
        over_time: terciles(rows, |o| o.over_time),
    })
}

fn terciles(rows: &[&Scored<'_>], of: impl Fn(&Outcome) -> usize) -> TercileCoverage {
    let coverage = [0, 1, 2].map(|t| share(rows.iter().filter(|r| of(r.outcome) == t), |r| r.hit));
    let known = || coverage.iter().flatten().copied();
    let spread = known().fold(f64::NEG_INFINITY, f64::max) - known().fold(f64::INFINITY, f64::min);
    TercileCoverage { coverage, spread: if spread.is_finite() { spread } else { 0.0 } }
}

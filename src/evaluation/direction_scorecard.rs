//! Direction forecasts against what happened: Brier score, discrimination, calibration.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::evaluation::auc::area_under_curve;
use crate::evaluation::forecasts::DirectionRow;
use crate::evaluation::log_loss::log_loss;
use crate::evaluation::outcomes::{expanding_base_rate, is_scorable, realized_return};
use crate::evaluation::paired_tests::{TestResult, clark_west, clark_west_gain, overlap_steps};
use crate::evaluation::periods::{InPeriod, by_period, crash_decisions};
use crate::evaluation::report::{LossReport, LossRow, LossTable, optional};
use crate::evaluation::scorecard::{benchmark_names, grouped, sessions_of};
use crate::evaluation::scores::{CalibrationBin, brier_score, calibration_table};
use crate::market::bar::Day;
use crate::market::history::History;
use crate::market::instrument::Symbol;

/// Bins of the calibration table, of .05 each.
const CALIBRATION_BINS: usize = 20;

/// Scores of direction forecasts over one horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirectionScore {
    /// Horizon in sessions.
    pub horizon_sessions: usize,
    /// Rows given.
    pub forecasts: usize,
    /// Brier score against `base_rate` (the expanding share of ups known on the day) and the benchmark; `None` when
    /// nothing could be scored.
    pub brier_score: Option<LossReport>,
    /// Logarithmic score in nats, against the same.
    pub log_loss: Option<LossReport>,
    /// Area under the curve over all rows; `None` when all went one way.
    pub area_under_curve: Option<f64>,
    /// Share of outcomes above 0.
    pub share_up: Option<f64>,
    /// Both by period.
    pub discrimination: Vec<InPeriod<Discrimination>>,
    /// Clark and West against the base rate, which every direction model nests: the deciding test.
    pub clark_west: Option<TestResult>,
    /// Probabilities against what happened.
    pub calibration: Vec<CalibrationBin>,
}

/// How well probabilities order what happened, over a set of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Discrimination {
    /// Scored rows.
    pub rows: usize,
    /// Area under the curve; `None` when all went one way.
    pub area_under_curve: Option<f64>,
    /// Share of outcomes above 0.
    pub share_up: f64,
}

/// Scores direction forecasts, by horizon ascending.
#[must_use]
pub fn score_direction(
    rows: &[DirectionRow],
    benchmark: Option<&[DirectionRow]>,
    history: &History,
) -> Vec<DirectionScore> {
    let by_symbol: Benchmark<'_> =
        benchmark.unwrap_or_default().iter().map(|r| ((r.horizon, r.as_of, &r.symbol), r.probability_up)).collect();
    let score = |(horizon, rows): (usize, Vec<&DirectionRow>)| {
        let base_rates = expanding_base_rate(history, horizon);
        let scored: Vec<Scored> = rows.iter().filter_map(|r| scored(r, &base_rates, &by_symbol, history)).collect();
        let steps = overlap_steps(horizon, &sessions_of(history, scored.iter().map(|s| s.as_of)));
        let names = benchmark_names(&["base_rate"], benchmark.is_some());
        let table = LossTable {
            benchmarks: names,
            overlap_steps: steps,
            crash: crash_decisions(history, horizon),
            rows: vec![],
        };
        DirectionScore { forecasts: rows.len(), ..summarize(horizon, &scored, &table) }
    };
    grouped(rows, |r| r.horizon).into_iter().map(score).collect()
}

impl DirectionScore {
    /// The score as a Markdown section.
    #[must_use]
    pub fn markdown(&self) -> String {
        let title = format!("Direction over {} sessions: Brier score", self.horizon_sessions);
        let Some(report) = &self.brier_score else { return format!("### {title}\n\nNothing could be scored.\n") };
        let mut text = report.markdown(&title);
        if let Some(c) = self.log_loss.as_ref().and_then(|l| l.overall.comparisons.first()) {
            let (statistic, p_value) = (optional(c.diebold_mariano, 2), optional(c.p_value_two_sided, 4));
            let (loss, rate) = (c.loss, c.benchmark_loss);
            let _ = writeln!(
                text,
                "\nLog loss {loss:.5}, of the base rate {rate:.5}; DM/HLN {statistic}, p (two-sided) {p_value}."
            );
        }
        let (area, up) = (optional(self.area_under_curve, 4), optional(self.share_up, 4));
        let test = optional(self.clark_west.map(|t| t.statistic), 2);
        let p_value = optional(self.clark_west.map(|t| t.p_value_one_sided), 4);
        let _ =
            writeln!(text, "\nArea under the curve {area}, share up {up}, Clark-West {test} (one-sided p {p_value}).");
        text
    }
}

type Benchmark<'r> = BTreeMap<(usize, Day, &'r Symbol), f64>;

struct Scored {
    as_of: Day,
    up: bool,
    probability: f64,
    base_rate: f64,
    benchmark: Option<f64>,
}

fn scored(row: &DirectionRow, rates: &[Option<f64>], benchmark: &Benchmark<'_>, history: &History) -> Option<Scored> {
    let key = (row.horizon, row.as_of, &row.symbol);
    let Outcome { up, base_rate } = outcome(key, rates, history)?;
    let benchmark = benchmark.get(&key).copied();
    Some(Scored { as_of: row.as_of, up, probability: row.probability_up, base_rate, benchmark })
}

/// What happened after a decision, and the base rate that was known on its day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) up: bool,
    pub(super) base_rate: f64,
}

/// `None` when the decision is not scored; `rates` come from [`expanding_base_rate`].
pub(super) fn outcome(key: (usize, Day, &Symbol), rates: &[Option<f64>], history: &History) -> Option<Outcome> {
    let (horizon, as_of, symbol) = key;
    let session = history.session_at(as_of).filter(|s| is_scorable(history, *s, horizon))?;
    let realized = realized_return(history.find(symbol)?, session, horizon)?;
    Some(Outcome { up: realized > 0.0, base_rate: rates.get(session).copied().flatten()? })
}

fn summarize(horizon: usize, scored: &[Scored], table: &LossTable) -> DirectionScore {
    let realized = |s: &Scored| f64::from(u8::from(s.up));
    let gain = |s: &&Scored| clark_west_gain(realized(s), s.base_rate, s.probability);
    let by_day = grouped(scored, |s| s.as_of);
    let gains: Vec<f64> = by_day.values().map(|d| d.iter().map(gain).sum::<f64>() / d.len() as f64).collect();
    let pairs: Vec<(f64, f64)> = scored.iter().map(|s| (s.probability, realized(s))).collect();
    let report = |loss| LossReport::of(&LossTable { rows: losses(scored, loss), ..table.clone() });
    let all = discrimination(&scored.iter().collect::<Vec<_>>());
    DirectionScore {
        horizon_sessions: horizon,
        forecasts: scored.len(),
        brier_score: report(brier_score),
        log_loss: report(log_loss),
        area_under_curve: all.and_then(|d| d.area_under_curve),
        share_up: all.map(|d| d.share_up),
        discrimination: by_period(scored, |s| s.as_of, &table.crash, discrimination),
        clark_west: clark_west(&gains, table.overlap_steps),
        calibration: calibration_table(&pairs, CALIBRATION_BINS),
    }
}

fn losses(scored: &[Scored], loss: fn(f64, bool) -> f64) -> Vec<LossRow> {
    let row = |s: &Scored| LossRow {
        as_of: s.as_of,
        loss: loss(s.probability, s.up),
        benchmark_losses: vec![Some(loss(s.base_rate, s.up)), s.benchmark.map(|p| loss(p, s.up))],
    };
    scored.iter().map(row).collect()
}

fn discrimination(scored: &[&Scored]) -> Option<Discrimination> {
    let ups: Vec<bool> = scored.iter().map(|s| s.up).collect();
    let probabilities: Vec<f64> = scored.iter().map(|s| s.probability).collect();
    (!ups.is_empty()).then(|| Discrimination {
        rows: ups.len(),
        area_under_curve: area_under_curve(&probabilities, &ups),
        share_up: ups.iter().filter(|u| **u).count() as f64 / ups.len() as f64,
    })
}

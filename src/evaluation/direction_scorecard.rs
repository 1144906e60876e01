//! Direction forecasts against what happened: Brier score, discrimination, calibration.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::evaluation::forecasts::DirectionRow;
use crate::evaluation::outcomes::{expanding_base_rate, is_scorable, realized_return};
use crate::evaluation::paired_tests::{TestResult, clark_west, clark_west_gain, overlap_steps};
use crate::evaluation::report::{LossReport, LossRow, LossTable, optional};
use crate::evaluation::scorecard::{benchmark_names, grouped, sessions_of};
use crate::evaluation::scores::{CalibrationBin, area_under_curve, brier_score, calibration_table};
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
    /// Area under the curve over all rows; `None` when all went one way.
    pub area_under_curve: Option<f64>,
    /// Share of outcomes above 0.
    pub share_up: Option<f64>,
    /// Clark and West against the base rate, which every direction model nests: the deciding test.
    pub clark_west: Option<TestResult>,
    /// Probabilities against what happened.
    pub calibration: Vec<CalibrationBin>,
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
        summarize(horizon, rows.len(), &scored, (names, steps))
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
    let session = history.session_at(row.as_of).filter(|s| is_scorable(history, *s, row.horizon))?;
    let realized = realized_return(history.find(&row.symbol)?, session, row.horizon)?;
    Some(Scored {
        as_of: row.as_of,
        up: realized > 0.0,
        probability: row.probability_up,
        base_rate: rates.get(session).copied().flatten()?,
        benchmark: benchmark.get(&(row.horizon, row.as_of, &row.symbol)).copied(),
    })
}

fn summarize(horizon: usize, forecasts: usize, scored: &[Scored], table: (Vec<String>, usize)) -> DirectionScore {
    let (benchmarks, overlap_steps) = table;
    let loss_row = |s: &Scored| LossRow {
        as_of: s.as_of,
        loss: brier_score(s.probability, s.up),
        benchmark_losses: vec![Some(brier_score(s.base_rate, s.up)), s.benchmark.map(|p| brier_score(p, s.up))],
    };
    let realized = |s: &Scored| f64::from(u8::from(s.up));
    let gain = |s: &&Scored| clark_west_gain(realized(s), s.base_rate, s.probability);
    let by_day = grouped(scored, |s| s.as_of);
    let gains: Vec<f64> = by_day.values().map(|d| d.iter().map(gain).sum::<f64>() / d.len() as f64).collect();
    let ups: Vec<bool> = scored.iter().map(|s| s.up).collect();
    let probabilities: Vec<f64> = scored.iter().map(|s| s.probability).collect();
    let pairs: Vec<(f64, f64)> = scored.iter().map(|s| (s.probability, realized(s))).collect();
    let rows = scored.iter().map(loss_row).collect();
    DirectionScore {
        horizon_sessions: horizon,
        forecasts,
        brier_score: LossReport::of(&LossTable { benchmarks, overlap_steps, rows }),
        area_under_curve: area_under_curve(&probabilities, &ups),
        share_up: (!ups.is_empty()).then(|| ups.iter().filter(|u| **u).count() as f64 / ups.len() as f64),
        clark_west: clark_west(&gains, overlap_steps),
        calibration: calibration_table(&pairs, CALIBRATION_BINS),
    }
}

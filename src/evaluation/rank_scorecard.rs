//! Ranks against what happened: ranked probability score, rank correlation, calibration.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::evaluation::forecasts::RankRow;
use crate::evaluation::outcomes::{is_scorable, realized_return, session_return};
use crate::evaluation::paired_tests::{diebold_mariano, overlap_steps};
use crate::evaluation::periods::{InPeriod, by_period, crash_decisions};
use crate::evaluation::rank_scores::{
    CLASS_COUNT, expected_class, quintile_membership, ranked_probability_score, spearman,
};
use crate::evaluation::report::{LossReport, LossRow, LossTable, optional};
use crate::evaluation::scorecard::{benchmark_names, grouped, sessions_of};
use crate::evaluation::scores::{CalibrationBin, calibration_table};
use crate::market::bar::Day;
use crate::market::history::History;
use crate::market::instrument::Symbol;

/// Fewest instruments with an outcome for a day to be scored.
pub const MINIMUM_RANKED: usize = 20;

/// Bins of the calibration table, of .05 each.
const CALIBRATION_BINS: usize = 20;

/// Expected classes nearer to each other than one in so many steps count as equal.
const CLASS_STEPS: f64 = 1e9;

/// Scores of rank forecasts over one horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankScore {
    /// Horizon in sessions.
    pub horizon_sessions: usize,
    /// Rows given.
    pub forecasts: usize,
    /// Ranked probability score against `uniform` and the benchmark; `None` when nothing could be scored.
    pub ranked_probability_score: Option<LossReport>,
    /// Rank correlation of the expected class with the outcome; `None` when no day defines it, as for symmetric laws, which
    /// expect the same class of all.
    pub information_coefficient: Option<InformationCoefficient>,
    /// The same by period.
    pub information_coefficients: Vec<InPeriod<InformationCoefficient>>,
    /// Probabilities of all classes against what happened.
    pub calibration: Vec<CalibrationBin>,
    /// Days that were not scored, ascending.
    pub skipped: Vec<SkippedDay>,
}

/// Daily Spearman correlations, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InformationCoefficient {
    /// Mean over days.
    pub mean: f64,
    /// Mean over its standard error, corrected for overlap as Diebold-Mariano/HLN is.
    pub statistic: Option<f64>,
    /// Days.
    pub days: usize,
}

/// A day that was not scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SkippedDay {
    /// Decision day.
    pub as_of: Day,
    /// Why.
    pub reason: SkipReason,
    /// Instruments with an outcome.
    pub instruments: usize,
}

/// Why a day was not scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Fewer than 252 sessions before it, or its horizon has not matured.
    NoHistoryOrOutcome,
    /// Fewer than [`MINIMUM_RANKED`] instruments have an outcome.
    TooFewInstruments,
}

/// Scores rank forecasts of one horizon against uniform probabilities and an optional benchmark.
#[must_use]
pub fn score_ranks(horizon: usize, rows: &[RankRow], benchmark: Option<&[RankRow]>, history: &History) -> RankScore {
    let mut tally = Tally { benchmark: by_symbol(benchmark), ..Tally::default() };
    for (as_of, rows) in grouped(rows, |r| r.as_of) {
        let ranked = ranked_rows(&rows, history, horizon);
        match ranked {
            None => tally.skip(as_of, SkipReason::NoHistoryOrOutcome, 0),
            Some(r) if r.len() < MINIMUM_RANKED => tally.skip(as_of, SkipReason::TooFewInstruments, r.len()),
            Some(r) => tally.add_day(&r),
        }
    }
    let steps = overlap_steps(horizon, &sessions_of(history, tally.losses.iter().map(|l| l.as_of)));
    let (benchmarks, crash) = (benchmark_names(&["uniform"], benchmark.is_some()), crash_decisions(history, horizon));
    RankScore {
        horizon_sessions: horizon,
        forecasts: rows.len(),
        information_coefficient: information_coefficient(&tally.correlations.iter().collect::<Vec<_>>(), steps),
        information_coefficients: by_period(
            &tally.correlations,
            |c| c.0,
            &crash,
            |c| information_coefficient(c, steps),
        ),
        calibration: calibration_table(&tally.classes, CALIBRATION_BINS),
        skipped: tally.skipped,
        ranked_probability_score: LossReport::of(&LossTable {
            benchmarks,
            overlap_steps: steps,
            crash,
            rows: tally.losses,
        }),
    }
}

impl RankScore {
    /// The score as a Markdown section.
    #[must_use]
    pub fn markdown(&self) -> String {
        let title = format!("Ranks over {} sessions: ranked probability score", self.horizon_sessions);
        let Some(report) = &self.ranked_probability_score else {
            return format!("### {title}\n\nNothing could be scored.\n");
        };
        let mut text = report.markdown(&title);
        if let Some(ic) = self.information_coefficient {
            let statistic = optional(ic.statistic, 2);
            let _ = writeln!(
                text,
                "\nInformation coefficient {:.4} over {} days, statistic {statistic}.",
                ic.mean, ic.days
            );
        }
        if !self.skipped.is_empty() {
            let _ = writeln!(text, "\n{} days were not scored.", self.skipped.len());
        }
        text
    }
}

type BySymbol<'r> = BTreeMap<(Day, &'r Symbol), &'r [f64; CLASS_COUNT]>;

/// A row with its realized log return.
type Ranked<'r> = (&'r RankRow, f64);

#[derive(Default)]
struct Tally<'r> {
    benchmark: BySymbol<'r>,
    losses: Vec<LossRow>,
    correlations: Vec<(Day, f64)>,
    classes: Vec<(f64, f64)>,
    skipped: Vec<SkippedDay>,
}

impl Tally<'_> {
    fn skip(&mut self, as_of: Day, reason: SkipReason, instruments: usize) {
        self.skipped.push(SkippedDay { as_of, reason, instruments });
    }

    fn add_day(&mut self, ranked: &[Ranked<'_>]) {
        let outcomes: Vec<f64> = ranked.iter().map(|r| r.1).collect();
        // Rounding must not order what a symmetric law leaves equal.
        let expected_class = |r: &Ranked<'_>| (expected_class(&r.0.quintile_probabilities) * CLASS_STEPS).round();
        let expected: Vec<f64> = ranked.iter().map(expected_class).collect();
        self.correlations.extend(ranked.first().map(|r| r.0.as_of).zip(spearman(&expected, &outcomes)));
        for ((row, _), membership) in ranked.iter().zip(quintile_membership(&outcomes)) {
            let score = |p: &[f64; CLASS_COUNT]| ranked_probability_score(p, &membership);
            let benchmark = self.benchmark.get(&(row.as_of, &row.symbol)).map(|p| score(p));
            let benchmark_losses = vec![Some(score(&[0.2; CLASS_COUNT])), benchmark];
            self.losses.push(LossRow { as_of: row.as_of, loss: score(&row.quintile_probabilities), benchmark_losses });
            self.classes.extend(row.quintile_probabilities.into_iter().zip(membership));
        }
    }
}

fn by_symbol(rows: Option<&[RankRow]>) -> BySymbol<'_> {
    let rows = rows.unwrap_or_default().iter();
    rows.map(|r| ((r.as_of, &r.symbol), &r.quintile_probabilities)).collect()
}

/// The rows of one day that have a return on the day and over the horizon; `None` for a day that cannot be scored.
fn ranked_rows<'r>(rows: &[&'r RankRow], history: &History, horizon: usize) -> Option<Vec<Ranked<'r>>> {
    let session = scorable_session(rows.first()?.as_of, horizon, history)?;
    let ranked = |row: &&'r RankRow| Some((*row, outcome(session, &row.symbol, horizon, history)?));
    Some(rows.iter().filter_map(ranked).collect())
}

/// The session at which a day decides; `None` when the day cannot be scored.
pub(super) fn scorable_session(as_of: Day, horizon: usize, history: &History) -> Option<usize> {
    history.session_at(as_of).filter(|s| is_scorable(history, *s, horizon))
}

/// Log return over the horizon of an instrument that also has a return on the day; `None` when one is missing.
pub(super) fn outcome(session: usize, symbol: &Symbol, horizon: usize, history: &History) -> Option<f64> {
    let instrument = history.find(symbol)?;
    session_return(instrument, session)?;
    realized_return(instrument, session, horizon)
}

fn information_coefficient(correlations: &[&(Day, f64)], overlap_steps: usize) -> Option<InformationCoefficient> {
    let days = correlations.len();
    let daily: Vec<f64> = correlations.iter().map(|c| c.1).collect();
    let statistic = (days > overlap_steps).then(|| diebold_mariano(&daily, overlap_steps)).flatten();
    let (statistic, mean) = (statistic.map(|t| t.statistic), daily.iter().sum::<f64>() / days as f64);
    (days > 0).then_some(InformationCoefficient { mean, statistic, days })
}

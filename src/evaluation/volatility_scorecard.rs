//! Volatility forecasts against realized variance: QLIKE and the squared error of the log variance.

use std::collections::BTreeMap;

use chrono::Datelike;
use serde::Serialize;

use crate::evaluation::forecasts::VolatilityRow;
use crate::evaluation::outcomes::{
    VARIANCE_FLOOR, exponential_variance, is_scorable, realized_variance, session_return, trailing_variance,
};
use crate::evaluation::paired_tests::overlap_steps;
use crate::evaluation::periods::crash_decisions;
use crate::evaluation::report::{LossReport, LossRow, LossTable};
use crate::evaluation::scorecard::{benchmark_names, grouped, sessions_of};
use crate::evaluation::scores::{qlike, squared_log_error};
use crate::market::bar::Day;
use crate::market::history::{History, InstrumentHistory};
use crate::market::instrument::{InstrumentKind, Symbol};

/// First session at which a benchmark regression may be fitted.
const FIRST_REFIT: usize = 700;
/// First session of its training rows.
const FIRST_ROW: usize = 252;
/// Fewest training rows of one instrument.
const MINIMUM_ROWS: usize = 250;
/// Decay of the exponentially weighted reference (RiskMetrics 1996).
const DECAY: f64 = 0.94;

/// Scores of volatility forecasts over one horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VolatilityScore {
    /// Horizon in sessions.
    pub horizon_sessions: usize,
    /// Rows given.
    pub forecasts: usize,
    /// Rows scored.
    pub scored: usize,
    /// QLIKE against `rolling_252`, `exponential_94` and the benchmark; `None` when nothing could be scored.
    pub qlike: Option<LossReport>,
    /// Squared error of the log variance, against the same.
    pub squared_log_error: Option<LossReport>,
}

/// Scores volatility forecasts, by horizon ascending.
///
/// A row is scored when its outcome moved, and when the usual regressions on past variances (HAR by instrument, refitted
/// at the first session of each year) could have been fitted for it, so that scores of all models stand on the same rows:
/// variances over 1, 5, 20, 60 and 252 sessions with 80 % of their returns known, and 250 training rows at the refit.
#[must_use]
pub fn score_volatility(
    rows: &[VolatilityRow],
    benchmark: Option<&[VolatilityRow]>,
    history: &History,
) -> Vec<VolatilityScore> {
    let by_symbol: BTreeMap<_, f64> =
        benchmark.unwrap_or_default().iter().map(|r| ((r.horizon, r.as_of, &r.symbol), daily_variance(r))).collect();
    let score = |(horizon, rows): (usize, Vec<&VolatilityRow>)| {
        let mut outcomes = Outcomes::new(history, horizon);
        let scored = rows.iter().filter_map(|row| {
            let benchmark = by_symbol.get(&(horizon, row.as_of, &row.symbol)).copied();
            let forecast = daily_variance(row);
            outcomes.of(row.as_of, &row.symbol).map(|o| Scored { as_of: row.as_of, outcome: o, forecast, benchmark })
        });
        let scored: Vec<Scored> = scored.collect();
        let table = LossTable {
            benchmarks: benchmark_names(&["rolling_252", "exponential_94"], benchmark.is_some()),
            overlap_steps: overlap_steps(horizon, &sessions_of(history, scored.iter().map(|s| s.as_of))),
            crash: crash_decisions(history, horizon),
            rows: vec![],
        };
        let report = |loss| LossReport::of(&LossTable { rows: losses(&scored, loss), ..table.clone() });
        VolatilityScore {
            horizon_sessions: horizon,
            forecasts: rows.len(),
            scored: scored.len(),
            qlike: report(qlike),
            squared_log_error: report(squared_log_error),
        }
    };
    grouped(rows, |r| r.horizon).into_iter().map(score).collect()
}

impl VolatilityScore {
    /// The score as Markdown sections.
    #[must_use]
    pub fn markdown(&self) -> String {
        let title = |what: &str| format!("Volatility over {} sessions: {what}", self.horizon_sessions);
        match (&self.qlike, &self.squared_log_error) {
            (Some(qlike), Some(squared)) => {
                let squared = squared.markdown(&title("squared error of the log variance"));
                format!("{}\n{squared}", qlike.markdown(&title("QLIKE")))
            }
            _ => format!("### {}\n\nNothing could be scored.\n", title("QLIKE")),
        }
    }
}

/// The forecast as a mean daily variance.
pub(super) fn daily_variance(row: &VolatilityRow) -> f64 {
    row.sigma * row.sigma / row.horizon as f64
}

/// Mean daily variances after and before one decision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) realized: f64,
    references: [f64; 2],
}

/// Mean daily variances of one row.
struct Scored {
    as_of: Day,
    outcome: Outcome,
    forecast: f64,
    benchmark: Option<f64>,
}

fn losses(scored: &[Scored], loss: fn(f64, f64) -> f64) -> Vec<LossRow> {
    let row = |s: &Scored| {
        let loss = |forecast: f64| loss(s.outcome.realized, forecast);
        let references = s.outcome.references.iter().map(|f| Some(loss(*f)));
        let benchmark_losses = references.chain(std::iter::once(s.benchmark.map(loss))).collect();
        LossRow { as_of: s.as_of, loss: loss(s.forecast), benchmark_losses }
    };
    scored.iter().map(row).collect()
}

/// First sessions of a year from [`FIRST_REFIT`] on, ascending.
fn refit_sessions(sessions: &[Day]) -> Vec<usize> {
    (FIRST_REFIT..sessions.len()).filter(|t| sessions[*t].year() != sessions[*t - 1].year()).collect()
}

/// What happened over one horizon.
pub(super) struct Outcomes<'h> {
    history: &'h History,
    horizon: usize,
    refits: Vec<usize>,
    /// Whether an instrument has enough training rows at a refit.
    fitted: BTreeMap<(&'h Symbol, usize), bool>,
}

impl<'h> Outcomes<'h> {
    pub(super) fn new(history: &'h History, horizon: usize) -> Self {
        Self { history, horizon, refits: refit_sessions(&history.sessions), fitted: BTreeMap::new() }
    }

    /// What happened after a decision; `None` when it is not scored.
    pub(super) fn of(&mut self, as_of: Day, symbol: &Symbol) -> Option<Outcome> {
        let session = self.history.session_at(as_of).filter(|s| is_scorable(self.history, *s, self.horizon))?;
        let instrument = self.history.find(symbol).filter(|i| i.instrument.kind != InstrumentKind::Index)?;
        let realized = realized_variance(instrument, session, self.horizon).filter(|v| *v > VARIANCE_FLOOR)?;
        let enough = |window: usize| trailing_variance(instrument, session, window, window * 4 / 5);
        [1, 5, 20, 60].into_iter().try_for_each(|window| enough(window).map(|_| ()))?;
        let rolling = enough(252).filter(|v| *v > 0.0)?;
        let refit = *self.refits.get(self.refits.partition_point(|t| *t <= session).checked_sub(1)?)?;
        self.is_fitted(instrument, refit).then_some(())?;
        Some(Outcome { realized, references: [rolling, exponential_variance(instrument, session, DECAY)?] })
    }

    fn is_fitted(&mut self, instrument: &'h InstrumentHistory, refit: usize) -> bool {
        let horizon = self.horizon;
        let count = || training_rows(instrument, refit, horizon) >= MINIMUM_ROWS;
        *self.fitted.entry((&instrument.instrument.symbol, refit)).or_insert_with(count)
    }
}

/// Rows with known variances over 1, 5 and 20 sessions whose outcome was known at the refit.
fn training_rows(instrument: &InstrumentHistory, refit: usize, horizon: usize) -> usize {
    let mut known = vec![0usize];
    for session in 0..=refit {
        known.push(known[session] + usize::from(session_return(instrument, session).is_some()));
    }
    // Known returns of the `window` sessions that end at `end`.
    let within = |end: usize, window: usize| known[end + 1] - known[end + 1 - window];
    let usable = |s: &usize| {
        within(*s, 1) == 1 && within(*s, 5) >= 4 && within(*s, 20) >= 16 && within(s + horizon, horizon) == horizon
    };
    (FIRST_ROW..(refit + 1).saturating_sub(horizon)).filter(usable).count()
}

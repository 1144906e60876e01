//! A history with the columns that every forecast reads, computed once. Each value at a session looks at no later row,
//! so one preparation serves every decision day of a walk.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::decision::liquidity::{Liquidity, Traded, TradedColumns, liquidity};
use crate::evaluation::outcomes::expanding_base_rate;
use crate::features::universe::Universe;
use crate::features::windows::JointSums;
use crate::market::history::{History, InstrumentHistory};
use crate::market::horizon::Horizon;
use crate::scenario::joint::equity_premium;
use crate::scenario::volatility_inputs::{VARIANCE_FLOOR, VolatilityInputs};
use crate::scenario::windows::RunningSums;

/// Sessions of the long-run volatility: five years.
const LONG_RUN_SESSIONS: usize = 1260;
/// Returns from which on an instrument's own long run stands alone; below, it is shrunk to the universe's.
const LONG_RUN_RETURNS: f64 = 252.0;
/// Sessions of the beta.
const BETA_SESSIONS: usize = 252;
/// Returns that an average drift needs.
const DRIFT_RETURNS: usize = 252;
/// An instrument without a bar for more sessions than this has stopped.
const STOPPED_AFTER: usize = 5;

/// A history and its columns.
#[derive(Debug)]
pub struct Prepared {
    /// The rows.
    pub history: History,
    /// Indices, rankable instruments, the market series.
    pub universe: Universe,
    /// Inputs of the volatility benchmarks.
    pub inputs: VolatilityInputs,
    against_market: Vec<JointSums>,
    squared: Vec<RunningSums>,
    returns: Vec<RunningSums>,
    base_rates: [Vec<Option<f64>>; 5],
    /// By session, computed when first asked for.
    median_long_runs: Vec<OnceLock<Option<f64>>>,
}

impl Prepared {
    /// Computes the columns.
    #[must_use]
    pub fn new(history: History) -> Self {
        let universe = Universe::new(&history);
        let inputs = VolatilityInputs::new(&history);
        let market = universe.market_return();
        let against_market = history.instruments.iter().map(|i| JointSums::new(market, &i.log_return)).collect();
        let squares = history.instruments.iter().map(|i| RunningSums::new(i.log_return.iter().map(|r| r * r)));
        let squared = squares.collect();
        let returns = history.instruments.iter().map(|i| RunningSums::new(i.log_return.iter().copied())).collect();
        let median_long_runs = history.sessions.iter().map(|_| OnceLock::new()).collect();
        let base_rates = Horizon::ALL.map(|h| expanding_base_rate(&history, h.sessions()));
        Self { history, universe, inputs, against_market, squared, returns, base_rates, median_long_runs }
    }

    /// Number of sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.history.sessions.len()
    }

    /// Instruments that can be forecast at the close of a session: no index, with a bar on it or shortly before.
    #[must_use]
    pub fn alive(&self, session: usize) -> Vec<usize> {
        (0..self.history.instruments.len())
            .filter(|i| {
                !self.universe.is_index(*i, session)
                    && self.last_bar(*i, session).is_some_and(|b| b + STOPPED_AFTER >= session)
            })
            .collect()
    }

    /// Session of the newest bar at or before a session.
    #[must_use]
    pub fn last_bar(&self, instrument: usize, session: usize) -> Option<usize> {
        self.history.instruments[instrument].close[..=session].iter().rposition(|c| c.is_finite())
    }

    /// Slope of the instrument's log return on the market's over 252 sessions; `None` with less than four fifths of them.
    #[must_use]
    pub fn beta(&self, instrument: usize, session: usize) -> Option<f64> {
        self.against_market[instrument].slope_and_correlation(session, BETA_SESSIONS).map(|(slope, _)| slope)
    }

    /// mu0, the simple return over the horizon that is expected without skill: `max(beta, .25) x premium x h / 252`;
    /// beta 1 where it is not known.
    #[must_use]
    pub fn mean_without_skill(&self, instrument: usize, session: usize, horizon: Horizon, premium: f64) -> f64 {
        equity_premium(self.beta(instrument, session).unwrap_or(1.0), premium, horizon.sessions())
    }

    /// Long-run mean daily variance: mean squared log return of up to five years, shrunk in logs to the universe's median
    /// while there is less than one year. `None` without any return.
    #[must_use]
    pub fn long_run_variance(&self, instrument: usize, session: usize) -> Option<f64> {
        let own = self.own_long_run(instrument, session);
        let weight = (self.squared[instrument].count(session, LONG_RUN_SESSIONS) as f64 / LONG_RUN_RETURNS).min(1.0);
        if weight >= 1.0 {
            return own;
        }
        let Some(universe) = *self.median_long_runs[session].get_or_init(|| self.median_long_run(session)) else {
            return own;
        };
        let own = own.unwrap_or(universe);
        Some((weight * own.ln() + (1.0 - weight) * universe.ln()).exp())
    }

    /// Share of positive returns over the horizon among all that had matured by the close of a session; .5 before any.
    #[must_use]
    pub fn base_rate(&self, session: usize, horizon: Horizon) -> f64 {
        self.base_rates[horizon.index()][session].unwrap_or(0.5)
    }

    /// Average log return a session of everything so far; `None` with less than a year of it.
    #[must_use]
    pub fn drift(&self, instrument: usize, session: usize) -> Option<f64> {
        self.returns[instrument].mean(session, session + 1, DRIFT_RETURNS)
    }

    /// What trading each instrument costs at the close of a session, by the quarter before it. `cost` and `impact` are
    /// those of the universe's median instrument.
    #[must_use]
    pub fn liquidity(&self, session: usize, (cost, impact): (f64, f64)) -> Vec<Liquidity> {
        let traded = |i: usize| {
            let InstrumentHistory { close, volume, log_return, .. } = &self.history.instruments[i];
            Traded::until(&TradedColumns { close, volume, log_return }, session)
        };
        // Dollar volumes in other currencies cannot be compared: those instruments borrow the median's.
        let currency = self.usual_currency();
        let comparable = |i: &usize| Some(&self.history.instruments[*i].instrument.currency) == currency;
        let mut of_all = vec![None; self.history.instruments.len()];
        self.alive(session).into_iter().filter(comparable).for_each(|i| of_all[i] = traded(i));
        liquidity(&of_all, cost, impact)
    }

    /// The currency of most instruments; of equally many the first in the alphabet.
    fn usual_currency(&self) -> Option<&String> {
        let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
        self.history.instruments.iter().for_each(|i| *counts.entry(&i.instrument.currency).or_default() += 1);
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(currency, _)| currency)
    }

    fn own_long_run(&self, instrument: usize, session: usize) -> Option<f64> {
        self.squared[instrument].mean(session, LONG_RUN_SESSIONS.min(session + 1), 1).map(|v| v.max(VARIANCE_FLOOR))
    }

    fn median_long_run(&self, session: usize) -> Option<f64> {
        let full = |i: &usize| self.squared[*i].count(session, LONG_RUN_SESSIONS) as f64 >= LONG_RUN_RETURNS;
        let mut known: Vec<f64> =
            self.alive(session).into_iter().filter(full).filter_map(|i| self.own_long_run(i, session)).collect();
        known.sort_by(f64::total_cmp);
        known.get(known.len() / 2).copied()
    }
}

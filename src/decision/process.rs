//! The holder's decision process: nine market states x three exposures, three actions, weekly steps.
//!
//! `P(f' | f, a) = P_market(m' | m) 1{e' = e + d_a}`, with e' clamped to the holder's range, and
//! `R(f, a) = e' mu_m - (lambda/2) e'^2 sigma_m^2 - c |e' - e|`: the holder moves the exposure and not the market.

use serde::{Deserialize, Serialize};

use super::action::{Action, PerAction};
use super::finite_process::{FiniteProcess, FiniteProcessError, Solution};
use super::holder::{HolderType, LongRun};
use super::market_process::{MarketProcess, MarketProcessError};
use super::posterior::Posterior;
use super::weekly_solver::{Preferences, World};
use crate::features::states::STATES;

/// Exposures of a holder.
pub const EXPOSURES: usize = 3;
/// States of the process; state = 3 x market state + position of the exposure.
pub const PROCESS_STATES: usize = STATES * EXPOSURES;
/// Posterior draws behind [`HolderProcess::probability_optimal`] unless said otherwise.
pub const DEFAULT_DRAWS: u32 = 1000;
/// Most steps, a year of weeks.
pub const STEPS_MAX: u32 = 52;
/// Highest discount without an end: beyond it weeks twenty years away would still count a third.
pub const ENDLESS_DISCOUNT_MAX: f64 = 0.999;
/// Error bound of the values without an end.
const TOLERANCE: f64 = 1e-10;

/// For whom the process is solved, and how far it looks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProcessSettings {
    /// Which exposures are open.
    pub holder: HolderType,
    /// c, cost of trading one unit as a fraction, 0..=1.
    pub cost: f64,
    /// gamma, the worth of a payoff in a week against one now: 0..=1, at most [`ENDLESS_DISCOUNT_MAX`] without an end.
    pub discount: f64,
    /// Weekly steps, 1..=52; `None` has no end.
    pub steps: Option<u32>,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self { holder: HolderType::Holder, cost: 0.0005, discount: 1.0, steps: Some(4) }
    }
}

/// A setting out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be in {range}")]
pub struct SettingsError {
    /// The field's name.
    pub field: &'static str,
    /// Its range, such as `0..=1`.
    pub range: &'static str,
}

/// Why a process cannot be solved.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ProcessError {
    /// A setting is out of its range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The long-run volatility is not above 0, or the premium not a number.
    #[error("the long-run premium and volatility give no risk aversion")]
    LongRun,
    /// A number of the market process is out of its range.
    #[error(transparent)]
    Market(#[from] MarketProcessError),
    /// The numbers do not form a process.
    #[error(transparent)]
    Process(#[from] FiniteProcessError),
}

impl ProcessSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`SettingsError`] naming the first field that is out of range, and its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        let discounts =
            if self.steps.is_some() { (1.0, "0..=1") } else { (ENDLESS_DISCOUNT_MAX, "0..=0.999 without steps") };
        let checks = [
            ("cost", "0..=1", (0.0..=1.0).contains(&self.cost)),
            ("discount", discounts.1, (0.0..=discounts.0).contains(&self.discount)),
            ("steps", "1..=52", self.steps.is_none_or(|steps| (1..=STEPS_MAX).contains(&steps))),
        ];
        match checks.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, range, _)) => Err(SettingsError { field, range }),
            None => Ok(()),
        }
    }
}

/// A holder's process, solved.
#[derive(Debug, Clone)]
pub struct HolderProcess<'a> {
    market: &'a MarketProcess,
    preferences: Preferences,
    finite: FiniteProcess,
    solution: Solution,
}

impl<'a> HolderProcess<'a> {
    /// Forms and solves the process: backward induction over the steps, value iteration without an end.
    ///
    /// # Errors
    /// [`ProcessError`] when a setting is out of range or the numbers give no process.
    pub fn solve(
        market: &'a MarketProcess,
        settings: &ProcessSettings,
        long_run: LongRun,
    ) -> Result<Self, ProcessError> {
        settings.check()?;
        let risk_aversion = settings.holder.risk_aversion(long_run);
        if !(risk_aversion.is_finite() && long_run.volatility > 0.0) {
            return Err(ProcessError::LongRun);
        }
        let preferences = Preferences {
            exposures: settings.holder.exposures().map(f64::from),
            risk_aversion,
            cost: settings.cost,
            discount: settings.discount,
            steps: settings.steps,
        };
        let finite = finite(market, settings.holder, &preferences)?;
        let solution = match settings.steps {
            Some(steps) => finite.backward_induction(steps, settings.discount)?,
            None => finite.value_iteration(settings.discount, TOLERANCE)?,
        };
        Ok(Self { market, preferences, finite, solution })
    }

    /// The transitions and reactions.
    #[must_use]
    pub fn finite(&self) -> &FiniteProcess {
        &self.finite
    }

    /// Q, V and the policy.
    #[must_use]
    pub fn solution(&self) -> &Solution {
        &self.solution
    }

    /// lambda, for a week.
    #[must_use]
    pub fn risk_aversion(&self) -> f64 {
        self.preferences.risk_aversion
    }

    /// The state now: the market's, at the holder's usual exposure.
    #[must_use]
    pub fn current_state(&self) -> usize {
        EXPOSURES * self.market.current() + 1
    }

    /// The policy's action in a state.
    ///
    /// # Panics
    /// When there is no such state.
    #[must_use]
    pub fn action(&self, state: usize) -> Action {
        Action::ALL[self.solution.policy[state]]
    }

    /// Q of each action in a state.
    ///
    /// # Panics
    /// When there is no such state.
    #[must_use]
    pub fn values(&self, state: usize) -> PerAction<f64> {
        PerAction::from_fn(|action| self.solution.q_value[state][action.index()])
    }

    /// Chance that an action is the best in the current state: the share of posterior draws of the market process in
    /// which it is; draws without a single best action count for hold. `None` without draws.
    ///
    /// A draw takes every row from its Dirichlet posterior, every variance from a scaled inverse chi-square, and all means
    /// from a normal law with one common error.
    #[must_use]
    pub fn probability_optimal(&self, draws: u32, seed: u64) -> Option<PerAction<f64>> {
        let mut best = PerAction::<u32>::default();
        let mut solver = self.preferences.solver();
        Posterior::of(self.market)?.draw(draws, seed, |world: &World| {
            best[solver.best_now(world, self.market.current())] += 1;
        });
        (draws > 0).then(|| PerAction::from_fn(|action| f64::from(best[action]) / f64::from(draws)))
    }
}

/// The names of the 27 states in their order: trend, volatility, exposure, such as `falling_calm.1`.
#[must_use]
pub fn state_labels(holder: HolderType) -> Vec<String> {
    let market = (0..STATES).map(|m| format!("{}_{}", trend_word(m), volatility_word(m)));
    market.flat_map(|market| holder.exposures().map(|exposure| format!("{market}.{exposure}"))).collect()
}

/// `falling`, `level` or `rising`.
///
/// # Panics
/// When there is no such market state.
#[must_use]
pub fn trend_word(market_state: usize) -> &'static str {
    ["falling", "level", "rising"][market_state / 3]
}

/// `calm`, `usual` or `turbulent`.
#[must_use]
pub fn volatility_word(market_state: usize) -> &'static str {
    ["calm", "usual", "turbulent"][market_state % 3]
}

/// Writes the holder's process out as tables.
fn finite(
    market: &MarketProcess,
    holder: HolderType,
    preferences: &Preferences,
) -> Result<FiniteProcess, FiniteProcessError> {
    let (rows, exposures, numbers) = (market.transition(), holder.exposures(), market.numbers());
    let mut transition = vec![vec![vec![0.0; PROCESS_STATES]; Action::ALL.len()]; PROCESS_STATES];
    let mut reaction = vec![vec![0.0; Action::ALL.len()]; PROCESS_STATES];
    for state in 0..PROCESS_STATES {
        let (m, exposure) = (state / EXPOSURES, exposures[state % EXPOSURES]);
        for action in Action::ALL {
            let after = holder.clamp(exposure + action.exposure_change());
            let position = usize::from(after.abs_diff(exposures[0]));
            for (next, p) in rows[m].iter().enumerate() {
                transition[state][action.index()][EXPOSURES * next + position] = *p;
            }
            let paid = preferences.reaction(position, numbers.mean[m], numbers.variance[m]);
            let traded = f64::from(after.abs_diff(exposure));
            reaction[state][action.index()] = paid - preferences.cost * traded;
        }
    }
    FiniteProcess::new(&transition, &reaction)
}

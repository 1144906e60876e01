//! The decision process: states, actions, transitions, reactions, and what they make best for a holder, week by week.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::opinion::envelope::Envelope;
use crate::opinion::ranking::Strategy;
use crate::opinion::signal::{Action, Holder};

/// Answer of `GET /process/{symbol}`, without `ledger` and `stale`.
///
/// A state is the market's (trend and volatility against the instrument's own past) with the holder's exposure:
/// `falling_calm.1`. A step is a week. `Q(f, a) = R(f, a) + discount x sum over f' of P(f' | f, a) V(f')` and
/// `V(f) = max over a of Q(f, a)`, after the last step 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    /// What every opinion carries.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// For whom the process was solved.
    pub holder: Holder,
    /// Cost of trading one unit, as a fraction.
    #[schema(minimum = 0, maximum = 1, example = 0.0005)]
    pub cost: f64,
    /// Worth of a payoff in a week against the same now.
    #[schema(minimum = 0, maximum = 1, example = 1.0)]
    pub discount: f64,
    /// Weekly steps; `null` with the reason `without_end` where the process never ends.
    #[schema(minimum = 1, maximum = 52, example = 4)]
    pub steps: Option<u32>,
    /// The 27 states: trend (falling, level, rising), volatility (calm, usual, turbulent), exposure.
    #[schema(example = json!(["falling_calm.0", "falling_calm.1", "falling_calm.2"]))]
    pub states: Vec<String>,
    /// The actions: sell, hold, buy.
    pub actions: Vec<Action>,
    /// P, `[state][action][next state]`; every row sums to 1.
    pub transition: Option<Vec<Vec<Vec<f64>>>>,
    /// R, `[state][action]`: what the week pays, as a fraction of one unit, after risk and cost.
    pub reaction: Option<Vec<Vec<f64>>>,
    /// Q, `[state][action]`.
    pub q_value: Option<Vec<Vec<f64>>>,
    /// V by state.
    pub value: Option<Vec<f64>>,
    /// The best action in each state with all steps to go; ties go to hold.
    pub policy: Option<Vec<Action>>,
    /// The state now, at the holder's exposure.
    #[schema(example = "level_calm.1")]
    pub current_state: Option<String>,
    /// The policy's action in the state now.
    pub action: Option<Action>,
    /// Chance that each action is the best in the state now, given how little the past tells: the share of posterior draws
    /// in which it is.
    pub probability_optimal: Option<Strategy>,
    /// Posterior draws.
    #[schema(minimum = 1, example = 1000)]
    pub draws: u32,
    /// Seed of the draws, at most 2^53 - 1.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub seed: u64,
    /// lambda, the holder's charge for variance, for a week.
    #[schema(example = 0.61)]
    pub risk_aversion: Option<f64>,
    /// What is known of the market states: enough to solve the process again for another holder.
    pub estimates: Option<Estimates>,
    /// The numbers that decided, and a sentence.
    pub explanation: Option<ProcessExplanation>,
}

/// What is known of the nine market states, in weeks. Arrays are by market state, 3 x trend + volatility.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimates {
    /// `[state][next state]`: weeks in which the next state followed.
    pub counts: [[f64; 9]; 9],
    /// Frequencies of the states, the prior of every row.
    pub prior: [f64; 9],
    /// Weight of the prior in weeks.
    #[schema(example = 8.0)]
    pub kappa: f64,
    /// Expected simple return of a week.
    pub mean: [f64; 9],
    /// Its standard error.
    pub mean_error: [f64; 9],
    /// Variance of a week's return.
    pub variance: [f64; 9],
    /// Weeks behind the variance, the prior's included.
    pub variance_observations: [f64; 9],
    /// The market state now.
    #[schema(minimum = 0, maximum = 8)]
    pub current: u8,
    /// Chances of the market states in a week by the network, which has half of the row of the current state once its head
    /// is seated.
    pub next_state: Option<[f64; 9]>,
    /// Simple return of a week that a holder is used to.
    pub long_run_mean: f64,
    /// Volatility of a week that a holder is used to.
    pub long_run_volatility: f64,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcessExplanation {
    /// The same in words.
    pub sentence: String,
    /// Q of each action in the state now.
    pub q_value: ActionValues,
    /// Q of the best action less that of the second best.
    pub gap: f64,
    /// Weeks until the market state is left, on average: 1 / (1 - its chance to stay).
    #[schema(example = 2.4)]
    pub expected_weeks_in_state: f64,
    /// Expected simple return of the coming week for one unit.
    pub premium: f64,
    /// Variance of the coming week's return.
    pub variance: f64,
    /// lambda x variance, the return that would make one unit the best exposure for the week.
    pub required_return: f64,
}

/// A number for each action.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActionValues {
    /// Of selling.
    pub sell: f64,
    /// Of holding.
    pub hold: f64,
    /// Of buying.
    pub buy: f64,
}

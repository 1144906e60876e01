//! The explanation of an action: the numbers that decided it, and one plain sentence that says what kind of "sell" it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::opinion::ranking::{EliminationKind, Strategy};
use crate::opinion::signal::{Action, Attribution};

/// What decided an action. Returns, volatilities and payoffs are over the horizon, **not annualized**, and averaged over
/// the belief in the models. In the ledger with every entry; in answers with `explain=true`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The reason in words, with its numbers.
    #[schema(
        example = "Hold: the exposure is near its best and a change would not earn its cost: volatility over the \
                        horizon is 12.5 % against 11.5 % in the long run."
    )]
    pub sentence: String,
    /// What drives the action.
    pub reason: ActionReason,
    /// Expected simple return, averaged over the belief in the models; the signal's own is that of the ensemble.
    #[schema(example = 0.0033)]
    pub expected_return: f64,
    /// Volatility: root of the averaged variance.
    #[schema(example = 0.1248)]
    pub volatility: f64,
    /// The usual premium for one unit, mu0.
    #[schema(example = 0.0033)]
    pub long_run_return: f64,
    /// The usual volatility.
    #[schema(example = 0.1155)]
    pub long_run_volatility: f64,
    /// lambda: one unit held at long-run conditions reveals `long_run_return / long_run_volatility^2`.
    #[schema(example = 0.2474)]
    pub risk_aversion: f64,
    /// Units held now.
    #[schema(example = 1)]
    pub exposure: i32,
    /// The exposure that would be best without range and cost: `expected_return / required_return`.
    #[schema(example = 0.8568)]
    pub optimal_exposure: f64,
    /// The return that would make one unit the best exposure: `risk_aversion volatility^2`.
    #[schema(example = 0.003_853)]
    pub required_return: f64,
    /// Value of the action less that of holding.
    #[schema(example = 0.0)]
    pub gain_over_hold: f64,
    /// Share of the remaining columns in which an action must be best to be served without dominance.
    #[schema(minimum = 0, maximum = 1, example = 0.6)]
    pub threshold: f64,
    /// Columns of the game: one for each distinct model and action of the crowd.
    #[schema(minimum = 1, example = 6)]
    pub columns: u32,
    /// Columns that are left when nobody plays what is dominated.
    #[schema(minimum = 1, example = 2)]
    pub remaining_columns: u32,
    /// Cost of trading one unit, as a fraction.
    #[schema(minimum = 0, example = 0.0005)]
    pub cost: f64,
    /// What trading with the crowd adds to the cost, in units of volatility.
    #[schema(minimum = 0, example = 0.01)]
    pub impact: f64,
    /// Value traded on a usual day, in the currency of the price; cost and impact follow from it.
    #[schema(minimum = 0, example = 1_250_000_000.0)]
    pub dollar_volume: Option<f64>,
    /// Belief in each model, 0..1, by its name; models that say the same are joined by `+`.
    #[schema(example = json!({"harx2": 0.5, "network.1": 0.5}))]
    pub belief: BTreeMap<String, f64>,
    /// The actions that left the game, in the order in which they left.
    pub eliminations: Vec<EliminatedAction>,
    /// What each group of factors adds to the annualized volatility.
    pub factor_groups: Option<Attribution>,
}

/// What drives an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionReason {
    /// Sell: the gain expected is still positive, but volatility has risen beyond what it pays for.
    RiskNoLongerPaid,
    /// Sell: the gain expected is positive but smaller than the usual premium, and that weighs more than volatility.
    PremiumTooSmall,
    /// Sell: the price is expected to fall.
    FallExpected,
    /// Buy: volatility is so low that the usual gain pays for more exposure.
    RiskWellPaid,
    /// Buy: volatility is low, and more gain than usual is expected; the first weighs more.
    RiskWellPaidAndPremiumLarge,
    /// Buy: more gain than usual is expected, and that weighs more than volatility.
    PremiumLarge,
    /// Buy: a short position is no longer paid for its risk.
    ShortNoLongerPaid,
    /// Hold: the exposure is within half a unit of its best.
    NearOptimum,
    /// Hold: another exposure would be better, but the change would not earn its cost.
    ChangeTooDear,
    /// Hold: no action is best often enough.
    Undecided,
}

/// One action leaving the game.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EliminatedAction {
    /// The action that leaves.
    pub action: Action,
    /// How it was beaten.
    pub kind: EliminationKind,
    /// Round of the elimination; 0 for actions out of range, then 1, 2.
    pub round: u32,
    /// The action or mixture that is better; `null` for actions out of range.
    pub by: Option<Strategy>,
}

/// What a forecast rests on. Volatilities are annualized, the return is over the horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ForecastExplanation {
    /// The forecast in words, with its numbers.
    #[schema(
        example = "Volatility is expected to be 46.7 % a year, by harx2, against 48.2 % in the long run; the expected \
                        return of 0.3 % is by equity_premium."
    )]
    pub sentence: String,
    /// Simple return that is expected without skill: `max(beta, .25)` times the equity premium.
    #[schema(example = 0.0033)]
    pub usual_return: f64,
    /// What the benchmark forecasts.
    #[schema(example = 0.4666)]
    pub benchmark_volatility: f64,
    /// The long-run level.
    #[schema(example = 0.4823)]
    pub long_run_volatility: f64,
    /// Whether the universe fills in for a young instrument.
    pub borrowed: bool,
    /// Whether intervals were widened or narrowed by past errors; else they are those of the normal law.
    pub intervals_calibrated: bool,
}

/// What the ranks rest on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RanksExplanation {
    /// The ranks in words.
    pub sentence: String,
    /// Ranked instruments.
    #[schema(example = 130)]
    pub instruments: u32,
    /// Joint draws behind the chances.
    #[schema(example = 20_000)]
    pub scenarios: u32,
    /// Weight of the network's tilt, 0..=.25; without one the chances are symmetric.
    #[schema(minimum = 0, maximum = 0.25, example = 0.0)]
    pub tilt_weight: f64,
}

/// The verdicts counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PredictabilityExplanation {
    /// The verdicts in words.
    #[schema(example = "Of six questions none is shown to be predictable: for 4 there is too little data.")]
    pub sentence: String,
    /// Heads that are, such as `short_term.rank`.
    pub predictable: Vec<String>,
    /// Heads for which it was not shown, with data enough.
    pub not_predictable: Vec<String>,
    /// Heads for which there is too little data.
    pub insufficient_data: Vec<String>,
}

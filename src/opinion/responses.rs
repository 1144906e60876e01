//! The responses: the models ranked by what acting on them earned, and the reward model learned from such comparisons.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::opinion::envelope::Envelope;
use crate::opinion::ranking::ModelStrength;

/// Answer of `GET /responses`, without `ledger` and `stale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Responses {
    /// What every opinion carries; `symbol` is `null` with the reason `whole_universe`.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The models, strongest first; without strengths by the share of points, a tie being half a point.
    pub models: Option<Vec<ModelStrength>>,
    /// The games behind them.
    pub games: Option<ContestGames>,
    /// nu of Davidson's model: between equals a tie has the chance nu / (2 + nu).
    #[schema(minimum = 0, example = 5.2)]
    pub tie_parameter: Option<f64>,
    /// Whether the games connect every model with every other, which strengths need.
    pub connected: Option<bool>,
    /// What a model of rewards learned from comparisons of actions.
    pub reward_model: Option<RewardModelRecord>,
    /// The numbers that decided.
    pub explanation: ResponsesExplanation,
}

/// The games between the models: one for each pair and calendar quarter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContestGames {
    /// Games played.
    #[schema(minimum = 0)]
    pub count: u32,
    /// Quarter of the first game.
    #[schema(pattern = "^[0-9]{4}-Q[1-4]$", example = "2016-Q1")]
    pub first_quarter: Option<String>,
    /// Quarter of the last game.
    #[schema(pattern = "^[0-9]{4}-Q[1-4]$", example = "2024-Q2")]
    pub last_quarter: Option<String>,
    /// A two-sided p-value below it is a win, anything else a tie.
    #[schema(example = 0.1)]
    pub level: f64,
    /// The paired test of a quarter's days.
    #[schema(example = "diebold_mariano_hln_windows")]
    pub test: String,
}

/// What the reward model learned, and whether it beats a constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RewardModelRecord {
    /// Whose rewards are served.
    pub source: RewardSource,
    /// Share of comparisons that the network foresaw, walk-forward, 0..1; ties count half.
    #[schema(minimum = 0, maximum = 1)]
    pub accuracy: Option<f64>,
    /// Share that rewards without a state foresaw.
    #[schema(minimum = 0, maximum = 1)]
    pub constant_accuracy: Option<f64>,
    /// Mean of -ln sigmoid(r_chosen - r_rejected), walk-forward.
    #[schema(minimum = 0)]
    pub log_loss: Option<f64>,
    /// The same of rewards without a state.
    #[schema(minimum = 0)]
    pub constant_log_loss: Option<f64>,
    /// Chance of so large a gain in log loss without skill.
    #[schema(minimum = 0, maximum = 1)]
    pub p_value: Option<f64>,
    /// Comparisons learned from.
    #[schema(minimum = 0)]
    pub comparisons: u32,
    /// Rewards by market state.
    pub table: Vec<StateRewards>,
}

/// Who gives the rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardSource {
    /// The network, which foresees comparisons better than a constant.
    Network,
    /// The same rewards in every state.
    Constant,
}

/// The rewards of the three actions in one market state; their mean is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StateRewards {
    /// 3 x trend tercile + volatility tercile.
    #[schema(minimum = 0, maximum = 8)]
    pub state: u8,
    /// The tercile of the trend: `falling`, `level`, `rising`.
    #[schema(example = "falling")]
    pub trend: String,
    /// The tercile of the volatility: `calm`, `usual`, `turbulent`.
    #[schema(example = "turbulent")]
    pub volatility: String,
    /// Reward of selling.
    pub sell: f64,
    /// Reward of holding.
    pub hold: f64,
    /// Reward of buying.
    pub buy: f64,
}

/// What the order of the models rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResponsesExplanation {
    /// One plain sentence.
    pub sentence: String,
    /// Games that one side won.
    #[schema(minimum = 0)]
    pub decided_games: u32,
    /// Games in which the difference can be chance.
    #[schema(minimum = 0)]
    pub tied_games: u32,
    /// Decision days that one horizon overlaps.
    #[schema(minimum = 1)]
    pub overlap: Option<u32>,
    /// Common days below which a game is a tie.
    #[schema(minimum = 0)]
    pub days_minimum: Option<u32>,
    /// The strongest model.
    pub strongest: Option<String>,
    /// Its log strength less that of the next.
    #[schema(minimum = 0)]
    pub lead: Option<f64>,
    /// Models that the games make comparable with one another.
    pub components: Vec<Vec<String>>,
}

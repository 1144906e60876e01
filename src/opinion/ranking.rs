//! The ranking: every action of the game by its value, with the payoffs it was read from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::opinion::envelope::{Envelope, Interval};
use crate::opinion::explanation::Explanation;
use crate::opinion::responses::RewardSource;
use crate::opinion::signal::{Action, Holder};

/// Answer of `GET /ranking/{symbol}`, without `ledger` and `stale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ranking {
    /// What every opinion carries.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// For whom the game was played.
    pub holder: Holder,
    /// The actions, best first.
    pub actions: Option<Vec<RankedAction>>,
    /// The game itself.
    pub payoffs: Option<Payoffs>,
    /// What the crowd is believed to do.
    pub equilibrium: Option<Equilibrium>,
    /// All Nash equilibria of the symmetric game that the belief in the models averages, smallest supports first.
    // Entries of the first versions lack this and the following fields, and are still read.
    #[serde(default)]
    pub nash: Option<Vec<NashEquilibrium>>,
    /// What the policy of the reward model is made of.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// The models, strongest first.
    pub responses: Option<Vec<ModelStrength>>,
    /// The numbers that decided the served action, and one plain sentence.
    #[serde(default)]
    pub explanation: Option<Explanation>,
}

/// One action and what it is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RankedAction {
    /// Place, from 1.
    #[schema(minimum = 1)]
    pub rank: u32,
    /// The action.
    pub action: Action,
    /// Expected payoff over the horizon under the belief, as a fraction of one unit held.
    #[schema(example = 0.0021)]
    pub value: f64,
    /// Range of the payoff over the models, at the crowd that is believed.
    pub interval: Option<PayoffInterval>,
    /// Share of the remaining columns in which the action is a best response, 0..1.
    #[schema(minimum = 0, maximum = 1)]
    pub best_response_share: Option<f64>,
    /// How the action dropped out; `null` where it did not.
    pub eliminated_by: Option<Elimination>,
    /// What the reward model gives the action.
    pub reward: Option<f64>,
    /// What the policy would do, 0..1.
    #[schema(minimum = 0, maximum = 1)]
    pub policy_probability: Option<f64>,
    /// What the action may miss.
    #[serde(default)]
    pub regret: Option<Regret>,
}

/// What is missed by an action when another would have been better in the column that comes true; over the horizon, as
/// fractions of one unit held.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Regret {
    /// Averaged over all columns under the belief.
    #[schema(minimum = 0, example = 0.0004)]
    pub expected: f64,
    /// In the worst column.
    #[schema(minimum = 0, example = 0.0011)]
    pub largest: f64,
}

/// The lowest and the highest payoff that the models give an action.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PayoffInterval {
    /// Lowest payoff.
    pub low: f64,
    /// Highest payoff.
    pub high: f64,
}

/// Why an action dropped out of the game.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Elimination {
    /// How it was beaten.
    pub kind: EliminationKind,
    /// Round of the elimination; 0 for actions out of range, then 1, 2.
    pub round: u32,
    /// The action or mixture that is better; `null` for actions out of range.
    pub by: Option<Strategy>,
}

/// How an action leaves the game.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EliminationKind {
    /// The holder's range leaves no room for it.
    OutOfRange,
    /// Another action is better in every column.
    Strict,
    /// Another action is nowhere worse and somewhere better.
    Weak,
    /// A mixture of the other two actions is better in every column.
    Mixture,
}

/// A probability for each action; they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Strategy {
    /// Probability of selling.
    #[schema(minimum = 0, maximum = 1)]
    pub sell: f64,
    /// Probability of holding.
    #[schema(minimum = 0, maximum = 1)]
    pub hold: f64,
    /// Probability of buying.
    #[schema(minimum = 0, maximum = 1)]
    pub buy: f64,
}

/// The payoff matrix: `values[row][column]`, payoffs over the horizon as fractions of one unit held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Payoffs {
    /// Label of each row.
    pub rows: Vec<Action>,
    /// Label of each column.
    pub columns: Vec<Column>,
    /// One row an action, one number a column.
    pub values: Vec<Vec<f64>>,
}

/// A column of the game: the world as one model sees it while the crowd does one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Column {
    /// Name of the model.
    #[schema(example = "harx2")]
    pub model: String,
    /// What the crowd does.
    pub crowd: Action,
    /// Belief in the column, 0..1; the columns sum to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub belief: Option<f64>,
}

/// The belief about the crowd: a symmetric logit quantal response equilibrium (McKelvey and Palfrey 1995).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Equilibrium {
    /// `logit_quantal_response`.
    #[schema(example = "logit_quantal_response")]
    pub concept: String,
    /// Precision of the responses; 0 is coin tossing.
    #[schema(example = 5.0)]
    pub precision: f64,
    /// What the crowd does.
    pub strategy: Strategy,
    /// Probability of buying less that of selling, -1..1.
    #[serde(default)]
    #[schema(minimum = -1, maximum = 1, example = -0.04)]
    pub net_demand: Option<f64>,
    /// How far the net demand is from the best reply to itself; below 1e-10.
    #[serde(default)]
    #[schema(minimum = 0, example = 0.0)]
    pub residual: Option<f64>,
}

/// One equilibrium of the holder against the crowd: neither gains by playing otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NashEquilibrium {
    /// What the holder plays.
    pub holder: Strategy,
    /// What the crowd plays.
    pub crowd: Strategy,
    /// Whether both play the same.
    pub symmetric: bool,
}

/// The policy that the reward model asks for: the reference times `exp(reward / beta)`, normalized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// Who gives the rewards.
    pub source: RewardSource,
    /// How much reward outweighs the reference: the smaller, the more.
    #[schema(example = 1.0)]
    pub beta: f64,
    /// The policy without rewards.
    pub reference: Strategy,
    /// The state of the market that was rewarded: 3 x trend tercile + volatility tercile.
    #[schema(minimum = 0, maximum = 8, example = 4)]
    pub state: u32,
}

/// How strong a model is against the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelStrength {
    /// Place, from 1.
    #[schema(minimum = 1)]
    pub rank: u32,
    /// Name of the model.
    pub model: String,
    /// Bradley-Terry strength, log scale, mean 0.
    pub strength: Option<f64>,
    /// Interval of the strength.
    pub interval: Option<Interval>,
    /// Games won.
    pub wins: u32,
    /// Games lost.
    pub losses: u32,
    /// Games tied.
    pub ties: u32,
}

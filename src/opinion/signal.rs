//! The signal: which action the game recommends for one instrument, and what it rests on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::decision::action::Action as Move;
use crate::decision::holder::HolderType as PlayerType;
use crate::market::bar::Day;
use crate::opinion::envelope::{Envelope, Interval};
use crate::opinion::explanation::Explanation;
use crate::opinion::rating::Grades;

/// Answer of `GET /signal/{symbol}`, without `ledger` and `stale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Signal {
    /// What every opinion carries.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The recommended action.
    pub action: Option<Action>,
    /// The strongest order by which the action stands out; `none` is served as `hold`.
    pub basis: Option<Basis>,
    /// Share of the remaining columns of the game in which the action is a best response, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 1.0)]
    pub dominance_share: Option<f64>,
    /// Bootstrap confidence that the action paid better at matured days, 0..1; it never changes the action.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: Option<f64>,
    /// For whom the game was played.
    pub holder: Holder,
    /// Probability that the price rises over the horizon, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 0.56)]
    pub probability_up: Option<f64>,
    /// Expected simple return over the horizon.
    #[schema(example = 0.0033)]
    pub expected_return: Option<f64>,
    /// Interval of the simple return over the horizon.
    pub interval: Option<Interval>,
    /// The same in prices.
    pub price: Option<Price>,
    /// Volatility, annualized.
    pub volatility: Option<Volatility>,
    /// Whether anything is predictable, by term and head; `GET /predictability/{symbol}` has the numbers.
    pub predictability: Option<Verdicts>,
    /// The grades of the rating.
    pub rating: Grades,
    /// What moved the volatility away from its base.
    pub attribution: Option<Attribution>,
    /// The same for every other number that the network decides here: `probability_up`, `expected_return`, and the `tilt`
    /// of the ranks, which is what it adds to the chance of the best fifth. Empty where benchmarks hold those seats.
    // Entries of the first version lack the field and are still read.
    #[serde(default)]
    pub other_attributions: Vec<Attribution>,
    /// Day of the publication since which the action has been the same.
    #[schema(value_type = Option<String>, format = Date, example = "2024-08-12")]
    pub changed_on: Option<Day>,
    /// The action before that day.
    pub previous: Option<Action>,
    /// The numbers that decided the action, and one plain sentence.
    // Entries of the first versions lack the field and are still read.
    #[serde(default)]
    pub explanation: Option<Explanation>,
}

/// What a holder can do; each moves the exposure by -1, 0 or +1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// One unit less.
    Sell,
    /// No change.
    Hold,
    /// One unit more.
    Buy,
}

impl From<Move> for Action {
    fn from(action: Move) -> Self {
        match action {
            Move::Sell => Self::Sell,
            Move::Hold => Self::Hold,
            Move::Buy => Self::Buy,
        }
    }
}

/// The order by which an action beats the others, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Better in every column.
    Strict,
    /// Nowhere worse, somewhere better.
    Weak,
    /// What remains after dominated actions, mixtures included, are removed in turn.
    Iterated,
    /// Best in a large enough share of the remaining columns under the belief.
    BestResponse,
    /// None of these.
    None,
}

/// For whom the game is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// The range of exposures open to the holder.
    #[serde(rename = "type")]
    pub kind: HolderType,
    /// Units held now.
    #[schema(example = 1)]
    pub exposure: i32,
}

/// Kinds of holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HolderType {
    /// Exposure 0, 1 or 2.
    Holder,
    /// Exposure -1, 0 or 1.
    LongShort,
}

impl Holder {
    /// A holder of that type at its usual exposure.
    #[must_use]
    pub fn usual(player: PlayerType) -> Self {
        let kind = match player {
            PlayerType::Holder => HolderType::Holder,
            PlayerType::LongShort => HolderType::LongShort,
        };
        Self { kind, exposure: i32::from(player.default_exposure()) }
    }
}

impl From<HolderType> for PlayerType {
    fn from(kind: HolderType) -> Self {
        match kind {
            HolderType::Holder => Self::Holder,
            HolderType::LongShort => Self::LongShort,
        }
    }
}

/// Prices at the end of the horizon, in `currency`, on today's share basis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Price {
    /// Last known close.
    #[schema(example = 106.12)]
    pub last: f64,
    /// Median of the distribution.
    #[schema(example = 105.8)]
    pub median: f64,
    /// Lower end of the signal's interval.
    #[schema(example = 86.8)]
    pub low: f64,
    /// Upper end of the signal's interval.
    #[schema(example = 129.4)]
    pub high: f64,
    /// ISO 4217 code.
    #[schema(example = "USD")]
    pub currency: String,
}

/// Volatilities of the log return, annualized with 252 sessions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Volatility {
    /// Forecast over the horizon.
    #[schema(example = 0.443)]
    pub forecast: Option<f64>,
    /// Long-run level.
    #[schema(example = 0.41)]
    pub long_run: Option<f64>,
}

/// Verdicts of both terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verdicts {
    /// Four weeks.
    pub short_term: Option<TermVerdicts>,
    /// A year.
    pub long_term: Option<TermVerdicts>,
}

/// Verdict by head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TermVerdicts {
    /// The sign of the return.
    pub direction: Verdict,
    /// Its size.
    pub volatility: Verdict,
    /// Its rank in the universe.
    pub rank: Verdict,
}

/// Whether a model beat its benchmark out of sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did.
    Predictable,
    /// There was enough data to see it, and it did not.
    NotPredictable,
    /// There was not enough data to say.
    InsufficientData,
}

/// Exact Shapley shares of the four factors: `base` plus the values is the explained number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attribution {
    /// The explained number.
    #[schema(example = "volatility")]
    pub of: String,
    /// Its value with every factor at its mean.
    pub base: f64,
    /// What each factor adds.
    pub factors: Vec<FactorShare>,
}

/// The share of one factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FactorShare {
    /// `market`, `momentum`, `fundamentals` or `risk`.
    #[schema(example = "risk")]
    pub factor: String,
    /// What it adds, in the unit of the explained number.
    pub value: f64,
}

//! The reward model: how much better an action is than another in a market state, learned from comparisons.
//!
//! For a state f and an action a the model has a reward r(f, a) with mean 0 over the three actions; the action w beats l
//! with probability sigmoid(r(f, w) - r(f, l)). It minimizes `-ln sigmoid(r_w - r_l)` over pairs (Ouyang et al. 2022,
//! eq. 1), a tie counting as half a win each way: where there are ties, the difference of two rewards is the log odds of
//! the expected points, half a point for a tie.
//!
//! The network, one hidden layer, is a correction of a benchmark that does not look at the state. Year by year both are
//! fitted on what was known before the year and judged on it; the network is served only if that record shows a gain.

use burn::tensor::TensorReadError;
use serde::{Deserialize, Serialize};

use crate::decision::action::{Action, PerAction};
use crate::learning::reward_record::{RewardRecord, walk_forward};
use crate::learning::reward_tally::{Tally, sigmoid};
use crate::learning::reward_training::{constant_table, fit_network};
use crate::learning::task::{HORIZONS, STATES};
use crate::learning::threads::ThreadError;
use crate::market::horizon::Horizon;

/// One comparison of two actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardPair {
    /// Market state, 0..9: 3 x trend tercile + volatility tercile.
    pub state: u8,
    /// How long the payoffs ran.
    pub horizon: Horizon,
    /// The action that paid more; of a tie either.
    pub better: Action,
    /// The other action. A pair of an action with itself says nothing about rewards and is passed over.
    pub worse: Action,
    /// Whether neither was better.
    pub tie: bool,
    /// Calendar quarter of the decisions, `4 x year + 0..=3`: see [`quarter_ordinal`].
    pub quarter: i32,
    /// First quarter at whose beginning the outcome was known, as an ordinal; later than `quarter`.
    pub known_from: i32,
}

/// Hyperparameters of the reward model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RewardSettings {
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Steps over all pairs.
    pub epochs: usize,
    /// Step size of AdamW (Loshchilov and Hutter 2019) at the start; it falls along a half cosine.
    pub learning_rate: f64,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Quarters whose comparisons weigh as much as the wish for no correction: with `q` quarters known, the correction
    /// of a state is about `q / (q + prior_quarters)` of what the comparisons alone say.
    pub prior_quarters: f64,
    /// Seed of the first weights.
    pub seed: u64,
    /// Yearly fits at once.
    pub threads: usize,
}

/// Rewards of all states, horizons and actions: since states are few, the table is the whole model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RewardTable {
    /// In the order of [`Horizon::ALL`], by state; `None` for a horizon without comparisons.
    rewards: [Option<[PerAction<f64>; STATES]>; HORIZONS],
}

/// Whose rewards are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardSource {
    /// The network's, which look at the state.
    Network,
    /// The benchmark's: by horizon and action alone.
    Constant,
}

/// The reward model with the record that chose it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardModel {
    /// The rewards that are served.
    pub table: RewardTable,
    /// The benchmark's rewards, the same in all states.
    pub constant: RewardTable,
    /// How both did year by year, out of sample.
    pub record: RewardRecord,
    /// Whose rewards [`RewardModel::table`] holds.
    pub source: RewardSource,
}

/// Why there is no reward model.
#[derive(Debug, thiserror::Error)]
pub enum RewardError {
    /// A pair's state is not one of the nine.
    #[error("state {state} is not below 9")]
    State {
        /// The state.
        state: u8,
    },
    /// A pair would have been known before its quarter was over.
    #[error("a comparison of quarter {quarter} cannot be known at the beginning of quarter {known_from}")]
    KnownTooEarly {
        /// Quarter of the decisions.
        quarter: i32,
        /// Quarter at whose beginning it was said to be known.
        known_from: i32,
    },
    /// A hyperparameter is out of its range.
    #[error("reward setting {0} is out of range")]
    Setting(&'static str),
    /// The descent left the finite numbers.
    #[error("rewards are not finite; the learning rate is too high")]
    NotFinite,
    /// Threads did not work.
    #[error(transparent)]
    Threads(#[from] ThreadError),
    /// The device did not answer.
    #[error("the device could not be read: {0}")]
    Device(#[from] TensorReadError),
}

/// `4 x year + quarter - 1` of a calendar year and its quarter 1..=4, so that quarters can be counted.
#[must_use]
pub fn quarter_ordinal(year: i32, quarter: u32) -> i32 {
    4 * year + quarter as i32 - 1
}

/// Fits the benchmark and, if the walk-forward record says so, the network on all pairs.
///
/// The same pairs, in whatever order, and the same settings give the same bytes. Without pairs the tables are empty and
/// the benchmark is served.
///
/// # Errors
/// [`RewardError`].
pub fn train_reward(pairs: &[RewardPair], settings: &RewardSettings) -> Result<RewardModel, RewardError> {
    settings.check()?;
    pairs.iter().try_for_each(RewardPair::check)?;
    let record = walk_forward(pairs, settings)?;
    let tally = Tally::of(pairs);
    let constant = constant_table(&tally);
    let (table, source) = match record.serves_network {
        true => (fit_network(&tally, &constant, settings)?, RewardSource::Network),
        false => (constant.clone(), RewardSource::Constant),
    };
    Ok(RewardModel { table, constant, record, source })
}

impl RewardTable {
    /// One row of rewards for each state of each horizon; `None` for a horizon without comparisons.
    pub(crate) fn from_fn(mut rewards: impl FnMut(usize) -> Option<[PerAction<f64>; STATES]>) -> Self {
        Self { rewards: std::array::from_fn(&mut rewards) }
    }

    /// Rewards of the three actions in a state, with mean 0; `None` for a horizon without comparisons or a state that
    /// is not below 9.
    #[must_use]
    pub fn rewards(&self, state: u8, horizon: Horizon) -> Option<&PerAction<f64>> {
        self.rewards[horizon.index()].as_ref()?.get(usize::from(state))
    }

    /// Probability that `first` pays more than `second`, `sigmoid(r_first - r_second)`; `None` as in
    /// [`RewardTable::rewards`].
    #[must_use]
    pub fn probability_better(&self, state: u8, horizon: Horizon, first: Action, second: Action) -> Option<f64> {
        let rewards = self.rewards(state, horizon)?;
        Some(sigmoid(rewards[first] - rewards[second]))
    }

    /// Whether every reward is a number.
    pub(crate) fn is_finite(&self) -> bool {
        let all = self.rewards.iter().flatten().flatten();
        all.flat_map(|rewards| Action::ALL.map(|action| rewards[action])).all(f64::is_finite)
    }
}

impl RewardPair {
    fn check(&self) -> Result<(), RewardError> {
        let Self { state, quarter, known_from, .. } = *self;
        match usize::from(state) < STATES {
            false => Err(RewardError::State { state }),
            true if known_from <= quarter => Err(RewardError::KnownTooEarly { quarter, known_from }),
            true => Ok(()),
        }
    }
}

impl Default for RewardSettings {
    fn default() -> Self {
        Self {
            hidden: 16,
            epochs: 400,
            learning_rate: 0.05,
            weight_decay: 1e-2,
            prior_quarters: 8.0,
            seed: 0,
            threads: 1,
        }
    }
}

impl RewardSettings {
    fn check(&self) -> Result<(), RewardError> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let rules = [
            ("hidden", self.hidden > 0),
            ("epochs", self.epochs > 0),
            ("learning_rate", positive(self.learning_rate)),
            ("weight_decay", self.weight_decay.is_finite() && self.weight_decay >= 0.0),
            ("prior_quarters", positive(self.prior_quarters)),
        ];
        rules.into_iter().find(|(_, holds)| !holds).map_or(Ok(()), |(name, _)| Err(RewardError::Setting(name)))
    }
}

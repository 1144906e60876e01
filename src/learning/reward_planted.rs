//! Simulated comparisons for tests: rewards that are known.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::decision::action::{Action, PerAction};
use crate::learning::reward::{RewardPair, quarter_ordinal};
use crate::learning::reward_tally::DUELS;
use crate::learning::task::STATES;
use crate::market::horizon::Horizon;

/// First year of simulated comparisons.
pub(crate) const FIRST_YEAR: i32 = 2012;

/// How comparisons come about: `first` beats `second` with probability sigmoid(r_first - r_second), where r is the truth
/// plus a normal shock of each quarter and action, common to all states, and one of each quarter, state and action.
#[derive(Clone, Copy)]
pub(crate) struct Planted {
    pub(crate) quarters: usize,
    pub(crate) per_quarter: usize,
    pub(crate) horizons: &'static [Horizon],
    /// The true rewards of a state.
    pub(crate) truth: fn(usize) -> PerAction<f64>,
    /// Standard deviation of the shocks that all states share.
    pub(crate) market_shock: f64,
    /// Standard deviation of the shocks of single states.
    pub(crate) state_shock: f64,
    /// Share of ties.
    pub(crate) ties: f64,
}

impl Planted {
    /// Thirteen years of two horizons with shocks and ties.
    pub(crate) fn usual(truth: fn(usize) -> PerAction<f64>) -> Self {
        let horizons = &[Horizon::OneWeek, Horizon::FourWeeks];
        Self { quarters: 52, per_quarter: 540, horizons, truth, market_shock: 0.5, state_shock: 0.25, ties: 0.2 }
    }

    /// Comparisons in the order of their quarters, each known one quarter later.
    pub(crate) fn pairs(&self, seed: u64) -> Vec<RewardPair> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let first = quarter_ordinal(FIRST_YEAR, 1);
        (first..first + self.quarters as i32).flat_map(|quarter| self.quarter(quarter, &mut random)).collect()
    }

    fn quarter(&self, quarter: i32, random: &mut ChaCha8Rng) -> Vec<RewardPair> {
        let market = shock(self.market_shock, random);
        let rewards: [PerAction<f64>; STATES] = std::array::from_fn(|state| {
            let (truth, own) = ((self.truth)(state), shock(self.state_shock, random));
            PerAction::from_fn(|action| truth[action] + market[action] + own[action])
        });
        (0..self.per_quarter).map(|_| self.pair(quarter, &rewards, random)).collect()
    }

    fn pair(&self, quarter: i32, rewards: &[PerAction<f64>; STATES], random: &mut ChaCha8Rng) -> RewardPair {
        let state = random.random_range(0..STATES);
        let horizon = self.horizons[random.random_range(0..self.horizons.len())];
        let [first, second] = DUELS[random.random_range(0..DUELS.len())];
        let difference: f64 = rewards[state][first] - rewards[state][second];
        let first_wins = random.random_bool(1.0 / (1.0 + (-difference).exp()));
        let (better, worse) = if first_wins { (first, second) } else { (second, first) };
        let tie = random.random_bool(self.ties);
        RewardPair { state: state as u8, horizon, better, worse, tie, quarter, known_from: quarter + 1 }
    }
}

/// The same rewards in all states: buying is best.
pub(crate) fn without_state(_: usize) -> PerAction<f64> {
    PerAction { sell: -0.4, hold: 0.1, buy: 0.3 }
}

/// Buying is best in calm and rising markets, selling in turbulent and falling ones.
pub(crate) fn by_state(state: usize) -> PerAction<f64> {
    let tilt = 0.3 * ((state / 3) as f64 - (state % 3) as f64);
    PerAction { sell: -tilt - 0.1, hold: 0.1, buy: tilt }
}

fn shock(scale: f64, random: &mut ChaCha8Rng) -> PerAction<f64> {
    PerAction::from_fn(|_: Action| {
        let normal: f64 = StandardNormal.sample(random);
        scale * normal
    })
}

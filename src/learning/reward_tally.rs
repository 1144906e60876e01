//! Comparisons counted by horizon, state and pair of actions: all that a reward model learns from, and its loss.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::decision::action::{Action, PerAction};
use crate::learning::reward::RewardPair;
use crate::learning::task::{HORIZONS, STATES};

/// Pairs of a horizon and a state, horizon by horizon.
pub(crate) const CELLS: usize = HORIZONS * STATES;

/// The three pairs of different actions.
pub(crate) const DUELS: [[Action; 2]; 3] =
    [[Action::Sell, Action::Hold], [Action::Sell, Action::Buy], [Action::Hold, Action::Buy]];

/// How duels ended in one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Outcomes {
    /// The first action was better.
    pub(crate) first: u64,
    /// The second action was better.
    pub(crate) second: u64,
    /// Neither.
    pub(crate) ties: u64,
}

/// Comparisons as counts, whatever their order was. Pairs of an action with itself say nothing about rewards and are
/// not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    cells: [[Outcomes; 3]; CELLS],
    quarters: usize,
}

/// Position of a horizon and a state among the cells.
pub(crate) fn cell(horizon: usize, state: usize) -> usize {
    horizon * STATES + state
}

/// `-ln sigmoid(difference)`, the loss of a win whose reward is greater by `difference` (Ouyang et al. 2022, eq. 1),
/// without overflow: `max(-d, 0) + ln(1 + exp(-|d|))`.
pub(crate) fn win_loss(difference: f64) -> f64 {
    (-difference).max(0.0) + (-difference.abs()).exp().ln_1p()
}

/// `1 / (1 + exp(-x))`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Outcomes {
    /// Comparisons.
    pub(crate) fn count(self) -> u64 {
        self.first + self.second + self.ties
    }

    /// Wins of the first action, ties as half wins.
    fn first_wins(self) -> f64 {
        self.first as f64 + self.ties as f64 / 2.0
    }

    /// Wins of the second action, ties as half wins.
    fn second_wins(self) -> f64 {
        self.second as f64 + self.ties as f64 / 2.0
    }

    /// Sum of [`win_loss`] when the first action's reward is greater by `difference`.
    pub(crate) fn loss(self, difference: f64) -> f64 {
        self.first_wins() * win_loss(difference) + self.second_wins() * win_loss(-difference)
    }

    /// Slope of that sum in `difference`.
    pub(crate) fn slope(self, difference: f64) -> f64 {
        self.count() as f64 * sigmoid(difference) - self.first_wins()
    }

    /// Second derivative of that sum in `difference`.
    pub(crate) fn curvature(self, difference: f64) -> f64 {
        self.count() as f64 * sigmoid(difference) * sigmoid(-difference)
    }

    /// Duels that were not ties whose winner has the greater reward; equal rewards count half.
    pub(crate) fn hits(self, difference: f64) -> f64 {
        match difference.partial_cmp(&0.0) {
            Some(Ordering::Greater) => self.first as f64,
            Some(Ordering::Less) => self.second as f64,
            _ => (self.first + self.second) as f64 / 2.0,
        }
    }

    fn add(&mut self, other: Self) {
        self.first += other.first;
        self.second += other.second;
        self.ties += other.ties;
    }
}

impl Tally {
    /// Counts pairs. Their states must be below [`STATES`].
    pub(crate) fn of<'a>(pairs: impl IntoIterator<Item = &'a RewardPair>) -> Self {
        let mut cells = [[Outcomes::default(); 3]; CELLS];
        let mut quarters = BTreeSet::new();
        for pair in pairs {
            let fought = |duel: &[Action; 2]| duel.contains(&pair.better) && duel.contains(&pair.worse);
            let Some(duel) = DUELS.iter().position(fought).filter(|_| pair.better != pair.worse) else { continue };
            let outcomes = &mut cells[cell(pair.horizon.index(), usize::from(pair.state))][duel];
            match (pair.tie, pair.better == DUELS[duel][0]) {
                (true, _) => outcomes.ties += 1,
                (false, true) => outcomes.first += 1,
                (false, false) => outcomes.second += 1,
            }
            quarters.insert(pair.quarter);
        }
        Self { cells, quarters: quarters.len() }
    }

    /// Different quarters with comparisons.
    pub(crate) fn quarters(&self) -> usize {
        self.quarters
    }

    /// Comparisons.
    pub(crate) fn count(&self) -> u64 {
        self.cells.iter().flatten().map(|outcomes| outcomes.count()).sum()
    }

    /// How the duels of a cell ended, in the order of [`DUELS`].
    pub(crate) fn cell(&self, cell: usize) -> &[Outcomes; 3] {
        &self.cells[cell]
    }

    /// The duels of a horizon in all states together.
    pub(crate) fn over_states(&self, horizon: usize) -> [Outcomes; 3] {
        let mut sum = [Outcomes::default(); 3];
        for outcomes in &self.cells[cell(horizon, 0)..cell(horizon, STATES)] {
            sum.iter_mut().zip(outcomes).for_each(|(sum, outcomes)| sum.add(*outcomes));
        }
        sum
    }

    /// Slope of the mean loss of a comparison in the rewards of one cell.
    pub(crate) fn slopes(&self, cell: usize, rewards: &PerAction<f64>) -> PerAction<f64> {
        let mut slopes = PerAction::default();
        let count = self.count().max(1) as f64;
        for ([first, second], outcomes) in DUELS.into_iter().zip(self.cells[cell]) {
            let slope = outcomes.slope(rewards[first] - rewards[second]) / count;
            slopes[first] += slope;
            slopes[second] -= slope;
        }
        slopes
    }

    /// Mean loss of a comparison; 0 without any.
    ///
    /// # Shapes
    /// `rewards` has one row a cell.
    #[cfg(test)]
    pub(crate) fn mean_loss(&self, rewards: &[PerAction<f64>]) -> f64 {
        let of_cell = |(cell, rewards): (&[Outcomes; 3], &PerAction<f64>)| {
            let of_duel =
                |([first, second], outcomes): ([Action; 2], &Outcomes)| outcomes.loss(rewards[first] - rewards[second]);
            DUELS.into_iter().zip(cell).map(of_duel).sum::<f64>()
        };
        self.cells.iter().zip(rewards).map(of_cell).sum::<f64>() / self.count().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::horizon::Horizon;

    fn pair(better: Action, worse: Action, tie: bool) -> RewardPair {
        RewardPair { state: 4, horizon: Horizon::FourWeeks, better, worse, tie, quarter: 8000, known_from: 8001 }
    }

    #[test]
    fn the_loss_has_the_values_of_the_formula() {
        // -ln(1 / (1 + exp(-1))), worked by hand.
        assert!((win_loss(1.0) - 0.313_261_687_518_222_8).abs() < 1e-15);
        assert!((win_loss(-1.0) - 1.313_261_687_518_222_8).abs() < 1e-15);
        assert!((win_loss(0.0) - 2f64.ln()).abs() < 1e-15);
        assert_eq!((win_loss(-1e4), win_loss(1e4)), (1e4, 0.0));
        assert_eq!((sigmoid(-1e4), sigmoid(1e4), sigmoid(0.0)), (0.0, 1.0, 0.5));
    }

    #[test]
    fn ties_are_half_wins_each_way() {
        let ties = Outcomes { ties: 2, ..Outcomes::default() };
        let wins = Outcomes { first: 1, second: 1, ties: 0 };
        for difference in [-2.0, 0.0, 0.7] {
            assert_eq!(ties.loss(difference), wins.loss(difference));
            assert_eq!(ties.slope(difference), wins.slope(difference));
            assert_eq!(ties.curvature(difference), wins.curvature(difference));
        }
        assert_eq!(ties.slope(0.0), 0.0);
    }

    #[test]
    fn pairs_are_counted_in_their_cells() {
        use Action::{Buy, Hold, Sell};
        let mut pairs = [
            pair(Buy, Sell, false),
            pair(Buy, Sell, false),
            pair(Sell, Buy, false),
            pair(Sell, Buy, true),
            pair(Hold, Hold, true),
            RewardPair { quarter: 8001, ..pair(Hold, Buy, false) },
        ];
        let tally = Tally::of(&pairs);
        let outcomes = tally.cell(cell(1, 4));
        assert_eq!(outcomes[0], Outcomes::default());
        assert_eq!(outcomes[1], Outcomes { first: 1, second: 2, ties: 1 });
        assert_eq!(outcomes[2], Outcomes { first: 1, second: 0, ties: 0 });
        assert_eq!(tally.over_states(1), *outcomes);
        assert_eq!((tally.count(), tally.quarters()), (5, 2));
        assert_eq!(tally.over_states(0), [Outcomes::default(); 3]);
        pairs.reverse();
        assert_eq!(Tally::of(&pairs), tally);
    }

    #[test]
    fn slopes_are_those_of_the_loss() {
        use Action::{Buy, Hold, Sell};
        let pairs = [pair(Buy, Sell, false), pair(Sell, Hold, false), pair(Hold, Buy, true), pair(Buy, Hold, false)];
        let (tally, here) = (Tally::of(&pairs), cell(1, 4));
        let mut rewards = [PerAction { sell: 0.4, hold: -0.9, buy: 0.2 }; CELLS];
        // (ln(1 + e^0.2) + ln(1 + e^-1.3) + (ln(1 + e^1.1) + ln(1 + e^-1.1)) / 2 + ln(1 + e^-1.1)) / 4
        let expected = (0.798_138_869_381_591_7 + 0.241_008_453_832_992_16 + 0.837_335_325_115_430_9) / 4.0;
        let expected = expected + 0.287_335_325_115_430_75 / 4.0;
        assert!((tally.mean_loss(&rewards) - expected).abs() < 1e-12, "{}", tally.mean_loss(&rewards));
        let slopes = tally.slopes(here, &rewards[here]);
        for action in Action::ALL {
            let start = rewards[here][action];
            let mut moved = |by: f64| {
                rewards[here][action] = start + by;
                tally.mean_loss(&rewards)
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            rewards[here][action] = start;
            assert!((difference - slopes[action]).abs() < 1e-9, "{action}: {difference} {}", slopes[action]);
        }
        assert!((slopes.sell + slopes.hold + slopes.buy).abs() < 1e-15);
        assert_eq!(tally.slopes(0, &rewards[0]), PerAction::default());
    }
}

//! The three actions of a holder, and values given for each of them.

use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// What a holder can do at a decision day. The order is sell, hold, buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// One unit of exposure less.
    Sell,
    /// The exposure stays.
    Hold,
    /// One unit of exposure more.
    Buy,
}

impl Action {
    /// All actions in their order, the order of every per-action array.
    pub const ALL: [Self; 3] = [Self::Sell, Self::Hold, Self::Buy];

    /// Position in [`Action::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Wished change of exposure in units: -1, 0 or +1.
    #[must_use]
    pub fn exposure_change(self) -> i8 {
        match self {
            Self::Sell => -1,
            Self::Hold => 0,
            Self::Buy => 1,
        }
    }

    /// Sell for buy, buy for sell, hold for hold.
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::Sell => Self::Buy,
            Self::Hold => Self::Hold,
            Self::Buy => Self::Sell,
        }
    }

    /// `sell`, `hold` or `buy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["sell", "hold", "buy"][self.index()]
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each action, in JSON an object with the keys `sell`, `hold`, `buy`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PerAction<T> {
    /// The value of selling.
    pub sell: T,
    /// The value of holding.
    pub hold: T,
    /// The value of buying.
    pub buy: T,
}

/// A probability for each action, summing to 1.
pub type MixedStrategy = PerAction<f64>;

impl<T> PerAction<T> {
    /// Asks `value` for each action in order.
    pub fn from_fn(mut value: impl FnMut(Action) -> T) -> Self {
        Self { sell: value(Action::Sell), hold: value(Action::Hold), buy: value(Action::Buy) }
    }

    /// The values of sell and buy exchanged.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self { sell: self.buy, hold: self.hold, buy: self.sell }
    }
}

impl PerAction<f64> {
    /// Sum over the actions of value times weight: the expectation under a mixed strategy.
    #[must_use]
    pub fn weighted_by(&self, weights: &MixedStrategy) -> f64 {
        self.sell * weights.sell + self.hold * weights.hold + self.buy * weights.buy
    }
}

impl<T> Index<Action> for PerAction<T> {
    type Output = T;
    fn index(&self, action: Action) -> &T {
        match action {
            Action::Sell => &self.sell,
            Action::Hold => &self.hold,
            Action::Buy => &self.buy,
        }
    }
}

impl<T> IndexMut<Action> for PerAction<T> {
    fn index_mut(&mut self, action: Action) -> &mut T {
        match action {
            Action::Sell => &mut self.sell,
            Action::Hold => &mut self.hold,
            Action::Buy => &mut self.buy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_ordered_named_and_mirrored() {
        let mut sorted = [Action::Buy, Action::Sell, Action::Hold];
        sorted.sort();
        assert_eq!(sorted, Action::ALL);
        assert_eq!(Action::ALL.map(Action::exposure_change), [-1, 0, 1]);
        assert_eq!(Action::ALL.map(Action::mirrored), [Action::Buy, Action::Hold, Action::Sell]);
        assert_eq!(serde_json::to_string(&Action::ALL).unwrap(), r#"["sell","hold","buy"]"#);
    }

    #[test]
    fn values_are_found_by_their_action() {
        let mut changes = PerAction::from_fn(|action| f64::from(action.exposure_change()));
        assert_eq!(Action::ALL.map(|action| changes[action]), [-1.0, 0.0, 1.0]);
        changes[Action::Hold] = 3.0;
        assert_eq!(changes.mirrored(), PerAction { sell: 1.0, hold: 3.0, buy: -1.0 });
        assert_eq!(changes.weighted_by(&PerAction { sell: 0.5, hold: 0.25, buy: 0.25 }), 0.5);
    }
}

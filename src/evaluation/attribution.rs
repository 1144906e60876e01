//! Which group of factors a number owes what to: exact Shapley values over four groups.

use serde::{Deserialize, Serialize};

/// Groups that share the number.
pub const PLAYERS: usize = 4;
/// Sets of known groups, from none to all.
pub const COALITIONS: usize = 1 << PLAYERS;
/// Weight `s! (3 - s)! / 4!` of what a group adds to `s` others.
const WEIGHTS: [f64; PLAYERS] = [1.0 / 4.0, 1.0 / 12.0, 1.0 / 12.0, 1.0 / 4.0];

/// A number as a base and four parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// The number where no group is known, in its unit.
    pub base: f64,
    /// What each group adds to it, in the order of the groups and the unit of the number.
    pub values: [f64; PLAYERS],
}

impl Attribution {
    /// The number that was explained: base and parts together.
    #[must_use]
    pub fn explained(&self) -> f64 {
        self.base + self.values.iter().sum::<f64>()
    }

    /// The attribution of a game with these values, in the order of [`coalition`]:
    /// `phi_k = sum over S without k of s! (3 - s)! / 4! (v(S and k) - v(S))` (Shapley 1953).
    #[must_use]
    pub fn of(values: &[f64; COALITIONS]) -> Self {
        let part = |player: usize| {
            let without = (0..COALITIONS).filter(|set| set & (1 << player) == 0);
            let added = |set: usize| WEIGHTS[set.count_ones() as usize] * (values[set | 1 << player] - values[set]);
            without.map(added).sum()
        };
        Self { base: values[0], values: std::array::from_fn(part) }
    }
}

/// The groups known in the set of that number: group `k` when bit `k` is set.
#[must_use]
pub fn coalition(number: usize) -> [bool; PLAYERS] {
    std::array::from_fn(|player| number & (1 << player) != 0)
}

/// Asks for the number once for each of the 16 sets of known groups and shares it among the groups. Base and parts sum to
/// the number with all groups known, up to the rounding of a double.
///
/// `None` when a set has no finite number.
#[must_use]
pub fn shapley4(mut value: impl FnMut([bool; PLAYERS]) -> Option<f64>) -> Option<Attribution> {
    let mut values = [0.0; COALITIONS];
    for (set, slot) in values.iter_mut().enumerate() {
        *slot = value(coalition(set)).filter(|v| v.is_finite())?;
    }
    Some(Attribution::of(&values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(found: &Attribution, expected: &Attribution) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        near(found.base, expected.base) && found.values.iter().zip(expected.values).all(|(a, b)| near(*a, b))
    }

    /// The mean over the 24 orders of what each player adds when it comes to those before it.
    fn by_orders(values: &[f64; COALITIONS]) -> Attribution {
        let mut sums = [0.0; PLAYERS];
        for order in 0..PLAYERS.pow(4) {
            let turn = [order % 4, order / 4 % 4, order / 16 % 4, order / 64];
            if (0..COALITIONS).filter(|set| set.count_ones() == 1).all(|one| turn.iter().any(|p| 1 << p == one)) {
                let mut known = 0;
                for player in turn {
                    sums[player] += values[known | 1 << player] - values[known];
                    known |= 1 << player;
                }
            }
        }
        Attribution { base: values[0], values: sums.map(|sum| sum / 24.0) }
    }

    #[test]
    fn an_additive_game_gives_each_its_own() {
        let own = [1.5, -2.0, 0.25, 8.0];
        let sum = |known: [bool; 4]| known.iter().zip(own).map(|(k, v)| if *k { v } else { 0.0 }).sum::<f64>();
        let found = shapley4(|known| Some(3.0 + sum(known))).unwrap();
        assert!(close(&found, &Attribution { base: 3.0, values: own }), "{found:?}");
    }

    #[test]
    fn majority_of_a_weighted_vote() {
        // The index of Shapley and Shubik (1954) of the weights 3, 2, 1, 1 with a quota of 4, counted by hand.
        let weights = [3.0, 2.0, 1.0, 1.0];
        let votes = |known: [bool; 4]| known.iter().zip(weights).map(|(k, w)| if *k { w } else { 0.0 }).sum::<f64>();
        let found = shapley4(|known| Some(f64::from(votes(known) >= 4.0))).unwrap();
        assert!(close(&found, &Attribution { base: 0.0, values: [0.5, 1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0] }), "{found:?}");
    }

    #[test]
    fn every_set_is_asked_once_and_a_gap_is_no_answer() {
        let mut asked = vec![];
        assert!(
            shapley4(|known| {
                asked.push(known);
                Some(1.0)
            })
            .is_some()
        );
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), COALITIONS);
        assert_eq!(shapley4(|known| (known != [true, false, true, false]).then_some(1.0)), None);
        assert_eq!(shapley4(|known| Some(if known[2] { f64::NAN } else { 1.0 })), None);
    }

    proptest! {
        #[test]
        fn shares_are_efficient_and_the_mean_over_orders(game in prop::array::uniform16(-100.0f64..100.0)) {
            let found = Attribution::of(&game);
            prop_assert!((found.explained() - game[15]).abs() < 1e-9);
            prop_assert!(close(&found, &by_orders(&game)));
        }

        #[test]
        fn a_player_without_influence_gets_nothing(game in prop::array::uniform16(-1.0f64..1.0), player in 0usize..4) {
            let without: [f64; 16] = std::array::from_fn(|set| game[set & !(1 << player)]);
            prop_assert!(Attribution::of(&without).values[player].abs() < 1e-12);
        }

        #[test]
        fn equal_players_get_equal_parts(game in prop::array::uniform16(-1.0f64..1.0), a in 0usize..4, step in 1usize..4) {
            let b = (a + step) % 4;
            // A set and the same set with the two players swapped are worth the same.
            let swapped = |set: usize| {
                let (has_a, has_b) = (set >> a & 1, set >> b & 1);
                set & !(1 << a | 1 << b) | has_a << b | has_b << a
            };
            let equal: [f64; 16] = std::array::from_fn(|set| game[set] + game[swapped(set)]);
            let values = Attribution::of(&equal).values;
            prop_assert!((values[a] - values[b]).abs() < 1e-12);
        }

        #[test]
        fn shares_of_a_sum_are_sums_of_shares(
            first in prop::array::uniform16(-1.0f64..1.0), second in prop::array::uniform16(-1.0f64..1.0), scale in -3.0f64..3.0,
        ) {
            let sum: [f64; 16] = std::array::from_fn(|set| first[set] + scale * second[set]);
            let (first, second) = (Attribution::of(&first), Attribution::of(&second));
            let expected = Attribution {
                base: first.base + scale * second.base,
                values: std::array::from_fn(|k| first.values[k] + scale * second.values[k]),
            };
            prop_assert!(close(&Attribution::of(&sum), &expected));
        }
    }
}

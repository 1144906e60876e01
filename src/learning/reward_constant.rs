//! The benchmark of the reward model: rewards by horizon and action that do not look at the state.

use nalgebra::{Matrix3, Vector3};

use crate::decision::action::{Action, PerAction};
use crate::learning::reward_tally::{DUELS, Outcomes};

/// Quarters whose comparisons weigh as much as the wish for rewards of 0, so that an action that always wins has a
/// finite reward.
const PRIOR_QUARTERS: f64 = 1.0;
/// Newton steps at most; a handful suffice.
const STEPS: usize = 100;
/// Slope at which the rewards are found.
const TOLERANCE: f64 = 1e-12;
/// By how much rounding may lift the objective.
const ROUNDING: f64 = 1e-13;

/// The rewards of a Bradley-Terry model with ties as half-wins (Bradley and Terry 1952): they minimize
///
/// `mean over comparisons of -ln sigmoid(r_w - r_l) + k / (8 quarters) x sum of r^2`, k = 1,
///
/// by Newton's method. Their sum is 0. Near 0 the penalty shrinks them to `quarters / (quarters + k)` of what the
/// comparisons alone say. `None` without comparisons.
///
/// # Shapes
/// `duels` are the outcomes of a horizon in the order of [`DUELS`].
pub(crate) fn constant_rewards(duels: &[Outcomes; 3], quarters: usize) -> Option<PerAction<f64>> {
    let count = duels.iter().map(|duel| duel.count()).sum::<u64>();
    let objective = Objective { duels, count: count as f64, pull: PRIOR_QUARTERS / (8.0 * quarters.max(1) as f64) };
    let mut rewards = Vector3::zeros();
    for _ in 0..STEPS {
        let (slope, curvature) = objective.derivatives(&rewards);
        if slope.amax() < TOLERANCE {
            break;
        }
        let step = curvature.cholesky()?.solve(&slope);
        rewards = objective.descended(rewards, step);
    }
    let centred = rewards.add_scalar(-rewards.mean());
    (count > 0).then(|| PerAction::from_fn(|action| centred[action.index()]))
}

struct Objective<'a> {
    duels: &'a [Outcomes; 3],
    count: f64,
    pull: f64,
}

impl Objective<'_> {
    fn value(&self, rewards: &Vector3<f64>) -> f64 {
        let duels = DUELS.iter().zip(self.duels);
        let loss: f64 = duels.map(|(actions, duel)| duel.loss(difference(rewards, actions))).sum();
        loss / self.count + self.pull * rewards.norm_squared()
    }

    fn derivatives(&self, rewards: &Vector3<f64>) -> (Vector3<f64>, Matrix3<f64>) {
        let mut slope = 2.0 * self.pull * rewards;
        let mut curvature = 2.0 * self.pull * Matrix3::identity();
        for (actions, duel) in DUELS.iter().zip(self.duels) {
            let mut direction = Vector3::zeros();
            direction[actions[0].index()] = 1.0;
            direction[actions[1].index()] = -1.0;
            let difference = difference(rewards, actions);
            slope += direction * (duel.slope(difference) / self.count);
            curvature += direction * direction.transpose() * (duel.curvature(difference) / self.count);
        }
        (slope, curvature)
    }

    /// One Newton step, halved until it does not lead up.
    fn descended(&self, rewards: Vector3<f64>, mut step: Vector3<f64>) -> Vector3<f64> {
        let now = self.value(&rewards);
        for _ in 0..40 {
            if self.value(&(rewards - step)) <= now + ROUNDING {
                return rewards - step;
            }
            step /= 2.0;
        }
        rewards
    }
}

fn difference(rewards: &Vector3<f64>, [first, second]: &[Action; 2]) -> f64 {
    rewards[first.index()] - rewards[second.index()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::learning::reward_tally::{sigmoid, win_loss};

    fn outcomes(counts: [[u64; 3]; 3]) -> [Outcomes; 3] {
        counts.map(|[first, second, ties]| Outcomes { first, second, ties })
    }

    #[test]
    fn published_strengths_come_out_with_many_quarters() {
        // The log strengths of the fixture `bradley_terry`: wins 7:3, 8:2, 6:4.
        let rewards = constant_rewards(&outcomes([[7, 3, 0], [8, 2, 0], [6, 4, 0]]), 100_000_000).unwrap();
        let expected = PerAction { sell: 0.740_569_94, hold: -0.149_102_26, buy: -0.591_467_68 };
        for action in Action::ALL {
            assert!((rewards[action] - expected[action]).abs() < 1e-7, "{rewards:?}");
        }
    }

    #[test]
    fn a_single_duel_has_the_log_odds_with_ties_as_half_wins() {
        let rewards = constant_rewards(&outcomes([[6, 2, 2], [0; 3], [0; 3]]), 100_000_000).unwrap();
        assert!((rewards.sell - rewards.hold - (7.0f64 / 3.0).ln()).abs() < 1e-6);
        assert!(rewards.buy.abs() < 1e-6);
        assert_eq!(constant_rewards(&outcomes([[0; 3]; 3]), 3), None);
    }

    #[test]
    fn an_action_that_always_wins_stays_finite() {
        let rewards = constant_rewards(&outcomes([[0, 0, 0], [0, 900, 0], [0, 900, 0]]), 10).unwrap();
        let difference = rewards.buy - rewards.sell;
        // Sell and hold are alike, so r = d (-1/3, -1/3, 2/3), sum of r^2 = 2/3 d^2, and where the slope of
        // -ln sigmoid(d) + d^2 (2/3) / 80 is 0 the rewards are found.
        let balance = |d: f64| -sigmoid(-d) + d * (2.0 / 3.0) / 40.0;
        assert!(balance(difference).abs() < 1e-9, "{difference}");
        assert!((2.5..4.0).contains(&difference) && win_loss(difference) < 0.1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn rewards_are_finite_centred_and_do_not_know_the_names(
            counts in prop::array::uniform3(prop::array::uniform3(0u64..2000)), quarters in 1usize..80,
        ) {
            let [sell_hold, sell_buy, hold_buy] = counts;
            let turned = |[first, second, ties]: [u64; 3]| [second, first, ties];
            let mirrored = outcomes([turned(hold_buy), turned(sell_buy), turned(sell_hold)]);
            if let Some(rewards) = constant_rewards(&outcomes(counts), quarters) {
                let values = Action::ALL.map(|action| rewards[action]);
                prop_assert!(values.iter().all(|value| value.is_finite() && value.abs() < 10.0), "{values:?}");
                prop_assert!(values.iter().sum::<f64>().abs() < 1e-12);
                let mirrored = constant_rewards(&mirrored, quarters).unwrap().mirrored();
                let apart = Action::ALL.map(|action| (rewards[action] - mirrored[action]).abs());
                prop_assert!(apart.iter().all(|apart| *apart < 1e-8), "{apart:?}");
            } else {
                prop_assert!(counts.iter().flatten().all(|count| *count == 0));
            }
        }
    }
}

//! Solves the holder's process without its tables, thousands of times a second.
//!
//! The holder moves the exposure and not the market, so what follows a week depends on the market state and the exposure
//! taken alone: `C(m, e') = e' mu_m - (lambda/2) e'^2 sigma_m^2 + gamma sum_m' P(m' | m) V(m', e')`, 27 numbers, and
//! `V(m, e) = max over |e' - e| <= 1 of C(m, e') - c |e' - e|`.

use nalgebra::{SMatrix, SVector};

use super::action::Action;
use super::finite_process::best_action;
use super::process::{EXPOSURES, PROCESS_STATES};
use crate::features::states::STATES;

/// A number for each market state and exposure.
type Table = [[f64; EXPOSURES]; STATES];

/// Improvements below this share of a value are rounding.
const IMPROVEMENT: f64 = 1e-12;
/// Rounds of policy iteration; it takes two to five, and cannot take more than there are policies.
const ROUNDS_MAX: u32 = 100;

/// What the holder wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Preferences {
    /// Open exposures, lowest first, one apart.
    pub exposures: [f64; EXPOSURES],
    /// lambda.
    pub risk_aversion: f64,
    /// c.
    pub cost: f64,
    /// gamma.
    pub discount: f64,
    /// Weekly steps; `None` has no end.
    pub steps: Option<u32>,
}

/// One market process: rows, means and variances by market state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct World {
    pub rows: [[f64; STATES]; STATES],
    pub mean: [f64; STATES],
    pub variance: [f64; STATES],
}

/// Solves one world after another, starting from the last policy.
#[derive(Debug, Clone)]
pub(super) struct Solver {
    preferences: Preferences,
    /// Position of the exposure taken, `[market state][exposure]`.
    policy: [[usize; EXPOSURES]; STATES],
}

impl Preferences {
    /// `e' mu - (lambda/2) e'^2 sigma^2` at the exposure of that position.
    pub fn reaction(&self, position: usize, mean: f64, variance: f64) -> f64 {
        let exposure = self.exposures[position];
        exposure * mean - 0.5 * self.risk_aversion * exposure * exposure * variance
    }

    /// A solver that begins by holding everywhere.
    pub fn solver(self) -> Solver {
        Solver { preferences: self, policy: [std::array::from_fn(|e| e); STATES] }
    }

    fn continuation(&self, world: &World, value: &Table) -> Table {
        std::array::from_fn(|m| self.continuation_from(world, value, m))
    }

    fn continuation_from(&self, world: &World, value: &Table, m: usize) -> [f64; EXPOSURES] {
        let mut expected = [0.0; EXPOSURES];
        for (p, next) in world.rows[m].iter().zip(value) {
            expected.iter_mut().zip(next).for_each(|(sum, v)| *sum += p * v);
        }
        std::array::from_fn(|e| self.reaction(e, world.mean[m], world.variance[m]) + self.discount * expected[e])
    }

    /// Worth of moving from one exposure to another.
    fn moved(&self, continuation: &[f64; EXPOSURES], from: usize, to: usize) -> f64 {
        let cost = if from == to { 0.0 } else { self.cost };
        continuation[to] - cost
    }

    fn best_values(&self, continuation: &Table) -> Table {
        continuation.map(|row| {
            std::array::from_fn(|from| {
                reachable(from).map(|to| self.moved(&row, from, to)).fold(f64::NEG_INFINITY, f64::max)
            })
        })
    }
}

impl Solver {
    /// The best action in a market state at the middle exposure; ties go to hold.
    pub fn best_now(&mut self, world: &World, market_state: usize) -> Action {
        let value = match self.preferences.steps {
            Some(steps) => self.value_to_go(world, steps.saturating_sub(1)),
            None => self.endless_value(world),
        };
        let preferences = &self.preferences;
        let continuation = preferences.continuation_from(world, &value, market_state);
        Action::ALL[best_action(&[0, 1, 2].map(|to| preferences.moved(&continuation, 1, to)))]
    }

    /// Backward induction.
    fn value_to_go(&self, world: &World, steps: u32) -> Table {
        let backup = |value: Table| self.preferences.best_values(&self.preferences.continuation(world, &value));
        (0..steps).fold([[0.0; EXPOSURES]; STATES], |value, _| backup(value))
    }

    /// Policy iteration (Puterman 1994, section 6.4): exact, and as quick at a discount near 1.
    fn endless_value(&mut self, world: &World) -> Table {
        let mut value = self.followed(world);
        for _ in 0..ROUNDS_MAX {
            if !self.improve(&self.preferences.continuation(world, &value)) {
                break;
            }
            value = self.followed(world);
        }
        value
    }

    /// Takes the better exposure wherever there is one; whether there was any.
    fn improve(&mut self, continuation: &Table) -> bool {
        let mut improved = false;
        for (row, targets) in continuation.iter().zip(&mut self.policy) {
            for (from, target) in targets.iter_mut().enumerate() {
                for to in reachable(from) {
                    let (old, new) =
                        (self.preferences.moved(row, from, *target), self.preferences.moved(row, from, to));
                    if new > old + IMPROVEMENT * (1.0 + old.abs()) {
                        (*target, improved) = (to, true);
                    }
                }
            }
        }
        improved
    }

    /// The value of the policy for ever: `(I - gamma P) v = r`.
    fn followed(&self, world: &World) -> Table {
        let preferences = &self.preferences;
        let mut system = SMatrix::<f64, PROCESS_STATES, PROCESS_STATES>::identity();
        let mut reaction = SVector::<f64, PROCESS_STATES>::zeros();
        for m in 0..STATES {
            for from in 0..EXPOSURES {
                let (row, to) = (EXPOSURES * m + from, self.policy[m][from]);
                for (next, p) in world.rows[m].iter().enumerate() {
                    system[(row, EXPOSURES * next + to)] -= preferences.discount * p;
                }
                let cost = if from == to { 0.0 } else { preferences.cost };
                reaction[row] = preferences.reaction(to, world.mean[m], world.variance[m]) - cost;
            }
        }
        // With a discount below 1 the system is diagonally dominant, so there always is a solution.
        let value = system.lu().solve(&reaction).unwrap_or(reaction);
        std::array::from_fn(|m| std::array::from_fn(|e| value[EXPOSURES * m + e]))
    }
}

/// Positions of the exposures one action away.
fn reachable(from: usize) -> std::ops::RangeInclusive<usize> {
    from.saturating_sub(1)..=(from + 1).min(EXPOSURES - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decision::holder::{HolderType, LongRun};
    use crate::decision::market_process::{MarketProcess, sample_process};
    use crate::decision::process::{HolderProcess, ProcessSettings};

    fn world(market: &MarketProcess) -> World {
        World { rows: market.transition(), mean: market.numbers().mean, variance: market.numbers().variance }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn it_agrees_with_the_tables(
            seeds in prop::array::uniform2(any::<u64>()),
            holder in prop::sample::select(vec![HolderType::Holder, HolderType::LongShort]),
            cost in 0.0..0.005_f64,
            discount in 0.0..0.99_f64,
            steps in prop::option::of(1..=52_u32),
        ) {
            let settings = ProcessSettings { holder, cost, discount, steps };
            let long_run = LongRun { mean: 0.001, volatility: 0.04 };
            let preferences = Preferences {
                exposures: holder.exposures().map(f64::from),
                risk_aversion: holder.risk_aversion(long_run),
                cost,
                discount,
                steps,
            };
            // The second world starts from the policy of the first.
            let mut solver = preferences.solver();
            for seed in seeds {
                let market = sample_process(seed);
                let process = HolderProcess::solve(&market, &settings, long_run).unwrap();
                let world = world(&market);
                let value = match steps {
                    Some(steps) => solver.value_to_go(&world, steps),
                    None => solver.endless_value(&world),
                };
                let expected = &process.solution().value;
                prop_assert!(value.concat().iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-10));
                for m in 0..STATES {
                    let values = process.values(EXPOSURES * m + 1);
                    let action = solver.best_now(&world, m);
                    prop_assert!(values[action] >= values.sell.max(values.hold).max(values.buy) - 2e-10);
                }
            }
        }
    }
}

//! The logit quantal response equilibrium: what a crowd does that mostly, not always, sees what is better.
//!
//! McKelvey and Palfrey (1995): each action is taken with probability proportional to `exp(precision x payoff)`, and
//! the payoffs are those against a crowd that acts so itself.

use serde::{Deserialize, Serialize};

use super::action::{Action, MixedStrategy, PerAction};
use super::bisection::increasing_root;
use super::game::{BelievedModel, Terms};

/// The belief-averaged symmetric game, in which the crowd enters by its net demand alone:
/// `payoff(a; m) = at_rest(a) + per_net_demand(a) m`, with m = P(buy) - P(sell) of the crowd.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrowdGame {
    /// Payoff of each action when the crowd buys as much as it sells.
    pub at_rest: PerAction<f64>,
    /// Change of the payoff for one unit of net demand; for trades with impact the opposite sign of the trade.
    pub per_net_demand: PerAction<f64>,
    /// Which actions are open.
    pub open: PerAction<bool>,
    /// Belief-averaged volatility over the horizon, the unit of payoffs in which precision is measured; above 0.
    pub volatility: f64,
}

/// A symmetric logit quantal response equilibrium.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantalResponse {
    /// lambda_q: 0 acts at random, infinity always takes the best.
    pub precision: f64,
    /// Probability of each action, for the holder and for the crowd alike; sums to 1.
    pub probabilities: MixedStrategy,
    /// m = P(buy) - P(sell).
    pub net_demand: f64,
    /// `|m - g(m)|`, how far the answer is from its own best reply.
    pub residual: f64,
}

impl CrowdGame {
    /// The average over the models' beliefs of the game on these terms.
    #[must_use]
    pub fn of(models: &[BelievedModel], terms: &Terms) -> Self {
        let average = |value: &dyn Fn(&BelievedModel) -> f64| models.iter().map(|m| m.belief * value(m)).sum::<f64>();
        let at_rest = PerAction::from_fn(|action| average(&|model| terms.payoff(action, model, 0.0)));
        let volatility = average(&|model| model.volatility);
        let per_net_demand = PerAction::from_fn(|action| {
            let change = terms.holder.exposure_after(action) - terms.holder.exposure();
            -terms.impact * volatility * f64::from(change)
        });
        Self { at_rest, per_net_demand, open: PerAction::from_fn(|action| terms.holder.can(action)), volatility }
    }

    /// Payoff of each action against a crowd of that net demand.
    #[must_use]
    pub fn payoffs(&self, net_demand: f64) -> PerAction<f64> {
        PerAction::from_fn(|action| self.at_rest[action] + self.per_net_demand[action] * net_demand)
    }

    /// The equilibrium `m = g(m)`, `g(m) = P(buy; m) - P(sell; m)`, by bisection.
    ///
    /// Where demand makes buying worse and selling better, g falls with m, so there is exactly one.
    #[must_use]
    pub fn quantal_response(&self, precision: f64) -> QuantalResponse {
        let reply = |net_demand: f64| self.logit_reply(net_demand, precision);
        let demand = |strategy: MixedStrategy| strategy.buy - strategy.sell;
        let net_demand = increasing_root(|m| m - demand(reply(m)), -1.0, 1.0);
        let probabilities = reply(net_demand);
        QuantalResponse { precision, probabilities, net_demand, residual: (net_demand - demand(probabilities)).abs() }
    }

    fn logit_reply(&self, net_demand: f64, precision: f64) -> MixedStrategy {
        let payoffs = self.payoffs(net_demand);
        let open = Action::ALL.into_iter().filter(|&action| self.open[action]);
        let best = open.map(|action| payoffs[action]).fold(f64::NEG_INFINITY, f64::max);
        let weight = |action: Action| match self.open[action] {
            true => (precision * (payoffs[action] - best) / self.volatility).exp(),
            false => 0.0,
        };
        let weights = PerAction::from_fn(weight);
        let total = weights.sell + weights.hold + weights.buy;
        PerAction::from_fn(|action| weights[action] / total)
    }
}

/// The logit quantal response equilibrium of two players with two actions each, as (p, q).
///
/// `p = 1/(1 + exp(-precision row_gain(q)))` is the row player's probability of its first action, whose advantage over
/// the second is `row_gain(q)`; q and `column_gain(p)` likewise. One gain must rise and the other fall, or either be
/// constant, as in games of matching pennies; then the equilibrium is unique.
#[must_use]
pub fn two_player_quantal_response(
    row_gain: impl Fn(f64) -> f64,
    column_gain: impl Fn(f64) -> f64,
    precision: f64,
) -> (f64, f64) {
    let logistic = |gain: f64| 1.0 / (1.0 + (-precision * gain).exp());
    let p = increasing_root(|p| p - logistic(row_gain(logistic(column_gain(p)))), 0.0, 1.0);
    (p, logistic(column_gain(p)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_published_two_player_values_are_reproduced() {
        let solve = |precision| two_player_quantal_response(|q| 9.0 * q - (1.0 - q), |p| 1.0 - 2.0 * p, precision);
        let (p, q) = solve(1.0);
        assert!((p - 0.893_576_33).abs() < 1e-8 && (q - 0.312_780_38).abs() < 1e-8, "{p} {q}");
        assert_eq!(solve(0.0), (0.5, 0.5));
        let (p, q) = solve(1e6);
        assert!((p - 0.5).abs() < 1e-4 && (q - 0.1).abs() < 1e-4, "{p} {q}");
    }

    prop_compose! {
        fn any_game()(
            at_rest in prop::array::uniform3(-0.2..0.2_f64),
            impact in 0.0..1.0_f64,
            volatility in 0.01..0.6_f64,
            open in prop::sample::select(vec![[true; 3], [false, true, true], [true, true, false]]),
        ) -> CrowdGame {
            CrowdGame {
                at_rest: PerAction::from_fn(|a| at_rest[a.index()]),
                per_net_demand: PerAction::from_fn(|a| -impact * volatility * f64::from(a.exposure_change())),
                open: PerAction::from_fn(|a| open[a.index()]),
                volatility,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_residual_is_nothing_and_probabilities_sum_to_one(game in any_game(), precision in 0.0..200.0_f64) {
            let found = game.quantal_response(precision);
            let p = found.probabilities;
            prop_assert!(found.residual < 1e-10, "{}", found.residual);
            prop_assert!((p.sell + p.hold + p.buy - 1.0).abs() < 1e-12);
            prop_assert!(Action::ALL.iter().all(|&a| (0.0..=1.0).contains(&p[a]) && (game.open[a] || p[a] == 0.0)));
        }

        #[test]
        fn what_is_worse_than_another_against_this_crowd_is_taken_less(game in any_game(), precision in 0.1..50.0_f64) {
            let found = game.quantal_response(precision);
            let payoffs = game.payoffs(found.net_demand);
            for (a, b) in [(Action::Sell, Action::Hold), (Action::Hold, Action::Buy), (Action::Sell, Action::Buy)] {
                if game.open[a] && game.open[b] && payoffs[a] + 1e-9 < payoffs[b] {
                    let (worse, better) = (found.probabilities[a], found.probabilities[b]);
                    // Far below the best action both may be too small for a double.
                    prop_assert!(worse < better || better == 0.0);
                }
            }
        }

        #[test]
        fn a_constant_per_column_changes_nothing(game in any_game(), precision in 0.0..50.0_f64, shift in -1.0..1.0_f64) {
            let moved = CrowdGame {
                at_rest: PerAction::from_fn(|a| game.at_rest[a] + shift),
                per_net_demand: PerAction::from_fn(|a| game.per_net_demand[a] + shift),
                ..game
            };
            let (one, other) = (game.quantal_response(precision), moved.quantal_response(precision));
            prop_assert!((one.net_demand - other.net_demand).abs() < 1e-9);
        }

        #[test]
        fn the_mirrored_game_has_the_mirrored_answer(game in any_game(), precision in 0.0..50.0_f64) {
            let mirrored = CrowdGame {
                at_rest: game.at_rest.mirrored(),
                per_net_demand: PerAction::from_fn(|a| -game.per_net_demand[a.mirrored()]),
                open: game.open.mirrored(),
                ..game
            };
            let (one, other) = (game.quantal_response(precision), mirrored.quantal_response(precision));
            prop_assert!((one.net_demand + other.net_demand).abs() < 1e-9);
            prop_assert!((one.probabilities.buy - other.probabilities.sell).abs() < 1e-9);
        }
    }
}

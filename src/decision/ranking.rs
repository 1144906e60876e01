//! The ranking of the three actions as responses, and what each may miss.

use serde::{Deserialize, Serialize};

use super::action::{Action, MixedStrategy, PerAction};
use super::dominance::{Elimination, Reduction};
use super::explanation::Circumstances;
use super::game::{BelievedModel, Column, PayoffMatrix, Terms};

/// Shares nearer than this are equal: they are sums of weights, and the order of summing must not decide.
pub const SHARE_RESOLUTION: f64 = 1e-9;

/// One action in the ranking of responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankedAction {
    /// 1 is the best response.
    pub rank: u8,
    /// The action.
    pub action: Action,
    /// Payoff averaged over the models' belief and the crowd's equilibrium.
    pub value: f64,
    /// Lowest and highest payoff over the models, against the same crowd; `None` when there is only one model.
    pub interval: Option<PayoffInterval>,
    /// Share of the remaining columns, under the belief, in which no open action is better.
    pub best_response_share: f64,
    /// How it left the game, if it did.
    pub eliminated_by: Option<Elimination>,
}

/// The range of a payoff over the models.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PayoffInterval {
    /// With the least favourable model.
    pub low: f64,
    /// With the most favourable model.
    pub high: f64,
}

/// What is missed by an action when another would have been better in the column that comes true.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Regret {
    /// Averaged over all columns under the belief.
    pub expected: f64,
    /// In the worst column.
    pub largest: f64,
}

/// A game with the weight of each column under both beliefs, over models and over the crowd.
#[derive(Debug, Clone, Copy)]
pub struct WeighedGame<'a> {
    /// The columns, with the belief over models.
    pub matrix: &'a PayoffMatrix,
    /// The belief over what the crowd does.
    pub crowd: MixedStrategy,
}

impl WeighedGame<'_> {
    fn weight(&self, column: &Column) -> f64 {
        column.belief * self.crowd[column.crowd]
    }

    /// Share of the remaining columns in which no open action is better; 0 for a closed action.
    #[must_use]
    pub fn best_response_share(&self, action: Action, reduction: &Reduction) -> f64 {
        if !self.matrix.open()[action] {
            return 0.0;
        }
        let (mut won, mut total) = (0.0, 0.0);
        for &position in &reduction.columns {
            let column = &self.matrix.columns()[position];
            total += self.weight(column);
            if column.payoffs[action] >= column.best_payoff(self.matrix.open()) {
                won += self.weight(column);
            }
        }
        if total > 0.0 { won / total } else { 0.0 }
    }

    /// What the action misses against the best open action, over all columns.
    #[must_use]
    pub fn regret(&self, action: Action) -> Regret {
        let missed = |column: &Column| column.best_payoff(self.matrix.open()) - column.payoffs[action];
        self.matrix.columns().iter().fold(Regret::default(), |regret, column| Regret {
            expected: regret.expected + self.weight(column) * missed(column),
            largest: regret.largest.max(missed(column)),
        })
    }
}

/// All actions, best response first: those that stay above those that left, then by share, then by value, hold before
/// the others where all is equal.
#[must_use]
pub fn rank(circumstances: &Circumstances<'_>, shares: &PerAction<f64>, net_demand: f64) -> Vec<RankedAction> {
    let Circumstances { models, terms, values, reduction, .. } = circumstances;
    // Who left later stands above who left earlier.
    let stayed = |action: Action| match reduction.elimination_of(action) {
        None => u8::MAX,
        Some(elimination) => elimination.round,
    };
    let mut actions = [Action::Hold, Action::Sell, Action::Buy];
    actions.sort_by(|&a, &b| {
        let by_share = standing(shares[b]).cmp(&standing(shares[a]));
        stayed(b).cmp(&stayed(a)).then(by_share).then(values[b].total_cmp(&values[a]))
    });
    let ranked = |(position, action): (usize, Action)| RankedAction {
        rank: position as u8 + 1,
        action,
        value: values[action],
        interval: payoff_interval(models, terms, action, net_demand),
        best_response_share: shares[action],
        eliminated_by: reduction.elimination_of(action),
    };
    actions.into_iter().enumerate().map(ranked).collect()
}

/// A share as a whole number of [`SHARE_RESOLUTION`], for comparing.
#[must_use]
pub fn standing(share: f64) -> u64 {
    (share / SHARE_RESOLUTION).round() as u64
}

fn payoff_interval(models: &[BelievedModel], terms: &Terms, action: Action, crowd: f64) -> Option<PayoffInterval> {
    let payoffs = || models.iter().map(|model| terms.payoff(action, model, crowd));
    let low = payoffs().fold(f64::INFINITY, f64::min);
    let high = payoffs().fold(f64::NEG_INFINITY, f64::max);
    (models.len() > 1).then_some(PayoffInterval { low, high })
}

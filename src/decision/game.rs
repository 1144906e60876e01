//! The one-step game of a holder against the models and the other holders.
//!
//! A column is one way the world may be: model `j` is right, and the crowd does `b`. A row is the holder's action `a`:
//! `U(a; j, b) = e_a mu_j - (lambda/2) e_a^2 sigma_j^2 - c |d_a| - eta sigma_j d_a b`, with `e_a` the exposure after
//! the action and `d_a` its change. The first two terms are the certainty equivalent of the exposure, so what decides
//! is how well risk is paid (volatility-managed exposure: Moreira and Muir 2017); the last says that trading with the
//! crowd fills worse.

use serde::{Deserialize, Serialize};

use super::action::{Action, PerAction};
use super::holder::Holder;

/// What one model says about the horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelView {
    /// Name of the model.
    pub name: String,
    /// mu_j: expected simple return over the horizon.
    pub mean: f64,
    /// sigma_j: volatility over the horizon (not annualized), above 0.
    pub volatility: f64,
}

/// Models that say the same, counted once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BelievedModel {
    /// The names, in the order given.
    pub names: Vec<String>,
    /// Expected simple return over the horizon.
    pub mean: f64,
    /// Volatility over the horizon.
    pub volatility: f64,
    /// Probability that this is the right model; they sum to 1.
    pub belief: f64,
}

/// The terms under which a holder acts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Who acts, from which exposure.
    pub holder: Holder,
    /// lambda, at least 0.
    pub risk_aversion: f64,
    /// c, the cost of trading one unit as a fraction, at least 0.
    pub cost: f64,
    /// eta, price impact of the crowd in units of volatility, at least 0.
    pub impact: f64,
}

impl Terms {
    /// `U(a; j, b)`, a simple return over the horizon after the charge for risk; `crowd` is b, from -1 to 1.
    #[must_use]
    pub fn payoff(&self, action: Action, model: &BelievedModel, crowd: f64) -> f64 {
        let exposure = f64::from(self.holder.exposure_after(action));
        let change = exposure - f64::from(self.holder.exposure());
        let risk = 0.5 * self.risk_aversion * (exposure * model.volatility).powi(2);
        let fill = self.impact * model.volatility * change * crowd;
        exposure * model.mean - risk - self.cost * change.abs() - fill
    }
}

/// One column of the game.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The models that say this.
    pub models: Vec<String>,
    /// What the crowd does.
    pub crowd: Action,
    /// Belief in the models, whatever the crowd does.
    pub belief: f64,
    /// U of each action of the holder.
    pub payoffs: PerAction<f64>,
}

impl Column {
    /// The highest payoff among the open actions.
    #[must_use]
    pub fn best_payoff(&self, open: &PerAction<bool>) -> f64 {
        let payoffs = Action::ALL.into_iter().filter(|&action| open[action]).map(|action| self.payoffs[action]);
        payoffs.fold(f64::NEG_INFINITY, f64::max)
    }

    /// The best response in this column; any tie for the best goes to hold.
    #[must_use]
    pub fn best_response(&self, open: &PerAction<bool>) -> Action {
        let best = self.best_payoff(open);
        let mut winners = Action::ALL.into_iter().filter(|&action| open[action] && self.payoffs[action] >= best);
        match (winners.next(), winners.next()) {
            (Some(only), None) => only,
            _ => Action::Hold,
        }
    }
}

/// The payoffs: three rows, a column for each model and each open action of the crowd.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PayoffMatrix {
    open: PerAction<bool>,
    columns: Vec<Column>,
}

impl PayoffMatrix {
    /// The game of a holder on its terms against the models.
    ///
    /// The crowd are holders at the same exposure, so an action outside the holder's range is outside theirs.
    #[must_use]
    pub fn of(models: &[BelievedModel], terms: &Terms) -> Self {
        let open = PerAction::from_fn(|action| terms.holder.can(action));
        let column = |model: &BelievedModel, crowd: Action| Column {
            models: model.names.clone(),
            crowd,
            belief: model.belief,
            payoffs: PerAction::from_fn(|action| terms.payoff(action, model, f64::from(crowd.exposure_change()))),
        };
        let crowd_actions = || Action::ALL.into_iter().filter(|&action| open[action]);
        let columns = models.iter().flat_map(|model| crowd_actions().map(|crowd| column(model, crowd))).collect();
        Self { open, columns }
    }

    /// Any game of this form.
    ///
    /// # Errors
    /// [`GameError`] when a number is not finite, a belief is negative, or the columns of an open action of the crowd
    /// have no belief at all.
    pub fn from_columns(open: PerAction<bool>, columns: Vec<Column>) -> Result<Self, GameError> {
        for column in &columns {
            let finite = Action::ALL.into_iter().all(|action| column.payoffs[action].is_finite());
            if !finite || !column.belief.is_finite() || column.belief < 0.0 {
                return Err(GameError::NotANumber(format!("the column of {}", column.models.join(", "))));
            }
        }
        let matrix = Self { open, columns };
        match Action::ALL.into_iter().find(|&crowd| open[crowd] && matrix.belief_in(crowd) <= 0.0) {
            Some(crowd) => Err(GameError::Belief(format!("no column for a crowd that would {crowd}"))),
            None => Ok(matrix),
        }
    }

    /// The columns, model by model, the crowd's actions in order within each.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Which actions are open to the holder and to the crowd.
    #[must_use]
    pub fn open(&self) -> &PerAction<bool> {
        &self.open
    }

    /// The belief-averaged 3x3 game, `[own action][crowd action]`; rows and columns of closed actions are 0.
    #[must_use]
    pub fn averaged(&self) -> PerAction<PerAction<f64>> {
        PerAction::from_fn(|own| {
            PerAction::from_fn(|crowd| {
                if !self.open[own] || !self.open[crowd] {
                    return 0.0;
                }
                let columns = self.columns.iter().filter(|column| column.crowd == crowd);
                columns.map(|column| column.belief * column.payoffs[own]).sum::<f64>() / self.belief_in(crowd)
            })
        })
    }

    fn belief_in(&self, crowd: Action) -> f64 {
        self.columns.iter().filter(|column| column.crowd == crowd).map(|column| column.belief).sum()
    }
}

/// Merges models with identical numbers and normalizes the belief over them.
///
/// Without a belief each *distinct* model weighs the same: a model that repeats another adds nothing. With one (a
/// weight for each model, in their order) the weights of merged models add up; a model without weight takes no part.
///
/// # Errors
/// [`GameError`] when there is no model, a number is not finite, a volatility is not above 0, or the belief does not
/// fit.
pub fn merge_models(models: &[ModelView], belief: Option<&[f64]>) -> Result<Vec<BelievedModel>, GameError> {
    if belief.is_some_and(|weights| weights.len() != models.len()) {
        return Err(GameError::Belief("one weight for each model is needed".to_owned()));
    }
    let mut merged: Vec<BelievedModel> = Vec::new();
    for (position, model) in models.iter().enumerate() {
        let weight = belief.map_or(1.0, |weights| weights[position]);
        if !model.mean.is_finite() || !model.volatility.is_finite() || model.volatility <= 0.0 {
            return Err(GameError::NotANumber(format!("the model {}", model.name)));
        }
        if !weight.is_finite() || weight < 0.0 {
            return Err(GameError::Belief(format!("the weight of {} must be 0 or more", model.name)));
        }
        let same = |known: &&mut BelievedModel| known.mean == model.mean && known.volatility == model.volatility;
        match merged.iter_mut().find(same) {
            _ if weight == 0.0 => {}
            Some(known) => {
                known.names.push(model.name.clone());
                known.belief += belief.map_or(0.0, |_| weight);
            }
            None => merged.push(BelievedModel {
                names: vec![model.name.clone()],
                mean: model.mean,
                volatility: model.volatility,
                belief: weight,
            }),
        }
    }
    let total: f64 = merged.iter().map(|model| model.belief).sum();
    if merged.is_empty() {
        return Err(GameError::NoModels);
    }
    merged.iter_mut().for_each(|model| model.belief /= total);
    Ok(merged)
}

/// Which rule a game breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GameError {
    /// Nobody to play against.
    #[error("a decision needs at least one believed model")]
    NoModels,
    /// Something is NaN, infinite, or a volatility that is not above 0.
    #[error("{0} has a number that is not finite or out of range")]
    NotANumber(String),
    /// The weights over the models are no belief.
    #[error("the belief does not fit: {0}")]
    Belief(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::holder::{HolderType, LongRun};

    fn view(name: &str, mean: f64, volatility: f64) -> ModelView {
        ModelView { name: name.to_owned(), mean, volatility }
    }

    fn terms(holder: Holder) -> Terms {
        let risk_aversion = HolderType::Holder.risk_aversion(LongRun { mean: 0.004, volatility: 0.08 });
        Terms { holder, risk_aversion, cost: 0.0005, impact: 0.01 }
    }

    #[test]
    fn payoffs_follow_the_formula() {
        let models = merge_models(&[view("harx2", 0.004, 0.1)], None).unwrap();
        let matrix = PayoffMatrix::of(&models, &terms(Holder::default()));
        let lambda = 0.004 / 0.0064;
        let crowd_buys = &matrix.columns()[2];
        assert_eq!(crowd_buys.crowd, Action::Buy);
        assert!((crowd_buys.payoffs.sell - (-0.0005 + 0.001)).abs() < 1e-15);
        assert!((crowd_buys.payoffs.hold - (0.004 - 0.5 * lambda * 0.01)).abs() < 1e-15);
        assert!((crowd_buys.payoffs.buy - (0.008 - 2.0 * lambda * 0.01 - 0.0005 - 0.001)).abs() < 1e-15);
        assert_eq!(matrix.averaged().hold.buy, crowd_buys.payoffs.hold);
    }

    #[test]
    fn models_with_identical_numbers_count_once() {
        let models = [view("a", 0.01, 0.1), view("b", 0.02, 0.1), view("c", 0.01, 0.1)];
        let plain = merge_models(&models, None).unwrap();
        assert_eq!(plain.iter().map(|m| m.belief).collect::<Vec<_>>(), [0.5, 0.5]);
        assert_eq!(plain[0].names, ["a", "c"]);
        let weighted = merge_models(&models, Some(&[1.0, 1.0, 2.0])).unwrap();
        assert_eq!(weighted[0].belief, 0.75);
        assert_eq!(merge_models(&models, Some(&[0.0, 1.0, 0.0])).unwrap()[0].names, ["b"]);
        assert_eq!(merge_models(&[], None), Err(GameError::NoModels));
        assert!(merge_models(&models, Some(&[1.0])).is_err());
        assert!(merge_models(&models, Some(&[1.0, -1.0, 1.0])).is_err());
        assert!(merge_models(&[view("a", f64::NAN, 0.1)], None).is_err());
        assert!(merge_models(&[view("a", 0.0, 0.0)], None).is_err());
    }

    #[test]
    fn ties_go_to_hold_and_closed_actions_have_no_column() {
        let models = merge_models(&[view("a", 0.004, 0.1)], None).unwrap();
        let full = Holder::new(HolderType::Holder, 2).unwrap();
        let matrix = PayoffMatrix::of(&models, &terms(full));
        assert_eq!(matrix.columns().len(), 2);
        assert_eq!(*matrix.open(), PerAction { sell: true, hold: true, buy: false });
        let tied = Column { payoffs: PerAction { sell: 1.0, hold: 0.0, buy: 1.0 }, ..matrix.columns()[0].clone() };
        assert_eq!(tied.best_response(&PerAction { sell: true, hold: true, buy: true }), Action::Hold);
        assert_eq!(tied.best_response(matrix.open()), Action::Sell);
    }
}

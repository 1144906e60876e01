//! The signal: the served action of a holder, the argument for it, and the ranking of all three.

use serde::{Deserialize, Serialize};

use super::action::{Action, PerAction};
use super::dominance::{Dominance, Reduction, reduce};
use super::equilibrium::{CrowdGame, QuantalResponse};
use super::explanation::{Circumstances, Explanation, explain};
use super::game::{BelievedModel, GameError, ModelView, PayoffMatrix, Terms, merge_models};
use super::holder::{Holder, LongRun};
use super::nash::{NashEquilibrium, symmetric_game_equilibria};
use super::ranking::{RankedAction, Regret, WeighedGame, rank, standing};

/// The configured numbers of the game.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GameSettings {
    /// c, cost of trading one unit as a fraction, at least 0.
    pub cost: f64,
    /// eta, impact of the crowd in units of volatility, at least 0.
    pub impact: f64,
    /// lambda_q, precision of the crowd in units of 1/volatility, at least 0.
    pub precision: f64,
    /// tau, the share of columns in which an action must be best to be served without dominance, above 0 and at most 1.
    pub threshold: f64,
}

impl Default for GameSettings {
    fn default() -> Self {
        Self { cost: 0.0005, impact: 0.01, precision: 5.0, threshold: 0.6 }
    }
}

/// All that a decision rests on; returns and volatilities are over the horizon, not annualized.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalInputs {
    /// The models, at least one.
    pub models: Vec<ModelView>,
    /// A weight for each model; `None` weighs each distinct model the same.
    pub belief: Option<Vec<f64>>,
    /// Who decides.
    pub holder: Holder,
    /// mu0 and sigma_longrun, which reveal the holder's risk aversion.
    pub long_run: LongRun,
    /// Cost, impact, precision and threshold.
    pub settings: GameSettings,
}

/// The argument for the served action, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Better than the others in every column.
    Strict,
    /// Nowhere worse, and against each other action somewhere better.
    Weak,
    /// Alone left after iterated elimination.
    Iterated,
    /// Best in at least the share tau of the remaining columns.
    BestResponse,
    /// None of these; hold is served.
    None,
}

impl From<Dominance> for Basis {
    fn from(dominance: Dominance) -> Self {
        match dominance {
            Dominance::Strict => Self::Strict,
            Dominance::Weak => Self::Weak,
            Dominance::Iterated => Self::Iterated,
        }
    }
}

/// What players of the belief-averaged game would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Equilibrium {
    /// The belief over the crowd.
    pub quantal_response: QuantalResponse,
    /// All Nash equilibria.
    pub nash: Vec<NashEquilibrium>,
}

/// The served action with everything that decided it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The served action.
    pub action: Action,
    /// The argument for it.
    pub basis: Basis,
    /// Share of the remaining columns, under the belief, in which the served action is a best response.
    pub dominance_share: f64,
    /// All actions, best response first.
    pub ranking: Vec<RankedAction>,
    /// The game.
    pub payoffs: PayoffMatrix,
    /// What its players would do.
    pub equilibrium: Equilibrium,
    /// What each action may miss.
    pub regret: PerAction<Regret>,
    /// The numbers that decided, and one plain sentence.
    pub explanation: Explanation,
}

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecisionError {
    /// The models or the belief over them.
    #[error(transparent)]
    Game(#[from] GameError),
    /// A setting or a long-run number outside its range.
    #[error("{name} is {value}, outside its range")]
    OutOfRange {
        /// Which number.
        name: &'static str,
        /// Its value.
        value: f64,
    },
}

/// Decides: dominance first, then the best response, else hold.
///
/// # Errors
/// [`DecisionError`] when there is no model or a number is outside its documented range.
pub fn decide(inputs: &SignalInputs) -> Result<Decision, DecisionError> {
    let Played { models, terms, response, payoffs, reduction, shares, values } = play(inputs)?;
    let game = WeighedGame { matrix: &payoffs, crowd: response.probabilities };
    let (action, basis) = serve(&reduction, &shares, &values, inputs.settings.threshold);
    let circumstances =
        Circumstances { models: &models, terms: &terms, long_run: inputs.long_run, values, reduction: &reduction };
    Ok(Decision {
        action,
        basis,
        dominance_share: shares[action],
        ranking: rank(&circumstances, &shares, response.net_demand),
        explanation: explain(action, basis, inputs.settings.threshold, &circumstances),
        regret: PerAction::from_fn(|action| game.regret(action)),
        equilibrium: Equilibrium {
            quantal_response: response,
            nash: symmetric_game_equilibria(&payoffs.averaged(), payoffs.open()),
        },
        payoffs,
    })
}

/// The action that [`decide`] serves, without the numbers around it.
///
/// # Errors
/// As [`decide`].
pub fn served_action(inputs: &SignalInputs) -> Result<Action, DecisionError> {
    let Played { reduction, shares, values, .. } = play(inputs)?;
    Ok(serve(&reduction, &shares, &values, inputs.settings.threshold).0)
}

/// A game played to its end, before anything is said about it.
struct Played {
    models: Vec<BelievedModel>,
    terms: Terms,
    response: QuantalResponse,
    payoffs: PayoffMatrix,
    reduction: Reduction,
    shares: PerAction<f64>,
    values: PerAction<f64>,
}

fn play(inputs: &SignalInputs) -> Result<Played, DecisionError> {
    check(inputs)?;
    let models = merge_models(&inputs.models, inputs.belief.as_deref())?;
    let terms = inputs.terms();
    let crowd = CrowdGame::of(&models, &terms);
    let response = crowd.quantal_response(inputs.settings.precision);
    let payoffs = PayoffMatrix::of(&models, &terms);
    let game = WeighedGame { matrix: &payoffs, crowd: response.probabilities };
    let reduction = reduce(&payoffs);
    let shares = PerAction::from_fn(|action| game.best_response_share(action, &reduction));
    let values = crowd.payoffs(response.net_demand);
    Ok(Played { models, terms, response, payoffs, reduction, shares, values })
}

impl SignalInputs {
    /// The terms under which the holder acts.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            holder: self.holder,
            risk_aversion: self.holder.kind().risk_aversion(self.long_run),
            cost: self.settings.cost,
            impact: self.settings.impact,
        }
    }
}

/// The action and its argument; between equal shares the higher value decides, then hold.
fn serve(reduction: &Reduction, shares: &PerAction<f64>, values: &PerAction<f64>, threshold: f64) -> (Action, Basis) {
    if let Some((action, dominance)) = reduction.dominant {
        return (action, dominance.into());
    }
    let order = |action: Action| (standing(shares[action]), values[action]);
    let best = Action::ALL.into_iter().fold(Action::Hold, |best, action| match order(action) > order(best) {
        true => action,
        false => best,
    });
    let tied = best != Action::Hold && order(best.mirrored()) == order(best);
    match standing(shares[best]) >= standing(threshold) && !tied {
        true => (best, Basis::BestResponse),
        false => (Action::Hold, Basis::None),
    }
}

fn check(inputs: &SignalInputs) -> Result<(), DecisionError> {
    let GameSettings { cost, impact, precision, threshold } = inputs.settings;
    let positive = f64::MIN_POSITIVE;
    let ranges = [
        ("cost", cost, 0.0, f64::MAX),
        ("impact", impact, 0.0, f64::MAX),
        ("precision", precision, 0.0, f64::MAX),
        ("threshold", threshold, positive, 1.0),
        ("long-run mean", inputs.long_run.mean, positive, f64::MAX),
        ("long-run volatility", inputs.long_run.volatility, positive, f64::MAX),
    ];
    match ranges.into_iter().find(|(_, value, low, high)| !(low..=high).contains(&value)) {
        Some((name, value, ..)) => Err(DecisionError::OutOfRange { name, value }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::game::Column;
    use crate::decision::holder::HolderType;
    use proptest::prelude::*;

    fn inputs(models: &[(f64, f64)]) -> SignalInputs {
        let view =
            |(i, &(mean, volatility)): (usize, &(f64, f64))| ModelView { name: format!("m{i}"), mean, volatility };
        SignalInputs {
            models: models.iter().enumerate().map(view).collect(),
            belief: None,
            holder: Holder::default(),
            long_run: LongRun { mean: 0.004, volatility: 0.08 },
            settings: GameSettings::default(),
        }
    }

    #[test]
    fn volatility_alone_moves_the_signal() {
        for (volatility, action) in [(0.16, Action::Sell), (0.08, Action::Hold), (0.05, Action::Buy)] {
            let decision = decide(&inputs(&[(0.004, volatility), (0.004, volatility * 1.01)])).unwrap();
            assert_eq!((decision.action, decision.basis), (action, Basis::Strict), "{volatility}");
            assert_eq!(decision.dominance_share, 1.0);
            assert_eq!(decision.ranking[0].action, action);
            assert!(decision.regret[action].largest <= 0.0);
        }
    }

    #[test]
    fn without_a_majority_hold_is_served() {
        let torn = decide(&inputs(&[(0.004, 0.3), (0.004, 0.04)])).unwrap();
        assert_eq!((torn.action, torn.basis), (Action::Hold, Basis::None));
        assert!(torn.ranking.iter().all(|ranked| ranked.best_response_share < 0.6));
        let majority = decide(&inputs(&[(0.004, 0.3), (0.004, 0.04), (0.004, 0.041)])).unwrap();
        assert_eq!((majority.action, majority.basis), (Action::Buy, Basis::BestResponse));
        assert!((majority.dominance_share - 2.0 / 3.0).abs() < 1e-12);
        let just_enough =
            decide(&inputs(&[0.3, 0.31, 0.04, 0.041, 0.042].map(|volatility| (0.004, volatility)))).unwrap();
        assert_eq!(just_enough.basis, Basis::BestResponse, "three of five are 60 %");
    }

    #[test]
    fn wrong_inputs_are_named() {
        let mut wrong = inputs(&[(0.004, 0.1)]);
        wrong.settings.threshold = 0.0;
        assert!(matches!(decide(&wrong), Err(DecisionError::OutOfRange { name: "threshold", .. })));
        wrong = inputs(&[(0.004, 0.1)]);
        wrong.long_run.volatility = f64::NAN;
        assert!(matches!(decide(&wrong), Err(DecisionError::OutOfRange { name: "long-run volatility", .. })));
        assert_eq!(decide(&inputs(&[])), Err(DecisionError::Game(GameError::NoModels)));
    }

    prop_compose! {
        fn any_inputs()(
            models in prop::collection::vec((-0.05..0.06_f64, 0.02..0.4_f64), 1..7),
            kind in prop::sample::select(vec![HolderType::Holder, HolderType::LongShort]),
            place in 0..3_usize,
            long_run in (0.0005..0.05_f64, 0.02..0.4_f64),
            settings in (0.0..0.01_f64, 0.0..0.5_f64, 0.0..20.0_f64, 0.4..1.0_f64),
        ) -> SignalInputs {
            let (cost, impact, precision, threshold) = settings;
            SignalInputs {
                holder: Holder::new(kind, kind.exposures()[place]).unwrap(),
                long_run: LongRun { mean: long_run.0, volatility: long_run.1 },
                settings: GameSettings { cost, impact, precision, threshold },
                ..inputs(&models)
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn a_decision_is_consistent(inputs in any_inputs()) {
            let decision = decide(&inputs).unwrap();
            let response = decision.equilibrium.quantal_response;
            prop_assert!(response.residual < 1e-10);
            prop_assert!((0.0..=1.0).contains(&decision.dominance_share));
            prop_assert!(!decision.equilibrium.nash.is_empty());
            prop_assert!(inputs.holder.can(decision.action));
            if decision.basis != Basis::None {
                prop_assert_eq!(decision.ranking[0].action, decision.action);
            }
            if matches!(decision.basis, Basis::Strict | Basis::Weak) {
                prop_assert!(decision.dominance_share > 1.0 - 1e-12);
                prop_assert!(decision.regret[decision.action].largest <= 0.0);
            }
            let weight = |column: &Column| column.belief * response.probabilities[column.crowd];
            for ranked in &decision.ranking {
                let columns = decision.payoffs.columns().iter();
                let value: f64 = columns.map(|column| weight(column) * column.payoffs[ranked.action]).sum();
                prop_assert!((ranked.value - value).abs() < 1e-12);
                let (low, high) = ranked.interval.map_or((ranked.value, ranked.value), |i| (i.low, i.high));
                prop_assert!(low <= ranked.value + 1e-12 && ranked.value <= high + 1e-12);
                let regret = decision.regret[ranked.action];
                prop_assert!(-1e-15 <= regret.expected && regret.expected <= regret.largest + 1e-15);
            }
        }

        #[test]
        fn a_strictly_dominated_action_is_never_in_equilibrium_and_less_taken(inputs in any_inputs()) {
            let decision = decide(&inputs).unwrap();
            let average = decision.payoffs.averaged();
            let taken = decision.equilibrium.quantal_response.probabilities;
            let actions: Vec<Action> = Action::ALL.into_iter().filter(|&a| decision.payoffs.open()[a]).collect();
            // A margin keeps the tolerances of the two solvers out of the comparison.
            let beats = |a: Action, b: Action| actions.iter().all(|&crowd| average[a][crowd] > average[b][crowd] + 1e-7);
            for &worse in &actions {
                let better: Vec<Action> = actions.iter().copied().filter(|&action| beats(action, worse)).collect();
                if better.is_empty() || inputs.settings.precision < 1e-3 {
                    continue;
                }
                for equilibrium in &decision.equilibrium.nash {
                    prop_assert_eq!((equilibrium.holder[worse], equilibrium.crowd[worse]), (0.0, 0.0));
                }
                prop_assert!(better.iter().all(|&action| taken[worse] < taken[action]) && taken[worse] < 0.5);
                if better.len() == 2 {
                    prop_assert!(taken[worse] < 1.0 / 3.0);
                }
            }
        }

        #[test]
        fn mirrored_means_and_positions_mirror_the_answer(inputs in any_inputs(), position in -1..=1_i8) {
            let place = |exposure| Holder::new(HolderType::LongShort, exposure).unwrap();
            let mirror = |model: &ModelView| ModelView { mean: -model.mean, ..model.clone() };
            let models = inputs.models.iter().map(mirror).collect();
            let mirrored = decide(&SignalInputs { holder: place(-position), models, ..inputs.clone() }).unwrap();
            let decision = decide(&SignalInputs { holder: place(position), ..inputs }).unwrap();
            prop_assert_eq!(decision.action, mirrored.action.mirrored());
            prop_assert_eq!(decision.basis, mirrored.basis);
            prop_assert!((decision.dominance_share - mirrored.dominance_share).abs() < 1e-9);
            prop_assert_eq!(decision.regret.sell.largest, mirrored.regret.buy.largest);
            for (one, other) in decision.ranking.iter().zip(&mirrored.ranking) {
                prop_assert_eq!(one.action, other.action.mirrored());
                prop_assert!((one.value - other.value).abs() < 1e-12);
            }
        }
    }
}

//! A game that was played for an instrument, with what its signal and its ranking say besides the game's own numbers.

use std::collections::BTreeMap;

use crate::decision::action::{Action as Move, MixedStrategy, PerAction};
use crate::decision::dominance::EliminationKind as Kind;
use crate::decision::explanation::Reason;
use crate::decision::signal::{Decision, GameSettings};
use crate::opinion::canonical::rounded;
use crate::opinion::envelope::reason;
use crate::opinion::explanation::{ActionReason, EliminatedAction, Explanation};
use crate::opinion::numbers::rounded_distribution;
use crate::opinion::ranking::{Elimination, EliminationKind, ModelStrength, Strategy};
use crate::opinion::responses::RewardSource;
use crate::opinion::signal::Attribution;
use crate::publication::signal::shown;

/// What moved the volatility from its base, or why that is not known.
pub type FactorGroups<'a> = Result<&'a Attribution, &'a str>;

/// A game and what stands beside it; an absent value comes with its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// The game's answer; `None` when a number of the game is outside its range.
    pub decision: Option<Decision>,
    /// The terms on which it was played: those of the instrument's own liquidity where that is known.
    pub settings: GameSettings,
    /// Value traded on a usual day, in the currency of the price.
    pub dollar_volume: Result<f64, &'static str>,
    /// What the reward model says of the actions.
    pub policy: Result<RewardedPolicy, &'static str>,
    /// Bootstrap confidence that the served action paid better at matured days, 0..1.
    pub confidence: Result<f64, &'static str>,
    /// The models ranked, strongest first.
    pub responses: Result<Vec<ModelStrength>, &'static str>,
    /// Why the models have no strengths, where the games do not determine them.
    pub without_strengths: Option<&'static str>,
}

/// The policy `reference(a) exp(reward(a) / beta) / Z` with what it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RewardedPolicy {
    /// Reward of each action in the state, mean 0.
    pub rewards: PerAction<f64>,
    /// What the policy would do.
    pub probabilities: MixedStrategy,
    /// Who gives the rewards.
    pub source: RewardSource,
    /// How much reward outweighs the reference, above 0.
    pub beta: f64,
    /// The policy without rewards.
    pub reference: MixedStrategy,
    /// State of the market, 0..9.
    pub state: u8,
}

impl Played {
    /// A game with nothing beside it.
    #[must_use]
    pub fn alone(decision: Option<Decision>, settings: GameSettings) -> Self {
        Self {
            decision,
            settings,
            dollar_volume: Err(reason::NOT_COMPUTED_YET),
            policy: Err(reason::NOT_COMPUTED_YET),
            confidence: Err(reason::NOT_COMPUTED_YET),
            responses: Err(reason::NOT_COMPUTED_YET),
            without_strengths: None,
        }
    }

    /// The numbers that decided, in the words of the answers; `None` where there is no decision.
    #[must_use]
    pub fn explanation(&self, factor_groups: FactorGroups<'_>) -> Option<Explanation> {
        let decision = self.decision.as_ref()?;
        let told = &decision.explanation;
        Some(Explanation {
            sentence: told.sentence.clone(),
            reason: action_reason(told.reason),
            expected_return: rounded(told.expected_return),
            volatility: rounded(told.volatility),
            long_run_return: rounded(told.long_run_return),
            long_run_volatility: rounded(told.long_run_volatility),
            risk_aversion: rounded(told.risk_aversion),
            exposure: i32::from(told.exposure),
            optimal_exposure: rounded(told.optimal_exposure),
            required_return: rounded(told.required_return),
            gain_over_hold: rounded(told.gain_over_hold),
            threshold: rounded(told.threshold),
            columns: decision.payoffs.columns().len() as u32,
            remaining_columns: told.remaining_columns as u32,
            cost: rounded(self.settings.cost),
            impact: rounded(self.settings.impact),
            dollar_volume: self.dollar_volume.ok().map(rounded),
            belief: belief(decision),
            eliminations: eliminations(decision),
            factor_groups: factor_groups.ok().cloned(),
        })
    }

    /// Why parts of the explanation are absent, by the path of the field.
    #[must_use]
    pub fn unexplained<'a>(&self, factor_groups: FactorGroups<'a>) -> Vec<(&'static str, &'a str)> {
        if self.decision.is_none() {
            return vec![];
        }
        let volume = self.dollar_volume.err().map(|why| ("explanation.dollar_volume", why));
        let groups = factor_groups.err().map(|why| ("explanation.factor_groups", why));
        volume.into_iter().chain(groups).collect()
    }
}

/// A mixed strategy, rounded such that it still sums to 1.
#[must_use]
pub fn strategy(mixed: &MixedStrategy) -> Strategy {
    let [sell, hold, buy] = rounded_distribution(Move::ALL.map(|a| mixed[a]));
    Strategy { sell, hold, buy }
}

/// How an action left, in the words of the answers.
#[must_use]
pub fn elimination(left: &crate::decision::dominance::Elimination) -> Elimination {
    Elimination {
        kind: match left.kind {
            Kind::OutOfRange => EliminationKind::OutOfRange,
            Kind::Strict => EliminationKind::Strict,
            Kind::Weak => EliminationKind::Weak,
            Kind::Mixture => EliminationKind::Mixture,
        },
        round: u32::from(left.round),
        by: (left.kind != Kind::OutOfRange).then(|| strategy(&left.by)),
    }
}

fn eliminations(decision: &Decision) -> Vec<EliminatedAction> {
    let mut left: Vec<_> = decision.ranking.iter().filter_map(|ranked| ranked.eliminated_by).collect();
    left.sort_by_key(|elimination| (elimination.round, elimination.action));
    let told = |left: crate::decision::dominance::Elimination| {
        let Elimination { kind, round, by } = elimination(&left);
        EliminatedAction { action: shown(left.action), kind, round, by }
    };
    left.into_iter().map(told).collect()
}

/// The belief in each distinct model, which every column of the model repeats.
fn belief(decision: &Decision) -> BTreeMap<String, f64> {
    decision.payoffs.columns().iter().map(|column| (column.models.join("+"), rounded(column.belief))).collect()
}

fn action_reason(reason: Reason) -> ActionReason {
    match reason {
        Reason::RiskNoLongerPaid => ActionReason::RiskNoLongerPaid,
        Reason::PremiumTooSmall => ActionReason::PremiumTooSmall,
        Reason::FallExpected => ActionReason::FallExpected,
        Reason::RiskWellPaid => ActionReason::RiskWellPaid,
        Reason::RiskWellPaidAndPremiumLarge => ActionReason::RiskWellPaidAndPremiumLarge,
        Reason::PremiumLarge => ActionReason::PremiumLarge,
        Reason::ShortNoLongerPaid => ActionReason::ShortNoLongerPaid,
        Reason::NearOptimum => ActionReason::NearOptimum,
        Reason::ChangeTooDear => ActionReason::ChangeTooDear,
        Reason::Undecided => ActionReason::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::game::ModelView;
    use crate::decision::holder::{Holder, LongRun};
    use crate::decision::signal::{SignalInputs, decide};
    use crate::opinion::signal::Action;

    fn played(volatilities: &[f64]) -> Played {
        let view = |(i, &volatility): (usize, &f64)| ModelView { name: format!("m{i}"), mean: 0.004, volatility };
        let settings = GameSettings::default();
        let inputs = SignalInputs {
            models: volatilities.iter().enumerate().map(view).collect(),
            belief: None,
            holder: Holder::default(),
            long_run: LongRun { mean: 0.004, volatility: 0.08 },
            settings,
        };
        Played::alone(decide(&inputs).ok(), settings)
    }

    #[test]
    fn a_sell_is_explained_by_its_numbers() {
        let told = played(&[0.16, 0.16, 0.17]).explanation(Err("no_seat")).unwrap();
        assert_eq!(told.reason, ActionReason::RiskNoLongerPaid);
        assert!(told.sentence.starts_with("Sell because the risk is no longer paid"), "{}", told.sentence);
        assert_eq!((told.columns, told.remaining_columns, told.exposure), (6, 2, 1));
        assert_eq!(told.belief, BTreeMap::from([("m0+m1".to_owned(), 0.5), ("m2".to_owned(), 0.5)]));
        let left: Vec<_> = told.eliminations.iter().map(|e| (e.action, e.kind, e.round)).collect();
        assert_eq!(left, [(Action::Hold, EliminationKind::Strict, 1), (Action::Buy, EliminationKind::Strict, 1)]);
        assert_eq!(told.eliminations[0].by, Some(Strategy { sell: 1.0, hold: 0.0, buy: 0.0 }));
        assert!((told.optimal_exposure - told.expected_return / told.required_return).abs() < 1e-3);
        assert_eq!((told.cost, told.impact, told.dollar_volume), (0.0005, 0.01, None));
    }

    #[test]
    fn what_is_missing_has_a_reason_and_without_a_decision_nothing_is_explained() {
        let mut game = played(&[0.08]);
        let fields = ["explanation.dollar_volume", "explanation.factor_groups"];
        assert_eq!(game.unexplained(Err("no_seat")).iter().map(|(field, _)| *field).collect::<Vec<_>>(), fields);
        game.dollar_volume = Ok(1.25e9);
        assert_eq!(game.explanation(Err("no_seat")).unwrap().dollar_volume, Some(1.25e9));
        assert_eq!(game.unexplained(Err("no_seat")).len(), 1);
        game.decision = None;
        assert_eq!((game.explanation(Err("no_seat")), game.unexplained(Err("no_seat"))), (None, vec![]));
    }
}

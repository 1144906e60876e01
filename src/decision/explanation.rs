//! What kind of sell, hold or buy it is: the numbers that decided, and one plain sentence.

use serde::{Deserialize, Serialize};

use super::action::{Action, PerAction};
use super::dominance::Reduction;
use super::game::{BelievedModel, Terms};
use super::holder::LongRun;
use super::signal::Basis;

/// What drives the served action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Sell: the gain expected is still positive, but volatility has risen beyond what it pays for.
    RiskNoLongerPaid,
    /// Sell: the gain expected is positive but smaller than the usual premium, and that weighs more than volatility.
    PremiumTooSmall,
    /// Sell: the price is expected to fall.
    FallExpected,
    /// Buy: volatility is so low that the usual gain pays for more exposure.
    RiskWellPaid,
    /// Buy: volatility is low, and more gain than usual is expected; the first weighs more.
    RiskWellPaidAndPremiumLarge,
    /// Buy: more gain than usual is expected, and that weighs more than volatility.
    PremiumLarge,
    /// Buy: a short position is no longer paid for its risk.
    ShortNoLongerPaid,
    /// Hold: the exposure is within half a unit of its best.
    NearOptimum,
    /// Hold: another exposure would be better, but the change would not earn its cost.
    ChangeTooDear,
    /// Hold: no action is best often enough.
    Undecided,
}

/// The numbers that decided, over the horizon and averaged over the belief in the models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What drives the action.
    pub reason: Reason,
    /// The same in words.
    pub sentence: String,
    /// Expected simple return.
    pub expected_return: f64,
    /// Volatility: root of the averaged variance.
    pub volatility: f64,
    /// mu0, the usual premium.
    pub long_run_return: f64,
    /// sigma_longrun.
    pub long_run_volatility: f64,
    /// lambda.
    pub risk_aversion: f64,
    /// The exposure now.
    pub exposure: i8,
    /// mu / (lambda sigma^2), the exposure that would be best without range and cost.
    pub optimal_exposure: f64,
    /// lambda sigma^2 for one unit: the return that would make one unit of exposure best.
    pub required_return: f64,
    /// Value of the served action less that of holding.
    pub gain_over_hold: f64,
    /// tau.
    pub threshold: f64,
    /// Columns after elimination.
    pub remaining_columns: usize,
}

/// What a decision was made in.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The models with their belief.
    pub models: &'a [BelievedModel],
    /// The holder's terms.
    pub terms: &'a Terms,
    /// What the holder is used to.
    pub long_run: LongRun,
    /// Value of each action against the crowd's equilibrium.
    pub values: PerAction<f64>,
    /// What dominance left.
    pub reduction: &'a Reduction,
}

/// Explains a served action.
#[must_use]
pub fn explain(action: Action, basis: Basis, threshold: f64, circumstances: &Circumstances<'_>) -> Explanation {
    let Circumstances { models, terms, long_run, values, reduction } = circumstances;
    let average = |value: fn(&BelievedModel) -> f64| models.iter().map(|m| m.belief * value(m)).sum::<f64>();
    let expected_return = average(|model| model.mean);
    let variance = average(|model| model.volatility * model.volatility);
    let required_return = terms.risk_aversion * variance;
    let exposure = terms.holder.exposure();
    let risk_aversion = terms.risk_aversion;
    let drive = Drive { expected_return, variance, risk_aversion, long_run: *long_run, exposure };
    let mut explanation = Explanation {
        reason: drive.reason(action, basis),
        sentence: String::new(),
        expected_return,
        volatility: variance.sqrt(),
        long_run_return: long_run.mean,
        long_run_volatility: long_run.volatility,
        risk_aversion: terms.risk_aversion,
        exposure,
        optimal_exposure: expected_return / required_return,
        required_return,
        gain_over_hold: values[action] - values[Action::Hold],
        threshold,
        remaining_columns: reduction.columns.len(),
    };
    explanation.sentence = explanation.in_words();
    explanation
}

/// Which of the two, the expected gain or the risk, moved the best exposure away from the usual one.
struct Drive {
    expected_return: f64,
    variance: f64,
    risk_aversion: f64,
    long_run: LongRun,
    exposure: i8,
}

/// Log of a gain over the usual one up to which it counts as usual: five percent more.
const USUAL: f64 = 0.05;

impl Drive {
    fn reason(&self, action: Action, basis: Basis) -> Reason {
        // The best exposure is mu / (lambda sigma^2): its logarithm moves by the sum of these two.
        let by_premium = (self.expected_return / self.long_run.mean).ln();
        let by_risk = (self.long_run.volatility.powi(2) / self.variance).ln();
        let best = self.expected_return / (self.risk_aversion * self.variance);
        match action {
            Action::Hold if basis == Basis::None => Reason::Undecided,
            Action::Hold if (best - f64::from(self.exposure)).abs() <= 0.5 => Reason::NearOptimum,
            Action::Hold => Reason::ChangeTooDear,
            Action::Sell if self.expected_return <= 0.0 => Reason::FallExpected,
            Action::Sell if by_risk <= by_premium => Reason::RiskNoLongerPaid,
            Action::Sell => Reason::PremiumTooSmall,
            Action::Buy if self.exposure < 0 => Reason::ShortNoLongerPaid,
            Action::Buy if by_risk >= by_premium && by_premium <= USUAL => Reason::RiskWellPaid,
            Action::Buy if by_risk >= by_premium => Reason::RiskWellPaidAndPremiumLarge,
            Action::Buy => Reason::PremiumLarge,
        }
    }
}

impl Explanation {
    fn in_words(&self) -> String {
        let percent = |value: f64| match (100.0 * value).abs() {
            small if small < 0.095 => format!("{:.2} %", 100.0 * value),
            _ => format!("{:.1} %", 100.0 * value),
        };
        let expected = percent(self.expected_return);
        let pay = format!(
            "one unit would need {} over the horizon and {expected} is expected",
            percent(self.required_return)
        );
        let risk = format!(
            "volatility over the horizon is {} against {} in the long run",
            percent(self.volatility),
            percent(self.long_run_volatility)
        );
        match self.reason {
            Reason::RiskNoLongerPaid => {
                format!("Sell because the risk is no longer paid, not because the price will fall: {risk}; {pay}.")
            }
            Reason::PremiumTooSmall => {
                format!(
                    "Sell because the expected gain has become too small for the risk, not because the price will fall: {pay}."
                )
            }
            Reason::FallExpected => format!("Sell because the price is expected to fall: {expected} over the horizon."),
            Reason::RiskWellPaid => {
                format!(
                    "Buy because the risk is well paid, not because the price will rise more than usual: {risk}; {pay}."
                )
            }
            Reason::RiskWellPaidAndPremiumLarge => {
                format!("Buy because the risk is well paid and more than the usual gain is expected: {risk}; {pay}.")
            }
            Reason::PremiumLarge => format!("Buy because more than the usual gain is expected: {pay}; {risk}."),
            Reason::ShortNoLongerPaid => {
                format!(
                    "Buy back because the short position is no longer paid for its risk: {risk}; {expected} is expected."
                )
            }
            Reason::NearOptimum => {
                format!(
                    "Hold because the exposure of {} is near its best, {:.1}: {risk}; a change would not earn its cost.",
                    self.exposure, self.optimal_exposure
                )
            }
            Reason::ChangeTooDear => {
                format!(
                    "Hold because a change would not earn its cost, though an exposure of {:.1} would be best without it: {risk}; {pay}.",
                    self.optimal_exposure
                )
            }
            Reason::Undecided => {
                format!(
                    "Hold because no action is best in {:.0} % of the {} cases: \
                     the models, or what other holders may do, point different ways.",
                    100.0 * self.threshold,
                    self.remaining_columns
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::game::ModelView;
    use crate::decision::holder::{Holder, HolderType};
    use crate::decision::signal::{GameSettings, SignalInputs, decide};

    fn explained(holder: Holder, models: &[(f64, f64)]) -> Explanation {
        let view = |&(mean, volatility): &(f64, f64)| ModelView { name: "m".to_owned(), mean, volatility };
        let inputs = SignalInputs {
            models: models.iter().map(view).collect(),
            belief: None,
            holder,
            long_run: LongRun { mean: 0.004, volatility: 0.08 },
            settings: GameSettings::default(),
        };
        decide(&inputs).unwrap().explanation
    }

    #[test]
    fn each_kind_of_action_names_its_reason() {
        let short = Holder::new(HolderType::LongShort, -1).unwrap();
        let table = [
            (Holder::default(), vec![(0.004, 0.16)], Reason::RiskNoLongerPaid),
            (Holder::default(), vec![(0.0001, 0.081)], Reason::PremiumTooSmall),
            (Holder::default(), vec![(-0.01, 0.08)], Reason::FallExpected),
            (Holder::default(), vec![(0.004, 0.05)], Reason::RiskWellPaid),
            (Holder::default(), vec![(0.0045, 0.05)], Reason::RiskWellPaidAndPremiumLarge),
            (Holder::default(), vec![(0.004, 0.0625)], Reason::ChangeTooDear),
            (Holder::default(), vec![(0.02, 0.08)], Reason::PremiumLarge),
            (short, vec![(0.02, 0.08)], Reason::ShortNoLongerPaid),
            (Holder::default(), vec![(0.004, 0.08)], Reason::NearOptimum),
            (Holder::default(), vec![(0.004, 0.3), (0.004, 0.04)], Reason::Undecided),
        ];
        for (holder, models, reason) in table {
            assert_eq!(explained(holder, &models).reason, reason, "{models:?}");
        }
    }

    #[test]
    fn a_sell_for_risk_says_so_in_words() {
        assert_eq!(
            explained(Holder::default(), &[(0.004, 0.16)]).sentence,
            "Sell because the risk is no longer paid, not because the price will fall: volatility over the horizon is \
             16.0 % against 8.0 % in the long run; one unit would need 1.6 % over the horizon and 0.4 % is expected."
        );
    }

    #[test]
    fn the_optimal_exposure_is_one_at_long_run_conditions() {
        let usual = explained(Holder::default(), &[(0.004, 0.08)]);
        assert!((usual.optimal_exposure - 1.0).abs() < 1e-12 && (usual.required_return - 0.004).abs() < 1e-12);
    }
}

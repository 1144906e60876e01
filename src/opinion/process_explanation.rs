//! Why the process says what it says: the deciding numbers and one plain sentence.

use crate::decision::action::{Action, PerAction};
use crate::decision::finite_process::best_action;
use crate::decision::market_process::MarketProcess;
use crate::decision::process::{HolderProcess, ProcessSettings, trend_word, volatility_word};
use crate::opinion::canonical::{rounded, rounded_to};
use crate::opinion::process::{ActionValues, ProcessExplanation};
use crate::opinion::process_solution::PAYOFF_DECIMALS;

/// Explains the action in the current state.
#[must_use]
pub fn explain(market: &MarketProcess, process: &HolderProcess<'_>, settings: &ProcessSettings) -> ProcessExplanation {
    let (m, state, numbers) = (market.current(), process.current_state(), market.numbers());
    let stays = market.transition()[m][m];
    let (action, values) = (process.action(state), process.values(state));
    let payoff = |value: f64| rounded_to(value, PAYOFF_DECIMALS);
    let mut explanation = ProcessExplanation {
        sentence: String::new(),
        q_value: ActionValues { sell: payoff(values.sell), hold: payoff(values.hold), buy: payoff(values.buy) },
        gap: payoff(values[action] - values[second_best(action, &values)]),
        // A state that is never left is one that lasts a million weeks.
        expected_weeks_in_state: rounded(1.0 / (1.0 - stays).max(1e-6)),
        premium: payoff(numbers.mean[m]),
        variance: payoff(numbers.variance[m]),
        required_return: payoff(process.risk_aversion() * numbers.variance[m]),
    };
    let reactions = Action::ALL.map(|action| process.finite().reaction(state, action.index()));
    let greedy = Action::ALL[best_action(&reactions)];
    // What trading costs is the difference that exposures alone do not explain.
    let costs = PerAction::from_fn(|action| if action == Action::Hold { 0.0 } else { settings.cost });
    let free = PerAction::from_fn(|action| reactions[action.index()] + costs[action]);
    let is_best_without_cost = free.hold >= free.sell && free.hold >= free.buy;
    let steps = settings.steps;
    let told = Told { action, greedy, values, market_state: m, steps, is_best_without_cost };
    explanation.sentence = sentence(&explanation, &told);
    explanation
}

/// What the sentence tells besides the numbers.
struct Told {
    action: Action,
    /// What the coming week alone would make best.
    greedy: Action,
    values: PerAction<f64>,
    market_state: usize,
    steps: Option<u32>,
    /// Holding would be best in the coming week if trading cost nothing.
    is_best_without_cost: bool,
}

fn sentence(explanation: &ProcessExplanation, told: &Told) -> String {
    let percent = |value: f64| format!("{:.2} %", 100.0 * value);
    let because = match told.action {
        action if action != told.greedy => "because of the states that tend to follow, not for the coming week alone",
        Action::Hold if told.is_best_without_cost => {
            "because this exposure is the best for the coming week, even without costs"
        }
        Action::Hold => "because a change would not earn its cost",
        Action::Sell if explanation.premium < 0.0 => "because the price is expected to fall",
        Action::Sell => "because the risk is not paid, not because the price will fall",
        Action::Buy => "because the risk is well paid",
    };
    let span = match told.steps {
        Some(1) => "over one week".to_owned(),
        Some(steps) => format!("over {steps} weeks"),
        None => "over all weeks to come, discounted".to_owned(),
    };
    let name = |action: Action| ["Sell", "Hold", "Buy"][action.index()];
    format!(
        "{} {because}: the market is {} and {}, which lasts {:.1} weeks on average; one unit is expected to earn {} in the \
         coming week and would need {} for its risk; the next best action, {}, is worth {} less {span}.",
        name(told.action),
        trend_word(told.market_state),
        volatility_word(told.market_state),
        explanation.expected_weeks_in_state,
        percent(explanation.premium),
        percent(explanation.required_return),
        second_best(told.action, &told.values),
        percent(explanation.gap),
    )
}

/// The best of the other actions; ties go to hold, then to sell.
fn second_best(best: Action, values: &PerAction<f64>) -> Action {
    let others: [f64; 3] = Action::ALL.map(|action| if action == best { f64::NEG_INFINITY } else { values[action] });
    Action::ALL[best_action(&others)]
}

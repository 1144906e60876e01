//! Comparisons of two actions in a market state: what a reward model learns from.
//!
//! In every quarter and state the realized payoffs of two actions are compared by the paired test of the contest. The
//! days are the observations: instruments of one day share their market, so their mean is one number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::action::{Action, PerAction};
use super::process::{trend_word, volatility_word};
use super::quarter::Quarter;
use crate::evaluation::short_series::short_series_test;
use crate::features::states::STATES;
use crate::market::bar::Day;
use crate::market::horizon::Horizon;

/// Pairs of actions, each in the order of the actions.
const PAIRS: [(Action, Action); 3] =
    [(Action::Sell, Action::Hold), (Action::Sell, Action::Buy), (Action::Hold, Action::Buy)];

/// How two actions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ComparisonRule {
    /// Decision days that one horizon overlaps, at least 1.
    pub overlap: usize,
    /// A two-sided p-value below it is a win, 0..1.
    pub level: f64,
    /// Days below which there is no comparison.
    pub days_minimum: usize,
}

/// Which of two actions paid more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// This one did.
    Win(Action),
    /// The difference can be chance.
    Tie,
}

/// Two actions compared in one state of one quarter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// When.
    pub quarter: Quarter,
    /// Over which horizon the payoffs were earned.
    pub horizon: Horizon,
    /// Market state, 3 x trend tercile + volatility tercile.
    pub state: u8,
    /// One action, before the other in the order of actions.
    pub first: Action,
    /// The other action.
    pub second: Action,
    /// Which of them paid more.
    pub outcome: Preference,
    /// Payoff of the first less that of the second, averaged over the days.
    pub mean_difference: f64,
    /// Two-sided; `None` where the days do not make two independent windows or the difference does not vary.
    pub p_value: Option<f64>,
    /// Decision days with an instrument in the state.
    pub days: usize,
    /// Instruments and days.
    pub rows: usize,
}

/// Collects realized payoffs by quarter, state and day.
#[derive(Debug, Clone)]
pub struct ComparisonData {
    horizon: Horizon,
    rule: ComparisonRule,
    days: BTreeMap<(Quarter, u8), BTreeMap<Day, DaySum>>,
}

/// Payoffs of the instruments of a day added up.
#[derive(Debug, Clone, Copy, Default)]
struct DaySum {
    payoff: PerAction<f64>,
    rows: usize,
}

impl ComparisonData {
    /// Nothing collected yet.
    #[must_use]
    pub fn new(horizon: Horizon, rule: ComparisonRule) -> Self {
        Self { horizon, rule, days: BTreeMap::new() }
    }

    /// Adds an instrument's payoffs at a matured decision day on which it was in `state`, 0..9. Rows with another state
    /// or a payoff that is not finite are left out. The result depends on the order of rows within a day in its last
    /// bits only.
    pub fn add(&mut self, day: Day, state: u8, payoff: &PerAction<f64>) {
        let finite = Action::ALL.into_iter().all(|action| payoff[action].is_finite());
        if !finite || usize::from(state) >= STATES {
            return;
        }
        let sum = self.days.entry((Quarter::of(day), state)).or_default().entry(day).or_default();
        Action::ALL.into_iter().for_each(|action| sum.payoff[action] += payoff[action]);
        sum.rows += 1;
    }

    /// All comparisons with days enough, by quarter, state and pair.
    #[must_use]
    pub fn comparisons(&self) -> Vec<Comparison> {
        let enough = self.days.iter().filter(|(_, days)| days.len() >= self.rule.days_minimum.max(1));
        let of_state = |(&of, days)| PAIRS.map(|pair| self.compare(of, days, pair));
        enough.flat_map(of_state).collect()
    }

    fn compare(
        &self,
        (quarter, state): (Quarter, u8),
        days: &BTreeMap<Day, DaySum>,
        (first, second): (Action, Action),
    ) -> Comparison {
        let difference = |sum: &DaySum| (sum.payoff[first] - sum.payoff[second]) / sum.rows as f64;
        let differences: Vec<f64> = days.values().map(difference).collect();
        let mean_difference = differences.iter().sum::<f64>() / differences.len() as f64;
        let p_value = short_series_test(&differences, self.rule.overlap).map(|test| test.p_value_two_sided);
        let outcome = match p_value {
            Some(p) if p < self.rule.level => Preference::Win(if mean_difference > 0.0 { first } else { second }),
            _ => Preference::Tie,
        };
        let rows = days.values().map(|sum| sum.rows).sum();
        let (horizon, days) = (self.horizon, differences.len());
        Comparison { quarter, horizon, state, first, second, outcome, mean_difference, p_value, days, rows }
    }
}

impl Comparison {
    /// The action that won; of a tie the one with the higher mean, the first where they are equal. Then the other one.
    #[must_use]
    pub fn chosen_and_rejected(&self) -> (Action, Action) {
        let first = match self.outcome {
            Preference::Win(action) => action == self.first,
            Preference::Tie => self.mean_difference >= 0.0,
        };
        if first { (self.first, self.second) } else { (self.second, self.first) }
    }

    fn line(&self, simulated: bool) -> Value {
        let (chosen, rejected) = self.chosen_and_rejected();
        let (trend, volatility) = state_in_words(self.state);
        let prompt = format!(
            "You hold one unit of a stock. Over the last quarter of a year its price was {trend} and its volatility was \
             {volatility}, by its own past. Do you sell, hold or buy for the next {} sessions?",
            self.horizon.sessions()
        );
        json!({
            "prompt": prompt,
            "state": {
                "index": self.state, "trend": trend, "volatility": volatility, "horizon": self.horizon, "exposure": 1,
            },
            "chosen": chosen,
            "rejected": rejected,
            "tie": self.outcome == Preference::Tie,
            "p_value": self.p_value,
            "reason": self.p_value.is_none().then_some("too_few_days"),
            "mean_difference": self.mean_difference.abs(),
            "days": self.days,
            "rows": self.rows,
            "quarter": self.quarter,
            "simulated": simulated,
        })
    }
}

/// Trend and volatility of a market state in words; a state above 8 counts as 8.
#[must_use]
pub fn state_in_words(state: u8) -> (&'static str, &'static str) {
    let state = usize::from(state).min(STATES - 1);
    (trend_word(state), volatility_word(state))
}

/// The comparisons as JSON lines, the form in which preference data are commonly trained on: a prompt, the chosen and
/// the rejected answer, and beside them what the choice rests on. `mean_difference` is that of the chosen less the
/// rejected action; every line ends with a line feed.
#[must_use]
pub fn to_jsonl(comparisons: &[Comparison], simulated: bool) -> String {
    comparisons.iter().map(|comparison| format!("{}\n", comparison.line(simulated))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: ComparisonRule = ComparisonRule { overlap: 1, level: 0.10, days_minimum: 5 };

    fn day(week: u64) -> Day {
        "2016-01-04".parse::<Day>().unwrap() + chrono::Days::new(7 * week)
    }

    fn falling_prices(weeks: u64) -> ComparisonData {
        let mut data = ComparisonData::new(Horizon::OneWeek, RULE);
        for week in 0..weeks {
            for instrument in 0..3 {
                let gain = -0.02 - 0.001 * (week % 4) as f64 - 0.003 * f64::from(instrument);
                data.add(day(week), 2, &PerAction { sell: 0.0, hold: gain, buy: 2.0 * gain });
            }
            data.add(day(week), 9, &PerAction::default());
            data.add(day(week), 2, &PerAction { sell: 0.0, hold: f64::NAN, buy: 0.0 });
        }
        data
    }

    #[test]
    fn selling_wins_when_prices_fall() {
        let found = falling_prices(17).comparisons();
        // Thirteen weeks of the first quarter; the four of the second are too few.
        assert_eq!(found.len(), 3);
        for comparison in &found {
            assert_eq!((comparison.state, comparison.days, comparison.rows), (2, 13, 39));
            assert_eq!(comparison.outcome, Preference::Win(comparison.first));
            assert!(comparison.p_value.unwrap() < 1e-6 && comparison.mean_difference > 0.02);
        }
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Comparison>>(&text).unwrap(), found);
    }

    #[test]
    fn lines_hold_a_prompt_and_two_answers() {
        let mut found = falling_prices(13).comparisons();
        found[1].outcome = Preference::Tie;
        found[1].p_value = None;
        found[1].mean_difference = -0.5;
        let text = to_jsonl(&found, true);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["chosen"], "sell");
        assert_eq!(lines[0]["rejected"], "hold");
        let state = json!({"index": 2, "trend": "falling", "volatility": "turbulent", "horizon": "1w", "exposure": 1});
        assert_eq!(lines[0]["state"], state);
        assert!(lines[0]["prompt"].as_str().unwrap().contains("falling and its volatility was turbulent"));
        assert_eq!(
            (&lines[0]["tie"], &lines[0]["quarter"], &lines[0]["simulated"]),
            (&json!(false), &json!("2016-Q1"), &json!(true))
        );
        assert_eq!((&lines[1]["tie"], &lines[1]["p_value"]), (&json!(true), &Value::Null));
        assert_eq!((&lines[1]["chosen"], &lines[1]["mean_difference"]), (&json!("buy"), &json!(0.5)));
        assert!(text.ends_with('\n') && to_jsonl(&[], false).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn whoever_wins_earned_more(
            rows in prop::collection::vec((0_u64..40, 0_u8..9, prop::array::uniform3(-0.1_f64..0.1)), 0..200),
            overlap in 1_usize..5,
        ) {
            let mut data = ComparisonData::new(Horizon::FourWeeks, ComparisonRule { overlap, ..RULE });
            for (week, state, [sell, hold, buy]) in &rows {
                data.add(day(*week), *state, &PerAction { sell: *sell, hold: *hold, buy: *buy });
            }
            let found = data.comparisons();
            for comparison in &found {
                let (chosen, rejected) = comparison.chosen_and_rejected();
                prop_assert!(chosen != rejected && comparison.first < comparison.second && comparison.days >= 5);
                prop_assert!(comparison.rows >= comparison.days);
                prop_assert_eq!(chosen == comparison.first, comparison.mean_difference >= 0.0);
                let decided = comparison.p_value.is_some_and(|p| p < 0.1);
                prop_assert_eq!(comparison.outcome == Preference::Win(chosen), decided);
            }
            prop_assert_eq!(to_jsonl(&found, false).lines().count(), found.len());
        }
    }
}

//! Splits and dividends, read off the ratio of the adjusted close to the raw close.
//!
//! Between two actions the ratio `k = adjusted / close` is constant up to rounding; where it steps from one level to
//! another by a factor `J = k_after / k_before`, the total return of that day is `ln(J close / previous_close)`. A step
//! is one action: a split of `J` for one, or a dividend of `previous_close (1 - 1/J)`, so that
//! [`Action::log_return`] gives the total return of the adjusted close.

use crate::market::bar::{Action, Day};

/// Noise of `ln k` from one day to the next that is not decimal rounding: Yahoo computes adjusted closes in single
/// precision with rounded factors. On 106 real series it stays below 2e-6, while the smallest dividend is 4.7e-5.
const RELATIVE_NOISE: f64 = 4e-6;

/// Days on each side of a step whose median is the level of the ratio there.
const LEVEL_DAYS: usize = 21;

/// How far, as a share of the price, a dividend may be moved to a round number. The declared amount is nearly always
/// the roundest one within the noise, and a round amount stays the same when the file is downloaded again.
const ROUND_WITHIN: f64 = 3e-7;

/// Smallest step that can be a split; stock dividends below it are kept as cash of the same value.
const SMALLEST_SPLIT: f64 = 1.2;

/// One day of a series with both closes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdjustedDay {
    /// Session.
    pub day: Day,
    /// Close as traded (or adjusted for splits only).
    pub close: f64,
    /// Close adjusted for everything, above 0; absent on some days of bad sources.
    pub adjusted: Option<f64>,
}

/// Half a unit of the last decimal of each column, the largest rounding error of its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounding {
    /// Of the raw close.
    pub close: f64,
    /// Of the adjusted close.
    pub adjusted: f64,
}

/// An action with a word on how it was found, where the owner of the file should look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct DerivedAction {
    /// The action.
    pub action: Action,
    /// Position of its day in the series.
    pub at: usize,
    /// What to tell the owner of the file; plain dividends need no word.
    pub remark: Option<String>,
}

/// Derives the actions of a series.
///
/// # Shapes
/// `days` ascend. The result ascends, at most one action a day.
#[must_use]
pub fn derive(days: &[AdjustedDay], rounding: Rounding) -> Vec<DerivedAction> {
    let ratios = log_ratios(days, rounding);
    let steps: Vec<usize> = (1..ratios.len()).filter(|i| ratios[*i].differs_from(&ratios[i - 1])).collect();
    let mut actions = Vec::with_capacity(steps.len());
    for (number, &step) in steps.iter().enumerate() {
        let start = if number == 0 { 0 } else { steps[number - 1] };
        let end = steps.get(number + 1).copied().unwrap_or(ratios.len());
        let before = median(&ratios[start.max(step.saturating_sub(LEVEL_DAYS))..step]);
        let after = median(&ratios[step..end.min(step + LEVEL_DAYS)]);
        let at = ratios[step].at;
        let noise = ratios[step].error + ratios[step - 1].error + RELATIVE_NOISE;
        actions.extend(explain(days, at, Step { log_factor: after - before, noise }));
    }
    actions
}

/// Whether two actions of the same day mean the same, given the close before it: derived twice from rounded prices,
/// they agree to about 1e-6.
#[must_use]
pub fn agree(one: &Action, other: &Action, previous_close: f64) -> bool {
    let effect = |a: &Action| a.log_return(previous_close, previous_close);
    let close = |a: f64, b: f64| (a - b).abs() <= 2e-6;
    one.day == other.day
        && close(one.split.ln(), other.split.ln())
        && matches!((effect(one), effect(other)), (Some(a), Some(b)) if close(a, b))
}

/// `ln k` of one day.
struct LogRatio {
    at: usize,
    value: f64,
    error: f64,
}

impl LogRatio {
    fn differs_from(&self, other: &Self) -> bool {
        (self.value - other.value).abs() > RELATIVE_NOISE + self.error + other.error
    }
}

struct Step {
    log_factor: f64,
    noise: f64,
}

fn log_ratios(days: &[AdjustedDay], rounding: Rounding) -> Vec<LogRatio> {
    let ratio = |(at, day): (usize, &AdjustedDay)| {
        let adjusted = day.adjusted?;
        let error = rounding.close / day.close + rounding.adjusted / adjusted;
        Some(LogRatio { at, value: (adjusted / day.close).ln(), error })
    };
    days.iter().enumerate().filter_map(ratio).collect()
}

fn median(ratios: &[LogRatio]) -> f64 {
    let mut values: Vec<f64> = ratios.iter().map(|r| r.value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// Names a step. `None` when the levels turn out equal: a single odd day made it.
fn explain(days: &[AdjustedDay], at: usize, step: Step) -> Option<DerivedAction> {
    let (day, close, previous) = (days[at].day, days[at].close, days[at - 1].close);
    let factor = step.log_factor.exp();
    let derived =
        |split: f64, dividend: f64, remark| Some(DerivedAction { action: Action { day, split, dividend }, at, remark });
    if step.log_factor.abs() <= step.noise / 2.0 {
        return None;
    }
    // A split moves the close the other way; half of the step is enough to tell it from a quiet day.
    let close_moves_inversely = (close / previous).ln() / -step.log_factor > 0.5;
    if let Some((split, dividend)) = split_within(factor, step.noise).filter(|_| close_moves_inversely) {
        let dividend = round_amount(previous * dividend, previous);
        let remark = format!(
            "{day}: the close is not adjusted for a split of {} for 1; taken from the adjusted close",
            round_amount(split, split)
        );
        return derived(split, dividend, Some(remark));
    }
    if factor < 1.0 {
        let remark = format!(
            "{day}: the adjusted close drops by {:.4} % against the close; kept as a split",
            100.0 * (1.0 - factor)
        );
        return derived(factor, 0.0, Some(remark));
    }
    let dividend = round_amount(previous * -(-step.log_factor).exp_m1(), previous);
    let large = factor > SMALLEST_SPLIT;
    let remark =
        large.then(|| format!("{day}: the adjusted close implies a dividend of {dividend} on a close of {previous}"));
    derived(1.0, dividend, remark)
}

/// The simple split behind a step, with the dividend (a share of the previous close) that is left over: `n` for 1 or
/// 1 for `n`, up to 100; 3, 5 or 7 for 2; 4 for 3; 5 for 4; and their inverses.
fn split_within(factor: f64, noise: f64) -> Option<(f64, f64)> {
    const FRACTIONS: [f64; 5] = [1.5, 2.5, 3.5, 4.0 / 3.0, 1.25];
    const LARGEST_DIVIDEND: f64 = 0.03;
    if factor.max(1.0 / factor) < SMALLEST_SPLIT {
        return None;
    }
    let whole = (2..=100).map(f64::from);
    let candidates = whole.chain(FRACTIONS).map(|s| if factor > 1.0 { s } else { 1.0 / s });
    let left_over = |split: f64| (factor / split).ln();
    let exact = candidates.clone().find(|s| left_over(*s).abs() <= noise.max(1e-5));
    let with_dividend = || {
        let fits = |s: &f64| (0.0..LARGEST_DIVIDEND).contains(&left_over(*s)) && (*s >= 2.0 || *s <= 0.5);
        let nearest = candidates.filter(fits).min_by(|a, b| left_over(*a).total_cmp(&left_over(*b)));
        nearest.map(|split| (split, -(-left_over(split)).exp_m1()))
    };
    exact.map(|split| (split, 0.0)).or_else(with_dividend)
}

/// The number with the fewest decimals within [`ROUND_WITHIN`] of the price.
fn round_amount(amount: f64, price: f64) -> f64 {
    let rounded = (0..=9).map(|digits| {
        let unit = 10f64.powi(digits);
        (amount * unit).round() / unit
    });
    rounded.into_iter().find(|r| (r - amount).abs() <= ROUND_WITHIN * price).unwrap_or(amount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIX_DECIMALS: Rounding = Rounding { close: 5e-7, adjusted: 5e-7 };

    /// A series whose adjusted close is computed backwards from the actions, both closes rounded to six decimals.
    fn series(closes: &[f64], actions: &[Action]) -> Vec<AdjustedDay> {
        let first = Day::from_ymd_opt(2024, 1, 1).unwrap();
        let round = |x: f64| (x * 1e6).round() / 1e6;
        let day_at = |i: usize| first + chrono::Days::new(i as u64);
        let mut factor = 1.0;
        let mut days: Vec<AdjustedDay> = Vec::new();
        for i in (0..closes.len()).rev() {
            days.push(AdjustedDay {
                day: day_at(i),
                close: round(closes[i]),
                adjusted: Some(round(closes[i] * factor)),
            });
            if let Some(a) = actions.iter().find(|a| a.day == day_at(i)) {
                factor *= (closes[i - 1] - a.dividend) / closes[i - 1] / a.split;
            }
        }
        days.reverse();
        days
    }

    fn action(i: usize, split: f64, dividend: f64) -> Action {
        Action { day: Day::from_ymd_opt(2024, 1, 1).unwrap() + chrono::Days::new(i as u64), split, dividend }
    }

    #[test]
    fn planted_actions_are_found_as_they_are() {
        let closes: Vec<f64> =
            (0..40).map(|i| if i < 20 { 400.0 + f64::from(i) } else { 100.0 + f64::from(i) }).collect();
        for planted in [
            vec![action(20, 4.0, 0.0)],
            vec![action(10, 1.0, 0.82), action(20, 4.0, 0.0)],
            vec![action(20, 4.0, 1.25)],
            vec![action(5, 1.0, 0.02), action(6, 1.0, 0.03)],
            vec![],
        ] {
            let found: Vec<Action> =
                derive(&series(&closes, &planted), SIX_DECIMALS).iter().map(|d| d.action).collect();
            assert_eq!(found, planted);
        }
        let reverse: Vec<f64> = closes.iter().rev().copied().collect();
        let found = derive(&series(&reverse, &[action(20, 0.25, 0.0)]), SIX_DECIMALS);
        assert_eq!(found[0].action, action(20, 0.25, 0.0));
        assert!(found[0].remark.as_ref().unwrap().contains("split of 0.25 for 1"));
    }

    #[test]
    fn a_large_cash_dividend_is_no_split_and_a_missing_value_no_action() {
        let closes = vec![10.0, 10.0, 10.0, 7.1, 7.0, 7.0];
        let mut days = series(&closes, &[action(3, 1.0, 2.9)]);
        days[1].adjusted = None;
        let found = derive(&days, SIX_DECIMALS);
        assert_eq!((found.len(), found[0].action), (1, action(3, 1.0, 2.9)));
        assert!(found[0].remark.is_some());
    }

    #[test]
    fn the_same_action_derived_twice_agrees() {
        let one = action(1, 1.0, 0.5);
        assert!(agree(&one, &action(1, 1.0, 0.500_05), 100.0));
        assert!(!agree(&one, &action(1, 1.0, 0.501), 100.0));
        assert!(!agree(&one, &action(1, 2.0, 0.5), 100.0));
    }

    proptest! {
        #[test]
        fn total_returns_are_those_of_the_adjusted_close(
            steps in prop::collection::vec(-0.05..0.05f64, 30..80),
            planted in prop::collection::btree_map(
                1..30usize,
                (1u32..500, prop::sample::select(vec![1.0, 1.0, 1.0, 2.0, 3.0, 0.1])),
                0..5,
            ),
        ) {
            let (mut closes, mut actions) = (vec![500.0], vec![]);
            for (i, step) in steps.iter().enumerate() {
                let (basis_points, split) = planted.get(&(i + 1)).copied().unwrap_or((0, 1.0));
                let dividend = (closes[i] * f64::from(basis_points)).round() / 1e4;
                closes.push((closes[i] - dividend) / split * step.exp());
                if basis_points > 0 {
                    actions.push(action(i + 1, split, dividend));
                }
            }
            let days = series(&closes, &actions);
            let derived = derive(&days, SIX_DECIMALS);
            for (i, pair) in days.windows(2).enumerate() {
                let none = action(i + 1, 1.0, 0.0);
                let found = derived.iter().find(|d| d.at == i + 1).map_or(none, |d| d.action);
                let expected = (pair[1].adjusted.unwrap() / pair[0].adjusted.unwrap()).ln();
                let total = found.log_return(pair[0].close, pair[1].close).unwrap();
                prop_assert!((total - expected).abs() < 2e-6, "{i}: {total} {expected} {found:?}");
            }
        }
    }
}

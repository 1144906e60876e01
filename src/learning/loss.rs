//! What each head's output costs when the truth is known, and the slope of that cost.
//!
//! Losses and slopes are closed forms over the output row, so that unknown targets cost nothing to skip; the network
//! receives the slopes as the gradient of its outputs. Every loss is the one that the evaluation uses, and an output
//! of 0 always is the benchmark.

use crate::learning::dataset::{HorizonTargets, RowTargets};
use crate::learning::task::{HEADS, Head, STATES, Task};

/// Corrections of a logarithm or a logit stay within +- this: a variance is corrected by a factor of 4.5 at most.
pub const CORRECTION_LIMIT: f32 = 1.5;
/// The mean stays within +- this many of the benchmark's volatilities; at 4w that is 1.8 a year.
pub const MEAN_LIMIT: f32 = 0.5;
/// QLIKE continues as a line where the realized variance exceeds the forecast by more than e to this.
const QLIKE_LINE_FROM: f32 = 3.0;
/// The squared error of the mean continues as a line beyond this many volatilities (Huber 1964).
const MEAN_LINE_FROM: f32 = 3.0;
/// Base rates are kept this far from 0 and 1, so that their logit stays finite.
const BASE_RATE_MARGIN: f32 = 0.005;

/// Smooth bound L tanh(x / L) of a logarithm's or a logit's correction, L = [`CORRECTION_LIMIT`]; slope 1 at 0.
#[must_use]
pub fn bounded_correction(output: f32) -> f32 {
    bounded(output, CORRECTION_LIMIT)
}

/// The same bound of the mean, L = [`MEAN_LIMIT`].
#[must_use]
pub fn bounded_mean(output: f32) -> f32 {
    bounded(output, MEAN_LIMIT)
}

/// Log odds of a base rate, the offset of a binary head.
#[must_use]
pub fn base_logit(probability: f32) -> f32 {
    let kept = probability.clamp(BASE_RATE_MARGIN, 1.0 - BASE_RATE_MARGIN);
    (kept / (1.0 - kept)).ln()
}

/// Softmax in place, stable for any finite logits.
pub fn softmax(values: &mut [f32]) {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let sum: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
}

/// Loss of one head in one row; its slope is written to `slope`. `None`, and an untouched `slope`, where the target
/// is not known.
///
/// - volatility, dispersion: QLIKE exp(d) - d - 1, d = log variance ratio - bounded correction (Patton 2011);
/// - mean: half the squared error of the bounded mean, Huber beyond 3;
/// - direction, drawdown: negative log likelihood of the base rate's logit plus the bounded correction;
/// - rank: ranked probability score, mean over five classes of (F_k - C_k)^2;
/// - next state: negative log likelihood of a softmax.
///
/// # Shapes
/// `outputs` and `slope` hold the head's own columns.
#[must_use]
pub fn head_loss(head: Head, outputs: &[f32], targets: &RowTargets, slope: &mut [f32]) -> Option<f32> {
    let at: &HorizonTargets = &targets.horizons[head.horizon.index()];
    match head.task {
        Task::Volatility => scalar(variance_loss, outputs, at.log_variance_ratio, slope),
        Task::Dispersion => scalar(variance_loss, outputs, at.log_dispersion_ratio, slope),
        Task::Mean => scalar(mean_loss, outputs, at.scaled_return, slope),
        Task::Direction => binary(outputs, at.up, at.benchmark_probability_up, slope),
        Task::Drawdown => binary(outputs, at.drawdown, at.benchmark_probability_drawdown, slope),
        Task::Rank => rank_loss(outputs, &at.quintile, slope),
        Task::NextState => state_loss(outputs, targets.next_state, slope),
    }
}

/// Loss of every head in one row, in the order of [`Head::all`]; `None` where the target is not known.
///
/// # Shapes
/// `outputs` is `[OUTPUTS]`, each head already at its share.
#[must_use]
pub fn row_losses(outputs: &[f32], targets: &RowTargets) -> [Option<f32>; HEADS] {
    let mut slope = [0.0; STATES];
    Head::all().map(|head| head_loss(head, &outputs[head.columns()], targets, &mut slope[..head.width]))
}

fn scalar(loss: fn(f32, f32) -> (f32, f32), outputs: &[f32], target: f32, slope: &mut [f32]) -> Option<f32> {
    if !target.is_finite() {
        return None;
    }
    let (value, derivative) = loss(outputs[0], target);
    slope[0] = derivative;
    Some(value)
}

fn variance_loss(output: f32, log_ratio: f32) -> (f32, f32) {
    let correction = bounded_correction(output);
    let excess = log_ratio - correction;
    let ratio = excess.min(QLIKE_LINE_FROM).exp();
    let beyond = (excess - QLIKE_LINE_FROM).max(0.0);
    let value = ratio - excess.min(QLIKE_LINE_FROM) - 1.0 + (ratio - 1.0) * beyond;
    (value, (1.0 - ratio) * bound_slope(correction, CORRECTION_LIMIT))
}

fn mean_loss(output: f32, scaled_return: f32) -> (f32, f32) {
    let mean = bounded_mean(output);
    let error = mean - scaled_return;
    let kept = error.clamp(-MEAN_LINE_FROM, MEAN_LINE_FROM);
    (kept * (error - 0.5 * kept), kept * bound_slope(mean, MEAN_LIMIT))
}

fn binary(outputs: &[f32], outcome: f32, base_rate: f32, slope: &mut [f32]) -> Option<f32> {
    if !(outcome.is_finite() && base_rate.is_finite()) {
        return None;
    }
    let correction = bounded_correction(outputs[0]);
    let logit = base_logit(base_rate) + correction;
    let odds_against = (-logit.abs()).exp();
    let likelier = 1.0 / (1.0 + odds_against);
    let probability = if logit < 0.0 { odds_against * likelier } else { likelier };
    slope[0] = (probability - outcome) * bound_slope(correction, CORRECTION_LIMIT);
    Some(logit.max(0.0) - likelier.ln() - outcome * logit)
}

fn rank_loss(outputs: &[f32], membership: &[f32], slope: &mut [f32]) -> Option<f32> {
    if membership.iter().any(|share| !share.is_finite()) {
        return None;
    }
    let classes = outputs.len();
    slope.copy_from_slice(outputs);
    softmax(slope);
    // From the last class back: the difference of the cumulative sums at class k counts for every class up to k.
    let (mut value, mut gradients, mut tail) = (0.0, [0.0; crate::learning::task::CLASSES], 0.0);
    let mut difference: f32 = 0.0;
    for class in (0..classes - 1).rev() {
        difference += membership[class + 1] - slope[class + 1];
        value += difference * difference;
        tail += difference;
        gradients[class] = 2.0 * tail / classes as f32;
    }
    let mean: f32 = gradients.iter().zip(slope.iter()).map(|(gradient, share)| gradient * share).sum();
    slope.iter_mut().zip(gradients).for_each(|(share, gradient)| *share *= gradient - mean);
    Some(value / classes as f32)
}

fn state_loss(outputs: &[f32], state: u8, slope: &mut [f32]) -> Option<f32> {
    if state == RowTargets::UNKNOWN_STATE {
        return None;
    }
    slope.copy_from_slice(outputs);
    softmax(slope);
    let likelihood = slope[usize::from(state)];
    slope[usize::from(state)] -= 1.0;
    Some(-likelihood.max(f32::MIN_POSITIVE).ln())
}

fn bounded(output: f32, limit: f32) -> f32 {
    limit * (output / limit).tanh()
}

/// Derivative of [`bounded`], from its value.
fn bound_slope(value: f32, limit: f32) -> f32 {
    1.0 - (value / limit).powi(2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::learning::task::{CLASSES, HORIZONS, OUTPUTS};

    fn targets(ratio: f32, scaled: f32, outcome: f32, base: f32, class: usize, state: u8) -> RowTargets {
        let mut quintile = [0.0; CLASSES];
        quintile[class] = 0.75;
        quintile[(class + 1) % CLASSES] += 0.25;
        let horizon = HorizonTargets {
            log_variance_ratio: ratio,
            log_dispersion_ratio: -ratio,
            scaled_return: scaled,
            up: outcome,
            benchmark_probability_up: base,
            drawdown: 1.0 - outcome,
            benchmark_probability_drawdown: base,
            quintile,
        };
        RowTargets { horizons: [horizon; HORIZONS], next_state: state }
    }

    fn loss(head: Head, outputs: &[f32], targets: &RowTargets) -> f32 {
        head_loss(head, outputs, targets, &mut vec![0.0; head.width]).unwrap()
    }

    proptest! {
        #[test]
        fn slopes_match_finite_differences(
            raw in prop::collection::vec(-2.0f32..2.0, 9),
            ratio in -6.0f32..6.0, scaled in -6.0f32..6.0, up in 0u8..2, base in 0.02f32..0.98,
            class in 0usize..5, state in 0u8..9,
        ) {
            let truth = targets(ratio, scaled, f32::from(up), base, class, state);
            for head in Head::all().into_iter().step_by(HORIZONS) {
                let outputs = &raw[..head.width];
                let mut slope = vec![0.0; head.width];
                head_loss(head, outputs, &truth, &mut slope).unwrap();
                for column in 0..head.width {
                    let step = 1e-2;
                    let shifted = |by: f32| {
                        let mut moved = outputs.to_vec();
                        moved[column] += by;
                        loss(head, &moved, &truth)
                    };
                    let numeric = (shifted(step) - shifted(-step)) / (2.0 * step);
                    prop_assert!((numeric - slope[column]).abs() < 5e-3 * (1.0 + numeric.abs()),
                        "{} column {column}: {numeric} against {}", head.label(), slope[column]);
                }
            }
        }
    }

    #[test]
    fn zero_outputs_cost_what_the_benchmark_costs() {
        let truth = targets(0.7, 1.2, 1.0, 0.6, 4, 2);
        let at_zero = |task: Task| {
            let head = Head::all()[Head::index(task, crate::market::horizon::Horizon::FourWeeks)];
            f64::from(loss(head, &vec![0.0; head.width], &truth))
        };
        assert!((at_zero(Task::Volatility) - (0.7f64.exp() - 0.7 - 1.0)).abs() < 1e-6);
        assert!((at_zero(Task::Mean) - 0.5 * 1.44).abs() < 1e-6);
        assert!((at_zero(Task::Direction) + 0.6f64.ln()).abs() < 1e-6);
        // Cumulative shares .2 .4 .6 .8 against .25 .25 .25 .25 (class 5 wraps a quarter to class 1).
        let squares = 0.05f64.powi(2) + 0.15f64.powi(2) + 0.35f64.powi(2) + 0.55f64.powi(2);
        assert!((at_zero(Task::Rank) - squares / 5.0).abs() < 1e-6);
        assert!((at_zero(Task::NextState) - 9f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_row_has_the_losses_of_its_heads() {
        let truth = targets(0.7, 1.2, 1.0, 0.6, 4, RowTargets::UNKNOWN_STATE);
        let outputs: [f32; OUTPUTS] = std::array::from_fn(|column| 0.01 * column as f32);
        let losses = row_losses(&outputs, &truth);
        for (index, head) in Head::all().into_iter().enumerate().take(HEADS - 1) {
            assert_eq!(losses[index], Some(loss(head, &outputs[head.columns()], &truth)), "{}", head.label());
        }
        assert_eq!(losses[HEADS - 1], None);
    }

    #[test]
    fn uniform_ranks_score_sixteen_hundredths_over_all_classes() {
        let head = Head::all()[Head::index(Task::Rank, crate::market::horizon::Horizon::FourWeeks)];
        let mut total = 0.0;
        for class in 0..CLASSES {
            let mut truth = targets(0.0, 0.0, 1.0, 0.5, class, 0);
            truth.horizons[1].quintile = std::array::from_fn(|k| f32::from(k == class));
            total += loss(head, &[0.0; CLASSES], &truth);
        }
        assert!((total / 5.0 - 0.16).abs() < 1e-6);
    }

    #[test]
    fn unknown_targets_cost_nothing_and_leave_no_slope() {
        for head in Head::all() {
            let mut slope = vec![7.0; head.width];
            assert_eq!(head_loss(head, &vec![0.3; head.width], &RowTargets::UNKNOWN, &mut slope), None);
            assert!(slope.iter().all(|value| *value == 7.0));
        }
    }

    #[test]
    fn outliers_stay_finite() {
        let truth = targets(60.0, 1e4, 1.0, 1.0, 0, 0);
        for head in Head::all() {
            for output in [-1e6, 0.0, 1e6] {
                let mut slope = vec![0.0; head.width];
                assert!(head_loss(head, &vec![output; head.width], &truth, &mut slope).unwrap().is_finite());
                assert!(slope.iter().all(|value| value.is_finite()));
            }
        }
    }
}

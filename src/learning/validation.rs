//! What the later days say of a network: which weights to keep, and how much of each head to believe.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::learning::dataset::KnownTargets;
use crate::learning::loss::head_loss;
use crate::learning::objective::{Reference, references};
use crate::learning::recipe::TaskWeights;
use crate::learning::task::{HEADS, Head, OUTPUTS, STATES};

/// Shares of a head's output that validation chooses from, besides 0, the benchmark.
const SHARES: [f32; 4] = [0.25, 0.5, 0.75, 1.0];
/// Level of the one-sided lower bound of a gain.
const CONFIDENCE: f64 = 0.9;
/// A gain needs this many disjoint horizons in the validation span.
const FEWEST_BLOCKS: usize = 3;

/// Validation's opinion of some outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// By head, the share of its output with the best lower bound, 0 to 1 in quarters; 0 without a sure gain.
    pub shrink: [f32; HEADS],
    /// By head, mean loss at that share over the benchmark's; 1 at share 0.
    pub relative_loss: [f64; HEADS],
    /// Weighted mean over heads of 1 - the lower bound of the relative gain, at most 1: what early stopping watches.
    /// A head that overfits counts as the benchmark and does not stop the others.
    pub loss: f64,
}

/// Targets of the validation rows and what the benchmark costs there.
#[derive(Debug, Clone)]
pub struct Validation<'a> {
    targets: KnownTargets<'a>,
    references: [Reference; HEADS],
}

/// Mean gain of a share over the benchmark, and its lower bound.
#[derive(Debug, Clone, Copy)]
struct Gain {
    mean: f64,
    lower: f64,
}

impl<'a> Validation<'a> {
    /// Measures the benchmark on the validation rows.
    #[must_use]
    pub fn fit(targets: KnownTargets<'a>, weights: &TaskWeights) -> Self {
        Self { targets, references: references(&targets, weights) }
    }

    /// Finds for each head the share of its output whose gain has the best lower bound.
    ///
    /// The bound is one-sided at 90 %, Student's t over sums of blocks as long as the horizon: rows of one day and
    /// overlapping horizons are not independent. With fewer than three such blocks nothing is believed.
    ///
    /// # Shapes
    /// `outputs` is `[validation rows][OUTPUTS]`.
    #[must_use]
    pub fn judge(&self, outputs: &[f32]) -> Judgement {
        let mut judgement = Judgement { shrink: [0.0; HEADS], relative_loss: [1.0; HEADS], loss: 1.0 };
        for (index, head) in Head::all().into_iter().enumerate() {
            let reference = self.references[index];
            if reference.weight == 0.0 {
                continue;
            }
            let mut best = Gain { mean: 0.0, lower: 0.0 };
            for share in SHARES {
                let gain = self.gain(head, outputs, share);
                if let Some(gain) = gain.filter(|gain| gain.lower > best.lower) {
                    best = gain;
                    judgement.shrink[index] = share;
                }
            }
            judgement.relative_loss[index] = 1.0 - best.mean / reference.mean_loss;
            judgement.loss -= reference.weight * best.lower / reference.mean_loss;
        }
        judgement
    }

    /// `None` with too few blocks.
    fn gain(&self, head: Head, outputs: &[f32], share: f32) -> Option<Gain> {
        let (zeros, mut scaled, mut slope) = ([0.0; STATES], [0.0; STATES], [0.0; STATES]);
        let first = *self.targets.days().iter().min()?;
        let mut blocks: Vec<(f64, f64)> = Vec::new();
        for (row, (outputs, &day)) in outputs.chunks_exact(OUTPUTS).zip(self.targets.days()).enumerate() {
            let Some(targets) = self.targets.at(row, head.horizon) else { continue };
            scaled.iter_mut().zip(&outputs[head.columns()]).for_each(|(scaled, output)| *scaled = share * output);
            let mut loss = |outputs: &[f32]| head_loss(head, &outputs[..head.width], targets, &mut slope[..head.width]);
            let (Some(benchmark), Some(network)) = (loss(&zeros), loss(&scaled)) else { continue };
            let block = (day - first) as usize / head.horizon.sessions();
            blocks.resize(blocks.len().max(block + 1), (0.0, 0.0));
            blocks[block].0 += f64::from(benchmark) - f64::from(network);
            blocks[block].1 += 1.0;
        }
        blocks.retain(|(_, count)| *count > 0.0);
        clustered_gain(&blocks)
    }
}

/// Mean over all rows, and its lower bound with errors clustered by block. `blocks` holds sums and counts.
fn clustered_gain(blocks: &[(f64, f64)]) -> Option<Gain> {
    if blocks.len() < FEWEST_BLOCKS {
        return None;
    }
    let count = blocks.len() as f64;
    let rows: f64 = blocks.iter().map(|(_, rows)| rows).sum();
    let mean = blocks.iter().map(|(sum, _)| sum).sum::<f64>() / rows;
    let squares: f64 = blocks.iter().map(|(sum, rows)| (sum - mean * rows).powi(2)).sum();
    let error = (count / (count - 1.0) * squares).sqrt() / rows;
    let quantile = StudentsT::new(0.0, 1.0, count - 1.0).ok()?.inverse_cdf(CONFIDENCE);
    Some(Gain { mean, lower: mean - quantile * error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::dataset::{HorizonTargets, RowTargets};

    fn judge_shares(targets: &[RowTargets], days: &[u32], outputs: &[f32], weights: &TaskWeights) -> Judgement {
        Validation::fit(KnownTargets::until(u32::MAX, targets, days), weights).judge(outputs)
    }

    const ROWS: usize = 40;

    /// Rows with only the volatility known, at the first horizon: log variance ratios +.4 and -.4 in turn, a day each.
    fn alternating() -> (Vec<RowTargets>, Vec<u32>) {
        let row = |row: usize| {
            let mut targets = RowTargets::UNKNOWN;
            targets.horizons[0] = HorizonTargets { log_variance_ratio: 0.4 * sign(row), ..HorizonTargets::UNKNOWN };
            targets
        };
        ((0..ROWS).map(row).collect(), (0..ROWS as u32).map(|day| 7 + 5 * day).collect())
    }

    fn validation<'a>(targets: &'a [RowTargets], days: &'a [u32]) -> Validation<'a> {
        Validation::fit(KnownTargets::until(u32::MAX, targets, days), &TaskWeights::new())
    }

    fn sign(row: usize) -> f32 {
        if row.is_multiple_of(2) { 1.0 } else { -1.0 }
    }

    fn outputs(of_row: impl Fn(usize) -> f32) -> Vec<f32> {
        let mut outputs = vec![0.0; ROWS * OUTPUTS];
        for row in 0..ROWS {
            outputs[row * OUTPUTS] = of_row(row);
        }
        outputs
    }

    #[test]
    fn zero_outputs_score_the_benchmark() {
        let (targets, days) = alternating();
        let judgement = validation(&targets, &days).judge(&outputs(|_| 0.0));
        assert_eq!(judgement.loss, 1.0);
        assert_eq!(judgement.shrink, [0.0; HEADS]);
    }

    #[test]
    fn the_share_that_helps_is_kept() {
        let (targets, days) = alternating();
        let validation = validation(&targets, &days);
        let double = validation.judge(&outputs(|row| 0.8 * sign(row)));
        assert_eq!(double.shrink[0], 0.5);
        assert!(double.relative_loss[0] < 0.01 && double.loss > double.relative_loss[0] && double.loss < 0.1);
        for useless in [outputs(|row| -sign(row)), outputs(|_| 0.1), outputs(|_| f32::NAN)] {
            let judgement = validation.judge(&useless);
            assert_eq!((judgement.shrink[0], judgement.loss), (0.0, 1.0));
        }
    }

    #[test]
    fn folds_apart_and_out_of_order_are_judged_together() {
        let (targets, mut days) = alternating();
        days[20..].iter_mut().for_each(|day| *day += 2520);
        let outputs = outputs(|row| 0.8 * sign(row));
        let judgement = judge_shares(&targets, &days, &outputs, &TaskWeights::new());
        assert_eq!(judgement.shrink[0], 0.5);
        let turned = |values: &[f32]| values.chunks_exact(OUTPUTS).rev().flatten().copied().collect::<Vec<_>>();
        let (late, days): (Vec<_>, Vec<_>) = targets.iter().copied().zip(days).rev().unzip();
        assert_eq!(judge_shares(&late, &days, &turned(&outputs), &TaskWeights::new()), judgement);
    }

    #[test]
    fn targets_beyond_the_span_are_not_looked_at() {
        let (targets, days) = alternating();
        let outputs = outputs(|row| 0.4 * sign(row));
        // Days 7, 12, 17 and so on: five sessions later is known for the first three rows only, which is too little.
        let early = Validation::fit(KnownTargets::until(22, &targets, &days), &TaskWeights::new());
        assert_eq!(early.references[0].known, 3);
        let late = Validation::fit(KnownTargets::until(7 + 5 * ROWS as u32, &targets, &days), &TaskWeights::new());
        assert_eq!((late.references[0].known, late.judge(&outputs).shrink[0]), (ROWS, 1.0));
    }

    #[test]
    fn two_horizons_of_luck_are_not_believed() {
        let (targets, _) = alternating();
        let days: Vec<u32> = (0..ROWS as u32).map(|row| row / 4).collect();
        let validation = validation(&targets, &days);
        assert_eq!(validation.judge(&outputs(|row| 0.4 * sign(row))).shrink[0], 0.0);
    }

    #[test]
    fn bound_is_the_students_t_interval_of_equal_blocks() {
        // Block means 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(.9, 2) = 1.885618.
        let gain = clustered_gain(&[(10.0, 10.0), (20.0, 10.0), (30.0, 10.0)]).unwrap();
        assert!((gain.mean - 2.0).abs() < 1e-12);
        assert!((gain.lower - (2.0 - 1.885_618 / 3f64.sqrt())).abs() < 1e-5);
        assert!(clustered_gain(&[(1.0, 1.0), (1.0, 1.0)]).is_none());
    }
}

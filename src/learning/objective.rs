//! One number out of thirty-one losses: what a step descends, and what validation judges.

use crate::learning::dataset::RowTargets;
use crate::learning::loss::head_loss;
use crate::learning::recipe::TaskWeights;
use crate::learning::task::{HEADS, Head, OUTPUTS, STATES, Task};

/// Shares of a head's output that validation chooses from; 0 is the benchmark.
const SHRINK_GRID: [f32; 11] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
/// A head whose benchmark is never wrong by more than this has nothing to learn.
const LEAST_BENCHMARK_LOSS: f64 = 1e-9;

/// What the benchmark, an output of 0, costs a head over some rows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reference {
    /// Rows whose target is known.
    known: usize,
    /// Mean loss of the benchmark over them.
    mean_loss: f64,
    /// Weight of the head; sums to 1 over heads with something to learn, 0 for the others.
    weight: f64,
}

/// The loss that training descends: the sum over heads of weight x mean loss / the benchmark's mean loss.
///
/// An untrained network scores 1 on the training rows; 0.9 means a tenth better than the benchmarks.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    heads: [Head; HEADS],
    /// Weight of one known target of each head, so that a mean over rows has the expectation of the sum above.
    entry_weight: [f32; HEADS],
}

impl Objective {
    /// Measures the benchmark on the training rows. A task's weight is shared by its horizons.
    #[must_use]
    pub fn fit(targets: &[RowTargets], weights: &TaskWeights) -> Self {
        let entry_weight = references(targets, weights).map(|reference| {
            if reference.weight == 0.0 {
                return 0.0;
            }
            let share_known = reference.known as f64 / targets.len() as f64;
            (reference.weight / (reference.mean_loss * share_known)) as f32
        });
        Self { heads: Head::all(), entry_weight }
    }

    /// Slope of the objective in every output of a batch; 0 where nothing is known.
    ///
    /// # Shapes
    /// `outputs` is `[rows][OUTPUTS]` with one target a row; the result has the shape of `outputs`.
    #[must_use]
    pub fn slope(&self, outputs: &[f32], targets: &[RowTargets]) -> Vec<f32> {
        let mut slopes = vec![0.0; outputs.len()];
        let row_weight = 1.0 / targets.len() as f32;
        let rows = outputs.chunks_exact(OUTPUTS).zip(slopes.chunks_exact_mut(OUTPUTS)).zip(targets);
        for ((outputs, slopes), targets) in rows {
            for (head, entry_weight) in self.heads.iter().zip(self.entry_weight) {
                let slope = &mut slopes[head.columns()];
                if entry_weight > 0.0 && head_loss(*head, &outputs[head.columns()], targets, slope).is_some() {
                    slope.iter_mut().for_each(|value| *value *= entry_weight * row_weight);
                }
            }
        }
        slopes
    }
}

/// Validation's opinion of some outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// By head, the share of its output that validates best, 0 to 1 in steps of 0.1.
    pub shrink: [f32; HEADS],
    /// By head, mean loss at that share over the benchmark's, at most 1; 1 where nothing is known.
    pub relative_loss: [f64; HEADS],
    /// Weighted mean of `relative_loss`: what early stopping watches. A head that overfits counts as the benchmark
    /// and does not stop the others.
    pub loss: f64,
}

/// Targets of the validation rows and what the benchmark costs there.
#[derive(Debug, Clone)]
pub struct Validation<'a> {
    targets: &'a [RowTargets],
    references: [Reference; HEADS],
}

impl<'a> Validation<'a> {
    /// Measures the benchmark on the validation rows.
    #[must_use]
    pub fn fit(targets: &'a [RowTargets], weights: &TaskWeights) -> Self {
        Self { targets, references: references(targets, weights) }
    }

    /// Finds for each head the share of its output that validates best; equal shares go to the smaller.
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
            for share in SHRINK_GRID {
                let relative = self.mean_loss(head, outputs, share) / reference.mean_loss;
                if relative < judgement.relative_loss[index] {
                    judgement.relative_loss[index] = relative;
                    judgement.shrink[index] = share;
                }
            }
            judgement.loss -= reference.weight * (1.0 - judgement.relative_loss[index]);
        }
        judgement
    }

    fn mean_loss(&self, head: Head, outputs: &[f32], share: f32) -> f64 {
        let rows = outputs.chunks_exact(OUTPUTS).map(|row| &row[head.columns()]);
        mean_loss(head, rows, self.targets, share).1
    }
}

/// Number of known targets of a head, and the mean loss over them of `share` x the outputs; 0 without any.
fn mean_loss<'a>(
    head: Head,
    outputs: impl Iterator<Item = &'a [f32]>,
    targets: &[RowTargets],
    share: f32,
) -> (usize, f64) {
    let (mut scaled, mut slope) = ([0.0; STATES], [0.0; STATES]);
    let (mut known, mut sum) = (0, 0.0);
    for (outputs, targets) in outputs.zip(targets) {
        scaled.iter_mut().zip(outputs).for_each(|(scaled, output)| *scaled = share * output);
        if let Some(loss) = head_loss(head, &scaled[..head.width], targets, &mut slope[..head.width]) {
            known += 1;
            sum += f64::from(loss);
        }
    }
    (known, sum / known.max(1) as f64)
}

/// The benchmark's losses, and the weights of the heads that have something to learn.
fn references(targets: &[RowTargets], weights: &TaskWeights) -> [Reference; HEADS] {
    let heads = Head::all();
    let zeros = [0.0; STATES];
    let mut references = heads.map(|head| {
        let (known, mean_loss) = mean_loss(head, std::iter::repeat(&zeros[..head.width]), targets, 0.0);
        Reference { known, mean_loss, weight: 0.0 }
    });
    let learns = references.map(|reference| reference.known > 0 && reference.mean_loss > LEAST_BENCHMARK_LOSS);
    let of_task = |task: Task| (0..HEADS).filter(move |&index| heads[index].task == task && learns[index]);
    let total: f64 = Task::ALL.into_iter().filter(|&task| of_task(task).next().is_some()).map(|t| weights.of(t)).sum();
    for task in Task::ALL {
        let count = of_task(task).count();
        for index in of_task(task).filter(|_| total > 0.0) {
            references[index].weight = weights.of(task) / total / count as f64;
        }
    }
    references
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::dataset::HorizonTargets;

    /// Rows with only the mean known, at the first horizon: returns +1 and -1 in turn.
    fn alternating() -> Vec<RowTargets> {
        (0..40)
            .map(|row| {
                let mut targets = RowTargets::UNKNOWN;
                let sign = if row % 2 == 0 { 1.0 } else { -1.0 };
                targets.horizons[0] = HorizonTargets { scaled_return: sign, ..HorizonTargets::UNKNOWN };
                targets
            })
            .collect()
    }

    fn outputs(of_row: impl Fn(usize) -> f32) -> Vec<f32> {
        let mut outputs = vec![0.0; 40 * OUTPUTS];
        for row in 0..40 {
            outputs[row * OUTPUTS + 10] = of_row(row);
        }
        outputs
    }

    #[test]
    fn zero_outputs_score_the_benchmark() {
        let targets = alternating();
        let judgement = Validation::fit(&targets, &TaskWeights::new()).judge(&outputs(|_| 0.0));
        assert_eq!(judgement.loss, 1.0);
        assert_eq!(judgement.shrink, [0.0; HEADS]);
    }

    #[test]
    fn validation_keeps_the_share_that_helps() {
        let targets = alternating();
        let validation = Validation::fit(&targets, &TaskWeights::new());
        let double = validation.judge(&outputs(|row| if row % 2 == 0 { 2.0 } else { -2.0 }));
        assert_eq!(double.shrink[10], 0.5);
        assert!(double.loss.abs() < 1e-6);
        let wrong = validation.judge(&outputs(|row| if row % 2 == 0 { -1.0 } else { 1.0 }));
        assert_eq!((wrong.shrink[10], wrong.loss), (0.0, 1.0));
        let broken = validation.judge(&outputs(|_| f32::NAN));
        assert_eq!((broken.shrink[10], broken.loss), (0.0, 1.0));
    }

    #[test]
    fn slopes_are_relative_to_the_benchmark_and_zero_elsewhere() {
        let targets = alternating();
        let objective = Objective::fit(&targets, &TaskWeights::new());
        let slopes = objective.slope(&outputs(|_| 0.0), &targets);
        // The only known head has weight 1; its benchmark loss is 1/2, so each row counts 2 / 40.
        assert!((slopes[10] + 2.0 / 40.0).abs() < 1e-7);
        assert_eq!(slopes.iter().filter(|slope| **slope != 0.0).count(), 40);
    }

    #[test]
    fn tasks_without_weight_or_targets_are_left_out() {
        let targets = alternating();
        let objective = Objective::fit(&targets, &TaskWeights::only(Task::Rank));
        assert!(objective.slope(&outputs(|_| 1.0), &targets).iter().all(|slope| *slope == 0.0));
    }
}

//! One number out of thirty-one losses: what a step descends.

use crate::learning::dataset::RowTargets;
use crate::learning::loss::head_loss;
use crate::learning::recipe::TaskWeights;
use crate::learning::task::{HEADS, Head, OUTPUTS, STATES, Task};

/// A head whose benchmark is never wrong by more than this has nothing to learn.
const LEAST_BENCHMARK_LOSS: f64 = 1e-9;

/// What the benchmark, an output of 0, costs a head over some rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reference {
    /// Rows whose target is known.
    pub(crate) known: usize,
    /// Mean loss of the benchmark over them.
    pub(crate) mean_loss: f64,
    /// Weight of the head; sums to 1 over heads with something to learn, 0 for the others.
    pub(crate) weight: f64,
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

/// Number of known targets of a head, and the benchmark's mean loss over them; 0 without any.
fn benchmark_loss(head: Head, targets: &[RowTargets]) -> (usize, f64) {
    let (zeros, mut slope) = ([0.0; STATES], [0.0; STATES]);
    let (mut known, mut sum) = (0, 0.0);
    for targets in targets {
        if let Some(loss) = head_loss(head, &zeros[..head.width], targets, &mut slope[..head.width]) {
            known += 1;
            sum += f64::from(loss);
        }
    }
    (known, sum / known.max(1) as f64)
}

/// The benchmark's losses, and the weights of the heads that have something to learn.
pub(crate) fn references(targets: &[RowTargets], weights: &TaskWeights) -> [Reference; HEADS] {
    let heads = Head::all();
    let mut references = heads.map(|head| {
        let (known, mean_loss) = benchmark_loss(head, targets);
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

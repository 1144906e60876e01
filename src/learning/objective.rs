//! One number out of thirty-one losses: what a step descends.

use crate::learning::dataset::KnownTargets;
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
    /// The benchmark's mean loss of each head.
    benchmark_loss: [f64; HEADS],
}

/// Where the objective goes down from some outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Descent {
    /// Slope of the objective in every output, `[rows][OUTPUTS]`; 0 where nothing is known.
    pub slopes: Vec<f32>,
    /// By head, mean loss of the rows over the benchmark's; `None` where nothing is known or learned.
    pub relative_loss: [Option<f32>; HEADS],
}

impl Objective {
    /// Measures the benchmark on the training rows. A task's weight is shared by its horizons.
    #[must_use]
    pub fn fit(targets: &KnownTargets<'_>, weights: &TaskWeights) -> Self {
        let references = references(targets, weights);
        let entry_weight = references.map(|reference| {
            if reference.weight == 0.0 {
                return 0.0;
            }
            let share_known = reference.known as f64 / targets.rows() as f64;
            (reference.weight / (reference.mean_loss * share_known)) as f32
        });
        Self { heads: Head::all(), entry_weight, benchmark_loss: references.map(|reference| reference.mean_loss) }
    }

    /// Slopes and losses of some rows, each head's loss times its factor.
    ///
    /// # Shapes
    /// `outputs` is `[rows][OUTPUTS]`, in the order of `rows`, which are positions in `targets`.
    #[must_use]
    pub fn descent(
        &self,
        outputs: &[f32],
        rows: &[u32],
        targets: &KnownTargets<'_>,
        factors: &[f32; HEADS],
    ) -> Descent {
        let mut slopes = vec![0.0; outputs.len()];
        let scale: [f32; HEADS] =
            std::array::from_fn(|head| self.entry_weight[head] * factors[head] / rows.len() as f32);
        let (mut known, mut losses) = ([0u32; HEADS], [0.0f64; HEADS]);
        for ((outputs, slopes), &row) in outputs.chunks_exact(OUTPUTS).zip(slopes.chunks_exact_mut(OUTPUTS)).zip(rows) {
            let (targets, sessions_known) = targets.row(row as usize);
            for (index, head) in self.heads.iter().enumerate() {
                if scale[index] == 0.0 || head.horizon.sessions() > sessions_known {
                    continue;
                }
                let slope = &mut slopes[head.columns()];
                if let Some(loss) = head_loss(*head, &outputs[head.columns()], targets, slope) {
                    slope.iter_mut().for_each(|value| *value *= scale[index]);
                    known[index] += 1;
                    losses[index] += f64::from(loss);
                }
            }
        }
        let relative = |head: usize| losses[head] / (f64::from(known[head]) * self.benchmark_loss[head]);
        let relative_loss = std::array::from_fn(|head| (known[head] > 0).then(|| relative(head) as f32));
        Descent { slopes, relative_loss }
    }
}

/// Number of known targets of a head, and the benchmark's mean loss over them; 0 without any.
fn benchmark_loss(head: Head, targets: &KnownTargets<'_>) -> (usize, f64) {
    let (zeros, mut slope) = ([0.0; STATES], [0.0; STATES]);
    let (mut known, mut sum) = (0, 0.0);
    for targets in (0..targets.rows()).filter_map(|row| targets.at(row, head.horizon)) {
        if let Some(loss) = head_loss(head, &zeros[..head.width], targets, &mut slope[..head.width]) {
            known += 1;
            sum += f64::from(loss);
        }
    }
    (known, sum / known.max(1) as f64)
}

/// The benchmark's losses, and the weights of the heads that have something to learn.
pub(crate) fn references(targets: &KnownTargets<'_>, weights: &TaskWeights) -> [Reference; HEADS] {
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
    use crate::learning::dataset::{HorizonTargets, RowTargets};

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
        let (targets, days) = (alternating(), [0; 40]);
        let targets = KnownTargets::until(252, &targets, &days);
        let objective = Objective::fit(&targets, &TaskWeights::new());
        let rows: Vec<u32> = (0..40).collect();
        let descent = objective.descent(&outputs(|_| 0.0), &rows, &targets, &[1.0; HEADS]);
        // The only known head has weight 1; its benchmark loss is 1/2, so each row counts 2 / 40.
        assert!((descent.slopes[10] + 2.0 / 40.0).abs() < 1e-7);
        assert_eq!(descent.slopes.iter().filter(|slope| **slope != 0.0).count(), 40);
        assert_eq!(descent.relative_loss[10], Some(1.0));
        assert_eq!(descent.relative_loss.iter().flatten().count(), 1);
        let halved = objective.descent(&outputs(|_| 0.0), &rows, &targets, &[0.5; HEADS]);
        assert!((halved.slopes[10] + 1.0 / 40.0).abs() < 1e-7);
    }

    #[test]
    fn tasks_without_weight_or_targets_are_left_out() {
        let (targets, days) = (alternating(), [0; 40]);
        let known = KnownTargets::until(252, &targets, &days);
        let too_early = KnownTargets::until(4, &targets, &days);
        for (targets, task) in [(known, Task::Rank), (too_early, Task::Mean)] {
            let objective = Objective::fit(&targets, &TaskWeights::only(task));
            let descent = objective.descent(&outputs(|_| 1.0), &[3; 40], &targets, &[1.0; HEADS]);
            assert!(descent.slopes.iter().all(|slope| *slope == 0.0));
            assert_eq!(descent.relative_loss, [None; HEADS]);
        }
    }
}

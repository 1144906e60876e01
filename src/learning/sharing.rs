//! How the tasks share what they learn, and how wide each kind of sharing is so that all are of one size.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::learning::task::{Head, OUTPUTS, Task};

/// How tasks share parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// One trunk for all tasks (Caruana 1997).
    Hard,
    /// A trunk for each task group; the squared distance of their weights from the mean trunk costs (Duong et al. 2015).
    Soft,
    /// Several trunks, the experts, mixed for each task group by a softmax gate that reads the inputs (multi-gate mixture
    /// of experts, Ma et al. 2018).
    Experts,
}

impl Sharing {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Hard, Self::Soft, Self::Experts];
}

/// Tasks that read the same representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskGroup {
    /// How far prices move: volatility, dispersion, drawdown.
    Volatility,
    /// Where they move: mean, direction, rank.
    Return,
    /// The next discrete state.
    NextState,
}

impl TaskGroup {
    /// All groups.
    pub const ALL: [Self; 3] = [Self::Volatility, Self::Return, Self::NextState];

    /// The group of a task.
    #[must_use]
    pub fn of(task: Task) -> Self {
        match task {
            Task::Volatility | Task::Dispersion | Task::Drawdown => Self::Volatility,
            Task::Mean | Task::Direction | Task::Rank => Self::Return,
            Task::NextState => Self::NextState,
        }
    }

    /// Number of output columns of its tasks.
    #[must_use]
    pub fn width(self) -> usize {
        Head::all().into_iter().filter(|head| Self::of(head.task) == self).map(|head| head.width).sum()
    }
}

/// Where each task's columns lie in the output row of its group: the group and the columns, in the order of [`Task::ALL`].
#[must_use]
pub fn columns_in_group() -> [(TaskGroup, Range<usize>); 7] {
    let mut next = [0; 3];
    Task::ALL.map(|task| {
        let group = TaskGroup::of(task);
        let width: usize = Head::all().into_iter().filter(|head| head.task == task).map(|head| head.width).sum();
        let from = next[group as usize];
        next[group as usize] += width;
        (group, from..from + width)
    })
}

/// Numbers of trunks, gates and widths of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// Inputs of the network.
    pub input_count: usize,
    /// Trunks side by side.
    pub trunks: usize,
    /// Whether the trunks are mixed by a gate for each task group.
    pub gated: bool,
    /// Widths of each trunk's layers, input side first.
    pub hidden: Vec<usize>,
}

impl Architecture {
    /// The architecture of a sharing whose number of parameters is closest to that of one trunk of widths `hidden` for all
    /// tasks. Widths of several trunks are multiples of 4, as processors like them.
    #[must_use]
    pub fn of_size(sharing: Sharing, experts: usize, input_count: usize, hidden: &[usize]) -> Self {
        let hard = Self { input_count, trunks: 1, gated: false, hidden: hidden.to_vec() };
        let (trunks, gated) = match sharing {
            Sharing::Hard => return hard,
            Sharing::Soft => (TaskGroup::ALL.len(), false),
            Sharing::Experts => (experts, true),
        };
        let narrowed = (1..=NARROWINGS).map(|step| {
            let narrow = |width: &usize| (width * step / NARROWINGS).next_multiple_of(WIDTH_STEP);
            Self { input_count, trunks, gated, hidden: hidden.iter().map(narrow).collect() }
        });
        let size = hard.parameters();
        narrowed.min_by_key(|candidate| candidate.parameters().abs_diff(size)).unwrap_or(hard)
    }

    /// Number of weights.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let linear = |inputs: usize, outputs: usize| (inputs + 1) * outputs;
        let inputs = std::iter::once(&self.input_count).chain(&self.hidden);
        let trunk: usize = inputs.zip(&self.hidden).map(|(&from, &to)| linear(from, to) + 2 * to).sum();
        let gates = if self.gated { TaskGroup::ALL.len() * linear(self.input_count, self.trunks) } else { 0 };
        self.trunks * trunk + gates + linear(self.representation(), OUTPUTS)
    }

    /// Width of what the heads read.
    #[must_use]
    pub fn representation(&self) -> usize {
        self.hidden.last().copied().unwrap_or(self.input_count)
    }
}

/// Widths tried between nothing and the width of the hard trunk.
const NARROWINGS: usize = 64;
/// Widths of several trunks are multiples of this.
const WIDTH_STEP: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::artifact::{Artifact, load};
    use crate::learning::dataset::TrainingPlan;
    use crate::learning::loss::row_losses;
    use crate::learning::planted::{provenance, qlike, samples, small_recipe, trained, trained_by};
    use crate::learning::task::HEADS;
    use crate::learning::weighting::Weighting;
    use crate::market::horizon::Horizon;

    #[test]
    fn all_sharings_are_of_one_size() {
        for (inputs, hidden) in [(75, vec![128, 128]), (80, vec![256, 128]), (70, vec![96])] {
            let size = Architecture::of_size(Sharing::Hard, 4, inputs, &hidden).parameters() as f64;
            for sharing in [Sharing::Soft, Sharing::Experts] {
                let other = Architecture::of_size(sharing, 4, inputs, &hidden);
                assert!((other.parameters() as f64 / size - 1.0).abs() < 0.06, "{other:?} against {size}");
            }
        }
    }

    #[test]
    fn groups_hold_every_column_once() {
        assert_eq!(TaskGroup::ALL.map(TaskGroup::width), [15, 35, 9]);
        let columns = columns_in_group();
        assert_eq!(columns[4], (TaskGroup::Volatility, 10..15));
        assert_eq!(columns[5], (TaskGroup::Return, 10..35));
        for group in TaskGroup::ALL {
            let mine = columns.iter().filter(|(other, _)| *other == group);
            assert_eq!(mine.map(|(_, range)| range.len()).sum::<usize>(), group.width());
        }
    }

    #[test]
    fn every_sharing_finds_a_planted_signal_and_is_the_same_again() {
        let (seen, unseen) = (samples(300, 10, 1.0, 1), samples(100, 10, 1.0, 2));
        let benchmark = qlike(&unseen, std::iter::repeat(0.0), Horizon::FourWeeks);
        for (sharing, weighting) in
            Sharing::ALL.into_iter().zip([Weighting::Uncertainty, Weighting::Equal].iter().cycle())
        {
            let recipe = small_recipe().with_sharing(sharing).with_weighting(*weighting);
            let model = trained(&seen, &recipe, 7);
            let forecasts = model.forecast(&unseen.features).unwrap();
            let corrections = forecasts.iter().map(|forecast| forecast.horizons[1].log_variance_correction);
            let network = qlike(&unseen, corrections, Horizon::FourWeeks);
            assert!(network < 0.62 * benchmark, "{sharing:?}: {network} against {benchmark}");
            let learned = &model.record.members[0].log_variances;
            assert_eq!(learned.iter().any(|s| *s < -0.01), *weighting == Weighting::Uncertainty, "{learned:?}");
            let artifact = Artifact::of(&model).unwrap();
            assert_eq!(Artifact::of(&trained(&seen, &recipe, 7)).unwrap(), artifact);
            let copy = load(artifact.bytes(), artifact.sha256(), &provenance(7).schema).unwrap();
            assert_eq!(copy.forecast(&unseen.features).unwrap(), forecasts);
        }
    }

    #[test]
    fn every_sharing_overfits_thirty_two_rows() {
        let samples = samples(32, 1, 0.0, 6);
        let plan = TrainingPlan { until_day: 5 * 32 + 252, validation_sessions: 0 };
        for sharing in Sharing::ALL {
            let recipe = small_recipe().with_sharing(sharing).with_hidden(vec![64]).with_bootstrap(false);
            let recipe = recipe.with_batch_size(32).with_epochs(600).with_weight_decay(0.0).with_learning_rate(1e-2);
            let model = trained_by(&samples, &plan, &recipe.with_coupling(0.0).with_members(1), 1);
            let outputs = model.outputs(&samples.features).unwrap();
            let mean_losses = |outputs: &[f32]| {
                let rows = outputs.chunks_exact(OUTPUTS).zip(&samples.targets);
                rows.fold([0.0; HEADS], |mut sums, (outputs, targets)| {
                    sums.iter_mut().zip(row_losses(outputs, targets)).for_each(|(sum, loss)| *sum += loss.unwrap());
                    sums
                })
            };
            let (network, benchmark) = (mean_losses(&outputs), mean_losses(&vec![0.0; outputs.len()]));
            for (index, head) in Head::all().into_iter().enumerate() {
                let bounded = matches!(head.task, Task::Direction | Task::Drawdown | Task::Mean);
                let relative = network[index] / benchmark[index];
                assert!(relative < if bounded { 0.6 } else { 0.2 }, "{sharing:?} {}: {relative}", head.label());
            }
        }
    }

    #[test]
    fn a_strong_coupling_keeps_soft_trunks_together() {
        let samples = samples(100, 10, 1.0, 3);
        let spread = |coupling: f64| {
            let recipe = small_recipe().with_sharing(Sharing::Soft).with_coupling(coupling);
            let spread = trained(&samples, &recipe, 7).networks[0].squared_spread().unwrap();
            spread.into_scalar::<f32>()
        };
        let (free, bound) = (spread(0.0), spread(10.0));
        assert!(bound < 0.2 * free, "{bound} against {free}");
    }
}

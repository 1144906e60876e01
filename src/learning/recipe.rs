//! Every hyperparameter of a training in one place; saved with the weights it produced.

use burn::config::Config;

use crate::learning::dataset::TrainingPlan;
use crate::learning::sharing::{Architecture, Sharing};
use crate::learning::task::Task;
pub use crate::learning::weighting::Weighting;

/// Weight of each task in the training loss and in early stopping; 0 leaves a task at the benchmark.
#[derive(Config, Debug, PartialEq)]
pub struct TaskWeights {
    /// Weight of [`Task::Volatility`].
    #[config(default = 1.0)]
    pub volatility: f64,
    /// Weight of [`Task::Dispersion`].
    #[config(default = 1.0)]
    pub dispersion: f64,
    /// Weight of [`Task::Mean`].
    #[config(default = 1.0)]
    pub mean: f64,
    /// Weight of [`Task::Direction`].
    #[config(default = 1.0)]
    pub direction: f64,
    /// Weight of [`Task::Drawdown`].
    #[config(default = 1.0)]
    pub drawdown: f64,
    /// Weight of [`Task::Rank`].
    #[config(default = 1.0)]
    pub rank: f64,
    /// Weight of [`Task::NextState`].
    #[config(default = 1.0)]
    pub next_state: f64,
}

impl TaskWeights {
    /// The weight of one task.
    #[must_use]
    pub fn of(&self, task: Task) -> f64 {
        match task {
            Task::Volatility => self.volatility,
            Task::Dispersion => self.dispersion,
            Task::Mean => self.mean,
            Task::Direction => self.direction,
            Task::Drawdown => self.drawdown,
            Task::Rank => self.rank,
            Task::NextState => self.next_state,
        }
    }

    /// All weight on one task: the single-task network.
    #[must_use]
    pub fn only(task: Task) -> Self {
        let weight = |other: Task| if other == task { 1.0 } else { 0.0 };
        Self {
            volatility: weight(Task::Volatility),
            dispersion: weight(Task::Dispersion),
            mean: weight(Task::Mean),
            direction: weight(Task::Direction),
            drawdown: weight(Task::Drawdown),
            rank: weight(Task::Rank),
            next_state: weight(Task::NextState),
        }
    }
}

/// Every hyperparameter of a training.
#[derive(Config, Debug, PartialEq)]
pub struct Recipe {
    /// Widths of the trunk's layers, input side first. Several trunks are narrower, so that the network keeps its size.
    #[config(default = "vec![64]")]
    pub hidden: Vec<usize>,
    /// How tasks share the trunk.
    #[config(default = "Sharing::Hard")]
    pub sharing: Sharing,
    /// Experts of [`Sharing::Experts`].
    #[config(default = 4)]
    pub experts: usize,
    /// Strength of the coupling of [`Sharing::Soft`]: the training loss grows by it times the sum over the trunks of the
    /// squared distance of their weights from the mean trunk's.
    #[config(default = 1e-2)]
    pub coupling: f64,
    /// How task losses are combined.
    #[config(default = "Weighting::Equal")]
    pub weighting: Weighting,
    /// Weight of each task.
    #[config(default = "TaskWeights::new()")]
    pub task_weights: TaskWeights,
    /// Networks in the ensemble.
    #[config(default = 8)]
    pub members: usize,
    /// Rows of one optimizer step.
    #[config(default = 512)]
    pub batch_size: usize,
    /// Passes over the training rows at most.
    #[config(default = 2)]
    pub epochs: usize,
    /// Sessions held out at the end of what is known for early stopping and for the shares of the heads; with 0 every row
    /// trains, and the weights after the last pass are kept.
    #[config(default = 0)]
    pub validation_sessions: u32,
    /// Passes without a better validation loss after which a member stops.
    #[config(default = 3)]
    pub patience: usize,
    /// Step size of AdamW (Loshchilov and Hutter 2019) at the start; it falls along a half cosine.
    #[config(default = 3e-4)]
    pub learning_rate: f64,
    /// Share of the first step size that is left in the last epoch.
    #[config(default = 0.05)]
    pub final_rate_share: f64,
    /// Decoupled weight decay of AdamW; it also pulls the heads towards the benchmark.
    #[config(default = 1e-2)]
    pub weight_decay: f64,
    /// Whether a member sees a bootstrap of the training days instead of all of them.
    #[config(default = true)]
    pub bootstrap: bool,
    /// Consecutive decision days that the bootstrap draws together.
    #[config(default = 13)]
    pub block_days: usize,
}

impl Default for Recipe {
    fn default() -> Self {
        Self::new()
    }
}

/// The rule of a recipe that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("recipe: {field} must be {rule}")]
pub struct RecipeError {
    /// Name of the hyperparameter.
    pub field: &'static str,
    /// What it must satisfy.
    pub rule: &'static str,
}

impl Recipe {
    /// Checks every range, so that training and loading can trust the recipe.
    ///
    /// # Errors
    /// The first hyperparameter outside its range.
    pub fn check(&self) -> Result<(), RecipeError> {
        let non_negative = |value: f64| value.is_finite() && value >= 0.0;
        let weights = Task::ALL.map(|task| self.task_weights.of(task));
        let rules = [
            ("hidden", "1 to 6 widths of 1 to 1024", (1..=6).contains(&self.hidden.len())),
            ("hidden", "1 to 6 widths of 1 to 1024", self.hidden.iter().all(|width| (1..=1024).contains(width))),
            ("experts", "2 to 16", (2..=16).contains(&self.experts)),
            ("coupling", "0 to 100", non_negative(self.coupling) && self.coupling <= 100.0),
            ("members", "1 to 64", (1..=64).contains(&self.members)),
            ("batch_size", "1 to 65536", (1..=65_536).contains(&self.batch_size)),
            ("epochs", "at most 10000", self.epochs <= 10_000),
            ("patience", "at least 1", self.patience >= 1),
            ("block_days", "at least 1", self.block_days >= 1),
            ("learning_rate", "0 to 1", non_negative(self.learning_rate) && self.learning_rate <= 1.0),
            ("final_rate_share", "0 to 1", non_negative(self.final_rate_share) && self.final_rate_share <= 1.0),
            ("weight_decay", "0 to 10", non_negative(self.weight_decay) && self.weight_decay <= 10.0),
            ("task_weights", "finite and not negative", weights.iter().all(|weight| non_negative(*weight))),
            ("task_weights", "positive for a task", weights.iter().any(|weight| *weight > 0.0)),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, rule, _)) => Err(RecipeError { field, rule }),
            None => Ok(()),
        }
    }

    /// The plan of a training by what is known at the close of a session.
    #[must_use]
    pub fn plan(&self, until_day: u32) -> TrainingPlan {
        TrainingPlan { until_day, validation_sessions: self.validation_sessions }
    }

    /// The architecture of a member.
    #[must_use]
    pub fn architecture(&self, input_count: usize) -> Architecture {
        Architecture::of_size(self.sharing, self.experts, input_count, &self.hidden)
    }

    /// Step size in an epoch counted from 0: half a cosine from `learning_rate` to its final share.
    #[must_use]
    pub fn rate_in(&self, epoch: usize) -> f64 {
        let progress = epoch as f64 / self.epochs.saturating_sub(1).max(1) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos());
        self.learning_rate * (self.final_rate_share + (1.0 - self.final_rate_share) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_valid_and_survives_json() {
        let recipe = Recipe::default();
        assert_eq!(recipe.check(), Ok(()));
        let text = serde_json::to_string(&recipe).unwrap();
        assert!(text.contains(r#""sharing":"hard""#), "{text}");
        assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
    }

    #[test]
    fn each_broken_range_is_named() {
        let cases = [
            (Recipe::new().with_hidden(vec![]), "hidden"),
            (Recipe::new().with_hidden(vec![usize::MAX]), "hidden"),
            (Recipe::new().with_experts(1), "experts"),
            (Recipe::new().with_coupling(-1.0), "coupling"),
            (Recipe::new().with_members(0), "members"),
            (Recipe::new().with_batch_size(0), "batch_size"),
            (Recipe::new().with_patience(0), "patience"),
            (Recipe::new().with_learning_rate(f64::NAN), "learning_rate"),
            (Recipe::new().with_task_weights(TaskWeights::new().with_mean(-1.0)), "task_weights"),
        ];
        for (recipe, field) in cases {
            assert_eq!(recipe.check().unwrap_err().field, field);
        }
    }

    #[test]
    fn rate_falls_from_the_first_to_the_final_share() {
        let recipe = Recipe::new().with_epochs(5).with_learning_rate(0.01).with_final_rate_share(0.1);
        assert!((recipe.rate_in(0) - 0.01).abs() < 1e-15);
        assert!((recipe.rate_in(4) - 0.001).abs() < 1e-15);
        assert!(recipe.rate_in(2) < recipe.rate_in(1));
    }

    #[test]
    fn single_task_weights_leave_the_others_out() {
        let weights = TaskWeights::only(Task::Rank);
        for task in Task::ALL {
            assert_eq!(weights.of(task) > 0.0, task == Task::Rank);
        }
    }
}

//! The ensemble: members trained side by side, their outputs averaged, each head shrunk by what validation supports.

use burn::tensor::TensorReadError;
use serde::{Deserialize, Serialize};

use crate::learning::dataset::{Samples, TrainingPlan};
use crate::learning::forecast::RowForecast;
use crate::learning::network::Network;
use crate::learning::objective::Objective;
use crate::learning::recipe::Recipe;
use crate::learning::scaler::Scaler;
use crate::learning::task::{HEADS, OUTPUTS};
use crate::learning::threads::side_by_side;
use crate::learning::training::{Control, Material, MemberRecord, TrainingError, train_member};
use crate::learning::validation::Validation;

/// Where a model comes from; saved with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Seed of all its randomness.
    pub seed: u64,
    /// Hash of the rows it was trained on, as the caller computes it.
    pub data_hash: String,
    /// The caller's description of the features in their order; a model refuses to load for another one.
    pub schema: serde_json::Value,
}

/// How a training went; the same for the same data, seed and recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The session at whose close everything that was learned from was known, a session index.
    pub until_day: u32,
    /// First day of the validation span; `until_day` without one.
    pub validation_from_day: u32,
    /// Rows that trained.
    pub training_rows: usize,
    /// Rows that validated.
    pub validation_rows: usize,
    /// By member.
    pub members: Vec<MemberRecord>,
    /// By head, in the order of [`crate::learning::task::Head::all`]: the ensemble's validation loss over the
    /// benchmark's, 1 where nothing was gained; empty without a validation span.
    pub relative_loss: Vec<f32>,
}

/// Weights, configuration and scaler: everything a forecast needs.
#[derive(Debug, Clone)]
pub struct TrainedModel {
    /// The hyperparameters.
    pub recipe: Recipe,
    /// Seed, data hash and feature schema.
    pub provenance: Provenance,
    /// How the training went.
    pub record: TrainingRecord,
    /// Features to inputs.
    pub scaler: Scaler,
    /// By head, the share of its output that is used; 0 is the benchmark.
    pub shrink: [f32; HEADS],
    /// The members.
    pub networks: Vec<Network>,
    /// A few feature rows whose forecasts are saved with the weights and compared at load, `[rows][feature_count]`.
    pub golden_features: Vec<f32>,
}

/// Why a model gave no forecast.
#[derive(Debug, thiserror::Error)]
pub enum ForecastError {
    /// The features are not whole rows.
    #[error("{found} features are not whole rows of {expected}")]
    Features {
        /// Features in a row.
        expected: usize,
        /// Features given.
        found: usize,
    },
    /// The device did not answer.
    #[error("the device could not be read: {0}")]
    Device(#[from] TensorReadError),
}

/// Golden rows kept with a model.
const GOLDEN_ROWS: usize = 4;

/// Trains an ensemble: `recipe.members` networks, at most `control.threads` at once.
///
/// Same samples, plan, recipe and seed give the same model bit for bit, whatever else runs in the process.
///
/// # Errors
/// Unusable samples, plan or recipe; a wish to stop; threads that do not start.
pub fn train(
    samples: &Samples,
    plan: &TrainingPlan,
    recipe: &Recipe,
    provenance: Provenance,
    control: &Control<'_>,
) -> Result<TrainedModel, TrainingError> {
    recipe.check()?;
    samples.check()?;
    let split = plan.split(samples)?;
    let scaler = Scaler::fit(samples, split.training.clone());
    let mut inputs = Vec::with_capacity(split.validation.end * scaler.input_count());
    scaler.append(&samples.features[..split.validation.end * samples.feature_count], &mut inputs);
    let validates = !split.validation.is_empty();
    let validation = validates.then(|| Validation::fit(split.validation_targets, &recipe.task_weights));
    let material = Material {
        recipe,
        inputs: &inputs,
        input_count: scaler.input_count(),
        training_days: &samples.day_index[split.training.clone()],
        split: &split,
        objective: &Objective::fit(&split.training_targets, &recipe.task_weights),
        validation: validation.as_ref(),
    };
    let member = |number| train_member(&material, provenance.seed, number, control);
    let members = side_by_side(recipe.members, control.threads, member)?;
    let outputs = average(members.iter().map(|member| &member.validation_outputs[..]));
    let judgement = validation.map(|validation| validation.judge(&outputs));
    let relative_loss = judgement.as_ref().map(|judgement| judgement.relative_loss.map(|loss| loss as f32).to_vec());
    let record = TrainingRecord {
        until_day: plan.until_day,
        validation_from_day: plan.validation_from_day(),
        training_rows: split.training.len(),
        validation_rows: split.validation.len(),
        members: members.iter().map(|member| member.record.clone()).collect(),
        relative_loss: relative_loss.unwrap_or_default(),
    };
    Ok(TrainedModel {
        recipe: recipe.clone(),
        provenance,
        record,
        scaler,
        shrink: judgement.map_or([1.0; HEADS], |judgement| judgement.shrink),
        networks: members.into_iter().map(|member| member.network).collect(),
        golden_features: golden_features(samples, split.validation.end),
    })
}

impl TrainedModel {
    /// The ensemble's forecasts: the mean of the members' outputs before bounds and softmax, so log variances and
    /// log odds are averaged.
    ///
    /// # Shapes
    /// `features` is `[rows][feature_count]` with NaN for missing; one forecast a row. A row's forecast does not depend
    /// on the other rows.
    ///
    /// # Errors
    /// Features that are not whole rows; a device that cannot be read.
    pub fn forecast(&self, features: &[f32]) -> Result<Vec<RowForecast>, ForecastError> {
        Ok(self.decode(&self.outputs(features)?))
    }

    /// The mean of the members' output rows, before shares, bounds and softmax.
    ///
    /// # Shapes
    /// `features` is `[rows][feature_count]` with NaN for missing, the result `[rows][OUTPUTS]`.
    ///
    /// # Errors
    /// As [`TrainedModel::forecast`].
    pub fn outputs(&self, features: &[f32]) -> Result<Vec<f32>, ForecastError> {
        let outputs = self.members_outputs(features)?;
        Ok(average(outputs.iter().map(Vec::as_slice)))
    }

    /// The same model that believes other shares of its heads.
    #[must_use]
    pub fn with_shrink(self, shrink: [f32; HEADS]) -> Self {
        Self { shrink, ..self }
    }

    /// Each member's own forecasts, `[members][rows]`, with the ensemble's shares.
    ///
    /// # Errors
    /// As [`TrainedModel::forecast`].
    pub fn member_forecasts(&self, features: &[f32]) -> Result<Vec<Vec<RowForecast>>, ForecastError> {
        Ok(self.members_outputs(features)?.iter().map(|outputs| self.decode(outputs)).collect())
    }

    /// Output rows of every member before shares, bounds and softmax, `[members][rows][OUTPUTS]`.
    ///
    /// # Errors
    /// As [`TrainedModel::forecast`].
    pub fn members_outputs(&self, features: &[f32]) -> Result<Vec<Vec<f32>>, ForecastError> {
        let expected = self.scaler.feature_count();
        if !features.len().is_multiple_of(expected) {
            return Err(ForecastError::Features { expected, found: features.len() });
        }
        let mut inputs = Vec::with_capacity(features.len() / expected * self.scaler.input_count());
        self.scaler.append(features, &mut inputs);
        let of_member = |network: &Network| Ok(network.outputs(&inputs, self.scaler.input_count())?);
        self.networks.iter().map(of_member).collect()
    }

    fn decode(&self, outputs: &[f32]) -> Vec<RowForecast> {
        outputs.chunks_exact(OUTPUTS).map(|row| RowForecast::decode(row, &self.shrink)).collect()
    }
}

/// Mean of equally long rows of numbers, summed in the order given.
fn average<'a>(parts: impl ExactSizeIterator<Item = &'a [f32]>) -> Vec<f32> {
    let count = parts.len() as f32;
    let mut sum: Vec<f32> = Vec::new();
    for part in parts {
        sum.resize(part.len(), 0.0);
        sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sum.iter_mut().for_each(|value| *value /= count);
    sum
}

/// Rows spread evenly over those that were looked at.
fn golden_features(samples: &Samples, rows: usize) -> Vec<f32> {
    let count = GOLDEN_ROWS.min(rows);
    (0..count).flat_map(|golden| samples.row((golden + 1) * rows / count - 1)).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::learning::dataset::{DatasetError, HorizonTargets};
    use crate::learning::device::DeviceKind;
    use crate::learning::planted::{plan, provenance, qlike, samples, small_recipe, trained, trained_by};
    use crate::learning::recipe::TaskWeights;
    use crate::learning::task::{CLASSES, Task};
    use crate::market::horizon::Horizon;

    fn volatility(forecasts: &[RowForecast], horizon: Horizon) -> impl Iterator<Item = f64> {
        forecasts.iter().map(move |forecast| forecast.horizons[horizon.index()].log_variance_correction)
    }

    #[test]
    fn a_planted_signal_beats_the_benchmark_on_unseen_rows() {
        let (seen, unseen) = (samples(300, 10, 1.0, 1), samples(100, 10, 1.0, 2));
        let forecasts = trained(&seen, &small_recipe(), 7).forecast(&unseen.features).unwrap();
        let benchmark = qlike(&unseen, std::iter::repeat(0.0), Horizon::FourWeeks);
        let network = qlike(&unseen, volatility(&forecasts, Horizon::FourWeeks), Horizon::FourWeeks);
        assert!(network < 0.6 * benchmark, "{network} against {benchmark}");
        let right = unseen.targets.iter().zip(&forecasts).filter(|(targets, forecast)| {
            (forecast.horizons[1].probability_up(0.5) > 0.5) == (targets.horizons[1].up > 0.5)
        });
        assert!(right.count() > 600);
    }

    #[test]
    fn pure_noise_costs_next_to_nothing_on_unseen_rows() {
        let (seen, unseen) = (samples(300, 10, 0.0, 3), samples(200, 10, 0.0, 4));
        let forecasts = trained(&seen, &small_recipe(), 7).forecast(&unseen.features).unwrap();
        for horizon in Horizon::ALL {
            let benchmark = qlike(&unseen, std::iter::repeat(0.0), horizon);
            let network = qlike(&unseen, volatility(&forecasts, horizon), horizon);
            assert!(network < 1.01 * benchmark, "{horizon}: {network} against {benchmark}");
        }
    }

    #[test]
    fn an_untrained_ensemble_is_the_benchmark() {
        let samples = samples(40, 5, 1.0, 5);
        let model = trained(&samples, &small_recipe().with_epochs(0), 7);
        assert_eq!(model.shrink, [0.0; HEADS]);
        for forecast in model.forecast(&samples.features).unwrap() {
            assert_eq!(forecast, RowForecast::decode(&[0.0; OUTPUTS], &[1.0; HEADS]));
            assert_eq!(forecast.horizons[3].quintile_probabilities, [0.2; CLASSES]);
        }
    }

    #[test]
    fn nothing_after_the_plan_is_looked_at() {
        let mut samples = samples(120, 5, 1.0, 5);
        let recipe = small_recipe().with_epochs(2);
        for plan in [recipe.plan(400), recipe.clone().with_validation_sessions(100).plan(400)] {
            let model = trained_by(&samples, &plan, &recipe, 7);
            // Rows of later days, and targets that reach beyond the day.
            let rows = samples.day_index.partition_point(|&day| day < 400);
            samples.features[rows * samples.feature_count..].fill(77.0);
            for (targets, day) in samples.targets.iter_mut().zip(&samples.day_index) {
                for (horizon, targets) in Horizon::ALL.into_iter().zip(&mut targets.horizons) {
                    if *day as usize + horizon.sessions() > 400 {
                        *targets = HorizonTargets { up: 1.0, log_variance_ratio: 9.0, ..HorizonTargets::UNKNOWN };
                    }
                }
            }
            let again = trained_by(&samples, &plan, &recipe, 7);
            assert_eq!((&again.record, again.shrink), (&model.record, model.shrink));
            assert_eq!(again.outputs(&samples.features).unwrap(), model.outputs(&samples.features).unwrap());
        }
    }

    #[test]
    fn without_validation_the_last_weights_are_kept_and_believed() {
        let samples = samples(60, 5, 1.0, 5);
        let recipe = small_recipe().with_epochs(3).with_patience(1);
        let model = trained_by(&samples, &recipe.plan(300), &recipe, 7);
        assert_eq!((model.shrink, model.record.validation_rows), ([1.0; HEADS], 0));
        assert!(model.record.relative_loss.is_empty());
        let member = &model.record.members[1];
        assert_eq!((member.epochs, member.best_epoch, member.validation_loss), (3, 3, None));
        let halved = model.clone().with_shrink([0.5; HEADS]);
        let row = RowForecast::decode(&model.outputs(samples.row(3)).unwrap(), &[0.5; HEADS]);
        assert_eq!(halved.forecast(samples.row(3)).unwrap(), [row]);
    }

    #[test]
    fn tasks_without_weight_stay_at_the_benchmark() {
        let samples = samples(100, 5, 1.0, 8);
        let model = trained(&samples, &small_recipe().with_task_weights(TaskWeights::only(Task::Volatility)), 7);
        let forecast = &model.forecast(samples.row(3)).unwrap()[0].horizons[1];
        assert!(forecast.log_variance_correction != 0.0);
        assert_eq!((forecast.scaled_mean, forecast.quintile_probabilities), (0.0, [0.2; CLASSES]));
    }

    #[test]
    fn members_differ_and_their_mean_is_the_ensemble() {
        let samples = samples(100, 5, 1.0, 8);
        let model = trained(&samples, &small_recipe(), 7);
        let members = model.member_forecasts(&samples.features).unwrap();
        let together = model.forecast(&samples.features).unwrap();
        let odds_of = |forecast: &RowForecast| {
            let probabilities = forecast.horizons[0].quintile_probabilities;
            (probabilities[4] / probabilities[0]).ln()
        };
        assert_eq!(members.len(), 2);
        assert!((0..samples.rows()).any(|row| odds_of(&members[0][row]) != odds_of(&members[1][row])));
        for row in 0..samples.rows() {
            let mean = (odds_of(&members[0][row]) + odds_of(&members[1][row])) / 2.0;
            assert!((mean - odds_of(&together[row])).abs() < 1e-6);
        }
    }

    #[test]
    fn a_model_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<TrainedModel>();
    }

    #[test]
    fn reports_every_epoch_and_stops_when_told() {
        let samples = samples(60, 5, 1.0, 9);
        let reports = Mutex::new(Vec::new());
        let cancelled = AtomicBool::new(false);
        let report = |progress| {
            reports.lock().unwrap().push(progress);
            cancelled.store(true, Ordering::Relaxed);
        };
        let control = Control { threads: 1, device: DeviceKind::Cpu, progress: &report, cancelled: &cancelled };
        let result = train(&samples, &plan(&samples), &small_recipe(), provenance(1), &control);
        assert!(matches!(result, Err(TrainingError::Cancelled)));
        let reports = reports.into_inner().unwrap();
        assert_eq!((reports.len(), reports[0].member, reports[0].epoch), (1, 0, 1));
        assert!(reports[0].rows_per_second > 0.0);
    }

    #[test]
    fn unusable_input_is_refused() {
        let good = samples(20, 2, 1.0, 9);
        let cancelled = AtomicBool::new(false);
        let control = Control { threads: 1, device: DeviceKind::Cpu, progress: &|_| (), cancelled: &cancelled };
        let run = |samples: &Samples, recipe: &Recipe| train(samples, &plan(&good), recipe, provenance(1), &control);
        let bad_recipe = run(&good, &small_recipe().with_members(0));
        assert!(matches!(bad_recipe, Err(TrainingError::Recipe(_))));
        let short = Samples { features: vec![0.0; 3], ..good.clone() };
        assert!(matches!(run(&short, &small_recipe()), Err(TrainingError::Dataset(DatasetError::Length { .. }))));
        let model = trained(&good, &small_recipe(), 1);
        assert!(matches!(model.forecast(&[0.0; 7]), Err(ForecastError::Features { expected: 6, found: 7 })));
        assert!(model.forecast(&[]).unwrap().is_empty());
    }
}

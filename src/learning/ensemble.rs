//! The ensemble: members trained side by side, their outputs averaged, each head shrunk by what validation supports.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::TensorReadError;
use serde::{Deserialize, Serialize};

use crate::learning::dataset::{Samples, TrainingPlan};
use crate::learning::forecast::RowForecast;
use crate::learning::network::Network;
use crate::learning::objective::Objective;
use crate::learning::recipe::Recipe;
use crate::learning::scaler::Scaler;
use crate::learning::task::{HEADS, OUTPUTS};
use crate::learning::training::{Control, Material, Member, MemberRecord, TrainingError, train_member};
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
    /// First day of the validation span, a session index.
    pub validation_from_day: u32,
    /// Rows that trained.
    pub training_rows: usize,
    /// Rows that validated.
    pub validation_rows: usize,
    /// By member.
    pub members: Vec<MemberRecord>,
    /// By head, in the order of [`crate::learning::task::Head::all`]: the ensemble's validation loss over the
    /// benchmark's, 1 where nothing was gained.
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
    let validated = split.validation.clone();
    let (targets, days) = (&samples.targets[validated.clone()], &samples.day_index[validated]);
    let validation = Validation::fit(targets, days, &recipe.task_weights);
    let material = Material {
        recipe,
        inputs: &inputs,
        input_count: scaler.input_count(),
        training_days: &samples.day_index[split.training.clone()],
        split: &split,
        objective: &Objective::fit(&split.training_targets, &recipe.task_weights),
        validation: &validation,
    };
    let members = train_members(&material, provenance.seed, control)?;
    let outputs = average(members.iter().map(|member| &member.validation_outputs[..]));
    let judgement = validation.judge(&outputs);
    let record = TrainingRecord {
        validation_from_day: plan.validation_from_day,
        training_rows: split.training.len(),
        validation_rows: split.validation.len(),
        members: members.iter().map(|member| member.record.clone()).collect(),
        relative_loss: judgement.relative_loss.map(|loss| loss as f32).to_vec(),
    };
    Ok(TrainedModel {
        recipe: recipe.clone(),
        provenance,
        record,
        scaler,
        shrink: judgement.shrink,
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
        let outputs = self.member_outputs(features)?;
        Ok(self.decode(&average(outputs.iter().map(Vec::as_slice))))
    }

    /// Each member's own forecasts, `[members][rows]`, with the ensemble's shares.
    ///
    /// # Errors
    /// As [`TrainedModel::forecast`].
    pub fn member_forecasts(&self, features: &[f32]) -> Result<Vec<Vec<RowForecast>>, ForecastError> {
        Ok(self.member_outputs(features)?.iter().map(|outputs| self.decode(outputs)).collect())
    }

    /// Output rows of every member, `[members][rows][OUTPUTS]`.
    pub(crate) fn member_outputs(&self, features: &[f32]) -> Result<Vec<Vec<f32>>, ForecastError> {
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

/// Trains the members in the order of their numbers on a few threads, each in its own pool of one thread: a network
/// of this size gains nothing from more.
fn train_members(material: &Material<'_>, seed: u64, control: &Control<'_>) -> Result<Vec<Member>, TrainingError> {
    let count = material.recipe.members;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Member)>, TrainingError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let pool = pool.map_err(|error| TrainingError::Threads(error.to_string()))?;
        let mut trained = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(trained);
            }
            trained.push((number, pool.install(|| train_member(material, seed, number, control))?));
        }
    };
    let mut members: Vec<(usize, Member)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..control.threads.clamp(1, count)).map(|_| scope.spawn(work)).collect();
        let results: Vec<_> =
            threads.into_iter().map(|thread| thread.join().unwrap_or(Err(TrainingError::Died))).collect();
        results.into_iter().collect::<Result<Vec<_>, _>>().map(|parts| parts.into_iter().flatten().collect())
    })?;
    members.sort_by_key(|(number, _)| *number);
    Ok(members.into_iter().map(|(_, member)| member).collect())
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
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::learning::dataset::DatasetError;
    use crate::learning::planted::{plan, provenance, qlike, samples, small_recipe, trained};
    use crate::learning::recipe::TaskWeights;
    use crate::learning::task::{CLASSES, Head, Task};
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
    fn overfits_thirty_two_rows() {
        let mut samples = samples(32, 1, 0.0, 6);
        // The same rows validate, later: nothing but memory can help on noise. A row a year, so that none is purged.
        let days: Vec<u32> = (0..64).map(|row| 300 * row).collect();
        samples.features.extend_from_within(..);
        samples.targets.extend_from_within(..);
        samples.instrument.extend_from_within(..);
        samples.day_index = days;
        let recipe = small_recipe().with_hidden(vec![64]).with_bootstrap(false).with_batch_size(32).with_epochs(600);
        let recipe = recipe.with_patience(600).with_weight_decay(0.0).with_learning_rate(1e-2).with_members(1);
        let control = Control { threads: 1, progress: &|_| (), cancelled: &AtomicBool::new(false) };
        let plan = TrainingPlan { validation_from_day: 300 * 32, validation_until_day: 300 * 64 };
        let model = train(&samples, &plan, &recipe, provenance(1), &control).unwrap();
        for head in Head::all() {
            let relative = model.record.relative_loss[Head::index(head.task, head.horizon)];
            // Bounds leave log(1 + exp(-1.5)) / log 2 = 0.29 of the direction's loss, and half of the mean's.
            let bound = if matches!(head.task, Task::Direction | Task::Drawdown | Task::Mean) { 0.6 } else { 0.2 };
            assert!(relative < bound, "{}: {relative}", head.label());
        }
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
        let control = Control { threads: 1, progress: &report, cancelled: &cancelled };
        let result = train(&samples, &plan(&samples), &small_recipe(), provenance(1), &control);
        assert!(matches!(result, Err(TrainingError::Cancelled)));
        let reports = reports.into_inner().unwrap();
        assert_eq!((reports.len(), reports[0].member, reports[0].epoch), (1, 0, 1));
        assert!(reports[0].rows_per_second > 0.0);
    }

    #[test]
    fn unusable_input_is_refused() {
        let good = samples(20, 2, 1.0, 9);
        let control = Control { threads: 1, progress: &|_| (), cancelled: &AtomicBool::new(false) };
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

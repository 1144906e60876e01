//! One member: descend on its own bootstrap of the training days, keep the weights that validate best.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::learning::batch::{gather, member_rows, shuffle};
use crate::learning::dataset::{DatasetError, Split};
use crate::learning::device::{DeviceError, DeviceKind, processor};
use crate::learning::network::Network;
use crate::learning::objective::Objective;
use crate::learning::recipe::{Recipe, RecipeError};
use crate::learning::threads::ThreadError;
use crate::learning::validation::Validation;
use crate::learning::weighting::HeadWeights;

/// Why a training ended without a model.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The samples or the plan cannot be used.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The caller asked to stop.
    #[error("training was cancelled")]
    Cancelled,
    /// The members' threads did not work.
    #[error(transparent)]
    Threads(#[from] ThreadError),
    /// There is no such device.
    #[error(transparent)]
    NoDevice(#[from] DeviceError),
    /// The device did not answer.
    #[error("the device could not be read: {0}")]
    Device(#[from] TensorReadError),
}

/// How far a member is; sent after every epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Which member, from 0.
    pub member: usize,
    /// Epochs done.
    pub epoch: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Rows learned from per second in this epoch, by this member.
    pub rows_per_second: f64,
    /// Validation loss relative to the benchmark's 1; `None` without a validation span.
    pub validation_loss: Option<f64>,
}

/// Where reports go and where a wish to stop comes from.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Members trained at once, each on one thread.
    pub threads: usize,
    /// Where the networks are trained.
    pub device: DeviceKind,
    /// Called from the training threads.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Looked at before every step.
    pub cancelled: &'a AtomicBool,
}

/// How a member's training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Epochs done.
    pub epochs: usize,
    /// Epoch whose weights were kept, the last without a validation span; 0 is the untrained network.
    pub best_epoch: usize,
    /// Validation loss of those weights relative to the benchmark's 1; `None` without a validation span.
    pub validation_loss: Option<f32>,
    /// By head, the log variance s of its loss at those weights; empty where the weighting learns none.
    pub log_variances: Vec<f32>,
}

/// What all members learn from.
pub struct Material<'a> {
    /// The hyperparameters, already checked.
    pub recipe: &'a Recipe,
    /// Scaled inputs of all rows up to the end of the validation span, `[rows][input_count]`.
    pub inputs: &'a [f32],
    /// Inputs in a row.
    pub input_count: usize,
    /// Decision days of the training rows.
    pub training_days: &'a [u32],
    /// Training and validation rows.
    pub split: &'a Split<'a>,
    /// What a step descends.
    pub objective: &'a Objective,
    /// What decides which weights are kept; `None` keeps the last.
    pub validation: Option<&'a Validation<'a>>,
}

/// A trained member with its validation outputs.
pub struct Member {
    /// The weights that validated best, or the last.
    pub network: Network,
    /// How it went.
    pub record: MemberRecord,
    /// `[validation rows][OUTPUTS]` of those weights.
    pub validation_outputs: Vec<f32>,
}

/// Trains one member. The same material, seed and number give the same weights.
///
/// # Errors
/// [`TrainingError::Cancelled`] within one step of the wish, [`TrainingError::Device`] when outputs cannot be read.
pub fn train_member(
    material: &Material<'_>,
    seed: u64,
    number: usize,
    control: &Control<'_>,
) -> Result<Member, TrainingError> {
    let recipe = material.recipe;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number as u64);
    let bootstrap = recipe.bootstrap.then_some(recipe.block_days);
    let mut rows = member_rows(material.training_days, bootstrap, &mut random);
    let mut learner = Learner::new(material, control.device, &mut random)?;
    let mut best = learner.candidate(0)?;
    for epoch in 1..=recipe.epochs {
        let started = Instant::now();
        shuffle(&mut rows, &mut random);
        learner.learn(&rows, recipe.rate_in(epoch - 1), control.cancelled)?;
        let rows_per_second = rows.len() as f64 / started.elapsed().as_secs_f64();
        let candidate = learner.candidate(epoch)?;
        let validation_loss = candidate.record.validation_loss.map(f64::from);
        (control.progress)(Progress { member: number, epoch, epochs: recipe.epochs, rows_per_second, validation_loss });
        if candidate.replaces(&best) {
            best = candidate;
        }
        best.record.epochs = epoch;
        if epoch - best.record.best_epoch >= recipe.patience {
            break;
        }
    }
    Ok(best)
}

impl Member {
    /// Whether it validates better; without validation the later one counts.
    fn replaces(&self, best: &Self) -> bool {
        match (self.record.validation_loss, best.record.validation_loss) {
            (Some(later), Some(best)) => later < best,
            _ => true,
        }
    }
}

/// A network being trained.
struct Learner<'a> {
    material: &'a Material<'a>,
    kind: DeviceKind,
    device: Device,
    network: Network,
    optimizer: ModuleOptimizer,
    weights: HeadWeights,
}

impl<'a> Learner<'a> {
    fn new(material: &'a Material<'a>, kind: DeviceKind, random: &mut ChaCha8Rng) -> Result<Self, DeviceError> {
        let recipe = material.recipe;
        let device = kind.open()?.autodiff();
        let network = Network::init(&recipe.architecture(material.input_count), random, &device);
        let optimizer = AdamWConfig::new().with_weight_decay(recipe.weight_decay as f32).with_epsilon(1e-8).init();
        Ok(Self { material, kind, device, network, optimizer, weights: HeadWeights::new(recipe.weighting) })
    }

    /// One epoch over the rows in their order.
    fn learn(&mut self, rows: &[u32], rate: f64, cancelled: &AtomicBool) -> Result<(), TrainingError> {
        for rows in rows.chunks(self.material.recipe.batch_size) {
            if cancelled.load(Ordering::Relaxed) {
                return Err(TrainingError::Cancelled);
            }
            self.step(rows, rate)?;
        }
        Ok(())
    }

    /// One step. The slopes of the losses in the outputs are known in closed form, so the sum of outputs x slopes has
    /// the gradient of the objective in every weight.
    fn step(&mut self, rows: &[u32], rate: f64) -> Result<(), TrainingError> {
        let Material { recipe, inputs, input_count, split, objective, .. } = *self.material;
        let inputs = TensorData::new(gather(rows, inputs, input_count), [rows.len(), input_count]);
        let (outputs, way_back) = match self.kind {
            DeviceKind::Cpu => {
                let (outputs, way_back) = self.network.cross(inputs, &self.device)?;
                (outputs, Some(way_back))
            }
            _ => (self.network.forward(Tensor::from_data(inputs, &self.device)), None),
        };
        let values = outputs.clone().inner().try_into_vec_as::<f32>()?;
        let mut descent = objective.descent(&values, rows, &split.training_targets, &self.weights.factors());
        self.weights.learn(&descent, rate)?;
        let slopes = TensorData::new(std::mem::take(&mut descent.slopes), outputs.dims());
        let mut loss = (outputs * Tensor::from_data(slopes, &self.device)).sum();
        if let Some(spread) = self.network.squared_spread() {
            loss = loss + spread * recipe.coupling;
        }
        let mut graph = loss.backward();
        let mut gradients = GradientsParams::from_module(&mut graph, &self.network);
        if let Some(way_back) = way_back {
            way_back.back(&self.network, &mut graph, &mut gradients)?;
        }
        self.network = self.optimizer.step(rate, self.network.clone(), gradients);
        Ok(())
    }

    /// The network as it is now, on the processor, with its validation.
    fn candidate(&self, epoch: usize) -> Result<Member, TrainingError> {
        let network = self.network.valid().to_device(&processor());
        let width = self.material.input_count;
        let rows = &self.material.split.validation;
        let validation_outputs = network.outputs(&self.material.inputs[rows.start * width..rows.end * width], width)?;
        let validation_loss = self.material.validation.map(|span| span.judge(&validation_outputs).loss as f32);
        let log_variances = self.weights.log_variances();
        let record = MemberRecord { epochs: epoch, best_epoch: epoch, validation_loss, log_variances };
        Ok(Member { network, record, validation_outputs })
    }
}

//! One member: descend on its own bootstrap of the training days, keep the weights that validate best.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::learning::batch::{Batch, member_rows, shuffle};
use crate::learning::dataset::{DatasetError, Split};
use crate::learning::network::{Network, device};
use crate::learning::objective::Objective;
use crate::learning::recipe::{Recipe, RecipeError};
use crate::learning::validation::Validation;

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
    /// A member's threads could not be started.
    #[error("training threads could not be started: {0}")]
    Threads(String),
    /// A member's thread died.
    #[error("a training thread died")]
    Died,
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
    /// Validation loss relative to the benchmark's 1.
    pub validation_loss: f64,
}

/// Where reports go and where a wish to stop comes from.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Members trained at once, each on one thread.
    pub threads: usize,
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
    /// Epoch whose weights were kept; 0 is the untrained network.
    pub best_epoch: usize,
    /// Validation loss of those weights relative to the benchmark's 1.
    pub validation_loss: f32,
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
    pub split: &'a Split,
    /// What a step descends.
    pub objective: &'a Objective,
    /// What decides which weights are kept.
    pub validation: &'a Validation<'a>,
}

/// A trained member with its validation outputs.
pub struct Member {
    /// The weights that validated best.
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
    let mut learner = Learner::new(material, &mut random);
    let mut best = learner.validated(0)?;
    for epoch in 1..=recipe.epochs {
        let started = Instant::now();
        shuffle(&mut rows, &mut random);
        learner.learn(&rows, recipe.rate_in(epoch - 1), control.cancelled)?;
        let rows_per_second = rows.len() as f64 / started.elapsed().as_secs_f64();
        let candidate = learner.validated(epoch)?;
        let validation_loss = f64::from(candidate.record.validation_loss);
        (control.progress)(Progress { member: number, epoch, epochs: recipe.epochs, rows_per_second, validation_loss });
        if candidate.record.validation_loss < best.record.validation_loss {
            best = candidate;
        }
        best.record.epochs = epoch;
        if epoch - best.record.best_epoch >= recipe.patience {
            break;
        }
    }
    Ok(best)
}

/// A network being trained.
struct Learner<'a> {
    material: &'a Material<'a>,
    device: Device,
    network: Network,
    optimizer: ModuleOptimizer,
}

impl<'a> Learner<'a> {
    fn new(material: &'a Material<'a>, random: &mut ChaCha8Rng) -> Self {
        let recipe = material.recipe;
        let device = device().autodiff();
        let network = Network::init(material.input_count, &recipe.hidden, random, &device);
        let optimizer = AdamWConfig::new().with_weight_decay(recipe.weight_decay as f32).with_epsilon(1e-8).init();
        Self { material, device, network, optimizer }
    }

    /// One epoch over the rows in their order.
    fn learn(&mut self, rows: &[u32], rate: f64, cancelled: &AtomicBool) -> Result<(), TrainingError> {
        for rows in rows.chunks(self.material.recipe.batch_size) {
            if cancelled.load(Ordering::Relaxed) {
                return Err(TrainingError::Cancelled);
            }
            let training = &self.material.split.training_targets;
            let inputs = &self.material.inputs[..training.len() * self.material.input_count];
            self.step(Batch::gather(rows, inputs, training), rate)?;
        }
        Ok(())
    }

    /// One step. The slopes of the losses in the outputs are known in closed form, so the sum of outputs x slopes has
    /// the gradient of the objective in every weight.
    fn step(&mut self, batch: Batch, rate: f64) -> Result<(), TrainingError> {
        let shape = [batch.targets.len(), self.material.input_count];
        let inputs = Tensor::from_data(TensorData::new(batch.inputs, shape), &self.device);
        let outputs = self.network.forward(inputs);
        let values = outputs.clone().inner().try_into_vec_as::<f32>()?;
        let slopes = self.material.objective.slope(&values, &batch.targets);
        let slopes = Tensor::from_data(TensorData::new(slopes, outputs.dims()), &self.device);
        let gradients = (outputs * slopes).sum().backward();
        let gradients = GradientsParams::from_grads(gradients, &self.network);
        self.network = self.optimizer.step(rate, self.network.clone(), gradients);
        Ok(())
    }

    /// The network as it is now, with its validation.
    fn validated(&self, epoch: usize) -> Result<Member, TrainingError> {
        let network = self.network.valid();
        let width = self.material.input_count;
        let rows = &self.material.split.validation;
        let inputs = &self.material.inputs[rows.start * width..rows.end * width];
        let validation_outputs = network.outputs(inputs, width)?;
        let validation_loss = self.material.validation.judge(&validation_outputs).loss as f32;
        let record = MemberRecord { epochs: epoch, best_epoch: epoch, validation_loss };
        Ok(Member { network, record, validation_outputs })
    }
}

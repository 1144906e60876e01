//! Steps of training on their own: by stage, with next to no losses, and the bare matrix products.

use std::sync::Barrier;
use std::time::Instant;

use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use forecastd::learning::batch::{gather, shuffle};
use forecastd::learning::dataset::KnownTargets;
use forecastd::learning::device::processor;
use forecastd::learning::network::Network;
use forecastd::learning::objective::Objective;
use forecastd::learning::recipe::Recipe;
use forecastd::learning::task::{HEADS, OUTPUTS};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Stages of a step, in their order.
pub const STAGES: [&str; 5] = ["gather the batch", "forward", "losses", "backward", "AdamW"];

/// What both sides learn from.
pub struct Rows<'a> {
    /// The hyperparameters.
    pub recipe: Recipe,
    /// `[rows][input_count]`.
    pub inputs: Vec<f32>,
    /// Inputs in a row.
    pub input_count: usize,
    /// `[rows]`.
    pub targets: KnownTargets<'a>,
    /// Losses and weights.
    pub objective: Objective,
    /// `[rows][OUTPUTS]`: what outputs are compared with where the loss is the squared error.
    pub plain: Vec<f32>,
}

/// What a step descends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All losses, as in a training.
    All,
    /// The mean squared error over all outputs.
    Squared,
}

impl Loss {
    /// Its name on the other side.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Squared => "squared",
        }
    }
}

/// A network in training.
struct Learner<'a> {
    rows: &'a Rows<'a>,
    loss: Loss,
    device: Device,
    network: Network,
    optimizer: ModuleOptimizer,
    order: Vec<u32>,
}

impl<'a> Learner<'a> {
    fn new(rows: &'a Rows<'a>, loss: Loss, seed: u64) -> Self {
        let (recipe, device) = (&rows.recipe, processor().autodiff());
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let network = Network::init(&recipe.architecture(rows.input_count), &mut random, &device);
        let optimizer = AdamWConfig::new().with_weight_decay(recipe.weight_decay as f32).with_epsilon(1e-8).init();
        let mut order: Vec<u32> = (0..rows.targets.rows() as u32).collect();
        shuffle(&mut order, &mut random);
        Self { rows, loss, device, network, optimizer, order }
    }

    /// The step of [`forecastd::learning::training`], with a look at the clock after each stage.
    fn step(&mut self, order: std::ops::Range<usize>, mut clock: impl FnMut()) -> anyhow::Result<()> {
        let order = &self.order[order];
        let inputs = gather(order, &self.rows.inputs, self.rows.input_count);
        let inputs = TensorData::new(inputs, [order.len(), self.rows.input_count]);
        let inputs = Tensor::<2>::from_data(inputs, &self.device);
        clock();
        let outputs = self.network.forward(inputs);
        clock();
        let objective = match self.loss {
            Loss::All => {
                let values = outputs.clone().inner().try_into_vec_as::<f32>()?;
                let descent = self.rows.objective.descent(&values, order, &self.rows.targets, &[1.0; HEADS]);
                let slopes = TensorData::new(descent.slopes, outputs.dims());
                let slopes = Tensor::<2>::from_data(slopes, &self.device);
                (outputs * slopes).sum()
            }
            Loss::Squared => {
                let targets = TensorData::new(gather(order, &self.rows.plain, OUTPUTS), outputs.dims());
                let targets = Tensor::<2>::from_data(targets, &self.device);
                (outputs - targets).square().mean()
            }
        };
        clock();
        let gradients = GradientsParams::from_grads(objective.backward(), &self.network);
        clock();
        self.network = self.optimizer.step(self.rows.recipe.learning_rate, self.network.clone(), gradients);
        clock();
        Ok(())
    }

    fn batches(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (rows, size) = (self.order.len(), self.rows.recipe.batch_size);
        (0..rows).step_by(size).map(move |from| from..(from + size).min(rows))
    }
}

/// Samples a second of one network on this thread.
pub fn train(rows: &Rows<'_>, loss: Loss, epochs: usize, start: &Barrier) -> anyhow::Result<f64> {
    let mut learner = Learner::new(rows, loss, 1);
    start.wait();
    let started = Instant::now();
    for batch in std::iter::repeat_n((), epochs).flat_map(|()| learner.batches()).collect::<Vec<_>>() {
        learner.step(batch, || {})?;
    }
    Ok((rows.targets.rows() * epochs) as f64 / started.elapsed().as_secs_f64())
}

/// Seconds of each stage in a mean step on this thread.
pub fn stages(rows: &Rows<'_>, loss: Loss, steps: usize, start: &Barrier) -> anyhow::Result<[f64; STAGES.len()]> {
    let mut learner = Learner::new(rows, loss, 1);
    start.wait();
    let mut totals = [0.0; STAGES.len()];
    for batch in learner.batches().take(steps) {
        let (mut stage, mut last) = (0, Instant::now());
        learner.step(batch, || {
            totals[stage] += last.elapsed().as_secs_f64();
            (stage, last) = (stage + 1, Instant::now());
        })?;
    }
    Ok(totals.map(|total| total / steps as f64))
}

/// Floating point operations of a step's matrix products for one row: forward, the weights' gradients, and the inputs'
/// gradients of all layers but the first.
pub fn operations_per_row(rows: &Rows<'_>) -> f64 {
    layers(rows).iter().enumerate().map(|(at, [from, to])| (from * to * if at == 0 { 4 } else { 6 }) as f64).sum()
}

/// Floating point operations a second of a step's matrix products and of nothing else, on this thread.
pub fn matmul(rows: &Rows<'_>, steps: usize, start: &Barrier) -> anyhow::Result<f64> {
    let device = processor();
    let size = rows.recipe.batch_size;
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let mut products = Vec::new();
    for (at, [from, to]) in layers(rows).into_iter().enumerate() {
        let (flow, weight, gradient) = (random([size, from]), random([from, to]), random([size, to]));
        products.push((flow.clone(), weight.clone()));
        products.push((flow.transpose(), gradient.clone()));
        if at > 0 {
            products.push((gradient, weight.transpose()));
        }
    }
    start.wait();
    let started = Instant::now();
    for _ in 0..steps {
        for (left, right) in &products {
            std::hint::black_box(left.clone().matmul(right.clone()));
        }
    }
    device.sync()?;
    Ok(operations_per_row(rows) * (size * steps) as f64 / started.elapsed().as_secs_f64())
}

/// Inputs and outputs of each linear layer.
fn layers(rows: &Rows<'_>) -> Vec<[usize; 2]> {
    let widths: Vec<usize> =
        [rows.input_count].into_iter().chain(rows.recipe.hidden.iter().copied()).chain([OUTPUTS]).collect();
    widths.array_windows().copied().collect()
}

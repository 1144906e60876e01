//! The part of a network between its inputs and its heads.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Added to the variance of a row before it is standardized.
pub(crate) const EPSILON: f64 = 1e-5;

/// One layer of a trunk: linear, normalized over its width (Ba et al. 2016), rectified.
#[derive(Module, Debug)]
pub struct Layer {
    pub(crate) linear: Linear,
    pub(crate) norm: LayerNorm,
}

/// Layers one after the other, from the inputs to the representation that the heads read.
#[derive(Module, Debug)]
pub struct Trunk {
    pub(crate) layers: Vec<Layer>,
}

impl Trunk {
    /// A trunk with weights drawn by [`drawn_linear`].
    #[must_use]
    pub fn init(input_count: usize, hidden: &[usize], random: &mut ChaCha8Rng, device: &Device) -> Self {
        let inputs = std::iter::once(&input_count).chain(hidden);
        let layers = inputs
            .zip(hidden)
            .map(|(&inputs, &outputs)| Layer {
                linear: drawn_linear(inputs, outputs, random, device),
                norm: LayerNormConfig::new(outputs).with_epsilon(EPSILON).init(device),
            })
            .collect();
        Self { layers }
    }

    /// # Shapes
    /// `inputs` is `[rows, input_count]`, the result `[rows, last hidden width]`.
    #[must_use]
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.layers.iter().fold(inputs, |flow, layer| relu(layer.norm.forward(layer.linear.forward(flow))))
    }

    /// Sum over trunks of one shape of the squared distance between their linear layers and the mean of these, as one
    /// number. The normalizations are left out: they stay near 1 and 0 by themselves.
    #[must_use]
    pub fn squared_spread(trunks: &[Self]) -> Option<Tensor<1>> {
        let layers = trunks.first()?.layers.len();
        let of_layer = |layer: usize| {
            let linears = || trunks.iter().map(move |trunk| &trunk.layers[layer].linear);
            let weights = spread(linears().map(|linear| linear.weight.val()).collect());
            let biases = spread(linears().filter_map(|linear| Some(linear.bias.as_ref()?.val())).collect());
            [weights, biases]
        };
        (0..layers).flat_map(of_layer).flatten().reduce(|sum, part| sum + part)
    }
}

/// Squared distances of some arrays from their mean, summed.
fn spread<const D: usize>(arrays: Vec<Tensor<D>>) -> Option<Tensor<1>> {
    let count = arrays.len() as f32;
    let mean = arrays.iter().cloned().reduce(|sum, array| sum + array)? / count;
    arrays.into_iter().map(|array| (array - mean.clone()).square().sum()).reduce(|sum, part| sum + part)
}

/// A linear layer with weights uniform on +- sqrt(6 / inputs) (He et al. 2015) and biases 0. They are drawn here and
/// not by Burn, whose random numbers are shared by the whole process: two trainings at once would disturb each other.
#[must_use]
pub fn drawn_linear(inputs: usize, outputs: usize, random: &mut ChaCha8Rng, device: &Device) -> Linear {
    let reach = (6.0 / inputs as f32).sqrt();
    let weights = (0..inputs * outputs).map(|_| random.random_range(-reach..=reach)).collect();
    linear([inputs, outputs], weights, device)
}

/// A linear layer of zeros.
#[must_use]
pub fn zero_linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    linear([inputs, outputs], vec![0.0; inputs * outputs], device)
}

fn linear(shape: [usize; 2], weights: Vec<f32>, device: &Device) -> Linear {
    let weight = Tensor::from_data(TensorData::new(weights, shape), device);
    let bias = Tensor::from_data(TensorData::new(vec![0.0f32; shape[1]], [shape[1]]), device);
    Linear { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) }
}

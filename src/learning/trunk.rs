//! The part of a network between its inputs and its heads, and its gradients in closed form: the numbers that automatic
//! differentiation finds, in a few passes over memory instead of two dozen.

use burn::module::{Module, Param, ParamId};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::optim::GradientsParams;
use burn::tensor::activation::relu;
use burn::tensor::module;
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Added to the variance of a row before it is standardized.
const EPSILON: f64 = 1e-5;

/// One layer of a trunk: linear, normalized over its width (Ba et al. 2016), rectified.
#[derive(Module, Debug)]
pub struct Layer {
    linear: Linear,
    norm: LayerNorm,
}

/// Layers one after the other, from the inputs to the representation that the heads read.
#[derive(Module, Debug)]
pub struct Trunk {
    layers: Vec<Layer>,
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

/// What a trunk keeps of a batch for the way back, layer by layer.
#[derive(Debug)]
pub struct Passage {
    layers: Vec<Crossing>,
}

#[derive(Debug)]
struct Crossing {
    /// Whether nothing before it learns.
    is_first: bool,
    /// `[rows, inputs of the layer]`.
    input: Tensor<2>,
    /// What the linear part gave, each row standardized, `[rows][width]`.
    standardized: Vec<f32>,
    /// 1 / standard deviation of each row.
    inverse_deviation: Vec<f32>,
}

impl Passage {
    /// Crosses a trunk, on the processor.
    ///
    /// # Shapes
    /// `inputs` is `[rows, input_count]` without autodiff, the result `[rows][last hidden width]`.
    ///
    /// # Errors
    /// When numbers cannot be read.
    pub fn through(trunk: &Trunk, inputs: Tensor<2>) -> Result<(Vec<f32>, Self), TensorReadError> {
        let (mut flow, mut output, mut layers) = (inputs, Vec::new(), Vec::new());
        for layer in &trunk.layers {
            if !layers.is_empty() {
                flow = tensor(output, layer.linear.weight.val().dims()[0], &flow);
            }
            let parameters = Parameters::of(layer)?;
            let bias = layer.linear.bias.as_ref().map(|bias| bias.val().inner());
            let sums = module::linear(flow.clone(), layer.linear.weight.val().inner(), bias);
            let mut standardized = sums.try_into_vec_as::<f32>()?;
            let rows = standardized.chunks_exact_mut(parameters.width());
            let inverse_deviation = rows.map(standardize).collect();
            output = vec![0.0; standardized.len()];
            let width = parameters.width();
            for (output, row) in output.chunks_exact_mut(width).zip(standardized.chunks_exact(width)) {
                parameters.rectify(row, output);
            }
            let is_first = layers.is_empty();
            layers.push(Crossing { is_first, input: flow.clone(), standardized, inverse_deviation });
        }
        Ok((output, Self { layers }))
    }

    /// Registers the gradients of all parameters of the trunk, beside those that are there already.
    ///
    /// # Shapes
    /// `gradient` is `[rows, last hidden width]`, the gradient of what [`Passage::through`] gave.
    ///
    /// # Errors
    /// When numbers cannot be read.
    pub fn back(
        self,
        trunk: &Trunk,
        gradient: Tensor<2>,
        gradients: &mut GradientsParams,
    ) -> Result<(), TensorReadError> {
        let mut gradient = Some(gradient);
        for (layer, crossing) in trunk.layers.iter().zip(self.layers).rev() {
            let Some(slopes) = gradient.take() else { break };
            let mut slopes = slopes.try_into_vec_as::<f32>()?;
            let sums = crossing.back(&Parameters::of(layer)?, &mut slopes);
            let slopes = tensor(slopes, sums.bias.len(), &crossing.input);
            let (linear, norm, device) = (&layer.linear, &layer.norm, crossing.input.device());
            if !crossing.is_first {
                gradient = Some(slopes.clone().matmul(linear.weight.val().inner().transpose()));
            }
            add(gradients, linear.weight.id, crossing.input.transpose().matmul(slopes));
            let vectors =
                [(linear.bias.as_ref(), sums.bias), (norm.beta.as_ref(), sums.shift), (Some(&norm.gamma), sums.gain)];
            for (parameter, values) in vectors {
                let shape = [values.len()];
                if let Some(parameter) = parameter {
                    add(gradients, parameter.id, Tensor::<1>::from_data(TensorData::new(values, shape), &device));
                }
            }
        }
        Ok(())
    }
}

/// Gain and shift of a normalization.
struct Parameters {
    gain: Vec<f32>,
    shift: Vec<f32>,
}

impl Parameters {
    fn of(layer: &Layer) -> Result<Self, TensorReadError> {
        let gain = layer.norm.gamma.val().inner().try_into_vec_as::<f32>()?;
        let shift = match &layer.norm.beta {
            Some(beta) => beta.val().inner().try_into_vec_as::<f32>()?,
            None => vec![0.0; gain.len()],
        };
        Ok(Self { gain, shift })
    }

    fn width(&self) -> usize {
        self.gain.len()
    }

    fn rectify(&self, standardized: &[f32], output: &mut [f32]) {
        let scales = self.gain.iter().zip(&self.shift);
        for ((output, value), (gain, shift)) in output.iter_mut().zip(standardized).zip(scales) {
            *output = (gain * value + shift).max(0.0);
        }
    }

    /// Sets the slopes to 0 where the rectifier gave 0.
    fn close(&self, standardized: &[f32], slopes: &mut [f32]) {
        let scales = self.gain.iter().zip(&self.shift);
        for ((slope, value), (gain, shift)) in slopes.iter_mut().zip(standardized).zip(scales) {
            *slope = if gain * value + shift > 0.0 { *slope } else { 0.0 };
        }
    }
}

/// Gradients summed over the rows.
struct Sums {
    gain: Vec<f32>,
    shift: Vec<f32>,
    bias: Vec<f32>,
}

impl Crossing {
    /// Turns the slopes of the layer's outputs into those of its linear part.
    ///
    /// With x the standardized row, y = max(gain x + shift, 0) and s the slopes behind the rectifier, the slopes of x are
    /// d = s gain, and those of the linear part (d - mean(d) - x mean(d x)) / deviation (Ba et al. 2016).
    fn back(&self, parameters: &Parameters, slopes: &mut [f32]) -> Sums {
        let width = parameters.width();
        let mut sums = Sums { gain: vec![0.0; width], shift: vec![0.0; width], bias: vec![0.0; width] };
        let rows = slopes.chunks_exact_mut(width).zip(self.standardized.chunks_exact(width));
        for ((slopes, row), inverse) in rows.zip(&self.inverse_deviation) {
            // Short loops over two or three rows each: processors run them many numbers at a time.
            parameters.close(row, slopes);
            sums.gain.iter_mut().zip(slopes.iter().zip(row)).for_each(|(sum, (slope, value))| *sum += slope * value);
            sums.shift.iter_mut().zip(&*slopes).for_each(|(sum, slope)| *sum += slope);
            slopes.iter_mut().zip(&parameters.gain).for_each(|(slope, gain)| *slope *= gain);
            let mean = lane_sum(slopes, row, |slope, _| slope) / width as f32;
            let tilt = lane_sum(slopes, row, |slope, value| slope * value) / width as f32;
            slopes.iter_mut().zip(row).for_each(|(slope, value)| *slope = (*slope - mean - value * tilt) * inverse);
            sums.bias.iter_mut().zip(&*slopes).for_each(|(sum, slope)| *sum += slope);
        }
        sums
    }
}

/// Standardizes a row and gives 1 / its standard deviation (ddof 0).
fn standardize(row: &mut [f32]) -> f32 {
    let width = row.len() as f32;
    let mean = lane_sum(row, row, |value, _| value) / width;
    row.iter_mut().for_each(|value| *value -= mean);
    let variance = lane_sum(row, row, |value, _| value * value) / width;
    let inverse = 1.0 / (variance + EPSILON as f32).sqrt();
    row.iter_mut().for_each(|value| *value *= inverse);
    inverse
}

/// Numbers that processors may add at once.
const LANES: usize = 16;

/// Sum of a term over two equally long rows, in a fixed order.
fn lane_sum(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let ((lefts, left_rest), (rights, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (left, right) in lefts.iter().zip(rights) {
        for lane in 0..LANES {
            lanes[lane] += term(left[lane], right[lane]);
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| term(*left, *right)).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Rows of a width, on the device of another array.
fn tensor(values: Vec<f32>, width: usize, beside: &Tensor<2>) -> Tensor<2> {
    let shape = [values.len() / width, width];
    Tensor::from_data(TensorData::new(values, shape), &beside.device())
}

fn add<const D: usize>(gradients: &mut GradientsParams, id: ParamId, gradient: Tensor<D>) {
    let gradient = match gradients.remove::<D>(id) {
        Some(other) => other + gradient,
        None => gradient,
    };
    gradients.register(id, gradient);
}

#[cfg(test)]
mod tests {
    use burn::module::ModuleVisitor;
    use rand::SeedableRng;

    use super::*;
    use crate::learning::device::processor;
    use crate::learning::network::Network;
    use crate::learning::sharing::{Architecture, Sharing};

    const ROWS: usize = 37;
    const INPUTS: usize = 11;

    /// Reads the gradients of all parameters in their order.
    struct Reader<'a>(&'a GradientsParams, Vec<(String, Vec<f32>)>, Vec<String>);

    impl ModuleVisitor for Reader<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.2.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.2.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id).unwrap();
            self.1.push((self.2.join("."), gradient.try_into_vec_as::<f32>().unwrap()));
        }
    }

    fn read(network: &Network, gradients: &GradientsParams) -> Vec<(String, Vec<f32>)> {
        let mut reader = Reader(gradients, vec![], vec![]);
        network.visit(&mut reader);
        reader.1
    }

    #[test]
    fn gradients_are_those_of_automatic_differentiation() {
        for sharing in Sharing::ALL {
            let mut random = ChaCha8Rng::seed_from_u64(3);
            let device = processor().autodiff();
            let network = Network::init(&Architecture::of_size(sharing, 3, INPUTS, &[40, 24]), &mut random, &device);
            let mut weights = network.weights();
            weights
                .iter_mut()
                .flat_map(|w| &mut w.values)
                .for_each(|value| *value += random.random_range(-0.3f32..0.3));
            let network = network.with_weights(weights).unwrap();
            let inputs: Vec<f32> = (0..ROWS * INPUTS).map(|_| random.random_range(-2.0f32..2.0)).collect();
            let data = || TensorData::new(inputs.clone(), [ROWS, INPUTS]);
            let slopes: Vec<f32> = (0..ROWS * 59).map(|_| random.random_range(-1.0f32..1.0)).collect();
            let slopes = Tensor::<2>::from_data(TensorData::new(slopes, [ROWS, 59]), &device);
            let loss = |outputs: Tensor<2>| (outputs * slopes.clone()).sum();

            let outputs = network.forward(Tensor::from_data(data(), &device));
            let gradients = GradientsParams::from_grads(loss(outputs.clone()).backward(), &network);
            let (closed_outputs, way_back) = network.cross(data(), &device).unwrap();
            let mut graph = loss(closed_outputs.clone()).backward();
            let mut closed = GradientsParams::from_module(&mut graph, &network);
            way_back.back(&network, &mut graph, &mut closed).unwrap();

            let difference = (closed_outputs - outputs).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-4, "{sharing:?} outputs {difference}");
            for ((name, left), (_, right)) in read(&network, &gradients).iter().zip(&read(&network, &closed)) {
                let scale = left.iter().fold(0.0f32, |scale, value| scale.max(value.abs()));
                let worst = left.iter().zip(right).fold(0.0f32, |worst, (l, r)| worst.max((l - r).abs()));
                assert!(left.len() == right.len() && worst <= 1e-4 * scale, "{sharing:?} {name}: {worst} of {scale}");
            }
        }
    }
}

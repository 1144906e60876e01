//! The multi-task network: a shared trunk and one fused linear layer for all heads.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use rand_chacha::ChaCha8Rng;

use crate::learning::sharing::{Trunk, zero_linear};
use crate::learning::task::OUTPUTS;

/// Rows that pass through a serving network at once. Always as many, padded with zeros, so that a row's numbers do
/// not depend on its neighbours.
const CHUNK_ROWS: usize = 256;

/// The device that networks are trained and served on.
#[must_use]
pub fn device() -> Device {
    Device::flex()
}

/// Architecture and weights of one member.
#[derive(Module, Debug)]
pub struct Network {
    trunk: Trunk,
    heads: Linear,
}

/// One named array of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightTensor {
    /// Path in the network, such as `trunk.layers.0.linear.weight`.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// Why weights do not fit a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// The network needs an array that is not there.
    #[error("weights {name} are missing")]
    Missing {
        /// Its path.
        name: String,
    },
    /// An array has another shape than the network's.
    #[error("weights {name} have shape {found:?}, {expected:?} is needed")]
    Shape {
        /// Its path.
        name: String,
        /// Shape in the network.
        expected: Vec<usize>,
        /// Shape that was given.
        found: Vec<usize>,
    },
    /// An array has no place in the network.
    #[error("weights {name} have no place in the network")]
    Unknown {
        /// Its path.
        name: String,
    },
}

impl Network {
    /// A new network. Its heads are zero: until it has learned something it repeats the benchmark.
    #[must_use]
    pub fn init(input_count: usize, hidden: &[usize], random: &mut ChaCha8Rng, device: &Device) -> Self {
        let width = hidden.last().copied().unwrap_or(input_count);
        Self { trunk: Trunk::init(input_count, hidden, random, device), heads: zero_linear(width, OUTPUTS, device) }
    }

    /// # Shapes
    /// `inputs` is `[rows, input_count]`, the result `[rows, OUTPUTS]`.
    #[must_use]
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.heads.forward(self.trunk.forward(inputs))
    }

    /// Output rows of many input rows; a row's outputs do not depend on the other rows.
    ///
    /// # Shapes
    /// `inputs` is `[rows][input_count]`, the result `[rows][OUTPUTS]`.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn outputs(&self, inputs: &[f32], input_count: usize) -> Result<Vec<f32>, TensorReadError> {
        let device = device();
        let rows = inputs.len() / input_count;
        let mut outputs = Vec::with_capacity(rows.next_multiple_of(CHUNK_ROWS) * OUTPUTS);
        for chunk in inputs.chunks(CHUNK_ROWS * input_count) {
            let mut padded = chunk.to_vec();
            padded.resize(CHUNK_ROWS * input_count, 0.0);
            let tensor = Tensor::from_data(TensorData::new(padded, [CHUNK_ROWS, input_count]), &device);
            outputs.extend(self.forward(tensor).try_into_vec_as::<f32>()?);
        }
        outputs.truncate(rows * OUTPUTS);
        Ok(outputs)
    }

    /// Copies of all weights, in the order of the layers.
    #[must_use]
    pub fn weights(&self) -> Vec<WeightTensor> {
        let mut collector = Collector::default();
        self.visit(&mut collector);
        collector.weights
    }

    /// The same architecture with these weights.
    ///
    /// # Errors
    /// When an array is missing, superfluous or of the wrong shape.
    pub fn with_weights(self, weights: Vec<WeightTensor>) -> Result<Self, WeightError> {
        let by_name = weights.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let mut replacer = Replacer { path: Vec::new(), weights: by_name, error: None };
        let network = self.map(&mut replacer);
        match (replacer.error, replacer.weights.into_keys().next()) {
            (Some(error), _) => Err(error),
            (None, Some(name)) => Err(WeightError::Unknown { name }),
            (None, None) => Ok(network),
        }
    }
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    weights: Vec<WeightTensor>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        // Reading fails only on a lost device; the empty array is then refused by its shape.
        let values = tensor.inner().try_into_vec_as::<f32>().unwrap_or_default();
        self.weights.push(WeightTensor { name: self.path.join("."), shape, values });
    }
}

struct Replacer {
    path: Vec<String>,
    weights: BTreeMap<String, WeightTensor>,
    error: Option<WeightError>,
}

impl ModuleMapper for Replacer {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let expected = param.val().dims();
        match self.weights.remove(&name) {
            None => self.error = self.error.take().or(Some(WeightError::Missing { name })),
            Some(given) if given.shape != expected || given.values.len() != expected.iter().product::<usize>() => {
                let error = WeightError::Shape { name, expected: expected.to_vec(), found: given.shape };
                self.error = self.error.take().or(Some(error));
            }
            Some(given) => {
                let data = TensorData::new(given.values, expected);
                return param.map(|old| Tensor::from_data(data, &old.device()));
            }
        }
        param
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    const INPUTS: usize = 7;

    fn trained_looking() -> Network {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let network = Network::init(INPUTS, &[16, 8], &mut random, &device());
        let mut weights = network.weights();
        for tensor in &mut weights {
            tensor.values.iter_mut().for_each(|value| *value += random.random_range(-0.5f32..0.5));
        }
        network.with_weights(weights).unwrap()
    }

    fn rows(count: usize) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(9);
        (0..count * INPUTS).map(|_| random.random_range(-3.0f32..3.0)).collect()
    }

    #[test]
    fn a_new_network_corrects_nothing() {
        let network = Network::init(INPUTS, &[16, 8], &mut ChaCha8Rng::seed_from_u64(1), &device());
        let outputs = network.outputs(&rows(3), INPUTS).unwrap();
        assert_eq!(outputs, vec![0.0; 3 * OUTPUTS]);
    }

    #[test]
    fn rows_do_not_depend_on_their_neighbours() {
        let (network, inputs) = (trained_looking(), rows(600));
        let together = network.outputs(&inputs, INPUTS).unwrap();
        for row in [0, 1, 17, 255, 256, 511, 599] {
            let alone = network.outputs(&inputs[row * INPUTS..(row + 1) * INPUTS], INPUTS).unwrap();
            assert_eq!(alone, together[row * OUTPUTS..(row + 1) * OUTPUTS], "row {row}");
        }
        assert!(network.outputs(&[], INPUTS).unwrap().is_empty());
    }

    #[test]
    fn weights_have_paths_and_come_back() {
        let network = trained_looking();
        let weights = network.weights();
        let names: Vec<_> = weights.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names[0], "trunk.layers.0.linear.weight");
        assert_eq!(names.len(), 2 * 4 + 2);
        let copy = Network::init(INPUTS, &[16, 8], &mut ChaCha8Rng::seed_from_u64(2), &device());
        let copy = copy.with_weights(weights.clone()).unwrap();
        assert_eq!(copy.weights(), weights);
        assert_eq!(copy.outputs(&rows(2), INPUTS).unwrap(), network.outputs(&rows(2), INPUTS).unwrap());
    }

    #[test]
    fn weights_that_do_not_fit_are_named() {
        let network = || Network::init(INPUTS, &[16, 8], &mut ChaCha8Rng::seed_from_u64(2), &device());
        let weights = network().weights();
        let missing = network().with_weights(weights[1..].to_vec()).unwrap_err();
        assert_eq!(missing, WeightError::Missing { name: weights[0].name.clone() });
        let mut reshaped = weights.clone();
        reshaped[0].shape = vec![16, INPUTS];
        assert!(matches!(network().with_weights(reshaped), Err(WeightError::Shape { .. })));
        let mut extra = weights;
        extra.push(WeightTensor { name: "tail".to_owned(), shape: vec![1], values: vec![0.0] });
        assert!(matches!(network().with_weights(extra), Err(WeightError::Unknown { .. })));
    }
}

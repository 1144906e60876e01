//! The multi-task network: trunks, the gates that mix them, and linear layers of fused heads.

use burn::module::Module;
use burn::nn::Linear;
use burn::optim::GradientsParams;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Gradients, Tensor, TensorData, TensorReadError};
use rand_chacha::ChaCha8Rng;

use crate::learning::arrays::{Collector, Replacer};
use crate::learning::device::processor;
use crate::learning::sharing::{Architecture, TaskGroup, columns_in_group};
use crate::learning::task::OUTPUTS;
use crate::learning::trunk::{Passage, Trunk, zero_linear};

/// Rows that pass through a serving network at once. Always as many, padded with zeros, so that a row's numbers do
/// not depend on its neighbours.
const CHUNK_ROWS: usize = 256;

/// Architecture and weights of one member.
///
/// One trunk with one layer of heads is hard sharing; a trunk and a layer of heads for each task group is soft sharing;
/// with gates, one for each task group, the trunks are experts.
#[derive(Module, Debug)]
pub struct Network {
    trunks: Vec<Trunk>,
    gates: Vec<Linear>,
    heads: Vec<Linear>,
}

/// One named array of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightTensor {
    /// Path in the network, such as `trunks.0.layers.0.linear.weight`.
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
    /// A new network. Its heads are zero: until it has learned something it repeats the benchmark. Soft sharing starts from
    /// equal trunks, so that its first distance costs nothing; experts start apart, mixed in equal parts.
    #[must_use]
    pub fn init(architecture: &Architecture, random: &mut ChaCha8Rng, device: &Device) -> Self {
        let Architecture { input_count, trunks, gated, ref hidden } = *architecture;
        let width = architecture.representation();
        let start = random.clone();
        let trunks = (0..trunks)
            .map(|_| {
                if !gated {
                    *random = start.clone();
                }
                Trunk::init(input_count, hidden, random, device)
            })
            .collect::<Vec<_>>();
        let gate = |_| zero_linear(input_count, trunks.len(), device);
        let gates = TaskGroup::ALL.into_iter().filter(|_| gated).map(gate).collect();
        let heads = match trunks.len() {
            1 if !gated => vec![zero_linear(width, OUTPUTS, device)],
            _ => TaskGroup::ALL.map(|group| zero_linear(width, group.width(), device)).to_vec(),
        };
        Self { trunks, gates, heads }
    }

    /// # Shapes
    /// `inputs` is `[rows, input_count]`, the result `[rows, OUTPUTS]`.
    #[must_use]
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        let flows = self.trunks.iter().map(|trunk| trunk.forward(inputs.clone())).collect();
        self.read_out(&inputs, flows)
    }

    /// The same numbers, up to rounding, with the trunks crossed in closed form, and the way back to their gradients. Only on
    /// the processor: elsewhere every number would travel.
    ///
    /// # Shapes
    /// `inputs` is `[rows, input_count]`, the result on `device`, with automatic differentiation, `[rows, OUTPUTS]`.
    ///
    /// # Errors
    /// When numbers cannot be read.
    pub(crate) fn cross(&self, inputs: TensorData, device: &Device) -> Result<(Tensor<2>, WayBack), TensorReadError> {
        let inputs = Tensor::from_data(inputs, &device.clone().inner());
        let (mut flows, mut passages) = (Vec::new(), Vec::new());
        for trunk in &self.trunks {
            let (flow, passage) = Passage::through(trunk, inputs.clone())?;
            let shape = [inputs.dims()[0], flow.len() / inputs.dims()[0].max(1)];
            flows.push(Tensor::from_data(TensorData::new(flow, shape), device).require_grad());
            passages.push(passage);
        }
        let outputs = self.read_out(&Tensor::from_inner(inputs), flows.clone());
        Ok((outputs, WayBack { passages, flows }))
    }

    fn read_out(&self, inputs: &Tensor<2>, flows: Vec<Tensor<2>>) -> Tensor<2> {
        let flows = if self.gates.is_empty() { flows } else { self.mixtures(inputs, &flows) };
        let of_groups: Vec<Tensor<2>> = self.heads.iter().zip(flows).map(|(head, flow)| head.forward(flow)).collect();
        match of_groups.as_slice() {
            [all] => all.clone(),
            groups => {
                let part = |(group, columns): (TaskGroup, _)| groups[group as usize].clone().slice_dim(1, columns);
                Tensor::cat(columns_in_group().map(part).to_vec(), 1)
            }
        }
    }

    /// What the distance of soft trunks from their mean costs: see [`Trunk::squared_spread`]. `None` for other sharings.
    #[must_use]
    pub fn squared_spread(&self) -> Option<Tensor<1>> {
        let soft = self.gates.is_empty() && self.trunks.len() > 1;
        soft.then(|| Trunk::squared_spread(&self.trunks)).flatten()
    }

    /// The experts mixed for each task group, with weights softmax(gate(inputs)).
    fn mixtures(&self, inputs: &Tensor<2>, experts: &[Tensor<2>]) -> Vec<Tensor<2>> {
        let mix = |gate: &Linear| {
            let weights = softmax(gate.forward(inputs.clone()), 1);
            let parts = experts.iter().enumerate().map(|(e, expert)| expert.clone() * weights.clone().narrow(1, e, 1));
            parts.reduce(|sum, part| sum + part)
        };
        self.gates.iter().filter_map(mix).collect()
    }

    /// Output rows of many input rows; a row's outputs do not depend on the other rows.
    ///
    /// # Shapes
    /// `inputs` is `[rows][input_count]`, the result `[rows][OUTPUTS]`.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn outputs(&self, inputs: &[f32], input_count: usize) -> Result<Vec<f32>, TensorReadError> {
        let device = processor();
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
        let mut replacer = Replacer::new(weights);
        let network = self.map(&mut replacer);
        replacer.finish().map(|()| network)
    }
}

/// From the gradients of what the trunks gave to those of their parameters.
#[derive(Debug)]
pub(crate) struct WayBack {
    passages: Vec<Passage>,
    flows: Vec<Tensor<2>>,
}

impl WayBack {
    /// Adds the gradients of the trunks' parameters to those of the others. Trunks that no output depends on have none.
    ///
    /// # Errors
    /// When numbers cannot be read.
    pub(crate) fn back(
        self,
        network: &Network,
        graph: &mut Gradients,
        gradients: &mut GradientsParams,
    ) -> Result<(), TensorReadError> {
        for ((trunk, passage), flow) in network.trunks.iter().zip(self.passages).zip(self.flows) {
            if let Some(gradient) = flow.grad_remove(graph) {
                passage.back(trunk, gradient, gradients)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::learning::sharing::Sharing;

    const INPUTS: usize = 7;

    fn architecture(sharing: Sharing) -> Architecture {
        Architecture::of_size(sharing, 3, INPUTS, &[16, 8])
    }

    fn new(sharing: Sharing, seed: u64) -> Network {
        Network::init(&architecture(sharing), &mut ChaCha8Rng::seed_from_u64(seed), &processor())
    }

    fn trained_looking(sharing: Sharing) -> Network {
        let network = new(sharing, 5);
        let (mut weights, mut random) = (network.weights(), ChaCha8Rng::seed_from_u64(6));
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
        for sharing in Sharing::ALL {
            let network = new(sharing, 1);
            assert_eq!(network.outputs(&rows(3), INPUTS).unwrap(), vec![0.0; 3 * OUTPUTS]);
            let spread = network.squared_spread().map(|spread| spread.into_scalar::<f32>());
            assert_eq!(spread.is_some(), sharing == Sharing::Soft);
            assert!(spread.is_none_or(|spread| spread < 1e-9), "{spread:?}");
        }
    }

    #[test]
    fn rows_do_not_depend_on_their_neighbours() {
        for sharing in Sharing::ALL {
            let (network, inputs) = (trained_looking(sharing), rows(600));
            let together = network.outputs(&inputs, INPUTS).unwrap();
            for row in [0, 1, 17, 255, 256, 511, 599] {
                let alone = network.outputs(&inputs[row * INPUTS..(row + 1) * INPUTS], INPUTS).unwrap();
                assert_eq!(alone, together[row * OUTPUTS..(row + 1) * OUTPUTS], "row {row}");
            }
            assert!(network.outputs(&[], INPUTS).unwrap().is_empty());
        }
    }

    #[test]
    fn weights_have_paths_and_come_back() {
        for (sharing, trunks, gates, heads) in
            [(Sharing::Hard, 1, 0, 1), (Sharing::Soft, 3, 0, 3), (Sharing::Experts, 3, 3, 3)]
        {
            let network = trained_looking(sharing);
            let weights = network.weights();
            let names: BTreeSet<_> = weights.iter().map(|tensor| tensor.name.as_str()).collect();
            assert!(names.contains("trunks.0.layers.0.linear.weight"));
            assert_eq!((names.len(), weights.len()), (trunks * 8 + gates * 2 + heads * 2, names.len()));
            let parameters = weights.iter().map(|tensor| tensor.values.len()).sum::<usize>();
            assert_eq!(parameters, architecture(sharing).parameters());
            let copy = new(sharing, 2).with_weights(weights.clone()).unwrap();
            assert_eq!(copy.weights(), weights);
            assert_eq!(copy.outputs(&rows(2), INPUTS).unwrap(), network.outputs(&rows(2), INPUTS).unwrap());
        }
    }

    #[test]
    fn groups_of_heads_move_their_own_columns() {
        let network = new(Sharing::Soft, 1);
        let mut weights = network.weights();
        let bias = weights.iter_mut().find(|tensor| tensor.name == "heads.0.bias").unwrap();
        bias.values = (0..15).map(|column| 1.0 + column as f32).collect();
        let outputs = network.with_weights(weights).unwrap().outputs(&rows(1), INPUTS).unwrap();
        let moved: Vec<(usize, f32)> = outputs.into_iter().enumerate().filter(|(_, value)| *value != 0.0).collect();
        // Volatility, dispersion, and past mean and direction the drawdown.
        let columns = (0..10).chain(20..25);
        assert_eq!(moved, columns.zip((1..16).map(|value| value as f32)).collect::<Vec<_>>());
    }

    #[test]
    fn mixtures_follow_their_gates() {
        let network = trained_looking(Sharing::Experts);
        let mut weights = network.weights();
        for tensor in weights.iter_mut().filter(|tensor| tensor.name.starts_with("gates.")) {
            tensor.values.fill(0.0);
            if tensor.name.ends_with("bias") {
                tensor.values[2] = 50.0;
            }
        }
        let chosen = network.clone().with_weights(weights.clone()).unwrap();
        for tensor in weights.iter_mut().filter(|tensor| tensor.name.starts_with("trunks.0")) {
            tensor.values.iter_mut().for_each(|value| *value += 0.3);
        }
        let others_moved = network.with_weights(weights).unwrap();
        let outputs = |network: &Network| network.outputs(&rows(5), INPUTS).unwrap();
        assert_eq!(outputs(&chosen), outputs(&others_moved));
    }

    #[test]
    fn weights_that_do_not_fit_are_named() {
        let network = || new(Sharing::Hard, 2);
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

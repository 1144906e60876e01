//! The network of the reward model: one hidden layer from a state and a horizon to a correction of three rewards.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

use crate::learning::reward_tally::{CELLS, cell};
use crate::learning::task::{HORIZONS, STATES};
use crate::learning::trunk::{drawn_linear, zero_linear};

/// Inputs: one of three trends, one of three volatilities, one of five horizons.
pub(crate) const INPUTS: usize = 3 + 3 + HORIZONS;
/// Outputs: sell, hold, buy.
pub(crate) const ACTIONS: usize = 3;

/// `centred(W2 tanh(W1 x + b1) + b2)`. W2 and b2 are zero in a new network, so that it corrects nothing.
#[derive(Module, Debug)]
pub(crate) struct RewardNetwork {
    hidden: Linear,
    output: Linear,
}

impl RewardNetwork {
    /// A network whose first layer is drawn from `random`.
    pub(crate) fn init(hidden: usize, random: &mut ChaCha8Rng, device: &Device) -> Self {
        Self { hidden: drawn_linear(INPUTS, hidden, random, device), output: zero_linear(hidden, ACTIONS, device) }
    }

    /// Corrections with mean 0 in each row.
    ///
    /// # Shapes
    /// `inputs` is `[rows, INPUTS]`, the result `[rows, ACTIONS]`.
    pub(crate) fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        let outputs = self.output.forward(self.hidden.forward(inputs).tanh());
        outputs.clone() - outputs.mean_dim(1)
    }
}

/// The inputs of every horizon and state.
///
/// # Shapes
/// `[CELLS, INPUTS]`.
pub(crate) fn cell_inputs(device: &Device) -> Tensor<2> {
    let mut inputs = vec![0.0f32; CELLS * INPUTS];
    for (horizon, state) in (0..HORIZONS).flat_map(|horizon| (0..STATES).map(move |state| (horizon, state))) {
        let row = &mut inputs[cell(horizon, state) * INPUTS..][..INPUTS];
        for hot in [state / 3, 3 + state % 3, 6 + horizon] {
            row[hot] = 1.0;
        }
    }
    Tensor::from_data(TensorData::new(inputs, [CELLS, INPUTS]), device)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::learning::device::processor;

    #[test]
    fn a_new_network_corrects_nothing() {
        let network = RewardNetwork::init(16, &mut ChaCha8Rng::seed_from_u64(1), &processor());
        let outputs = network.forward(cell_inputs(&processor())).try_into_vec_as::<f32>().unwrap();
        assert_eq!(outputs, vec![0.0; CELLS * ACTIONS]);
        assert_eq!(network.num_params(), (INPUTS + 1) * 16 + 17 * ACTIONS);
    }

    #[test]
    fn outputs_have_mean_0() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let network = RewardNetwork {
            hidden: drawn_linear(INPUTS, 8, &mut random, &processor()),
            output: drawn_linear(8, ACTIONS, &mut random, &processor()),
        };
        let outputs = network.forward(cell_inputs(&processor())).try_into_vec_as::<f32>().unwrap();
        assert!(outputs.chunks_exact(3).all(|row| row.iter().sum::<f32>().abs() < 1e-6));
        assert!(outputs.iter().any(|output| output.abs() > 0.1));
    }

    #[test]
    fn every_cell_has_its_own_inputs() {
        let inputs = cell_inputs(&processor()).try_into_vec_as::<f32>().unwrap();
        let rows: Vec<_> = inputs.chunks_exact(INPUTS).collect();
        assert!(rows.iter().all(|row| row.iter().sum::<f32>() == 3.0));
        // One year ahead, rising (2) and calm (0).
        assert_eq!(rows[cell(4, 6)], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert!((1..rows.len()).all(|k| !rows[..k].contains(&rows[k])));
    }
}

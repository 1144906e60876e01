//! How the losses of the heads are weighed against each other.

use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Tensor, TensorData, TensorReadError};
use serde::{Deserialize, Serialize};

use crate::learning::device::processor;
use crate::learning::objective::Descent;
use crate::learning::task::HEADS;

/// How the losses of the tasks are weighed against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Each head's loss relative to the benchmark's, times its task's weight.
    Equal,
    /// The same, each head's relative loss L as exp(-s) L + s with a learned s: heads whose loss stays high count less
    /// (Kendall, Gal and Cipolla 2018). s starts at 0, where this is [`Weighting::Equal`], and settles at ln L.
    Uncertainty,
}

/// The learned log variances s, one a head.
#[derive(Module, Debug)]
struct LogVariances {
    values: Param<Tensor<1>>,
}

/// A weighting while a network is trained.
pub(crate) enum HeadWeights {
    Equal,
    Uncertainty(Box<Learned>),
}

pub(crate) struct Learned {
    log_variances: LogVariances,
    optimizer: ModuleOptimizer,
    /// Copies of the parameters.
    values: [f32; HEADS],
}

impl HeadWeights {
    pub(crate) fn new(weighting: Weighting) -> Self {
        match weighting {
            Weighting::Equal => Self::Equal,
            Weighting::Uncertainty => Self::Uncertainty(Box::new(Learned {
                // The optimizer takes only parameters that know of automatic differentiation.
                log_variances: LogVariances {
                    values: Param::from_tensor(Tensor::zeros([HEADS], &processor().autodiff())),
                },
                optimizer: AdamConfig::new().with_epsilon(1e-8).init(),
                values: [0.0; HEADS],
            })),
        }
    }

    /// Factor of each head's loss, exp(-s).
    pub(crate) fn factors(&self) -> [f32; HEADS] {
        match self {
            Self::Equal => [1.0; HEADS],
            Self::Uncertainty(learned) => learned.values.map(|value| (-value).exp()),
        }
    }

    /// The log variances; empty where none are learned.
    pub(crate) fn log_variances(&self) -> Vec<f32> {
        match self {
            Self::Equal => vec![],
            Self::Uncertainty(learned) => learned.values.to_vec(),
        }
    }

    /// One step of Adam along the slope of exp(-s) L + s in each s, 1 - exp(-s) L. Heads without a known target in the batch
    /// have slope 0.
    ///
    /// # Errors
    /// When the parameters cannot be read.
    pub(crate) fn learn(&mut self, descent: &Descent, rate: f64) -> Result<(), TensorReadError> {
        let Self::Uncertainty(learned) = self else { return Ok(()) };
        let slope = |(value, loss): (&f32, Option<f32>)| loss.map_or(0.0, |loss| 1.0 - (-value).exp() * loss);
        let slopes: Vec<f32> = learned.values.iter().zip(descent.relative_loss).map(slope).collect();
        let mut gradients = GradientsParams::new();
        let slopes = Tensor::<1>::from_data(TensorData::new(slopes, [HEADS]), &processor());
        gradients.register(learned.log_variances.values.id, slopes);
        learned.log_variances = learned.optimizer.step(rate, learned.log_variances.clone(), gradients);
        learned.values.copy_from_slice(&learned.log_variances.values.val().inner().try_into_vec_as::<f32>()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_equal_and_settles_where_the_factor_is_one_over_the_loss() {
        let mut weights = HeadWeights::new(Weighting::Uncertainty);
        assert_eq!(weights.factors(), HeadWeights::new(Weighting::Equal).factors());
        let mut relative_loss = [None; HEADS];
        relative_loss[..2].copy_from_slice(&[Some(0.5), Some(2.0)]);
        let descent = Descent { slopes: vec![], relative_loss };
        for _ in 0..3000 {
            weights.learn(&descent, 1e-2).unwrap();
        }
        let factors = weights.factors();
        assert!((factors[0] - 2.0).abs() < 0.02 && (factors[1] - 0.5).abs() < 0.02, "{factors:?}");
        assert_eq!(factors[2..], [1.0; HEADS - 2]);
    }

    #[test]
    fn equal_weights_learn_nothing() {
        let mut weights = HeadWeights::new(Weighting::Equal);
        weights.learn(&Descent { slopes: vec![], relative_loss: [Some(2.0); HEADS] }, 0.1).unwrap();
        assert_eq!(weights.factors(), [1.0; HEADS]);
        assert!(weights.log_variances().is_empty());
    }
}

//! The arrays inside an artifact, by name, and everything that may be wrong with them.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors};

use crate::learning::ensemble::{ForecastError, TrainedModel};
use crate::learning::network::{WeightError, WeightTensor};
use crate::learning::recipe::RecipeError;

/// Why bytes are not the model that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The bytes are not those that were saved.
    #[error("model artifact has SHA-256 {found}, {expected} was expected: it was damaged or replaced")]
    Hash {
        /// What the register says.
        expected: String,
        /// What the bytes give.
        found: String,
    },
    /// Not a safetensors file, or cut off.
    #[error("model artifact is not a safetensors file: {0}")]
    Container(#[from] SafeTensorError),
    /// The metadata is absent or unreadable.
    #[error("model artifact has no usable metadata: {0}")]
    Metadata(String),
    /// Written by another version.
    #[error("model artifact has format {found}, this program reads {expected}")]
    Format {
        /// The format of this program.
        expected: u32,
        /// Its format.
        found: u32,
    },
    /// Trained on other features.
    #[error("model was trained on feature schema {found}, the features now have {expected}")]
    Schema {
        /// Hash of the schema asked for.
        expected: String,
        /// Hash of the schema in the file.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("model artifact holds a number that is not finite in {tensor}")]
    NotFinite {
        /// Where.
        tensor: String,
    },
    /// An array is absent or has an unexpected shape or type.
    #[error("model artifact: array {tensor} is missing or has an unexpected type or shape")]
    Array {
        /// Which.
        tensor: String,
    },
    /// Arrays do not fit the architecture.
    #[error("model artifact: {0}")]
    Weights(#[from] WeightError),
    /// The recipe is out of range.
    #[error("model artifact: {0}")]
    Recipe(#[from] RecipeError),
    /// The loaded model does not repeat the saved forecasts.
    #[error("model does not repeat its saved forecasts: {found} instead of {expected} in output {column}")]
    Golden {
        /// Saved output.
        expected: f32,
        /// Computed output.
        found: f32,
        /// Position in the output row.
        column: usize,
    },
    /// The model could not be run.
    #[error("model artifact: {0}")]
    Forecast(#[from] ForecastError),
    /// The file could not be written or read.
    #[error("model artifact: {0}")]
    File(#[from] std::io::Error),
}

/// Rows of features that may hold NaN; every other array is finite.
pub const GOLDEN_FEATURES: &str = "golden.features";
/// Output rows of every member for the golden features.
pub const GOLDEN_OUTPUTS: &str = "golden.outputs";
/// Mean of each feature.
pub const SCALER_MEAN: &str = "scaler.mean";
/// 1 / standard deviation of each feature.
pub const SCALER_INVERSE_DEVIATION: &str = "scaler.inverse_deviation";
/// Share of each head.
pub const SHRINK: &str = "shrink";

/// All arrays of a model.
///
/// # Errors
/// A number that is not finite; a model that cannot be run for its golden outputs.
pub fn arrays_of(model: &TrainedModel) -> Result<Vec<WeightTensor>, ArtifactError> {
    let flat = |name: &str, values: Vec<f32>| WeightTensor { name: name.to_owned(), shape: vec![values.len()], values };
    let mut arrays = vec![
        flat(SCALER_MEAN, model.scaler.mean.clone()),
        flat(SCALER_INVERSE_DEVIATION, model.scaler.inverse_deviation.clone()),
        flat(SHRINK, model.shrink.to_vec()),
        flat(GOLDEN_FEATURES, model.golden_features.clone()),
        flat(GOLDEN_OUTPUTS, model.members_outputs(&model.golden_features)?.concat()),
    ];
    for (member, network) in model.networks.iter().enumerate() {
        let named =
            |tensor: WeightTensor| WeightTensor { name: format!("{}{}", member_prefix(member), tensor.name), ..tensor };
        arrays.extend(network.weights().into_iter().map(named));
    }
    arrays.iter().try_for_each(|array| check_finite(&array.name, &array.values))?;
    Ok(arrays)
}

/// Arrays that were read and not yet taken.
#[derive(Debug)]
pub struct Arrays(BTreeMap<String, WeightTensor>);

impl Arrays {
    /// Reads all arrays of a safetensors file.
    ///
    /// # Errors
    /// A broken container, an array that is not of 32-bit floats, a number that is not finite.
    pub fn read(bytes: &[u8]) -> Result<Self, ArtifactError> {
        let container = SafeTensors::deserialize(bytes)?;
        let mut arrays = BTreeMap::new();
        for (name, view) in container.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(ArtifactError::Array { tensor: name.to_owned() });
            }
            let (words, _) = view.data().as_chunks::<4>();
            let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
            check_finite(name, &values)?;
            let tensor = WeightTensor { name: name.to_owned(), shape: view.shape().to_vec(), values };
            arrays.insert(name.to_owned(), tensor);
        }
        Ok(Self(arrays))
    }

    /// Takes the values of one array.
    ///
    /// # Errors
    /// [`ArtifactError::Array`] when it is not there.
    pub fn take(&mut self, name: &str) -> Result<Vec<f32>, ArtifactError> {
        let array = self.0.remove(name).ok_or_else(|| ArtifactError::Array { tensor: name.to_owned() })?;
        Ok(array.values)
    }

    /// Takes the weights of one member, under their names in the network.
    #[must_use]
    pub fn take_member(&mut self, member: usize) -> Vec<WeightTensor> {
        let prefix = member_prefix(member);
        let mut weights = Vec::new();
        self.0.retain(|name, tensor| {
            let Some(name) = name.strip_prefix(&prefix) else { return true };
            let (shape, values) = (std::mem::take(&mut tensor.shape), std::mem::take(&mut tensor.values));
            weights.push(WeightTensor { name: name.to_owned(), shape, values });
            false
        });
        weights
    }

    /// Refuses arrays that nobody took.
    ///
    /// # Errors
    /// [`ArtifactError::Array`] with the first of them.
    pub fn finish(self) -> Result<(), ArtifactError> {
        match self.0.into_keys().next() {
            Some(tensor) => Err(ArtifactError::Array { tensor }),
            None => Ok(()),
        }
    }
}

fn member_prefix(member: usize) -> String {
    format!("member.{member}.")
}

fn check_finite(name: &str, values: &[f32]) -> Result<(), ArtifactError> {
    if name != GOLDEN_FEATURES && values.iter().any(|value| !value.is_finite()) {
        return Err(ArtifactError::NotFinite { tensor: name.to_owned() });
    }
    Ok(())
}

/// Copies the weights of a network, in the order of its layers.
#[derive(Default)]
pub(crate) struct Collector {
    path: Vec<String>,
    pub(crate) weights: Vec<WeightTensor>,
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

/// Puts other weights into a network.
pub(crate) struct Replacer {
    path: Vec<String>,
    weights: BTreeMap<String, WeightTensor>,
    error: Option<WeightError>,
}

impl Replacer {
    pub(crate) fn new(weights: Vec<WeightTensor>) -> Self {
        let weights = weights.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        Self { path: Vec::new(), weights, error: None }
    }

    /// What did not fit, or was left over.
    pub(crate) fn finish(self) -> Result<(), WeightError> {
        match (self.error, self.weights.into_keys().next()) {
            (Some(error), _) => Err(error),
            (None, Some(name)) => Err(WeightError::Unknown { name }),
            (None, None) => Ok(()),
        }
    }
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
                return param.map(|old| Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad()));
            }
        }
        param
    }
}

//! A trained model as one file: safetensors with its recipe, scaler, schema and seeds inside, known by its SHA-256.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::learning::arrays::{
    Arrays, ArtifactError, GOLDEN_FEATURES, GOLDEN_OUTPUTS, SCALER_INVERSE_DEVIATION, SCALER_MEAN, SHRINK, arrays_of,
};
use crate::learning::device::processor;
use crate::learning::ensemble::{Provenance, TrainedModel, TrainingRecord};
use crate::learning::network::{Network, WeightError, WeightTensor};
use crate::learning::recipe::Recipe;
use crate::learning::scaler::Scaler;
use crate::learning::task::OUTPUTS;

/// Written into every artifact; another version needs another program.
const FORMAT_VERSION: u32 = 2;
/// The one metadata entry; a second one would be written in random order.
const METADATA_KEY: &str = "forecastd";
/// Golden outputs may differ by this much, absolutely or relatively: other processors sum in another order.
const GOLDEN_TOLERANCE: f32 = 1e-3;
/// Features of a model at most; keeps a forged file from asking for all memory.
const MOST_FEATURES: usize = 4096;

/// The bytes of a saved model and their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    bytes: Vec<u8>,
    sha256: String,
}

/// Everything that is not an array.
#[derive(Serialize, Deserialize)]
struct Metadata {
    format: u32,
    recipe: Recipe,
    provenance: Provenance,
    schema_sha256: String,
    indicated: Vec<u32>,
    record: TrainingRecord,
}

impl Artifact {
    /// Saves a model. The same model gives the same bytes.
    ///
    /// # Errors
    /// A number that is not finite; a model that cannot be run for its golden outputs.
    pub fn of(model: &TrainedModel) -> Result<Self, ArtifactError> {
        let metadata = Metadata {
            format: FORMAT_VERSION,
            recipe: model.recipe.clone(),
            provenance: model.provenance.clone(),
            schema_sha256: schema_sha256(&model.provenance.schema)?,
            indicated: model.scaler.indicated.clone(),
            record: model.record.clone(),
        };
        let text = serde_json::to_string(&metadata).map_err(|error| ArtifactError::Metadata(error.to_string()))?;
        let arrays: Vec<(WeightTensor, Vec<u8>)> = arrays_of(model)?
            .into_iter()
            .map(|array| {
                let bytes = array.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                (array, bytes)
            })
            .collect();
        let views = arrays
            .iter()
            .map(|(array, bytes)| Ok((array.name.as_str(), TensorView::new(Dtype::F32, array.shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, SafeTensorError>>()?;
        let bytes = safetensors::serialize(views, Some(HashMap::from([(METADATA_KEY.to_owned(), text)])))?;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        Ok(Self { bytes, sha256 })
    }

    /// The file's content.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file's content, handed over.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// SHA-256 of the bytes, 64 lowercase hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Writes the file so that it is there whole or not at all, also after a power failure.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ArtifactError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&self.bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()?;
        Ok(())
    }
}

/// Reads a model back. Nothing is parsed before the hash agrees, and a model that parses must repeat its saved outputs.
///
/// # Errors
/// The first thing that is wrong; see [`ArtifactError`].
pub fn load(
    bytes: &[u8],
    expected_sha256: &str,
    expected_schema: &serde_json::Value,
) -> Result<TrainedModel, ArtifactError> {
    let found = hex::encode(Sha256::digest(bytes));
    if found != expected_sha256 {
        return Err(ArtifactError::Hash { expected: expected_sha256.to_owned(), found });
    }
    let metadata = metadata(bytes)?;
    let (expected, found) = (schema_sha256(expected_schema)?, schema_sha256(&metadata.provenance.schema)?);
    if expected != found || expected != metadata.schema_sha256 {
        return Err(ArtifactError::Schema { expected, found });
    }
    metadata.recipe.check()?;
    let mut arrays = Arrays::read(bytes)?;
    let golden_outputs = arrays.take(GOLDEN_OUTPUTS)?;
    let model = assemble(metadata, &mut arrays)?;
    arrays.finish()?;
    replay(&model, &golden_outputs)?;
    Ok(model)
}

/// SHA-256 of a feature schema in canonical form (RFC 8785).
///
/// # Errors
/// [`ArtifactError::Metadata`] when the schema has no canonical form.
pub fn schema_sha256(schema: &serde_json::Value) -> Result<String, ArtifactError> {
    let canonical = serde_json_canonicalizer::to_vec(schema);
    let canonical = canonical.map_err(|error| ArtifactError::Metadata(error.to_string()))?;
    Ok(hex::encode(Sha256::digest(canonical)))
}

fn metadata(bytes: &[u8]) -> Result<Metadata, ArtifactError> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let text = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
    let text = text.ok_or_else(|| ArtifactError::Metadata(format!("no entry {METADATA_KEY}")))?;
    let unreadable = |error: serde_json::Error| ArtifactError::Metadata(error.to_string());
    let found = serde_json::from_str::<Version>(text).map_err(unreadable)?.format;
    if found != FORMAT_VERSION {
        return Err(ArtifactError::Format { expected: FORMAT_VERSION, found });
    }
    serde_json::from_str(text).map_err(unreadable)
}

fn assemble(metadata: Metadata, arrays: &mut Arrays) -> Result<TrainedModel, ArtifactError> {
    let Metadata { recipe, provenance, record, indicated, .. } = metadata;
    let mean = arrays.take(SCALER_MEAN)?;
    let inverse_deviation = arrays.take(SCALER_INVERSE_DEVIATION)?;
    let scaler = Scaler { mean, inverse_deviation, indicated };
    let features = scaler.mean.len();
    let fits = (1..=MOST_FEATURES).contains(&features)
        && scaler.inverse_deviation.len() == features
        && scaler.indicated.len() <= features
        && scaler.indicated.iter().all(|&feature| (feature as usize) < features);
    if !fits {
        return Err(ArtifactError::Array { tensor: SCALER_MEAN.to_owned() });
    }
    let shrink = arrays.take(SHRINK)?.try_into().map_err(|_| ArtifactError::Array { tensor: SHRINK.to_owned() })?;
    let golden_features = arrays.take(GOLDEN_FEATURES)?;
    let architecture = recipe.architecture(scaler.input_count());
    let networks = (0..recipe.members)
        .map(|member| {
            let mut random = ChaCha8Rng::seed_from_u64(0);
            let blank = Network::init(&architecture, &mut random, &processor());
            blank.with_weights(arrays.take_member(member))
        })
        .collect::<Result<Vec<_>, WeightError>>()?;
    Ok(TrainedModel { recipe, provenance, record, scaler, shrink, networks, golden_features })
}

fn replay(model: &TrainedModel, saved: &[f32]) -> Result<(), ArtifactError> {
    let computed = model.members_outputs(&model.golden_features)?.concat();
    if computed.len() != saved.len() {
        return Err(ArtifactError::Array { tensor: GOLDEN_OUTPUTS.to_owned() });
    }
    for (position, (&expected, &found)) in saved.iter().zip(&computed).enumerate() {
        let close = (expected - found).abs() <= GOLDEN_TOLERANCE * expected.abs().max(1.0);
        if !close {
            return Err(ArtifactError::Golden { expected, found, column: position % OUTPUTS });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::learning::planted::{samples, small_recipe, trained};

    fn model() -> TrainedModel {
        trained(&samples(60, 5, 1.0, 1), &small_recipe().with_epochs(2), 11)
    }

    fn schema() -> serde_json::Value {
        json!({"features": 6})
    }

    /// Loads bytes as if the register had been told their hash.
    fn load_any(bytes: &[u8]) -> Result<TrainedModel, ArtifactError> {
        load(bytes, &hex::encode(Sha256::digest(bytes)), &schema())
    }

    /// Saves with one array changed.
    fn with_array(model: &TrainedModel, name: &str, change: impl Fn(&mut Vec<f32>)) -> Vec<u8> {
        let artifact = Artifact::of(model).unwrap();
        let (_, header) = SafeTensors::read_metadata(artifact.bytes()).unwrap();
        let container = SafeTensors::deserialize(artifact.bytes()).unwrap();
        let arrays: Vec<(String, Vec<usize>, Vec<u8>)> = container
            .iter()
            .map(|(key, view)| {
                let mut values: Vec<f32> =
                    view.data().as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
                let mut shape = view.shape().to_vec();
                if key == name {
                    let length = values.len();
                    change(&mut values);
                    shape = if values.len() == length { shape } else { vec![values.len()] };
                }
                (key.to_owned(), shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let views: Vec<_> = arrays
            .iter()
            .map(|(key, shape, bytes)| (key.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()))
            .collect();
        safetensors::serialize(views, header.metadata().clone()).unwrap()
    }

    #[test]
    fn saved_and_loaded_gives_the_same_forecast_and_the_same_bytes() {
        let model = model();
        let artifact = Artifact::of(&model).unwrap();
        let copy = load(artifact.bytes(), artifact.sha256(), &schema()).unwrap();
        let unseen = samples(20, 3, 1.0, 2);
        assert_eq!(copy.forecast(&unseen.features).unwrap(), model.forecast(&unseen.features).unwrap());
        assert_eq!(Artifact::of(&copy).unwrap(), artifact);
    }

    #[test]
    fn same_seed_same_bytes_also_with_two_trainings_at_once() {
        let alone = Artifact::of(&model()).unwrap();
        let at_once = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| Artifact::of(&model()).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(at_once, [alone.clone(), alone.clone()]);
        let other = trained(&samples(60, 5, 1.0, 1), &small_recipe().with_epochs(2), 12);
        assert_ne!(Artifact::of(&other).unwrap().sha256(), alone.sha256());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let artifact = Artifact::of(&model()).unwrap();
        for position in (0..artifact.bytes().len()).step_by(9_973) {
            let mut damaged = artifact.bytes().to_vec();
            damaged[position] ^= 1 << (position % 8);
            assert!(matches!(load(&damaged, artifact.sha256(), &schema()), Err(ArtifactError::Hash { .. })));
        }
        for length in [0, 7, 8, 100, artifact.bytes().len() - 1] {
            let cut = &artifact.bytes()[..length];
            assert!(matches!(load(cut, artifact.sha256(), &schema()), Err(ArtifactError::Hash { .. })));
            assert!(matches!(load_any(cut), Err(ArtifactError::Container(_))), "{length}");
        }
    }

    #[test]
    fn another_schema_is_refused() {
        let artifact = Artifact::of(&model()).unwrap();
        let other = load(artifact.bytes(), artifact.sha256(), &json!({"features": 7}));
        assert!(matches!(other, Err(ArtifactError::Schema { .. })));
    }

    #[test]
    fn forged_arrays_are_refused_even_with_a_matching_hash() {
        let model = model();
        let weight = "member.1.trunks.0.layers.0.linear.weight";
        let load_changed = |name: &str, change: &dyn Fn(&mut Vec<f32>)| load_any(&with_array(&model, name, change));
        assert!(load_changed("none", &|_| ()).is_ok());
        let not_a_number = load_changed(weight, &|values| values[3] = f32::NAN);
        assert!(matches!(not_a_number, Err(ArtifactError::NotFinite { tensor }) if tensor == weight));
        let moved = load_changed(weight, &|values| values.reverse());
        assert!(matches!(moved, Err(ArtifactError::Golden { .. })));
        let shorter = load_changed(weight, &|values| values.truncate(5));
        assert!(matches!(shorter, Err(ArtifactError::Weights(WeightError::Shape { .. }))));
        for name in [SHRINK, SCALER_INVERSE_DEVIATION, SCALER_MEAN, GOLDEN_OUTPUTS] {
            assert!(load_changed(name, &|values| values.truncate(2)).is_err(), "{name}");
        }
        assert!(load_changed(GOLDEN_FEATURES, &|values| values.truncate(5)).is_err());
    }

    #[test]
    fn forged_headers_never_panic() {
        let artifact = Artifact::of(&model()).unwrap();
        let (length, _) = SafeTensors::read_metadata(artifact.bytes()).unwrap();
        for position in (0..8 + length).step_by(3) {
            let mut forged = artifact.bytes().to_vec();
            forged[position] ^= 1 << (position % 7);
            if let Ok(model) = load_any(&forged) {
                assert_eq!(model.networks.len(), model.recipe.members);
            }
        }
    }

    #[test]
    fn other_versions_and_missing_metadata_are_named() {
        let artifact = Artifact::of(&model()).unwrap();
        let mut bytes = artifact.bytes().to_vec();
        let position = bytes.windows(12).position(|window| window == br#"\"format\":2"#).unwrap();
        bytes[position + 11] = b'3';
        assert!(matches!(load_any(&bytes), Err(ArtifactError::Format { found: 3, .. })));
        let bare = safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap();
        assert!(matches!(load_any(&bare), Err(ArtifactError::Metadata(_))));
    }

    #[test]
    fn a_weight_that_is_not_finite_is_not_saved() {
        let mut model = model();
        model.scaler.mean[0] = f32::INFINITY;
        assert!(matches!(Artifact::of(&model), Err(ArtifactError::NotFinite { .. })));
    }

    #[test]
    fn written_whole_over_an_older_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, "older").unwrap();
        let artifact = Artifact::of(&model()).unwrap();
        artifact.write(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), artifact.bytes());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(matches!(artifact.write(&folder.path().join("none/model")), Err(ArtifactError::File(_))));
    }
}

//! Folds: the networks that a recipe would have trained at each refit of the past, and what they said of the days after.
//!
//! A fold is known by what went into it: the recipe, the refit day, and every feature and target of its training rows. So
//! a fold that was walked once is found again, and one whose rows have changed since is walked anew.

use sha2::{Digest, Sha256};

use crate::learning::dataset::Samples;
use crate::learning::recipe::Recipe;
use crate::learning::task::OUTPUTS;
use crate::market::bar::Day;
use crate::market::history::History;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;

/// Version of features, targets, benchmarks and training: raised when any of them changes, so that no fold of an older
/// program is taken for evidence about this one.
pub const RECIPE_VERSION: u32 = 1;

/// SHA-256 over the recipe, the refit day and the training rows.
pub type FoldId = [u8; 32];

/// A fold as it is kept.
#[derive(Debug, Clone)]
pub struct Fold {
    /// What went into it.
    pub id: FoldId,
    /// Hash of the recipe alone.
    pub recipe: [u8; 32],
    /// Its rows were known at the close of this session.
    pub refit_day: Day,
    /// The weights, safetensors.
    pub artifact: Vec<u8>,
}

/// What the network of a fold said on one later day, before shares: out of sample, kept once and for all.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldDay {
    /// Decision day.
    pub day: Day,
    /// Instruments it was asked about.
    pub symbols: Vec<Symbol>,
    /// `[symbols][OUTPUTS]`: mean output rows of the ensemble.
    pub outputs: Vec<f32>,
}

impl FoldDay {
    /// The output row of an instrument.
    #[must_use]
    pub fn row(&self, symbol: &Symbol) -> Option<&[f32]> {
        let position = self.symbols.binary_search(symbol).ok()?;
        self.outputs.get(position * OUTPUTS..(position + 1) * OUTPUTS)
    }
}

/// The shelf could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("stored folds: {0}")]
pub struct ShelfError(pub String);

/// Where folds are kept between walks: the store, or memory for a walk that nothing should remain of.
pub trait FoldShelf {
    /// Of these, the folds that are there.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn known(&self, ids: &[FoldId]) -> Result<Vec<FoldId>, ShelfError>;
    /// The weights of a fold.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn artifact(&self, id: &FoldId) -> Result<Option<Vec<u8>>, ShelfError>;
    /// What a fold said, ascending by day.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn days(&self, id: &FoldId) -> Result<Vec<FoldDay>, ShelfError>;
    /// Keeps a new fold; one that is there stays as it is.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn keep(&self, fold: &Fold) -> Result<(), ShelfError>;
    /// Keeps what a fold said on more days; a day that is there stays as it is.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn keep_days(&self, id: &FoldId, days: &[FoldDay]) -> Result<(), ShelfError>;
}

/// Hash of a recipe: its version, its hyperparameters, the numbers of the settings that training looks at, the columns.
#[must_use]
pub fn recipe_hash(recipe: &Recipe, seed: u64, equity_premium: f64, schema: &serde_json::Value) -> [u8; 32] {
    let described = serde_json::json!({
        "version": RECIPE_VERSION, "network": recipe, "seed": seed, "equity_premium": equity_premium, "schema": schema,
    });
    // Keys of a JSON object made here keep their order, so the text is always the same.
    Sha256::digest(described.to_string()).into()
}

/// The folds of ascending refit sessions: features of rows up to each, and targets that had matured by it.
#[must_use]
pub fn fold_ids(samples: &Samples, history: &History, recipe: &[u8; 32], refits: &[usize]) -> Vec<FoldId> {
    let mut features = Sha256::new();
    let mut targets = Sha256::new();
    let (mut hashed_rows, mut matured) = (0, [0; Horizon::ALL.len()]);
    let mut ids = Vec::with_capacity(refits.len());
    for &refit in refits {
        let rows = samples.day_index.partition_point(|&day| (day as usize) < refit);
        for row in hashed_rows..rows {
            hash_row(&mut features, samples, history, row);
        }
        hashed_rows = rows;
        for (horizon, from) in Horizon::ALL.into_iter().zip(&mut matured) {
            let until = samples.day_index.partition_point(|&day| day as usize + horizon.sessions() <= refit).min(rows);
            targets.update([horizon.index() as u8]);
            for row in *from..until {
                hash_targets(&mut targets, samples, row, horizon);
            }
            *from = until.max(*from);
        }
        let mut id = Sha256::new();
        id.update(recipe);
        id.update(history.sessions[refit].to_string());
        id.update(features.clone().finalize());
        id.update(targets.clone().finalize());
        ids.push(id.finalize().into());
    }
    ids
}

fn hash_row(hash: &mut Sha256, samples: &Samples, history: &History, row: usize) {
    hash.update(history.sessions[samples.day_index[row] as usize].to_string());
    hash.update(history.instruments[samples.instrument[row] as usize].instrument.symbol.as_str());
    let bytes: Vec<u8> = samples.row(row).iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
    hash.update(bytes);
}

fn hash_targets(hash: &mut Sha256, samples: &Samples, row: usize, horizon: Horizon) {
    let targets = &samples.targets[row];
    let at = &targets.horizons[horizon.index()];
    let scalars = [
        at.log_variance_ratio,
        at.log_dispersion_ratio,
        at.scaled_return,
        at.up,
        at.benchmark_probability_up,
        at.drawdown,
        at.benchmark_probability_drawdown,
    ];
    let mut bytes = [0; 4 * 12 + 1];
    for (slot, value) in bytes.chunks_exact_mut(4).zip(scalars.iter().chain(&at.quintile)) {
        slot.copy_from_slice(&value.to_bits().to_le_bytes());
    }
    if horizon == Horizon::OneWeek {
        bytes[48] = targets.next_state;
    }
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};
    use crate::learning::dataset::{HorizonTargets, RowTargets};

    const SHAPE: Sample = Sample { seed: 3, sessions: 400, instruments: 2, ranges: true, surroundings: false };

    fn samples() -> Samples {
        let days: Vec<u32> = (0..40).flat_map(|day| [5 * day, 5 * day]).collect();
        let known = HorizonTargets {
            log_variance_ratio: 0.1,
            log_dispersion_ratio: 0.1,
            scaled_return: 0.1,
            up: 1.0,
            benchmark_probability_up: 0.5,
            drawdown: 0.0,
            benchmark_probability_drawdown: 0.2,
            quintile: [0.2; 5],
        };
        Samples {
            feature_count: 1,
            features: days.iter().map(|day| *day as f32).collect(),
            instrument: (0..80).map(|row| row % 2).collect(),
            targets: vec![RowTargets { horizons: [known; 5], next_state: 0 }; 80],
            day_index: days,
        }
    }

    fn ids(samples: &Samples) -> Vec<FoldId> {
        let history = sample(&SHAPE);
        fold_ids(samples, &history, &[7; 32], &[100, 150, 195])
    }

    #[test]
    fn a_fold_knows_its_rows_and_matured_targets_and_nothing_else() {
        let before = ids(&samples());
        let changed = |change: &dyn Fn(&mut Samples)| {
            let mut samples = samples();
            change(&mut samples);
            let after = ids(&samples);
            std::array::from_fn::<bool, 3, _>(|k| after[k] != before[k])
        };
        // Row 50 lies at session 125, row 38 at 95.
        assert_eq!(changed(&|s| s.features[50] = 7.0), [false, true, true]);
        assert_eq!(changed(&|s| s.targets[38].horizons[0].up = 0.0), [true, true, true]);
        assert_eq!(changed(&|s| s.targets[38].horizons[1].up = 0.0), [false, true, true]);
        assert_eq!(changed(&|s| s.targets[38].horizons[3].up = 0.0), [false; 3]);
        assert_eq!(changed(&|s| s.targets[2].next_state = 3), [true; 3]);
        assert_eq!(changed(&|s| s.features[78] = 7.0), [false; 3]);
    }

    #[test]
    fn recipes_are_told_apart() {
        let schema = serde_json::json!(["a"]);
        let of = |recipe: &Recipe, seed| recipe_hash(recipe, seed, 0.05, &schema);
        assert_eq!(of(&Recipe::new(), 1), of(&Recipe::new(), 1));
        assert_ne!(of(&Recipe::new(), 1), of(&Recipe::new(), 2));
        assert_ne!(of(&Recipe::new(), 1), of(&Recipe::new().with_epochs(3), 1));
    }
}

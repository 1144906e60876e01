//! Simulated samples for tests: a known effect, or none.

use std::sync::atomic::AtomicBool;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::learning::dataset::{HorizonTargets, RowTargets, Samples, TrainingPlan};
use crate::learning::device::DeviceKind;
use crate::learning::ensemble::{Provenance, TrainedModel, train};
use crate::learning::recipe::Recipe;
use crate::learning::task::{CLASSES, HORIZONS};
use crate::learning::training::Control;
use crate::market::horizon::Horizon;

/// Features of simulated rows; the last two are missing together in a tenth of the rows.
pub const FEATURES: usize = 6;

/// `days` decision days of `per_day` rows each, five sessions apart. `effect` scales how strongly the first feature
/// moves volatility, the second the mean, direction and rank, and the third the drawdown; 0 is pure noise.
pub fn samples(days: usize, per_day: usize, effect: f32, seed: u64) -> Samples {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut samples = Samples { feature_count: FEATURES, ..Samples::default() };
    for day in 0..days {
        for instrument in 0..per_day {
            let mut row: [f32; FEATURES] = std::array::from_fn(|_| normal(&mut random));
            let horizons = std::array::from_fn(|_| horizon(&row, effect, &mut random));
            if random.random_bool(0.1) {
                row[4..].fill(f32::NAN);
            }
            samples.features.extend(row);
            samples.day_index.push(5 * day as u32);
            samples.instrument.push(instrument as u32);
            let next_state = if effect > 0.0 && row[3] > 0.0 { 8 } else { random.random_range(0..9) };
            samples.targets.push(RowTargets { horizons, next_state });
        }
    }
    samples
}

fn horizon(row: &[f32; FEATURES], effect: f32, random: &mut ChaCha8Rng) -> HorizonTargets {
    let noise = |random: &mut ChaCha8Rng| normal(random);
    let scaled_return = effect * 0.5 * row[1] + noise(random);
    let class = ((scaled_return * 1.2 + 2.5).floor().clamp(0.0, 4.0)) as usize;
    let drawdown = f32::from(effect * row[2] + noise(random) > 1.0);
    HorizonTargets {
        log_variance_ratio: effect * 0.6 * row[0] + 0.5 * noise(random) - 0.125,
        log_dispersion_ratio: effect * 0.3 * row[0] + 0.5 * noise(random) - 0.125,
        scaled_return,
        up: f32::from(scaled_return > 0.0),
        benchmark_probability_up: 0.5,
        drawdown,
        benchmark_probability_drawdown: 0.16,
        quintile: std::array::from_fn::<_, CLASSES, _>(|k| f32::from(k == class)),
    }
}

fn normal(random: &mut ChaCha8Rng) -> f32 {
    StandardNormal.sample(random)
}

/// A small recipe that trains in a second.
pub fn small_recipe() -> Recipe {
    Recipe::new().with_hidden(vec![32]).with_members(2).with_batch_size(128).with_epochs(6).with_learning_rate(3e-3)
}

/// The last fifth of the days validates.
pub fn plan(samples: &Samples) -> TrainingPlan {
    let last = samples.day_index.last().copied().unwrap_or(0);
    TrainingPlan { until_day: last + 1, validation_sessions: last + 1 - last / 5 * 4 }
}

/// Seed and hashes of a test.
pub fn provenance(seed: u64) -> Provenance {
    Provenance { seed, data_hash: "test".to_owned(), schema: serde_json::json!({"features": FEATURES}) }
}

/// Trains without reports.
pub fn trained(samples: &Samples, recipe: &Recipe, seed: u64) -> TrainedModel {
    trained_by(samples, &plan(samples), recipe, seed)
}

/// The same by another plan.
pub fn trained_by(samples: &Samples, plan: &TrainingPlan, recipe: &Recipe, seed: u64) -> TrainedModel {
    let cancelled = AtomicBool::new(false);
    let control = Control { threads: 2, device: DeviceKind::Cpu, progress: &|_| (), cancelled: &cancelled };
    train(samples, plan, recipe, provenance(seed), &control).unwrap()
}

/// Mean loss of the volatility head (QLIKE) at a horizon, by a correction a row.
pub fn qlike(samples: &Samples, corrections: impl Iterator<Item = f64>, horizon: Horizon) -> f64 {
    assert!(horizon.index() < HORIZONS);
    let losses = samples.targets.iter().zip(corrections).map(|(targets, correction)| {
        let excess = f64::from(targets.horizons[horizon.index()].log_variance_ratio) - correction;
        excess.exp() - excess - 1.0
    });
    losses.sum::<f64>() / samples.rows() as f64
}

//! Features to network inputs: standardized by the training rows, clipped, with indicators of what is missing.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::learning::dataset::Samples;

/// Standardized values are clipped here, so that one wild number cannot steer the network.
pub const CLIP: f32 = 5.0;
/// Features missing in a smaller share of training rows get no indicator of their own.
const INDICATED_SHARE: f64 = 0.001;

/// Location and scale of each feature, and which of them have an indicator "missing".
#[derive(Debug, Clone, PartialEq)]
pub struct Scaler {
    /// Mean of each feature over training rows, after clipping.
    pub mean: Vec<f32>,
    /// 1 / standard deviation (ddof 0) of each feature; 0 for a feature that never varies.
    pub inverse_deviation: Vec<f32>,
    /// Features with an indicator, ascending: one of each distinct pattern of missing rows.
    pub indicated: Vec<u32>,
}

impl Scaler {
    /// Measures the training rows. Mean and deviation are taken twice, the second time over values clipped at
    /// [`CLIP`] deviations of the first, so that outliers do not flatten a feature.
    #[must_use]
    pub fn fit(samples: &Samples, training: Range<usize>) -> Self {
        let rows = || training.clone().map(|row| samples.row(row));
        let first = moments(rows(), samples.feature_count, |_, value| value);
        let moments = moments(rows(), samples.feature_count, |feature, value| {
            let Moments { mean, deviation } = first[feature];
            let reach = f64::from(CLIP) * deviation;
            value.clamp(mean - reach, mean + reach)
        });
        let inverse = |deviation: f64| if deviation > 1e-12 { (1.0 / deviation) as f32 } else { 0.0 };
        Self {
            mean: moments.iter().map(|of| of.mean as f32).collect(),
            inverse_deviation: moments.iter().map(|of| inverse(of.deviation)).collect(),
            indicated: indicated(rows(), samples.feature_count),
        }
    }

    /// Features it reads in a row.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.mean.len()
    }

    /// Inputs it writes in a row: the features and the indicators.
    #[must_use]
    pub fn input_count(&self) -> usize {
        self.mean.len() + self.indicated.len()
    }

    /// Appends the inputs of whole rows: clipped standardized values, 0 where missing, then indicators 0 or 1.
    ///
    /// # Shapes
    /// `features` is `[rows][feature_count]`; `[rows][input_count]` is appended.
    pub fn append(&self, features: &[f32], inputs: &mut Vec<f32>) {
        for row in features.chunks_exact(self.feature_count()) {
            let scales = self.mean.iter().zip(&self.inverse_deviation);
            inputs.extend(row.iter().zip(scales).map(|(&value, (&mean, &inverse))| {
                if value.is_finite() { ((value - mean) * inverse).clamp(-CLIP, CLIP) } else { 0.0 }
            }));
            inputs.extend(self.indicated.iter().map(|&feature| f32::from(!row[feature as usize].is_finite())));
        }
    }
}

/// Mean and standard deviation (ddof 0) of a feature's finite values; 0 and 0 without any.
#[derive(Debug, Clone, Copy)]
struct Moments {
    mean: f64,
    deviation: f64,
}

/// Moments of every feature, each value changed first. The rows are read one after the other, as they lie in memory.
fn moments<'a>(
    rows: impl Iterator<Item = &'a [f32]> + Clone,
    features: usize,
    change: impl Fn(usize, f64) -> f64,
) -> Vec<Moments> {
    let means = |term: &dyn Fn(usize, f64) -> f64| {
        let mut sums = vec![(0.0, 0u32); features];
        for row in rows.clone() {
            for (feature, value) in row.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                sums[feature].0 += term(feature, change(feature, f64::from(*value)));
                sums[feature].1 += 1;
            }
        }
        sums.into_iter().map(|(sum, count)| sum / f64::from(count.max(1))).collect::<Vec<f64>>()
    };
    let mean = means(&|_, value| value);
    let variance = means(&|feature, value| (value - mean[feature]).powi(2));
    mean.iter().zip(variance).map(|(&mean, variance)| Moments { mean, deviation: variance.sqrt() }).collect()
}

/// The first feature of each distinct pattern of missing training rows: fundamentals, which are missing together, share
/// one indicator.
fn indicated<'a>(rows: impl ExactSizeIterator<Item = &'a [f32]>, features: usize) -> Vec<u32> {
    let count = rows.len();
    let mut absent: Vec<Vec<u32>> = vec![Vec::new(); features];
    for (number, row) in rows.enumerate() {
        for (feature, _) in row.iter().enumerate().filter(|(_, value)| !value.is_finite()) {
            absent[feature].push(number as u32);
        }
    }
    let enough = INDICATED_SHARE * count as f64;
    let mut seen = BTreeSet::new();
    let mut indicated = Vec::new();
    for (feature, pattern) in absent.into_iter().enumerate() {
        let missing = pattern.len();
        if missing > 0 && missing < count && missing as f64 >= enough && seen.insert(pattern) {
            indicated.push(feature as u32);
        }
    }
    indicated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(feature_count: usize, features: Vec<f32>) -> Samples {
        let rows = features.len() / feature_count;
        Samples { feature_count, features, day_index: (0..rows as u32).collect(), ..Samples::default() }
    }

    #[test]
    fn standardizes_by_training_rows_only() {
        let samples = samples(1, vec![1.0, 3.0, 1000.0]);
        let scaler = Scaler::fit(&samples, 0..2);
        let mut inputs = Vec::new();
        scaler.append(&[1.0, 3.0, 1000.0, f32::NAN], &mut inputs);
        assert_eq!(inputs, [-1.0, 1.0, CLIP, 0.0]);
    }

    #[test]
    fn one_outlier_does_not_flatten_a_feature() {
        let mut values: Vec<f32> = (0..1000).map(|row| (row % 2) as f32).collect();
        values.push(1e6);
        let scaler = Scaler::fit(&samples(1, values), 0..1001);
        let mut inputs = Vec::new();
        scaler.append(&[1e6], &mut inputs);
        assert_eq!(inputs, [CLIP]);
    }

    #[test]
    fn constant_and_absent_features_give_zero() {
        let scaler = Scaler::fit(&samples(2, vec![7.0, f32::NAN, 7.0, f32::INFINITY]), 0..2);
        assert!(scaler.indicated.is_empty());
        let mut inputs = Vec::new();
        scaler.append(&[7.0, 1.0], &mut inputs);
        assert_eq!(inputs, [0.0, 0.0]);
    }

    #[test]
    fn features_missing_together_share_an_indicator() {
        let gap = f32::NAN;
        let scaler = Scaler::fit(&samples(4, vec![1.0, gap, gap, gap, 2.0, 3.0, 4.0, 5.0, 3.0, 3.0, 4.0, gap]), 0..3);
        assert_eq!(scaler.indicated, [1, 3]);
        let mut inputs = Vec::new();
        scaler.append(&[2.0, gap, 4.0, 5.0], &mut inputs);
        assert_eq!(inputs.len(), scaler.input_count());
        assert_eq!(inputs[4..], [1.0, 0.0]);
    }
}

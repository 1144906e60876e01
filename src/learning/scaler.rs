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
        let (mean, deviation): (Vec<_>, Vec<_>) = (0..samples.feature_count)
            .map(|feature| {
                let column = || training.clone().map(|row| f64::from(samples.row(row)[feature]));
                let (mean, deviation) = moments(column());
                let reach = f64::from(CLIP) * deviation;
                moments(column().map(|value| value.clamp(mean - reach, mean + reach)))
            })
            .unzip();
        let indicated = indicated(samples, training);
        let inverse = |deviation: f64| if deviation > 1e-12 { (1.0 / deviation) as f32 } else { 0.0 };
        Self {
            mean: mean.into_iter().map(|mean| mean as f32).collect(),
            inverse_deviation: deviation.into_iter().map(inverse).collect(),
            indicated,
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

/// Mean and standard deviation (ddof 0) of the finite values; (0, 0) without any.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let finite = || values.clone().filter(|value| value.is_finite());
    let count = finite().count();
    if count == 0 {
        return (0.0, 0.0);
    }
    let mean = finite().sum::<f64>() / count as f64;
    let variance = finite().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
    (mean, variance.sqrt())
}

/// The first feature of each distinct pattern of missing training rows: fundamentals, which are missing together, share
/// one indicator.
fn indicated(samples: &Samples, training: Range<usize>) -> Vec<u32> {
    let enough = INDICATED_SHARE * training.len() as f64;
    let mut seen = BTreeSet::new();
    (0..samples.feature_count)
        .filter(|&feature| {
            let pattern: Vec<bool> = training.clone().map(|row| !samples.row(row)[feature].is_finite()).collect();
            let missing = pattern.iter().filter(|absent| **absent).count();
            missing > 0 && missing < training.len() && missing as f64 >= enough && seen.insert(pattern)
        })
        .map(|feature| feature as u32)
        .collect()
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

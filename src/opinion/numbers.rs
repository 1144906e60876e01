//! Numbers of answers that must stay consistent after rounding.

use crate::opinion::canonical::rounded;

/// Probabilities rounded to the decimals of every answer such that they still sum to 1: what rounding leaves over goes to
/// the largest.
#[must_use]
pub fn rounded_distribution<const N: usize>(probabilities: [f64; N]) -> [f64; N] {
    rounded_parts(1.0, probabilities)
}

/// Parts of a number rounded to the decimals of every answer such that they still sum to the rounded total: what rounding
/// leaves over goes to the part of the largest size.
#[must_use]
pub fn rounded_parts<const N: usize>(total: f64, parts: [f64; N]) -> [f64; N] {
    let mut shown = parts.map(rounded);
    let left = rounded(total) - shown.iter().sum::<f64>();
    let largest = (0..N).fold(0, |best, k| if shown[k].abs() > shown[best].abs() { k } else { best });
    if let Some(value) = shown.get_mut(largest) {
        *value = rounded(*value + left);
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounded_probabilities_sum_to_one(weights in prop::array::uniform5(0.0_f64..1.0)) {
            let total: f64 = weights.iter().sum();
            prop_assume!(total > 0.01);
            let shown = rounded_distribution(weights.map(|w| w / total));
            prop_assert!((shown.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(shown.iter().all(|p| (0.0..=1.0).contains(p)));
        }

        #[test]
        fn rounded_parts_sum_to_the_rounded_total(parts in prop::array::uniform5(-2.0_f64..2.0)) {
            let total: f64 = parts.iter().sum();
            let shown = rounded_parts(total, parts);
            prop_assert!((shown.iter().sum::<f64>() - rounded(total)).abs() < 1e-12);
            prop_assert!(shown.iter().zip(&parts).all(|(s, p)| (s - p).abs() < 4e-6));
        }
    }
}

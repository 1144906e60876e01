//! From zero-mean joint draws to the chance of each fifth of the universe.
//!
//! Only one half of each antithetic pair is sorted: its negative has the mirrored order, and averaging the counts with
//! their mirror image stands for it.

use rayon::prelude::*;

use crate::scenario::covariance::{Covariance, CovarianceError};
use crate::scenario::draws::{CHUNK_PAIRS, DrawLaw, PairSampler};

/// Largest weight of a mean tilt.
pub const TILT_WEIGHT_MAX: f64 = 0.25;

/// Chances of the five fifths, worst first; not negative, sum 1.
pub type QuintileProbabilities = [f64; 5];

/// Part of a mixture of zero-mean Gaussian laws.
#[derive(Debug, Clone)]
pub struct RankComponent {
    /// Scale of each instrument and the correlations; the horizon scales all alike and so drops out.
    pub covariance: Covariance,
    /// Antithetic pairs drawn from it.
    pub pairs: usize,
}

/// Class 1 (worst) to 5 of a position counted from 1 (lowest return) to `count`: `ceil(5 position / count)`, the rule of
/// the M6 competition (Makridakis et al. 2022).
#[must_use]
pub fn class_of_position(position: usize, count: usize) -> usize {
    (5 * position).div_ceil(count)
}

/// Chances of each fifth under a mixture of zero-mean laws, averaged with their mirror image: exact for a symmetric
/// law when 5 does not divide the number of instruments, and free of odd Monte Carlo noise always.
///
/// Every component has random streams of its own, so its draws do not depend on the others.
///
/// # Errors
/// [`CovarianceError`] when a component has no correlation matrix.
///
/// # Shapes
/// All components have the same N instruments; the answer has N rows. Without a pair every chance is a fifth.
pub fn mixture_quintiles(
    components: &[RankComponent],
    seed: u64,
) -> Result<Vec<QuintileProbabilities>, CovarianceError> {
    let count = components.first().map_or(0, |c| c.covariance.volatility.len());
    let mut counts = vec![0u32; 5 * count];
    for (index, component) in components.iter().enumerate() {
        let first_stream = (index as u64) << 32;
        add(&mut counts, &component_counts(component, seed, first_stream)?);
    }
    Ok(counts.chunks_exact(5).map(mirrored).collect())
}

/// Expected rank of an instrument among `count`, 1 for the highest return: the middle of each fifth, weighted. Exact
/// when 5 divides `count`. A symmetric law gives every instrument (count + 1) / 2.
#[must_use]
pub fn expected_rank(probabilities: &QuintileProbabilities, count: usize) -> f64 {
    let fifth = count as f64 / 5.0;
    let position: f64 = probabilities.iter().enumerate().map(|(k, p)| p * (k as f64 + 0.5) * fifth).sum();
    count as f64 + 0.5 - position
}

/// The odd part of a rank forecast, `tilt_k = (p_k - p_(6-k)) / 2`: what it says about means.
#[must_use]
pub fn tilt_of(probabilities: &QuintileProbabilities) -> QuintileProbabilities {
    std::array::from_fn(|k| (probabilities[k] - probabilities[4 - k]) / 2.0)
}

/// Adds a mean tilt to a symmetric forecast: `p + w tilt`, clipped at 0 and normalized. The weight is clamped to
/// 0..[`TILT_WEIGHT_MAX`].
#[must_use]
pub fn apply_tilt(
    symmetric: &QuintileProbabilities,
    tilt: &QuintileProbabilities,
    weight: f64,
) -> QuintileProbabilities {
    let weight = weight.clamp(0.0, TILT_WEIGHT_MAX);
    let raw: QuintileProbabilities = std::array::from_fn(|k| (symmetric[k] + weight * tilt[k]).max(0.0));
    let total: f64 = raw.iter().sum();
    if total > 0.0 { raw.map(|p| p / total) } else { *symmetric }
}

fn component_counts(component: &RankComponent, seed: u64, first_stream: u64) -> Result<Vec<u32>, CovarianceError> {
    let scale = relative_scale(&component.covariance.volatility);
    let count = scale.len();
    let sampler = PairSampler::new(&component.covariance.factor()?, &scale, DrawLaw::Gaussian, seed);
    let classes: Vec<usize> = (1..=count).map(|p| class_of_position(p, count) - 1).collect();
    let chunks = component.pairs.div_ceil(CHUNK_PAIRS);
    let counts = (0..chunks).into_par_iter().map(|chunk| {
        let lanes = CHUNK_PAIRS.min(component.pairs - chunk * CHUNK_PAIRS);
        chunk_counts(&sampler.chunk(first_stream + chunk as u64), lanes, &classes)
    });
    Ok(counts.reduce(
        || vec![0; 5 * count],
        |mut total, part| {
            add(&mut total, &part);
            total
        },
    ))
}

/// Volatilities over their largest: ranks need only ratios, and single precision keeps those.
fn relative_scale(volatility: &[f64]) -> Vec<f64> {
    let largest = volatility.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    volatility.iter().map(|v| v / largest).collect()
}

fn chunk_counts(values: &[f32], lanes: usize, classes: &[usize]) -> Vec<u32> {
    let mut counts = vec![0u32; 5 * classes.len()];
    let mut keys = vec![0u64; classes.len()];
    for lane in 0..lanes {
        for (i, key) in keys.iter_mut().enumerate() {
            *key = u64::from(sortable(values[i * CHUNK_PAIRS + lane])) << 32 | i as u64;
        }
        keys.sort_unstable();
        for (key, class) in keys.iter().zip(classes) {
            counts[5 * (key & 0xffff_ffff) as usize + class] += 1;
        }
    }
    counts
}

/// An integer that sorts as the number does; integers sort without branches on NaN.
fn sortable(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn add(total: &mut [u32], part: &[u32]) {
    total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
}

fn mirrored(counts: &[u32]) -> QuintileProbabilities {
    let total: u32 = counts.iter().sum();
    match total {
        0 => [0.2; 5],
        n => std::array::from_fn(|k| f64::from(counts[k] + counts[4 - k]) / (2.0 * f64::from(n))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::DMatrix;
    use proptest::prelude::*;

    fn independent(volatility: Vec<f64>, pairs: usize) -> RankComponent {
        let size = volatility.len();
        let covariance =
            Covariance { volatility, correlation: DMatrix::identity(size, size), borrowed: vec![false; size] };
        RankComponent { covariance, pairs }
    }

    #[test]
    fn classes_follow_the_m6_rule() {
        let classes = |n| (1..=n).map(|p| class_of_position(p, n)).collect::<Vec<_>>();
        assert_eq!(classes(5), [1, 2, 3, 4, 5]);
        assert_eq!(classes(7), [1, 2, 3, 3, 4, 5, 5]);
        assert_eq!(classes(3), [2, 4, 5]);
        assert_eq!(classes(1), [5]);
    }

    #[test]
    fn equal_scales_share_the_fifths_as_the_classes_do() {
        for n in [5, 7, 10, 12] {
            let found = mixture_quintiles(&[independent(vec![0.01; n], 20_000)], 3).unwrap();
            let share = |k: usize| (1..=n).filter(|p| class_of_position(*p, n) == k).count() as f64 / n as f64;
            for p in found {
                for (k, found) in p.into_iter().enumerate() {
                    let expected = f64::midpoint(share(k + 1), share(5 - k));
                    assert!((found - expected).abs() < 0.01, "{n} {k} {found}");
                }
            }
        }
    }

    #[test]
    fn five_independent_normals_match_the_exact_integral() {
        // One instrument of twice the volatility among five: the integral of
        // choose(4, k) F(2 z)^k (1 - F(2 z))^(4 - k) f(z) over z by adaptive quadrature, F and f the normal law.
        let found = mixture_quintiles(&[independent(vec![2.0, 1.0, 1.0, 1.0, 1.0], 200_000)], 5).unwrap();
        let exact = [0.313985, 0.129560, 0.112909, 0.129560, 0.313985];
        for (p, e) in found[0].iter().zip(exact) {
            assert!((p - e).abs() < 0.003, "{found:?}");
        }
    }

    #[test]
    fn a_mixture_counts_each_component_by_its_pairs() {
        let (wide, even) = (vec![3.0, 1.0, 1.0, 1.0, 1.0], vec![1.0; 5]);
        let alone = mixture_quintiles(&[independent(wide.clone(), 640)], 1).unwrap();
        let mixed = mixture_quintiles(&[independent(wide, 640), independent(even, 1920)], 1).unwrap();
        let expected = 0.25 * alone[0][4] + 0.75 * 0.2;
        assert!((mixed[0][4] - expected).abs() < 0.02);
        // Equal components draw from different streams, or the second would add nothing.
        let part = || independent(vec![3.0, 1.0, 1.0, 1.0, 1.0], 640);
        assert_ne!(mixture_quintiles(&[part(), part()], 1).unwrap(), alone);
        assert_eq!(mixture_quintiles(&[independent(vec![1.0; 3], 0)], 1).unwrap(), vec![[0.2; 5]; 3]);
        assert!(mixture_quintiles(&[], 1).unwrap().is_empty());
    }

    #[test]
    fn tilts_are_odd_clipped_and_bounded() {
        let tilt = tilt_of(&[0.1, 0.2, 0.2, 0.2, 0.3]);
        assert!((tilt[0] + 0.1).abs() < 1e-15 && (tilt[4] - 0.1).abs() < 1e-15 && tilt[2] == 0.0);
        let tilted = apply_tilt(&[0.2; 5], &tilt, 1.0);
        assert!((tilted[4] - 0.225).abs() < 1e-12 && (tilted[0] - 0.175).abs() < 1e-12);
        let clipped = apply_tilt(&[0.01, 0.29, 0.4, 0.29, 0.01], &[-0.5, 0.0, 0.0, 0.0, 0.5], 0.25);
        assert!(clipped[0] == 0.0 && (clipped.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((expected_rank(&[0.0, 0.0, 0.0, 0.0, 1.0], 10) - 1.5).abs() < 1e-12);
        assert!((expected_rank(&[0.2; 5], 7) - 4.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn forecasts_are_symmetric_probabilities(scales in prop::collection::vec(0.1f64..5.0, 1..12), seed: u64) {
            for p in mixture_quintiles(&[independent(scales.clone(), 100)], seed).unwrap() {
                prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                prop_assert!(p[0] == p[4] && p[1] == p[3] && p.iter().all(|v| *v >= 0.0));
                prop_assert!((expected_rank(&p, scales.len()) - (scales.len() as f64 + 1.0) / 2.0).abs() < 1e-9);
            }
        }
    }
}

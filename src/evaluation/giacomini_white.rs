//! Conditional predictive ability: could one have known on the day which forecast would be the better?

use nalgebra::{SMatrix, SVector};
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// A Wald test of equal conditional predictive ability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ConditionalTest {
    /// The Wald statistic, 0 or more.
    pub statistic: f64,
    /// Instruments, which are the degrees of freedom.
    pub degrees_of_freedom: usize,
    /// Probability of a larger statistic when no instrument tells the forecasts apart.
    pub p_value: f64,
    /// Mean gain over the days used; its sign says which forecast was the better.
    pub mean_gain: f64,
    /// Days used.
    pub observations: usize,
}

/// Giacomini and White (2006), unconditional: is the mean of `gain = loss(benchmark) - loss(forecast)` 0? The constant is
/// the only instrument. Gains that are not finite are left out.
///
/// `overlap_steps` as in [`paired_tests`](crate::evaluation::paired_tests). `None` for fewer than three gains or when
/// all are 0.
#[must_use]
pub fn giacomini_white(gains: &[f64], overlap_steps: usize) -> Option<ConditionalTest> {
    let known: Vec<f64> = gains.iter().copied().filter(|g| g.is_finite()).collect();
    let instruments = vec![SVector::from([1.0]); known.len()];
    wald(&known, &instruments, overlap_steps.max(1))
}

/// Giacomini and White (2006), conditional: do a constant and the newest gain known on the decision day tell which
/// forecast will be the better?
///
/// That gain is the one `overlap_steps` days back, the first whose horizon has matured. Days where either is not finite
/// are left out. `None` for fewer than three days or when the instruments do not differ.
#[must_use]
pub fn giacomini_white_conditional(gains: &[f64], overlap_steps: usize) -> Option<ConditionalTest> {
    let known = gains.iter().zip(gains.iter().skip(overlap_steps.max(1)));
    let pairs = known.filter(|(k, g)| k.is_finite() && g.is_finite());
    let (past, present): (Vec<f64>, Vec<f64>) = pairs.unzip();
    // The statistic does not depend on the instrument's unit; one near 1 keeps the matrix well conditioned.
    let unit = past.iter().map(|k| k.abs()).fold(0.0, f64::max);
    let instruments: Vec<SVector<f64, 2>> = past.iter().map(|k| SVector::from([1.0, k / unit])).collect();
    wald(&present, &instruments, overlap_steps.max(1))
}

/// `n z' O^-1 z` with `z` the mean of instruments x gain and `O` their long-run second moment, not centred, as the null
/// has it: autocovariances up to lag `overlap_steps - 1` with Bartlett weights (Newey and West 1987).
fn wald<const K: usize>(
    gains: &[f64],
    instruments: &[SVector<f64, K>],
    overlap_steps: usize,
) -> Option<ConditionalTest> {
    let n = gains.len() as f64;
    let moments: Vec<SVector<f64, K>> = instruments.iter().zip(gains).map(|(i, g)| i * *g).collect();
    let mean = moments.iter().sum::<SVector<f64, K>>() / n;
    let product = |lag: usize| -> SMatrix<f64, K, K> {
        moments.iter().skip(lag).zip(&moments).map(|(a, b)| a * b.transpose()).sum::<SMatrix<f64, K, K>>() / n
    };
    let long_run = (1..overlap_steps.min(gains.len())).fold(product(0), |sum, lag| {
        let lagged = product(lag);
        sum + (lagged + lagged.transpose()) * (1.0 - lag as f64 / overlap_steps as f64)
    });
    let diagonal: f64 = long_run.diagonal().iter().product();
    let factor = long_run.cholesky()?;
    // Instruments that differ by rounding only leave a determinant of this size.
    if gains.len() < 3 || factor.determinant() <= 1e-10 * diagonal {
        return None;
    }
    let statistic = n * mean.dot(&factor.solve(&mean));
    let law = ChiSquared::new(K as f64).ok()?;
    Some(ConditionalTest {
        statistic,
        degrees_of_freedom: K,
        p_value: law.sf(statistic),
        mean_gain: gains.iter().sum::<f64>() / n,
        observations: gains.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    fn normals(seed: u64, count: usize) -> Vec<f64> {
        StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(count).collect()
    }

    /// Sums over as many neighbours as horizons overlap.
    fn overlapping(seed: u64, count: usize, steps: usize) -> Vec<f64> {
        normals(seed, count + steps - 1).windows(steps).map(|w| w.iter().sum()).collect()
    }

    #[test]
    fn the_statistic_is_n_times_the_uncentred_r_squared_of_a_one_on_the_moments() {
        // n mean^2 / mean(g^2) = 4 x .25 / 1.
        let test = giacomini_white(&[1.0, -1.0, 1.0, 1.0], 1).unwrap();
        assert!((test.statistic - 1.0).abs() < 1e-12);
        assert!((test.p_value - 0.317_310_507_9).abs() < 1e-9);
        assert_eq!((test.degrees_of_freedom, test.observations, test.mean_gain), (1, 4, 0.5));
        let gains = [1.0, 2.0, -1.0, 3.0, 1.0];
        let test = giacomini_white_conditional(&gains, 1).unwrap();
        let pairs: Vec<(f64, f64)> = gains.windows(2).map(|w| (w[0], w[1])).collect();
        assert!((test.statistic - by_hand(&pairs)).abs() < 1e-12, "{}", test.statistic);
        assert_eq!((test.degrees_of_freedom, test.observations), (2, 4));
    }

    /// The same by the closed inverse of a 2 x 2 matrix.
    fn by_hand(pairs: &[(f64, f64)]) -> f64 {
        let sum = |of: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|p| of(p.0, p.1)).sum::<f64>();
        let (a, b) = (sum(&|_, g| g), sum(&|k, g| k * g));
        let (p, q, r) = (sum(&|_, g| g * g), sum(&|k, g| k * g * g), sum(&|k, g| k * k * g * g));
        (r * a * a - 2.0 * q * a * b + p * b * b) / (p * r - q * q)
    }

    #[test]
    fn nothing_to_test_gives_nothing() {
        assert_eq!(giacomini_white(&[0.0; 30], 1), None);
        assert_eq!(giacomini_white(&[1.0, f64::NAN, -1.0], 1), None);
        assert_eq!(giacomini_white(&[], 1), None);
        assert_eq!(giacomini_white_conditional(&[0.2; 30], 1), None);
        assert_eq!(giacomini_white_conditional(&[0.2, 0.1], 4), None);
    }

    #[test]
    fn the_level_holds_without_skill_and_with_overlap() {
        for steps in [1, 4] {
            let rejected = |test: &dyn Fn(&[f64], usize) -> Option<ConditionalTest>| {
                let runs = (0..500).filter_map(|seed| test(&overlapping(seed, 240, steps), steps));
                runs.filter(|t| t.p_value < 0.05).count()
            };
            let plain = rejected(&giacomini_white);
            let conditional = rejected(&giacomini_white_conditional);
            // Nominal 25 of 500; Bartlett weights leave some overlap uncorrected.
            assert!((8..=55).contains(&plain), "{steps}: {plain}");
            assert!((8..=60).contains(&conditional), "{steps}: {conditional}");
        }
    }

    #[test]
    fn a_gain_that_its_past_foretells_is_seen_although_its_mean_is_zero() {
        let mut gains = vec![0.0];
        for e in normals(3, 400) {
            gains.push(0.5 * gains[gains.len() - 1] + e);
        }
        let centre = gains.iter().sum::<f64>() / gains.len() as f64;
        let gains: Vec<f64> = gains.iter().map(|g| (g - centre) * 1e-5).collect();
        assert!(giacomini_white(&gains, 1).unwrap().p_value > 0.9);
        assert!(giacomini_white_conditional(&gains, 1).unwrap().p_value < 1e-4);
    }
}

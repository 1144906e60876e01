//! Significance of a rank correlation between forecasts and what came.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::evaluation::paired_tests::TestResult;
use crate::evaluation::rank_scores::spearman;

/// A rank correlation with its test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RankCorrelationTest {
    /// Spearman's rank correlation, -1..1.
    pub correlation: f64,
    /// Independent windows that the pairs are worth: `pairs / overlap_steps`.
    pub effective_observations: f64,
    /// Student's t of the correlation with `effective_observations - 2` degrees of freedom.
    pub test: TestResult,
}

/// Is the rank correlation (Spearman 1904) of forecasts with outcomes, one pair a decision day, more than chance?
/// `t = rho sqrt((m - 2) / (1 - rho^2))` against Student's law with `m - 2` degrees of freedom (Kendall and Stuart 1973).
///
/// Outcomes of overlapping horizons repeat each other, so `n` pairs count as `m = n / overlap_steps`: the variance of
/// the correlation of a slow forecast with sums over `overlap_steps` independent terms. For a fast forecast this is
/// cautious. A forecast and an outcome that both have memory beyond the horizon need more than this.
///
/// Pairs that are not finite are left out. `None` unless more than two windows are left and both sides vary.
#[must_use]
pub fn rank_correlation_test(forecasts: &[f64], outcomes: &[f64], overlap_steps: usize) -> Option<RankCorrelationTest> {
    let pairs = forecasts.iter().zip(outcomes).filter(|(f, o)| f.is_finite() && o.is_finite());
    let (forecasts, outcomes): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let correlation = spearman(&forecasts, &outcomes)?;
    let windows = forecasts.len() as f64 / overlap_steps.max(1) as f64;
    if windows <= 2.0 {
        return None;
    }
    // A perfect order has no error; a finite statistic keeps it in JSON.
    let unexplained = (1.0 - correlation * correlation).max(1e-12);
    let statistic = correlation * ((windows - 2.0) / unexplained).sqrt();
    let student = StudentsT::new(0.0, 1.0, windows - 2.0).ok()?;
    let test = TestResult {
        statistic,
        p_value_one_sided: student.sf(statistic),
        p_value_two_sided: (2.0 * student.sf(statistic.abs())).min(1.0),
        observations: forecasts.len(),
    };
    Some(RankCorrelationTest { correlation, effective_observations: windows, test })
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

    #[test]
    fn it_agrees_with_scipy_without_overlap() {
        // scipy.stats.spearmanr([1, 2, 2, 4, 5], [2, 1, 4, 3, 5])
        let result = rank_correlation_test(&[1.0, 2.0, 2.0, 4.0, 5.0], &[2.0, 1.0, 4.0, 3.0, 5.0], 1).unwrap();
        assert!((result.correlation - 0.666_885_928_6).abs() < 1e-9);
        assert!((result.test.p_value_two_sided - 0.218_893_981_3).abs() < 1e-9, "{}", result.test.p_value_two_sided);
    }

    #[test]
    fn overlap_takes_windows_away() {
        let forecasts = normals(1, 100);
        let outcomes: Vec<f64> = normals(2, 100).iter().zip(&forecasts).map(|(e, f)| 0.4 * f + e).collect();
        let (one, four) = (1, 4);
        let fresh = rank_correlation_test(&forecasts, &outcomes, one).unwrap();
        let worn = rank_correlation_test(&forecasts, &outcomes, four).unwrap();
        assert_eq!((fresh.correlation, worn.effective_observations), (worn.correlation, 25.0));
        assert!(fresh.test.p_value_one_sided < worn.test.p_value_one_sided);
        assert_eq!(rank_correlation_test(&forecasts, &outcomes, 50), None);
        assert_eq!(rank_correlation_test(&forecasts, &[1.0; 100], 1), None);
        let perfect = rank_correlation_test(&[1.0, 2.0, 3.0, f64::NAN], &[4.0, 5.0, 6.0, 7.0], 1).unwrap();
        assert!(perfect.test.statistic.is_finite() && perfect.test.observations == 3);
    }

    #[test]
    fn the_level_holds_for_slow_forecasts_of_overlapping_outcomes() {
        let steps = 4;
        let rejected = |seed: u64| {
            let mut level = 0.0;
            let slow = |e: &f64| {
                level = 0.98 * level + e;
                level
            };
            let forecasts: Vec<f64> = normals(2 * seed, 240).iter().map(slow).collect();
            let outcomes: Vec<f64> = normals(2 * seed + 1, 243).windows(steps).map(|w| w.iter().sum()).collect();
            rank_correlation_test(&forecasts, &outcomes, steps).is_some_and(|r| r.test.p_value_two_sided < 0.05)
        };
        let count = (0..500).filter(|seed| rejected(*seed)).count();
        assert!(count <= 40, "{count} of 500");
    }
}

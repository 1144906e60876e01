//! Sharpe ratios, and how much of one is left after the number of trials it was picked from.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

/// Euler's and Mascheroni's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// What a Sharpe ratio is judged by. All per period of the returns, not annualized.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SharpeMoments {
    /// Mean over standard deviation.
    pub sharpe: f64,
    /// Third standardized moment; 0 for a normal law.
    pub skewness: f64,
    /// Fourth standardized moment; 3 for a normal law.
    pub kurtosis: f64,
    /// Returns behind it.
    pub observations: usize,
}

/// A Sharpe ratio against the best of as many trials without skill.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DeflatedSharpe {
    /// Expected best Sharpe ratio of the trials if none has skill, per period.
    pub benchmark: f64,
    /// Probability that the true Sharpe ratio is above it.
    pub probability: f64,
}

/// Sharpe ratio (1966) and shape of returns over a riskless rate, one a period. The standard deviation has divisor
/// `n - 1`, the standardized moments divisor `n`.
///
/// `None` for fewer than three returns, when one is not finite or they do not vary.
#[must_use]
pub fn sharpe_moments(excess_returns: &[f64]) -> Option<SharpeMoments> {
    let n = excess_returns.len() as f64;
    let mean = excess_returns.iter().sum::<f64>() / n;
    let moment = |power: i32| excess_returns.iter().map(|r| (r - mean).powi(power)).sum::<f64>() / n;
    let variance = moment(2);
    // Rounding leaves a constant series with a variance of this size; NaN fails the comparison too.
    let varies = variance > 1e-30 * mean * mean && variance > 0.0 && variance.is_finite();
    if excess_returns.len() < 3 || !varies {
        return None;
    }
    Some(SharpeMoments {
        sharpe: mean / (variance * n / (n - 1.0)).sqrt(),
        skewness: moment(3) / variance.powf(1.5),
        kurtosis: moment(4) / (variance * variance),
        observations: excess_returns.len(),
    })
}

/// A Sharpe ratio per period, as one per year: times the root of the periods in a year, which assumes independent returns.
#[must_use]
pub fn annualized(sharpe: f64, periods_per_year: f64) -> f64 {
    sharpe * periods_per_year.sqrt()
}

/// Probability that the true Sharpe ratio is above `benchmark` (Bailey and Lopez de Prado 2012):
/// `Phi((S - b) sqrt(n - 1) / sqrt(1 - skewness S + (kurtosis - 1) S^2 / 4))`. Both per period.
///
/// `None` for fewer than two returns or where the variance under the root is not above 0.
#[must_use]
pub fn probabilistic_sharpe(moments: SharpeMoments, benchmark: f64) -> Option<f64> {
    let SharpeMoments { sharpe, skewness, kurtosis, observations } = moments;
    let variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe;
    if observations < 2 || variance <= 0.0 {
        return None;
    }
    let score = (sharpe - benchmark) * ((observations - 1) as f64 / variance).sqrt();
    score.is_finite().then(|| Normal::standard().cdf(score))
}

/// Expected best Sharpe ratio of `trials` independent trials without skill whose ratios have this variance (Bailey and
/// Lopez de Prado 2014): `sqrt(V) ((1 - g) Q(1 - 1/N) + g Q(1 - 1/(N e)))`, Q the normal quantile and g Euler's constant.
/// 0 for one trial.
///
/// `None` without trials or for a variance below 0.
#[must_use]
pub fn expected_best_sharpe(trials: usize, variance_of_trials: f64) -> Option<f64> {
    if trials == 0 || !(variance_of_trials >= 0.0 && variance_of_trials.is_finite()) {
        return None;
    }
    if trials == 1 {
        return Some(0.0);
    }
    let (normal, n) = (Normal::standard(), trials as f64);
    let quantile = |tail: f64| normal.inverse_cdf(1.0 - tail);
    let best = (1.0 - EULER) * quantile(1.0 / n) + EULER * quantile(1.0 / (n * std::f64::consts::E));
    Some(variance_of_trials.sqrt() * best)
}

/// Deflated Sharpe ratio (Bailey and Lopez de Prado 2014): [`probabilistic_sharpe`] against [`expected_best_sharpe`].
/// `variance_of_trials` is that of the trials' Sharpe ratios, per period.
///
/// `None` where either is.
#[must_use]
pub fn deflated_sharpe(moments: SharpeMoments, trials: usize, variance_of_trials: f64) -> Option<DeflatedSharpe> {
    let benchmark = expected_best_sharpe(trials, variance_of_trials)?;
    Some(DeflatedSharpe { benchmark, probability: probabilistic_sharpe(moments, benchmark)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn published() -> SharpeMoments {
        SharpeMoments { sharpe: 2.5 / 250.0_f64.sqrt(), skewness: -3.0, kurtosis: 10.0, observations: 1250 }
    }

    #[test]
    fn the_deflated_ratio_has_the_published_value() {
        let deflated = deflated_sharpe(published(), 100, 0.5 / 250.0).unwrap();
        assert!((deflated.benchmark - 0.113_172).abs() < 5e-7, "{}", deflated.benchmark);
        assert!((deflated.probability - 0.900_396_83).abs() < 5e-9, "{}", deflated.probability);
    }

    #[test]
    fn moments_have_their_closed_forms() {
        let moments = sharpe_moments(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!((moments.sharpe - 2.5 / (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(moments.skewness.abs() < 1e-12 && (moments.kurtosis - 1.64).abs() < 1e-12);
        assert!((annualized(0.1, 252.0) - 1.587_450_786_6).abs() < 1e-9);
        assert_eq!(sharpe_moments(&[]), None);
        assert_eq!(sharpe_moments(&[0.01; 30]), None);
        assert_eq!(sharpe_moments(&[1.0, f64::NAN, 2.0]), None);
        assert_eq!(deflated_sharpe(published(), 0, 0.1), None);
        assert_eq!(expected_best_sharpe(1, 0.1), Some(0.0));
        assert_eq!(expected_best_sharpe(5, f64::NAN), None);
        assert_eq!(probabilistic_sharpe(SharpeMoments { observations: 0, ..published() }, 0.0), None);
    }

    proptest! {
        #[test]
        fn more_trials_deflate_more(trials in 1usize..1000, variance in 1e-6f64..0.01) {
            let of = |trials| deflated_sharpe(published(), trials, variance).unwrap();
            prop_assert!(of(trials + 1).probability <= of(trials).probability);
            prop_assert!((0.0..=1.0).contains(&of(trials).probability));
        }
    }
}

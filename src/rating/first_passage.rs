//! The probability that a value falls to a barrier within some years.

use std::f64::consts::{PI, SQRT_2};
use std::sync::OnceLock;

use nalgebra::{DMatrix, SymmetricEigen};
use statrs::function::erf::erfc;

use super::probability::Probability;

/// A value that moves like geometric Brownian motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diffusion {
    /// Arithmetic drift a year; the log drift is `mean - volatility^2/2`.
    pub mean: f64,
    /// Volatility a year, at least 0.
    pub volatility: f64,
}

/// A barrier that is known only up to a lognormal factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UncertainBarrier {
    /// Mean of the barrier, as a fraction of the value now; above 0.
    pub mean: f64,
    /// Standard deviation of its logarithm, at least 0.
    pub log_deviation: f64,
}

impl UncertainBarrier {
    /// Probability that the barrier lies at or above the value already: the part of a first passage that comes from not
    /// knowing the barrier, whatever the risk.
    #[must_use]
    pub fn passed_already(&self) -> Probability {
        if self.log_deviation <= 0.0 || self.mean <= 0.0 {
            return if self.mean >= 1.0 { Probability::ONE } else { Probability::ZERO };
        }
        Probability::rounded(0.5 * erfc(self.kink() / SQRT_2))
    }

    /// Standard deviations of its logarithm from which on the barrier lies above the value.
    fn kink(&self) -> f64 {
        -self.mean.ln() / self.log_deviation + 0.5 * self.log_deviation
    }
}

/// Probability that a value starting at 1 falls to `barrier` within `years`:
/// `Phi((ln b - nu T)/(s sqrt T)) + b^(2 nu/s^2) Phi((ln b + nu T)/(s sqrt T))`, `nu = mean - s^2/2`;
/// 1 for a barrier of 1 or more, 0 for one of 0 or less (Harrison 1985; Black and Cox 1976).
///
/// All numbers must be finite and `years` above 0.
#[must_use]
pub fn first_passage(barrier: f64, diffusion: Diffusion, years: f64) -> Probability {
    if barrier >= 1.0 {
        return Probability::ONE;
    }
    if barrier <= 0.0 {
        return Probability::ZERO;
    }
    let distance = barrier.ln();
    let variance = diffusion.volatility * diffusion.volatility;
    let drift = diffusion.mean - 0.5 * variance;
    let scale = diffusion.volatility * years.sqrt();
    // Below this a division by the variance would overflow, and the path is a straight line in all but name.
    if scale < 1e-150 {
        return if diffusion.mean * years <= distance { Probability::ONE } else { Probability::ZERO };
    }
    let below = log_normal_cdf((distance - drift * years) / scale).exp();
    // The power alone may overflow where the probability beside it vanishes; their logarithms add up safely.
    let reflected = (2.0 * drift * distance / variance + log_normal_cdf((distance + drift * years) / scale)).exp();
    Probability::rounded(below + reflected)
}

/// [`first_passage`] averaged over a lognormal barrier.
///
/// The average over barriers below the value is a 40-point Gauss-Legendre rule; barriers already above it add their
/// probability in closed form. A Gauss-Hermite rule over both would meet the kink between them and lose three digits
/// (3e-6 instead of below 1e-8 on the published example).
#[must_use]
pub fn uncertain_first_passage(barrier: UncertainBarrier, diffusion: Diffusion, years: f64) -> Probability {
    /// Standard deviations beyond which nothing is left to add in double precision.
    const REACH: f64 = 8.5;
    let UncertainBarrier { mean, log_deviation } = barrier;
    if log_deviation <= 0.0 || mean <= 0.0 {
        return first_passage(mean, diffusion, years);
    }
    let at = |z: f64| mean * (log_deviation * z - 0.5 * log_deviation * log_deviation).exp();
    // Barriers at or above the value: z beyond this.
    let kink = barrier.kink();
    let top = kink.clamp(-REACH, REACH);
    let bottom = (kink - reach(diffusion, years) / log_deviation).clamp(-REACH, top);
    let half = 0.5 * (top - bottom);
    let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
    let node = |&(position, weight): &(f64, f64)| {
        let z = top - half * (1.0 - position);
        weight * half * density(z) * first_passage(at(z), diffusion, years).value()
    };
    let passed_below: f64 = gauss_rule().iter().map(node).sum();
    Probability::rounded(passed_below + 0.5 * erfc(kink / SQRT_2))
}

/// A distance `-ln b` beyond which a passage has no probability left in double precision, so that the points of the
/// rule lie where it has some: ten deviations besides a falling drift; against a rising one `b^(2 nu/s^2)` bounds it
/// too.
fn reach(diffusion: Diffusion, years: f64) -> f64 {
    let variance = diffusion.volatility * diffusion.volatility;
    let drift = diffusion.mean - 0.5 * variance;
    let spread = 10.0 * diffusion.volatility * years.sqrt();
    if drift > 0.0 { spread.min(20.0 * variance / drift) } else { spread - drift * years }
}

/// Phi, the standard normal distribution function.
#[must_use]
pub(crate) fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z / SQRT_2)
}

/// ln Phi(z), also where Phi itself is too small for a double.
#[must_use]
pub(crate) fn log_normal_cdf(z: f64) -> f64 {
    if z > -30.0 {
        return normal_cdf(z).ln();
    }
    // Asymptotic series of the Mills ratio; at -30 the next term is below 1e-12.
    let q = 1.0 / (z * z);
    -0.5 * z * z - (-z * (2.0 * PI).sqrt()).ln() + (-q * (1.0 - q * (3.0 - q * (15.0 - 105.0 * q)))).ln_1p()
}

/// Nodes in -1..1 and weights of the 40-point Gauss-Legendre rule, by Golub and Welsch (1969).
fn gauss_rule() -> &'static [(f64, f64)] {
    const POINTS: usize = 40;
    static RULE: OnceLock<Vec<(f64, f64)>> = OnceLock::new();
    RULE.get_or_init(|| {
        let beside = |k: f64| k / (4.0 * k * k - 1.0).sqrt();
        let jacobi = DMatrix::from_fn(POINTS, POINTS, |row, column| match row.abs_diff(column) {
            1 => beside(row.max(column) as f64),
            _ => 0.0,
        });
        let eigen = SymmetricEigen::new(jacobi);
        let node = |k: usize| (eigen.eigenvalues[k], 2.0 * eigen.eigenvectors[(0, k)].powi(2));
        let mut rule: Vec<(f64, f64)> = (0..POINTS).map(node).collect();
        rule.sort_by(|a, b| a.0.total_cmp(&b.0));
        rule
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passage(barrier: f64, mean: f64, volatility: f64, years: f64) -> f64 {
        first_passage(barrier, Diffusion { mean, volatility }, years).value()
    }

    #[test]
    fn the_published_values_are_reproduced() {
        assert!((passage(0.2, 0.0, 0.4, 1.0) - 0.000_125_869).abs() < 1e-9);
        assert!((passage(0.2, 0.0, 0.4, 5.0) - 0.149_817_67).abs() < 1e-8);
    }

    #[test]
    fn an_uncertain_barrier_agrees_with_adaptive_quadrature() {
        // A share of 50 with volatility .4 over 60 of debt, of which half is recovered.
        let barrier = UncertainBarrier { mean: 30.0 / 80.0, log_deviation: 0.3 };
        let table = [
            (0.0, 1.0, 0.010_207_6),
            (0.0, 5.0, 0.150_805_01),
            (0.0, 10.0, 0.332_463_51),
            (0.08, 1.0, 0.006_481_18),
            (0.08, 5.0, 0.057_735_23),
            (0.08, 10.0, 0.108_526_88),
        ];
        for (mean, years, expected) in table {
            let found = uncertain_first_passage(barrier, Diffusion { mean, volatility: 0.25 }, years).value();
            assert!((found - expected).abs() < 1e-8, "{mean} {years}: {found}");
        }
    }

    #[test]
    fn extremes_are_safe() {
        assert_eq!(passage(1.0, 0.1, 0.2, 1.0), 1.0);
        assert_eq!(passage(0.0, 0.1, 0.2, 1.0), 0.0);
        assert_eq!(passage(0.5, -2.0, 0.0, 1.0), 1.0);
        assert_eq!(passage(0.5, 0.1, 0.0, 1.0), 0.0);
        // Certain fall with hardly any noise: the power alone is e^13862.
        assert!((passage(0.5, -1.0, 0.01, 1.0) - 1.0).abs() < 1e-12);
        assert!((passage(0.999_999, 0.0, 3.0, 10.0) - 1.0).abs() < 1e-5);
        let sure = UncertainBarrier { mean: 50.0, log_deviation: 0.3 };
        assert!(
            (uncertain_first_passage(sure, Diffusion { mean: 0.1, volatility: 0.2 }, 1.0).value() - 1.0).abs() < 1e-12
        );
    }

    #[test]
    fn what_lies_above_already_is_the_least_that_a_passage_can_be() {
        let barrier = UncertainBarrier { mean: 0.6, log_deviation: 0.3 };
        let still = uncertain_first_passage(barrier, Diffusion { mean: 0.0, volatility: 1e-9 }, 1.0).value();
        assert!((barrier.passed_already().value() - still).abs() < 1e-6);
        assert!((still - normal_cdf(0.6_f64.ln() / 0.3 - 0.15)).abs() < 1e-6);
        let certain = |mean: f64| UncertainBarrier { mean, log_deviation: 0.0 }.passed_already();
        assert_eq!((certain(1.0), certain(0.9)), (Probability::ONE, Probability::ZERO));
    }

    #[test]
    fn the_rule_integrates_polynomials() {
        let integral = |power: i32| gauss_rule().iter().map(|(x, w)| w * x.powi(power)).sum::<f64>();
        assert!((integral(0) - 2.0).abs() < 1e-13 && (integral(78) - 2.0 / 79.0).abs() < 1e-13);
        assert!(integral(1).abs() < 1e-13 && gauss_rule().iter().all(|&(_, weight)| weight > 0.0));
    }

    #[test]
    fn both_branches_of_the_logarithm_meet() {
        let series = log_normal_cdf(-30.000_000_001);
        assert!((series - log_normal_cdf(-29.999_999_999)).abs() < 1e-6);
        assert!((log_normal_cdf(-30.0) - -454.321_243_956_343_1).abs() < 1e-9);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn risk_time_and_nearness_never_help(
            barrier in 0.01..1.2_f64, mean in 0.0..0.3_f64, volatility in 0.01..1.5_f64, years in 0.1..15.0_f64,
            more in 0.0..0.5_f64, log_deviation in 0.0..0.6_f64,
        ) {
            let chance = |barrier: f64, mean: f64, volatility: f64, years: f64| {
                let barrier = UncertainBarrier { mean: barrier, log_deviation };
                uncertain_first_passage(barrier, Diffusion { mean, volatility }, years).value()
            };
            let now = chance(barrier, mean, volatility, years);
            prop_assert!((0.0..=1.0).contains(&now));
            prop_assert!(chance(barrier, mean, volatility + more, years) >= now - 1e-9);
            prop_assert!(chance(barrier + more, mean, volatility, years) >= now - 1e-9);
            prop_assert!(chance(barrier, mean, volatility, years + more) >= now - 1e-9);
            prop_assert!(chance(barrier, mean + more, volatility, years) <= now + 1e-9);
        }
    }
}

//! Power of a one-sided test of a mean: how many windows a verdict needs, and what it could have seen.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Power asked of a verdict (Cohen 1988); below it the answer is "insufficient data".
pub const VERDICT_POWER: f64 = 0.8;
/// Fewest windows of which a spread can be estimated at all.
const FEWEST_WINDOWS: usize = 3;
/// Where the search for windows ends: more than this is never to be had.
const MOST_WINDOWS: usize = 10_000_000;

/// Probability that a one-sided t test of level `level` finds a mean of `effect` standard deviations in `windows`
/// independent windows.
///
/// `P(T > q)` for the noncentral Student T with `windows - 1` degrees of freedom and centre `effect sqrt(windows)`, by the
/// normal approximation `Phi((centre - q (1 - 1/(4 v))) / sqrt(1 + q^2 / (2 v)))` (Abramowitz and Stegun 1964, 26.7.10);
/// within .01 of the exact power from six windows on. An effect of 0 gives about `level`.
///
/// `None` for fewer than three windows, a level outside 0..1 or an effect that is not finite.
#[must_use]
pub fn power_of(windows: usize, effect: f64, level: f64) -> Option<f64> {
    if windows < FEWEST_WINDOWS || !(level > 0.0 && level < 1.0) || !effect.is_finite() {
        return None;
    }
    let freedom = windows as f64 - 1.0;
    let critical = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(1.0 - level);
    let centre = effect * (windows as f64).sqrt();
    let scale = (1.0 + critical * critical / (2.0 * freedom)).sqrt();
    Some(Normal::standard().cdf((centre - critical * (1.0 - 0.25 / freedom)) / scale))
}

/// Fewest independent windows in which a one-sided t test of level `level` finds a mean of `effect` standard deviations
/// with probability `power`, by [`power_of`].
///
/// `None` for an effect of 0 or less, a level or power outside 0..1, a power not above the level, or more than ten
/// million windows.
#[must_use]
pub fn windows_needed(effect: f64, level: f64, power: f64) -> Option<usize> {
    if effect.is_nan() || effect <= 0.0 || !(power > level && power < 1.0) {
        return None;
    }
    let enough = |windows: usize| power_of(windows, effect, level).map(|p| p >= power);
    let mut upper = FEWEST_WINDOWS;
    while !enough(upper)? {
        upper *= 2;
        if upper > MOST_WINDOWS {
            return None;
        }
    }
    let mut lower = (upper / 2).max(FEWEST_WINDOWS);
    while lower < upper {
        let middle = lower.midpoint(upper);
        if enough(middle)? {
            upper = middle;
        } else {
            lower = middle + 1;
        }
    }
    Some(upper)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `scipy.stats.nct.sf(t.ppf(.95, n - 1), n - 1, effect * sqrt(n))`.
    const EXACT: [(usize, f64, f64); 8] = [
        (6, 0.8, 0.517_790),
        (8, 1.2, 0.918_982),
        (12, 0.5, 0.491_884),
        (12, 0.8, 0.828_981),
        (27, 0.5, 0.811_832),
        (50, 0.0, 0.05),
        (156, 0.2, 0.800_167),
        (500, 0.1, 0.721_795),
    ];

    #[test]
    fn power_agrees_with_the_noncentral_t() {
        for (windows, effect, exact) in EXACT {
            let power = power_of(windows, effect, 0.05).unwrap();
            assert!((power - exact).abs() < 0.01, "{windows} {effect}: {power} is not {exact}");
        }
        assert_eq!(power_of(2, 0.5, 0.05), None);
        assert_eq!(power_of(20, 0.5, 0.0), None);
    }

    #[test]
    fn windows_agree_with_the_published_tables() {
        // The exact noncentral t gives the same for Cohen's three sizes.
        assert_eq!(windows_needed(0.2, 0.05, 0.8), Some(156));
        assert_eq!(windows_needed(0.5, 0.05, 0.8), Some(27));
        assert_eq!(windows_needed(0.8, 0.05, 0.8), Some(12));
        assert_eq!(windows_needed(0.0, 0.05, 0.8), None);
        assert_eq!(windows_needed(f64::NAN, 0.05, 0.8), None);
        assert_eq!(windows_needed(0.5, 0.05, 0.04), None);
        assert_eq!(windows_needed(1e-6, 0.05, 0.8), None);
    }

    proptest! {
        #[test]
        fn the_windows_are_the_fewest(effect in 0.05f64..2.0, power in 0.3f64..0.99) {
            let windows = windows_needed(effect, 0.05, power).unwrap();
            prop_assert!(power_of(windows, effect, 0.05).unwrap() >= power);
            prop_assert!(windows == 3 || power_of(windows - 1, effect, 0.05).unwrap() < power);
        }
    }
}

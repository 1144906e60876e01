//! Adaptive conformal inference: one scale per horizon that follows the errors of matured intervals.

use crate::scenario::conformal::{QuantileMap, normal_score};

/// The miss rates that still give a finite, positive scale.
const MISS_RATE_RANGE: (f64, f64) = (1e-4, 0.9999);

/// How intervals of one level adapt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptation {
    /// Wanted miss rate alpha of the interval, in (0, 1).
    pub target: f64,
    /// Step eta, above 0.
    pub step: f64,
}

impl Adaptation {
    /// Gibbs and Candes (2021), eq. 2, folded over matured errors in the order of maturity:
    /// `alpha[t+1] = alpha[t] + eta (alpha - err[t])`, from `alpha[0] = alpha`.
    ///
    /// An error is the share of intervals missed at one date, 0..1; others are left out. The answer may leave (0, 1):
    /// at or below 0 the theory's interval is the whole line, at or above 1 it is empty, and with such intervals the
    /// mean error over T dates lies within `(max(alpha, 1 - alpha) + eta) / (eta T)` of the target against any opponent.
    #[must_use]
    pub fn miss_rate(&self, matured_errors: impl IntoIterator<Item = f64>) -> f64 {
        let errors = matured_errors.into_iter().filter(|e| (0.0..=1.0).contains(e));
        errors.fold(self.target, |rate, error| self.next(rate, error))
    }

    /// The factor that turns the map's interval at the target rate into its interval at the adapted rate, the rate
    /// clamped to .0001..0.9999 so that what is served stays finite.
    #[must_use]
    pub fn scale(&self, map: &QuantileMap, miss_rate: f64) -> f64 {
        let width = |rate: f64| map.apply(normal_score(1.0 - rate / 2.0));
        let wanted = width(miss_rate.clamp(MISS_RATE_RANGE.0, MISS_RATE_RANGE.1));
        let (wanted, target) = (wanted.max(f64::MIN_POSITIVE), width(self.target));
        if target > 0.0 { wanted / target } else { 1.0 }
    }

    fn next(&self, rate: f64, error: f64) -> f64 {
        rate + self.step * (self.target - error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NINETY: Adaptation = Adaptation { target: 0.1, step: 0.01 };

    #[test]
    fn errors_widen_and_calm_narrows() {
        assert!((NINETY.miss_rate([1.0]) - 0.091).abs() < 1e-12);
        assert!((NINETY.miss_rate([0.0, f64::NAN, 0.1]) - 0.101).abs() < 1e-12);
        assert_eq!(NINETY.miss_rate([]), 0.1);
        let map = QuantileMap::gaussian();
        assert_eq!(NINETY.scale(&map, 0.1), 1.0);
        assert!((NINETY.scale(&map, 0.05) - 1.959_964 / 1.644_854).abs() < 1e-6);
        assert!(NINETY.scale(&map, -3.0).is_finite() && NINETY.scale(&map, 7.0) > 0.0);
    }

    proptest! {
        #[test]
        fn no_opponent_beats_the_long_run_bound(wishes in prop::collection::vec(any::<bool>(), 1..800), step in 0.005f64..0.2) {
            let adaptation = Adaptation { target: 0.1, step };
            let mut errors: Vec<f64> = vec![];
            for wish in &wishes {
                // The opponent chooses, but nothing misses the whole line and everything misses the empty set.
                let rate = adaptation.miss_rate(errors.iter().copied());
                errors.push(if rate <= 0.0 { 0.0 } else if rate >= 1.0 || *wish { 1.0 } else { 0.0 });
            }
            let count = errors.len() as f64;
            let mean = errors.iter().sum::<f64>() / count;
            prop_assert!((mean - 0.1).abs() <= (0.9 + step) / (step * count) + 1e-9);
        }
    }
}

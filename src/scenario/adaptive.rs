//! Adaptive conformal inference: one scale per horizon that follows the errors of matured intervals.

use crate::scenario::conformal::{QuantileMap, normal_score};

/// The miss rates that are served as they are. At or below 0 theory asks for the whole line, at or above 1 for nothing;
/// the served interval is then that of the nearest of these, 3.7 times the width at 10 % or next to none.
const MISS_RATE_RANGE: (f64, f64) = (1e-9, 0.9999);

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
    /// An error is the share of intervals missed at one date, 0..1, as [`Adaptation::missed`] counts it; others are left
    /// out. With errors so counted and known `d` dates later, the rate stays within `-d eta .. 1 + d eta`, and the mean
    /// error over T dates within `(max(alpha, 1 - alpha) + d eta) / (eta T)` of the target, whatever happens (their
    /// proposition 4.1 for `d = 1`; with a delay the same argument loses `d` steps instead of one).
    #[must_use]
    pub fn miss_rate(&self, matured_errors: impl IntoIterator<Item = f64>) -> f64 {
        let errors = matured_errors.into_iter().filter(|e| (0.0..=1.0).contains(e));
        errors.fold(self.target, |rate, error| self.next(rate, error))
    }

    /// Share of the scores outside the interval at an adapted rate. At or below 0 the interval is the whole line, which
    /// nothing misses; at or above 1 it is empty, and everything does. What is served in place of the whole line is wide,
    /// but finite, and counting its misses would let the rate run away as long as they last, and stay there after.
    /// 0 without scores.
    #[must_use]
    pub fn missed(&self, map: &QuantileMap, miss_rate: f64, scores: &[f64]) -> f64 {
        if miss_rate <= 0.0 || scores.is_empty() {
            return 0.0;
        }
        if miss_rate >= 1.0 {
            return 1.0;
        }
        let half_width = self.half_width(&map.with_scale(map.scale() * self.scale(map, miss_rate)));
        scores.iter().filter(|score| score.abs() > half_width).count() as f64 / scores.len() as f64
    }

    /// The factor that turns the map's interval at the target rate into its interval at the adapted rate, the rate
    /// clamped so that what is served stays finite.
    #[must_use]
    pub fn scale(&self, map: &QuantileMap, miss_rate: f64) -> f64 {
        let width = |rate: f64| map.apply(normal_score(1.0 - rate / 2.0));
        let wanted = width(miss_rate.clamp(MISS_RATE_RANGE.0, MISS_RATE_RANGE.1));
        let (wanted, target) = (wanted.max(f64::MIN_POSITIVE), self.half_width(map));
        if target > 0.0 { wanted / target } else { 1.0 }
    }

    /// Half the width of a map's interval at the target rate, in volatilities.
    fn half_width(&self, map: &QuantileMap) -> f64 {
        map.apply(normal_score(1.0 - self.target / 2.0))
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
        assert!((3.0..4.0).contains(&NINETY.scale(&map, -3.0)) && NINETY.scale(&map, 7.0) > 0.0);
    }

    /// What an opponent does who sees everything: the rate, and the interval in force.
    #[derive(Debug, Clone, Copy)]
    enum Opponent {
        /// Misses whenever it can.
        AlwaysMisses,
        /// Never misses.
        NeverMisses,
        /// Lulls the interval narrow, then misses until it is the whole line, and again.
        Bursts,
        /// Misses exactly while the rate is above the target: feeds every overshoot.
        PushesDown,
        /// Misses exactly while the rate is below the target.
        PushesUp,
        /// Does as it was told.
        Whim,
    }

    const OPPONENTS: [Opponent; 6] = [
        Opponent::AlwaysMisses,
        Opponent::NeverMisses,
        Opponent::Bursts,
        Opponent::PushesDown,
        Opponent::PushesUp,
        Opponent::Whim,
    ];

    /// A game of as many dates as there are whims; returns the errors, after checking the rate and what was served.
    fn play(adaptation: Adaptation, opponent: Opponent, delay: usize, whims: &[f64]) -> Vec<f64> {
        let map = QuantileMap::fit(&(1..=400).map(|k| f64::from(k) / 130.0).collect::<Vec<_>>());
        let (mut errors, mut lulled): (Vec<f64>, bool) = (vec![], true);
        for (date, whim) in whims.iter().enumerate() {
            let rate = adaptation.miss_rate(errors[..(date + 1).saturating_sub(delay)].iter().copied());
            let slack = delay as f64 * adaptation.step + 1e-9;
            assert!((-slack..=1.0 + slack).contains(&rate), "{opponent:?} {rate}");
            let served = map.with_scale(adaptation.scale(&map, rate));
            let reach = served.quantile(1.0 - adaptation.target / 2.0);
            assert!(reach.is_finite() && reach >= 0.0 && (served.quantile(0.3) + served.quantile(0.7)).abs() < 1e-12);
            assert!([0.05, 0.25, 0.4, 0.5, 0.6, 0.75, 0.95].map(|level| served.quantile(level)).is_sorted());
            lulled = if lulled { rate < 0.5 } else { rate <= 0.0 };
            let misses = match opponent {
                Opponent::AlwaysMisses => 1.0,
                Opponent::NeverMisses => 0.0,
                Opponent::Bursts => f64::from(!lulled),
                Opponent::PushesDown => f64::from(rate > adaptation.target),
                Opponent::PushesUp => f64::from(rate < adaptation.target),
                Opponent::Whim => *whim,
            };
            let beyond = (misses * 10.0).round() as usize;
            let scores: Vec<f64> = (0..10).map(|k| if k < beyond { 1.01 * reach + 1e-3 } else { 0.0 }).collect();
            errors.push(adaptation.missed(&map, rate, &scores));
        }
        errors
    }

    #[test]
    fn the_whole_line_is_never_missed_and_nothing_lies_in_the_empty_set() {
        let map = QuantileMap::gaussian();
        assert_eq!(NINETY.missed(&map, 0.0, &[1e300]), 0.0);
        assert_eq!(NINETY.missed(&map, 1.0, &[0.0]), 1.0);
        assert_eq!(NINETY.missed(&map, 0.1, &[1.64, -1.65, 1.65, 0.0]), 0.5);
        assert_eq!(NINETY.missed(&map, 0.1, &[]), 0.0);
        // At the target rate the interval is the map's own, whatever its scale.
        assert_eq!(NINETY.missed(&map.with_scale(2.0), 0.1, &[3.28, 3.30]), 0.5);
    }

    #[test]
    fn after_a_siege_the_interval_comes_back_as_fast_as_it_went() {
        // 500 dates of misses, then calm: an uncapped count would need about 4,000 calm dates.
        let siege = play(NINETY, Opponent::AlwaysMisses, 1, &[0.0; 500]);
        let rate = NINETY.miss_rate(siege.iter().copied());
        assert!((-0.01..0.02).contains(&rate), "{rate}");
        let after = NINETY.miss_rate(siege.into_iter().chain([0.0; 100]));
        assert!(after > 0.08, "{after}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn no_opponent_beats_the_long_run_bound(
            whims in prop::collection::vec(0.0f64..=1.0, 1..900),
            step in 0.005f64..0.2,
            target in 0.02f64..0.6,
            delay in 1usize..30,
        ) {
            let adaptation = Adaptation { target, step };
            for opponent in OPPONENTS {
                for delay in [1, delay] {
                    let errors = play(adaptation, opponent, delay, &whims);
                    let count = errors.len() as f64;
                    let mean = errors.iter().sum::<f64>() / count;
                    let bound = (target.max(1.0 - target) + delay as f64 * step) / (step * count);
                    prop_assert!((mean - target).abs() <= bound + 1e-9, "{opponent:?} delay {delay}: {mean} {bound}");
                }
            }
        }
    }
}

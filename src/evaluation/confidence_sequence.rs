//! A confidence sequence: bounds on the mean of a stream of gains that hold at all times at once, however often one looks.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::{gamma_lr, ln_gamma};

/// Most that the predictable centre may take, as a share of the bound. A gain's mean is small against its spread, so
/// little is lost, and deviations stay within 1.15 instead of 2 bounds.
const CENTRE_SHARE: f64 = 0.15;
/// Windows, of gains whose spread is a third of the bound, for which the boundary is tuned. Simulated with normal gains of
/// means -1 to -.2 spreads, 120 finds most of 50, 100, 200 and 400. Any value is valid.
const TUNED_WINDOWS: f64 = 120.0;

/// How a stream is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceSettings {
    /// Gains are clipped to `-bound..=bound`; must be fixed before the first of them is seen, and above 0.
    pub bound: f64,
    /// Probability, for each side, that the bound ever fails; 0..1.
    pub level: f64,
    /// Decision days that one horizon overlaps.
    pub overlap_steps: usize,
}

/// The bounds after some windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceSequence {
    /// Lower bound on the mean, within the clipping bound.
    pub lower: f64,
    /// Upper bound on the mean, within the clipping bound.
    pub upper: f64,
    /// Mean of the clipped gains of the windows.
    pub mean: f64,
    /// Windows that do not overlap.
    pub observations: usize,
}

/// The empirical-Bernstein confidence sequence of Choe and Ramdas (2023) for the mean difference of two forecasters'
/// losses, with the gamma-exponential mixture boundary of Howard, Ramdas, McAuliffe and Sekhon (2021): one element
/// for every window so far, `mean -+ u(V) / n`, `V` the sum of `(gain - centre)^2` and the centre the mean of the earlier
/// gains, clamped to .15 of the bound.
///
/// **What holds, without assumptions on the law of the gains:** with `d_i` the clipped gain expected on decision day `i`
/// given all that was known then, each bound holds for the mean of `d_1..d_n` at all `n` at once, except with probability
/// `level`. The `d_i` may change over time. It says nothing about the parts of gains beyond the bound.
///
/// **Overlap.** Gains of overlapping horizons are no martingale differences. Every `overlap_steps`-th gain is taken,
/// from the first on: each horizon has matured before the next decision. The others bring little, since neighbours
/// repeat each other.
///
/// Gains must be finite; empty for a bound or level outside its range.
#[must_use]
pub fn confidence_sequence(gains: &[f64], settings: SequenceSettings) -> Vec<ConfidenceSequence> {
    let SequenceSettings { bound, level, overlap_steps } = settings;
    if !(bound > 0.0 && bound.is_finite() && level > 0.0 && level < 1.0) {
        return Vec::new();
    }
    // In units of the largest deviation, so that the sub-exponential scale of the boundary is 1.
    let scale = bound * (1.0 + CENTRE_SHARE);
    let boundary = Boundary::new(TUNED_WINDOWS * (bound / 3.0 / scale).powi(2), level);
    let (mut sum, mut variance) = (0.0, 0.0);
    let windows = gains.iter().step_by(overlap_steps.max(1)).enumerate();
    let after = |(earlier, gain): (usize, &f64)| {
        let gain = gain.clamp(-bound, bound);
        let centre = (sum / earlier.max(1) as f64).clamp(-CENTRE_SHARE * bound, CENTRE_SHARE * bound);
        variance += ((gain - centre) / scale).powi(2);
        sum += gain;
        let observations = earlier + 1;
        let (mean, margin) = (sum / observations as f64, scale * boundary.at(variance) / observations as f64);
        ConfidenceSequence { lower: (mean - margin).max(-bound), upper: (mean + margin).min(bound), mean, observations }
    };
    windows.map(after).collect()
}

/// The uniform boundary `u(v)`: a sum of martingale differences of at most 1 below 0, with accumulated squares `v`,
/// ever exceeds it with a probability of at most the level.
struct Boundary {
    mixing: f64,
    constant: f64,
    threshold: f64,
}

impl Boundary {
    /// `sharpest` is the `v` at which the boundary is to be near its lowest.
    fn new(sharpest: f64, level: f64) -> Self {
        let threshold = -level.ln();
        // Of a normal mixture (Howard et al. 2021, section 3.5); any positive value is valid.
        let mixing = sharpest / (2.0 * threshold + (2.0 * threshold).ln_1p());
        let constant = mixing * mixing.ln() - ln_gamma(mixing) - gamma_lr(mixing, mixing).ln();
        Self { mixing, constant, threshold }
    }

    /// Logarithm of the mixture supermartingale at a sum `s >= 0` with accumulated squares `v`.
    fn log_wealth(&self, s: f64, v: f64) -> f64 {
        let shape = v + self.mixing;
        let reached = s + shape;
        self.constant + ln_gamma(shape) + gamma_lr(shape, reached).ln() - shape * reached.ln() + s + v
    }

    /// The sum at which the wealth reaches `1 / level`, by bisection of an increasing function.
    fn at(&self, v: f64) -> f64 {
        let mut high = 1.0 + v.sqrt();
        while self.log_wealth(high, v) < self.threshold {
            high *= 2.0;
        }
        let mut low = 0.0;
        // The upper end is kept, so rounding never narrows the bounds.
        while high - low > 1e-9 * high {
            let middle = f64::midpoint(low, high);
            if self.log_wealth(middle, v) < self.threshold {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    use rand_distr::{Distribution, StandardNormal, StudentT};

    const SETTINGS: SequenceSettings = SequenceSettings { bound: 3.0, level: 0.05, overlap_steps: 1 };

    fn normals(seed: u64, count: usize) -> Vec<f64> {
        StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(count).collect()
    }

    /// Streams, of 1,000, whose bound, upper or lower, fails at any time.
    fn failures(stream: impl Fn(u64) -> (Vec<f64>, f64), settings: SequenceSettings) -> (usize, usize) {
        let (mut upper, mut lower) = (0, 0);
        for seed in 0..1000 {
            let (gains, truth) = stream(seed);
            let sequence = confidence_sequence(&gains, settings);
            upper += usize::from(sequence.iter().any(|c| c.upper < truth));
            lower += usize::from(sequence.iter().any(|c| c.lower > truth));
        }
        (upper, lower)
    }

    #[test]
    fn the_wealth_is_the_integral_over_the_mixing_law() {
        // The mixture is exp(x s - (-ln(1 - x) - x) v) over a gamma law of 1 - x truncated to 0..1, density
        // proportional to (1 - x)^(r - 1) exp(-r (1 - x)); by the midpoint rule.
        let boundary = Boundary::new(9.0, 0.05);
        let r = boundary.mixing;
        let integral = |s: f64, v: f64| {
            let of = |i: usize| {
                let rest = (i as f64 + 0.5) / 200_000.0;
                ((1.0 - rest) * (s + v) + v * rest.ln() + (r - 1.0) * rest.ln() - r * rest).exp()
            };
            (0..200_000).map(of).sum::<f64>()
        };
        for (s, v) in [(0.0, 0.5), (3.0, 2.0), (6.0, 10.0)] {
            let expected = (integral(s, v) / integral(0.0, 0.0)).ln();
            assert!((boundary.log_wealth(s, v) - expected).abs() < 1e-3, "{} {expected}", boundary.log_wealth(s, v));
        }
        assert!(boundary.log_wealth(0.0, 0.0).abs() < 1e-12);
    }

    #[test]
    fn the_bounds_hold_at_all_times_at_once() {
        let symmetric = failures(|seed| (normals(seed, 200), 0.0), SETTINGS);
        let heavy = |seed: u64| {
            let draws = StudentT::new(3.0).unwrap().sample_iter(ChaCha8Rng::seed_from_u64(seed));
            (draws.take(200).collect(), 0.0)
        };
        let skewed = |seed: u64| {
            let mut draws = ChaCha8Rng::seed_from_u64(seed);
            ((0..200).map(|_| if draws.next_u32() % 11 == 0 { -3.0 } else { 0.3 }).collect(), 0.0)
        };
        for (upper, lower) in [symmetric, failures(heavy, SETTINGS), failures(skewed, SETTINGS)] {
            assert!(upper <= 50 && lower <= 50, "{upper} {lower} of 1000");
        }
    }

    #[test]
    fn the_bounds_hold_for_a_mean_that_moves() {
        // A recipe that is good for 50 windows and then bad: at every time the bounds are on the mean so far.
        let drift = |i: usize| if i % 100 < 50 { 0.4 } else { -0.4 };
        let failed = |seed: u64| {
            let gains: Vec<f64> = normals(seed, 200).iter().enumerate().map(|(i, e)| 0.5 * e + drift(i)).collect();
            let mut sum = 0.0;
            confidence_sequence(&gains, SETTINGS).iter().enumerate().any(|(i, c)| {
                sum += drift(i);
                let truth = sum / (i + 1) as f64;
                c.upper < truth || c.lower > truth
            })
        };
        assert!((0..1000).filter(|s| failed(*s)).count() <= 100);
    }

    #[test]
    fn the_bounds_hold_when_horizons_overlap() {
        let overlapping = |seed| (normals(seed, 403).windows(4).map(|w| w.iter().sum::<f64>() / 2.0).collect(), 0.0);
        let (upper, lower) = failures(overlapping, SequenceSettings { overlap_steps: 4, ..SETTINGS });
        assert!(upper <= 50 && lower <= 50, "{upper} {lower} of 1000");
    }

    #[test]
    fn a_worse_forecast_is_seen_and_a_better_one_never_suspected() {
        let seen = |mean: f64, windows: usize| {
            let stream = |seed| normals(seed, windows).iter().map(|e| e + mean).collect::<Vec<f64>>();
            (0..200).filter(|s| confidence_sequence(&stream(*s), SETTINGS).iter().any(|c| c.upper < 0.0)).count()
        };
        for (mean, windows, least) in [(-1.0, 30, 140), (-1.0, 60, 190), (-0.5, 100, 165), (-0.5, 200, 190)] {
            let count = seen(mean, windows);
            assert!(count >= least, "{count} of 200 at {mean} in {windows}");
        }
        assert_eq!(seen(0.5, 100), 0);
    }

    #[test]
    fn the_bounds_shrink_toward_the_mean() {
        let gains: Vec<f64> = normals(4, 4000).iter().map(|e| e + 0.3).collect();
        let sequence = confidence_sequence(&gains, SETTINGS);
        let width = |n: usize| sequence[n - 1].upper - sequence[n - 1].lower;
        let widths: Vec<f64> = [10, 40, 160, 640, 2560].map(width).to_vec();
        assert!(widths.windows(2).all(|w| w[1] < 0.62 * w[0]), "{widths:?}");
        assert!(sequence[3999].lower > 0.2 && sequence[3999].upper < 0.4);
        assert_eq!((sequence.len(), sequence[0].lower, sequence[0].upper), (4000, -3.0, 3.0));
        assert!(confidence_sequence(&gains, SequenceSettings { bound: 0.0, ..SETTINGS }).is_empty());
        assert!(confidence_sequence(&[], SETTINGS).is_empty());
    }

    proptest! {
        #[test]
        fn bounds_enclose_the_mean_and_follow_the_unit(
            gains in prop::collection::vec(-10.0f64..10.0, 1..40), overlap_steps in 1usize..5, unit in 1e-6f64..1e3,
        ) {
            let settings = SequenceSettings { overlap_steps, ..SETTINGS };
            let sequence = confidence_sequence(&gains, settings);
            prop_assert_eq!(sequence.len(), gains.len().div_ceil(overlap_steps));
            let scaled: Vec<f64> = gains.iter().map(|g| g * unit).collect();
            let other = confidence_sequence(&scaled, SequenceSettings { bound: 3.0 * unit, ..settings });
            for (a, b) in sequence.iter().zip(&other) {
                prop_assert!(a.lower <= a.mean && a.mean <= a.upper && a.lower >= -3.0 && a.upper <= 3.0);
                prop_assert!((a.upper * unit - b.upper).abs() < 1e-6 * unit);
            }
        }
    }
}

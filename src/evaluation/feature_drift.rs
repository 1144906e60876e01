//! How far recent values of a feature lie from those of a reference: the population stability index and the
//! Kolmogorov-Smirnov distance, each with what it shows on values that have not changed.
//!
//! **Population stability index** (Siddiqi 2006, *Credit Risk Scorecards*): `sum_b (p_b - q_b) ln(p_b / q_b)`, `p` and `q`
//! the shares of recent and reference values in the tenths of the reference and among the missing. 0 for equal shares; by
//! custom below .1 is stable and above .25 a shift. Of independent draws of one law its law is near `(1/n + 1/m) chi2` with
//! one degree of freedom less than there are bins (Yurdakul and Naranjo 2020), so a short sample shows a shift where there
//! is none: [`stability_noise`] is the expectation.

/// Tenths of the reference.
const BINS: usize = 10;
/// Values that a reference needs, so that a tenth of them is five.
const REFERENCE_MINIMUM: usize = 50;
/// Added to each count, so that an empty bin has a logarithm (the prior of Jeffreys).
const ADDED: f64 = 0.5;

/// The tenths of a reference; values that are missing have a bin of their own, the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    /// Upper ends of all tenths but the last, ascending; tenths that ties make equal are one.
    edges: Vec<f32>,
}

impl Bins {
    /// The tenths of a reference, ascending and finite; `None` with fewer than 50 values.
    #[must_use]
    pub fn of(reference: &[f32]) -> Option<Self> {
        if reference.len() < REFERENCE_MINIMUM {
            return None;
        }
        let mut edges: Vec<f32> = (1..BINS).map(|k| reference[(k * reference.len()).div_ceil(BINS) - 1]).collect();
        edges.dedup();
        Some(Self { edges })
    }

    /// Number of bins, that of the missing included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.edges.len() + 2
    }

    /// Values in each bin.
    ///
    /// # Shapes
    /// [`Bins::count`] numbers.
    #[must_use]
    pub fn tally(&self, values: &[f32]) -> Vec<u32> {
        let mut counts = vec![0; self.count()];
        for value in values {
            let bin =
                if value.is_finite() { self.edges.partition_point(|edge| edge < value) } else { self.count() - 1 };
            counts[bin] += 1;
        }
        counts
    }
}

/// The population stability index of two tallies over the same bins, >= 0; `None` when either is empty.
#[must_use]
pub fn stability_index(recent: &[u32], reference: &[u32]) -> Option<f64> {
    let total = |counts: &[u32]| f64::from(counts.iter().sum::<u32>());
    let (n, m) = (total(recent), total(reference));
    if n == 0.0 || m == 0.0 {
        return None;
    }
    let added = ADDED * recent.len() as f64;
    let term = |(p, q): (&u32, &u32)| {
        let (p, q) = ((f64::from(*p) + ADDED) / (n + added), (f64::from(*q) + ADDED) / (m + added));
        (p - q) * (p / q).ln()
    };
    Some(recent.iter().zip(reference).map(term).sum())
}

/// Expected stability index of `n` and `m` independent values of one law: `(bins - 1)(1/n + 1/m)`.
#[must_use]
pub fn stability_noise(bins: usize, n: usize, m: usize) -> f64 {
    bins.saturating_sub(1) as f64 * (1.0 / n as f64 + 1.0 / m as f64)
}

/// The largest distance between the distribution functions of two samples, 0..=1; `None` when either is empty.
///
/// Both must be ascending and finite.
#[must_use]
pub fn kolmogorov_smirnov(recent: &[f32], reference: &[f32]) -> Option<f64> {
    let (n, m) = (recent.len() as f64, reference.len() as f64);
    if recent.is_empty() || reference.is_empty() {
        return None;
    }
    let (mut below, mut largest) = (0, 0.0f64);
    for tie in recent.chunk_by(|a, b| a == b) {
        let before = reference.partition_point(|r| *r < tie[0]);
        let until = before + reference[before..].partition_point(|r| *r <= tie[0]);
        let through = below + tie.len();
        let gap = |own: usize, other: usize| (own as f64 / n - other as f64 / m).abs();
        largest = largest.max(gap(below, before)).max(gap(through, until));
        below = through;
    }
    Some(largest)
}

/// Expected distance of `n` and `m` independent values of one continuous law: `sqrt(pi/2) ln 2 sqrt(1/n + 1/m)`, the mean
/// of Kolmogorov's law (1933).
#[must_use]
pub fn kolmogorov_smirnov_noise(n: usize, m: usize) -> f64 {
    std::f64::consts::FRAC_PI_2.sqrt() * std::f64::consts::LN_2 * (1.0 / n as f64 + 1.0 / m as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    fn normals(seed: u64, count: usize) -> Vec<f32> {
        let draws = StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed));
        let mut values: Vec<f32> = draws.take(count).collect();
        values.sort_by(f32::total_cmp);
        values
    }

    #[test]
    fn the_index_has_the_value_worked_by_hand() {
        // Shares .5/.5 against .8/.2, so many that what is added does not show: .3 ln(.8/.5) + .3 ln(.5/.2).
        let found = stability_index(&[500_000, 500_000], &[800_000, 200_000]).unwrap();
        assert!((found - 0.3 * (1.6f64.ln() + 2.5f64.ln())).abs() < 1e-5, "{found}");
        assert_eq!(stability_index(&[3, 7], &[30, 70]).map(|x| x < 1e-2), Some(true));
        assert_eq!((stability_index(&[0, 0], &[1, 1]), stability_index(&[1], &[0])), (None, None));
    }

    #[test]
    fn tenths_hold_a_tenth_and_the_missing_have_their_bin() {
        let reference: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let bins = Bins::of(&reference).unwrap();
        assert_eq!(bins.tally(&reference), [100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 0]);
        assert_eq!(bins.tally(&[-1.0, 99.0, 100.0, 1e9, f32::NAN]), [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        let flags: Vec<f32> = (0..100).map(|i| f32::from(u8::from(i >= 75))).collect();
        assert_eq!(Bins::of(&flags).unwrap().tally(&flags), [75, 25, 0, 0]);
        assert_eq!(Bins::of(&flags[..49]), None);
    }

    #[test]
    fn the_noise_levels_are_what_unchanged_values_show() {
        for (n, m) in [(63, 2000), (200, 1000)] {
            let (mut index, mut distance) = (0.0, 0.0);
            for seed in 0..400 {
                let (recent, reference) = (normals(seed, n), normals(1000 + seed, m));
                let bins = Bins::of(&reference).unwrap();
                index += stability_index(&bins.tally(&recent), &bins.tally(&reference)).unwrap() / 400.0;
                distance += kolmogorov_smirnov(&recent, &reference).unwrap() / 400.0;
            }
            // Nothing is missing, so one bin is empty for certain.
            let (expected, far) = (stability_noise(BINS, n, m), kolmogorov_smirnov_noise(n, m));
            assert!((index / expected - 1.0).abs() < 0.15, "{n} {m}: {index} {expected}");
            assert!((distance / far - 1.0).abs() < 0.1, "{n} {m}: {distance} {far}");
            // The customary threshold alone would cry wolf.
            assert!(n > 63 || index > 0.1);
        }
    }

    #[test]
    fn the_distance_is_that_of_the_distribution_functions() {
        assert_eq!(kolmogorov_smirnov(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
        assert_eq!(kolmogorov_smirnov(&[1.0, 1.0, 2.0], &[1.0, 2.0, 2.0]).map(|d| (d * 3.0).round()), Some(1.0));
        assert_eq!(kolmogorov_smirnov(&[1.0, 2.0], &[1.0, 2.0]), Some(0.0));
        assert_eq!(kolmogorov_smirnov(&[1.0, 4.0], &[2.0, 3.0]), Some(0.5));
        assert_eq!(kolmogorov_smirnov(&[], &[1.0]), None);
    }
}

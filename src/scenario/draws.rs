//! Joint standard draws of a universe: the one source of chance behind every market answer.
//!
//! Draws come in antithetic pairs, so odd moments vanish exactly. They are kept as `f32`: the rounding (6e-8) is far
//! below the Monte Carlo error, and half the memory is twice the speed. Every chunk of pairs has a ChaCha stream of its
//! own and fixed-order arithmetic, so the bytes depend on the seed alone, not on threads or processor.

use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution, StandardNormal};
use rayon::prelude::*;

/// Pairs drawn from one random stream; the columns of a chunk fit the first-level cache.
pub const CHUNK_PAIRS: usize = 64;

/// Law of a standard draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawLaw {
    /// Multivariate normal. The conformal quantile map takes these.
    Gaussian,
    /// Multivariate Student t, scaled to unit variance: one chi-square for the whole draw, so tails come together.
    StudentT {
        /// Degrees of freedom; below 3 counts as 3, the least with a variance.
        degrees_of_freedom: u32,
    },
}

/// How many draws, of which law, from which seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawOptions {
    /// S, rounded up to an even number.
    pub count: usize,
    /// Seed of the random streams.
    pub seed: u64,
    /// Law of a draw.
    pub law: DrawLaw,
}

/// S joint draws of N instruments, mean 0 and variance 1 each.
#[derive(Debug, Clone, PartialEq)]
pub struct Draws {
    count: usize,
    instruments: usize,
    values: Vec<f32>,
}

impl Draws {
    /// Draws with the correlation `L L'`.
    ///
    /// # Shapes
    /// `factor`: N x N lower triangular L, as [`crate::scenario::covariance::Covariance::factor`] gives it.
    #[must_use]
    pub fn generate(factor: &DMatrix<f64>, options: DrawOptions) -> Self {
        let pairs = options.count.div_ceil(2);
        let instruments = factor.nrows();
        let ones = vec![1.0; instruments];
        let sampler = PairSampler::new(factor, &ones, options.law, options.seed);
        let chunks: Vec<Vec<f32>> =
            (0..pairs.div_ceil(CHUNK_PAIRS)).into_par_iter().map(|chunk| sampler.chunk(chunk as u64)).collect();
        let mut values = Vec::with_capacity(2 * pairs * instruments);
        for i in 0..instruments {
            let start = values.len();
            for chunk in &chunks {
                let room = pairs - (values.len() - start);
                values.extend_from_slice(&chunk[i * CHUNK_PAIRS..][..CHUNK_PAIRS.min(room)]);
            }
            values.extend_from_within(start..);
            values[start + pairs..].iter_mut().for_each(|z| *z = -*z);
        }
        Self { count: 2 * pairs, instruments, values }
    }

    /// S.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// N.
    #[must_use]
    pub fn instruments(&self) -> usize {
        self.instruments
    }

    /// The draws of one instrument; draw k + S/2 is the exact negative of draw k. Empty when there is no such
    /// instrument.
    #[must_use]
    pub fn instrument(&self, index: usize) -> &[f32] {
        self.values.get(index * self.count..(index + 1) * self.count).unwrap_or_default()
    }
}

/// Makes chunks of one half of the antithetic pairs, scaled by an instrument's volatility.
pub(crate) struct PairSampler {
    /// Rows of the scaled lower triangle, one after the other.
    triangle: Vec<f32>,
    instruments: usize,
    law: DrawLaw,
    seed: u64,
}

impl PairSampler {
    /// Draws will have the covariance `S L L' S` with S the diagonal matrix of `scale`.
    pub(crate) fn new(factor: &DMatrix<f64>, scale: &[f64], law: DrawLaw, seed: u64) -> Self {
        let instruments = factor.nrows();
        let rows = (0..instruments).flat_map(|i| (0..=i).map(move |j| (factor[(i, j)] * scale[i]) as f32));
        Self { triangle: rows.collect(), instruments, law, seed }
    }

    /// One half of [`CHUNK_PAIRS`] pairs; the other half is its negative.
    ///
    /// # Shapes
    /// N x [`CHUNK_PAIRS`], instrument by instrument.
    pub(crate) fn chunk(&self, stream: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(stream);
        let mut values: Vec<f32> =
            (0..self.instruments * CHUNK_PAIRS).map(|_| StandardNormal.sample(&mut random)).collect();
        self.correlate(&mut values);
        if let DrawLaw::StudentT { degrees_of_freedom } = self.law {
            self.widen(&mut values, degrees_of_freedom.max(3), &mut random);
        }
        values
    }

    /// Multiplies by the triangle in place, from the last row up: a row needs only itself and the rows above it.
    fn correlate(&self, values: &mut [f32]) {
        for i in (0..self.instruments).rev() {
            let weights = &self.triangle[i * (i + 1) / 2..][..=i];
            let (above, row) = values.split_at_mut(i * CHUNK_PAIRS);
            let mut sum = [0f32; CHUNK_PAIRS];
            for (weight, other) in weights.iter().zip(above.chunks_exact(CHUNK_PAIRS)) {
                for (s, z) in sum.iter_mut().zip(other) {
                    *s += weight * z;
                }
            }
            for (s, z) in sum.iter().zip(&mut row[..CHUNK_PAIRS]) {
                *z = s + weights[i] * *z;
            }
        }
    }

    fn widen(&self, values: &mut [f32], degrees_of_freedom: u32, random: &mut ChaCha8Rng) {
        let freedom = f64::from(degrees_of_freedom);
        let Ok(chi_squared) = ChiSquared::new(freedom) else { return };
        let scales: Vec<f32> =
            (0..CHUNK_PAIRS).map(|_| ((freedom - 2.0) / chi_squared.sample(random)).sqrt() as f32).collect();
        for row in values.chunks_exact_mut(CHUNK_PAIRS) {
            row.iter_mut().zip(&scales).for_each(|(z, scale)| *z *= scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn factor() -> DMatrix<f64> {
        DMatrix::from_row_slice(3, 3, &[1.0, 0.0, 0.0, 0.6, 0.8, 0.0, -0.5, 0.5, 0.5f64.sqrt()])
    }

    fn options(count: usize, law: DrawLaw) -> DrawOptions {
        DrawOptions { count, seed: 11, law }
    }

    fn moment(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>() / a.len() as f64
    }

    #[test]
    fn moments_are_those_asked_for() {
        for law in [DrawLaw::Gaussian, DrawLaw::StudentT { degrees_of_freedom: 6 }] {
            let draws = Draws::generate(&factor(), options(100_000, law));
            let correlation = factor() * factor().transpose();
            for i in 0..3 {
                assert!(draws.instrument(i).iter().map(|z| f64::from(*z)).sum::<f64>().abs() < 1e-6);
                for j in 0..3 {
                    let found = moment(draws.instrument(i), draws.instrument(j));
                    assert!((found - correlation[(i, j)]).abs() < 0.02, "{law:?} {i} {j} {found}");
                }
            }
        }
    }

    #[test]
    fn student_draws_have_heavier_tails() {
        let kurtosis = |law| {
            let draws = Draws::generate(&factor(), options(100_000, law));
            let squares: Vec<f32> = draws.instrument(1).iter().map(|z| z * z).collect();
            moment(&squares, &squares)
        };
        assert!((kurtosis(DrawLaw::Gaussian) - 3.0).abs() < 0.15);
        // 3 (v - 2) / (v - 4) for v degrees of freedom.
        assert!((kurtosis(DrawLaw::StudentT { degrees_of_freedom: 12 }) - 3.75).abs() < 0.4);
    }

    #[test]
    fn threads_do_not_change_a_byte() {
        let make = || Draws::generate(&factor(), options(1000, DrawLaw::Gaussian));
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(make);
        let together = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap().install(make);
        assert_eq!(alone, together);
    }

    proptest! {
        #[test]
        fn pairs_are_exact_negatives_and_longer_runs_only_append(count in 1usize..600, seed: u64) {
            let make = |count| Draws::generate(&factor(), DrawOptions { count, seed, law: DrawLaw::Gaussian });
            let (draws, longer) = (make(count), make(count + 64));
            let half = draws.count() / 2;
            prop_assert_eq!(draws.count(), count.div_ceil(2) * 2);
            for i in 0..3 {
                let z = draws.instrument(i);
                prop_assert!(z[..half].iter().zip(&z[half..]).all(|(a, b)| *a == -*b));
                prop_assert_eq!(&z[..half], &longer.instrument(i)[..half]);
            }
            prop_assert!(draws.instrument(3).is_empty());
        }
    }
}

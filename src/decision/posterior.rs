//! Draws of the market process from what its counts leave open.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution, Gamma, StandardNormal};

use super::market_process::{MarketNumbers, MarketProcess};
use super::weekly_solver::World;
use crate::features::states::STATES;

/// Keeps a drawn variance finite; draws this small come once in a lifetime.
const CHI_SQUARE_MIN: f64 = 1e-9;

/// The laws of the rows, variances and means (Gelman et al. 2013, sections 2.6 and 3.4).
#[derive(Debug)]
pub(super) struct Posterior<'a> {
    numbers: &'a MarketNumbers,
    expected: [[f64; STATES]; STATES],
    /// A row is Dirichlet: independent gamma draws over their sum.
    rows: Vec<Gamma<f64>>,
    /// A variance is `n s^2 / chi-square(n)`.
    variances: Vec<ChiSquared<f64>>,
}

impl<'a> Posterior<'a> {
    /// The laws given the counts; `None` when a weight is too small to be one.
    pub fn of(market: &'a MarketProcess) -> Option<Self> {
        let (numbers, expected) = (market.numbers(), market.transition());
        let weights = (0..STATES).flat_map(|m| expected[m].map(|p| market.concentration(m) * p));
        let rows = weights.map(|weight| Gamma::new(weight, 1.0)).collect::<Result<_, _>>().ok()?;
        let variances = numbers.variance_observations.iter().map(|n| ChiSquared::new(*n));
        Some(Self { numbers, expected, rows, variances: variances.collect::<Result<_, _>>().ok()? })
    }

    /// Shows so many draws.
    pub fn draw(&self, draws: u32, seed: u64, mut see: impl FnMut(&World)) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..draws {
            see(&self.world(&mut random));
        }
    }

    fn world(&self, random: &mut ChaCha8Rng) -> World {
        let MarketNumbers { mean, mean_error, variance, variance_observations, .. } = self.numbers;
        let rows = std::array::from_fn(|m| self.row(m, random));
        let variance = std::array::from_fn(|m| {
            let observations = variance_observations[m];
            observations * variance[m] / self.variances[m].sample(random).max(CHI_SQUARE_MIN)
        });
        let error: f64 = StandardNormal.sample(random);
        World { rows, variance, mean: std::array::from_fn(|m| mean[m] + mean_error[m] * error) }
    }

    fn row(&self, m: usize, random: &mut ChaCha8Rng) -> [f64; STATES] {
        let row: [f64; STATES] = std::array::from_fn(|next| self.rows[STATES * m + next].sample(random));
        let total: f64 = row.iter().sum();
        // Tiny weights can all underflow.
        if total > 0.0 { row.map(|x| x / total) } else { self.expected[m] }
    }
}

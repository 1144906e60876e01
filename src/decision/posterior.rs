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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::market_process::sample_process;

    #[test]
    fn draws_have_the_moments_of_their_laws() {
        let market = sample_process(11);
        let (numbers, expected) = (market.numbers(), market.transition());
        let mut worlds = vec![];
        Posterior::of(&market).unwrap().draw(20_000, 5, |world| worlds.push(*world));
        let mean_of = |value: &dyn Fn(&World) -> f64| worlds.iter().map(value).sum::<f64>() / worlds.len() as f64;
        for (m, row) in expected.iter().enumerate() {
            assert!(worlds.iter().all(|world| (world.rows[m].iter().sum::<f64>() - 1.0).abs() < 1e-12));
            for (next, p) in row.iter().enumerate() {
                let spread = p * (1.0 - p) / (market.concentration(m) + 1.0);
                assert!((mean_of(&|world| world.rows[m][next]) - p).abs() < 5.0 * (spread / 20_000.0).sqrt());
                let found = mean_of(&|world| (world.rows[m][next] - p).powi(2));
                assert!((found / spread - 1.0).abs() < 0.1, "{found} is not {spread}");
            }
            // 1 / variance is chi-square(n) / (n s^2): mean 1 / s^2, variance 2 / (n s^4).
            let precision = |world: &World| numbers.variance[m] / world.variance[m];
            let spread = 2.0 / numbers.variance_observations[m];
            assert!((mean_of(&precision) - 1.0).abs() < 5.0 * (spread / 20_000.0).sqrt());
            assert!((mean_of(&|world| (precision(world) - 1.0).powi(2)) / spread - 1.0).abs() < 0.1);
        }
        let error = |world: &World, m: usize| (world.mean[m] - numbers.mean[m]) / numbers.mean_error[m];
        assert!((mean_of(&|world| error(world, 0).powi(2)) - 1.0).abs() < 0.05);
        assert!(worlds.iter().all(|world| (error(world, 0) - error(world, 8)).abs() < 1e-9), "all means err together");
    }
}

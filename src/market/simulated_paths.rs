//! Log returns of the simulated market: shocks, stochastic volatility, sectors, and the two special paths.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StudentT};

/// Sessions whose mean return carries into the next return of the planted path.
const PLANTED_SESSIONS: usize = 20;

/// Share of that mean which carries over.
const PLANTED_SHARE: f64 = 0.7;

/// Log returns with the volatility each was drawn at.
#[derive(Debug, Clone)]
pub struct Path {
    /// Daily log total returns.
    pub log_return: Vec<f64>,
    /// Daily volatility of each return, known only to the simulator.
    pub volatility: Vec<f64>,
}

impl Path {
    /// The path from a session on.
    #[must_use]
    pub fn since(&self, first: usize) -> Self {
        let cut = |column: &[f64]| column.get(first..).unwrap_or_default().to_vec();
        Self { log_return: cut(&self.log_return), volatility: cut(&self.volatility) }
    }
}

/// The paths that instruments share.
#[derive(Debug, Clone)]
pub struct SectorPaths {
    /// The market itself.
    pub market: Path,
    sectors: Vec<Path>,
}

impl SectorPaths {
    /// Draws the market and its sectors, each from a random stream of its own.
    #[must_use]
    pub fn new(seed: u64, sessions: usize, sectors: usize) -> Self {
        let market = clustered(Clustering { level: 0.010, spread: 0.45, drift: 3e-4 }, sessions, &mut random(seed, 0));
        let sector = |k: usize| {
            clustered(Clustering { level: 0.006, spread: 0.3, drift: 0.0 }, sessions, &mut random(seed, 1 + k as u64))
        };
        Self { market, sectors: (0..sectors).map(sector).collect() }
    }

    /// The path of a company of one sector: beta from .5 to 1.5, own volatility from .8 % to 2 % a day.
    #[must_use]
    pub fn member(&self, sector: usize, random: &mut ChaCha8Rng) -> Path {
        let beta = random.random_range(0.5..1.5);
        let level = random.random_range(0.008..0.02);
        let sessions = self.market.log_return.len();
        let mut path = clustered(Clustering { level, spread: 0.3, drift: 0.0 }, sessions, random);
        let sector = &self.sectors[sector];
        for t in 0..sessions {
            // Own risk rises with the market's, by its square root.
            let nervousness = (self.market.volatility[t] / 0.010).sqrt();
            let own = path.volatility[t] * nervousness;
            let shared = beta * self.market.log_return[t] + sector.log_return[t];
            path.log_return[t] = shared + path.log_return[t] * nervousness;
            let variances = [beta * self.market.volatility[t], sector.volatility[t], own].map(|s| s * s);
            path.volatility[t] = variances.iter().sum::<f64>().sqrt();
        }
        path
    }
}

/// A random stream of the simulation; streams of one seed are independent.
#[must_use]
pub fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// Standard normal draw.
pub fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// Returns of which `.7 x mean of the last 20` carries into the next, plus noise of .9 % a day: an AR(20) whose
/// 20-session returns are correlated with the next ones.
#[must_use]
pub fn planted_path(sessions: usize, random: &mut ChaCha8Rng) -> Path {
    let mut log_return: Vec<f64> = Vec::with_capacity(sessions);
    for t in 0..sessions {
        let past = &log_return[t.saturating_sub(PLANTED_SESSIONS)..];
        let carried = PLANTED_SHARE * past.iter().sum::<f64>() / PLANTED_SESSIONS as f64;
        log_return.push(carried + 0.009 * normal(random));
    }
    Path { log_return, volatility: vec![0.009; sessions] }
}

/// Independent Gaussian returns of 1.2 % a day.
#[must_use]
pub fn noise_path(sessions: usize, random: &mut ChaCha8Rng) -> Path {
    Path { log_return: (0..sessions).map(|_| 0.012 * normal(random)).collect(), volatility: vec![0.012; sessions] }
}

/// Parameters of a path with stochastic volatility.
struct Clustering {
    /// Root of the mean daily variance.
    level: f64,
    /// Standard deviation of the log volatility.
    spread: f64,
    /// Daily drift of the log price.
    drift: f64,
}

/// Log volatility is an AR(1) of persistence .98; shocks are Student t of 5 degrees of freedom at unit variance.
fn clustered(clustering: Clustering, sessions: usize, random: &mut ChaCha8Rng) -> Path {
    let Clustering { level, spread, drift } = clustering;
    let mut state = normal(random);
    let mut path = Path { log_return: Vec::with_capacity(sessions), volatility: Vec::with_capacity(sessions) };
    for _ in 0..sessions {
        state = 0.98 * state + (1.0f64 - 0.98 * 0.98).sqrt() * normal(random);
        // The term -spread^2 makes the mean variance level^2.
        let volatility = level * (spread * state - spread * spread).exp();
        path.log_return.push(drift + volatility * heavy_shock(random));
        path.volatility.push(volatility);
    }
    path
}

fn heavy_shock(random: &mut ChaCha8Rng) -> f64 {
    let freedom = 5.0f64;
    StudentT::new(freedom).map_or(0.0, |law| law.sample(random) * ((freedom - 2.0) / freedom).sqrt())
}

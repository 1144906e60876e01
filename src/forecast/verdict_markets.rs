//! Simulated markets that put the verdict to the test: pure noise, an autoregression in the horizon's own returns,
//! clustering volatility. Closes alone; what is planted is all there is.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StudentT};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::evaluation::rank_scores::CLASS_COUNT;
use crate::forecast::predictability::DayValues;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::history::{History, InstrumentHistory};
use crate::market::instrument::{Instrument, Symbol};
use crate::market::simulated_paths::{normal, random};
use crate::scenario::volatility_inputs::VolatilityInputs;

/// Degrees of freedom of heavy-tailed shocks: the fourth moment does not exist.
const FREEDOM: f64 = 4.0;
/// Weight of the last squared return in the clustering variance, and of the last variance.
const CLUSTERING: [f64; 2] = [0.08, 0.90];
/// Slope of the planted autoregression between neighbouring windows.
const SLOPE: f64 = 0.3;

/// What the daily returns of an instrument are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Path {
    /// Independent Student t of four degrees of freedom at that daily volatility.
    Noise {
        /// Root of the daily variance.
        volatility: f64,
    },
    /// Sums over neighbouring windows of that many sessions follow an autoregression of slope .3; within a window the
    /// returns share its sum, with noise.
    Autoregression {
        /// Sessions of a window.
        horizon_sessions: usize,
    },
    /// GARCH(1,1) (Bollerslev 1986) with .08 and .90, normal shocks, at that long-run daily volatility.
    Clustering {
        /// Root of the long-run daily variance.
        volatility: f64,
    },
}

/// A market of independent instruments, one a path, over the sessions from 2000 on; the same seed gives the same market.
///
/// The first session has no return, so that windows of `h` sessions after it begin at the sessions 0, h, 2h, ...
#[must_use]
pub fn market(paths: &[Path], sessions: usize, seed: u64) -> History {
    let start = Day::from_ymd_opt(2000, 1, 3).unwrap_or_default();
    let days = std::iter::successors(Some(start), |day| Some(calendar::next_session(*day)));
    let days: Vec<Day> = days.take(sessions).collect();
    let instruments = paths.iter().enumerate().map(|(k, path)| {
        let mut random = random(seed, k as u64);
        let returns = path.draw(sessions.saturating_sub(1), &mut random);
        instrument(k, &returns)
    });
    History { instruments: instruments.collect(), sessions: days, factors: vec![] }
}

/// Rank forecasts every `spacing` sessions from `from` on by volatility alone: returns independent and normal, each of its
/// own volatility of 252 sessions, class limits those of a normal of the universe's root mean variance.
#[must_use]
pub fn volatility_ranks(inputs: &VolatilityInputs, from: usize, spacing: usize) -> Vec<DayValues<[f64; CLASS_COUNT]>> {
    let day = |session: usize| {
        let variances: Vec<Option<f64>> = (0..inputs.instruments()).map(|i| inputs.variance(i, session, 252)).collect();
        let known: Vec<f64> = variances.iter().flatten().copied().collect();
        let universe = (known.iter().sum::<f64>() / known.len() as f64).sqrt();
        (session, variances.iter().map(|v| v.map(|v| classes(universe / v.sqrt()))).collect())
    };
    (from..inputs.sessions().len()).step_by(spacing).map(day).collect()
}

impl Path {
    fn draw(self, count: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
        match self {
            Self::Noise { volatility } => (0..count).map(|_| volatility * heavy_shock(random)).collect(),
            Self::Autoregression { horizon_sessions } => autoregression(count, horizon_sessions, random),
            Self::Clustering { volatility } => clustering(count, volatility * volatility, random),
        }
    }
}

fn autoregression(count: usize, h: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let (mut returns, mut window) = (Vec::with_capacity(count + h), 0.0);
    while returns.len() < count {
        window = SLOPE * window + (1.0f64 - SLOPE * SLOPE).sqrt() * 0.04 * heavy_shock(random);
        let noise: Vec<f64> = (0..h).map(|_| 0.01 * normal(random)).collect();
        let mean = noise.iter().sum::<f64>() / h as f64;
        returns.extend(noise.iter().map(|e| window / h as f64 + e - mean));
    }
    returns.truncate(count);
    returns
}

fn clustering(count: usize, long_run: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
    let [shock_weight, decay] = CLUSTERING;
    let mut variance = long_run;
    let mut next = || {
        let log_return = variance.sqrt() * normal(random);
        variance = long_run * (1.0 - shock_weight - decay) + shock_weight * log_return * log_return + decay * variance;
        log_return
    };
    (0..count).map(|_| next()).collect()
}

/// Student's t at unit variance.
fn heavy_shock(random: &mut ChaCha8Rng) -> f64 {
    StudentT::new(FREEDOM).map_or(0.0, |law| law.sample(random) * ((FREEDOM - 2.0) / FREEDOM).sqrt())
}

/// Probabilities of the classes of a normal whose limits are `scale` times those of its own quintiles.
fn classes(scale: f64) -> [f64; CLASS_COUNT] {
    let normal = Normal::standard();
    let below = |k: usize| match k {
        0 => 0.0,
        CLASS_COUNT => 1.0,
        k => normal.cdf(scale * normal.inverse_cdf(k as f64 / CLASS_COUNT as f64)),
    };
    std::array::from_fn(|k| below(k + 1) - below(k))
}

fn instrument(index: usize, returns: &[f64]) -> InstrumentHistory {
    let sessions = returns.len() + 1;
    let empty = || vec![f64::NAN; sessions];
    let mut level = 100f64.ln();
    let later = returns.iter().map(|r| {
        level += r;
        level.exp()
    });
    let close: Vec<f64> = std::iter::once(100.0).chain(later).collect();
    let symbol = Symbol::parse(&format!("SIM-{index:04}")).unwrap_or_else(|_| unreachable!("letters and digits"));
    InstrumentHistory {
        instrument: Instrument::unnamed(symbol),
        open: empty(),
        high: empty(),
        low: empty(),
        close,
        volume: empty(),
        log_return: std::iter::once(f64::NAN).chain(returns.iter().copied()).collect(),
        overnight_return: empty(),
        split: vec![1.0; sessions],
        filings: vec![],
        first: Some(0),
        last: Some(sessions - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn autocorrelation(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let product =
            |lag: usize| values.iter().skip(lag).zip(values).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
        product(1) / product(0)
    }

    #[test]
    fn what_is_planted_is_there() {
        let paths = [
            Path::Noise { volatility: 0.01 },
            Path::Autoregression { horizon_sessions: 5 },
            Path::Clustering { volatility: 0.02 },
        ];
        let history = market(&paths, 20_001, 9);
        let returns = |i: usize| &history.instruments[i].log_return[1..];
        let windows = |i: usize| returns(i).chunks_exact(5).map(|c| c.iter().sum()).collect::<Vec<f64>>();
        let deviation = |i: usize| (returns(i).iter().map(|r| r * r).sum::<f64>() / 20_000.0).sqrt();
        assert!(autocorrelation(&windows(0)).abs() < 0.04 && (autocorrelation(&windows(1)) - 0.3).abs() < 0.04);
        assert!((deviation(0) / 0.01 - 1.0).abs() < 0.1 && (deviation(2) / 0.02 - 1.0).abs() < 0.1);
        let squares = |i: usize| returns(i).iter().map(|r| r * r).collect::<Vec<f64>>();
        assert!(autocorrelation(&squares(0)).abs() < 0.04 && autocorrelation(&squares(2)) > 0.1);
        let close = &history.instruments[1].close;
        assert!((close[700].ln() - close[699].ln() - returns(1)[699]).abs() < 1e-9);
        let again = market(&paths[..1], 20_001, 9);
        assert_eq!(again.instruments[0].close, history.instruments[0].close);
    }

    #[test]
    fn rank_classes_are_probabilities() {
        assert!(classes(1.0).iter().all(|p| (p - 0.2).abs() < 1e-6));
        let wild = classes(0.5);
        assert!((wild.iter().sum::<f64>() - 1.0).abs() < 1e-12 && wild[0] > 0.3 && wild[2] < 0.15);
    }
}

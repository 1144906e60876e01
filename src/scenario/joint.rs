//! The return of one instrument over one horizon, read off the joint draws or in closed form.

use crate::market::horizon::SESSIONS_PER_YEAR;
use crate::scenario::conformal::{QuantileMap, normal_score};
use crate::scenario::covariance::VOLATILITY_FLOOR;

/// Smallest beta that earns a premium: holders of any share carry some market risk.
pub const BETA_MIN: f64 = 0.25;

/// Simple return expected without skill, `max(beta, .25) x premium x h / 252`.
///
/// `annual_premium` is the equity premium of a year, .05 unless configured.
#[must_use]
pub fn equity_premium(beta: f64, annual_premium: f64, horizon_sessions: usize) -> f64 {
    // `max` also answers a beta that is not a number with the least one.
    beta.max(BETA_MIN) * annual_premium * horizon_sessions as f64 / SESSIONS_PER_YEAR
}

/// The law `r = m + sigma Q_h(z)` of a log return, z standard normal.
#[derive(Debug, Clone, Copy)]
pub struct Scenario<'a> {
    median: f64,
    volatility: f64,
    map: &'a QuantileMap,
}

impl<'a> Scenario<'a> {
    /// A law with that median log return; `volatility` is the standard deviation over the horizon before calibration.
    #[must_use]
    pub fn with_median(median: f64, volatility: f64, map: &'a QuantileMap) -> Self {
        Self { median, volatility: volatility.max(VOLATILITY_FLOOR), map }
    }

    /// A law whose expected simple return is `mean`, above -1: `m = ln(1 + mean) - ln E[exp(sigma Q_h(z))]`, for a
    /// Gaussian map `ln(1 + mean) - sigma^2 / 2`.
    #[must_use]
    pub fn with_expected_return(mean: f64, volatility: f64, map: &'a QuantileMap) -> Self {
        let volatility = volatility.max(VOLATILITY_FLOOR);
        Self::with_median(mean.ln_1p() - map.exponential_moment(volatility).ln(), volatility, map)
    }

    /// Median log return m, which is its mean too since Q_h is odd.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.median
    }

    /// Volatility over the horizon, before calibration.
    #[must_use]
    pub fn volatility(&self) -> f64 {
        self.volatility
    }

    /// Expected simple return `E[exp(r)] - 1`.
    #[must_use]
    pub fn expected_return(&self) -> f64 {
        (self.median + self.map.exponential_moment(self.volatility).ln()).exp_m1()
    }

    /// Quantile of the log return at a level in (0, 1).
    #[must_use]
    pub fn quantile(&self, level: f64) -> f64 {
        self.value(normal_score(level))
    }

    /// Central interval of the log return that holds with probability `level`, as (low, high).
    #[must_use]
    pub fn interval(&self, level: f64) -> (f64, f64) {
        (self.quantile((1.0 - level) / 2.0), self.quantile(f64::midpoint(1.0, level)))
    }

    /// Probability of a log return at or below a value.
    #[must_use]
    pub fn probability_below(&self, log_return: f64) -> f64 {
        self.map.probability_below((log_return - self.median) / self.volatility)
    }

    /// Probability of a log return above 0. By symmetry near one half; the served answer may come from elsewhere.
    #[must_use]
    pub fn probability_up(&self) -> f64 {
        self.map.probability_below(self.median / self.volatility)
    }

    /// Log returns of one instrument's Gaussian draws, as [`crate::scenario::draws::Draws::instrument`] gives them;
    /// their quantiles are those of this law up to Monte Carlo error.
    #[must_use]
    pub fn log_returns(&self, draws: &[f32]) -> Vec<f64> {
        draws.iter().map(|z| self.value(f64::from(*z))).collect()
    }

    fn value(&self, z: f64) -> f64 {
        self.median + self.volatility * self.map.apply(z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::conformal::QUANTILE_LEVELS;
    use crate::scenario::draws::{DrawLaw, DrawOptions, Draws};
    use nalgebra::DMatrix;

    fn heavy() -> QuantileMap {
        QuantileMap::fit(&(1..=400).map(|k| (f64::from(k) / 160.0).powf(1.5)).collect::<Vec<_>>())
    }

    #[test]
    fn the_premium_has_a_floor_and_grows_with_the_horizon() {
        assert!((equity_premium(1.2, 0.05, 252) - 0.06).abs() < 1e-15);
        assert!((equity_premium(-1.0, 0.05, 126) - 0.00625).abs() < 1e-15);
        assert!((equity_premium(f64::NAN, 0.05, 252) - 0.0125).abs() < 1e-15);
    }

    #[test]
    fn a_gaussian_law_matches_the_textbook() {
        let map = QuantileMap::gaussian();
        let law = Scenario::with_expected_return(0.05, 0.2, &map);
        assert!((law.median() - (1.05f64.ln() - 0.02)).abs() < 1e-12);
        assert!((law.expected_return() - 0.05).abs() < 1e-12);
        let (low, high) = law.interval(0.9);
        assert!((high - law.median() - 0.2 * 1.644_853_627).abs() < 1e-8);
        assert!((low + high - 2.0 * law.median()).abs() < 1e-9);
        // Phi(0.14395082) for m / sigma = 0.0287901642 / 0.2.
        assert!((law.probability_up() - 0.557_230).abs() < 1e-6);
        assert!((law.probability_below(high) - 0.95).abs() < 1e-9);
    }

    #[test]
    fn draws_and_closed_forms_agree() {
        let map = heavy();
        let law = Scenario::with_expected_return(0.01, 0.1, &map);
        let options = DrawOptions { count: 200_000, seed: 2, law: DrawLaw::Gaussian };
        let draws = Draws::generate(&DMatrix::identity(1, 1), options);
        let mut returns = law.log_returns(draws.instrument(0));
        let count = returns.len() as f64;
        let mean = returns.iter().map(|r| r.exp_m1()).sum::<f64>() / count;
        assert!((mean - 0.01).abs() < 1e-3, "{mean}");
        assert!((returns.iter().filter(|r| **r > 0.0).count() as f64 / count - law.probability_up()).abs() < 0.004);
        returns.sort_by(f64::total_cmp);
        for level in QUANTILE_LEVELS {
            let drawn = returns[(level * count) as usize];
            assert!((drawn - law.quantile(level)).abs() < 0.002, "{level}: {drawn} {}", law.quantile(level));
        }
    }

    #[test]
    fn a_law_without_volatility_stays_finite() {
        let map = heavy();
        let law = Scenario::with_expected_return(0.01, 0.0, &map);
        assert!((law.median() - 0.01f64.ln_1p()).abs() < 1e-9 && (law.probability_up() - 1.0).abs() < 1e-12);
    }
}

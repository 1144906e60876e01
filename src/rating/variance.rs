//! How the volatility of a share is carried from one year to ten.

use serde::{Deserialize, Serialize};

/// Volatility of a share, annualized: the coming year, the long run, and how fast one becomes the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EquityVolatility {
    /// Forecast for the next 252 sessions, above 0.
    pub year: f64,
    /// Long-run level, above 0.
    pub long_run: f64,
    /// Years in which half the distance between variance and long-run variance is gone, above 0.
    pub half_life_years: f64,
    /// Standard error of ln sigma, at least 0; `None` where it is not known.
    pub log_standard_error: Option<f64>,
}

/// The half-life where nothing else is known, in years.
pub const DEFAULT_HALF_LIFE_YEARS: f64 = 1.0;

impl EquityVolatility {
    /// Root of the variance averaged over `years`, annualized.
    ///
    /// Variance moves exponentially to its long-run level, `v(t) = v_L + (v_0 - v_L) exp(-k t)`,
    /// `k = ln 2 / half-life`, with v_0 such that the average over the first year is `year^2`. So the average over T
    /// years is `v_L + (year^2 - v_L) w`, `w = (1 - exp(-k T)) / (T (1 - exp(-k)))`; for T = 1 it is the forecast
    /// itself, and with a half-life of one year the forecast keeps a fifth of the weight over ten (mean reversion as in
    /// Heston 1993).
    #[must_use]
    pub fn over(&self, years: f64) -> f64 {
        let speed = std::f64::consts::LN_2 / self.half_life_years;
        let weight = (-speed * years).exp_m1() / (years * (-speed).exp_m1());
        let long_run = self.long_run * self.long_run;
        (long_run + (self.year * self.year - long_run) * weight).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_year_is_the_forecast_and_ten_are_mostly_the_long_run() {
        let volatility = EquityVolatility { year: 0.6, long_run: 0.3, half_life_years: 1.0, log_standard_error: None };
        assert!((volatility.over(1.0) - 0.6).abs() < 1e-12);
        let weight = (1.0 - 0.5_f64.powi(10)) / (10.0 * 0.5);
        assert!((volatility.over(10.0).powi(2) - (0.09 + 0.27 * weight)).abs() < 1e-12);
        let slow = EquityVolatility { half_life_years: 1e6, ..volatility };
        assert!((slow.over(10.0) - 0.6).abs() < 1e-5);
        let calm = EquityVolatility { year: 0.1, ..volatility };
        assert!(calm.over(10.0) > calm.over(5.0) && calm.over(5.0) > calm.over(1.0));
    }
}

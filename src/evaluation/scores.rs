//! Scores of volatilities, quantiles, intervals and probabilities, one row at a time, and the calibration table.

use serde::{Deserialize, Serialize};

/// QLIKE on variances, `y/f - ln(y/f) - 1` (Patton 2011). 0 is perfect; both must be above 0.
#[must_use]
pub fn qlike(realized_variance: f64, forecast_variance: f64) -> f64 {
    let ratio = realized_variance / forecast_variance;
    ratio - ratio.ln() - 1.0
}

/// Squared error of the log variance.
#[must_use]
pub fn squared_log_error(realized_variance: f64, forecast_variance: f64) -> f64 {
    (realized_variance / forecast_variance).ln().powi(2)
}

/// Pinball loss of a quantile forecast (Koenker and Bassett 1978), in the unit of the value; 0 is perfect.
#[must_use]
pub fn pinball_loss(quantile: f64, forecast: f64, realized: f64) -> f64 {
    let error = realized - forecast;
    (quantile * error).max((quantile - 1.0) * error)
}

/// Interval score of a central interval of that `level` (Gneiting and Raftery 2007): its width plus `2 / (1 - level)`
/// times the distance by which the outcome misses it.
#[must_use]
pub fn interval_score(level: f64, low: f64, high: f64, realized: f64) -> f64 {
    (high - low) + 2.0 / (1.0 - level) * ((low - realized).max(0.0) + (realized - high).max(0.0))
}

/// Brier score (1950) of one probability, `(p - 1{up})^2`.
#[must_use]
pub fn brier_score(probability: f64, happened: bool) -> f64 {
    (probability - f64::from(u8::from(happened))).powi(2)
}

/// One row of a calibration table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower end of the forecast probabilities, included.
    pub low: f64,
    /// Upper end; excluded but for the last bin.
    pub high: f64,
    /// Forecasts in the bin; at least 1.
    pub count: usize,
    /// Mean forecast probability.
    pub mean_probability: f64,
    /// Share that happened.
    pub share_realized: f64,
}

/// Forecast probabilities against realized shares in `bins` bins of equal width over 0..1; empty bins are left out.
///
/// Each pair is a probability and what happened, 1 or 0 or the shared membership of a tied rank.
#[must_use]
pub fn calibration_table(pairs: &[(f64, f64)], bins: usize) -> Vec<CalibrationBin> {
    let mut sums = vec![(0usize, 0.0, 0.0); bins];
    for (probability, realized) in pairs {
        let bin = ((probability * bins as f64) as usize).min(bins.saturating_sub(1));
        if let Some(sum) = sums.get_mut(bin) {
            *sum = (sum.0 + 1, sum.1 + probability, sum.2 + realized);
        }
    }
    let filled = sums.into_iter().enumerate().filter(|(_, (count, ..))| *count > 0);
    let row = |(bin, (count, probability, realized)): (usize, (usize, f64, f64))| CalibrationBin {
        low: bin as f64 / bins as f64,
        high: (bin + 1) as f64 / bins as f64,
        count,
        mean_probability: probability / count as f64,
        share_realized: realized / count as f64,
    };
    filled.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_have_their_closed_forms() {
        assert_eq!(qlike(0.04, 0.04), 0.0);
        assert!((qlike(2.0, 1.0) - (1.0 - 2f64.ln())).abs() < 1e-15);
        assert!((squared_log_error(1f64.exp(), 1.0) - 1.0).abs() < 1e-15);
        assert!((pinball_loss(0.9, 1.0, 2.0) - 0.9).abs() < 1e-15);
        assert!((pinball_loss(0.9, 2.0, 1.0) - 0.1).abs() < 1e-15);
        assert_eq!(interval_score(0.5, -1.0, 1.0, 0.0), 2.0);
        assert_eq!(interval_score(0.5, -1.0, 1.0, 2.0), 6.0);
        assert_eq!(brier_score(0.25, true), 0.5625);
        assert_eq!(brier_score(0.25, false), 0.0625);
    }

    #[test]
    fn a_true_median_loses_least() {
        let realized = [-2.0, -1.0, 0.0, 1.0, 7.0];
        let loss = |forecast: f64| realized.iter().map(|y| pinball_loss(0.5, forecast, *y)).sum::<f64>();
        assert!([-1.0, -0.1, 0.1, 1.0].iter().all(|f| loss(*f) > loss(0.0)));
    }

    #[test]
    fn calibration_compares_what_was_said_with_what_came() {
        let table = calibration_table(&[(0.55, 1.0), (0.57, 0.0), (1.0, 1.0)], 10);
        assert_eq!(table.len(), 2);
        assert_eq!((table[0].count, table[0].share_realized, table[1].count), (2, 0.5, 1));
        assert!((table[0].mean_probability - 0.56).abs() < 1e-12 && table[1].high == 1.0);
    }
}

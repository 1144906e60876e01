//! Forecast rows as they are scored and written, and the rules that they must keep.

use std::collections::{BTreeMap, BTreeSet};

use crate::evaluation::rank_scores::CLASS_COUNT;
use crate::market::bar::Day;
use crate::market::instrument::Symbol;

/// Quintile probabilities of one instrument among those listed for the same day.
#[derive(Debug, Clone, PartialEq)]
pub struct RankRow {
    /// Decision day.
    pub as_of: Day,
    /// Instrument.
    pub symbol: Symbol,
    /// Probabilities of the fifths, worst first; they sum to 1.
    pub quintile_probabilities: [f64; CLASS_COUNT],
}

/// A volatility forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct VolatilityRow {
    /// Decision day.
    pub as_of: Day,
    /// Instrument.
    pub symbol: Symbol,
    /// Horizon in sessions.
    pub horizon: usize,
    /// Standard deviation of the log return over the whole horizon; above 0.
    pub sigma: f64,
}

/// One quantile of a return forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantileRow {
    /// Decision day.
    pub as_of: Day,
    /// Instrument.
    pub symbol: Symbol,
    /// Horizon in sessions.
    pub horizon: usize,
    /// Probability below the value, within 0..1.
    pub quantile: f64,
    /// Log return over the horizon.
    pub value: f64,
}

/// A direction forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectionRow {
    /// Decision day.
    pub as_of: Day,
    /// Instrument.
    pub symbol: Symbol,
    /// Horizon in sessions.
    pub horizon: usize,
    /// Probability of a log return above 0 over the horizon.
    pub probability_up: f64,
}

/// Everything one model or the served mix said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forecasts {
    /// Ranks by horizon in sessions.
    pub ranks: BTreeMap<usize, Vec<RankRow>>,
    /// Volatilities of all horizons.
    pub volatility: Vec<VolatilityRow>,
    /// Quantiles of all horizons.
    pub quantiles: Vec<QuantileRow>,
    /// Directions of all horizons.
    pub direction: Vec<DirectionRow>,
}

/// Slack of the sum of probabilities, for files that round.
const SUM_TOLERANCE: f64 = 1e-3;
/// Slack of a single probability below 0.
const NEGATIVE_TOLERANCE: f64 = 1e-9;

impl Forecasts {
    /// Checks every row.
    ///
    /// # Errors
    /// [`ForecastError`] names the first row that breaks a rule.
    pub fn check(&self) -> Result<(), ForecastError> {
        for (horizon, rows) in &self.ranks {
            let valid = |r: &RankRow| is_distribution(&r.quintile_probabilities);
            check_rows(rows, |r| (r.as_of, &r.symbol, *horizon, 0), valid)?;
        }
        check_rows(&self.volatility, |r| (r.as_of, &r.symbol, r.horizon, 0), |r| r.sigma.is_finite() && r.sigma > 0.0)?;
        let between = |p: f64| p > 0.0 && p < 1.0;
        let key = |r: &QuantileRow| quantile_key(r.quantile);
        let valid = |r: &QuantileRow| between(r.quantile) && r.value.is_finite();
        check_rows(&self.quantiles, |r| (r.as_of, &r.symbol, r.horizon, key(r)), valid)?;
        let valid = |r: &DirectionRow| (0.0..=1.0).contains(&r.probability_up);
        check_rows(&self.direction, |r| (r.as_of, &r.symbol, r.horizon, 0), valid)
    }
}

/// A quantile as a whole number of millionths, so that .1 written two ways is one quantile.
#[must_use]
pub fn quantile_key(quantile: f64) -> u32 {
    (quantile * 1e6).round() as u32
}

/// Which row cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForecastError {
    /// A number outside its range, or quintile probabilities that are no distribution.
    #[error("the forecast for {symbol} on {as_of} over {horizon} sessions is out of range")]
    OutOfRange {
        /// Decision day.
        as_of: Day,
        /// Instrument.
        symbol: Symbol,
        /// Horizon in sessions.
        horizon: usize,
    },
    /// Two rows say different things of the same.
    #[error("there are two forecasts for {symbol} on {as_of} over {horizon} sessions")]
    Duplicate {
        /// Decision day.
        as_of: Day,
        /// Instrument.
        symbol: Symbol,
        /// Horizon in sessions.
        horizon: usize,
    },
}

fn is_distribution(probabilities: &[f64; CLASS_COUNT]) -> bool {
    let sum: f64 = probabilities.iter().sum();
    probabilities.iter().all(|p| *p >= -NEGATIVE_TOLERANCE) && (sum - 1.0).abs() <= SUM_TOLERANCE
}

fn check_rows<'r, Row>(
    rows: &'r [Row],
    key: impl Fn(&'r Row) -> (Day, &'r Symbol, usize, u32),
    valid: impl Fn(&'r Row) -> bool,
) -> Result<(), ForecastError> {
    let mut seen = BTreeSet::new();
    for row in rows {
        let (as_of, symbol, horizon, quantile) = key(row);
        if !valid(row) {
            return Err(ForecastError::OutOfRange { as_of, symbol: symbol.clone(), horizon });
        }
        if !seen.insert((as_of, symbol, horizon, quantile)) {
            return Err(ForecastError::Duplicate { as_of, symbol: symbol.clone(), horizon });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(probability_up: f64) -> DirectionRow {
        let (as_of, symbol) = (Day::from_ymd_opt(2024, 9, 30).unwrap(), Symbol::parse("BABA").unwrap());
        DirectionRow { as_of, symbol, horizon: 20, probability_up }
    }

    #[test]
    fn the_first_bad_row_is_named() {
        let with = |direction: Vec<DirectionRow>| Forecasts { direction, ..Forecasts::default() }.check();
        let DirectionRow { as_of, symbol, horizon, .. } = direction(0.5);
        assert_eq!(with(vec![direction(0.5)]), Ok(()));
        let out = ForecastError::OutOfRange { as_of, symbol: symbol.clone(), horizon };
        assert_eq!(with(vec![direction(f64::NAN)]), Err(out.clone()));
        let twice = ForecastError::Duplicate { as_of, symbol: symbol.clone(), horizon };
        assert_eq!(with(vec![direction(0.5), direction(0.6)]), Err(twice));
        let rank = |quintile_probabilities| RankRow { as_of, symbol: symbol.clone(), quintile_probabilities };
        let ranks = |p| Forecasts { ranks: [(20, vec![rank(p)])].into(), ..Forecasts::default() }.check();
        assert_eq!(ranks([0.2; 5]), Ok(()));
        assert_eq!(ranks([0.2, 0.2, 0.2, 0.2, 0.3]), Err(out.clone()));
        assert_eq!(ranks([0.5, 0.5, 0.5, -0.5, 0.0]), Err(out));
    }
}

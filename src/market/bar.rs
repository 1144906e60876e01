//! Daily bars and the actions (splits, dividends) between them.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// A calendar day of the exchange.
pub type Day = NaiveDate;

/// A checked daily bar. Prices are raw (as the source states them), finite and positive; `low <= open, close <= high`
/// where those are present.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    day: Day,
    open: Option<f64>,
    high: Option<f64>,
    low: Option<f64>,
    close: f64,
    volume: Option<f64>,
}

/// The unchecked fields of a bar; all but the close may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BarFields {
    /// Session.
    pub day: Day,
    /// First price, quote currency.
    pub open: Option<f64>,
    /// Highest price.
    pub high: Option<f64>,
    /// Lowest price.
    pub low: Option<f64>,
    /// Last price.
    pub close: f64,
    /// Shares traded, >= 0.
    pub volume: Option<f64>,
}

/// Relative slack of the comparisons between prices, for sources that round each field on its own.
const ROUNDING: f64 = 1e-6;

/// Prices outside are mistakes: adjusted prices of old shares are far above, the dearest share far below.
const PLAUSIBLE_PRICES: std::ops::RangeInclusive<f64> = 1e-7..=1e9;
/// No instrument trades more units a day.
const PLAUSIBLE_VOLUME: f64 = 1e14;

impl BarFields {
    /// Every rule that the fields break, in a fixed order; empty for a good bar.
    #[must_use]
    pub fn broken_rules(&self) -> Vec<BarError> {
        let Self { open, high, low, close, volume, .. } = *self;
        let mut broken = Vec::new();
        for (name, price) in [("open", open), ("high", high), ("low", low), ("close", Some(close))] {
            match price {
                Some(p) if !p.is_finite() => broken.push(BarError::NotFinite(name)),
                Some(p) if p <= 0.0 => broken.push(BarError::NotPositive(name, p)),
                Some(p) if !PLAUSIBLE_PRICES.contains(&p) => broken.push(BarError::Implausible(name, p)),
                _ => {}
            }
        }
        match volume {
            Some(v) if !v.is_finite() => broken.push(BarError::NotFinite("volume")),
            Some(v) if v < 0.0 => broken.push(BarError::NegativeVolume(v)),
            Some(v) if v > PLAUSIBLE_VOLUME => broken.push(BarError::Implausible("volume", v)),
            _ => {}
        }
        if let (Some(high), Some(low)) = (high, low)
            && high < low * (1.0 - ROUNDING)
        {
            broken.push(BarError::HighBelowLow { high, low });
        }
        for (name, price) in [("open", open), ("close", Some(close))] {
            let Some(p) = price else { continue };
            let above = high.is_some_and(|h| p > h * (1.0 + ROUNDING));
            let below = low.is_some_and(|l| p < l * (1.0 - ROUNDING));
            if above || below {
                broken.push(BarError::OutsideRange(name, p));
            }
        }
        broken
    }
}

impl Bar {
    /// Checks the fields.
    ///
    /// # Errors
    /// [`BarError`] names the first broken rule; [`BarFields::broken_rules`] has all.
    pub fn new(fields: BarFields) -> Result<Self, BarError> {
        if let Some(first) = fields.broken_rules().first() {
            return Err(*first);
        }
        let BarFields { day, open, high, low, close, volume } = fields;
        Ok(Self { day, open, high, low, close, volume })
    }

    /// The fields, for reading.
    #[must_use]
    pub fn fields(&self) -> BarFields {
        BarFields {
            day: self.day,
            open: self.open,
            high: self.high,
            low: self.low,
            close: self.close,
            volume: self.volume,
        }
    }

    /// Session of the bar.
    #[must_use]
    pub fn day(&self) -> Day {
        self.day
    }

    /// Raw close, quote currency.
    #[must_use]
    pub fn close(&self) -> f64 {
        self.close
    }
}

/// Which rule a bar breaks.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum BarError {
    /// NaN or infinity.
    #[error("{0} is not a finite number")]
    NotFinite(&'static str),
    /// Zero or less.
    #[error("{0} must be above zero, not {1}")]
    NotPositive(&'static str, f64),
    /// Less than zero shares.
    #[error("volume must not be negative, not {0}")]
    NegativeVolume(f64),
    /// Far from any price or volume that was ever traded.
    #[error("{0} {1} is not plausible")]
    Implausible(&'static str, f64),
    /// The range is upside down.
    #[error("high {high} is below low {low}")]
    HighBelowLow {
        /// Highest price given.
        high: f64,
        /// Lowest price given.
        low: f64,
    },
    /// Open or close outside low..high.
    #[error("{0} {1} lies outside low..high")]
    OutsideRange(&'static str, f64),
}

/// What happened to the shares before a session opened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// First session on the new basis (the ex-day).
    pub day: Day,
    /// New shares for one old share; 1 where there was no split. Finite, above 0.
    pub split: f64,
    /// Cash for one share held at the previous close, on the basis of that close; 0 where none. Finite, >= 0.
    pub dividend: f64,
}

impl Action {
    /// Log total return from the previous close to this one: `ln(close x split / (previous_close - dividend))`.
    ///
    /// `None` when the dividend is not below the previous close.
    #[must_use]
    pub fn log_return(&self, previous_close: f64, close: f64) -> Option<f64> {
        let base = previous_close - self.dividend;
        (base > 0.0).then(|| (close * self.split / base).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> BarFields {
        let day = Day::from_ymd_opt(2024, 9, 30).unwrap();
        BarFields { day, open: Some(10.0), high: Some(11.0), low: Some(9.0), close: 10.5, volume: Some(0.0) }
    }

    #[test]
    fn a_bar_is_refused_by_the_first_broken_rule() {
        assert!(Bar::new(fields()).is_ok());
        assert!(Bar::new(BarFields { open: None, high: None, low: None, volume: None, ..fields() }).is_ok());
        assert_eq!(Bar::new(BarFields { close: f64::NAN, ..fields() }), Err(BarError::NotFinite("close")));
        assert_eq!(Bar::new(BarFields { low: Some(-1.0), ..fields() }), Err(BarError::NotPositive("low", -1.0)));
        assert_eq!(
            Bar::new(BarFields { high: Some(8.0), ..fields() }),
            Err(BarError::HighBelowLow { high: 8.0, low: 9.0 })
        );
        assert_eq!(Bar::new(BarFields { close: 12.0, ..fields() }), Err(BarError::OutsideRange("close", 12.0)));
        assert_eq!(Bar::new(BarFields { volume: Some(-1.0), ..fields() }), Err(BarError::NegativeVolume(-1.0)));
    }

    #[test]
    fn actions_make_total_returns() {
        let split = Action { day: fields().day, split: 4.0, dividend: 0.0 };
        assert!(split.log_return(400.0, 100.0).unwrap().abs() < 1e-12);
        let dividend = Action { day: fields().day, split: 1.0, dividend: 1.0 };
        assert!(dividend.log_return(100.0, 99.0).unwrap().abs() < 1e-12);
        assert_eq!(dividend.log_return(1.0, 1.0), None);
    }
}

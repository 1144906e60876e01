//! The forecast: the distribution of the return over one horizon.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::opinion::envelope::{Envelope, Interval};
use crate::opinion::explanation::ForecastExplanation;
use crate::opinion::signal::{Price, Volatility};

/// Answer of `GET /forecast/{symbol}`, without `ledger` and `stale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Forecast {
    /// What every opinion carries.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Expected simple return over the horizon.
    #[schema(example = 0.0033)]
    pub mean: Option<f64>,
    /// Volatility, annualized.
    pub volatility: Option<Volatility>,
    /// Probability that the price rises over the horizon, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 0.56)]
    pub probability_up: Option<f64>,
    /// Quantiles of the simple return: .05 .1 .25 .4 .5 .6 .75 .9 .95.
    pub quantiles: Option<Vec<Quantile>>,
    /// Intervals of the simple return, widest last.
    pub intervals: Option<Vec<Interval>>,
    /// The last price and the distribution's middle and 90 % range.
    pub price: Option<Price>,
    /// Quantiles of the price at the end of the horizon, at the same probabilities.
    pub price_quantiles: Option<Vec<Quantile>>,
    /// What it rests on.
    #[serde(default)]
    pub explanation: Option<ForecastExplanation>,
}

/// A quantile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Quantile {
    /// Probability of a value at or below, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 0.05)]
    pub probability: f64,
    /// The value.
    #[schema(example = -0.182)]
    pub value: f64,
}

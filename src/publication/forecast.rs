//! The forecast of an instrument, and the numbers that the signal shares with it.

use crate::forecast::day::InstrumentForecast;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::canonical::{rounded, rounded_to};
use crate::opinion::envelope::{Interval, Kind, Sources};
use crate::opinion::explanation::ForecastExplanation;
use crate::opinion::forecast::{Forecast, Quantile};
use crate::opinion::signal::{Price, Volatility};
use crate::publication::header::{About, Absent, Header};
use crate::scenario::conformal::{QUANTILE_LEVELS, QuantileMap};

/// Levels of the intervals, widest last.
const INTERVAL_LEVELS: [f64; 3] = [0.5, 0.8, 0.9];
/// Level of the interval in the signal and in prices.
pub const SIGNAL_LEVEL: f64 = 0.9;
/// Decimals of prices.
const PRICE_DECIMALS: u32 = 4;

/// One instrument on the decision day.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Who.
    pub symbol: &'a Symbol,
    /// How far ahead.
    pub horizon: Horizon,
    /// Last close, and its currency.
    pub last: Option<(f64, &'a str)>,
    /// Its forecast.
    pub forecast: Option<&'a InstrumentForecast>,
    /// Why there is none.
    pub without: &'a str,
    /// The calibrated shape of returns.
    pub map: &'a QuantileMap,
    /// Who won each head.
    pub sources: &'a Sources,
}

impl Subject<'_> {
    /// The central interval of the simple return.
    #[must_use]
    pub fn interval(&self, level: f64) -> Option<Interval> {
        let (low, high) = self.forecast?.scenario(self.map).interval(level);
        Some(Interval { level, low: rounded(low.exp_m1()), high: rounded(high.exp_m1()) })
    }

    /// Annualized volatilities.
    #[must_use]
    pub fn volatility(&self) -> Option<Volatility> {
        let forecast = self.forecast?;
        let annualized = |volatility: f64| Some(rounded(volatility / self.horizon.years().sqrt()));
        Some(Volatility {
            forecast: annualized(forecast.volatility),
            long_run: annualized(forecast.long_run.volatility),
        })
    }

    /// Prices at the end of the horizon.
    #[must_use]
    pub fn price(&self) -> Option<Price> {
        let (last, currency) = self.last?;
        let law = self.forecast?.scenario(self.map);
        let (low, high) = law.interval(SIGNAL_LEVEL);
        let price = |log_return: f64| rounded_to(last * log_return.exp(), PRICE_DECIMALS);
        Some(Price {
            last: price(0.0),
            median: price(law.median()),
            low: price(low),
            high: price(high),
            currency: currency.to_owned(),
        })
    }
}

fn explanation(subject: &Subject<'_>, forecast: &InstrumentForecast) -> ForecastExplanation {
    let annualized = |volatility: f64| volatility / subject.horizon.years().sqrt();
    let percent = |value: f64| format!("{:.1} %", 100.0 * value);
    let Sources { volatility, mean, .. } = subject.sources;
    ForecastExplanation {
        sentence: format!(
            "Volatility is expected to be {} a year, by {volatility}, against {} in the long run; the expected return of {} is by \
             {mean}.",
            percent(annualized(forecast.volatility)),
            percent(annualized(forecast.long_run.volatility)),
            percent(forecast.mean)
        ),
        usual_return: rounded(forecast.long_run.mean),
        // The benchmark's view comes first among the models.
        benchmark_volatility: rounded(annualized(
            forecast.models.first().map_or(forecast.volatility, |m| m.volatility),
        )),
        long_run_volatility: rounded(annualized(forecast.long_run.volatility)),
        borrowed: forecast.borrowed,
        intervals_calibrated: subject.map.is_calibrated(),
    }
}

/// Forms the forecast.
#[must_use]
pub fn forecast(header: &Header, subject: &Subject<'_>) -> Forecast {
    let mut absent = Absent::default();
    let known = absent.or_because(subject.forecast, "mean", subject.without);
    if known.is_none() {
        let fields =
            ["volatility", "probability_up", "quantiles", "intervals", "price", "price_quantiles", "explanation"];
        for field in fields {
            absent.because(field, subject.without);
        }
    }
    let law = known.map(|f| f.scenario(subject.map));
    let quantiles = |value: &dyn Fn(f64) -> f64| {
        law.map(|law| QUANTILE_LEVELS.map(|p| Quantile { probability: p, value: value(law.quantile(p)) }).to_vec())
    };
    let last = subject.last.map(|(close, _)| close);
    let price_quantiles = last.and_then(|close| quantiles(&|r| rounded_to(close * r.exp(), PRICE_DECIMALS)));
    let about = About {
        kind: Kind::Forecast,
        symbol: Some(subject.symbol),
        horizon: subject.horizon,
        sources: subject.sources,
    };
    Forecast {
        mean: known.map(|f| rounded(f.mean)),
        volatility: subject.volatility(),
        probability_up: known.map(|f| rounded(f.probability_up)),
        quantiles: quantiles(&|r| rounded(r.exp_m1())),
        intervals: known.map(|_| INTERVAL_LEVELS.iter().filter_map(|level| subject.interval(*level)).collect()),
        price: subject.price(),
        price_quantiles,
        explanation: known.map(|f| explanation(subject, f)),
        envelope: header.envelope(about, absent),
    }
}

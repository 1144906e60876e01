//! Market values that the press reported, against close times share count: a check on share counts, splits and depositary
//! ratios that no file of the data can make on itself.

use crate::forecast::prepared::Prepared;
use crate::forecast::rating_sources::RatingSources;
use crate::market::bar::Day;
use crate::scenario::volatility_inputs::Place;

/// A market value as reported on a day, in billions of dollars. Reports count shares outstanding, filings here diluted
/// ones, so a few percent more is no error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// Symbol.
    pub symbol: &'static str,
    /// Year, month, day.
    pub day: (i32, u32, u32),
    /// Billions of dollars.
    pub reported: f64,
    /// What was reported.
    pub report: &'static str,
}

/// The reports.
pub const SPOTS: [Spot; 12] = [
    spot("AAPL", (2012, 9, 19), 658.0, "record close above 700 dollars, press reports of the day"),
    spot("AAPL", (2014, 3, 31), 479.0, "first of the FT Global 500 of 2014"),
    spot("XOM", (2014, 3, 31), 422.0, "second of the FT Global 500 of 2014"),
    spot("MSFT", (2014, 3, 31), 340.0, "third of the FT Global 500 of 2014"),
    spot("JNJ", (2014, 3, 31), 278.0, "sixth of the FT Global 500 of 2014"),
    spot("WMT", (2014, 3, 31), 247.0, "tenth of the FT Global 500 of 2014"),
    spot("AAPL", (2018, 8, 2), 1002.0, "the first company worth a trillion, press reports of the day"),
    spot("AMZN", (2018, 9, 4), 995.0, "touched a trillion during the day, press reports of the day"),
    spot("MSFT", (2019, 4, 25), 990.0, "touched a trillion during the day, press reports of the day"),
    spot("BABA", (2020, 10, 27), 858.0, "record close before the stopped listing of Ant, press reports of the day"),
    spot("TSLA", (2021, 10, 25), 1015.0, "passed a trillion, press reports of the day"),
    spot("NVDA", (2024, 6, 18), 3335.0, "the most valuable company for a day, press reports of the day"),
];

const fn spot(symbol: &'static str, day: (i32, u32, u32), reported: f64, report: &'static str) -> Spot {
    Spot { symbol, day, reported, report }
}

impl Spot {
    /// The market value computed on the day, in billions, or why there is none.
    ///
    /// # Errors
    /// A word for what is missing.
    pub fn computed(&self, prepared: &Prepared, sources: &RatingSources<'_>) -> Result<f64, String> {
        let (year, month, day) = self.day;
        let day = Day::from_ymd_opt(year, month, day).ok_or("no such day")?;
        let session = prepared.history.sessions.binary_search(&day).map_err(|_| "not in the data")?;
        let is_it = |i: &crate::market::history::InstrumentHistory| i.instrument.symbol.as_str() == self.symbol;
        let instrument = prepared.history.instruments.iter().position(is_it).ok_or("not in the data")?;
        let value = sources.market_value(Place { instrument, session }).map_err(|e| e.to_string())?;
        Ok(value / 1e9)
    }
}

/// One line a report up to a session, as Markdown.
#[must_use]
pub fn spot_lines(prepared: &Prepared, sources: &RatingSources<'_>, session: usize) -> Vec<String> {
    let last = prepared.history.sessions[session];
    let known = SPOTS.iter().filter(|s| Day::from_ymd_opt(s.day.0, s.day.1, s.day.2).is_some_and(|day| day <= last));
    let line = |spot: &Spot| {
        let (year, month, day) = spot.day;
        let computed = match spot.computed(prepared, sources) {
            Ok(value) => format!("{value:.0} | {:.2}", value / spot.reported),
            Err(why) => format!("{why} | -"),
        };
        format!(
            "| {} | {year}-{month:02}-{day:02} | {computed} | {:.0} | {} |",
            spot.symbol, spot.reported, spot.report
        )
    };
    let head = [
        "| symbol | day | computed, billion | of reported | reported, billion | report |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    head.into_iter().chain(known.map(line)).collect()
}

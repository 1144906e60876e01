//! What ratings are made from on any session: filings, prices and rates as they were known, and the volatility of the
//! benchmark in force.

use crate::features::balance_sheet::{BalanceSheet, FilingTimeline, MissingFundamentals};
use crate::features::price_basis::PriceBasis;
use crate::forecast::prepared::Prepared;
use crate::forecast::walk::VolatilityWalk;
use crate::market::horizon::{Horizon, SESSIONS_PER_YEAR};
use crate::market::instrument::InstrumentKind;
use crate::rating::components::Accounts;
use crate::rating::rate::{RatingInputs, Subject};
use crate::rating::structure::CapitalStructure;
use crate::rating::variance::{DEFAULT_HALF_LIFE_YEARS, EquityVolatility};
use crate::scenario::volatility_inputs::Place;

/// Names of the rate series, the first known one counts: thirteen-week bills, then two-year notes; percent a year.
const RATE_SERIES: [&str; 2] = ["IRX_13w_yield_pct", "DGS2"];

/// The rows that ratings read, laid out once for all sessions.
pub struct RatingSources<'a> {
    prepared: &'a Prepared,
    timelines: Vec<FilingTimeline<'a>>,
    /// By session, as a fraction a year.
    short_rates: Vec<Option<f64>>,
}

impl<'a> RatingSources<'a> {
    /// Lays out the rows of a history whose prices stand on that split basis.
    #[must_use]
    pub fn new(prepared: &'a Prepared, basis: &'a PriceBasis) -> Self {
        let history = &prepared.history;
        let series = RATE_SERIES.map(|id| history.factor(id).map(|f| f.known_at_close(&history.sessions)));
        let known = |t: usize| {
            let percent = series.iter().flatten().map(|values| values[t]).find(|value| value.is_finite());
            percent.map(|percent| percent / 100.0)
        };
        Self {
            prepared,
            timelines: history.instruments.iter().map(|i| FilingTimeline::new(history, i, basis)).collect(),
            short_rates: (0..history.sessions.len()).map(known).collect(),
        }
    }

    /// The short rate known at the close of a session, as a fraction a year.
    #[must_use]
    pub fn short_rate(&self, session: usize) -> Option<f64> {
        self.short_rates[session]
    }

    /// What an instrument is to a rating.
    #[must_use]
    pub fn subject(&self, place: Place) -> Subject {
        let described = &self.prepared.history.instruments[place.instrument].instrument;
        match described.kind {
            _ if self.prepared.universe.is_index(place.instrument, place.session) => Subject::Index,
            InstrumentKind::Index => Subject::Index,
            InstrumentKind::Etf => Subject::Fund,
            InstrumentKind::Equity if described.is_financial() => Subject::Financial,
            InstrumentKind::Equity => Subject::Company,
        }
    }

    /// The balance sheet known at the close of a session with the market value of the day.
    ///
    /// # Errors
    /// [`MissingFundamentals`] names what is missing.
    pub fn balance_sheet(&self, place: Place) -> Result<BalanceSheet, MissingFundamentals> {
        self.timelines[place.instrument].balance_sheet(place.session)
    }

    /// Close times traded units, in the currency of the prices.
    ///
    /// # Errors
    /// [`MissingFundamentals`] names what is missing.
    pub fn market_value(&self, place: Place) -> Result<f64, MissingFundamentals> {
        self.timelines[place.instrument].market_value(place.session)
    }

    /// Slope on the market over a year; 1 where it is not known.
    #[must_use]
    pub fn beta(&self, place: Place) -> f64 {
        self.prepared.beta(place.instrument, place.session).unwrap_or(1.0)
    }

    /// The inputs of a rating; `None` where no short rate is known.
    #[must_use]
    pub fn inputs(&self, place: Place, volatility: Option<EquityVolatility>) -> Option<RatingInputs> {
        let structure = |s: BalanceSheet| CapitalStructure { equity: s.market_value, liabilities: s.liabilities };
        Some(RatingInputs {
            subject: self.subject(place),
            structure: self.balance_sheet(place).ok().map(structure),
            volatility,
            short_rate: self.short_rate(place.session)?,
            beta: self.beta(place),
            defaulted: false,
        })
    }

    /// What the filings known at the close of a session say, for the component grades.
    ///
    /// # Errors
    /// [`MissingFundamentals`] when no balance sheet is known or it is stale.
    pub fn accounts(&self, place: Place) -> Result<Accounts, MissingFundamentals> {
        let timeline = &self.timelines[place.instrument];
        let view = timeline.view(place.session)?;
        Ok(Accounts {
            financial: self.subject(place) == Subject::Financial,
            exchange_rate: timeline.rate(place.session).ok(),
            market_value: timeline.market_value(place.session).ok(),
            total_assets: view.total_assets,
            equity: view.equity,
            liabilities: view.liabilities(),
            revenue: view.revenue,
            revenue_year_ago: view.revenue_year_ago,
            net_income: view.net_income,
            net_income_year_ago: view.net_income_year_ago,
            operating_cash_flow: view.operating_cash_flow,
            free_cash_flow: view.free_cash_flow,
        })
    }

    /// One-year and long-run volatilities by the benchmark that was in force, annualized, by instrument; `None` for one
    /// without a bar shortly before, and everywhere before the first fit.
    #[must_use]
    pub fn benchmark_volatilities(&self, walk: &VolatilityWalk, session: usize) -> Vec<Option<EquityVolatility>> {
        let prepared = self.prepared;
        let mut found = vec![None; self.timelines.len()];
        let forecasts = walk.forecasts(&prepared.inputs, session, Horizon::Year);
        let annual = |daily_variance: f64| (daily_variance * SESSIONS_PER_YEAR).sqrt();
        for i in prepared.alive(session) {
            let long_run = prepared.long_run_variance(i, session);
            found[i] = forecasts[i].zip(long_run).map(|(forecast, long_run)| EquityVolatility {
                year: annual(forecast.daily_variance),
                long_run: annual(long_run),
                half_life_years: DEFAULT_HALF_LIFE_YEARS,
                log_standard_error: None,
            });
        }
        found
    }
}

//! Market value and liabilities of a company as they were known on a day.

use serde::{Deserialize, Serialize};

use crate::features::filing_view::FilingView;
use crate::features::price_basis::PriceBasis;
use crate::features::share_counts::{CountFinding, PLAUSIBLE_TURNOVER, Prices, ShareCount, examine};
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::history::{History, InstrumentHistory, KnownFiling};
use crate::market::instrument::Symbol;
use crate::scenario::volatility_inputs::Place;

/// Balance sheets older than this many days say nothing any more (annual filers reach 16 months).
const STALE_DAYS: f64 = 550.0;
/// A share count this many days older than the newest balance sheet still stands in for it.
const COUNT_LAG_DAYS: i64 = 400;
/// Sessions by which the last close may lie back.
const CLOSE_LAG: usize = 5;

/// A balance sheet with the market value of the same day, in the currency of the prices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BalanceSheet {
    /// Close x traded units, > 0.
    pub market_value: f64,
    /// Debt where known, else total assets less equity; >= 0.
    pub liabilities: f64,
    /// Whether `liabilities` is interest-bearing debt.
    pub debt_known: bool,
    /// Total assets by the books.
    pub total_assets: f64,
    /// Equity by the books, where filed.
    pub equity: Option<f64>,
    /// Traded units (shares, or depositary shares) on the split basis of the close.
    pub units: f64,
    /// Currency of all amounts: that of the prices.
    pub currency: String,
    /// Currency of the filing.
    pub filing_currency: String,
    /// Units of `currency` for one of `filing_currency` on the day.
    pub exchange_rate: f64,
    /// Day of filing of the balance sheet.
    pub filed: Day,
    /// Day of the balance sheet.
    pub period_end: Day,
}

/// A filed share count that was not simply used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShareCountReport {
    /// Whose.
    pub symbol: Symbol,
    /// Day of the filing.
    pub filed: Day,
    /// Shares as filed.
    pub as_filed: f64,
    /// Traded units used in their place, on the split basis of the filing; `None` where the count was refused.
    pub used: Option<f64>,
    /// Why.
    pub finding: CountFinding,
}

/// The share counts of all instruments that were refused, repaired or taken for the first after a split.
#[must_use]
pub fn share_count_reports(history: &History, basis: &PriceBasis) -> Vec<ShareCountReport> {
    let reports = |i| FilingTimeline::new(history, i, basis).count_reports();
    history.instruments.iter().flat_map(reports).collect()
}

/// Why there is no balance sheet or no market value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum MissingFundamentals {
    /// No filing with a balance sheet was known.
    #[error("no_filings")]
    NoFilings,
    /// The newest balance sheet is more than 550 days old.
    #[error("filings_stale")]
    FilingsStale,
    /// No filing of the last 400 days before the newest balance sheet holds a share count.
    #[error("shares_missing")]
    SharesMissing,
    /// The share counts of those days cannot be believed.
    #[error("shares_refused")]
    SharesRefused,
    /// Neither debt nor equity is on file, or equity exceeds total assets.
    #[error("liabilities_missing")]
    LiabilitiesMissing,
    /// There is no exchange rate from the filing's currency to that of the prices.
    #[error("currency_unknown")]
    CurrencyUnknown,
    /// There is no close within the last five sessions.
    #[error("no_price")]
    NoPrice,
}

/// The balance sheet of an instrument at the close of a session.
///
/// The split basis of the prices is inferred from all filings of the history given ([`PriceBasis`]).
///
/// # Errors
/// [`MissingFundamentals`] names what is missing.
pub fn balance_sheet(
    history: &History,
    instrument: usize,
    session: usize,
) -> Result<BalanceSheet, MissingFundamentals> {
    balance_sheet_on_basis(history, &PriceBasis::infer(history), Place { instrument, session })
}

/// [`balance_sheet`] with the split basis of the prices given.
///
/// # Errors
/// [`MissingFundamentals`] names what is missing.
pub fn balance_sheet_on_basis(
    history: &History,
    basis: &PriceBasis,
    place: Place,
) -> Result<BalanceSheet, MissingFundamentals> {
    let instrument = history.instruments.get(place.instrument).ok_or(MissingFundamentals::NoFilings)?;
    FilingTimeline::new(history, instrument, basis).balance_sheet(place.session)
}

/// The views on one instrument's filings, each from the session on which it became current.
pub(crate) struct FilingTimeline<'a> {
    prices: Prices<'a>,
    basis: &'a PriceBasis,
    counts: Vec<ShareCount>,
    steps: Vec<Step>,
}

struct Step {
    from: usize,
    /// Share counts known by then.
    counts: usize,
    view: Option<FilingView>,
    /// Prices' currency for one unit of the filings', by session; `None` where the currencies are the same.
    rates: Option<Vec<f64>>,
}

impl<'a> FilingTimeline<'a> {
    pub(crate) fn new(history: &'a History, instrument: &'a InstrumentHistory, basis: &'a PriceBasis) -> Self {
        let prices = Prices { sessions: &history.sessions, instrument };
        let filings = &instrument.filings;
        let quote = instrument.instrument.currency.as_str();
        let session_of = |k: usize| history.sessions.partition_point(|d| calendar::close_of(*d) < filings[k].known_at);
        let starts: Vec<usize> = (0..filings.len()).map(session_of).collect();
        let last_of_session = |k: &usize| starts.get(k + 1) != Some(&starts[*k]) && starts[*k] < history.sessions.len();
        let steps = (0..filings.len()).filter(last_of_session).map(|k| {
            let view = FilingView::new(&filings[..=k], quote);
            let rates = view.as_ref().filter(|v| v.currency != quote).map(|v| rates(history, &v.currency, quote));
            let counts = filings[..=k].iter().filter(|f| f.filing.shares.is_some()).count();
            Step { from: starts[k], counts, view, rates }
        });
        Self { prices, basis, counts: examine(filings, prices), steps: steps.collect() }
    }

    /// What the filings say at the close of a session.
    pub(crate) fn view(&self, session: usize) -> Result<&FilingView, MissingFundamentals> {
        let view = self.step(session).and_then(|s| s.view.as_ref()).ok_or(MissingFundamentals::NoFilings)?;
        if self.age_days(session, view) > STALE_DAYS { Err(MissingFundamentals::FilingsStale) } else { Ok(view) }
    }

    /// Days since the day of the balance sheet.
    pub(crate) fn age_days(&self, session: usize, view: &FilingView) -> f64 {
        (self.prices.sessions[session] - view.period_end).num_days() as f64
    }

    /// Prices' currency for one unit of the filings' currency.
    pub(crate) fn rate(&self, session: usize) -> Result<f64, MissingFundamentals> {
        let step = self.step(session).ok_or(MissingFundamentals::NoFilings)?;
        let rate = step.rates.as_ref().map_or(1.0, |rates| rates[session]);
        if rate > 0.0 { Ok(rate) } else { Err(MissingFundamentals::CurrencyUnknown) }
    }

    /// Close x traded units on the same split basis.
    pub(crate) fn market_value(&self, session: usize) -> Result<f64, MissingFundamentals> {
        Ok(self.units(session)? * self.close(session)?)
    }

    pub(crate) fn balance_sheet(&self, session: usize) -> Result<BalanceSheet, MissingFundamentals> {
        let (view, units) = (self.view(session)?, self.units(session)?);
        let (close, rate) = (self.close(session)?, self.rate(session)?);
        let liabilities = view.liabilities().ok_or(MissingFundamentals::LiabilitiesMissing)?;
        Ok(BalanceSheet {
            market_value: units * close,
            liabilities: liabilities * rate,
            debt_known: view.debt.is_some(),
            total_assets: view.total_assets.ok_or(MissingFundamentals::LiabilitiesMissing)? * rate,
            equity: view.equity.map(|e| e * rate),
            units,
            currency: self.prices.instrument.instrument.currency.clone(),
            filing_currency: view.currency.clone(),
            exchange_rate: rate,
            filed: view.filed,
            period_end: view.period_end,
        })
    }

    fn step(&self, session: usize) -> Option<&Step> {
        self.steps[..self.steps.partition_point(|s| s.from <= session)].last()
    }

    fn units(&self, session: usize) -> Result<f64, MissingFundamentals> {
        let view = self.view(session)?;
        let known = &self.counts[..self.step(session).map_or(0, |s| s.counts)];
        let mut fresh = known.iter().rev().filter(|c| (view.filed - c.filed).num_days() <= COUNT_LAG_DAYS).peekable();
        let none = if fresh.peek().is_none() {
            MissingFundamentals::SharesMissing
        } else {
            MissingFundamentals::SharesRefused
        };
        let count = fresh.find(|c| c.accepted).ok_or(none)?;
        let units = self.units_on(count, session);
        if self.is_plausible(units, session) { Ok(units) } else { Err(MissingFundamentals::SharesRefused) }
    }

    /// The units of a count on the split basis of a session's close.
    fn units_on(&self, count: &ShareCount, session: usize) -> f64 {
        let symbol = &self.prices.instrument.instrument.symbol;
        let recorded = self.prices.split_between(count.filed, self.prices.sessions[session]);
        count.units * recorded * self.basis.factor_after(symbol, count.filed)
    }

    fn is_plausible(&self, units: f64, session: usize) -> bool {
        self.prices.annual_turnover(units, session).is_none_or(|turnover| turnover >= PLAUSIBLE_TURNOVER)
    }

    /// Every filed count that was refused, repaired or taken for the first after a split, in the order of the filings,
    /// each seen from the session on which it became known.
    pub(crate) fn count_reports(&self) -> Vec<ShareCountReport> {
        let filings = self.prices.instrument.filings.iter().filter(|f| f.filing.shares.is_some());
        let sessions = self.prices.sessions;
        let report = |(count, known): (&ShareCount, &KnownFiling)| {
            let session = sessions.partition_point(|d| calendar::close_of(*d) < known.known_at);
            let units = self.units_on(count, session.min(sessions.len().checked_sub(1)?));
            let is_refused = count.accepted && session < sessions.len() && !self.is_plausible(units, session);
            let finding = if is_refused { CountFinding::ImplausibleTurnover } else { count.finding };
            (finding != CountFinding::AsFiled).then(|| ShareCountReport {
                symbol: self.prices.instrument.instrument.symbol.clone(),
                filed: count.filed,
                as_filed: known.filing.shares.unwrap_or(f64::NAN),
                used: (count.accepted && !is_refused).then_some(count.units),
                finding,
            })
        };
        self.counts.iter().zip(filings).filter_map(report).collect()
    }

    fn close(&self, session: usize) -> Result<f64, MissingFundamentals> {
        let closes = &self.prices.instrument.close[..=session];
        let recent = closes.iter().rev().take(CLOSE_LAG).copied().find(|c| c.is_finite());
        recent.ok_or(MissingFundamentals::NoPrice)
    }
}

/// Units of `to` for one of `from`, by session: the factor named by both codes, else the inverse of the one named the
/// other way round; NaN where neither is known.
fn rates(history: &History, from: &str, to: &str) -> Vec<f64> {
    let series = |id: String| history.factor(&id).map(|f| f.known_at_close(&history.sessions));
    let direct = series(format!("{from}{to}"));
    let inverse = || series(format!("{to}{from}")).map(|rates| rates.into_iter().map(f64::recip).collect());
    direct.or_else(inverse).unwrap_or_else(|| vec![f64::NAN; history.sessions.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    fn place(history: &History, symbol: &str, session: usize) -> Place {
        let instrument = history.instruments.iter().position(|i| i.instrument.symbol.as_str() == symbol).unwrap();
        Place { instrument, session }
    }

    fn sheet(history: &History, symbol: &str, session: usize) -> Result<BalanceSheet, MissingFundamentals> {
        let Place { instrument, session } = place(history, symbol, session);
        balance_sheet(history, instrument, session)
    }

    #[test]
    fn market_value_follows_price_and_recorded_splits() {
        let history = sample(&Sample::default());
        let instrument = history.find(&"TEST3".parse().unwrap()).unwrap();
        let split_at = instrument.split.iter().position(|s| *s != 1.0).unwrap();
        for session in split_at - 3..split_at + 100 {
            let expected = if session < split_at { 2e8 } else { 8e8 } * instrument.close[session];
            let found = sheet(&history, "TEST3", session).unwrap();
            assert!((found.market_value / expected - 1.0).abs() < 1e-12, "{session}");
            assert_eq!((found.currency.as_str(), found.filing_currency.as_str()), ("USD", "CNY"));
        }
    }

    #[test]
    fn an_unrecorded_split_in_restated_prices_is_found() {
        let mut history = sample(&Sample::default());
        let at = place(&history, "TEST3", 0).instrument;
        let recorded: Vec<f64> = (300..500).map(|t| balance_sheet(&history, at, t).unwrap().market_value).collect();
        let instrument = &mut history.instruments[at];
        let split_at = instrument.split.iter().position(|s| *s != 1.0).unwrap();
        instrument.split[split_at] = 1.0;
        instrument.close[..split_at].iter_mut().for_each(|c| *c /= 4.0);
        for (t, expected) in (300..500).zip(recorded) {
            let found = balance_sheet(&history, at, t).unwrap().market_value;
            assert!((found / expected - 1.0).abs() < 1e-12, "{t}: {found} {expected}");
        }
    }

    #[test]
    fn amounts_are_converted_or_refused() {
        let mut history = sample(&Sample::default());
        let session = 600;
        let rate = history.factor("CNYUSD").unwrap().known_at_close(&history.sessions)[session];
        let known_until = calendar::close_of(history.sessions[session]);
        let filings = &history.find(&"TEST3".parse().unwrap()).unwrap().filings;
        let last = filings.iter().rfind(|f| f.known_at <= known_until).unwrap().filing.clone();
        let found = sheet(&history, "TEST3", session).unwrap();
        assert_eq!(found.liabilities, (last.total_assets.unwrap() - last.equity.unwrap()) * rate);
        assert_eq!((found.filed, found.period_end), (last.filed, last.period_end));
        history.factors.retain(|f| f.id != "CNYUSD");
        assert_eq!(sheet(&history, "TEST3", session), Err(MissingFundamentals::CurrencyUnknown));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut history = sample(&Sample::default());
        assert_eq!(sheet(&history, "TEST0", 600), Err(MissingFundamentals::NoFilings));
        assert_eq!(sheet(&history, "TEST4", 699), Err(MissingFundamentals::NoPrice));
        assert!(sheet(&history, "TEST5", 600).unwrap().debt_known);
        let at = place(&history, "TEST6", 0).instrument;
        let edit = |history: &mut History, change: fn(&mut crate::market::filing::Filing)| {
            history.instruments[at].filings.iter_mut().for_each(|f| change(&mut f.filing));
        };
        edit(&mut history, |f| f.shares = f.equity);
        assert_eq!(sheet(&history, "TEST6", 600), Err(MissingFundamentals::SharesRefused));
        edit(&mut history, |f| f.shares = None);
        assert_eq!(sheet(&history, "TEST6", 600), Err(MissingFundamentals::SharesMissing));
        history.instruments[at].filings.truncate(2);
        assert_eq!(sheet(&history, "TEST6", 600), Err(MissingFundamentals::FilingsStale));
        assert_eq!(serde_json::to_string(&MissingFundamentals::CurrencyUnknown).unwrap(), "\"currency_unknown\"");
    }

    #[test]
    fn a_count_by_which_hardly_a_share_changes_hands_is_refused_and_reported() {
        let mut history = sample(&Sample::default());
        let at = place(&history, "TEST6", 0).instrument;
        assert!(share_count_reports(&history, &PriceBasis::default()).iter().all(|r| r.symbol.as_str() != "TEST6"));
        history.instruments[at].filings.iter_mut().for_each(|f| f.filing.shares = f.filing.shares.map(|s| s * 50.0));
        assert_eq!(sheet(&history, "TEST6", 600), Err(MissingFundamentals::SharesRefused));
        let reports = share_count_reports(&history, &PriceBasis::default());
        let own: Vec<_> = reports.iter().filter(|r| r.symbol.as_str() == "TEST6").collect();
        assert!(own.len() > 4 && own.iter().all(|r| r.used.is_none()), "{own:?}");
        assert_eq!(own[own.len() - 1].finding.as_str(), "implausible_turnover");
        history.instruments[at].volume.iter_mut().for_each(|v| *v = f64::NAN);
        assert!(sheet(&history, "TEST6", 600).is_ok(), "without volumes there is nothing to doubt");
    }

    #[test]
    fn repaired_counts_are_reported_with_what_is_used() {
        let mut history = sample(&Sample::default());
        let at = place(&history, "TEST6", 0).instrument;
        let filings = &mut history.instruments[at].filings;
        let last = filings.len() - 1;
        let filed = filings[last].filing.shares.unwrap();
        filings[last].filing.shares = Some(filed / 1e3);
        let reports = share_count_reports(&history, &PriceBasis::default());
        let own = reports.iter().find(|r| r.symbol.as_str() == "TEST6").unwrap();
        assert_eq!((own.finding, own.as_filed), (CountFinding::InThousands, filed / 1e3));
        assert!((own.used.unwrap() / filed - 1.0).abs() < 1e-9);
    }
}

//! The rating of an instrument: the inputs known on the day, and the opinion they give.

use crate::features::balance_sheet::balance_sheet_on_basis;
use crate::features::price_basis::PriceBasis;
use crate::forecast::day::InstrumentForecast;
use crate::forecast::prepared::Prepared;
use crate::market::horizon::Horizon;
use crate::market::instrument::{InstrumentKind, Symbol};
use crate::opinion::canonical::rounded;
use crate::opinion::envelope::{Interval, Kind, Sources, reason};
use crate::opinion::rating::{Grades, Rating, RatingBasis, TermRating};
use crate::publication::header::{About, Absent, Header};
use crate::rating::rate::{RatingBasis as Basis, RatingInputs, RatingOpinion, Subject, rate};
use crate::rating::scale::Scale;
use crate::rating::structure::CapitalStructure;
use crate::rating::term::{RatingSettings, TermRating as Term};
use crate::rating::variance::{DEFAULT_HALF_LIFE_YEARS, EquityVolatility};
use crate::scenario::volatility_inputs::Place;

/// The horizon that ratings are filed under; they look one and ten years ahead whatever the horizon asked for.
pub const RATING_HORIZON: Horizon = Horizon::FourWeeks;

/// What the ratings of a day share.
pub struct RatingDay<'a> {
    /// The rows and their columns.
    pub prepared: &'a Prepared,
    /// The split basis of the prices.
    pub basis: &'a PriceBasis,
    /// Decision day.
    pub session: usize,
    /// Short interest rate a year; `None` when no rate is known.
    pub short_rate: Option<f64>,
    /// Standard error of the log of a one-year volatility forecast.
    pub log_standard_error: Option<f64>,
    /// Equity premium a year.
    pub equity_premium: f64,
}

/// An opinion, or why there is none; and why the balance sheet was not used.
pub struct Rated {
    opinion: Option<RatingOpinion>,
    without: String,
    basis_reason: Option<String>,
}

/// Names of the rate series, the first known one counts: thirteen-week bills, then two-year notes; percent a year.
const RATE_SERIES: [&str; 2] = ["IRX_13w_yield_pct", "DGS2"];

/// The short rate known at the close of a session, as a fraction a year.
#[must_use]
pub fn short_rate(prepared: &Prepared, session: usize) -> Option<f64> {
    let day = &prepared.history.sessions[session..=session];
    RATE_SERIES.iter().find_map(|id| {
        let value = prepared.history.factor(id)?.known_at_close(day)[0];
        value.is_finite().then_some(value / 100.0)
    })
}

/// Rates an instrument on the day of its one-year forecast.
#[must_use]
pub fn rate_instrument(
    day: &RatingDay<'_>,
    instrument: usize,
    forecast: Option<&InstrumentForecast>,
    without: &str,
) -> Rated {
    let prepared = day.prepared;
    let described = &prepared.history.instruments[instrument].instrument;
    let subject = match described.kind {
        _ if prepared.universe.is_index(instrument, day.session) => Subject::Index,
        InstrumentKind::Index => Subject::Index,
        InstrumentKind::Etf => Subject::Fund,
        InstrumentKind::Equity if described.is_financial() => Subject::Financial,
        InstrumentKind::Equity => Subject::Company,
    };
    let Some(short_rate) = day.short_rate else {
        return Rated { opinion: None, without: "no_interest_rate".into(), basis_reason: None };
    };
    let sheet = balance_sheet_on_basis(&prepared.history, day.basis, Place { instrument, session: day.session });
    let missing = sheet.as_ref().err().filter(|_| subject == Subject::Company).map(ToString::to_string);
    let structure = sheet.ok().map(|s| CapitalStructure { equity: s.market_value, liabilities: s.liabilities });
    let inputs = RatingInputs {
        subject,
        structure,
        volatility: forecast.map(|f| volatility(f, day.log_standard_error)),
        short_rate,
        beta: prepared.beta(instrument, day.session).unwrap_or(1.0),
        defaulted: false,
    };
    let settings = RatingSettings { equity_premium: day.equity_premium, ..RatingSettings::default() };
    let opinion = rate(&inputs, &settings, Scale::idealized()).ok();
    let word =
        |r: crate::rating::rate::RatingReason| serde_json::to_value(r).ok().and_then(|v| v.as_str().map(str::to_owned));
    let reason = opinion.and_then(|o| o.reason).and_then(word);
    let basis_reason = opinion.and_then(|o| o.basis_reason).and_then(word);
    Rated {
        opinion: opinion.filter(|o| o.short_term.is_some()),
        without: reason.filter(|r| r != reason::INSUFFICIENT_HISTORY).unwrap_or_else(|| without.to_owned()),
        basis_reason: missing.or(basis_reason),
    }
}

impl Rated {
    /// Both grades.
    #[must_use]
    pub fn grades(&self) -> Grades {
        let grade = |term: fn(&RatingOpinion) -> Option<Term>| {
            self.opinion.as_ref().and_then(term).map(|t| t.grade.to_string())
        };
        Grades { short_term: grade(|o| o.short_term), long_term: grade(|o| o.long_term) }
    }

    /// Forms the rating.
    #[must_use]
    pub fn rating(&self, header: &Header, symbol: &Symbol, sources: &Sources, previous: Option<&Rating>) -> Rating {
        let mut absent = Absent::default();
        for field in ["outlook", "components"] {
            absent.because(field, reason::NOT_COMPUTED_YET);
        }
        if self.opinion.is_none() {
            for field in ["short_term", "long_term", "basis", "changed_on"] {
                absent.because(field, &self.without);
            }
        }
        if let Some(why) = &self.basis_reason {
            absent.because("balance_sheet", why);
        }
        let (changed_on, before) = self.change(header, previous);
        if before.is_none() {
            absent.because("previous", if previous.is_none() { reason::FIRST_PUBLICATION } else { "never_changed" });
        }
        let terms = self.opinion.map(|o| [o.short_term, o.long_term].map(|t| t.map(|t| shown(&t))));
        let [short_term, long_term] = terms.unwrap_or_default();
        for (field, term) in [("short_term.interval", &short_term), ("long_term.interval", &long_term)] {
            if term.as_ref().is_some_and(|t| t.interval.is_none()) {
                absent.because(field, reason::INSUFFICIENT_HISTORY);
            }
        }
        Rating {
            short_term,
            long_term,
            outlook: None,
            basis: self.opinion.and_then(|o| o.basis).map(|b| match b {
                Basis::BalanceSheet => RatingBasis::BalanceSheet,
                Basis::PriceOnly => RatingBasis::PriceOnly,
            }),
            components: None,
            changed_on,
            previous: before,
            envelope: header
                .envelope(About { kind: Kind::Rating, symbol: Some(symbol), horizon: RATING_HORIZON, sources }, absent),
        }
    }

    fn change(&self, header: &Header, previous: Option<&Rating>) -> (Option<chrono::NaiveDate>, Option<Grades>) {
        let now = self.grades();
        let grade = |term: &Option<TermRating>| term.as_ref().map(|t| t.grade.clone());
        let last = previous.map(|p| Grades { short_term: grade(&p.short_term), long_term: grade(&p.long_term) });
        match (self.opinion, previous, last) {
            (None, ..) => (None, None),
            (Some(_), Some(p), Some(last)) if last == now => (p.changed_on.or(Some(header.as_of)), p.previous.clone()),
            (Some(_), _, last) => (Some(header.as_of), last),
        }
    }
}

fn volatility(forecast: &InstrumentForecast, log_standard_error: Option<f64>) -> EquityVolatility {
    let annualized = |v: f64| v / Horizon::Year.years().sqrt();
    EquityVolatility {
        year: annualized(forecast.volatility),
        long_run: annualized(forecast.long_run.volatility),
        half_life_years: DEFAULT_HALF_LIFE_YEARS,
        log_standard_error,
    }
}

fn shown(term: &Term) -> TermRating {
    TermRating {
        grade: term.grade.to_string(),
        default_probability: rounded(term.default_probability.value()),
        interval: term.interval.map(|i| Interval {
            level: i.level,
            low: rounded(i.low.value()),
            high: rounded(i.high.value()),
        }),
        horizon_years: term.horizon_years as u32,
        calibrated: term.calibrated,
    }
}

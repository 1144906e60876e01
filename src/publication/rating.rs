//! The ratings of a day: the inputs known on it, and the opinions they give.

use serde::Serialize;

use crate::features::balance_sheet::BalanceSheet;
use crate::forecast::day::InstrumentForecast;
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_record::{GradeChange, RatingRecord};
use crate::forecast::rating_sources::RatingSources;
use crate::forecast::walk::VolatilityWalk;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::canonical::rounded;
use crate::opinion::envelope::{Interval, Kind, Sources, reason};
use crate::opinion::rating::{Components, Grades, Outlook, PastGrades, Rating, RatingBasis, TermRating};
use crate::publication::header::{About, Absent, Header};
use crate::publication::rating_explanation::{Explained, explanation};
use crate::rating::components::{Component, ComponentReason, grade_components};
use crate::rating::outlook::{Outlook as Heading, outlook};
use crate::rating::probability::Probability;
use crate::rating::rate::{RatingBasis as Basis, RatingInputs, RatingOpinion, RatingReason, Subject, rate};
use crate::rating::scale::{Grade, Scale};
use crate::rating::term::{Firm, LONG_TERM_YEARS, RatingSettings, SHORT_TERM_YEARS, TermRating as Term};
use crate::rating::variance::{DEFAULT_HALF_LIFE_YEARS, EquityVolatility};
use crate::scenario::volatility_inputs::Place;

/// The horizon that ratings are filed under; they look one and ten years ahead whatever the horizon asked for.
pub const RATING_HORIZON: Horizon = Horizon::FourWeeks;
/// Most changes shown of the past.
const SHOWN_CHANGES: usize = 40;

/// What the ratings of a day share.
#[derive(Clone, Copy)]
pub struct RatingDay<'a> {
    /// The rows and their columns.
    pub prepared: &'a Prepared,
    /// The same laid out for ratings.
    pub sources: &'a RatingSources<'a>,
    /// The benchmark of the volatility, for the outlook.
    pub harx2: &'a VolatilityWalk,
    /// What a walk through the past found; `None` for a model without one.
    pub record: Option<&'a RatingRecord>,
    /// Decision day.
    pub session: usize,
    /// Standard error of the log of a one-year volatility forecast.
    pub log_standard_error: Option<f64>,
    /// Equity premium a year.
    pub equity_premium: f64,
}

/// An opinion with what it rests on, or why there is none.
#[derive(Debug, Clone)]
pub struct Rated {
    pub(crate) opinion: Option<RatingOpinion>,
    pub(crate) inputs: Option<RatingInputs>,
    pub(crate) settings: RatingSettings,
    without: String,
    /// Why the balance sheet was not used.
    pub(crate) basis_reason: Option<String>,
    pub(crate) sheet: Option<BalanceSheet>,
    /// Probabilities with the benchmark's volatility, now and a quarter ago, for one and for ten years; or why not.
    pub(crate) quarter: Result<Quarter, &'static str>,
    pub(crate) components: Result<[Result<Grade, ComponentReason>; 5], String>,
    history: Vec<GradeChange>,
}

/// Probabilities for one and for ten years with the benchmark's volatility.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quarter {
    pub now: [Probability; 2],
    pub ago: [Probability; 2],
}

/// Rates all instruments of the history; `forecasts` are those over a year, `without` says why one is missing.
#[must_use]
pub fn rate_all(
    day: &RatingDay<'_>,
    forecasts: &[Option<InstrumentForecast>],
    without: impl Fn(usize) -> &'static str,
) -> Vec<Rated> {
    let mut rated: Vec<Rated> =
        forecasts.iter().enumerate().map(|(i, forecast)| day.rate(i, forecast.as_ref(), without(i))).collect();
    add_components(day, &mut rated);
    add_quarters(day, &mut rated);
    rated
}

impl RatingDay<'_> {
    fn place(&self, instrument: usize) -> Place {
        Place { instrument, session: self.session }
    }

    fn settings(&self) -> RatingSettings {
        let sigma_scale = self.record.map(|r| r.calibration.scale()).unwrap_or_default();
        RatingSettings { equity_premium: self.equity_premium, sigma_scale, ..RatingSettings::default() }
    }

    fn rate(&self, instrument: usize, forecast: Option<&InstrumentForecast>, without: &str) -> Rated {
        let place = self.place(instrument);
        let symbol = &self.prepared.history.instruments[instrument].instrument.symbol;
        let sheet = self.sources.balance_sheet(place);
        let inputs = self.sources.inputs(place, forecast.map(|f| volatility(f, self.log_standard_error)));
        let opinion = inputs.and_then(|inputs| rate(&inputs, &self.settings(), Scale::idealized()).ok());
        let is_company = self.sources.subject(place) == Subject::Company;
        let missing = sheet.as_ref().err().filter(|_| is_company).map(ToString::to_string);
        let refused = opinion.and_then(|o| o.reason).filter(|r| *r != RatingReason::InsufficientHistory).map(word);
        let no_rate = inputs.is_none().then(|| "no_interest_rate".to_owned());
        Rated {
            opinion: opinion.filter(|o| o.short_term.is_some()),
            inputs,
            settings: self.settings(),
            without: no_rate.or(refused).unwrap_or_else(|| without.to_owned()),
            basis_reason: missing.or(opinion.and_then(|o| o.basis_reason).map(word)),
            sheet: sheet.ok(),
            quarter: Err(reason::INSUFFICIENT_HISTORY),
            components: Err(reason::NOT_TRADED.to_owned()),
            history: self.record.and_then(|r| r.history.get(symbol)).cloned().unwrap_or_default(),
        }
    }
}

/// Grades the parts of the accounts of all companies that are rated on the day, against each other.
fn add_components(day: &RatingDay<'_>, rated: &mut [Rated]) {
    let (mut members, mut accounts) = (vec![], vec![]);
    for (i, rated) in rated.iter_mut().enumerate() {
        rated.components = match day.sources.subject(day.place(i)) {
            Subject::Index => Err(reason::NOT_TRADED.to_owned()),
            Subject::Fund => Err(word(RatingReason::Fund)),
            _ if rated.opinion.is_none() => Err(rated.without.clone()),
            Subject::Company | Subject::Financial => match day.sources.accounts(day.place(i)) {
                Err(missing) => Err(missing.to_string()),
                Ok(found) => {
                    members.push(i);
                    accounts.push(found);
                    continue;
                }
            },
        };
    }
    let long_term = |rated: &Rated| Some(rated.opinion.as_ref()?.long_term?.grade);
    let is_company = |i: &usize| matches!(day.sources.subject(day.place(*i)), Subject::Company | Subject::Financial);
    let grades: Vec<Grade> = (0..rated.len()).filter(is_company).filter_map(|i| long_term(&rated[i])).collect();
    for (member, graded) in members.into_iter().zip(grade_components(&accounts, &grades)) {
        rated[member].components = Ok(graded);
    }
}

/// Computes the probabilities of now and of a quarter ago in the same way: with the benchmark's volatility and without
/// the calibrated factor's changes.
fn add_quarters(day: &RatingDay<'_>, rated: &mut [Rated]) {
    let Some(ago) = day.session.checked_sub(Horizon::Quarter.sessions()) else { return };
    let settings = day.settings();
    let [now, before] = [day.session, ago].map(|t| day.sources.benchmark_volatilities(day.harx2, t));
    for (i, rated) in rated.iter_mut().enumerate().filter(|(_, r)| r.opinion.is_some()) {
        let firm = |session: usize, volatility: Option<EquityVolatility>| {
            day.sources.inputs(Place { instrument: i, session }, Some(volatility?))?.firm(&settings)
        };
        let (now, ago) = (firm(day.session, now[i]), firm(ago, before[i]));
        let probabilities = |firm: &Firm| [SHORT_TERM_YEARS, LONG_TERM_YEARS].map(|years| firm.probability(years));
        rated.quarter = match (now, ago) {
            (Some(now), Some(ago)) if now.structure.is_some() != ago.structure.is_some() => Err("basis_changed"),
            (Some(now), Some(ago)) => Ok(Quarter { now: probabilities(&now), ago: probabilities(&ago) }),
            _ => Err(reason::INSUFFICIENT_HISTORY),
        };
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
        if self.opinion.is_none() {
            for field in ["short_term", "long_term", "basis", "changed_on", "explanation"] {
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
        if self.history.iter().any(|change| change.long_term.is_none()) {
            for field in ["history.short_term", "history.long_term", "history.basis"] {
                absent.because(field, "withdrawn");
            }
        }
        Rating {
            short_term,
            long_term,
            outlook: self.outlook(&mut absent),
            basis: self.opinion.and_then(|o| o.basis).map(shown_basis),
            components: self.components(&mut absent),
            changed_on,
            previous: before,
            history: self.history.iter().rev().take(SHOWN_CHANGES).map(shown_change).collect(),
            explanation: explanation(&Explained::of(self), &mut absent),
            envelope: header
                .envelope(About { kind: Kind::Rating, symbol: Some(symbol), horizon: RATING_HORIZON, sources }, absent),
        }
    }

    fn outlook(&self, absent: &mut Absent) -> Option<Outlook> {
        let without = if self.opinion.is_none() { self.without.as_str() } else { self.quarter.err().unwrap_or("") };
        let quarter = self.opinion.and(self.quarter.ok());
        let heading = quarter.map(|q| outlook(q.now[1], q.ago[1], LONG_TERM_YEARS, Scale::idealized()));
        absent.or_because(heading.map(shown_outlook), "outlook", without)
    }

    fn components(&self, absent: &mut Absent) -> Option<Components> {
        let graded = match &self.components {
            Ok(graded) => graded,
            Err(why) => return absent.or_because(None, "components", why),
        };
        let mut grade = |component: Component| match graded[component as usize] {
            Ok(grade) => Some(grade.to_string()),
            Err(why) => {
                absent.because(&format!("components.{}", component.as_str()), why.as_str());
                None
            }
        };
        Some(Components {
            income_statement: grade(Component::IncomeStatement),
            balance_sheet: grade(Component::BalanceSheet),
            leverage_ratios: grade(Component::LeverageRatios),
            cash_flow: grade(Component::CashFlow),
            profitability: grade(Component::Profitability),
        })
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

fn shown_basis(basis: Basis) -> RatingBasis {
    match basis {
        Basis::BalanceSheet => RatingBasis::BalanceSheet,
        Basis::PriceOnly => RatingBasis::PriceOnly,
    }
}

fn shown_change(change: &GradeChange) -> PastGrades {
    PastGrades {
        as_of: change.as_of,
        short_term: change.short_term.map(|g| g.to_string()),
        long_term: change.long_term.map(|g| g.to_string()),
        basis: change.basis.map(shown_basis),
        walk_forward: true,
    }
}

/// The outlook in the words of the answers.
pub(crate) fn shown_outlook(heading: Heading) -> Outlook {
    match heading {
        Heading::Positive => Outlook::Positive,
        Heading::Stable => Outlook::Stable,
        Heading::Negative => Outlook::Negative,
    }
}

/// The word by which JSON names a unit variant.
pub(crate) fn word<T: Serialize>(value: T) -> String {
    let json = serde_json::to_value(value).ok();
    json.and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

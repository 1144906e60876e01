//! Why a rating is what it is: the numbers of both first passages, and one sentence.

use crate::features::balance_sheet::BalanceSheet;
use crate::opinion::canonical::{rounded, rounded_to};
use crate::opinion::rating::{RatedAccounts, RatingExplanation, TermExplanation};
use crate::publication::header::Absent;
use crate::publication::rating::{Quarter, Rated};
use crate::rating::probability::Probability;
use crate::rating::rate::RatingBasis;
use crate::rating::scale::Scale;
use crate::rating::term::{RatingDrivers, TermRating};

/// Share of a one-year probability that comes from an unknown barrier and from which on the sentence says so.
const MOSTLY_UNKNOWN: f64 = 0.5;

/// What an explanation is made from; nothing without a grade.
pub struct Explained<'a> {
    rated: &'a Rated,
}

impl<'a> Explained<'a> {
    /// The explanation of a rating.
    #[must_use]
    pub fn of(rated: &'a Rated) -> Self {
        Self { rated }
    }

    fn is_price_only(&self) -> bool {
        self.rated.opinion.and_then(|o| o.basis) != Some(RatingBasis::BalanceSheet)
    }
}

/// The explanation; `None` without a grade.
pub fn explanation(explained: &Explained<'_>, absent: &mut Absent) -> Option<RatingExplanation> {
    let rated = explained.rated;
    let (opinion, inputs) = rated.opinion.zip(rated.inputs)?;
    let accounts = rated.sheet.as_ref().filter(|_| !explained.is_price_only());
    if accounts.is_none() {
        absent.because("explanation.accounts", rated.basis_reason.as_deref().unwrap_or("price_only"));
    } else if accounts.is_some_and(|sheet| sheet.equity.is_none()) {
        absent.because("explanation.accounts.equity", "not_filed");
    }
    Some(RatingExplanation {
        sentence: sentence(explained, accounts)?,
        short_term: opinion.short_term.and_then(|t| term(explained, &t, ("short_term", 0), absent)),
        long_term: opinion.long_term.and_then(|t| term(explained, &t, ("long_term", 1), absent)),
        accounts: accounts.map(shown_accounts),
        short_rate: rounded(inputs.short_rate),
        beta: rounded(inputs.beta),
        equity_premium: rounded(rated.settings.equity_premium),
    })
}

fn term(
    explained: &Explained<'_>,
    rating: &TermRating,
    (name, at): (&str, usize),
    absent: &mut Absent,
) -> Option<TermExplanation> {
    let drivers = rating.drivers?;
    let mut path = |field: &str, why: &str| absent.because(&format!("explanation.{name}.{field}"), why);
    let cuts = Scale::idealized().cut_points(rating.horizon_years);
    let place = rating.grade as usize;
    let better_below = place.checked_sub(1).and_then(|k| cuts.get(k)).copied();
    let worse_from = cuts.get(place).copied();
    if better_below.is_none() {
        path("better_below", "best_grade");
    }
    if worse_from.is_none() {
        path("worse_from", "worst_grade");
    }
    if explained.is_price_only() {
        ["credit_grades", "merton"].into_iter().for_each(|field| path(field, "price_only"));
    }
    if let Err(why) = explained.rated.quarter {
        ["by_benchmark", "quarter_ago"].into_iter().for_each(|field| path(field, why));
    }
    let probability = |of: fn(&Quarter) -> &[Probability; 2]| {
        explained.rated.quarter.as_ref().ok().map(|quarter| rounded(of(quarter)[at].value()))
    };
    let shown = |p: Option<Probability>| p.map(|p| rounded(p.value()));
    Some(TermExplanation {
        equity_volatility: rounded(drivers.equity_volatility),
        volatility: rounded(drivers.volatility),
        mean: rounded(drivers.mean),
        barrier: rounded(drivers.barrier),
        barrier_log_deviation: rounded(drivers.barrier_log_deviation),
        passed_already: rounded(drivers.passed_already.value()),
        sigma_factor: rounded(drivers.sigma_factor),
        better_below: better_below.map(rounded),
        worse_from: worse_from.map(rounded),
        credit_grades: shown(drivers.credit_grades),
        merton: shown(drivers.merton),
        by_benchmark: probability(|q| &q.now),
        quarter_ago: probability(|q| &q.ago),
    })
}

fn shown_accounts(sheet: &BalanceSheet) -> RatedAccounts {
    RatedAccounts {
        market_value: whole(sheet.market_value),
        units: whole(sheet.units),
        liabilities: whole(sheet.liabilities),
        debt_known: sheet.debt_known,
        total_assets: whole(sheet.total_assets),
        equity: sheet.equity.map(whole),
        currency: sheet.currency.clone(),
        filing_currency: sheet.filing_currency.clone(),
        exchange_rate: rounded(sheet.exchange_rate),
        filed: sheet.filed,
        period_end: sheet.period_end,
    }
}

/// Amounts in whole units of their currency.
fn whole(amount: f64) -> f64 {
    rounded_to(amount, 0)
}

fn sentence(explained: &Explained<'_>, accounts: Option<&BalanceSheet>) -> Option<String> {
    let opinion = explained.rated.opinion?;
    let (short, long) = opinion.short_term.zip(opinion.long_term)?;
    let Some(drivers) = long.drivers else { return Some("A default is on record.".to_owned()) };
    let chance = percent(long.default_probability.value());
    let RatingDrivers { volatility, barrier, .. } = drivers;
    let Some(sheet) = accounts else {
        let why = explained.rated.basis_reason.as_deref().unwrap_or("price_only").replace('_', " ");
        return Some(format!(
            "Without a usable balance sheet ({why}) the price alone decides: with {} volatility a year it falls to {} of \
             today's within ten years with probability {chance}.",
            percent(volatility),
            percent(barrier),
        ));
    };
    let billions = |amount: f64| format!("{:.1} billion {}", amount / 1e9, sheet.currency);
    let what = if sheet.debt_known { "debt" } else { "liabilities" };
    Some(format!(
        "Behind {what} of {} stands a market value of {}: with {} volatility a year the assets fall to about {} of \
         today's, where creditors lose money, within ten years with probability {chance}{}.",
        billions(sheet.liabilities),
        billions(sheet.market_value),
        percent(volatility),
        percent(barrier),
        doubt(&short, sheet),
    ))
}

/// What to doubt of a short-term probability that comes from not knowing the barrier more than from risk.
fn doubt(short: &TermRating, sheet: &BalanceSheet) -> String {
    let unknown = short.drivers.map_or(0.0, |d| d.passed_already.value() / short.default_probability.value());
    if unknown.is_nan() || unknown <= MOSTLY_UNKNOWN {
        return String::new();
    }
    let times = sheet.liabilities / sheet.market_value;
    format!(
        "; {} of the one-year probability comes from not knowing where that is, with liabilities {times:.1} times the \
         market value, which overstates the risk where they finance customers and are secured by what these owe",
        percent(unknown)
    )
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        tiny if tiny < 0.05 => "below 0.1 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

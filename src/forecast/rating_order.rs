//! Whether shares of companies with worse ratings turned out riskier: the order of the ratings at the end of a year
//! against what came within the next.

use chrono::Datelike;

use crate::evaluation::rank_scores::spearman;
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_walk::{Quarter, RatingWalk, WalkedRating, YearOutcome};
use crate::market::instrument::InstrumentKind;

/// Rank correlations (Spearman 1904) across companies of one day; higher is better, `None` where a side does not vary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderYear {
    /// The year that the ratings ended.
    pub year: i32,
    /// Companies with a rating and a known year after it.
    pub companies: usize,
    /// Ten-year probability against volatility.
    pub long_term_volatility: Option<f64>,
    /// Ten-year probability against the worst drawdown.
    pub long_term_drawdown: Option<f64>,
    /// One-year probability against volatility.
    pub short_term_volatility: Option<f64>,
    /// One-year probability against the worst drawdown.
    pub short_term_drawdown: Option<f64>,
    /// The forecast of the volatility itself, without any balance sheet, against volatility.
    pub forecast_volatility: Option<f64>,
    /// The same against the worst drawdown.
    pub forecast_drawdown: Option<f64>,
}

/// The order at the last quarter of each year whose next year is over.
#[must_use]
pub fn order_by_year(prepared: &Prepared, walk: &RatingWalk) -> Vec<OrderYear> {
    let ends_year = |quarter: &&Quarter| quarter.day.month() == 12;
    walk.quarters.iter().filter(ends_year).filter_map(|quarter| order_of(prepared, quarter)).collect()
}

fn order_of(prepared: &Prepared, quarter: &Quarter) -> Option<OrderYear> {
    let is_company = |i: usize| prepared.history.instruments[i].instrument.kind == InstrumentKind::Equity;
    let rated = quarter.ratings.iter().enumerate().filter(|(i, _)| is_company(*i));
    let pairs: Vec<(WalkedRating, YearOutcome)> =
        rated.filter_map(|(_, rating)| rating.and_then(|r| Some((r, r.outcome?)))).collect();
    let column = |of: &dyn Fn(&(WalkedRating, YearOutcome)) -> f64| pairs.iter().map(of).collect::<Vec<f64>>();
    let volatility = column(&|(_, outcome)| outcome.volatility);
    let drawdown = column(&|(_, outcome)| outcome.worst_drawdown);
    let [long, short, forecast] = [
        column(&|(rating, _)| rating.long_term.value()),
        column(&|(rating, _)| rating.short_term.value()),
        column(&|(rating, _)| rating.share.volatility),
    ];
    (!pairs.is_empty()).then(|| OrderYear {
        year: quarter.day.year(),
        companies: pairs.len(),
        long_term_volatility: spearman(&long, &volatility),
        long_term_drawdown: spearman(&long, &drawdown),
        short_term_volatility: spearman(&short, &volatility),
        short_term_drawdown: spearman(&short, &drawdown),
        forecast_volatility: spearman(&forecast, &volatility),
        forecast_drawdown: spearman(&forecast, &drawdown),
    })
}

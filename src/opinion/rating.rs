//! The rating: probabilities of default as grades, for one and for ten years.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::market::bar::Day;
use crate::opinion::envelope::{Envelope, Interval};

/// Answer of `GET /rating/{symbol}`, without `ledger` and `stale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rating {
    /// What every opinion carries.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// One year.
    pub short_term: Option<TermRating>,
    /// Ten years.
    pub long_term: Option<TermRating>,
    /// Where the grade is heading.
    pub outlook: Option<Outlook>,
    /// What the probability was computed from.
    pub basis: Option<RatingBasis>,
    /// Grades of the parts of the accounts.
    pub components: Option<Components>,
    /// Day of the publication since which both grades have been the same.
    #[schema(value_type = Option<String>, format = Date, example = "2024-08-12")]
    pub changed_on: Option<Day>,
    /// The grades before that day.
    pub previous: Option<Grades>,
}

/// The rating of one term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TermRating {
    /// `Aaa`, `Aa1` ... `Caa3`, `Ca`; `C` for a recorded default.
    #[schema(example = "Ba1")]
    pub grade: String,
    /// Physical probability of default within the term, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 0.099)]
    pub default_probability: f64,
    /// Interval of that probability.
    pub interval: Option<Interval>,
    /// Length of the term.
    #[schema(example = 10)]
    pub horizon_years: u32,
    /// Whether the probability was checked against outcomes; ten years are extrapolated.
    pub calibrated: bool,
}

/// Both grades.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grades {
    /// One year.
    #[schema(example = "Ba1")]
    pub short_term: Option<String>,
    /// Ten years.
    #[schema(example = "Ba3")]
    pub long_term: Option<String>,
}

/// Where the grade is heading, from the change of the probability over a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// Improving.
    Positive,
    /// Neither.
    Stable,
    /// Worsening.
    Negative,
}

/// What a default is taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RatingBasis {
    /// The assets fall to the barrier set by the debt.
    BalanceSheet,
    /// The price falls to a fifth.
    PriceOnly,
}

/// Component grades, by percentile in the universe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Components {
    /// Income statement.
    pub income_statement: Option<String>,
    /// Balance sheet.
    pub balance_sheet: Option<String>,
    /// Leverage ratios.
    pub leverage_ratios: Option<String>,
    /// Cash flow.
    pub cash_flow: Option<String>,
    /// Rates of return and profitability.
    pub profitability: Option<String>,
}

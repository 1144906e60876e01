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
    /// The newest forty changes of a walk through the past, newest first: what would have been given at the ends of
    /// quarters with what was known then.
    #[serde(default)]
    pub history: Vec<PastGrades>,
    /// The numbers that decided; `null` without a grade.
    #[serde(default)]
    pub explanation: Option<RatingExplanation>,
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
    /// Whether the one-year volatility behind it was calibrated on realized falls to half; ten years are extrapolated.
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

/// Where the grade is heading: what the ten-year probability did within a quarter. `rating_record` says what came after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// It improved by at least half a notch.
    Positive,
    /// Neither.
    Stable,
    /// It worsened by at least half a notch.
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

/// Component grades: where a company stands by the ratios of its filings among the financial or the other companies, as
/// the grade that stands at the same percentile of the day's long-term grades.
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

/// The grades from a day on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastGrades {
    /// The end of the quarter.
    #[schema(value_type = String, format = Date, example = "2024-06-28")]
    pub as_of: Day,
    /// One year; `null` when there was no rating any more.
    #[schema(example = "A1")]
    pub short_term: Option<String>,
    /// Ten years; `null` when there was no rating any more.
    #[schema(example = "Ba3")]
    pub long_term: Option<String>,
    /// What they were computed from.
    pub basis: Option<RatingBasis>,
    /// Computed afterwards from what was known then; always true, for published ratings stand in the ledger.
    pub walk_forward: bool,
}

/// Why a rating is what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RatingExplanation {
    /// The same in one sentence.
    #[schema(example = "Without a usable balance sheet (fund) the price alone decides.")]
    pub sentence: String,
    /// One year.
    pub short_term: Option<TermExplanation>,
    /// Ten years.
    pub long_term: Option<TermExplanation>,
    /// The balance sheet; `null` on the price-only basis.
    pub accounts: Option<RatedAccounts>,
    /// Short interest rate a year.
    #[schema(example = 0.0452)]
    pub short_rate: f64,
    /// Slope of the share on the market over a year. In `mean` a slope below 0 counts as 0, and so does a mean below 0: neither
    /// more debt nor more volatility may improve a grade.
    #[schema(example = 0.86)]
    pub beta: f64,
    /// Expected return of the market above the short rate, a year.
    #[schema(example = 0.05)]
    pub equity_premium: f64,
}

/// The numbers of one first passage: a value with this volatility and mean falls to the barrier within the term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TermExplanation {
    /// Volatility of the share averaged over the term, a year, `sigma_factor` included.
    #[schema(example = 0.4)]
    pub equity_volatility: f64,
    /// Volatility of what falls, a year: of the assets, or of the share.
    #[schema(example = 0.29)]
    pub volatility: f64,
    /// Its arithmetic drift a year.
    #[schema(example = 0.076)]
    pub mean: f64,
    /// Mean barrier, as a fraction of the value now.
    #[schema(example = 0.27)]
    pub barrier: f64,
    /// Standard deviation of the logarithm of the barrier; 0 on the price-only basis.
    #[schema(example = 0.3)]
    pub barrier_log_deviation: f64,
    /// The part of the probability that comes from not knowing the barrier, which may lie above the value already.
    #[schema(example = 0.0001)]
    pub passed_already: f64,
    /// The calibrated factor on the volatility; 1 over ten years.
    #[schema(example = 1.0)]
    pub sigma_factor: f64,
    /// A probability below this would be a better grade; `null` for the best.
    #[schema(example = 0.124)]
    pub better_below: Option<f64>,
    /// A probability from this on would be a worse grade; `null` for the worst that is computed.
    #[schema(example = 0.198)]
    pub worse_from: Option<f64>,
    /// The closed form of CreditGrades (2002), without drift; `null` on the price-only basis.
    #[schema(example = 0.31)]
    pub credit_grades: Option<f64>,
    /// Merton (1974) with all liabilities due at the end of the term, risk-neutral; `null` on the price-only basis.
    #[schema(example = 0.12)]
    pub merton: Option<f64>,
    /// The probability with the benchmark's volatility, which the outlook compares.
    #[schema(example = 0.17)]
    pub by_benchmark: Option<f64>,
    /// The same 63 sessions ago, with what was known then.
    #[schema(example = 0.15)]
    pub quarter_ago: Option<f64>,
}

/// The balance sheet that was known, with the market value of the day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RatedAccounts {
    /// Close times units, in `currency`.
    #[schema(example = 2.58e11)]
    pub market_value: f64,
    /// Traded units on the split basis of the close.
    #[schema(example = 2.43e9)]
    pub units: f64,
    /// Debt where known, else total assets less equity, in `currency`.
    #[schema(example = 1.1e11)]
    pub liabilities: f64,
    /// Whether `liabilities` is debt.
    pub debt_known: bool,
    /// Total assets, in `currency`.
    #[schema(example = 2.51e11)]
    pub total_assets: f64,
    /// Equity by the books, in `currency`; `null` where it was not filed.
    #[schema(example = 1.4e11)]
    pub equity: Option<f64>,
    /// Currency of the amounts: that of the prices.
    #[schema(example = "USD")]
    pub currency: String,
    /// Currency of the filing.
    #[schema(example = "CNY")]
    pub filing_currency: String,
    /// Units of `currency` for one of `filing_currency`.
    #[schema(example = 0.1425)]
    pub exchange_rate: f64,
    /// Day of the filing.
    #[schema(value_type = String, format = Date, example = "2024-05-23")]
    pub filed: Day,
    /// Day of the balance sheet.
    #[schema(value_type = String, format = Date, example = "2024-03-31")]
    pub period_end: Day,
}

//! The record of the ratings: what would have been given in the past, and what came of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::market::bar::Day;
use crate::opinion::envelope::Envelope;
use crate::opinion::rating::Outlook;

/// How good the ratings would have been: a walk through the past, in which each quarter's ratings know only what was
/// known then. `symbol` is `null`: it is of all instruments at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RatingRecord {
    /// What every opinion carries.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The last session that the record knew.
    #[schema(value_type = String, format = Date, example = "2024-09-30")]
    pub until: Day,
    /// First end of a quarter with ratings.
    #[schema(value_type = Option<String>, format = Date, example = "2015-03-31")]
    pub from: Option<Day>,
    /// Ends of quarters with ratings.
    #[schema(example = 39)]
    pub quarters: u32,
    /// Ratings given at them.
    #[schema(example = 5038)]
    pub ratings: u32,
    /// The factor on the one-year volatility.
    pub calibration: FactorCalibration,
    /// Predicted against realized falls to half, by year of the forecast; only years with matured forecasts.
    pub by_year: Vec<YearCalibration>,
    /// The same by short-term grade, best first; only grades that were given.
    pub by_grade: Vec<GradeCalibration>,
    /// Where the grades were four quarters later.
    pub transitions: TermTransitions,
    /// What outlooks were followed by.
    pub outlooks: Vec<OutlookRecord>,
    /// Share counts that were refused, repaired, or taken for the first after a split.
    pub share_counts: Vec<ShareCount>,
}

/// A factor on the volatility of the one-year first passage, fitted so that as many shares were expected to lose half of
/// their value within a year as did, and shrunk to 1 by its error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FactorCalibration {
    /// The factor used.
    #[schema(example = 1.05)]
    pub factor: f64,
    /// The factor fitted; `null` when not calibrated.
    #[schema(example = 1.15)]
    pub fitted: Option<f64>,
    /// Its standard error, a year being one observation; `null` when not calibrated.
    #[schema(example = 0.12)]
    pub standard_error: Option<f64>,
    /// Whether there were enough falls: 30 pairs of instrument and year, in three years.
    pub calibrated: bool,
    /// What is missing: `too_few_events`, `too_few_years`, `out_of_range`; `null` when calibrated.
    pub reason: Option<String>,
    /// Matured forecasts behind it.
    #[schema(example = 13519)]
    pub rows: u32,
    /// Of them, with a fall to half.
    #[schema(example = 587)]
    pub events: u32,
    /// Pairs of instrument and year with one.
    #[schema(example = 131)]
    pub instrument_years: u32,
    /// Years with one.
    #[schema(example = 8)]
    pub event_years: u32,
}

/// The forecasts of a year, with the factor that was in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct YearCalibration {
    /// Year of the forecasts.
    #[schema(example = 2022)]
    pub year: i32,
    /// The factor in force, from what had matured before the year.
    #[schema(example = 1.05)]
    pub factor: f64,
    /// Whether it was calibrated; else it is 1.
    pub calibrated: bool,
    /// Forecasts whose year is over.
    #[schema(example = 1584)]
    pub rows: u32,
    /// Of them, with a fall to half.
    #[schema(example = 83)]
    pub events: u32,
    /// Mean probability of one.
    #[schema(minimum = 0, maximum = 1, example = 0.108)]
    pub predicted: f64,
    /// The same with factor 1.
    #[schema(minimum = 0, maximum = 1, example = 0.096)]
    pub predicted_without: f64,
    /// Share with a fall.
    #[schema(minimum = 0, maximum = 1, example = 0.052)]
    pub realized: f64,
}

/// The forecasts behind a grade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GradeCalibration {
    /// Short-term grade.
    #[schema(example = "Ba1")]
    pub grade: String,
    /// Ratings whose year is over.
    #[schema(example = 57)]
    pub rows: u32,
    /// Of them, of shares that lost half.
    #[schema(example = 6)]
    pub events: u32,
    /// Mean probability of losing half.
    #[schema(minimum = 0, maximum = 1, example = 0.124)]
    pub predicted: f64,
    /// Share that did.
    #[schema(minimum = 0, maximum = 1, example = 0.105)]
    pub realized: f64,
    /// Mean probability of default within the year, which is rarer and was not observed.
    #[schema(minimum = 0, maximum = 1, example = 0.0097)]
    pub default_probability: f64,
}

/// The transitions of both terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TermTransitions {
    /// One-year grades.
    pub short_term: Transitions,
    /// Ten-year grades.
    pub long_term: Transitions,
}

/// Where grades were four quarters later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Transitions {
    /// The letters of the columns of `letters.to`, best first.
    pub columns: Vec<String>,
    /// Counts by letter; only letters in which something began.
    pub letters: Vec<LetterRow>,
    /// Counts by notch; only pairs that occurred.
    pub notches: Vec<Transition>,
    /// Share that kept their notch, of those still rated.
    #[schema(example = 0.39)]
    pub unchanged: Option<f64>,
    /// Share within one notch, of those still rated.
    #[schema(example = 0.73)]
    pub within_one_notch: Option<f64>,
}

/// A row of the matrix in letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LetterRow {
    /// Letter at first.
    #[schema(example = "Baa")]
    pub from: String,
    /// Ratings that began there.
    #[schema(example = 412)]
    pub count: u32,
    /// Counts by letter four quarters later.
    pub to: Vec<u32>,
    /// No longer rated.
    #[schema(example = 0)]
    pub withdrawn: u32,
}

/// A pair of grades.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transition {
    /// Grade at first.
    #[schema(example = "Baa1")]
    pub from: String,
    /// Grade four quarters later, or `withdrawn`.
    #[schema(example = "Baa2")]
    pub to: String,
    /// How often.
    #[schema(example = 21)]
    pub count: u32,
}

/// What an outlook was followed by within four quarters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutlookRecord {
    /// Which.
    pub outlook: Outlook,
    /// How often it was given.
    #[schema(example = 788)]
    pub count: u32,
    /// Of them, still rated four quarters later.
    #[schema(example = 713)]
    pub followed: u32,
    /// Of these, with a better long-term grade.
    #[schema(example = 296)]
    pub upgraded: u32,
    /// Of these, with a worse one.
    #[schema(example = 231)]
    pub downgraded: u32,
}

/// A filed share count that was not simply used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShareCount {
    /// Whose.
    #[schema(example = "BKNG")]
    pub symbol: String,
    /// Day of the filing.
    #[schema(value_type = String, format = Date, example = "2024-08-01")]
    pub filed: Day,
    /// Shares as filed.
    #[schema(example = 856_675_000.0)]
    pub as_filed: f64,
    /// Traded units used, on the split basis of the filing; `null` where refused, with the reason beside it.
    pub used: Option<f64>,
    /// `not_positive`, `equals_equity`, `absurd_book_value`, `off_neighbours`, `implausible_turnover` for those refused;
    /// `in_thousands`, `in_millions` for those repaired; `unrecorded_split` for one that jumps like a split.
    #[schema(example = "implausible_turnover")]
    pub reason: String,
}

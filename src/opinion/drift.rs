//! Whether the ground under the answers moves: what a drift report says of the universe and of an instrument.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::market::bar::Day;
use crate::opinion::envelope::Reasons;

/// Drift of one instrument: its features against the training span of the model in force, its prices against the calendar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstrumentDrift {
    /// Newest session that was looked at.
    #[schema(value_type = String, format = Date, example = "2024-09-30")]
    pub as_of: Day,
    /// The model in force then, whose training span is the reference.
    #[schema(example = "2024-09-30.3f9c12ab")]
    pub model_id: Option<String>,
    /// Features by factor: market, momentum, fundamentals, risk.
    pub factors: Vec<FactorDrift>,
    /// How old the prices were.
    pub staleness: Staleness,
    /// What is missing between them.
    pub gaps: Gaps,
    /// Bars of the last year that were revised after they had been stored.
    #[schema(minimum = 0, example = 0)]
    pub revised_bars: u32,
    /// Why a field is `null`, by its name.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub reasons: Reasons,
}

/// Drift of one factor's features over the recent window. All numbers are `null` with a reason where nothing could be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FactorDrift {
    /// `market`, `momentum`, `fundamentals` or `risk`.
    #[schema(example = "risk")]
    pub factor: String,
    /// Population stability index against the tenths of the training span, mean over the factor's columns.
    #[schema(minimum = 0, example = 0.19)]
    pub psi: Option<f64>,
    /// The same of windows of the training span itself, on average: what is seen when nothing has changed.
    #[schema(minimum = 0, example = 0.14)]
    pub psi_noise_level: Option<f64>,
    /// Kolmogorov-Smirnov distance, mean over the factor's columns.
    #[schema(minimum = 0, maximum = 1, example = 0.12)]
    pub kolmogorov_smirnov: Option<f64>,
    /// The same of windows of the training span itself, on average.
    #[schema(minimum = 0, maximum = 1, example = 0.11)]
    pub kolmogorov_smirnov_noise_level: Option<f64>,
    /// Chance that any of the four factors lies as far out as this one if nothing has changed.
    #[schema(minimum = 0, maximum = 1, example = 0.37)]
    pub p_value: Option<f64>,
    /// `null` with fewer windows of the training span than the level of 5 % needs.
    pub verdict: Option<DriftVerdict>,
    /// Why there is no verdict.
    #[schema(example = json!(null))]
    pub reason: Option<String>,
}

/// What the features say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftVerdict {
    /// Not farther out than windows of the training span, or by less than .1.
    Stable,
    /// Farther out, by .1 to .25 above the noise level.
    Moderate,
    /// Farther out, by .25 or more above the noise level.
    Drifted,
}

/// How old the newest price is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Staleness {
    /// Sessions of the New York exchange that have closed since the last bar; `null` without bars.
    #[schema(minimum = 0, example = 0)]
    pub sessions_behind: Option<u32>,
    /// Day of the last bar; `null` without bars.
    #[schema(value_type = Option<String>, format = Date, example = "2024-09-30")]
    pub last_bar: Option<Day>,
}

/// Sessions without a bar in the year that ends at the last bar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gaps {
    /// Sessions of the New York exchange in that year, from the first bar on.
    #[schema(minimum = 0, example = 252)]
    pub sessions: u32,
    /// Of them without a bar.
    #[schema(minimum = 0, example = 1)]
    pub missing: u32,
    /// Of these among the newest 20 sessions.
    #[schema(minimum = 0, example = 0)]
    pub missing_lately: u32,
    /// Most missing in a row.
    #[schema(minimum = 0, example = 1)]
    pub longest: u32,
}

/// How old a factor series is, measured by its own habit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesStaleness {
    /// Name of the series.
    pub id: String,
    /// Day of the last value.
    pub last_day: Day,
    /// Sessions that have closed since.
    pub sessions_behind: u32,
    /// Most sessions between two neighbouring values of its last year.
    pub usual_step_sessions: u32,
    /// Late by more than its usual step and a week.
    pub stale: bool,
}

/// Drift of the universe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UniverseDrift {
    /// Sessions of the recent window.
    pub window_sessions: usize,
    /// Windows of the training span that it was held against.
    pub windows: usize,
    /// Features of all instruments together.
    pub factors: Vec<FactorDrift>,
    /// Instruments with bars.
    pub instruments: usize,
    /// Instruments with a factor that has drifted, each tested by itself: one in twenty is expected without any change.
    pub drifted_instruments: usize,
    /// Instruments whose prices have stopped, those that stopped long ago included.
    pub stale_instruments: usize,
    /// Instruments with a session without a bar in their last year.
    pub instruments_with_gaps: usize,
    /// The factor series.
    pub series: Vec<SeriesStaleness>,
    /// What live scores say.
    pub performance: LivePerformance,
}

/// What the confidence sequences of the live scores say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LivePerformance {
    /// One a head and horizon with live scores.
    pub measures: Vec<PerformanceMeasure>,
}

/// Live gains of one head over its benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerformanceMeasure {
    /// Such as `volatility 4w`.
    pub of: String,
    /// Mean gain over the benchmark, in the unit of the loss.
    pub mean: f64,
    /// Lower end of its confidence sequence.
    pub lower: f64,
    /// Upper end of its confidence sequence.
    pub upper: f64,
    /// Scores that do not overlap.
    pub observations: u32,
    /// The sequence lies below 0: what is served has become worse than the benchmark.
    pub drifted: bool,
}

/// Something that an operator should see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What sort.
    pub kind: AlarmKind,
    /// Which factor, head or series.
    pub subject: String,
    /// One plain sentence with the numbers.
    pub message: String,
}

/// Sorts of alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The features of the universe have left the training span.
    FeatureDrift,
    /// What is served has become worse than its benchmark.
    PerformanceDrift,
    /// Prices have stopped.
    StalePrices,
    /// A factor series has stopped.
    StaleSeries,
    /// Bars are missing.
    Gaps,
}

impl AlarmKind {
    /// All sorts.
    pub const ALL: [Self; 5] =
        [Self::FeatureDrift, Self::PerformanceDrift, Self::StalePrices, Self::StaleSeries, Self::Gaps];

    /// The word used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FeatureDrift => "feature_drift",
            Self::PerformanceDrift => "performance_drift",
            Self::StalePrices => "stale_prices",
            Self::StaleSeries => "stale_series",
            Self::Gaps => "gaps",
        }
    }

    /// Whether a training could help: new prices cannot be trained into being.
    #[must_use]
    pub fn calls_for_training(self) -> bool {
        matches!(self, Self::FeatureDrift | Self::PerformanceDrift)
    }
}

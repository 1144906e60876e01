//! The predictability: whether anything about an instrument could be predicted, with the tests that say so.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::market::bar::Day;
use crate::opinion::envelope::Envelope;
use crate::opinion::explanation::PredictabilityExplanation;
use crate::opinion::signal::{TermVerdicts, Verdict, Verdicts};

/// Answer of `GET /predictability/{symbol}`, without `ledger` and `stale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Predictability {
    /// What every opinion carries.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Four weeks.
    pub short_term: Option<TermPredictability>,
    /// A year.
    pub long_term: Option<TermPredictability>,
    /// What it rests on.
    #[serde(default)]
    pub explanation: Option<PredictabilityExplanation>,
}

/// The verdicts of one term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TermPredictability {
    /// The sign of the return.
    pub direction: HeadPredictability,
    /// Its size.
    pub volatility: HeadPredictability,
    /// Its rank in the universe.
    pub rank: HeadPredictability,
}

/// The verdict on one head: a forecast against a named benchmark, both made before the outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeadPredictability {
    /// `predictable` needs windows enough for 80 % power, the deciding test below .05 when adjusted for all instruments,
    /// and a gain over all days and in two of three eras.
    pub verdict: Verdict,
    /// What is missing for `predictable`: `no_forecasts`, `too_few_windows`, `no_variation`, `not_significant`,
    /// `no_steady_gain`; `null` for `predictable`.
    #[schema(example = "not_significant")]
    pub reason: Option<String>,
    /// What had to be beaten.
    #[schema(example = "roll252")]
    pub benchmark: String,
    /// Who tried.
    #[schema(example = "harx2")]
    pub forecast: String,
    /// The one test that decides.
    pub deciding_test: VerdictTest,
    /// Tests that are reported and decide nothing.
    pub other_tests: Vec<VerdictTest>,
    /// Matured windows of one horizon that do not overlap.
    #[schema(minimum = 0, example = 108)]
    pub windows: u32,
    /// Windows from which on the deciding test finds a gain of a quarter of its standard deviation in 80 % of all cases.
    #[schema(minimum = 0, example = 101)]
    pub windows_needed: Option<u32>,
    /// Chance of finding that gain in the windows there are, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 0.82)]
    pub power: Option<f64>,
    /// `1 - loss / loss of the benchmark` over all matured days: above 0 is better than the benchmark.
    #[schema(example = 0.061)]
    pub skill: Option<f64>,
    /// Three disjoint spans of time, ascending; none while there are fewer than three windows.
    pub eras: Vec<EraGain>,
    /// The day on which the next window will have matured, so that the verdict may change.
    #[schema(value_type = Option<String>, format = Date, example = "2024-10-28")]
    pub next_test_date: Option<Day>,
}

/// A test of a forecast against a benchmark. Large statistics speak for the forecast. Numbers have six decimals, so a
/// p-value of 0 is one below 5e-7.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerdictTest {
    /// Name of the test.
    #[schema(example = "diebold_mariano")]
    pub name: String,
    /// Its statistic.
    #[schema(example = 3.12)]
    pub statistic: Option<f64>,
    /// Probability of a larger statistic without skill, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 0.0012)]
    pub p_value: Option<f64>,
    /// The same, adjusted for the tests of all instruments (Benjamini and Yekutieli 2001); only the deciding test is.
    #[schema(minimum = 0, maximum = 1, example = 0.021)]
    pub adjusted_p_value: Option<f64>,
}

/// The gain over the benchmark in one span of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EraGain {
    /// First decision day.
    #[schema(value_type = String, format = Date, example = "2016-01-04")]
    pub from: Day,
    /// Last decision day.
    #[schema(value_type = String, format = Date, example = "2018-11-15")]
    pub to: Day,
    /// Its decision days; where their horizons overlap, they are more than the windows that do not.
    #[schema(minimum = 1, example = 36)]
    pub windows: u32,
    /// Mean of `loss of the benchmark - loss`, in the unit of the loss.
    #[schema(example = 0.0041)]
    pub gain: f64,
}

impl Predictability {
    /// The verdicts alone, as they stand in the signal; `None` when there are none for either term.
    #[must_use]
    pub fn verdicts(&self) -> Option<Verdicts> {
        let term = |t: &TermPredictability| TermVerdicts {
            direction: t.direction.verdict,
            volatility: t.volatility.verdict,
            rank: t.rank.verdict,
        };
        let (short_term, long_term) = (self.short_term.as_ref().map(term), self.long_term.as_ref().map(term));
        (short_term.is_some() || long_term.is_some()).then_some(Verdicts { short_term, long_term })
    }
}

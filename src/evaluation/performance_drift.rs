//! Performance drift: whether what was served over the last year is worse than the benchmark beyond chance.

use chrono::Days;
use serde::Serialize;

use crate::evaluation::live_days::{Measure, Scope, ScoredDay};
use crate::evaluation::track_record::{GainBounds, measure_record};
use crate::market::bar::Day;
use crate::market::horizon::Horizon;

/// Days of the past that count.
pub const DRIFT_DAYS: u64 = 365;

/// The measures that drift is told by: those of forecasts, and the payoff that actions are chosen for.
pub const DRIFT_MEASURES: [Measure; 5] =
    [Measure::RankedProbabilityScore, Measure::PinballLoss, Measure::Qlike, Measure::BrierScore, Measure::Payoff];

/// What the last year says of one measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PerformanceDrift {
    /// How far the answers looked ahead.
    pub horizon: Horizon,
    /// What is compared with the benchmark.
    pub measure: Measure,
    /// The whole confidence sequence of the gain lies below 0: what was served is worse.
    pub drifted: bool,
    /// Decision days.
    pub days: usize,
    /// First decision day.
    pub first_day: Day,
    /// Last decision day.
    pub last_day: Day,
    /// Mean of what was served.
    pub served: f64,
    /// Mean of the benchmark on the same days.
    pub benchmark: f64,
    /// By how much the served answers were better.
    pub gain: f64,
    /// Bounds on the mean gain.
    pub bounds: GainBounds,
}

/// What the scored days of one horizon, ascending, say of the year that ends at `until`: one a measure that has a
/// benchmark on some day that matured within it.
///
/// The bounds hold at all times for a span whose first day is fixed. Looked at every day the year begins later every day,
/// so the promise is that of each span by itself: an alarm to be acted on within limits, not a verdict. Days on which the
/// benchmark was served gain nothing and count.
#[must_use]
pub fn performance_drift(days: &[ScoredDay], horizon: Horizon, scope: Scope, until: Day) -> Vec<PerformanceDrift> {
    let since = until.checked_sub_days(Days::new(DRIFT_DAYS)).unwrap_or(until);
    let within = |day: &&ScoredDay| day.matured_on > since && day.matured_on <= until;
    let year: Vec<ScoredDay> = days.iter().filter(within).cloned().collect();
    let (Some(first), Some(last)) = (year.first(), year.last()) else { return Vec::new() };
    let drift = |measure: Measure| {
        let record = measure_record(&year, measure, (horizon, scope))?;
        let bounds = record.confidence?;
        Some(PerformanceDrift {
            horizon,
            measure,
            drifted: bounds.upper < 0.0,
            days: record.days,
            first_day: first.as_of,
            last_day: last.as_of,
            served: record.served,
            benchmark: record.benchmark?,
            gain: record.gain?,
            bounds,
        })
    };
    DRIFT_MEASURES.into_iter().filter_map(drift).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::evaluation::live_days::DayScores;
    use crate::evaluation::live_days::tests::score;
    use crate::market::calendar;

    /// Weekly decisions over one week, from 2022 on; `gain` by number.
    fn weeks(count: usize, gain: impl Fn(usize) -> Option<f64>) -> Vec<ScoredDay> {
        let start = Day::from_ymd_opt(2022, 1, 3).unwrap();
        let day = |k: usize| {
            let as_of = calendar::add_sessions(start, 5 * k);
            let scores = DayScores::of(&[score(0.4, gain(k).map(|g| 0.4 + g))], BTreeMap::new());
            ScoredDay { as_of, matured_on: calendar::add_sessions(as_of, 5), scores }
        };
        (0..count).map(day).collect()
    }

    fn qlike(days: &[ScoredDay]) -> PerformanceDrift {
        let until = days.last().unwrap().matured_on;
        let found = performance_drift(days, Horizon::OneWeek, Scope::Universe, until);
        *found.iter().find(|d| d.measure == Measure::Qlike).unwrap()
    }

    #[test]
    fn only_a_loss_beyond_chance_is_drift() {
        let wobble = |k: usize| if k.is_multiple_of(2) { 0.02 } else { -0.02 };
        for (name, mean, drifted) in [("as good", 0.0, false), ("better", 0.05, false), ("worse", -0.06, true)] {
            let found = qlike(&weeks(52, |k| Some(mean + wobble(k))));
            assert_eq!(found.drifted, drifted, "{name}: {:?}", found.bounds);
            assert!((found.gain - mean).abs() < 1e-3 && found.days > 45, "{name}: {}", found.gain);
        }
        let few = qlike(&weeks(3, |_| Some(-0.06)));
        assert!(!few.drifted, "three weeks show nothing");
    }

    #[test]
    fn what_lies_more_than_a_year_back_is_forgotten() {
        let found = qlike(&weeks(104, |k| Some(if k < 52 { -0.1 } else { 0.0 })));
        assert!(!found.drifted && found.gain == 0.0 && found.days <= 53);
        assert!(found.first_day > Day::from_ymd_opt(2022, 12, 20).unwrap());
    }

    #[test]
    fn without_a_benchmark_or_days_nothing_is_said_but_of_payoffs() {
        let days = weeks(30, |_| None);
        let until = days.last().unwrap().matured_on;
        let found = performance_drift(&days, Horizon::OneWeek, Scope::Universe, until);
        assert_eq!(found.iter().map(|d| d.measure).collect::<Vec<_>>(), [Measure::Payoff]);
        assert!(performance_drift(&[], Horizon::OneWeek, Scope::Universe, until).is_empty());
        let early = Day::from_ymd_opt(2022, 1, 3).unwrap();
        assert!(performance_drift(&days, Horizon::OneWeek, Scope::Universe, early).is_empty(), "not yet matured then");
    }
}

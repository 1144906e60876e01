//! Factor series: rates, indices and factor returns, each value with the moment the world could know it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::market::bar::Day;
use crate::market::calendar;

/// One value of a factor series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Day the value describes.
    pub day: Day,
    /// When the world could know it.
    pub known_at: DateTime<Utc>,
    /// Value in the unit of the series; finite.
    pub value: f64,
}

/// A named series (`DGS2`, `VIXCLS`, `Mkt-RF`, ...), ascending by day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactorHistory {
    /// Name, as in the source.
    pub id: String,
    /// Values, ascending by day; of a revised day every version, each with its own `known_at`.
    pub observations: Vec<Observation>,
}

impl FactorHistory {
    /// For each session the newest value that was known at its close; NaN before the first.
    ///
    /// # Shapes
    /// One value a session. `sessions` must ascend.
    #[must_use]
    pub fn known_at_close(&self, sessions: &[Day]) -> Vec<f64> {
        let mut by_knowledge: Vec<&Observation> = self.observations.iter().collect();
        by_knowledge.sort_by_key(|o| (o.known_at, o.day));
        let (mut next, mut newest): (usize, Option<&Observation>) = (0, None);
        let mut values = Vec::with_capacity(sessions.len());
        for session in sessions {
            let close = calendar::close_of(*session);
            while let Some(candidate) = by_knowledge.get(next).filter(|o| o.known_at <= close) {
                newest = newest.filter(|n| n.day > candidate.day).or(Some(candidate));
                next += 1;
            }
            values.push(newest.map_or(f64::NAN, |o| o.value));
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_appears_only_once_it_is_known() {
        let days: Vec<Day> = (1..=4).map(|d| Day::from_ymd_opt(2024, 10, d).unwrap()).collect();
        let observations = (0..3)
            .map(|i| Observation { day: days[i], known_at: calendar::close_of(days[i + 1]), value: i as f64 })
            .collect();
        let series = FactorHistory { id: "DGS2".into(), observations };
        let values = series.known_at_close(&days);
        assert!(values[0].is_nan());
        assert_eq!(values[1..], [0.0, 1.0, 2.0]);
    }
}

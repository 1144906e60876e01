//! Where a grade is heading: its probability now against that of a quarter ago.

use serde::{Deserialize, Serialize};

use super::probability::Probability;
use super::scale::Scale;

/// Notches by which the long-term position has to move within a quarter.
pub const OUTLOOK_NOTCHES: f64 = 0.5;

/// Where a grade is heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// The position improved by at least half a notch.
    Positive,
    /// Neither.
    Stable,
    /// The position worsened by at least half a notch.
    Negative,
}

/// The place of a probability among the grades: 0 at that of Aaa, 1 at that of Aa1, up to 19 at that of Ca, between them
/// by ln probability, at the ends held.
#[must_use]
pub fn position(default_probability: Probability, years: f64, scale: &Scale) -> f64 {
    let logs = scale.default_probabilities(years).map(f64::ln);
    let wanted = default_probability.value().ln();
    let above = logs.partition_point(|log| *log <= wanted);
    if above == 0 {
        return 0.0;
    }
    match logs.get(above) {
        Some(next) => (above - 1) as f64 + (wanted - logs[above - 1]) / (next - logs[above - 1]),
        None => (logs.len() - 1) as f64,
    }
}

/// The outlook from the long-term probabilities now and a quarter ago, both computed in the same way.
///
/// Half a notch carries a grade from the middle of its range to the next: were the coming quarter like the last, the
/// grade would change.
#[must_use]
pub fn outlook(now: Probability, quarter_ago: Probability, years: f64, scale: &Scale) -> Outlook {
    let moved = position(now, years, scale) - position(quarter_ago, years, scale);
    if moved >= OUTLOOK_NOTCHES {
        Outlook::Negative
    } else if moved <= -OUTLOOK_NOTCHES {
        Outlook::Positive
    } else {
        Outlook::Stable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn probability(value: f64) -> Probability {
        Probability::new(value).unwrap()
    }

    #[test]
    fn grades_stand_at_their_numbers() {
        let scale = Scale::idealized();
        for years in [1.0, 10.0] {
            for (k, p) in scale.default_probabilities(years).into_iter().enumerate() {
                assert!((position(probability(p), years, scale) - k as f64).abs() < 1e-9);
            }
        }
        let cut = scale.cut_points(10.0)[6];
        assert!((position(probability(cut), 10.0, scale) - 6.5).abs() < 1e-9);
        assert_eq!(position(Probability::ZERO, 10.0, scale), 0.0);
        assert_eq!(position(Probability::ONE, 10.0, scale), 19.0);
    }

    #[test]
    fn half_a_notch_is_a_direction() {
        let scale = Scale::idealized();
        let at = |from: f64, to: f64| outlook(probability(to), probability(from), 10.0, scale);
        let [a3, baa1] = [0.018, 0.026];
        assert_eq!(at(a3, baa1), Outlook::Negative);
        assert_eq!(at(baa1, a3), Outlook::Positive);
        assert_eq!(at(a3, 0.02), Outlook::Stable);
        assert_eq!(at(1e-9, 5e-5), Outlook::Stable, "nothing is better than Aaa");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn the_position_rises_with_the_probability(a in 0.0..=1.0_f64, b in 0.0..=1.0_f64, years in 0.5..15.0_f64) {
            let at = |p: f64| position(probability(p), years, Scale::idealized());
            prop_assert!(at(a.min(b)) <= at(a.max(b)));
            let swapped = |o: Outlook| match o {
                Outlook::Positive => Outlook::Negative,
                Outlook::Stable => Outlook::Stable,
                Outlook::Negative => Outlook::Positive,
            };
            let one = |from: f64, to: f64| outlook(probability(to), probability(from), years, Scale::idealized());
            prop_assert_eq!(one(a, b), swapped(one(b, a)));
        }
    }
}

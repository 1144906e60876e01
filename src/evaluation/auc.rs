//! Area under the receiver operating characteristic: does a probability order what happened?

use crate::evaluation::rank_scores::average_ranks;

/// Area under the ROC curve as the statistic of Mann and Whitney (1947): the share of pairs of an event and a non-event
/// in which the event had the higher score, ties counting half. 0..1; .5 without skill.
///
/// `None` when only one class occurred, a score is not finite, or the lengths differ.
#[must_use]
pub fn area_under_curve(scores: &[f64], events: &[bool]) -> Option<f64> {
    let positive = events.iter().filter(|e| **e).count() as f64;
    let negative = events.len() as f64 - positive;
    let usable = scores.len() == events.len() && scores.iter().all(|s| s.is_finite());
    if !usable || positive == 0.0 || negative == 0.0 {
        return None;
    }
    let rank_sum: f64 = average_ranks(scores).iter().zip(events).filter(|(_, e)| **e).map(|(r, _)| r).sum();
    Some((rank_sum - positive * (positive + 1.0) / 2.0) / (positive * negative))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_area_counts_ordered_pairs() {
        let events = [false, false, true, true];
        // sklearn.metrics.roc_auc_score, the example of its documentation.
        assert_eq!(area_under_curve(&[0.1, 0.4, 0.35, 0.8], &events), Some(0.75));
        assert_eq!(area_under_curve(&[0.5; 4], &events), Some(0.5));
        assert_eq!(area_under_curve(&[4.0, 3.0, 2.0, 1.0], &events), Some(0.0));
        assert_eq!(area_under_curve(&[0.1, 0.4], &[true, true]), None);
        assert_eq!(area_under_curve(&[0.1, f64::NAN], &[true, false]), None);
        assert_eq!(area_under_curve(&[0.1], &[true, false]), None);
        assert_eq!(area_under_curve(&[], &[]), None);
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs(rows in prop::collection::vec((0i32..6, any::<bool>()), 2..40)) {
            let scores: Vec<f64> = rows.iter().map(|r| f64::from(r.0)).collect();
            let events: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let pairs = rows.iter().filter(|r| r.1).flat_map(|p| rows.iter().filter(|r| !r.1).map(move |n| p.0.cmp(&n.0)));
            let worth: Vec<f64> = pairs.map(|o| (f64::from(o as i8) + 1.0) / 2.0).collect();
            let expected = (!worth.is_empty()).then(|| worth.iter().sum::<f64>() / worth.len() as f64);
            match (area_under_curve(&scores, &events), expected) {
                (Some(area), Some(expected)) => prop_assert!((area - expected).abs() < 1e-12),
                (area, expected) => prop_assert_eq!(area, expected),
            }
        }
    }
}

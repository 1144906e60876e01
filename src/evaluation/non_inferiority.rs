//! May new weights of a seated recipe replace the old ones?

use serde::{Deserialize, Serialize};

use crate::evaluation::gate::{GATE_LEVEL, MINIMUM_GATE_DAYS, MINIMUM_GATE_WINDOWS};
use crate::evaluation::paired_tests::diebold_mariano;

/// Share of the old weights' loss by which the new ones may be worse.
pub const NON_INFERIORITY_MARGIN: f64 = 0.01;

/// Whether the new weights are shown to be no worse than the margin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NonInferiority {
    /// The new weights may replace the old ones.
    pub accepted: bool,
    /// Mean loss of the new weights over that of the old ones; `None` without a positive loss.
    pub loss_ratio: Option<f64>,
    /// Diebold-Mariano/HLN of `(1 + margin) old - new`, where it is defined.
    pub statistic: Option<f64>,
    /// Probability of a larger statistic if the new weights are worse by the margin or more.
    pub p_value_one_sided: Option<f64>,
    /// Days compared.
    pub days: usize,
    /// What decided.
    pub reason: NonInferiorityReason,
}

/// What decided about new weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonInferiorityReason {
    /// Losses beyond the margin are rejected.
    Passed,
    /// Too few days or horizons end to end to test, or differing numbers of days.
    TooFewDays,
    /// A loss is not a number, or below 0, where a margin in percent has no sense.
    NotComparable,
    /// Losses beyond the margin are not rejected.
    NotShown,
}

/// One-sided paired test that the new weights' mean loss is below `(1 + margin)` times the old ones': Diebold-Mariano/HLN
/// on `(1 + margin) old - new`, one number a day, at [`GATE_LEVEL`].
///
/// **The burden lies on the new weights.** The hypothesis to be rejected is that they are worse by the margin or more; days
/// that show nothing, or are too few, leave the old weights in force. The old ones earned the seat out of sample and the
/// new ones did not, so doubt must not speak for the new. The margin makes this payable: weights that differ little have
/// differences far smaller than 1 % of the loss, and pass after few days.
///
/// Losses must be 0 or more (QLIKE, Brier, ranked probability score). `overlap_steps` as in
/// [`paired_tests`](crate::evaluation::paired_tests).
#[must_use]
pub fn non_inferior(new_losses: &[f64], old_losses: &[f64], margin: f64, overlap_steps: usize) -> NonInferiority {
    let slack: Vec<f64> = old_losses.iter().zip(new_losses).map(|(old, new)| (1.0 + margin) * old - new).collect();
    let comparable = new_losses.iter().chain(old_losses).all(|l| l.is_finite() && *l >= 0.0);
    let test = diebold_mariano(&slack, overlap_steps).filter(|_| comparable);
    // Days that are all alike have no statistic, and need none.
    let shown = test.map_or_else(
        || slack.iter().all(|s| *s > 0.0),
        |test| test.statistic > 0.0 && test.p_value_one_sided < GATE_LEVEL,
    );
    let few = slack.len() < MINIMUM_GATE_DAYS.max(MINIMUM_GATE_WINDOWS * overlap_steps);
    let reason = match (few || new_losses.len() != old_losses.len(), comparable, shown) {
        (true, ..) => NonInferiorityReason::TooFewDays,
        (false, false, _) => NonInferiorityReason::NotComparable,
        (false, true, true) => NonInferiorityReason::Passed,
        (false, true, false) => NonInferiorityReason::NotShown,
    };
    let ratio = new_losses.iter().sum::<f64>() / old_losses.iter().sum::<f64>();
    NonInferiority {
        accepted: reason == NonInferiorityReason::Passed,
        loss_ratio: Some(ratio).filter(|r| comparable && r.is_finite()),
        statistic: test.map(|t| t.statistic),
        p_value_one_sided: test.map(|t| t.p_value_one_sided),
        days: slack.len(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    fn losses(seed: u64, count: usize) -> Vec<f64> {
        let draws = StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed));
        draws.take(count).map(|e: f64| 0.2 * (0.5 * e).exp()).collect()
    }

    /// The losses times a ratio with noise of a given size.
    fn changed(old: &[f64], seed: u64, ratio: f64, noise: f64) -> Vec<f64> {
        let draws = losses(seed, old.len());
        old.iter().zip(draws).map(|(l, d)| l * ratio * (1.0 + noise * ((d / 0.2).ln() / 0.5))).collect()
    }

    fn judged(new: &[f64], old: &[f64]) -> NonInferiority {
        non_inferior(new, old, NON_INFERIORITY_MARGIN, 1)
    }

    #[test]
    fn nearly_equal_weights_pass_and_clearly_worse_ones_do_not() {
        let old = losses(1, 52);
        let passed = judged(&changed(&old, 2, 1.0, 0.01), &old);
        assert!(passed.accepted && (passed.loss_ratio.unwrap() - 1.0).abs() < 0.01, "{passed:?}");
        let worse = judged(&changed(&old, 2, 1.02, 0.01), &old);
        assert_eq!((worse.accepted, worse.reason), (false, NonInferiorityReason::NotShown));
        assert!(worse.p_value_one_sided.unwrap() > 0.95);
        assert!(judged(&old, &old).accepted);
        assert!(judged(&[0.1; 30], &[0.1; 30]).accepted && !judged(&[0.2; 30], &[0.1; 30]).accepted);
    }

    #[test]
    fn doubt_speaks_for_the_old_weights() {
        let old = losses(1, 52);
        // Equal on average, but so noisy that a loss of 1 % cannot be excluded.
        let noisy = judged(&changed(&old, 2, 1.0, 0.4), &old);
        assert_eq!(noisy.reason, NonInferiorityReason::NotShown);
        assert_eq!(judged(&old[..20], &old[..20]).reason, NonInferiorityReason::TooFewDays);
        assert_eq!(judged(&old[..40], &old).reason, NonInferiorityReason::TooFewDays);
        assert_eq!(non_inferior(&old, &old, 0.01, 13).reason, NonInferiorityReason::TooFewDays);
        let mut broken = old.clone();
        broken[3] = f64::NAN;
        assert_eq!(judged(&broken, &old).reason, NonInferiorityReason::NotComparable);
        broken[3] = -0.1;
        let refused = judged(&old, &broken);
        assert_eq!((refused.reason, refused.loss_ratio), (NonInferiorityReason::NotComparable, None));
    }

    #[test]
    fn weights_that_are_worse_by_the_margin_pass_at_most_at_the_level() {
        let passed = |seed: u64| {
            let old = losses(2 * seed, 60);
            let ratio = 1.0 + NON_INFERIORITY_MARGIN;
            judged(&changed(&old, 2 * seed + 1, ratio, 0.03), &old).accepted
        };
        let count = (0..1000).filter(|seed| passed(*seed)).count();
        assert!((20..=80).contains(&count), "{count} of 1000");
    }
}

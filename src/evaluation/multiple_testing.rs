//! Adjusted p-values for many tests at once.

/// Holm's step-down adjustment (1979): controls the chance of one false rejection. In the order given.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![0.0; p_values.len()];
    let mut running: f64 = 0.0;
    for (position, index) in ascending(p_values).into_iter().enumerate() {
        let scaled = (p_values.len() - position) as f64 * p_values[index];
        running = running.max(scaled.min(1.0));
        adjusted[index] = running;
    }
    adjusted
}

/// Benjamini and Yekutieli's step-up adjustment (2001): controls the share of false rejections under any dependence.
/// In the order given.
#[must_use]
pub fn benjamini_yekutieli(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len() as f64;
    let harmonic: f64 = (1..=p_values.len()).map(|k| 1.0 / k as f64).sum();
    let mut adjusted = vec![0.0; p_values.len()];
    let mut running: f64 = 1.0;
    for (position, index) in ascending(p_values).into_iter().enumerate().rev() {
        running = running.min(p_values[index] * count * harmonic / (position + 1) as f64);
        adjusted[index] = running;
    }
    adjusted
}

fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(values: &[f64], expected: &[f64]) {
        assert!(values.iter().zip(expected).all(|(v, e)| (v - e).abs() < 1e-8), "{values:?} is not {expected:?}");
    }

    #[test]
    fn adjustments_have_the_published_values() {
        let p = [0.01, 0.02, 0.03, 0.04];
        close(&holm(&p), &[0.04, 0.06, 0.06, 0.06]);
        close(&benjamini_yekutieli(&p), &[0.083_333_33; 4]);
        close(&holm(&[0.04, 0.01, 0.9]), &[0.08, 0.03, 0.9]);
        assert!(holm(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn adjusting_never_lowers_and_keeps_the_order(p in prop::collection::vec(0.0f64..=1.0, 1..30)) {
            for adjusted in [holm(&p), benjamini_yekutieli(&p)] {
                for i in 0..p.len() {
                    prop_assert!(adjusted[i] >= p[i] - 1e-15 && adjusted[i] <= 1.0);
                    prop_assert!((0..p.len()).all(|j| p[i] > p[j] || adjusted[i] <= adjusted[j]));
                }
            }
        }
    }
}

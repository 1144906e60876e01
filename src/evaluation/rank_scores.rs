//! Scores of ranks: quintile membership, ranked probability score, rank correlation.

/// Number of classes of a rank forecast.
pub const CLASS_COUNT: usize = 5;

/// Quintile membership of each value, by the rule of the M6 competition (2022): the position `p` of `n`, ascending from
/// 1, has class `ceil(5 p / n)`; tied values share the classes of their positions equally.
///
/// The values must be finite. Column 0 is the worst fifth; each row sums to 1.
///
/// # Shapes
/// One row a value.
#[must_use]
pub fn quintile_membership(values: &[f64]) -> Vec<[f64; CLASS_COUNT]> {
    let mut membership = vec![[0.0; CLASS_COUNT]; values.len()];
    for tied in tied_positions(values) {
        let mut shared = [0.0; CLASS_COUNT];
        for position in tied.first..tied.first + tied.indices.len() {
            shared[(CLASS_COUNT * position).div_ceil(values.len()) - 1] += 1.0 / tied.indices.len() as f64;
        }
        for index in tied.indices {
            membership[index] = shared;
        }
    }
    membership
}

/// Ranked probability score of one row, `mean over k of (F_k - 1{class <= k})^2` over the five cumulative classes
/// (Epstein 1969, in the form of the M6 competition). 0 is perfect; uniform probabilities score .16 on average.
#[must_use]
pub fn ranked_probability_score(probabilities: &[f64; CLASS_COUNT], membership: &[f64; CLASS_COUNT]) -> f64 {
    let (mut forecast, mut realized, mut sum) = (0.0, 0.0, 0.0);
    for (p, c) in probabilities.iter().zip(membership) {
        forecast += p;
        realized += c;
        sum += (forecast - realized) * (forecast - realized);
    }
    sum / CLASS_COUNT as f64
}

/// Expected class of a rank forecast, 1 (worst) to 5 (best).
#[must_use]
pub fn expected_class(probabilities: &[f64; CLASS_COUNT]) -> f64 {
    probabilities.iter().enumerate().map(|(k, p)| (k + 1) as f64 * p).sum()
}

/// Spearman's rank correlation (1904), ties at their average rank; the daily information coefficient of a forecast.
///
/// `None` for fewer than three pairs, differing lengths, or when one side is constant.
#[must_use]
pub fn spearman(forecast: &[f64], realized: &[f64]) -> Option<f64> {
    if forecast.len() != realized.len() || forecast.len() < 3 {
        return None;
    }
    let (x, y) = (average_ranks(forecast), average_ranks(realized));
    let centre = (forecast.len() + 1) as f64 / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - centre) * (b - centre)).sum::<f64>();
    let scale = (product(&x, &x) * product(&y, &y)).sqrt();
    (scale > 0.0).then(|| product(&x, &y) / scale)
}

/// Ranks from 1, ascending; tied values get the mean of their positions.
#[must_use]
pub fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    for tied in tied_positions(values) {
        let mean = tied.first as f64 + (tied.indices.len() - 1) as f64 / 2.0;
        for index in tied.indices {
            ranks[index] = mean;
        }
    }
    ranks
}

/// Values that are equal, with the ascending position (from 1) of the first of them.
struct Tied {
    first: usize,
    indices: Vec<usize>,
}

fn tied_positions(values: &[f64]) -> Vec<Tied> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut groups: Vec<Tied> = Vec::new();
    for (position, index) in order.into_iter().enumerate() {
        match groups.last_mut().filter(|g| values[g.indices[0]] == values[index]) {
            Some(group) => group.indices.push(index),
            None => groups.push(Tied { first: position + 1, indices: vec![index] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_share_their_classes() {
        let shared = quintile_membership(&[1.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(shared[0], [0.5, 0.5, 0.0, 0.0, 0.0]);
        assert_eq!(shared[4], [0.0, 0.0, 0.0, 0.0, 1.0]);
        // Seven values, ceil(5 p / 7) = 1 2 3 3 4 5 5; the 9s hold positions 3 to 5.
        let seven = quintile_membership(&[9.0, 1.0, 9.0, 20.0, 9.0, 30.0, 2.0]);
        assert_eq!(seven[1], [1.0, 0.0, 0.0, 0.0, 0.0]);
        for (share, expected) in seven[0].iter().zip([0.0, 0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]) {
            assert!((share - expected).abs() < 1e-15);
        }
        assert!(quintile_membership(&[]).is_empty());
    }

    #[test]
    fn uniform_probabilities_score_as_published() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let scores = quintile_membership(&values).iter().map(|c| ranked_probability_score(&[0.2; 5], c)).sum::<f64>();
        assert!((scores / 100.0 - 0.16).abs() < 1e-12);
        assert_eq!(ranked_probability_score(&[0.0, 0.0, 0.0, 0.0, 1.0], &[1.0, 0.0, 0.0, 0.0, 0.0]), 0.8);
    }

    #[test]
    fn rank_correlation_has_its_closed_forms() {
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 90.0]), Some(1.0));
        assert_eq!(spearman(&[3.0, 2.0, 1.0], &[10.0, 20.0, 90.0]), Some(-1.0));
        assert_eq!(spearman(&[1.0, 1.0, 1.0], &[10.0, 20.0, 90.0]), None);
        // scipy.stats.spearmanr([1, 2, 2, 4, 5], [2, 1, 4, 3, 5])
        let tied = spearman(&[1.0, 2.0, 2.0, 4.0, 5.0], &[2.0, 1.0, 4.0, 3.0, 5.0]).unwrap();
        assert!((tied - 0.666_885_928_6).abs() < 1e-9, "{tied}");
        assert_eq!(expected_class(&[0.0, 0.0, 0.0, 0.0, 1.0]), 5.0);
    }

    proptest! {
        #[test]
        fn membership_rows_sum_to_one(values in prop::collection::vec(-3i32..3, 1..60)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            for row in quintile_membership(&values) {
                prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }
    }
}

//! Which groups of features a model needs: how much it loses when a group is shuffled (Breiman 2001; Fisher, Rudin and
//! Dominici 2019), tested over days.

use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::evaluation::paired_tests::diebold_mariano;

/// Rows that a model was not trained on, and how they are shuffled.
#[derive(Debug, Clone, Copy)]
pub struct PermutationRequest<'a> {
    /// `[rows][feature_count]`.
    pub features: &'a [f32],
    /// Features in a row, above 0.
    pub feature_count: usize,
    /// Decision day of each row; rows of a day are adjacent.
    pub days: &'a [u32],
    /// Name and columns of each group.
    pub groups: &'a [(&'a str, Range<usize>)],
    /// Shuffles of each group, whose losses are averaged, at least 1.
    pub repetitions: usize,
    /// Seed of the shuffles.
    pub seed: u64,
    /// How many decision days one horizon overlaps, see [`overlap_steps`](crate::evaluation::paired_tests::overlap_steps).
    pub overlap_steps: usize,
}

/// What a model loses without one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupSignificance {
    /// Name of the group.
    pub group: String,
    /// Rise of the mean loss over days, in the unit of the loss; above 0 when the group helps.
    pub loss_increase: f64,
    /// Diebold-Mariano/HLN statistic of that rise; `None` when the loss does not change or there are too few days.
    pub statistic: Option<f64>,
    /// Probability of a larger statistic if the group did not help; `None` as above.
    pub p_value: Option<f64>,
    /// Days with a loss.
    pub days: usize,
}

/// Shuffles each group's columns jointly among the instruments of a day, so that a row keeps its group together and the
/// day keeps its numbers, and compares the losses with those of the rows as they are.
///
/// `losses` gives the mean loss of each day, in the order of the rows, for given features; NaN for a day without outcome.
/// Columns that all instruments of a day share (a rate, the VIX) stay as they are: the test is about what tells
/// instruments apart.
///
/// # Errors
/// Those of `losses`.
pub fn permutation_significance<E>(
    request: &PermutationRequest<'_>,
    mut losses: impl FnMut(&[f32]) -> Result<Vec<f64>, E>,
) -> Result<Vec<GroupSignificance>, E> {
    let known = losses(request.features)?;
    let mut results = Vec::with_capacity(request.groups.len());
    for (number, (group, columns)) in request.groups.iter().enumerate() {
        let mut random = ChaCha8Rng::seed_from_u64(request.seed);
        random.set_stream(number as u64);
        let mut rises = vec![0.0; known.len()];
        for _ in 0..request.repetitions.max(1) {
            let shuffled = losses(&shuffled(request, columns, &mut random))?;
            rises
                .iter_mut()
                .zip(shuffled.iter().zip(&known))
                .for_each(|(rise, (after, before))| *rise += after - before);
        }
        rises.iter_mut().for_each(|rise| *rise /= request.repetitions.max(1) as f64);
        rises.retain(|rise| rise.is_finite());
        results.push(significance(group, &rises, request.overlap_steps));
    }
    Ok(results)
}

fn significance(group: &str, rises: &[f64], overlap_steps: usize) -> GroupSignificance {
    let test = diebold_mariano(rises, overlap_steps);
    GroupSignificance {
        group: group.to_owned(),
        loss_increase: if rises.is_empty() { 0.0 } else { rises.iter().sum::<f64>() / rises.len() as f64 },
        statistic: test.map(|t| t.statistic),
        p_value: test.map(|t| t.p_value_one_sided),
        days: rises.len(),
    }
}

/// The features with some columns of each day dealt out anew.
fn shuffled(request: &PermutationRequest<'_>, columns: &Range<usize>, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut features = request.features.to_vec();
    let part = |row: usize| row * request.feature_count + columns.start..row * request.feature_count + columns.end;
    let mut from = 0;
    for day in request.days.chunk_by(|a, b| a == b) {
        let mut sources: Vec<usize> = (from..from + day.len()).collect();
        sources.shuffle(random);
        for (row, source) in (from..).zip(sources) {
            features[part(row)].copy_from_slice(&request.features[part(source)]);
        }
        from += day.len();
    }
    features
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    const DAYS: usize = 60;
    const ROWS: usize = 20;

    /// Three features a row, and outcomes that the first alone explains.
    fn market(seed: u64) -> (Vec<f32>, Vec<u32>, Vec<f32>) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let features: Vec<f32> = (0..DAYS * ROWS * 3).map(|_| StandardNormal.sample(&mut random)).collect();
        let noise = |random: &mut ChaCha8Rng| -> f32 { StandardNormal.sample(random) };
        let outcomes = features.chunks_exact(3).map(|row| row[0] + noise(&mut random)).collect();
        (features, (0..DAYS * ROWS).map(|row| (row / ROWS * 5) as u32).collect(), outcomes)
    }

    /// Squared error a day of a model that believes the first feature by .8 and the second by .05.
    fn losses(features: &[f32], outcomes: &[f32]) -> Result<Vec<f64>, Infallible> {
        let error = |(row, y): (&[f32], &f32)| f64::from(y - 0.8 * row[0] - 0.05 * row[1]).powi(2);
        let errors: Vec<f64> = features.chunks_exact(3).zip(outcomes).map(error).collect();
        Ok(errors.chunks(ROWS).map(|day| day.iter().sum::<f64>() / ROWS as f64).collect())
    }

    const GROUPS: [(&str, Range<usize>); 3] = [("used", 0..1), ("noise", 1..2), ("unused", 2..3)];

    fn request<'a>(features: &'a [f32], days: &'a [u32]) -> PermutationRequest<'a> {
        PermutationRequest {
            features,
            feature_count: 3,
            days,
            groups: &GROUPS,
            repetitions: 4,
            seed: 1,
            overlap_steps: 1,
        }
    }

    #[test]
    fn what_is_needed_is_significant_and_what_is_not_is_not() {
        let (features, days, outcomes) = market(1);
        let found = permutation_significance(&request(&features, &days), |f| losses(f, &outcomes)).unwrap();
        // The exact rise is 2 cov(y, .8 x) = 1.6 less what of the group lands where it was.
        assert!((found[0].loss_increase - 1.6 * 0.95).abs() < 0.2 && found[0].p_value.unwrap() < 1e-6, "{found:?}");
        assert!(found[1].loss_increase.abs() < 0.02 && found[1].p_value.unwrap() > 0.01, "{found:?}");
        let unused = GroupSignificance {
            group: "unused".to_owned(),
            loss_increase: 0.0,
            statistic: None,
            p_value: None,
            days: DAYS,
        };
        assert_eq!(found[2], unused);
    }

    #[test]
    fn noise_is_called_significant_at_the_nominal_rate() {
        let rejected = (0..200).filter(|seed| {
            let (features, days, outcomes) = market(100 + seed);
            let mut once = request(&features, &days);
            (once.groups, once.repetitions) = (&GROUPS[1..2], 2);
            permutation_significance(&once, |f| losses(f, &outcomes)).unwrap()[0].p_value.unwrap() < 0.05
        });
        // The belief of .05 in noise costs a little, so that shuffling it changes nothing on average: 5 % of 200 and
        // three standard errors.
        assert!(rejected.count() <= 10 + 9);
    }

    #[test]
    fn a_shuffle_keeps_the_day_the_group_and_the_other_columns() {
        let (features, days, _) = market(2);
        let wanted = request(&features, &days);
        let after = shuffled(&wanted, &(0..2), &mut ChaCha8Rng::seed_from_u64(3));
        assert_ne!(after, features);
        for day in 0..DAYS {
            let rows = |all: &[f32]| -> Vec<(u32, u32)> {
                let of_day = all[day * ROWS * 3..(day + 1) * ROWS * 3].chunks_exact(3);
                let mut pairs: Vec<(u32, u32)> = of_day.map(|row| (row[0].to_bits(), row[1].to_bits())).collect();
                pairs.sort_unstable();
                pairs
            };
            assert_eq!(rows(&after), rows(&features));
        }
        assert!(after.chunks_exact(3).zip(features.chunks_exact(3)).all(|(a, b)| a[2] == b[2]));
    }

    #[test]
    fn days_without_outcome_are_left_out_and_the_same_seed_gives_the_same_numbers() {
        let (features, days, outcomes) = market(3);
        let gappy = |f: &[f32]| {
            let mut all = losses(f, &outcomes)?;
            all[7] = f64::NAN;
            Ok::<_, Infallible>(all)
        };
        let found = permutation_significance(&request(&features, &days), gappy).unwrap();
        assert_eq!(found[0].days, DAYS - 1);
        assert_eq!(found, permutation_significance(&request(&features, &days), gappy).unwrap());
        let failing = permutation_significance(&request(&features, &days), |_| Err::<Vec<f64>, _>("no device"));
        assert_eq!(failing, Err("no device"));
    }
}

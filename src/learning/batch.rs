//! Which rows a member sees and in which order, and the rows of one step as arrays.

use std::ops::Range;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Training rows of one member, repeated as often as its bootstrap drew them.
///
/// With a bootstrap, blocks of `block_days` consecutive decision days are drawn with replacement, around the end of
/// the span to its start (circular block bootstrap, Politis and Romano 1992), until as many days as there are have
/// been drawn: rows of one day and of neighbouring days are not independent.
#[must_use]
pub fn member_rows(day_index: &[u32], bootstrap: Option<usize>, random: &mut ChaCha8Rng) -> Vec<u32> {
    let days = day_ranges(day_index);
    let Some(block_days) = bootstrap else {
        return (0..day_index.len() as u32).collect();
    };
    let mut rows = Vec::with_capacity(day_index.len());
    let mut drawn = 0;
    while drawn < days.len() {
        let start = random.random_range(0..days.len());
        let length = block_days.min(days.len() - drawn);
        for day in (start..start + length).map(|day| &days[day % days.len()]) {
            rows.extend(day.start as u32..day.end as u32);
        }
        drawn += length;
    }
    rows
}

/// Puts the rows into a new random order.
pub fn shuffle(rows: &mut [u32], random: &mut ChaCha8Rng) {
    rows.shuffle(random);
}

/// The inputs of the rows of one optimizer step.
///
/// # Shapes
/// `inputs` is `[rows][input_count]`, the result `[chosen rows][input_count]`.
#[must_use]
pub fn gather(rows: &[u32], inputs: &[f32], input_count: usize) -> Vec<f32> {
    let mut gathered = Vec::with_capacity(rows.len() * input_count);
    for &row in rows {
        let from = row as usize * input_count;
        gathered.extend_from_slice(&inputs[from..from + input_count]);
    }
    gathered
}

/// Rows of each decision day.
fn day_ranges(day_index: &[u32]) -> Vec<Range<usize>> {
    let mut start = 0;
    day_index
        .chunk_by(|left, right| left == right)
        .map(|day| {
            start += day.len();
            start - day.len()..start
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn bootstrap_draws_whole_days(
            sizes in prop::collection::vec(1usize..5, 1..40), block in 1usize..10, seed in any::<u64>(),
        ) {
            let days: Vec<u32> = sizes.iter().enumerate()
                .flat_map(|(day, &size)| std::iter::repeat_n(day as u32 * 5, size)).collect();
            let rows = member_rows(&days, Some(block), &mut ChaCha8Rng::seed_from_u64(seed));
            let drawn: usize = {
                let mut count = 0;
                let mut at = 0;
                while at < rows.len() {
                    let day = days[rows[at] as usize];
                    let size = sizes[(day / 5) as usize];
                    prop_assert!(rows[at..at + size].iter().all(|&row| days[row as usize] == day));
                    at += size;
                    count += 1;
                }
                count
            };
            prop_assert_eq!(drawn, sizes.len());
        }
    }

    #[test]
    fn without_bootstrap_every_row_once() {
        assert_eq!(member_rows(&[1, 1, 2], None, &mut ChaCha8Rng::seed_from_u64(0)), [0, 1, 2]);
    }

    #[test]
    fn members_differ_by_seed_only() {
        let days: Vec<u32> = (0..200).map(|row| row / 2).collect();
        let draw = |seed| member_rows(&days, Some(3), &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn gathers_the_rows_it_is_asked_for() {
        assert_eq!(gather(&[1, 0, 1], &[1.0, 2.0, 3.0, 4.0], 2), [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    }
}

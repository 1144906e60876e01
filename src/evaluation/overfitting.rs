//! Probability of backtest overfitting: was the best of many trials best by luck?

use serde::Serialize;
use thiserror::Error;

use crate::evaluation::rank_scores::average_ranks;

/// Blocks of the published method: 12,870 ways to halve them.
pub const DEFAULT_BLOCKS: usize = 16;
/// Most blocks taken: 184,756 ways to halve them.
const MOST_BLOCKS: usize = 20;

/// How often the trial that was best in one half was below the middle in the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Overfitting {
    /// Share of the halvings, 0..1; about .5 when no trial has skill, near 0 when one has.
    pub probability: f64,
    /// Mean over the halvings of `ln(w / (1 - w))`, w the relative rank of the chosen trial in the other half.
    pub mean_logit: f64,
    /// Share of the halvings in which the chosen trial lost in the other half.
    pub probability_of_loss: f64,
    /// Halvings.
    pub halvings: usize,
}

/// Why overfitting cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OverfittingError {
    /// One trial was not chosen from anything.
    #[error("needs at least two trials")]
    TooFewTrials,
    /// Trials cover different days.
    #[error("trials have different numbers of days")]
    LengthsDiffer,
    /// The blocks cannot be halved, are too many, or are shorter than two days.
    #[error("needs an even number of 2 to 20 blocks of at least two days")]
    Blocks,
    /// A gain is missing.
    #[error("a gain is not finite")]
    NotFinite,
}

/// Probability of backtest overfitting by combinatorially symmetric cross-validation (Bailey, Borwein, Lopez de Prado and
/// Zhu 2017): the days are cut into `blocks` blocks in order; for every choice of half of them the trial with the best mean
/// over standard deviation there is looked up in the other half. `w = rank / (trials + 1)`; the probability is the share
/// of choices with `w <= 1/2`.
///
/// Each trial has one gain (return, or loss of the benchmark less its own) a day, all the same days. Days beyond a
/// multiple of `blocks` are left out at the start.
///
/// # Errors
/// [`OverfittingError`] where the trials or blocks do not allow it.
pub fn backtest_overfitting(trials: &[Vec<f64>], blocks: usize) -> Result<Overfitting, OverfittingError> {
    check(trials, blocks)?;
    let sums: Vec<Vec<BlockSum>> = trials.iter().map(|gains| block_sums(gains, blocks)).collect();
    let half = blocks / 2;
    let halvings: Vec<u32> = (0u32..1 << blocks).filter(|mask| mask.count_ones() as usize == half).collect();
    let (mut below, mut lost, mut logits) = (0usize, 0usize, 0.0);
    for mask in &halvings {
        let (chosen, other) = (performances(&sums, *mask), performances(&sums, !mask));
        // The first of equals, so that the answer does not depend on chance.
        let best = (1..chosen.len()).fold(0, |best, i| if chosen[i] > chosen[best] { i } else { best });
        let share = average_ranks(&other)[best] / (trials.len() + 1) as f64;
        below += usize::from(share <= 0.5);
        lost += usize::from(other[best] < 0.0);
        logits += (share / (1.0 - share)).ln();
    }
    let count = halvings.len() as f64;
    Ok(Overfitting {
        probability: below as f64 / count,
        mean_logit: logits / count,
        probability_of_loss: lost as f64 / count,
        halvings: halvings.len(),
    })
}

fn check(trials: &[Vec<f64>], blocks: usize) -> Result<(), OverfittingError> {
    let days = trials.first().map_or(0, Vec::len);
    if trials.len() < 2 {
        return Err(OverfittingError::TooFewTrials);
    }
    if trials.iter().any(|t| t.len() != days) {
        return Err(OverfittingError::LengthsDiffer);
    }
    if !(2..=MOST_BLOCKS).contains(&blocks) || blocks % 2 == 1 || days < 2 * blocks {
        return Err(OverfittingError::Blocks);
    }
    let finite = trials.iter().flatten().all(|g| g.is_finite());
    finite.then_some(()).ok_or(OverfittingError::NotFinite)
}

/// What a block adds to mean and variance.
#[derive(Clone, Copy, Default)]
struct BlockSum {
    days: f64,
    sum: f64,
    squares: f64,
}

fn block_sums(gains: &[f64], blocks: usize) -> Vec<BlockSum> {
    let length = gains.len() / blocks;
    let used = &gains[gains.len() - length * blocks..];
    let of = |block: &[f64]| BlockSum {
        days: block.len() as f64,
        sum: block.iter().sum(),
        squares: block.iter().map(|g| g * g).sum(),
    };
    used.chunks(length).map(of).collect()
}

/// Mean over standard deviation of each trial in the blocks of the mask.
fn performances(sums: &[Vec<BlockSum>], mask: u32) -> Vec<f64> {
    let of = |blocks: &Vec<BlockSum>| {
        let chosen = blocks.iter().enumerate().filter(|(b, _)| mask >> b & 1 == 1).map(|(_, s)| s);
        let total = chosen.fold(BlockSum::default(), |t, s| BlockSum {
            days: t.days + s.days,
            sum: t.sum + s.sum,
            squares: t.squares + s.squares,
        });
        let mean = total.sum / total.days;
        let variance = total.squares / total.days - mean * mean;
        // A trial that never varies ranks by the sign of its mean.
        if variance > 1e-14 * mean * mean {
            mean / variance.sqrt()
        } else {
            mean.signum() * f64::from(mean != 0.0) * 1e7
        }
    };
    sums.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    fn noise(seed: u64, trials: usize, days: usize) -> Vec<Vec<f64>> {
        let mut draws = StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed));
        (0..trials).map(|_| draws.by_ref().take(days).collect()).collect()
    }

    #[test]
    fn the_best_of_pure_noise_is_as_often_below_the_middle_as_above() {
        let of = |seed| backtest_overfitting(&noise(seed, 20, 240), 10).unwrap().probability;
        let mean = (0..40).map(of).sum::<f64>() / 40.0;
        assert!((0.4..=0.6).contains(&mean), "{mean}");
    }

    #[test]
    fn one_trial_that_is_truly_better_is_found_again() {
        let mut trials = noise(5, 20, 480);
        trials[7].iter_mut().for_each(|g| *g += 0.4);
        let result = backtest_overfitting(&trials, DEFAULT_BLOCKS).unwrap();
        assert_eq!(result.halvings, 12_870);
        assert!(result.probability < 0.01 && result.mean_logit > 2.0, "{result:?}");
        assert!(result.probability_of_loss < 0.01);
    }

    #[test]
    fn a_gain_of_one_half_that_turns_in_the_other_is_overfitting() {
        // Trial 0 wins in the first half of the days, trial 1 in the second: the winner of one half always loses.
        let days = 40;
        let side = |i: usize, first: f64| if i < days / 2 { first } else { -first } + 0.1 * (i % 2) as f64;
        let trials = vec![(0..days).map(|i| side(i, 1.0)).collect(), (0..days).map(|i| side(i, -1.0)).collect()];
        assert_eq!(backtest_overfitting(&trials, 2).unwrap().probability, 1.0);
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let good = noise(1, 3, 40);
        assert_eq!(backtest_overfitting(&good[..1], 4), Err(OverfittingError::TooFewTrials));
        assert_eq!(backtest_overfitting(&[], 4), Err(OverfittingError::TooFewTrials));
        for blocks in [0, 3, 22, 40] {
            assert_eq!(backtest_overfitting(&good, blocks), Err(OverfittingError::Blocks));
        }
        let mut uneven = good.clone();
        uneven[1].pop();
        assert_eq!(backtest_overfitting(&uneven, 4), Err(OverfittingError::LengthsDiffer));
        let mut broken = good;
        broken[2][5] = f64::NAN;
        assert_eq!(backtest_overfitting(&broken, 4), Err(OverfittingError::NotFinite));
        let still = vec![vec![0.0; 40], vec![0.1; 40]];
        assert_eq!(backtest_overfitting(&still, 4).unwrap().probability, 0.0);
    }
}

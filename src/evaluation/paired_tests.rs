//! Tests of forecasts against a benchmark, on one number a day.
//!
//! Days whose horizons overlap are dependent: every test that takes `overlap_steps` corrects its variance for it with
//! Bartlett weights (Newey and West 1987), `overlap_steps = ceil(horizon / spacing)`, lag `overlap_steps - 1`.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::evaluation::rank_scores::average_ranks;

/// A statistic with its tail probabilities; large values speak for the forecast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TestResult {
    /// The statistic.
    pub statistic: f64,
    /// Probability of a larger statistic without skill.
    pub p_value_one_sided: f64,
    /// Probability of a statistic farther from 0 without skill.
    pub p_value_two_sided: f64,
    /// Observations behind it.
    pub observations: usize,
}

/// How many decision days one horizon overlaps: `ceil(horizon / median spacing)`, at least 1; 1 for fewer than two days.
///
/// `sessions` are the session indices of the days, ascending.
#[must_use]
pub fn overlap_steps(horizon_sessions: usize, sessions: &[usize]) -> usize {
    let gaps: Vec<f64> = sessions.windows(2).map(|w| w[1].saturating_sub(w[0]) as f64).collect();
    median(&gaps).map_or(1, |gap| (horizon_sessions as f64 / gap.max(1.0)).ceil() as usize).max(1)
}

/// The middle value; the mean of the middle two for an even count; `None` without values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[sorted.len() / 2 - 1] + upper) / 2.0 })
}

/// Long-run variance of a series around its mean (Newey and West 1987): autocovariances with divisor `n` up to lag
/// `overlap_steps - 1`, weighted `1 - k / overlap_steps`. 0 for an empty series.
#[must_use]
pub fn long_run_variance(values: &[f64], overlap_steps: usize) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let covariance = |lag: usize| centred.iter().skip(lag).zip(&centred).map(|(a, b)| a * b).sum::<f64>() / n;
    if values.is_empty() {
        return 0.0;
    }
    let weighted = |k: usize| 2.0 * (1.0 - k as f64 / overlap_steps as f64) * covariance(k);
    covariance(0) + (1..overlap_steps.min(values.len())).map(weighted).sum::<f64>()
}

/// Diebold and Mariano (1995) on `gain = loss(benchmark) - loss(forecast)`, one a day, with the small-sample factor of
/// Harvey, Leybourne and Newbold (1997) and Student's t with `n - 1` degrees of freedom. Gains that are not finite are
/// left out.
///
/// `None` for fewer than three gains or when they do not vary.
#[must_use]
pub fn diebold_mariano(gains: &[f64], overlap_steps: usize) -> Option<TestResult> {
    let gains: Vec<f64> = gains.iter().copied().filter(|g| g.is_finite()).collect();
    let steps = overlap_steps.max(1) as f64;
    let n = gains.len() as f64;
    if gains.len() < 3 {
        return None;
    }
    let factor = ((n + 1.0 - 2.0 * steps + steps * (steps - 1.0) / n) / n).max(1e-9).sqrt();
    let statistic = mean_over_standard_error(&gains, overlap_steps.max(1))? * factor;
    let student = StudentsT::new(0.0, 1.0, n - 1.0).ok()?;
    Some(TestResult {
        statistic,
        p_value_one_sided: student.sf(statistic),
        p_value_two_sided: (2.0 * student.sf(statistic.abs())).min(1.0),
        observations: gains.len(),
    })
}

/// The term of Clark and West (2007) for one forecast of a model that nests its benchmark:
/// `(y - b)^2 - ((y - m)^2 - (b - m)^2)`, above 0 on average if the model knows something.
#[must_use]
pub fn clark_west_gain(realized: f64, benchmark: f64, forecast: f64) -> f64 {
    (realized - benchmark).powi(2) - (realized - forecast).powi(2) + (benchmark - forecast).powi(2)
}

/// Clark and West (2007): the mean of [`clark_west_gain`] over its standard error, against the normal law; the
/// one-sided p-value decides. Gains that are not finite are left out.
///
/// `None` for fewer than three gains or when they do not vary.
#[must_use]
pub fn clark_west(gains: &[f64], overlap_steps: usize) -> Option<TestResult> {
    let gains: Vec<f64> = gains.iter().copied().filter(|g| g.is_finite()).collect();
    if gains.len() < 3 {
        return None;
    }
    Some(normal_result(mean_over_standard_error(&gains, overlap_steps.max(1))?, gains.len()))
}

/// What the direction test of Pesaran and Timmermann counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirectionCounts {
    /// Forecasts with an outcome.
    pub observations: usize,
    /// Forecasts of the right direction.
    pub hits: usize,
    /// Share of outcomes that went up.
    pub share_up_realized: f64,
    /// Share of forecasts that said up.
    pub share_up_forecast: f64,
}

/// Pesaran and Timmermann (1992): do more directions hit than independence allows? Standard normal under independence;
/// needs independent outcomes, so horizons must not overlap.
///
/// `None` when all forecasts or all outcomes share one direction.
#[must_use]
pub fn pesaran_timmermann(counts: DirectionCounts) -> Option<TestResult> {
    let n = counts.observations as f64;
    let (y, x) = (counts.share_up_realized, counts.share_up_forecast);
    let expected = y * x + (1.0 - y) * (1.0 - x);
    let variance_hits = expected * (1.0 - expected) / n;
    let variance_expected = ((2.0 * y - 1.0).powi(2) * x * (1.0 - x) + (2.0 * x - 1.0).powi(2) * y * (1.0 - y)) / n
        + 4.0 * y * x * (1.0 - y) * (1.0 - x) / (n * n);
    let variance = variance_hits - variance_expected;
    let statistic = (counts.hits as f64 / n - expected) / variance.sqrt();
    (variance > 0.0 && statistic.is_finite()).then(|| normal_result(statistic, counts.observations))
}

/// Wilcoxon's signed-rank test (1945) of symmetry around 0; differences of 0 are left out. Exact up to 50 untied
/// differences, else the normal approximation with tied ranks' variance, without continuity correction. The statistic
/// is `(W+ - mean) / standard deviation` either way.
///
/// `None` without differences other than 0.
#[must_use]
pub fn wilcoxon_signed_rank(differences: &[f64]) -> Option<TestResult> {
    let kept: Vec<f64> = differences.iter().copied().filter(|d| d.is_finite() && *d != 0.0).collect();
    let sizes: Vec<f64> = kept.iter().map(|d| d.abs()).collect();
    let ranks = average_ranks(&sizes);
    let positive: f64 = ranks.iter().zip(&kept).filter(|(_, d)| **d > 0.0).map(|(r, _)| r).sum();
    let mean = ranks.iter().sum::<f64>() / 2.0;
    // The variance over all sign patterns; tied ranks are already in it.
    let variance = ranks.iter().map(|r| r * r).sum::<f64>() / 4.0;
    if variance <= 0.0 {
        return None;
    }
    let normal = normal_result((positive - mean) / variance.sqrt(), kept.len());
    if kept.len() > 50 || has_ties(&ranks) {
        return Some(normal);
    }
    let upper = signed_rank_upper_tail(kept.len(), positive as usize);
    let lower = signed_rank_upper_tail(kept.len(), (2.0 * mean - positive) as usize);
    Some(TestResult { p_value_one_sided: upper, p_value_two_sided: (2.0 * upper.min(lower)).min(1.0), ..normal })
}

fn has_ties(ranks: &[f64]) -> bool {
    let mut sorted = ranks.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.windows(2).any(|w| w[0] == w[1])
}

/// P(W+ >= observed) over all sign patterns of the ranks 1..=n, each equally likely.
fn signed_rank_upper_tail(n: usize, observed: usize) -> f64 {
    let total = n * (n + 1) / 2;
    let mut share = vec![0.0; total + 1];
    share[0] = 1.0;
    for rank in 1..=n {
        for sum in (0..=total).rev() {
            let with = if sum >= rank { share[sum - rank] } else { 0.0 };
            share[sum] = (share[sum] + with) / 2.0;
        }
    }
    share.iter().skip(observed).sum()
}

fn mean_over_standard_error(values: &[f64], overlap_steps: usize) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = long_run_variance(values, overlap_steps);
    // Rounding leaves a constant series with a variance of this size.
    (variance > 1e-30 * mean * mean && variance > 0.0).then(|| mean / (variance / n).sqrt())
}

fn normal_result(statistic: f64, observations: usize) -> TestResult {
    let normal = Normal::standard();
    TestResult {
        statistic,
        p_value_one_sided: normal.sf(statistic),
        p_value_two_sided: (2.0 * normal.sf(statistic.abs())).min(1.0),
        observations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-8, "{value} is not {expected}");
    }

    #[test]
    fn diebold_mariano_has_the_published_values() {
        let gains = [1.0, -1.0, 1.0, 1.0];
        let one = diebold_mariano(&gains, 1).unwrap();
        close(one.statistic, 1.0);
        close(mean_over_standard_error(&gains, 1).unwrap(), 1.154_700_54);
        close(one.p_value_two_sided, 0.391_002_22);
        close(one.p_value_one_sided, 0.195_501_11);
        let two = diebold_mariano(&gains, 2).unwrap();
        close(mean_over_standard_error(&gains, 2).unwrap(), 1.511_857_89);
        close(two.statistic, 0.925_820_1);
        assert_eq!(diebold_mariano(&[0.1; 30], 1), None);
        assert_eq!(diebold_mariano(&[1.0, f64::NAN, -1.0], 1), None);
    }

    #[test]
    fn overlap_is_the_rounded_up_ratio_to_the_median_spacing() {
        assert_eq!(overlap_steps(20, &[0, 5, 10, 15]), 4);
        assert_eq!(overlap_steps(63, &[0, 20, 40, 60, 61]), 4);
        assert_eq!(overlap_steps(5, &[0, 20]), 1);
        assert_eq!(overlap_steps(252, &[7]), 1);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn pesaran_timmermann_has_the_published_value() {
        let counts = DirectionCounts { observations: 100, hits: 60, share_up_realized: 0.5, share_up_forecast: 0.5 };
        close(pesaran_timmermann(counts).unwrap().statistic, 2.010_075_63);
        assert_eq!(pesaran_timmermann(DirectionCounts { share_up_forecast: 1.0, ..counts }), None);
    }

    #[test]
    fn clark_west_rewards_a_noisy_model_that_knows_something() {
        close(clark_west_gain(1.0, 0.0, 0.5), 1.0);
        // A model of pure noise gains nothing: its own squared size is given back.
        close(clark_west_gain(0.0, 0.0, 0.5), 0.0);
        let result = clark_west(&[1.0, -1.0, 1.0, 1.0], 1).unwrap();
        close(result.statistic, 1.154_700_54);
        close(result.p_value_one_sided, 0.124_106_54);
    }

    #[test]
    fn wilcoxon_agrees_with_scipy() {
        // scipy.stats.wilcoxon(x, alternative="greater", method="exact" and "asymptotic", correction=False)
        let untied = wilcoxon_signed_rank(&[1.5, -0.5, 2.5, 3.5, -1.0, 4.0]).unwrap();
        close(untied.p_value_one_sided, 0.078_125);
        close(untied.p_value_two_sided, 0.156_25);
        let tied = wilcoxon_signed_rank(&[1.0, -1.0, 2.0, 3.0, -2.0, 4.0, 0.0]).unwrap();
        assert_eq!(tied.observations, 6);
        close(tied.p_value_two_sided, 0.246_251_699_7);
        assert_eq!(wilcoxon_signed_rank(&[0.0; 5]), None);
    }
}

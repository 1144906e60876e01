//! The season of quarterly reports in the volatilities behind the ranks.
//!
//! A report moves its share far more than other days do, and reports come about every 63 sessions. So the volatility of
//! a coming window, relative to the other instruments, depends on whether the window holds a report (Patell and Wolfson
//! 1979, 1984; Dubinsky, Johannes, Kaeck and Seeger 2019). No calendar of reports is needed: the windows of the same
//! length that began 63, 126, .., 756 sessions before the coming one say what that season used to bring.
//!
//! Half of the draws come from each of two zero-mean Gaussian laws. With `clip_k(r)` the return limited to `k` robust
//! standard deviations, `median |r| / .6745` over 252 sessions, the daily volatilities are
//! - **plain**: `s Q^.375`, with `s` and the correlation those of cov252;
//! - **clipped**: `sqrt(w Q^.375 x sqrt(w^2 + .75 J))`, with `w` and the correlation from `clip_4(r)` over 252 sessions.
//!
//! `Q` is [`season_ratio`], `J` is [`season_jumps`].

use crate::scenario::covariance::{Covariance, Estimator, VOLATILITY_FLOOR};
use crate::scenario::ranks::RankComponent;

/// Longest horizon with a season, in sessions. A longer one has a report of every instrument in it, and from 63 on the
/// newest past window would reach beyond the decision day.
pub const LONGEST_SEASON_SESSIONS: usize = 60;

/// Sessions from one report to the next: a quarter of 252.
const QUARTER_SESSIONS: usize = 63;

/// Past windows that are looked at.
const QUARTERS: usize = 12;

/// Sessions of the volatilities, the correlations and the robust standard deviation.
const YEAR_SESSIONS: usize = 252;

/// Exponent of the season's variance ratio in a volatility: half for the root, times .75 for shrinking towards no season.
const SEASON_EXPONENT: f64 = 0.375;

/// Share of the season's jumps that is expected to come again.
const JUMP_SHARE: f64 = 0.75;

/// Robust standard deviations at which a return is clipped before seasons are compared.
const SEASON_CLIP: f64 = 6.0;

/// Robust standard deviations beyond which a return counts as a jump.
const JUMP_CLIP: f64 = 4.0;

/// Median of the absolute value of a standard normal variable.
const NORMAL_MEDIAN: f64 = 0.6745;

/// The mixture: half of the pairs from the plain law, half from the clipped one.
///
/// # Shapes
/// One column of log returns an instrument, all ending at the decision day, NaN where missing. 756 sessions are used.
#[must_use]
pub fn seasonal_components(log_returns: &[&[f64]], horizon_sessions: usize, pairs: usize) -> Vec<RankComponent> {
    let plain_pairs = pairs.div_ceil(2);
    vec![
        RankComponent { covariance: plain_law(log_returns, horizon_sessions), pairs: plain_pairs },
        RankComponent { covariance: clipped_law(log_returns, horizon_sessions), pairs: pairs - plain_pairs },
    ]
}

/// The sample covariance of 252 sessions with volatilities `s Q^.375`; for a horizon above
/// [`LONGEST_SEASON_SESSIONS`] it is that sample covariance.
#[must_use]
pub fn plain_law(log_returns: &[&[f64]], horizon_sessions: usize) -> Covariance {
    let mut law = Covariance::estimate(log_returns, Estimator::Sample { sessions: YEAR_SESSIONS });
    for (volatility, column) in law.volatility.iter_mut().zip(log_returns) {
        let season = season_ratio(column, horizon_sessions).powf(SEASON_EXPONENT);
        *volatility = (*volatility * season).max(VOLATILITY_FLOOR);
    }
    law
}

/// The sample covariance of 252 clipped returns with volatilities `sqrt(w Q^.375 x sqrt(w^2 + .75 J))`: the geometric
/// mean of one volatility that scales with the season and one to which the season's jumps are added.
#[must_use]
pub fn clipped_law(log_returns: &[&[f64]], horizon_sessions: usize) -> Covariance {
    let clipped: Vec<Vec<f64>> = log_returns.iter().map(|column| clipped_year(column)).collect();
    let columns: Vec<&[f64]> = clipped.iter().map(Vec::as_slice).collect();
    let mut law = Covariance::estimate(&columns, Estimator::Sample { sessions: YEAR_SESSIONS });
    for (volatility, column) in law.volatility.iter_mut().zip(log_returns) {
        let scaled = *volatility * season_ratio(column, horizon_sessions).powf(SEASON_EXPONENT);
        let jumping = (*volatility * *volatility + JUMP_SHARE * season_jumps(column, horizon_sessions)).sqrt();
        *volatility = (scaled * jumping).sqrt().max(VOLATILITY_FLOOR);
    }
    law
}

/// Q, how much larger the daily variance was in the coming window's season: the mean over the past windows of the mean
/// of `clip_6(r)^2` in each, over the mean of `clip_6(r)^2` of 756 sessions.
///
/// Above 0; 1 when the horizon is above [`LONGEST_SEASON_SESSIONS`] or the windows hold no movement. Window j = 1..12
/// has the sessions `t + 1 - 63 j ..= t + h - 63 j` for a horizon of h sessions from the last session t of the column;
/// missing returns are left out, and so are windows without any.
#[must_use]
pub fn season_ratio(column: &[f64], horizon_sessions: usize) -> f64 {
    let limit = SEASON_CLIP * robust_deviation(column);
    let square = |r: f64| r.clamp(-limit, limit).powi(2);
    let Some(ordinary) = mean(finite(latest(column, QUARTERS * QUARTER_SESSIONS)).map(square)) else { return 1.0 };
    let windows = past_windows(column, horizon_sessions).filter_map(|window| mean(finite(window).map(square)));
    match mean(windows) {
        Some(season) if season > 0.0 => season / ordinary,
        _ => 1.0,
    }
}

/// J, the daily variance that jumps added in the coming window's season: the mean over the 12 past windows of
/// `sum of (r^2 - clip_4(r)^2) / h`.
///
/// Not negative; 0 when the horizon is above [`LONGEST_SEASON_SESSIONS`]. The windows are those of [`season_ratio`];
/// what is missing counts as no jump.
#[must_use]
pub fn season_jumps(column: &[f64], horizon_sessions: usize) -> f64 {
    let limit = JUMP_CLIP * robust_deviation(column);
    let excess = |r: f64| r.powi(2) - r.clamp(-limit, limit).powi(2);
    let total: f64 = past_windows(column, horizon_sessions).flat_map(finite).map(excess).sum();
    total / (QUARTERS * horizon_sessions.max(1)) as f64
}

/// The part of each past window that the column has; nothing where a horizon has no season.
fn past_windows(column: &[f64], horizon_sessions: usize) -> impl Iterator<Item = &[f64]> {
    let quarters = if horizon_sessions <= LONGEST_SEASON_SESSIONS { QUARTERS } else { 0 };
    (1..=quarters).map(move |quarter| {
        let age = quarter * QUARTER_SESSIONS;
        let first = column.len().saturating_sub(age);
        let end = (column.len() + horizon_sessions).saturating_sub(age);
        &column[first..end]
    })
}

/// The last 252 returns, clipped at 4 robust standard deviations; what is missing stays missing.
fn clipped_year(column: &[f64]) -> Vec<f64> {
    let limit = JUMP_CLIP * robust_deviation(column);
    latest(column, YEAR_SESSIONS)
        .iter()
        .map(|r| if r.is_finite() { r.clamp(-limit, limit) } else { f64::NAN })
        .collect()
}

/// Median of the absolute returns of 252 sessions over .6745; infinite, so that nothing is clipped, when that is 0 or
/// there is no return.
fn robust_deviation(column: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = finite(latest(column, YEAR_SESSIONS)).map(f64::abs).collect();
    sizes.sort_by(f64::total_cmp);
    let middle = sizes.len() / 2;
    let median = match sizes.len() {
        0 => 0.0,
        count if count % 2 == 1 => sizes[middle],
        _ => f64::midpoint(sizes[middle - 1], sizes[middle]),
    };
    if median > 0.0 { median / NORMAL_MEDIAN } else { f64::INFINITY }
}

fn latest(column: &[f64], sessions: usize) -> &[f64] {
    &column[column.len().saturating_sub(sessions)..]
}

fn finite(values: &[f64]) -> impl Iterator<Item = f64> {
    values.iter().copied().filter(|value| value.is_finite())
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (total, count) = values.fold((0.0, 0u32), |(total, count), value| (total + value, count + 1));
    (count > 0).then(|| total / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    /// Index of the first session of window j in a column of that length.
    fn start(length: usize, quarter: usize) -> usize {
        length - QUARTER_SESSIONS * quarter
    }

    fn noise(seed: u64, sessions: usize) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut next = || -> f64 { StandardNormal.sample(&mut random) };
        (0..sessions).map(|_| 0.01 * next()).collect()
    }

    /// Noise of deviation .01 with 5 % moves on two sessions of every quarter, the first `ahead` sessions from now.
    fn reports(seed: u64, ahead: usize) -> Vec<f64> {
        let mut column = noise(seed, 756);
        for quarter in 1..=QUARTERS {
            let first = start(756, quarter) + ahead - 1;
            column[first..first + 2].iter_mut().for_each(|r| *r = 0.05 * r.signum());
        }
        column
    }

    #[test]
    fn ratio_and_jumps_match_a_calculation_by_hand() {
        // Size 1 everywhere, 2 on the first session of each of the twelve windows, signs by turns.
        let mut column: Vec<f64> = (0..756).map(|t| if t % 2 == 0 { 1.0 } else { -1.0 }).collect();
        (1..=12).for_each(|j| column[start(756, j)] *= 2.0);
        // (4) / ((744 x 1 + 12 x 4) / 756), and with windows of two sessions (4 + 1) / 2 over the same.
        assert!((season_ratio(&column, 1) - 4.0 * 756.0 / 792.0).abs() < 1e-12);
        assert!((season_ratio(&column, 2) - 2.5 * 756.0 / 792.0).abs() < 1e-12);
        assert_eq!(season_jumps(&column, 1), 0.0);
        // The robust deviation is 1 / .6745, so 10 is clipped to 6 / .6745 = 8.895 and to 4 / .6745 = 5.930.
        column[start(756, 2)] = 10.0;
        let clipped = (6.0f64 / 0.6745).powi(2);
        let expected = ((11.0 * 4.0 + clipped) / 12.0) / ((744.0 + 44.0 + clipped) / 756.0);
        assert!((season_ratio(&column, 1) - expected).abs() < 1e-12);
        let jump = 100.0 - (4.0f64 / 0.6745).powi(2);
        assert!((season_jumps(&column, 1) - jump / 12.0).abs() < 1e-12);
        assert!((season_jumps(&column, 5) - jump / 60.0).abs() < 1e-12);
    }

    #[test]
    fn short_and_broken_columns_use_the_windows_they_have() {
        // 128 sessions hold the windows that begin at 65 and 2, 124 hold three sessions of the second.
        let mut column = vec![1.0; 128];
        column[65] = 3.0;
        assert!((season_ratio(&column, 5) - (13.0 / 5.0 + 1.0) / 2.0 / (136.0 / 128.0)).abs() < 1e-12);
        assert!((season_ratio(&column[4..], 5) - (13.0 / 5.0 + 1.0) / 2.0 / (132.0 / 124.0)).abs() < 1e-12);
        column[66..70].fill(f64::NAN);
        column[2..7].fill(f64::NAN);
        assert!((season_ratio(&column, 5) - 9.0 / (127.0 / 119.0)).abs() < 1e-12);
        // 1 where nothing is left, where nothing moves, and without a column; a share that stood still most days is not
        // clipped to nothing.
        column[65] = f64::NAN;
        assert_eq!(season_ratio(&column, 5), 1.0);
        assert_eq!([season_ratio(&[], 5), season_ratio(&[0.0; 300], 5), season_ratio(&column, 0)], [1.0; 3]);
        assert_eq!([season_jumps(&[], 5), season_jumps(&[0.0; 300], 5), season_jumps(&column, 0)], [0.0; 3]);
        let mut still = [0.0; 756];
        still[start(756, 1)] = 0.1;
        assert!((season_ratio(&still, 20) - 756.0 / 240.0).abs() < 1e-12);
        assert_eq!(season_jumps(&still, 20), 0.0);
    }

    #[test]
    fn laws_match_the_formulas_in_another_language() {
        // r[t] = .01 (sin(.7 t) + cos(1.3 t + i)) with every 63rd return from t = 20 i on times 12, computed with numpy.
        let wave = |t: usize, i: usize| {
            let size = if t % 63 == i { 0.12 } else { 0.01 };
            size * ((0.7 * t as f64).sin() + (1.3 * t as f64 + i as f64).cos())
        };
        let columns: Vec<Vec<f64>> = (0..3).map(|i| (0..800).map(|t| wave(t, 20 * i)).collect()).collect();
        let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let (plain, clipped) = (plain_law(&columns, 20), clipped_law(&columns, 20));
        let expected: [([f64; 3], f64); 2] = [
            ([1.376608811327e-02, 1.000089097967e-02, 9.822772547196e-03], 0.140030112573),
            ([1.666322675432e-02, 1.008985612781e-02, 1.007984212149e-02], 0.141220100428),
        ];
        for (law, (volatility, correlation)) in [plain, clipped].iter().zip(expected) {
            assert!(law.volatility.iter().zip(volatility).all(|(f, e)| (f / e - 1.0).abs() < 1e-9), "{law:?}");
            assert!((law.correlation[(0, 2)] - correlation).abs() < 1e-9, "{law:?}");
        }
    }

    #[test]
    fn calm_noise_has_no_season() {
        let ratios: Vec<f64> = (0..200).map(|seed| season_ratio(&noise(seed, 756), 20)).collect();
        assert!((mean(ratios.iter().copied()).unwrap() - 1.0).abs() < 0.02);
        assert!(ratios.iter().all(|q| (q - 1.0).abs() < 0.35), "{ratios:?}");
    }

    #[test]
    fn a_planted_season_moves_the_laws_the_right_way() {
        // Expected are (18 + 2 x 25) / 20 and 1, each over (61 + 2 x 25) / 63: 1.93 and .57.
        for seed in 0..20 {
            let (ahead, behind) = (reports(seed, 10), reports(seed, 40));
            assert!(season_ratio(&ahead, 20) > 1.6 && season_ratio(&behind, 20) < 0.7);
            let columns: [&[f64]; 2] = [&ahead, &behind];
            let sample = Covariance::estimate(&columns, Estimator::Sample { sessions: 252 }).volatility;
            for law in [plain_law(&columns, 20), clipped_law(&columns, 20)] {
                assert!(law.volatility[0] / law.volatility[1] > 1.1 * sample[0] / sample[1]);
            }
        }
    }

    #[test]
    fn long_horizons_have_no_season() {
        let (first, second) = (reports(1, 10), reports(2, 40));
        let columns: [&[f64]; 2] = [&first, &second];
        let sample = Covariance::estimate(&columns, Estimator::Sample { sessions: 252 });
        for horizon in [61, 63, 126, 252] {
            assert_eq!(plain_law(&columns, horizon), sample);
            let law = clipped_law(&columns, horizon);
            for (found, column) in law.volatility.iter().zip(columns) {
                let square = clipped_year(column).iter().map(|r| r * r).sum::<f64>() / 252.0;
                assert!((found - square.sqrt()).abs() < 1e-15);
            }
        }
        assert_ne!(plain_law(&columns, 60), sample);
    }

    proptest! {
        #[test]
        fn laws_are_finite_and_look_back_756_sessions(
            first in prop::collection::vec(prop_oneof![9 => -0.2f64..0.2, 1 => Just(f64::NAN)], 0..900),
            seed: u64, horizon in 1usize..260,
        ) {
            let second = noise(seed, 800);
            let laws = |a: &[f64], b: &[f64]| [plain_law(&[a, b], horizon), clipped_law(&[a, b], horizon)];
            let found = laws(&first, &second);
            for law in &found {
                prop_assert!(law.volatility.iter().all(|v| v.is_finite() && *v >= VOLATILITY_FLOOR));
                prop_assert!(law.factor().is_ok());
            }
            prop_assert_eq!(&found, &laws(latest(&first, 756), latest(&second, 756)));
            let pairs = seasonal_components(&[&first, &second], horizon, 7).iter().map(|c| c.pairs).sum::<usize>();
            prop_assert_eq!(pairs, 7);
        }
    }
}

//! The gate: may a recipe take the seat of the benchmark, and how far is a mean to be believed?

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::evaluation::confidence_sequence::{ConfidenceSequence, SequenceSettings, confidence_sequence};
use crate::evaluation::paired_tests::{clark_west, clark_west_gain, diebold_mariano, long_run_variance};

/// Fewest out-of-sample days on which a gate may open.
pub const MINIMUM_GATE_DAYS: usize = 24;
/// Fewest horizons, laid end to end, in those days: variances of fewer say nothing.
pub const MINIMUM_GATE_WINDOWS: usize = 8;
/// One-sided level of the gate's tests.
pub const GATE_LEVEL: f64 = 0.05;
/// Confidence of the lower bound on a mean's slope, one-sided.
pub const SLOPE_CONFIDENCE: f64 = 0.9;

/// Gains of a seated recipe are clipped, for the confidence sequence, to this many root mean squares of those before it
/// was seated.
pub const CLIP_ROOT_MEAN_SQUARES: f64 = 3.0;
/// Horizons, laid end to end since it was seated, from which on a sum of gains below 0 costs the seat: less than one is
/// no observation.
pub const CUMULATIVE_MINIMUM_WINDOWS: usize = 1;

/// Whether a recipe takes or keeps the seat, and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GateDecision {
    /// The recipe is better than the benchmark and is served.
    pub seated: bool,
    /// Mean of `loss(benchmark) - loss(recipe)`; `None` without days.
    pub mean_gain: Option<f64>,
    /// Diebold-Mariano with the Harvey-Leybourne-Newbold factor, where it is defined.
    pub statistic: Option<f64>,
    /// Probability of a larger statistic without skill.
    pub p_value_one_sided: Option<f64>,
    /// Out-of-sample days.
    pub days: usize,
    /// What decided.
    pub reason: GateReason,
    /// The record since it was seated; `None` for a recipe without the seat.
    pub live: Option<LiveRecord>,
}

/// What a seated recipe gained since it was seated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LiveRecord {
    /// Days since.
    pub days: usize,
    /// Sum of their gains.
    pub cumulative_gain: f64,
    /// Bounds on the mean of the clipped gains; `None` without gains since, or before to clip them by.
    pub confidence: Option<ConfidenceSequence>,
}

/// What decided a gate or a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateReason {
    /// The gain is above 0 and significant.
    Passed,
    /// Fewer than [`MINIMUM_GATE_DAYS`] days, or than [`MINIMUM_GATE_WINDOWS`] horizons end to end.
    TooFewDays,
    /// A day's gain is not a number: the recipe or the benchmark failed there.
    NotFinite,
    /// All days are alike, so nothing can be tested.
    NoVariation,
    /// The test does not reject equality at [`GATE_LEVEL`].
    NotSignificant,
    /// The lower bound on the slope is not above 0.
    SlopeNotPositive,
    /// Seated, and nothing since speaks against it.
    Kept,
    /// Seated until now: the confidence sequence of the gain since lies below 0.
    LostConfidence,
    /// Seated until now: the gains since sum to less than 0.
    LostCumulative,
}

impl GateReason {
    /// The word used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::TooFewDays => "too_few_days",
            Self::NotFinite => "not_finite",
            Self::NoVariation => "no_variation",
            Self::NotSignificant => "not_significant",
            Self::SlopeNotPositive => "slope_not_positive",
            Self::Kept => "kept",
            Self::LostConfidence => "lost_confidence",
            Self::LostCumulative => "lost_cumulative",
        }
    }
}

/// The paired gate: the seat goes to the recipe when Diebold-Mariano is above 0 with a one-sided p below .05, on all its
/// out-of-sample days.
///
/// `gains` is `loss(benchmark) - loss(recipe)`, one a day, ascending; `overlap_steps` the days that one horizon overlaps.
#[must_use]
pub fn paired_gate(gains: &[f64], overlap_steps: usize) -> GateDecision {
    let test = diebold_mariano(gains, overlap_steps);
    let reason = match (refuse(gains, overlap_steps), test) {
        (Some(reason), _) => reason,
        (None, None) => GateReason::NoVariation,
        (None, Some(test)) if test.statistic > 0.0 && test.p_value_one_sided < GATE_LEVEL => GateReason::Passed,
        (None, Some(_)) => GateReason::NotSignificant,
    };
    let test = test.filter(|_| reason != GateReason::NotFinite);
    let mean_gain = gains.iter().sum::<f64>() / gains.len() as f64;
    GateDecision {
        seated: reason == GateReason::Passed,
        mean_gain: mean_gain.is_finite().then_some(mean_gain),
        statistic: test.map(|t| t.statistic),
        p_value_one_sided: test.map(|t| t.p_value_one_sided),
        days: gains.len(),
        reason,
        live: None,
    }
}

/// Who has the seat from now on, by all out-of-sample gains to now.
///
/// A recipe without the seat faces the [`paired_gate`]. A seated one, whose first gain decided with the seat is number
/// `seated_since`, keeps it unless, since then,
/// - the upper bound of the [`confidence_sequence`] of its mean gain, one-sided at [`GATE_LEVEL`], lies below 0: however
///   often it is judged, a recipe whose clipped gains are not below 0 in expectation loses it so with at most 5 %; or
/// - its gains sum to less than 0, over [`CUMULATIVE_MINIMUM_WINDOWS`] or more: quick, and without such a promise, for
///   a good recipe often starts with a loss; or
/// - a gain is not a number.
///
/// It does not retake the seat in the same judgement. The gains before the seat fix where those since are clipped, so
/// the sequence sees no day that chose its bound. Mean gain, statistic and p-value are those of all days.
#[must_use]
pub fn judge_seat(seated_since: Option<usize>, gains: &[f64], overlap_steps: usize) -> GateDecision {
    let entrance = paired_gate(gains, overlap_steps);
    let Some(since) = seated_since else {
        return entrance;
    };
    let (before, since) = gains.split_at(since.min(gains.len()));
    let live = live_record(before, since, overlap_steps);
    let reason = match live {
        None => GateReason::NotFinite,
        Some(live) if live.confidence.is_some_and(|c| c.upper < 0.0) => GateReason::LostConfidence,
        Some(live) if live.cumulative_gain < 0.0 && live.days >= CUMULATIVE_MINIMUM_WINDOWS * overlap_steps => {
            GateReason::LostCumulative
        }
        Some(_) => GateReason::Kept,
    };
    GateDecision { seated: reason == GateReason::Kept, reason, live, ..entrance }
}

/// `None` when a gain since is not finite.
fn live_record(before: &[f64], since: &[f64], overlap_steps: usize) -> Option<LiveRecord> {
    let cumulative_gain: f64 = since.iter().sum();
    let known: Vec<f64> = before.iter().copied().filter(|g| g.is_finite()).collect();
    let mean_square = known.iter().map(|g| g * g).sum::<f64>() / known.len() as f64;
    let settings =
        SequenceSettings { bound: CLIP_ROOT_MEAN_SQUARES * mean_square.sqrt(), level: GATE_LEVEL, overlap_steps };
    cumulative_gain.is_finite().then(|| LiveRecord {
        days: since.len(),
        cumulative_gain,
        confidence: confidence_sequence(since, settings).last().copied(),
    })
}

/// One matured forecast of a mean. Log returns over the horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanRow {
    /// Mean that the model forecast, before any weight.
    pub raw_mean: f64,
    /// Mean that is served without the model.
    pub benchmark_mean: f64,
    /// What came.
    pub realized: f64,
}

/// How much of a raw mean is served.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MeanWeight {
    /// Within 0..1: served mean = benchmark mean + weight x (raw mean - benchmark mean).
    pub weight: f64,
    /// Slope of `realized - benchmark` on `raw - benchmark`, where it is defined.
    pub slope: Option<f64>,
    /// Its lower bound at one-sided 90 %.
    pub slope_lower: Option<f64>,
    /// One-sided p-value of Clark and West.
    pub p_value_one_sided: Option<f64>,
    /// Matured days.
    pub days: usize,
    /// What decided.
    pub reason: GateReason,
}

/// Weight of a raw mean: the lower 90 % bound of the pooled least-squares slope (with intercept), its error clustered by
/// day and corrected for overlap, clamped to 0..1; 0 unless Clark and West reject equality at .05.
///
/// `days` holds the matured rows of each day, ascending; the bound uses Student's t with `days - 1` degrees of freedom.
#[must_use]
pub fn mean_weight(days: &[Vec<MeanRow>], overlap_steps: usize) -> MeanWeight {
    let days: Vec<&[MeanRow]> = days.iter().map(Vec::as_slice).filter(|d| !d.is_empty()).collect();
    let gains: Vec<f64> = days.iter().map(|rows| day_mean(rows, clark_west_row)).collect();
    let refused = refuse(&gains, overlap_steps);
    let fit = slope_with_bound(&days, overlap_steps).filter(|_| refused != Some(GateReason::NotFinite));
    let p_value = clark_west(&gains, overlap_steps).map(|t| t.p_value_one_sided).filter(|_| fit.is_some());
    let reason = match (refused, fit, p_value) {
        (Some(reason), ..) => reason,
        (None, Some((_, lower)), Some(p)) if p < GATE_LEVEL && lower > 0.0 => GateReason::Passed,
        (None, Some(_), Some(p)) if p < GATE_LEVEL => GateReason::SlopeNotPositive,
        (None, Some(_), Some(_)) => GateReason::NotSignificant,
        (None, ..) => GateReason::NoVariation,
    };
    let earned = fit.filter(|_| reason == GateReason::Passed).map_or(0.0, |(_, lower)| lower.clamp(0.0, 1.0));
    MeanWeight {
        weight: earned,
        slope: fit.map(|f| f.0),
        slope_lower: fit.map(|f| f.1),
        p_value_one_sided: p_value,
        days: days.len(),
        reason,
    }
}

fn refuse(gains: &[f64], overlap_steps: usize) -> Option<GateReason> {
    if gains.len() < MINIMUM_GATE_DAYS || gains.len() < MINIMUM_GATE_WINDOWS * overlap_steps {
        return Some(GateReason::TooFewDays);
    }
    gains.iter().any(|g| !g.is_finite()).then_some(GateReason::NotFinite)
}

fn clark_west_row(row: &MeanRow) -> f64 {
    clark_west_gain(row.realized, row.benchmark_mean, row.raw_mean)
}

fn day_mean(rows: &[MeanRow], of: impl Fn(&MeanRow) -> f64) -> f64 {
    rows.iter().map(of).sum::<f64>() / rows.len() as f64
}

/// Slope and its lower bound; `None` where the raw means do not vary or the days are too few.
fn slope_with_bound(days: &[&[MeanRow]], overlap_steps: usize) -> Option<(f64, f64)> {
    let all = || days.iter().flat_map(|d| d.iter());
    let (x_of, y_of) = (|r: &MeanRow| r.raw_mean - r.benchmark_mean, |r: &MeanRow| r.realized - r.benchmark_mean);
    let count = all().count() as f64;
    let (x_mean, y_mean) = (all().map(x_of).sum::<f64>() / count, all().map(y_of).sum::<f64>() / count);
    let spread: f64 = all().map(|r| (x_of(r) - x_mean).powi(2)).sum();
    let slope = all().map(|r| (x_of(r) - x_mean) * (y_of(r) - y_mean)).sum::<f64>() / spread;
    let score = |r: &MeanRow| (x_of(r) - x_mean) * (y_of(r) - y_mean - slope * (x_of(r) - x_mean));
    let scores: Vec<f64> = days.iter().map(|d| d.iter().map(score).sum()).collect();
    let error = (long_run_variance(&scores, overlap_steps.max(1)) * scores.len() as f64).sqrt() / spread;
    let student = StudentsT::new(0.0, 1.0, scores.len() as f64 - 1.0).ok()?;
    let lower = slope - student.inverse_cdf(SLOPE_CONFIDENCE) * error;
    (slope.is_finite() && lower.is_finite()).then_some((slope, lower))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    fn normals(seed: u64, count: usize) -> Vec<f64> {
        StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(count).collect()
    }

    #[test]
    fn the_seat_needs_enough_days_and_a_significant_gain() {
        let noise = normals(7, 100);
        let shifted: Vec<f64> = noise.iter().map(|e| e + 0.5).collect();
        assert!(paired_gate(&shifted, 1).seated);
        assert_eq!(paired_gate(&shifted, 13).reason, GateReason::TooFewDays);
        assert_eq!(paired_gate(&shifted[..23], 1).reason, GateReason::TooFewDays);
        let worse: Vec<f64> = noise.iter().map(|e| e - 0.5).collect();
        let refused = paired_gate(&worse, 1);
        assert_eq!((refused.seated, refused.reason), (false, GateReason::NotSignificant));
        assert!(refused.statistic.unwrap() < 0.0 && refused.p_value_one_sided.unwrap() > 0.99);
        assert_eq!(paired_gate(&[0.1; 50], 1).reason, GateReason::NoVariation);
        let mut broken = shifted.clone();
        broken[3] = f64::NAN;
        let refused = paired_gate(&broken, 1);
        assert_eq!((refused.reason, refused.mean_gain, refused.statistic), (GateReason::NotFinite, None, None));
        assert_eq!(paired_gate(&[], 1).mean_gain, None);
    }

    #[test]
    fn the_gate_keeps_its_level_without_skill() {
        let opened = (0..1000).filter(|seed| paired_gate(&normals(*seed, 40), 1).seated).count();
        assert!((25..=75).contains(&opened), "{opened} of 1000");
    }

    #[test]
    fn a_seat_is_kept_until_its_gains_speak_against_it() {
        let mut gains: Vec<f64> = normals(7, 100).iter().map(|e| e + 0.5).collect();
        let kept = judge_seat(Some(100), &gains, 1);
        assert_eq!((kept.seated, kept.reason), (true, GateReason::Kept));
        assert_eq!(kept.live, Some(LiveRecord { days: 0, cumulative_gain: 0.0, confidence: None }));
        assert_eq!(judge_seat(None, &gains, 1), paired_gate(&gains, 1));
        // A small loss on a good record: the paired gate would still seat it, the live rule does not.
        gains.push(-0.1);
        let lost = judge_seat(Some(100), &gains, 1);
        assert_eq!((lost.seated, lost.reason), (false, GateReason::LostCumulative));
        assert!(paired_gate(&gains, 1).seated && lost.statistic == paired_gate(&gains, 1).statistic);
        assert_eq!(judge_seat(Some(100), &gains, 4).reason, GateReason::Kept);
        gains.extend([0.4; 3]);
        let kept = judge_seat(Some(100), &gains, 1);
        let live = kept.live.unwrap();
        assert!(kept.seated && (live.cumulative_gain - 1.1).abs() < 1e-12 && live.days == 4);
        assert!(live.confidence.unwrap().lower < 0.0 && live.confidence.unwrap().upper > 0.0);
        gains.push(f64::NAN);
        assert_eq!(judge_seat(Some(100), &gains, 1).reason, GateReason::NotFinite);
        let from_the_start = judge_seat(Some(0), &gains[..100], 1);
        assert!(from_the_start.seated && from_the_start.live.unwrap().confidence.is_none());
        assert_eq!(judge_seat(Some(500), &gains[..100], 1).reason, GateReason::Kept);
    }

    #[test]
    fn a_recipe_that_turned_bad_loses_by_confidence_even_with_one_lucky_day() {
        let mut gains: Vec<f64> = normals(7, 100).iter().map(|e| e + 0.5).collect();
        gains.push(500.0);
        gains.extend(normals(8, 120).iter().map(|e| e - 0.8));
        let lost = judge_seat(Some(100), &gains, 1);
        assert_eq!((lost.seated, lost.reason), (false, GateReason::LostConfidence));
        let live = lost.live.unwrap();
        assert!(live.cumulative_gain > 0.0 && live.confidence.unwrap().upper < 0.0);
        // Read every fourth day, twenty days of it are five windows, which bound nothing.
        assert_eq!(judge_seat(Some(101), &gains[..121], 4).reason, GateReason::LostCumulative);
        assert_eq!(GateReason::LostConfidence.as_str(), "lost_confidence");
    }

    #[test]
    fn a_weight_follows_the_slope_and_stays_below_it() {
        let (signal, noise) = (normals(1, 4000), normals(2, 4000));
        let rows = |slope: f64| -> Vec<Vec<MeanRow>> {
            let row =
                |(s, e): (&f64, &f64)| MeanRow { raw_mean: *s, benchmark_mean: 0.1, realized: slope * (s - 0.1) + e };
            let rows: Vec<MeanRow> = signal.iter().zip(&noise).map(row).collect();
            rows.chunks(40).map(<[MeanRow]>::to_vec).collect()
        };
        let half = mean_weight(&rows(0.5), 1);
        assert_eq!((half.reason, half.days), (GateReason::Passed, 100));
        assert!((half.slope.unwrap() - 0.5).abs() < 0.06);
        assert!(half.weight > 0.4 && half.weight < half.slope.unwrap());
        assert_eq!(mean_weight(&rows(3.0), 1).weight, 1.0);
        let none = mean_weight(&rows(-0.5), 1);
        assert_eq!((none.weight, none.reason), (0.0, GateReason::NotSignificant));
        assert_eq!(mean_weight(&rows(0.5)[..10], 1).reason, GateReason::TooFewDays);
        let same = MeanRow { raw_mean: 0.1, benchmark_mean: 0.1, realized: 0.0 };
        assert_eq!(mean_weight(&vec![vec![same; 3]; 30], 1).reason, GateReason::NoVariation);
    }
}

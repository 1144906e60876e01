//! The track record: live scores summed up against the benchmark, with bounds that hold however often one looks.

use serde::Serialize;
use utoipa::ToSchema;

use crate::evaluation::confidence_sequence::{SequenceSettings, confidence_sequence};
use crate::evaluation::live_days::{Covered, Measure, RELIABILITY_BINS, Scope, ScoredDay};
use crate::evaluation::live_scores::PIT_BINS;
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::scenario::conformal::QUANTILE_LEVELS;

/// Probability, for each side, that a bound ever fails.
pub const SEQUENCE_LEVEL: f64 = 0.05;

/// The method of the bounds, as answers name it.
pub const METHOD: &str = "Empirical-Bernstein confidence sequence (Choe and Ramdas 2023) with the gamma-exponential mixture \
     boundary of Howard et al. (2021): both bounds hold for the mean gain at all times at once, each except with probability \
     `level`, whatever the law of the gains and however often one looks. One gain a decision day (the mean over the \
     instruments); only windows that do not overlap, greedily from the first decision day on; gains clipped at `bound`, which \
     was fixed beforehand.";

/// The record of one horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrackRecord {
    /// Decision days.
    pub days: usize,
    /// First decision day.
    pub first_day: Day,
    /// Last decision day.
    pub last_day: Day,
    /// Instruments with an outcome, over all days.
    pub outcomes: usize,
    /// One a measure, in the order of [`Measure::ALL`]; those that no day has are missing.
    pub measures: Vec<MeasureRecord>,
    /// Intervals.
    pub coverage: Vec<Coverage>,
    /// Between which quantiles the outcomes fell.
    pub between_quantiles: Vec<QuantileBin>,
    /// Probabilities of a rise against what happened.
    pub reliability: Vec<ReliabilityBin>,
}

/// One measure over all days: what was served against the benchmark. Means are over decision days.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct MeasureRecord {
    /// What is compared.
    #[schema(example = "qlike")]
    pub measure: Measure,
    /// Decision days that count: with both numbers, or where no day has a benchmark all.
    #[schema(example = 61)]
    pub days: usize,
    /// Those of them on which the head was the network's; on the others both numbers are equal.
    #[schema(example = 20)]
    pub network_days: usize,
    /// Mean of what was served.
    #[schema(example = 0.4412)]
    pub served: f64,
    /// Mean of the benchmark (for `payoff` and `money`: always hold) on the same days.
    #[schema(example = 0.4467)]
    pub benchmark: Option<f64>,
    /// By how much the served answers were better: above 0 is better, for losses and payoffs alike.
    #[schema(example = 0.0055)]
    pub gain: Option<f64>,
    /// Bounds on the mean gain.
    pub confidence: Option<GainBounds>,
}

/// Bounds on the mean gain that hold at all times at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct GainBounds {
    /// Lower bound.
    #[schema(example = -0.012)]
    pub lower: f64,
    /// Upper bound.
    #[schema(example = 0.023)]
    pub upper: f64,
    /// Mean of the clipped gains of the windows.
    #[schema(example = 0.0055)]
    pub mean: f64,
    /// Windows that do not overlap.
    #[schema(example = 4)]
    pub windows: usize,
    /// Gains are clipped to `-bound..=bound`.
    #[schema(example = 0.15)]
    pub bound: f64,
    /// Windows whose gain was clipped.
    #[schema(example = 0)]
    pub clipped: usize,
    /// Probability, for each side, that the bound ever fails.
    #[schema(example = 0.05)]
    pub level: f64,
}

/// How often intervals held.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Coverage {
    /// What the interval promises, 0..1.
    #[schema(example = 0.9)]
    pub level: f64,
    /// Outcomes.
    #[schema(example = 7930)]
    pub outcomes: usize,
    /// Share of outcomes in the served intervals.
    #[schema(example = 0.893)]
    pub served: f64,
    /// Share in the benchmark's intervals.
    #[schema(example = 0.889)]
    pub benchmark: Option<f64>,
}

/// Outcomes between two neighbouring quantiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct QuantileBin {
    /// Probability of the lower quantile; 0 below the lowest.
    #[schema(example = 0.25)]
    pub from: f64,
    /// Probability of the upper quantile; 1 above the highest.
    #[schema(example = 0.4)]
    pub to: f64,
    /// Share of outcomes that calibrated quantiles have there.
    #[schema(example = 0.15)]
    pub expected: f64,
    /// Share of outcomes that fell there.
    #[schema(example = 0.147)]
    pub realized: f64,
}

/// Probabilities of a rise in one bin against the share that rose.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct ReliabilityBin {
    /// Lower end, included.
    #[schema(example = 0.55)]
    pub low: f64,
    /// Upper end, excluded.
    #[schema(example = 0.6)]
    pub high: f64,
    /// Outcomes.
    #[schema(example = 7930)]
    pub outcomes: usize,
    /// Mean of the probabilities.
    #[schema(example = 0.561)]
    pub mean_probability: f64,
    /// Share that rose.
    #[schema(example = 0.548)]
    pub share_risen: f64,
}

/// Sums up the days of one horizon, ascending by decision day and one a day; `None` without any.
#[must_use]
pub fn track_record(days: &[ScoredDay], horizon: Horizon, scope: Scope) -> Option<TrackRecord> {
    let (first, last) = (days.first()?, days.last()?);
    let measures = Measure::ALL.into_iter().filter_map(|m| measure_record(days, m, (horizon, scope)));
    Some(TrackRecord {
        days: days.len(),
        first_day: first.as_of,
        last_day: last.as_of,
        outcomes: days.iter().map(|d| d.scores.instruments).sum(),
        measures: measures.collect(),
        coverage: coverage(days),
        between_quantiles: between_quantiles(days),
        reliability: reliability(days),
    })
}

/// One measure over the days that have it; `None` without any.
#[must_use]
pub fn measure_record(
    days: &[ScoredDay],
    measure: Measure,
    (horizon, scope): (Horizon, Scope),
) -> Option<MeasureRecord> {
    let known = || days.iter().filter_map(|d| d.scores.compared.get(&measure).map(|c| (d, c)));
    let paired: Vec<(&ScoredDay, f64, f64, bool)> =
        known().filter_map(|(d, c)| Some((d, c.served, c.benchmark?, c.by_network))).collect();
    if paired.is_empty() {
        let alone: Vec<_> = known().map(|(_, c)| c).collect();
        let (days, network_days) = (alone.len(), alone.iter().filter(|c| c.by_network).count());
        let served = mean(alone.iter().map(|c| c.served))?;
        return Some(MeasureRecord {
            measure,
            days,
            network_days,
            served,
            benchmark: None,
            gain: None,
            confidence: None,
        });
    }
    let (served, benchmark) = (mean(paired.iter().map(|p| p.1))?, mean(paired.iter().map(|p| p.2))?);
    let gains = paired.iter().map(|(day, own, other, _)| (*day, measure.gain(*own, *other)));
    Some(MeasureRecord {
        measure,
        days: paired.len(),
        network_days: paired.iter().filter(|p| p.3).count(),
        served,
        benchmark: Some(benchmark),
        gain: Some(measure.gain(served, benchmark)),
        confidence: gain_bounds(gains, measure.bound(horizon, scope)),
    })
}

/// Bounds on the mean gain of the windows that do not overlap: from the first decision day on, each begins when the one
/// before has ended, so every gain is known before the next decision. Which days count does not depend on their gains.
fn gain_bounds<'a>(gains: impl Iterator<Item = (&'a ScoredDay, f64)>, bound: f64) -> Option<GainBounds> {
    let mut free_from: Option<Day> = None;
    let mut windows = Vec::new();
    for (day, gain) in gains.filter(|(_, gain)| gain.is_finite()) {
        if free_from.is_none_or(|from| day.as_of >= from) {
            free_from = Some(day.matured_on);
            windows.push(gain);
        }
    }
    let settings = SequenceSettings { bound, level: SEQUENCE_LEVEL, overlap_steps: 1 };
    let last = *confidence_sequence(&windows, settings).last()?;
    Some(GainBounds {
        lower: last.lower,
        upper: last.upper,
        mean: last.mean,
        windows: last.observations,
        bound,
        clipped: windows.iter().filter(|g| g.abs() > bound).count(),
        level: SEQUENCE_LEVEL,
    })
}

fn coverage(days: &[ScoredDay]) -> Vec<Coverage> {
    let sum = |value: &dyn Fn(&Covered) -> usize| days.iter().map(|d| value(&d.scores.covered)).sum::<usize>();
    let share = |held: usize, of: usize| (of > 0).then(|| held as f64 / of as f64);
    let (count, beside) = (sum(&|c| c.count), sum(&|c| c.benchmark_count));
    let levels: [(f64, usize, usize); 2] = [
        (0.5, sum(&|c| c.served_50), sum(&|c| c.benchmark_50)),
        (0.9, sum(&|c| c.served_90), sum(&|c| c.benchmark_90)),
    ];
    let row = |(level, served, benchmark): (f64, usize, usize)| {
        Some(Coverage { level, outcomes: count, served: share(served, count)?, benchmark: share(benchmark, beside) })
    };
    levels.into_iter().filter_map(row).collect()
}

fn between_quantiles(days: &[ScoredDay]) -> Vec<QuantileBin> {
    let mut counts = [0usize; PIT_BINS];
    days.iter().for_each(|d| counts.iter_mut().zip(d.scores.between_quantiles).for_each(|(sum, n)| *sum += n));
    let total: usize = counts.iter().sum();
    if total == 0 {
        return Vec::new();
    }
    let level = |k: usize| QUANTILE_LEVELS.get(k).copied();
    let bin = |(k, count): (usize, &usize)| {
        let (from, to) = (k.checked_sub(1).and_then(level).unwrap_or(0.0), level(k).unwrap_or(1.0));
        QuantileBin { from, to, expected: to - from, realized: *count as f64 / total as f64 }
    };
    counts.iter().enumerate().map(bin).collect()
}

fn reliability(days: &[ScoredDay]) -> Vec<ReliabilityBin> {
    let mut sums = [(0usize, 0.0, 0.0); RELIABILITY_BINS];
    for bin in days.iter().flat_map(|d| &d.scores.reliability) {
        let position = (bin.low * RELIABILITY_BINS as f64).round() as usize;
        if let Some(sum) = sums.get_mut(position) {
            let count = bin.count as f64;
            *sum = (sum.0 + bin.count, sum.1 + count * bin.mean_probability, sum.2 + count * bin.share_realized);
        }
    }
    let filled = sums.into_iter().enumerate().filter(|(_, (count, ..))| *count > 0);
    let row = |(bin, (count, probability, risen)): (usize, (usize, f64, f64))| ReliabilityBin {
        low: bin as f64 / RELIABILITY_BINS as f64,
        high: (bin + 1) as f64 / RELIABILITY_BINS as f64,
        outcomes: count,
        mean_probability: probability / count as f64,
        share_risen: risen / count as f64,
    };
    filled.map(row).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::evaluation::live_days::DayScores;
    use crate::evaluation::live_days::tests::score;
    use crate::market::calendar;

    /// Consecutive decision days over four weeks with those losses.
    fn days(losses: &[(f64, Option<f64>)]) -> Vec<ScoredDay> {
        let start = Day::from_ymd_opt(2024, 1, 2).unwrap();
        let day = |(k, (served, benchmark)): (usize, &(f64, Option<f64>))| {
            let as_of = calendar::add_sessions(start, k);
            let scores = DayScores::of(&[score(*served, *benchmark)], BTreeMap::new());
            ScoredDay { as_of, matured_on: calendar::add_sessions(as_of, 20), scores }
        };
        losses.iter().enumerate().map(day).collect()
    }

    #[test]
    fn means_count_the_days_and_bounds_the_windows() {
        let losses: Vec<(f64, Option<f64>)> = (0..61).map(|k| (0.4, Some(if k < 20 { 0.5 } else { 0.4 }))).collect();
        let record = track_record(&days(&losses), Horizon::FourWeeks, Scope::Universe).unwrap();
        assert_eq!((record.days, record.outcomes, record.measures.len()), (61, 61, 6));
        assert_eq!(record.first_day, Day::from_ymd_opt(2024, 1, 2).unwrap());
        let of = |measure| *record.measures.iter().find(|m| m.measure == measure).unwrap();
        let qlike = of(Measure::Qlike);
        assert!((qlike.served - 0.4).abs() < 1e-12 && (qlike.gain.unwrap() - 0.1 * 20.0 / 61.0).abs() < 1e-12);
        assert_eq!((qlike.days, qlike.network_days), (61, 61));
        let bounds = qlike.confidence.unwrap();
        // Days 0, 20, 40 and 60: one window with a gain of .1, three without.
        assert_eq!((bounds.windows, bounds.clipped, bounds.bound), (4, 0, 0.15));
        assert!((bounds.mean - 0.025).abs() < 1e-12 && bounds.lower <= bounds.mean && bounds.mean <= bounds.upper);
        let expected = confidence_sequence(
            &[0.5 - 0.4, 0.0, 0.0, 0.0],
            SequenceSettings { bound: 0.15, level: 0.05, overlap_steps: 1 },
        );
        assert_eq!((bounds.lower, bounds.upper), (expected[3].lower, expected[3].upper));
        let clipped = of(Measure::BrierScore).confidence.unwrap();
        assert_eq!((clipped.clipped, clipped.bound), (1, 0.03));
        let payoff = of(Measure::Payoff);
        assert!((payoff.gain.unwrap() - 0.3).abs() < 1e-12, "payoffs gain when they are larger");
    }

    #[test]
    fn days_that_are_missing_make_windows_longer_never_overlapping() {
        let all = days(&[(0.4, Some(0.5)); 61]);
        let some: Vec<ScoredDay> = all.iter().enumerate().filter(|(k, _)| k % 7 == 3).map(|(_, d)| d.clone()).collect();
        let record = measure_record(&some, Measure::Qlike, (Horizon::FourWeeks, Scope::Universe)).unwrap();
        // Days 3, 24, 45.
        assert_eq!(record.confidence.unwrap().windows, 3);
    }

    #[test]
    fn a_benchmark_that_nobody_knows_leaves_the_served_mean() {
        let record = track_record(&days(&[(0.2, None), (0.4, None)]), Horizon::FourWeeks, Scope::Instrument).unwrap();
        let qlike = record.measures.iter().find(|m| m.measure == Measure::Qlike).unwrap();
        assert!((qlike.served - 0.3).abs() < 1e-12);
        assert_eq!((qlike.benchmark, qlike.gain, qlike.confidence), (None, None, None));
        assert_eq!(record.coverage[0].benchmark, None);
        // One day with both counts alone: means of different days are not compared.
        let mixed = days(&[(0.2, None), (0.4, Some(0.5))]);
        let record = measure_record(&mixed, Measure::Qlike, (Horizon::FourWeeks, Scope::Universe)).unwrap();
        assert_eq!((record.days, record.served, record.benchmark), (1, 0.4, Some(0.5)));
        assert_eq!(track_record(&[], Horizon::FourWeeks, Scope::Universe), None);
    }

    #[test]
    fn calibration_is_pooled_over_days() {
        let record =
            track_record(&days(&[(0.2, Some(0.6)), (0.7, Some(0.95))]), Horizon::OneWeek, Scope::Universe).unwrap();
        let [half, most] = record.coverage[..] else { panic!("two levels") };
        assert_eq!((half.level, half.outcomes, half.served, half.benchmark), (0.5, 2, 0.5, Some(0.0)));
        assert_eq!((most.level, most.served, most.benchmark), (0.9, 1.0, Some(0.5)));
        let expected: f64 = record.between_quantiles.iter().map(|b| b.expected).sum();
        assert!((expected - 1.0).abs() < 1e-12 && record.between_quantiles.len() == 10);
        assert_eq!((record.between_quantiles[5].from, record.between_quantiles[5].realized), (0.5, 1.0));
        assert_eq!((record.between_quantiles[0].from, record.between_quantiles[9].to), (0.0, 1.0));
        let [bin] = record.reliability[..] else { panic!("one bin") };
        assert_eq!((bin.outcomes, bin.share_risen), (2, 1.0));
        assert!((bin.mean_probability - 0.56).abs() < 1e-12 && (bin.low - 0.55).abs() < 1e-12);
    }
}

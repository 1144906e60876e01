//! The scores of one decision day: cross-sectional means, which are what the record counts, for instruments of one day share
//! their surprises.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::evaluation::live_scores::{InstrumentScore, Losses, NetworkHeads, PIT_BINS};
use crate::evaluation::scores::{CalibrationBin, calibration_table};
use crate::market::bar::Day;
use crate::market::horizon::Horizon;

/// Bins of the probabilities of a rise, of .05 each.
pub const RELIABILITY_BINS: usize = 20;

/// What is compared with the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Ranked probability score of the fifths.
    RankedProbabilityScore,
    /// Mean pinball loss of the nine quantiles, percent of log return.
    PinballLoss,
    /// QLIKE of the variance.
    Qlike,
    /// Brier score of the probability of a rise.
    BrierScore,
    /// What the action paid after the charge for risk; more is better, and the benchmark always holds.
    Payoff,
    /// What the action paid in money; more is better, and the benchmark always holds.
    Money,
}

impl Measure {
    /// All measures.
    pub const ALL: [Self; 6] =
        [Self::RankedProbabilityScore, Self::PinballLoss, Self::Qlike, Self::BrierScore, Self::Payoff, Self::Money];

    /// The word used in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RankedProbabilityScore => "ranked_probability_score",
            Self::PinballLoss => "pinball_loss",
            Self::Qlike => "qlike",
            Self::BrierScore => "brier_score",
            Self::Payoff => "payoff",
            Self::Money => "money",
        }
    }

    /// Whether more is better: of payoffs. Of losses, less is.
    #[must_use]
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::Payoff | Self::Money)
    }

    /// By how much the served number is better than the benchmark's.
    #[must_use]
    pub fn gain(self, served: f64, benchmark: f64) -> f64 {
        if self.more_is_better() { served - benchmark } else { benchmark - served }
    }

    /// The pair of an instrument: served, the benchmark's, and whether the network made the difference.
    fn of(self, score: &InstrumentScore) -> Option<(f64, Option<f64>, bool)> {
        let NetworkHeads { ranks, returns, volatility, direction } = score.network;
        let pair = |value: &dyn Fn(&Losses) -> Option<f64>, by_network: bool| {
            Some((value(&score.served)?, score.benchmark.as_ref().and_then(value), by_network))
        };
        let paid = |value: &dyn Fn() -> Option<(f64, f64)>| value().map(|(own, hold)| (own, Some(hold), false));
        match self {
            Self::RankedProbabilityScore => pair(&|l| l.ranked_probability_score, ranks),
            Self::PinballLoss => pair(&|l| Some(l.pinball_loss), returns),
            Self::Qlike => pair(&|l| l.qlike, volatility),
            Self::BrierScore => pair(&|l| Some(l.brier_score), direction),
            Self::Payoff => paid(&|| score.payoffs.map(|p| (p.charged, p.hold_charged))),
            Self::Money => paid(&|| score.payoffs.map(|p| (p.money, p.hold_money))),
        }
    }
}

/// Whose days are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Means over the universe.
    Universe,
    /// One instrument alone, whose gains vary the more.
    Instrument,
}

/// Gains of an instrument may be so many times those of the universe's mean before they are clipped.
const INSTRUMENT_FACTOR: f64 = 5.0;
/// Sessions of the horizon for which the bounds of returns are stated.
const BOUND_SESSIONS: f64 = 20.0;

impl Measure {
    /// The bound at which a day's gain is clipped for the confidence sequence. Fixed before the first live day, by
    /// judgement: about three times what a day's mean over a hundred instruments may be expected to vary by. Those of returns
    /// grow with the root of the horizon.
    #[must_use]
    pub fn bound(self, horizon: Horizon, scope: Scope) -> f64 {
        let of_returns = (horizon.sessions() as f64 / BOUND_SESSIONS).sqrt();
        let of_universe = match self {
            Self::RankedProbabilityScore => 0.005,
            Self::PinballLoss => 0.15 * of_returns,
            Self::Qlike => 0.15,
            Self::BrierScore => 0.03,
            Self::Payoff | Self::Money => 0.05 * of_returns,
        };
        if scope == Scope::Instrument { INSTRUMENT_FACTOR * of_universe } else { of_universe }
    }
}

/// A mean beside the benchmark's, over the same instruments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Mean of what was served.
    pub served: f64,
    /// Mean of the benchmark; `None` where it could not be computed again.
    pub benchmark: Option<f64>,
    /// Instruments.
    pub count: usize,
    /// Whether the head was the network's.
    pub by_network: bool,
}

/// How many outcomes intervals held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Covered {
    /// Outcomes.
    pub count: usize,
    /// In the 50 % interval.
    pub served_50: usize,
    /// In the 90 % interval.
    pub served_90: usize,
    /// Outcomes with a benchmark.
    pub benchmark_count: usize,
    /// In the benchmark's 50 % interval.
    pub benchmark_50: usize,
    /// In the benchmark's 90 % interval.
    pub benchmark_90: usize,
}

/// The scores of one day and horizon, as they are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DayScores {
    /// Instruments with an outcome.
    pub instruments: usize,
    /// Instruments without one, by reason.
    pub unscored: BTreeMap<String, usize>,
    /// Means by measure; a measure without any instrument is missing.
    pub compared: BTreeMap<Measure, Compared>,
    /// Intervals.
    pub covered: Covered,
    /// Outcomes by the interval between neighbouring quantiles that they fell into, lowest first.
    pub between_quantiles: [usize; PIT_BINS],
    /// Probabilities of a rise against what happened.
    pub reliability: Vec<CalibrationBin>,
}

/// A decision day with its scores.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredDay {
    /// Decision day.
    pub as_of: Day,
    /// Last session of the horizon.
    pub matured_on: Day,
    /// What came of it.
    pub scores: DayScores,
}

impl DayScores {
    /// Sums up the instruments of a day. A mean counts instruments that have both numbers; where nobody has a
    /// benchmark's, all.
    #[must_use]
    pub fn of(scores: &[InstrumentScore], unscored: BTreeMap<String, usize>) -> Self {
        let compared = Measure::ALL.into_iter().filter_map(|measure| Some((measure, compared(scores, measure)?)));
        let mut day = Self { instruments: scores.len(), unscored, compared: compared.collect(), ..Self::default() };
        for score in scores {
            day.covered.add(score);
            if let Some(bin) = day.between_quantiles.get_mut(score.quantiles_below) {
                *bin += 1;
            }
        }
        let up = |s: &InstrumentScore| f64::from(u8::from(s.realized_return > 0.0));
        let pairs: Vec<(f64, f64)> = scores.iter().map(|s| (s.probability_up, up(s))).collect();
        day.reliability = calibration_table(&pairs, RELIABILITY_BINS);
        day
    }
}

fn compared(scores: &[InstrumentScore], measure: Measure) -> Option<Compared> {
    let known: Vec<(f64, Option<f64>, bool)> = scores.iter().filter_map(|s| measure.of(s)).collect();
    let both: Vec<(f64, f64)> = known.iter().filter_map(|(own, other, _)| Some((*own, (*other)?))).collect();
    let by_network = known.iter().any(|k| k.2);
    let mean = |values: &mut dyn Iterator<Item = f64>, count: usize| values.sum::<f64>() / count as f64;
    let (served, benchmark, count) = if both.is_empty() {
        (mean(&mut known.iter().map(|k| k.0), known.len()), None, known.len())
    } else {
        let count = both.len();
        (mean(&mut both.iter().map(|p| p.0), count), Some(mean(&mut both.iter().map(|p| p.1), count)), count)
    };
    (count > 0).then_some(Compared { served, benchmark, count, by_network })
}

impl Covered {
    fn add(&mut self, score: &InstrumentScore) {
        self.count += 1;
        self.served_50 += usize::from(score.served.covered_50);
        self.served_90 += usize::from(score.served.covered_90);
        if let Some(benchmark) = &score.benchmark {
            self.benchmark_count += 1;
            self.benchmark_50 += usize::from(benchmark.covered_50);
            self.benchmark_90 += usize::from(benchmark.covered_90);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::evaluation::live_scores::Payoffs;

    /// A score whose losses are all that number, of the benchmark the other.
    pub fn score(served: f64, benchmark: Option<f64>) -> InstrumentScore {
        let losses = |value: f64| Losses {
            ranked_probability_score: Some(value),
            pinball_loss: value,
            qlike: Some(value),
            brier_score: value,
            covered_50: value < 0.5,
            covered_90: value < 0.9,
        };
        InstrumentScore {
            realized_return: 0.01,
            realized_variance: 4e-4,
            served: losses(served),
            benchmark: benchmark.map(losses),
            payoffs: Some(Payoffs { charged: served, hold_charged: 0.1, money: 0.2, hold_money: 0.1 }),
            probability_up: 0.56,
            quantiles_below: 5,
            network: NetworkHeads { volatility: true, ..NetworkHeads::default() },
        }
    }

    #[test]
    fn a_day_is_the_mean_of_its_instruments_where_both_sides_are_known() {
        let mut unranked = score(0.3, Some(0.7));
        unranked.served.ranked_probability_score = None;
        let scores = [score(0.2, Some(0.6)), unranked, score(0.95, None)];
        let day = DayScores::of(&scores, BTreeMap::from([("prices_stopped".to_owned(), 2)]));
        let of = |measure| day.compared[&measure];
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-12;
        assert!(near(of(Measure::Qlike).served, 0.25) && near(of(Measure::Qlike).benchmark.unwrap(), 0.65));
        assert_eq!((of(Measure::Qlike).count, of(Measure::Qlike).by_network), (2, true));
        assert_eq!((of(Measure::RankedProbabilityScore).count, of(Measure::BrierScore).by_network), (1, false));
        assert!(near(of(Measure::Payoff).served, (0.2 + 0.3 + 0.95) / 3.0), "holding is always known");
        assert_eq!((day.instruments, day.unscored["prices_stopped"]), (3, 2));
        let covered = day.covered;
        assert_eq!((covered.count, covered.served_50, covered.served_90), (3, 2, 2));
        assert_eq!((covered.benchmark_count, covered.benchmark_50, covered.benchmark_90), (2, 0, 2));
        assert_eq!((day.between_quantiles[5], day.between_quantiles.iter().sum::<usize>()), (3, 3));
        assert_eq!((day.reliability.len(), day.reliability[0].count), (1, 3));
        let kept: DayScores = serde_json::from_value(serde_json::to_value(&day).unwrap()).unwrap();
        assert_eq!(kept, day);
    }

    #[test]
    fn without_a_benchmark_the_served_mean_stands_alone() {
        let day = DayScores::of(&[score(0.2, None), score(0.4, None)], BTreeMap::new());
        let loss = day.compared[&Measure::BrierScore];
        assert!((loss.served - 0.3).abs() < 1e-12 && loss.benchmark.is_none() && loss.count == 2);
        assert!(DayScores::of(&[], BTreeMap::new()).compared.is_empty());
    }

    #[test]
    fn gains_are_positive_where_the_served_answer_is_better() {
        assert!(Measure::Qlike.gain(0.4, 0.5) > 0.0 && Measure::Payoff.gain(0.4, 0.5) < 0.0);
        for measure in Measure::ALL {
            assert_eq!(serde_json::to_value(measure).unwrap(), measure.as_str());
            let bound = |scope| measure.bound(Horizon::FourWeeks, scope);
            assert!(bound(Scope::Instrument) > bound(Scope::Universe) && bound(Scope::Universe) > 0.0);
        }
        let year = Measure::PinballLoss.bound(Horizon::Year, Scope::Universe);
        assert!((year - 0.15 * 12.6f64.sqrt()).abs() < 1e-12);
    }
}

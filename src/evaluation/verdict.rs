//! The verdict: whether a head of an instrument is predictable, out of sample, against a named benchmark; it can say no.
//!
//! One test decides a head, at [`VERDICT_LEVEL`] and one-sided: Clark-West for direction, Diebold-Mariano with the factor of
//! Harvey, Leybourne and Newbold for volatility and rank. The other tests are reported. P-values are adjusted over the
//! instruments of a head and term after Benjamini and Yekutieli.

use serde::{Deserialize, Serialize};

use crate::evaluation::evidence::{Benchmark, Era, Evidence, TestName, VerdictTest};
use crate::evaluation::multiple_testing::benjamini_yekutieli;
use crate::evaluation::power::{VERDICT_POWER, power_of, windows_needed};
use crate::market::bar::Day;

/// Level of the deciding test, after adjustment.
pub const VERDICT_LEVEL: f64 = 0.05;
/// Mean gain of a window over its standard deviation that a verdict must be able to see: with 4 % of explained variance
/// (a correlation of .2) Clark-West gains have about this size.
pub const VERDICT_EFFECT: f64 = 0.25;
/// Eras that must show a gain.
const ERAS_WITH_GAIN: usize = 2;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better than the benchmark.
    Predictable,
    /// Enough data, and not shown to be better.
    NotPredictable,
    /// Too few independent windows to see an effect of [`VERDICT_EFFECT`].
    InsufficientData,
}

/// Why a verdict is not `predictable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictReason {
    /// There are no out-of-sample forecasts with an outcome.
    NoForecasts,
    /// The power is below [`VERDICT_POWER`].
    TooFewWindows,
    /// All gains are alike, so nothing can be tested.
    NoVariation,
    /// The adjusted p-value of the deciding test is not below [`VERDICT_LEVEL`].
    NotSignificant,
    /// The loss is not below the benchmark's, over all windows or in two of three eras.
    NoSteadyGain,
}

/// The verdict on one head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadVerdict {
    /// The answer.
    pub verdict: Verdict,
    /// Why, unless `predictable`.
    pub reason: Option<VerdictReason>,
    /// Who tried.
    pub forecast: String,
    /// Against what.
    pub benchmark: Benchmark,
    /// The test that decides.
    pub deciding_test: TestName,
    /// Matured windows that do not overlap.
    pub windows: usize,
    /// How many a verdict needs.
    pub windows_needed: Option<usize>,
    /// Chance of seeing an effect of [`VERDICT_EFFECT`] with those windows at the unadjusted level, 0..=1; `None` below
    /// three windows.
    pub power: Option<f64>,
    /// `1 - loss / loss(benchmark)`; `None` without windows.
    pub skill: Option<f64>,
    /// Three eras; none with fewer than three windows.
    pub eras: Vec<Era>,
    /// The deciding test first; a test that is not defined on these numbers is left out.
    pub tests: Vec<VerdictTest>,
    /// Day on which the next window matures; `None` when the instrument has stopped.
    pub next_test_date: Option<Day>,
}

/// The three heads of a term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TermVerdicts {
    /// The return.
    pub direction: HeadVerdict,
    /// The variance.
    pub volatility: HeadVerdict,
    /// The quintile.
    pub rank: HeadVerdict,
}

/// The verdicts on one instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predictability {
    /// 4w.
    pub short_term: TermVerdicts,
    /// 52w.
    pub long_term: TermVerdicts,
}

/// The verdict on one record alone: a family of one, so that no p-value is adjusted. [`settle`] adjusts.
#[must_use]
pub fn judge(evidence: &Evidence) -> HeadVerdict {
    let evidence = evidence.finite();
    let windows = evidence.independent().len();
    let mut verdict = HeadVerdict {
        verdict: Verdict::InsufficientData,
        reason: None,
        forecast: evidence.forecast.clone(),
        benchmark: evidence.benchmark,
        deciding_test: evidence.head.deciding_test(),
        windows,
        windows_needed: windows_needed(VERDICT_EFFECT, VERDICT_LEVEL, VERDICT_POWER),
        power: power_of(windows, VERDICT_EFFECT, VERDICT_LEVEL),
        skill: evidence.skill(),
        eras: evidence.eras(),
        tests: evidence.tests(),
        next_test_date: None,
    };
    settle(&mut [&mut verdict]);
    verdict
}

/// The harder of two benchmarks: a forecast that must beat both is judged by the one with the larger p-value, which keeps
/// the level without adjustment (intersection-union test, Berger 1982).
#[must_use]
pub fn harder(first: HeadVerdict, second: HeadVerdict) -> HeadVerdict {
    let p_value = |v: &HeadVerdict| v.deciding().map_or(1.0, |t| t.p_value);
    if p_value(&second) > p_value(&first) { second } else { first }
}

/// Adjusts the p-values over the instruments of one head and term, and decides. Instruments without enough windows are
/// outside the family: nothing in their gains can make them `predictable`.
pub fn settle(verdicts: &mut [&mut HeadVerdict]) {
    let of = |v: &HeadVerdict, name| v.tests.iter().position(|t| t.name == name).filter(|_| v.has_enough_windows());
    for name in TestName::ALL {
        let family: Vec<(usize, usize)> =
            verdicts.iter().enumerate().filter_map(|(k, v)| Some((k, of(v, name)?))).collect();
        let p_values: Vec<f64> = family.iter().map(|(k, t)| verdicts[*k].tests[*t].p_value).collect();
        for ((k, t), adjusted) in family.into_iter().zip(benjamini_yekutieli(&p_values)) {
            verdicts[k].tests[t].adjusted_p_value = Some(adjusted);
        }
    }
    for verdict in verdicts {
        let adjusted = verdict.deciding().and_then(|t| t.adjusted_p_value);
        (verdict.verdict, verdict.reason) = verdict.decide(adjusted);
    }
}

impl HeadVerdict {
    /// The test that decides; `None` where it is not defined.
    #[must_use]
    pub fn deciding(&self) -> Option<&VerdictTest> {
        self.tests.iter().find(|t| t.name == self.deciding_test)
    }

    /// Whether the power is enough.
    #[must_use]
    pub fn has_enough_windows(&self) -> bool {
        self.windows_needed.is_some_and(|needed| self.windows >= needed)
    }

    /// The answer at a p-value of the deciding test.
    #[must_use]
    pub fn decide(&self, p_value: Option<f64>) -> (Verdict, Option<VerdictReason>) {
        let no = |reason| (Verdict::NotPredictable, Some(reason));
        let gains = self.eras.iter().filter(|e| e.gain > 0.0).count();
        match p_value {
            _ if self.windows == 0 => (Verdict::InsufficientData, Some(VerdictReason::NoForecasts)),
            _ if !self.has_enough_windows() => (Verdict::InsufficientData, Some(VerdictReason::TooFewWindows)),
            None => no(VerdictReason::NoVariation),
            Some(p) if p >= VERDICT_LEVEL => no(VerdictReason::NotSignificant),
            Some(_) if gains < ERAS_WITH_GAIN || self.skill.is_none_or(|s| s <= 0.0) => no(VerdictReason::NoSteadyGain),
            Some(_) => (Verdict::Predictable, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::evidence::{Head, Window};

    /// Windows of 20 sessions whose gains are `mean` plus a wave of size 1 around it.
    fn evidence(count: usize, mean: f64) -> Evidence {
        let start = Day::from_ymd_opt(2010, 1, 1).unwrap();
        let day = |k: usize| start + chrono::Days::new(28 * k as u64);
        let gain = |k: usize| mean + (k as f64 * 2.1).sin();
        let windows = (0..count).map(|k| Window {
            session: 20 * k,
            day: day(k),
            forecast: (k as f64).cos(),
            benchmark: 0.0,
            realized: (k as f64 * 1.3).cos(),
            loss: 5.0,
            benchmark_loss: 5.0 + gain(k),
        });
        Evidence {
            head: Head::Volatility,
            forecast: "harx2".into(),
            benchmark: Benchmark::Roll252,
            horizon_sessions: 20,
            windows: windows.collect(),
        }
    }

    #[test]
    fn a_verdict_needs_windows_a_test_and_steady_gains() {
        use VerdictReason::{NoForecasts, NoSteadyGain, NoVariation, NotSignificant, TooFewWindows};
        let told = |evidence: &Evidence| {
            let verdict = judge(evidence);
            (verdict.verdict, verdict.reason)
        };
        assert_eq!(told(&evidence(0, 1.0)), (Verdict::InsufficientData, Some(NoForecasts)));
        assert_eq!(told(&evidence(100, 1.0)), (Verdict::InsufficientData, Some(TooFewWindows)));
        assert_eq!(told(&evidence(101, 1.0)), (Verdict::Predictable, None));
        assert_eq!(told(&evidence(150, 0.0)), (Verdict::NotPredictable, Some(NotSignificant)));
        let mut same = evidence(150, 0.0);
        same.windows.iter_mut().for_each(|w| w.benchmark_loss = 6.0);
        assert_eq!(told(&same), (Verdict::NotPredictable, Some(NoVariation)));
        // All of the gain lies in one era.
        let mut lucky = evidence(150, -0.1);
        lucky.windows[..50].iter_mut().for_each(|w| w.benchmark_loss += 4.0);
        assert_eq!(told(&lucky), (Verdict::NotPredictable, Some(NoSteadyGain)));
        assert!(judge(&lucky).deciding().unwrap().p_value < 1e-6);
        // Overlapping windows are counted once a horizon.
        let mut dense = evidence(150, 1.0);
        dense.windows.iter_mut().for_each(|w| w.session /= 4);
        assert_eq!(told(&dense), (Verdict::InsufficientData, Some(TooFewWindows)));
    }

    #[test]
    fn p_values_are_adjusted_over_those_with_enough_windows() {
        let mut verdicts: Vec<HeadVerdict> =
            [(150, 0.105), (150, 0.11), (150, 0.0), (60, 3.0)].map(|(n, mean)| judge(&evidence(n, mean))).into();
        assert_eq!(verdicts[0].verdict, Verdict::Predictable);
        settle(&mut verdicts.iter_mut().collect::<Vec<_>>());
        let p: Vec<f64> = verdicts.iter().map(|v| v.deciding().unwrap().p_value).collect();
        let adjusted: Vec<Option<f64>> = verdicts.iter().map(|v| v.deciding().unwrap().adjusted_p_value).collect();
        // Three in the family: 1 + 1/2 + 1/3 times 3, over the place.
        assert!((adjusted[0].unwrap() - p[0] * 5.5 / 2.0).abs() < 1e-12);
        assert_eq!((adjusted[3], verdicts[3].verdict), (None, Verdict::InsufficientData));
        assert_eq!(verdicts[0].verdict, Verdict::NotPredictable);
        let once = verdicts.clone();
        settle(&mut verdicts.iter_mut().collect::<Vec<_>>());
        assert_eq!(once, verdicts);
    }

    #[test]
    fn the_harder_benchmark_decides_and_the_verdict_is_stored_whole() {
        let easy = judge(&evidence(150, 1.0));
        let hard = judge(&Evidence { benchmark: Benchmark::OwnAverage, ..evidence(150, 0.1) });
        assert_eq!(harder(easy.clone(), hard.clone()), hard);
        assert_eq!(harder(hard.clone(), easy), hard);
        let json = serde_json::to_string(&hard).unwrap();
        assert!(json.contains(r#""benchmark":"own_average","deciding_test":"diebold_mariano""#), "{json}");
        assert_eq!(serde_json::from_str::<HeadVerdict>(&json).unwrap(), hard);
    }
}

//! The record of a head's forecasts against a benchmark, and the tests on it.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::evaluation::giacomini_white::giacomini_white_conditional;
use crate::evaluation::paired_tests::{
    DirectionCounts, TestResult, clark_west, clark_west_gain, diebold_mariano, overlap_steps, pesaran_timmermann,
    wilcoxon_signed_rank,
};
use crate::evaluation::rank_scores::spearman;
use crate::market::bar::Day;

/// Disjoint eras of equally many windows.
pub const ERAS: usize = 3;

/// What is forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// The return of the horizon, against its mean.
    Direction,
    /// The realized variance of the horizon.
    Volatility,
    /// The quintile among the universe.
    Rank,
}

/// What had to be beaten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Benchmark {
    /// Mean of the instrument's own returns over the horizon known so far.
    ExpandingMean,
    /// Mean squared return of the last 252 sessions.
    Roll252,
    /// Geometric mean of the forecaster's own earlier variances: volatility that never changes, as well as it knows it.
    OwnAverage,
    /// One fifth for each quintile.
    Uniform,
}

/// A test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestName {
    /// Clark and West (2007), on squared errors of nested models; one-sided.
    ClarkWest,
    /// Diebold and Mariano (1995) with Harvey, Leybourne and Newbold (1997), on the gains; one-sided.
    DieboldMariano,
    /// Pesaran and Timmermann (1992), on sides of the benchmark; one-sided, windows that do not overlap.
    PesaranTimmermann,
    /// Giacomini and White (2006), on the gains given the last one; two-sided by nature.
    GiacominiWhite,
    /// Wilcoxon (1945), on the gains; one-sided, windows that do not overlap.
    Wilcoxon,
    /// Spearman (1904), forecast against outcome by Student's t; one-sided, windows that do not overlap.
    Spearman,
}

/// One matured decision of one instrument, both sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Decision day, as a session index.
    pub session: usize,
    /// Decision day.
    pub day: Day,
    /// What was forecast, in the unit of `realized`.
    pub forecast: f64,
    /// What the benchmark said.
    pub benchmark: f64,
    /// What came.
    pub realized: f64,
    /// Loss of the forecast.
    pub loss: f64,
    /// Loss of the benchmark.
    pub benchmark_loss: f64,
}

/// The record of one head of one instrument against one benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What is forecast.
    pub head: Head,
    /// Who tried: `autoregression`, `harx2`, `network`, ...
    pub forecast: String,
    /// Against what.
    pub benchmark: Benchmark,
    /// Horizon in sessions.
    pub horizon_sessions: usize,
    /// Ascending by session; windows whose numbers are not finite are left out.
    pub windows: Vec<Window>,
}

/// A test with its p-values; large statistics speak for the forecast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VerdictTest {
    /// Which.
    pub name: TestName,
    /// Its statistic.
    pub statistic: f64,
    /// Probability of a larger statistic without skill.
    pub p_value: f64,
    /// After Benjamini and Yekutieli over the instruments with enough windows; `None` for an instrument without.
    pub adjusted_p_value: Option<f64>,
}

/// One of three stretches of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Era {
    /// Its first decision day.
    pub from: Day,
    /// Its last decision day.
    pub to: Day,
    /// Its windows.
    pub windows: usize,
    /// Mean of `loss(benchmark) - loss(forecast)`.
    pub gain: f64,
}

impl Head {
    /// The test that decides the head.
    #[must_use]
    pub fn deciding_test(self) -> TestName {
        match self {
            Self::Direction => TestName::ClarkWest,
            Self::Volatility | Self::Rank => TestName::DieboldMariano,
        }
    }
}

impl TestName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ClarkWest,
        Self::DieboldMariano,
        Self::PesaranTimmermann,
        Self::GiacominiWhite,
        Self::Wilcoxon,
        Self::Spearman,
    ];
}

impl Window {
    fn gain(&self) -> f64 {
        self.benchmark_loss - self.loss
    }

    fn is_finite(&self) -> bool {
        let numbers = [self.forecast, self.benchmark, self.realized, self.loss, self.benchmark_loss];
        numbers.iter().all(|v| v.is_finite())
    }
}

impl Evidence {
    /// The record without windows that hold a number that is not finite.
    #[must_use]
    pub fn finite(&self) -> Self {
        let windows = self.windows.iter().filter(|w| w.is_finite()).copied().collect();
        Self { windows, forecast: self.forecast.clone(), ..*self }
    }

    /// Windows that start at least one horizon apart, from the first on.
    #[must_use]
    pub fn independent(&self) -> Vec<Window> {
        let mut kept: Vec<Window> = Vec::with_capacity(self.windows.len());
        for window in &self.windows {
            if kept.last().is_none_or(|last| last.session + self.horizon_sessions <= window.session) {
                kept.push(*window);
            }
        }
        kept
    }

    /// `1 - loss / loss(benchmark)`, sums over the windows; `None` without windows or when the benchmark lost nothing.
    #[must_use]
    pub fn skill(&self) -> Option<f64> {
        let total = |of: fn(&Window) -> f64| self.windows.iter().map(of).sum::<f64>();
        let skill = 1.0 - total(|w| w.loss) / total(|w| w.benchmark_loss);
        skill.is_finite().then_some(skill)
    }

    /// Three stretches of equally many windows, the last one taking what is left; empty with fewer than three windows.
    #[must_use]
    pub fn eras(&self) -> Vec<Era> {
        let count = self.windows.len();
        let stretch = |k: usize| &self.windows[k * count / ERAS..(k + 1) * count / ERAS];
        let era = |windows: &[Window]| {
            let gain = windows.iter().map(Window::gain).sum::<f64>() / windows.len() as f64;
            Some(Era { from: windows.first()?.day, to: windows.last()?.day, windows: windows.len(), gain })
        };
        if count < ERAS { vec![] } else { (0..ERAS).filter_map(|k| era(stretch(k))).collect() }
    }

    /// The tests that are defined on these windows, the deciding one first. Overlapping windows are corrected for by
    /// Newey-West where a test allows it, and thinned out where it needs independence.
    #[must_use]
    pub fn tests(&self) -> Vec<VerdictTest> {
        let sessions: Vec<usize> = self.windows.iter().map(|w| w.session).collect();
        let steps = overlap_steps(self.horizon_sessions, &sessions);
        let gains: Vec<f64> = self.windows.iter().map(Window::gain).collect();
        let independent = self.independent();
        let deciding = self.head.deciding_test();
        let run = |name: TestName| {
            let (statistic, p_value) = match name {
                TestName::ClarkWest if self.head != Head::Direction => return None,
                TestName::ClarkWest => one_sided(clark_west(&self.clark_west_gains(), steps)?),
                TestName::DieboldMariano => one_sided(diebold_mariano(&gains, steps)?),
                TestName::PesaranTimmermann => one_sided(pesaran_timmermann(directions(&independent))?),
                TestName::GiacominiWhite => {
                    let test = giacomini_white_conditional(&gains, steps)?;
                    (test.statistic, test.p_value)
                }
                TestName::Wilcoxon => one_sided(wilcoxon_signed_rank(&gains_of(&independent))?),
                TestName::Spearman => rank_correlation(&independent)?,
            };
            let finite = statistic.is_finite() && p_value.is_finite();
            finite.then_some(VerdictTest { name, statistic, p_value, adjusted_p_value: None })
        };
        let others = TestName::ALL.into_iter().filter(|name| *name != deciding);
        std::iter::once(deciding).chain(others).filter_map(run).collect()
    }

    fn clark_west_gains(&self) -> Vec<f64> {
        self.windows.iter().map(|w| clark_west_gain(w.realized, w.benchmark, w.forecast)).collect()
    }
}

fn one_sided(result: TestResult) -> (f64, f64) {
    (result.statistic, result.p_value_one_sided)
}

fn gains_of(windows: &[Window]) -> Vec<f64> {
    windows.iter().map(Window::gain).collect()
}

/// Which side of the benchmark was forecast, and which came.
fn directions(windows: &[Window]) -> DirectionCounts {
    let sides: Vec<(bool, bool)> =
        windows.iter().map(|w| (w.forecast > w.benchmark, w.realized > w.benchmark)).collect();
    let share = |of: fn(&(bool, bool)) -> bool| sides.iter().filter(|s| of(s)).count() as f64 / sides.len() as f64;
    DirectionCounts {
        observations: sides.len(),
        hits: sides.iter().filter(|(forecast, realized)| forecast == realized).count(),
        share_up_realized: share(|s| s.1),
        share_up_forecast: share(|s| s.0),
    }
}

/// Spearman's correlation with `rho sqrt((n - 2) / (1 - rho^2))` against Student's t of `n - 2` degrees of freedom.
fn rank_correlation(windows: &[Window]) -> Option<(f64, f64)> {
    let forecasts: Vec<f64> = windows.iter().map(|w| w.forecast).collect();
    let realized: Vec<f64> = windows.iter().map(|w| w.realized).collect();
    let correlation = spearman(&forecasts, &realized)?;
    let freedom = windows.len() as f64 - 2.0;
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    Some((correlation, student.sf(correlation * (freedom / (1.0 - correlation * correlation)).sqrt())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(session: usize, forecast: f64, realized: f64) -> Window {
        let day = Day::from_ymd_opt(2020, 1, 1).unwrap() + chrono::Days::new(session as u64);
        let (loss, benchmark_loss) = ((realized - forecast).powi(2), realized * realized);
        Window { session, day, forecast, benchmark: 0.0, realized, loss, benchmark_loss }
    }

    fn evidence(windows: Vec<Window>) -> Evidence {
        let forecast = "autoregression".to_owned();
        Evidence { head: Head::Direction, forecast, benchmark: Benchmark::ExpandingMean, horizon_sessions: 20, windows }
    }

    #[test]
    fn windows_thin_out_to_one_a_horizon_and_split_into_eras() {
        let record = evidence((0..10).map(|k| window(15 * k, 1.0, if k < 3 { 1.0 } else { -1.0 })).collect());
        let kept: Vec<usize> = record.independent().iter().map(|w| w.session).collect();
        assert_eq!(kept, [0, 30, 60, 90, 120]);
        let eras = record.eras();
        assert_eq!(eras.iter().map(|e| (e.windows, e.gain)).collect::<Vec<_>>(), [(3, 1.0), (3, -3.0), (4, -3.0)]);
        assert_eq!((eras[0].from, eras[2].to), (record.windows[0].day, record.windows[9].day));
        assert!((record.skill().unwrap() - (1.0 - 28.0 / 10.0)).abs() < 1e-12);
        assert!(evidence(vec![window(0, 1.0, 1.0)]).eras().is_empty());
        assert_eq!(evidence(vec![]).skill(), None);
    }

    #[test]
    fn tests_agree_with_their_own_functions() {
        let pairs = [(0.2, 0.5), (-0.1, -0.4), (0.3, -0.2), (0.1, 0.6), (-0.3, -0.5), (0.4, 0.7)];
        let record = evidence(pairs.iter().enumerate().map(|(k, (f, y))| window(20 * k, *f, *y)).collect());
        let tests = record.tests();
        assert_eq!(tests.iter().map(|t| t.name).collect::<Vec<_>>(), TestName::ALL);
        let of = |name: TestName| tests.iter().find(|t| t.name == name).unwrap();
        // scipy.stats.spearmanr([.2, -.1, .3, .1, -.3, .4], [.5, -.4, -.2, .6, -.5, .7], alternative="greater")
        assert!((of(TestName::Spearman).statistic - 0.771_428_571).abs() < 1e-8);
        assert!((of(TestName::Spearman).p_value - 0.036_198_251).abs() < 1e-6, "{:?}", of(TestName::Spearman));
        let gains: Vec<f64> = pairs.iter().map(|(f, y)| clark_west_gain(*y, 0.0, *f)).collect();
        assert_eq!(one_sided(clark_west(&gains, 1).unwrap()), (tests[0].statistic, tests[0].p_value));
        assert!(of(TestName::PesaranTimmermann).statistic > 0.0);
        let volatility = Evidence { head: Head::Volatility, ..record };
        assert_eq!(volatility.tests()[0].name, TestName::DieboldMariano);
        assert!(volatility.tests().iter().all(|t| t.name != TestName::ClarkWest));
    }

    #[test]
    fn numbers_that_are_not_finite_are_left_out() {
        let record = evidence(vec![window(0, f64::NAN, 1.0), window(20, 1.0, 1.0), window(40, 1.0, f64::INFINITY)]);
        assert_eq!(record.finite().windows.len(), 1);
        assert!(
            record.finite().tests().iter().all(|t| t.name == TestName::Wilcoxon),
            "one window is no test of a mean"
        );
    }
}

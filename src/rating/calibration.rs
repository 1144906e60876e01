//! The one calibrated number of a rating: the scale of the volatility in the one-year first passage, fitted so that as
//! many shares were expected to lose half of their value within a year as did, and shrunk by how little that is known.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Datelike;
use serde::{Deserialize, Serialize};

use super::first_passage::{Diffusion, first_passage};
use super::term::SigmaScale;
use crate::decision::bisection::increasing_root;
use crate::market::bar::Day;

/// The fraction of its value now to which a share has to fall: half.
pub const DRAWDOWN_BARRIER: f64 = 0.5;
/// Instruments times years with such a fall that a fit needs.
pub const MINIMUM_INSTRUMENT_YEARS: usize = 30;
/// Years with such a fall that a fit needs, for falls come together.
pub const MINIMUM_EVENT_YEARS: usize = 3;
/// The factors that a fit may give.
const FACTORS: (f64, f64) = (0.25, 4.0);

/// One share on one day, a year later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DrawdownRow {
    /// Which instrument.
    pub instrument: usize,
    /// The day of the forecast.
    pub decided_on: Day,
    /// The day on which the outcome was known.
    pub matured_on: Day,
    /// What was forecast of the share: volatility and arithmetic drift a year.
    pub share: Diffusion,
    /// Whether some close of the 252 sessions after the day, dividends and splits included, was at most half of the
    /// day's.
    pub fell: bool,
}

/// The factor, year by year and now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatingCalibration {
    /// Ascending, one entry a year with forecasts.
    pub by_year: Vec<CalibrationYear>,
    /// The fit on everything that had matured.
    #[serde(flatten)]
    pub fit: FactorFit,
}

/// A factor and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FactorFit {
    /// The factor that is used: the fitted one, shrunk to 1; 1 when not calibrated.
    pub factor: f64,
    /// The factor that makes the expected falls as many as there were; `None` when not calibrated.
    pub fitted: Option<f64>,
    /// Its standard error; `None` when not calibrated.
    pub standard_error: Option<f64>,
    /// Whether there were enough falls to fit it.
    pub calibrated: bool,
    /// Why not.
    pub reason: Option<UncalibratedReason>,
    /// What it was fitted on.
    pub evidence: Evidence,
}

/// What a factor rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Matured rows.
    pub rows: usize,
    /// Rows with a fall.
    pub events: usize,
    /// Pairs of instrument and year with a fall.
    pub instrument_years: usize,
    /// Years with a fall.
    pub event_years: usize,
}

/// One year: the factor that was in force, and how its forecasts went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationYear {
    /// The year of the forecasts.
    pub year: i32,
    /// The fit in force, on rows that had matured before the year.
    #[serde(flatten)]
    pub fit: FactorFit,
    /// Rows of the year that have matured since.
    pub rows: usize,
    /// Those with a fall.
    pub events: usize,
    /// Mean probability of a fall with the factor; `None` while no row has matured.
    pub predicted: Option<f64>,
    /// The same with factor 1.
    pub predicted_without: Option<f64>,
    /// Share of rows with a fall.
    pub realized: Option<f64>,
}

/// Why the factor is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UncalibratedReason {
    /// Fewer than 30 instrument-years with a fall.
    TooFewEvents,
    /// The falls lie in fewer than three years.
    TooFewYears,
    /// No factor between 1/4 and 4 makes as many falls expected as there were.
    OutOfRange,
}

/// Probability that a share falls to half of its value within a year when its volatility is `factor` times as large.
#[must_use]
pub fn drawdown_probability(share: Diffusion, factor: f64) -> f64 {
    let scaled = Diffusion { volatility: share.volatility * factor, ..share };
    first_passage(DRAWDOWN_BARRIER, scaled, 1.0).value()
}

impl RatingCalibration {
    /// Fits the factor on rows that have matured, and for each year of `years` on those that had matured before it.
    #[must_use]
    pub fn fit(rows: &[DrawdownRow], years: impl IntoIterator<Item = i32>) -> Self {
        let by_year = years.into_iter().map(|year| {
            let known: Vec<DrawdownRow> = rows.iter().filter(|r| r.matured_on.year() < year).copied().collect();
            let own: Vec<DrawdownRow> = rows.iter().filter(|r| r.decided_on.year() == year).copied().collect();
            let fit = FactorFit::new(&known);
            let events = own.iter().filter(|r| r.fell).count();
            let share = |count: f64| (!own.is_empty()).then(|| count / own.len() as f64);
            CalibrationYear {
                year,
                fit,
                rows: own.len(),
                events,
                predicted: share(expected(&own, fit.factor)),
                predicted_without: share(expected(&own, 1.0)),
                realized: share(events as f64),
            }
        });
        Self { by_year: by_year.collect(), fit: FactorFit::new(rows) }
    }

    /// The factor for ratings after everything that it was fitted on.
    #[must_use]
    pub fn scale(&self) -> SigmaScale {
        self.fit.scale()
    }

    /// The factor that was in force in a year of the walk.
    #[must_use]
    pub fn scale_in(&self, year: i32) -> SigmaScale {
        let entry = self.by_year.iter().rev().find(|y| y.year <= year);
        entry.map_or_else(SigmaScale::default, |y| y.fit.scale())
    }
}

impl FactorFit {
    /// Fits the factor on matured rows.
    ///
    /// The fitted factor k makes the mean probability equal the share of falls (one moment for one number). Falls come
    /// together: one crash makes a hundred rows, so k is far less certain than the rows suggest. Its standard error
    /// treats the forecasts of a year as one observation (Liang and Zeger 1986), and what is used is
    /// `1 + (k - 1) max(0, 1 - se^2 / (k - 1)^2)` (positive-part shrinkage, James and Stein 1961): a correction that
    /// its own error could explain is not made.
    #[must_use]
    pub fn new(rows: &[DrawdownRow]) -> Self {
        let evidence = evidence(rows);
        let fitted = fitted_factor(rows, evidence);
        let standard_error = fitted.ok().and_then(|k| standard_error(rows, k));
        let factor = fitted.ok().zip(standard_error).map_or(1.0, |(k, error)| shrunk(k, error));
        let calibrated = standard_error.is_some();
        Self { factor, fitted: fitted.ok(), standard_error, calibrated, reason: fitted.err(), evidence }
    }

    fn scale(&self) -> SigmaScale {
        SigmaScale { factor: self.factor, calibrated: self.calibrated }
    }
}

fn shrunk(factor: f64, standard_error: f64) -> f64 {
    let correction = factor - 1.0;
    if correction.abs() <= standard_error {
        return 1.0;
    }
    four_decimals(1.0 + correction - standard_error * standard_error / correction)
}

/// Four decimals are far below the standard error and keep the last bits of a long sum out of the ratings.
fn four_decimals(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn evidence(rows: &[DrawdownRow]) -> Evidence {
    let fallen = || rows.iter().filter(|r| r.fell);
    let pairs: BTreeSet<(usize, i32)> = fallen().map(|r| (r.instrument, r.decided_on.year())).collect();
    let years: BTreeSet<i32> = fallen().map(|r| r.decided_on.year()).collect();
    Evidence { rows: rows.len(), events: fallen().count(), instrument_years: pairs.len(), event_years: years.len() }
}

fn fitted_factor(rows: &[DrawdownRow], evidence: Evidence) -> Result<f64, UncalibratedReason> {
    let Evidence { events, instrument_years, event_years, .. } = evidence;
    if instrument_years < MINIMUM_INSTRUMENT_YEARS {
        return Err(UncalibratedReason::TooFewEvents);
    }
    if event_years < MINIMUM_EVENT_YEARS {
        return Err(UncalibratedReason::TooFewYears);
    }
    let excess = |factor: f64| expected(rows, factor) - events as f64;
    if excess(FACTORS.0) > 0.0 || excess(FACTORS.1) < 0.0 {
        return Err(UncalibratedReason::OutOfRange);
    }
    Ok(four_decimals(increasing_root(excess, FACTORS.0, FACTORS.1)))
}

fn expected(rows: &[DrawdownRow], factor: f64) -> f64 {
    rows.iter().map(|r| drawdown_probability(r.share, factor)).sum()
}

/// Root of the sum over years of the squared excess of falls, over the slope of the expected falls in the factor.
fn standard_error(rows: &[DrawdownRow], factor: f64) -> Option<f64> {
    const STEP: f64 = 1e-3;
    let slope = (expected(rows, factor + STEP) - expected(rows, factor - STEP)) / (2.0 * STEP);
    let mut by_year: BTreeMap<i32, f64> = BTreeMap::new();
    for row in rows {
        let surprise = f64::from(u8::from(row.fell)) - drawdown_probability(row.share, factor);
        *by_year.entry(row.decided_on.year()).or_default() += surprise;
    }
    let squares: f64 = by_year.values().map(|excess| excess * excess).sum();
    (slope > 0.0).then(|| four_decimals(squares.sqrt() / slope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Months;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Shares whose true volatility is `factor` times what was forecast, over ten years.
    fn market(seed: u64, factor: f64) -> Vec<DrawdownRow> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let rows = (0..10).flat_map(|year| (0..12).flat_map(move |month| (0..60).map(move |i| (year, month, i))));
        rows.map(|(year, month, instrument)| {
            let decided_on = Day::from_ymd_opt(2010 + year, 1 + month, 28).unwrap();
            let share = Diffusion { mean: 0.05, volatility: 0.2 + 0.005 * instrument as f64 };
            let fell = random.random::<f64>() < drawdown_probability(share, factor);
            DrawdownRow { instrument, decided_on, matured_on: decided_on + Months::new(12), share, fell }
        })
        .collect()
    }

    #[test]
    fn a_planted_factor_is_found_out_of_sample() {
        for factor in [0.7, 1.0, 1.3] {
            let calibration = RatingCalibration::fit(&market(11, factor), 2010..=2020);
            let FactorFit { fitted, standard_error, calibrated, factor: used, .. } = calibration.fit;
            let (fitted, error) = (fitted.unwrap(), standard_error.unwrap());
            assert!(calibrated && (fitted - factor).abs() < 4.0 * error && error < 0.02, "{fitted} {error}");
            assert!((used - 1.0).abs() <= (fitted - 1.0).abs() && (used - factor).abs() < 0.04);
            let last = calibration.by_year.iter().find(|y| y.year == 2019).unwrap();
            assert!((last.fit.factor - factor).abs() < 0.05 && last.fit.calibrated);
            let (predicted, realized) = (last.predicted.unwrap(), last.realized.unwrap());
            assert!((predicted / realized - 1.0).abs() < 0.25, "{predicted} {realized}");
        }
    }

    #[test]
    fn one_crash_corrects_less_than_its_rows_would() {
        let mut rows = market(7, 1.0);
        rows.iter_mut().filter(|r| r.decided_on.year() == 2018).for_each(|r| r.fell = true);
        let fit = FactorFit::new(&rows);
        let fitted = fit.fitted.unwrap();
        assert!(fitted > 1.2 && fit.factor < 1.0 + 0.5 * (fitted - 1.0), "{fit:?}");
        assert_eq!(shrunk(1.1, 0.2), 1.0);
        assert_eq!((shrunk(1.2, 0.1), shrunk(0.8, 0.1)), (1.15, 0.85));
    }

    #[test]
    fn a_year_knows_only_what_had_matured_before_it() {
        let calm = market(3, 1.3);
        let mut shaken = calm.clone();
        for row in shaken.iter_mut().filter(|r| r.matured_on.year() >= 2015) {
            row.fell = row.decided_on.day() == 28 && row.instrument > 30;
        }
        let (calm, shaken) = (RatingCalibration::fit(&calm, 2010..=2019), RatingCalibration::fit(&shaken, 2010..=2019));
        for (a, b) in calm.by_year.iter().zip(&shaken.by_year).take_while(|(a, _)| a.year <= 2015) {
            assert_eq!(a.fit, b.fit);
        }
        assert_ne!(calm.by_year[6].fit.fitted, shaken.by_year[6].fit.fitted);
        assert_eq!(calm.scale_in(2014), calm.by_year[4].fit.scale());
        assert_eq!(calm.scale_in(2005), SigmaScale::default());
    }

    #[test]
    fn few_falls_or_few_years_leave_the_factor_at_one() {
        let rows = market(5, 1.0);
        let few: Vec<DrawdownRow> = rows.iter().filter(|r| r.instrument < 3).copied().collect();
        let fit = FactorFit::new(&few);
        assert_eq!((fit.factor, fit.reason), (1.0, Some(UncalibratedReason::TooFewEvents)));
        let two_years: Vec<DrawdownRow> = rows.iter().filter(|r| r.decided_on.year() < 2012).copied().collect();
        let fit = FactorFit::new(&two_years);
        assert_eq!((fit.calibrated, fit.reason), (false, Some(UncalibratedReason::TooFewYears)));
        assert_eq!(fit.scale(), SigmaScale::default());
        let all_fall: Vec<DrawdownRow> = rows.iter().map(|r| DrawdownRow { fell: true, ..*r }).collect();
        assert_eq!(FactorFit::new(&all_fall).reason, Some(UncalibratedReason::OutOfRange));
        assert_eq!(FactorFit::new(&[]).evidence, Evidence::default());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_larger_factor_never_makes_a_fall_less_likely(
            mean in 0.0..0.3_f64, volatility in 0.01..1.5_f64, factor in 0.25..4.0_f64, more in 0.0..1.0_f64,
        ) {
            let share = Diffusion { mean, volatility };
            prop_assert!(drawdown_probability(share, factor + more) >= drawdown_probability(share, factor) - 1e-12);
        }
    }
}

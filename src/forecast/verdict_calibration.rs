//! The verdict's own calibration: how often it calls pure noise predictable, and how often it finds what was planted,
//! on simulated markets that go through the same inputs, fits and tests as real ones.

use std::fmt;

use rayon::prelude::*;
use serde::Serialize;
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::evaluation::evidence::Head;
use crate::evaluation::verdict::{HeadVerdict, VERDICT_LEVEL, Verdict};
use crate::forecast::predictability::{
    Record, Said, TermForecasts, direction_verdicts, rank_verdicts, volatility_verdicts,
};
use crate::forecast::verdict_markets::{Path, market, volatility_ranks};
use crate::forecast::walk::VolatilityWalk;
use crate::market::history::History;
use crate::market::horizon::Horizon;
use crate::scenario::volatility::VolatilityModel;
use crate::scenario::volatility_inputs::VolatilityInputs;

/// Share of planted effects that must be found.
pub const FOUND_SHARE: f64 = 0.9;
/// Chance below which counts contradict a bound.
pub const CHANCE: f64 = 1e-4;
/// Sessions of twelve years, and one.
const TWELVE_YEARS: usize = 12 * 252 + 1;
/// Windows of the planted autoregression.
const PLANTED_WINDOWS: usize = 500;
/// One in so many instruments carries the planted autoregression; the others are noise.
const PLANTED_EVERY: usize = 5;
/// Session from which on instruments can be ranked.
const FIRST_RANKS: usize = 504;
/// Sessions between rank forecasts.
const RANK_SPACING: usize = 5;

/// Size of a calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CalibrationSettings {
    /// Seed of all chance.
    pub seed: u64,
    /// Markets of each kind; p-values are adjusted within a market.
    pub markets: usize,
    /// Instruments of a market.
    pub instruments: usize,
}

impl Default for CalibrationSettings {
    /// 1,000 instruments of each kind in markets of 125.
    fn default() -> Self {
        Self { seed: 20_240_930, markets: 8, instruments: 125 }
    }
}

/// What was simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Simulated {
    /// Independent heavy-tailed returns of constant, differing volatility.
    Noise,
    /// Independent heavy-tailed returns of one constant volatility, so that ranks are noise too.
    EqualNoise,
    /// An autoregression of slope .3 between neighbouring windows.
    Autoregression,
    /// GARCH(1,1) with .08 and .90, judged at 1w.
    Clustering,
    /// The same, at 4w.
    SlowClustering,
}

/// How often one head of one kind of instruments was called predictable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationRow {
    /// The kind.
    pub simulated: Simulated,
    /// The head.
    pub head: Head,
    /// The horizon.
    pub horizon: Horizon,
    /// Instruments.
    pub instruments: usize,
    /// Most windows that one of them had.
    pub windows: usize,
    /// Those whose deciding test alone is below the level, unadjusted.
    pub below_level: usize,
    /// Those that would be `predictable` without adjustment.
    pub predictable_alone: usize,
    /// Those that are `predictable`.
    pub predictable: usize,
}

/// What a share is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// At most [`VERDICT_LEVEL`].
    Level,
    /// At least [`FOUND_SHARE`].
    Found,
}

/// All rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationReport {
    /// How much was simulated.
    pub settings: CalibrationSettings,
    /// One a kind and head.
    pub rows: Vec<CalibrationRow>,
}

/// Simulates the markets and judges every instrument.
///
/// Noise and clustering at 4w over twelve years, volatility through harX2's walk; the autoregression at 1w over 500
/// windows, one instrument in five among noise.
#[must_use]
pub fn calibrate(settings: &CalibrationSettings) -> CalibrationReport {
    let kinds = [
        Simulated::Noise,
        Simulated::EqualNoise,
        Simulated::Autoregression,
        Simulated::Clustering,
        Simulated::SlowClustering,
    ];
    let runs: Vec<(usize, Simulated)> =
        (0..settings.markets).flat_map(|m| kinds.map(|kind| (kinds.len() * m + kind as usize, kind))).collect();
    let rows: Vec<CalibrationRow> =
        runs.into_par_iter().flat_map_iter(|(run, kind)| judge(settings, run, kind)).collect();
    let mut report = CalibrationReport { settings: *settings, rows: vec![] };
    for row in rows {
        match report.rows.iter_mut().find(|r| (r.simulated, r.head) == (row.simulated, row.head)) {
            Some(sum) => sum.add(&row),
            None => report.rows.push(row),
        }
    }
    report.rows.sort_by_key(|r| (r.simulated as usize, r.head as usize));
    report
}

impl CalibrationReport {
    /// Whether every row [meets](CalibrationRow::meets) its bound: for a thousand instruments.
    #[must_use]
    pub fn meets(&self) -> bool {
        self.rows.iter().all(CalibrationRow::meets)
    }

    /// Whether every row [holds](CalibrationRow::holds): for a few instruments, where shares are coarse.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.rows.iter().all(CalibrationRow::holds)
    }
}

impl CalibrationRow {
    /// Share of the instruments.
    #[must_use]
    pub fn share(&self, count: usize) -> f64 {
        count as f64 / self.instruments.max(1) as f64
    }

    /// What is asked of the row; nothing of clustering at 4w, whose row says how much twelve years can show.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        match (self.simulated, self.head) {
            (Simulated::SlowClustering, Head::Volatility) => None,
            (Simulated::Autoregression, Head::Direction) | (Simulated::Clustering, Head::Volatility) => {
                Some(Bound::Found)
            }
            _ => Some(Bound::Level),
        }
    }

    /// Whether the shares are within the bound: noise before and after adjustment, what was planted after it.
    #[must_use]
    pub fn meets(&self) -> bool {
        match self.bound() {
            None => true,
            Some(Bound::Found) => self.share(self.predictable) >= FOUND_SHARE,
            Some(Bound::Level) => self.share(self.predictable_alone.max(self.predictable)) <= VERDICT_LEVEL,
        }
    }

    /// Whether counts like these, or worse ones, have at least a chance of [`CHANCE`] with a true share at the bound.
    #[must_use]
    pub fn holds(&self) -> bool {
        let law = |share: f64| Binomial::new(share, self.instruments as u64).ok();
        let called = self.predictable_alone.max(self.predictable) as u64;
        let chance = match self.bound() {
            None => None,
            Some(Bound::Found) => law(FOUND_SHARE).map(|law| law.cdf(self.predictable as u64)),
            Some(Bound::Level) => called.checked_sub(1).and_then(|fewer| Some(law(VERDICT_LEVEL)?.sf(fewer))),
        };
        chance.is_none_or(|chance| chance >= CHANCE)
    }

    fn add(&mut self, other: &Self) {
        self.instruments += other.instruments;
        self.windows = self.windows.max(other.windows);
        self.below_level += other.below_level;
        self.predictable_alone += other.predictable_alone;
        self.predictable += other.predictable;
    }
}

impl fmt::Display for CalibrationReport {
    /// A Markdown table; `as asked` compares with the bounds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| simulated | head | horizon | windows | instruments | p < .05 | predictable alone | predictable | as asked |"
        )?;
        writeln!(f, "|---|---|---|---:|---:|---:|---:|---:|---|")?;
        for row in &self.rows {
            let percent = |count: usize| format!("{:.1} %", 100.0 * row.share(count));
            writeln!(
                f,
                "| {:?} | {:?} | {} | {} | {} | {} | {} | {} | {} |",
                row.simulated,
                row.head,
                row.horizon,
                row.windows,
                row.instruments,
                percent(row.below_level),
                percent(row.predictable_alone),
                percent(row.predictable),
                match (row.bound(), row.meets()) {
                    (None, _) => "",
                    (Some(_), true) => "yes",
                    (Some(_), false) => "NO",
                },
            )?;
        }
        Ok(())
    }
}

/// One market, judged.
fn judge(settings: &CalibrationSettings, run: usize, kind: Simulated) -> Vec<CalibrationRow> {
    let (horizon, sessions) = match kind {
        Simulated::Autoregression => (Horizon::OneWeek, PLANTED_WINDOWS * Horizon::OneWeek.sessions() + 1),
        Simulated::Clustering => (Horizon::OneWeek, TWELVE_YEARS),
        _ => (Horizon::FourWeeks, TWELVE_YEARS),
    };
    let paths: Vec<Path> = (0..settings.instruments).map(|k| kind.path(k, horizon)).collect();
    let history = market(&paths, sessions, settings.seed.wrapping_add(run as u64));
    let heads = verdicts(&history, kind, horizon);
    let row = |(head, verdicts): (Head, Vec<HeadVerdict>)| {
        let planted = |k: &usize| kind != Simulated::Autoregression || k.is_multiple_of(PLANTED_EVERY);
        let of: Vec<&HeadVerdict> =
            verdicts.iter().enumerate().filter(|(k, _)| planted(k)).map(|(_, verdict)| verdict).collect();
        count(
            CalibrationRow {
                simulated: kind,
                head,
                horizon,
                instruments: of.len(),
                windows: 0,
                below_level: 0,
                predictable_alone: 0,
                predictable: 0,
            },
            &of,
        )
    };
    heads.into_iter().map(row).collect()
}

fn verdicts(history: &History, kind: Simulated, horizon: Horizon) -> Vec<(Head, Vec<HeadVerdict>)> {
    let inputs = VolatilityInputs::new(history);
    let until = history.sessions.len() - 1;
    let fitted: &[Horizon] = if kind == Simulated::Autoregression { &[] } else { &[horizon] };
    let volatility = VolatilityWalk::fit(&inputs, VolatilityModel::HarX2, fitted, until);
    let record = Record { history, inputs: &inputs, volatility: &volatility, until };
    let none = TermForecasts::default();
    match kind {
        Simulated::Autoregression => vec![(Head::Direction, direction_verdicts(&record, horizon, &none))],
        Simulated::Noise | Simulated::Clustering | Simulated::SlowClustering => vec![
            (Head::Direction, direction_verdicts(&record, horizon, &none)),
            (Head::Volatility, volatility_verdicts(&record, horizon, &none)),
        ],
        Simulated::EqualNoise => {
            let days = volatility_ranks(&inputs, FIRST_RANKS, RANK_SPACING);
            let ranks = TermForecasts { ranks: Some(Said { name: "cov252", days: &days }), ..none };
            vec![
                (Head::Direction, direction_verdicts(&record, horizon, &none)),
                (Head::Volatility, volatility_verdicts(&record, horizon, &none)),
                (Head::Rank, rank_verdicts(&record, horizon, &ranks)),
            ]
        }
    }
}

fn count(row: CalibrationRow, verdicts: &[&HeadVerdict]) -> CalibrationRow {
    let p_value = |v: &HeadVerdict| v.deciding().map(|t| t.p_value);
    let that = |of: &dyn Fn(&HeadVerdict) -> bool| verdicts.iter().filter(|v| of(v)).count();
    CalibrationRow {
        windows: verdicts.iter().map(|v| v.windows).max().unwrap_or(0),
        below_level: that(&|v| p_value(v).is_some_and(|p| p < VERDICT_LEVEL)),
        predictable_alone: that(&|v| v.decide(p_value(v)).0 == Verdict::Predictable),
        predictable: that(&|v| v.verdict == Verdict::Predictable),
        ..row
    }
}

impl Simulated {
    fn path(self, index: usize, horizon: Horizon) -> Path {
        // Daily volatilities from .8 % to 2.8 %.
        let volatility = 0.008 + 0.002 * (index % 11) as f64;
        match self {
            Self::Noise => Path::Noise { volatility },
            Self::EqualNoise => Path::Noise { volatility: 0.015 },
            Self::Autoregression if index.is_multiple_of(PLANTED_EVERY) => {
                Path::Autoregression { horizon_sessions: horizon.sessions() }
            }
            Self::Autoregression => Path::Noise { volatility },
            Self::Clustering | Self::SlowClustering => Path::Clustering { volatility },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_not_called_predictable_and_planted_effects_are_found() {
        let settings = CalibrationSettings { seed: 3, markets: 2, instruments: 50 };
        let report = calibrate(&settings);
        assert!(report.holds(), "{report}");
        let row = |simulated, head| report.rows.iter().find(|r| (r.simulated, r.head) == (simulated, head)).unwrap();
        for (simulated, head) in
            [(Simulated::Autoregression, Head::Direction), (Simulated::Clustering, Head::Volatility)]
        {
            assert!(row(simulated, head).meets() && row(simulated, head).instruments >= 20, "{report}");
        }
        for noise in report.rows.iter().filter(|r| r.bound() == Some(Bound::Level)) {
            assert_eq!((noise.instruments, noise.predictable), (100, 0), "{report}");
            assert!(noise.windows >= 101);
        }
        assert_eq!(report.rows.len(), 10);
        assert!(report.to_string().contains("| Clustering | Volatility | 1w |"));
    }

    #[test]
    fn counts_are_held_against_their_bounds() {
        let row = |simulated, head, predictable_alone, predictable| CalibrationRow {
            simulated,
            head,
            horizon: Horizon::FourWeeks,
            instruments: 100,
            windows: 120,
            below_level: 0,
            predictable_alone,
            predictable,
        };
        let noise = |alone| row(Simulated::Noise, Head::Direction, alone, 0);
        assert_eq!(
            [5, 6, 14, 40].map(|k| (noise(k).meets(), noise(k).holds())),
            [(true, true), (false, true), (false, true), (false, false)]
        );
        let found = |count| row(Simulated::Clustering, Head::Volatility, count, count);
        assert_eq!(
            [95, 89, 60].map(|k| (found(k).meets(), found(k).holds())),
            [(true, true), (false, true), (false, false)]
        );
        assert!(row(Simulated::SlowClustering, Head::Volatility, 0, 0).meets());
    }
}

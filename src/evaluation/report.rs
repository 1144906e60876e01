//! From losses by row to a report: means by day, by year and over all, skill against benchmarks, and the same without
//! the crash of 2020.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use chrono::Datelike;
use serde::Serialize;

use crate::evaluation::paired_tests::{diebold_mariano, median};
use crate::evaluation::periods::{CRASH, Period};
use crate::market::bar::Day;

/// The losses of one forecast row.
#[derive(Debug, Clone, PartialEq)]
pub struct LossRow {
    /// Decision day.
    pub as_of: Day,
    /// Loss of the forecast; smaller is better.
    pub loss: f64,
    /// Loss of each benchmark on the same outcome, in the order of [`LossTable::benchmarks`]; `None` where it has no forecast.
    pub benchmark_losses: Vec<Option<f64>>,
}

/// Losses of one head at one horizon.
#[derive(Debug, Clone, PartialEq)]
pub struct LossTable {
    /// Names of the benchmarks.
    pub benchmarks: Vec<String>,
    /// Decision days that one horizon overlaps.
    pub overlap_steps: usize,
    /// The decision days whose outcomes touch the crash of 2020, see
    /// [`crash_decisions`](crate::evaluation::periods::crash_decisions).
    pub crash: Range<Day>,
    /// Rows in any order.
    pub rows: Vec<LossRow>,
}

/// What became of a [`LossTable`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LossReport {
    /// Decision days that one horizon overlaps.
    pub overlap_steps: usize,
    /// All days.
    pub overall: LossSummary,
    /// Without the decision days whose outcomes touch [`CRASH`]; `None` when no such day was scored or nothing else was.
    pub without_crash: Option<LossSummary>,
    /// By calendar year, ascending.
    pub years: Vec<YearLosses>,
    /// By decision day, ascending.
    pub days: Vec<DayLosses>,
}

/// Losses over a set of days.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LossSummary {
    /// Scored rows.
    pub rows: usize,
    /// Scored days.
    pub days: usize,
    /// Mean over days of the day's mean.
    pub mean: f64,
    /// Median over days of the day's mean.
    pub median: f64,
    /// Mean over rows.
    pub row_mean: f64,
    /// Against each benchmark.
    pub comparisons: Vec<Comparison>,
}

/// A forecast against one benchmark on the rows that both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the benchmark.
    pub benchmark: String,
    /// Days with rows of both.
    pub days: usize,
    /// Rows of both.
    pub rows: usize,
    /// Mean over those days of the forecast's loss.
    pub loss: f64,
    /// Mean over those days of the benchmark's loss.
    pub benchmark_loss: f64,
    /// `1 - loss / benchmark_loss`; `None` when the benchmark loses nothing.
    pub skill: Option<f64>,
    /// Diebold-Mariano with the Harvey-Leybourne-Newbold factor; above 0 where the forecast is better. `None` where it
    /// is not defined, and where there are no more days than one horizon overlaps.
    pub diebold_mariano: Option<f64>,
    /// Its one-sided p-value: how likely a larger statistic is without skill.
    pub p_value_one_sided: Option<f64>,
    /// Its two-sided p-value.
    pub p_value_two_sided: Option<f64>,
    /// Share of days on which the forecast is strictly better.
    pub share_of_days_better: f64,
}

/// Losses of one calendar year.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct YearLosses {
    /// Calendar year of the decision days.
    pub year: i32,
    /// Scored days.
    pub days: usize,
    /// Mean over days.
    pub loss: f64,
    /// Mean over days of each benchmark, where it has any.
    pub benchmark_losses: Vec<Option<f64>>,
}

/// Losses of one decision day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DayLosses {
    /// Decision day.
    pub as_of: Day,
    /// Scored rows.
    pub rows: usize,
    /// Mean over rows.
    pub loss: f64,
    /// Against each benchmark; `None` where they share no row.
    pub pairs: Vec<Option<PairedLosses>>,
}

/// Mean losses over the rows of one day that the forecast and a benchmark share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairedLosses {
    /// Rows of both.
    pub rows: usize,
    /// Of the forecast.
    pub loss: f64,
    /// Of the benchmark.
    pub benchmark_loss: f64,
}

impl LossReport {
    /// Aggregates the rows; `None` without rows.
    #[must_use]
    pub fn of(table: &LossTable) -> Option<Self> {
        let mut by_day: BTreeMap<Day, Vec<&LossRow>> = BTreeMap::new();
        for row in &table.rows {
            by_day.entry(row.as_of).or_default().push(row);
        }
        let days: Vec<DayLosses> = by_day.into_iter().map(|(as_of, rows)| day_losses(as_of, &rows, table)).collect();
        let calm: Vec<&DayLosses> =
            days.iter().filter(|d| Period::WithoutCrash.contains(d.as_of, &table.crash)).collect();
        let without_crash = (calm.len() < days.len()).then(|| summarize(&calm, table)).flatten();
        let overall = summarize(&days.iter().collect::<Vec<_>>(), table)?;
        Some(Self { overlap_steps: table.overlap_steps, overall, without_crash, years: years(&days, table), days })
    }

    /// Gain of each day against the named benchmark, `loss(benchmark) - loss(forecast)`, ascending by day; days without
    /// shared rows are left out. Empty for an unknown name.
    #[must_use]
    pub fn gains(&self, benchmark: &str) -> Vec<(Day, f64)> {
        let Some(at) = self.overall.comparisons.iter().position(|c| c.benchmark == benchmark) else {
            return Vec::new();
        };
        let gain = |d: &DayLosses| d.pairs[at].map(|p| (d.as_of, p.benchmark_loss - p.loss));
        self.days.iter().filter_map(gain).collect()
    }

    /// The overall and yearly tables as Markdown under a heading of level 3.
    #[must_use]
    pub fn markdown(&self, title: &str) -> String {
        let mut text = format!("### {title}\n\n");
        write_summary(&mut text, &self.overall, self.overlap_steps);
        if let Some(calm) = &self.without_crash {
            let _ = writeln!(text, "\nWithout decisions whose outcomes touch {} to {}:\n", CRASH.0, CRASH.1);
            write_summary(&mut text, calm, self.overlap_steps);
        }
        let names: Vec<&str> = self.overall.comparisons.iter().map(|c| c.benchmark.as_str()).collect();
        let mut heads = vec!["year", "days", "loss"];
        heads.extend(&names);
        let cells = self.years.iter().map(|y| {
            let mut row = vec![y.year.to_string(), y.days.to_string(), format!("{:.5}", y.loss)];
            row.extend(y.benchmark_losses.iter().map(|b| optional(*b, 5)));
            row
        });
        let _ = write!(text, "\n{}", table_of(&heads, cells));
        text
    }
}

impl PairedLosses {
    /// Means over rows of (forecast's loss, benchmark's loss); `None` without rows.
    pub(super) fn of(rows: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        let add =
            |(rows, loss, benchmark): (usize, f64, f64), row: (f64, f64)| (rows + 1, loss + row.0, benchmark + row.1);
        let (rows, loss, benchmark_loss) = rows.fold((0, 0.0, 0.0), add);
        let count = rows as f64;
        (rows > 0).then(|| Self { rows, loss: loss / count, benchmark_loss: benchmark_loss / count })
    }
}

impl Comparison {
    /// Compares on one pair of means a day, ascending; `None` without days.
    pub(super) fn of(benchmark: &str, days: &[PairedLosses], overlap_steps: usize) -> Option<Self> {
        let gains: Vec<f64> = days.iter().map(|p| p.benchmark_loss - p.loss).collect();
        // With fewer days than one horizon overlaps, the small-sample factor grows again and the variance is unknown.
        let test = (days.len() > overlap_steps).then(|| diebold_mariano(&gains, overlap_steps)).flatten();
        let (loss, benchmark_loss) = (mean(days.iter().map(|p| p.loss))?, mean(days.iter().map(|p| p.benchmark_loss))?);
        Some(Self {
            benchmark: benchmark.into(),
            days: days.len(),
            rows: days.iter().map(|p| p.rows).sum(),
            loss,
            benchmark_loss,
            skill: (benchmark_loss > 0.0).then(|| 1.0 - loss / benchmark_loss).filter(|s| s.is_finite()),
            diebold_mariano: test.map(|t| t.statistic),
            p_value_one_sided: test.map(|t| t.p_value_one_sided),
            p_value_two_sided: test.map(|t| t.p_value_two_sided),
            share_of_days_better: gains.iter().filter(|g| **g > 0.0).count() as f64 / gains.len() as f64,
        })
    }
}

/// A Markdown table; every column but the first is aligned to the right.
pub fn table_of(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|---|{}\n", heads.join(" | "), "---:|".repeat(heads.len().saturating_sub(1)));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// A number with that many decimals, `-` where there is none.
#[must_use]
pub fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |v| format!("{v:.decimals$}"))
}

fn write_summary(text: &mut String, summary: &LossSummary, overlap_steps: usize) {
    let LossSummary { rows, days, mean, median, .. } = summary;
    let _ = writeln!(
        text,
        "{rows} rows, {days} days, overlap steps {overlap_steps}: mean loss {mean:.5}, median {median:.5}.\n"
    );
    let heads = ["benchmark", "benchmark loss", "loss", "skill", "DM/HLN", "p (two-sided)", "days better"];
    let cells = summary.comparisons.iter().map(|c| {
        let p_value = optional(c.p_value_two_sided, 4);
        let (skill, better) = (optional(c.skill, 4), format!("{:.3}", c.share_of_days_better));
        let (benchmark_loss, loss) = (format!("{:.5}", c.benchmark_loss), format!("{:.5}", c.loss));
        vec![c.benchmark.clone(), benchmark_loss, loss, skill, optional(c.diebold_mariano, 2), p_value, better]
    });
    text.push_str(&table_of(&heads, cells));
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0usize, 0.0), |(count, sum), v| (count + 1, sum + v));
    (count > 0).then(|| sum / count as f64)
}

fn day_losses(as_of: Day, rows: &[&LossRow], table: &LossTable) -> DayLosses {
    let pair =
        |at: usize| PairedLosses::of(rows.iter().filter_map(|r| Some((r.loss, (*r.benchmark_losses.get(at)?)?))));
    let loss = mean(rows.iter().map(|r| r.loss)).unwrap_or(0.0);
    DayLosses { as_of, rows: rows.len(), loss, pairs: (0..table.benchmarks.len()).map(pair).collect() }
}

fn summarize(days: &[&DayLosses], table: &LossTable) -> Option<LossSummary> {
    let losses: Vec<f64> = days.iter().map(|d| d.loss).collect();
    let rows: usize = days.iter().map(|d| d.rows).sum();
    let comparisons = table.benchmarks.iter().enumerate().filter_map(|(at, name)| {
        let pairs: Vec<PairedLosses> = days.iter().filter_map(|d| d.pairs[at]).collect();
        Comparison::of(name, &pairs, table.overlap_steps)
    });
    Some(LossSummary {
        rows,
        days: days.len(),
        mean: mean(losses.iter().copied())?,
        median: median(&losses)?,
        row_mean: days.iter().map(|d| d.loss * d.rows as f64).sum::<f64>() / rows as f64,
        comparisons: comparisons.collect(),
    })
}

fn years(days: &[DayLosses], table: &LossTable) -> Vec<YearLosses> {
    let same_year = days.chunk_by(|a, b| a.as_of.year() == b.as_of.year());
    let year = |days: &[DayLosses]| YearLosses {
        year: days[0].as_of.year(),
        days: days.len(),
        loss: mean(days.iter().map(|d| d.loss)).unwrap_or(0.0),
        benchmark_losses: (0..table.benchmarks.len())
            .map(|at| mean(days.iter().filter_map(|d| d.pairs[at].map(|p| p.benchmark_loss))))
            .collect(),
    };
    same_year.map(year).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(day: &str, loss: f64, benchmark: Option<f64>) -> LossRow {
        LossRow { as_of: day.parse().unwrap(), loss, benchmark_losses: vec![benchmark] }
    }

    fn sample() -> LossTable {
        let rows = vec![
            row("2020-03-16", 9.0, Some(1.0)),
            row("2019-06-03", 1.0, Some(3.0)),
            row("2019-06-03", 3.0, None),
            row("2019-07-01", 1.0, Some(2.0)),
            row("2021-01-04", 1.0, Some(3.0)),
            row("2021-02-01", 1.0, None),
        ];
        let crash = "2020-01-14".parse().unwrap().."2020-04-15".parse().unwrap();
        LossTable { benchmarks: vec!["mean".into()], overlap_steps: 1, crash, rows }
    }

    #[test]
    fn days_weigh_equally_and_benchmarks_meet_on_shared_rows() {
        let report = LossReport::of(&sample()).unwrap();
        assert_eq!((report.overall.rows, report.overall.days), (6, 5));
        assert!(
            (report.overall.mean - 14.0 / 5.0).abs() < 1e-12 && (report.overall.row_mean - 16.0 / 6.0).abs() < 1e-12
        );
        let calm = &report.without_crash.as_ref().unwrap().comparisons[0];
        assert_eq!((calm.days, calm.loss, calm.share_of_days_better), (3, 1.0, 1.0));
        assert!((calm.skill.unwrap() - (1.0 - 3.0 / 8.0)).abs() < 1e-12);
        assert_eq!((calm.rows, report.overall.comparisons[0].rows), (3, 4));
        let gains: Vec<f64> = report.gains("mean").into_iter().map(|g| g.1).collect();
        assert_eq!(gains, [2.0, 1.0, -8.0, 2.0]);
        assert!(report.gains("unknown").is_empty());
        assert_eq!(report.years.iter().map(|y| y.year).collect::<Vec<_>>(), [2019, 2020, 2021]);
        assert_eq!(report.years[2].benchmark_losses, [Some(3.0)]);
        assert_eq!(LossReport::of(&LossTable { rows: vec![], ..sample() }), None);
    }

    #[test]
    fn the_markdown_has_one_line_a_benchmark_and_a_year() {
        let text = LossReport::of(&sample()).unwrap().markdown("Ranks, 20 sessions");
        assert!(
            text.starts_with("### Ranks, 20 sessions\n\n6 rows, 5 days, overlap steps 1: mean loss 2.80000"),
            "{text}"
        );
        assert!(text.contains("Without decisions whose outcomes touch 2020-01-15 to 2020-04-15:"));
        assert!(text.contains("| 2021 | 2 | 1.00000 | 3.00000 |"), "{text}");
    }
}

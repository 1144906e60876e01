//! The comparison of all models as a Markdown report, and in a few lines for a terminal.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::evaluation::comparison::{ComparisonRow, Head, ModelComparison, place};
use crate::evaluation::periods::{CRASH, Period};
use crate::evaluation::report::{optional, table_of};
use crate::evaluation::scorecard_tables::{
    class_calibration, coverage_table, discrimination_table, information_table, quantile_calibration, rise_calibration,
};

const GUIDE: &str = "\
- Every number is about forecasts made from rows known on their decision day, scored on what happened later. They are model
  estimates, not investment advice.
- *Loss* is the mean over decision days of the day's mean; smaller is better. *Skill* is `1 - loss / benchmark's loss`, in
  percent: above 0 the model is better.
- A model and its benchmark are compared on the rows that both have and that can be scored, nothing else; *days* and *rows*
  count them (of quantiles each level is a row). So a model's loss may differ from line to line.
- *DM/HLN* is the Diebold-Mariano statistic on the daily differences with the small-sample factor of Harvey, Leybourne and
  Newbold, its variance corrected for overlapping horizons; above 2 speaks for the model, below -2 for the benchmark. *p1*
  is one-sided (how likely so large a statistic is without skill), *p2* two-sided. A dash: the losses do not differ, or the
  horizon overlaps all days there are, so that nothing can be said.
- Many lines are many tests: of 20 without skill one has p2 below .05 by chance.
- All of this and more is in `comparison.csv` and `measures.csv`: squared errors of the log variance, all years and benchmarks,
  coverage and rank correlation by year.
";

/// The losses that the report shows, with what they are.
const LOSSES: [(Head, &str, &str); 7] = [
    (Head::Ranks, "ranked_probability_score", "ranked probability score"),
    (Head::Volatility, "qlike", "QLIKE"),
    (Head::Quantiles, "pinball_loss", "pinball loss, percent of log return"),
    (Head::Intervals, "interval_score_90", "interval score of the central 90 %, percent of log return"),
    (Head::Intervals, "interval_score_50", "interval score of the central 50 %, percent of log return"),
    (Head::Direction, "brier_score", "Brier score"),
    (Head::Direction, "log_loss", "log loss, nats"),
];

impl Head {
    fn title(self) -> &'static str {
        match self {
            Self::Ranks => "Ranks",
            Self::Volatility => "Volatility",
            Self::Quantiles => "Quantiles",
            Self::Intervals => "Intervals",
            Self::Direction => "Direction",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Ranks => {
                "Probabilities of the fifths of the day's ranking by return. Uniform probabilities lose about .16. \
                 Benchmarks: `cov252`, draws from the sample covariance of 252 sessions, and `uniform`."
            }
            Self::Volatility => {
                "Realized variance over the horizon; `QLIKE = y/f - ln(y/f) - 1`. Benchmarks: `har`, the pooled log-HAR, and \
                 `harx2`, its extension that is served until something better holds the seat."
            }
            Self::Quantiles => {
                "All quantiles of the return together. Benchmarks: `harx2`, its conformal quantiles, and `gaussian_252`, a \
                 normal law of mean 0 with the volatility of 252 sessions."
            }
            Self::Intervals => "The central intervals between the quantiles; benchmarks as for quantiles.",
            Self::Direction => "Probability of a rise. Benchmark: `base_rate`, the share of rises known on the day.",
        }
    }
}

impl ModelComparison {
    /// The whole report; `settings` are named values to print with it, such as the recipe.
    #[must_use]
    pub fn markdown(&self, settings: &[(String, String)]) -> String {
        let mut text = String::from("# Walk-forward evaluation\n\n## How to read this\n\n");
        let _ = writeln!(
            text,
            "{GUIDE}- *Without the crash* leaves out every decision day whose outcome touches {} to {}.\n",
            CRASH.0, CRASH.1
        );
        let _ = writeln!(text, "## What was evaluated\n\n{}", self.extent_table(settings));
        let served = self.extent.models.first().map_or("", String::as_str);
        let _ = writeln!(text, "## {served} against the first benchmark of each head\n\n{}", self.overview(served));
        for head in Head::ALL {
            self.write_head(&mut text, head);
        }
        text
    }

    /// One line a head and horizon: the first model (the served mix, where it was walked) against its first benchmark.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{:<24} {:>7} {:>5} {:>8} {:>9} {:<12} {:>9} {:>7} {:>6} {:>6}\n",
            "loss", "horizon", "days", "rows", "loss", "benchmark", "its loss", "skill", "DM/HLN", "p1"
        );
        let served = self.extent.models.first().map_or("", String::as_str);
        for row in self.first_benchmarks(served, Period::All) {
            let _ = writeln!(
                text,
                "{:<24} {:>7} {:>5} {:>8} {:>9.5} {:<12} {:>9} {:>7} {:>6} {:>6}",
                row.loss_name,
                row.horizon_sessions,
                row.days,
                row.rows,
                row.loss,
                row.benchmark.unwrap_or("-"),
                optional(row.benchmark_loss, 5),
                percent(row.skill),
                optional(row.statistic, 2),
                p_value(row.p_one_sided)
            );
        }
        text
    }

    fn extent_table(&self, settings: &[(String, String)]) -> String {
        let extent = &self.extent;
        let day = |day: Option<_>| day.map_or_else(|| "-".to_owned(), |d: chrono::NaiveDate| d.to_string());
        let horizons: Vec<String> = extent.horizons.iter().map(ToString::to_string).collect();
        let mut rows = vec![
            vec!["decision days".to_owned(), format!("{}, {} to {}", extent.days, day(extent.first), day(extent.last))],
            vec!["instruments".into(), extent.instruments.to_string()],
            vec!["horizons, sessions".into(), horizons.join(", ")],
            vec!["models".into(), extent.models.join(", ")],
            vec!["forecast rows".into(), extent.forecasts.to_string()],
        ];
        rows.extend(settings.iter().map(|(name, value)| vec![name.clone(), value.replace('|', "\\|")]));
        let mut text = String::from("| | |\n|---|---|\n");
        for row in rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }

    /// Rows of a model against the first benchmark of each head that it can be compared with.
    fn first_benchmarks<'c>(&'c self, model: &'c str, period: Period) -> impl Iterator<Item = &'c ComparisonRow> {
        let of_model = move |r: &&ComparisonRow| r.model == model && r.period == period && r.benchmark.is_some();
        let shown = |r: &&ComparisonRow| LOSSES.iter().any(|l| l.1 == r.loss_name);
        let mut seen = BTreeSet::new();
        let first = move |r: &&ComparisonRow| seen.insert((r.head, r.loss_name, r.horizon_sessions));
        self.rows.iter().filter(of_model).filter(shown).filter(first)
    }

    fn overview(&self, served: &str) -> String {
        let heads = [
            "head",
            "horizon",
            "loss",
            "benchmark",
            "skill, %",
            "DM/HLN",
            "p1",
            "p2",
            CALM_SKILL,
            "DM/HLN",
            "days",
            "rows",
        ];
        let cells = self.first_benchmarks(served, Period::All).map(|row| {
            let calm = self.rows.iter().find(|r| is_without_crash(r, row));
            vec![
                row.head.title().to_owned(),
                row.horizon_sessions.to_string(),
                row.loss_name.replace('_', " "),
                row.benchmark.unwrap_or("-").to_owned(),
                percent(row.skill),
                optional(row.statistic, 2),
                p_value(row.p_one_sided),
                p_value(row.p_two_sided),
                percent(calm.and_then(|r| r.skill)),
                optional(calm.and_then(|r| r.statistic), 2),
                row.days.to_string(),
                row.rows.to_string(),
            ]
        });
        let rows: Vec<Vec<String>> = cells.collect();
        match rows.is_empty() {
            true => "Nothing could be compared.\n".into(),
            false => table_of(&heads, rows.into_iter()),
        }
    }

    fn write_head(&self, text: &mut String, head: Head) {
        let _ = writeln!(text, "## {}\n\n{}\n", head.title(), head.explanation());
        let missing: Vec<&str> = head.benchmarks().iter().copied().filter(|b| !self.has_benchmark(head, b)).collect();
        if !missing.is_empty() {
            let _ = writeln!(text, "Not walked, or without a row in common: {}.\n", missing.join(", "));
        }
        for horizon in &self.extent.horizons {
            for (_, loss_name, title) in LOSSES.iter().filter(|l| l.0 == head) {
                let of_loss = |r: &&ComparisonRow| r.horizon_sessions == *horizon && r.loss_name == *loss_name;
                let rows: Vec<&ComparisonRow> = self.rows.iter().filter(of_loss).collect();
                if !rows.is_empty() {
                    let _ = writeln!(text, "### {} over {horizon} sessions: {title}\n", head.title());
                    let _ = writeln!(text, "{}\n{}", loss_table(&rows), year_table(&rows));
                }
            }
        }
        let cards: Vec<_> =
            self.extent.models.iter().filter_map(|m| Some((m.as_str(), self.scorecards.get(m)?))).collect();
        text.push_str(&match head {
            Head::Ranks => information_table(&cards) + &class_calibration(&cards),
            Head::Volatility => String::new(),
            Head::Quantiles => quantile_calibration(&cards),
            Head::Intervals => coverage_table(&cards),
            Head::Direction => discrimination_table(&cards) + &rise_calibration(&cards),
        });
    }

    fn has_benchmark(&self, head: Head, benchmark: &str) -> bool {
        self.rows.iter().any(|r| r.head == head && (r.benchmark == Some(benchmark) || r.model == benchmark))
    }
}

const CALM_SKILL: &str = "without the crash, %";

/// Whether a row is the other one without the crash.
fn is_without_crash(row: &ComparisonRow, other: &ComparisonRow) -> bool {
    let key = |r: &ComparisonRow| (r.head, r.horizon_sessions, r.loss_name, r.benchmark);
    row.period == Period::WithoutCrash && key(row) == key(other) && row.model == other.model
}

/// Whether the same two models stand in another line with their parts exchanged.
fn is_mirror(row: &ComparisonRow) -> bool {
    let of_benchmarks = row.head.benchmarks().contains(&row.model.as_str());
    of_benchmarks && row.benchmark.is_some_and(|b| place(&row.model) > place(b))
}

/// A line a model and benchmark; a model without benchmark stands alone.
fn loss_table(rows: &[&ComparisonRow]) -> String {
    let heads = [
        "model",
        "benchmark",
        "loss",
        "its loss",
        "skill, %",
        "DM/HLN",
        "p1",
        "p2",
        CALM_SKILL,
        "DM/HLN",
        "p1",
        "days",
        "rows",
    ];
    let is_compared = |model: &str| rows.iter().any(|r| r.model == model && r.benchmark.is_some() && !is_mirror(r));
    let is_line = |r: &&&ComparisonRow| match r.benchmark {
        Some(_) => !is_mirror(r),
        None => !is_compared(&r.model),
    };
    let cells = rows.iter().filter(|r| r.period == Period::All).filter(is_line).map(|row| {
        let calm = rows.iter().find(|r| is_without_crash(r, row));
        vec![
            row.model.clone(),
            row.benchmark.unwrap_or("-").to_owned(),
            format!("{:.5}", row.loss),
            optional(row.benchmark_loss, 5),
            percent(row.skill),
            optional(row.statistic, 2),
            p_value(row.p_one_sided),
            p_value(row.p_two_sided),
            percent(calm.and_then(|r| r.skill)),
            optional(calm.and_then(|r| r.statistic), 2),
            p_value(calm.and_then(|r| r.p_one_sided)),
            row.days.to_string(),
            row.rows.to_string(),
        ]
    });
    table_of(&heads, cells)
}

/// Skill and statistic by year, a line a model against its first benchmark; empty where there is none, or one year only.
fn year_table(rows: &[&ComparisonRow]) -> String {
    let compared = || rows.iter().filter(|r| r.benchmark.is_some() && !is_mirror(r));
    let years: BTreeSet<Period> = compared().map(|r| r.period).filter(|p| matches!(p, Period::Year(_))).collect();
    let mut seen = BTreeSet::new();
    let lines = compared().filter(|r| r.period == Period::All && seen.insert(&r.model));
    let cells: Vec<Vec<String>> = lines
        .map(|line| {
            let of_line = |r: &&&ComparisonRow| r.model == line.model && r.benchmark == line.benchmark;
            let cell = |year: &Period| {
                rows.iter().filter(of_line).find(|r| r.period == *year).map_or("-".into(), |r| year_cell(r))
            };
            let names = [line.model.clone(), line.benchmark.unwrap_or("-").to_owned()];
            names.into_iter().chain(years.iter().map(cell)).collect()
        })
        .collect();
    if years.len() < 2 || cells.is_empty() {
        return String::new();
    }
    let names: Vec<String> = years.iter().map(ToString::to_string).collect();
    let heads: Vec<&str> = ["model", "benchmark"].into_iter().chain(names.iter().map(String::as_str)).collect();
    format!("By year, skill in percent (DM/HLN):\n\n{}", table_of(&heads, cells.into_iter()))
}

fn year_cell(row: &ComparisonRow) -> String {
    match row.statistic {
        Some(statistic) => format!("{} ({:+.1})", percent(row.skill), statistic + 0.0),
        None => percent(row.skill),
    }
}

/// A share in percent with its sign.
fn percent(share: Option<f64>) -> String {
    // Adding 0 turns -0 into 0.
    share.map_or_else(|| "-".to_owned(), |s| format!("{:+.2}", (1e4 * s).round() / 1e2 + 0.0))
}

/// A p-value to three digits.
fn p_value(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |p| if p < 0.0005 { "<0.001".into() } else { format!("{p:.3}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_minus_zero() {
        assert_eq!([0.0421, -0.000_001, -0.5].map(|v| percent(Some(v))), ["+4.21", "+0.00", "-50.00"]);
        assert_eq!([0.000_4, 0.000_6, 0.5].map(|v| p_value(Some(v))), ["<0.001", "0.001", "0.500"]);
        assert_eq!(percent(None) + &p_value(None), "--");
    }

    #[test]
    fn an_empty_report_says_so() {
        let empty = ModelComparison::default();
        let text = empty.markdown(&[("seed".into(), "7".into())]);
        assert!(text.contains("Nothing could be compared.") && text.contains("| seed | 7 |"), "{text}");
        assert!(empty.summary().lines().count() == 1);
    }
}

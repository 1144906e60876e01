//! Every model head by head and horizon by horizon against its named benchmarks, on exactly the same rows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::evaluation::forecasts::{ForecastError, Forecasts};
use crate::evaluation::measures::{MeasureRow, measures};
use crate::evaluation::paired_rows::{PairedDay, pair_losses, pair_ranks};
use crate::evaluation::paired_tests::overlap_steps;
use crate::evaluation::periods::{Period, crash_decisions};
use crate::evaluation::quantile_scorecard::GAUSSIAN;
use crate::evaluation::report::{Comparison, PairedLosses};
use crate::evaluation::row_losses::{BASE_RATE, ByModel, LossSeries, Said, UNIFORM};
use crate::evaluation::scorecard::{Scorecard, score, sessions_of};
use crate::market::bar::Day;
use crate::market::history::History;

/// Models in the order of tables; others follow by name.
const MODEL_ORDER: [&str; 12] = [
    "served",
    "network",
    "harx2",
    "har",
    "garch11",
    "ewma94",
    "roll252",
    "seasonal",
    "s0",
    "cov252",
    "uniform",
    "base_rate",
];

/// What is forecast, as far as it is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Quintile probabilities.
    Ranks,
    /// Volatility over the horizon.
    Volatility,
    /// Quantiles of the return, all levels.
    Quantiles,
    /// The central 50 % and 90 % intervals.
    Intervals,
    /// Probability of a rise.
    Direction,
}

impl Head {
    /// All heads in the order of reports.
    pub const ALL: [Self; 5] = [Self::Ranks, Self::Volatility, Self::Quantiles, Self::Intervals, Self::Direction];

    /// The named benchmarks, the first one deciding. `uniform`, `gaussian_252` (zero mean, volatility of 252 sessions) and
    /// `base_rate` are there even when no model of that name was walked.
    #[must_use]
    pub fn benchmarks(self) -> &'static [&'static str] {
        match self {
            Self::Ranks => &["cov252", UNIFORM],
            Self::Volatility => &["har", "harx2"],
            Self::Quantiles | Self::Intervals => &["harx2", GAUSSIAN],
            Self::Direction => &[BASE_RATE],
        }
    }
}

/// One model against one benchmark over one period, or, without benchmark, the model alone on all its rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonRow {
    /// Name of the model.
    pub model: String,
    /// What was forecast.
    pub head: Head,
    /// Horizon in sessions.
    pub horizon_sessions: usize,
    /// Decision days that count.
    pub period: Period,
    /// Name of the benchmark; `None` for the model alone.
    pub benchmark: Option<&'static str>,
    /// Days with rows of both.
    pub days: usize,
    /// Rows of both; of quantiles each level is a row.
    pub rows: usize,
    /// `ranked_probability_score`, `qlike`, `squared_log_error`, `pinball_loss`, `interval_score_50`, `interval_score_90`
    /// (these three in percent of log return), `brier_score`, `log_loss` (nats).
    pub loss_name: &'static str,
    /// Mean over days of the day's mean loss; smaller is better.
    pub loss: f64,
    /// The same of the benchmark.
    pub benchmark_loss: Option<f64>,
    /// `1 - loss / benchmark_loss`.
    pub skill: Option<f64>,
    /// Diebold-Mariano with the Harvey-Leybourne-Newbold factor, above 0 where the model is better; `None` where the losses
    /// do not differ or the horizon overlaps all days.
    pub statistic: Option<f64>,
    /// Probability of a larger statistic without skill.
    pub p_one_sided: Option<f64>,
    /// Probability of a statistic farther from 0 without skill.
    pub p_two_sided: Option<f64>,
}

/// What was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// First decision day.
    pub first: Option<Day>,
    /// Last decision day.
    pub last: Option<Day>,
    /// Decision days.
    pub days: usize,
    /// Instruments with a forecast.
    pub instruments: usize,
    /// Forecast rows of all models.
    pub forecasts: usize,
    /// Horizons in sessions, ascending.
    pub horizons: Vec<usize>,
    /// Models in the order of tables.
    pub models: Vec<String>,
}

/// All models against their benchmarks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelComparison {
    /// What was compared.
    pub extent: Extent,
    /// Scores of each model by itself.
    pub scorecards: BTreeMap<String, Scorecard>,
    /// By head, horizon, loss, model, benchmark (the model alone first) and period.
    pub rows: Vec<ComparisonRow>,
}

/// A model whose forecasts cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{model} cannot be scored: {error}")]
pub struct ComparisonError {
    /// Name of the model.
    pub model: String,
    /// Why.
    pub error: ForecastError,
}

/// Scores and compares all models; `history` must reach past the decision days for anything to be scored.
///
/// # Errors
/// [`ComparisonError`] for the first model with a row that breaks a rule of [`Forecasts::check`].
pub fn compare(forecasts: &BTreeMap<String, Forecasts>, history: &History) -> Result<ModelComparison, ComparisonError> {
    let card = |(model, forecasts): (&String, &Forecasts)| match score(forecasts, history, None) {
        Ok(card) => Ok((model.clone(), card)),
        Err(error) => Err(ComparisonError { model: model.clone(), error }),
    };
    let scorecards = forecasts.iter().map(card).collect::<Result<BTreeMap<_, _>, _>>()?;
    let extent = extent(forecasts);
    let mut rows = Vec::new();
    for horizon in &extent.horizons {
        rows.extend(compare_horizon(Said { forecasts, history, horizon: *horizon }));
    }
    // Stable: losses, benchmarks and periods keep the order in which they were made.
    rows.sort_by_key(|r| (r.head, r.horizon_sessions, r.loss_name));
    Ok(ModelComparison { extent, scorecards, rows })
}

impl ModelComparison {
    /// Writes the rows as CSV, a line a row, with the fields of [`ComparisonRow`] as columns; no value is an empty cell.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn write_csv(&self, output: &mut impl Write) -> io::Result<()> {
        const HEADS: [&str; 14] = [
            "model",
            "head",
            "horizon_sessions",
            "period",
            "benchmark",
            "days",
            "rows",
            "loss_name",
            "loss",
            "benchmark_loss",
            "skill",
            "statistic",
            "p_one_sided",
            "p_two_sided",
        ];
        write_table(&HEADS, &self.rows, output)
    }

    /// What else was measured of each model: rank correlation, area under the curve, coverage by state of volatility and
    /// among instruments, calibration.
    #[must_use]
    pub fn measures(&self) -> Vec<MeasureRow> {
        let card = |model: &String| self.scorecards.get(model).map(|card| measures(model, card)).unwrap_or_default();
        self.extent.models.iter().flat_map(card).collect()
    }

    /// Writes [`ModelComparison::measures`] as CSV.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn write_measures_csv(&self, output: &mut impl Write) -> io::Result<()> {
        const HEADS: [&str; 8] = ["model", "head", "horizon_sessions", "period", "measure", "group", "count", "value"];
        write_table(&HEADS, &self.measures(), output)
    }

    /// The rows as nested objects, head, horizon, loss, model, benchmark (`alone` for none), period; and the measures.
    #[must_use]
    pub fn json(&self) -> Value {
        type Named<'r, Inner> = BTreeMap<&'r str, Inner>;
        type ByPeriod<'r> = Named<'r, Named<'r, Named<'r, BTreeMap<String, Value>>>>;
        let mut losses: BTreeMap<Head, BTreeMap<usize, ByPeriod<'_>>> = BTreeMap::new();
        for row in &self.rows {
            let of_loss = losses.entry(row.head).or_default().entry(row.horizon_sessions).or_default();
            let of_model = of_loss.entry(row.loss_name).or_default().entry(&row.model).or_default();
            let periods = of_model.entry(row.benchmark.unwrap_or("alone")).or_default();
            periods.insert(row.period.to_string(), numbers(row));
        }
        json!({ "extent": self.extent, "losses": losses, "measures": self.measures() })
    }
}

fn numbers(row: &ComparisonRow) -> Value {
    let ComparisonRow { days, rows, loss, benchmark_loss, skill, statistic, p_one_sided, p_two_sided, .. } = row;
    if row.benchmark.is_none() {
        return json!({ "days": days, "rows": rows, "loss": loss });
    }
    json!({
        "days": days, "rows": rows, "loss": loss, "benchmark_loss": benchmark_loss, "skill": skill,
        "statistic": statistic, "p_one_sided": p_one_sided, "p_two_sided": p_two_sided,
    })
}

fn write_table<Row: Serialize>(heads: &[&str], rows: &[Row], output: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(output);
    writer.write_record(heads)?;
    for row in rows {
        writer.serialize(row)?;
    }
    writer.flush()
}

fn extent(forecasts: &BTreeMap<String, Forecasts>) -> Extent {
    let (mut days, mut symbols, mut horizons, mut count) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), 0);
    for said in forecasts.values() {
        let ranks = said.ranks.iter().flat_map(|(h, rows)| rows.iter().map(|r| (r.as_of, &r.symbol, *h)));
        let volatility = said.volatility.iter().map(|r| (r.as_of, &r.symbol, r.horizon));
        let quantiles = said.quantiles.iter().map(|r| (r.as_of, &r.symbol, r.horizon));
        let direction = said.direction.iter().map(|r| (r.as_of, &r.symbol, r.horizon));
        for (as_of, symbol, horizon) in ranks.chain(volatility).chain(quantiles).chain(direction) {
            days.insert(as_of);
            symbols.insert(symbol);
            horizons.insert(horizon);
            count += 1;
        }
    }
    let mut models: Vec<String> = forecasts.keys().cloned().collect();
    models.sort_by_key(|m| place(m));
    Extent {
        first: days.first().copied(),
        last: days.last().copied(),
        days: days.len(),
        instruments: symbols.len(),
        forecasts: count,
        horizons: horizons.into_iter().collect(),
        models,
    }
}

/// Position of a model in tables.
pub(super) fn place(model: &str) -> usize {
    MODEL_ORDER.iter().position(|m| *m == model).unwrap_or(MODEL_ORDER.len())
}

fn compare_horizon(said: Said<'_>) -> Vec<ComparisonRow> {
    let (quantiles, intervals) = said.quantiles();
    let mut rows = compare_models((said, Head::Ranks, "ranked_probability_score"), &said.ranks(), pair_ranks);
    let mut add = |head, all: Vec<LossSeries<'_>>| {
        for series in all {
            rows.extend(compare_models((said, head, series.loss_name), &series.models, pair_losses));
        }
    };
    add(Head::Volatility, said.volatility());
    add(Head::Quantiles, vec![quantiles]);
    add(Head::Intervals, intervals);
    add(Head::Direction, said.direction());
    rows
}

fn compare_models<Row>(
    subject: (Said<'_>, Head, &'static str),
    models: &ByModel<'_, Row>,
    pair: fn(&[Row], &[Row]) -> Vec<PairedDay>,
) -> Vec<ComparisonRow> {
    let mut names: Vec<&str> = models.keys().copied().filter(|m| subject.0.forecasts.contains_key(*m)).collect();
    names.sort_by_key(|m| place(m));
    let mut rows = Vec::new();
    for name in names {
        let own = &models[name];
        let alone = compare_periods(subject, (name, None), &pair(own, own));
        rows.extend(alone);
        for benchmark in subject.1.benchmarks().iter().copied().filter(|b| *b != name) {
            let days = models.get(benchmark).map(|rows| pair(own, rows)).unwrap_or_default();
            rows.extend(compare_periods(subject, (name, Some(benchmark)), &days));
        }
    }
    rows
}

fn compare_periods(
    (said, head, loss_name): (Said<'_>, Head, &'static str),
    (model, benchmark): (&str, Option<&'static str>),
    days: &[PairedDay],
) -> Vec<ComparisonRow> {
    let crash = crash_decisions(said.history, said.horizon);
    let steps = overlap_steps(said.horizon, &sessions_of(said.history, days.iter().map(|d| d.as_of)));
    let row = |period: Period| {
        let of_period = days.iter().filter(|d| period.contains(d.as_of, &crash)).map(|d| d.losses);
        let compared = Comparison::of(benchmark.unwrap_or(model), &of_period.collect::<Vec<PairedLosses>>(), steps)?;
        let against = benchmark.map(|_| &compared);
        Some(ComparisonRow {
            model: model.to_owned(),
            head,
            horizon_sessions: said.horizon,
            period,
            benchmark,
            days: compared.days,
            rows: compared.rows,
            loss_name,
            loss: compared.loss,
            benchmark_loss: against.map(|c| c.benchmark_loss),
            skill: against.and_then(|c| c.skill),
            statistic: against.and_then(|c| c.diebold_mariano),
            p_one_sided: against.and_then(|c| c.p_value_one_sided),
            p_two_sided: against.and_then(|c| c.p_value_two_sided),
        })
    };
    Period::of_days(days.iter().map(|d| d.as_of), &crash).into_iter().filter_map(row).collect()
}

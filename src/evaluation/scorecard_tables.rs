//! Tables of what is measured of each model by itself: rank correlation, discrimination, coverage, calibration.

use std::collections::BTreeMap;

use crate::evaluation::interval_scorecard::{IntervalCoverage, TercileCoverage};
use crate::evaluation::periods::{InPeriod, Period};
use crate::evaluation::report::{optional, table_of};
use crate::evaluation::scorecard::Scorecard;
use crate::evaluation::scores::CalibrationBin;

/// Models with their scores, in the order of tables; calibration is that of the first one which has the head.
pub(super) type Cards<'c> = [(&'c str, &'c Scorecard)];

/// Rank correlation of the expected class with the return, a line a model.
pub(super) fn information_table(cards: &Cards<'_>) -> String {
    let mut rows = Vec::new();
    for (model, card) in cards {
        for score in card.ranks.iter().filter(|s| s.information_coefficient.is_some()) {
            let cell = |period| match value_in(&score.information_coefficients, period) {
                Some(ic) => [format!("{:+.4}", ic.mean), optional(ic.statistic, 2), ic.days.to_string()],
                None => ["-"; 3].map(String::from),
            };
            let line = vec![(*model).to_owned(), score.horizon_sessions.to_string()];
            rows.push([line, cell(Period::All).to_vec(), cell(Period::WithoutCrash).to_vec()].concat());
        }
    }
    let heads = ["model", "horizon", "mean", "statistic", "days", "without the crash", "statistic", "days"];
    let title = "Rank information coefficient: the day's Spearman correlation of the expected class with the return. A symmetric \
                 law expects the same class of all instruments and has none.";
    match rows.is_empty() && cards.iter().any(|(_, card)| !card.ranks.is_empty()) {
        true => format!("{title} So it is with every model here.\n\n"),
        false => section(title, &heads, rows),
    }
}

/// Area under the curve, a line a model and horizon.
pub(super) fn discrimination_table(cards: &Cards<'_>) -> String {
    let mut rows = Vec::new();
    for (model, card) in cards {
        for score in &card.direction {
            let area = |period| value_in(&score.discrimination, period).and_then(|d| d.area_under_curve);
            rows.push(vec![
                (*model).to_owned(),
                score.horizon_sessions.to_string(),
                optional(area(Period::All), 4),
                optional(area(Period::WithoutCrash), 4),
                optional(score.share_up, 4),
                optional(score.clark_west.map(|t| t.statistic), 2),
                optional(score.clark_west.map(|t| t.p_value_one_sided), 3),
            ]);
        }
    }
    let heads = ["model", "horizon", "AUC", "AUC without the crash", "share up", "Clark-West", "p1"];
    section(
        "Discrimination: area under the curve over all rows of all days (.5 is chance), and Clark-West against the base rate.",
        &heads,
        rows,
    )
}

/// Coverage of the central intervals by state of volatility and among instruments, a line a model, horizon and level.
pub(super) fn coverage_table(cards: &Cards<'_>) -> String {
    let mut rows = Vec::new();
    for (model, card) in cards {
        for score in &card.quantiles {
            for interval in score.intervals.iter().filter(|i| is_shown(i.level)) {
                let line = vec![
                    (*model).to_owned(),
                    score.horizon_sessions.to_string(),
                    format!("{:.0} %", 100.0 * interval.level),
                ];
                let all = value_in(&interval.periods, Period::All).map(coverage_cells).unwrap_or_default();
                let calm = value_in(&interval.periods, Period::WithoutCrash);
                let calm =
                    [calm.map(|c| c.coverage), calm.map(|c| c.over_time.spread)].map(|v| optional(v, 3)).to_vec();
                rows.push([line, all, calm].concat());
            }
        }
    }
    let heads = [
        "model",
        "horizon",
        "level",
        "coverage",
        "state calm",
        "middle",
        "turbulent",
        "spread",
        "asset calm",
        "middle",
        "turbulent",
        "spread",
        "without the crash",
        "state spread",
    ];
    let title = "Coverage: share of returns within the interval. State: terciles of the volatility of 20 over that of 252 sessions. \
                 Asset: terciles of the volatility of 252 sessions among the instruments of a day. Spread: largest less smallest.";
    section(title, &heads, rows)
}

/// Share of returns at or below each quantile, a column a horizon.
pub(super) fn quantile_calibration(cards: &Cards<'_>) -> String {
    let Some((model, card)) = cards.iter().find(|(_, card)| !card.quantiles.is_empty()) else { return String::new() };
    let mut levels: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    for score in &card.quantiles {
        for q in &score.quantiles {
            let cell = format!("{:.3} ({})", q.share_below, q.rows);
            levels.entry(format!("{:.3}", q.quantile)).or_default().push((score.horizon_sessions, cell));
        }
    }
    let horizons: Vec<usize> = card.quantiles.iter().map(|s| s.horizon_sessions).collect();
    section(
        &format!("Calibration of `{model}`: share of returns at or below the quantile (rows)."),
        &heads("quantile", &horizons),
        spread(levels, &horizons),
    )
}

/// Probabilities of the fifths against what happened, a column a horizon.
pub(super) fn class_calibration(cards: &Cards<'_>) -> String {
    let Some((model, card)) = cards.iter().find(|(_, card)| !card.ranks.is_empty()) else { return String::new() };
    bins_table(model, card.ranks.iter().map(|s| (s.horizon_sessions, s.calibration.as_slice())).collect())
}

/// Probabilities of a rise against what happened, a column a horizon.
pub(super) fn rise_calibration(cards: &Cards<'_>) -> String {
    let Some((model, card)) = cards.iter().find(|(_, card)| !card.direction.is_empty()) else { return String::new() };
    bins_table(model, card.direction.iter().map(|s| (s.horizon_sessions, s.calibration.as_slice())).collect())
}

fn bins_table(model: &str, horizons: Vec<(usize, &[CalibrationBin])>) -> String {
    let mut bins: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    for (horizon, table) in &horizons {
        for bin in *table {
            let cell = format!("{:.3}, {:.3} ({})", bin.mean_probability, bin.share_realized, bin.count);
            bins.entry(format!("{:.2} to {:.2}", bin.low, bin.high)).or_default().push((*horizon, cell));
        }
    }
    let horizons: Vec<usize> = horizons.into_iter().map(|h| h.0).collect();
    let title = format!("Calibration of `{model}`: mean probability, share that came true (rows).");
    section(&title, &heads("probability", &horizons), spread(bins, &horizons))
}

fn heads(first: &str, horizons: &[usize]) -> Vec<String> {
    let columns = horizons.iter().map(|h| format!("{h} sessions"));
    std::iter::once(first.to_owned()).chain(columns).collect()
}

/// One line a key, one cell a horizon.
fn spread(cells: BTreeMap<String, Vec<(usize, String)>>, horizons: &[usize]) -> Vec<Vec<String>> {
    let line = |(key, cells): (String, Vec<(usize, String)>)| {
        let cell = |h: &usize| cells.iter().find(|c| c.0 == *h).map_or_else(|| "-".to_owned(), |c| c.1.clone());
        std::iter::once(key).chain(horizons.iter().map(cell)).collect()
    };
    cells.into_iter().map(line).collect()
}

fn section(title: &str, heads: &[impl AsRef<str>], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heads: Vec<&str> = heads.iter().map(AsRef::as_ref).collect();
    format!("{title}\n\n{}\n", table_of(&heads, rows.into_iter()))
}

fn is_shown(level: f64) -> bool {
    [0.5, 0.9].iter().any(|shown| (level - shown).abs() < 1e-9)
}

fn coverage_cells(coverage: &IntervalCoverage) -> Vec<String> {
    let terciles = |t: &TercileCoverage| {
        let [calm, middle, turbulent] = t.coverage.map(|c| optional(c, 3));
        vec![calm, middle, turbulent, format!("{:.3}", t.spread)]
    };
    [vec![format!("{:.3}", coverage.coverage)], terciles(&coverage.over_time), terciles(&coverage.across)].concat()
}

fn value_in<Value>(values: &[InPeriod<Value>], period: Period) -> Option<&Value> {
    values.iter().find(|v| v.period == period).map(|v| &v.value)
}

//! The comparison against hand-worked cases, the scorecards and the paired test itself.

use std::collections::BTreeMap;

use chrono::Datelike;

use crate::evaluation::agreement;
use crate::evaluation::comparison::{ComparisonRow, Head, ModelComparison, compare};
use crate::evaluation::forecasts::{DirectionRow, Forecasts};
use crate::evaluation::paired_tests::diebold_mariano;
use crate::evaluation::periods::Period;
use crate::evaluation::report;
use crate::evaluation::scorecard::{Scorecard, score};
use crate::market::bar::{Bar, BarFields, Day};
use crate::market::history::{History, InstrumentRows};
use crate::market::instrument::{Instrument, Symbol};

fn models(models: Vec<(&str, Forecasts)>) -> BTreeMap<String, Forecasts> {
    models.into_iter().map(|(name, forecasts)| (name.to_owned(), forecasts)).collect()
}

/// The model against the benchmark over one period.
fn row<'c>(
    comparison: &'c ModelComparison,
    (model, benchmark): (&str, &str),
    (loss_name, horizon): (&str, usize),
    period: Period,
) -> Option<&'c ComparisonRow> {
    let mut rows = comparison.rows.iter().filter(|r| r.model == model && r.benchmark == Some(benchmark));
    rows.find(|r| (r.loss_name, r.horizon_sessions, r.period) == (loss_name, horizon, period))
}

/// Weekdays of 2019 and 2020 on which `UP` rises and `DOWN` falls.
fn two_instruments() -> History {
    let days =
        Day::from_ymd_opt(2018, 12, 3).unwrap().iter_days().take(800).filter(|d| d.weekday().number_from_monday() < 6);
    let days: Vec<Day> = days.collect();
    let rows = |symbol: &str, daily: f64| {
        let bar = |(t, day): (usize, &Day)| {
            let close = 100.0 * (daily * t as f64).exp();
            Bar::new(BarFields { day: *day, open: None, high: None, low: None, close, volume: None }).unwrap()
        };
        let instrument = Instrument::unnamed(Symbol::parse(symbol).unwrap());
        InstrumentRows {
            instrument,
            bars: days.iter().enumerate().map(bar).collect(),
            actions: vec![],
            filings: vec![],
        }
    };
    History::assemble(vec![rows("UP", 0.001), rows("DOWN", -0.001)], vec![])
}

fn direction(rows: &[(&str, &str, f64)]) -> Forecasts {
    let row = |(as_of, symbol, probability_up): &(&str, &str, f64)| DirectionRow {
        as_of: as_of.parse().unwrap(),
        symbol: Symbol::parse(symbol).unwrap(),
        horizon: 5,
        probability_up: *probability_up,
    };
    Forecasts { direction: rows.iter().map(row).collect(), ..Forecasts::default() }
}

#[test]
fn losses_days_and_periods_are_those_worked_by_hand() {
    let served = direction(&[
        ("2019-12-30", "UP", 0.9),
        ("2019-12-30", "DOWN", 0.4),
        ("2020-02-03", "UP", 0.5),
        ("2020-06-01", "UP", 0.8),
        ("2020-07-01", "DOWN", 0.5),
        ("2020-08-03", "UP", 0.7),
    ]);
    let base_rate = direction(&[
        ("2019-12-30", "UP", 0.5),
        ("2020-02-03", "UP", 0.6),
        ("2020-06-01", "UP", 0.5),
        ("2020-07-01", "DOWN", 0.6),
        ("2020-09-01", "UP", 0.5),
    ]);
    let found = compare(&models(vec![("served", served), ("base_rate", base_rate)]), &two_instruments()).unwrap();
    let brier = |period| row(&found, ("served", "base_rate"), ("brier_score", 5), period).unwrap();
    let all = brier(Period::All);
    // (.1^2 + .5^2 + .2^2 + .5^2) / 4 against (.5^2 + .4^2 + .5^2 + .6^2) / 4, on the four rows of both.
    assert_eq!((all.days, all.rows, all.head), (4, 4, Head::Direction));
    assert!((all.loss - 0.1375).abs() < 1e-12 && (all.benchmark_loss.unwrap() - 0.255).abs() < 1e-12, "{all:?}");
    assert!((all.skill.unwrap() - (1.0 - 0.1375 / 0.255)).abs() < 1e-12);
    let test = diebold_mariano(&[0.25 - 0.01, 0.16 - 0.25, 0.25 - 0.04, 0.36 - 0.25], 1).unwrap();
    assert!((all.statistic.unwrap() - test.statistic).abs() < 1e-9);
    assert!((all.p_one_sided.unwrap() - test.p_value_one_sided).abs() < 1e-9);
    assert!((all.p_two_sided.unwrap() - test.p_value_two_sided).abs() < 1e-9);
    let calm = brier(Period::WithoutCrash);
    assert_eq!((calm.days, brier(Period::Year(2019)).days, brier(Period::Year(2020)).days), (3, 1, 3));
    assert!((calm.loss - 0.1).abs() < 1e-12);
    assert_eq!(brier(Period::Year(2019)).statistic, None, "one day is no test");
    let log = row(&found, ("served", "base_rate"), ("log_loss", 5), Period::Year(2019)).unwrap();
    assert!((log.loss + 0.9f64.ln()).abs() < 1e-12 && (log.benchmark_loss.unwrap() - 2f64.ln()).abs() < 1e-12);
    let alone = found.rows.iter().find(|r| r.model == "served" && r.benchmark.is_none()).unwrap();
    assert_eq!((alone.days, alone.rows, alone.skill), (5, 6, None));
    // Both ups of 2019-12-30, .9, and .5, .8, .7 stand above the downs' .4 and .5 but for one tie.
    let area = found.measures().into_iter().find(|m| m.model == "served" && m.measure == "area_under_curve").unwrap();
    assert!((area.value - 7.5 / 8.0).abs() < 1e-12 && area.count == Some(6), "{area:?}");
}

/// Forecasts of the same rows that say something else: each row takes over the numbers of the next one of its horizon.
fn shifted(forecasts: &Forecasts) -> Forecasts {
    let mut shifted = forecasts.clone();
    for (rows, said) in shifted.ranks.values_mut().zip(forecasts.ranks.values()) {
        let next = said.iter().cycle().skip(1);
        rows.iter_mut().zip(next).for_each(|(r, next)| r.quintile_probabilities = next.quintile_probabilities);
    }
    shifted.volatility.iter_mut().zip(forecasts.volatility.iter().cycle().skip(2)).for_each(|(r, n)| r.sigma = n.sigma);
    let quantiles = forecasts.quantiles.iter().cycle().skip(10);
    shifted.quantiles.iter_mut().zip(quantiles).for_each(|(r, next)| r.value = next.value);
    let direction = forecasts.direction.iter().cycle().skip(2);
    shifted.direction.iter_mut().zip(direction).for_each(|(r, next)| r.probability_up = next.probability_up);
    shifted
}

/// The comparisons of a scorecard: loss name, horizon, number of the caller's benchmark.
fn of_card(card: &Scorecard) -> Vec<((&'static str, usize), report::Comparison)> {
    let last = |r: &Option<report::LossReport>| r.as_ref().unwrap().overall.comparisons.last().unwrap().clone();
    let ranks = card
        .ranks
        .iter()
        .map(|s| (("ranked_probability_score", s.horizon_sessions), last(&s.ranked_probability_score)));
    let volatility = card.volatility.iter().map(|s| (("qlike", s.horizon_sessions), last(&s.qlike)));
    let squared =
        card.volatility.iter().map(|s| (("squared_log_error", s.horizon_sessions), last(&s.squared_log_error)));
    let pinball = card.quantiles.iter().map(|s| (("pinball_loss", s.horizon_sessions), last(&s.pinball_loss)));
    let wide = card
        .quantiles
        .iter()
        .map(|s| (("interval_score_90", s.horizon_sessions), last(&s.intervals[0].interval_score)));
    let narrow = card
        .quantiles
        .iter()
        .map(|s| (("interval_score_50", s.horizon_sessions), last(&s.intervals[1].interval_score)));
    let brier = card.direction.iter().map(|s| (("brier_score", s.horizon_sessions), last(&s.brier_score)));
    let log = card.direction.iter().map(|s| (("log_loss", s.horizon_sessions), last(&s.log_loss)));
    ranks.chain(volatility).chain(squared).chain(pinball).chain(wide).chain(narrow).chain(brier).chain(log).collect()
}

fn benchmark_of(loss_name: &str) -> &'static str {
    match loss_name {
        "ranked_probability_score" => "cov252",
        "qlike" | "squared_log_error" => "har",
        "brier_score" | "log_loss" => "base_rate",
        _ => "harx2",
    }
}

fn agrees(found: &ComparisonRow, expected: &report::Comparison) {
    let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9 * b.abs().max(1.0),
        (a, b) => a == b,
    };
    assert_eq!((found.days, found.rows), (expected.days, expected.rows), "{found:?}");
    assert!(close(Some(found.loss), Some(expected.loss)), "{found:?} {expected:?}");
    assert!(close(found.benchmark_loss, Some(expected.benchmark_loss)), "{found:?} {expected:?}");
    assert!(
        close(found.skill, expected.skill) && close(found.statistic, expected.diebold_mariano),
        "{found:?} {expected:?}"
    );
    assert!(
        close(found.p_one_sided, expected.p_value_one_sided) && close(found.p_two_sided, expected.p_value_two_sided)
    );
}

#[test]
fn comparisons_agree_with_the_scorecards() {
    let (ours, market) = (agreement::forecasts(), agreement::market());
    let theirs = shifted(&ours);
    let named = ["cov252", "har", "harx2", "base_rate"].map(|name| (name, theirs.clone()));
    let walked = models(named.into_iter().chain([("served", ours.clone())]).collect());
    let found = compare(&walked, &market).unwrap();
    let expected = of_card(&score(&ours, &market, Some(&theirs)).unwrap());
    assert_eq!(expected.len(), 15);
    for ((loss_name, horizon), expected) in expected {
        let pair = ("served", benchmark_of(loss_name));
        agrees(row(&found, pair, (loss_name, horizon), Period::All).unwrap(), &expected);
    }
    // References that nobody walked are those of the scorecards.
    let alone = compare(&models(vec![("served", ours.clone())]), &market).unwrap();
    for ((loss_name, horizon), expected) in of_card(&score(&ours, &market, None).unwrap()) {
        let reference = ["uniform", "gaussian_252", "base_rate"].into_iter().find(|b| *b == expected.benchmark);
        if let Some(reference) = reference {
            agrees(row(&alone, ("served", reference), (loss_name, horizon), Period::All).unwrap(), &expected);
        }
    }
}

#[test]
fn exchanging_model_and_benchmark_exchanges_the_losses() {
    let (ours, market) = (agreement::forecasts(), agreement::market());
    let mut theirs = shifted(&ours);
    theirs.ranks.values_mut().for_each(|rows| rows.retain(|r| r.symbol.as_str() != "A09"));
    theirs.volatility.retain(|r| r.symbol.as_str() < "A13" && r.as_of.year() < 2017);
    let compared = |a: &Forecasts, b: &Forecasts| {
        compare(&models(vec![("served", a.clone()), ("har", b.clone()), ("cov252", b.clone())]), &market).unwrap()
    };
    let (there, back) = (compared(&ours, &theirs), compared(&theirs, &ours));
    for (benchmark, loss) in [("har", ("qlike", 20)), ("cov252", ("ranked_probability_score", 20))] {
        let one = row(&there, ("served", benchmark), loss, Period::All).unwrap();
        let other = row(&back, ("served", benchmark), loss, Period::All).unwrap();
        assert_eq!((one.days, one.rows), (other.days, other.rows));
        assert_eq!((Some(one.loss), one.benchmark_loss), (other.benchmark_loss, Some(other.loss)));
        assert!((one.statistic.unwrap() + other.statistic.unwrap()).abs() < 1e-12);
        let alone = there.rows.iter().find(|r| r.model == "served" && r.benchmark.is_none() && r.loss_name == loss.0);
        assert!(one.rows < alone.unwrap().rows, "only the rows of both count");
    }
}

#[test]
fn nothing_and_nonsense_are_no_panic() {
    let nothing = compare(&BTreeMap::new(), &History::default()).unwrap();
    assert!(nothing.rows.is_empty() && nothing.measures().is_empty());
    let mut csv = Vec::new();
    nothing.write_csv(&mut csv).unwrap();
    let heads = "model,head,horizon_sessions,period,benchmark,days,rows,loss_name,loss,benchmark_loss,skill,statistic,\
                 p_one_sided,p_two_sided\n";
    assert_eq!(String::from_utf8(csv).unwrap(), heads);
    // Rows that cannot be scored, and a head that only the benchmark has.
    let early = direction(&[("2018-12-31", "UP", 0.5), ("2020-02-03", "NOBODY", 0.5), ("2031-01-01", "UP", 0.5)]);
    let walked = models(vec![("served", early), ("har", Forecasts::default())]);
    let unscored = compare(&walked, &two_instruments()).unwrap();
    assert!(unscored.rows.is_empty());
    assert_eq!((unscored.extent.days, unscored.extent.forecasts, unscored.extent.horizons.len()), (3, 3, 1));
    assert!(unscored.markdown(&[]).contains("Nothing could be compared."));
    let wrong = compare(&models(vec![("har", direction(&[("2020-02-03", "UP", 1.5)]))]), &two_instruments());
    assert!(wrong.unwrap_err().to_string().starts_with("har cannot be scored: the forecast for UP on 2020-02-03"));
}

#[test]
fn files_hold_every_row() {
    let market = agreement::market();
    let walked = models(vec![("served", agreement::forecasts()), ("har", shifted(&agreement::forecasts()))]);
    let found = compare(&walked, &market).unwrap();
    let mut csv = Vec::new();
    found.write_csv(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert_eq!(csv.lines().count(), found.rows.len() + 1);
    assert!(
        csv.contains("\nserved,volatility,20,all,har,") && csv.contains("\nserved,ranks,20,2016,uniform,"),
        "{csv}"
    );
    let json = found.json();
    let one = row(&found, ("served", "har"), ("qlike", 5), Period::All).unwrap();
    assert_eq!(json["losses"]["volatility"]["5"]["qlike"]["served"]["har"]["all"]["statistic"], one.statistic.unwrap());
    assert_eq!(json["losses"]["ranks"]["20"]["ranked_probability_score"]["har"]["alone"]["all"]["days"], 30);
    assert!(found.measures().iter().any(|m| m.measure == "coverage_90" && m.group == "asset_spread"));
    let text = found.markdown(&[("members".into(), "2".into())]);
    for part in [
        "## Ranks",
        "### Volatility over 20 sessions: QLIKE",
        "| members | 2 |",
        "Not walked, or without a row in common: cov252.",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(!text.contains("NaN") && !text.contains("inf "), "{text}");
    assert!(found.summary().lines().any(|l| l.starts_with("qlike") && l.contains("har")), "{}", found.summary());
}

#[test]
fn symmetric_probabilities_have_no_information_coefficient() {
    let (mut symmetric, market) = (agreement::forecasts(), agreement::market());
    for row in symmetric.ranks.values_mut().flatten() {
        let [a, b, ..] = row.quintile_probabilities;
        let (a, b) = (0.3 * a, 0.3 * b);
        row.quintile_probabilities = [a, b, 1.0 - 2.0 * (a + b), b, a];
    }
    let card = score(&symmetric, &market, None).unwrap();
    assert_eq!(card.ranks[0].information_coefficient, None);
}

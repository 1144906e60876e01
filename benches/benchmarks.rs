//! The benchmarks on the walk through the past: their scores, and the time of each stage.

use std::sync::atomic::AtomicBool;

use anyhow::Context;
use forecastd::evaluation::report::LossReport;
use forecastd::evaluation::scorecard::{Scorecard, score};
use forecastd::evaluation::split::{Decision, decisions_every};
use forecastd::forecast::calibration::Calibration;
use forecastd::forecast::day::{DayInputs, benchmark_ranks};
use forecastd::forecast::evaluation::{WalkRequest, Walked, walk};
use forecastd::forecast::prepared::Prepared;
use forecastd::forecast::settings::ForecastSettings;
use forecastd::forecast::training::{FitRequest, fit_benchmarks};
use forecastd::forecast::walker::Folds;
use forecastd::jobs::shelf::MemoryShelf;
use forecastd::learning::device::DeviceKind;
use forecastd::learning::recipe::Recipe;
use forecastd::learning::training::Control;
use forecastd::market::horizon::Horizon;
use forecastd::scenario::recipes::RankModel;

use crate::data::WALK;
use crate::table::{Table, clocked, seconds};
use crate::{Bench, table};

/// Sessions between decision days, and how far ahead they look.
const EVERY: usize = 20;
const HORIZON: Horizon = Horizon::FourWeeks;
const MODELS: [&str; 9] = ["uniform", "cov252", "s0", "seasonal", "ewma94", "har", "harx2", "garch11", "base_rate"];
/// Decision days on which ranks are timed.
const TIMED_DAYS: usize = 10;

/// Prints the tables.
pub fn run(bench: &Bench) -> anyhow::Result<()> {
    let prepared = &bench.prepared;
    let decisions = decisions_every(&prepared.history.sessions, WALK.0, WALK.1, EVERY);
    anyhow::ensure!(!decisions.is_empty(), "no session lies between {} and {}", WALK.0, WALK.1);
    let recipe = Recipe::new().with_members(0);
    let fit = || FitRequest {
        settings: ForecastSettings::default(),
        recipe: &recipe,
        data_hash: hex::encode(bench.inputs_hash),
        horizons: &[HORIZON],
    };
    let (walked, walk_seconds) = clocked(|| walk_models(prepared, &decisions, fit()));
    let (cards, score_seconds) = clocked(|| cards(&walked?, prepared));
    print_scores(bench, &cards?, decisions.len());
    let mut stages = vec![("prepare the history".to_owned(), bench.prepare_seconds)];
    stages.extend(time_stages(prepared, &decisions, &fit()));
    stages
        .push((format!("whole walk, {} days, served mix and {} models", decisions.len(), MODELS.len()), walk_seconds));
    stages.push(("scores of all of them".into(), score_seconds));
    let mut table = Table::new("Benchmarks: time by stage", &bench.caption, &["stage", "seconds"]);
    for (name, took) in &stages {
        table.row(&[name, &seconds(*took)]);
    }
    table.print();
    Ok(())
}

fn walk_models(prepared: &Prepared, decisions: &[Decision], fit: FitRequest<'_>) -> anyhow::Result<Walked> {
    let models = MODELS.map(str::to_owned);
    let request = WalkRequest { prepared, decisions, horizons: &[HORIZON], models: &models, universe: None, fit };
    let control =
        Control { threads: 1, progress: &|_| {}, cancelled: &AtomicBool::new(false), device: DeviceKind::Cpu };
    let folds = Folds { shelf: &MemoryShelf::default(), train_missing: true };
    Ok(walk(&request, folds, &control, &|_| {})?)
}

fn cards(walked: &Walked, prepared: &Prepared) -> anyhow::Result<Vec<(&'static str, Scorecard)>> {
    let card = |model: &'static str| {
        let forecasts = walked.forecasts.get(model).with_context(|| format!("{model} said nothing"))?;
        Ok((model, score(forecasts, &prepared.history, None)?))
    };
    MODELS.into_iter().map(card).collect()
}

fn print_scores(bench: &Bench, cards: &[(&'static str, Scorecard)], days: usize) {
    let heads = ["model", "forecasts", "scored", "RPS", "QLIKE", "coverage 50 %", "coverage 90 %", "Brier"];
    let mut table = Table::new("Benchmarks: scores over 20 sessions", &bench.caption, &heads);
    for (model, card) in cards {
        let (ranks, volatility) = (card.ranks.first(), card.volatility.first());
        let (quantiles, direction) = (card.quantiles.first(), card.direction.first());
        let rps = ranks.and_then(|r| r.ranked_probability_score.as_ref());
        let qlike = volatility.and_then(|v| v.qlike.as_ref());
        let brier = direction.and_then(|d| d.brier_score.as_ref());
        let forecasts =
            ranks.map(|r| r.forecasts).or(volatility.map(|v| v.forecasts)).or(direction.map(|d| d.forecasts));
        let scored = rps.or(qlike).or(brier).map(|r| r.overall.rows);
        let coverage = |level: f64| {
            let intervals = &quantiles?.intervals;
            Some(intervals.iter().find(|i| (i.level - level).abs() < 1e-9)?.coverage)
        };
        let count = |n: Option<usize>| n.map_or_else(String::new, |n| n.to_string());
        let number = |v: Option<f64>| v.map_or_else(String::new, |v| format!("{v:.5}"));
        let mean = |report: Option<&LossReport>| number(report.map(|r| r.overall.mean));
        let cells = [
            (*model).to_owned(),
            count(forecasts),
            count(scored),
            mean(rps),
            mean(qlike),
            number(coverage(0.5)),
            number(coverage(0.9)),
            mean(brier),
        ];
        table.row(&cells.each_ref().map(String::as_str));
    }
    table.note(&format!("{days} decision days, every {EVERY} sessions from {} to {}; yearly refits", WALK.0, WALK.1));
    table.note("scores are means over days; the intervals are those of harX2, calibrated on matured errors");
    table.print();
}

fn time_stages(prepared: &Prepared, decisions: &[Decision], fit: &FitRequest<'_>) -> Vec<(String, f64)> {
    let last = prepared.sessions() - 1;
    let (state, fit_seconds) = clocked(|| fit_benchmarks(prepared, fit, last));
    let premium = fit.settings.equity_premium;
    let (calibration, calibration_seconds) = clocked(|| Calibration::of_walk(prepared, &state.harx2, HORIZON, premium));
    let mut stages = vec![
        ("fits of log-HAR and harX2, one a year".to_owned(), fit_seconds),
        ("calibration: errors of all past intervals".to_owned(), calibration_seconds),
    ];
    let chosen: Vec<&Decision> = decisions.iter().step_by(decisions.len().div_ceil(TIMED_DAYS)).collect();
    for model in [RankModel::Cov252, RankModel::S0] {
        let ranks = |decision: &&Decision| {
            let session = decision.session;
            let inputs = DayInputs {
                prepared,
                state: &state,
                calibration: &calibration,
                network: None,
                session,
                horizon: HORIZON,
            };
            let mut ranked = prepared.alive(session);
            ranked.retain(|i| prepared.universe.is_rankable(*i, session));
            clocked(|| benchmark_ranks(&inputs, model, &ranked, fit.settings.scenarios)).1
        };
        let took: Vec<f64> = chosen.iter().map(ranks).collect();
        let name = format!("ranks of {} a decision day, {} scenarios", model.as_str(), fit.settings.scenarios);
        stages.push((name, table::median(&took)));
    }
    stages
}

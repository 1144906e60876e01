//! Decisions and ratings, stage by stage, with all instruments and with half of them.

use forecastd::features::price_basis::PriceBasis;
use forecastd::features::states::MarketStates;
use forecastd::forecast::calibration::Calibration;
use forecastd::forecast::day::{DayForecast, DayInputs, forecast_day, forecast_ranks};
use forecastd::forecast::past_games::{PastRequest, past_games};
use forecastd::forecast::prepared::Prepared;
use forecastd::forecast::rating_record::RatingRecord;
use forecastd::forecast::rating_sources::RatingSources;
use forecastd::forecast::responses::{confidences, learn, served_actions};
use forecastd::forecast::state::ModelState;
use forecastd::jobs::publish::open_model;
use forecastd::jobs::train::{self, CODE_VERSION, Past};
use forecastd::market::history::History;
use forecastd::market::horizon::Horizon;
use forecastd::publication::game::GameDay;
use forecastd::publication::process_day::{ProcessDay, usual_settings};
use forecastd::publication::rating::{RatingDay, rate_all};
use forecastd::rating::term::RatingSettings;
use forecastd::store::models;

use anyhow::Context;
use forecastd::decision::process::{DEFAULT_DRAWS, HolderProcess};

use crate::table::{Table, clocked, seconds};
use crate::{Bench, training};

/// A stage and what it took.
type Stage = (&'static str, f64);

/// Prints the stages of a day and of a training.
pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let pool = &bench.store.pool;
    if models::newest(pool, CODE_VERSION).await?.is_none() {
        train::train(&bench.store, &training::recipe(&[("members", 0)])?, Past::Kept).await?;
    }
    let model_id = models::newest(pool, CODE_VERSION).await?.context("no model was stored")?;
    let model = models::find(pool, &model_id).await?.context("the model is gone")?;
    let (state, _) = open_model(&model)?;
    let half = Prepared::new(half_of(&bench.prepared.history));
    let heads = ["stage", "all, s", "half, s", "all/half"];
    let mut table = Table::new("Decisions and ratings", &bench.caption, &heads);
    let (all, less) = (stages(&bench.prepared, &state)?, stages(&half, &state)?);
    for ((stage, all), (_, less)) in all.into_iter().zip(less) {
        table.row(&[stage, &seconds(all), &seconds(less), &format!("{:.2}", all / less)]);
    }
    let counts = [&bench.prepared, &half].map(|p| p.history.instruments.len());
    table.note(&format!("{} and {} instruments; one thread; benchmarks alone", counts[0], counts[1]));
    table.note(&format!("{} scenarios, {DEFAULT_DRAWS} posterior draws", state.settings.scenarios));
    table.print();
    Ok(())
}

/// Every second instrument.
fn half_of(history: &History) -> History {
    let instruments = history.instruments.iter().step_by(2).cloned().collect();
    History { sessions: history.sessions.clone(), instruments, factors: history.factors.clone() }
}

fn stages(prepared: &Prepared, state: &ModelState) -> anyhow::Result<Vec<Stage>> {
    let session = prepared.sessions() - 1;
    let mut stages = vec![];
    let mut clock = |name: &'static str, took: f64| stages.push((name, took));
    let (calibrations, took) = clocked(|| {
        Horizon::ALL.map(|h| Calibration::of_walk(prepared, &state.harx2, h, state.settings.equity_premium))
    });
    clock("calibrate the intervals, 5 horizons", took);
    let on = |h: Horizon| {
        let calibration = &calibrations[h.index()];
        DayInputs { prepared, state, calibration, network: None, session, horizon: h }
    };
    let (days, took) = clocked(|| Horizon::ALL.map(|h| forecast_day(on(h))));
    clock("forecasts, 5 horizons", took);
    let mut ranked = prepared.alive(session);
    ranked.retain(|i| prepared.universe.is_rankable(*i, session));
    clock("ranks, 5 horizons", clocked(|| Horizon::ALL.map(|h| forecast_ranks(on(h), &ranked))).1);
    let (states, took) = clocked(|| MarketStates::new(&prepared.history));
    clock("market states", took);
    clock("games, 5 horizons", clocked(|| games(prepared, state, &states, &days)).1);
    let week = &days[Horizon::OneWeek.index()];
    clock("decision processes with their posterior", clocked(|| processes(prepared, state, &states, week)).1);
    let basis = PriceBasis::infer(&prepared.history);
    clock("ratings of the day", clocked(|| ratings(prepared, state, &basis, &days)).1);
    let settings = RatingSettings::default();
    clock(
        "training: ratings of the past",
        clocked(|| RatingRecord::walk(prepared, &state.harx2, &settings, session)).1,
    );
    let past = PastRequest { prepared, benchmarks: state, recipe: None, members: 0, until: session };
    let (games, took) = clocked(|| past_games(&past, &Horizon::ALL));
    clock("training: games of the past, 5 horizons", took);
    let games = games?;
    let (_, took) = clocked(|| {
        let count = prepared.history.instruments.len();
        games.iter().map(|g| confidences(count, g, &served_actions(g, None, &state.settings), 7)).collect::<Vec<_>>()
    });
    clock("training: confidence by bootstrap", took);
    let (learnt, took) = clocked(|| learn(&past, &state.settings));
    learnt?;
    clock("training: all that is learnt from games", took);
    Ok(stages)
}

fn games(prepared: &Prepared, state: &ModelState, states: &MarketStates, days: &[DayForecast; 5]) -> usize {
    let session = prepared.sessions() - 1;
    let mut decided = 0;
    for (horizon, day) in Horizon::ALL.into_iter().zip(days) {
        let games = GameDay::new(state, horizon);
        for (i, instrument) in prepared.history.instruments.iter().enumerate() {
            let forecast = day.instruments[i].as_ref();
            let played = games.play(&instrument.instrument.symbol, states.state(i, session), forecast);
            decided += usize::from(played.decision.is_some());
        }
    }
    decided
}

fn processes(prepared: &Prepared, state: &ModelState, states: &MarketStates, week: &DayForecast) -> usize {
    let session = prepared.sessions() - 1;
    let day = ProcessDay { prepared, state, states, week, network: None, session };
    let solved = |i: usize| {
        let forecast = week.instruments[i].as_ref()?;
        let market = day.market(i, forecast)?;
        let settings = usual_settings(&state.settings, forecast.liquidity.cost);
        let process = HolderProcess::solve(&market, &settings, forecast.long_run).ok()?;
        process.probability_optimal(DEFAULT_DRAWS, state.settings.seed)
    };
    (0..prepared.history.instruments.len()).filter_map(solved).count()
}

fn ratings(prepared: &Prepared, state: &ModelState, basis: &PriceBasis, days: &[DayForecast; 5]) -> usize {
    let day = RatingDay {
        prepared,
        sources: &RatingSources::new(prepared, basis),
        harx2: &state.harx2,
        record: state.ratings.as_ref(),
        session: prepared.sessions() - 1,
        log_standard_error: state.year_log_error,
        equity_premium: state.settings.equity_premium,
    };
    rate_all(&day, &days[Horizon::Year.index()].instruments, |_| "insufficient_history").len()
}

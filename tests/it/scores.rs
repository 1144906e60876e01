//! Scoring on a simulated market: every number again by hand, once and for good, and the record that is served of it.

use std::collections::BTreeMap;

use forecastd::jobs::moment::Moment;
use forecastd::jobs::publish::{Published, publish_at};
use forecastd::jobs::score::{Scored, score, score_at};
use forecastd::jobs::simulate;
use forecastd::jobs::train::{CODE_VERSION, Past, train};
use forecastd::market::bar::Day;
use forecastd::market::calendar;
use forecastd::market::simulation::SimulatedMarket;
use forecastd::store::jobs::{self, Claim, Lease};
use forecastd::store::models;
use forecastd::store::open::Store;
use forecastd::store::pool;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::support::market::{LAST_DAY, market, until};
use crate::support::publishing::{entries, newest, recipe, said, signer};
use crate::support::requests::Service;
use crate::support::store::{Opened, count, fingerprint, simulated};

/// Sessions before the decision day, and after it: four weeks mature, a quarter does not.
const BEFORE: usize = 700;
const AFTER: usize = 40;

/// A moment some minutes after the close of a day, with all that was recorded until now.
async fn after_close(store: &Store, day: Day, minutes: i64) -> Moment {
    let now = calendar::close_of(day) + chrono::TimeDelta::minutes(minutes);
    Moment { now, known_until: now, recorded_until: pool::cutoff(&store.pool).await.unwrap() }
}

async fn publish_after(store: &Store, day: Day) -> Published {
    let moment = after_close(store, day, 5).await;
    publish_at(store, &signer().0, moment, true).await.unwrap().expect("asked for again")
}

/// A store that was trained and published as of a day, into which the rest of the market then came.
async fn published(
    options: PgPoolOptions,
    connect: PgConnectOptions,
    change: impl Fn(&mut SimulatedMarket, Day),
) -> (Opened, SimulatedMarket, Day) {
    let mut market = market(8, BEFORE + AFTER);
    let day = market.rows[0].bars[BEFORE - 1].day();
    let opened = simulated(options, connect, &until(&market, day)).await;
    train(&opened.store, &recipe(0), Past::Kept).await.unwrap();
    assert_eq!(publish_after(&opened.store, day).await.as_of, day);
    change(&mut market, day);
    simulate::record(&opened.store, &market).await.unwrap();
    (opened, market, day)
}

/// The rows of the scores: measures by symbol (empty for the universe), or the reason.
async fn scores(pool: &PgPool, day: Day, horizon: &str) -> BTreeMap<String, Value> {
    let rows: Vec<(Option<String>, Option<Value>, Option<String>)> =
        sqlx::query_as("select symbol, measures, reason from scores where as_of = $1 and horizon = $2 and counted")
            .bind(day)
            .bind(horizon)
            .fetch_all(pool)
            .await
            .unwrap();
    rows.into_iter().map(|(s, m, r)| (s.unwrap_or_default(), m.unwrap_or_else(|| json!(r)))).collect()
}

/// Daily log total returns of an instrument over the sessions after a day, from its bars and actions.
fn returns(market: &SimulatedMarket, symbol: &str, day: Day, sessions: usize) -> Vec<f64> {
    let rows = market.rows.iter().find(|r| r.instrument.symbol.as_str() == symbol).unwrap();
    let start = rows.bars.iter().position(|b| b.day() == day).unwrap();
    let one = |t: usize| {
        let action = rows.actions.iter().find(|a| a.day == rows.bars[t].day());
        let (split, dividend) = action.map_or((1.0, 0.0), |a| (a.split, a.dividend));
        (rows.bars[t].close() * split / (rows.bars[t - 1].close() - dividend)).ln()
    };
    (start + 1..=start + sessions).map(one).collect()
}

fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} {expected}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[sqlx::test]
async fn numbers_are_those_of_the_bars(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, market, day) = published(options, connect, |_, _| ()).await;
    let store = &opened.store;
    let at = after_close(store, LAST_DAY, 60).await;
    let done = score_at(store, at, None).await.unwrap();
    assert_eq!((done.days, done.counted, done.waiting, done.left), (2, 2, 0, 0), "a week and four weeks");
    assert_eq!((done.rows, done.without_numbers, done.without_benchmark), (2 * 9, 0, 0));
    let rows = entries(store).await;
    let kept = scores(&opened.owner, day, "4w").await;
    let symbols: Vec<&str> = kept.keys().map(String::as_str).filter(|s| !s.is_empty()).collect();
    let total = |symbol: &str| returns(&market, symbol, day, 20).iter().sum::<f64>();
    let mut order = symbols.clone();
    order.sort_by(|a, b| total(a).total_cmp(&total(b)));
    let ranks = said(newest(&rows, "ranks", None, "4w"));
    assert_eq!(ranks["ranks"].as_array().unwrap().len(), 8);
    let mut means: BTreeMap<&str, f64> = BTreeMap::new();
    for symbol in &symbols {
        let forecast = said(newest(&rows, "forecast", Some(symbol), "4w"));
        let daily = returns(&market, symbol, day, 20);
        let (r, squares) = (daily.iter().sum::<f64>(), daily.iter().map(|r| r * r).sum::<f64>());
        let losses = &kept[*symbol]["served"];
        let pinball = |q: &Value| {
            let (p, error) = (number(&q["probability"]), 100.0 * (r - number(&q["value"]).ln_1p()));
            if error >= 0.0 { p * error } else { (p - 1.0) * error }
        };
        let quantiles = forecast["quantiles"].as_array().unwrap();
        near(&losses["pinball_loss"], quantiles.iter().map(pinball).sum::<f64>() / 9.0);
        let ratio = squares / 20.0 / (number(&forecast["volatility"]["forecast"]).powi(2) / 252.0);
        near(&losses["qlike"], ratio - ratio.ln() - 1.0);
        let up = if r > 0.0 { 1.0 } else { 0.0 };
        near(&losses["brier_score"], (number(&forecast["probability_up"]) - up).powi(2));
        for (interval, name) in [(0, "covered_50"), (2, "covered_90")] {
            let interval = &forecast["intervals"][interval];
            let covered = number(&interval["low"]).ln_1p() <= r && r <= number(&interval["high"]).ln_1p();
            assert_eq!(losses[name], covered, "{symbol} {name}");
        }
        let position = order.iter().position(|s| s == symbol).unwrap() + 1;
        let class = (5 * position).div_ceil(8);
        let row = ranks["ranks"].as_array().unwrap().iter().find(|r| r["symbol"] == *symbol).unwrap();
        let mut below = 0.0;
        let rps = (1..=5).map(|k| {
            below += number(&row["quintile_probabilities"][k - 1]);
            (below - if class <= k { 1.0 } else { 0.0 }).powi(2)
        });
        near(&losses["ranked_probability_score"], rps.sum::<f64>() / 5.0);
        assert_eq!(kept[*symbol]["benchmark"], *losses, "no head was the network's");
        paid(&said(newest(&rows, "signal", Some(symbol), "4w")), (r, squares), &kept[*symbol]["payoffs"]);
        let fields = losses.as_object().unwrap().iter().filter_map(|(name, v)| Some((name.as_str(), v.as_f64()?)));
        fields.for_each(|(name, value)| *means.entry(name).or_default() += value / 8.0);
    }
    for (name, mean) in means {
        near(&kept[""]["compared"][name]["served"], mean);
        near(&kept[""]["compared"][name]["benchmark"], mean);
    }
    assert_eq!(kept[""]["instruments"], 8);
}

/// Checks what an action paid: one unit held, at the terms that the signal tells.
fn paid(signal: &Value, (log_return, variance): (f64, f64), payoffs: &Value) {
    let (simple, terms) = (log_return.exp_m1(), &signal["explanation"]);
    let exposure = match signal["action"].as_str().unwrap() {
        "sell" => 0.0,
        "hold" => 1.0,
        _ => 2.0,
    };
    let money = exposure * simple - number(&terms["cost"]) * f64::abs(exposure - 1.0);
    let risk = 0.5 * number(&terms["risk_aversion"]) * variance;
    near(&payoffs["money"], money);
    near(&payoffs["charged"], money - exposure * exposure * risk);
    near(&payoffs["hold_money"], simple);
    near(&payoffs["hold_charged"], simple - risk);
}

#[sqlx::test]
async fn each_answer_is_scored_once_and_the_first_of_a_day_counts(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, market, day) = published(options, connect, |_, _| ()).await;
    let store = &opened.store;
    let before = fingerprint(&opened.owner).await;
    let week = calendar::add_sessions(day, 5);
    let early = after_close(store, week.pred_opt().unwrap(), 5).await;
    assert_eq!(score_at(store, early, None).await.unwrap(), Scored::default(), "the last session has not closed");
    let first = score_at(store, after_close(store, week, 60).await, None).await.unwrap();
    assert_eq!((first.days, first.counted), (1, 1));
    assert_eq!(score_at(store, after_close(store, week, 90).await, None).await.unwrap(), Scored::default());
    assert_eq!(fingerprint(&opened.owner).await, before, "scores change nothing else");
    // The same day once more, and another one when its next session had opened.
    publish_after(store, day).await;
    let next = calendar::next_session(day);
    let late = Moment { now: calendar::close_of(week), ..after_close(store, next, 5).await };
    assert_eq!(publish_at(store, &signer().0, late, true).await.unwrap().unwrap().as_of, next);
    let kept = scores(&opened.owner, day, "1w").await;
    // A revision after the five sessions that count.
    let mut revised = market.clone();
    for rows in &mut revised.rows {
        rows.bars.iter_mut().filter(|b| b.day() == week).for_each(|bar| {
            let fields = bar.fields();
            let close = fields.close * 1.3;
            let fields = forecastd::market::bar::BarFields { open: None, high: None, low: None, close, ..fields };
            *bar = forecastd::market::bar::Bar::new(fields).unwrap();
        });
    }
    simulate::record(store, &revised).await.unwrap();
    let more = score(store, None).await.unwrap();
    assert_eq!((more.days, more.counted), (5, 1), "two more of a week, three of four weeks, one of which counts");
    assert_eq!(more.waiting, 9, "longer horizons have passed by the calendar, but the market has ended");
    let left: Vec<(Day, Option<String>, i64)> = sqlx::query_as(
        "select as_of, left_out, count(*) from scores where symbol is null and horizon = '1w' group by 1, 2 order by 1, 3, 2",
    )
    .fetch_all(&opened.owner)
    .await
    .unwrap();
    let word = |text: &str| Some(text.to_owned());
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.contains(&(day, None, 1)) && left.contains(&(day, word("not_first"), 1)), "{left:?}");
    assert!(left.contains(&(next, word("late"), 1)), "{left:?}");
    // What was scored twice, before and after the revision, from the same publication of the same rows, came out the same.
    let again: Vec<(Option<String>, Value)> = sqlx::query_as(
        "select symbol, measures from scores where as_of = $1 and horizon = '1w' and left_out = 'not_first'",
    )
    .bind(day)
    .fetch_all(&opened.owner)
    .await
    .unwrap();
    assert_eq!(again.into_iter().map(|(s, m)| (s.unwrap_or_default(), m)).collect::<BTreeMap<_, _>>(), kept);
    let rows = count(&opened.owner, "scores").await;
    assert_eq!((score(store, None).await.unwrap().rows, count(&opened.owner, "scores").await), (0, rows));
    let changed = sqlx::query("update scores set counted = true").execute(&store.pool).await;
    assert!(changed.unwrap_err().to_string().contains("permission denied"));
}

#[sqlx::test]
async fn a_run_that_lost_its_lease_scores_nothing(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, ..) = published(options, connect, |_, _| ()).await;
    let store = &opened.store;
    let job_id = Uuid::now_v7();
    sqlx::query(
        "insert into jobs (job_id, kind, reason, arguments, priority, max_attempts) values ($1, 'score', 'test', '{}', 0, 3)",
    )
    .bind(job_id)
    .execute(&opened.owner)
    .await
    .unwrap();
    for _ in 0..2 {
        assert!(matches!(jobs::claim(&store.pool, job_id, "tester").await.unwrap(), Claim::Run(_)));
    }
    let error = score(store, Some(Lease { job_id, attempt: 1 })).await.unwrap_err();
    assert!(error.to_string().contains("took over"), "{error}");
    assert_eq!(count(&opened.owner, "scores").await, 0);
    let done = score(store, Some(Lease { job_id, attempt: 2 })).await.unwrap();
    let job = jobs::find(&store.pool, job_id).await.unwrap().unwrap();
    assert_eq!((done.days, job.state.as_str(), job.result), (2, "succeeded", Some(json!(done))));
    assert!(score(store, Some(Lease { job_id, attempt: 2 })).await.is_err(), "the job is over");
}

#[sqlx::test]
async fn who_stopped_trading_gets_a_reason_and_who_is_late_is_waited_for(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    // One stops ten sessions after the decision, one three sessions before maturity.
    let stop = |market: &mut SimulatedMarket, day: Day| {
        for (instrument, sessions) in [(3, 10), (4, 17)] {
            let last = calendar::add_sessions(day, sessions);
            let rows = &mut market.rows[instrument];
            rows.bars.retain(|b| b.day() <= last);
            rows.actions.retain(|a| a.day <= last);
        }
    };
    let (opened, market, day) = published(options, connect, stop).await;
    let store = &opened.store;
    let mature = calendar::add_sessions(day, 20);
    let at = score_at(store, after_close(store, mature, 60).await, None).await.unwrap();
    assert_eq!((at.days, at.waiting), (1, 1), "four weeks wait for the prices of one");
    let later = after_close(store, calendar::add_sessions(mature, 5), 60).await;
    let done = score_at(store, later, None).await.unwrap();
    assert_eq!((done.days, done.counted, done.without_numbers, done.waiting), (1, 1, 2, 0));
    let kept = scores(&opened.owner, day, "4w").await;
    let symbol = |k: usize| market.rows[k].instrument.symbol.as_str().to_owned();
    for stopped in [symbol(3), symbol(4)] {
        assert_eq!(kept[&stopped], "prices_stopped");
    }
    assert_eq!((&kept[""]["instruments"], &kept[""]["unscored"]), (&json!(6), &json!({"prices_stopped": 2})));
    let service = Service::of(store).await;
    let found = service.found(&format!("/track-record/{}?horizon=4w", symbol(3))).await;
    let record = &found["horizons"][0];
    assert_eq!((&record["days"], &record["reasons"]["measures"]), (&json!(0), &json!("prices_stopped")));
    assert_eq!(service.found("/track-record?horizon=4w").await["horizons"][0]["outcomes"], 6);
}

#[sqlx::test]
async fn the_benchmark_of_a_seated_network_is_what_would_have_been_said_without_it(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let market = market(8, 1010 + 10);
    let day = market.rows[0].bars[1009].day();
    let opened = simulated(options, connect, &until(&market, day)).await;
    let store = &opened.store;
    train(store, &recipe(1), Past::Walked).await.unwrap();
    let listed = models::summaries(&store.pool, None, 10, CODE_VERSION).await.unwrap();
    let trained = listed.iter().find(|m| m.has_network).expect("a network was trained");
    let model = models::find(&store.pool, &trained.model_id).await.unwrap().unwrap();
    // The first publication with every seat taken, the second with none.
    for (name, seats) in [
        ("seated", json!({"volatility": true, "direction": true, "tilt_weight": 0.25, "mean_weight": 0.5})),
        ("unseated", json!({"volatility": false, "direction": false, "tilt_weight": 0.0, "mean_weight": 0.0})),
    ] {
        let mut state: Value = serde_json::from_slice(&model.state).unwrap();
        state["seats"] = json!(vec![seats; 5]);
        state["network_maps"] = json!([null, null, null, null, null]);
        let state = serde_json::to_vec(&state).unwrap();
        let seated = models::StoredModel { model_id: format!("{day}.{name}"), state, ..model.clone() };
        models::insert(&store.pool, &seated).await.unwrap();
        publish_after(store, day).await;
    }
    simulate::record(store, &market).await.unwrap();
    let done = score_at(store, after_close(store, LAST_DAY, 60).await, None).await.unwrap();
    assert_eq!((done.days, done.counted, done.without_benchmark), (2, 1, 0));
    let seated = scores(&opened.owner, day, "1w").await;
    let unseated: Vec<(String, Value)> = sqlx::query_as(
        "select symbol, measures from scores where as_of = $1 and horizon = '1w' and not counted and symbol is not null",
    )
    .bind(day)
    .fetch_all(&opened.owner)
    .await
    .unwrap();
    assert_eq!(unseated.len(), 8);
    let mut differ = 0;
    for (symbol, measures) in &unseated {
        assert_eq!(seated[symbol]["benchmark"], measures["served"], "{symbol}");
        assert_eq!(measures["benchmark"], measures["served"], "{symbol}");
        differ += usize::from(seated[symbol]["served"] != seated[symbol]["benchmark"]);
    }
    assert!(differ > 0, "the network says something of its own");
    let service = Service::of(store).await;
    let record = service.found("/track-record?horizon=1w").await["horizons"][0].clone();
    let measures = record["measures"].as_array().unwrap();
    let qlike = measures.iter().find(|m| m["measure"] == "qlike").unwrap();
    assert_eq!(
        (&qlike["days"], &qlike["network_days"], &record["outside"]),
        (&json!(1), &json!(1), &json!({"not_first": 1}))
    );
    near(&qlike["gain"], number(&qlike["benchmark"]) - number(&qlike["served"]));
}

#[sqlx::test]
async fn the_track_record_answers_before_and_after_something_matured(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (opened, _, day) = published(options, connect, |_, _| ()).await;
    let store = &opened.store;
    let service = Service::of(store).await;
    let empty = service.found("/track-record").await;
    assert_eq!((empty["horizons"].as_array().unwrap().len(), &empty["simulated"]), (5, &json!(true)));
    for record in empty["horizons"].as_array().unwrap() {
        assert_eq!(
            (&record["measures"], &record["reasons"]["measures"]),
            (&Value::Null, &json!("nothing_matured_yet"))
        );
        assert_eq!(record["outside"], json!({"waiting": 1}));
    }
    assert_eq!(empty["horizons"][0]["next_due"], calendar::add_sessions(day, 5).to_string());
    score(store, None).await.unwrap();
    let answer = service.get("/track-record?horizon=4w").await;
    let record = answer.json()["horizons"][0].clone();
    assert_eq!((&record["days"], &record["first_day"]), (&json!(1), &json!(day.to_string())));
    let names: Vec<&str> =
        record["measures"].as_array().unwrap().iter().map(|m| m["measure"].as_str().unwrap()).collect();
    let all = ["ranked_probability_score", "pinball_loss", "qlike", "brier_score", "payoff", "money"];
    assert_eq!(names, all);
    for measure in record["measures"].as_array().unwrap() {
        let bounds = &measure["confidence"];
        assert_eq!(bounds["windows"], 1, "{measure}");
        assert!(
            number(&bounds["lower"]) <= number(&bounds["mean"]) && number(&bounds["mean"]) <= number(&bounds["upper"])
        );
    }
    let between: f64 = record["between_quantiles"].as_array().unwrap().iter().map(|b| number(&b["realized"])).sum();
    assert!((between - 1.0).abs() < 1e-9);
    let tag = answer.header("etag").to_owned();
    let request = axum::http::Request::get("/track-record?horizon=4w").header("if-none-match", tag);
    assert_eq!(service.send(request.body(axum::body::Body::empty()).unwrap()).await.status, 304);
    let one = service.found("/track-record/sim-noise?horizon=4w").await;
    assert_eq!((&one["symbol"], &one["horizons"][0]["outcomes"]), (&json!("SIM-NOISE"), &json!(1)));
    let past = service.found("/track-record?horizon=4w&to=2001-01-01").await;
    assert_eq!(past["horizons"][0]["reasons"]["measures"], "nothing_in_span");
    let unknown = service.refused("/track-record/SIM-NOISY", 404).await;
    assert_eq!((&unknown["type"], &unknown["near"]), (&json!("/problems/unknown-symbol"), &json!(["SIM-NOISE"])));
    for refused in ["horizon=3w", "from=2024-01-02&to=2024-01-01", "to=yesterday", "limit=3"] {
        service.refused(&format!("/track-record?{refused}"), 422).await;
    }
}

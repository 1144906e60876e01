//! `evaluate`: the files it writes, what they rest on, and the known scores of the benchmarks on real prices.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use forecastd::cli::research::{EvaluateArgs, MODELS};
use forecastd::config::RecipeConfig;
use forecastd::evaluation::forecasts::Forecasts;
use forecastd::evaluation::split::{decisions_every, decisions_on};
use forecastd::forecast::evaluation::{SERVED, WalkRequest, Walked, walk};
use forecastd::forecast::prepared::Prepared;
use forecastd::forecast::training::FitRequest;
use forecastd::forecast::walker::Folds;
use forecastd::jobs::evaluate::evaluate;
use forecastd::jobs::import::import;
use forecastd::jobs::shelf::MemoryShelf;
use forecastd::jobs::train;
use forecastd::learning::device::DeviceKind;
use forecastd::learning::training::Control;
use forecastd::market::bar::Day;
use forecastd::market::history::History;
use forecastd::market::horizon::Horizon;
use forecastd::store::models;
use forecastd::store::open::Store;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::support::market::{LAST_DAY, market, real_data};
use crate::support::publishing::recipe;
use crate::support::store::{real, simulated};

fn arguments(out: &Path, from: Day, to: Day) -> EvaluateArgs {
    EvaluateArgs {
        from: Some(from),
        to: Some(to),
        every: 20,
        on: vec![],
        horizons: vec![Horizon::FourWeeks],
        out: out.to_owned(),
        models: vec![],
        symbols: None,
        recipe: recipe(0),
    }
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

/// The header and the rows of a CSV file.
fn table(path: &Path) -> (String, Vec<Vec<String>>) {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines();
    let header = lines.next().unwrap().to_owned();
    (header, lines.map(|l| l.split(',').map(str::to_owned).collect()).collect())
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn column(rows: &[Vec<String>], at: usize) -> BTreeSet<&str> {
    rows.iter().map(|r| r[at].as_str()).collect()
}

fn check_files(folder: &Path, horizons: &BTreeSet<&str>) {
    for (file, header) in [
        ("ranks.csv", "as_of,symbol,q1,q2,q3,q4,q5"),
        ("ranks_5.csv", "as_of,symbol,q1,q2,q3,q4,q5"),
        ("volatility.csv", "as_of,symbol,horizon,sigma"),
        ("quantiles.csv", "as_of,symbol,horizon,quantile,value"),
        ("direction.csv", "as_of,symbol,horizon,probability_up"),
    ] {
        let (found, rows) = table(&folder.join(file));
        assert_eq!(found, header, "{file}");
        assert!(!rows.is_empty(), "{file} is empty");
        if file.starts_with("ranks") {
            for row in &rows {
                let sum: f64 = row[2..].iter().map(|p| p.parse::<f64>().unwrap()).sum();
                assert!((sum - 1.0).abs() < 1e-9, "{row:?}");
            }
        } else {
            assert_eq!(&column(&rows, 2), horizons, "{file}");
        }
    }
}

#[sqlx::test]
async fn the_served_mix_and_named_models_are_written_and_scored(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = simulated(options, connect, &market(26, 900)).await;
    let out = tempfile::tempdir().unwrap();
    let (from, to) = (day("2024-01-02"), day("2024-08-30"));
    let asked = EvaluateArgs {
        horizons: vec![Horizon::FourWeeks, Horizon::OneWeek, Horizon::OneWeek],
        models: ["cov252", "har", "harx2", "base_rate", "uniform"].map(String::from).to_vec(),
        ..arguments(out.path(), from, to)
    };
    evaluate(&opened.store, &asked).await.unwrap();
    check_files(out.path(), &["20", "5"].into());
    let (_, ranks) = table(&out.path().join("ranks.csv"));
    let days = column(&ranks, 0);
    let decisions = decisions_every(&market(1, 900).history().sessions, from, to, 20);
    assert_eq!(
        days.iter().copied().collect::<Vec<_>>(),
        decisions.iter().map(|d| d.as_of.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(ranks.len(), 25 * days.len(), "all but the young one are rankable");
    let written = |file: &str| out.path().join(file).exists();
    assert!(written("cov252/ranks.csv") && !written("cov252/volatility.csv"));
    assert!(written("har/volatility.csv") && !written("har/ranks.csv"));
    assert!(written("base_rate/direction.csv") && written("harx2/quantiles.csv"));
    let (scores, run) = (json(&out.path().join("scores.json")), json(&out.path().join("run.json")));
    assert_eq!(run["decision_days"], days.len());
    let models: Vec<&String> = scores.as_object().unwrap().keys().collect();
    assert_eq!(models, ["base_rate", "cov252", "har", "harx2", "served", "uniform"]);
    let uniform = &scores["uniform"]["ranks"].as_array().unwrap().iter().find(|r| r["horizon_sessions"] == 20).unwrap();
    let uniform = uniform["ranked_probability_score"]["overall"]["mean"].as_f64().unwrap();
    // Five equal classes of 25 instruments: the mean over classes k of (k/5)(1 - k/5), over five.
    assert!((uniform - 0.16).abs() < 1e-9, "{uniform}");
    assert!(fs::read_to_string(out.path().join("scores.md")).unwrap().contains("Volatility over 20 sessions"));
}

#[sqlx::test]
async fn a_named_universe_on_named_days_needs_closes_alone(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The last instrument is young; another one has a gap.
    let rows = market(12, 800).rows;
    let names: Vec<&str> = rows.iter().map(|r| r.instrument.symbol.as_str()).collect();
    let mut text = format!("Date,{}\n", names.join(","));
    for bar in &rows[0].bars {
        let close = |r: &forecastd::market::history::InstrumentRows| {
            let found = r.bars.iter().find(|b| b.day() == bar.day());
            found
                .filter(|_| !(r.bars.len() == 800 && bar.day() == day("2023-06-01")))
                .map_or(String::new(), |b| b.close().to_string())
        };
        let closes: Vec<String> = rows.iter().map(close).collect();
        text.push_str(&format!("{},{}\n", bar.day(), closes.join(",")));
    }
    fs::write(folder.path().join("closes.csv"), text).unwrap();
    import(&opened.store.pool, &[folder.path().to_owned()]).await.unwrap();
    let symbols = folder.path().join("universe.txt");
    fs::write(&symbols, format!("sim-planted, SIM-NOISE SIM-01\nSIM-02;SIM-03\n{} # young\nUNKNOWN\n", names[11]))
        .unwrap();
    // A Sunday takes the session before it and keeps its name.
    let asked = EvaluateArgs {
        from: None,
        to: None,
        on: vec![day("2024-08-30"), day("2024-06-02")],
        symbols: Some(symbols),
        ..arguments(out.path(), LAST_DAY, LAST_DAY)
    };
    evaluate(&opened.store, &asked).await.unwrap();
    for file in ["ranks.csv", "volatility.csv", "quantiles.csv", "direction.csv"] {
        let (_, rows) = table(&out.path().join(file));
        assert_eq!(column(&rows, 0), ["2024-06-02", "2024-08-30"].into(), "{file}");
        assert_eq!(
            column(&rows, 1),
            ["SIM-01", "SIM-02", "SIM-03", "SIM-NOISE", "SIM-PLANTED", names[11]].into(),
            "{file}"
        );
    }
    let nothing = EvaluateArgs { on: vec![day("1999-01-04")], ..asked };
    let error = evaluate(&opened.store, &nothing).await.unwrap_err().to_string();
    assert!(error.contains("no decision day"), "{error}");
}

/// Bytes of the ranks that were written.
fn ranks_of(out: &Path) -> Vec<u8> {
    fs::read(out.join("ranks.csv")).unwrap()
}

#[sqlx::test]
async fn what_was_walked_is_kept_and_never_walked_again(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = simulated(options, connect, &market(5, 1400)).await;
    let store = &opened.store;
    let [first, second] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let asked = |out: &Path| EvaluateArgs { recipe: recipe(1), ..arguments(out, day("2023-06-01"), day("2024-06-28")) };
    // Without a record a training gives the benchmarks.
    train::train(store, &recipe(1), train::Past::Kept).await.unwrap();
    let lonely = models::find(&store.pool, &models::newest(&store.pool, train::CODE_VERSION).await.unwrap().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(lonely.scores["without_network"], "not_walked_yet");
    evaluate(store, &asked(first.path())).await.unwrap();
    let folds: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as("select fold_id, artifact from folds order by refit_day")
        .fetch_all(&opened.owner)
        .await
        .unwrap();
    assert!(folds.len() >= 2);
    evaluate(store, &asked(second.path())).await.unwrap();
    let again: i64 = sqlx::query_scalar("select count(*) from folds").fetch_one(&opened.owner).await.unwrap();
    assert_eq!(again as usize, folds.len(), "the second walk trained nothing");
    assert_eq!(ranks_of(first.path()), ranks_of(second.path()));
    // A training now finds the folds and extends what they said to the newest day.
    let trained = train::train(store, &recipe(1), train::Past::Kept).await.unwrap();
    let model = models::find(&store.pool, &trained).await.unwrap().unwrap();
    assert!(model.artifact.is_some());
    assert_eq!(model.scores["gate"].as_array().unwrap().len(), 5);
    let newest: Day = sqlx::query_scalar("select max(day) from fold_forecasts").fetch_one(&opened.owner).await.unwrap();
    assert!(newest > LAST_DAY - chrono::Days::new(8), "{newest}");
    // Somebody who changes what a fold says is found out.
    sqlx::query("update folds set artifact = artifact || '\\x00'::bytea").execute(&opened.owner).await.unwrap();
    let error = evaluate(store, &asked(second.path())).await.unwrap_err().to_string();
    assert!(error.contains("SHA-256"), "{error}");
}

#[sqlx::test]
async fn an_empty_store_says_what_to_do(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let out = tempfile::tempdir().unwrap();
    let error = evaluate(&opened.store, &arguments(out.path(), LAST_DAY, LAST_DAY)).await.unwrap_err().to_string();
    assert!(error.contains("forecastd import"), "{error}");
}

/// The forecasts of all models on the decision days between two days.
fn walked(history: History, (from, until): (Day, Day), members: u32) -> Walked {
    let prepared = Prepared::new(history);
    let (settings, recipe) = (train::settings(&recipe(members)), train::recipe(&recipe(members)));
    let mut decisions = decisions_every(&prepared.history.sessions, from, until, 40);
    // The last day known to the shorter history, where a look ahead would show first.
    decisions.extend(decisions_on(&prepared.history.sessions, &[until]));
    let horizons = [Horizon::OneWeek, Horizon::FourWeeks, Horizon::Year];
    let request = WalkRequest {
        prepared: &prepared,
        decisions: &decisions,
        horizons: &horizons,
        models: &MODELS.map(String::from),
        universe: None,
        fit: FitRequest { settings, recipe: &recipe, data_hash: String::new(), horizons: &horizons },
    };
    let control =
        Control { threads: 1, progress: &|_| (), cancelled: &AtomicBool::new(false), device: DeviceKind::Cpu };
    let folds = Folds { shelf: &MemoryShelf::default(), train_missing: true };
    walk(&request, folds, &control, &|_| ()).unwrap()
}

fn same<Row: PartialEq + std::fmt::Debug>(model: &str, one: &[Row], other: &[Row]) {
    let different = one.iter().zip(other).find(|(a, b)| a != b);
    assert!(different.is_none() && one.len() == other.len(), "{model}: {different:?}");
}

#[test]
fn a_walk_knows_nothing_of_later_days() {
    // Without a network, and with one that is trained anew each year, the last time at the first session of 2024.
    for (members, sessions, from, until) in
        [(0, 1000, "2022-06-01", "2023-10-31"), (1, 1400, "2023-12-01", "2024-05-31")]
    {
        let span = (day(from), day(until));
        let history = market(9, sessions).history();
        let cut = history.until(span.1);
        assert!(cut.sessions.len() + 60 < history.sessions.len());
        let (whole, cut) = (walked(history, span, members), walked(cut, span, members));
        assert!(whole.forecasts[SERVED].ranks[&20].len() >= 24);
        assert_eq!(whole.decisions.is_empty(), members == 0);
        for (model, forecasts) in &whole.forecasts {
            let silent = model == "network" && members == 0;
            let Forecasts { ranks, volatility, quantiles, direction } = &cut.forecasts[model];
            assert_eq!(silent, ranks.is_empty() && volatility.is_empty() && direction.is_empty(), "{model}");
            for (horizon, rows) in ranks {
                same(model, &forecasts.ranks[horizon], rows);
            }
            same(model, &forecasts.volatility, volatility);
            same(model, &forecasts.quantiles, quantiles);
            same(model, &forecasts.direction, direction);
        }
    }
}

async fn evaluate_real(store: &Store, data: &Path, out: &Path) {
    let paths = [data.join("universe.csv"), data.join("prices")];
    let report = import(&store.pool, &paths).await.unwrap();
    assert!(report.refused.is_empty(), "{:?}", report.refused);
    let asked = EvaluateArgs {
        models: ["cov252", "har", "harx2"].map(String::from).to_vec(),
        recipe: RecipeConfig { scenarios: 8000, ..recipe(0) },
        ..arguments(out, day("2016-01-01"), day("2024-08-31"))
    };
    evaluate(store, &asked).await.unwrap();
}

#[sqlx::test]
async fn benchmarks_score_on_real_prices_what_is_known_of_them(options: PgPoolOptions, connect: PgConnectOptions) {
    let Some(data) = real_data("benchmarks_score_on_real_prices_what_is_known_of_them") else { return };
    let opened = real(options, connect).await;
    let out = tempfile::tempdir().unwrap();
    evaluate_real(&opened.store, &data, out.path()).await;
    let scores = json(&out.path().join("scores.json"));
    let mean = |model: &str, head: &str, loss: &str| scores[model][head][0][loss]["overall"]["mean"].as_f64().unwrap();
    for (model, head, loss, low, high) in [
        ("cov252", "ranks", "ranked_probability_score", 0.1560, 0.1563),
        ("har", "volatility", "qlike", 0.475, 0.49),
        ("harx2", "volatility", "qlike", 0.435, 0.45),
    ] {
        let found = mean(model, head, loss);
        assert!((low..=high).contains(&found), "{model} {loss} is {found}, known is {low} to {high}");
    }
}

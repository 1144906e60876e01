//! What a publication says: every instrument at every horizon, in the form of the contract.

use chrono::{DateTime, Utc};
use forecastd::jobs::import::import;
use forecastd::jobs::replay::{Replay, replay};
use forecastd::jobs::simulate;
use forecastd::jobs::train::{Past, train};
use forecastd::market::calendar;
use forecastd::market::horizon::Horizon;
use forecastd::opinion::envelope::DISCLAIMER;
use forecastd::store::ledger::LedgerRow;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::support::market::{LAST_DAY, market, real_data};
use crate::support::publishing::{entries, newest, recipe, said, train_and_publish};
use crate::support::store::{real, simulated};

const HORIZONS: [&str; 5] = ["1w", "4w", "13w", "26w", "52w"];

#[sqlx::test]
async fn every_instrument_is_answered_at_every_horizon(options: PgPoolOptions, connect: PgConnectOptions) {
    let market = market(10, 700);
    let opened = simulated(options, connect, &market).await;
    let started = Utc::now();
    let published = train_and_publish(&opened.store, 0).await;
    let rows = entries(&opened.store).await;
    assert_eq!((published.as_of, published.entries), (LAST_DAY, rows.len()));
    assert_eq!((published.head.sequence, published.head.hash), (rows.len() as i64, rows[rows.len() - 1].hash));
    for horizon in HORIZONS {
        for instrument in market.rows.iter().map(|r| r.instrument.symbol.as_str()) {
            for kind in ["signal", "ranking", "forecast"] {
                newest(&rows, kind, Some(instrument), horizon);
            }
        }
        newest(&rows, "ranks", None, horizon);
        newest(&rows, "responses", None, horizon);
    }
    newest(&rows, "rating_record", None, "4w");
    for kind in ["rating", "predictability", "process"] {
        let of_no_horizon: Vec<&LedgerRow> = rows.iter().filter(|r| r.kind == kind).collect();
        assert!(of_no_horizon.len() == 10 && of_no_horizon.iter().all(|r| r.horizon == "4w"));
    }
    assert_eq!(rows.len(), 10 * 5 * 3 + 3 * 10 + 2 * 5 + 1);
    for row in &rows {
        check_envelope(row, started);
        check_nulls(row);
        check_numbers(row);
    }
}

fn check_envelope(row: &LedgerRow, started: DateTime<Utc>) {
    let said = said(row);
    let place = format!("{} {:?} {}", row.kind, row.symbol, row.horizon);
    assert_eq!(serde_json_canonicalizer::to_vec(&said).unwrap(), row.entry, "{place} is not canonical");
    assert_eq!(said["kind"], row.kind.as_str());
    assert_eq!(said["symbol"].as_str(), row.symbol.as_deref());
    assert_eq!((said["horizon"].as_str(), said["as_of"].as_str()), (Some(row.horizon.as_str()), Some("2024-09-30")));
    let horizon: Horizon = row.horizon.parse().unwrap();
    let valid_until = calendar::add_sessions(LAST_DAY, horizon.sessions()).to_string();
    assert_eq!(said["valid_until"], valid_until.as_str(), "{place}");
    let published_at: DateTime<Utc> = said["published_at"].as_str().unwrap().parse().unwrap();
    assert!(published_at.timestamp() >= started.timestamp() && published_at <= Utc::now(), "{place}");
    assert!(said["published_at"].as_str().is_some_and(|t| t.len() == 20 && t.ends_with('Z')), "{place}");
    assert_eq!((&said["simulated"], &said["late"]), (&Value::Bool(true), &Value::Bool(true)), "{place}");
    assert_eq!((&said["source"], &said["disclaimer"]), (&Value::from("benchmark"), &Value::from(DISCLAIMER)));
    let sources = said["sources"].as_object().unwrap();
    assert_eq!(sources.keys().collect::<Vec<_>>(), ["direction", "intervals", "mean", "ranks", "volatility"]);
    assert!(said["model_id"].as_str().is_some_and(|m| m.starts_with("2024-09-30.")), "{place}");
    for absent in ["ledger", "stale"] {
        assert!(said.get(absent).is_none(), "{place} holds {absent}");
    }
    let own: &[&str] = match row.kind.as_str() {
        "signal" => &[
            "action",
            "attribution",
            "basis",
            "changed_on",
            "confidence",
            "dominance_share",
            "expected_return",
            "explanation",
            "holder",
            "interval",
            "other_attributions",
            "predictability",
            "previous",
            "price",
            "probability_up",
            "rating",
            "volatility",
        ],
        "rating" => &[
            "basis",
            "changed_on",
            "components",
            "explanation",
            "history",
            "long_term",
            "outlook",
            "previous",
            "short_term",
        ],
        "process" => &[
            "action",
            "cost",
            "discount",
            "estimates",
            "explanation",
            "policy",
            "probability_optimal",
            "q_value",
            "reaction",
            "transition",
            "value",
        ],
        "responses" => &["connected", "explanation", "games", "models", "reward_model", "tie_parameter"],
        "rating_record" => &["by_grade", "by_year", "calibration", "outlooks", "share_counts", "transitions"],
        "ranking" => &["actions", "equilibrium", "explanation", "holder", "nash", "payoffs", "policy", "responses"],
        "ranks" => &["explanation", "ranks"],
        "predictability" => &["explanation", "short_term", "long_term"],
        _ => &[
            "explanation",
            "intervals",
            "mean",
            "price",
            "price_quantiles",
            "probability_up",
            "quantiles",
            "volatility",
        ],
    };
    let missing: Vec<_> = own.iter().filter(|field| said.get(**field).is_none()).collect();
    assert!(missing.is_empty(), "{place} lacks {missing:?}");
}

/// Every null has a reason, at its own path or at one above it.
fn check_nulls(row: &LedgerRow) {
    let said = said(row);
    let mut nulls = vec![];
    collect_nulls(&said, String::new(), &mut nulls);
    // What is null because there is nothing to say.
    let speaking = ["actions.eliminated_by", "actions.eliminated_by.by", "explanation.eliminations.by"];
    for path in nulls.iter().filter(|p| !speaking.contains(&p.as_str()) && !p.ends_with(".reason")) {
        let given = |reason: &String| path == reason || path.starts_with(&format!("{reason}."));
        let reasons = said["reasons"].as_object().unwrap();
        assert!(
            reasons.keys().any(given),
            "{} {:?} {}: {path} is null without a reason",
            row.kind,
            row.symbol,
            row.horizon
        );
    }
    for (path, _) in said["reasons"].as_object().unwrap() {
        let value = path.split('.').try_fold(&said, |at, name| at.get(name));
        // Reasons of list elements and the remark on the balance sheet have no single place.
        let lists = ["actions.", "models.", "responses."];
        let elsewhere = lists.iter().any(|l| path.starts_with(l)) || path == "balance_sheet" || path == "ranks";
        assert!(elsewhere || value.is_none_or(Value::is_null), "{}: {path} has a value and a reason", row.kind);
    }
}

fn collect_nulls(value: &Value, path: String, nulls: &mut Vec<String>) {
    match value {
        Value::Null => nulls.push(path),
        Value::Array(items) => items.iter().for_each(|item| collect_nulls(item, path.clone(), nulls)),
        Value::Object(fields) => {
            for (name, inner) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect_nulls(inner, path, nulls);
            }
        }
        _ => {}
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn check_interval(interval: &Value) {
    assert!(number(&interval["low"]) < number(&interval["high"]), "{interval}");
    assert!((0.0..1.0).contains(&number(&interval["level"])));
}

fn check_numbers(row: &LedgerRow) {
    let said = said(row);
    let ascending = |list: &Value, field: &str| {
        let values: Vec<f64> = list.as_array().unwrap().iter().map(|q| number(&q[field])).collect();
        assert!(values.windows(2).all(|w| w[0] < w[1]), "{values:?}");
    };
    if let Some(probability) = said["probability_up"].as_f64() {
        assert!((0.0..=1.0).contains(&probability));
    }
    if !said["price"].is_null() {
        let [low, median, high] = ["low", "median", "high"].map(|f| number(&said["price"][f]));
        assert!(0.0 < low && low < median && median < high);
        let last = number(&said["price"]["last"]);
        let interval = said.get("interval").unwrap_or(&said["intervals"][2]);
        assert_eq!(number(&interval["level"]), 0.9);
        assert!((low / last - 1.0 - number(&interval["low"])).abs() < 1e-4, "prices and returns agree");
    }
    match row.kind.as_str() {
        "signal" if !said["interval"].is_null() => {
            check_interval(&said["interval"]);
            check_attribution(&said);
        }
        "forecast" if !said["quantiles"].is_null() => {
            assert_eq!(said["quantiles"].as_array().unwrap().len(), 9);
            for list in ["quantiles", "price_quantiles"] {
                ascending(&said[list], "probability");
                ascending(&said[list], "value");
            }
            let intervals = said["intervals"].as_array().unwrap();
            intervals.iter().for_each(check_interval);
            for pair in intervals.windows(2) {
                assert!(number(&pair[1]["low"]) < number(&pair[0]["low"]), "wider ones hold narrower ones");
                assert!(number(&pair[0]["high"]) < number(&pair[1]["high"]));
            }
        }
        "ranks" => {
            let ranks = said["ranks"].as_array().unwrap();
            assert_eq!(ranks.len(), 9, "the young one is not rankable");
            for row in ranks {
                let fifths: Vec<f64> = row["quintile_probabilities"].as_array().unwrap().iter().map(number).collect();
                assert!(fifths.len() == 5 && fifths.iter().all(|p| (0.0..=1.0).contains(p)));
                assert!((fifths.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{fifths:?}");
            }
            let best_first: Vec<f64> = ranks.iter().map(|r| number(&r["expected_rank"])).collect();
            assert!(best_first.windows(2).all(|w| w[0] >= w[1]) || best_first.windows(2).all(|w| w[0] <= w[1]));
        }
        "ranking" if !said["actions"].is_null() => {
            let actions: Vec<&str> =
                said["actions"].as_array().unwrap().iter().map(|a| a["action"].as_str().unwrap()).collect();
            assert!(actions.len() == 3 && ["sell", "hold", "buy"].iter().all(|a| actions.contains(a)));
            let strategy = &said["equilibrium"]["strategy"];
            let sum: f64 = ["sell", "hold", "buy"].iter().map(|a| number(&strategy[*a])).sum();
            assert!((sum - 1.0).abs() < 1e-9);
        }
        "predictability" => {
            for head in ["short_term", "long_term"].iter().filter_map(|t| said[*t].as_object()).flat_map(|t| t.values())
            {
                check_verdict(head);
            }
        }
        "rating" => {
            for term in ["short_term", "long_term"].map(|t| &said[t]).into_iter().filter(|t| !t.is_null()) {
                assert!((0.0..=1.0).contains(&number(&term["default_probability"])));
            }
        }
        _ => {}
    }
}

fn check_attribution(signal: &Value) {
    let attribution = &signal["attribution"];
    if !attribution.is_null() {
        let factors = attribution["factors"].as_array().unwrap();
        assert_eq!(factors.len(), 4);
        let sum = number(&attribution["base"]) + factors.iter().map(|f| number(&f["value"])).sum::<f64>();
        assert!((sum - number(&signal["volatility"]["forecast"])).abs() < 1.5e-6, "{signal}");
    }
}

fn check_verdict(head: &Value) {
    assert_eq!(head["verdict"] == "predictable", head["reason"].is_null(), "{head}");
    let tests = head["other_tests"].as_array().unwrap().iter().chain([&head["deciding_test"]]);
    for p in tests.flat_map(|t| [&t["p_value"], &t["adjusted_p_value"]]).filter_map(Value::as_f64) {
        assert!((0.0..=1.0).contains(&p), "{head}");
    }
    if head["verdict"] == "predictable" {
        assert!(number(&head["deciding_test"]["adjusted_p_value"]) < 0.05, "{head}");
        assert!(number(&head["windows"]) >= number(&head["windows_needed"]), "{head}");
    }
}

#[sqlx::test]
async fn real_prices_give_reasoned_answers(options: PgPoolOptions, connect: PgConnectOptions) {
    let Some(data) = real_data("real_prices_give_reasoned_answers") else { return };
    let opened = real(options, connect).await;
    import(&opened.store.pool, &[data]).await.unwrap();
    let published = train_and_publish(&opened.store, 0).await;
    assert_eq!(published.as_of, LAST_DAY);
    let rows = entries(&opened.store).await;
    rows.iter().for_each(check_nulls);
    let signal = said(newest(&rows, "signal", Some("BABA"), "4w"));
    assert_eq!((&signal["action"], &signal["basis"]), (&Value::from("hold"), &Value::from("strict")));
    assert_eq!(signal["simulated"], false);
    assert!((number(&signal["price"]["last"]) - 106.12).abs() < 0.01);
    let rating = said(newest(&rows, "rating", Some("BABA"), "4w"));
    assert!(rating["long_term"]["grade"].is_string() && rating["reasons"].get("long_term").is_none(), "{rating}");
    let ranks = said(newest(&rows, "ranks", None, "4w"));
    let actions = |action: &str| ranks["ranks"].as_array().unwrap().iter().filter(|r| r["action"] == action).count();
    let (sell, hold, buy) = (actions("sell"), actions("hold"), actions("buy"));
    assert!(hold > 2 * (sell + buy) && sell + hold + buy > 120, "{sell} sell, {hold} hold, {buy} buy");
}

#[sqlx::test]
async fn the_smallest_markets_are_answered(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = simulated(options, connect, &market(0, 0)).await;
    let error = train(&opened.store, &recipe(0), Past::Kept).await.unwrap_err().to_string();
    assert!(error.contains("forecastd import"), "{error}");
    for (instruments, sessions) in [(1, 1), (1, 2), (2, 30), (4, 260), (5, 361), (7, 520)] {
        simulate::record(&opened.store, &market(instruments, sessions)).await.unwrap();
        let published = train_and_publish(&opened.store, 1).await;
        let rows = entries(&opened.store).await;
        assert_eq!((published.as_of, rows.len()), (LAST_DAY, instruments * 18 + 11), "{instruments} x {sessions}");
        rows.iter().for_each(check_nulls);
        let last = rows.len() as i64;
        assert!(matches!(replay(&opened.store, last).await.unwrap(), Replay::Same(_)), "{instruments} x {sessions}");
        let own =
            "instruments, descriptions, bars, actions, factors, observations, filings, models, publications, ledger";
        let clear = AssertSqlSafe(format!("truncate {own}, ledger_heads cascade"));
        sqlx::query(clear).execute(&opened.owner).await.unwrap();
    }
}

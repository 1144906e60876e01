//! Tests of the decision process as a client sees it.

use std::time::Instant;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::samples::{canonical, entries, entry, get, get_with, now, published};
use crate::api::snapshot::Snapshot;
use crate::decision::process::ProcessSettings;
use crate::opinion::envelope::Kind;
use crate::opinion::process::Process;
use crate::opinion::process_solution::solve_again;

/// An answer without what does not belong to the process.
fn bare(mut answer: Value) -> Value {
    let fields = answer.as_object_mut().unwrap();
    assert!(["ledger", "stale", "solved_for"].iter().all(|own| fields.remove(*own).is_some()));
    answer
}

#[tokio::test]
async fn the_published_process_is_its_entry() {
    let (service, _) = published();
    let plain = get(&service, "/process/baba").await;
    assert_eq!((plain.status, plain.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!((&plain.json()["solved_for"], plain.json().get("explanation")), (&json!("publication"), None));
    let explained = get(&service, "/process/BABA?explain=true").await.json();
    let held = entries().into_iter().find(|entry| entry.kind == Kind::Process).unwrap();
    assert_eq!(canonical(&bare(explained.clone())), held.entry);
    assert_eq!(explained["ledger"]["hash"], hex::encode(held.hash));
    assert_eq!(get(&service, "/process/KO").await.json()["type"], "/problems/not-found");
    assert_eq!(get(&service, "/process/BAB").await.json()["near"][0], "BABA");
}

#[tokio::test]
async fn the_same_settings_give_the_published_answer() {
    let (service, _) = published();
    let plain = get(&service, "/process/BABA").await;
    for query in ["holder=holder", "cost=0.0005&discount=1", "steps=4&cost=5e-4", "cost=0.00050000001"] {
        let same = get(&service, &format!("/process/BABA?{query}")).await;
        assert_eq!((same.header("etag"), &same.body), (plain.header("etag"), &plain.body), "{query}");
    }
}

#[tokio::test]
async fn other_settings_are_solved_from_the_published_estimates() {
    let (service, _) = published();
    let plain = get(&service, "/process/BABA").await;
    let started = Instant::now();
    let answer = get(&service, "/process/BABA?holder=long_short&cost=0.001&discount=0.99&steps=infinite").await;
    println!("solved without an end in {:?}", started.elapsed());
    let asked = answer.json();
    assert_eq!((answer.status, &asked["solved_for"]), (StatusCode::OK, &json!("request")));
    assert_eq!((&asked["ledger"], &asked["stale"]), (&plain.json()["ledger"], &json!(false)));
    assert_eq!((&asked["cost"], &asked["discount"], &asked["steps"]), (&json!(0.001), &json!(0.99), &Value::Null));
    assert_eq!((&asked["holder"]["type"], &asked["holder"]["exposure"]), (&json!("long_short"), &json!(0)));
    assert_eq!((&asked["reasons"]["steps"], asked.get("explanation")), (&json!("without_end"), None));
    assert_ne!(answer.header("etag"), plain.header("etag"));
    let headers = [("if-none-match", answer.header("etag"))];
    let other_order = "/process/BABA?steps=infinite&holder=long_short&discount=0.99&cost=0.001";
    assert_eq!(get_with(&service, other_order, &headers).await.status, StatusCode::NOT_MODIFIED);
    let held = entries().into_iter().find(|entry| entry.kind == Kind::Process).unwrap();
    let process: Process = serde_json::from_slice(&held.entry).unwrap();
    let settings = ProcessSettings { steps: Some(8), ..ProcessSettings::default() };
    let expected = serde_json::to_value(solve_again(&process, &settings).unwrap()).unwrap();
    let explained = get(&service, "/process/BABA?steps=8&explain=true").await;
    assert_eq!(canonical(&bare(explained.json())), canonical(&expected));
    let some = get(&service, "/process/BABA?steps=8&fields=steps,solved_for").await;
    assert_eq!(some.body, r#"{"steps":8,"solved_for":"request"}"#);
    let with = get(&service, "/process/BABA?steps=8&fields=steps&explain=true").await.json();
    assert_eq!(with["explanation"], explained.json()["explanation"]);
}

#[tokio::test]
async fn a_prohibitive_cost_makes_everybody_hold() {
    let (service, _) = published();
    let held = get(&service, "/process/BABA?cost=1").await.json();
    assert!(held["policy"].as_array().unwrap().iter().all(|action| action == "hold"));
}

#[tokio::test]
async fn every_bad_value_is_refused_at_once() {
    let (service, _) = published();
    let named = async |query: &str| -> Vec<String> {
        let refused = get(&service, &format!("/process/BABA?{query}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let body = refused.json();
        body["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        named("holder=me&cost=-1&discount=2&steps=60&explain=yes&horizon=4w&wait=99").await,
        ["horizon", "holder", "cost", "discount", "steps", "explain", "wait"]
    );
    assert_eq!(named("steps=infinite").await, ["discount"]);
    assert_eq!(named("steps=infinite&discount=1").await, ["discount"]);
    assert_eq!(named("fields=colour&steps=8").await, ["fields"]);
    assert_eq!(named("as_of=2024-09-30&wait=1s&cost=0.1").await, ["wait"]);
    // The ledger is asked for the past, and there is none behind this service.
    let past = get(&service, "/process/BABA?as_of=2024-09-30&steps=8").await;
    assert_eq!(past.json()["type"], "/problems/store-unavailable");
}

#[tokio::test]
async fn a_solved_answer_follows_the_entry_that_it_comes_from() {
    let (service, state) = published();
    let address = "/process/BABA?steps=8";
    let tag = get(&service, address).await.header("etag").to_owned();
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { get_with(&service, "/process/BABA?steps=8&wait=30s", &[("if-none-match", &tag)]).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    let mut changed = entries();
    let held = changed.iter().find(|entry| entry.kind == Kind::Process).unwrap();
    let mut body: Value = serde_json::from_slice(&held.entry).unwrap();
    body["estimates"]["current"] = json!(0);
    changed.push(entry(Kind::Process, Some("BABA"), &body, (99, [9; 32])));
    state.board.publish(Snapshot::build(changed, now()));
    let answer = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!((answer.status, &answer.json()["ledger"]["sequence"]), (StatusCode::OK, &json!(99)));
    assert_eq!(answer.json()["current_state"], "falling_calm.1");
}

#[tokio::test]
async fn a_process_without_a_solution_says_why_for_any_settings() {
    let (service, state) = published();
    let mut body: Value =
        serde_json::from_slice(&entries().into_iter().find(|entry| entry.kind == Kind::Process).unwrap().entry)
            .unwrap();
    for name in ["transition", "estimates", "explanation"] {
        body[name] = Value::Null;
        body["reasons"][name] = json!("insufficient_history");
    }
    let young = entry(Kind::Process, Some("BABA"), &body, (99, [9; 32]));
    state.board.publish(Snapshot::build(vec![young], now()));
    let answer = get(&service, "/process/BABA?cost=0.1").await.json();
    assert_eq!((&answer["solved_for"], &answer["transition"]), (&json!("publication"), &Value::Null));
    assert_eq!(answer["reasons"]["transition"], "insufficient_history");
}

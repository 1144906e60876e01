//! Tests of explanations, and of the opinions of the whole universe, as a client sees them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::router::router;
use crate::api::samples::{Answer, canonical, entries, entry, get, get_with, now, published, signal, state};
use crate::api::snapshot::Snapshot;
use crate::api::state::Settings;
use crate::opinion::envelope::Kind;

fn errors(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let body = answer.json();
    body["errors"].as_array().unwrap().iter().map(|e| (text(&e["field"]), text(&e["reason"]))).collect()
}

#[tokio::test]
async fn an_explanation_is_there_when_it_is_asked_for() {
    let (service, _) = published();
    let plain = get(&service, "/signal/BABA").await;
    assert_eq!(plain.json().get("explanation"), None);
    assert_eq!(get(&service, "/signal/BABA?explain=false").await.body, plain.body);
    let explained = get(&service, "/signal/BABA?explain=true").await;
    assert_eq!(explained.json()["explanation"]["reason"], "near_optimum");
    assert_ne!(explained.header("etag"), plain.header("etag"));
    assert_eq!(explained.header("last-modified"), plain.header("last-modified"));
    let mut rest = explained.json();
    rest.as_object_mut().unwrap().remove("explanation");
    assert_eq!(rest, plain.json());
    for (address, tag, status) in [
        ("/signal/BABA?explain=true", explained.header("etag"), StatusCode::NOT_MODIFIED),
        ("/signal/BABA", explained.header("etag"), StatusCode::OK),
        ("/signal/BABA?explain=true", plain.header("etag"), StatusCode::OK),
        ("/signal/BABA?explain=true&wait=1s", plain.header("etag"), StatusCode::OK),
    ] {
        assert_eq!(get_with(&service, address, &[("if-none-match", tag)]).await.status, status, "{address}");
    }
    let refused = errors(&get(&service, "/signal/BABA?explain=1&wait=x").await);
    assert_eq!(refused[0], ("explain".to_owned(), "must be true or false".to_owned()));
    assert_eq!(refused.len(), 2);
}

#[tokio::test]
async fn a_stale_answer_is_explained_too() {
    let (service, state) = published();
    let fresh = get(&service, "/signal/BABA?explain=true").await;
    state.board.refresh("2024-10-29T00:00:00Z".parse().unwrap());
    let stale = get(&service, "/signal/BABA?explain=true").await;
    assert_eq!((&stale.json()["stale"], &stale.json()["explanation"]), (&json!(true), &fresh.json()["explanation"]));
    assert_ne!(stale.header("etag"), fresh.header("etag"));
}

#[tokio::test]
async fn fields_and_explain_select_the_explanation_in_either_way() {
    let (service, _) = published();
    let keys = async |address: &str| {
        let value = get(&service, address).await.json();
        value.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys("/signal/BABA?fields=explanation").await, ["explanation"]);
    assert_eq!(keys("/signal/BABA?fields=action,explanation").await, ["action", "explanation"]);
    assert_eq!(keys("/signal/BABA?fields=action&explain=true").await, ["action", "explanation"]);
    assert_eq!(keys("/signal/BABA?fields=action&explain=false").await, ["action"]);
    assert!(keys("/rating/BABA?fields=explanation").await.is_empty(), "there is none to add");
    let list = get(&service, "/signals?symbols=BABA,KO&fields=symbol&explain=true").await.json();
    let of = |place: usize| (&list["items"][place]["symbol"], &list["items"][place]["explanation"]["exposure"]);
    assert_eq!((of(0), of(1)), ((&json!("BABA"), &json!(1)), (&json!("KO"), &json!(1))));
}

#[tokio::test]
async fn lists_are_explained_and_opinions_without_an_explanation_stay_as_they_are() {
    let (service, _) = published();
    let plain = get(&service, "/signals").await;
    assert!(plain.json()["items"].as_array().unwrap().iter().all(|item| item.get("explanation").is_none()));
    for _ in 0..2 {
        let explained = get(&service, "/signals?explain=true").await;
        assert_ne!(explained.header("etag"), plain.header("etag"));
        assert_eq!(explained.json()["items"][1], get(&service, "/signal/BABA?explain=true").await.json());
        assert_eq!(get(&service, "/signals").await.body, plain.body);
    }
    for address in ["/ranks", "/rating/BABA"] {
        let (plain, asked) = (get(&service, address).await, get(&service, &format!("{address}?explain=true")).await);
        assert_eq!((plain.status, plain.header("etag")), (StatusCode::OK, asked.header("etag")), "{address}");
    }
    for address in ["/predictability/BABA", "/predictabilities"] {
        let (plain, asked) = (get(&service, address).await, get(&service, &format!("{address}?explain=true")).await);
        assert_ne!(plain.header("etag"), asked.header("etag"), "{address}");
    }
    let mut old = signal("BABA");
    old.as_object_mut().unwrap().remove("explanation");
    let state = state(Settings::default());
    state.board.publish(Snapshot::build(vec![entry(Kind::Signal, Some("BABA"), &old, (1, [1; 32]))], now()));
    let service = router(state);
    let (plain, asked) = (get(&service, "/signal/BABA").await, get(&service, "/signal/BABA?explain=true").await);
    assert_eq!(plain.body, asked.body);
}

#[tokio::test]
async fn rankings_carry_the_whole_game() {
    let (service, _) = published();
    let ranking = get(&service, "/ranking/BABA?explain=true").await.json();
    assert_eq!((&ranking["nash"][0]["symmetric"], &ranking["policy"]["source"]), (&json!(true), &json!("network")));
    assert_eq!(ranking["explanation"], get(&service, "/signal/BABA?explain=true").await.json()["explanation"]);
    assert!(ranking["actions"][1]["regret"]["largest"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn opinions_of_the_universe_are_found_without_a_symbol() {
    let (service, _) = published();
    for (address, kind) in [("/responses", Kind::Responses), ("/ratings/calibration", Kind::RatingRecord)] {
        let plain = get(&service, address).await;
        assert_eq!((plain.status, &plain.json()["kind"]), (StatusCode::OK, &json!(kind.as_str())), "{address}");
        assert_eq!((&plain.json()["symbol"], plain.json().get("explanation")), (&Value::Null, None));
        let mut explained = get(&service, &format!("{address}?explain=true")).await.json();
        let fields = explained.as_object_mut().unwrap();
        assert!(["ledger", "stale"].iter().all(|own| fields.remove(*own).is_some()));
        let held = entries().into_iter().find(|entry| entry.kind == kind).unwrap();
        assert_eq!(canonical(&explained), held.entry);
        let headers = [("if-none-match", plain.header("etag"))];
        assert_eq!(get_with(&service, address, &headers).await.status, StatusCode::NOT_MODIFIED);
        let some = get(&service, &format!("{address}?fields=as_of")).await;
        assert_eq!(some.body, r#"{"as_of":"2024-09-30"}"#);
        // The ledger is asked for the past, and there is none behind this service.
        let past = get(&service, &format!("{address}?as_of=2024-09-30")).await;
        assert_eq!(past.json()["type"], "/problems/store-unavailable", "{address}");
    }
    assert_eq!(get(&service, "/responses?horizon=1w").await.json()["type"], "/problems/not-found");
    assert_eq!(errors(&get(&service, "/ratings/calibration?horizon=4w").await)[0].0, "horizon");
    let early = router(state(Settings::default()));
    assert_eq!(get(&early, "/responses").await.json()["type"], "/problems/not-published");
    assert_eq!(get(&early, "/ratings/calibration").await.json()["type"], "/problems/not-published");
}

#[tokio::test]
async fn comparisons_are_sent_as_lines() {
    let (service, state) = published();
    let lines = "{\"better\":\"hold\"}\n{\"better\":\"sell\"}\n";
    state.comparisons.hold("2024-09-30.3f9c", lines);
    let answer = get(&service, "/responses?format=jsonl").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/x-ndjson"));
    assert_eq!(answer.body, lines);
    let headers = [("if-none-match", answer.header("etag"))];
    assert_eq!(get_with(&service, "/responses?format=jsonl", &headers).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(get(&service, "/responses?format=json").await.json()["kind"], "responses");
    let refused = errors(&get(&service, "/responses?format=jsonl&horizon=52w").await);
    assert_eq!(refused[0].0, "horizon", "lines of all horizons are sent");
    state.comparisons.hold("another", lines);
    // Those of the model that is named are asked for, of a store that is not there.
    assert_eq!(get(&service, "/responses?format=jsonl").await.json()["type"], "/problems/store-unavailable");
    let refused = errors(&get(&service, "/responses?format=jsonl&explain=true&fields=as_of&wait=1s").await);
    assert_eq!(refused.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["fields", "explain", "wait"]);
    let refused = errors(&get(&service, "/responses?format=csv&symbols=BABA").await);
    assert_eq!(refused.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["symbols", "format"]);
}

//! Tests of the opinions as a client sees them.

use std::io::Read;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::api::router::router;
use crate::api::samples::{canonical, entries, entry, get, get_with, now, published, request, send, signal, state};
use crate::api::snapshot::Snapshot;
use crate::api::state::Settings;
use crate::opinion::envelope::Kind;
use crate::opinion::predictability::Predictability;
use crate::opinion::served::Served;
use crate::opinion::signal::Signal;

#[tokio::test]
async fn a_client_can_check_the_hash_of_an_answer() {
    let (service, _) = published();
    let answer = get(&service, "/signal/baba?explain=true").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    let mut value = answer.json();
    let previous = get(&service, "/signal/AAPL").await.json()["ledger"]["hash"].as_str().unwrap().to_owned();
    let stated = value["ledger"]["hash"].as_str().unwrap().to_owned();
    let fields = value.as_object_mut().unwrap();
    fields.remove("ledger");
    fields.remove("stale");
    let bytes = [hex::decode(previous).unwrap(), canonical(&value)].concat();
    assert_eq!(hex::encode(Sha256::digest(bytes)), stated);
    let read: Served<Signal> = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(read.ledger.sequence, 2);
    assert!(!read.stale);
}

#[tokio::test]
async fn conditional_requests_are_answered_304_in_both_encodings() {
    let (service, _) = published();
    let plain = get(&service, "/signal/BABA").await;
    let packed = get_with(&service, "/signal/BABA", &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_ne!(plain.header("etag"), packed.header("etag"));
    assert_eq!(plain.header("vary"), "accept-encoding");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    for (answer, encoding) in [(&plain, "identity"), (&packed, "gzip")] {
        let headers = [("if-none-match", answer.header("etag")), ("accept-encoding", encoding)];
        let again = get_with(&service, "/signal/BABA", &headers).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(again.header("etag"), answer.header("etag"));
    }
    let since = get_with(&service, "/signal/BABA", &[("if-modified-since", plain.header("last-modified"))]).await;
    assert_eq!(since.status, StatusCode::NOT_MODIFIED);
    let head = send(&service, request(Method::HEAD, "/signal/BABA", &[])).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), plain.body.len().to_string());
    assert_eq!(head.header("etag"), plain.header("etag"));
}

#[tokio::test]
async fn a_stale_answer_says_so_and_has_another_tag() {
    let (service, state) = published();
    let fresh = get(&service, "/signal/BABA").await;
    state.board.refresh("2024-10-28T23:59:59Z".parse().unwrap());
    assert_eq!(get(&service, "/signal/BABA").await.header("etag"), fresh.header("etag"));
    state.board.refresh("2024-10-29T00:00:00Z".parse().unwrap());
    let stale = get(&service, "/signal/BABA").await;
    assert_eq!(stale.json()["stale"], true);
    assert_ne!(stale.header("etag"), fresh.header("etag"));
    assert_eq!(stale.header("last-modified"), "Tue, 29 Oct 2024 00:00:00 GMT");
    let mut stopped = entries();
    stopped[1].prices_stopped = true;
    state.board.publish(Snapshot::build(stopped, now()));
    assert_eq!(get(&service, "/signal/BABA").await.json()["stale"], true);
    assert_eq!(get(&service, "/signal/AAPL").await.json()["stale"], false);
}

#[tokio::test]
async fn lists_are_cut_selected_and_continued() {
    let (service, _) = published();
    let symbols = |value: &serde_json::Value| -> Vec<String> {
        value["items"].as_array().unwrap().iter().map(|i| i["symbol"].as_str().unwrap().to_owned()).collect()
    };
    let all = get(&service, "/signals").await.json();
    assert_eq!(symbols(&all), ["AAPL", "BABA", "JD", "KO"]);
    assert_eq!(all["next"], serde_json::Value::Null);
    assert_eq!(all["items"][1], get(&service, "/signal/BABA").await.json());
    let first = get(&service, "/signals?limit=3").await.json();
    assert_eq!(first["next"], "JD");
    let rest = get(&service, "/signals?limit=3&cursor=JD").await.json();
    assert_eq!((symbols(&rest), &rest["next"]), (vec!["KO".to_owned()], &serde_json::Value::Null));
    let some = get(&service, "/signals?symbols=jd,BABA,XX&fields=symbol,action").await;
    assert_eq!(
        some.body,
        r#"{"items":[{"action":"hold","symbol":"BABA"},{"action":"hold","symbol":"JD"}],"missing":["XX"],"next":null}"#
    );
    let one = get(&service, "/signal/BABA?fields=action,stale").await;
    assert_eq!(one.body, r#"{"action":"hold","stale":false}"#);
}

#[tokio::test]
async fn ranks_are_one_opinion_cut_to_a_page() {
    let (service, _) = published();
    let page = get(&service, "/ranks?horizon=4w&limit=2").await.json();
    assert_eq!(page["ranks"].as_array().unwrap().len(), 2);
    assert_eq!((&page["ranks"][0]["symbol"], &page["next"]), (&"KO".into(), &"AAPL".into()));
    let rest = get(&service, "/ranks?limit=2&cursor=AAPL").await.json();
    assert_eq!((&rest["ranks"][0]["symbol"], &rest["next"]), (&"JD".into(), &serde_json::Value::Null));
    let some = get(&service, "/ranks?symbols=BABA,XX&fields=ranks").await;
    assert_eq!(
        some.body,
        r#"{"ranks":[{"expected_rank":3.5,"reason":null,"symbol":"BABA"}],"missing":["XX"],"next":null}"#
    );
    let mut whole = get(&service, "/ranks").await.json();
    let fields = whole.as_object_mut().unwrap();
    for name in ["ledger", "stale", "missing", "next"] {
        assert!(fields.remove(name).is_some(), "{name}");
    }
    assert_eq!(canonical(&whole), entries()[5].entry);
}

#[tokio::test]
async fn the_backfilled_chain_answers_for_past_days_only() {
    let (service, _) = published();
    for (query, reason) in [("chain=backfill", "beside as_of"), ("as_of=2024-09-30&chain=Live", "live or backfill")] {
        for address in ["/signal/BABA", "/signals", "/ranks", "/responses", "/process/BABA", "/ratings/calibration"] {
            let refused = get(&service, &format!("{address}?{query}")).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{address}?{query}");
            let error = refused.json()["errors"][0].clone();
            assert!(error["field"] == "chain" && error["reason"].as_str().unwrap().contains(reason), "{error}");
        }
    }
    let live = get(&service, "/signal/BABA?chain=live").await;
    assert_eq!((live.status, live.body), (StatusCode::OK, get(&service, "/signal/BABA").await.body));
}

#[tokio::test]
async fn a_rating_is_found_whatever_the_horizon() {
    let (service, _) = published();
    assert_eq!(get(&service, "/rating/BABA?horizon=52w").await.status, StatusCode::OK);
    assert_eq!(get(&service, "/signal/BABA?horizon=52w").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn verdicts_are_found_whatever_the_horizon() {
    let (service, _) = published();
    let plain = get(&service, "/predictability/baba").await;
    let year = get(&service, "/predictability/BABA?horizon=52w").await;
    assert_eq!((plain.status, &plain.body), (StatusCode::OK, &year.body));
    let read: Served<Predictability> = serde_json::from_slice(&plain.body).unwrap();
    let signal: Served<Signal> = serde_json::from_slice(&get(&service, "/signal/BABA").await.body).unwrap();
    assert_eq!(read.opinion.verdicts(), signal.opinion.predictability);
    let again = get_with(&service, "/predictability/BABA", &[("if-none-match", plain.header("etag"))]).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    let some = get(&service, "/predictability/BABA?fields=short_term").await.json();
    assert_eq!(some.as_object().unwrap().keys().collect::<Vec<_>>(), ["short_term"]);
    let page = get(&service, "/predictabilities?symbols=BABA,KO&horizon=1w").await.json();
    assert_eq!((&page["items"][0]["as_of"], &page["missing"]), (&"2024-09-30".into(), &serde_json::json!(["KO"])));
    assert_eq!(get(&service, "/predictability/KO").await.json()["type"], "/problems/not-found");
    assert_eq!(get(&service, "/predictability/BAB").await.json()["near"][0], "BABA");
    let explained = get(&service, "/predictability/BABA?explain=true").await.json();
    assert_eq!(explained["explanation"]["predictable"], serde_json::json!(["short_term.volatility"]));
}

#[tokio::test]
async fn refusals_name_every_field_and_near_matches() {
    let (service, _) = published();
    let refused = get(&service, "/signal/BA%2FBA?horizon=3w&color=red&wait=61").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let body = refused.json();
    let fields: Vec<&str> = body["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["color", "symbol", "horizon", "wait"]);
    assert_eq!(body["request_id"], refused.header("x-request-id"));
    let unknown = get(&service, "/signal/BABAA").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(
        (&unknown.json()["type"], &unknown.json()["near"][0]),
        (&"/problems/unknown-symbol".into(), &"BABA".into())
    );
    let field = get(&service, "/signals?fields=symbol,colour").await;
    assert_eq!(field.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(field.json()["errors"][0]["reason"].as_str().unwrap().contains("colour"));
}

#[tokio::test]
async fn before_the_first_publication_the_answer_is_503() {
    let state = state(Settings::default());
    let service = router(state);
    for address in ["/signal/BABA", "/signals", "/ranks", "/rating/BABA", "/predictability/BABA"] {
        let answer = get(&service, address).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{address}");
        assert_eq!(answer.header("retry-after"), "10");
        assert_eq!(answer.json()["type"], "/problems/not-published");
    }
    assert_eq!(get(&service, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn caches_may_keep_an_answer_until_the_next_publication() {
    let (service, state) = published();
    assert_eq!(get(&service, "/signal/BABA").await.header("cache-control"), "no-cache");
    let soon = chrono::Utc::now() + chrono::TimeDelta::seconds(100);
    state.board.publish(Snapshot::build(entries(), now()).with_next_publication(Some(soon)));
    let held = get(&service, "/signal/BABA").await;
    let seconds: u64 = held.header("cache-control").strip_prefix("public, max-age=").unwrap().parse().unwrap();
    assert!((98..=100).contains(&seconds));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_client_hears_of_a_change_of_its_answer_only() {
    let (service, state) = published();
    let tag = get(&service, "/signal/BABA").await.header("etag").to_owned();
    let waiting = tokio::spawn({
        let (service, tag) = (service.clone(), tag.clone());
        async move { get_with(&service, "/signal/BABA?wait=30s", &[("if-none-match", &tag)]).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut changed = entries();
    let mut body = signal("AAPL");
    body["action"] = "buy".into();
    changed.push(entry(Kind::Signal, Some("AAPL"), &body, (7, [7; 32])));
    state.board.publish(Snapshot::build(changed.clone(), now()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    body["symbol"] = "BABA".into();
    changed.push(entry(Kind::Signal, Some("BABA"), &body, (8, [8; 32])));
    state.board.publish(Snapshot::build(changed, now()));
    let answer = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert_eq!((answer.status, &answer.json()["action"]), (StatusCode::OK, &"buy".into()));
    let started = Instant::now();
    let new_tag = answer.header("etag");
    let unchanged = get_with(&service, "/signal/BABA?wait=1s", &[("if-none-match", new_tag)]).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(get_with(&service, "/signal/BABA?wait=30s", &[("if-none-match", &tag)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_stop_sends_waiting_clients_home() {
    let (service, state) = published();
    let tag = get(&service, "/signals").await.header("etag").to_owned();
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { get_with(&service, "/signals?wait=60s", &[("if-none-match", &tag)]).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    state.board.close();
    let answer = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn too_many_waiting_clients_are_sent_away() {
    let state = state(Settings { max_waiters: 0, ..Settings::default() });
    state.board.publish(Snapshot::build(entries(), now()));
    let service = router(state);
    let tag = get(&service, "/signal/BABA").await.header("etag").to_owned();
    let answer = get_with(&service, "/signal/BABA?wait=30s", &[("if-none-match", &tag)]).await;
    assert_eq!(answer.json()["type"], "/problems/overloaded");
}

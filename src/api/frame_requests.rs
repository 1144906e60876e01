//! Tests of what surrounds every request, and of the service while its store is away.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::get as route_get;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;

use crate::api::auth::KeyRing;
use crate::api::frame::{frame, panicked};
use crate::api::openapi::openapi;
use crate::api::router::router;
use crate::api::samples::{entries, get, get_with, now, published, request, send, state};
use crate::api::snapshot::Snapshot;
use crate::api::state::{AppState, Settings};
use crate::store::keys::{StoredKey, hash_secret};

fn with_key(settings: Settings, scopes: &[&str]) -> Router {
    let mut state = state(settings);
    let key = StoredKey {
        key_id: uuid::Uuid::nil(),
        name: "test".into(),
        hash: hash_secret("secret"),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        created_at: now(),
        expires_at: None,
        revoked_at: None,
    };
    state.keys = Arc::new(KeyRing::with_lookup(move |hash| {
        let found = (hash == key.hash).then(|| key.clone());
        Box::pin(async move { Ok(found) })
    }));
    state.board.publish(Snapshot::build(entries(), now()));
    router(state)
}

fn post(headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut all = request(Method::POST, "/prices", headers);
    *all.body_mut() = body.into();
    all
}

#[tokio::test]
async fn every_answer_carries_an_id_and_safe_headers() {
    let (service, _) = published();
    for address in ["/signal/BABA", "/nowhere", "/healthz", "/docs/", "/"] {
        let answer = get(&service, address).await;
        assert!(!answer.header("x-request-id").is_empty(), "{address}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
    let own = get_with(&service, "/healthz", &[("x-request-id", "abc-1")]).await;
    assert_eq!(own.header("x-request-id"), "abc-1");
    let bad = get_with(&service, "/healthz", &[("x-request-id", "a b\"c")]).await;
    assert_ne!(bad.header("x-request-id"), "a b\"c");
}

#[tokio::test]
async fn errors_of_libraries_have_the_form_of_all_others() {
    let (service, _) = published();
    for (method, address, status, name) in [
        (Method::GET, "/nowhere", 404, "not-found"),
        (Method::DELETE, "/signals", 405, "method-not-allowed"),
        (Method::GET, "/prices/%FF", 400, "malformed-request"),
        (Method::GET, "/signal/%FF", 404, "not-found"),
        (Method::GET, "/docs/nothing.js", 404, "not-found"),
    ] {
        let answer = send(&service, request(method, address, &[])).await;
        assert_eq!(answer.status.as_u16(), status, "{address}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{address}");
        assert_eq!(answer.json()["type"], format!("/problems/{name}"));
        assert_eq!(get(&service, &format!("/problems/{name}")).await.status, StatusCode::OK);
    }
    let method = send(&service, request(Method::DELETE, "/signals", &[])).await;
    assert!(method.header("allow").contains("GET"));
    let long = get(&service, &format!("/signals?symbols={}", "A,".repeat(9000))).await;
    assert_eq!(long.status, StatusCode::URI_TOO_LONG);
    let head = send(&service, request(Method::HEAD, "/nowhere", &[])).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::NOT_FOUND, 0));
}

#[tokio::test]
async fn without_the_store_published_answers_go_on() {
    let (service, _) = published();
    assert_eq!(get(&service, "/signal/BABA").await.status, StatusCode::OK);
    for address in [
        "/instruments",
        "/instruments/BABA",
        "/prices/BABA",
        "/ledger",
        "/ledger/1",
        "/ledger/head",
        "/signal/BABA?as_of=2024-10-01",
    ] {
        let answer = get(&service, address).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{address}");
        assert_eq!(answer.json()["type"], "/problems/store-unavailable");
        assert_eq!(answer.header("retry-after"), "5");
    }
    let ready = get(&service, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (StatusCode::OK, &"degraded".into()));
    assert_eq!(get(&service, "/healthz").await.json()["status"], "ok");
    let empty = router(state(Settings::default()));
    assert_eq!(get(&empty, "/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_full_house_sends_away_only_those_who_ask_the_store() {
    let state = state(Settings { max_concurrency: 0, ..Settings::default() });
    state.board.publish(Snapshot::build(entries(), now()));
    let service = router(state);
    assert_eq!(get(&service, "/ledger").await.json()["type"], "/problems/overloaded");
    assert_eq!(get(&service, "/signal/BABA?as_of=2024-10-01").await.json()["type"], "/problems/overloaded");
    for address in ["/signal/BABA", "/signals", "/healthz", "/readyz", "/"] {
        assert_eq!(get(&service, address).await.status, StatusCode::OK, "{address}");
    }
}

#[tokio::test]
async fn posting_needs_a_key_real_data_and_json() {
    let service = with_key(Settings::default(), &["ingest"]);
    let (key, json) = (("authorization", "Bearer secret"), ("content-type", "application/json"));
    let status = |headers: Vec<(&'static str, &'static str)>, body: Body| {
        let service = service.clone();
        async move { send(&service, post(&headers, body)).await.status.as_u16() }
    };
    let good = r#"{"rows":[{"symbol":"BABA","day":"2024-09-30","close":106.12}]}"#;
    assert_eq!(status(vec![json], good.into()).await, 401);
    assert_eq!(status(vec![("authorization", "Bearer other"), json], good.into()).await, 401);
    assert_eq!(status(vec![key], good.into()).await, 415);
    assert_eq!(status(vec![key, json], "{".into()).await, 400);
    assert_eq!(status(vec![key, json], r#"{"rows":[{}]}"#.into()).await, 422);
    assert_eq!(status(vec![key, json], " ".repeat(9 << 20).into()).await, 413);
    // The store is away, so a good body gets no further than this.
    assert_eq!(status(vec![key, json], good.into()).await, 503);
    let other = with_key(Settings::default(), &["operate"]);
    assert_eq!(send(&other, post(&[key, json], good)).await.status, StatusCode::FORBIDDEN);
    let simulated = with_key(Settings { simulated: true, ..Settings::default() }, &["ingest"]);
    assert_eq!(send(&simulated, post(&[key, json], good)).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_private_service_asks_for_a_key_before_reading() {
    let service = with_key(Settings { private: true, ..Settings::default() }, &["ingest"]);
    let refused = get(&service, "/signal/BABA").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    assert_eq!(get(&service, "/healthz").await.status, StatusCode::OK);
    let answer = get_with(&service, "/signal/BABA", &[("authorization", "Bearer secret")]).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn only_listed_origins_may_read() {
    let listed = HeaderValue::from_static("https://dashboard.example");
    let state = state(Settings { cors_origins: vec![listed], ..Settings::default() });
    state.board.publish(Snapshot::build(entries(), now()));
    let service = router(state);
    let answer = get_with(&service, "/signal/BABA", &[("origin", "https://dashboard.example")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://dashboard.example");
    let other = get_with(&service, "/signal/BABA", &[("origin", "https://other.example")]).await;
    assert_eq!(other.header("access-control-allow-origin"), "");
    assert!(other.headers.get_all("vary").iter().any(|v| v == "origin"));
    let headers = [("origin", "https://dashboard.example"), ("access-control-request-method", "GET")];
    let preflight = send(&service, request(Method::OPTIONS, "/signal/BABA", &headers)).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    assert!(preflight.header("access-control-allow-headers").contains("authorization"));
}

#[tokio::test]
async fn panics_and_slow_requests_end_in_problems() {
    let state: AppState = state(Settings { request_time: Duration::from_millis(50), ..Settings::default() });
    let service = Router::new()
        .route(
            "/panic",
            route_get(|| async {
                if true {
                    panic!("secret")
                }
            }),
        )
        .route("/slow", route_get(|| tokio::time::sleep(Duration::from_secs(10))))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state, frame));
    let broken = get(&service, "/panic").await;
    assert_eq!(
        (broken.status, &broken.json()["type"]),
        (StatusCode::INTERNAL_SERVER_ERROR, &"/problems/internal".into())
    );
    assert!(!String::from_utf8_lossy(&broken.body).contains("secret"));
    assert_eq!(get(&service, "/slow").await.json()["type"], "/problems/timed-out");
}

#[tokio::test]
async fn pages_and_documentation_work_without_internet() {
    let (service, _) = published();
    let index = get(&service, "/").await;
    let text = String::from_utf8_lossy(&index.body).into_owned();
    assert!(text.contains("/signal/BABA") && text.contains("not investment advice"));
    assert!(!text.contains("http://") && !text.contains("https://"));
    for (address, media_type) in [
        ("/openapi.json", "application/json"),
        ("/openapi.yaml", "application/yaml"),
        ("/docs/", "text/html"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
    ] {
        let answer = get(&service, address).await;
        assert_eq!(answer.status, StatusCode::OK, "{address}");
        assert!(answer.header("content-type").starts_with(media_type), "{address} {}", answer.header("content-type"));
    }
    let start = get(&service, "/docs/swagger-initializer.js").await;
    assert!(String::from_utf8_lossy(&start.body).contains("/openapi.json"));
}

#[test]
fn the_description_is_whole() {
    let text = openapi().to_json().unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut names = BTreeSet::new();
    for (path, item) in value["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
            assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{method} {path}");
            assert!(operation["responses"].get("500").is_some(), "{method} {path}");
        }
    }
    assert!(names.is_superset(&["find_signal", "list_ratings", "post_prices"].map(str::to_owned).into()));
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(value.pointer(pointer).is_some(), "{pointer}");
    }
}

//! A small service for tests: a few published entries, no store behind it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use tower::ServiceExt;

use crate::api::board::Board;
use crate::api::router::router;
use crate::api::snapshot::{PublishedEntry, Snapshot};
use crate::api::state::{AppState, Settings};
use crate::decision::process::ProcessSettings;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::envelope::Kind;
use crate::opinion::process::Process;
use crate::opinion::process_solution::solve_again;
use crate::store::chain::{GENESIS, chain_hash};

/// An answer that has arrived.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }
}

/// A state whose store cannot be reached.
pub fn state(settings: Settings) -> AppState {
    let options = PgPoolOptions::new().acquire_timeout(Duration::from_millis(200));
    let pool = options.connect_lazy("postgres://nobody@127.0.0.1:1/nowhere").unwrap();
    AppState::new(pool, Arc::new(Board::default()), settings)
}

/// A service with the [`entries`], all fresh.
pub fn published() -> (Router, AppState) {
    let state = state(Settings::default());
    state.board.publish(Snapshot::build(entries(), now()));
    (router(state.clone()), state)
}

/// A moment at which the sample entries are fresh.
pub fn now() -> DateTime<Utc> {
    "2024-10-01T00:00:00Z".parse().unwrap()
}

/// Signals of four symbols, one rating, ranking, process and verdicts, and the opinions of the universe, chained.
pub fn entries() -> Vec<PublishedEntry> {
    let mut bodies: Vec<(Kind, Option<&str>, Value)> =
        ["AAPL", "BABA", "JD", "KO"].map(|s| (Kind::Signal, Some(s), signal(s))).into();
    let mut rating = envelope("rating", json!("BABA"));
    rating["outlook"] = Value::Null;
    bodies.push((Kind::Rating, Some("BABA"), rating));
    let mut ranks = envelope("ranks", Value::Null);
    let row = |symbol: &str, rank: f64| json!({"symbol": symbol, "expected_rank": rank, "reason": null});
    ranks["ranks"] = json!([row("KO", 1.5), row("AAPL", 2.0), row("JD", 3.0), row("BABA", 3.5)]);
    bodies.push((Kind::Ranks, None, ranks));
    bodies.push((Kind::Predictability, Some("BABA"), example(include_str!("examples/predictability.json"))));
    bodies.push((Kind::Ranking, Some("BABA"), example(include_str!("examples/ranking.json"))));
    bodies.push((Kind::Process, Some("BABA"), process()));
    bodies.push((Kind::Responses, None, example(include_str!("examples/responses.json"))));
    bodies.push((Kind::RatingRecord, None, example(include_str!("examples/rating_record.json"))));
    let mut previous = GENESIS;
    let chained = bodies.into_iter().zip(1..).map(|((kind, symbol, body), sequence)| {
        previous = chain_hash(&previous, &canonical(&body));
        entry(kind, symbol, &body, (sequence, previous))
    });
    chained.collect()
}

/// One published entry.
pub fn entry(kind: Kind, symbol: Option<&str>, body: &Value, (sequence, hash): (i64, [u8; 32])) -> PublishedEntry {
    PublishedEntry {
        sequence,
        hash,
        kind,
        symbol: symbol.map(|s| Symbol::parse(s).unwrap()),
        horizon: Horizon::FourWeeks,
        published_at: "2024-09-30T21:05:12Z".parse().unwrap(),
        valid_until: "2024-10-28".parse().unwrap(),
        prices_stopped: false,
        entry: canonical(body).into(),
    }
}

/// The example of the documentation as an entry of that symbol.
pub fn signal(symbol: &str) -> Value {
    let mut value = example(include_str!("examples/signal.json"));
    value["symbol"] = json!(symbol);
    value
}

/// A served example without what is not part of its entry.
fn example(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap();
    let fields = value.as_object_mut().unwrap();
    fields.remove("ledger");
    fields.remove("stale");
    value
}

/// A process solved for the usual holder.
fn process() -> Value {
    let mut value = envelope("process", json!("BABA"));
    for name in ["source", "sources", "simulated", "late", "disclaimer"] {
        value[name] = signal("BABA")[name].clone();
    }
    let unknown = [
        "transition",
        "reaction",
        "q_value",
        "value",
        "policy",
        "current_state",
        "action",
        "probability_optimal",
        "risk_aversion",
        "explanation",
    ];
    unknown.into_iter().for_each(|name| value[name] = Value::Null);
    let each = |value: f64| vec![value; 9];
    let parts = json!({
        "holder": {"type": "holder", "exposure": 1}, "cost": 0.0005, "discount": 1.0, "steps": 4, "states": [], "actions": [],
        "draws": 200, "seed": 7,
        "estimates": {
            "counts": vec![each(3.0); 9], "prior": each(1.0 / 9.0), "kappa": 8.0, "mean": each(0.001), "mean_error": each(0.001),
            "variance": [0.0004, 0.0009, 0.0036, 0.0004, 0.0009, 0.0036, 0.0004, 0.0009, 0.0036],
            "variance_observations": each(50.0), "current": 5, "next_state": null, "long_run_mean": 0.001,
            "long_run_volatility": 0.03,
        },
    });
    value.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    let unsolved: Process = serde_json::from_value(value).unwrap();
    serde_json::to_value(solve_again(&unsolved, &ProcessSettings::default()).unwrap()).unwrap()
}

fn envelope(kind: &str, symbol: Value) -> Value {
    let mut value = signal("BABA");
    let shared =
        ["kind", "model_id", "symbol", "horizon", "as_of", "published_at", "valid_until", "reasons", "provenance"];
    value.as_object_mut().unwrap().retain(|name, _| shared.contains(&name.as_str()));
    value["kind"] = json!(kind);
    value["symbol"] = symbol;
    value
}

/// RFC 8785 bytes of a JSON value.
pub fn canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).unwrap()
}

/// Sends a request and takes the whole answer.
pub async fn send(service: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = service.clone().oneshot(request).await.unwrap().into_parts();
    Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
}

/// `GET` with headers.
pub async fn get_with(service: &Router, address: &str, headers: &[(&str, &str)]) -> Answer {
    send(service, request(Method::GET, address, headers)).await
}

/// `GET`.
pub async fn get(service: &Router, address: &str) -> Answer {
    get_with(service, address, &[]).await
}

/// A request without a body.
pub fn request(method: Method, address: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(address);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::empty()).unwrap()
}

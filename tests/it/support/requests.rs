//! Requests to the whole service in this process.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use chrono::Utc;
use forecastd::api::board::Board;
use forecastd::api::router::router;
use forecastd::api::snapshot::{PublishedEntry, Snapshot};
use forecastd::api::state::{AppState, Settings};
use forecastd::store::ledger;
use forecastd::store::open::Store;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// A service over a store, with what the ledger holds now.
pub struct Service {
    router: Router,
    /// What the handlers share.
    pub state: AppState,
}

/// An answer that has arrived.
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// HTTP headers.
    pub headers: axum::http::HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// A header, empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Service {
    /// Starts a service on a store.
    pub async fn of(store: &Store) -> Self {
        let settings = Settings { simulated: store.simulated, ..Settings::default() };
        let state = AppState::new(store.pool.clone(), Arc::new(Board::default()), settings);
        let service = Self { router: router(state.clone()), state };
        service.refresh().await;
        service
    }

    /// Hangs what the ledger holds now.
    pub async fn refresh(&self) {
        let rows = ledger::newest(&self.state.pool, i64::MAX).await.unwrap();
        let entries = rows.into_iter().map(|row| PublishedEntry::try_from(row).unwrap()).collect();
        self.state.board.publish(Snapshot::build(entries, Utc::now()));
    }

    /// Sends a request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// `GET` that must be answered with 200.
    pub async fn found(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.json()
    }

    /// `GET` that must end in a problem of that status.
    pub async fn refused(&self, path: &str, status: u16) -> Value {
        let answer = self.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (status, "application/problem+json"),
            "{path}"
        );
        answer.json()
    }

    /// `POST /prices`.
    pub async fn post(&self, key: Option<&str>, body: &str) -> Answer {
        self.send(posting(key, body)).await
    }
}

/// A request that posts prices.
pub fn posting(key: Option<&str>, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(Method::POST).uri("/prices").header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

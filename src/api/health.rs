//! `GET /healthz` and `GET /readyz`: whether the process lives, and whether it can answer.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::state::AppState;
use crate::api::tag;

/// A store that takes longer counts as away.
const STORE_TIME: Duration = Duration::from_secs(1);

/// Whether the process lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Version of the code.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
}

/// Whether the service can answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `ready`; `degraded` while published answers are served without the store; `not_ready` before the first publication.
    #[schema(example = "ready")]
    pub status: &'static str,
    /// Each dependency.
    pub dependencies: Dependencies,
}

/// What the service depends on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Dependencies {
    /// The store.
    pub store: Dependency,
    /// Published answers in memory.
    pub answers: Dependency,
}

/// One dependency.
#[derive(Debug, Serialize, ToSchema)]
pub struct Dependency {
    /// Whether it is there.
    pub ready: bool,
    /// What is known of it.
    #[schema(example = "newest ledger entry 4182")]
    pub detail: String,
}

/// Whether the process lives. Asks nothing of anybody.
#[utoipa::path(
    get, path = "/healthz", operation_id = "check_health", tag = tag::OPERATION,
    responses((status = 200, description = "It lives", body = Health))
)]
pub async fn check_health() -> Response {
    let health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };
    ([(header::CACHE_CONTROL, "no-store")], Json(health)).into_response()
}

/// Whether the service can answer, dependency by dependency.
#[utoipa::path(
    get, path = "/readyz", operation_id = "check_readiness", tag = tag::OPERATION,
    responses(
        (status = 200, description = "It answers; `degraded` without the store", body = Readiness),
        (status = 503, description = "Nothing has been published yet", body = Readiness)
    )
)]
pub async fn check_readiness(State(state): State<AppState>) -> Response {
    let sequence = state.board.load().sequence();
    let store = store_state(&state).await;
    let answers = Dependency {
        ready: sequence > 0,
        detail: if sequence > 0 { format!("newest ledger entry {sequence}") } else { "nothing published yet".into() },
    };
    let (code, status) = match (answers.ready, store.ready) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    let readiness = Readiness { status, dependencies: Dependencies { store, answers } };
    (code, [(header::CACHE_CONTROL, "no-store")], Json(readiness)).into_response()
}

async fn store_state(state: &AppState) -> Dependency {
    match tokio::time::timeout(STORE_TIME, state.pool.acquire()).await {
        Ok(Ok(_)) => Dependency { ready: true, detail: "answers".into() },
        Ok(Err(_)) => Dependency { ready: false, detail: "cannot be reached".into() },
        Err(_) => Dependency { ready: false, detail: "does not answer in time".into() },
    }
}

//! Metrics for Prometheus, on an address of their own: who may read the answers need not read these.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

use crate::api::board::Board;
use crate::api::metrics_numbers::{Measured, StoreNumbers, text};
use crate::clock;

/// The store is asked again when its last answer is older.
const FRESH: Duration = Duration::from_secs(5);
/// The store counts as away when it has not answered by then.
const PATIENCE: Duration = Duration::from_secs(2);
/// Form of the text.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is measured, and what the store said last.
#[derive(Debug)]
pub struct Metrics {
    pool: PgPool,
    board: Arc<Board>,
    fresh: Duration,
    last: Mutex<Option<Asked>>,
}

/// How it went when the store was asked.
#[derive(Debug)]
struct Asked {
    at: Instant,
    is_up: bool,
    numbers: Option<StoreNumbers>,
}

impl Metrics {
    /// Measures a store and what is served of it.
    #[must_use]
    pub fn new(pool: PgPool, board: Arc<Board>) -> Self {
        Self { pool, board, fresh: FRESH, last: Mutex::default() }
    }

    /// Asks the store again when its last answer is older than that, not than five seconds.
    #[must_use]
    pub fn asking_after(mut self, fresh: Duration) -> Self {
        self.fresh = fresh;
        self
    }

    /// All numbers. One reader at a time asks the store, at most every five seconds and for at most two; while it is away,
    /// its last numbers are told and `forecastd_store_up` is 0.
    pub async fn text(&self) -> String {
        let mut held = self.last.lock().await;
        let asked = match held.take() {
            Some(asked) if asked.at.elapsed() < self.fresh => asked,
            earlier => self.ask(earlier).await,
        };
        let written = text(Measured {
            is_up: asked.is_up,
            numbers: asked.numbers.as_ref(),
            board: &self.board,
            pool: &self.pool,
            now: clock::now(),
        });
        *held = Some(asked);
        written
    }

    async fn ask(&self, earlier: Option<Asked>) -> Asked {
        let outcome = tokio::time::timeout(PATIENCE, StoreNumbers::gather(&self.pool)).await;
        let numbers = outcome.ok().and_then(Result::ok);
        let is_up = numbers.is_some();
        Asked { at: Instant::now(), is_up, numbers: numbers.or(earlier.and_then(|earlier| earlier.numbers)) }
    }
}

/// `GET /metrics`, without the frame of the other interface.
pub fn router(metrics: Arc<Metrics>) -> Router {
    Router::new().route("/metrics", get(show_metrics)).with_state(metrics)
}

async fn show_metrics(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT_FORMAT)], metrics.text().await)
}

/// Binds the address for the metrics; `None`, with a message, where it is taken: a second service on this machine, or one
/// that takes over during an update, must not fail for want of metrics.
pub async fn bind(address: Option<SocketAddr>) -> Option<TcpListener> {
    let address = address?;
    match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(
                "no metrics: {address} cannot be bound ({error}); choose another with --metrics-listen, or none"
            );
            None
        }
    }
}

/// Answers until a stop is asked for.
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    axum::serve(listener, router(metrics))
        .with_graceful_shutdown(async move {
            let _ = stop.wait_for(|stopped| *stopped).await;
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::samples;

    #[tokio::test]
    async fn without_a_store_what_is_served_is_still_told() {
        let (_, state) = samples::published();
        let service = router(Arc::new(Metrics::new(state.pool.clone(), Arc::clone(&state.board))));
        let answer = samples::get(&service, "/metrics").await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, TEXT_FORMAT));
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let serving = format!("forecastd_serving_sequence {}", state.board.load().sequence());
        for line in ["forecastd_store_up 0", "# TYPE forecastd_store_up gauge", serving.as_str()] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("# HELP forecastd_snapshot_age_seconds Seconds since"), "{text}");
        assert!(!text.contains("\nforecastd_ledger_head "), "{text}");
        assert_eq!(samples::get(&service, "/signal/BABA").await.status.as_u16(), 404);
    }
}

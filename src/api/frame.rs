//! What surrounds every request: an id, a time limit, a caught panic, the body of a problem, and safe headers.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;

use crate::api::auth::Scope;
use crate::api::cors;
use crate::api::parameters::WAIT_MAX;
use crate::api::problem::{MEDIA_TYPE, Problem};
use crate::api::problem_type::ProblemType;
use crate::api::state::AppState;

/// Names a request in answers and messages.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer addresses are refused.
const ADDRESS_MAX_BYTES: usize = 16 * 1024;
/// Longer request ids are replaced.
const REQUEST_ID_MAX_CHARS: usize = 64;
/// Pages may load their own scripts and styles and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// Runs one request inside the frame.
pub async fn frame(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    let about = About::of(&request);
    let span = tracing::info_span!("request", id = request_id.to_str().unwrap_or_default());
    let started = Instant::now();
    let answered = answer(&state, request, next, &about).instrument(span.clone()).await;
    let mut response = cors::allow(answered, about.origin.as_ref(), &state.settings.cors_origins);
    response = with_problem_body(response, &request_id, about.method == Method::HEAD);
    add_headers(response.headers_mut(), request_id);
    span.in_scope(|| report(&about, &response, started));
    response
}

/// Turns a panic into the problem that the client sees; the panic itself has been printed by then.
#[must_use]
pub fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::new(ProblemType::Internal, "the request failed; the request id names it in the server's messages")
        .into_response()
}

/// What is needed of a request after it has been handed on.
struct About {
    method: Method,
    path: String,
    origin: Option<HeaderValue>,
    waits: bool,
}

impl About {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            origin: request.headers().get(header::ORIGIN).cloned(),
            waits: request.uri().query().is_some_and(|q| q.contains("wait=")),
        }
    }

    fn is_health(&self) -> bool {
        matches!(self.path.as_str(), "/healthz" | "/readyz")
    }
}

async fn answer(state: &AppState, request: Request, next: Next, about: &About) -> Response {
    let address_bytes = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    if address_bytes > ADDRESS_MAX_BYTES {
        return Problem::new(ProblemType::AddressTooLong, format!("at most {ADDRESS_MAX_BYTES} bytes")).into_response();
    }
    if let Some(preflight) = cors::preflight(&request, &state.settings.cors_origins) {
        return preflight;
    }
    if state.settings.private
        && !about.is_health()
        && let Err(problem) = state.keys.require(request.headers(), Scope::Read).await
    {
        return problem.into_response();
    }
    let limit = state.settings.request_time + if about.waits { WAIT_MAX } else { Duration::ZERO };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) if state.settings.private => unshared(response),
        Ok(response) => response,
        Err(_) => Problem::new(ProblemType::TimedOut, "the request was given up").into_response(),
    }
}

/// The same answer, kept by the client's own cache only: it was given for a key.
fn unshared(mut response: Response) -> Response {
    if let Some(value) = response.headers_mut().get_mut(header::CACHE_CONTROL)
        && let Some(rest) = value.to_str().ok().and_then(|text| text.strip_prefix("public"))
        && let Ok(private) = HeaderValue::from_str(&format!("private{rest}"))
    {
        *value = private;
    }
    response
}

/// The client's id when it is short and plain, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |text: &str| {
        (1..=REQUEST_ID_MAX_CHARS).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match headers.get(REQUEST_ID) {
        Some(given) if given.to_str().is_ok_and(plain) => given.clone(),
        _ => HeaderValue::from_str(&Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("none")),
    }
}

fn with_problem_body(mut response: Response, request_id: &HeaderValue, head_only: bool) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>().or_else(|| library_problem(&response)) else {
        return response;
    };
    let body = problem.body(request_id.to_str().unwrap_or_default());
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    if !head_only {
        *response.body_mut() = Body::from(bytes);
    }
    response
}

/// Libraries answer errors in plain text; these get the form of all others. The status then follows the kind.
fn library_problem(response: &Response) -> Option<Problem> {
    let status = response.status();
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let plain = media_type.is_none_or(|t| t.as_bytes().starts_with(b"text/plain"));
    let failed = status.is_client_error() || status.is_server_error();
    let kind = ProblemType::of_status(status);
    (failed && plain && kind.status() == status).then(|| Problem::new(kind, kind.meaning()))
}

fn add_headers(headers: &mut HeaderMap, request_id: HeaderValue) {
    headers.insert(REQUEST_ID, request_id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
}

/// Reads are many and look alike, so they are only shown when asked for.
fn report(about: &About, response: &Response, started: Instant) {
    let (method, path, status) = (&about.method, about.path.as_str(), response.status().as_u16());
    let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
    if method.is_safe() {
        tracing::debug!(%method, path, status, duration_ms, "answered");
    } else {
        tracing::info!(%method, path, status, duration_ms, "answered");
    }
}

//! Pages of other origins may read the answers only when the operator lists them.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// The answer to a preflight, which asks before the browser sends the request itself; `None` for other requests.
#[must_use]
pub fn preflight(request: &Request, allowed: &[HeaderValue]) -> Option<Response> {
    let headers = request.headers();
    let asks = request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !asks || !headers.contains_key(header::ORIGIN) || allowed.is_empty() {
        return None;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, DELETE"));
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-type, idempotency-key, if-none-match, if-modified-since, x-request-id",
        ),
    );
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    Some(response)
}

/// Adds what a listed origin needs to read the answer. The answer then varies by origin, also for the others.
#[must_use]
pub fn allow(mut response: Response, origin: Option<&HeaderValue>, allowed: &[HeaderValue]) -> Response {
    if allowed.is_empty() {
        return response;
    }
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin.filter(|o| allowed.contains(o)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("etag, last-modified, link, location, retry-after, x-request-id"),
        );
    }
    response
}

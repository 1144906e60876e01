//! The one error of the API: `application/problem+json` after RFC 9457, with a stable type and no internals.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::problem_type::ProblemType;
use crate::market::bar::Day;
use crate::store::StoreError;

/// Media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error on its way out. The frame of the service writes the body, because only it knows the request id.
#[derive(Debug, Clone)]
pub struct Problem(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    kind: ProblemType,
    detail: String,
    errors: Vec<FieldError>,
    near: Vec<String>,
    first_day: Option<Day>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One field or row that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Name of the parameter or field.
    #[schema(example = "horizon")]
    pub field: String,
    /// Row of the body, from 0; absent for parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub row: Option<usize>,
    /// What is wrong with it.
    #[schema(example = "unknown horizon \"3w\"; known are 1w, 4w, 13w, 26w, 52w")]
    pub reason: String,
}

impl FieldError {
    /// A parameter that was refused.
    pub fn parameter(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), row: None, reason: reason.into() }
    }
}

/// Body of every error.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Stable name of the kind of problem, a reference to its description on this server.
    #[serde(rename = "type")]
    #[schema(example = "/problems/unknown-symbol", format = "uri-reference")]
    pub type_uri: String,
    /// The kind of problem in words.
    #[schema(example = "Unknown symbol")]
    pub title: String,
    /// The HTTP status again.
    #[schema(example = 404, minimum = 400, maximum = 599)]
    pub status: u16,
    /// This problem in words.
    #[schema(example = "nothing is published for BABAA")]
    pub detail: String,
    /// Names the request in the server's messages; also in the header `x-request-id`.
    #[schema(example = "0193576e-0a3c-7c53-b2c8-1f9f5d2c7a10")]
    pub request_id: String,
    /// Every field or row that was refused, with status 422.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
    /// Names that look alike, with status 404.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!(["BABA"]))]
    pub near: Vec<String>,
    /// First day that the ledger knows, where the asked day lies before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = Date, required = false)]
    pub first_day: Option<Day>,
}

impl Problem {
    /// A problem of that kind.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let details = Details {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            near: Vec::new(),
            first_day: None,
            headers: Vec::new(),
        };
        match kind.retry_after_seconds() {
            Some(seconds) => Self(Box::new(details)).with_header(header::RETRY_AFTER, HeaderValue::from(seconds)),
            None => Self(Box::new(details)),
        }
    }

    /// 422 with every field that was refused.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let fields: Vec<&str> = errors.iter().take(5).map(|e| e.field.as_str()).collect();
        let more = if errors.len() > 5 { ", ..." } else { "" };
        let mut problem = Self::new(ProblemType::InvalidRequest, format!("refused: {}{more}", fields.join(", ")));
        problem.0.errors = errors;
        problem
    }

    /// Adds names that look alike.
    #[must_use]
    pub fn with_near(mut self, near: Vec<String>) -> Self {
        self.0.near = near;
        self
    }

    /// Adds the first day of the ledger.
    #[must_use]
    pub fn with_first_day(mut self, day: Option<Day>) -> Self {
        self.0.first_day = day;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The kind of problem.
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        self.0.kind
    }

    /// The body for one request.
    #[must_use]
    pub fn body(self, request_id: &str) -> ProblemBody {
        let details = *self.0;
        ProblemBody {
            type_uri: details.kind.uri(),
            title: details.kind.title().into(),
            status: details.kind.status().as_u16(),
            detail: details.detail,
            request_id: request_id.to_owned(),
            errors: details.errors,
            near: details.near,
            first_day: details.first_day,
        }
    }
}

/// A store that does not answer is logged here, once; the client learns only that it may try again.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            tracing::warn!(%error, "the store did not answer");
            return Self::new(
                ProblemType::StoreUnavailable,
                "the store does not answer now; published answers still do",
            );
        }
        tracing::error!(%error, "the store answered with an error");
        Self::new(ProblemType::Internal, "the request failed; the request id names it in the server's messages")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = StatusCode::into_response(self.0.kind.status());
        response.headers_mut().extend(self.0.headers.iter().cloned());
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_names_type_status_and_every_field() {
        let errors = vec![
            FieldError::parameter("horizon", "unknown"),
            FieldError { field: "close".into(), row: Some(3), reason: "missing".into() },
        ];
        let body = serde_json::to_value(Problem::invalid(errors).body("r-1")).unwrap();
        let expected = serde_json::json!({
            "type": "/problems/invalid-request", "title": "Invalid request", "status": 422, "detail": "refused: horizon, close",
            "request_id": "r-1",
            "errors": [{"field": "horizon", "reason": "unknown"}, {"field": "close", "row": 3, "reason": "missing"}]
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_broken_store_says_nothing_about_itself() {
        let away = Problem::from(StoreError::Database(sqlx::Error::PoolTimedOut));
        assert_eq!(away.kind(), ProblemType::StoreUnavailable);
        let broken = Problem::from(StoreError::row("select secret from keys")).body("r");
        assert_eq!(broken.status, 500);
        assert!(!broken.detail.contains("select"));
    }
}

//! The kinds of problems, their stable names, and the page that explains each.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::api::problem::Problem;
use crate::api::tag;

/// Kinds of problems. Names and statuses are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemType {
    /// The address or the body cannot be read at all.
    MalformedRequest,
    /// No key, or one that is unknown, revoked or expired.
    Unauthorized,
    /// The key lacks the scope.
    Forbidden,
    /// There is nothing at that address.
    NotFound,
    /// No instrument of that name.
    UnknownSymbol,
    /// No model of that name.
    UnknownModel,
    /// No job of that name.
    UnknownJob,
    /// The ledger begins later.
    BeforeLedger,
    /// The address knows other methods.
    MethodNotAllowed,
    /// Simulated and real prices never mix.
    SimulatedMarket,
    /// The job has ended.
    JobOver,
    /// The model must not answer.
    ActivationRefused,
    /// The body is too large.
    BodyTooLarge,
    /// The address is too long.
    AddressTooLong,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// A parameter, field or row breaks a rule.
    InvalidRequest,
    /// A defect of the service.
    Internal,
    /// Nothing has been published yet.
    NotPublished,
    /// The store does not answer.
    StoreUnavailable,
    /// Too many requests at once.
    Overloaded,
    /// The request took too long.
    TimedOut,
}

impl ProblemType {
    /// All kinds, by status.
    pub const ALL: [Self; 21] = [
        Self::MalformedRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::UnknownSymbol,
        Self::UnknownModel,
        Self::UnknownJob,
        Self::BeforeLedger,
        Self::MethodNotAllowed,
        Self::SimulatedMarket,
        Self::JobOver,
        Self::ActivationRefused,
        Self::BodyTooLarge,
        Self::AddressTooLong,
        Self::UnsupportedMediaType,
        Self::InvalidRequest,
        Self::Internal,
        Self::NotPublished,
        Self::StoreUnavailable,
        Self::Overloaded,
        Self::TimedOut,
    ];

    /// The status, the stable name, and the title.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MalformedRequest => (StatusCode::BAD_REQUEST, "malformed-request", "Malformed request"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Key missing or not valid"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Key lacks the scope"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::UnknownSymbol => (StatusCode::NOT_FOUND, "unknown-symbol", "Unknown symbol"),
            Self::UnknownModel => (StatusCode::NOT_FOUND, "unknown-model", "Unknown model"),
            Self::UnknownJob => (StatusCode::NOT_FOUND, "unknown-job", "Unknown job"),
            Self::BeforeLedger => (StatusCode::NOT_FOUND, "before-ledger", "Before the ledger begins"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::SimulatedMarket => (StatusCode::CONFLICT, "simulated-market", "Simulated market"),
            Self::JobOver => (StatusCode::CONFLICT, "job-over", "Job is over"),
            Self::ActivationRefused => (StatusCode::CONFLICT, "activation-refused", "Model must not answer"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large"),
            Self::AddressTooLong => (StatusCode::URI_TOO_LONG, "address-too-long", "Address too long"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::InvalidRequest => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::NotPublished => (StatusCode::SERVICE_UNAVAILABLE, "not-published", "Nothing published yet"),
            Self::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "Store unavailable"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Overloaded"),
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timed-out", "Timed out"),
        }
    }

    /// HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The kind of an error that a library formed, which knows only its status.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        Self::ALL.into_iter().find(|kind| kind.status() == status).unwrap_or(if status.is_server_error() {
            Self::Internal
        } else {
            Self::MalformedRequest
        })
    }

    /// Last part of the type's address.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Short title.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// The `type` of the problem: `/problems/{name}`, which this server explains.
    #[must_use]
    pub fn uri(self) -> String {
        format!("/problems/{}", self.name())
    }

    /// Seconds after which to try again; `None` where trying again does not help.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u64> {
        match self {
            Self::NotPublished => Some(10),
            Self::StoreUnavailable | Self::TimedOut => Some(5),
            Self::Overloaded => Some(1),
            _ => None,
        }
    }

    /// What it means and what a client can do.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::MalformedRequest => {
                "The address cannot be decoded, or the body is not the JSON that the operation expects. Nothing was stored."
            }
            Self::Unauthorized => "Send `Authorization: Bearer KEY` with a key made by `forecastd keys create`.",
            Self::Forbidden => "The key is valid but was made without the scope that the operation needs.",
            Self::NotFound => "Nothing lies at this address. `/openapi.json` lists the operations.",
            Self::UnknownSymbol => "No instrument of this name is known here; `near` lists names that look alike.",
            Self::UnknownModel => {
                "No model of this name is kept here; `near` lists names that look alike and `/models` all of them."
            }
            Self::UnknownJob => "No job of this name was ever asked for here; `/jobs` lists all of them.",
            Self::BeforeLedger => {
                "Answers of that day were never published, or never backfilled; `first_day` is the first that can be asked for."
            }
            Self::MethodNotAllowed => "The address exists; the header `Allow` lists its methods.",
            Self::SimulatedMarket => "This store holds a simulated market and takes no real prices.",
            Self::JobOver => "The job has ended, well or not; only one that waits or runs can be cancelled.",
            Self::ActivationRefused => {
                "The model was kept back by its training, belongs to another version of the code, or lost its weights; `detail` says which."
            }
            Self::BodyTooLarge => "The body is larger than accepted. Send it in parts.",
            Self::AddressTooLong => {
                "The address with its query is longer than accepted. Ask for fewer symbols at once."
            }
            Self::UnsupportedMediaType => "Send the body as `application/json`.",
            Self::InvalidRequest => "`errors` lists every parameter, field or row that breaks a rule, with the reason.",
            Self::Internal => "The service failed. The request id names the event in its messages.",
            Self::NotPublished => "The first publication is still being computed. Try again after `Retry-After`.",
            Self::StoreUnavailable => {
                "The store does not answer. Published answers still do. Try again after `Retry-After`."
            }
            Self::Overloaded => "Too many requests are being handled. Try again after `Retry-After`.",
            Self::TimedOut => "The request took too long and was given up. Try again after `Retry-After`.",
        }
    }
}

/// What a kind of problem means.
#[utoipa::path(
    get, path = "/problems/{name}", operation_id = "explain_problem", tag = tag::OPERATION,
    params(("name" = String, Path, description = "Last part of a problem's type", example = "unknown-symbol")),
    responses((status = 200, description = "The explanation", body = String, content_type = "text/html"))
)]
pub async fn explain_problem(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = ProblemType::ALL.into_iter().find(|kind| kind.name() == name);
    let kind = found.ok_or_else(|| Problem::new(ProblemType::NotFound, "no kind of problem has this name"))?;
    let page = maud::html! {
        (maud::DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (kind.title()) } }
            body { h1 { (kind.title()) } p { "Status " (kind.status().as_u16()) "." } p { (kind.meaning()) } }
        }
    };
    Ok(Html(page.into_string()).into_response())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_only_unavailable_answers_ask_to_come_back() {
        let names: BTreeSet<_> = ProblemType::ALL.iter().map(|k| k.name()).collect();
        assert_eq!(names.len(), ProblemType::ALL.len());
        for kind in ProblemType::ALL {
            let unavailable = kind.status() == StatusCode::SERVICE_UNAVAILABLE;
            assert_eq!(kind.retry_after_seconds().is_some(), unavailable, "{kind:?}");
        }
    }
}

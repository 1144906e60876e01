//! The description of the API, made from the code: `/openapi.json`, `/openapi.yaml`, and the file in the repository.

use std::sync::{Arc, LazyLock};

use axum::http::HeaderValue;
use axum::response::Response;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::api::condition::Condition;
use crate::api::problem::{FieldError, ProblemBody};
use crate::api::ready::Ready;
use crate::api::{documented, documented_schemas, router, tag};
use crate::opinion::forecast::Forecast;
use crate::opinion::predictability::Predictability;
use crate::opinion::process::Process;
use crate::opinion::ranking::Ranking;
use crate::opinion::ranks::Ranks;
use crate::opinion::rating::Rating;
use crate::opinion::rating_record::RatingRecord;
use crate::opinion::responses::Responses;
use crate::opinion::served::LedgerReference;
use crate::opinion::signal::Signal;

/// What stands above the operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "forecastd",
        description = "Ratings, signals and best-response rankings from one scenario distribution, kept in a hash-chained \
                       ledger. What cannot be given is null with a reason beside it. Model estimates: not a rating agency's \
                       opinion, not investment advice.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "This server")),
    components(schemas(
        ProblemBody, FieldError, LedgerReference, Signal, Rating, Ranking, Forecast, Ranks, Predictability, Process,
        Responses, RatingRecord
    )),
    modifiers(&KeyScheme, &Tags)
)]
pub struct Description;

struct KeyScheme;

impl Modify for KeyScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(
            "A key made by `forecastd keys create --scope ingest` (to write) or `--scope operate` (for jobs). Reading \
             needs one only where the operator says so."
                .into(),
        );
        openapi.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

struct Tags;

impl Modify for Tags {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let tags = tag::ALL
            .map(|(name, text)| utoipa::openapi::tag::TagBuilder::new().name(name).description(Some(text)).build());
        openapi.tags = Some(tags.into());
    }
}

/// The whole description.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut description = router::documented().into_openapi();
    documented::complete(&mut description);
    documented_schemas::complete(&mut description);
    description
}

/// The description of this API in JSON.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "show_openapi_json", tag = tag::OPERATION,
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"))
)]
pub async fn show_openapi_json(condition: Condition) -> Response {
    condition.respond(&TEXTS.0, HeaderValue::from_static("no-cache"))
}

/// The description of this API in YAML.
#[utoipa::path(
    get, path = "/openapi.yaml", operation_id = "show_openapi_yaml", tag = tag::OPERATION,
    responses((status = 200, description = "OpenAPI 3.1", body = String, content_type = "application/yaml"))
)]
pub async fn show_openapi_yaml(condition: Condition) -> Response {
    condition.respond(&TEXTS.1, HeaderValue::from_static("no-cache"))
}

/// Both texts, written once.
static TEXTS: LazyLock<(Arc<Ready>, Arc<Ready>)> = LazyLock::new(|| {
    let description = openapi();
    // Writing a description that the library itself built does not fail; an empty text would show in every client.
    let json = description.to_json().unwrap_or_default();
    let yaml = description.to_yaml().unwrap_or_default();
    let yaml = Ready::of_type(HeaderValue::from_static("application/yaml"), yaml, None);
    (Arc::new(Ready::json(json, None)), Arc::new(yaml))
});

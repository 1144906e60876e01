//! What all operations share in the description: headers, the answer 304, and every problem they can end in.

use serde_json::json;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use crate::api::problem::{FieldError, MEDIA_TYPE, Problem};
use crate::api::problem_type::ProblemType;

/// Operations whose answers carry validators and may be asked for conditionally.
const CONDITIONAL: [&str; 14] = [
    "find_signal",
    "list_signals",
    "find_rating",
    "list_ratings",
    "find_ranking",
    "list_rankings",
    "list_ranks",
    "find_forecast",
    "list_forecasts",
    "find_prices",
    "find_ledger_entry",
    "show_openapi_json",
    "show_openapi_yaml",
    "show_index",
];

/// Completes every operation.
pub fn complete(description: &mut OpenApi) {
    for item in description.paths.paths.values_mut() {
        for operation in operations(item) {
            let name = operation.operation_id.clone().unwrap_or_default();
            for kind in problems(&name) {
                add_problem(operation, kind);
            }
            if CONDITIONAL.contains(&name.as_str()) {
                add_validators(operation);
            }
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    let text = "Names the request in answers and messages; the client's own is kept when it is short and plain";
                    response.headers.insert("x-request-id".into(), RefOr::T(header(text, text_schema())));
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// The problems in which an operation can end.
fn problems(operation: &str) -> Vec<ProblemType> {
    use ProblemType as P;
    let anywhere = [P::AddressTooLong, P::Internal, P::TimedOut];
    let particular: &[ProblemType] = match operation {
        "find_signal" | "find_rating" | "find_ranking" | "find_forecast" => &[
            P::Unauthorized, P::NotFound, P::UnknownSymbol, P::BeforeLedger, P::InvalidRequest, P::NotPublished, P::StoreUnavailable,
            P::Overloaded,
        ],
        "list_signals" | "list_ratings" | "list_rankings" | "list_forecasts" | "list_ranks" => &[
            P::Unauthorized, P::NotFound, P::BeforeLedger, P::InvalidRequest, P::NotPublished, P::StoreUnavailable, P::Overloaded,
        ],
        "find_instrument" | "find_prices" => &[
            P::MalformedRequest, P::Unauthorized, P::UnknownSymbol, P::InvalidRequest, P::StoreUnavailable, P::Overloaded,
        ],
        "list_instruments" | "list_ledger_entries" => &[P::Unauthorized, P::InvalidRequest, P::StoreUnavailable, P::Overloaded],
        "find_ledger_entry" => &[
            P::MalformedRequest, P::Unauthorized, P::NotFound, P::InvalidRequest, P::StoreUnavailable, P::Overloaded,
        ],
        "find_ledger_head" => &[P::Unauthorized, P::InvalidRequest, P::NotPublished, P::StoreUnavailable, P::Overloaded],
        "post_prices" => &[
            P::MalformedRequest, P::Unauthorized, P::Forbidden, P::SimulatedMarket, P::BodyTooLarge, P::UnsupportedMediaType,
            P::InvalidRequest, P::StoreUnavailable, P::Overloaded,
        ],
        "explain_problem" => &[P::MalformedRequest, P::Unauthorized, P::NotFound],
        "check_health" | "check_readiness" => &[],
        _ => &[P::Unauthorized],
    };
    particular.iter().copied().chain(anywhere).collect()
}

fn add_problem(operation: &mut Operation, kind: ProblemType) {
    let status = kind.status().as_u16().to_string();
    let place = operation.responses.responses.entry(status).or_insert_with(|| RefOr::T(Response::new("")));
    let RefOr::T(response) = place else { return };
    if !response.description.is_empty() {
        response.description.push_str("; or ");
    }
    response.description.push_str(&format!("`{}`: {}", kind.name(), kind.title()));
    let content = response.content.entry(MEDIA_TYPE.into()).or_insert_with(|| {
        RefOr::T(ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build())
    });
    if let RefOr::T(content) = content {
        let example = utoipa::openapi::example::ExampleBuilder::new().value(Some(example(kind))).build();
        content.examples.insert(kind.name().into(), RefOr::T(example));
    }
    if kind.retry_after_seconds().is_some() {
        response.headers.insert("retry-after".into(), RefOr::T(header("Seconds after which to try again", whole_number())));
    }
    if kind == ProblemType::Unauthorized {
        response.headers.insert("www-authenticate".into(), RefOr::T(header("`Bearer`", text_schema())));
    }
}

fn example(kind: ProblemType) -> serde_json::Value {
    let problem = match kind {
        ProblemType::InvalidRequest => {
            Problem::invalid(vec![FieldError::parameter("horizon", "unknown horizon \"3w\"; known are 1w, 4w, 13w, 26w, 52w")])
        }
        other => Problem::new(other, other.meaning()),
    };
    serde_json::to_value(problem.body("0193576e-0a3c-7c53-b2c8-1f9f5d2c7a10")).unwrap_or(json!({}))
}

fn add_validators(operation: &mut Operation) {
    let headers = [
        ("etag", "Strong validator of this encoding; send it as `If-None-Match`"),
        ("last-modified", "Since when the answer is this one"),
        ("cache-control", "How long caches may keep it: until the next scheduled publication"),
        ("vary", "Request headers that change the answer"),
    ];
    let fresh = ResponseBuilder::new().description("The client has the answer already").build();
    operation.responses.responses.insert("304".into(), RefOr::T(fresh));
    for status in ["200", "304"] {
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
            for (name, text) in headers {
                response.headers.insert(name.into(), RefOr::T(header(text, text_schema())));
            }
        }
    }
    let conditions = [("if-none-match", "Entity tags that the client has"), ("if-modified-since", "Date of the answer that the client has")];
    for (name, text) in conditions {
        let parameter = utoipa::openapi::path::ParameterBuilder::new()
            .name(name)
            .parameter_in(utoipa::openapi::path::ParameterIn::Header)
            .description(Some(text))
            .schema(Some(text_schema()))
            .build();
        operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
    }
}

fn header(text: &str, schema: Object) -> Header {
    HeaderBuilder::new().schema(Some(Schema::Object(schema))).description(Some(text)).build()
}

fn text_schema() -> Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}

fn whole_number() -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build()
}

//! What all operations share in the description: headers, the answer 304, and every problem they can end in.

use std::collections::BTreeMap;

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use crate::api::problem::{FieldError, MEDIA_TYPE, Problem};
use crate::api::problem_type::ProblemType;

/// Operations whose answers carry validators and may be asked for conditionally.
const CONDITIONAL: [&str; 29] = [
    "find_signal",
    "list_signals",
    "find_rating",
    "list_ratings",
    "find_rating_record",
    "find_ranking",
    "list_rankings",
    "list_ranks",
    "find_process",
    "find_responses",
    "find_forecast",
    "list_forecasts",
    "find_predictability",
    "list_predictabilities",
    "find_instrument",
    "list_instruments",
    "find_prices",
    "list_ledger_entries",
    "find_ledger_entry",
    "find_ledger_head",
    "find_track_record",
    "find_instrument_track_record",
    "list_models",
    "find_model",
    "list_jobs",
    "find_job",
    "show_openapi_json",
    "show_openapi_yaml",
    "show_index",
];

/// Names and meanings of the headers.
const HEADERS: [(&str, &str); 7] = [
    ("x-request-id", "Names the request in answers and messages; the client's own is kept when it is short and plain"),
    ("etag", "Strong validator of this encoding; send it as `If-None-Match`"),
    ("last-modified", "Since when the answer is this one"),
    ("cache-control", "How long caches may keep it: until the next scheduled publication"),
    ("vary", "Request headers that change the answer"),
    ("retry-after", "Seconds after which to try again"),
    ("www-authenticate", "`Bearer`"),
];
const VALIDATORS: [&str; 4] = ["etag", "last-modified", "cache-control", "vary"];

/// Completes every operation.
pub fn complete(description: &mut OpenApi) {
    let components = description.components.get_or_insert_default();
    for (name, meaning) in HEADERS {
        components.headers.insert(name.into(), RefOr::T(header(name, meaning)));
    }
    for (status, kinds) in by_status(&ProblemType::ALL) {
        components.responses.insert(response_name(status), RefOr::T(problem_response(&kinds)));
    }
    for item in description.paths.paths.values_mut() {
        operations(item).for_each(complete_operation);
    }
}

fn complete_operation(operation: &mut Operation) {
    let name = operation.operation_id.clone().unwrap_or_default();
    if CONDITIONAL.contains(&name.as_str()) {
        add_validators(operation);
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            add_headers(response, &["x-request-id"]);
        }
    }
    for status in by_status(&problems(&name)).into_keys() {
        let reference = RefOr::Ref(Ref::from_response_name(response_name(status)));
        operation.responses.responses.entry(status.to_string()).or_insert(reference);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// The problems in which an operation can end.
fn problems(operation: &str) -> Vec<ProblemType> {
    use ProblemType as P;
    let particular: &[ProblemType] = match operation {
        "check_health" | "check_readiness" => return vec![P::AddressTooLong, P::Internal],
        "show_openapi_json" | "show_openapi_yaml" | "show_index" => &[],
        "explain_problem" => &[P::MalformedRequest, P::NotFound],
        "list_instruments" | "list_ledger_entries" | "find_ledger_head" | "list_models" | "find_track_record" => {
            &[P::InvalidRequest]
        }
        "find_instrument" | "find_prices" | "find_ledger_entry" | "find_model" | "find_instrument_track_record" => {
            &[P::MalformedRequest, P::NotFound, P::InvalidRequest]
        }
        "list_jobs" => &[P::Forbidden, P::InvalidRequest],
        "find_job" => &[P::MalformedRequest, P::Forbidden, P::UnknownJob, P::InvalidRequest],
        "cancel_job" => &[P::MalformedRequest, P::Forbidden, P::UnknownJob, P::JobOver, P::InvalidRequest],
        "ask_for_job" => {
            &[P::MalformedRequest, P::Forbidden, P::BodyTooLarge, P::UnsupportedMediaType, P::InvalidRequest]
        }
        "post_prices" => &[
            P::MalformedRequest,
            P::Forbidden,
            P::SimulatedMarket,
            P::BodyTooLarge,
            P::UnsupportedMediaType,
            P::InvalidRequest,
        ],
        "activate_model" => &[
            P::MalformedRequest,
            P::Forbidden,
            P::UnknownModel,
            P::ActivationRefused,
            P::BodyTooLarge,
            P::UnsupportedMediaType,
            P::InvalidRequest,
        ],
        _ => &[P::NotFound, P::InvalidRequest],
    };
    let anywhere = [P::Unauthorized, P::AddressTooLong, P::Internal, P::TimedOut];
    particular.iter().copied().chain(anywhere).collect()
}

fn by_status(kinds: &[ProblemType]) -> BTreeMap<u16, Vec<ProblemType>> {
    let mut grouped: BTreeMap<u16, Vec<ProblemType>> = BTreeMap::new();
    for kind in kinds {
        grouped.entry(kind.status().as_u16()).or_default().push(*kind);
    }
    grouped
}

fn response_name(status: u16) -> String {
    format!("Problem{status}")
}

fn problem_response(kinds: &[ProblemType]) -> Response {
    let meanings: Vec<String> = kinds.iter().map(|kind| format!("`{}`: {}", kind.name(), kind.meaning())).collect();
    let examples = kinds.iter().map(|kind| {
        let value = utoipa::openapi::example::ExampleBuilder::new().summary(kind.title()).value(Some(example(*kind)));
        (kind.name(), value.build())
    });
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples);
    let mut response =
        ResponseBuilder::new().description(meanings.join("\n\n")).content(MEDIA_TYPE, content.build()).build();
    add_headers(&mut response, &["x-request-id"]);
    if kinds.iter().any(|kind| kind.retry_after_seconds().is_some()) {
        add_headers(&mut response, &["retry-after"]);
    }
    if kinds.contains(&ProblemType::Unauthorized) {
        add_headers(&mut response, &["www-authenticate"]);
    }
    response
}

fn example(kind: ProblemType) -> serde_json::Value {
    let problem = match kind {
        ProblemType::InvalidRequest => {
            let reason = "unknown horizon \"3w\"; known are 1w, 4w, 13w, 26w, 52w";
            Problem::invalid(vec![FieldError::parameter("horizon", reason)])
        }
        other => Problem::new(other, other.meaning()),
    };
    serde_json::to_value(problem.body("0193576e-0a3c-7c53-b2c8-1f9f5d2c7a10")).unwrap_or_default()
}

fn add_validators(operation: &mut Operation) {
    let unchanged = ResponseBuilder::new().description("The client has the answer already").build();
    operation.responses.responses.insert("304".into(), RefOr::T(unchanged));
    for status in ["200", "304"] {
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
            add_headers(response, &VALIDATORS);
        }
    }
    let asked = [
        ("if-none-match", "Entity tags that the client has"),
        ("if-modified-since", "Date of the answer that the client has; `if-none-match` decides before it"),
    ];
    for (name, meaning) in asked {
        let schema = ObjectBuilder::new().schema_type(Type::String).build();
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).description(Some(meaning));
        operation.parameters.get_or_insert_default().push(RefOr::T(parameter.schema(Some(schema)).build()));
    }
}

fn add_headers(response: &mut Response, names: &[&str]) {
    for name in names {
        let reference = RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
        response.headers.insert((*name).to_owned(), reference);
    }
}

fn header(name: &str, meaning: &str) -> Header {
    let of_type = if name == "retry-after" { Type::Integer } else { Type::String };
    let schema = ObjectBuilder::new().schema_type(of_type).build();
    HeaderBuilder::new().schema(Some(Schema::Object(schema))).description(Some(meaning)).build()
}

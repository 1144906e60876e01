//! The body and the headers of `POST /jobs`, read field by field so that everything that is wrong is named at once.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use crate::api::posted_rows::malformed;
use crate::api::problem::{FieldError, Problem};
use crate::store::arguments::JobArguments;
use crate::store::kinds::JobKind;

/// Names a request, so that sending it again asks for nothing new.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Longer ones are refused.
const IDEMPOTENCY_KEY_MAX_CHARS: usize = 255;

/// Kinds that can be asked for over HTTP. An import reads files of the machine that runs it, so it is not among them.
pub const KINDS: [JobKind; 6] =
    [JobKind::Publish, JobKind::Score, JobKind::Drift, JobKind::Train, JobKind::Prune, JobKind::Backfill];

/// A checked request.
#[derive(Debug, PartialEq)]
pub struct Posted {
    /// What is to be done.
    pub arguments: JobArguments,
    /// What the client calls its request.
    pub idempotency_key: Option<String>,
}

/// Reads and checks a request.
///
/// # Errors
/// 400 when the body is no JSON object, 422 naming every bad field.
pub fn read(headers: &HeaderMap, bytes: &[u8]) -> Result<Posted, Problem> {
    let body: Map<String, Value> = serde_json::from_slice(bytes).map_err(malformed)?;
    let mut errors = Vec::new();
    let idempotency_key = idempotency_key(headers).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    for name in body.keys().filter(|name| !["kind", "arguments"].contains(&name.as_str())) {
        let short: String = name.chars().take(40).collect();
        errors.push(FieldError::parameter(short, "is not known; known are kind, arguments"));
    }
    let kind = kind(body.get("kind")).map_err(|reason| errors.push(FieldError::parameter("kind", reason))).ok();
    let nothing = Map::new();
    let given = match body.get("arguments") {
        None | Some(Value::Null) => Some(&nothing),
        Some(Value::Object(given)) => Some(given),
        Some(_) => {
            errors.push(FieldError::parameter("arguments", "must be an object"));
            None
        }
    };
    let arguments = kind.zip(given).and_then(|(kind, given)| {
        let read = JobArguments::read(kind, given);
        read.map_err(|refused| errors.extend(refused.into_iter().map(argument_error))).ok()
    });
    match arguments {
        Some(arguments) if errors.is_empty() => Ok(Posted { arguments, idempotency_key }),
        _ => Err(Problem::invalid(errors)),
    }
}

fn argument_error(error: crate::store::arguments::ArgumentError) -> FieldError {
    FieldError::parameter(format!("arguments.{}", error.name), error.reason)
}

fn kind(given: Option<&Value>) -> Result<JobKind, String> {
    let known = || KINDS.map(JobKind::as_str).join(", ");
    match given {
        None | Some(Value::Null) => Err(format!("is missing; known are {}", known())),
        Some(Value::String(text)) => match text.parse() {
            Ok(JobKind::Import) => {
                Err(format!("import reads files of the server and is asked for there; others are {}", known()))
            }
            Ok(kind) => Ok(kind),
            Err(_) => Err(format!("is no kind of job; known are {}", known())),
        },
        Some(_) => Err("must be a text".into()),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, FieldError> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(first), None) = (given.next(), given.next()) else {
        let repeated = headers.get_all(IDEMPOTENCY_KEY).iter().count() > 1;
        return if repeated { Err(refused_key("is given more than once")) } else { Ok(None) };
    };
    let text = first.to_str().ok().map(str::trim);
    let fits = text.filter(|text| (1..=IDEMPOTENCY_KEY_MAX_CHARS).contains(&text.len()));
    fits.map(|text| Some(text.to_owned())).ok_or_else(|| refused_key("must hold 1 to 255 printable ASCII characters"))
}

fn refused_key(reason: &str) -> FieldError {
    FieldError::parameter("Idempotency-Key", reason)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::store::arguments::TrainArguments;

    fn refused(body: &str) -> Vec<(String, String)> {
        let problem = read(&HeaderMap::new(), body.as_bytes()).unwrap_err().body("r");
        assert!(problem.status == 422 || problem.errors.is_empty(), "{body}");
        problem.errors.into_iter().map(|e| (e.field, e.reason)).collect()
    }

    #[test]
    fn a_good_body_is_read() {
        for body in [json!({"kind": "train"}), json!({"kind": "train", "arguments": null})] {
            let posted = read(&HeaderMap::new(), body.to_string().as_bytes()).unwrap();
            assert_eq!(posted.arguments, JobArguments::Train(TrainArguments { walk: false }));
        }
        for kind in KINDS {
            let arguments = match kind {
                JobKind::Backfill => json!({"from": "2020-01-02", "to": "2020-03-02"}),
                _ => json!({}),
            };
            let body = json!({"kind": kind.as_str(), "arguments": arguments}).to_string();
            assert_eq!(read(&HeaderMap::new(), body.as_bytes()).unwrap().arguments.kind(), kind);
        }
    }

    #[test]
    fn every_bad_field_is_named_with_what_is_allowed() {
        let body = r#"{"kind":"fetch","color":"red","arguments":[]}"#;
        let fields: Vec<String> = refused(body).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["color", "kind", "arguments"]);
        let known = "known are publish, score, drift, train, prune, backfill";
        assert!(refused(body)[1].1.ends_with(known), "{:?}", refused(body));
        assert_eq!(refused("{}"), [("kind".to_owned(), format!("is missing; {known}"))]);
        assert!(refused(r#"{"kind":"import"}"#)[0].1.starts_with("import reads files of the server"));
        let arguments = refused(r#"{"kind":"train","arguments":{"walk":"yes","members":8}}"#);
        let named: Vec<&str> = arguments.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(named, ["arguments.members", "arguments.walk"]);
        assert!(arguments[0].1.contains("known are walk"));
        for body in ["", "[]", "7", "{\"kind\":"] {
            assert!(refused(body).is_empty(), "{body} is answered 400");
        }
    }

    #[test]
    fn a_request_names_itself_once_and_shortly() {
        let named = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
            }
            read(&headers, br#"{"kind":"score"}"#).map(|posted| posted.idempotency_key)
        };
        assert_eq!(named(&[]).unwrap(), None);
        assert_eq!(named(&[b"nightly-1"]).unwrap().as_deref(), Some("nightly-1"));
        let long = [b'x'; 256];
        for values in [&[&b"a"[..], b"b"][..], &[b""], &[b"caf\xe9"], &[&long]] {
            let problem = named(values).unwrap_err().body("r");
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (422, "Idempotency-Key"));
        }
    }
}

//! `/jobs`: asking for work, seeing how it goes, cancelling it. The work itself is done elsewhere.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use chrono::Utc;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::asked::{PAGE_DEFAULT, PAGE_MAX};
use crate::api::auth::Scope;
use crate::api::condition::Condition;
use crate::api::job_answers::{AskedJob, Existing, JobAnswer, JobPage, SummaryAnswer};
use crate::api::parameters::{self, Parameters};
use crate::api::posted_job;
use crate::api::posting::is_json;
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_type::ProblemType;
use crate::api::state::AppState;
use crate::api::tag;
use crate::store::asking::{Asked, Asking, ask_once, slot_of_key};
use crate::store::jobs::{self, JobRow, Wanted};
use crate::store::keys::StoredKey;
use crate::store::kinds::{JobKind, STATES};

/// Larger bodies are refused.
pub const BODY_MAX_BYTES: usize = 16 * 1024;

/// A job to ask for.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"kind": "train", "arguments": {"walk": false}}))]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct JobToPost {
    /// What is to be done.
    #[schema(value_type = String, example = "train", pattern = "^(publish|score|drift|train|prune|backfill)$")]
    kind: String,
    /// What it is given. `publish`: `again` (publish also when nothing new was recorded). `train`: `walk` (train missing
    /// folds of the past first). `backfill`: `from` and `to` (days), `every` and `retrain_every` (sessions). `prune`: `keep`
    /// (newest models to keep in any case). `score` and `drift` take nothing.
    #[schema(value_type = Option<Object>, example = json!({"walk": false}))]
    arguments: Option<Map<String, Value>>,
}

/// A request with a key for operating. Checked before the body is read.
pub struct MayOperate(pub StoredKey);

impl FromRequestParts<AppState> for MayOperate {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        state.keys.require(&parts.headers, Scope::Operate).await.map(Self)
    }
}

/// Asks for a job. It is done by a worker, soon; its address tells how it goes.
///
/// Work that was asked for already is not done twice: a job of the same kind and arguments that waits (of `train` and
/// `backfill` also one that runs) is answered, and `existing` says so. With an `Idempotency-Key`, sending the same request
/// again gives the job that it gave the first time, also when that is over.
#[utoipa::path(
    post, path = "/jobs", operation_id = "ask_for_job", tag = tag::OPERATION,
    params((
        "idempotency-key" = Option<String>, Header, example = "retrain-2024-09-30",
        description = "Names the request among those of this key, 1 to 255 characters: sent again, it asks for nothing new; \
                       sent with another body it is refused with 422"
    )),
    request_body(content = JobToPost, description = "The job, at most 16 KiB"), security(("key" = ["operate"])),
    responses(
        (status = 202, description = "A new job", body = AskedJob, headers(("location" = String, description = "Address of the job"))),
        (status = 200, description = "A job that was there already", body = AskedJob, headers(("location" = String, description = "Address of the job")))
    )
)]
pub async fn ask_for_job(
    State(state): State<AppState>,
    MayOperate(key): MayOperate,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    if !is_json(&headers) {
        return Err(Problem::new(ProblemType::UnsupportedMediaType, "send application/json"));
    }
    let posted = posted_job::read(&headers, &body.map_err(unread)?)?;
    let slot = posted.idempotency_key.map(|text| slot_of_key(key.key_id, &text));
    let reason = format!("asked over HTTP with the key {}", key.name);
    let (job, existing) = match ask_once(&state.pool, &Asking { arguments: posted.arguments, slot, reason }).await? {
        Asked::Made(job) => (job, None),
        Asked::SameRequest(job) => (job, Some(Existing::SameRequest)),
        Asked::SameWork(job) => (job, Some(Existing::SameWork)),
        Asked::SlotTaken(job) => return Err(other_request(&job)),
    };
    let status = if existing.is_none() { StatusCode::ACCEPTED } else { StatusCode::OK };
    let location = AppendHeaders([(header::LOCATION, format!("/jobs/{}", job.job_id))]);
    let job = with_attempts(&state, *job).await?;
    Ok((status, location, Json(AskedJob { job, existing })).into_response())
}

/// Documentation of the parameters of a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct JobPageParameters {
    /// Only jobs of that kind.
    #[param(example = "train")]
    kind: Option<String>,
    /// Only jobs in that state.
    #[param(example = "failed")]
    state: Option<String>,
    /// At most so many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Continue where the page before ended: its `next`.
    #[param(example = "0193576e-0a3c-7c53-b2c8-1f9f5d2c7a10")]
    cursor: Option<Uuid>,
}

/// Jobs, newest first.
#[utoipa::path(
    get, path = "/jobs", operation_id = "list_jobs", tag = tag::OPERATION, params(JobPageParameters),
    security(("key" = ["operate"])), responses((status = 200, description = "A page of jobs", body = JobPage))
)]
pub async fn list_jobs(
    State(state): State<AppState>,
    _: MayOperate,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &["kind", "state", "limit", "cursor"]);
    let limit =
        parameters.take("limit", |t| parameters::integer(t, 1..=PAGE_MAX as i64)).unwrap_or(PAGE_DEFAULT as i64);
    let wanted = Wanted {
        kind: parameters.take("kind", str::parse::<JobKind>).map(|kind| kind.to_string()),
        state: parameters.take("state", known_state),
        before: parameters.take("cursor", |t| t.parse::<Uuid>().map_err(|_| "is the next of no page")),
    };
    parameters.finish()?;
    // One more than asked tells whether another page follows.
    let mut rows = jobs::list(&state.pool, &wanted, limit + 1).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(PAGE_DEFAULT));
    let next = rows.last().filter(|_| more).map(|row| row.job_id);
    let now = Utc::now();
    let items = rows.into_iter().map(|row| SummaryAnswer::of(row, now)).collect();
    condition.respond_json(&JobPage { items, next }, None)
}

/// One job: what was asked for, how far it is, how each run ended.
#[utoipa::path(
    get, path = "/jobs/{id}", operation_id = "find_job", tag = tag::OPERATION, security(("key" = ["operate"])),
    params(("id" = Uuid, Path, description = "Name of the job", example = "0193576e-0a3c-7c53-b2c8-1f9f5d2c7a10")),
    responses((status = 200, description = "The job", body = JobAnswer))
)]
pub async fn find_job(
    State(state): State<AppState>,
    _: MayOperate,
    Path(id): Path<String>,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    let row = jobs::find(&state.pool, named(&id)?).await?.ok_or_else(|| unknown(&id))?;
    condition.respond_json(&with_attempts(&state, row).await?, None)
}

/// Cancels a job: one that waits at once, one that runs as soon as its worker hears of it. What it did has no effect then.
#[utoipa::path(
    delete, path = "/jobs/{id}", operation_id = "cancel_job", tag = tag::OPERATION, security(("key" = ["operate"])),
    params(("id" = Uuid, Path, description = "Name of the job", example = "0193576e-0a3c-7c53-b2c8-1f9f5d2c7a10")),
    responses(
        (status = 200, description = "The job is cancelled", body = JobAnswer),
        (status = 202, description = "The job runs and will be cancelled", body = JobAnswer)
    )
)]
pub async fn cancel_job(
    State(state): State<AppState>,
    _: MayOperate,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    let row = jobs::cancel(&state.pool, named(&id)?).await?.ok_or_else(|| unknown(&id))?;
    let status = match row.state.as_str() {
        "cancelled" => StatusCode::OK,
        "running" => StatusCode::ACCEPTED,
        over => return Err(Problem::new(ProblemType::JobOver, format!("the job has ended as {over}"))),
    };
    Ok((status, Json(with_attempts(&state, row).await?)).into_response())
}

async fn with_attempts(state: &AppState, row: JobRow) -> Result<JobAnswer, Problem> {
    let attempts = jobs::attempts(&state.pool, row.job_id).await?;
    Ok(JobAnswer::of(row, attempts, Utc::now()))
}

fn known_state(text: &str) -> Result<String, String> {
    let found = STATES.iter().find(|state| **state == text);
    found.map(|state| (*state).to_owned()).ok_or_else(|| format!("is no state; known are {}", STATES.join(", ")))
}

fn named(id: &str) -> Result<Uuid, Problem> {
    id.parse().map_err(|_| unknown(id))
}

fn unknown(id: &str) -> Problem {
    let short: String = id.chars().take(64).collect();
    Problem::new(ProblemType::UnknownJob, format!("no job is named {short}"))
}

fn other_request(job: &JobRow) -> Problem {
    let reason = format!("was used for another request, which asked for {} with {}", job.kind, job.arguments);
    Problem::invalid(vec![FieldError::parameter("Idempotency-Key", reason)])
}

fn unread(rejection: BytesRejection) -> Problem {
    if rejection.into_response().status() == ProblemType::BodyTooLarge.status() {
        return Problem::new(ProblemType::BodyTooLarge, format!("at most {BODY_MAX_BYTES} bytes"));
    }
    Problem::new(ProblemType::MalformedRequest, "the body broke off")
}

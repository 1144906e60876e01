//! `POST /prices`: all or nothing, and a second time changes nothing.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::auth::Scope;
use crate::api::parameters::Parameters;
use crate::api::posted_rows;
use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::api::state::AppState;
use crate::api::tag;
use crate::clock;
use crate::market::calendar;
use crate::store::prices;

/// Larger bodies are refused.
pub const BODY_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Rows to record.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"source": "desk", "rows": [{"symbol": "BABA", "day": "2024-09-30", "close": 106.12}]}))]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct PricesToPost {
    /// Name of the source, 1 to 64 printable characters; `api` unless given.
    #[schema(min_length = 1, max_length = 64, example = "desk")]
    source: Option<String>,
    /// Rows in any order, one a symbol and day.
    #[schema(min_items = 1)]
    rows: Vec<RowToPost>,
}

/// A session of one instrument. Prices are raw, finite and above zero, with low <= open, close <= high.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct RowToPost {
    /// Symbol in any case; a new one becomes a new instrument.
    #[schema(pattern = "^[A-Za-z0-9.^=_-]{1,24}$", example = "BABA")]
    symbol: String,
    /// Session, not in the future.
    #[schema(format = Date, example = "2024-09-30")]
    day: String,
    /// First price.
    #[schema(exclusive_minimum = 0)]
    open: Option<f64>,
    /// Highest price.
    #[schema(exclusive_minimum = 0)]
    high: Option<f64>,
    /// Lowest price.
    #[schema(exclusive_minimum = 0)]
    low: Option<f64>,
    /// Last price.
    #[schema(exclusive_minimum = 0, example = 106.12)]
    close: f64,
    /// Shares traded.
    #[schema(minimum = 0)]
    volume: Option<f64>,
    /// New shares for one old before this session; 1 unless given.
    #[schema(exclusive_minimum = 0)]
    split: Option<f64>,
    /// Cash per share held at the previous close; 0 unless given.
    #[schema(minimum = 0)]
    dividend: Option<f64>,
}

/// What recording did, in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct PostAnswer {
    /// New sessions.
    #[schema(example = 1)]
    pub inserted: u64,
    /// Sessions that had other values before; these are kept as well.
    #[schema(example = 0)]
    pub revised: u64,
    /// Sessions that were there already.
    #[schema(example = 0)]
    pub unchanged: u64,
}

/// A request with a key for posting. Checked before the body is read.
pub struct MayIngest;

impl FromRequestParts<AppState> for MayIngest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        state.keys.require(&parts.headers, Scope::Ingest).await.map(|_| Self)
    }
}

/// Records prices, all or nothing; the same rows again change nothing.
#[utoipa::path(
    post, path = "/prices", operation_id = "post_prices", tag = tag::HISTORY,
    request_body(content = PricesToPost, description = "The rows, at most 8 MiB"), security(("key" = ["ingest"])),
    responses((status = 200, description = "What recording did", body = PostAnswer))
)]
pub async fn post_prices(
    State(state): State<AppState>,
    _: MayIngest,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<PostAnswer>, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    if state.settings.simulated {
        return Err(Problem::new(ProblemType::SimulatedMarket, "this store holds a simulated market"));
    }
    if !is_json(&headers) {
        return Err(Problem::new(ProblemType::UnsupportedMediaType, "send application/json"));
    }
    let posted = posted_rows::read(&body.map_err(unread)?, calendar::newest_closed_session(clock::now()))?;
    let recorded = prices::post(&state.pool, &posted.source, posted.rows).await?;
    Ok(Json(PostAnswer { inserted: recorded.inserted, revised: recorded.revised, unchanged: recorded.unchanged }))
}

/// Whether a body says that it is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Why a body could not be read.
pub(crate) fn unread(rejection: BytesRejection) -> Problem {
    if rejection.into_response().status() == ProblemType::BodyTooLarge.status() {
        return Problem::new(ProblemType::BodyTooLarge, format!("at most {BODY_MAX_BYTES} bytes"));
    }
    Problem::new(ProblemType::MalformedRequest, "the body broke off")
}

//! `POST /models/{id}/activate`: an operator puts a stored model in force, and the next publication says so.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::auth::Scope;
use crate::api::models::unknown;
use crate::api::parameters::Parameters;
use crate::api::posting::{is_json, unread};
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_type::ProblemType;
use crate::api::state::AppState;
use crate::api::tag;
use crate::opinion::version::{CODE_VERSION, STATE_VERSION};
use crate::store::activation::{self, Activation, Decision};
use crate::store::keys::StoredKey;
use crate::store::promotions::Promotion;

/// Longer reasons are refused.
pub const REASON_MAX_CHARS: usize = 500;

/// Why a model is to be put in force.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivationToPost {
    /// Why, 1 to 500 printable characters. The answers of the next publications carry it in `provenance.promotion`.
    #[schema(min_length = 1, max_length = 500, example = "the volatility of the new model jumps")]
    reason: String,
    /// Also a model that its training kept back; `false` unless given.
    #[serde(default)]
    force: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ActivationAnswer {
    /// The model in force.
    #[schema(example = "2024-09-30.3f9c12ab")]
    pub id: String,
    /// Whether this request changed anything; a model that is in force already stays so.
    pub changed: bool,
    /// The record of the change; `null` where nothing changed.
    pub promotion: Option<PromotionAnswer>,
    /// The publication that was asked for; `null` where nothing changed.
    pub job_id: Option<Uuid>,
}

/// How a model was put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ModelPromotion)]
pub struct PromotionAnswer {
    /// Its place among all promotions.
    #[schema(example = 12)]
    pub id: i64,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub at: DateTime<Utc>,
    /// `training`, `command` or `operator NAME`, with the name of the key.
    #[schema(example = "operator desk")]
    pub by: String,
    /// Why.
    #[schema(example = "the volatility of the new model jumps")]
    pub reason: String,
    /// Although its training had kept it back.
    pub forced: bool,
    /// What was in force before; `null` where nothing was.
    pub previous: Option<String>,
}

impl From<Promotion> for PromotionAnswer {
    fn from(p: Promotion) -> Self {
        Self {
            id: p.promotion_id,
            at: p.promoted_at,
            by: p.by,
            reason: p.reason,
            forced: p.forced,
            previous: p.previous_model_id,
        }
    }
}

/// A request with a key for operating. Checked before the body is read.
pub struct Operator(StoredKey);

impl FromRequestParts<AppState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        state.keys.require(&parts.headers, Scope::Operate).await.map(Self)
    }
}

/// Puts a model in force and asks for a publication from it.
///
/// Refused for a model that its training kept back, unless forced, and always for one of another version of the code or
/// without weights. Naming the model before the present one takes the last promotion back.
#[utoipa::path(
    post, path = "/models/{id}/activate", operation_id = "activate_model", tag = tag::OPERATION,
    params(("id" = String, Path, description = "Name of the model", example = "2024-09-30.3f9c12ab")),
    request_body(content = ActivationToPost, description = "The reason"), security(("key" = ["operate"])),
    responses((status = 200, description = "The model is in force", body = ActivationAnswer))
)]
pub async fn activate_model(
    State(state): State<AppState>,
    Operator(key): Operator,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ActivationAnswer>, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    if !is_json(&headers) {
        return Err(Problem::new(ProblemType::UnsupportedMediaType, "send application/json"));
    }
    let asked = read(&body.map_err(unread)?)?;
    let decision = Decision {
        by: &format!("operator {}", key.name),
        reason: &asked.reason,
        force: asked.force,
        code_version: CODE_VERSION,
        state_version: STATE_VERSION,
    };
    match activation::activate(&state.pool, &id, &decision).await? {
        Activation::Unknown => Err(unknown(&state, &id).await?),
        Activation::Refused(why) => Err(Problem::new(ProblemType::ActivationRefused, why)),
        Activation::InForce => Ok(Json(ActivationAnswer { id, changed: false, promotion: None, job_id: None })),
        Activation::Promoted { promotion, job_id } => {
            Ok(Json(ActivationAnswer { id, changed: true, promotion: Some(promotion.into()), job_id }))
        }
    }
}

fn read(bytes: &[u8]) -> Result<ActivationToPost, Problem> {
    let asked: ActivationToPost = serde_json::from_slice(bytes).map_err(|error| {
        let detail: String = format!("the body cannot be read: {error}").chars().take(200).collect();
        Problem::new(ProblemType::MalformedRequest, detail)
    })?;
    if is_reason(&asked.reason) {
        return Ok(asked);
    }
    Err(Problem::invalid(vec![FieldError::parameter("reason", "must hold 1 to 500 printable characters")]))
}

/// Whether a text may stand as a reason.
#[must_use]
pub fn is_reason(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= REASON_MAX_CHARS && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_given_and_printable() {
        let asked = read(br#"{"reason": "it jumps"}"#).unwrap();
        assert_eq!((asked.reason.as_str(), asked.force), ("it jumps", false));
        assert!(read(br#"{"reason": "it jumps", "force": true}"#).unwrap().force);
        for (body, kind) in [
            (&b"{"[..], ProblemType::MalformedRequest),
            (br#"{"force": true}"#, ProblemType::MalformedRequest),
            (br#"{"reason": "x", "forced": true}"#, ProblemType::MalformedRequest),
            (br#"{"reason": " "}"#, ProblemType::InvalidRequest),
            (br#"{"reason": "a\nb"}"#, ProblemType::InvalidRequest),
        ] {
            assert_eq!(read(body).unwrap_err().kind(), kind, "{}", String::from_utf8_lossy(body));
        }
        assert!(is_reason(&"x".repeat(500)) && !is_reason(&"x".repeat(501)));
    }
}

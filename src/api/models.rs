//! `GET /models` and `GET /models/{id}`: what was trained, when, from what, and who holds which seat by which numbers.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};

use crate::api::asked::{PAGE_DEFAULT, PAGE_MAX};
use crate::api::condition::Condition;
use crate::api::lineage::LineageAnswer;
use crate::api::model_scores::{
    Canary, HeadShare, HorizonAttribution, HorizonGate, NewWeights, Parts, WalkedRefit, all_passed,
};
use crate::api::near::near_names;
use crate::api::parameters::{self, Parameters};
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_type::ProblemType;
use crate::api::state::AppState;
use crate::api::tag;
use crate::market::bar::Day;
use crate::opinion::version::CODE_VERSION;
use crate::store::StoreError;
use crate::store::lineage;
use crate::store::models::{self, ModelRecord, ModelSummary};

/// Models whose names are compared with an unknown one.
const NEAR_AMONG: i64 = 1000;

/// What a list says of a model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelSummary)]
pub struct SummaryAnswer {
    /// Name: the last session of the training rows and a hash of the model. Opinions carry it as `model_id`.
    #[schema(example = "2024-09-30.3f9c12ab")]
    pub id: String,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: DateTime<Utc>,
    /// Last session of the training rows.
    #[schema(value_type = String, format = Date, example = "2024-09-30")]
    pub trained_until: Day,
    /// It answers the next publication.
    pub in_force: bool,
    /// Whether it holds a network; else only fitted benchmarks.
    pub network: bool,
    /// Why its training kept it from answering: a canary died, its weights are worse than the last ones, folds of its record
    /// are missing, or another training was faster; else `null`. An operator may have forced it since.
    #[schema(example = "canary shuffled_targets: trained on shuffled targets, the best of 31 heads was mean@1w")]
    pub kept_back: Option<String>,
    /// Whether all canaries of its training lived; one that died keeps a model from being promoted.
    pub canaries_passed: Option<bool>,
    /// Seed of the training.
    pub seed: i64,
    /// SHA-256 of the training rows, lowercase hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub data_hash: String,
    /// Version of the code that trained it.
    #[schema(example = "0.1.0+2")]
    pub code_version: String,
    /// Why a field is `null`, by its name.
    pub reasons: BTreeMap<String, String>,
}

/// A page of models.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelPage {
    /// Models, newest first.
    pub items: Vec<SummaryAnswer>,
    /// The `cursor` of the next page; `null` on the last.
    #[schema(example = "2024-09-30.3f9c12ab")]
    pub next: Option<String>,
}

/// A model: how it was made, how it did, and who holds which seat because of that. Its weights stay in the store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
pub struct ModelAnswer {
    /// Name and circumstances.
    #[serde(flatten)]
    pub summary: SummaryAnswer,
    /// Parent, promotions, and the entries of the ledger that name it.
    pub lineage: LineageAnswer,
    /// When a training last put it in force.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_trained_at: Option<DateTime<Utc>>,
    /// Rows that the world could not know by then were left out.
    #[schema(value_type = String, format = DateTime)]
    pub known_until: DateTime<Utc>,
    /// Rows that this store did not have by then were left out.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_until: DateTime<Utc>,
    /// SHA-256 of weights and state, lowercase hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub sha256: String,
    /// SHA-256 of the weights alone, lowercase hexadecimal, as in the `provenance` of opinions.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub model_sha256: Option<String>,
    /// Every hyperparameter and setting.
    #[schema(value_type = Object)]
    pub recipe: Value,
    /// Why there is no network; `null` where there is one.
    #[schema(example = "insufficient_history")]
    pub without_network: Option<String>,
    /// Who holds which seat, horizon by horizon and head by head, with the numbers that decided.
    #[schema(value_type = Option<Vec<HorizonGate>>)]
    pub gate: Option<Value>,
    /// Trials with a known outcome.
    #[schema(value_type = Option<Vec<Canary>>)]
    pub canaries: Option<Value>,
    /// How much of each head is believed, by its name, such as `volatility@4w`.
    #[schema(value_type = Option<BTreeMap<String, HeadShare>>)]
    pub shares: Option<Value>,
    /// Which groups of factors matter for the volatility, by horizon.
    #[schema(value_type = Option<Vec<HorizonAttribution>>)]
    pub attribution: Option<Value>,
    /// The new weights of every seated head against those before them.
    #[schema(value_type = Option<Vec<NewWeights>>)]
    pub non_inferiority: Option<Value>,
    /// The walk through the past: what the gate said at each refit.
    #[schema(value_type = Option<Vec<WalkedRefit>>)]
    pub walk: Option<Value>,
    /// Losses, epochs and times of the training.
    #[schema(value_type = Option<Object>)]
    pub training: Option<Value>,
    /// What else was recorded.
    #[schema(value_type = Object)]
    pub scores: Map<String, Value>,
}

/// Documentation of the parameters of a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct ModelPageParameters {
    /// At most so many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Continue where the page before ended: its `next`.
    #[param(example = "2024-09-30.3f9c12ab")]
    cursor: Option<String>,
}

/// The models of this store, newest first.
#[utoipa::path(
    get, path = "/models", operation_id = "list_models", tag = tag::OPERATION, params(ModelPageParameters),
    responses((status = 200, description = "A page of models", body = ModelPage))
)]
pub async fn list_models(State(state): State<AppState>, uri: Uri, condition: Condition) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit =
        parameters.take("limit", |t| parameters::integer(t, 1..=PAGE_MAX as i64)).unwrap_or(PAGE_DEFAULT as i64);
    let cursor = parameters.take("cursor", |t| Ok::<_, String>(t.to_owned()));
    parameters.finish()?;
    if let Some(name) = &cursor
        && models::record(&state.pool, name, CODE_VERSION).await?.is_none()
    {
        return Err(Problem::invalid(vec![FieldError::parameter("cursor", "names no model")]));
    }
    // One more than asked tells whether another page follows.
    let mut rows = models::summaries(&state.pool, cursor.as_deref(), limit + 1, CODE_VERSION).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(PAGE_DEFAULT));
    let next = rows.last().filter(|_| more).map(|row| row.model_id.clone());
    condition.respond_json(&ModelPage { items: rows.into_iter().map(summarized).collect(), next }, None)
}

/// One model: recipe, seed, scores, the decision about every seat, canaries.
///
/// Opinions name it as `model_id`; their `sources` follow from its `gate`.
#[utoipa::path(
    get, path = "/models/{id}", operation_id = "find_model", tag = tag::OPERATION,
    params(("id" = String, Path, description = "Name of the model", example = "2024-09-30.3f9c12ab")),
    responses((status = 200, description = "The model", body = ModelAnswer))
)]
pub async fn find_model(
    State(state): State<AppState>,
    Path(id): Path<String>,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    match told(&state.pool, &id).await? {
        Some(model) => condition.respond_json(&model, None),
        None => Err(unknown(&state, &id).await?),
    }
}

/// What is told of the model of that name.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn told(pool: &PgPool, id: &str) -> Result<Option<ModelAnswer>, StoreError> {
    let Some(record) = models::record(pool, id, CODE_VERSION).await? else { return Ok(None) };
    let lineage = lineage::lineage(pool, id).await?;
    Ok(Some(shaped(record, lineage.into())))
}

/// The problem of a name that no model has.
///
/// # Errors
/// [`Problem`] when the store cannot be reached.
pub async fn unknown(state: &AppState, id: &str) -> Result<Problem, Problem> {
    let names = models::names(&state.pool, NEAR_AMONG).await?;
    let short: String = id.chars().take(64).collect();
    let near = near_names(id, names.iter().map(String::as_str));
    Ok(Problem::new(ProblemType::UnknownModel, format!("no model is named {short}")).with_near(near))
}

fn summarized(row: ModelSummary) -> SummaryAnswer {
    let canaries_passed = all_passed(row.canaries.as_ref());
    let mut reasons = BTreeMap::new();
    if canaries_passed.is_none() {
        let why = if row.has_network { "not_recorded" } else { "no_network" };
        reasons.insert("canaries_passed".to_owned(), why.to_owned());
    }
    SummaryAnswer {
        id: row.model_id,
        created_at: row.recorded_at,
        trained_until: row.trained_until,
        in_force: row.in_force,
        network: row.has_network,
        kept_back: row.kept_back,
        canaries_passed,
        seed: row.seed,
        data_hash: hex::encode(row.data_hash),
        code_version: row.code_version,
        reasons,
    }
}

fn shaped(record: ModelRecord, lineage: LineageAnswer) -> ModelAnswer {
    let mut summary = summarized(record.summary);
    let parts = Parts::of(record.scores);
    summary.reasons.extend(parts.reasons);
    if record.last_trained_at.is_none() {
        summary.reasons.insert("last_trained_at".into(), "not_promoted".into());
    }
    if record.artifact_sha256.is_none() {
        let why = if summary.network { "pruned" } else { "no_network" };
        summary.reasons.insert("model_sha256".into(), why.into());
    }
    ModelAnswer {
        summary,
        lineage,
        last_trained_at: record.last_trained_at,
        known_until: record.known_until,
        recorded_until: record.recorded_until,
        sha256: hex::encode(record.sha256),
        model_sha256: record.artifact_sha256.map(hex::encode),
        recipe: record.recipe,
        without_network: parts.without_network,
        gate: parts.gate,
        canaries: parts.canaries,
        shares: parts.shares,
        attribution: parts.attribution,
        non_inferiority: parts.non_inferiority,
        walk: parts.walk,
        training: parts.training,
        scores: parts.more,
    }
}

//! Activation: somebody puts a stored model in force, or the one before back.

use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::store::jobs::NewJob;
use crate::store::models::{self, ModelRecord};
use crate::store::promotions::{self, NewPromotion, Promotion};
use crate::store::{StoreError, jobs};

/// Before all that waits by itself: somebody decided it.
const PRIORITY: i16 = -10;
/// Runs of the publication that follows.
const ATTEMPTS: i16 = 5;
/// Changes looked through for the model that was in force before.
const CHANGES: i64 = 2;

/// Who decides, why, and for which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// As [`Promotion::by`].
    pub by: &'a str,
    /// Why, 1 to 500 characters.
    pub reason: &'a str,
    /// Also a model that its training kept back.
    pub force: bool,
    /// Version of the code that would answer.
    pub code_version: &'a str,
    /// Version of the stored state that it reads.
    pub state_version: u32,
}

/// What became of an activation.
#[derive(Debug, Clone, PartialEq)]
pub enum Activation {
    /// No model has that name.
    Unknown,
    /// It must not answer, and why.
    Refused(String),
    /// It was in force already; nothing was changed.
    InForce,
    /// It is in force.
    Promoted {
        /// The record of it.
        promotion: Promotion,
        /// The publication that was asked for.
        job_id: Option<Uuid>,
    },
}

/// Puts a model in force and asks for a publication, in one transaction.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn activate(pool: &PgPool, model_id: &str, decision: &Decision<'_>) -> Result<Activation, StoreError> {
    let Some(record) = models::record(pool, model_id, decision.code_version).await? else {
        return Ok(Activation::Unknown);
    };
    if let Some(why) = unfit(&record, decision) {
        return Ok(Activation::Refused(why));
    }
    if let Some(why) = unreadable(pool, model_id, decision.state_version).await? {
        return Ok(Activation::Refused(why));
    }
    let kept_back = held_against(&record);
    if let (Some(why), false) = (&kept_back, decision.force) {
        return Ok(Activation::Refused(format!(
            "its training kept it back: {why}; force puts it in force all the same"
        )));
    }
    let forced = kept_back.is_some();
    let mut transaction = pool.begin().await?;
    promotions::begin(&mut transaction).await?;
    let in_force = promotions::in_force(&mut transaction, decision.code_version).await?;
    if in_force.is_some_and(|model| model.model_id == model_id) {
        return Ok(Activation::InForce);
    }
    // Its weights may have gone since it was looked at.
    if models::is_pruned(&mut transaction, model_id).await? {
        return Ok(Activation::Refused(PRUNED.into()));
    }
    let new = NewPromotion { model_id, by: decision.by, reason: decision.reason, forced };
    let promotion = promotions::promote(&mut transaction, &new).await?;
    let job_id = jobs::ask(&mut transaction, &publication(&promotion)).await?;
    transaction.commit().await?;
    Ok(Activation::Promoted { promotion, job_id })
}

/// Name of the model that a code version had in force before the present one, and whether it had been forced; `None` when
/// there was none.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn before(pool: &PgPool, code_version: &str) -> Result<Option<(String, bool)>, StoreError> {
    let mut connection = pool.acquire().await?;
    let changes = promotions::changes(&mut connection, code_version, CHANGES).await?;
    Ok(changes.into_iter().nth(1).map(|promotion| (promotion.model_id, promotion.forced)))
}

const PRUNED: &str = "its weights were pruned; train anew";

/// Why no force helps.
fn unfit(record: &ModelRecord, decision: &Decision<'_>) -> Option<String> {
    let version = &record.summary.code_version;
    if version != decision.code_version {
        let ours = decision.code_version;
        return Some(format!("it was trained by forecastd {version}, this is {ours}, which would answer otherwise"));
    }
    record.summary.pruned_at.map(|_| PRUNED.into())
}

/// Why the stored bytes cannot answer.
async fn unreadable(pool: &PgPool, model_id: &str, version: u32) -> Result<Option<String>, StoreError> {
    let model = match models::find(pool, model_id).await {
        Ok(Some(model)) => model,
        Ok(None) => return Ok(Some("it is gone".into())),
        Err(StoreError::Row(why)) => return Ok(Some(why)),
        Err(error) => return Err(error),
    };
    let state: Value = serde_json::from_slice(&model.state).unwrap_or_default();
    let other = state["version"] != version;
    Ok(other.then(|| format!("its state has version {}, this program reads {version}; train anew", state["version"])))
}

/// What its training found against it.
fn held_against(record: &ModelRecord) -> Option<String> {
    let dead = |canary: &&Value| canary["passed"] == false;
    let canaries = record.summary.canaries.as_ref().filter(|_| record.summary.has_network).and_then(Value::as_array);
    let name = |canary: &Value| format!("canary {} died", canary["name"].as_str().unwrap_or("without a name"));
    record.summary.kept_back.clone().or_else(|| canaries?.iter().find(dead).map(name))
}

fn publication(promotion: &Promotion) -> NewJob {
    NewJob {
        kind: "publish",
        slot: Some(format!("promotion {}", promotion.promotion_id)),
        reason: format!("{} put {} in force: {}", promotion.by, promotion.model_id, promotion.reason),
        arguments: json!({}),
        priority: PRIORITY,
        max_attempts: ATTEMPTS,
    }
}

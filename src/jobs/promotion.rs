//! The end of a training: its model is stored and put in force, or kept back with the reason, in one transaction with the
//! end of its job, so that no model is ever half promoted.

use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;

use crate::jobs::train::{Past, Training, recipe, settings};
use crate::market::history::History;
use crate::opinion::provenance::Promotion;
use crate::opinion::version::CODE_VERSION;
use crate::store::arguments::{JobArguments, PublishArguments};
use crate::store::chain::Publication;
use crate::store::jobs::{self, Lease};
use crate::store::models::{self, StoredModel};
use crate::store::promotions::{self, BY_TRAINING, InForce, NewPromotion};
use crate::store::{StoreError, asking};

/// Reason for not training: nothing much came since the last one.
pub const TOO_FEW_NEW_ROWS: &str = "too_few_new_rows";
/// Reason for keeping back: another training on later rows was faster.
pub const OVERTAKEN: &str = "overtaken";

/// A trained model, and what speaks against it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The model.
    pub model: StoredModel,
    /// Why it must not answer.
    pub refusal: Option<String>,
    /// Why its network could not be judged, so that it has none and must not replace one that could.
    pub unjudged: Option<String>,
    /// What answers if it must not and nothing was in force.
    pub benchmarks: Option<StoredModel>,
}

/// What came of a training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trained {
    /// The model that was stored; `None` when none was trained.
    pub model_id: Option<String>,
    /// The model that was put in force; `None` when what was in force stays.
    pub promoted: Option<String>,
    /// Why none was trained, or why the one that was stored is not in force.
    pub reason: Option<String>,
}

/// Stores a model and puts it in force, which asks for a publication, or keeps it back, and ends the job; all of it or
/// nothing.
///
/// # Errors
/// When the store fails or another run of the job took over; then nothing was changed.
pub async fn conclude(pool: &PgPool, outcome: &Outcome, lease: Option<Lease>) -> anyhow::Result<Trained> {
    let model = &outcome.model;
    let mut transaction = pool.begin().await?;
    models::keep(&mut transaction, model).await?;
    promotions::begin(&mut transaction).await?;
    let in_force = promotions::in_force(&mut transaction, &model.code_version).await?;
    let reason = objection(outcome, in_force.as_ref());
    let promoted = match &reason {
        None => Some((model, "passed its trials")),
        Some(reason) => {
            models::hold_back(&mut transaction, &model.model_id, reason).await?;
            let first = outcome.benchmarks.as_ref().filter(|_| in_force.is_none());
            first.map(|model| (model, "its network was kept back and nothing else was in force"))
        }
    };
    if let Some((promoted, why)) = promoted {
        models::keep(&mut transaction, promoted).await?;
        let new = NewPromotion { model_id: &promoted.model_id, by: BY_TRAINING, reason: why, forced: false };
        promotions::promote(&mut transaction, &new).await?;
        let publish = JobArguments::Publish(PublishArguments::default()).new_job(None, "a model was promoted");
        asking::ask_unless_queued(&mut transaction, &publish).await?;
    }
    let promoted = promoted.map(|(model, _)| model.model_id.clone());
    let trained = Trained { model_id: Some(model.model_id.clone()), promoted, reason };
    if let Some(lease) = lease {
        jobs::succeed(&mut transaction, lease, &json!(trained)).await?;
    }
    transaction.commit().await?;
    tell(&trained);
    Ok(trained)
}

/// Ends a job that trained nothing.
///
/// # Errors
/// When the store fails or another run of the job took over.
pub async fn leave(pool: &PgPool, reason: String, lease: Option<Lease>) -> anyhow::Result<Trained> {
    let trained = Trained { model_id: None, promoted: None, reason: Some(reason) };
    if let Some(lease) = lease {
        let mut transaction = pool.begin().await?;
        jobs::succeed(&mut transaction, lease, &json!(trained)).await?;
        transaction.commit().await?;
    }
    tell(&trained);
    Ok(trained)
}

/// Why a training is not worth while; `None` when it is.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn not_due(pool: &PgPool, training: &Training<'_>, history: &History) -> Result<Option<String>, StoreError> {
    let Some(minimum) = training.unless_fewer_than else { return Ok(None) };
    let mut connection = pool.acquire().await?;
    let in_force = promotions::in_force(&mut connection, CODE_VERSION).await?;
    let Some(in_force) = in_force.filter(|model| is_wanted(model, training)) else { return Ok(None) };
    let last = history.decision_day();
    let is_new = |day: &&_| **day > in_force.trained_until && Some(**day) <= last;
    let count = history.sessions.iter().filter(is_new).count();
    Ok((count < minimum).then(|| {
        let (model, until) = (&in_force.model_id, in_force.trained_until);
        format!("{TOO_FEW_NEW_ROWS}: {count} sessions since {model} was trained until {until}, fewer than {minimum}")
    }))
}

/// Whether a model is one that the training would give again on the same rows.
fn is_wanted(model: &InForce, training: &Training<'_>) -> bool {
    let network = recipe(training.config);
    let same = match model.has_network {
        true => model.recipe["network"] == json!(network),
        // Only a walk gives it what it lacks.
        false => network.members == 0 || training.past == Past::Kept,
    };
    same && model.recipe["settings"] == json!(settings(training.config))
}

/// Why a model must not replace what is in force.
fn objection(outcome: &Outcome, in_force: Option<&InForce>) -> Option<String> {
    let unjudged = outcome.unjudged.clone().filter(|_| in_force.is_some_and(|model| model.has_network));
    let later = in_force.filter(|model| model.recorded_until > outcome.model.recorded_until);
    let overtaken = later.map(|model| format!("{OVERTAKEN}: {} was trained on later rows", model.model_id));
    outcome.refusal.clone().or(unjudged).or(overtaken)
}

fn tell(trained: &Trained) {
    match trained {
        Trained { model_id: None, reason, .. } => {
            tracing::info!("no training: {}", reason.as_deref().unwrap_or_default());
        }
        Trained { model_id: Some(model), promoted, reason: Some(reason) } => {
            tracing::warn!("model {model} is kept back, what is served stays: {reason}");
            if promoted.is_some() {
                tracing::warn!("nothing was served before, so the benchmarks are");
            }
        }
        Trained { .. } => {}
    }
}

/// What the answers of a publication say of the promotion of their model: nothing where its training promoted it. The same
/// whenever it is asked, because promotions count as recording, and the cutoff of the publication passes over later ones.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn of_publication(pool: &PgPool, publication: &Publication) -> Result<Option<Promotion>, StoreError> {
    let newest = promotions::newest_of(pool, &publication.model_id, publication.recorded_until).await?;
    let decided = newest.filter(|promotion| promotion.by != BY_TRAINING);
    Ok(decided.map(|p| Promotion { by: p.by, reason: p.reason, forced: p.forced }))
}

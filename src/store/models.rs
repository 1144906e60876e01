//! Models: written once, read by name, never changed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::market::bar::Day;
use crate::store::StoreError;

/// A model as stored.
#[derive(Debug, Clone)]
pub struct StoredModel {
    /// Name, `DAY.HASH`.
    pub model_id: String,
    /// Last session of the training rows.
    pub trained_until: Day,
    /// Cutoff on `known_at` of the training rows.
    pub known_until: DateTime<Utc>,
    /// Cutoff on `recorded_at` of the training rows.
    pub recorded_until: DateTime<Utc>,
    /// Every hyperparameter.
    pub recipe: Value,
    /// Seed of the training.
    pub seed: i64,
    /// Hash of the training rows.
    pub data_hash: [u8; 32],
    /// Version of the code that trained it.
    pub code_version: String,
    /// JSON: fitted benchmarks, conformal maps and the decision, head by head, of what is served.
    pub state: Vec<u8>,
    /// Weights; `None` when only benchmarks were fitted.
    pub artifact: Option<Vec<u8>>,
    /// Scores against the benchmarks.
    pub scores: Value,
}

impl StoredModel {
    /// SHA-256 of the artifact followed by the state.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.artifact.as_deref().unwrap_or_default());
        hash.update(&self.state);
        hash.finalize().into()
    }
}

/// Stores a model and puts it in force. The name holds a hash of the content, so a model that is there already stays as it is.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn insert(pool: &PgPool, model: &StoredModel) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await?;
    sqlx::query!(
        "insert into models (model_id, trained_until, known_until, recorded_until, recipe, seed, data_hash, code_version, state, artifact, sha256, scores)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (model_id) do nothing",
        model.model_id,
        model.trained_until,
        model.known_until,
        model.recorded_until,
        model.recipe,
        model.seed,
        &model.data_hash[..],
        model.code_version,
        &model.state,
        model.artifact.as_deref(),
        &model.sha256()[..],
        model.scores
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!("insert into trainings (model_id) values ($1)", model.model_id).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// The model of that name; its bytes are checked against the SHA-256 stored with it.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached, or [`StoreError::Row`] when the bytes were damaged.
pub async fn find(pool: &PgPool, model_id: &str) -> Result<Option<StoredModel>, StoreError> {
    let row = sqlx::query!(
        "select model_id, trained_until, known_until, recorded_until, recipe, seed, data_hash, code_version, state, artifact, sha256, scores
         from models where model_id = $1",
        model_id
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let model = StoredModel {
        model_id: row.model_id,
        trained_until: row.trained_until,
        known_until: row.known_until,
        recorded_until: row.recorded_until,
        recipe: row.recipe,
        seed: row.seed,
        data_hash: crate::store::hash_column(&row.data_hash)?,
        code_version: row.code_version,
        state: row.state,
        artifact: row.artifact,
        scores: row.scores,
    };
    if model.sha256()[..] != row.sha256[..] {
        return Err(StoreError::Row(format!(
            "model {model_id} does not match its SHA-256; restore it from a backup or train anew"
        )));
    }
    Ok(Some(model))
}

/// Name of the model in force: the one that was trained last.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn newest(pool: &PgPool) -> Result<Option<String>, StoreError> {
    let row =
        sqlx::query!("select model_id from trainings order by training_id desc limit 1").fetch_optional(pool).await?;
    Ok(row.map(|r| r.model_id))
}

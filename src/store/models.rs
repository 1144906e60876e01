//! Models: written once, read by name, never changed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

use crate::market::bar::Day;
use crate::store::promotions::{self, BY_TRAINING, NewPromotion};
use crate::store::{StoreError, comparisons, hash_column};

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
    /// JSON lines: the comparisons that its rewards were learnt from, if there are any. Stored beside the model, where
    /// [`comparisons::find`] reads them; [`find`] leaves them there.
    pub comparisons: Option<Vec<u8>>,
}

/// What is said of a model without its weights and its state.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRecord {
    /// Name and circumstances.
    pub summary: ModelSummary,
    /// When a training last put it in force; `None` for one that never was.
    pub last_trained_at: Option<DateTime<Utc>>,
    /// Cutoff on `known_at` of the training rows.
    pub known_until: DateTime<Utc>,
    /// Cutoff on `recorded_at` of the training rows.
    pub recorded_until: DateTime<Utc>,
    /// SHA-256 of the artifact followed by the state.
    pub sha256: [u8; 32],
    /// SHA-256 of the artifact alone; `None` when only benchmarks were fitted.
    pub artifact_sha256: Option<[u8; 32]>,
    /// Every hyperparameter.
    pub recipe: Value,
    /// Scores against the benchmarks, and what was decided by them.
    pub scores: Value,
}

/// What a list says of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSummary {
    /// Name, `DAY.HASH`.
    pub model_id: String,
    /// When it was stored.
    pub recorded_at: DateTime<Utc>,
    /// Last session of the training rows.
    pub trained_until: Day,
    /// Version of the code that trained it.
    pub code_version: String,
    /// Seed of the training.
    pub seed: i64,
    /// Hash of the training rows.
    pub data_hash: [u8; 32],
    /// It holds weights of a network.
    pub has_network: bool,
    /// It answers the next publication of the code version that asks.
    pub in_force: bool,
    /// Why it was kept from being put in force, if a training decided that and none decided otherwise since.
    pub kept_back: Option<String>,
    /// Since when its weights and its state are gone.
    pub pruned_at: Option<DateTime<Utc>>,
    /// What the canaries of its training said, as stored.
    pub canaries: Option<Value>,
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
    keep(&mut transaction, model).await?;
    let new = NewPromotion { model_id: &model.model_id, by: BY_TRAINING, reason: "trained", forced: false };
    promotions::promote(&mut transaction, &new).await?;
    transaction.commit().await?;
    Ok(())
}

/// Stores a model that must not be put in force, with the reason. What was in force stays.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn keep_back(pool: &PgPool, model: &StoredModel, reason: &str) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await?;
    keep(&mut transaction, model).await?;
    hold_back(&mut transaction, &model.model_id, reason).await?;
    transaction.commit().await?;
    Ok(())
}

/// Stores a model that answers for the past alone: it is never put in force.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn keep_aside(connection: &mut PgConnection, model: &StoredModel) -> Result<(), StoreError> {
    keep(connection, model).await
}

/// Notes why a model is not put in force.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn hold_back(connection: &mut PgConnection, model_id: &str, reason: &str) -> Result<(), StoreError> {
    sqlx::query!("insert into kept_back (model_id, reason) values ($1, $2)", model_id, reason)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether the network of a training on these rows by this version was kept back: another would only be so again.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn was_kept_back(pool: &PgPool, data_hash: &[u8; 32], code_version: &str) -> Result<bool, StoreError> {
    let row = sqlx::query!(
        r#"select exists (
               select from kept_back join models using (model_id)
               where data_hash = $1 and code_version = $2 and (artifact is not null or pruned_at is not null)
           ) as "kept_back!""#,
        &data_hash[..],
        code_version
    )
    .fetch_one(pool)
    .await?;
    Ok(row.kept_back)
}

/// Stores a model with its comparisons. One that is there already stays as it is; one whose weights were pruned has them back.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn keep(connection: &mut PgConnection, model: &StoredModel) -> Result<(), StoreError> {
    let stored = sqlx::query!(
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
    .execute(&mut *connection)
    .await?;
    if stored.rows_affected() == 0 && is_pruned(connection, &model.model_id).await? {
        let artifact = model.artifact.as_deref();
        sqlx::query!("select restore_model($1, $2, $3) as restored", model.model_id, &model.state, artifact)
            .fetch_one(&mut *connection)
            .await?;
    }
    match &model.comparisons {
        Some(lines) => comparisons::keep(connection, &model.model_id, lines).await,
        None => Ok(()),
    }
}

/// Whether the weights of a model are gone.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn is_pruned(connection: &mut PgConnection, model_id: &str) -> Result<bool, StoreError> {
    let row = sqlx::query!(r#"select pruned_at is not null as "is_pruned!" from models where model_id = $1"#, model_id)
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some_and(|row| row.is_pruned))
}

/// The model of that name; its bytes are checked against the SHA-256 stored with it.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached, or [`StoreError::Row`] when the bytes were pruned or damaged.
pub async fn find(pool: &PgPool, model_id: &str) -> Result<Option<StoredModel>, StoreError> {
    let row = sqlx::query!(
        "select model_id, trained_until, known_until, recorded_until, recipe, seed, data_hash, code_version, state, artifact, sha256, scores,
                pruned_at
         from models where model_id = $1",
        model_id
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if let Some(at) = row.pruned_at {
        return Err(StoreError::Row(format!("the weights of model {model_id} were pruned at {at}; train anew")));
    }
    let model = StoredModel {
        model_id: row.model_id,
        trained_until: row.trained_until,
        known_until: row.known_until,
        recorded_until: row.recorded_until,
        recipe: row.recipe,
        seed: row.seed,
        data_hash: hash_column(&row.data_hash)?,
        code_version: row.code_version,
        state: row.state,
        artifact: row.artifact,
        scores: row.scores,
        comparisons: None,
    };
    if model.sha256()[..] != row.sha256[..] {
        return Err(StoreError::Row(format!(
            "model {model_id} does not match its SHA-256; restore it from a backup or train anew"
        )));
    }
    Ok(Some(model))
}

/// Name of the model in force: the one that was promoted last of those that this version of the code trained, or of all if
/// there is none. While two versions run side by side each answers from its own.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn newest(pool: &PgPool, code_version: &str) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query!("select model_in_force($1) as model_id", code_version).fetch_one(pool).await?.model_id)
}

/// What is said of the model of that name, without its weights and its state; `code_version` asks what is in force.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn record(pool: &PgPool, model_id: &str, code_version: &str) -> Result<Option<ModelRecord>, StoreError> {
    // Text in the store cannot hold it, so nothing has such a name.
    if model_id.contains('\0') {
        return Ok(None);
    }
    let row = sqlx::query!(
        r#"select m.model_id, m.recorded_at, m.trained_until, m.known_until, m.recorded_until, m.recipe, m.seed, m.data_hash,
                  m.code_version, m.sha256, m.scores, sha256(m.artifact) as artifact_sha256, m.pruned_at,
                  (m.artifact is not null or m.pruned_at is not null and coalesce(jsonb_typeof(m.recipe -> 'network') = 'object', false))
                      as "has_network!",
                  (select max(p.promoted_at) from promotions p where p.model_id = m.model_id and p.by = 'training')
                      as last_trained_at,
                  (select k.reason from kept_back k
                   where k.model_id = m.model_id and not exists (
                       select from promotions p
                       where p.model_id = k.model_id and p.by = 'training' and p.promoted_at > k.decided_at
                   ) order by k.kept_back_id desc limit 1) as kept_back,
                  m.model_id is not distinct from model_in_force($2) as "in_force!"
           from models m where m.model_id = $1"#,
        model_id,
        code_version
    )
    .fetch_optional(pool)
    .await?;
    row.map(|r| {
        let canaries = r.scores.get("canaries").cloned();
        Ok(ModelRecord {
            summary: ModelSummary {
                model_id: r.model_id,
                recorded_at: r.recorded_at,
                trained_until: r.trained_until,
                code_version: r.code_version,
                seed: r.seed,
                data_hash: hash_column(&r.data_hash)?,
                has_network: r.has_network,
                in_force: r.in_force,
                kept_back: r.kept_back,
                pruned_at: r.pruned_at,
                canaries,
            },
            last_trained_at: r.last_trained_at,
            known_until: r.known_until,
            recorded_until: r.recorded_until,
            sha256: hash_column(&r.sha256)?,
            artifact_sha256: r.artifact_sha256.as_deref().map(hash_column).transpose()?,
            recipe: r.recipe,
            scores: r.scores,
        })
    })
    .transpose()
}

/// Models, newest first, at most `limit`; with `after` only those older than the model of that name. `code_version` asks
/// what is in force.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn summaries(
    pool: &PgPool,
    after: Option<&str>,
    limit: i64,
    code_version: &str,
) -> Result<Vec<ModelSummary>, StoreError> {
    let rows = sqlx::query!(
        r#"select m.model_id, m.recorded_at, m.trained_until, m.seed, m.data_hash, m.code_version,
                  m.scores -> 'canaries' as canaries, m.pruned_at,
                  (m.artifact is not null or m.pruned_at is not null and coalesce(jsonb_typeof(m.recipe -> 'network') = 'object', false))
                      as "has_network!",
                  (select k.reason from kept_back k
                   where k.model_id = m.model_id and not exists (
                       select from promotions p
                       where p.model_id = k.model_id and p.by = 'training' and p.promoted_at > k.decided_at
                   ) order by k.kept_back_id desc limit 1) as kept_back,
                  m.model_id is not distinct from model_in_force($3) as "in_force!"
           from models m
           where $1::text is null
              or (m.recorded_at, m.model_id) < (select a.recorded_at, a.model_id from models a where a.model_id = $1)
           order by m.recorded_at desc, m.model_id desc limit $2"#,
        after,
        limit,
        code_version
    )
    .fetch_all(pool)
    .await?;
    let summaries = rows.into_iter().map(|r| {
        Ok(ModelSummary {
            model_id: r.model_id,
            recorded_at: r.recorded_at,
            trained_until: r.trained_until,
            code_version: r.code_version,
            seed: r.seed,
            data_hash: hash_column(&r.data_hash)?,
            has_network: r.has_network,
            in_force: r.in_force,
            kept_back: r.kept_back,
            pruned_at: r.pruned_at,
            canaries: r.canaries,
        })
    });
    summaries.collect()
}

/// Names of the newest models, at most `limit`, newest first.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn names(pool: &PgPool, limit: i64) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query!("select model_id from models order by recorded_at desc, model_id desc limit $1", limit)
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(|r| r.model_id).collect())
}

//! Promotions: which model answers, since when, by whom and why. Rows are only added; the newest of a code version is in
//! force. The schema orders them one after another, notes what each replaces and announces it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};

use crate::market::bar::Day;
use crate::store::StoreError;

/// Channel on which promotions are announced; the payload is the model's name.
pub const CHANNEL: &str = "forecastd_promoted";

/// What a training writes into [`Promotion::by`].
pub const BY_TRAINING: &str = "training";
/// What the command line writes into [`Promotion::by`].
pub const BY_COMMAND: &str = "command";

/// A model put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// Its place among all.
    pub promotion_id: i64,
    /// The model.
    pub model_id: String,
    /// Since when.
    pub promoted_at: DateTime<Utc>,
    /// [`BY_TRAINING`], [`BY_COMMAND`], or `operator NAME` with the name of the key.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Although the model's training had kept it back.
    pub forced: bool,
    /// What its code version had in force before.
    pub previous_model_id: Option<String>,
    /// Version of the code that trained the model.
    pub code_version: String,
}

/// A promotion that is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPromotion<'a> {
    /// The model.
    pub model_id: &'a str,
    /// As [`Promotion::by`].
    pub by: &'a str,
    /// Why, 1 to 500 characters.
    pub reason: &'a str,
    /// Although the model's training had kept it back.
    pub forced: bool,
}

/// The model that a code version has in force.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// Its name.
    pub model_id: String,
    /// It holds weights of a network.
    pub has_network: bool,
    /// Last session of its training rows.
    pub trained_until: Day,
    /// Cutoff on `recorded_at` of its training rows.
    pub recorded_until: DateTime<Utc>,
    /// Every hyperparameter.
    pub recipe: Value,
}

/// Waits until this transaction alone may promote: what it reads of promotions then holds until it ends.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn begin(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("select begin_promotion() as begun").fetch_one(connection).await?;
    Ok(())
}

/// Puts a model in force when the transaction commits.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or there is no such model.
pub async fn promote(connection: &mut PgConnection, new: &NewPromotion<'_>) -> Result<Promotion, StoreError> {
    Ok(sqlx::query_as!(
        Promotion,
        "insert into promotions (model_id, by, reason, forced) values ($1, $2, $3, $4)
         returning promotion_id, model_id, promoted_at, by, reason, forced, previous_model_id, code_version",
        new.model_id,
        new.by,
        new.reason,
        new.forced
    )
    .fetch_one(connection)
    .await?)
}

/// What a code version has in force; `None` when it never promoted a model.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn in_force(connection: &mut PgConnection, code_version: &str) -> Result<Option<InForce>, StoreError> {
    Ok(sqlx::query_as!(
        InForce,
        r#"select m.model_id, m.artifact is not null as "has_network!", m.trained_until, m.recorded_until, m.recipe
           from promotions p join models m on m.model_id = p.model_id
           where p.code_version = $1 order by p.promotion_id desc limit 1"#,
        code_version
    )
    .fetch_optional(connection)
    .await?)
}

/// The promotions of a code version that changed its model, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn changes(
    connection: &mut PgConnection,
    code_version: &str,
    limit: i64,
) -> Result<Vec<Promotion>, StoreError> {
    Ok(sqlx::query_as!(
        Promotion,
        "select promotion_id, model_id, promoted_at, by, reason, forced, previous_model_id, code_version
         from promotions where code_version = $1 and model_id is distinct from previous_model_id
         order by promotion_id desc limit $2",
        code_version,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// The newest promotion of a model before a cutoff of [`crate::store::pool::cutoff`]: the same one whenever it is asked.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn newest_of(pool: &PgPool, model_id: &str, until: DateTime<Utc>) -> Result<Option<Promotion>, StoreError> {
    Ok(sqlx::query_as!(
        Promotion,
        "select promotion_id, model_id, promoted_at, by, reason, forced, previous_model_id, code_version
         from promotions where model_id = $1 and promoted_at < $2 order by promotion_id desc limit 1",
        model_id,
        until
    )
    .fetch_optional(pool)
    .await?)
}

/// All promotions of a model, oldest first.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn of_model(pool: &PgPool, model_id: &str) -> Result<Vec<Promotion>, StoreError> {
    Ok(sqlx::query_as!(
        Promotion,
        "select promotion_id, model_id, promoted_at, by, reason, forced, previous_model_id, code_version
         from promotions where model_id = $1 order by promotion_id",
        model_id
    )
    .fetch_all(pool)
    .await?)
}

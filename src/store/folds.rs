//! Folds: the weights of past refits and what they said of later days, out of sample. Written once, never changed.

use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::market::bar::Day;
use crate::store::{StoreError, hash_column};

/// A fold to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewFold<'a> {
    /// Hash of everything that went into it.
    pub fold_id: &'a [u8; 32],
    /// Hash of the recipe.
    pub recipe: &'a [u8; 32],
    /// Refit day.
    pub refit_day: Day,
    /// Weights.
    pub artifact: &'a [u8],
}

/// What a fold said on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldForecast {
    /// Decision day.
    pub day: Day,
    /// Instruments, ascending.
    pub symbols: Vec<String>,
    /// Output rows, one after the other.
    pub outputs: Vec<f32>,
}

/// Of these folds, those that are kept.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn known(pool: &PgPool, ids: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, StoreError> {
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.to_vec()).collect();
    let rows = sqlx::query!("select fold_id from folds where fold_id = any($1) order by refit_day", &ids)
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(|row| hash_column(&row.fold_id)).collect()
}

/// The weights of a fold, checked against the hash stored with them.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached, or [`StoreError::Row`] when the bytes were damaged.
pub async fn artifact(pool: &PgPool, fold_id: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query!("select artifact, artifact_sha256 from folds where fold_id = $1", &fold_id[..])
        .fetch_optional(pool)
        .await?;
    let Some(row) = row else { return Ok(None) };
    if Sha256::digest(&row.artifact)[..] != row.artifact_sha256[..] {
        return Err(StoreError::Row(format!("fold {} does not match its SHA-256", hex::encode(fold_id))));
    }
    Ok(Some(row.artifact))
}

/// What a fold said, ascending by day.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn days(pool: &PgPool, fold_id: &[u8; 32]) -> Result<Vec<FoldForecast>, StoreError> {
    let rows =
        sqlx::query!("select day, symbols, outputs from fold_forecasts where fold_id = $1 order by day", &fold_id[..])
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().map(|r| FoldForecast { day: r.day, symbols: r.symbols, outputs: r.outputs }).collect())
}

/// Keeps a fold; one that is there stays as it is.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn keep(pool: &PgPool, fold: &NewFold<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into folds (fold_id, recipe, refit_day, artifact, artifact_sha256) values ($1, $2, $3, $4, $5)
         on conflict (fold_id) do nothing",
        &fold.fold_id[..],
        &fold.recipe[..],
        fold.refit_day,
        fold.artifact,
        &Sha256::digest(fold.artifact)[..]
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Keeps what a fold said, all days or none; a day that is there stays as it is.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn keep_days(pool: &PgPool, fold_id: &[u8; 32], days: &[FoldForecast]) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await?;
    for day in days {
        sqlx::query!(
            "insert into fold_forecasts (fold_id, day, symbols, outputs) values ($1, $2, $3, $4)
             on conflict (fold_id, day) do nothing",
            &fold_id[..],
            day.day,
            &day.symbols,
            &day.outputs
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

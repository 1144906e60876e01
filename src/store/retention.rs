//! Retention: the weights of models that nothing names, and folds that nobody trains with any more. What may go is decided
//! by functions of the schema, which hold to the rule whoever calls them; the running role cannot delete by itself.

use sqlx::{PgConnection, PgPool};

use crate::store::StoreError;

/// Something whose bytes go or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// Name of the model, or hexadecimal name of the fold.
    pub name: String,
    /// Bytes of its weights and its state.
    pub bytes: i64,
}

/// Models whose weights, state and comparisons may go: named by no entry of the ledger or of the walked one, and neither
/// among the last `keep` promoted nor among the last `keep` stored of their code version. Their records stay.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn prunable_models(pool: &PgPool, keep: i32) -> Result<Vec<Pruned>, StoreError> {
    Ok(sqlx::query_as!(Pruned, r#"select model as "name!", bytes as "bytes!" from prunable_models($1)"#, keep)
        .fetch_all(pool)
        .await?)
}

/// Lets go of [`prunable_models`].
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn prune_models(connection: &mut PgConnection, keep: i32) -> Result<Vec<Pruned>, StoreError> {
    Ok(sqlx::query_as!(Pruned, r#"select model as "name!", bytes as "bytes!" from prune_models($1)"#, keep)
        .fetch_all(connection)
        .await?)
}

/// Folds that may go: of recipes that none of the models kept by `keep` uses, and that no training touched for a year.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn prunable_folds(pool: &PgPool, keep: i32) -> Result<Vec<Pruned>, StoreError> {
    Ok(sqlx::query_as!(
        Pruned,
        r#"select encode(fold, 'hex') as "name!", bytes as "bytes!" from prunable_folds($1)"#,
        keep
    )
    .fetch_all(pool)
    .await?)
}

/// Lets go of [`prunable_folds`].
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn prune_folds(connection: &mut PgConnection, keep: i32) -> Result<Vec<Pruned>, StoreError> {
    Ok(sqlx::query_as!(
        Pruned,
        r#"select encode(fold, 'hex') as "name!", bytes as "bytes!" from prune_folds($1)"#,
        keep
    )
    .fetch_all(connection)
    .await?)
}

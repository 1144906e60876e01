//! Keys for writing and operating: kept only as SHA-256 of the secret, made only on the command line.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::store::StoreError;

/// A key as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Public name of the key.
    pub key_id: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// `ingest`, `operate`, `admin`.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when it is refused, if ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// SHA-256 of a secret. A secret has 256 random bits, so a fast hash cannot be searched.
#[must_use]
pub fn hash_secret(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Stores a key.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn insert(pool: &PgPool, key: &StoredKey) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into keys (key_id, name, hash, scopes, expires_at) values ($1, $2, $3, $4, $5)",
        key.key_id,
        key.name,
        &key.hash[..],
        &key.scopes,
        key.expires_at
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The key of that hash, revoked or expired or not.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn find_by_hash(pool: &PgPool, hash: &[u8; 32]) -> Result<Option<StoredKey>, StoreError> {
    let row = sqlx::query!(
        "select key_id, name, hash, scopes, created_at, expires_at, revoked_at from keys where hash = $1",
        &hash[..]
    )
    .fetch_optional(pool)
    .await?;
    row.map(|r| {
        Ok(StoredKey {
            key_id: r.key_id,
            name: r.name,
            hash: crate::store::hash_column(&r.hash)?,
            scopes: r.scopes,
            created_at: r.created_at,
            expires_at: r.expires_at,
            revoked_at: r.revoked_at,
        })
    })
    .transpose()
}

/// All keys, oldest first.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn list(pool: &PgPool) -> Result<Vec<StoredKey>, StoreError> {
    let rows = sqlx::query!(
        "select key_id, name, hash, scopes, created_at, expires_at, revoked_at from keys order by created_at, key_id"
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(StoredKey {
                key_id: r.key_id,
                name: r.name,
                hash: crate::store::hash_column(&r.hash)?,
                scopes: r.scopes,
                created_at: r.created_at,
                expires_at: r.expires_at,
                revoked_at: r.revoked_at,
            })
        })
        .collect()
}

/// Revokes a key for good; returns whether there was one to revoke.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn revoke(pool: &PgPool, key_id: Uuid) -> Result<bool, StoreError> {
    let done =
        sqlx::query!("update keys set revoked_at = clock_timestamp() where key_id = $1 and revoked_at is null", key_id)
            .execute(pool)
            .await?;
    Ok(done.rows_affected() == 1)
}

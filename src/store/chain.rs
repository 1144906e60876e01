//! Writing the ledger: append-only, hash-chained. `hash = SHA-256(previous_hash || entry)`; the chain starts at 32 zero bytes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::market::bar::Day;
use crate::store::signing::HeadSigner;
use crate::store::{StoreError, hash_column};

/// The previous hash of the first entry.
pub const GENESIS: [u8; 32] = [0; 32];

/// Newest place of the chain; sequence 0 and [`GENESIS`] while it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Sequence of the newest entry.
    pub sequence: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// A publication: all answers of one day from one model, written in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// Its name.
    pub publication: Uuid,
    /// Decision day.
    pub as_of: Day,
    /// When it was written.
    pub published_at: DateTime<Utc>,
    /// Cutoff on `known_at` of its rows.
    pub known_until: DateTime<Utc>,
    /// Cutoff on `recorded_at` of its rows.
    pub recorded_until: DateTime<Utc>,
    /// Model that answered.
    pub model_id: String,
}

/// An answer to be written: the columns to find it by, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// `signal`, `rating`, `ranking`, `ranks`, `forecast` or `predictability`.
    pub kind: &'static str,
    /// Whose answer; `None` for answers about the whole universe.
    pub symbol: Option<String>,
    /// Label of the horizon.
    pub horizon: &'static str,
    /// Last day of validity.
    pub valid_until: Day,
    /// Whether it was published after the next session's open.
    pub late: bool,
    /// RFC 8785 canonical JSON.
    pub entry: Vec<u8>,
}

/// The hash of an entry after its predecessor's.
#[must_use]
pub fn chain_hash(previous: &[u8; 32], entry: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(previous).chain_update(entry).finalize().into()
}

/// The newest place of the chain.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn head(connection: &mut PgConnection) -> Result<Head, StoreError> {
    let row = sqlx::query!("select sequence, hash from ledger order by sequence desc limit 1")
        .fetch_optional(connection)
        .await?;
    match row {
        Some(r) => Ok(Head { sequence: r.sequence, hash: hash_column(&r.hash)? }),
        None => Ok(Head { sequence: 0, hash: GENESIS }),
    }
}

/// Writes a publication and its entries behind `head`. The caller holds [`crate::store::pool::lock_ledger`].
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or the chain has moved; the caller's transaction then rolls back.
pub async fn append(
    connection: &mut PgConnection,
    publication: &Publication,
    head: Head,
    entries: &[NewEntry],
) -> Result<Head, StoreError> {
    let count = i64::try_from(entries.len()).map_err(StoreError::row)?;
    insert_publication(connection, publication, (head.sequence + 1, head.sequence + count)).await?;
    let mut rows = Columns::default();
    let mut newest = head;
    for entry in entries {
        let hash = chain_hash(&newest.hash, &entry.entry);
        rows.push(newest, hash, entry);
        newest = Head { sequence: newest.sequence + 1, hash };
    }
    // Ordered, so that the trigger that checks the chain sees the entries one after another.
    sqlx::query!(
        r#"insert into ledger (sequence, previous_hash, hash, publication, kind, symbol, horizon, as_of, published_at, valid_until, late, entry)
           select sequence, previous_hash, hash, $9, kind, symbol, horizon, $10, $11, valid_until, late, entry
           from unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::date[], $8::boolean[], $12::bytea[])
               as row (sequence, previous_hash, hash, kind, symbol, horizon, valid_until, late, entry)
           order by sequence"#,
        &rows.sequence,
        &rows.previous_hash,
        &rows.hash,
        &rows.kind,
        &rows.symbol as &[Option<String>],
        &rows.horizon,
        &rows.valid_until,
        &rows.late,
        publication.publication,
        publication.as_of,
        publication.published_at,
        &rows.entry
    )
    .execute(connection)
    .await?;
    Ok(newest)
}

/// The newest publication.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn newest_publication(pool: &PgPool) -> Result<Option<Publication>, StoreError> {
    Ok(sqlx::query_as!(
        Publication,
        "select publication, as_of, published_at, known_until, recorded_until, model_id
         from publications order by first_sequence desc limit 1"
    )
    .fetch_optional(pool)
    .await?)
}

/// Whether any row was recorded after the cutoffs of a publication, or became known between them and `now`.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn is_overtaken_by_rows(pool: &PgPool, last: &Publication, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let row = sqlx::query!(
        r#"select exists (select from descriptions where recorded_at > $1)
               or exists (select from bars where recorded_at > $1 or known_at > $2 and known_at <= $3)
               or exists (select from actions where recorded_at > $1 or known_at > $2 and known_at <= $3)
               or exists (select from observations where recorded_at > $1 or known_at > $2 and known_at <= $3)
               or exists (select from filings where recorded_at > $1 or known_at > $2 and known_at <= $3)
               as "found!""#,
        last.recorded_until,
        last.known_until,
        now
    )
    .fetch_one(pool)
    .await?;
    Ok(row.found)
}

/// All publications by name.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn publications(pool: &PgPool) -> Result<BTreeMap<Uuid, (Publication, i64, i64)>, StoreError> {
    let rows = sqlx::query!(
        "select publication, as_of, published_at, known_until, recorded_until, model_id, first_sequence, last_sequence
         from publications"
    )
    .fetch_all(pool)
    .await?;
    let named = rows.into_iter().map(|r| {
        let publication = Publication {
            publication: r.publication,
            as_of: r.as_of,
            published_at: r.published_at,
            known_until: r.known_until,
            recorded_until: r.recorded_until,
            model_id: r.model_id,
        };
        (publication.publication, (publication, r.first_sequence, r.last_sequence))
    });
    Ok(named.collect())
}

/// The publication of that name, with the first and last sequence of its entries.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn publication(pool: &PgPool, name: Uuid) -> Result<Option<(Publication, i64, i64)>, StoreError> {
    let row = sqlx::query!(
        "select publication, as_of, published_at, known_until, recorded_until, model_id, first_sequence, last_sequence
         from publications where publication = $1",
        name
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|r| {
        let publication = Publication {
            publication: r.publication,
            as_of: r.as_of,
            published_at: r.published_at,
            known_until: r.known_until,
            recorded_until: r.recorded_until,
            model_id: r.model_id,
        };
        (publication, r.first_sequence, r.last_sequence)
    }))
}

/// The key that signed the newest signed head; `None` while there is none.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn newest_signer(connection: &mut PgConnection) -> Result<Option<[u8; 32]>, StoreError> {
    let row = sqlx::query!("select public_key from ledger_heads order by sequence desc limit 1")
        .fetch_optional(connection)
        .await?;
    row.map(|row| hash_column(&row.public_key)).transpose()
}

/// Signs a head and keeps the signature. A process with another key than the one that signed before is refused, so that
/// it cannot break the row of signatures; its transaction then rolls back.
///
/// # Errors
/// [`StoreError`] when the key is another one, or the store cannot be reached.
pub async fn sign(connection: &mut PgConnection, head: Head, signer: &HeadSigner) -> Result<(), StoreError> {
    signer.check_succession(newest_signer(&mut *connection).await?)?;
    sqlx::query!(
        "insert into ledger_heads (sequence, hash, signature, public_key) values ($1, $2, $3, $4)",
        head.sequence,
        &head.hash[..],
        &signer.sign(head)[..],
        &signer.public_key()[..]
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A kept signature of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// The head that was signed.
    pub head: Head,
    /// The signature, 64 bytes.
    pub signature: [u8; 64],
    /// The key that signed, 32 bytes.
    pub public_key: [u8; 32],
}

/// All kept signatures, ascending.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds a row of another form.
pub async fn signed_heads(pool: &PgPool) -> Result<Vec<SignedHead>, StoreError> {
    let rows = sqlx::query!("select sequence, hash, signature, public_key from ledger_heads order by sequence")
        .fetch_all(pool)
        .await?;
    rows.into_iter()
        .map(|r| {
            Ok(SignedHead {
                head: Head { sequence: r.sequence, hash: hash_column(&r.hash)? },
                signature: r.signature[..].try_into().map_err(StoreError::row)?,
                public_key: hash_column(&r.public_key)?,
            })
        })
        .collect()
}

async fn insert_publication(
    connection: &mut PgConnection,
    publication: &Publication,
    (first, last): (i64, i64),
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into publications (publication, as_of, published_at, known_until, recorded_until, model_id, first_sequence, last_sequence)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        publication.publication,
        publication.as_of,
        publication.published_at,
        publication.known_until,
        publication.recorded_until,
        publication.model_id,
        first,
        last
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(Default)]
struct Columns {
    sequence: Vec<i64>,
    previous_hash: Vec<Vec<u8>>,
    hash: Vec<Vec<u8>>,
    kind: Vec<String>,
    symbol: Vec<Option<String>>,
    horizon: Vec<String>,
    valid_until: Vec<Day>,
    late: Vec<bool>,
    entry: Vec<Vec<u8>>,
}

impl Columns {
    fn push(&mut self, previous: Head, hash: [u8; 32], entry: &NewEntry) {
        self.sequence.push(previous.sequence + 1);
        self.previous_hash.push(previous.hash.to_vec());
        self.hash.push(hash.to_vec());
        self.kind.push(entry.kind.into());
        self.symbol.push(entry.symbol.clone());
        self.horizon.push(entry.horizon.into());
        self.valid_until.push(entry.valid_until);
        self.late.push(entry.late);
        self.entry.push(entry.entry.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_hash_is_sha256_of_both() {
        let hash = chain_hash(&GENESIS, b"{}");
        assert_eq!(hex::encode(hash), hex::encode(Sha256::digest([&[0u8; 32][..], b"{}"].concat())));
        assert_ne!(hash, chain_hash(&hash, b"{}"));
    }
}

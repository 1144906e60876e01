//! Reading the ledger.

use chrono::{DateTime, NaiveTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::envelope::Kind;
use crate::store::{StoreError, hash_column};

/// An entry of the ledger with the columns it is filed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// Place in the chain, from 1.
    pub sequence: i64,
    /// Hash of the entry before.
    pub previous_hash: [u8; 32],
    /// SHA-256(previous_hash || entry).
    pub hash: [u8; 32],
    /// Publication that wrote it.
    pub publication: Uuid,
    /// Which opinion, a word of [`Kind`].
    pub kind: String,
    /// Whose answer; `None` for answers about the whole universe.
    pub symbol: Option<String>,
    /// Label of the horizon.
    pub horizon: String,
    /// Decision day.
    pub as_of: Day,
    /// When it was written.
    pub published_at: DateTime<Utc>,
    /// Last day of validity.
    pub valid_until: Day,
    /// Published after the next session's open.
    pub late: bool,
    /// RFC 8785 canonical JSON.
    pub entry: Vec<u8>,
}

/// The newest place of the chain and its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerHead {
    /// Place in the chain.
    pub sequence: i64,
    /// Its hash.
    pub hash: [u8; 32],
    /// Ed25519 over `forecastd ledger head SEQUENCE HASH`, 64 bytes; `None` when unsigned.
    pub signature: Option<Vec<u8>>,
    /// The key that signed, 32 bytes.
    pub public_key: Option<Vec<u8>>,
}

/// Which answers are asked for, and as of when.
#[derive(Debug, Clone)]
pub struct AsOf {
    /// Kind of answer.
    pub kind: Kind,
    /// Horizon of the answer.
    pub horizon: Horizon,
    /// Whose; `None` for all. Ignored for opinions of the whole universe.
    pub symbols: Option<Vec<Symbol>>,
    /// Only what was published before this.
    pub until: DateTime<Utc>,
}

struct Row {
    sequence: i64,
    previous_hash: Vec<u8>,
    hash: Vec<u8>,
    publication: Uuid,
    kind: String,
    symbol: Option<String>,
    horizon: String,
    as_of: Day,
    published_at: DateTime<Utc>,
    valid_until: Day,
    late: bool,
    entry: Vec<u8>,
}

impl TryFrom<Row> for LedgerRow {
    type Error = StoreError;
    fn try_from(r: Row) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: r.sequence,
            previous_hash: hash_column(&r.previous_hash)?,
            hash: hash_column(&r.hash)?,
            publication: r.publication,
            kind: r.kind,
            symbol: r.symbol,
            horizon: r.horizon,
            as_of: r.as_of,
            published_at: r.published_at,
            valid_until: r.valid_until,
            late: r.late,
            entry: r.entry,
        })
    }
}

/// Entries with a sequence above `after`, ascending, at most `limit`.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn entries_after(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<LedgerRow>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "select sequence, previous_hash, hash, publication, kind, symbol, horizon, as_of, published_at, valid_until, late, entry
         from ledger where sequence > $1 order by sequence limit $2",
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(LedgerRow::try_from).collect()
}

/// The entry at a place of the chain.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn entry(pool: &PgPool, sequence: i64) -> Result<Option<LedgerRow>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "select sequence, previous_hash, hash, publication, kind, symbol, horizon, as_of, published_at, valid_until, late, entry
         from ledger where sequence = $1",
        sequence
    )
    .fetch_optional(pool)
    .await?;
    row.map(LedgerRow::try_from).transpose()
}

/// The newest place of the chain; `None` while it is empty.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn head(pool: &PgPool) -> Result<Option<LedgerHead>, StoreError> {
    let row = sqlx::query!(
        r#"select l.sequence, l.hash, h.signature as "signature?", h.public_key as "public_key?"
           from ledger l left join ledger_heads h on h.sequence = l.sequence and h.hash = l.hash
           order by l.sequence desc limit 1"#
    )
    .fetch_optional(pool)
    .await?;
    row.map(|r| {
        let hash = hash_column(&r.hash)?;
        Ok(LedgerHead { sequence: r.sequence, hash, signature: r.signature, public_key: r.public_key })
    })
    .transpose()
}

/// UTC day on which the first entry was published.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn first_day(pool: &PgPool) -> Result<Option<Day>, StoreError> {
    let row = sqlx::query!("select published_at from ledger order by sequence limit 1").fetch_optional(pool).await?;
    Ok(row.map(|r| r.published_at.date_naive()))
}

/// The newest answer per symbol of a kind and horizon that was published before a moment, ascending by symbol.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn opinions_as_of(pool: &PgPool, asked: &AsOf) -> Result<Vec<LedgerRow>, StoreError> {
    let symbols: Option<Vec<String>> = match asked.kind {
        kind if kind.is_of_universe() => None,
        _ => asked.symbols.as_ref().map(|s| s.iter().map(|s| s.as_str().to_owned()).collect()),
    };
    let rows = sqlx::query_as!(
        Row,
        r#"select distinct on (symbol collate "C")
                  sequence, previous_hash, hash, publication, kind, symbol, horizon, as_of, published_at, valid_until, late, entry
           from ledger
           where kind = $1 and horizon = $2 and published_at < $3 and ($4::text[] is null or symbol = any ($4))
           order by symbol collate "C", sequence desc"#,
        asked.kind.as_str(),
        asked.horizon.label(),
        asked.until,
        symbols.as_deref()
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(LedgerRow::try_from).collect()
}

/// The newest entry of each kind, horizon and symbol with a sequence below `before`, ascending by sequence: what was
/// served then.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn newest(pool: &PgPool, before: i64) -> Result<Vec<LedgerRow>, StoreError> {
    // Places alone are looked through, in the index: sorting whole entries would take seconds after some years.
    let rows = sqlx::query_as!(
        Row,
        r#"select sequence as "sequence!", previous_hash as "previous_hash!", hash as "hash!", publication as "publication!",
                  kind as "kind!", symbol, horizon as "horizon!", as_of as "as_of!", published_at as "published_at!",
                  valid_until as "valid_until!", late as "late!", entry as "entry!"
           from ledger
           where sequence in (select max(sequence) from ledger where sequence < $1 group by kind, horizon, symbol)
           order by sequence"#,
        before
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(LedgerRow::try_from).collect()
}

/// All entries of a publication, ascending.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn entries_of(pool: &PgPool, publication: Uuid) -> Result<Vec<LedgerRow>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "select sequence, previous_hash, hash, publication, kind, symbol, horizon, as_of, published_at, valid_until, late, entry
         from ledger where publication = $1 order by sequence",
        publication
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(LedgerRow::try_from).collect()
}

/// The answers of a publication of a kind and horizon, ascending by symbol; of some symbols or of all.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn opinions_of(
    pool: &PgPool,
    publication: Uuid,
    (kind, horizon): (Kind, Horizon),
    symbols: Option<&[Symbol]>,
) -> Result<Vec<LedgerRow>, StoreError> {
    let symbols = symbols.filter(|_| !kind.is_of_universe());
    let symbols: Option<Vec<String>> = symbols.map(|s| s.iter().map(|s| s.as_str().to_owned()).collect());
    let rows = sqlx::query_as!(
        Row,
        r#"select sequence, previous_hash, hash, publication, kind, symbol, horizon, as_of, published_at, valid_until, late, entry
           from ledger
           where publication = $1 and kind = $2 and horizon = $3 and ($4::text[] is null or symbol = any ($4))
           order by symbol collate "C""#,
        publication,
        kind.as_str(),
        horizon.label(),
        symbols.as_deref()
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(LedgerRow::try_from).collect()
}

/// The first instant after a day in UTC, for [`AsOf::until`].
#[must_use]
pub fn end_of(day: Day) -> DateTime<Utc> {
    day.succ_opt().unwrap_or(day).and_time(NaiveTime::MIN).and_utc()
}

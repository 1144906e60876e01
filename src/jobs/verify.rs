//! Checks the ledger entry by entry: every hash, every link, every entry's own columns.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::jobs::progress::Phase;
use crate::opinion::chain::Chain;
use crate::store::chain::{self, GENESIS, Head, Publication, SignedHead};
use crate::store::ledger::{self, LedgerRow};
use crate::store::signing::is_signed_on;
use crate::store::{StoreError, backfill};

/// Entries read at once.
const PAGE: i64 = 2_000;
/// How often a check is made again because a publication came in between.
const ATTEMPTS: usize = 5;

/// What is wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A sequence is missing.
    #[error("entry {0} is missing from the ledger")]
    Missing(i64),
    /// An entry does not follow from its predecessor.
    #[error("entry {0} does not name the hash of the entry before it")]
    Link(i64),
    /// Bytes and hash of an entry disagree.
    #[error("entry {0} was changed: its bytes do not give its hash")]
    Hash(i64),
    /// The columns that an entry is found by disagree with its bytes.
    #[error("entry {sequence} is filed under {column} {filed:?}, its bytes say {written:?}")]
    Column {
        /// Place in the chain.
        sequence: i64,
        /// The column.
        column: &'static str,
        /// What the column says.
        filed: String,
        /// What the entry says.
        written: String,
    },
    /// The record of a publication disagrees with its entries.
    #[error("the record of the publication of entry {0} is not what its entries say")]
    Publication(i64),
    /// A backfilled publication answers for other days than its own.
    #[error(
        "the days that the publication of entry {0} answers for are missing, or do not begin with its decision day"
    )]
    Days(i64),
    /// An entry seen earlier is no longer there.
    #[error("entry {sequence} is not the one that was expected: the ledger holds {found}, expected was {expected}")]
    Expectation {
        /// Place in the chain.
        sequence: i64,
        /// Its hash now.
        found: String,
        /// Its hash then.
        expected: String,
    },
    /// A signature does not belong to the entry that it names.
    #[error("the signed head of entry {0} is not the entry's: its hash or its signature is wrong")]
    Signature(i64),
    /// A publication's last entry has no signature.
    #[error("entry {0} ends a publication, and its signature is missing")]
    Unsigned(i64),
    /// A head was signed by another key than this installation's.
    #[error("the head of entry {sequence} was signed by key {found}, not by this installation's key {expected}")]
    Signer {
        /// Place in the chain.
        sequence: i64,
        /// Public key that signed.
        found: String,
        /// Public key of the installation.
        expected: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What to check besides the chain itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expectations {
    /// An entry seen earlier: its sequence and hash.
    pub entry: Option<(i64, [u8; 32])>,
    /// The installation's public key, if it has one.
    pub public_key: Option<[u8; 32]>,
}

/// Walks the whole live chain and its signed heads; returns its head.
///
/// # Errors
/// [`Broken`] names the first entry that is wrong.
pub async fn verify(pool: &PgPool, expect: Expectations) -> Result<Head, Broken> {
    verify_on(Chain::Live, pool, expect).await
}

/// The same for a chain, which is the one that the pool is on.
///
/// # Errors
/// [`Broken`] names the first entry that is wrong.
pub async fn verify_on(of: Chain, pool: &PgPool, expect: Expectations) -> Result<Head, Broken> {
    for _ in 1..ATTEMPTS {
        let before = chain::newest_publication(pool).await?;
        match walk(of, pool, expect).await {
            // What was read of it at different moments does not fit together then.
            Err(broken) if chain::newest_publication(pool).await? != before => {
                tracing::info!("a publication came in between, so the ledger is looked at again: {broken}");
            }
            outcome => return outcome,
        }
    }
    walk(of, pool, expect).await
}

async fn walk(of: Chain, pool: &PgPool, expect: Expectations) -> Result<Head, Broken> {
    let publications = chain::publications(pool).await?;
    let mut signed = chain::signed_heads(pool).await?.into_iter().peekable();
    let mut connection = pool.acquire().await.map_err(StoreError::from)?;
    let last = chain::head(&mut connection).await?;
    drop(connection);
    let mut signers = Signers { installation: expect.public_key, other: None, own: false };
    let phase = Phase::start("verify", "entries", u64::try_from(last.sequence).unwrap_or(0));
    let mut head = Head { sequence: 0, hash: GENESIS };
    let mut seen = None;
    loop {
        let page = ledger::entries_after(pool, head.sequence, PAGE).await?;
        for entry in &page {
            head = follow(of, head, entry)?;
            if !publications.get(&entry.publication).is_some_and(|p| is_recorded(entry, p)) {
                return Err(Broken::Publication(head.sequence));
            }
            let mut is_signed_here = false;
            while let Some(signed) = signed.next_if(|s| s.head.sequence <= head.sequence) {
                check_signature(of, &signed, head)?;
                signers.follow(&signed)?;
                is_signed_here = true;
            }
            let ends_publication = publications.get(&entry.publication).is_some_and(|p| p.2 == head.sequence);
            if ends_publication && !is_signed_here {
                return Err(Broken::Unsigned(head.sequence));
            }
            if expect.entry.is_some_and(|(sequence, _)| sequence == head.sequence) {
                seen = Some(head.hash);
            }
        }
        phase.at(u64::try_from(head.sequence).unwrap_or(0));
        if page.is_empty() {
            break;
        }
    }
    if let Some(signed) = signed.next() {
        return Err(Broken::Missing(signed.head.sequence));
    }
    if publications.values().any(|(.., last)| *last > head.sequence) {
        return Err(Broken::Missing(head.sequence + 1));
    }
    signers.end()?;
    if of == Chain::Backfill
        && let Some(sequence) = backfill::without_span(pool).await?
    {
        return Err(Broken::Days(sequence));
    }
    if let Some((sequence, expected)) = expect.entry
        && seen != Some(expected)
    {
        let found = seen.map_or_else(|| "no such entry".to_owned(), hex::encode);
        return Err(Broken::Expectation { sequence, found, expected: hex::encode(expected) });
    }
    phase.finish(&format!("{} entries, each follows from the one before", head.sequence));
    Ok(head)
}

fn check_signature(of: Chain, signed: &SignedHead, head: Head) -> Result<(), Broken> {
    let is_right = signed.head == head && is_signed_on(of, head, &signed.signature, &signed.public_key);
    if is_right { Ok(()) } else { Err(Broken::Signature(signed.head.sequence)) }
}

/// Who signed: an installation may have succeeded another key, and from then on signs alone. As a head stands for all
/// entries before it, its first signature vouches for what the earlier key signed, too.
struct Signers {
    installation: Option<[u8; 32]>,
    other: Option<(i64, [u8; 32])>,
    own: bool,
}

impl Signers {
    fn follow(&mut self, signed: &SignedHead) -> Result<(), Broken> {
        let Some(own) = self.installation else { return Ok(()) };
        if signed.public_key == own {
            if let Some((until, key)) = self.other.filter(|_| !self.own) {
                tracing::info!("the heads up to entry {until} were signed by an earlier key, {}", hex::encode(key));
            }
            self.own = true;
            return Ok(());
        }
        self.other = Some((signed.head.sequence, signed.public_key));
        if self.own { self.refuse() } else { Ok(()) }
    }

    /// At the end of the ledger: the newest head is the installation's.
    fn end(&self) -> Result<(), Broken> {
        if self.own { Ok(()) } else { self.refuse() }
    }

    fn refuse(&self) -> Result<(), Broken> {
        match self.installation.zip(self.other) {
            Some((own, (sequence, found))) => {
                Err(Broken::Signer { sequence, found: hex::encode(found), expected: hex::encode(own) })
            }
            None => Ok(()),
        }
    }
}

fn follow(of: Chain, head: Head, entry: &LedgerRow) -> Result<Head, Broken> {
    let sequence = head.sequence + 1;
    if entry.sequence != sequence {
        return Err(Broken::Missing(sequence));
    }
    if entry.previous_hash != head.hash {
        return Err(Broken::Link(sequence));
    }
    let hash = chain::chain_hash(&head.hash, &entry.entry);
    if entry.hash != hash {
        return Err(Broken::Hash(sequence));
    }
    check_columns(of, entry)?;
    Ok(Head { sequence, hash })
}

/// Whether the record of a publication says what one of its entries says.
fn is_recorded(entry: &LedgerRow, (publication, first, last): &(Publication, i64, i64)) -> bool {
    let Ok(written) = serde_json::from_slice::<serde_json::Value>(&entry.entry) else { return false };
    let instant = |text: &serde_json::Value| text.as_str().and_then(|t| t.parse::<DateTime<Utc>>().ok());
    (*first..=*last).contains(&entry.sequence)
        && publication.as_of == entry.as_of
        && publication.published_at == entry.published_at
        && written["model_id"] == publication.model_id.as_str()
        && instant(&written["provenance"]["known_until"]) == Some(publication.known_until)
        && instant(&written["provenance"]["recorded_until"]) == Some(publication.recorded_until)
}

fn check_columns(of: Chain, entry: &LedgerRow) -> Result<(), Broken> {
    let written: serde_json::Value = serde_json::from_slice(&entry.entry).map_err(|_| Broken::Hash(entry.sequence))?;
    let text = |key: &str| written[key].as_str().unwrap_or_default().to_owned();
    let columns = [
        ("kind", entry.kind.clone()),
        ("symbol", entry.symbol.clone().unwrap_or_default()),
        ("horizon", entry.horizon.clone()),
        ("as_of", entry.as_of.to_string()),
        ("valid_until", entry.valid_until.to_string()),
        ("published_at", entry.published_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
    ];
    let publication = written["provenance"]["publication"].as_str().unwrap_or_default().to_owned();
    let rest = [
        ("late", entry.late.to_string(), written["late"].to_string()),
        ("publication", entry.publication.to_string(), publication),
        ("chain", of.to_string(), written["chain"].as_str().unwrap_or(Chain::Live.as_str()).to_owned()),
    ];
    if let Some((column, filed, written)) = rest.into_iter().find(|(_, filed, written)| filed != written) {
        return Err(Broken::Column { sequence: entry.sequence, column, filed, written });
    }
    for (column, filed) in columns {
        if filed != text(column) {
            return Err(Broken::Column { sequence: entry.sequence, column, filed, written: text(column) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::market::bar::Day;

    fn entry(head: Head, symbol: &str) -> LedgerRow {
        let bytes = format!(
            r#"{{"as_of":"2024-09-30","horizon":"4w","kind":"signal","late":true,
                "provenance":{{"publication":"{}"}},"published_at":"1970-01-01T00:00:00Z",
                "symbol":"{symbol}","valid_until":"2024-10-28"}}"#,
            uuid::Uuid::nil()
        );
        LedgerRow {
            sequence: head.sequence + 1,
            previous_hash: head.hash,
            hash: chain::chain_hash(&head.hash, bytes.as_bytes()),
            publication: uuid::Uuid::nil(),
            kind: "signal".into(),
            symbol: Some(symbol.into()),
            horizon: "4w".into(),
            as_of: Day::from_ymd_opt(2024, 9, 30).unwrap(),
            published_at: Utc.timestamp_opt(0, 0).unwrap(),
            valid_until: Day::from_ymd_opt(2024, 10, 28).unwrap(),
            late: true,
            entry: bytes.into_bytes(),
        }
    }

    #[test]
    fn every_kind_of_tampering_is_named() {
        let start = Head { sequence: 0, hash: GENESIS };
        let good = entry(start, "BABA");
        assert!(follow(Chain::Live, start, &good).is_ok());
        let mut changed = good.clone();
        changed.entry[3] ^= 1;
        assert!(matches!(follow(Chain::Live, start, &changed), Err(Broken::Hash(1))));
        let mut unlinked = good.clone();
        unlinked.previous_hash[0] ^= 1;
        assert!(matches!(follow(Chain::Live, start, &unlinked), Err(Broken::Link(1))));
        let mut refiled = good.clone();
        refiled.symbol = Some("JD".into());
        assert!(matches!(follow(Chain::Live, start, &refiled), Err(Broken::Column { column: "symbol", .. })));
        let skipped = LedgerRow { sequence: 2, ..good };
        assert!(matches!(follow(Chain::Live, start, &skipped), Err(Broken::Missing(1))));
    }
}

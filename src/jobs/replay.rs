//! Replays a ledger entry: computes its publication again from the rows that its cutoffs admit, and compares bytes.

use anyhow::Context;
use serde::Deserialize;

use crate::jobs::publish::compose_again;
use crate::jobs::train::CODE_VERSION;
use crate::store::history::{Revisions, load};
use crate::store::open::Store;
use crate::store::{chain, ledger};

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// The same bytes, so many of them.
    Same(usize),
    /// Other bytes, the first difference at this offset.
    Different {
        /// Offset of the first byte that differs.
        offset: usize,
        /// The entry as computed now.
        computed: Vec<u8>,
    },
}

#[derive(Deserialize)]
struct Named {
    provenance: Provenance,
}

#[derive(Deserialize)]
struct Provenance {
    code_version: String,
    inputs_hash: String,
}

/// Replays the entry at a place of the ledger.
///
/// # Errors
/// When there is no such entry, it needs another version of the code, its rows are no longer what they were, or the
/// store fails.
pub async fn replay(store: &Store, sequence: i64) -> anyhow::Result<Replay> {
    let row = ledger::entry(&store.pool, sequence).await?;
    let row = row.with_context(|| format!("the ledger has no entry {sequence}"))?;
    let named: Named = serde_json::from_slice(&row.entry)
        .with_context(|| format!("entry {sequence} cannot be read; `forecastd verify` finds what was changed"))?;
    anyhow::ensure!(
        named.provenance.code_version == CODE_VERSION,
        "entry {sequence} was computed by forecastd {}, this is {CODE_VERSION}; replay it with that version",
        named.provenance.code_version
    );
    let found = chain::publication(&store.pool, row.publication).await?;
    let (publication, first, _) = found.with_context(|| format!("the publication of entry {sequence} is missing"))?;
    let loaded = load(&store.pool, publication.known_until, publication.recorded_until, Revisions::Newest).await?;
    anyhow::ensure!(
        hex::encode(loaded.inputs_hash) == named.provenance.inputs_hash,
        "the rows that entry {sequence} was computed from are no longer what they were"
    );
    let composed = compose_again(store, &publication, first, loaded).await?;
    let position = usize::try_from(sequence - first)?;
    let computed = composed.into_iter().nth(position).context("the replayed publication is shorter")?.entry;
    if computed == row.entry {
        return Ok(Replay::Same(computed.len()));
    }
    let same = computed.iter().zip(&row.entry).take_while(|(a, b)| a == b).count();
    Ok(Replay::Different { offset: same, computed })
}

//! Publishes: composes every answer of the newest session and writes them into the ledger in one transaction.

use anyhow::Context;
use chrono::{DateTime, SubsecRound, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::clock;
use crate::forecast::prepared::Prepared;
use crate::forecast::state::{ModelState, STATE_VERSION};
use crate::jobs::moment::Moment;
use crate::jobs::progress::Phase;
use crate::jobs::promotion;
use crate::jobs::train::CODE_VERSION;
use crate::learning::artifact;
use crate::learning::ensemble::TrainedModel;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::horizon::Horizon;
use crate::opinion::chain::Chain;
use crate::opinion::envelope::Kind;
use crate::opinion::provenance::Provenance;
use crate::publication::compose::{Composed, PublicationInputs, compose};
use crate::publication::header::{Header, Previous};
use crate::store::chain::{self, Head, NewEntry, Publication};
use crate::store::history::{LoadedHistory, Revisions, load};
use crate::store::jobs::{self, Lease};
use crate::store::ledger::LedgerRow;
use crate::store::models::{self, StoredModel};
use crate::store::open::Store;
use crate::store::signing::HeadSigner;
use crate::store::{StoreError, backfill, ledger, pool};

/// A finished publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Decision day.
    pub as_of: Day,
    /// Answers written.
    pub entries: usize,
    /// The ledger's head after them.
    pub head: Head,
}

/// Publishes the newest session with the model in force. `None` when that was done already and `again` is not wished.
///
/// # Errors
/// When there is no model or no price, or the store fails; then nothing was published.
pub async fn publish(store: &Store, signer: &HeadSigner, again: bool) -> anyhow::Result<Option<Published>> {
    publish_when(store, signer, Wish { again, given: None, lease: None }).await
}

/// The same as a job, which ends in the same transaction; with `None` it is left open.
///
/// # Errors
/// As of [`publish`], and when another run of the job took over.
pub async fn publish_as_job(
    store: &Store,
    signer: &HeadSigner,
    again: bool,
    lease: Lease,
) -> anyhow::Result<Option<Published>> {
    publish_when(store, signer, Wish { again, given: None, lease: Some(lease) }).await
}

/// The same at a given moment, with the newest model and the rows known then. Only for a simulated market: no real ledger
/// can be given a false time.
///
/// # Errors
/// As of [`publish`], and when the store holds real prices.
pub async fn publish_at(
    store: &Store,
    signer: &HeadSigner,
    moment: Moment,
    again: bool,
) -> anyhow::Result<Option<Published>> {
    anyhow::ensure!(store.simulated, "only a simulated market can be published at another time");
    publish_when(store, signer, Wish { again, given: Some(moment), lease: None }).await
}

/// How to publish.
#[derive(Debug, Clone, Copy)]
struct Wish {
    again: bool,
    given: Option<Moment>,
    lease: Option<Lease>,
}

async fn publish_when(store: &Store, signer: &HeadSigner, wish: Wish) -> anyhow::Result<Option<Published>> {
    for _ in 0..ATTEMPTS {
        match attempt(store, signer, wish).await {
            Err(error) if error.is::<Overtaken>() => tracing::info!("{error}; composing anew"),
            outcome => return outcome,
        }
    }
    Err(Overtaken.into())
}

/// Another publication extended the ledger while this one was being composed.
#[derive(Debug, thiserror::Error)]
#[error("another publication came in between")]
pub(crate) struct Overtaken;

/// How often a publication is composed anew because another came in between.
pub(crate) const ATTEMPTS: usize = 3;

async fn attempt(store: &Store, signer: &HeadSigner, wish: Wish) -> anyhow::Result<Option<Published>> {
    // Read first: a publication that comes in after this is noticed when writing, also one that ends before rows are read.
    let before = ledger::head(&store.pool).await?.map_or(0, |h| h.sequence);
    let model_id =
        models::newest(&store.pool, CODE_VERSION).await?.context("there is no model yet; run `forecastd train`")?;
    let last = chain::newest_publication(&store.pool).await?.filter(|p| p.model_id == model_id && !wish.again);
    let moment = match wish.given {
        Some(moment) => moment,
        None => Moment::take(&store.pool).await?,
    };
    if let Some(last) = &last
        && !chain::is_overtaken_by_rows(&store.pool, last, moment.known_until).await?
    {
        return Ok(None);
    }
    let loaded = load(&store.pool, moment.known_until, moment.recorded_until, Revisions::Newest).await?;
    let as_of = loaded.history.decision_day().context("the store holds no prices; run `forecastd import FOLDER`")?;
    if let Some(last) = last
        && inputs_of(store, last.publication).await? == Some(hex::encode(loaded.inputs_hash))
    {
        return Ok(None);
    }
    let publication = Publication {
        publication: Uuid::now_v7(),
        as_of,
        published_at: moment.now.trunc_subsecs(0),
        known_until: moment.known_until,
        recorded_until: moment.recorded_until,
        model_id,
    };
    let composed = compose_again(store, &publication, before + 1, loaded).await?;
    let head = write(&store.pool, (signer, wish), &publication, before, &composed).await?;
    Ok(Some(Published { as_of, entries: composed.len(), head }))
}

/// Composes a publication from the rows, the model and what had been answered before a place of the ledger.
///
/// # Errors
/// When the model is missing or damaged, or the store fails.
pub async fn compose_again(
    store: &Store,
    publication: &Publication,
    first_sequence: i64,
    loaded: LoadedHistory,
) -> anyhow::Result<Vec<Composed>> {
    let model = models::find(&store.pool, &publication.model_id).await?;
    let model = model.with_context(|| format!("model {} is missing from the store", publication.model_id))?;
    let previous = previous(&answered_before(store, publication, first_sequence).await?)?;
    let promotion = promotion::of_publication(&store.pool, publication).await?;
    let (publication, simulated, chain) = (publication.clone(), store.simulated, store.chain);
    tokio::task::spawn_blocking(move || {
        let (state, network) = open_model(&model)?;
        let header = header(&publication, &model, (network.is_some(), simulated), (loaded.inputs_hash, &state));
        let mut header = Header { chain, ..header };
        header.provenance.promotion = promotion;
        let prepared = Prepared::new(loaded.history.until(publication.as_of));
        let inputs = PublicationInputs {
            prepared: &prepared,
            state: &state,
            network: network.as_ref(),
            header: &header,
            previous: &previous,
        };
        // A backfilled day is a step of a longer phase.
        let phase = chain.is_live().then(|| Phase::start("compose", "horizons", Horizon::ALL.len() as u64));
        let composed = compose(&inputs, &|_| phase.iter().for_each(|phase| phase.advance(1)))?;
        if let Some(phase) = phase {
            phase.finish(&format!("{} answers as of {}", composed.len(), header.as_of));
        }
        Ok(composed)
    })
    .await?
}

/// What had been answered last: before a place of the live chain; in the backfilled one, which is not always written in
/// the order of its days, also of earlier days only.
async fn answered_before(
    store: &Store,
    publication: &Publication,
    sequence: i64,
) -> Result<Vec<LedgerRow>, StoreError> {
    if store.chain.is_live() {
        return ledger::newest(&store.pool, sequence).await;
    }
    match backfill::publication_before(&store.pool, sequence, publication.as_of).await? {
        Some(last) => ledger::entries_of(&store.pool, last).await,
        None => Ok(vec![]),
    }
}

/// A stored model, ready to answer.
///
/// # Errors
/// When its bytes are damaged or of another version.
pub fn open_model(model: &StoredModel) -> anyhow::Result<(ModelState, Option<TrainedModel>)> {
    // The version alone first: a state of another one may lack what this one reads.
    let version: serde_json::Value =
        serde_json::from_slice(&model.state).context("the model's state cannot be read")?;
    anyhow::ensure!(
        version["version"] == STATE_VERSION,
        "model {} has state version {}, this version reads {STATE_VERSION}; train anew or use forecastd {}",
        model.model_id,
        version["version"],
        model.code_version
    );
    let state: ModelState = serde_json::from_slice(&model.state).context("the model's state cannot be read")?;
    let schema = serde_json::to_value(crate::features::schema::schema())?;
    let network = model.artifact.as_deref().map(|bytes| {
        // The bytes as stored were checked against the row's SHA-256 when they were read.
        artifact::load(bytes, &hex::encode(Sha256::digest(bytes)), &schema)
    });
    Ok((state, network.transpose()?))
}

/// Hash of the rows that a publication was computed from, as its first entry names it.
async fn inputs_of(store: &Store, publication: Uuid) -> anyhow::Result<Option<String>> {
    let Some((_, first, _)) = chain::publication(&store.pool, publication).await? else { return Ok(None) };
    let Some(entry) = ledger::entry(&store.pool, first).await? else { return Ok(None) };
    let written: serde_json::Value = serde_json::from_slice(&entry.entry)?;
    Ok(written["provenance"]["inputs_hash"].as_str().map(str::to_owned))
}

async fn write(
    pool: &PgPool,
    (signer, wish): (&HeadSigner, Wish),
    publication: &Publication,
    before: i64,
    composed: &[Composed],
) -> anyhow::Result<Head> {
    let entries: Vec<NewEntry> = composed.iter().map(new_entry).collect();
    let mut transaction = pool.begin().await?;
    pool::lock_ledger(&mut transaction).await?;
    let head = chain::head(&mut transaction).await?;
    if head.sequence != before {
        return Err(Overtaken.into());
    }
    let opens = calendar::open_of(calendar::next_session(publication.as_of));
    anyhow::ensure!(
        publication.published_at >= opens || wish.given.map_or_else(clock::now, |moment| moment.now) < opens,
        "the next session opened while the answers were being composed; publish again, and they will say that they are late"
    );
    let head = chain::append(&mut transaction, publication, head, &entries).await?;
    chain::sign(&mut transaction, head, signer).await?;
    pool::announce(&mut transaction, head.sequence).await?;
    if let Some(lease) = wish.lease {
        let result = json!({
            "published": entries.len(),
            "as_of": publication.as_of,
            "model_id": publication.model_id,
            "head": { "sequence": head.sequence, "hash": hex::encode(head.hash) },
        });
        jobs::succeed(&mut transaction, lease, &result).await?;
    }
    transaction.commit().await?;
    Ok(head)
}

/// An answer as it is written.
pub(crate) fn new_entry(composed: &Composed) -> NewEntry {
    NewEntry {
        kind: composed.kind.as_str(),
        symbol: composed.symbol.as_ref().map(|s| s.as_str().to_owned()),
        horizon: composed.horizon.label(),
        valid_until: composed.valid_until,
        late: composed.late,
        entry: composed.entry.clone(),
    }
}

fn header(
    publication: &Publication,
    model: &StoredModel,
    (has_network, simulated): (bool, bool),
    (inputs_hash, state): ([u8; 32], &ModelState),
) -> Header {
    let recipe = Sha256::digest(model.recipe.to_string());
    let microseconds = |at: DateTime<Utc>| at.trunc_subsecs(6);
    Header {
        as_of: publication.as_of,
        published_at: publication.published_at,
        simulated,
        model_id: publication.model_id.clone(),
        has_network,
        chain: Chain::Live,
        provenance: Provenance {
            inputs_hash: hex::encode(inputs_hash),
            known_until: microseconds(publication.known_until),
            recorded_until: microseconds(publication.recorded_until),
            recipe: format!("{}.{}", if has_network { "hard" } else { "benchmarks" }, &hex::encode(recipe)[..8]),
            model_sha256: model.artifact.as_deref().map(|bytes| hex::encode(Sha256::digest(bytes))),
            seed: state.settings.seed,
            code_version: CODE_VERSION.to_owned(),
            publication: publication.publication,
            promotion: None,
        },
    }
}

fn previous(entries: &[LedgerRow]) -> anyhow::Result<Previous> {
    let mut previous = Previous::default();
    for row in entries {
        let symbol = || row.symbol.as_deref().context("an entry without symbol")?.parse().map_err(anyhow::Error::msg);
        match row.kind.parse::<Kind>() {
            Ok(Kind::Signal) => {
                let horizon = row.horizon.parse().map_err(anyhow::Error::msg)?;
                previous.signals.insert((symbol()?, horizon), serde_json::from_slice(&row.entry)?);
            }
            Ok(Kind::Rating) => {
                previous.ratings.insert(symbol()?, serde_json::from_slice(&row.entry)?);
            }
            _ => {}
        }
    }
    Ok(previous)
}

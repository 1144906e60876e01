//! `GET /ledger`: every entry as it was hashed, for everyone to check.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::api::asked::{self, PAGE_DEFAULT, PAGE_MAX};
use crate::api::condition::Condition;
use crate::api::parameters::{self, Parameters};
use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::api::ready::Ready;
use crate::api::state::AppState;
use crate::api::tag;
use crate::opinion::chain::Chain;
use crate::store::StoreError;
use crate::store::ledger::{self, LedgerHead, LedgerRow};
use crate::store::signing::signed_text;

const CHAIN: &str = "chain";

/// An entry of the ledger. `hash` is SHA-256 of the 32 bytes of `previous_hash` followed by `entry` as RFC 8785
/// canonical JSON.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerEntry {
    /// Place in the chain, from 1.
    #[schema(minimum = 1, example = 4182)]
    pub sequence: i64,
    /// What kind of entry.
    #[schema(example = "signal")]
    pub kind: String,
    /// When it was published.
    #[schema(value_type = String, format = DateTime)]
    pub published_at: DateTime<Utc>,
    /// Hash of the entry before, lowercase hexadecimal; zeros for the first.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub previous_hash: String,
    /// Hash of this entry, lowercase hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub hash: String,
    /// What was published.
    #[schema(value_type = Object)]
    pub entry: Box<RawValue>,
}

/// A page of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerPage {
    /// Entries, ascending by sequence.
    pub items: Vec<LedgerEntry>,
    /// The `after` of the next page; `null` at the end of the ledger.
    #[schema(example = 100)]
    pub next: Option<i64>,
}

/// The newest place of the ledger.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerHead)]
pub struct HeadAnswer {
    /// Place in the chain.
    #[schema(minimum = 1, example = 4182)]
    pub sequence: i64,
    /// Its hash, lowercase hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub hash: String,
    /// Ed25519 signature of `signed_text`, lowercase hexadecimal; `null` while unsigned.
    #[schema(pattern = "^[0-9a-f]{128}$")]
    pub signature: Option<String>,
    /// The key that signed, lowercase hexadecimal; `null` while unsigned.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub public_key: Option<String>,
    /// The text that is signed.
    #[schema(example = "forecastd ledger head 4182 9b0c...")]
    pub signed_text: String,
}

/// Documentation of the parameters of a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct PageParameters {
    /// Only entries after this place; 0 unless given.
    #[param(minimum = 0, example = 0)]
    after: Option<i64>,
    /// At most so many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `live` unless given; `backfill` is the chain of past days that were written afterwards.
    #[param(schema_with = asked::chain)]
    chain: Option<String>,
}

/// Documentation of the parameter of one entry and of the head.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the field")]
pub struct ChainParameter {
    /// `live` unless given; `backfill` is the chain of past days that were written afterwards.
    #[param(schema_with = asked::chain)]
    chain: Option<String>,
}

/// Entries of the ledger, oldest first.
#[utoipa::path(
    get, path = "/ledger", operation_id = "list_ledger_entries", tag = tag::LEDGER, params(PageParameters),
    responses((status = 200, description = "A page of entries", body = LedgerPage))
)]
pub async fn list_ledger_entries(
    State(state): State<AppState>,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &["after", "limit", CHAIN]);
    let after = parameters.take("after", |t| parameters::integer(t, 0..=i64::MAX)).unwrap_or(0);
    let limit =
        parameters.take("limit", |t| parameters::integer(t, 1..=PAGE_MAX as i64)).unwrap_or(PAGE_DEFAULT as i64);
    let chain = chain_of(&mut parameters);
    parameters.finish()?;
    // One more than asked tells whether another page follows.
    let mut rows = ledger::entries_after(state.pool_on(chain), after, limit + 1).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(PAGE_DEFAULT));
    let next = rows.last().filter(|_| more).map(|row| row.sequence);
    let newest = rows.last().map(|row| row.published_at);
    let items = rows.into_iter().map(shaped).collect::<Result<_, Problem>>()?;
    condition.respond_json(&LedgerPage { items, next }, newest)
}

/// One entry of the ledger.
#[utoipa::path(
    get, path = "/ledger/{sequence}", operation_id = "find_ledger_entry", tag = tag::LEDGER,
    params(
        ("sequence" = i64, Path, description = "Place in the chain, from 1", minimum = 1, example = 1), ChainParameter
    ),
    responses((status = 200, description = "The entry", body = LedgerEntry))
)]
pub async fn find_ledger_entry(
    State(state): State<AppState>,
    Path(text): Path<String>,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[CHAIN]);
    let chain = chain_of(&mut parameters);
    let sequence = parameters.place("sequence", &text, |t| parameters::integer(t, 1..=i64::MAX)).unwrap_or(1);
    parameters.finish()?;
    let row = ledger::entry(state.pool_on(chain), sequence).await?;
    let row =
        row.ok_or_else(|| Problem::new(ProblemType::NotFound, format!("the {chain} chain has no entry {sequence}")))?;
    let published_at = row.published_at;
    let body = serde_json::to_vec(&shaped(row)?).map_err(StoreError::row)?;
    // An entry never changes.
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    Ok(condition.respond(&Ready::json(body, Some(published_at)), forever))
}

/// The newest place of the ledger with its signature.
///
/// Keep it: `forecastd verify --expect SEQUENCE:HASH` then sees a rewritten chain.
#[utoipa::path(
    get, path = "/ledger/head", operation_id = "find_ledger_head", tag = tag::LEDGER, params(ChainParameter),
    responses((status = 200, description = "The head", body = HeadAnswer))
)]
pub async fn find_ledger_head(
    State(state): State<AppState>,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[CHAIN]);
    let chain = chain_of(&mut parameters);
    parameters.finish()?;
    let head = ledger::head(state.pool_on(chain)).await?;
    condition.respond_json(&signed(chain, head.ok_or_else(|| empty(chain))?), None)
}

fn chain_of(parameters: &mut Parameters) -> Chain {
    parameters.take(CHAIN, str::parse).unwrap_or_default()
}

/// The live chain fills by itself; the backfilled one when somebody asks for it.
fn empty(chain: Chain) -> Problem {
    match chain {
        Chain::Live => Problem::new(ProblemType::NotPublished, "the ledger is empty"),
        Chain::Backfill => Problem::new(ProblemType::NotFound, "nothing has been backfilled"),
    }
}

fn signed(chain: Chain, head: LedgerHead) -> HeadAnswer {
    HeadAnswer {
        sequence: head.sequence,
        signature: head.signature.map(hex::encode),
        public_key: head.public_key.map(hex::encode),
        signed_text: signed_text(chain, head.sequence, &head.hash),
        hash: hex::encode(head.hash),
    }
}

fn shaped(row: LedgerRow) -> Result<LedgerEntry, Problem> {
    Ok(LedgerEntry {
        sequence: row.sequence,
        kind: row.kind,
        published_at: row.published_at,
        previous_hash: hex::encode(row.previous_hash),
        hash: hex::encode(row.hash),
        entry: serde_json::from_slice(&row.entry).map_err(StoreError::row)?,
    })
}

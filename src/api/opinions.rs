//! How every opinion is found, listed, and waited for: extract, ask the snapshot, decide, shape.

use std::future::ready;
use std::sync::Arc;

use axum::http::HeaderValue;
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::api::asked::{AskedMany, AskedOne, Circumstances, Selection};
use crate::api::historic;
use crate::api::near::near_matches;
use crate::api::pick;
use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::api::ready::Ready;
use crate::api::snapshot::{Item, Snapshot};
use crate::api::state::AppState;
use crate::clock;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::envelope::Kind;

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// What is on the page, ascending by symbol.
    pub items: Vec<T>,
    /// Symbols that were asked for and are not there.
    pub missing: Vec<Symbol>,
    /// The `cursor` of the next page; `None` on the last.
    pub next: Option<Symbol>,
}

/// One opinion, from memory or, as of a day, from the ledger.
///
/// # Errors
/// 404 with near matches, 422 for unknown fields, 503 before the first publication.
pub async fn find(state: &AppState, kind: Kind, asked: AskedOne) -> Result<Response, Problem> {
    let AskedOne { symbol, selection, circumstances } = asked;
    let shape = |snapshot: &Snapshot| one(snapshot, kind, Some(&symbol), &selection);
    if let Some(day) = circumstances.as_of {
        let of_symbol = Selection { symbols: Some(vec![symbol.clone()]), ..selection.clone() };
        let then = historic::snapshot(state, kind, of_symbol, day).await?;
        return Ok(circumstances.condition.respond(&*shape(&then)?, historic::cache_control(day)));
    }
    answer(state, &circumstances, shape).await
}

/// The opinion of the whole universe, from memory or, as of a day, from the ledger.
///
/// # Errors
/// 404 when there is none of that horizon, 422 for unknown fields, 503 before the first publication.
pub async fn find_of_universe(
    state: &AppState,
    kind: Kind,
    (selection, circumstances): (Selection, Circumstances),
) -> Result<Response, Problem> {
    let shape = |snapshot: &Snapshot| one(snapshot, kind, None, &selection);
    if let Some(day) = circumstances.as_of {
        let then = historic::snapshot(state, kind, selection.clone(), day).await?;
        return Ok(circumstances.condition.respond(&*shape(&then)?, historic::cache_control(day)));
    }
    answer(state, &circumstances, shape).await
}

/// A page of opinions, from memory or, as of a day, from the ledger.
///
/// # Errors
/// 404 when none of that horizon is published, 422 for unknown fields, 503 before the first publication.
pub async fn list(state: &AppState, kind: Kind, asked: AskedMany) -> Result<Response, Problem> {
    let AskedMany { selection, circumstances } = asked;
    let shape = |snapshot: &Snapshot| many(snapshot, kind, &selection);
    if let Some(day) = circumstances.as_of {
        let then = historic::snapshot(state, kind, selection.clone(), day).await?;
        return Ok(circumstances.condition.respond(&*shape(&then)?, historic::cache_control(day)));
    }
    answer(state, &circumstances, shape).await
}

/// Answers from the current snapshot; with `wait`, and a client that has the answer already, from the first snapshot
/// that answers otherwise, or at the end of the time.
///
/// # Errors
/// Those of `shape`, and 503 when too many requests are waiting.
pub async fn answer(
    state: &AppState,
    circumstances: &Circumstances,
    shape: impl Fn(&Snapshot) -> Result<Arc<Ready>, Problem>,
) -> Result<Response, Problem> {
    answer_in_time(state, circumstances, |snapshot| ready(shape(&snapshot))).await
}

/// The same for answers that take a while to form.
///
/// # Errors
/// Those of `shape`, and 503 when too many requests are waiting.
pub async fn answer_in_time<F: Future<Output = Result<Arc<Ready>, Problem>>>(
    state: &AppState,
    circumstances: &Circumstances,
    shape: impl Fn(Arc<Snapshot>) -> F,
) -> Result<Response, Problem> {
    let condition = &circumstances.condition;
    let current = || state.board.load_full();
    if let Some(length) = circumstances.wait.filter(|_| condition.names_a_tag()) {
        let end = Instant::now() + length;
        // Heard from before the first look, so that no swap falls in between.
        let mut announced = state.board.subscribe();
        if !announced.borrow().closing && condition.is_met_by(&*shape(current()).await?) {
            let _slot = state.waiting_slot()?;
            while let Ok(Ok(())) = timeout_at(end, announced.changed()).await {
                if announced.borrow().closing || !condition.is_met_by(&*shape(current()).await?) {
                    break;
                }
            }
        }
    }
    let snapshot = current();
    let cache_control = cache_control(snapshot.next_publication(), clock::now());
    Ok(condition.respond(&*shape(snapshot).await?, cache_control))
}

/// The answer of a symbol, or of the whole universe, in the wanted form.
///
/// # Errors
/// As [`absent`], and 422 for unknown fields.
pub fn one(
    snapshot: &Snapshot,
    kind: Kind,
    symbol: Option<&Symbol>,
    selection: &Selection,
) -> Result<Arc<Ready>, Problem> {
    let found = snapshot.find(kind, selection.horizon, symbol);
    let item = found.ok_or_else(|| absent(snapshot, kind, selection.horizon, symbol))?;
    match &selection.fields {
        None => Ok(item.form(selection.explain).clone()),
        Some(_) => Ok(Arc::new(Ready::json(picked(item, selection)?, item.ready.last_modified))),
    }
}

/// A page of answers. The plain first page is made once a snapshot and form.
fn many(snapshot: &Snapshot, kind: Kind, selection: &Selection) -> Result<Arc<Ready>, Problem> {
    let found = snapshot.group(kind, selection.horizon);
    let group = found.ok_or_else(|| absent(snapshot, kind, selection.horizon, None))?;
    if !selection.is_plain() {
        return Ok(Arc::new(written_page(group.items(), selection)?));
    }
    if let Some(ready) = group.first_page(selection.explain).get() {
        return Ok(ready.clone());
    }
    let made = Arc::new(written_page(group.items(), selection)?);
    Ok(group.first_page(selection.explain).get_or_init(|| made).clone())
}

fn written_page(items: &[Item], selection: &Selection) -> Result<Ready, Problem> {
    let rows = items.iter().filter_map(|item| Some((item.symbol.as_ref()?, item)));
    let page = pick::page(rows, selection);
    let bodies: Vec<Bytes> = page.rows.iter().map(|item| picked(item, selection)).collect::<Result<_, _>>()?;
    let tail = serde_json::json!({"missing": page.missing, "next": page.next}).to_string();
    let body = [b"{\"items\":", &pick::array(&bodies)[..], b",", &tail.as_bytes()[1..]].concat();
    let last_modified = items.iter().map(|item| item.ready.last_modified).max().flatten();
    Ok(Ready::json(body, last_modified))
}

fn picked(item: &Item, selection: &Selection) -> Result<Bytes, Problem> {
    pick::fields(&item.form(selection.explain).identity.body, selection.fields.as_deref())
}

/// Why there is no answer: nothing at all yet, nothing for this horizon, or nobody of that name.
#[must_use]
pub fn absent(snapshot: &Snapshot, kind: Kind, horizon: Horizon, symbol: Option<&Symbol>) -> Problem {
    if snapshot.is_empty() {
        return Problem::new(ProblemType::NotPublished, "the first publication is still being computed");
    }
    match symbol {
        Some(symbol) if !snapshot.symbols().any(|known| known == symbol) => {
            let near = near_matches(symbol, snapshot.symbols());
            Problem::new(ProblemType::UnknownSymbol, format!("nothing is published for {symbol}")).with_near(near)
        }
        Some(symbol) => {
            Problem::new(ProblemType::NotFound, format!("no {kind} of {symbol} is published for {horizon}"))
        }
        None => Problem::new(ProblemType::NotFound, format!("no {kind} is published for {horizon}")),
    }
}

/// Caches may keep an answer until the next scheduled publication, at most a day.
#[must_use]
pub fn cache_control(next_publication: Option<DateTime<Utc>>, now: DateTime<Utc>) -> HeaderValue {
    let seconds = next_publication.map_or(0, |at| (at - now).num_seconds().clamp(0, 86_400));
    if seconds == 0 {
        return HeaderValue::from_static("no-cache");
    }
    HeaderValue::from_str(&format!("public, max-age={seconds}")).unwrap_or(HeaderValue::from_static("no-cache"))
}

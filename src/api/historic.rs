//! Opinions as the ledger had them at the end of a day: a snapshot made of old entries.

use axum::http::HeaderValue;
use chrono::TimeDelta;

use crate::api::asked::Selection;
use crate::api::near::near_matches;
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_type::ProblemType;
use crate::api::snapshot::{PublishedEntry, Snapshot};
use crate::api::state::AppState;
use crate::clock;
use crate::market::bar::Day;
use crate::opinion::envelope::Kind;
use crate::store::StoreError;
use crate::store::ledger::{self, AsOf};

/// The snapshot of one kind and horizon as it stood at the end of `day` in UTC, `stale` as it was then.
///
/// # Errors
/// 404 before the ledger begins or when nothing was published by then, 422 for a day to come, 503 when the store does
/// not answer or nothing was ever published.
pub async fn snapshot(state: &AppState, kind: Kind, selection: Selection, day: Day) -> Result<Snapshot, Problem> {
    let now = clock::now();
    if day > now.date_naive() {
        return Err(Problem::invalid(vec![FieldError::parameter("as_of", "lies in the future")]));
    }
    let _slot = state.store_slot()?;
    let first = ledger::first_day(&state.pool).await?;
    let first = first.ok_or_else(|| Problem::new(ProblemType::NotPublished, "nothing has been published yet"))?;
    if day < first {
        let detail = format!("the ledger begins on {first}; earlier answers were never published");
        return Err(Problem::new(ProblemType::BeforeLedger, detail).with_first_day(Some(first)));
    }
    let until = ledger::end_of(day);
    let asked = AsOf { kind, horizon: kind.filed_under(selection.horizon), symbols: selection.symbols.clone(), until };
    let rows = ledger::opinions_as_of(&state.pool, &asked).await?;
    if rows.is_empty() {
        return Err(nothing(state, kind, &selection, day));
    }
    let entries: Vec<PublishedEntry> =
        rows.into_iter().map(PublishedEntry::try_from).collect::<Result<_, StoreError>>()?;
    Ok(Snapshot::build(entries, now.min(until - TimeDelta::seconds(1))))
}

/// The past does not change; today still may.
#[must_use]
pub fn cache_control(day: Day) -> HeaderValue {
    let past = day < clock::now().date_naive();
    HeaderValue::from_static(if past { "public, max-age=86400" } else { "no-cache" })
}

fn nothing(state: &AppState, kind: Kind, selection: &Selection, day: Day) -> Problem {
    let horizon = selection.horizon;
    let Some([symbol]) = selection.symbols.as_deref() else {
        return Problem::new(ProblemType::NotFound, format!("no {kind} for {horizon} had been published by {day}"));
    };
    let near = near_matches(symbol, state.board.load().symbols());
    let detail = format!("no {kind} of {symbol} for {horizon} had been published by {day}");
    Problem::new(ProblemType::UnknownSymbol, detail).with_near(near)
}

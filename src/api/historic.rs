//! Opinions as of a day: as the ledger had them at its end, or as backfilled for it. A snapshot made of old entries.

use axum::http::HeaderValue;
use chrono::TimeDelta;

use crate::api::asked::{PastDay, Selection};
use crate::api::near::near_matches;
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_type::ProblemType;
use crate::api::snapshot::{PublishedEntry, Snapshot};
use crate::api::state::AppState;
use crate::clock;
use crate::market::bar::Day;
use crate::opinion::chain::Chain;
use crate::opinion::envelope::Kind;
use crate::store::ledger::{self, AsOf, LedgerRow};
use crate::store::{StoreError, backfill};

/// The snapshot of one kind and horizon as it stood at the end of a day in UTC, or as it was backfilled for that day;
/// `stale` as it was then.
///
/// # Errors
/// 404 before the ledger begins, when nothing was published by then or backfilled for the day, 422 for a day to come, 503
/// when the store does not answer or nothing was ever published.
pub async fn snapshot(state: &AppState, kind: Kind, selection: Selection, past: PastDay) -> Result<Snapshot, Problem> {
    let (now, day) = (clock::now(), past.day);
    if day > now.date_naive() {
        return Err(Problem::invalid(vec![FieldError::parameter("as_of", "lies in the future")]));
    }
    let _slot = state.store_slot()?;
    let rows = match past.chain {
        Chain::Live => published(state, kind, &selection, day).await?,
        Chain::Backfill => backfilled(state, kind, &selection, day).await?,
    };
    if rows.is_empty() {
        return Err(nothing(state, kind, &selection, past));
    }
    let entries: Vec<PublishedEntry> =
        rows.into_iter().map(PublishedEntry::try_from).collect::<Result<_, StoreError>>()?;
    Ok(Snapshot::build(entries, now.min(ledger::end_of(day) - TimeDelta::seconds(1))))
}

/// The newest answers that had been published by the end of a day.
async fn published(state: &AppState, kind: Kind, selection: &Selection, day: Day) -> Result<Vec<LedgerRow>, Problem> {
    let first = ledger::first_day(&state.pool).await?;
    let first = first.ok_or_else(|| Problem::new(ProblemType::NotPublished, "nothing has been published yet"))?;
    if day < first {
        let detail = format!("the ledger begins on {first}; earlier answers were never published");
        return Err(Problem::new(ProblemType::BeforeLedger, detail).with_first_day(Some(first)));
    }
    let until = ledger::end_of(day);
    let asked = AsOf { kind, horizon: kind.filed_under(selection.horizon), symbols: selection.symbols.clone(), until };
    Ok(ledger::opinions_as_of(&state.pool, &asked).await?)
}

/// The answers that were backfilled for a day: those of the newest decision on or before it.
async fn backfilled(state: &AppState, kind: Kind, selection: &Selection, day: Day) -> Result<Vec<LedgerRow>, Problem> {
    let Some(publication) = backfill::answering(&state.pool, day).await? else {
        return Err(not_backfilled(backfill::reach(&state.pool).await?, day));
    };
    let filed = (kind, kind.filed_under(selection.horizon));
    let chain = state.pool_on(Chain::Backfill);
    Ok(ledger::opinions_of(chain, publication, filed, selection.symbols.as_deref()).await?)
}

fn not_backfilled(reach: Option<backfill::Span>, day: Day) -> Problem {
    let Some(reach) = reach else {
        let detail = "nothing has been backfilled; `forecastd backfill` writes past days";
        return Problem::new(ProblemType::BeforeLedger, detail);
    };
    let detail = match () {
        () if day < reach.first_day => format!("the backfilled chain begins on {}", reach.first_day),
        () if day > reach.last_day => format!("the backfilled chain ends on {}", reach.last_day),
        () => format!(
            "{day} lies in a gap of the backfilled chain, which reaches from {} to {}",
            reach.first_day, reach.last_day
        ),
    };
    Problem::new(ProblemType::BeforeLedger, detail).with_first_day(Some(reach.first_day))
}

/// The past does not change; today still may.
#[must_use]
pub fn cache_control(past: PastDay) -> HeaderValue {
    let past = past.day < clock::now().date_naive();
    HeaderValue::from_static(if past { "public, max-age=86400" } else { "no-cache" })
}

fn nothing(state: &AppState, kind: Kind, selection: &Selection, past: PastDay) -> Problem {
    let (horizon, day) = (selection.horizon, past.day);
    let done = if past.chain.is_live() { "had been published by" } else { "was backfilled for" };
    let Some([symbol]) = selection.symbols.as_deref() else {
        return Problem::new(ProblemType::NotFound, format!("no {kind} for {horizon} {done} {day}"));
    };
    let near = near_matches(symbol, state.board.load().symbols());
    let detail = format!("no {kind} of {symbol} for {horizon} {done} {day}");
    Problem::new(ProblemType::UnknownSymbol, detail).with_near(near)
}

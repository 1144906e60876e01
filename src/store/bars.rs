//! Bars and actions: recorded by difference, so that an unchanged file changes nothing.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::market::bar::{Action, Bar, BarFields, Day};
use crate::market::calendar;
use crate::market::instrument::Symbol;
use crate::store::basis::{self, InForce, Incoming};
use crate::store::copy::BinaryRows;
use crate::store::{StoreError, instruments};

/// Prices of one instrument from one source.
#[derive(Debug, Clone)]
pub struct PriceRows<'a> {
    /// Whose prices.
    pub symbol: &'a Symbol,
    /// Bars, ascending by day, one a day.
    pub bars: &'a [Bar],
    /// Actions on days of these bars.
    pub actions: &'a [Action],
    /// Whether a day without an action means that there was none; otherwise a stored action stays.
    pub has_all_actions: bool,
    /// Name of the source.
    pub source: &'a str,
    /// Whether the source restates its past after splits and dividends, as downloads do, so that prices which differ
    /// from the stored ones by one constant factor are the same prices.
    pub restates: bool,
}

/// What recording did, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// New days.
    pub inserted: u64,
    /// Days that had another value before.
    pub revised: u64,
    /// Days that were there already.
    pub unchanged: u64,
}

impl std::ops::AddAssign for Recorded {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.revised += other.revised;
        self.unchanged += other.unchanged;
    }
}

/// Records prices by difference. New days get `known_at` = the close of their session (assumed); a revision of a day
/// that was there is known from `recorded_at` on.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached; the caller's transaction then rolls back.
pub async fn record(
    connection: &mut PgConnection,
    recorded_at: DateTime<Utc>,
    rows: &PriceRows<'_>,
) -> Result<Recorded, StoreError> {
    let id = instruments::lock(connection, rows.symbol).await?;
    let stored = in_force(connection, id, rows).await?;
    let incoming = Incoming { bars: rows.bars, actions: rows.actions };
    let incoming = if rows.restates { basis::rebase(incoming, &stored) } else { basis::as_stated(incoming) };
    let mut recorded = Recorded::default();
    let mut copy = BinaryRows::new();
    for bar in &incoming.bars {
        let before = stored.bars.get(&bar.day);
        match before {
            Some(old) if basis::same_bar(old, bar, incoming.tolerance) => recorded.unchanged += 1,
            _ => {
                let known_at = known_at(before.is_some(), bar.day, recorded_at);
                write_bar(&mut copy, Key { id, recorded_at, known_at, source: rows.source }, bar);
                if before.is_some() { recorded.revised += 1 } else { recorded.inserted += 1 }
            }
        }
    }
    if recorded.inserted + recorded.revised > 0 {
        copy.copy(connection, COPY_BARS).await?;
    }
    let changed_actions =
        record_actions(connection, recorded_at, (id, rows.source, rows.has_all_actions), &incoming, &stored).await?;
    if recorded.revised == 0 && changed_actions > 0 {
        recorded.revised += changed_actions;
        recorded.unchanged = recorded.unchanged.saturating_sub(changed_actions);
    }
    Ok(recorded)
}

const COPY_BARS: &str = "copy bars (instrument_id, day, recorded_at, known_at, known_at_assumed, open, high, low, close, volume, source) \
     from stdin (format binary)";
const COPY_ACTIONS: &str = "copy actions (instrument_id, day, recorded_at, known_at, known_at_assumed, split, dividend, source) \
     from stdin (format binary)";

#[derive(Clone, Copy)]
struct Key<'a> {
    id: i64,
    recorded_at: DateTime<Utc>,
    known_at: (DateTime<Utc>, bool),
    source: &'a str,
}

async fn in_force(connection: &mut PgConnection, id: i64, rows: &PriceRows<'_>) -> Result<InForce, StoreError> {
    let (Some(first), Some(last)) = (rows.bars.first(), rows.bars.last()) else {
        return Ok(InForce::default());
    };
    let bars = sqlx::query_as!(
        BarFields,
        "select distinct on (day) day, open, high, low, close, volume from bars
         where instrument_id = $1 and day >= $2 and day <= $3
         order by day, recorded_at desc",
        id,
        first.day(),
        last.day()
    )
    .fetch_all(&mut *connection)
    .await?;
    let actions = sqlx::query_as!(
        Action,
        "select distinct on (day) day, split, dividend from actions
         where instrument_id = $1 and day >= $2 and day <= $3
         order by day, recorded_at desc",
        id,
        first.day(),
        last.day()
    )
    .fetch_all(&mut *connection)
    .await?;
    let before = sqlx::query!(
        "select close from bars where instrument_id = $1 and day < $2 order by day desc, recorded_at desc limit 1",
        id,
        first.day()
    )
    .fetch_optional(connection)
    .await?;
    Ok(InForce {
        close_before: before.map(|r| r.close),
        bars: bars.into_iter().map(|b| (b.day, b)).collect(),
        actions: actions.into_iter().map(|a| (a.day, a)).collect(),
    })
}

/// Records actions that differ; a stored action on a day of this file that the file does not have is withdrawn by a row
/// without effect. Returns how many days changed among those that had a bar before.
async fn record_actions(
    connection: &mut PgConnection,
    recorded_at: DateTime<Utc>,
    (id, source, says_actions): (i64, &str, bool),
    incoming: &basis::Rebased,
    stored: &InForce,
) -> Result<u64, StoreError> {
    let (mut copy, mut rows, mut changed) = (BinaryRows::new(), 0, 0);
    for bar in &incoming.bars {
        let none = Action { day: bar.day, split: 1.0, dividend: 0.0 };
        let old = stored.actions.get(&bar.day).copied().unwrap_or(none);
        let unsaid = if says_actions { none } else { old };
        let new = incoming.actions.get(&bar.day).copied().unwrap_or(unsaid);
        if basis::same_action(&old, &new, bar.close) {
            continue;
        }
        let had_bar = stored.bars.contains_key(&bar.day);
        let known_at = known_at(had_bar, bar.day, recorded_at);
        write_action(&mut copy, Key { id, recorded_at, known_at, source }, &new);
        rows += 1;
        changed += u64::from(had_bar);
    }
    if rows > 0 {
        copy.copy(connection, COPY_ACTIONS).await?;
    }
    Ok(changed)
}

/// When a row became known, and whether that is assumed.
fn known_at(is_revision: bool, day: Day, recorded_at: DateTime<Utc>) -> (DateTime<Utc>, bool) {
    if is_revision { (recorded_at, false) } else { (calendar::close_of(day), true) }
}

fn write_bar(copy: &mut BinaryRows, key: Key<'_>, bar: &BarFields) {
    copy.row(11)
        .int8(key.id)
        .date(bar.day)
        .instant(key.recorded_at)
        .instant(key.known_at.0)
        .boolean(key.known_at.1)
        .optional_float8(bar.open)
        .optional_float8(bar.high)
        .optional_float8(bar.low)
        .float8(bar.close)
        .optional_float8(bar.volume)
        .text(key.source);
}

fn write_action(copy: &mut BinaryRows, key: Key<'_>, action: &Action) {
    copy.row(8)
        .int8(key.id)
        .date(action.day)
        .instant(key.recorded_at)
        .instant(key.known_at.0)
        .boolean(key.known_at.1)
        .float8(action.split)
        .float8(action.dividend)
        .text(key.source);
}

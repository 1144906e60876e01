//! The history that was known and recorded at two cutoffs, and the hash that names it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

use crate::market::bar::{Action, Bar, BarFields, Day};
use crate::market::factor::FactorHistory;
use crate::market::history::{History, InstrumentRows};
use crate::store::{StoreError, factors, filings, instruments};

/// Which version of a revised row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revisions {
    /// The newest that was known and recorded by the cutoffs: what a publication uses.
    Newest,
    /// The first ever recorded: what a walk through the past uses, so that no correction is known before it was made.
    First,
}

/// A history with the hash of the rows that it was laid out from.
#[derive(Debug)]
pub struct LoadedHistory {
    /// The rows, laid out.
    pub history: History,
    /// SHA-256 over all rows in a fixed order and encoding.
    pub inputs_hash: [u8; 32],
}

/// Loads everything with `known_at <= known_until` and `recorded_at <= recorded_until`.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds a row that breaks a rule.
pub async fn load(
    pool: &PgPool,
    known_until: DateTime<Utc>,
    recorded_until: DateTime<Utc>,
    revisions: Revisions,
) -> Result<LoadedHistory, StoreError> {
    let mut transaction = pool.begin().await?;
    let described = instruments::described(&mut transaction, recorded_until).await?;
    let mut rows: BTreeMap<i64, InstrumentRows> = described
        .into_iter()
        .map(|(id, instrument)| (id, InstrumentRows { instrument, bars: vec![], actions: vec![], filings: vec![] }))
        .collect();
    let revised = revisions == Revisions::Newest;
    let cutoffs = Cutoffs { known_until, recorded_until, revisions, days: None };
    add_bars(&mut transaction, &mut rows, &cutoffs).await?;
    add_actions(&mut transaction, &mut rows, &cutoffs).await?;
    for (id, filing) in filings::known(&mut transaction, known_until, recorded_until, revised).await? {
        if let Some(instrument) = rows.get_mut(&id) {
            instrument.filings.push(filing);
        }
    }
    let factors = factors::known(&mut transaction, known_until, recorded_until, revised).await?;
    transaction.commit().await?;
    let mut rows: Vec<InstrumentRows> = rows.into_values().filter(|r| !r.bars.is_empty()).collect();
    rows.sort_by(|a, b| a.instrument.symbol.cmp(&b.instrument.symbol));
    let inputs_hash = hash_of(&rows, &factors)?;
    Ok(LoadedHistory { history: History::assemble(rows, factors), inputs_hash })
}

/// Loads the prices of some days, for what happened between two sessions: the newest revisions that passed both cutoffs,
/// without filings and factors. Returns that would need an earlier day are missing.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds a row that breaks a rule.
pub async fn load_days(
    pool: &PgPool,
    (known_until, recorded_until): (DateTime<Utc>, DateTime<Utc>),
    days: RangeInclusive<Day>,
) -> Result<History, StoreError> {
    let mut transaction = pool.begin().await?;
    let described = instruments::described(&mut transaction, recorded_until).await?;
    let empty = |instrument| InstrumentRows { instrument, bars: vec![], actions: vec![], filings: vec![] };
    let mut rows: BTreeMap<i64, InstrumentRows> =
        described.into_iter().map(|(id, instrument)| (id, empty(instrument))).collect();
    let cutoffs = Cutoffs { known_until, recorded_until, revisions: Revisions::Newest, days: Some(days) };
    add_bars(&mut transaction, &mut rows, &cutoffs).await?;
    add_actions(&mut transaction, &mut rows, &cutoffs).await?;
    transaction.commit().await?;
    Ok(History::assemble(rows.into_values().filter(|r| !r.bars.is_empty()).collect(), vec![]))
}

struct Cutoffs {
    known_until: DateTime<Utc>,
    recorded_until: DateTime<Utc>,
    revisions: Revisions,
    /// Only these days; `None` for all.
    days: Option<RangeInclusive<Day>>,
}

impl Cutoffs {
    fn first_day(&self) -> Option<Day> {
        self.days.as_ref().map(|d| *d.start())
    }

    fn last_day(&self) -> Option<Day> {
        self.days.as_ref().map(|d| *d.end())
    }
}

// Both queries follow their primary key, which costs no sort; revisions are rare, so the choice is made here.
async fn add_bars(
    connection: &mut PgConnection,
    rows: &mut BTreeMap<i64, InstrumentRows>,
    cutoffs: &Cutoffs,
) -> Result<(), StoreError> {
    let bars = sqlx::query!(
        "select instrument_id, day, open, high, low, close, volume from bars
         where known_at <= $1 and recorded_at <= $2 and ($3::date is null or day >= $3) and ($4::date is null or day <= $4)
         order by instrument_id, day, recorded_at",
        cutoffs.known_until,
        cutoffs.recorded_until,
        cutoffs.first_day(),
        cutoffs.last_day()
    )
    .fetch_all(connection)
    .await?;
    for r in bars {
        let fields = BarFields { day: r.day, open: r.open, high: r.high, low: r.low, close: r.close, volume: r.volume };
        let bar = Bar::new(fields).map_err(StoreError::row)?;
        if let Some(instrument) = rows.get_mut(&r.instrument_id) {
            keep(&mut instrument.bars, bar, Bar::day, cutoffs.revisions);
        }
    }
    Ok(())
}

async fn add_actions(
    connection: &mut PgConnection,
    rows: &mut BTreeMap<i64, InstrumentRows>,
    cutoffs: &Cutoffs,
) -> Result<(), StoreError> {
    let actions = sqlx::query!(
        "select instrument_id, day, split, dividend from actions
         where known_at <= $1 and recorded_at <= $2 and (known_at_assumed or $3)
           and ($4::date is null or day >= $4) and ($5::date is null or day <= $5)
         order by instrument_id, day, recorded_at",
        cutoffs.known_until,
        cutoffs.recorded_until,
        cutoffs.revisions == Revisions::Newest,
        cutoffs.first_day(),
        cutoffs.last_day()
    )
    .fetch_all(connection)
    .await?;
    for r in actions {
        if let Some(instrument) = rows.get_mut(&r.instrument_id) {
            let action = Action { day: r.day, split: r.split, dividend: r.dividend };
            keep(&mut instrument.actions, action, |a| a.day, cutoffs.revisions);
        }
    }
    Ok(())
}

/// Adds a row, or lets it take the place of an earlier revision of the same day.
fn keep<T>(kept: &mut Vec<T>, row: T, day: impl Fn(&T) -> Day, revisions: Revisions) {
    match kept.last_mut() {
        Some(last) if day(last) == day(&row) => {
            if revisions == Revisions::Newest {
                *last = row;
            }
        }
        _ => kept.push(row),
    }
}

fn hash_of(rows: &[InstrumentRows], factors: &[FactorHistory]) -> Result<[u8; 32], StoreError> {
    let mut hash = Sha256::new();
    for row in rows {
        hash.update(serde_json::to_vec(&row.instrument).map_err(StoreError::row)?);
        for bar in &row.bars {
            let b = bar.fields();
            hash.update(b.day.to_string());
            for price in [b.open, b.high, b.low, Some(b.close), b.volume] {
                hash.update(price.unwrap_or(f64::NAN).to_bits().to_le_bytes());
            }
        }
        for action in &row.actions {
            hash.update(action.day.to_string());
            hash.update(action.split.to_bits().to_le_bytes());
            hash.update(action.dividend.to_bits().to_le_bytes());
        }
        for filing in &row.filings {
            hash.update(filing.known_at.timestamp_micros().to_le_bytes());
            hash.update(serde_json::to_vec(&filing.filing).map_err(StoreError::row)?);
        }
    }
    for factor in factors {
        hash.update(factor.id.as_bytes());
        for o in &factor.observations {
            hash.update(o.day.to_string());
            hash.update(o.known_at.timestamp_micros().to_le_bytes());
            hash.update(o.value.to_bits().to_le_bytes());
        }
    }
    Ok(hash.finalize().into())
}

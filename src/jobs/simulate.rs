//! Fills an empty store with a simulated market, so that the service can be tried without data.

use chrono::{Days, Utc};
use sqlx::PgConnection;

use crate::market::calendar;
use crate::market::simulation::{SimulatedMarket, SimulationOptions, simulate};
use crate::store::bars::{self, PriceRows};
use crate::store::open::Store;
use crate::store::{StoreError, factors, filings, instruments, pool};

/// Instruments of the simulated market.
const INSTRUMENTS: usize = 30;
/// Sessions of the simulated market: a little over six years.
const SESSIONS: usize = 1_600;
/// Name of the source in the store.
const SOURCE: &str = "simulation";

/// The simulated market up to the last session before today.
#[must_use]
pub fn market(seed: u64) -> SimulatedMarket {
    let yesterday = Utc::now().date_naive().checked_sub_days(Days::new(1)).unwrap_or_default();
    let last_day = calendar::last_session_until(yesterday);
    simulate(SimulationOptions { seed, instruments: INSTRUMENTS, sessions: SESSIONS, last_day })
}

/// Records a simulated market where the store holds nothing yet. Of instances that start at once, one does it.
///
/// # Errors
/// As [`record`].
pub async fn record_first(store: &Store, market: &SimulatedMarket) -> Result<bool, StoreError> {
    pool::claim(&store.pool, true).await?;
    let mut transaction = store.pool.begin().await?;
    pool::lock_ledger(&mut transaction).await?;
    if instruments::any(&store.pool).await? {
        return Ok(false);
    }
    write(&mut transaction, market).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Records a simulated market in one transaction.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds real data.
pub async fn record(store: &Store, market: &SimulatedMarket) -> Result<(), StoreError> {
    pool::claim(&store.pool, true).await?;
    let mut transaction = store.pool.begin().await?;
    write(&mut transaction, market).await?;
    transaction.commit().await?;
    Ok(())
}

async fn write(transaction: &mut PgConnection, market: &SimulatedMarket) -> Result<(), StoreError> {
    let recorded_at = pool::begin_recording(transaction).await?;
    for rows in &market.rows {
        let symbol = &rows.instrument.symbol;
        instruments::describe(transaction, &rows.instrument, recorded_at).await?;
        let prices = PriceRows {
            symbol,
            bars: &rows.bars,
            actions: &rows.actions,
            has_all_actions: true,
            source: SOURCE,
            restates: false,
        };
        bars::record(transaction, recorded_at, &prices).await?;
        filings::record(transaction, recorded_at, (symbol, &rows.filings), SOURCE).await?;
    }
    for series in &market.factors {
        factors::record(transaction, recorded_at, series, SOURCE).await?;
    }
    Ok(())
}

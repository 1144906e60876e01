//! Connections: pools, roles, migrations, the two locks that order imports and publications.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool};

use crate::opinion::chain::Chain;
use crate::store::StoreError;

/// Advisory lock: shared by everything that records rows, exclusive for the moment a cutoff is taken.
const RECORDING_LOCK: i64 = 0x0066_6f72_6563_6101;
/// Advisory lock: held by the one transaction that extends the ledger.
const LEDGER_LOCK: i64 = 0x0066_6f72_6563_6102;

/// How long a connection may be waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Said at the start of every session. A program that vanished with its machine, or froze, must not keep the others from
/// the locks of its transaction: the server ends one in which nothing is said, and asks whether anybody is there.
const SESSION: &str =
    "set role forecastd_service; set time zone 'UTC'; set idle_in_transaction_session_timeout = '30s';
    set tcp_keepalives_idle = 15; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3";
/// Connections of a pool on a chain.
const CHAIN_CONNECTIONS: u32 = 4;

/// Creates the database that `url` names when its server does not have it yet.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached or refuses.
pub async fn ensure_database(url: &str, maintenance_url: &str) -> Result<(), StoreError> {
    let name = options(url)?.get_database().unwrap_or("forecastd").to_owned();
    let mut connection = options(maintenance_url)?.connect().await?;
    if !has_database(&mut connection, &name).await? {
        // A database name cannot be a parameter; quoting doubles every quotation mark in it.
        let statement = format!("create database \"{}\"", name.replace('"', "\"\""));
        match connection.execute(sqlx::AssertSqlSafe(statement)).await {
            // Another program that starts now made it meanwhile.
            Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42P04" | "23505")) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
    }
    connection.close().await?;
    Ok(())
}

/// Whether the server of a connection has a database of that name.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached.
pub async fn has_database(connection: &mut PgConnection, name: &str) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar("select exists (select from pg_database where datname = $1)");
    Ok(found.bind(name).fetch_one(connection).await?)
}

/// One connection with the rights of the connecting user.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached.
pub async fn connect_as_owner(url: &str) -> Result<PgConnection, StoreError> {
    Ok(options(url)?.connect().await?)
}

/// A pool of two connections with the rights of the connecting user.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached.
pub async fn pool_of_owner(url: &str) -> Result<PgPool, StoreError> {
    Ok(PgPoolOptions::new().max_connections(2).acquire_timeout(ACQUIRE_TIMEOUT).connect_with(options(url)?).await?)
}

/// A pool whose connections have only the rights of the running role, which may not change the ledger.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached or the role is missing.
pub async fn connect(url: &str, connections: u32) -> Result<PgPool, StoreError> {
    Ok(of_service(connections, Chain::Live).connect_with(options(url)?).await?)
}

/// A pool on the same database for the tables of a chain. It connects when it is first used.
#[must_use]
pub fn on_chain(pool: &PgPool, chain: Chain) -> PgPool {
    of_service(CHAIN_CONNECTIONS, chain).connect_lazy_with((*pool.connect_options()).clone())
}

/// The names of the backfilled chain's tables are those of the live one's, in a schema that comes first for such a pool.
fn of_service(connections: u32, chain: Chain) -> PgPoolOptions {
    let options = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
    options.after_connect(move |connection, _| {
        Box::pin(async move {
            connection.execute(SESSION).await?;
            if chain == Chain::Backfill {
                connection.execute("set search_path = backfill, public").await?;
            }
            Ok(())
        })
    })
}

/// Takes part in recording until the transaction ends and tells the moment, by the store's clock, that every row of
/// this transaction carries as `recorded_at`.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn begin_recording(connection: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    sqlx::query!("select pg_advisory_xact_lock_shared($1) as locked", RECORDING_LOCK)
        .fetch_one(&mut *connection)
        .await?;
    Ok(sqlx::query!(r#"select clock_timestamp() as "now!""#).fetch_one(connection).await?.now)
}

/// A moment such that every row with an earlier `recorded_at` is visible to all later reads: it waits for recordings
/// under way, and later ones get later times.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn cutoff(pool: &PgPool) -> Result<DateTime<Utc>, StoreError> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock($1) as locked", RECORDING_LOCK).fetch_one(&mut *transaction).await?;
    let now = sqlx::query!(r#"select clock_timestamp() as "now!""#).fetch_one(&mut *transaction).await?.now;
    transaction.commit().await?;
    Ok(now)
}

/// Waits until this transaction alone may extend the ledger.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn lock_ledger(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("select pg_advisory_xact_lock($1) as locked", LEDGER_LOCK).fetch_one(connection).await?;
    Ok(())
}

/// Channel on which publications are announced; the payload is the ledger's newest sequence.
pub const CHANNEL: &str = "forecastd_published";

/// Announces a publication when the transaction commits.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn announce(connection: &mut PgConnection, sequence: i64) -> Result<(), StoreError> {
    sqlx::query!("select pg_notify($1, $2) as announced", CHANNEL, sequence.to_string()).fetch_one(connection).await?;
    Ok(())
}

/// Marks the database as holding a simulated market or a real one; the first mark stays.
///
/// # Errors
/// [`StoreError::Mixed`] when it is marked the other way.
pub async fn claim(pool: &PgPool, simulated: bool) -> Result<(), StoreError> {
    sqlx::query!("insert into store_identity (simulated) values ($1) on conflict do nothing", simulated)
        .execute(pool)
        .await?;
    let marked = sqlx::query!("select simulated from store_identity").fetch_one(pool).await?.simulated;
    if marked == simulated { Ok(()) } else { Err(StoreError::Mixed { simulated: marked }) }
}

/// Whether the database holds a simulated market; `None` before the first claim.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn simulated(pool: &PgPool) -> Result<Option<bool>, StoreError> {
    Ok(sqlx::query!("select simulated from store_identity").fetch_optional(pool).await?.map(|r| r.simulated))
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(url.parse::<PgConnectOptions>()?.application_name("forecastd").disable_statement_logging())
}

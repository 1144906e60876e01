//! A test's own database, seen with the rights of the service and with those of its owner.

use std::collections::BTreeMap;

use forecastd::jobs::simulate;
use forecastd::market::simulation::SimulatedMarket;
use forecastd::opinion::chain::Chain;
use forecastd::store::open::Store;
use forecastd::store::{pool, queue};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgPool};

/// Tables of history, of models and of the ledger: all but the record of imports, which grows by every import.
pub const KEPT: [&str; 13] = [
    "store_identity",
    "instruments",
    "descriptions",
    "bars",
    "actions",
    "factors",
    "observations",
    "filings",
    "models",
    "publications",
    "ledger",
    "ledger_heads",
    "keys",
];

/// A database with the pool of the service and the pool of the superuser.
pub struct Opened {
    /// What the service has.
    pub store: Store,
    /// May do anything.
    pub owner: PgPool,
}

/// Opens a test's database for real prices.
pub async fn real(options: PgPoolOptions, connect: PgConnectOptions) -> Opened {
    open(options, connect, false).await
}

/// Opens a test's database for simulated prices and records a market.
pub async fn simulated(options: PgPoolOptions, connect: PgConnectOptions, market: &SimulatedMarket) -> Opened {
    let opened = open(options, connect, true).await;
    simulate::record(&opened.store, market).await.unwrap();
    opened
}

async fn open(options: PgPoolOptions, connect: PgConnectOptions, simulated: bool) -> Opened {
    let as_service = options.clone().max_connections(4).after_connect(|connection, _| {
        Box::pin(async move {
            connection.execute("set role forecastd_service").await?;
            connection.execute("set time zone 'UTC'").await?;
            Ok(())
        })
    });
    let pool = as_service.connect_with(connect.clone()).await.unwrap();
    pool::claim(&pool, simulated).await.unwrap();
    let owner = options.max_connections(2).connect_with(connect).await.unwrap();
    queue::migrate(&owner).await.unwrap();
    Opened { store: Store { pool, simulated, url: String::new(), chain: Chain::Live }, owner }
}

/// A database beside a test's own, with a name that leaves room for that of the simulated market.
pub struct Beside {
    owner: PgPool,
    name: String,
    /// Its address.
    pub url: String,
}

impl Beside {
    /// Makes it, empty.
    pub async fn create(owner: &PgPool) -> Self {
        let name = format!("forecastd_it_{}", uuid::Uuid::new_v4().simple());
        owner.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let url = owner.connect_options().as_ref().clone().database(&name).to_url_lossy().to_string();
        Self { owner: owner.clone(), name, url }
    }

    /// Removes it and the simulated market's.
    pub async fn clear(self) {
        for suffix in ["", "_simulated"] {
            let drop = AssertSqlSafe(format!("drop database if exists {}{suffix} with (force)", self.name));
            self.owner.execute(drop).await.unwrap();
        }
    }
}

/// Rows of a table.
pub async fn count(pool: &PgPool, table: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}"))).fetch_one(pool).await.unwrap()
}

/// Hash of all rows of each table, so that any change of any column shows.
pub async fn fingerprint(pool: &PgPool) -> BTreeMap<&'static str, String> {
    let mut prints = BTreeMap::new();
    for table in KEPT {
        let rows = format!("select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t");
        let print = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(pool).await.unwrap();
        prints.insert(table, print);
    }
    prints
}

//! Opens the store: a given server, or the embedded one; the real database, or the simulated one beside it.

use std::path::{Path, PathBuf};

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::clock;
use crate::store::cluster::{ClusterError, USER};
use crate::store::embedded::{Embedded, EmbeddedError, EmbeddedOptions};
use crate::store::programs::SearchPath;
use crate::store::{StoreError, instruments, pool};

/// Database of real prices on the embedded server.
const REAL: &str = "forecastd";
/// Folder of the embedded server inside the data folder.
const EMBEDDED_FOLDER: &str = "postgres";
/// Added to a database's name for the simulated market beside it.
const SIMULATED_SUFFIX: &str = "_simulated";

/// Where the store is.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// A server to use; `None` for the embedded one.
    pub database_url: Option<String>,
    /// Folder of the embedded server.
    pub data_dir: PathBuf,
    /// Folder of PostgreSQL programs to use when none are installed.
    pub postgres_dir: PathBuf,
    /// Connections of the pool.
    pub connections: u32,
}

/// A server that answers, ours or a given one.
pub struct Server {
    options: StoreOptions,
    url: String,
    embedded: Option<Embedded>,
}

/// An open database.
#[derive(Debug, Clone)]
pub struct Store {
    /// Connections with the rights of the running role.
    pub pool: PgPool,
    /// Whether it holds a simulated market.
    pub simulated: bool,
    /// Its address; may hold a password.
    pub url: String,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The embedded server does not run.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The server does not answer as needed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no database for a simulated market, and it cannot be made.
    #[error(
        "a simulated market needs a database of its own, {name}, which cannot be made: {source}; make it as an administrator, or import prices"
    )]
    SimulatedDatabase {
        /// The database.
        name: String,
        /// Why it cannot be made.
        source: StoreError,
    },
    /// The data folder cannot be made.
    #[error("{path}: {source}; choose another folder with --data-dir", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A rehearsed time was about to meet real answers.
    #[error("--clock-file rehearses operation on a simulated market; this store holds real data, or none yet")]
    Clock,
    /// The address cannot be read.
    #[error("DATABASE_URL is not a Postgres address (postgres://user:password@host/database)")]
    Address,
}

impl Server {
    /// Reaches the given server, or starts the embedded one. With `join`, an embedded server that another forecastd
    /// runs on the same folder is used instead of refused.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub async fn start(options: StoreOptions, join: bool) -> Result<Self, OpenError> {
        if let Some(url) = options.database_url.clone() {
            return Ok(Self { options, url, embedded: None });
        }
        // The folder itself stays ours and enterable; only the part below belongs to the account that runs Postgres.
        std::fs::create_dir_all(&options.data_dir)
            .map_err(|source| OpenError::Folder { path: options.data_dir.clone(), source })?;
        let embedded = EmbeddedOptions {
            data_dir: options.data_dir.join(EMBEDDED_FOLDER),
            durable: true,
            search: SearchPath::from_env(Some(options.postgres_dir.clone())),
        };
        match Embedded::start(embedded).await {
            Ok(embedded) => {
                let url = embedded.url(REAL);
                pool::ensure_database(&url, &embedded.url("postgres")).await?;
                Ok(Self { options, url, embedded: Some(embedded) })
            }
            Err(EmbeddedError::Cluster(in_use @ ClusterError::InUse { .. })) if join => {
                let url = running_url(&options.data_dir).ok_or(EmbeddedError::Cluster(in_use))?;
                Ok(Self { options, url, embedded: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Address of the real database; may hold a password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Opens the database of real prices, its schema brought up to date.
    ///
    /// # Errors
    /// [`OpenError`] when the server does not answer or holds a simulated market there.
    pub async fn real(&self) -> Result<Store, OpenError> {
        self.open(self.url.clone(), false).await.and_then(keep_time_real)
    }

    /// Opens the database that the address names, as what it is said to be.
    ///
    /// # Errors
    /// [`OpenError`] when the server does not answer or the database holds the other kind.
    pub async fn exact(&self, simulated: bool) -> Result<Store, OpenError> {
        self.open(self.url.clone(), simulated).await.and_then(keep_time_real)
    }

    /// Opens the simulated market's database, made beside the real one where it is missing.
    ///
    /// # Errors
    /// [`OpenError`] when the server does not answer or refuses to make a database.
    pub async fn simulated(&self) -> Result<Store, OpenError> {
        let options: PgConnectOptions = self.url.parse().map_err(|_| OpenError::Address)?;
        let real = options.get_database().unwrap_or(REAL).to_owned();
        let url = with_database(&self.url, &format!("{real}{SIMULATED_SUFFIX}")).ok_or(OpenError::Address)?;
        let name = format!("{real}{SIMULATED_SUFFIX}");
        pool::ensure_database(&url, &self.url).await.map_err(|source| OpenError::SimulatedDatabase { name, source })?;
        self.open(url, true).await
    }

    /// Opens the real database when it holds prices, else the simulated one.
    ///
    /// # Errors
    /// As [`Server::real`] and [`Server::simulated`].
    pub async fn current(&self) -> Result<Store, OpenError> {
        let real = self.open(self.url.clone(), false).await?;
        if instruments::any(&real.pool).await? {
            return keep_time_real(real);
        }
        real.pool.close().await;
        tracing::info!("the store holds no prices; using the simulated market (import a folder for real answers)");
        self.simulated().await
    }

    /// Returns when the embedded server has ended without being asked to; never for a given server.
    pub async fn ended(&mut self) -> EmbeddedError {
        match self.embedded.as_mut() {
            Some(embedded) => embedded.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Starts the embedded server again after it ended by itself; its address stays the same.
    ///
    /// # Errors
    /// [`OpenError`] when it does not start.
    pub async fn restart(&mut self) -> Result<(), OpenError> {
        match self.embedded.as_mut() {
            Some(embedded) => Ok(embedded.restart().await?),
            None => Ok(()),
        }
    }

    /// Stops the embedded server, if it is ours.
    ///
    /// # Errors
    /// [`OpenError`] when it does not stop.
    pub async fn stop(self) -> Result<(), OpenError> {
        match self.embedded {
            Some(embedded) => Ok(embedded.stop().await?),
            None => Ok(()),
        }
    }

    async fn open(&self, url: String, simulated: bool) -> Result<Store, OpenError> {
        pool::migrate(&url).await?;
        let connections = pool::connect(&url, self.options.connections).await?;
        if simulated || instruments::any(&connections).await? {
            pool::claim(&connections, simulated).await?;
        } else if pool::simulated(&connections).await? == Some(true) {
            return Err(StoreError::Mixed { simulated: true }.into());
        }
        Ok(Store { pool: connections, simulated, url })
    }
}

/// Lets a rehearsed time meet simulated answers only.
fn keep_time_real(store: Store) -> Result<Store, OpenError> {
    if clock::is_rehearsed() && !store.simulated { Err(OpenError::Clock) } else { Ok(store) }
}

/// The address of the server that another process runs on the folder: its socket is named in `postmaster.pid`.
fn running_url(data_dir: &Path) -> Option<String> {
    let lines = std::fs::read_to_string(data_dir.join(EMBEDDED_FOLDER).join("cluster/postmaster.pid")).ok()?;
    let socket = lines.lines().nth(4).filter(|s| !s.is_empty())?;
    let encoded: String = socket.bytes().map(|b| format!("%{b:02X}")).collect();
    Some(format!("postgres:///{REAL}?host={encoded}&port=5432&user={USER}&sslmode=disable"))
}

/// The same address with another database.
fn with_database(url: &str, database: &str) -> Option<String> {
    let (base, query) = url.split_once('?').map_or((url, None), |(b, q)| (b, Some(q)));
    let authority_at = base.find("://")? + 3;
    let path_at = base[authority_at..].find('/').map_or(base.len(), |p| authority_at + p);
    let query = query.map(|q| format!("?{q}")).unwrap_or_default();
    Some(format!("{}/{database}{query}", &base[..path_at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_an_address_is_replaced() {
        let cases = [
            ("postgres://u:p@host:5432/real", "postgres://u:p@host:5432/x"),
            ("postgres:///real?host=%2Ftmp&user=app", "postgres:///x?host=%2Ftmp&user=app"),
            ("postgres://host", "postgres://host/x"),
        ];
        for (given, expected) in cases {
            assert_eq!(with_database(given, "x").as_deref(), Some(expected));
        }
        assert_eq!(with_database("nothing", "x"), None);
    }
}

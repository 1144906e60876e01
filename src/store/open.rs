//! Opens the store: a given server, or the embedded one; the real database, or the simulated one beside it.

use std::path::{Path, PathBuf};

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::clock;
use crate::opinion::chain::Chain;
use crate::store::address::with_database;
use crate::store::cluster::{ClusterError, USER};
use crate::store::embedded::{Embedded, EmbeddedError, EmbeddedOptions};
use crate::store::programs::SearchPath;
use crate::store::schema::{self, Migrations};
use crate::store::signing::KeyFile;
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
    /// What is done about a schema that is behind.
    pub migrations: Migrations,
    /// The key that signs, where it is not the one in the data folder.
    pub signing_key: Option<PathBuf>,
}

impl StoreOptions {
    /// Where the key lies that signs the ledger's heads.
    #[must_use]
    pub fn key_file(&self) -> KeyFile {
        KeyFile::new(self.signing_key.as_deref(), &self.data_dir)
    }
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
    /// The chain that `pool` reads and writes; all other tables are the same for both.
    pub chain: Chain,
}

impl Store {
    /// The same store on a chain, with connections of its own unless it is on it already.
    #[must_use]
    pub fn on(&self, chain: Chain) -> Self {
        if self.chain == chain {
            return self.clone();
        }
        Self { pool: pool::on_chain(&self.pool, chain), simulated: self.simulated, url: self.url.clone(), chain }
    }
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
    /// The file with the password cannot be used.
    #[error("{path} holds no password for the database: {reason}", path = path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
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

    /// Whether the server was started by us and is nobody else's.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.embedded.is_some()
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
        let url = self.simulated_url()?;
        self.ensure_simulated(&url).await?;
        self.open(url, true).await
    }

    /// Address of a database with nothing in it yet, of real prices or of a simulated market, made where it is missing.
    ///
    /// # Errors
    /// As [`Server::simulated`].
    pub async fn bare(&self, simulated: bool) -> Result<String, OpenError> {
        if !simulated {
            return Ok(self.url.clone());
        }
        let url = self.simulated_url()?;
        self.ensure_simulated(&url).await?;
        Ok(url)
    }

    /// Where the key lies that signs the ledger's heads.
    #[must_use]
    pub fn key_file(&self) -> KeyFile {
        self.options.key_file()
    }

    /// Where to look for PostgreSQL's programs.
    #[must_use]
    pub fn search_path(&self) -> SearchPath {
        SearchPath::from_env(Some(self.options.postgres_dir.clone()))
    }

    fn simulated_url(&self) -> Result<String, OpenError> {
        let options: PgConnectOptions = self.url.parse().map_err(|_| OpenError::Address)?;
        let real = options.get_database().unwrap_or(REAL).to_owned();
        with_database(&self.url, &format!("{real}{SIMULATED_SUFFIX}")).ok_or(OpenError::Address)
    }

    /// Makes the simulated market's database where it is missing, and may be made.
    async fn ensure_simulated(&self, url: &str) -> Result<(), OpenError> {
        if self.options.migrations == Migrations::Run {
            let made = pool::ensure_database(url, &self.url).await;
            return made.map_err(|source| OpenError::SimulatedDatabase { name: database_of(url), source });
        }
        let mut connection = pool::connect_as_owner(&self.url).await?;
        if pool::has_database(&mut connection, &database_of(url)).await? {
            return Ok(());
        }
        let missing = schema::MIGRATIONS.iter().count();
        Err(StoreError::Behind { missing }.into())
    }

    /// Opens the real database when it holds prices, else the simulated one.
    ///
    /// # Errors
    /// As [`Server::real`] and [`Server::simulated`].
    pub async fn current(&self) -> Result<Store, OpenError> {
        let real = self.open(self.url.clone(), false).await?;
        let has_prices = match instruments::any(&real.pool).await {
            // Taken as it is, also without a schema.
            Err(error) if self.options.migrations == Migrations::Leave && error.is_missing_table() => false,
            answer => answer?,
        };
        if has_prices {
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
        match self.options.migrations {
            Migrations::Run => schema::migrate(&url).await?,
            Migrations::Require => schema::require(&url).await?,
            Migrations::Leave => {}
        }
        let connections = pool::connect(&url, self.options.connections).await?;
        if self.options.migrations == Migrations::Leave {
            return Ok(Store { pool: connections, simulated, url, chain: Chain::Live });
        }
        if simulated || instruments::any(&connections).await? {
            pool::claim(&connections, simulated).await?;
        } else if pool::simulated(&connections).await? == Some(true) {
            return Err(StoreError::Mixed { simulated: true }.into());
        }
        Ok(Store { pool: connections, simulated, url, chain: Chain::Live })
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

/// The name of an address's database.
fn database_of(url: &str) -> String {
    let options = url.parse::<PgConnectOptions>().ok();
    options.and_then(|options| options.get_database().map(str::to_owned)).unwrap_or_default()
}

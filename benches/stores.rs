//! A private throw-away Postgres with as many fresh databases as are asked for.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use forecastd::store::embedded::{Embedded, EmbeddedOptions};
use forecastd::store::open::{Server, Store, StoreOptions};
use forecastd::store::pool;
use forecastd::store::programs::SearchPath;
use forecastd::store::schema::Migrations;

/// A running throw-away Postgres.
pub struct Stores {
    embedded: Embedded,
    folder: tempfile::TempDir,
}

impl Stores {
    /// Starts one on the disk of temporary files; `durable` as the service runs it, else without waiting for the disk.
    pub async fn start(durable: bool) -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        // The account that runs Postgres may be another one and must reach its part below.
        let folder = builder.prefix("forecastd-bench-").permissions(PermissionsExt::from_mode(0o755)).tempdir()?;
        let search = SearchPath::from_env(Some(programs()));
        let options = EmbeddedOptions { data_dir: folder.path().join("postgres"), durable, search };
        Ok(Self { embedded: Embedded::start(options).await?, folder })
    }

    /// Address of a database, made where it is missing.
    pub async fn url(&self, database: &str) -> anyhow::Result<String> {
        let url = self.embedded.url(database);
        pool::ensure_database(&url, &self.embedded.url("postgres")).await?;
        Ok(url)
    }

    /// A database with the current schema, opened as the service opens it.
    pub async fn open(&self, database: &str) -> anyhow::Result<Store> {
        let options = StoreOptions {
            database_url: Some(self.url(database).await?),
            data_dir: self.folder.path().to_owned(),
            postgres_dir: programs(),
            connections: 4,
            migrations: Migrations::Run,
            signing_key: None,
        };
        Ok(Server::start(options, false).await?.real().await?)
    }

    /// Stops it; its files go with it.
    pub async fn stop(self) -> anyhow::Result<()> {
        Ok(self.embedded.stop().await?)
    }
}

fn programs() -> PathBuf {
    std::env::var_os("FORECASTD_POSTGRES_DIR").map_or_else(|| PathBuf::from(".tools/postgres"), PathBuf::from)
}

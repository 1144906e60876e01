//! Where a scenario plays: a folder with a copy of a store that has been imported, trained and published once.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::market;
use crate::postgres::Postgres;
use crate::process::{Home, copy_folder, small};

/// No job is due by itself, so that every job is one that a scenario asked for, or that a start did.
pub const NO_SCHEDULE: [&str; 10] = [
    "--publish-schedule",
    "off",
    "--score-schedule",
    "off",
    "--drift-schedule",
    "off",
    "--train-schedule",
    "off",
    "--prune-schedule",
    "off",
];

/// A store to begin with.
#[derive(Debug)]
pub struct Template {
    folder: TempDir,
    /// A key for posting.
    pub ingest_key: String,
    /// A key for asking for jobs.
    pub operate_key: String,
}

impl Template {
    /// Makes one by the program's own commands.
    pub async fn make() -> Result<Self> {
        let folder = temporary_folder()?;
        let home = Home { data_dir: folder.path().join("data"), url: None };
        let files = folder.path().join("files");
        market::write(&files)?;
        home.done(&["import", &files.display().to_string()]).await?;
        home.done(&small(&["train", "--walk"], &[])).await?;
        home.done(&["publish"]).await?;
        let ingest_key = key(&home, "ingest").await?;
        let operate_key = key(&home, "operate").await?;
        Ok(Self { folder, ingest_key, operate_key })
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

async fn key(home: &Home, scope: &str) -> Result<String> {
    let said = home.done(&["keys", "create", "--scope", scope, "--name", scope]).await?;
    let secret = said.split_whitespace().next();
    secret.map(str::to_owned).context("no secret was printed")
}

fn temporary_folder() -> Result<TempDir> {
    let all_may_enter = std::fs::Permissions::from_mode(0o755);
    Ok(tempfile::Builder::new().prefix("forecastd-faults-").permissions(all_may_enter).tempdir()?)
}

/// The place of one scenario.
#[derive(Debug)]
pub struct Stage {
    /// Whether the full version is played.
    pub full: bool,
    /// What random choices follow from.
    pub seed: u64,
    /// The scenario's own folder; messages of processes are in it.
    pub folder: PathBuf,
    /// A key for posting.
    pub ingest_key: String,
    /// A key for asking for jobs.
    pub operate_key: String,
    template: PathBuf,
}

impl Stage {
    /// An empty place.
    pub fn new(template: &Template, name: &str, full: bool, seed: u64) -> Result<Self> {
        let folder = temporary_folder()?.keep().join(name);
        std::fs::create_dir(&folder)?;
        Ok(Self {
            full,
            seed,
            folder,
            ingest_key: template.ingest_key.clone(),
            operate_key: template.operate_key.clone(),
            template: template.data_dir(),
        })
    }

    /// One of two values: that of the short version or that of the full one.
    pub fn pick<T>(&self, short: T, full: T) -> T {
        if self.full { full } else { short }
    }

    /// A copy of the template's data folder.
    pub async fn copy(&self, name: &str) -> Result<PathBuf> {
        self.copy_into(&self.folder, name).await
    }

    /// A copy of the template's data folder inside another folder.
    pub async fn copy_into(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let copy = folder.join(name);
        copy_folder(&self.template, &copy).await?;
        Ok(copy)
    }

    /// A Postgres of our own on a copy, and the home of programs that use it.
    pub async fn postgres(&self) -> Result<(Postgres, Home)> {
        let data_dir = self.copy("data").await?;
        let mut postgres = Postgres::prepared(&data_dir, &self.folder)?;
        if !self.full {
            postgres.options.push("fsync=off".into());
        }
        postgres.start_again().await?;
        let home = Home { data_dir, url: Some(postgres.url()) };
        Ok((postgres, home))
    }

    /// Takes the place away.
    pub fn remove(&self) {
        if let Some(parent) = self.folder.parent() {
            let _ = std::fs::remove_dir_all(parent);
        }
    }
}

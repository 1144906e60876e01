//! The folder of the private Postgres: its lock, its owner, its version, and what a crash left behind.
//!
//! ```text
//! lock            held (flock) by the one process that supervises this folder
//! cluster/        PostgreSQL's own data directory, renamed into place when initdb has finished
//! socket/         the unix socket, unless the path is too long for one
//! postgres.log    what PostgreSQL writes
//! ```

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use thiserror::Error;

use super::account::{Account, AccountError};
use super::leftover::{LeftoverError, clear_after_crash};
use super::programs::{Programs, ProgramsError, SearchPath, find_programs};

/// How long a folder may stay locked by a process that is just ending.
const LOCK_PATIENCE: Duration = Duration::from_millis(250);

/// A log above this size is set aside at the next start.
const LOG_LIMIT_BYTES: u64 = 10 << 20;

/// The database user that owns everything; the socket is closed to other accounts, so it needs no password.
pub const USER: &str = "app";

/// Why the folder cannot be used.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// No programs.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// No account to run them.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Another process supervises the folder.
    #[error(
        "{data_dir} is in use by another forecastd (process {holder}); stop that one, or choose another folder \
         (--data-dir or FORECASTD_DATA_DIR)",
        data_dir = data_dir.display()
    )]
    InUse {
        /// The folder.
        data_dir: PathBuf,
        /// The other process, as it wrote itself into the lock.
        holder: String,
    },
    /// The data is of another major version than the programs.
    #[error(
        "the data in {directory} was written by PostgreSQL {data}, the programs in {bin_dir} are version {programs}, \
         and a major version cannot read another's files. Either install PostgreSQL {data} beside the other (it is \
         then found, or named by PG_BIN_DIR) and start again; or keep the data with pg_upgrade or pg_dump; or, where \
         it can be imported again, move the folder away",
        directory = directory.display(), bin_dir = bin_dir.display()
    )]
    Version {
        /// PostgreSQL's data directory.
        directory: PathBuf,
        /// What the directory says.
        data: String,
        /// The programs found.
        bin_dir: PathBuf,
        /// Their major version.
        programs: u32,
    },
    /// initdb failed.
    #[error("initdb could not make {directory}: {output}", directory = directory.display())]
    Initdb {
        /// PostgreSQL's data directory to be.
        directory: PathBuf,
        /// What initdb said.
        output: String,
    },
    /// What a crash left behind cannot be cleared.
    #[error(transparent)]
    Leftover(#[from] LeftoverError),
    /// The system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A folder that this process holds and that is ready for a start of Postgres.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    account: Option<Account>,
    programs: Programs,
    /// The system frees the lock when the file is closed, however this process ends.
    _lock: File,
}

impl Cluster {
    /// Takes the folder for this process, creating it and what is missing in it, and clears what a crash left.
    /// Blocks for as long as initdb takes (half a second), or an orphaned Postgres to shut down.
    ///
    /// # Errors
    /// [`ClusterError`]; the folder's data is unharmed in every case.
    pub fn open(data_dir: &Path, search: &SearchPath, durable: bool) -> Result<Self, ClusterError> {
        if let Some(parent) = data_dir.parent() {
            at(parent, fs::create_dir_all(parent))?;
        }
        at(data_dir, DirBuilder::new().recursive(true).mode(0o700).create(data_dir))?;
        let folder = at(data_dir, fs::canonicalize(data_dir))?;
        let account = Account::for_folder(&folder)?;
        let lock = lock(&folder, account)?;
        let directory = folder.join("cluster");
        let data_version = read_optional(&directory.join("PG_VERSION"))?.map(|text| text.trim().to_owned());
        let programs = find_programs(search, data_version.as_ref().and_then(|version| version.parse().ok()))?;
        if let Some(account) = account {
            account.give(&folder)?;
            account.check_entry(&folder)?;
            account.check_entry(&programs.bin_dir)?;
        }
        let cluster = Self { folder, account, programs, _lock: lock };
        match data_version {
            None => cluster.create(durable)?,
            Some(data) if data == cluster.programs.major_version.to_string() => {
                clear_after_crash(&directory, cluster.postmaster())?
            }
            Some(data) => {
                let Programs { bin_dir, major_version: programs } = cluster.programs;
                return Err(ClusterError::Version { directory, data, bin_dir, programs });
            }
        }
        Ok(cluster)
    }

    /// PostgreSQL's own data directory.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.folder.join("cluster")
    }

    /// The file PostgreSQL writes its messages to.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// The folder for the unix socket, where its path is short enough.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// One of the programs, by its full name.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.bin_dir.join(name)
    }

    /// A command under the right account, in a folder that account may be in.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).stdin(Stdio::null());
        if let Some(account) = self.account {
            account.run(&mut command);
        }
        command
    }

    /// Makes a folder of the cluster, or uses the one there, closed to other accounts.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn private_folder(&self, folder: &Path) -> Result<(), ClusterError> {
        at(folder, DirBuilder::new().recursive(true).mode(0o700).create(folder))?;
        self.give(folder)
    }

    /// Gives a file or folder to the account that Postgres runs under.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn give(&self, path: &Path) -> Result<(), ClusterError> {
        Ok(self.account.map_or(Ok(()), |account| account.give(path))?)
    }

    /// Opens the log for appending; a long one is set aside first.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn open_log(&self) -> Result<File, ClusterError> {
        let path = self.log_path();
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT_BYTES) {
            at(&path, fs::rename(&path, path.with_extension("log.old")))?;
        }
        let log = at(&path, OpenOptions::new().create(true).append(true).mode(0o600).open(&path))?;
        self.give(&path)?;
        Ok(log)
    }

    /// The process number in PostgreSQL's own lock file, where there is one.
    #[must_use]
    pub fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.directory().join("postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }

    /// Runs initdb under a temporary name, so that an interrupted one is never taken for data.
    fn create(&self, durable: bool) -> Result<(), ClusterError> {
        let (unfinished, directory) = (self.folder.join("cluster.new"), self.directory());
        if unfinished.exists() {
            at(&unfinished, fs::remove_dir_all(&unfinished))?;
        }
        self.private_folder(&unfinished)?;
        let mut initdb = self.command(self.program("initdb"));
        initdb.args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions"]);
        if !durable {
            initdb.arg("--no-sync");
        }
        let answer = at(&self.program("initdb"), initdb.arg("-D").arg(&unfinished).output())?;
        if !answer.status.success() {
            let output = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
            return Err(ClusterError::Initdb { directory, output });
        }
        at(&directory, fs::rename(&unfinished, &directory))?;
        at(&self.folder, File::open(&self.folder).and_then(|folder| folder.sync_all()))
    }
}

/// Names the file in an error.
fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, ClusterError> {
    result.map_err(|source| ClusterError::Io { path: path.to_owned(), source })
}

fn read_optional(path: &Path) -> Result<Option<String>, ClusterError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => at(path, result.map(Some)),
    }
}

fn lock(folder: &Path, account: Option<Account>) -> Result<File, ClusterError> {
    let path = folder.join("lock");
    let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).to_owned();
    let mut file = at(&path, options.open(&path))?;
    let begun = Instant::now();
    while let Err(error) = file.try_lock() {
        match error {
            TryLockError::WouldBlock if begun.elapsed() < LOCK_PATIENCE => thread::sleep(Duration::from_millis(20)),
            TryLockError::WouldBlock => {
                let mut holder = String::new();
                at(&path, file.read_to_string(&mut holder))?;
                return Err(ClusterError::InUse { data_dir: folder.to_owned(), holder: holder.trim().to_owned() });
            }
            TryLockError::Error(source) => return Err(ClusterError::Io { path, source }),
        }
    }
    if let Some(account) = account {
        account.give(&path)?;
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    at(&path, written)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search() -> SearchPath {
        SearchPath::from_env(None)
    }

    /// A folder that looks as if PostgreSQL of some version had written it.
    fn folder_of_version(version: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cluster")).unwrap();
        fs::write(folder.path().join("cluster/PG_VERSION"), format!("{version}\n")).unwrap();
        folder
    }

    #[test]
    fn a_new_folder_gets_data_and_an_interrupted_start_none() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        fs::create_dir_all(data_dir.join("cluster.new/half")).unwrap();
        let cluster = Cluster::open(&data_dir, &search(), false).unwrap();
        assert!(cluster.directory().join("PG_VERSION").is_file());
        assert!(!data_dir.join("cluster.new").exists());
    }

    #[test]
    fn another_major_version_is_explained() {
        let folder = folder_of_version("13");
        let text = Cluster::open(folder.path(), &search(), false).unwrap_err().to_string();
        for part in ["was written by PostgreSQL 13", "pg_upgrade", "PG_BIN_DIR"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert!(folder.path().join("cluster/PG_VERSION").is_file());
    }

    #[test]
    fn a_held_folder_names_its_holder() {
        let version = find_programs(&search(), None).unwrap().major_version.to_string();
        let folder = folder_of_version(&version);
        let first = Cluster::open(folder.path(), &search(), false).unwrap();
        let text = Cluster::open(folder.path(), &search(), false).unwrap_err().to_string();
        assert!(text.contains(&format!("another forecastd (process {})", std::process::id())), "{text}");
        drop(first);
        Cluster::open(folder.path(), &search(), false).unwrap();
    }
}

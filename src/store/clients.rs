//! The programs that dump and restore: `pg_dump` and `pg_restore`, of the server's major version or a newer one.

use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use thiserror::Error;

use super::programs::{SearchPath, major_version};
use crate::store::StoreError;

/// The programs of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    folder: PathBuf,
    /// Their major version, for example 17.
    pub major_version: u32,
}

/// Nowhere are programs that a server of this version can be dumped with.
#[derive(Debug, Error)]
#[error(
    "dumping and restoring need pg_dump and pg_restore of PostgreSQL {wanted} or newer, in PG_BIN_DIR, the PATH, \
     /usr/lib/postgresql/*/bin or the tools folder; found: {found}. Install the distribution's package \
     (`apt-get install postgresql-client-{wanted}`), or run the command in the image that holds them \
     (`docker compose run --rm backup`)"
)]
pub struct NoClients {
    wanted: u32,
    found: String,
}

impl Clients {
    /// The programs of major version `wanted` where they are installed, else the oldest newer ones.
    ///
    /// # Errors
    /// [`NoClients`] names what was found instead.
    pub fn find(search: &SearchPath, wanted: u32) -> Result<Self, NoClients> {
        let found: Vec<Self> = search.folders().iter().filter_map(|folder| Self::inspect(folder)).collect();
        let fits = found.iter().filter(|clients| clients.major_version >= wanted);
        fits.min_by_key(|clients| clients.major_version).cloned().ok_or_else(|| {
            let names = found.iter().map(|c| format!("version {} in {}", c.major_version, c.folder.display()));
            let names: Vec<String> = names.collect();
            NoClients { wanted, found: if names.is_empty() { "none".into() } else { names.join(", ") } }
        })
    }

    /// A program, with everything in its environment that it needs to reach the database of an address. A password never
    /// stands on the command line, where other users could read it.
    ///
    /// # Errors
    /// [`StoreError`] when the address cannot be read.
    pub fn command(&self, program: &str, url: &str) -> Result<tokio::process::Command, StoreError> {
        let mut command = tokio::process::Command::new(self.folder.join(program));
        for name in ["PGSERVICE", "PGHOSTADDR", "PGPASSWORD"] {
            command.env_remove(name);
        }
        command.envs(environment(url)?);
        Ok(command)
    }

    fn inspect(folder: &Path) -> Option<Self> {
        let of = |program: &str| version(&folder.join(program));
        let (dump, restore) = (of("pg_dump")?, of("pg_restore")?);
        Some(Self { folder: folder.to_owned(), major_version: dump.min(restore) })
    }
}

/// The major version that a program tells; `None` where it is not there or does not run.
fn version(program: &Path) -> Option<u32> {
    if !program.is_file() {
        return None;
    }
    let answer = Command::new(program).arg("--version").output().ok()?;
    major_version(&String::from_utf8_lossy(&answer.stdout))
}

/// An address as the `PG*` variables of PostgreSQL's programs.
fn environment(url: &str) -> Result<Vec<(&'static str, String)>, StoreError> {
    let options: PgConnectOptions = url.parse()?;
    let host = options.get_socket().map_or_else(
        || options.get_host().trim_matches(['[', ']']).to_owned(),
        |socket| socket.to_string_lossy().into_owned(),
    );
    let mut variables = vec![
        ("PGHOST", host),
        ("PGPORT", options.get_port().to_string()),
        ("PGUSER", options.get_username().to_owned()),
        ("PGDATABASE", options.get_database().unwrap_or(options.get_username()).to_owned()),
        ("PGSSLMODE", ssl_mode(options.get_ssl_mode()).to_owned()),
        ("PGAPPNAME", "forecastd backup".to_owned()),
    ];
    let written = options.to_url_lossy();
    variables.extend(written.password().map(|password| ("PGPASSWORD", percent_decoded(password))));
    let files = [("sslrootcert", "PGSSLROOTCERT"), ("sslcert", "PGSSLCERT"), ("sslkey", "PGSSLKEY")];
    for (parameter, variable) in files {
        let value = written.query_pairs().find(|(name, _)| name == parameter).map(|(_, value)| value.into_owned());
        variables.extend(value.map(|value| (variable, value)));
    }
    variables.extend(options.get_options().map(|given| ("PGOPTIONS", given.to_owned())));
    Ok(variables)
}

fn ssl_mode(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(folder: &Path, version: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        for name in ["pg_dump", "pg_restore"] {
            fs::write(folder.join(name), format!("#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder.to_owned()
    }

    #[test]
    fn the_servers_own_version_is_preferred_to_newer_ones_and_older_ones_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for version in ["15", "17", "18"] {
            fake(&root.path().join(version).join("bin"), &format!("{version}.1"));
        }
        let search = SearchPath { system_dir: Some(root.path().to_owned()), ..SearchPath::default() };
        for (wanted, expected) in [(15, 15), (16, 17), (17, 17), (18, 18)] {
            assert_eq!(Clients::find(&search, wanted).unwrap().major_version, expected);
        }
        let text = Clients::find(&search, 19).unwrap_err().to_string();
        for part in ["PostgreSQL 19 or newer", "version 18 in", "postgresql-client-19"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        let text = Clients::find(&SearchPath::default(), 15).unwrap_err().to_string();
        assert!(text.contains("found: none"), "{text}");
    }

    #[test]
    fn an_address_becomes_variables_with_its_password_among_them() {
        let variables = environment("postgres://u:p%40s%2Fs@db.example:5433/market?sslmode=require").unwrap();
        let of = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
        let expected = [
            ("PGHOST", "db.example"),
            ("PGPORT", "5433"),
            ("PGUSER", "u"),
            ("PGDATABASE", "market"),
            ("PGSSLMODE", "require"),
            ("PGPASSWORD", "p@s/s"),
        ];
        for (name, value) in expected {
            assert_eq!(of(name), Some(value), "{name}");
        }
        let socket = environment("postgres:///x?host=%2Ftmp%2Fa&user=app&sslmode=disable").unwrap();
        assert!(socket.contains(&("PGHOST", "/tmp/a".to_owned())), "{socket:?}");
    }

    #[test]
    fn what_is_no_code_stays() {
        assert_eq!(percent_decoded("a%2Bb%25c%C3%A9%zz%4"), "a+b%cé%zz%4");
    }
}

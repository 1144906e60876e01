//! The unix socket of the private Postgres: the only way to it, closed to other accounts.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::cluster::{Cluster, ClusterError, USER};

/// The longest path of a socket that every supported system takes (macOS: 104 bytes with the closing zero; Linux 108).
const SOCKET_PATH_LIMIT: usize = 103;

/// The port names the socket file and nothing else.
pub const PORT: &str = "5432";

/// The folder of the unix socket.
#[derive(Debug)]
pub enum SocketDir {
    /// In the data folder.
    Inside(PathBuf),
    /// In the temporary folder, until this value is dropped.
    Temporary(TempDir),
}

impl SocketDir {
    /// Inside the data folder, so that it can be found; under the temporary folder where that path is too long.
    ///
    /// # Errors
    /// Where the system refuses to make the folder.
    pub fn create(cluster: &Cluster) -> Result<Self, ClusterError> {
        let inside = cluster.socket_dir();
        if fits(&inside) {
            cluster.private_folder(&inside)?;
            return Ok(Self::Inside(inside));
        }
        let temporary = Some(std::env::temp_dir()).filter(|folder| fits(&folder.join("forecastd-123456")));
        let parent = temporary.unwrap_or_else(|| PathBuf::from("/tmp"));
        let only_ours = fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("forecastd-").permissions(only_ours).tempdir_in(&parent);
        let folder = folder.map_err(|source| ClusterError::Io { path: parent, source })?;
        cluster.give(folder.path())?;
        Ok(Self::Temporary(folder))
    }

    /// The address of a database of the server that listens here. It names port, user and TLS mode, which would otherwise
    /// come from `PG*` variables of the environment.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let host = percent_encoded(self.path().as_os_str().as_bytes());
        let database = percent_encoded(database.as_bytes());
        format!("postgres:///{database}?host={host}&port={PORT}&user={USER}&sslmode=disable")
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Inside(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// Whether the socket and its lock file have short enough paths in a folder.
fn fits(folder: &Path) -> bool {
    folder.join(format!(".s.PGSQL.{PORT}.lock")).as_os_str().len() <= SOCKET_PATH_LIMIT
}

/// Everything but letters, digits and `/-._~` as `%XX`.
pub(super) fn percent_encoded(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    bytes.iter().map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_every_name() {
        let socket = SocketDir::Inside(PathBuf::from("/a b/100%+&é"));
        let expected = "postgres:///my%20db?host=/a%20b/100%25%2B%26%C3%A9&port=5432&user=app&sslmode=disable";
        assert_eq!(socket.url("my db"), expected);
    }

    #[test]
    fn the_socket_and_its_lock_file_have_to_fit() {
        let file_bytes = "/.s.PGSQL.5432.lock".len();
        for (bytes, expected) in [(SOCKET_PATH_LIMIT, true), (SOCKET_PATH_LIMIT + 1, false)] {
            let folder = format!("/{}", "x".repeat(bytes - file_bytes - 1));
            assert_eq!(fits(Path::new(&folder)), expected, "{bytes}");
        }
    }
}

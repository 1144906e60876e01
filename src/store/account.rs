//! The account under which the private Postgres runs: PostgreSQL refuses to run as root.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

/// The accounts to drop to, best first.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// Another account that this process, being root, runs programs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User number, never 0.
    pub uid: u32,
    /// Group number.
    pub gid: u32,
}

/// Why no program can run under another account.
#[derive(Debug, Error)]
pub enum AccountError {
    /// Running as root on a machine without an account to drop to.
    #[error(
        "PostgreSQL refuses to run as root and /etc/passwd has neither `postgres` nor `nobody`; run as another user"
    )]
    NoAccount,
    /// A parent folder is closed to the account.
    #[error(
        "running as root, PostgreSQL runs as user number {uid}, which may not enter {folder}; run as the folder's own \
         user, or open it (`chmod a+x {folder}`), or choose a folder elsewhere \
         (--data-dir or FORECASTD_DATA_DIR, for example /var/lib/forecastd)",
        folder = folder.display()
    )]
    NotTraversable {
        /// The first folder on the way that is closed.
        folder: PathBuf,
        /// The account's user number.
        uid: u32,
    },
    /// The system refused something else.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Account {
    /// The account for the private Postgres of `data_dir`: `None` unless this process is root; as root the folder's
    /// own user, so that root and that user can take turns, else `postgres` or `nobody`.
    ///
    /// # Errors
    /// [`AccountError::NoAccount`] where there is none to drop to, [`AccountError::Io`] where a file cannot be read.
    pub fn for_folder(data_dir: &Path) -> Result<Option<Self>, AccountError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let owner = fs::metadata(data_dir).map_err(|source| AccountError::Io { path: data_dir.to_owned(), source })?;
        if owner.uid() != 0 {
            return Ok(Some(Self { uid: owner.uid(), gid: owner.gid() }));
        }
        let list = Path::new("/etc/passwd");
        let text = fs::read_to_string(list).map_err(|source| AccountError::Io { path: list.to_owned(), source })?;
        CANDIDATES.iter().find_map(|name| find(&text, name)).map(Some).ok_or(AccountError::NoAccount)
    }

    /// Gives a file or folder to the account.
    ///
    /// # Errors
    /// [`AccountError::Io`] where the system refuses.
    pub fn give(self, path: &Path) -> Result<(), AccountError> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(|source| AccountError::Io { path: path.to_owned(), source })
    }

    /// Makes a command run as the account, without root's other groups.
    pub fn run(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Checks that the account may enter a folder and every folder above it.
    ///
    /// # Errors
    /// [`AccountError::NotTraversable`] with the first closed folder, seen from the root.
    pub fn check_entry(self, folder: &Path) -> Result<(), AccountError> {
        let mut folders: Vec<&Path> = folder.ancestors().collect();
        folders.reverse();
        match folders.into_iter().find(|folder| !self.may_enter(folder)) {
            Some(closed) => Err(AccountError::NotTraversable { folder: closed.to_owned(), uid: self.uid }),
            None => Ok(()),
        }
    }

    /// Tries it instead of reading mode bits, which miss access lists.
    fn may_enter(self, folder: &Path) -> bool {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "cd -- \"$1\"", "sh"]).arg(folder).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.run(&mut command);
        command.status().is_ok_and(|status| status.success())
    }
}

/// The numbers of a named account in the text of /etc/passwd (`name:password:uid:gid:...`); root's are refused.
fn find(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2);
    let uid = numbers.next()?.parse().ok()?;
    let gid = numbers.next()?.parse().ok()?;
    (uid != 0).then_some(Account { uid, gid })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn finds_accounts_by_their_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/bash\npostgres2:x:9:9::/:\nnobody:x:65534:65533::/:\nodd:x:0:0::/:\n\
                      short:x:1\nnegative:*:-2:-2::/:\n";
        assert_eq!(find(passwd, "nobody"), Some(Account { uid: 65534, gid: 65533 }));
        for name in ["postgres", "odd", "short", "negative", ""] {
            assert_eq!(find(passwd, name), None, "{name}");
        }
    }

    #[test]
    fn a_closed_parent_folder_is_named_with_the_way_out() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("data");
        fs::create_dir(&folder).unwrap();
        let Some(account) = Account::for_folder(&folder).unwrap() else {
            println!("not root: nothing is dropped, so no folder can be closed");
            return;
        };
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
        account.give(&folder).unwrap();
        assert_eq!(Account::for_folder(&folder).unwrap(), Some(account), "the folder's own user is kept");
        let text = account.check_entry(&folder).unwrap_err().to_string();
        assert!(text.contains(&format!("may not enter {};", parent.path().display())), "{text}");
        assert!(text.contains("FORECASTD_DATA_DIR"), "{text}");
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o711)).unwrap();
        account.check_entry(&folder).unwrap();
    }
}

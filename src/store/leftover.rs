//! What a crash leaves in PostgreSQL's data directory: a lock file with a process number that may be anybody's by now.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use thiserror::Error;

/// How long an orphaned Postgres may take to shut down before the start is given up.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(30);

/// Why a start is not possible after a crash.
#[derive(Debug, Error)]
pub enum LeftoverError {
    /// A Postgres without supervisor still runs on the directory.
    #[error(
        "process {pid}, a Postgres that an earlier forecastd left behind, still runs on {directory} and does not stop",
        directory = directory.display()
    )]
    Orphan {
        /// PostgreSQL's data directory.
        directory: PathBuf,
        /// The process.
        pid: i32,
    },
    /// The lock file stays.
    #[error("cannot remove {file}, which names a process that is no Postgres of this folder: {source}", file = file.display())]
    LockFile {
        /// The lock file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Makes way for a start. PostgreSQL refuses one while the process number in its lock file is in use, by whomever. The
/// caller holds the folder, so a Postgres on it is an orphan, to be stopped, and any other process took the number over.
///
/// # Errors
/// [`LeftoverError`] where the orphan stays, or the lock file.
pub fn clear_after_crash(directory: &Path, postmaster: Option<Pid>) -> Result<(), LeftoverError> {
    let Some(pid) = postmaster.filter(|pid| is_alive(*pid)) else { return Ok(()) };
    let working_directory = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).ok();
    let is_postgres = process_name(pid).is_some_and(|name| name == "postgres" || name == "postmaster");
    if is_postgres && working_directory.as_deref() == Some(directory) {
        return stop_orphan(pid, directory);
    }
    // A Postgres of unknown folder may be this one's; PostgreSQL itself then decides.
    if !is_postgres || working_directory.is_some() {
        let file = directory.join("postmaster.pid");
        tracing::warn!(pid = pid.as_raw_nonzero(), "removing a lock file whose process number another program has");
        fs::remove_file(&file).map_err(|source| LeftoverError::LockFile { file, source })?;
    }
    Ok(())
}

fn is_alive(pid: Pid) -> bool {
    // A process of another user cannot be signalled, and is alive.
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// The program's name, from /proc where there is one, else from `ps`.
fn process_name(pid: Pid) -> Option<String> {
    let pid = pid.as_raw_nonzero();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).or_else(|_| {
        let answer = Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()]).output()?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer.stdout).into_owned())
    });
    let name = name.ok()?;
    Path::new(name.trim()).file_name()?.to_str().map(str::to_owned)
}

fn stop_orphan(pid: Pid, directory: &Path) -> Result<(), LeftoverError> {
    let number = pid.as_raw_nonzero().get();
    tracing::warn!(pid = number, "stopping a Postgres that an earlier forecastd left behind");
    let begun = Instant::now();
    while kill_process(pid, Signal::INT).is_ok() && is_alive(pid) {
        if begun.elapsed() > ORPHAN_PATIENCE {
            return Err(LeftoverError::Orphan { directory: directory.to_owned(), pid: number });
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// A running program of the given name in the given folder, with its lock file.
    fn program_with_lock_file(name: &str, directory: &Path) -> std::process::Child {
        let program = directory.join(name);
        fs::copy("/bin/sleep", &program).unwrap();
        let mut command = Command::new(program);
        let child = command.arg("60").current_dir(directory).stdin(Stdio::null()).spawn().unwrap();
        fs::write(directory.join("postmaster.pid"), child.id().to_string()).unwrap();
        child
    }

    fn clear(directory: &Path, child: &std::process::Child) -> bool {
        clear_after_crash(directory, Pid::from_raw(child.id().try_into().unwrap())).unwrap();
        directory.join("postmaster.pid").exists()
    }

    #[test]
    fn a_process_number_taken_over_by_another_program_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = program_with_lock_file("forecaster", folder.path());
        assert!(!clear(folder.path(), &child));
        assert!(child.try_wait().unwrap().is_none(), "the other program is left alone");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_dead_process_is_left_to_postgres() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = program_with_lock_file("postgres", folder.path());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(clear(folder.path(), &child));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_postgres_of_this_folder_is_stopped() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut other = program_with_lock_file("postgres", elsewhere.path());
        fs::write(folder.path().join("postmaster.pid"), other.id().to_string()).unwrap();
        assert!(!clear(folder.path(), &other));
        assert!(other.try_wait().unwrap().is_none(), "another folder's Postgres is left alone");
        // Reaped at once, as init would.
        let pid = Pid::from_raw(other.id().try_into().unwrap()).unwrap();
        let reaper = thread::spawn(move || other.wait().unwrap());
        clear_after_crash(elsewhere.path(), Some(pid)).unwrap();
        assert!(!reaper.join().unwrap().success());
    }
}

//! A Postgres of the suite's own, on a copy of a folder that the program made, so that it can be stopped and killed.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::process::{Process, free_address, is_running, tail};

/// How long a start may replay the log of a killed server.
const START: Duration = Duration::from_secs(60);
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(60);

/// A Postgres server.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens.
    pub address: SocketAddr,
    /// PostgreSQL's own data directory.
    pub cluster: PathBuf,
    /// Options for a start; each is said after `-c`.
    pub options: Vec<String>,
    /// A limit of the size of files in KiB, set before it starts.
    pub file_limit_kib: Option<u64>,
    logs: PathBuf,
    process: Option<Process>,
}

impl Postgres {
    /// One on `DATA_DIR/postgres/cluster`, a folder that `forecastd` made, not started yet.
    pub fn prepared(data_dir: &Path, logs: &Path) -> Result<Self> {
        Ok(Self {
            address: free_address()?,
            cluster: data_dir.join("postgres/cluster"),
            options: Vec::new(),
            file_limit_kib: None,
            logs: logs.to_owned(),
            process: None,
        })
    }

    /// The address of the database.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Connections for looking at the database with the rights of its owner.
    pub fn pool(&self) -> Result<PgPool> {
        pool(&self.url())
    }

    /// Starts it on the same address and waits until it answers.
    pub async fn start_again(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.process = Some(Process::start("postgres", self.command()?, &self.logs)?);
            while self.process.as_mut().is_some_and(Process::is_alive) {
                let attempt = timeout(Duration::from_secs(2), PgConnection::connect(&self.url())).await;
                if let Ok(Ok(connection)) = attempt {
                    let _ = connection.close().await;
                    return Ok(());
                }
                ensure!(begun.elapsed() < START, "Postgres does not answer: {}", tail(&self.logs.join("postgres.log")));
                sleep(Duration::from_millis(20)).await;
            }
            // Helpers of a killed server hold its shared memory for a moment, and a start then ends at once.
            ensure!(begun.elapsed() < START, "Postgres does not start: {}", tail(&self.logs.join("postgres.log")));
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops it in the usual way, cutting off all sessions.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::INT)?;
        let begun = Instant::now();
        while process.is_alive() {
            ensure!(begun.elapsed() < STOP, "Postgres does not stop");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Kills the postmaster; its helpers notice and end.
    pub async fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill().await
    }

    /// Its process, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// As the user who owns the folder, by the program that last ran on it.
    fn command(&self) -> Result<Command> {
        let words = std::fs::read_to_string(self.cluster.join("postmaster.opts"))?;
        let program = words.split(" \"").next().context("postmaster.opts names no program")?.trim();
        let mut command = match self.file_limit_kib {
            None => Command::new(program),
            Some(kib) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("ulimit -f {}; exec \"$@\"", kib * 2), "sh", program]);
                shell
            }
        };
        let port = self.address.port().to_string();
        let socket = self.cluster.display().to_string();
        command.arg("-D").arg(&self.cluster);
        command.args(["-c", "listen_addresses=127.0.0.1", "-p", &port, "-k", &socket, "-c", "log_checkpoints=off"]);
        for option in &self.options {
            command.args(["-c", option]);
        }
        let owner = std::fs::metadata(&self.cluster)?;
        if rustix::process::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.current_dir(&self.cluster);
        Ok(command)
    }
}

impl Drop for Postgres {
    /// Its helpers end with it.
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let _ = kill_process(process.pid(), Signal::QUIT);
            let begun = Instant::now();
            while is_running(process.pid()) && begun.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The address of the database on a server.
pub fn url(address: SocketAddr) -> String {
    format!("postgres://app@{address}/forecastd?sslmode=disable")
}

/// Connections for looking at a database, made when they are needed.
pub fn pool(url: &str) -> Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(3).acquire_timeout(Duration::from_secs(10)).connect_lazy(url)?)
}

/// The process of the embedded Postgres of a data folder, where one runs.
pub fn embedded_postmaster(data_dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data_dir.join("postgres/cluster/postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?).filter(|pid| is_running(*pid))
}

/// The address of the embedded Postgres of a data folder, by the socket that it names.
pub fn embedded_url(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join("postgres/cluster/postmaster.pid")).ok()?;
    let socket = text.lines().nth(4).filter(|socket| !socket.is_empty())?;
    let encoded: String = socket.bytes().map(|b| format!("%{b:02X}")).collect();
    Some(format!("postgres:///forecastd?host={encoded}&port=5432&user=app&sslmode=disable"))
}

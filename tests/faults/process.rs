//! The program as processes of its own: their folders, signals, messages and ends.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::http::Client;

/// A start that takes longer has failed; it is long because the machine may be busy.
const START: Duration = Duration::from_secs(120);
/// Options that make a small market's forecasts cheap, for `serve`, `work` and `train`.
const SMALL: [[&str; 2]; 4] = [["--members", "1"], ["--epochs", "1"], ["--threads", "1"], ["--scenarios", "800"]];

/// Where a program keeps its data and finds its store.
#[derive(Debug, Clone)]
pub struct Home {
    /// Folder of the signing key, and of the embedded Postgres.
    pub data_dir: PathBuf,
    /// A server to use instead of the embedded one.
    pub url: Option<String>,
}

/// A command that ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub output: String,
    /// What it said besides.
    pub errors: String,
}

impl Home {
    /// A command of the program, with nothing of the environment but where PostgreSQL lies.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text == "DATABASE_URL" || (text.starts_with("FORECASTD_") && text != "FORECASTD_POSTGRES_DIR") {
                command.env_remove(&name);
            }
        }
        if let Some(url) = &self.url {
            command.env("DATABASE_URL", url);
        }
        command.arg("--data-dir").arg(&self.data_dir).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Finished> {
        let output = self.command(arguments).output().await.context("the program cannot be started")?;
        Ok(Finished {
            status: output.status,
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed; returns what it printed.
    pub async fn done(&self, arguments: &[&str]) -> Result<String> {
        let finished = self.run(arguments).await?;
        ensure!(finished.status.success(), "forecastd {arguments:?} failed: {}", finished.errors);
        Ok(finished.output)
    }
}

/// The program that is tried: `FORECASTD_PROGRAM`, or the one built with this suite.
fn program() -> PathBuf {
    std::env::var_os("FORECASTD_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_forecastd").into(), PathBuf::from)
}

/// An address on this machine that nobody listens on.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A running process; killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts a command that appends its messages to `NAME.log` in a folder.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        command.stdout(file.try_clone()?).stderr(file).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).context("a process without number")?;
        Ok(Self { name: name.to_owned(), child, pid, log })
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has not ended.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("{} cannot be signalled", self.name))
    }

    /// Kills it and waits for its end.
    pub async fn kill(&mut self) -> Result<()> {
        let _ = self.child.start_kill();
        self.child.wait().await?;
        Ok(())
    }

    /// Asks it to stop and waits for its end; tells how long that took.
    pub async fn stop(&mut self, patience: Duration) -> Result<(ExitStatus, Duration)> {
        let begun = Instant::now();
        self.signal(Signal::TERM)?;
        let status = timeout(patience, self.child.wait()).await;
        let status = status.with_context(|| format!("{} did not end within {patience:?}", self.name))??;
        Ok((status, begun.elapsed()))
    }

    /// The processes below it that run a job.
    pub fn job_children(&self) -> Vec<Pid> {
        descendants(self.pid).into_iter().filter(|pid| command_line(*pid).contains(" run-job ")).collect()
    }

    /// Everything it has said so far.
    pub fn messages(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `GET PATH` is answered with 200.
    pub async fn wait_for(&mut self, address: SocketAddr, path: &str) -> Result<()> {
        let begun = Instant::now();
        let mut client = Client::new(address);
        loop {
            if client.get(path).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) instead of answering: {}", self.name, tail(&self.log));
            }
            ensure!(begun.elapsed() < START, "{} does not answer {path}: {}", self.name, tail(&self.log));
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Starts `forecastd serve` on a small market with more options, and waits until it serves what was published.
pub async fn serve(home: &Home, address: SocketAddr, logs: &Path, more: &[&str]) -> Result<Process> {
    let listen = address.to_string();
    let command = home.command(small(&["serve", "--listen", &listen, "--metrics-listen", "none"], more));
    let mut process = Process::start(&format!("serve-{}", address.port()), command, logs)?;
    process.wait_for(address, "/signal/F00").await?;
    Ok(process)
}

/// Starts `forecastd work` on a small market with more options.
pub fn work(home: &Home, name: &str, logs: &Path, more: &[&str]) -> Result<Process> {
    Process::start(name, home.command(small(&["work"], more)), logs)
}

/// The arguments of a command with more options, and with those for a small market that are not among them.
pub fn small<'a>(command: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let given = |name: &str| more.contains(&name);
    let rest = SMALL.into_iter().filter(|[name, _]| !given(name)).flatten();
    command.iter().copied().chain(rest).chain(more.iter().copied()).collect()
}

/// All processes below one.
pub fn descendants(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    for at in 0.. {
        let Some(process) = found.get(at) else { break };
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().map_while(Result::ok);
        let children: String =
            tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()).collect();
        found.extend(children.split_whitespace().filter_map(|number| Pid::from_raw(number.parse().ok()?)));
    }
    found.split_off(1)
}

/// The words of a process.
pub fn command_line(process: Pid) -> String {
    let words = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}

/// Whether a process is there and has not ended.
pub fn is_running(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// The last lines of a file.
pub fn tail(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// Copies a folder with owners and times.
pub async fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().await?;
    ensure!(status.success(), "{} cannot be copied to {}", from.display(), to.display());
    Ok(())
}

/// Writes a file whole.
pub fn write_file(file: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let mut opened = File::create(file).with_context(|| file.display().to_string())?;
    Ok(opened.write_all(text.as_bytes())?)
}

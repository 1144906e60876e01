//! The program as a process of its own, in a data folder of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A start that takes longer has failed; it is long because the machine may be busy.
const START: Duration = Duration::from_secs(180);

/// A data folder that the account of Postgres may enter.
pub struct DataFolder(TempDir);

impl DataFolder {
    /// Makes an empty one.
    pub fn new() -> Self {
        let all_may_enter = std::fs::Permissions::from_mode(0o755);
        Self(tempfile::Builder::new().prefix("forecastd-it-").permissions(all_may_enter).tempdir().unwrap())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A command of the program on this folder, with nothing of the environment but where PostgreSQL lies.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forecastd"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text == "DATABASE_URL" || (text.starts_with("FORECASTD_") && text != "FORECASTD_POSTGRES_DIR") {
                command.env_remove(&name);
            }
        }
        command.arg("--data-dir").arg(self.path()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; returns what it printed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail; returns what it said.
    pub fn failed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} was expected to fail");
        errors(&output)
    }

    /// The process of the private Postgres, where one runs.
    pub fn postmaster(&self) -> Option<Pid> {
        let file: PathBuf = self.path().join("postgres/cluster/postmaster.pid");
        let text = std::fs::read_to_string(file).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }
}

/// What a command wrote to standard error.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The words of a process.
fn command_line(process: Pid) -> String {
    let words = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}

/// Whether a process is gone within a time. One that has ended and that nobody has asked for its status is gone.
pub fn is_gone_within(patience: Duration, process: Pid) -> bool {
    let begun = Instant::now();
    let is_ended = || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    };
    while test_kill_process(process).is_ok() && !is_ended() {
        if begun.elapsed() > patience {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

/// A running `forecastd serve`; killed when it is dropped.
pub struct Server {
    child: Child,
    /// Where it answers.
    pub address: SocketAddr,
}

impl Server {
    /// Starts one on a free port and waits until it has something to say.
    pub fn start(folder: &DataFolder, more: &[&str]) -> Self {
        let small = ["serve", "--listen", "127.0.0.1:0", "--members", "0", "--scenarios", "800"];
        let command = folder.command(small.iter().chain(more)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = command.unwrap();
        let (said, heard) = mpsc::channel();
        let output = child.stdout.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let errors = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(errors).read_to_string(&mut text);
            text
        });
        match heard.recv_timeout(START) {
            Ok(greeting) => {
                let address = greeting.split("http://").nth(1).unwrap_or_else(|| panic!("{greeting}"));
                Self { child, address: address.trim().parse().unwrap() }
            }
            Err(_) => {
                let _ = child.kill();
                panic!("the service did not start: {}", log.join().unwrap_or_default());
            }
        }
    }

    /// Starts one that trains for long, and returns while it does and the benchmarks are served.
    pub fn start_training(folder: &DataFolder) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let long = ["serve", "--listen", &address.to_string(), "--members", "64", "--epochs", "1000"];
        let child = folder.command(long).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, address };
        let begun = Instant::now();
        let trains = |server: &Self| server.descendants().iter().any(|p| command_line(*p).contains(" run-job "));
        let is_ready = |server: &Self| TcpStream::connect(server.address).is_ok() && server.get("/readyz").0 == 200;
        while !is_ready(&server) || !trains(&server) {
            assert!(begun.elapsed() < START, "the training did not start");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Processes that this one started, and theirs.
    pub fn descendants(&self) -> Vec<Pid> {
        let mut found = vec![Pid::from_child(&self.child)];
        for at in 0.. {
            let Some(process) = found.get(at) else { break };
            let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().map_while(Result::ok);
            let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
            let text: String = children.collect();
            found.extend(text.split_whitespace().filter_map(|number| Pid::from_raw(number.parse().ok()?)));
        }
        found.split_off(1)
    }

    /// Status and body of a `GET`.
    pub fn get(&self, path: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)))
    }

    /// The body of a `GET` that must be answered with 200.
    pub fn found(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The private Postgres: started with the service, reached through a unix socket only, stopped with the service,
//! also when the service is killed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use sqlx::{Connection, PgConnection};
use thiserror::Error;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};

use super::cluster::{Cluster, ClusterError};
use super::programs::SearchPath;
use super::socket::{PORT, SocketDir};

/// Starts `"$@"` and stops it with SIGINT when the standard input ends, which it does with the process that holds the
/// other end, however that process dies. Ends with the program's exit status.
const WATCHDOG: &str = r#"exec 3<&0
"$@" </dev/null 3<&- &
program=$!
(cat <&3 >/dev/null; kill -INT $program) &
watch=$!
exec 3<&-
wait $program
status=$?
kill $watch 2>/dev/null
exit $status"#;

/// A crashed Postgres leaves helpers that hold its shared memory for a moment; the start is repeated for so long.
const RESTART_PATIENCE: Duration = Duration::from_secs(5);

/// How long a Postgres that is alive may replay its log before it answers.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(300);

/// How long a shutdown may write before it is cut short; the log then replays at the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// What the private Postgres is started with.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Its folder, created where it is missing; nobody else's files belong there.
    pub data_dir: PathBuf,
    /// Whether a commit survives a power cut. `false` is several times faster and meant for throw-away data.
    pub durable: bool,
    /// Where to look for the programs.
    pub search: SearchPath,
}

/// Why the private Postgres does not run. Every text says what to do or where the reason stands.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// The folder or the programs cannot be used.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The process could not be started or watched.
    #[error("cannot run PostgreSQL: {0}")]
    Process(#[from] std::io::Error),
    /// It ended without being asked to.
    #[error("PostgreSQL ended by itself ({status}); the end of {log}:\n{tail}", log = log.display())]
    Ended {
        /// Its exit status.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// It lives and does not answer.
    #[error("PostgreSQL does not answer ({reason}); see {log}", log = log.display())]
    Silent {
        /// What the last attempt to connect said.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// It ignored the request to stop.
    #[error("PostgreSQL does not stop; see {log}", log = log.display())]
    NotStopped {
        /// Its log.
        log: PathBuf,
    },
}

/// A running private Postgres. Dropped without [`Embedded::stop`], it stops too, but nobody waits for it.
#[derive(Debug)]
pub struct Embedded {
    cluster: Cluster,
    socket: SocketDir,
    durable: bool,
    watchdog: Child,
    /// Our end of the watchdog's standard input.
    lifeline: Option<ChildStdin>,
}

impl Embedded {
    /// Starts Postgres on a folder and waits until it takes connections: half a second where the folder is new, a
    /// twentieth where it is not, longer after a crash.
    ///
    /// # Errors
    /// [`EmbeddedError`]; the folder's data is unharmed in every case.
    pub async fn start(options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let EmbeddedOptions { data_dir, durable, search } = options;
        let opening = tokio::task::spawn_blocking(move || Cluster::open(&data_dir, &search, durable));
        let cluster = opening.await.map_err(std::io::Error::other)??;
        let socket = SocketDir::create(&cluster)?;
        let (watchdog, lifeline) = spawn(&cluster, socket.path(), durable)?;
        let mut embedded = Self { cluster, socket, durable, watchdog, lifeline };
        embedded.settle().await?;
        Ok(embedded)
    }

    /// Starts Postgres again after it has ended by itself, on the same folder and socket.
    ///
    /// # Errors
    /// [`EmbeddedError`]; the folder's data is unharmed in every case.
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        (self.watchdog, self.lifeline) = spawn(&self.cluster, self.socket.path(), self.durable)?;
        self.settle().await
    }

    /// Waits until Postgres takes connections; what a crashed one left behind may keep it from starting for a moment.
    async fn settle(&mut self) -> Result<(), EmbeddedError> {
        let begun = Instant::now();
        while let Err(error) = self.wait_until_ready().await {
            if !matches!(error, EmbeddedError::Ended { .. }) || begun.elapsed() > RESTART_PATIENCE {
                return Err(error);
            }
            sleep(Duration::from_millis(100)).await;
            (self.watchdog, self.lifeline) = spawn(&self.cluster, self.socket.path(), self.durable)?;
        }
        Ok(())
    }

    /// The address of a database of this server, for sqlx and psql alike.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.socket.url(database)
    }

    /// Returns when Postgres has ended without being asked to, which [`Embedded::restart`] mends.
    ///
    /// # Errors
    /// Always [`EmbeddedError::Ended`], or [`EmbeddedError::Process`] where it cannot be watched.
    pub async fn ended(&mut self) -> EmbeddedError {
        match self.watchdog.wait().await {
            Ok(status) => self.ended_with(status),
            Err(error) => EmbeddedError::Process(error),
        }
    }

    /// Stops Postgres: open transactions are rolled back, and everything committed is written to its place.
    ///
    /// # Errors
    /// [`EmbeddedError::NotStopped`] where it does not end within a minute.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        drop(self.lifeline.take());
        if timeout(STOP_PATIENCE, self.watchdog.wait()).await.is_ok() {
            return Ok(());
        }
        if let Some(postmaster) = self.cluster.postmaster() {
            tracing::warn!("PostgreSQL takes long to stop; its next start will replay its log");
            kill_process(postmaster, Signal::QUIT).map_err(std::io::Error::from)?;
        }
        let ended = timeout(STOP_PATIENCE / 4, self.watchdog.wait()).await;
        ended.map(|_| ()).map_err(|_| EmbeddedError::NotStopped { log: self.cluster.log_path() })
    }

    /// Connects until it succeeds, the process ends, or recovery takes too long.
    async fn wait_until_ready(&mut self) -> Result<(), EmbeddedError> {
        let url = self.url("postgres");
        let begun = Instant::now();
        let mut told = false;
        loop {
            let reason = match timeout(Duration::from_secs(2), PgConnection::connect(&url)).await {
                Ok(Ok(connection)) => {
                    // The server is up; how it takes the farewell does not matter.
                    let _ = connection.close().await;
                    return Ok(());
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer within two seconds".to_owned(),
            };
            if let Some(status) = self.watchdog.try_wait()? {
                return Err(self.ended_with(status));
            }
            if begun.elapsed() > RECOVERY_PATIENCE {
                return Err(EmbeddedError::Silent { reason, log: self.cluster.log_path() });
            }
            if !told && begun.elapsed() > Duration::from_secs(2) {
                tracing::info!(%reason, "waiting for PostgreSQL, which may be replaying its log after a crash");
                told = true;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn ended_with(&self, status: ExitStatus) -> EmbeddedError {
        let log = self.cluster.log_path();
        let text = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n");
        EmbeddedError::Ended { status, log, tail }
    }
}

/// Starts the watchdog and below it Postgres, in a process group of their own, which a Ctrl-C does not reach.
fn spawn(cluster: &Cluster, socket: &Path, durable: bool) -> Result<(Child, Option<ChildStdin>), EmbeddedError> {
    let log = cluster.open_log()?;
    let mut command = cluster.command("/bin/sh");
    command.args(["-c", WATCHDOG, "sh"]).arg(cluster.program("postgres"));
    command.arg("-D").arg(cluster.directory()).args(["-c", "listen_addresses=", "-p", PORT, "-k"]);
    command.arg(format!("\"{}\"", socket.display().to_string().replace('"', "\"\"")));
    command.args(["-c", "log_checkpoints=off"]);
    if !durable {
        command.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
    }
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let mut watchdog = Command::from(command).spawn()?;
    let lifeline = watchdog.stdin.take();
    Ok((watchdog, lifeline))
}

#[cfg(test)]
mod tests {
    use std::fs::create_dir;
    use std::os::unix::fs::PermissionsExt;

    use rustix::process::{Pid, test_kill_process};

    use super::*;

    /// Names the folder for [`the_service_to_be_killed`] in the process that plays it.
    const SERVICE_FOLDER: &str = "FORECASTD_TEST_SERVICE_FOLDER";

    fn options(data_dir: &Path) -> EmbeddedOptions {
        EmbeddedOptions { data_dir: data_dir.to_owned(), durable: false, search: SearchPath::from_env(None) }
    }

    async fn connect(embedded: &Embedded) -> PgConnection {
        PgConnection::connect(&embedded.url("postgres")).await.unwrap()
    }

    async fn write(embedded: &Embedded) {
        let mut connection = connect(embedded).await;
        sqlx::query("create table kept as select 42 as number").execute(&mut connection).await.unwrap();
    }

    async fn read(embedded: &Embedded) -> i32 {
        sqlx::query_scalar("select number from kept").fetch_one(&mut connect(embedded).await).await.unwrap()
    }

    async fn is_gone_within(patience: Duration, pid: Pid) -> bool {
        timeout(patience, async {
            while test_kill_process(pid).is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .is_ok()
    }

    #[tokio::test]
    async fn a_second_start_keeps_the_data_also_in_an_oddly_named_folder() {
        let folder = tempfile::Builder::new().prefix("a, \"b\" %41+é").tempdir().unwrap();
        let embedded = Embedded::start(options(folder.path())).await.unwrap();
        write(&embedded).await;
        let postmaster = embedded.cluster.postmaster().unwrap();
        embedded.stop().await.unwrap();
        assert!(test_kill_process(postmaster).is_err(), "stop waits for the end");
        let embedded = Embedded::start(options(folder.path())).await.unwrap();
        assert_eq!(read(&embedded).await, 42);
        embedded.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_second_service_is_refused_and_the_first_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let first = Embedded::start(options(folder.path())).await.unwrap();
        write(&first).await;
        let refusal = Embedded::start(options(folder.path())).await.unwrap_err().to_string();
        assert!(refusal.contains("in use by another forecastd"), "{refusal}");
        assert_eq!(read(&first).await, 42);
        first.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_killed_postgres_is_noticed_and_the_next_start_recovers() {
        let folder = tempfile::tempdir().unwrap();
        let durable = EmbeddedOptions { durable: true, ..options(folder.path()) };
        let mut embedded = Embedded::start(durable).await.unwrap();
        write(&embedded).await;
        // A session that outlives its server for a moment holds the shared memory, and the start has to be repeated.
        let mut session = connect(&embedded).await;
        let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut session).await.unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        kill_process(embedded.cluster.postmaster().unwrap(), Signal::KILL).unwrap();
        let noticed = timeout(Duration::from_secs(5), embedded.ended()).await.unwrap();
        assert!(matches!(noticed, EmbeddedError::Ended { .. }), "{noticed}");
        drop(embedded);
        let waking = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(1));
            kill_process(pid, Signal::CONT).unwrap();
        });
        let embedded = Embedded::start(options(folder.path())).await.unwrap();
        waking.join().unwrap();
        assert_eq!(read(&embedded).await, 42);
        embedded.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_killed_service_takes_its_postgres_along_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = Command::new(std::env::current_exe().unwrap());
        service.args(["the_service_to_be_killed", "--nocapture"]).env(SERVICE_FOLDER, folder.path());
        let mut service = service.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let ready = folder.path().join("ready");
        timeout(Duration::from_secs(20), async {
            while !ready.exists() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("the service writes its file");
        let postmaster = fs::read_to_string(folder.path().join("cluster/postmaster.pid")).unwrap();
        let postmaster = Pid::from_raw(postmaster.lines().next().unwrap().parse().unwrap()).unwrap();
        service.start_kill().unwrap();
        assert!(is_gone_within(Duration::from_secs(1), postmaster).await);
        let embedded = Embedded::start(options(folder.path())).await.unwrap();
        assert_eq!(read(&embedded).await, 42);
        embedded.stop().await.unwrap();
    }

    /// Not a test by itself: the process that the test above starts, and kills.
    #[tokio::test]
    async fn the_service_to_be_killed() {
        let Some(folder) = std::env::var_os(SERVICE_FOLDER).map(PathBuf::from) else { return };
        let embedded = Embedded::start(options(&folder)).await.unwrap();
        write(&embedded).await;
        create_dir(folder.join("ready")).unwrap();
        sleep(Duration::from_secs(60)).await;
        embedded.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_long_path_moves_the_socket_and_programs_that_fail_show_their_log() {
        let folder = tempfile::Builder::new().prefix(&"long".repeat(30)).tempdir().unwrap();
        let embedded = Embedded::start(options(folder.path())).await.unwrap();
        write(&embedded).await;
        let socket = embedded.socket.path().to_owned();
        assert!(!socket.starts_with(folder.path()));
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700, "it needs no password");
        embedded.stop().await.unwrap();
        assert!(!socket.exists());
        fs::write(folder.path().join("cluster/postgresql.conf"), "no_such_setting = 1\n").unwrap();
        let refusal = Embedded::start(options(folder.path())).await.unwrap_err().to_string();
        assert!(refusal.contains("no_such_setting"), "{refusal}");
    }
}

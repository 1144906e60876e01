//! Small commands for scripts: a throw-away Postgres, a health check, the README's table.

use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use sqlx::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::cli::commands::{Cli, OpenapiFormat};
use crate::config::{StoreConfig, markdown_table};
use crate::forecast::verdict_calibration::{CalibrationSettings, calibrate};
use crate::store::embedded::{Embedded, EmbeddedOptions};
use crate::store::programs::SearchPath;
use crate::store::{pool, schema};

/// How long a service may take to say that it is alive.
const HEALTH_PATIENCE: Duration = Duration::from_secs(3);

/// Runs a command with `DATABASE_URL` naming a private throw-away Postgres with the current schema, in memory where the
/// system offers it. A `DATABASE_URL` that is already set is used as it is.
///
/// # Errors
/// When Postgres or the command cannot be started.
pub async fn with_postgres(config: &StoreConfig, command: &[OsString]) -> anyhow::Result<ExitCode> {
    if let Some(url) = config.url() {
        schema::migrate(&url).await?;
        return run(command, &url).await;
    }
    let folder = throw_away_folder()?;
    let options = EmbeddedOptions {
        data_dir: folder.path().join("store"),
        durable: false,
        search: SearchPath::from_env(Some(config.postgres_dir.clone())),
    };
    let embedded = Embedded::start(options).await?;
    let url = embedded.url("forecastd");
    pool::ensure_database(&url, &embedded.url("postgres")).await?;
    migrate_from_sources(&url).await?;
    let code = run(command, &url).await;
    embedded.stop().await?;
    code
}

/// Asks the service at an address whether it is alive.
///
/// # Errors
/// When it does not answer `200`.
pub async fn health(address: SocketAddr) -> anyhow::Result<ExitCode> {
    let host = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    let ask = async {
        let mut stream = TcpStream::connect((host, address.port())).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut answer = [0u8; 12];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(HEALTH_PATIENCE, ask).await.context("no answer in time")??;
    anyhow::ensure!(answer.ends_with(b" 200"), "the service is not healthy");
    Ok(ExitCode::SUCCESS)
}

/// Lets other processes have the processor first.
pub fn lower_priority() {
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!("the priority stays as it is: {error}");
    }
}

/// Ends this process when its standard input ends, as it does when the parent is killed.
pub fn stop_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}

/// Prints the description of the HTTP interface.
///
/// # Errors
/// When it cannot be written.
pub fn openapi(format: OpenapiFormat) -> anyhow::Result<ExitCode> {
    let description = crate::api::openapi::openapi();
    print_all(&match format {
        OpenapiFormat::Yaml => description.to_yaml()?,
        OpenapiFormat::Json => description.to_pretty_json()? + "\n",
    })
}

/// The configuration tables of the README, from the definitions of the command line.
#[must_use]
pub fn config_table() -> String {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").map(markdown_table).unwrap_or_default();
    format!(
        "Every command:\n\n{}\n`serve` (`train` and `evaluate` share those from `--members` on):\n\n{serve}",
        markdown_table(&command)
    )
}

/// Migrates by the files of a checkout where this is one, so that a program built before a new migration still gives
/// its queries the schema they need.
async fn migrate_from_sources(url: &str) -> anyhow::Result<()> {
    let folder = Path::new("migrations");
    if !folder.is_dir() {
        return Ok(schema::migrate(url).await?);
    }
    let mut connection = sqlx::PgConnection::connect(url).await?;
    sqlx::migrate::Migrator::new(folder).await?.run(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Writes to standard output. A reader who has seen enough (`| head`) is no error.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print_all(text: &str) -> anyhow::Result<ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

async fn run(command: &[OsString], url: &str) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command was given")?;
    let status = Command::new(program).args(arguments).env("DATABASE_URL", url).status().await;
    let status = status.with_context(|| format!("{} cannot be started", Path::new(program).display()))?;
    Ok(status.code().and_then(|c| u8::try_from(c).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A folder in memory where there is one: a test database costs a third there.
fn throw_away_folder() -> std::io::Result<tempfile::TempDir> {
    let memory = PathBuf::from("/dev/shm");
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("forecastd-test-").permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
        builder
    };
    builder().tempdir_in(memory).or_else(|_| builder().tempdir())
}

/// Prints how often the verdicts call simulated noise predictable and find what was planted; fails when they do not hold.
#[must_use]
pub fn calibrate_verdicts(settings: &CalibrationSettings) -> ExitCode {
    let report = calibrate(settings);
    println!("{report}");
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

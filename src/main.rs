//! The binary: reads the command line, opens the store, hands over to the jobs.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use forecastd::cli::commands::{Cli, Command, TrainArgs};
use forecastd::cli::keys::KeysCommand;
use forecastd::config::{LogFormat, StoreConfig};
use forecastd::forecast::verdict_calibration::CalibrationSettings;
use forecastd::jobs::replay::{Replay, replay};
use forecastd::jobs::train::Past;
use forecastd::jobs::{
    drift, drift_text, evaluate, import, keys, payoffs, publish, rate, tools, train, transfer, verify,
};
use forecastd::opinion::drift::LivePerformance;
use forecastd::store::error::hint;
use forecastd::store::open::{Server, Store, StoreOptions};
use forecastd::store::signing::HeadSigner;
use forecastd::{serve, telemetry};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = telemetry::start(&cli.store.log, cli.store.log_format).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run(&cli))
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let message = explained(&error);
            match cli.store.log_format {
                LogFormat::Text => eprintln!("forecastd: {message}"),
                LogFormat::Json => tracing::error!("{message}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// The error with its causes, each said once, and the server's advice where there is one.
fn explained(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !message.contains(&cause) {
            message.push_str(if message.is_empty() { "" } else { ": " });
            message.push_str(&cause);
        }
    }
    match hint(error.as_ref()) {
        Some(hint) => format!("{message} ({hint})"),
        None => message,
    }
}

async fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = &cli.store;
    match &cli.command {
        Command::Serve(options) => {
            serve::serve(store_options(config), options).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::WithPostgres { command } => tools::with_postgres(config, command).await,
        Command::Health { address } => tools::health(*address).await,
        Command::Openapi { format } => tools::openapi(*format),
        Command::CalibrateVerdicts { markets, instruments, seed } => {
            Ok(tools::calibrate_verdicts(&CalibrationSettings {
                seed: *seed,
                markets: *markets as usize,
                instruments: *instruments as usize,
            }))
        }
        Command::ConfigTable => tools::print_all(&tools::config_table()),
        command => {
            require_store(config, command)?;
            let server = Server::start(store_options(config), true).await?;
            let outcome = run_on_store(cli, &server).await;
            let stopped = server.stop().await.context("the store did not stop cleanly");
            outcome.and_then(|code| stopped.map(|()| code))
        }
    }
}

/// Refuses commands that only read a store where there is none, so that a mistyped folder is not taken for an empty one.
fn require_store(config: &StoreConfig, command: &Command) -> anyhow::Result<()> {
    let makes_one = matches!(command, Command::Import(_) | Command::Keys(KeysCommand::Create { .. }));
    anyhow::ensure!(
        makes_one || config.url().is_some() || config.data_dir.join("postgres").exists(),
        "there is no store in {}; name its folder with --data-dir, or make one with `forecastd import FOLDER` or `forecastd serve`",
        config.data_dir.display()
    );
    Ok(())
}

/// The commands that need the store.
async fn run_on_store(cli: &Cli, server: &Server) -> anyhow::Result<ExitCode> {
    let store = match &cli.command {
        Command::Import(_) => server.real().await?,
        Command::Train(TrainArgs { simulated: true, .. }) => server.simulated().await?,
        _ => server.current().await?,
    };
    let outcome = match &cli.command {
        Command::Import(arguments) => {
            let report = import::import(&store.pool, &arguments.paths).await?;
            Ok(if report.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Train(arguments) => {
            if arguments.low_priority {
                tools::lower_priority();
            }
            if arguments.stop_with_parent {
                tools::stop_with_parent();
            }
            let past = if arguments.walk { Past::Walked } else { Past::Kept };
            println!("{}", train::train(&store, &arguments.recipe, past).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Publish(arguments) => run_publish(cli, &store, arguments.again).await,
        Command::Drift(arguments) => {
            let report = drift::drift(&store, *arguments, LivePerformance::default(), None).await?;
            print!("{}", drift_text::drift_text(&report));
            Ok(ExitCode::SUCCESS)
        }
        Command::Replay { sequence } => run_replay(&store, *sequence).await,
        Command::Verify { expect } => run_verify(cli, &store, *expect).await,
        Command::Evaluate(arguments) => evaluate::evaluate(&store, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Transfer(arguments) => transfer::transfer(&store, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Payoffs(arguments) => payoffs::payoffs(&store, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Rate(arguments) => rate::rate(&store, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Keys(command) => keys::run(&store.pool, command).await.map(|()| ExitCode::SUCCESS),
        Command::Serve(_)
        | Command::WithPostgres { .. }
        | Command::Health { .. }
        | Command::Openapi { .. }
        | Command::CalibrateVerdicts { .. }
        | Command::ConfigTable => Ok(ExitCode::FAILURE),
    };
    store.pool.close().await;
    outcome
}

async fn run_publish(cli: &Cli, store: &Store, again: bool) -> anyhow::Result<ExitCode> {
    let signer = HeadSigner::open(&cli.store.data_dir)?;
    match publish::publish(store, &signer, again).await? {
        Some(done) => println!(
            "published {} answers as of {}, ledger head {}:{}",
            done.entries,
            done.as_of,
            done.head.sequence,
            hex::encode(done.head.hash)
        ),
        None => println!("nothing new was recorded since the last publication; --again publishes anew"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_replay(store: &Store, sequence: i64) -> anyhow::Result<ExitCode> {
    match replay(store, sequence).await? {
        Replay::Same(bytes) => {
            println!("entry {sequence} replayed: the same {bytes} bytes");
            Ok(ExitCode::SUCCESS)
        }
        Replay::Different { offset, computed } => {
            let computed = String::from_utf8_lossy(&computed);
            println!("entry {sequence} differs from byte {offset} on; computed now: {computed}");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn run_verify(cli: &Cli, store: &Store, entry: Option<(i64, [u8; 32])>) -> anyhow::Result<ExitCode> {
    let public_key = HeadSigner::existing(&cli.store.data_dir)?.map(|s| s.public_key());
    let head = verify::verify(&store.pool, verify::Expectations { entry, public_key }).await?;
    match head.sequence {
        0 => println!("the ledger is empty; nothing was published yet"),
        sequence => println!("ledger verified: {sequence}:{}", hex::encode(head.hash)),
    }
    Ok(ExitCode::SUCCESS)
}

fn store_options(config: &StoreConfig) -> StoreOptions {
    StoreOptions {
        database_url: config.url(),
        data_dir: config.data_dir.clone(),
        postgres_dir: config.postgres_dir.clone(),
        connections: config.database_connections,
    }
}

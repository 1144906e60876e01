//! The binary: reads the command line, opens the store, hands over to the jobs.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use forecastd::cli::{Cli, Command};
use forecastd::config::{LogFormat, StoreConfig};
use forecastd::jobs::replay::{Replay, replay};
use forecastd::jobs::{evaluate, import, publish, train, verify};
use forecastd::jobs::{keys, tools};
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
            match cli.store.log_format {
                LogFormat::Text => eprintln!("forecastd: {error:#}"),
                LogFormat::Json => tracing::error!("{error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Import(arguments) => {
            let (server, store) = open_real(&cli.store).await?;
            let report = import::import(&store.pool, &arguments.paths).await?;
            close(server, store).await?;
            Ok(if report.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Serve(arguments) => {
            serve::serve(store_options(&cli.store), arguments).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Train(arguments) => {
            if arguments.low_priority {
                tools::lower_priority();
            }
            let server = Server::start(store_options(&cli.store), true).await?;
            let store = if arguments.simulated { server.simulated().await? } else { server.current().await? };
            println!("{}", train::train(&store, &arguments.recipe).await?);
            close(server, store).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Publish(arguments) => {
            let (server, store) = open_current(&cli.store).await?;
            let signer = HeadSigner::open(&cli.store.data_dir)?;
            match publish::publish(&store, &signer, arguments.again).await? {
                Some(done) => println!(
                    "published {} answers as of {}, ledger head {}:{}",
                    done.entries,
                    done.as_of,
                    done.head.sequence,
                    hex::encode(done.head.hash)
                ),
                None => println!("the newest session was published already; --again publishes it anew"),
            }
            close(server, store).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Replay { sequence } => {
            let (server, store) = open_current(&cli.store).await?;
            let outcome = replay(&store, *sequence).await?;
            close(server, store).await?;
            Ok(match outcome {
                Replay::Same(bytes) => {
                    println!("entry {sequence} replayed: the same {bytes} bytes");
                    ExitCode::SUCCESS
                }
                Replay::Different { offset, computed } => {
                    println!(
                        "entry {sequence} differs from byte {offset} on; computed now: {}",
                        String::from_utf8_lossy(&computed)
                    );
                    ExitCode::FAILURE
                }
            })
        }
        Command::Verify { expect } => {
            let (server, store) = open_current(&cli.store).await?;
            let head = verify::verify(&store.pool, *expect).await?;
            println!("ledger verified: {}:{}", head.sequence, hex::encode(head.hash));
            close(server, store).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Keys(command) => {
            let (server, store) = open_current(&cli.store).await?;
            keys::run(&store.pool, command).await?;
            close(server, store).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::WithPostgres { command } => tools::with_postgres(&cli.store, command).await,
        Command::Health { address } => tools::health(*address).await,
        Command::ConfigTable => {
            print!("{}", tools::config_table());
            Ok(ExitCode::SUCCESS)
        }
        Command::Openapi { format } => tools::openapi(*format),
        Command::Evaluate(arguments) => {
            let (server, store) = open_current(&cli.store).await?;
            evaluate::evaluate(&store, arguments).await?;
            close(server, store).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn open_real(config: &StoreConfig) -> anyhow::Result<(Server, Store)> {
    let server = Server::start(store_options(config), true).await?;
    let store = server.real().await?;
    Ok((server, store))
}

async fn open_current(config: &StoreConfig) -> anyhow::Result<(Server, Store)> {
    let server = Server::start(store_options(config), true).await?;
    let store = server.current().await?;
    Ok((server, store))
}

async fn close(server: Server, store: Store) -> anyhow::Result<()> {
    store.pool.close().await;
    server.stop().await.context("the store did not stop cleanly")
}

fn store_options(config: &StoreConfig) -> StoreOptions {
    StoreOptions {
        database_url: config.url(),
        data_dir: config.data_dir.clone(),
        postgres_dir: config.postgres_dir.clone(),
        connections: config.database_connections,
    }
}

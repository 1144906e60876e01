//! The binary: reads the command line, opens the store, hands over to the jobs.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use forecastd::cli::commands::{CheckedChains, Cli, Command, PublishArgs, TrainArgs};
use forecastd::cli::keys::KeysCommand;
use forecastd::cli::research::BackfillArgs;
use forecastd::config::{LogFormat, StoreConfig};
use forecastd::forecast::verdict_calibration::CalibrationSettings;
use forecastd::jobs::live_performance::live_performance;
use forecastd::jobs::replay::{Replay, replay};
use forecastd::jobs::train::Past;
use forecastd::jobs::{
    backfill, backup, drift, drift_text, evaluate, import, job_commands, keys, models, payoffs, publish, rate, run_job,
    score, tools, train, transfer, verify,
};
use forecastd::opinion::chain::Chain;
use forecastd::store::address::with_password_of;
use forecastd::store::error::hint;
use forecastd::store::open::{Server, Store, StoreOptions};
use forecastd::store::schema::Migrations;
use forecastd::store::signing::HeadSigner;
use forecastd::{clock, serve, telemetry, work};

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
    if let Some(file) = &config.clock_file {
        clock::rehearse(file.clone());
    }
    if let Command::RunJob(arguments) = &cli.command {
        run_job::prepare(arguments)?;
    }
    match &cli.command {
        Command::Serve(options) => {
            serve::serve(store_options(config)?, options, config.clock_file.clone()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Work(options) => {
            work::work(store_options(config)?, options, config.clock_file.clone()).await?;
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
            let server = Server::start(options_for(config, command)?, true).await?;
            let outcome = run_on_store(cli, &server).await;
            let stopped = server.stop().await.context("the store did not stop cleanly");
            outcome.and_then(|code| stopped.map(|()| code))
        }
    }
}

/// Refuses commands that only read a store where there is none, so that a mistyped folder is not taken for an empty one.
fn require_store(config: &StoreConfig, command: &Command) -> anyhow::Result<()> {
    let makes_one = matches!(
        command,
        Command::Import(_) | Command::Keys(KeysCommand::Create { .. }) | Command::Migrate | Command::Restore { .. }
    );
    anyhow::ensure!(
        makes_one || config.url().is_some() || config.data_dir.join("postgres").exists(),
        "there is no store in {}; name its folder with --data-dir, or make one with `forecastd import FOLDER` or `forecastd serve`",
        config.data_dir.display()
    );
    Ok(())
}

/// The commands that need the store.
async fn run_on_store(cli: &Cli, server: &Server) -> anyhow::Result<ExitCode> {
    if let Command::Restore { file } = &cli.command {
        return backup::restore(server, file).await.map(|()| ExitCode::SUCCESS);
    }
    let store = match &cli.command {
        Command::Import(_) => server.real().await?,
        Command::Train(TrainArgs { simulated: true, .. }) => server.simulated().await?,
        Command::RunJob(arguments) => server.exact(arguments.simulated).await?,
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
            let past = if arguments.walk { Past::Walked } else { Past::Kept };
            println!("{}", train::train(&store, &arguments.recipe, past).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::RunJob(arguments) => {
            run_job::run_job(&store, &server.key_file(), arguments).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Publish(arguments) => run_publish(server, &store, arguments).await,
        Command::Score => run_score(&store).await,
        Command::Drift(arguments) => {
            let report =
                drift::drift(&store, *arguments, live_performance(&store.pool, clock::now().date_naive()).await?, None)
                    .await?;
            print!("{}", drift_text::drift_text(&report));
            Ok(ExitCode::SUCCESS)
        }
        Command::Backfill(arguments) => run_backfill(server, &store, arguments).await,
        Command::Replay { sequence, chain } => run_replay(&store.on(*chain), *sequence).await,
        Command::Verify { expect, chain } => run_verify(server, &store, *expect, *chain).await,
        Command::Evaluate(arguments) => evaluate::evaluate(&store, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Transfer(arguments) => transfer::transfer(&store, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Payoffs(arguments) => payoffs::payoffs(&store, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Rate(arguments) => rate::rate(&store, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Jobs(arguments) => job_commands::run(&store.pool, arguments).await,
        Command::Keys(command) => keys::run(&store.pool, command).await.map(|()| ExitCode::SUCCESS),
        Command::Models(command) => models::run(&store, command).await.map(|()| ExitCode::SUCCESS),
        Command::Migrate => migrated(&store),
        Command::Backup { file } => backup::backup(server, &store, file).await.map(|()| ExitCode::SUCCESS),
        Command::Restore { .. }
        | Command::Serve(_)
        | Command::Work(_)
        | Command::WithPostgres { .. }
        | Command::Health { .. }
        | Command::Openapi { .. }
        | Command::CalibrateVerdicts { .. }
        | Command::ConfigTable => Ok(ExitCode::FAILURE),
    };
    store.pool.close().await;
    outcome
}

async fn run_publish(server: &Server, store: &Store, arguments: &PublishArgs) -> anyhow::Result<ExitCode> {
    let signer = if arguments.new_signing_key {
        HeadSigner::successor(&server.key_file())?
    } else {
        HeadSigner::for_ledger(&store.pool, &server.key_file()).await?
    };
    match publish::publish(store, &signer, arguments.again || arguments.new_signing_key).await? {
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

async fn run_backfill(server: &Server, store: &Store, arguments: &BackfillArgs) -> anyhow::Result<ExitCode> {
    let signer = HeadSigner::for_ledger(&store.pool, &server.key_file()).await?;
    let done = backfill::backfill(store, &signer, arguments, None).await?;
    match done.head {
        Some(head) => {
            println!("backfilled {} days, {} answers, head of the backfilled chain {head}", done.days, done.answers)
        }
        None => println!("nothing was written: these days are backfilled already"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_score(store: &Store) -> anyhow::Result<ExitCode> {
    let done = score::score(store, None).await?;
    match done.days {
        0 => println!("nothing new has matured"),
        days => println!(
            "scored {days} publications over their horizons, {} of them for the track record: {} rows, {} without numbers, \
             {} publications without a benchmark",
            done.counted, done.rows, done.without_numbers, done.without_benchmark
        ),
    }
    if done.waiting > 0 {
        println!("{} have passed by the calendar and wait for prices", done.waiting);
    }
    if done.left > 0 {
        println!("{} more are left; run it again", done.left);
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

async fn run_verify(
    server: &Server,
    store: &Store,
    mut entry: Option<(i64, [u8; 32])>,
    checked: CheckedChains,
) -> anyhow::Result<ExitCode> {
    let public_key = HeadSigner::existing(&server.key_file())?.map(|s| s.public_key());
    for chain in checked.chains() {
        let expect = verify::Expectations { entry: entry.take(), public_key };
        let head = verify::verify_on(*chain, &store.on(*chain).pool, expect).await?;
        match (chain, head.sequence) {
            (Chain::Live, 0) => println!("the ledger is empty; nothing was published yet"),
            (Chain::Live, sequence) => println!("ledger verified: {sequence}:{}", hex::encode(head.hash)),
            (Chain::Backfill, 0) if checked == CheckedChains::All => {}
            (Chain::Backfill, 0) => println!("the backfilled chain is empty"),
            (Chain::Backfill, sequence) => println!("backfilled chain verified: {sequence}:{}", hex::encode(head.hash)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn migrated(store: &Store) -> anyhow::Result<ExitCode> {
    let kind = if store.simulated { "the simulated market's" } else { "the" };
    tools::print_all(&format!("{kind} schema and job queue are up to date\n"))
}

/// The options for a command: `migrate` brings the schema up to date whatever else was said, and a backup takes it as it is.
fn options_for(config: &StoreConfig, command: &Command) -> anyhow::Result<StoreOptions> {
    let options = store_options(config)?;
    Ok(match command {
        Command::Migrate => StoreOptions { migrations: Migrations::Run, ..options },
        Command::Backup { .. } => StoreOptions { migrations: Migrations::Leave, ..options },
        _ => options,
    })
}

fn store_options(config: &StoreConfig) -> anyhow::Result<StoreOptions> {
    let url = config.url();
    let database_url = match config.database_password_file.as_deref() {
        Some(file) => url.map(|url| with_password_of(&url, file)).transpose()?,
        None => url,
    };
    Ok(StoreOptions {
        database_url,
        data_dir: config.data_dir.clone(),
        postgres_dir: config.postgres_dir.clone(),
        connections: config.database_connections,
        migrations: if config.no_migrate { Migrations::Require } else { Migrations::Run },
        signing_key: config.signing_key.clone(),
    })
}

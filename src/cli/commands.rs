//! The command line: what can be asked, with examples.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::drift::DriftArgs;
use crate::cli::jobs::JobsArgs;
use crate::cli::keys::KeysCommand;
use crate::cli::models::ModelsCommand;
use crate::cli::operation::{RunJobArgs, WorkArgs};
use crate::cli::research::{BackfillArgs, EvaluateArgs, PayoffsArgs, RateArgs, TransferArgs};
use crate::cli::serve::ServeConfig;
use crate::config::{RecipeConfig, Secret, StoreConfig};
use crate::opinion::chain::Chain;

/// Forecasts that can be checked: ratings, signals and best-response rankings from one scenario distribution, written to
/// a hash-chained ledger before the outcome.
#[derive(Debug, Parser)]
#[command(name = "forecastd", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  forecastd serve --import ../data        import a folder, train, publish and serve it
  forecastd serve                         serve what is stored; a simulated market when nothing is
  forecastd evaluate --from 2016-01-01 --to 2024-08-31 --every 20 --horizons 5,20 --out evaluation
  forecastd verify                        check the ledger's chain of hashes

Model estimates. Not a rating agency's opinion, not investment advice.")]
pub struct Cli {
    #[command(flatten)]
    /// Options of every command.
    pub store: StoreConfig,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the answers over HTTP; imports, trains and publishes first where that is due
    #[command(after_help = "Examples:
  forecastd serve --listen 127.0.0.1:8080
  forecastd serve --import ../data
  DATABASE_URL=postgres://forecastd:secret@db/forecastd forecastd serve --listen 0.0.0.0:8080")]
    Serve(Box<ServeConfig>),
    /// Work on jobs without serving: any number of processes on any machine, all with the same DATABASE_URL and signing key
    #[command(after_help = "Example:
  DATABASE_URL=postgres://forecastd:secret@db/forecastd forecastd work --jobs-at-once 1 --job-memory 4096")]
    Work(WorkArgs),
    /// Run one job in this process, as its worker asks
    #[command(hide = true)]
    RunJob(RunJobArgs),
    /// Import files or folders: prices, factors, filings, a universe
    #[command(
        after_help = "Formats are recognized by their header: Yahoo CSV, wide adjusted closes (Date,SYM1,SYM2,...), French factors,
FRED wide, market closes wide, SEC filings, universe.csv. A file is imported whole or not at all.

Examples:
  forecastd import ../data
  forecastd import BABA.csv closes.csv"
    )]
    Import(ImportArgs),
    /// Fit the benchmarks and train the network; decides head by head what is served
    #[command(after_help = "Example:
  forecastd train --members 8 --threads 2")]
    Train(TrainArgs),
    /// Publish answers for the newest session into the ledger
    #[command(after_help = "Examples:
  forecastd publish
  forecastd publish --again     also when nothing new came in
  forecastd publish --new-signing-key --signing-key /run/secrets/new.key")]
    Publish(PublishArgs),
    /// Score what was published once its horizon has matured, each answer once, beside the benchmark
    #[command(after_help = "Example:
  forecastd score")]
    Score,
    /// Compare features with the training span of the model in force, look for stopped prices and gaps, and report
    #[command(
        after_help = "Asks for a training when an alarm calls for one: at most one a week and --drift-trainings in 30 days.
Example:
  forecastd drift"
    )]
    Drift(DriftArgs),
    /// Walk forward through the past and write forecasts and scores
    #[command(after_help = "Examples:
  forecastd evaluate --from 2016-01-01 --to 2024-08-31 --every 20 --horizons 5,20 --out evaluation
  forecastd evaluate --on 2022-03-04,2022-04-01 --symbols universe.txt --model cov252 --model s0 --out m6")]
    Evaluate(EvaluateArgs),
    /// Compare learning the tasks together, in every way of sharing, with one network a task
    #[command(
        after_help = "Takes about a quarter of an hour for 130 instruments over 12 years with two members; stopped and
started again, it goes on where it was.

Example:
  forecastd transfer --members 2 --out transfer"
    )]
    Transfer(TransferArgs),
    /// Walk forward through the past and print what the decisions paid: the served action, policies, always buy, always hold
    #[command(after_help = "Example:
  forecastd payoffs --from 2016-01-01 --to 2024-08-31 --out payoffs")]
    Payoffs(PayoffsArgs),
    /// Rate all instruments as of a day, with drivers and checks against what happened before
    #[command(after_help = "Example:
  forecastd rate --to 2024-09-30 --out ratings")]
    Rate(RateArgs),
    /// Write what would have been answered on past days into a chain of its own, each day from what was known by then
    #[command(
        after_help = "The chain is never mixed with the live one and is no track record. Days that were backfilled once stay as they
are. Stopped and started again, it goes on where it was.

Example:
  forecastd backfill --from 2023-01-03 --to 2024-06-28 --members 0"
    )]
    Backfill(BackfillArgs),
    /// Judge simulated instruments: how often noise is called predictable, and planted effects found
    #[command(after_help = "Example:
  forecastd calibrate-verdicts --instruments 125 --markets 8")]
    CalibrateVerdicts {
        /// Markets of each kind
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
        markets: u32,
        /// Instruments in a market; p-values are adjusted within one
        #[arg(long, default_value_t = 125, value_parser = clap::value_parser!(u32).range(20..=1000))]
        instruments: u32,
        /// Seed
        #[arg(long, default_value_t = 20_240_930)]
        seed: u64,
    },
    /// Compute a ledger entry again from its inputs and compare every byte
    #[command(after_help = "Examples:
  forecastd replay 42
  forecastd replay 42 --chain backfill")]
    Replay {
        /// Sequence of the entry
        sequence: i64,
        /// Chain of the entry, live or backfill
        #[arg(long, value_name = "CHAIN", default_value = "live")]
        chain: Chain,
    },
    /// Check both chains of the ledger: every hash, every link, the signed heads
    #[command(after_help = "Examples:
  forecastd verify
  forecastd verify --expect 4182:9b0c...      fails when the chain no longer holds that entry")]
    Verify {
        /// An entry seen earlier, SEQUENCE:HASH
        #[arg(long, value_name = "SEQ:HASH", value_parser = parse_expectation)]
        expect: Option<(i64, [u8; 32])>,
        /// Chains to check; an expected entry is one of the live chain unless only the other is checked
        #[arg(long, value_name = "CHAIN", default_value = "all")]
        chain: CheckedChains,
    },
    /// Bring the schema and the job queue up to date, and end
    #[command(
        after_help = "Run it with the rights of the tables' owner before a new version starts with --no-migrate. Versions before
and after it work side by side meanwhile.

Example:
  DATABASE_URL=postgres://owner@db/forecastd forecastd migrate"
    )]
    Migrate,
    /// Dump the database into a file, with a manifest beside it (FILE.json) that names the ledger's head
    #[command(
        after_help = "Needs PostgreSQL's pg_dump, of the server's version or newer. The signing key is not in the dump: keep it apart.

Example:
  forecastd backup /backup/2026-11-23.dump"
    )]
    Backup {
        /// File to write, which must not exist yet, or a folder, where it is named by the moment
        file: PathBuf,
    },
    /// Fill an empty database from a file of `backup`, and verify its ledger
    #[command(after_help = "Examples:
  forecastd --data-dir new-data restore /backup/2026-11-23.dump
  DATABASE_URL=postgres://owner@db/empty forecastd restore /backup/2026-11-23.dump")]
    Restore {
        /// File that `backup` wrote, its manifest beside it
        file: PathBuf,
    },
    /// Make, list and revoke keys for writing and operating
    #[command(
        subcommand,
        after_help = "Examples:
  forecastd keys create --scope ingest --name nightly-prices --days 365
  forecastd keys list"
    )]
    Keys(KeysCommand),
    /// List, show, ask for and cancel jobs, which a running `serve` or `work` does
    #[command(after_help = "Examples:
  forecastd jobs list --state failed
  forecastd jobs run train --wait")]
    Jobs(JobsArgs),
    /// List models, show where they come from, put one in force or the one before back, prune their weights
    #[command(
        subcommand,
        after_help = "Examples:
  forecastd models list
  forecastd models rollback --reason 'the new one jumps'"
    )]
    Models(ModelsCommand),
    /// Print the OpenAPI description of the HTTP interface
    #[command(after_help = "Example:
  forecastd openapi --format json > openapi.json")]
    Openapi {
        /// Form of the output
        #[arg(long, default_value = "yaml")]
        format: OpenapiFormat,
    },
    /// Ask a running service whether it is alive (for container health checks)
    #[command(hide = true)]
    Health {
        /// Address of the service
        #[arg(long, env = "FORECASTD_LISTEN", default_value = "127.0.0.1:8080")]
        address: std::net::SocketAddr,
    },
    /// Run a command with DATABASE_URL naming a private throw-away Postgres with the current schema
    #[command(hide = true)]
    WithPostgres {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Print the configuration table of the README
    #[command(hide = true)]
    ConfigTable,
}

/// What to import.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files or folders
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
}

/// How to train.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Train the simulated market's network even when the store holds real prices
    #[arg(long)]
    pub simulated: bool,
    /// Walk through the past first: train the folds that are missing from the out-of-sample record, which takes minutes
    /// the first time. Stopped and started again, it goes on where it was
    #[arg(long)]
    pub walk: bool,
    /// Leave the processor to others who want it
    #[arg(long)]
    pub low_priority: bool,
    #[command(flatten)]
    /// How forecasts are made.
    pub recipe: RecipeConfig,
}

/// How to publish.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Publish even when the newest session was published already
    #[arg(long)]
    pub again: bool,
    /// Publish anew and go on with another signing key for good; every process that publishes then needs that key
    #[arg(long)]
    pub new_signing_key: bool,
}

/// Form of the OpenAPI description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OpenapiFormat {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Which chains are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckedChains {
    /// What was said in time.
    Live,
    /// What was written afterwards.
    Backfill,
    /// Both.
    All,
}

impl CheckedChains {
    /// The chains, the one that an expectation is about first.
    #[must_use]
    pub fn chains(self) -> &'static [Chain] {
        match self {
            Self::Live => &[Chain::Live],
            Self::Backfill => &[Chain::Backfill],
            Self::All => &[Chain::Live, Chain::Backfill],
        }
    }
}

impl StoreConfig {
    /// The address of a given server.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        self.database_url.as_ref().map(Secret::expose).filter(|u| !u.is_empty()).map(str::to_owned)
    }
}

fn parse_expectation(text: &str) -> Result<(i64, [u8; 32]), String> {
    let form = || "expected SEQUENCE:HASH with 64 hexadecimal digits, as printed by verify".to_owned();
    let (sequence, hash) = text.split_once(':').ok_or_else(form)?;
    let sequence = sequence.parse::<i64>().ok().filter(|s| *s >= 1).ok_or_else(form)?;
    let hash = hex::decode(hash).ok().and_then(|h| h.try_into().ok()).ok_or_else(form)?;
    Ok((sequence, hash))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_expectation_is_a_sequence_and_a_hash() {
        assert!(parse_expectation(&format!("3:{}", "ab".repeat(32))).is_ok());
        assert!(parse_expectation("3:abcd").is_err());
        assert!(parse_expectation("0:").is_err());
    }
}

//! Arguments of `forecastd jobs`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::market::bar::Day;

/// Kinds of jobs, as `--kind` takes them.
pub const KINDS: [&str; 7] = ["publish", "import", "score", "drift", "train", "prune", "backfill"];
/// States of jobs, as `--state` takes them.
pub const STATES: [&str; 6] = ["queued", "running", "succeeded", "failed", "cancelled", "skipped"];

/// Jobs.
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// Print JSON, as the HTTP interface answers it
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do with them.
    #[command(subcommand)]
    pub command: JobsCommand,
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs, newest first
    #[command(after_help = "Example:
  forecastd jobs list --kind train --state failed --limit 5")]
    List(ListArgs),
    /// Show a job: how far it is, and how each of its runs ended
    Show {
        /// Its id, from `jobs list`
        id: Uuid,
    },
    /// Ask for a job; a running `serve` or `work` does it
    #[command(after_help = "Examples:
  forecastd jobs run train --wait
  forecastd jobs run backfill --from 2022-01-03 --to 2024-09-30")]
    Run(RunArgs),
    /// Cancel a job: one that waits at once, one that runs as soon as its worker hears of it
    Cancel {
        /// Its id, from `jobs list`
        id: Uuid,
    },
}

/// Which jobs are listed.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only jobs of that kind
    #[arg(long, value_parser = KINDS)]
    pub kind: Option<String>,
    /// Only jobs in that state
    #[arg(long, value_parser = STATES)]
    pub state: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// What is asked for.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Show how it goes until it ends; the exit code tells whether it succeeded
    #[arg(long, global = true)]
    pub wait: bool,
    /// Its kind.
    #[command(subcommand)]
    pub job: JobToRun,
}

/// A job to ask for.
#[derive(Debug, Clone, Subcommand)]
pub enum JobToRun {
    /// Publish answers for the newest session into the ledger
    Publish {
        /// Publish also when nothing new was recorded
        #[arg(long)]
        again: bool,
    },
    /// Import files or folders, which must lie on the machine that does it
    Import {
        /// Files or folders
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Compare answers whose horizon has ended with what happened
    Score,
    /// Look for drift of features and of live scores
    Drift,
    /// Train the network and decide head by head what is served
    Train {
        /// Train missing folds of the past first
        #[arg(long)]
        walk: bool,
    },
    /// Remove models that nothing names any more
    Prune {
        /// Newest models to keep in any case
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        keep: Option<u32>,
    },
    /// Write walk-forward answers of the past into a chain of their own
    Backfill {
        /// First decision day
        #[arg(long, value_name = "DAY")]
        from: Day,
        /// Last decision day
        #[arg(long, value_name = "DAY")]
        to: Day,
        /// Sessions between decision days
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=252))]
        every: Option<u32>,
        /// Sessions between trainings
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1260))]
        retrain_every: Option<u32>,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        jobs: JobsArgs,
    }

    fn read(line: &str) -> Result<JobsArgs, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.jobs)
    }

    #[test]
    fn flags_may_stand_behind_the_kind() {
        let read = read("jobs run train --walk --wait --json").unwrap();
        assert!(read.json);
        assert!(matches!(read.command, JobsCommand::Run(RunArgs { wait: true, job: JobToRun::Train { walk: true } })));
    }

    #[test]
    fn kinds_states_and_arguments_are_checked() {
        for line in ["jobs list --kind train --state failed", "jobs run prune --keep 3", "jobs list --limit 1000"] {
            assert!(read(line).is_ok(), "{line}");
        }
        for line in [
            "jobs list --kind fetch",
            "jobs list --state done",
            "jobs list --limit 0",
            "jobs run score --walk",
            "jobs run backfill --from 2024-01-02",
            "jobs run import",
            "jobs show 7",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}

//! `forecastd jobs`: asking for work, seeing how it goes, cancelling it. Workers do it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use chrono::Utc;
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::api::job_answers::{AskedJob, Existing, JobAnswer, JobPage, SummaryAnswer};
use crate::cli::jobs::{JobToRun, JobsArgs, JobsCommand, ListArgs, RunArgs};
use crate::jobs::job_tables;
use crate::jobs::job_watch::watch;
use crate::jobs::tools::print_all;
use crate::store::arguments::{
    BackfillArguments, ImportArguments, JobArguments, PruneArguments, PublishArguments, TrainArguments,
};
use crate::store::asking::{Asked, Asking, ask_once};
use crate::store::jobs::{self, JobRow, Wanted};

/// Runs `forecastd jobs`.
///
/// # Errors
/// When the store fails, there is no such job, it cannot be cancelled any more, or nobody does it.
pub async fn run(pool: &PgPool, arguments: &JobsArgs) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        JobsCommand::List(wanted) => list(pool, wanted, arguments.json).await,
        JobsCommand::Show { id } => {
            let row = jobs::find(pool, *id).await?.with_context(|| unknown(*id))?;
            let job = with_attempts(pool, row).await?;
            if arguments.json { print_json(&job) } else { print_all(&job_tables::one(&job, Utc::now())) }
        }
        JobsCommand::Run(asked) => ask(pool, asked, arguments.json).await,
        JobsCommand::Cancel { id } => cancel(pool, *id, arguments.json).await,
    }
}

async fn list(pool: &PgPool, asked: &ListArgs, json: bool) -> anyhow::Result<ExitCode> {
    let wanted = Wanted { kind: asked.kind.clone(), state: asked.state.clone(), before: None };
    let mut rows = jobs::list(pool, &wanted, i64::from(asked.limit) + 1).await?;
    let more = rows.len() > asked.limit as usize;
    rows.truncate(asked.limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.job_id);
    let now = Utc::now();
    let items: Vec<SummaryAnswer> = rows.into_iter().map(|row| SummaryAnswer::of(row, now)).collect();
    if json {
        return print_json(&JobPage { items, next });
    }
    if items.is_empty() {
        println!("no such jobs; `forecastd jobs run KIND` asks for one");
        return Ok(ExitCode::SUCCESS);
    }
    print_all(&job_tables::list(&items, more, now))
}

async fn ask(pool: &PgPool, asked: &RunArgs, json: bool) -> anyhow::Result<ExitCode> {
    let arguments = arguments_of(&asked.job)?;
    let asking = Asking { arguments, slot: None, reason: "asked on the command line".into() };
    let (row, existing) = match ask_once(pool, &asking).await? {
        Asked::Made(row) => (row, None),
        Asked::SameWork(row) => (row, Some(Existing::SameWork)),
        Asked::SameRequest(row) | Asked::SlotTaken(row) => (row, Some(Existing::SameRequest)),
    };
    let (id, kind) = (row.job_id, row.kind.clone());
    if !json {
        match existing {
            None => eprintln!("asked for {kind}: job {id}"),
            Some(_) => eprintln!("{kind} was asked for already ({}): job {id}", row.reason),
        }
    }
    if asked.wait {
        let ended = with_attempts(pool, watch(pool, id).await?).await?;
        return tell_end(&ended, json);
    }
    if json {
        return print_json(&AskedJob { job: with_attempts(pool, *row).await?, existing });
    }
    println!("{id}");
    eprintln!("a running `forecastd serve` or `forecastd work` does it; `forecastd jobs show {id}` tells how it goes");
    Ok(ExitCode::SUCCESS)
}

/// Prints how a job ended that was waited for; the exit code says whether it succeeded.
fn tell_end(job: &JobAnswer, json: bool) -> anyhow::Result<ExitCode> {
    let succeeded = job.summary.state == "succeeded";
    if json {
        print_json(job)?;
    } else if succeeded {
        print_all(&format!("{}\n", job_tables::ending(&job.summary)))?;
    } else {
        eprintln!("forecastd: {}", job_tables::ending(&job.summary));
    }
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn cancel(pool: &PgPool, id: Uuid, json: bool) -> anyhow::Result<ExitCode> {
    let row = jobs::cancel(pool, id).await?.with_context(|| unknown(id))?;
    let job = with_attempts(pool, row).await?;
    let state = job.summary.state.clone();
    let can_be = matches!(state.as_str(), "cancelled" | "running");
    anyhow::ensure!(can_be, "it is too late to cancel: {}", job_tables::ending(&job.summary));
    if json {
        return print_json(&job);
    }
    match state.as_str() {
        "running" => println!("{id} runs and will be cancelled as soon as its worker hears of it"),
        _ => println!("{id} is cancelled"),
    }
    Ok(ExitCode::SUCCESS)
}

fn arguments_of(job: &JobToRun) -> anyhow::Result<JobArguments> {
    Ok(match job {
        JobToRun::Publish { again } => JobArguments::Publish(PublishArguments { again: *again }),
        JobToRun::Import { paths } => {
            let paths = paths.iter().map(absolute).collect::<anyhow::Result<Vec<String>>>()?;
            JobArguments::Import(ImportArguments { paths })
        }
        JobToRun::Score => JobArguments::Score,
        JobToRun::Drift => JobArguments::Drift,
        JobToRun::Train { walk } => JobArguments::Train(TrainArguments { walk: *walk }),
        JobToRun::Prune { keep } => JobArguments::Prune(PruneArguments { keep: *keep }),
        JobToRun::Backfill { from, to, every, retrain_every } => {
            anyhow::ensure!(from <= to, "--to {to} lies before --from {from}");
            let (from, to, every, retrain_every) = (*from, *to, *every, *retrain_every);
            JobArguments::Backfill(BackfillArguments { from, to, every, retrain_every })
        }
    })
}

/// A worker runs in another folder, so a path is recorded from the root on.
fn absolute(path: &PathBuf) -> anyhow::Result<String> {
    let whole = std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
    whole.to_str().map(str::to_owned).with_context(|| format!("the name of {} is not UTF-8", path.display()))
}

async fn with_attempts(pool: &PgPool, row: JobRow) -> anyhow::Result<JobAnswer> {
    let attempts = jobs::attempts(pool, row.job_id).await?;
    Ok(JobAnswer::of(row, attempts, Utc::now()))
}

fn print_json<T: Serialize>(value: &T) -> anyhow::Result<ExitCode> {
    print_all(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

fn unknown(id: Uuid) -> String {
    format!("there is no job {id}; see `forecastd jobs list`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::jobs::{KINDS, STATES};
    use crate::store::kinds;

    #[test]
    fn the_command_line_knows_the_words_of_the_store() {
        assert_eq!(KINDS, kinds::JobKind::ALL.map(kinds::JobKind::as_str));
        assert_eq!(STATES, kinds::STATES);
    }

    #[test]
    fn what_is_asked_for_can_be_read_by_a_worker() {
        let day = |text: &str| text.parse().unwrap();
        for job in [
            JobToRun::Publish { again: true },
            JobToRun::Import { paths: vec!["closes.csv".into()] },
            JobToRun::Score,
            JobToRun::Drift,
            JobToRun::Train { walk: true },
            JobToRun::Prune { keep: Some(100_000) },
            JobToRun::Backfill {
                from: day("2022-01-03"),
                to: day("2024-09-30"),
                every: Some(252),
                retrain_every: None,
            },
        ] {
            let arguments = arguments_of(&job).unwrap();
            let written = arguments.to_value();
            let read = JobArguments::read(arguments.kind(), written.as_object().unwrap());
            assert_eq!(read.unwrap(), arguments);
        }
        let (from, to) = (day("2024-09-30"), day("2022-01-03"));
        assert!(arguments_of(&JobToRun::Backfill { from, to, every: None, retrain_every: None }).is_err());
        let JobArguments::Import(import) = arguments_of(&JobToRun::Import { paths: vec!["a.csv".into()] }).unwrap()
        else {
            panic!("an import")
        };
        assert!(import.paths[0].starts_with('/') && import.paths[0].ends_with("/a.csv"), "{import:?}");
    }
}

//! Two workers: the one that has a job dies or freezes, the other takes over, and there is one effect.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use crate::http::Client;
use crate::invariants::Truth;
use crate::jobs::{self, Asker, Job};
use crate::load::s;
use crate::process::{Process, descendants, free_address, is_running, serve, work};
use crate::report::Report;
use crate::stage::{NO_SCHEDULE, Stage};

/// The shortest lease.
const LEASE: Duration = Duration::from_secs(4);
/// A lease that ended is noticed, and the job begun by the other worker, within this time.
const NOTICED: Duration = Duration::from_secs(8);
/// What is waited for comes within this time.
const PATIENCE: Duration = Duration::from_secs(120);
/// Advisory lock of the transaction that extends the ledger, as Postgres shows it: its upper and its lower half.
const LEDGER_LOCK: (i64, i64) = (0x0066_6f72, 0x6563_6102);

/// Plays it.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    let (mut postgres, home) = stage.postgres().await?;
    let address = free_address()?;
    let options: Vec<&str> = NO_SCHEDULE.into_iter().chain(["--no-work"]).collect();
    let mut server = serve(&home, address, &stage.folder, &options).await?;
    let truth = Truth::new(postgres.pool()?, home.clone(), address).await?;
    let asker = Asker { address, key: stage.operate_key.clone(), home };
    let mut workers = Vec::new();
    for name in ["first", "second"] {
        // So many passes take some seconds.
        workers.push(work(
            &asker.home,
            name,
            &stage.folder,
            &["--lease", "4", "--jobs-at-once", "1", "--epochs", "100"],
        )?);
    }
    jobs::wait_until_all_over(&truth.pool, PATIENCE).await?;
    let mut pair = Pair { stage, report, truth, asker, workers };
    pair.killed().await.context("a worker that is killed")?;
    pair.frozen().await.context("a worker that freezes")?;
    if stage.full {
        // Its session ends after a minute, which is too long for the short version.
        pair.frozen_while_publishing().await.context("a worker that freezes while it publishes")?;
    }
    for worker in &mut pair.workers {
        worker.stop(Duration::from_secs(30)).await?;
    }
    pair.truth.pool.close().await;
    server.stop(Duration::from_secs(30)).await?;
    postgres.stop().await
}

struct Pair<'a> {
    stage: &'a Stage,
    report: &'a Report,
    truth: Truth,
    asker: Asker,
    workers: Vec<Process>,
}

impl Pair<'_> {
    async fn killed(&mut self) -> Result<()> {
        let seen = self.truth.head().await?;
        let (job, holder) = self.train().await?;
        let children = self.workers[holder].job_children();
        let begun = Instant::now();
        self.workers[holder].kill().await?;
        self.taken_over(job, begun, "killed").await?;
        let left = children.iter().filter(|child| is_running(**child)).count();
        self.report.check("killed: its process ended with it", left == 0, format!("{left} left"));
        self.workers[holder] = work(
            &self.asker.home,
            "again",
            &self.stage.folder,
            &["--lease", "4", "--jobs-at-once", "1", "--epochs", "100"],
        )?;
        self.one_effect(job, &seen, "killed").await
    }

    async fn frozen(&mut self) -> Result<()> {
        let seen = self.truth.head().await?;
        let (job, holder) = self.train().await?;
        let frozen = self.freeze(holder)?;
        let begun = Instant::now();
        self.taken_over(job, begun, "frozen").await?;
        jobs::wait_until(&self.truth.pool, job, PATIENCE, Job::is_over).await?;
        wake(&frozen);
        let woken = Instant::now();
        let is_left = || frozen[1..].iter().any(|process| is_running(*process));
        while is_left() && woken.elapsed() < PATIENCE {
            sleep(Duration::from_millis(50)).await;
        }
        let took = s(woken.elapsed());
        self.report.check("frozen: woken, its run ends without effect", !is_left(), format!("after {took}"));
        self.one_effect(job, &seen, "frozen").await
    }

    /// The freeze comes while the run holds the ledger's lock, which nobody may be kept waiting for.
    async fn frozen_while_publishing(&mut self) -> Result<()> {
        let seen = self.truth.head().await?;
        let mut client = Client::new(self.asker.address).with_key(&self.stage.ingest_key);
        let row = json!({ "rows": [{ "symbol": "F00", "day": "2024-08-30", "close": 50.125 }] });
        ensure!(client.post("/prices", &row).await?.status == 200, "a row is not taken");
        let job = self.asker.ask("publish", json!({})).await?;
        let holder = self.holder(job).await?;
        let begun = Instant::now();
        while !self.is_ledger_locked().await? {
            ensure!(begun.elapsed() < PATIENCE, "nobody locks the ledger");
            if jobs::find(&self.truth.pool, job).await?.is_over() {
                self.report.measure("frozen while publishing", "missed the moment");
                return Ok(());
            }
        }
        let frozen = self.freeze(holder)?;
        let begun = Instant::now();
        let outcome = self.taken_over(job, begun, "frozen while publishing").await;
        let over = jobs::wait_until(&self.truth.pool, job, PATIENCE, Job::is_over).await;
        wake(&frozen);
        outcome?;
        let took = over.map(|_| s(begun.elapsed()));
        self.report.check(
            "frozen while publishing: the other publishes",
            took.is_ok(),
            took.unwrap_or_else(|e| e.to_string()),
        );
        self.one_effect(job, &seen, "frozen while publishing").await
    }

    async fn is_ledger_locked(&self) -> Result<bool> {
        let query = "select exists (select from pg_locks where locktype = 'advisory' and classid::bigint = $1 and objid::bigint = $2 and granted)";
        Ok(sqlx::query_scalar(query).bind(LEDGER_LOCK.0).bind(LEDGER_LOCK.1).fetch_one(&self.truth.pool).await?)
    }

    /// A training that is under way, and which of the workers has it.
    async fn train(&self) -> Result<(Uuid, usize)> {
        let job = self.asker.ask("train", json!({ "walk": true })).await?;
        let holder = self.holder(job).await?;
        sleep(Duration::from_millis(700)).await;
        let now = jobs::find(&self.truth.pool, job).await?;
        ensure!(!now.is_over(), "the training was over at once: {now:?}");
        Ok((job, holder))
    }

    async fn holder(&self, job: Uuid) -> Result<usize> {
        let (running, _) = jobs::wait_until(&self.truth.pool, job, PATIENCE, |job| job.state != "queued").await?;
        let process = running.worker_process().and_then(Pid::from_raw).context("a run without worker")?;
        let found = self.workers.iter().position(|worker| worker.pid() == process);
        found.with_context(|| format!("{} runs the job, which is none of the workers", running.worker))
    }

    /// Stops a worker and its run where they are.
    fn freeze(&self, holder: usize) -> Result<Vec<Pid>> {
        let root = self.workers[holder].pid();
        let all: Vec<Pid> = [root].into_iter().chain(descendants(root)).collect();
        for process in &all {
            kill_process(*process, Signal::STOP)?;
        }
        Ok(all)
    }

    async fn taken_over(&self, job: Uuid, begun: Instant, how: &str) -> Result<()> {
        let seen = jobs::wait_until(&self.truth.pool, job, PATIENCE, |job| job.attempts >= 2 || job.is_over()).await;
        let took = begun.elapsed();
        let holds = seen.is_ok() && took < LEASE + NOTICED;
        let detail = match seen {
            Ok((job, _)) => format!(
                "{} after the fault, lease {} s ({}, run {})",
                s(took),
                LEASE.as_secs(),
                job.state,
                job.attempts
            ),
            Err(error) => format!("{error:#}"),
        };
        // A machine under load may take longer, which the short version does not count.
        self.report.check(
            &format!("{how}: the other worker takes over"),
            holds || (!self.stage.full && took < PATIENCE),
            detail,
        );
        Ok(())
    }

    async fn one_effect(&self, job: Uuid, seen: &str, how: &str) -> Result<()> {
        let done = jobs::wait_for_success(&self.truth.pool, job, PATIENCE).await;
        jobs::wait_until_all_over(&self.truth.pool, PATIENCE).await?;
        let whole = match done {
            Ok(_) => self.truth.check(&[], seen).await,
            Err(error) => Err(error),
        };
        let runs = jobs::runs(&self.truth.pool, job).await?;
        let outcomes: Vec<&str> = runs.iter().map(|(outcome, _)| outcome.as_str()).collect();
        let detail = whole.as_ref().err().map_or_else(String::new, |error| format!("; {error:#}"));
        self.report.check(
            &format!("{how}: one effect"),
            whole.is_ok(),
            format!("runs ended as {}{detail}", outcomes.join(", ")),
        );
        Ok(())
    }
}

fn wake(processes: &[Pid]) {
    for process in processes {
        let _ = kill_process(*process, Signal::CONT);
    }
}

//! A training that wants too much memory, hangs or crashes: serving goes on, the model stays, the record says why.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::sleep;
use uuid::Uuid;

use crate::http::Client;
use crate::jobs::{self, Asker, Job};
use crate::load::Background;
use crate::process::{Home, Process, free_address, is_running, serve};
use crate::report::Report;
use crate::stage::{NO_SCHEDULE, Stage};

/// What is waited for comes within this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time until a job that fails is given up: runs and the pauses between them.
const GIVEN_UP: Duration = Duration::from_secs(120);

/// Plays it.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    let (mut postgres, home) = stage.postgres().await?;
    let pool = postgres.pool()?;
    let service = Service { stage, report, home: &home, pool: &pool };
    service.out_of_memory().await.context("out of memory")?;
    service.hanging().await.context("hanging")?;
    service.crashing().await.context("crashing")?;
    pool.close().await;
    postgres.stop().await
}

struct Service<'a> {
    stage: &'a Stage,
    report: &'a Report,
    home: &'a Home,
    pool: &'a PgPool,
}

/// A service under a limit, with somebody who reads all the time.
struct Running {
    server: Process,
    asker: Asker,
    readers: Background,
    begun: Instant,
    model: String,
}

impl Service<'_> {
    async fn start(&self, limit: &[&str]) -> Result<Running> {
        let address = free_address()?;
        // So many passes take long enough to be interrupted.
        let options: Vec<&str> =
            NO_SCHEDULE.into_iter().chain(["--lease", "4", "--epochs", "300"]).chain(limit.iter().copied()).collect();
        let server = serve(self.home, address, &self.stage.folder, &options).await?;
        let asker = Asker { address, key: self.stage.operate_key.clone(), home: self.home.clone() };
        let readers = Background::read(address, 1, Duration::from_millis(10), &["/signal/F00", "/healthz"]);
        Ok(Running { server, asker, readers, begun: Instant::now(), model: self.model_in_force(address).await? })
    }

    async fn model_in_force(&self, address: std::net::SocketAddr) -> Result<String> {
        let page = Client::new(address).found("/models?limit=1000").await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let found = items.iter().find(|model| model["in_force"] == true).and_then(|model| model["id"].as_str());
        found.map(str::to_owned).context("no model is in force")
    }

    /// Serving went on, and the model is the one before.
    async fn check(&self, what: &str, running: &mut Running) -> Result<()> {
        running.readers.stop().await;
        let reads = running.readers.since(running.begun);
        let model = self.model_in_force(running.asker.address).await?;
        self.report.check(
            &format!("{what}: serving goes on"),
            reads.failures.is_empty() && reads.count > 0,
            format!("{} reads, {} failed {:?}", reads.count, reads.failures.len(), reads.failures.first()),
        );
        self.report.check(&format!("{what}: the old model is in force"), model == running.model, &model);
        running.server.stop(PATIENCE).await?;
        Ok(())
    }

    async fn out_of_memory(&self) -> Result<()> {
        let mut running = self.start(&["--job-memory", "256"]).await?;
        let job = running.asker.ask("train", json!({ "walk": true })).await?;
        let reason = self.first_failure(job).await?;
        self.report.check("out of memory: the record says why", reason.contains("memory"), &reason);
        if self.stage.full {
            let (over, took) = jobs::wait_until(self.pool, job, GIVEN_UP, Job::is_over).await?;
            self.report.check(
                "out of memory: given up in the end",
                over.state == "failed",
                format!("{} after {} runs, {:.0} s", over.state, over.attempts, took.as_secs_f64()),
            );
        } else {
            self.cancel(&running, job).await?;
        }
        self.check("out of memory", &mut running).await
    }

    async fn hanging(&self) -> Result<()> {
        let mut running = self.start(&["--job-minutes", "0.05"]).await?;
        let job = running.asker.ask("train", json!({ "walk": true })).await?;
        let child = self.child(&running, job, 1).await?;
        kill_process(child, Signal::STOP)?;
        let begun = Instant::now();
        let reason = self.first_failure(job).await?;
        self.report.check(
            "hanging: the record says why",
            reason.contains("longer than the limit"),
            format!("{reason} ({:.1} s after it froze)", begun.elapsed().as_secs_f64()),
        );
        self.report.check("hanging: its process is gone", !is_running(child), child);
        self.cancel(&running, job).await?;
        self.check("hanging", &mut running).await
    }

    async fn crashing(&self) -> Result<()> {
        let mut running = self.start(&[]).await?;
        let job = running.asker.ask("train", json!({ "walk": true })).await?;
        for (run, signal, name) in [(1, Signal::SEGV, "SIGSEGV"), (2, Signal::ABORT, "SIGABRT")] {
            let child = self.child(&running, job, run).await?;
            // Twice: the first SIGSEGV from outside only takes away the handler that looks for overflown stacks.
            kill_process(child, signal)?;
            sleep(Duration::from_millis(100)).await;
            let _ = kill_process(child, signal);
            let runs = self.runs_ended(job, usize::try_from(run)?).await?;
            let (outcome, reason) = runs.last().cloned().unwrap_or_default();
            self.report.check(
                &format!("crashing with {name}: the record says why"),
                outcome == "failed" && reason.contains("signal"),
                reason,
            );
        }
        self.cancel(&running, job).await?;
        self.check("crashing", &mut running).await
    }

    /// The process of a run, some time into it.
    async fn child(&self, running: &Running, job: Uuid, run: i16) -> Result<Pid> {
        jobs::wait_until(self.pool, job, PATIENCE, |job| job.state == "running" && job.attempts == run).await?;
        let begun = Instant::now();
        while running.server.job_children().is_empty() {
            ensure!(begun.elapsed() < PATIENCE, "no process runs the job");
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(700)).await;
        running.server.job_children().into_iter().next().context("the process of the job is gone already")
    }

    async fn first_failure(&self, job: Uuid) -> Result<String> {
        let runs = self.runs_ended(job, 1).await?;
        let (outcome, reason) = runs.first().cloned().unwrap_or_default();
        ensure!(outcome == "failed", "the run ended as {outcome}");
        Ok(reason)
    }

    async fn runs_ended(&self, job: Uuid, count: usize) -> Result<Vec<(String, String)>> {
        let begun = Instant::now();
        loop {
            let runs = jobs::runs(self.pool, job).await?;
            if runs.len() >= count {
                return Ok(runs);
            }
            ensure!(begun.elapsed() < PATIENCE, "no end of run {count} is recorded");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn cancel(&self, running: &Running, job: Uuid) -> Result<()> {
        let mut client = Client::new(running.asker.address).with_key(&running.asker.key);
        let answer = client.send("DELETE", &format!("/jobs/{job}"), &[], None).await?;
        ensure!(
            matches!(answer.status, 200 | 202),
            "cancelling was answered with {}: {}",
            answer.status,
            answer.text()
        );
        jobs::wait_until(self.pool, job, PATIENCE, Job::is_over).await?;
        Ok(())
    }
}

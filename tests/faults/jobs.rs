//! Asking for jobs as a client would, and what their record says afterwards.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sqlx::{PgPool, Row};
use tokio::time::sleep;
use uuid::Uuid;

use crate::http::Client;
use crate::process::Home;

/// How long a client tries to be heard.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for jobs of one service.
#[derive(Debug)]
pub struct Asker {
    /// Where the service answers.
    pub address: SocketAddr,
    /// A key for operating.
    pub key: String,
    /// For what is asked on the command line.
    pub home: Home,
}

/// A job by its record.
#[derive(Debug, Clone)]
pub struct Job {
    /// `queued`, `running`, `succeeded`, `failed`, `cancelled` or `skipped`.
    pub state: String,
    /// Runs begun.
    pub attempts: i16,
    /// Host, process and name of the worker that runs it or ran it last.
    pub worker: String,
    /// Why the newest failed run failed.
    pub error: String,
}

impl Job {
    /// Whether nothing will happen to it any more.
    pub fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "queued" | "running")
    }

    /// The process of the worker that has it.
    pub fn worker_process(&self) -> Option<i32> {
        self.worker.split(':').nth(1)?.parse().ok()
    }
}

impl Asker {
    /// Asks until it is heard, as a careful client does: with a name for the request, so that asking again after an answer
    /// that got lost asks for nothing more.
    pub async fn ask(&self, kind: &str, arguments: Value) -> Result<Uuid> {
        let mut client = Client::new(self.address).with_key(&self.key).with_patience(Duration::from_secs(10));
        let name = Uuid::new_v4().to_string();
        let body = json!({ "kind": kind, "arguments": arguments }).to_string();
        let begun = Instant::now();
        loop {
            let said = match client.send("POST", "/jobs", &[("idempotency-key", &name)], Some(&body)).await {
                Ok(answer) if matches!(answer.status, 200 | 202) => {
                    let id = answer.json()["id"].as_str().and_then(|id| id.parse().ok());
                    return id.context("an answer without a job");
                }
                Ok(answer) if answer.status == 503 => answer.text(),
                Ok(answer) => bail!("asking for {kind} was answered with {}: {}", answer.status, answer.text()),
                Err(error) => error.to_string(),
            };
            ensure!(begun.elapsed() < PATIENCE, "nobody takes a {kind} job: {said}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks for an import, which only the command line can.
    pub async fn import(&self, folder: &str) -> Result<Uuid> {
        let said = self.home.done(&["jobs", "run", "--json", "import", folder]).await?;
        let told: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        told["id"].as_str().and_then(|id| id.parse().ok()).with_context(|| format!("no job in {said}"))
    }
}

/// The record of a job.
pub async fn find(pool: &PgPool, id: Uuid) -> Result<Job> {
    let row = sqlx::query(
        "select state, attempts, coalesce(worker, '') as worker, coalesce(error, '') as error from jobs where job_id = $1",
    )
    .bind(id)
    .fetch_one(pool)
    .await?;
    Ok(Job {
        state: row.try_get("state")?,
        attempts: row.try_get("attempts")?,
        worker: row.try_get("worker")?,
        error: row.try_get("error")?,
    })
}

/// Waits until the record of a job is as wished.
pub async fn wait_until(
    pool: &PgPool,
    id: Uuid,
    patience: Duration,
    wished: impl Fn(&Job) -> bool,
) -> Result<(Job, Duration)> {
    let begun = Instant::now();
    loop {
        let seen = find(pool, id).await;
        if let Ok(job) = &seen
            && wished(job)
        {
            return Ok((job.clone(), begun.elapsed()));
        }
        ensure!(begun.elapsed() < patience, "after {patience:?} the job is {seen:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until it succeeded; fails as soon as it cannot any more.
pub async fn wait_for_success(pool: &PgPool, id: Uuid, patience: Duration) -> Result<Duration> {
    let (job, took) = wait_until(pool, id, patience, Job::is_over).await?;
    ensure!(job.state == "succeeded", "the job ended as {}: {}", job.state, job.error);
    Ok(took)
}

/// Waits until no job waits or runs; tells how long that took.
pub async fn wait_until_all_over(pool: &PgPool, patience: Duration) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        let left: Result<Vec<String>, sqlx::Error> = sqlx::query_scalar(
            "select kind || ' ' || state || ' run ' || attempts || coalesce(': ' || error, '')
             from jobs where state in ('queued', 'running')",
        )
        .fetch_all(pool)
        .await;
        if matches!(&left, Ok(left) if left.is_empty()) {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < patience, "after {patience:?} jobs are left: {left:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// How the runs of a job ended, oldest first: outcome and reason.
pub async fn runs(pool: &PgPool, id: Uuid) -> Result<Vec<(String, String)>> {
    Ok(sqlx::query_as("select outcome, coalesce(error, '') from job_attempts where job_id = $1 order by attempt")
        .bind(id)
        .fetch_all(pool)
        .await?)
}

/// How long succeeded runs of a kind took, in the middle.
pub async fn typical_duration(pool: &PgPool, kind: &str) -> Result<Option<Duration>> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "select percentile_cont(0.5) within group (order by extract(epoch from a.finished_at - a.started_at))::float8
         from job_attempts a join jobs j using (job_id) where j.kind = $1 and a.outcome = 'succeeded'",
    )
    .bind(kind)
    .fetch_one(pool)
    .await?;
    Ok(seconds.map(Duration::from_secs_f64))
}

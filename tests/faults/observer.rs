//! Looks at several instances at once: how soon each answers with a publication, and whether all say the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::http::{Answer, Client};
use crate::record::head;

/// What is announced on when a publication commits.
const CHANNEL: &str = "forecastd_published";
/// An instance that needs longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often an instance is asked whether it answers with a publication.
const ASK: Duration = Duration::from_millis(2);

/// Where one publication ends, and when each instance first answered with it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Newest place of the ledger.
    pub head: i64,
    /// When each instance first gave an answer of it, by the real clock.
    pub answered: Vec<DateTime<Utc>>,
}

/// Follows publications, with a task of its own.
#[derive(Debug)]
pub struct Observer {
    from: i64,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<Result<()>>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Observer {
    /// Follows the publications of a database on some instances, by the signal of one symbol.
    pub async fn start(pool: &PgPool, instances: &[SocketAddr], symbol: &str) -> Result<Self> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        let from = head(pool).await?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (pool, instances, path) = (pool.clone(), instances.to_vec(), format!("/signal/{symbol}"));
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    let head: i64 = listener.recv().await?.payload().parse()?;
                    let answered = observe(&pool, &instances, &path, head).await?;
                    seen.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.push(Seen { head, answered });
                }
            }
        });
        Ok(Self { from, seen, task })
    }

    /// Waits until all instances answer with the publication that ends there.
    pub async fn wait_for(&mut self, head: i64) -> Result<()> {
        let begun = Instant::now();
        while head > self.from && self.seen().last().is_none_or(|seen| seen.head < head) {
            if self.task.is_finished() {
                (&mut self.task).await??;
                bail!("the observer ended");
            }
            ensure!(begun.elapsed() < PATIENCE, "not all instances answer with the publication up to {head}");
            sleep(ASK).await;
        }
        Ok(())
    }

    /// Follows no more.
    pub fn end(&self) {
        self.task.abort();
    }

    /// The publications so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().map(|seen| seen.clone()).unwrap_or_default()
    }
}

/// When each instance first answered with the publication that ends at a place of the ledger.
pub async fn observe(pool: &PgPool, instances: &[SocketAddr], path: &str, head: i64) -> Result<Vec<DateTime<Utc>>> {
    let first: i64 = sqlx::query_scalar("select first_sequence from publications where last_sequence = $1")
        .bind(head)
        .fetch_one(pool)
        .await?;
    let mut asking = JoinSet::new();
    for (place, address) in instances.iter().copied().enumerate() {
        let path = path.to_owned();
        asking.spawn(async move { Ok::<_, anyhow::Error>((place, first_answer(address, &path, first).await?)) });
    }
    let mut answered = BTreeMap::new();
    while let Some(one) = asking.join_next().await {
        let (place, at) = one??;
        answered.insert(place, at);
    }
    Ok(answered.into_values().collect())
}

/// When an instance first answers with an entry from a place of the ledger on.
async fn first_answer(address: SocketAddr, path: &str, first: i64) -> Result<DateTime<Utc>> {
    let mut client = Client::new(address);
    let begun = Instant::now();
    loop {
        let sequence = |answer: &Answer, at| answer.json().pointer(at).and_then(serde_json::Value::as_i64);
        let signal = client.get(path).await?;
        let head = client.get("/ledger/head").await?;
        if sequence(&signal, "/ledger/sequence") >= Some(first) && sequence(&head, "/sequence") >= Some(first) {
            return Ok(Utc::now());
        }
        ensure!(begun.elapsed() < PATIENCE, "{address} does not answer with entries from {first} on");
        sleep(ASK).await;
    }
}

/// The answer of each path, which must be the same on all instances: status, tag and every byte.
pub async fn same_answers(instances: &[SocketAddr], paths: &[String]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut asking = JoinSet::new();
    for address in instances.iter().copied() {
        let paths = paths.to_vec();
        asking.spawn(async move { Ok::<_, anyhow::Error>((address, answers(address, &paths).await?)) });
    }
    let mut all = Vec::new();
    while let Some(one) = asking.join_next().await {
        all.push(one??);
    }
    let (reference, first) = all.pop().context("no instance was asked")?;
    for (address, others) in &all {
        for (path, answer) in &first {
            let other = others.get(path).context("a path was not asked")?;
            let same = answer.status == other.status
                && answer.header("etag") == other.header("etag")
                && answer.body == other.body;
            ensure!(same, "{path}: {reference} says {}, {address} says {}", answer.text(), other.text());
        }
    }
    Ok(first.into_iter().map(|(path, answer)| (path, answer.body)).collect())
}

async fn answers(address: SocketAddr, paths: &[String]) -> Result<BTreeMap<String, Answer>> {
    let mut client = Client::new(address);
    let mut found = BTreeMap::new();
    for path in paths {
        let answer = client.get(path).await?;
        ensure!(answer.status == 200, "{path} was answered with {} by {address}: {}", answer.status, answer.text());
        found.insert(path.clone(), answer);
    }
    Ok(found)
}

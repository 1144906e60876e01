//! What must hold after every fault: no acknowledged row lost, a ledger that verifies, whole models, each job once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sqlx::PgPool;

use crate::http::Client;
use crate::load::Acknowledged;
use crate::process::Home;

/// Each names what would be wrong, by a query that finds nothing where all is well.
const WRONG: [(&str, &str); 8] = [
    ("a promotion or a publication names a model that is not there", MODEL_MISSING),
    ("a model is not what its hash says", MODEL_TORN),
    ("a succeeded job has not exactly one run that succeeded", NOT_ONCE),
    ("a run succeeded of a job that did not", SUCCESS_UNKNOWN),
    ("a job failed or was given up", JOB_FAILED),
    ("a training job has another model than it recorded", TRAINED_OTHERWISE),
    ("a publication job recorded a head that is not in the ledger", PUBLISHED_OTHERWISE),
    ("the same day, model and rows were published twice", PUBLISHED_TWICE),
];

const MODEL_MISSING: &str = "
    select p.model_id from promotions p where not exists (select from models m where m.model_id = p.model_id)
    union all
    select p.model_id from publications p where not exists (select from models m where m.model_id = p.model_id)";
const MODEL_TORN: &str = "
    select model_id from models where pruned_at is null and sha256 <> sha256(coalesce(artifact, ''::bytea) || state)";
const NOT_ONCE: &str = "
    select j.job_id::text from jobs j where j.state = 'succeeded'
        and (select count(*) from job_attempts a where a.job_id = j.job_id and a.outcome = 'succeeded') <> 1";
const SUCCESS_UNKNOWN: &str = "
    select j.job_id::text from jobs j join job_attempts a using (job_id)
    where a.outcome = 'succeeded' and j.state <> 'succeeded'";
const JOB_FAILED: &str = "
    select j.kind || ' ' || j.state || ': ' || coalesce(j.error, '') from jobs j where j.state in ('failed', 'cancelled')";
const TRAINED_OTHERWISE: &str = "
    select j.job_id::text from jobs j where j.kind = 'train' and j.state = 'succeeded' and j.result ->> 'model_id' is not null
        and not exists (select from models m where m.model_id = j.result ->> 'model_id')";
const PUBLISHED_OTHERWISE: &str = "
    select j.job_id::text from jobs j
    where j.kind = 'publish' and j.state = 'succeeded' and j.result -> 'head' is not null
        and not exists (
            select from publications p join ledger l on l.sequence = p.last_sequence
            where p.last_sequence = (j.result #>> '{head,sequence}')::bigint
                and encode(l.hash, 'hex') = j.result #>> '{head,hash}')";
const PUBLISHED_TWICE: &str = "
    select p.as_of || ' ' || p.model_id
    from publications p join ledger l on l.sequence = p.first_sequence
    group by p.as_of, p.model_id, convert_from(l.entry, 'UTF8')::jsonb #>> '{provenance,inputs_hash}',
        convert_from(l.entry, 'UTF8')::jsonb #> '{provenance,promotion}'
    having count(*) > 1";

/// A store to be looked at.
#[derive(Debug)]
pub struct Truth {
    /// Connections with the rights of its owner.
    pub pool: PgPool,
    /// For commands of the program.
    pub home: Home,
    /// Where the service answers.
    pub address: SocketAddr,
    /// Publications and promotions that no job made.
    before: (i64, i64),
    /// How often `verify` failed only because a publication was written meanwhile.
    pub false_alarms: AtomicUsize,
}

impl Truth {
    /// Looks at a store before anything happens.
    pub async fn new(pool: PgPool, home: Home, address: SocketAddr) -> Result<Self> {
        let mut truth = Self { pool, home, address, before: (0, 0), false_alarms: AtomicUsize::new(0) };
        let (publications, by_jobs, promotions, trained) = truth.effects().await?;
        truth.before = (publications - by_jobs, promotions - trained);
        Ok(truth)
    }

    /// The ledger's head as served, `SEQUENCE:HASH`.
    pub async fn head(&self) -> Result<String> {
        let head = Client::new(self.address).found("/ledger/head").await?;
        let hash = head["hash"].as_str().context("a head without hash")?;
        Ok(format!("{}:{hash}", head["sequence"]))
    }

    /// Everything that must hold whenever no job runs. `seen` is a head that was served before.
    pub async fn check(&self, acknowledged: &[Acknowledged], seen: &str) -> Result<()> {
        self.check_rows(acknowledged).await?;
        for (what, query) in WRONG {
            let found: Vec<String> = sqlx::query_scalar(query).fetch_all(&self.pool).await?;
            ensure!(found.is_empty(), "{what}: {found:?}");
        }
        let (publications, by_jobs, promotions, trained) = self.effects().await?;
        ensure!(publications == by_jobs + self.before.0, "{publications} publications, {by_jobs} of them by jobs");
        ensure!(
            promotions == trained + self.before.1,
            "{promotions} promotions by trainings, {trained} of them by jobs"
        );
        self.check_model_in_force().await?;
        self.verify(seen).await
    }

    /// `forecastd verify` passes. A publication that is written meanwhile must not make it fail: that is counted, and it
    /// is asked again.
    async fn verify(&self, seen: &str) -> Result<()> {
        for _ in 0..3 {
            let head = self.newest_entry().await?;
            match self.home.done(&["verify", "--expect", seen]).await {
                Ok(_) => return Ok(()),
                Err(error) if head == self.newest_entry().await? => return Err(error),
                Err(_) => {
                    self.false_alarms.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        bail!("verify fails again and again while publications are written")
    }

    async fn newest_entry(&self) -> Result<i64> {
        Ok(sqlx::query_scalar("select coalesce(max(sequence), 0) from ledger").fetch_one(&self.pool).await?)
    }

    /// Publications, and promotions by trainings, in the store, each followed by how many of them jobs say they made.
    async fn effects(&self) -> Result<(i64, i64, i64, i64)> {
        let counts = "
            select (select count(*) from publications),
                (select count(*) from jobs where kind = 'publish' and state = 'succeeded' and result -> 'head' is not null),
                (select count(*) from promotions where by = 'training'),
                (select count(*) from jobs where kind = 'train' and state = 'succeeded' and result ->> 'promoted' is not null)";
        Ok(sqlx::query_as(counts).fetch_one(&self.pool).await?)
    }

    /// Every acknowledged row is there with its value.
    pub async fn check_rows(&self, acknowledged: &[Acknowledged]) -> Result<()> {
        let symbols: Vec<&str> = acknowledged.iter().map(|row| row.symbol.as_str()).collect();
        let days: Vec<&str> = acknowledged.iter().map(|row| row.day.as_str()).collect();
        let closes: Vec<f64> = acknowledged.iter().map(|row| row.close).collect();
        let lost: Vec<String> = sqlx::query_scalar(
            "select a.symbol || ' ' || a.day || ' ' || a.close
             from unnest($1::text[], $2::text[], $3::float8[]) as a (symbol, day, close)
             where not exists (
                 select from bars b join instruments i using (instrument_id)
                 where i.symbol = a.symbol and b.day = a.day::date and b.close = a.close)
             limit 5",
        )
        .bind(symbols)
        .bind(days)
        .bind(closes)
        .fetch_all(&self.pool)
        .await?;
        ensure!(lost.is_empty(), "acknowledged rows are lost: {lost:?}");
        Ok(())
    }

    async fn check_model_in_force(&self) -> Result<()> {
        let newest: String = sqlx::query_scalar("select model_id from promotions order by promotion_id desc limit 1")
            .fetch_one(&self.pool)
            .await?;
        let mut client = Client::new(self.address).with_patience(Duration::from_secs(10));
        let page = client.found("/models?limit=1000").await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let in_force: Vec<&str> =
            items.iter().filter(|model| model["in_force"] == true).filter_map(|model| model["id"].as_str()).collect();
        ensure!(in_force == [newest.as_str()], "{in_force:?} are served as in force, the store says {newest}");
        let model = client.found(&format!("/models/{newest}")).await?;
        ensure!(model["sha256"].is_string(), "the model in force cannot be told");
        Ok(())
    }
}

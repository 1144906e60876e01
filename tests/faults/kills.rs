//! Processes killed at random moments of import, training, publication and promotion, and everything started again.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Signal, kill_process};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::http::Client;
use crate::invariants::Truth;
use crate::jobs::{self, Asker};
use crate::load::{Background, s};
use crate::market;
use crate::postgres::{Postgres, embedded_postmaster, embedded_url, pool};
use crate::process::{Home, Process, command_line, free_address, serve, work};
use crate::report::Report;
use crate::stage::{NO_SCHEDULE, Stage};
use crate::tally::{PHASES, Phase, Tally, Target};

/// A job that was cut off must be done, and every other, within this time.
const RECOVERY: Duration = Duration::from_secs(120);
/// Instruments of an import; each is a file, and a transaction.
const IMPORTED: usize = 4;

/// Plays it: on a Postgres of its own with a worker beside the service, and on the embedded one. In the short version both
/// at once.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    let (own, embedded) = stage.pick((7, 5), (64, 36));
    let first = async {
        let mut world = World::with_own_postgres(stage).await?;
        world.play(report, "own Postgres", own).await.context("with a Postgres of its own")
    };
    let second = async {
        let mut world = World::embedded(stage).await?;
        world.play(report, "embedded", embedded).await.context("with the embedded Postgres")
    };
    let (first, second) = if stage.full { (first.await, second.await) } else { tokio::join!(first, second) };
    let mut tally = first?;
    tally.add(second?);
    tally.tell(report);
    Ok(())
}

/// A service with its store and clients.
struct World {
    folder: std::path::PathBuf,
    home: Home,
    address: SocketAddr,
    server: Process,
    worker: Option<Process>,
    postgres: Option<Postgres>,
    truth: Truth,
    asker: Asker,
    random: ChaCha8Rng,
    writer: Background,
    readers: Background,
    imports: usize,
}

impl World {
    async fn with_own_postgres(stage: &Stage) -> Result<Self> {
        let (postgres, home) = stage.postgres().await?;
        let pool = postgres.pool()?;
        Self::start(stage, home, Some(postgres), move |_| Ok(pool)).await
    }

    async fn embedded(stage: &Stage) -> Result<Self> {
        let home = Home { data_dir: stage.copy("embedded").await?, url: None };
        Self::start(stage, home, None, |home| {
            pool(&embedded_url(&home.data_dir).context("the embedded Postgres does not run")?)
        })
        .await
    }

    async fn start(
        stage: &Stage,
        home: Home,
        postgres: Option<Postgres>,
        pool: impl FnOnce(&Home) -> Result<PgPool>,
    ) -> Result<Self> {
        let address = free_address()?;
        let server = start_server(&home, address, &stage.folder).await?;
        let worker = match postgres {
            Some(_) => Some(start_worker(&home, &stage.folder)?),
            None => None,
        };
        let pool = pool(&home)?;
        jobs::wait_until_all_over(&pool, RECOVERY).await?;
        Ok(Self {
            truth: Truth::new(pool, home.clone(), address).await?,
            asker: Asker { address, key: stage.operate_key.clone(), home: home.clone() },
            random: ChaCha8Rng::seed_from_u64(stage.seed + u64::from(postgres.is_none())),
            writer: Background::write(address, &stage.ingest_key, Duration::from_millis(40)),
            readers: Background::read(address, 2, Duration::from_millis(20), &["/signal/F00", "/ratings", "/ranks"]),
            folder: stage.folder.clone(),
            imports: 0,
            home,
            address,
            server,
            worker,
            postgres,
        })
    }

    async fn play(&mut self, report: &Report, name: &str, rounds: usize) -> Result<Tally> {
        let mut tally = Tally::default();
        let targets: &[Target] = match self.worker {
            Some(_) => &[Target::Server, Target::Worker, Target::Child, Target::Postgres],
            None => &[Target::Server, Target::Child, Target::Postgres],
        };
        let mut deck = Vec::new();
        for round in 1..=rounds {
            // Every target in every phase, in a new order each time.
            if deck.is_empty() {
                deck = targets.iter().flat_map(|target| PHASES.map(|phase| (*target, phase))).collect();
                deck.retain(|case| *case != (Target::Child, Phase::Activate));
                deck.shuffle(&mut self.random);
            }
            let Some((target, mut phase)) = deck.pop() else { break };
            let other_model = if phase == Phase::Activate { self.other_model().await? } else { None };
            if phase == Phase::Activate && other_model.is_none() {
                phase = Phase::Train;
            }
            let what = format!("{name}, kill {round} of {rounds}, {target:?} during {phase:?}");
            let played = self.round((target, phase), other_model, &mut tally).await;
            let (was_running, took) = played.with_context(|| what.clone())?;
            report.say(&format!("{what}{}: all is well after {}", if was_running { "" } else { " (over)" }, s(took)));
            *tally.kills.entry((target, phase)).or_default() += 1;
            tally.while_running += usize::from(was_running);
            tally.longest = tally.longest.max(took);
        }
        self.end(&mut tally).await?;
        Ok(tally)
    }

    /// One kill: tells whether what it was aimed at was under way, and how long it took until everything was done.
    async fn round(
        &mut self,
        (target, phase): (Target, Phase),
        other_model: Option<String>,
        tally: &mut Tally,
    ) -> Result<(bool, Duration)> {
        let seen = self.truth.head().await?;
        let (was_running, begun) = match other_model {
            Some(model) => self.strike_an_activation(target, &model).await?,
            None => self.strike_a_job(target, phase).await?,
        };
        jobs::wait_until_all_over(&self.truth.pool, RECOVERY).await?;
        let took = begun.elapsed();
        self.truth.check(&self.writer.acknowledged(), &seen).await?;
        self.check_imports().await?;
        let reads = self.readers.since(begun);
        if target != Target::Server {
            ensure!(reads.failures.is_empty(), "reads failed: {:?}", reads.failures.first());
            tally.reads += reads.count;
        }
        Ok((was_running, took))
    }

    async fn strike_a_job(&mut self, target: Target, phase: Phase) -> Result<(bool, Instant)> {
        let job = self.ask(phase).await?;
        self.wait_for_moment(job, phase).await?;
        let was_running = jobs::find(&self.truth.pool, job).await.is_ok_and(|job| !job.is_over());
        let begun = Instant::now();
        self.strike(target, &job.to_string()).await?;
        Ok((was_running, begun))
    }

    /// A model that could be put in force.
    async fn other_model(&self) -> Result<Option<String>> {
        let query = "
            select model_id from models m
            where model_id <> (select model_id from promotions order by promotion_id desc limit 1) and pruned_at is null
                and not exists (select from kept_back k where k.model_id = m.model_id)
            order by recorded_at desc limit 1";
        Ok(sqlx::query_scalar(query).fetch_optional(&self.truth.pool).await?)
    }

    /// Another model is put in force until that is acknowledged: then it is, once, however often it was asked for.
    async fn strike_an_activation(&mut self, target: Target, model: &str) -> Result<(bool, Instant)> {
        let before = self.activations().await?;
        let mut client = Client::new(self.address).with_key(&self.asker.key).with_patience(Duration::from_secs(10));
        let (path, body) = (format!("/models/{model}/activate"), json!({ "reason": "a fault is tried" }));
        let asking = tokio::spawn(async move {
            loop {
                match client.post(&path, &body).await {
                    Ok(answer) if answer.status == 200 => return Ok(()),
                    Ok(answer) if answer.status != 503 => bail!("{}: {}", answer.status, answer.text()),
                    Ok(_) | Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
        });
        sleep(Duration::from_millis(self.random.random_range(0..40))).await;
        let was_running = !asking.is_finished();
        let begun = Instant::now();
        self.strike(target, "").await?;
        timeout(RECOVERY, asking).await.context("the activation is not acknowledged")???;
        let made = self.activations().await? - before;
        ensure!(made == 1, "{made} promotions came of one activation");
        Ok((was_running, begun))
    }

    async fn activations(&self) -> Result<i64> {
        let query = "select count(*) from promotions where by like 'operator %'";
        Ok(sqlx::query_scalar(query).fetch_one(&self.truth.pool).await?)
    }

    async fn ask(&mut self, phase: Phase) -> Result<Uuid> {
        match phase {
            Phase::Import => {
                self.imports += 1;
                let folder = self.folder.join(format!("import-{}-{}", self.address.port(), self.imports));
                std::fs::create_dir_all(&folder)?;
                let days = market::weekdays_until(market::last_day(), market::DAYS);
                let count = rows_after(self.imports);
                for number in 0..IMPORTED {
                    let closes = market::closes(100 + number, count);
                    market::write_prices(&folder, &format!("I{number}"), &days[..count], &closes)?;
                }
                self.asker.import(&folder.display().to_string()).await
            }
            Phase::Train | Phase::Promote => self.asker.ask("train", json!({ "walk": true })).await,
            Phase::Publish | Phase::Activate => self.asker.ask("publish", json!({})).await,
        }
    }

    /// Waits for the job to begin and then for a random part of the time that it usually takes.
    async fn wait_for_moment(&mut self, job: Uuid, phase: Phase) -> Result<()> {
        jobs::wait_until(&self.truth.pool, job, RECOVERY, |job| job.state != "queued").await?;
        let (kind, from, until) = match phase {
            Phase::Import => ("import", 0.0, 1.0),
            Phase::Train => ("train", 0.0, 0.9),
            Phase::Publish | Phase::Activate => ("publish", 0.2, 1.0),
            Phase::Promote => ("train", 0.85, 1.05),
        };
        let usual = jobs::typical_duration(&self.truth.pool, kind).await?.unwrap_or(Duration::from_millis(800));
        sleep(usual.mul_f64(self.random.random_range(from..until))).await;
        Ok(())
    }

    /// Kills, and starts again what does not start by itself.
    async fn strike(&mut self, target: Target, job: &str) -> Result<()> {
        let rest = Duration::from_millis(self.random.random_range(0..500));
        match target {
            Target::Server => {
                self.server.kill().await?;
                sleep(rest).await;
                self.server = start_server(&self.home, self.address, &self.folder).await?;
            }
            Target::Worker => {
                let worker = self.worker.as_mut().context("no worker")?;
                worker.kill().await?;
                sleep(rest).await;
                self.worker = Some(start_worker(&self.home, &self.folder)?);
            }
            Target::Child => {
                let children = [Some(&self.server), self.worker.as_ref()].into_iter().flatten();
                for child in children.flat_map(Process::job_children) {
                    if command_line(child).contains(job) {
                        let _ = kill_process(child, Signal::KILL);
                    }
                }
            }
            Target::Postgres => match &mut self.postgres {
                Some(postgres) => {
                    postgres.kill().await?;
                    sleep(rest).await;
                    postgres.start_again().await?;
                }
                None => {
                    let postmaster = embedded_postmaster(&self.home.data_dir).context("no embedded Postgres")?;
                    kill_process(postmaster, Signal::KILL)?;
                }
            },
        }
        Ok(())
    }

    /// Files are in the store whole or not at all; after the job, they are there.
    async fn check_imports(&self) -> Result<()> {
        for number in 0..IMPORTED {
            let symbol = format!("I{number}");
            let rows: i64 = sqlx::query_scalar(
                "select count(distinct b.day) from bars b join instruments i using (instrument_id) where i.symbol = $1",
            )
            .bind(&symbol)
            .fetch_one(&self.truth.pool)
            .await?;
            let expected = if self.imports == 0 { 0 } else { rows_after(self.imports) };
            ensure!(usize::try_from(rows)? == expected, "{symbol} has {rows} rows after its import, not {expected}");
        }
        Ok(())
    }

    /// Stops the clients, looks once more, and stops the processes in the usual way.
    async fn end(&mut self, tally: &mut Tally) -> Result<()> {
        self.writer.stop().await;
        self.readers.stop().await;
        let acknowledged = self.writer.acknowledged();
        self.truth.check(&acknowledged, &self.truth.head().await?).await?;
        let trials = self.writer.trials(Instant::now() - Duration::from_secs(86_400), Instant::now());
        for trial in &trials {
            let expected = match trial.status {
                Some(200) | None => true,
                Some(503) => trial.retry_after,
                Some(_) => false,
            };
            ensure!(expected, "a write was answered with {:?}: {}", trial.status, trial.said);
        }
        tally.false_alarms += self.truth.false_alarms.load(Ordering::Relaxed);
        tally.rows += acknowledged.len();
        tally.refused += trials.iter().filter(|trial| trial.status == Some(503)).count();
        let counts: (i64, i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from job_attempts where outcome <> 'succeeded'), (select count(*) from jobs where state = 'succeeded'),
                    (select count(*) from publications), (select count(*) from promotions)",
        )
        .fetch_one(&self.truth.pool)
        .await?;
        tally.lost_runs += counts.0;
        tally.jobs += counts.1;
        tally.publications += counts.2;
        tally.promotions += counts.3;
        self.truth.pool.close().await;
        if let Some(worker) = &mut self.worker {
            worker.stop(Duration::from_secs(30)).await?;
        }
        self.server.stop(Duration::from_secs(60)).await?;
        Ok(())
    }
}

/// Rows of each file of an import.
fn rows_after(imports: usize) -> usize {
    300 + 5 * imports
}

async fn start_server(home: &Home, address: SocketAddr, logs: &std::path::Path) -> Result<Process> {
    let options: Vec<&str> = NO_SCHEDULE.into_iter().chain(["--lease", "4", "--jobs-at-once", "1"]).collect();
    serve(home, address, logs, &options).await
}

fn start_worker(home: &Home, logs: &std::path::Path) -> Result<Process> {
    work(home, "worker", logs, &["--lease", "4", "--jobs-at-once", "2"])
}

//! Postgres stopped under reading load: published answers stay, writes are refused, and everything comes back by itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::http::Client;
use crate::invariants::Truth;
use crate::jobs::{self, Asker};
use crate::load::{Background, ms, s};
use crate::postgres::Postgres;
use crate::process::{Home, free_address, serve};
use crate::report::Report;
use crate::slow::{check_refusal, told};
use crate::stage::{NO_SCHEDULE, Stage};

/// Everything works again so long after Postgres does.
const RECOVERY: Duration = Duration::from_secs(60);
/// What is read all the time.
const PATHS: [&str; 6] = ["/signal/F00", "/ranks", "/ratings", "/signals", "/signal/F07?horizon=13w", "/rating/F03"];

/// Plays it with Postgres stopped as an administrator does, and in the full version once more with it killed.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    let (mut postgres, home) = stage.postgres().await?;
    let (first, second) = (free_address()?, free_address()?);
    let options: Vec<&str> = NO_SCHEDULE.into_iter().chain(["--lease", "4"]).collect();
    let mut server = serve(&home, first, &stage.folder, &options).await?;
    let mut other = serve(&home, second, &stage.folder, &[&options[..], &["--no-work"]].concat()).await?;
    let truth = Truth::new(postgres.pool()?, home.clone(), first).await?;
    jobs::wait_until_all_over(&truth.pool, RECOVERY).await?;
    let mut writer = Background::write(first, &stage.ingest_key, Duration::from_millis(100));
    writer.wait_for_success(RECOVERY).await?;
    for killed in stage.pick(vec![false], vec![false, true]) {
        let outage = Outage { stage, report, home: &home, addresses: [first, second], writer: &writer, truth: &truth };
        outage.play(&mut postgres, killed).await?;
    }
    writer.stop().await;
    truth.check(&writer.acknowledged(), &truth.head().await?).await?;
    report.measure("rows acknowledged, none lost", writer.acknowledged().len());
    truth.pool.close().await;
    for process in [&mut server, &mut other] {
        process.stop(Duration::from_secs(60)).await?;
    }
    postgres.stop().await
}

struct Outage<'a> {
    stage: &'a Stage,
    report: &'a Report,
    home: &'a Home,
    addresses: [SocketAddr; 2],
    writer: &'a Background,
    truth: &'a Truth,
}

impl Outage<'_> {
    async fn play(&self, postgres: &mut Postgres, killed: bool) -> Result<()> {
        let (report, [first, _]) = (self.report, self.addresses);
        let how = if killed { "killed" } else { "stopped" };
        let length = Duration::from_secs(self.stage.pick(6, 30));
        let seen = self.truth.head().await?;
        let mut readers = Background::read(first, 8, Duration::from_millis(20), &PATHS);
        let mut health = Background::read(first, 1, Duration::from_millis(100), &["/healthz"]);
        sleep(Duration::from_secs(1)).await;
        let from = Instant::now();
        if killed {
            postgres.kill().await?;
        } else {
            postgres.stop().await?;
        }
        // Asked for while nobody can note it: the client goes on asking.
        let asker = Asker { address: first, key: self.stage.operate_key.clone(), home: self.home.clone() };
        let asking = tokio::spawn(async move { asker.ask("train", json!({})).await });
        check_refusal(self.stage, report, first, how).await;
        sleep(length.saturating_sub(from.elapsed())).await;
        self.tell_writes(how, from, Instant::now());
        let begun = Instant::now();
        postgres.start_again().await?;
        let accepted = self.writer.wait_for_success(RECOVERY).await;
        report.check(&format!("writes are taken again ({how})"), accepted.is_ok(), told(accepted));
        let job = timeout(RECOVERY, asking).await???;
        let done = jobs::wait_for_success(&self.truth.pool, job, RECOVERY).await;
        report.check(
            &format!("the job asked for meanwhile is done ({how})"),
            done.is_ok(),
            told(done.map(|_| begun.elapsed())),
        );
        self.check_that_publications_are_heard(how).await?;
        jobs::wait_until_all_over(&self.truth.pool, RECOVERY).await?;
        self.truth.check(&self.writer.acknowledged(), &seen).await?;
        for (what, clients) in [("reads", &mut readers), ("health checks", &mut health)] {
            clients.stop().await;
            let all = clients.between(from, Instant::now());
            let numbers = format!(
                "{} in {} s and until all was well, p99 {}, longest {}",
                all.count,
                length.as_secs(),
                ms(all.p99),
                ms(all.longest)
            );
            let failed = all.failures.first().map(|failure| format!("; {} failed: {failure}", all.failures.len()));
            report.check(
                &format!("{what} with Postgres {how}"),
                failed.is_none(),
                numbers + &failed.unwrap_or_default(),
            );
        }
        Ok(())
    }

    fn tell_writes(&self, how: &str, from: Instant, until: Instant) {
        let trials = self.writer.trials(from, until);
        // The one under way when the server went may have been taken, or its fate be unknown.
        let refused = trials.iter().skip(1).filter(|trial| trial.status == Some(503) && trial.retry_after).count();
        let longest = trials.iter().map(|trial| trial.took).max().unwrap_or_default();
        let detail = format!("{refused} refused with 503 and Retry-After, longest {}", s(longest));
        let other = trials.iter().skip(1).find(|trial| trial.status != Some(503) || !trial.retry_after);
        self.report.check(
            &format!("writes with Postgres {how}"),
            other.is_none(),
            match other {
                None => detail,
                Some(trial) => format!("{detail}; one was answered with {:?}: {}", trial.status, trial.said),
            },
        );
    }

    /// A publication after the outage is served by both instances, without a restart.
    async fn check_that_publications_are_heard(&self, how: &str) -> Result<()> {
        let asker = Asker { address: self.addresses[0], key: self.stage.operate_key.clone(), home: self.home.clone() };
        let job = asker.ask("publish", json!({ "again": true })).await?;
        jobs::wait_for_success(&self.truth.pool, job, RECOVERY).await?;
        let begun = Instant::now();
        let wanted: i64 = sqlx::query_scalar("select max(sequence) from ledger").fetch_one(&self.truth.pool).await?;
        for (number, address) in self.addresses.into_iter().enumerate() {
            let mut client = Client::new(address);
            loop {
                let signal = client.found("/signal/F00").await?;
                let publication = self.last_of_publication(signal["ledger"]["sequence"].as_i64().unwrap_or(0)).await?;
                if publication >= wanted {
                    break;
                }
                ensure!(
                    begun.elapsed() < RECOVERY,
                    "instance {} still serves an answer of {publication}, the head is {wanted}",
                    number + 1
                );
                sleep(Duration::from_millis(10)).await;
            }
            self.report.measure(
                &format!("instance {} serves a publication after its commit ({how})", number + 1),
                ms(begun.elapsed()),
            );
        }
        Ok(())
    }

    /// The last entry of the publication that an entry belongs to.
    async fn last_of_publication(&self, sequence: i64) -> Result<i64> {
        let last: Option<i64> = sqlx::query_scalar(
            "select last_sequence from publications where $1 between first_sequence and last_sequence",
        )
        .bind(sequence)
        .fetch_optional(&self.truth.pool)
        .await?;
        Ok(last.unwrap_or(0))
    }
}

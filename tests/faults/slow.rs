//! A Postgres that is slow, and one that accepts connections and never answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::http::{Answer, Client};
use crate::jobs::{self, Asker};
use crate::load::{Background, Seen, Trial, ms, s};
use crate::postgres::url;
use crate::process::{Home, free_address, serve};
use crate::proxy::{Mode, Proxy};
use crate::report::Report;
use crate::stage::{NO_SCHEDULE, Stage};

/// A write is answered within this time, whatever the store does.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// A stop takes no longer, whatever the store does.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// The service is whole again so long after the store is.
const RECOVERY: Duration = Duration::from_secs(60);
/// How much later every packet comes.
const DELAY: Duration = Duration::from_millis(200);

/// Plays it.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    let (postgres, home) = stage.postgres().await?;
    let proxy = Proxy::open(postgres.address).await?;
    let home = Home { url: Some(url(proxy.address)), ..home };
    let address = free_address()?;
    let options: Vec<&str> = NO_SCHEDULE.into_iter().chain(["--lease", "4"]).collect();
    let mut server = serve(&home, address, &stage.folder, &options).await?;
    let pool = postgres.pool()?;
    jobs::wait_until_all_over(&pool, RECOVERY).await?;
    let paths = ["/signal/F00", "/ranks", "/ratings", "/healthz"];
    let mut readers = Background::read(address, 4, Duration::from_millis(10), &paths);
    let writer = Background::write(address, &stage.ingest_key, Duration::from_millis(100));

    let asker = Asker { address, key: stage.operate_key.clone(), home: home.clone() };
    let mut phases = vec![
        ("as usual", Mode::Pass, stage.pick(1, 10)),
        ("every packet 200 ms later", Mode::Delay(DELAY), stage.pick(4, 40)),
        ("silent", Mode::Silent, stage.pick(4, 40)),
    ];
    if stage.full {
        phases.push(("lost", Mode::Lost, 40));
    }
    for (name, mode, time) in phases {
        proxy.set(mode);
        let from = Instant::now();
        sleep(Duration::from_secs(time)).await;
        let until = Instant::now();
        tell_reads(report, name, &readers.between(from, until));
        if matches!(mode, Mode::Silent | Mode::Lost) {
            check_refusal(stage, report, address, name).await;
        }
        tell_writes(report, name, &writer.trials(from, Instant::now()));
        proxy.set(Mode::Pass);
        let recovered = writer.wait_for_success(RECOVERY).await;
        report.check(&format!("a write is taken after the store was {name}"), recovered.is_ok(), told(recovered));
        let begun = Instant::now();
        let job = timeout(RECOVERY, asker.ask("publish", json!({ "again": true }))).await??;
        let done = jobs::wait_for_success(&pool, job, RECOVERY).await.map(|_| begun.elapsed());
        report.check(&format!("a job is done after the store was {name}"), done.is_ok(), told(done));
    }
    proxy.set(Mode::Silent);
    sleep(Duration::from_millis(300)).await;
    readers.stop().await;
    let stopped = server.stop(STOP_LIMIT).await.map(|(_, took)| took);
    report.check("a stop ends while the store is silent", stopped.is_ok(), told(stopped));
    Ok(())
}

fn tell_reads(report: &Report, name: &str, reads: &Seen) {
    let numbers = format!(
        "{} reads, p50 {}, p99 {}, longest {}",
        reads.count,
        ms(reads.median),
        ms(reads.p99),
        ms(reads.longest)
    );
    report.check(
        &format!("reads while the store is {name}"),
        reads.failures.is_empty(),
        match reads.failures.first() {
            None => numbers,
            Some(failure) => format!("{numbers}; {} failed: {failure}", reads.failures.len()),
        },
    );
}

fn tell_writes(report: &Report, name: &str, trials: &[Trial]) {
    let with = |status: u16| trials.iter().filter(|trial| trial.status == Some(status)).count();
    let refused_well = trials.iter().all(|t| t.status == Some(200) || (t.status == Some(503) && t.retry_after));
    let longest = trials.iter().map(|trial| trial.took).max().unwrap_or_default();
    let detail = format!("{} accepted, {} refused with 503, longest {}", with(200), with(503), s(longest));
    report.check(
        &format!("writes while the store is {name}"),
        refused_well && longest < WRITE_LIMIT,
        match trials.iter().find(|t| !matches!(t.status, Some(200 | 503))) {
            None => detail,
            Some(other) => format!("{detail}; one was answered with {:?}: {}", other.status, other.said),
        },
    );
}

/// A write while nothing answers: it must be refused, in time.
pub async fn check_refusal(stage: &Stage, report: &Report, address: SocketAddr, name: &str) {
    let mut client = Client::new(address).with_key(&stage.ingest_key).with_patience(WRITE_LIMIT * 2);
    let row = json!({ "rows": [{ "symbol": "F00", "day": "2024-08-30", "close": 51.5 }] });
    let answer = client.post("/prices", &row).await;
    let is_refused = |a: &Answer| a.status == 503 && a.header("retry-after").is_some() && a.took < WRITE_LIMIT;
    let holds = answer.as_ref().is_ok_and(is_refused);
    let detail = match answer {
        Ok(answer) => format!("{} after {}", answer.status, s(answer.took)),
        Err(error) => format!("{error:#}"),
    };
    report.check(&format!("a write is refused while the store is {name}"), holds, detail);
}

/// How long something took, or why it did not come.
pub fn told(outcome: Result<Duration>) -> String {
    match outcome {
        Ok(took) => format!("after {}", s(took)),
        Err(error) => format!("{error:#}"),
    }
}

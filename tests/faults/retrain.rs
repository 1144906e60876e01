//! Reads during a retrain, against reads without one, in turn.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::sleep;

use crate::jobs::{self, Asker};
use crate::load::{Background, Trial, ms, seen};
use crate::process::{free_address, serve};
use crate::report::Report;
use crate::stage::{NO_SCHEDULE, Stage};

/// p99 during a training may be so many times that without one.
const RATIO_MAX: f64 = 1.5;
/// A training must be under way within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays it.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    let (mut postgres, home) = stage.postgres().await?;
    let address = free_address()?;
    // Long enough to be read through; two networks at once on a machine of two processors leave none idle.
    let epochs = stage.pick("200", "4000");
    let options: Vec<&str> =
        NO_SCHEDULE.into_iter().chain(["--members", "2", "--threads", "2", "--epochs", epochs]).collect();
    let mut server = serve(&home, address, &stage.folder, &options).await?;
    let pool = postgres.pool()?;
    jobs::wait_until_all_over(&pool, PATIENCE).await?;
    let asker = Asker { address, key: stage.operate_key.clone(), home };
    let (turns, length) = stage.pick((1, Duration::from_secs(2)), (6, Duration::from_secs(15)));
    let readers = Background::read(address, 4, Duration::from_millis(5), &["/signal/F00"]);
    let (mut idle, mut training): (Vec<Trial>, Vec<Trial>) = (Vec::new(), Vec::new());
    for turn in 1..=turns {
        sleep(Duration::from_millis(500)).await;
        let from = Instant::now();
        sleep(length).await;
        idle.extend(readers.trials(from, Instant::now()));
        let job = asker.ask("train", json!({ "walk": true })).await?;
        jobs::wait_until(&pool, job, PATIENCE, |job| job.state == "running").await?;
        // Past the loading of rows, into the training itself.
        sleep(Duration::from_secs(1)).await;
        let from = Instant::now();
        sleep(length).await;
        let during = readers.trials(from, Instant::now());
        let still = jobs::find(&pool, job).await?;
        ensure!(!stage.full || !still.is_over(), "the training ended before it was read through");
        jobs::wait_for_success(&pool, job, PATIENCE * 5).await?;
        jobs::wait_until_all_over(&pool, PATIENCE).await?;
        report.say(&format!(
            "turn {turn} of {turns}: p99 {} without, {} during a training",
            ms(seen(idle.iter()).p99),
            ms(seen(during.iter()).p99)
        ));
        training.extend(during);
    }
    let (idle, training) = (seen(idle.iter()), seen(training.iter()));
    for (name, reads) in [("without a training", &idle), ("during a training", &training)] {
        let numbers = format!(
            "{} reads, p50 {}, p99 {}, longest {}",
            reads.count,
            ms(reads.median),
            ms(reads.p99),
            ms(reads.longest)
        );
        report.check(&format!("reads {name}"), reads.failures.is_empty(), numbers);
    }
    let ratio = training.p99.as_secs_f64() / idle.p99.as_secs_f64();
    let detail = format!("{ratio:.2}, at most {RATIO_MAX}");
    if stage.full {
        report.check("p99 during a training over p99 without", ratio <= RATIO_MAX, detail);
    } else {
        report.measure("p99 during a training over p99 without", detail);
    }
    drop(readers);
    pool.close().await;
    server.stop(PATIENCE).await?;
    postgres.stop().await
}

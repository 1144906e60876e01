//! A disk that is full under Postgres: reads go on, writes are refused, nothing is lost, and all recovers with the space.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::Command;
use tokio::time::sleep;

use crate::invariants::Truth;
use crate::jobs::{self, Asker};
use crate::load::{Background, ms, s};
use crate::postgres::Postgres;
use crate::process::{Home, free_address, serve};
use crate::report::Report;
use crate::slow::told;
use crate::stage::{NO_SCHEDULE, Stage};

/// Everything works again so long after there is space.
const RECOVERY: Duration = Duration::from_secs(90);
/// Size of the small disk.
const SIZE_MIB: u64 = 400;
/// What stays free on it when it is filled: less than a few pages of a table.
const LEFT_BYTES: u64 = 24 << 10;
/// Without a small disk: no file may become larger. Files of the log are 16 MiB.
const FILE_LIMIT_KIB: u64 = 17 << 10;

/// Plays it: with the log on another disk, where Postgres refuses statements with 53100, then with the log on the full
/// disk as well, where it stops itself. Without the right to mount a small disk, Postgres gets a limit of the size of files.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    for log_elsewhere in stage.pick(vec![true], vec![true, false]) {
        let Some(disk) = SmallDisk::mount(&stage.folder.join(format!("disk-{log_elsewhere}"))).await else {
            report.measure("how", "a limit of the size of files (no right to mount a small disk)");
            return limited(stage, report).await;
        };
        let where_log = if log_elsewhere { "the log elsewhere" } else { "the log on it" };
        report.measure("how", format!("tmpfs of {SIZE_MIB} MiB, {where_log}"));
        let outcome = full(stage, report, &disk, log_elsewhere).await;
        disk.unmount().await;
        outcome.context(where_log)?;
    }
    Ok(())
}

async fn full(stage: &Stage, report: &Report, disk: &SmallDisk, log_elsewhere: bool) -> Result<()> {
    let data_dir = stage.copy_into(&disk.folder, "data").await?;
    let mut postgres = Postgres::prepared(&data_dir, &stage.folder)?;
    if log_elsewhere {
        let log = postgres.cluster.join("pg_wal");
        let elsewhere = stage.folder.join("pg_wal");
        let status = Command::new("mv").arg(&log).arg(&elsewhere).status().await?;
        ensure!(status.success(), "the log cannot be moved");
        std::os::unix::fs::symlink(&elsewhere, &log)?;
    }
    postgres.start_again().await?;
    let home = Home { data_dir: stage.copy("home").await?, url: Some(postgres.url()) };
    let name = if log_elsewhere { "disk full" } else { "disk full, log on it" };
    let mut trouble = Trouble::start(stage, report, postgres, home, name).await?;
    disk.fill()?;
    trouble.go_through(log_elsewhere).await?;
    disk.clear()?;
    trouble.recover().await
}

async fn limited(stage: &Stage, report: &Report) -> Result<()> {
    let (mut postgres, home) = stage.postgres().await?;
    let mut trouble_free = postgres.file_limit_kib.take();
    postgres.stop().await?;
    trouble_free.replace(FILE_LIMIT_KIB);
    postgres.file_limit_kib = trouble_free;
    postgres.start_again().await?;
    let mut trouble = Trouble::start(stage, report, postgres, home, "file limit").await?;
    trouble.go_through(true).await?;
    trouble.postgres.stop().await?;
    trouble.postgres.file_limit_kib = None;
    trouble.postgres.start_again().await?;
    trouble.recover().await
}

/// A disk of its own in memory.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    async fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).ok()?;
        let size = format!("size={SIZE_MIB}m,mode=755");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "forecastd-faults"]).arg(folder);
        let output = command.output().await.ok()?;
        output.status.success().then(|| Self { folder: folder.to_owned() })
    }

    /// Writes a file until hardly anything is left.
    fn fill(&self) -> Result<()> {
        let mut filler = File::create(self.folder.join("filler"))?;
        let chunk = vec![1; 1 << 20];
        while filler.write_all(&chunk).is_ok() {}
        let small = [1; 4096];
        while filler.write_all(&small).is_ok() {}
        let size = filler.metadata()?.len();
        Ok(filler.set_len(size.saturating_sub(LEFT_BYTES))?)
    }

    fn clear(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.join("filler"))?)
    }

    async fn unmount(self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status().await;
    }
}

struct Trouble<'a> {
    stage: &'a Stage,
    report: &'a Report,
    name: &'static str,
    postgres: Postgres,
    truth: Truth,
    asker: Asker,
    server: crate::process::Process,
    readers: Background,
    writer: Background,
    seen: String,
    begun: Instant,
}

impl<'a> Trouble<'a> {
    async fn start(
        stage: &'a Stage,
        report: &'a Report,
        postgres: Postgres,
        home: Home,
        name: &'static str,
    ) -> Result<Self> {
        let address = free_address()?;
        let options: Vec<&str> = NO_SCHEDULE.into_iter().chain(["--lease", "4"]).collect();
        let server = serve(&home, address, &stage.folder, &options).await?;
        let truth = Truth::new(postgres.pool()?, home.clone(), address).await?;
        jobs::wait_until_all_over(&truth.pool, RECOVERY).await?;
        let readers =
            Background::read(address, 4, Duration::from_millis(20), &["/signal/F00", "/ranks", "/ratings", "/healthz"]);
        let writer = Background::write(address, &stage.ingest_key, Duration::from_millis(2));
        writer.wait_for_success(RECOVERY).await?;
        let seen = truth.head().await?;
        let asker = Asker { address, key: stage.operate_key.clone(), home };
        Ok(Self { stage, report, name, postgres, truth, asker, server, readers, writer, seen, begun: Instant::now() })
    }

    /// Waits until writes are refused, and goes on for a while.
    async fn go_through(&mut self, alive: bool) -> Result<()> {
        let from = Instant::now();
        let patience = Duration::from_secs(self.stage.pick(60, 180));
        let refused = |trial: &&crate::load::Trial| trial.status != Some(200);
        while self.writer.trials(from, Instant::now()).iter().find(refused).is_none() {
            ensure!(from.elapsed() < patience, "writes are never refused");
            sleep(Duration::from_millis(50)).await;
        }
        let first = Instant::now();
        sleep(Duration::from_secs(self.stage.pick(3, 15))).await;
        let trials = self.writer.trials(first, Instant::now());
        let refused = trials.iter().filter(|trial| trial.status == Some(503) && trial.retry_after).count();
        let accepted = trials.iter().filter(|trial| trial.status == Some(200)).count();
        let other = trials.iter().find(|t| t.status != Some(200) && (t.status != Some(503) || !t.retry_after));
        let detail = format!("{refused} refused with 503 and Retry-After, {accepted} still fitted in");
        self.report.check(
            &format!("{}: writes", self.name),
            other.is_none() && refused > 0,
            match other {
                None => detail,
                Some(trial) => format!("{detail}; one was answered with {:?}: {}", trial.status, trial.said),
            },
        );
        let log = std::fs::read_to_string(self.stage.folder.join("postgres.log")).unwrap_or_default();
        let said = log.lines().rev().find(|line| line.contains("No space left") || line.contains("File too large"));
        self.report.measure(&format!("{}: Postgres said", self.name), said.unwrap_or("nothing about space"));
        if alive {
            let answers = self.postgres.process().is_some_and(crate::process::Process::is_alive);
            self.report.check(&format!("{}: Postgres is alive", self.name), answers, answers);
        }
        Ok(())
    }

    /// There is space again.
    async fn recover(&mut self) -> Result<()> {
        if !self.postgres.process().is_some_and(crate::process::Process::is_alive) {
            self.report.say("Postgres had given up and is started again, as its administrator would");
            self.postgres.start_again().await?;
        }
        let accepted = self.writer.wait_for_success(RECOVERY).await;
        self.report.check(&format!("{}: writes are taken again", self.name), accepted.is_ok(), told(accepted));
        let begun = Instant::now();
        let job = self.asker.ask("publish", json!({})).await?;
        let done = jobs::wait_for_success(&self.truth.pool, job, RECOVERY).await;
        self.report.check(
            &format!("{}: a job is done again", self.name),
            done.is_ok(),
            told(done.map(|_| begun.elapsed())),
        );
        self.writer.stop().await;
        self.readers.stop().await;
        jobs::wait_until_all_over(&self.truth.pool, RECOVERY).await?;
        let acknowledged = self.writer.acknowledged();
        self.truth.check(&acknowledged, &self.seen).await?;
        self.report.measure(&format!("{}: rows acknowledged, none lost", self.name), acknowledged.len());
        let reads = self.readers.since(self.begun);
        let numbers = format!("{} reads in {}, p99 {}", reads.count, s(self.begun.elapsed()), ms(reads.p99));
        let failed = reads.failures.first().map(|failure| format!("; {} failed: {failure}", reads.failures.len()));
        self.report.check(
            &format!("{}: reads go on", self.name),
            failed.is_none(),
            numbers + &failed.unwrap_or_default(),
        );
        self.truth.pool.close().await;
        self.server.stop(Duration::from_secs(60)).await?;
        self.postgres.stop().await
    }
}

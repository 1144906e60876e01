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
use crate::load::{Background, Trial, ms, s};
use crate::postgres::{Postgres, embedded_url, pool};
use crate::process::{Home, Process, free_address, serve};
use crate::report::Report;
use crate::slow::told;
use crate::stage::{NO_SCHEDULE, Stage};

/// Everything works again so long after there is space.
const RECOVERY: Duration = Duration::from_secs(90);
/// Size of the small disk.
const SIZE_MIB: u64 = 400;
/// What stays free on it when it is filled: a few pages of a table, or too little for another file of the log.
const LEFT_BYTES: [u64; 2] = [24 << 10, 8 << 20];
/// Without a small disk: no file may become larger. Files of the log are 16 MiB.
const FILE_LIMIT_KIB: u64 = 17 << 10;

/// What lies on the full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    /// Tables, but not the log: Postgres refuses statements with 53100.
    Tables,
    /// All of it: Postgres stops itself.
    All,
    /// All of the embedded Postgres, which the service has to bring back by itself.
    Embedded,
}

impl Full {
    fn name(self) -> &'static str {
        match self {
            Self::Tables => "full disk, log elsewhere",
            Self::All => "full disk",
            Self::Embedded => "full disk, embedded",
        }
    }
}

/// Plays it. Without the right to mount a small disk, Postgres gets a limit of the size of files.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    for full in stage.pick(vec![Full::Tables], vec![Full::Tables, Full::All, Full::Embedded]) {
        let Some(disk) = SmallDisk::mount(&stage.folder.join(format!("{full:?}"))).await else {
            report.measure("how", "a limit of the size of files, because no small disk can be mounted");
            return limited(stage, report).await;
        };
        report.measure(full.name(), format!("a tmpfs of {SIZE_MIB} MiB"));
        let outcome = play(stage, report, &disk, full).await;
        disk.unmount().await;
        outcome.context(full.name())?;
    }
    Ok(())
}

async fn play(stage: &Stage, report: &Report, disk: &SmallDisk, full: Full) -> Result<()> {
    let data_dir = stage.copy_into(&disk.folder, "data").await?;
    let (home, postgres) = if full == Full::Embedded {
        (Home { data_dir, url: None }, None)
    } else {
        let mut postgres = Postgres::prepared(&data_dir, &stage.folder)?;
        if full == Full::Tables {
            let log = postgres.cluster.join("pg_wal");
            let elsewhere = stage.folder.join("pg_wal");
            let status = Command::new("mv").arg(&log).arg(&elsewhere).status().await?;
            ensure!(status.success(), "the log cannot be moved");
            std::os::unix::fs::symlink(&elsewhere, &log)?;
        }
        postgres.start_again().await?;
        let home = stage.copy(&format!("home-{full:?}")).await?;
        (Home { data_dir: home, url: Some(postgres.url()) }, Some(postgres))
    };
    let mut trouble = Trouble::start(stage, report, postgres, home, full.name()).await?;
    disk.fill(LEFT_BYTES[usize::from(full != Full::Tables)])?;
    if full != Full::Tables {
        // Postgres prepares a file or two in advance; used up, it needs another one, and there is no room.
        for _ in 0..4 {
            let _ = sqlx::query("select pg_switch_wal()").execute(&trouble.truth.pool).await;
            sleep(Duration::from_millis(300)).await;
        }
    }
    trouble.go_through(full == Full::Tables).await?;
    disk.clear()?;
    trouble.recover().await
}

async fn limited(stage: &Stage, report: &Report) -> Result<()> {
    let (mut postgres, home) = stage.postgres().await?;
    postgres.stop().await?;
    postgres.file_limit_kib = Some(FILE_LIMIT_KIB);
    postgres.start_again().await?;
    let mut trouble = Trouble::start(stage, report, Some(postgres), home, "file limit").await?;
    trouble.go_through(true).await?;
    if let Some(postgres) = &mut trouble.postgres {
        postgres.stop().await?;
        postgres.file_limit_kib = None;
        postgres.start_again().await?;
    }
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

    /// Writes a file until so much is left.
    fn fill(&self, left_bytes: u64) -> Result<()> {
        let mut filler = File::create(self.folder.join("filler"))?;
        let chunk = vec![1; 1 << 20];
        while filler.write_all(&chunk).is_ok() {}
        let small = [1; 4096];
        while filler.write_all(&small).is_ok() {}
        let size = filler.metadata()?.len();
        Ok(filler.set_len(size.saturating_sub(left_bytes))?)
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
    postgres: Option<Postgres>,
    truth: Truth,
    asker: Asker,
    server: Process,
    readers: Background,
    writer: Background,
    seen: String,
    begun: Instant,
}

impl<'a> Trouble<'a> {
    async fn start(
        stage: &'a Stage,
        report: &'a Report,
        postgres: Option<Postgres>,
        home: Home,
        name: &'static str,
    ) -> Result<Self> {
        let address = free_address()?;
        let options: Vec<&str> = NO_SCHEDULE.into_iter().chain(["--lease", "4"]).collect();
        let server = serve(&home, address, &stage.folder, &options).await?;
        let pool = match &postgres {
            Some(postgres) => postgres.pool()?,
            None => pool(&embedded_url(&home.data_dir).context("the embedded Postgres does not run")?)?,
        };
        let truth = Truth::new(pool, home.clone(), address).await?;
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
        let refused = |trial: &&Trial| trial.status != Some(200);
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
        self.report.measure(&format!("{}: Postgres said", self.name), self.complaint());
        if alive {
            let answers = self.postgres.as_mut().and_then(Postgres::process).is_some_and(Process::is_alive);
            self.report.check(&format!("{}: Postgres is alive", self.name), answers, answers);
        }
        Ok(())
    }

    /// What Postgres wrote last about the space.
    fn complaint(&self) -> String {
        let file = match &self.postgres {
            Some(_) => self.stage.folder.join("postgres.log"),
            None => self.asker.home.data_dir.join("postgres/postgres.log"),
        };
        let log = std::fs::read_to_string(file).unwrap_or_default();
        let said = log.lines().rev().find(|line| line.contains("No space left") || line.contains("File too large"));
        said.unwrap_or("nothing about space").to_owned()
    }

    /// There is space again. A Postgres that gave up is started by its administrator, the embedded one by the service.
    async fn recover(&mut self) -> Result<()> {
        if let Some(postgres) = &mut self.postgres
            && !postgres.process().is_some_and(Process::is_alive)
        {
            self.report.say("Postgres had given up and is started again");
            postgres.start_again().await?;
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
        match &mut self.postgres {
            Some(postgres) => postgres.stop().await,
            None => Ok(()),
        }
    }
}

//! Rehearsed time: months of operation in minutes, on a simulated market that plays out as the clock is put forward.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, TimeZone, Utc, Weekday};
use chrono_tz::America::New_York;
use serde_json::Value;
use sqlx::{FromRow, PgPool};
use tokio::time::sleep;
use uuid::Uuid;

/// How often we look whether everything is quiet.
const LOOK: Duration = Duration::from_millis(5);
/// All that was due has to be done within this time.
const PATIENCE: Duration = Duration::from_secs(900);
/// Kinds of jobs that are kept by a schedule.
const KINDS: [&str; 5] = ["publish", "score", "drift", "train", "prune"];
/// Names some of the kinds, with commas between; the schedules of the others are switched off.
const KINDS_VARIABLE: &str = "REHEARSED_KINDS";

/// The file that tells all processes the time.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A clock in a folder.
    pub fn new(folder: &Path) -> Self {
        Self { file: folder.join("clock") }
    }

    /// The path of the file.
    pub fn file(&self) -> String {
        self.file.display().to_string()
    }

    /// Puts the clock to an instant; nobody sees a half-written time.
    pub fn set(&self, at: DateTime<Utc>) -> Result<()> {
        let new = self.file.with_extension("new");
        std::fs::write(&new, at.to_rfc3339_opts(SecondsFormat::Secs, true))?;
        Ok(std::fs::rename(&new, &self.file)?)
    }
}

/// One moment at which a job of a kind is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub kind: &'static str,
}

impl Slot {
    /// Its name in the record of jobs.
    pub fn name(&self) -> String {
        self.at.to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}

/// The kinds whose schedules are kept in this rehearsal.
pub fn kinds() -> Vec<&'static str> {
    match std::env::var(KINDS_VARIABLE) {
        Ok(some) => KINDS.into_iter().filter(|kind| some.split(',').any(|one| one == *kind)).collect(),
        Err(_) => KINDS.to_vec(),
    }
}

/// The options that switch the other schedules off.
pub fn schedule_options() -> Vec<String> {
    let kept = kinds();
    let others = KINDS.into_iter().filter(|kind| !kept.contains(kind));
    others.flat_map(|kind| [format!("--{kind}-schedule"), "off".into()]).collect()
}

/// All slots of the default schedules after an instant and until another, by a reckoning that is not the program's.
pub fn slots(sessions: &[NaiveDate], after: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Slot> {
    let sessions: BTreeSet<&NaiveDate> = sessions.iter().collect();
    let mut slots = Vec::new();
    for day in after.date_naive().iter_days().take_while(|day| *day <= until.date_naive()) {
        for kind in kinds() {
            let session = sessions.contains(&day);
            let time = match kind {
                "publish" if session => (16, 45),
                "score" if session => (17, 15),
                "drift" if session => (17, 30),
                "train" if day.weekday() == Weekday::Sat => (6, 0),
                "prune" if day.day() == 1 => (9, 0),
                _ => continue,
            };
            slots.push(Slot { at: in_new_york(day, time), kind });
        }
    }
    slots.retain(|slot| slot.at > after && slot.at <= until);
    slots.sort();
    slots
}

/// An instant by the clocks of New York.
pub fn in_new_york(day: NaiveDate, (hour, minute): (u32, u32)) -> DateTime<Utc> {
    let time = NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default();
    let local = New_York.from_local_datetime(&day.and_time(time)).earliest();
    local.map_or_else(|| Utc.from_utc_datetime(&day.and_time(time)), |local| local.with_timezone(&Utc))
}

/// A job that has ended, and when by the rehearsed clock.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The step of the clock that it belongs to.
    pub at: DateTime<Utc>,
    /// Its record.
    pub job: Job,
}

/// What is recorded of a job.
#[derive(Debug, Clone, FromRow)]
pub struct Job {
    /// Its name.
    pub job_id: Uuid,
    /// What was done.
    pub kind: String,
    /// Who or what asked.
    pub reason: String,
    /// How it ended.
    pub state: String,
    /// What came of it.
    pub result: Option<Value>,
    /// How long its last run took.
    pub seconds: Option<f64>,
}

/// A rehearsal under way.
#[derive(Debug)]
pub struct Rehearsal {
    /// Its clock.
    pub clock: Clock,
    /// The simulated market's database.
    pub pool: PgPool,
    /// Days of the market, ascending.
    pub sessions: Vec<NaiveDate>,
    /// Every job that has ended, in the order in which they were asked for.
    pub ended: Vec<Ended>,
}

impl Rehearsal {
    /// One whose clock was put to `now`, as soon as the first answers are published and all schedules are kept.
    pub async fn begin(clock: Clock, pool: PgPool, now: DateTime<Utc>) -> Result<Self> {
        let begun = Instant::now();
        let kept = i64::try_from(kinds().len())?;
        let question = "select (select count(*) from schedules) >= $1 and exists (select from publications)";
        while !sqlx::query_scalar::<_, bool>(question).bind(kept).fetch_one(&pool).await.unwrap_or(false) {
            ensure!(begun.elapsed() < PATIENCE, "there is no first publication");
            sleep(LOOK * 10).await;
        }
        let sessions = sqlx::query_scalar("select distinct day from bars order by day").fetch_all(&pool).await?;
        let mut rehearsal = Self { clock, pool, sessions, ended: Vec::new() };
        rehearsal.wait_until_quiet(&[], now).await?;
        Ok(rehearsal)
    }

    /// Puts the clock to the moment of some slots and waits until all that came of it is done.
    pub async fn step(&mut self, slots: &[Slot]) -> Result<()> {
        let Some(at) = slots.iter().map(|slot| slot.at).max() else { return Ok(()) };
        self.clock.set(at)?;
        self.wait_until_quiet(slots, at).await
    }

    /// Waits until these slots were seen to and no job waits or runs.
    pub async fn wait_until_quiet(&mut self, slots: &[Slot], now: DateTime<Utc>) -> Result<()> {
        let begun = Instant::now();
        let kinds: Vec<&str> = slots.iter().map(|slot| slot.kind).collect();
        let instants: Vec<DateTime<Utc>> = slots.iter().map(|slot| slot.at).collect();
        loop {
            let look: (i64, i64, i64) = sqlx::query_as(
                "select (select count(*) from unnest($1::text[], $2::timestamptz[]) as due (kind, at)
                         left join schedules using (kind) where reached is null or reached < at),
                        (select count(*) from jobs where state in ('queued', 'running')),
                        (select count(*) from job_attempts where outcome <> 'succeeded')",
            )
            .bind(&kinds)
            .bind(&instants)
            .fetch_one(&self.pool)
            .await?;
            match look {
                (_, _, 1..) => bail!("a run did not succeed: {}", self.troubles().await?),
                (0, 0, _) => return self.remember(now).await,
                _ => {}
            }
            ensure!(begun.elapsed() < PATIENCE, "{now} is not over: {}", self.troubles().await?);
            sleep(LOOK).await;
        }
    }

    async fn remember(&mut self, now: DateTime<Utc>) -> Result<()> {
        let last = self.ended.last().map_or(Uuid::nil(), |ended| ended.job.job_id);
        let jobs: Vec<Job> = sqlx::query_as(
            "select job_id, kind, reason, state, result,
                    extract(epoch from finished_at - started_at)::float8 as seconds
             from jobs where job_id > $1 order by job_id",
        )
        .bind(last)
        .fetch_all(&self.pool)
        .await?;
        self.ended.extend(jobs.into_iter().map(|job| Ended { at: now, job }));
        Ok(())
    }

    async fn troubles(&self) -> Result<String> {
        let told: Vec<String> = sqlx::query_scalar(
            "select format('%s (%s) is %s after %s runs: %s', kind, coalesce(slot, 'no slot'), coalesce(outcome, state),
                    attempts, coalesce(a.error, j.error))
             from jobs j left join job_attempts a using (job_id)
             where state in ('queued', 'running', 'failed') or outcome <> 'succeeded' order by created_at",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(told.join("; "))
    }
}

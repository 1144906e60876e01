//! A quarter on three instances and two workers: every slot runs once, and all instances say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Days, NaiveDate, Utc};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sqlx::PgPool;

use crate::instances::Instances;
use crate::observer::{Observer, observe, same_answers};
use crate::postgres::{Postgres, pool};
use crate::record::{check, head, median};
use crate::rehearsal::{Clock, Rehearsal, Slot, in_new_york, slots};
use crate::report::Report;
use crate::stage::Stage;

/// The signal that tells when an instance answers with a publication.
const SYMBOL: &str = "SIM-PLANTED";
/// Questions about the past that are asked each session and again at the end.
const PAST_QUESTIONS: usize = 4;
/// Instances answer with a publication within this time.
const SOON: Duration = Duration::from_secs(1);
/// Horizons of answers.
const HORIZONS: [&str; 5] = ["1w", "4w", "13w", "26w", "52w"];

/// How long it is.
struct Length {
    sessions: usize,
    /// All processes go down after so many sessions.
    down_after: usize,
    /// Days before today on which it begins.
    days_back: u64,
    replays: usize,
    recipe: [&'static str; 4],
}

const SHORT: Length =
    Length { sessions: 6, down_after: 3, days_back: 14, replays: 2, recipe: ["--members", "0", "--scenarios", "800"] };
const FULL: Length = Length {
    sessions: 63,
    down_after: 40,
    days_back: 105,
    replays: 20,
    recipe: ["--members", "2", "--scenarios", "4000"],
};
/// Sessions for which all processes are down; the last of them is caught up with.
const DOWN: usize = 3;

/// Plays the scenario.
pub async fn run(stage: &Stage, report: &Report) -> Result<()> {
    let length = stage.pick(SHORT, FULL);
    let clock = Clock::new(&stage.folder);
    let first_day = Utc::now().date_naive() - Days::new(length.days_back);
    let begins = in_new_york(first_day, (19, 0));
    clock.set(begins)?;
    let (postgres, mut instances) = Instances::prepare(stage, &clock, &length.recipe).await?;
    instances.start().await?;
    let rehearsal = Rehearsal::begin(clock, simulated(&postgres)?, begins).await?;
    let observer = Observer::start(&rehearsal.pool, &instances.addresses, SYMBOL).await?;
    let mut quarter = Quarter {
        random: ChaCha8Rng::seed_from_u64(stage.seed),
        paths: paths(&rehearsal.pool).await?,
        rehearsal,
        instances,
        observer,
        past: BTreeMap::new(),
        passed: Vec::new(),
        missed: BTreeSet::new(),
        delays: Vec::new(),
    };
    quarter.settle().await?;
    report.say("three instances and two workers have begun together");
    quarter.play(&length, begins, report).await?;
    quarter.judge(&length, report).await?;
    quarter.instances.stop().await
}

/// The simulated market's database, which lies beside the empty one of real prices.
fn simulated(postgres: &Postgres) -> Result<PgPool> {
    pool(&postgres.url().replacen("/forecastd?", "/forecastd_simulated?", 1))
}

/// All that is asked of every instance after every step.
async fn paths(pool: &PgPool) -> Result<Vec<String>> {
    let symbols: Vec<String> =
        sqlx::query_scalar("select symbol from instruments order by symbol").fetch_all(pool).await?;
    let mut paths = vec!["/ledger/head".to_owned()];
    let more = ["/responses", "/models", "/track-record", "/instruments?limit=1000", "/ratings/calibration"];
    paths.extend(more.map(str::to_owned));
    paths.extend(symbols.iter().map(|symbol| format!("/signal/{symbol}")));
    for kind in ["signals", "ratings", "rankings", "ranks", "forecasts", "predictabilities"] {
        paths.extend(HORIZONS.map(|horizon| format!("/{kind}?limit=1000&horizon={horizon}")));
    }
    Ok(paths)
}

/// A rehearsal with several instances.
struct Quarter {
    rehearsal: Rehearsal,
    instances: Instances,
    observer: Observer,
    paths: Vec<String>,
    random: ChaCha8Rng,
    /// Questions about past days with their first answers.
    past: BTreeMap<String, Vec<u8>>,
    passed: Vec<Slot>,
    missed: BTreeSet<Slot>,
    /// Seconds from the end of the job that published to the answer, by instance.
    delays: Vec<Vec<f64>>,
}

impl Quarter {
    async fn play(&mut self, length: &Length, begins: DateTime<Utc>, report: &Report) -> Result<()> {
        let sessions = self.sessions_after(begins, length.sessions)?;
        let last = in_new_york(*sessions.last().context("no sessions")?, (23, 0));
        let down = sessions[length.down_after - 1];
        let up = in_new_york(sessions[length.down_after + DOWN - 1], (16, 45));
        let all = slots(&self.rehearsal.sessions, begins, last);
        let mut slept: Vec<Slot> = Vec::new();
        for slot in all {
            self.passed.push(slot);
            if slot.at > in_new_york(down, (23, 0)) && slot.at <= up {
                slept.push(slot);
                if slot.at == up {
                    self.sleep(&slept).await?;
                    report.say(&format!("all were down from {down} to {up} and caught up"));
                }
                continue;
            }
            self.rehearsal.step(&[slot]).await?;
            self.settle().await?;
            if slot.kind == "publish" {
                self.ask_about_past(&sessions, slot.at.date_naive()).await?;
            }
        }
        Ok(())
    }

    fn sessions_after(&self, begins: DateTime<Utc>, count: usize) -> Result<Vec<NaiveDate>> {
        let later = self.rehearsal.sessions.iter().copied().filter(|day| in_new_york(*day, (16, 45)) > begins);
        let sessions: Vec<NaiveDate> = later.take(count).collect();
        ensure!(sessions.len() == count, "the simulated market ends {} sessions too early", count - sessions.len());
        Ok(sessions)
    }

    /// Waits until all instances answer with the newest publication, and compares all their answers.
    async fn settle(&mut self) -> Result<()> {
        self.observer.wait_for(head(&self.rehearsal.pool).await?).await?;
        same_answers(&self.instances.addresses, &self.paths).await?;
        Ok(())
    }

    /// All processes are down while time passes.
    async fn sleep(&mut self, slept: &[Slot]) -> Result<()> {
        let up = slept.last().context("nothing was missed")?.at;
        self.note_delays().await?;
        self.observer.end();
        self.instances.stop().await?;
        self.rehearsal.clock.set(up)?;
        self.instances.start().await?;
        self.rehearsal.wait_until_quiet(slept, up).await?;
        let newest: BTreeMap<&str, Slot> = slept.iter().map(|slot| (slot.kind, *slot)).collect();
        self.missed.extend(slept.iter().filter(|slot| newest.get(slot.kind) != Some(slot)));
        let (pool, addresses) = (&self.rehearsal.pool, &self.instances.addresses);
        observe(pool, addresses, &format!("/signal/{SYMBOL}"), head(pool).await?).await?;
        self.observer = Observer::start(pool, addresses, SYMBOL).await?;
        same_answers(addresses, &self.paths).await?;
        self.compare_past().await
    }

    /// Asks all instances about some past days; whoever answered before must have said the same.
    async fn ask_about_past(&mut self, sessions: &[NaiveDate], today: NaiveDate) -> Result<()> {
        let over: Vec<NaiveDate> = sessions.iter().copied().filter(|day| *day < today).collect();
        let Some(yesterday) = over.last() else { return Ok(()) };
        let mut questions = vec![format!("/signals?limit=1000&as_of={yesterday}")];
        for _ in 0..PAST_QUESTIONS {
            let day = over[self.random.random_range(0..over.len())];
            let kind = ["signals", "ratings", "rankings", "ranks", "forecasts"][self.random.random_range(0..5)];
            let horizon = HORIZONS[self.random.random_range(0..5)];
            questions.push(format!("/{kind}?limit=1000&horizon={horizon}&as_of={day}"));
        }
        for (path, body) in same_answers(&self.instances.addresses, &questions).await? {
            let before = self.past.entry(path.clone()).or_insert_with(|| body.clone());
            ensure!(*before == body, "{path} was answered otherwise before");
        }
        Ok(())
    }

    /// Asks every question about the past again.
    async fn compare_past(&self) -> Result<()> {
        let questions: Vec<String> = self.past.keys().cloned().collect();
        let answers = same_answers(&self.instances.addresses, &questions).await?;
        let other: Vec<&String> = questions.iter().filter(|path| answers.get(*path) != self.past.get(*path)).collect();
        ensure!(other.is_empty(), "the past is answered otherwise than before: {other:?}");
        Ok(())
    }

    /// How long each instance took from the end of the job that published to its answer.
    async fn note_delays(&mut self) -> Result<()> {
        for seen in self.observer.seen() {
            let ended: DateTime<Utc> = sqlx::query_scalar(
                "select finished_at from jobs where kind = 'publish' and (result -> 'head' ->> 'sequence')::bigint = $1",
            )
            .bind(seen.head)
            .fetch_one(&self.rehearsal.pool)
            .await?;
            let seconds = |at: &DateTime<Utc>| (*at - ended).as_seconds_f64();
            self.delays.push(seen.answered.iter().map(seconds).collect());
        }
        Ok(())
    }

    async fn judge(&mut self, length: &Length, report: &Report) -> Result<()> {
        self.note_delays().await?;
        let record = check(&self.rehearsal, &self.passed, &self.missed).await;
        let detail =
            format!("{} slots, of which {} were missed while all were down", self.passed.len(), self.missed.len());
        report.check("each slot ran once", record.is_ok(), record.err().map_or(detail, |error| error.to_string()));
        self.judge_delays(length, report);
        self.compare_past().await?;
        report.measure("answers of past days, the same on all instances and after a restart", self.past.len());
        report.measure("answers compared on all instances at each step", self.paths.len());
        let verified = self.instances.home.run(&["verify"]).await?;
        report.check("verify", verified.status.success(), verified.output.lines().next().unwrap_or_default());
        let last = head(&self.rehearsal.pool).await?;
        for _ in 0..length.replays {
            let sequence = self.random.random_range(1..=last).to_string();
            let replayed = self.instances.home.run(&["replay", &sequence]).await?;
            if !replayed.status.success() {
                bail!("entry {sequence} is replayed with other bytes: {} {}", replayed.output, replayed.errors);
            }
        }
        report.measure("entries replayed to the same bytes", length.replays);
        report.measure("entries of the ledger", last);
        Ok(())
    }

    fn judge_delays(&self, length: &Length, report: &Report) {
        let of = |delays: &[Vec<f64>]| median(&mut delays.iter().flatten().copied().collect::<Vec<f64>>()) * 1e3;
        let most = self.delays.iter().flatten().copied().fold(0.0, f64::max);
        let some = self.delays.len().div_ceil(4);
        let detail = format!(
            "{} publications, from commit to the answer of an instance median {:.0} ms (first quarter of them {:.0} ms, last {:.0} ms), most {:.0} ms",
            self.delays.len(),
            of(&self.delays),
            of(&self.delays[..some]),
            of(&self.delays[self.delays.len() - some..]),
            most * 1e3
        );
        // A machine that is busy with other tests keeps no times.
        let asserted = length.sessions == FULL.sessions;
        report.check("all instances answer within a second", !asserted || most < SOON.as_secs_f64(), detail);
    }
}

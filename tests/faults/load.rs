//! Clients that go on all the time: one that posts prices until they are acknowledged, and some that read.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::http::Client;
use crate::market;

/// A request that takes longer is given up by these clients.
const PATIENCE: Duration = Duration::from_secs(60);

/// A row that the service said it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledged {
    /// Symbol.
    pub symbol: String,
    /// Session, as text.
    pub day: String,
    /// Close, to the last bit.
    pub close: f64,
}

/// How a request went.
#[derive(Debug, Clone)]
pub struct Trial {
    /// When it began.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Its status; `None` where there was no answer.
    pub status: Option<u16>,
    /// Whether it says when to come again.
    pub retry_after: bool,
    /// What went wrong, where something did.
    pub said: String,
}

/// A client in the background; it ends when it is dropped.
#[derive(Debug)]
pub struct Background {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    trials: Arc<Mutex<Vec<Trial>>>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
}

/// What was seen of some requests.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Requests.
    pub count: usize,
    /// Those that were answered otherwise than with 200, or not at all.
    pub failures: Vec<String>,
    /// Time that half of them stayed below.
    pub median: Duration,
    /// Time that 99 of 100 stayed below.
    pub p99: Duration,
    /// The longest time.
    pub longest: Duration,
}

impl Background {
    fn new() -> Self {
        Self { stop: Arc::default(), tasks: Vec::new(), trials: Arc::default(), acknowledged: Arc::default() }
    }

    /// Posts rows, each until it is acknowledged: closes of known sessions, each a little different from all before.
    pub fn write(address: SocketAddr, key: &str, pause: Duration) -> Self {
        let mut background = Self::new();
        let (stop, trials, acknowledged) =
            (Arc::clone(&background.stop), Arc::clone(&background.trials), Arc::clone(&background.acknowledged));
        let mut client = Client::new(address).with_key(key).with_patience(PATIENCE);
        background.tasks.push(tokio::spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let rows = rows(number);
                let list: Vec<_> =
                    rows.iter().map(|r| json!({ "symbol": r.symbol, "day": r.day, "close": r.close })).collect();
                let body = json!({ "source": "faults", "rows": list }).to_string();
                let trial = attempt(&mut client, "POST", "/prices", Some(&body)).await;
                if trial.status == Some(200) {
                    lock(&acknowledged).extend(rows);
                    number += 1;
                }
                let failed = trial.status != Some(200);
                lock(&trials).push(trial);
                sleep(if failed { Duration::from_millis(50) } else { pause }).await;
            }
        }));
        background
    }

    /// Reads paths in turn, over several connections.
    pub fn read(address: SocketAddr, connections: usize, pause: Duration, paths: &[&str]) -> Self {
        let mut background = Self::new();
        for first in 0..connections {
            let (stop, trials) = (Arc::clone(&background.stop), Arc::clone(&background.trials));
            let mut client = Client::new(address).with_patience(PATIENCE);
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            background.tasks.push(tokio::spawn(async move {
                let mut turn = first;
                while !stop.load(Ordering::Relaxed) {
                    let trial = attempt(&mut client, "GET", &paths[turn % paths.len()], None).await;
                    lock(&trials).push(trial);
                    turn += 1;
                    sleep(pause).await;
                }
            }));
        }
        background
    }

    /// What was seen of the requests that began in a span of time.
    pub fn between(&self, from: Instant, until: Instant) -> Seen {
        seen(lock(&self.trials).iter().filter(|trial| trial.at >= from && trial.at < until))
    }

    /// What was seen since a moment.
    pub fn since(&self, from: Instant) -> Seen {
        self.between(from, Instant::now())
    }

    /// The requests that began in a span of time.
    pub fn trials(&self, from: Instant, until: Instant) -> Vec<Trial> {
        lock(&self.trials).iter().filter(|trial| trial.at >= from && trial.at < until).cloned().collect()
    }

    /// What was acknowledged so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        lock(&self.acknowledged).clone()
    }

    /// Waits until something that begins from now on is answered with 200; tells how long that took.
    pub async fn wait_for_success(&self, patience: Duration) -> Result<Duration> {
        let begun = Instant::now();
        let ended = |trial: &Trial| trial.at >= begun && trial.status == Some(200);
        while !lock(&self.trials).iter().rev().take(50).any(ended) {
            anyhow::ensure!(begun.elapsed() < patience, "nothing succeeded within {patience:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(begun.elapsed())
    }

    /// Ends after the requests under way.
    pub async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The rows of a post: of one session, some instruments.
fn rows(number: usize) -> Vec<Acknowledged> {
    let sessions = market::newest_sessions();
    let at = number % sessions.len();
    let of = |instrument: usize| {
        let closes = market::closes(instrument, market::DAYS);
        let close = closes[market::DAYS - sessions.len() + at] * (1.0 + number as f64 * 1e-7);
        Acknowledged { symbol: market::symbol(instrument), day: sessions[at].to_string(), close }
    };
    let first = number % market::INSTRUMENTS;
    (0..3).map(|more| of((first + more) % market::INSTRUMENTS)).collect()
}

async fn attempt(client: &mut Client, method: &str, path: &str, body: Option<&str>) -> Trial {
    let at = Instant::now();
    let outcome = client.send(method, path, &[], body).await;
    let took = at.elapsed();
    match outcome {
        Ok(answer) => Trial {
            at,
            took,
            status: Some(answer.status),
            retry_after: answer.header("retry-after").is_some(),
            said: if answer.status == 200 { String::new() } else { format!("{path}: {}", answer.text()) },
        },
        Err(error) => Trial { at, took, status: None, retry_after: false, said: format!("{path}: {error:#}") },
    }
}

/// Sums up requests.
pub fn seen<'a>(trials: impl Iterator<Item = &'a Trial>) -> Seen {
    let mut times = Vec::new();
    let mut failures = Vec::new();
    for trial in trials {
        times.push(trial.took);
        if trial.status != Some(200) {
            let status = trial.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            failures.push(format!("{status}: {}", trial.said));
        }
    }
    times.sort_unstable();
    let at =
        |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or_default();
    Seen { count: times.len(), failures, median: at(0.5), p99: at(0.99), longest: at(1.0) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A time in milliseconds, for people.
pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// A time in seconds, for people.
pub fn s(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

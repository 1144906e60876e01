//! Several instances and workers on one Postgres, all by the same rehearsed clock.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use crate::postgres::Postgres;
use crate::process::{Home, Process, free_address};
use crate::rehearsal::{Clock, schedule_options};
use crate::stage::Stage;

/// How long a process may take to begin and to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Instances that serve; the last one leaves jobs to others.
pub const INSTANCES: usize = 3;
/// Processes that only work.
const WORKERS: usize = 2;

/// All processes of a rehearsed service.
#[derive(Debug)]
pub struct Instances {
    /// Where the instances answer.
    pub addresses: Vec<SocketAddr>,
    /// What the commands need.
    pub home: Home,
    options: Vec<String>,
    logs: PathBuf,
    running: Vec<Process>,
    starts: usize,
}

impl Instances {
    /// A Postgres of its own with an empty store, and the processes that will use it.
    pub async fn prepare(stage: &Stage, clock: &Clock, recipe: &[&str]) -> Result<(Postgres, Self)> {
        let data_dir = stage.folder.join("data");
        let embedded = Home { data_dir: data_dir.clone(), url: None };
        embedded.done(&["keys", "create", "--scope", "operate", "--name", "rehearsal"]).await?;
        let mut postgres = Postgres::prepared(&data_dir, &stage.folder)?;
        postgres.options.push("max_connections=200".into());
        if !stage.full {
            postgres.options.push("fsync=off".into());
        }
        postgres.start_again().await?;
        let mut options = vec!["--clock-file".to_owned(), clock.file()];
        options.extend(recipe.iter().map(|&word| word.to_owned()));
        let instances = Self {
            addresses: (0..INSTANCES).map(|_| free_address()).collect::<Result<_>>()?,
            home: Home { data_dir, url: Some(postgres.url()) },
            options,
            logs: stage.folder.clone(),
            running: Vec::new(),
            starts: 0,
        };
        Ok((postgres, instances))
    }

    /// Starts all of them at once and waits until every instance has answers.
    pub async fn start(&mut self) -> Result<()> {
        self.starts += 1;
        let schedule = schedule_options();
        for (number, address) in self.addresses.iter().enumerate() {
            let listen = address.to_string();
            let no_work = (number + 1 == INSTANCES).then_some("--no-work");
            let words = ["serve", "--listen", &listen, "--metrics-listen", "none"].into_iter().chain(no_work);
            let words = words.chain(self.options.iter().chain(&schedule).map(String::as_str));
            let name = format!("serve-{number}-{}", self.starts);
            self.running.push(Process::start(&name, self.home.command(words), &self.logs)?);
        }
        for number in 0..WORKERS {
            let words = ["work"].into_iter().chain(self.options.iter().map(String::as_str));
            let name = format!("work-{number}-{}", self.starts);
            self.running.push(Process::start(&name, self.home.command(words), &self.logs)?);
        }
        for (process, address) in self.running.iter_mut().zip(&self.addresses) {
            process.wait_for(*address, "/signals").await?;
            wait_for_greeting(process).await?;
        }
        Ok(())
    }

    /// Ends all of them as an operator does.
    pub async fn stop(&mut self) -> Result<()> {
        for mut process in self.running.drain(..) {
            let (status, took) = process.stop(PATIENCE).await?;
            ensure!(status.success(), "a process ended with {status} after {took:?}: {}", process.messages());
        }
        Ok(())
    }
}

/// An instance greets when it has asked for all that its start needs.
pub async fn wait_for_greeting(process: &mut Process) -> Result<()> {
    let begun = Instant::now();
    while !process.messages().contains("ledger head:") {
        ensure!(process.is_alive(), "an instance ended instead of serving: {}", process.messages());
        ensure!(begun.elapsed() < PATIENCE, "an instance does not greet");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

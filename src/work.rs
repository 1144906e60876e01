//! `forecastd work`: works on jobs until it is told to stop; any number of processes on any machine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use crate::cli::operation::{WorkArgs, WorkConfig};
use crate::config::{RecipeConfig, Secret};
use crate::jobs::child::ChildSettings;
use crate::jobs::worker::{self, WorkerSettings};
use crate::serve::stop_signal;
use crate::store::open::{Server, Store, StoreOptions};
use crate::store::pool;
use crate::store::signing::HeadSigner;

/// Connections of the queue beside one a job: one that listens, and some for looking around.
const QUEUE_CONNECTIONS: u32 = 4;

/// How long work under way, and the store, may take to end after a stop was asked for.
const END: Duration = Duration::from_secs(8);

/// Where a process keeps what is not in the store.
#[derive(Debug, Clone)]
pub struct Place {
    /// Folder of the signing key.
    pub data_dir: PathBuf,
    /// File of the signing key, if one was named.
    pub signing_key: Option<PathBuf>,
    /// Where a rehearsed time is written, if time is rehearsed.
    pub clock_file: Option<PathBuf>,
}

/// Works until SIGINT or SIGTERM.
///
/// # Errors
/// When the store cannot be opened.
pub async fn work(options: StoreOptions, config: &WorkArgs, clock_file: Option<PathBuf>) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let place = Place { data_dir: options.data_dir.clone(), signing_key: options.signing_key.clone(), clock_file };
    let server = Server::start(options, true).await?;
    let store = server.current().await?;
    // A worker with another key is told so now, and not by its first publication.
    HeadSigner::for_ledger(&store.pool, &server.key_file()).await?;
    let settings = settings(&store, &config.work, &config.recipe, place)?;
    let queue = pool::connect(&store.url, connections(&config.work)).await?;
    let kind = if store.simulated { "the simulated market" } else { "real data" };
    println!("forecastd works on jobs of {kind}, {} at once", config.work.jobs_at_once);
    let working = async {
        worker::work(queue.clone(), settings, stop.clone()).await;
        queue.close().await;
        store.pool.close().await;
    };
    end_by(working, stop.clone()).await;
    server.stop().await?;
    Ok(())
}

/// Waits for work that ends when a stop is asked for, and a while after that for no more: a store that never answers could
/// keep it for ever.
pub async fn end_by(work: impl Future<Output = ()>, mut stop: watch::Receiver<bool>) {
    let too_late = async {
        let _ = stop.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(END).await;
    };
    tokio::select! {
        () = work => {}
        () = too_late => tracing::warn!("the store does not answer, so what was under way was cut off"),
    }
}

/// Connections that the queue needs.
#[must_use]
pub fn connections(config: &WorkConfig) -> u32 {
    u32::try_from(config.jobs_at_once.get()).unwrap_or(u32::MAX).saturating_add(QUEUE_CONNECTIONS)
}

/// How the jobs of a store are worked on.
///
/// # Errors
/// When the data folder has no absolute path.
pub fn settings(
    store: &Store,
    config: &WorkConfig,
    recipe: &RecipeConfig,
    place: Place,
) -> anyhow::Result<WorkerSettings> {
    let data_dir = std::path::absolute(&place.data_dir).context("the data folder cannot be named")?;
    Ok(WorkerSettings {
        jobs_at_once: config.jobs_at_once,
        lease: Duration::from_secs(config.lease),
        child: ChildSettings {
            url: Secret::new(store.url.clone()),
            simulated: store.simulated,
            data_dir,
            signing_key: place.signing_key,
            recipe: recipe.clone(),
            drift: config.drift,
            time_limit: config.time_limit(),
            memory_limit: config.job_memory.map(|mebibytes| mebibytes << 20),
            clock_file: place.clock_file,
        },
    })
}

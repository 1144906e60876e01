//! `forecastd serve`: brings the store up to date, publishes what is due, and answers until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::http::HeaderValue;
use sqlx::postgres::PgListener;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api::board::Board;
use crate::api::metrics::{self, Metrics};
use crate::api::router::router;
use crate::api::snapshot::{PublishedEntry, Snapshot};
use crate::api::state::{AppState, Settings};
use crate::cli::serve::ServeConfig;
use crate::clock;
use crate::config::RecipeConfig;
use crate::jobs::train::CODE_VERSION;
use crate::jobs::{import, scheduler, simulate, worker};
use crate::market::instrument::Symbol;
use crate::market::simulation::PLANTED_SYMBOL;
use crate::opinion::envelope::Kind;
use crate::store::arguments::{JobArguments, PublishArguments, TrainArguments};
use crate::store::ledger::LedgerRow;
use crate::store::open::{Server, Store, StoreOptions};
use crate::store::queue as queue_store;
use crate::store::signing::HeadSigner;
use crate::store::{StoreError, asking, instruments, jobs, ledger, models, pool};
use crate::work::{self, Place};

/// How long open requests may finish after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// How long connections to a store may take to end; one that never answers would keep them for ever.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often the ledger is looked at in case an announcement was lost.
const POLL: Duration = Duration::from_secs(30);
/// Rest before an embedded store that does not start, as on a full disk, is started again.
const RESTART_REST: Duration = Duration::from_secs(5);

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// When the store cannot be opened, nothing can be published, or the address cannot be bound.
pub async fn serve(options: StoreOptions, config: &ServeConfig, clock_file: Option<PathBuf>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.listen).await;
    let listener =
        listener.with_context(|| format!("{} cannot be bound; choose another with --listen", config.listen))?;
    let mut stop = stop_signal()?;
    let (data_dir, signing_key) = (options.data_dir.clone(), options.signing_key.clone());
    let mut server = Server::start(options, false).await?;
    let store = open_store(&server, config).await?;
    let board = Arc::new(Board::default());
    let address = listener.local_addr()?;
    let metrics_listener = metrics::bind(config.metrics_listen.0).await;
    let http = tokio::spawn(answer(listener, app_state(&store, &board, config)?, stop.clone()));
    if !config.no_work {
        // Made here, if it is missing, and not by two jobs at once.
        HeadSigner::for_ledger(&store.pool, &server.key_file()).await?;
    }
    // What was published before is served at once; imports and trainings that are due may take minutes.
    refresh(&store, &board).await?;
    let outcome = tokio::select! {
        outcome = import_files(&store, config) => outcome,
        _ = stop.changed() => Ok(()),
    };
    let outcome = match outcome {
        Ok(()) if !*stop.borrow() => {
            let queue = pool::connect(&store.url, work::connections(&config.work)).await?;
            let mut roles = JoinSet::new();
            if server.is_own() {
                queue_store::take_back(&queue).await?;
            }
            if !config.no_work {
                let place = Place { data_dir, clock_file, signing_key };
                let settings = work::settings(&store, &config.work, &config.recipe, place)?;
                roles.spawn(worker::work(queue.clone(), settings, stop.clone()));
            }
            let due = scheduler::scheduled(&config.schedule);
            roles.spawn(scheduler::keep_schedule(queue.clone(), due, stop.clone()));
            if let Some(listener) = metrics_listener {
                let metrics = Arc::new(Metrics::new(store.pool.clone(), Arc::clone(&board)));
                roles.spawn(show_metrics(listener, metrics, stop.clone()));
            }
            let asked = ask_for_first_answers(&store, &config.recipe).await?;
            roles.spawn(greet(store.clone(), Arc::clone(&board), address, asked, stop.clone()));
            let outcome = watch_store(&mut server, &store, &board, stop.clone()).await;
            let ended = async {
                while roles.join_next().await.is_some() {}
                queue.close().await;
            };
            work::end_by(ended, stop.clone()).await;
            outcome
        }
        other => other,
    };
    board.close();
    if outcome.is_err() {
        http.abort();
    } else if tokio::time::timeout(DRAIN, http).await.is_err() {
        tracing::warn!("some requests were still open after {} s and were cut off", DRAIN.as_secs());
    }
    if tokio::time::timeout(FAREWELL, store.pool.close()).await.is_err() {
        tracing::warn!("the store does not answer, so its connections were cut off");
    }
    server.stop().await?;
    outcome
}

async fn import_files(store: &Store, config: &ServeConfig) -> anyhow::Result<()> {
    if config.import.is_empty() {
        return Ok(());
    }
    let report = import::import(&store.pool, &config.import).await?;
    anyhow::ensure!(report.files > 0, "no file could be imported; the reasons are above");
    Ok(())
}

async fn show_metrics(listener: TcpListener, metrics: Arc<Metrics>, stop: watch::Receiver<bool>) {
    if let Err(error) = metrics::serve_metrics(listener, metrics, stop).await {
        tracing::warn!("the metrics are shown no more: {error}");
    }
}

/// Asks for what a first or an updated installation needs: a model of this version (the benchmarks, within seconds), a
/// publication of what came in, and the network with its walk through the past where the model in force has none.
async fn ask_for_first_answers(store: &Store, recipe: &RecipeConfig) -> anyhow::Result<Option<Uuid>> {
    let mut transaction = store.pool.begin().await?;
    let train = |walk: bool| JobArguments::Train(TrainArguments { walk });
    let mut first = None;
    if is_training_due(store).await? {
        first = Some(asking::ask_unless_queued(&mut transaction, &train(false).new_job(None, "start")).await?);
    } else {
        let publish = JobArguments::Publish(PublishArguments::default());
        asking::ask_unless_queued(&mut transaction, &publish.new_job(None, "start")).await?;
    }
    if recipe.members > 0 && lacks_network(store).await? {
        let mut walk = train(true).new_job(None, "the network has no record yet");
        walk.priority += 1;
        asking::ask_unless_queued(&mut transaction, &walk).await?;
    }
    transaction.commit().await?;
    Ok(first)
}

/// Whether there is no model, or only one of another version.
async fn is_training_due(store: &Store) -> anyhow::Result<bool> {
    let Some(model_id) = models::newest(&store.pool, CODE_VERSION).await? else { return Ok(true) };
    let model = models::find(&store.pool, &model_id).await?;
    Ok(model.is_none_or(|model| model.code_version != CODE_VERSION))
}

async fn lacks_network(store: &Store) -> anyhow::Result<bool> {
    let Some(model_id) = models::newest(&store.pool, CODE_VERSION).await? else { return Ok(true) };
    let Some(model) = models::find(&store.pool, &model_id).await? else { return Ok(true) };
    if models::was_kept_back(&store.pool, &model.data_hash, &model.code_version).await? {
        tracing::info!("a network on these rows was kept back by its canaries (/models says why), so none is trained");
        return Ok(false);
    }
    // A history that is still too short gives the same model again within a second.
    Ok(!model.scores["without_network"].is_null())
}

async fn open_store(server: &Server, config: &ServeConfig) -> anyhow::Result<Store> {
    if !config.import.is_empty() {
        return Ok(server.real().await?);
    }
    let store = server.current().await?;
    if store.simulated && !instruments::any(&store.pool).await? {
        let market = simulate::market(config.recipe.seed);
        simulate::record_first(&store, &market).await?;
        tracing::info!("simulated a market of {} instruments; its answers say \"simulated\": true", market.rows.len());
    }
    Ok(store)
}

fn app_state(store: &Store, board: &Arc<Board>, config: &ServeConfig) -> anyhow::Result<AppState> {
    let origin = |text: &String| HeaderValue::from_str(text).with_context(|| format!("{text:?} is no origin"));
    let settings = Settings {
        simulated: store.simulated,
        private: config.private,
        cors_origins: config.cors_origins.iter().map(origin).collect::<anyhow::Result<_>>()?,
        max_concurrency: config.max_concurrency,
        max_waiters: config.max_waiters,
        ..Settings::default()
    };
    Ok(AppState::new(store.pool.clone(), Arc::clone(board), settings))
}

async fn answer(listener: TcpListener, state: AppState, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let app = router(state).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stop.wait_for(|stopped| *stopped).await;
        })
        .await
}

/// Hangs the newest answers of the ledger.
async fn refresh(store: &Store, board: &Board) -> Result<(), StoreError> {
    let entries = ledger::newest(&store.pool, i64::MAX).await?;
    // A kind that a later version writes must not keep this one from serving the others.
    let known = |entry: &LedgerRow| entry.kind.parse::<Kind>().is_ok();
    let (entries, unknown): (Vec<LedgerRow>, Vec<LedgerRow>) = entries.into_iter().partition(known);
    if let Some(other) = unknown.first() {
        tracing::warn!("{} answers of kinds such as {:?} are left to a later version", unknown.len(), other.kind);
    }
    let published: Result<Vec<PublishedEntry>, StoreError> =
        entries.into_iter().map(PublishedEntry::try_from).collect();
    board.publish(Snapshot::build(published?, clock::now()));
    Ok(())
}

/// Follows announcements of publications, and the ledger itself in case one was lost, until a stop is asked for.
async fn watch_store(
    server: &mut Server,
    store: &Store,
    board: &Arc<Board>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let fresh = tokio::spawn({
        let board = Arc::clone(board);
        async move { board.keep_fresh().await }
    });
    let mut listener = PgListener::connect_with(&store.pool).await?;
    listener.listen(pool::CHANNEL).await?;
    refresh_if_newer(store, board).await?;
    while !*stop.borrow() {
        tokio::select! {
            _ = stop.changed() => continue,
            error = server.ended() => {
                tracing::error!("the store stopped by itself and is started again: {error}");
                tokio::select! {
                    _ = stop.changed() => continue,
                    started = server.restart() => if let Err(error) = started {
                        tracing::error!("the store does not start again; what was published is served, and it is tried again: {error}");
                        let _ = tokio::time::timeout(RESTART_REST, stop.changed()).await;
                        continue;
                    }
                }
            }
            _ = listener.recv() => {}
            () = tokio::time::sleep(POLL) => {}
        }
        let refreshed = tokio::select! {
            _ = stop.changed() => continue,
            refreshed = tokio::time::timeout(POLL, refresh_if_newer(store, board)) => refreshed,
        };
        match refreshed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!("the answers could not be refreshed and stay as they are: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(_) => tracing::warn!("the store does not answer; the answers stay as they are"),
        }
    }
    fresh.abort();
    Ok(())
}

async fn refresh_if_newer(store: &Store, board: &Board) -> Result<(), StoreError> {
    let head = ledger::head(&store.pool).await?.map_or(0, |h| h.sequence);
    if head > board.load().sequence() {
        refresh(store, board).await?;
        tracing::info!("serving the ledger up to entry {head}");
    }
    Ok(())
}

/// Tells what is served as soon as there is something, or why there is nothing.
async fn greet(
    store: Store,
    board: Arc<Board>,
    address: SocketAddr,
    first: Option<Uuid>,
    mut stop: watch::Receiver<bool>,
) {
    let mut swapped = board.subscribe();
    let mut told = false;
    while board.load().sequence() == 0 {
        tokio::select! {
            _ = swapped.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = stop.wait_for(|stopped| *stopped) => return,
        }
        let Some(job_id) = first.filter(|_| !told) else { continue };
        if let Ok(Some(job)) = jobs::find(&store.pool, job_id).await
            && job.state == "failed"
        {
            let why = job.error.unwrap_or_default();
            tracing::error!(
                "there are no answers, because the training failed: {why}; mend it and restart, or `forecastd train`"
            );
            told = true;
        }
    }
    if let Err(error) = introduce(&store, &board, address).await {
        tracing::debug!("the greeting has no example: {error}");
    }
}

async fn introduce(store: &Store, board: &Board, address: SocketAddr) -> Result<(), StoreError> {
    let symbols = instruments::symbols(&store.pool).await?;
    let favourite = if store.simulated { PLANTED_SYMBOL } else { "BABA" };
    let symbol = symbols.iter().find(|s| s.as_str() == favourite).or(symbols.first());
    let symbol = symbol.map_or(favourite, Symbol::as_str);
    let kind = if store.simulated { "simulated instruments" } else { "instruments" };
    println!("forecastd {} serves {} {kind} at http://{address}", CODE_VERSION, symbols.len());
    println!("ledger head: {}\ntry:", board.load().sequence());
    println!("  curl http://{address}/signal/{symbol}");
    println!("  curl http://{address}/rating/{symbol}");
    println!("  curl 'http://{address}/ranks?horizon=4w'");
    Ok(())
}

/// Turns true at SIGINT or SIGTERM.
///
/// # Errors
/// When the system does not let us hear them.
pub fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        tracing::info!("stopping");
        sender.send_replace(true);
        // The sender stays alive as long as anybody listens, so that a closed channel never means a stop.
        sender.closed().await;
    });
    Ok(receiver)
}

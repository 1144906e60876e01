//! `forecastd serve`: brings the store up to date, publishes what is due, and answers until it is told to stop.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::http::HeaderValue;
use sqlx::postgres::PgListener;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::api::board::Board;
use crate::api::router::router;
use crate::api::snapshot::{PublishedEntry, Snapshot};
use crate::api::state::{AppState, Settings};
use crate::clock;
use crate::config::{RecipeConfig, ServeConfig};
use crate::jobs::train::{CODE_VERSION, Past};
use crate::jobs::{import, publish, simulate};
use crate::market::instrument::Symbol;
use crate::market::simulation::PLANTED_SYMBOL;
use crate::opinion::envelope::Kind;
use crate::store::ledger::LedgerRow;
use crate::store::open::{Server, Store, StoreOptions};
use crate::store::signing::{HeadSigner, KeyFile};
use crate::store::{StoreError, instruments, ledger, models, pool};

/// How long open requests may finish after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// How often the ledger is looked at in case an announcement was lost.
const POLL: Duration = Duration::from_secs(30);

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// When the store cannot be opened, nothing can be published, or the address cannot be bound.
pub async fn serve(options: StoreOptions, config: &ServeConfig) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.listen).await;
    let listener =
        listener.with_context(|| format!("{} cannot be bound; choose another with --listen", config.listen))?;
    let mut stop = stop_signal()?;
    let mut server = Server::start(options, false).await?;
    let store = open_store(&server, config).await?;
    let board = Arc::new(Board::default());
    let address = listener.local_addr()?;
    let http = tokio::spawn(answer(listener, app_state(&store, &board, config)?, stop.clone()));
    let signer = HeadSigner::for_ledger(&store.pool, &server.key_file()).await?;
    // What was published before is served at once; imports and trainings that are due may take minutes.
    refresh(&store, &board).await?;
    let prepared = tokio::select! {
        outcome = prepare(&server, &store, config, &signer) => outcome,
        _ = stop.changed() => Ok(()),
    };
    let outcome = match prepared {
        Ok(()) if !*stop.borrow() => {
            refresh(&store, &board).await?;
            greet(&store, &board, address).await?;
            let walk = tokio::spawn(walk_past(
                server.url().to_owned(),
                store.clone(),
                config.recipe.clone(),
                server.key_file(),
            ));
            let outcome = watch_store(&mut server, &store, &board, stop).await;
            walk.abort();
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
    store.pool.close().await;
    server.stop().await?;
    outcome
}

/// Imports, trains and publishes what is due.
async fn prepare(server: &Server, store: &Store, config: &ServeConfig, signer: &HeadSigner) -> anyhow::Result<()> {
    if !config.import.is_empty() {
        let report = import::import(&store.pool, &config.import).await?;
        anyhow::ensure!(report.files > 0, "no file could be imported; the reasons are above");
    }
    if is_training_due(store).await? {
        train_in_child(server.url(), store, &config.recipe, Past::Kept).await?;
    }
    if let Some(done) = publish::publish(store, signer, false).await? {
        tracing::info!("published {} answers as of {}", done.entries, done.as_of);
    }
    Ok(())
}

/// Whether there is no model, or only one of another version.
async fn is_training_due(store: &Store) -> anyhow::Result<bool> {
    let Some(model_id) = models::newest(&store.pool, CODE_VERSION).await? else { return Ok(true) };
    let model = models::find(&store.pool, &model_id).await?;
    Ok(model.is_none_or(|model| model.code_version != CODE_VERSION))
}

/// Gives the network its record: where the model in force has none, walks through the past while the benchmarks are
/// served, trains, and publishes what came of it.
async fn walk_past(url: String, store: Store, recipe: RecipeConfig, key: KeyFile) {
    let walk = async {
        if recipe.members == 0 || !lacks_network(&store).await? {
            return anyhow::Ok(());
        }
        tracing::info!("walking through the past to give the network its record; the benchmarks are served meanwhile");
        train_in_child(&url, &store, &recipe, Past::Walked).await?;
        let signer = HeadSigner::for_ledger(&store.pool, &key).await?;
        if let Some(done) = publish::publish(&store, &signer, false).await? {
            tracing::info!("published {} answers as of {} from the new model", done.entries, done.as_of);
        }
        Ok(())
    };
    if let Err(error) = walk.await {
        tracing::warn!(
            "the benchmarks stay in force: {error:#}; what was walked is kept, `forecastd train --walk` goes on"
        );
    }
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
        simulate::record(&store, &market).await?;
        tracing::info!("simulated a market of {} instruments; its answers say \"simulated\": true", market.rows.len());
    }
    Ok(store)
}

/// Trains in a child process of the same program at low priority: its death leaves serving up.
async fn train_in_child(url: &str, store: &Store, recipe: &RecipeConfig, past: Past) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("train").arg("--low-priority").env("DATABASE_URL", url).stdout(Stdio::null()).kill_on_drop(true);
    if store.simulated {
        command.arg("--simulated");
    }
    if past == Past::Walked {
        command.arg("--walk");
    }
    let numbers = [
        ("--members", recipe.members.to_string()),
        ("--threads", recipe.threads.to_string()),
        ("--epochs", recipe.epochs.to_string()),
        ("--sharing", recipe.sharing.as_str().to_owned()),
        ("--weighting", recipe.weighting.as_str().to_owned()),
        ("--device", recipe.device.as_str().to_owned()),
        ("--scenarios", recipe.scenarios.to_string()),
        ("--seed", recipe.seed.to_string()),
        ("--equity-premium", recipe.equity_premium.to_string()),
        ("--cost", recipe.cost.to_string()),
        ("--impact", recipe.impact.to_string()),
        ("--precision", recipe.precision.to_string()),
        ("--dominance-threshold", recipe.dominance_threshold.to_string()),
        ("--discount", recipe.discount.to_string()),
        ("--prior-weeks", recipe.prior_weeks.to_string()),
        ("--policy-temperature", recipe.policy_temperature.to_string()),
    ];
    for (name, value) in numbers {
        command.arg(name).arg(value);
    }
    command.arg("--stop-with-parent").stdin(Stdio::piped());
    let mut child = command.spawn().context("the training process cannot be started")?;
    // Held open as long as we live: its end tells the child that nobody waits for the model any more.
    let lifeline = child.stdin.take();
    let status = child.wait().await?;
    drop(lifeline);
    anyhow::ensure!(status.success(), "the training process failed ({status}); its message is above");
    Ok(())
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
    let outcome = loop {
        tokio::select! {
            _ = stop.changed() => break Ok(()),
            error = server.ended() => break Err(anyhow::Error::from(error).context("the store stopped by itself")),
            _ = listener.recv() => {}
            () = tokio::time::sleep(POLL) => {}
        }
        if let Err(error) = refresh_if_newer(store, board).await {
            tracing::warn!("the answers could not be refreshed and stay as they are: {error}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    fresh.abort();
    outcome
}

async fn refresh_if_newer(store: &Store, board: &Board) -> Result<(), StoreError> {
    let head = ledger::head(&store.pool).await?.map_or(0, |h| h.sequence);
    if head > board.load().sequence() {
        refresh(store, board).await?;
        tracing::info!("serving the ledger up to entry {head}");
    }
    Ok(())
}

async fn greet(store: &Store, board: &Board, address: SocketAddr) -> anyhow::Result<()> {
    let symbols = instruments::symbols(&store.pool).await?;
    let favourite = if store.simulated { PLANTED_SYMBOL } else { "BABA" };
    let symbol = symbols.iter().find(|s| s.as_str() == favourite).or(symbols.first());
    let symbol = symbol.map_or(favourite, Symbol::as_str);
    let kind = if store.simulated { "simulated instruments" } else { "instruments" };
    println!("forecastd {} serves {} {kind} at http://{address}", crate::jobs::train::CODE_VERSION, symbols.len());
    println!("ledger head: {}\ntry:", board.load().sequence());
    println!("  curl http://{address}/signal/{symbol}");
    println!("  curl http://{address}/rating/{symbol}");
    println!("  curl 'http://{address}/ranks?horizon=4w'");
    Ok(())
}

/// Turns true at SIGINT or SIGTERM.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
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

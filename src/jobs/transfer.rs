//! `forecastd transfer`: does learning the tasks together help? Walks every way of sharing and the single-task networks.

use std::fs;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use tokio::runtime::Handle;

use crate::cli::research::TransferArgs;
use crate::forecast::prepared::Prepared;
use crate::forecast::training::FitRequest;
use crate::forecast::transfer::{compare, markdown, variants};
use crate::forecast::walker::Folds;
use crate::jobs::progress::Phase;
use crate::jobs::shelf::StoreShelf;
use crate::jobs::train::{recipe, settings};
use crate::learning::device::device_named;
use crate::learning::training::Control;
use crate::market::horizon::Horizon;
use crate::store::history::{LoadedHistory, Revisions, load};
use crate::store::open::Store;
use crate::store::pool;

/// Walks, compares and writes `transfer.md` and `transfer.json`. Stopped and started again, it goes on where it was.
///
/// # Errors
/// When the store fails, holds no prices, a training fails, or a file cannot be written.
pub async fn transfer(store: &Store, arguments: &TransferArgs) -> anyhow::Result<()> {
    let cutoff = pool::cutoff(&store.pool).await?;
    let loaded = load(&store.pool, cutoff, cutoff, Revisions::First).await?;
    anyhow::ensure!(
        !loaded.history.sessions.is_empty(),
        "the store holds no prices; import some first: forecastd import FOLDER"
    );
    anyhow::ensure!(arguments.recipe.members > 0, "--members must be at least 1 here");
    let arguments = arguments.clone();
    let shelf = StoreShelf { pool: store.pool.clone(), runtime: Handle::current() };
    tokio::task::spawn_blocking(move || run(loaded, &arguments, &shelf)).await?
}

fn run(loaded: LoadedHistory, arguments: &TransferArgs, shelf: &StoreShelf) -> anyhow::Result<()> {
    fs::create_dir_all(&arguments.out).with_context(|| format!("{} cannot be made", arguments.out.display()))?;
    let last = loaded.history.decision_day().context("the history has no session")?;
    let prepared = Prepared::new(loaded.history.until(last));
    let recipe = recipe(&arguments.recipe);
    let request = FitRequest {
        settings: settings(&arguments.recipe),
        recipe: &recipe,
        data_hash: hex::encode(loaded.inputs_hash),
        horizons: &Horizon::ALL,
    };
    let phase = Phase::start("transfer", "epochs", 0);
    let control = Control {
        threads: arguments.recipe.threads as usize,
        progress: &|_| phase.advance(1),
        cancelled: &AtomicBool::new(false),
        device: device_named(arguments.recipe.device.as_str())?,
    };
    let of_fold = (recipe.members * recipe.epochs) as u64;
    let folds = Folds { shelf, train_missing: true };
    let transfers = compare(&prepared, &request, folds, &control, &|name, missing| {
        phase.extend(missing as u64 * of_fold);
        phase.note(name);
    })?;
    phase.finish(&format!("{} variants, {} heads compared", variants(&recipe).len(), transfers.len()));
    let text = markdown(&transfers);
    fs::write(arguments.out.join("transfer.md"), &text)?;
    fs::write(arguments.out.join("transfer.json"), serde_json::to_vec_pretty(&transfers)?)?;
    println!("written to {}", arguments.out.join("transfer.md").display());
    Ok(())
}

//! Training and publishing small enough for a test.

use forecastd::config::{RecipeConfig, SharingKind, TrainingDevice, WeightingKind};
use forecastd::jobs::publish::{Published, publish};
use forecastd::jobs::train::{Past, train};
use forecastd::store::ledger::{self, LedgerRow};
use forecastd::store::open::Store;
use forecastd::store::signing::HeadSigner;
use serde_json::Value;
use tempfile::TempDir;

/// A recipe with few scenarios and short training.
pub fn recipe(members: u32) -> RecipeConfig {
    RecipeConfig {
        members,
        threads: 1,
        epochs: 1,
        sharing: SharingKind::Hard,
        weighting: WeightingKind::Equal,
        device: TrainingDevice::Cpu,
        scenarios: 800,
        seed: 7,
        equity_premium: 0.05,
        cost: 0.0005,
        impact: 0.01,
        precision: 5.0,
        dominance_threshold: 0.6,
        discount: 0.99,
        prior_weeks: 8.0,
        policy_temperature: 1.0,
    }
}

/// The signing key of the tests, in a folder of its own: a ledger takes no other key than the one that it began with.
pub fn signer() -> (HeadSigner, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ledger.key"), "5a".repeat(32)).unwrap();
    (HeadSigner::open(folder.path()).unwrap(), folder)
}

/// A key of somebody else.
pub fn other_signer() -> (HeadSigner, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (HeadSigner::open(folder.path()).unwrap(), folder)
}

/// Trains and publishes for the first time.
pub async fn train_and_publish(store: &Store, members: u32) -> Published {
    train(store, &recipe(members), Past::Walked).await.unwrap();
    publish(store, &signer().0, false).await.unwrap().expect("nothing was published before")
}

/// Publishes the newest session, also when that was done.
pub async fn publish_again(store: &Store) -> Published {
    publish(store, &signer().0, true).await.unwrap().expect("asked for again")
}

/// All entries of the ledger, ascending.
pub async fn entries(store: &Store) -> Vec<LedgerRow> {
    ledger::entries_after(&store.pool, 0, 1_000_000).await.unwrap()
}

/// The JSON of an entry.
pub fn said(row: &LedgerRow) -> Value {
    serde_json::from_slice(&row.entry).unwrap()
}

/// The newest entry of a kind, symbol and horizon.
pub fn newest<'a>(rows: &'a [LedgerRow], kind: &str, symbol: Option<&str>, horizon: &str) -> &'a LedgerRow {
    let is_it = |r: &&LedgerRow| r.kind == kind && r.symbol.as_deref() == symbol && r.horizon == horizon;
    rows.iter().rev().find(is_it).unwrap_or_else(|| panic!("no {kind} of {symbol:?} over {horizon}"))
}

//! Lets go of the weights of models that nothing names, and of folds that nobody trains with any more. The records of the
//! models stay, with their lineage and their scores.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use crate::store::jobs::{self, Lease};
use crate::store::open::Store;
use crate::store::retention::{self, Pruned};

/// Models promoted last and stored last that are kept unless told otherwise.
pub const KEEP: i32 = 10;

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruning {
    /// The last models promoted and the last stored that are kept, so many of each code version; 2 at least.
    pub keep: i32,
    /// Also folds.
    pub folds: bool,
}

/// What went, or would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    /// Names of models whose weights and state went.
    pub models: Vec<String>,
    /// Number of folds.
    pub folds: usize,
    /// Bytes of all of them.
    pub bytes: i64,
}

/// Lets go of what nothing names, and ends the job, in one transaction.
///
/// # Errors
/// When the store fails or another run of the job took over; then nothing was changed.
pub async fn prune(store: &Store, lease: Option<Lease>, pruning: Pruning) -> anyhow::Result<PruneReport> {
    let mut transaction = store.pool.begin().await?;
    let folds = match pruning.folds {
        true => retention::prune_folds(&mut transaction, pruning.keep).await?,
        false => vec![],
    };
    // Last, because publications wait for it until the transaction ends.
    let models = retention::prune_models(&mut transaction, pruning.keep).await?;
    let report = PruneReport::of(models, &folds);
    if let Some(lease) = lease {
        jobs::succeed(&mut transaction, lease, &json!(report)).await?;
    }
    transaction.commit().await?;
    tracing::info!("pruned {} models and {} folds, {} bytes", report.models.len(), report.folds, report.bytes);
    Ok(report)
}

/// What [`prune`] would let go of now.
///
/// # Errors
/// When the store fails.
pub async fn prunable(store: &Store, pruning: Pruning) -> anyhow::Result<PruneReport> {
    let models = retention::prunable_models(&store.pool, pruning.keep).await?;
    let folds = match pruning.folds {
        true => retention::prunable_folds(&store.pool, pruning.keep).await?,
        false => vec![],
    };
    Ok(PruneReport::of(models, &folds))
}

impl PruneReport {
    fn of(models: Vec<Pruned>, folds: &[Pruned]) -> Self {
        let bytes = models.iter().chain(folds).map(|pruned| pruned.bytes).sum();
        Self { models: models.into_iter().map(|pruned| pruned.name).collect(), folds: folds.len(), bytes }
    }

    /// A line a model and a sum.
    #[must_use]
    pub fn text(&self, dry_run: bool) -> String {
        let mut text = String::new();
        for model in &self.models {
            let _ = writeln!(text, "{model}");
        }
        let did = if dry_run { "would let go of" } else { "let go of" };
        let (models, folds, bytes) = (self.models.len(), self.folds, self.bytes);
        let _ = writeln!(text, "{did} the weights of {models} models and {folds} folds, {bytes} bytes");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_sums_up() {
        let pruned = |name: &str, bytes| Pruned { name: name.into(), bytes };
        let report = PruneReport::of(vec![pruned("a", 3), pruned("b", 4)], &[pruned("f", 5)]);
        assert_eq!(report, PruneReport { models: vec!["a".into(), "b".into()], folds: 1, bytes: 12 });
        assert_eq!(report.text(true), "a\nb\nwould let go of the weights of 2 models and 1 folds, 12 bytes\n");
    }
}

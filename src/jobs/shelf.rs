//! The shelf of folds in the store, for code that runs on a thread of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;

use sqlx::PgPool;
use tokio::runtime::Handle;

use crate::forecast::folds::{Fold, FoldDay, FoldId, FoldShelf, ShelfError};
use crate::market::instrument::Symbol;
use crate::store::StoreError;
use crate::store::folds::{self, FoldForecast, NewFold};

/// Folds in the store. Must be used outside the runtime's own threads, as in `spawn_blocking`.
pub struct StoreShelf {
    /// The store.
    pub pool: PgPool,
    /// The runtime that reaches it.
    pub runtime: Handle,
}

impl FoldShelf for StoreShelf {
    fn known(&self, ids: &[FoldId]) -> Result<Vec<FoldId>, ShelfError> {
        self.runtime.block_on(folds::known(&self.pool, ids)).map_err(failed)
    }

    fn artifact(&self, id: &FoldId) -> Result<Option<Vec<u8>>, ShelfError> {
        self.runtime.block_on(folds::artifact(&self.pool, id)).map_err(failed)
    }

    fn days(&self, id: &FoldId) -> Result<Vec<FoldDay>, ShelfError> {
        let days = self.runtime.block_on(folds::days(&self.pool, id)).map_err(failed)?;
        days.into_iter().map(checked).collect()
    }

    fn keep(&self, fold: &Fold) -> Result<(), ShelfError> {
        let new =
            NewFold { fold_id: &fold.id, recipe: &fold.recipe, refit_day: fold.refit_day, artifact: &fold.artifact };
        self.runtime.block_on(folds::keep(&self.pool, &new)).map_err(failed)
    }

    fn keep_days(&self, id: &FoldId, days: &[FoldDay]) -> Result<(), ShelfError> {
        let rows: Vec<FoldForecast> = (days.iter())
            .map(|day| FoldForecast {
                day: day.day,
                symbols: day.symbols.iter().map(ToString::to_string).collect(),
                outputs: day.outputs.clone(),
            })
            .collect();
        self.runtime.block_on(folds::keep_days(&self.pool, id, &rows)).map_err(failed)
    }
}

/// Folds in the store whose sayings are asked for anew. A fold is known by the rows that it learnt from, but what it said
/// of later days may stem from rows that were put right since; a walk for a past day must not know those.
pub struct SilentShelf(pub StoreShelf);

impl FoldShelf for SilentShelf {
    fn known(&self, ids: &[FoldId]) -> Result<Vec<FoldId>, ShelfError> {
        self.0.known(ids)
    }

    fn artifact(&self, id: &FoldId) -> Result<Option<Vec<u8>>, ShelfError> {
        self.0.artifact(id)
    }

    fn days(&self, _: &FoldId) -> Result<Vec<FoldDay>, ShelfError> {
        Ok(vec![])
    }

    fn keep(&self, fold: &Fold) -> Result<(), ShelfError> {
        self.0.keep(fold)
    }

    fn keep_days(&self, _: &FoldId, _: &[FoldDay]) -> Result<(), ShelfError> {
        Ok(())
    }
}

/// Folds in memory: for a walk that nothing should remain of.
#[derive(Debug, Default)]
pub struct MemoryShelf {
    folds: RefCell<BTreeMap<FoldId, Fold>>,
    days: RefCell<BTreeMap<FoldId, BTreeMap<chrono::NaiveDate, FoldDay>>>,
}

impl FoldShelf for MemoryShelf {
    fn known(&self, ids: &[FoldId]) -> Result<Vec<FoldId>, ShelfError> {
        let folds = self.folds.borrow();
        Ok(ids.iter().filter(|id| folds.contains_key(*id)).copied().collect())
    }

    fn artifact(&self, id: &FoldId) -> Result<Option<Vec<u8>>, ShelfError> {
        Ok(self.folds.borrow().get(id).map(|fold| fold.artifact.clone()))
    }

    fn days(&self, id: &FoldId) -> Result<Vec<FoldDay>, ShelfError> {
        Ok(self.days.borrow().get(id).into_iter().flat_map(|days| days.values().cloned()).collect())
    }

    fn keep(&self, fold: &Fold) -> Result<(), ShelfError> {
        self.folds.borrow_mut().entry(fold.id).or_insert_with(|| fold.clone());
        Ok(())
    }

    fn keep_days(&self, id: &FoldId, days: &[FoldDay]) -> Result<(), ShelfError> {
        let mut kept = self.days.borrow_mut();
        let of_fold = kept.entry(*id).or_default();
        for day in days {
            of_fold.entry(day.day).or_insert_with(|| day.clone());
        }
        Ok(())
    }
}

fn failed(error: StoreError) -> ShelfError {
    ShelfError(error.to_string())
}

fn checked(stored: FoldForecast) -> Result<FoldDay, ShelfError> {
    let symbols = stored.symbols.iter().map(|text| Symbol::parse(text)).collect::<Result<Vec<_>, _>>();
    let symbols = symbols.map_err(|error| ShelfError(error.to_string()))?;
    if stored.outputs.len() != symbols.len() * crate::learning::task::OUTPUTS || !symbols.is_sorted() {
        return Err(ShelfError(format!("the forecasts of {} are damaged", stored.day)));
    }
    Ok(FoldDay { day: stored.day, symbols, outputs: stored.outputs })
}

//! The parts of the store; listed here because the list of the crate would grow too long.

pub mod account;
pub mod activation;
pub mod address;
pub mod arguments;
pub mod asking;
pub mod backfill;
pub mod backup;
pub mod bars;
pub(crate) mod basis;
pub mod chain;
pub mod clients;
pub mod cluster;
pub mod comparisons;
pub mod copy;
pub mod drift;
pub mod embedded;
pub mod error;
pub mod events;
pub mod factors;
pub mod filings;
pub mod folds;
pub mod history;
pub mod imports;
pub mod instruments;
pub mod job_records;
pub mod jobs;
pub mod keys;
pub mod kinds;
pub mod ledger;
pub mod leftover;
pub mod lineage;
pub mod metrics;
pub mod models;
pub mod open;
pub mod pool;
pub mod prices;
pub mod programs;
pub mod promotions;
pub mod queue;
pub mod retention;
pub mod schedules;
pub mod schema;
pub mod scores;
pub mod signing;
pub mod socket;

pub use error::StoreError;

/// A stored SHA-256 as an array.
///
/// # Errors
/// [`StoreError::Row`] when it has another length.
pub(crate) fn hash_column(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(StoreError::row)
}

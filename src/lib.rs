//! forecastd: a forecast service that can be checked.

/// Checked values: instruments, bars, factors, filings, the calendar, horizons.
pub mod market {
    pub mod bar;
    pub mod calendar;
    pub mod factor;
    pub mod filing;
    pub mod history;
    pub mod horizon;
    pub mod instrument;
}

/// The Postgres store: every SQL string of the project.
pub mod store {
    pub mod bars;
    pub(crate) mod basis;
    pub mod copy;
    mod error;
    pub mod factors;
    pub mod filings;
    pub mod history;
    pub mod instruments;
    pub mod keys;
    pub mod ledger;
    pub mod models;
    pub mod pool;

    pub use error::StoreError;

    /// A stored SHA-256 as an array.
    ///
    /// # Errors
    /// [`StoreError::Row`] when it has another length.
    pub(crate) fn hash_column(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
        bytes.try_into().map_err(StoreError::row)
    }
}

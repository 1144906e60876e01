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

pub mod cli;
pub mod config;
pub mod telemetry;

/// What is said: the answers, as they stand in the ledger.
pub mod opinion {
    pub mod canonical;
    pub mod envelope;
    pub mod forecast;
    pub mod provenance;
    pub mod ranking;
    pub mod ranks;
    pub mod rating;
    pub mod schemas;
    pub mod served;
    pub mod signal;
}

/// Files and providers: from bytes to checked values.
pub mod ingest {
    pub mod actions;
    pub mod dated;
    pub mod factors;
    pub mod filings;
    pub mod finding;
    pub mod lines;
    pub mod parse;
    pub mod quality;
    pub mod recognize;
    pub mod symbol_of_file;
    pub mod table;
    pub mod universe;
    pub mod value;
    pub mod wide;
    pub mod wide_closes;
    pub mod yahoo;
}

/// Work that is asked for by a person, a clock or another job.
pub mod jobs {
    pub mod import;
    pub mod keys;
    pub mod progress;
    pub mod tools;
    pub mod verify;
}

/// The Postgres store: every SQL string of the project.
pub mod store {
    pub mod account;
    pub mod bars;
    pub(crate) mod basis;
    pub mod chain;
    pub mod cluster;
    pub mod copy;
    pub mod embedded;
    pub mod error;
    pub mod factors;
    pub mod filings;
    pub mod history;
    pub mod imports;
    pub mod instruments;
    pub mod keys;
    pub mod ledger;
    pub mod models;
    pub mod open;
    pub mod pool;
    pub mod prices;
    pub mod programs;
    pub mod signing;

    pub use error::StoreError;

    /// A stored SHA-256 as an array.
    ///
    /// # Errors
    /// [`StoreError::Row`] when it has another length.
    pub(crate) fn hash_column(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
        bytes.try_into().map_err(StoreError::row)
    }
}

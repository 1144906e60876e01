//! The tests of the whole: the store, the jobs, the service and the program, on a real Postgres and in real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, in its helpers as well")]

mod answers;
mod architecture;
mod backfill;
mod backup;
mod comparisons;
mod drift;
mod http;
mod imports;
mod jobs;
mod jobs_http;
mod ledger;
mod models;
mod program;
mod publication;
mod registry;
mod retention;
mod schedule;
mod schema;
mod scores;
mod walkforward;

/// What several tests need.
mod support {
    pub mod market;
    pub mod publishing;
    pub mod requests;
    pub mod server;
    pub mod store;
}

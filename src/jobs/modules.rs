//! The pieces of work; listed here because the list of the crate would grow too long.

pub mod drift;
pub(crate) mod drift_retrain;
pub mod drift_text;
pub mod evaluate;
pub mod evaluation_report;
pub mod import;
pub mod keys;
pub mod market_value_spots;
pub mod moment;
pub mod payoffs;
pub mod progress;
pub mod publish;
pub mod rate;
pub mod rating_report;
#[cfg(test)]
mod rating_report_tests;
pub mod replay;
pub mod shelf;
pub mod simulate;
pub mod tools;
pub mod train;
pub mod transfer;
pub mod verify;

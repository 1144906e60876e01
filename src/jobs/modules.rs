//! The pieces of work; listed here because the list of the crate would grow too long.

pub mod backfill;
pub mod backfill_plan;
pub mod backup;
pub mod child;
pub mod evaluate;
pub mod evaluation_report;
pub mod import;
pub mod job_commands;
pub mod job_tables;
pub mod job_watch;
pub mod keys;
pub mod market_value_spots;
pub mod models;
pub mod moment;
pub mod payoffs;
pub mod progress;
pub mod promotion;
pub mod prune;
pub mod publish;
pub mod rate;
pub mod rating_report;
#[cfg(test)]
mod rating_report_tests;
pub mod replay;
pub mod run_job;
pub mod scheduler;
pub mod score;
pub mod score_outcome;
pub mod score_reading;
pub mod shelf;
pub mod simulate;
pub mod tools;
pub mod train;
pub mod transfer;
pub mod verify;
pub mod worker;

//! The parts of the interface; listed here because the list of the crate would grow too long.

pub mod activation;
pub mod adjusted;
pub mod asked;
pub mod asked_process;
pub mod auth;
pub mod board;
pub mod condition;
pub mod cors;
pub mod documented;
pub mod documented_schemas;
#[cfg(test)]
pub(crate) mod explanation_requests;
pub mod forecasts;
pub mod frame;
#[cfg(test)]
pub(crate) mod frame_requests;
pub mod health;
pub mod historic;
pub mod index;
pub mod instruments;
pub mod job_answers;
pub mod jobs;
pub mod ledger;
pub mod lineage;
pub mod metrics;
pub(crate) mod metrics_numbers;
pub mod model_scores;
pub mod models;
pub mod near;
pub mod openapi;
#[cfg(test)]
pub(crate) mod opinion_requests;
pub mod opinions;
pub mod parameters;
pub mod pick;
pub mod posted_job;
pub mod posted_rows;
pub mod posting;
pub mod predictabilities;
pub mod prices;
pub mod problem;
pub mod problem_type;
#[cfg(test)]
pub(crate) mod process_requests;
pub mod processes;
pub mod rankings;
pub mod ranks;
pub mod ratings;
pub mod ready;
pub mod responses;
pub mod router;
#[cfg(test)]
pub(crate) mod samples;
pub mod signals;
pub mod snapshot;
pub mod state;
pub mod tag;
pub mod track_record;

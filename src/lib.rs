//! forecastd: a forecast service that can be checked.
//!
//! The modules are the journey of the data, and this is the order to read them in.
//!
//! 1. [`market`] holds the checked values: instruments, bars, factors, filings, the calendar, and
//!    [`History`](market::history::History), everything known at one moment laid out for computing.
//! 2. [`ingest`] reads files into those values or refuses them with line and reason; [`store`] keeps every row with the day
//!    on which it happened, when the world could know it, and when this store got it.
//! 3. [`features`] looks back from a session, its `targets` look forward: the only two windows on time.
//! 4. [`scenario`] holds the benchmarks of volatility, intervals and ranks, [`learning`] the network that corrects them.
//! 5. [`forecast`] trains both, lets the network play for the seats by the tests of [`evaluation`], and says what is
//!    forecast on a day from whoever holds the seat.
//! 6. [`decision`] plays the game behind a signal, [`rating`] computes default probabilities and grades.
//! 7. [`opinion`] says what an answer is; [`publication`] composes all answers of a day as canonical bytes.
//! 8. [`jobs`] does all this when asked and appends the answers to the hash-chained ledger of [`store`].
//! 9. [`serve`] and [`api`] hold the newest answers in memory and send them; no request computes a forecast.
//!
//! What is served is a function of the rows known and recorded by an entry's cutoffs: `verify` checks the chain of hashes,
//! `replay` computes an entry again to the last byte. `ARCHITECTURE.md` walks through the files and states what must hold.

/// Checked values: instruments, bars, factors, filings, the calendar, horizons.
pub mod market {
    pub mod bar;
    pub mod calendar;
    pub mod factor;
    pub mod filing;
    pub mod history;
    pub mod horizon;
    pub mod instrument;
    pub mod schedule;
    pub mod simulated_bars;
    pub mod simulated_paths;
    pub mod simulated_reports;
    pub mod simulation;
}

/// The command line: what can be asked, with examples.
pub mod cli {
    pub mod commands;
    pub mod drift;
    pub mod jobs;
    pub mod keys;
    pub mod models;
    pub mod operation;
    pub mod research;
    pub mod serve;
}
pub mod clock;
pub mod config;
pub mod telemetry;

/// What is computed from the past: the four factors, and from the future: the targets.
pub mod features {
    pub mod balance_sheet;
    pub(crate) mod filing_view;
    pub mod fundamentals;
    pub mod market;
    pub mod momentum;
    pub mod price_basis;
    pub mod risk;
    #[cfg(test)]
    pub(crate) mod sample_history;
    pub mod schema;
    pub mod share_counts;
    pub mod states;
    pub mod table;
    pub mod targets;
    pub mod universe;
    pub(crate) mod windows;
}

/// The joint distribution of the coming returns: volatilities, correlations, draws, ranks, intervals.
pub mod scenario {
    pub mod adaptive;
    pub mod conformal;
    pub mod covariance;
    pub mod draws;
    pub mod garch;
    pub mod index_watch;
    pub mod joint;
    pub mod pooled;
    pub mod ranks;
    pub mod recipes;
    pub mod seasonal;
    pub mod shrinkage;
    pub mod volatility;
    pub mod volatility_inputs;
    pub mod windows;
}

/// What to do: the holder's decision process, and the game against models and crowd.
pub mod decision {
    pub mod action;
    pub mod bisection;
    pub mod comparison;
    pub mod confidence;
    pub mod contest;
    pub mod dominance;
    pub mod equilibrium;
    pub mod explanation;
    pub mod finite_process;
    #[cfg(test)]
    mod finite_process_tests;
    pub mod game;
    pub mod holder;
    pub mod liquidity;
    pub mod market_process;
    pub mod nash;
    pub mod policy;
    mod posterior;
    pub mod process;
    #[cfg(test)]
    mod process_tests;
    pub mod quarter;
    pub mod ranking;
    pub mod signal;
    pub mod standings;
    pub mod strength;
    #[cfg(test)]
    mod strength_tests;
    pub mod tournament;
    mod weekly_solver;
}

/// How likely a default is, and the grade that says so.
pub mod rating {
    pub mod calibration;
    pub mod components;
    pub mod credit_grades;
    pub mod first_passage;
    pub mod merton;
    pub mod outlook;
    pub mod probability;
    pub mod rate;
    pub mod scale;
    pub mod structure;
    pub mod term;
    pub mod transitions;
    pub mod variance;
}

/// How good forecasts were: outcomes, scores, paired tests, gates.
pub mod evaluation {
    #[cfg(test)]
    pub(crate) mod agreement;
    pub mod attribution;
    pub mod auc;
    pub mod autoregression;
    pub mod comparison;
    #[cfg(test)]
    mod comparison_tests;
    pub mod comparison_text;
    pub mod confidence_sequence;
    pub mod direction_scorecard;
    pub mod drift;
    pub mod drift_report;
    pub mod drift_windows;
    pub mod evidence;
    pub mod feature_drift;
    pub mod forecast_csv;
    pub mod forecasts;
    pub mod gate;
    pub mod giacomini_white;
    pub mod interval_scorecard;
    pub mod live_days;
    pub mod live_scores;
    pub mod log_loss;
    pub mod measures;
    pub mod multiple_testing;
    pub mod non_inferiority;
    pub mod outcomes;
    pub mod overfitting;
    pub mod paired_rows;
    pub mod paired_tests;
    pub mod payoffs;
    pub mod performance_drift;
    pub mod periods;
    pub mod permutation;
    pub mod power;
    pub mod quantile_scorecard;
    pub mod rank_correlation;
    pub mod rank_scorecard;
    pub mod rank_scores;
    pub mod report;
    pub mod row_losses;
    pub mod scorecard;
    pub mod scorecard_tables;
    pub mod scores;
    pub mod sharpe;
    pub mod short_series;
    pub mod split;
    pub mod staleness;
    pub mod track_record;
    pub mod verdict;
    pub mod volatility_scorecard;
}

/// The network: the only place where Burn lives.
pub mod learning {
    pub mod arrays;
    pub mod artifact;
    pub mod batch;
    pub mod dataset;
    pub mod device;
    pub mod ensemble;
    pub mod forecast;
    pub mod loss;
    pub mod network;
    pub mod objective;
    #[cfg(test)]
    pub(crate) mod planted;
    pub mod recipe;
    pub mod reward;
    pub(crate) mod reward_constant;
    pub(crate) mod reward_network;
    #[cfg(test)]
    pub(crate) mod reward_planted;
    pub mod reward_record;
    pub(crate) mod reward_tally;
    #[cfg(test)]
    mod reward_tests;
    pub(crate) mod reward_training;
    pub mod scaler;
    pub mod sharing;
    pub mod task;
    pub mod threads;
    pub mod training;
    pub mod trunk;
    pub mod validation;
    pub mod weighting;
}

/// What is forecast on a day, head by head from whoever holds the seat, and how seats are won.
pub mod forecast {
    pub mod attribution;
    pub mod audition;
    pub mod calibration;
    pub mod canaries;
    pub mod day;
    pub mod evaluation;
    pub mod examination;
    pub mod folds;
    pub mod members;
    pub mod next_state;
    pub mod past_games;
    pub mod payoffs;
    pub mod players;
    pub mod predictability;
    #[cfg(test)]
    mod predictability_tests;
    pub mod prepared;
    pub mod rating_order;
    pub mod rating_record;
    #[cfg(test)]
    mod rating_record_tests;
    pub mod rating_sources;
    pub mod rating_walk;
    #[cfg(test)]
    pub(crate) mod real_market;
    pub mod responses;
    #[cfg(test)]
    mod responses_tests;
    pub mod samples;
    pub mod school;
    pub mod settings;
    pub mod state;
    pub mod training;
    pub mod transfer;
    pub mod verdict_calibration;
    pub mod verdict_markets;
    pub mod verdicts;
    pub mod walk;
    pub mod walker;
}

/// What is said: the answers, as they stand in the ledger.
pub mod opinion {
    pub mod canonical;
    pub mod chain;
    pub mod drift;
    pub mod envelope;
    pub mod explanation;
    pub mod forecast;
    pub mod numbers;
    pub mod predictability;
    pub mod process;
    pub mod process_explanation;
    pub mod process_solution;
    pub mod provenance;
    pub mod ranking;
    pub mod ranks;
    pub mod rating;
    pub mod rating_record;
    pub mod responses;
    pub mod schemas;
    pub mod served;
    pub mod signal;
    pub mod version;
}

/// Files: from bytes to checked values, or to a refusal with line and reason.
pub mod ingest {
    pub mod actions;
    pub mod dated;
    #[cfg(test)]
    pub(crate) mod dirty_files;
    pub mod factors;
    pub mod filings;
    pub mod finding;
    pub mod lines;
    pub mod parse;
    #[cfg(test)]
    pub(crate) mod properties;
    pub mod quality;
    #[cfg(test)]
    pub(crate) mod real_files;
    pub mod recognize;
    pub mod symbol_of_file;
    pub mod table;
    pub mod universe;
    pub mod value;
    pub mod wide;
    pub mod wide_closes;
    pub mod yahoo;
}

/// From forecasts to answers: every answer of a day as the bytes of the ledger.
pub mod publication {
    pub mod attribution;
    pub mod benchmark;
    pub mod compose;
    pub mod forecast;
    pub mod game;
    pub mod header;
    pub mod played;
    pub mod predictability;
    pub mod process;
    pub mod process_day;
    pub mod ranking;
    pub mod ranks;
    pub mod rating;
    pub mod rating_explanation;
    pub mod rating_record;
    #[cfg(test)]
    mod rating_tests;
    pub mod responses;
    pub mod signal;
}

/// Work that a person or the service asks for: import, train, publish, evaluate, replay, verify.
#[path = "jobs/modules.rs"]
pub mod jobs;

/// The Postgres store: every SQL string of the project, the ledger, and the private server.
#[path = "store/modules.rs"]
pub mod store;

/// What is asked and answered over HTTP; every answer comes from memory.
#[path = "api/modules.rs"]
pub mod api;

pub mod serve;
pub mod work;

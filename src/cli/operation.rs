//! Arguments of the roles that work by themselves: when jobs are due, and how they are worked on.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use uuid::Uuid;

use crate::cli::drift::DriftArgs;
use crate::config::RecipeConfig;
use crate::market::schedule::{Schedule, ScheduleError};

/// When jobs are due: five cron fields, a time zone, and `sessions` for trading days of the exchange only; or `off`.
#[derive(Debug, Clone, Args)]
pub struct ScheduleConfig {
    /// When to publish, as "minute hour day month weekday zone sessions"; `sessions` keeps to trading days, `off` to none
    #[arg(long, env = "FORECASTD_PUBLISH_SCHEDULE", value_name = "CRON", default_value = "45 16 * * * America/New_York sessions", value_parser = parse_schedule)]
    pub publish_schedule: Due,
    /// When to score what has matured
    #[arg(long, env = "FORECASTD_SCORE_SCHEDULE", value_name = "CRON", default_value = "15 17 * * * America/New_York sessions", value_parser = parse_schedule)]
    pub score_schedule: Due,
    /// When to look for drift
    #[arg(long, env = "FORECASTD_DRIFT_SCHEDULE", value_name = "CRON", default_value = "30 17 * * * America/New_York sessions", value_parser = parse_schedule)]
    pub drift_schedule: Due,
    /// When to retrain
    #[arg(long, env = "FORECASTD_TRAIN_SCHEDULE", value_name = "CRON", default_value = "0 6 * * SAT America/New_York", value_parser = parse_schedule)]
    pub train_schedule: Due,
    /// When to remove models that nothing names any more
    #[arg(long, env = "FORECASTD_PRUNE_SCHEDULE", value_name = "CRON", default_value = "0 9 1 * * America/New_York", value_parser = parse_schedule)]
    pub prune_schedule: Due,
}

/// A schedule, or none.
#[derive(Debug, Clone)]
pub struct Due(pub Option<Schedule>);

/// How jobs are worked on, each in a process of its own at low priority.
#[derive(Debug, Clone, Args)]
pub struct WorkConfig {
    /// Jobs that this process works on at once; jobs of one kind never run at the same time anywhere
    #[arg(long, env = "FORECASTD_JOBS_AT_ONCE", value_name = "N", default_value = "2")]
    pub jobs_at_once: NonZeroUsize,
    /// Seconds after which the jobs of a worker that is not heard of go to another
    #[arg(long, env = "FORECASTD_LEASE", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(4..=3600))]
    pub lease: u64,
    /// Minutes after which a job is ended and counts as failed
    #[arg(long, env = "FORECASTD_JOB_MINUTES", value_name = "MINUTES", default_value_t = 120.0, value_parser = parse_minutes)]
    pub job_minutes: f64,
    /// Memory (address space) of a job in MiB; one that wants more fails. No limit unless given
    #[arg(long, env = "FORECASTD_JOB_MEMORY", value_name = "MIB", value_parser = clap::value_parser!(u64).range(256..=1_048_576))]
    pub job_memory: Option<u64>,
    #[command(flatten)]
    /// How drift is looked for.
    pub drift: DriftArgs,
}

/// How to work on jobs without serving.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    #[command(flatten)]
    /// How jobs are worked on.
    pub work: WorkConfig,
    #[command(flatten)]
    /// How forecasts are made.
    pub recipe: RecipeConfig,
}

/// Which run of which job this process is.
#[derive(Debug, Clone, Args)]
pub struct RunJobArgs {
    /// The job
    pub job_id: Uuid,
    /// Which run of it holds the lease
    pub attempt: i16,
    /// The job is about the simulated market
    #[arg(long)]
    pub simulated: bool,
    /// Address space that may be used
    #[arg(long)]
    pub memory_limit_bytes: Option<u64>,
    #[command(flatten)]
    /// How drift is looked for.
    pub drift: DriftArgs,
    #[command(flatten)]
    /// How forecasts are made.
    pub recipe: RecipeConfig,
}

impl WorkConfig {
    /// How long a job may take.
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        Duration::from_secs_f64(self.job_minutes * 60.0)
    }
}

fn parse_schedule(text: &str) -> Result<Due, String> {
    match text.trim() {
        "off" => Ok(Due(None)),
        text => text.parse().map(|schedule| Due(Some(schedule))).map_err(|error: ScheduleError| error.to_string()),
    }
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes <= 10_080.0 => Ok(minutes),
        _ => Err("must be a number of minutes above 0, at most 10080 (a week)".into()),
    }
}

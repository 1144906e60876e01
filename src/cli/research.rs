//! Arguments of the commands that look into the past: evaluate, transfer, payoffs, rate, backfill.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::config::RecipeConfig;
use crate::market::bar::Day;
use crate::market::horizon::Horizon;

/// What to evaluate.
#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    /// First decision day
    #[arg(long, value_name = "DAY", required_unless_present = "on")]
    pub from: Option<Day>,
    /// Last decision day
    #[arg(long, value_name = "DAY", required_unless_present = "on")]
    pub to: Option<Day>,
    /// Sessions between decision days
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=252))]
    pub every: u32,
    /// Decision days, comma-separated, instead of --from, --to and --every; the last session at or before each is used
    #[arg(long, value_name = "DAY,...", value_delimiter = ',', conflicts_with_all = ["from", "to"])]
    pub on: Vec<Day>,
    /// Horizons in sessions (5, 20, 63, 126, 252), comma-separated
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "20", value_parser = parse_horizon)]
    pub horizons: Vec<Horizon>,
    /// Folder for the CSV files, made where it is missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Also write this model's forecasts into OUT/NAME; may be given more than once. Known: uniform, cov252, s0, seasonal, ewma94,
    /// har, harx2, garch11, roll252, base_rate, network
    #[arg(long = "model", value_name = "NAME", value_parser = parse_model)]
    pub models: Vec<String>,
    /// File with the symbols of the universe, separated by white space or commas; all of them are ranked
    #[arg(long, value_name = "FILE")]
    pub symbols: Option<PathBuf>,
    #[command(flatten)]
    /// How forecasts are made.
    pub recipe: RecipeConfig,
}

/// What to compare.
#[derive(Debug, Clone, Args)]
pub struct TransferArgs {
    /// Folder for transfer.md and transfer.json, made where it is missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    /// How networks are trained.
    pub recipe: RecipeConfig,
}

/// Which decisions are walked.
#[derive(Debug, Clone, Args)]
pub struct PayoffsArgs {
    /// First decision day
    #[arg(long, value_name = "DAY")]
    pub from: Day,
    /// Last decision day
    #[arg(long, value_name = "DAY")]
    pub to: Day,
    /// How far the decisions look ahead, in sessions (5 or 20); one decision a horizon
    #[arg(long, value_name = "N", default_value = "20", value_parser = parse_horizon)]
    pub horizon: Horizon,
    /// Folder for payoffs.md, payoffs.json and comparisons.jsonl, made where it is missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    /// How decisions are made.
    pub recipe: RecipeConfig,
}

/// What is rated.
#[derive(Debug, Clone, Args)]
pub struct RateArgs {
    /// Day of the ratings; the newest decision day unless given
    #[arg(long, value_name = "DAY")]
    pub to: Option<Day>,
    /// Folder for ratings.md and ratings.csv, made where it is missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    /// How forecasts are made.
    pub recipe: RecipeConfig,
}

/// What is backfilled, and how.
#[derive(Debug, Clone, Args)]
pub struct BackfillArgs {
    #[command(flatten)]
    /// Which days.
    pub range: BackfillRange,
    #[command(flatten)]
    /// How forecasts are made.
    pub recipe: RecipeConfig,
}

/// Which days are backfilled: the arguments of the job.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillRange {
    /// First day
    #[arg(long, value_name = "DAY")]
    pub from: Day,
    /// Last day
    #[arg(long, value_name = "DAY")]
    pub to: Day,
    /// Sessions between decision days
    #[arg(long, value_name = "N", default_value_t = decide_every(), value_parser = clap::value_parser!(u32).range(1..=252))]
    #[serde(default = "decide_every")]
    pub every: u32,
    /// Sessions after which a new model is fitted
    #[arg(long, value_name = "N", default_value_t = retrain_every(), value_parser = clap::value_parser!(u32).range(1..=1260))]
    #[serde(default = "retrain_every")]
    pub retrain_every: u32,
}

fn decide_every() -> u32 {
    5
}

fn retrain_every() -> u32 {
    63
}

/// Models whose forecasts `evaluate` can write.
pub const MODELS: [&str; 11] =
    ["uniform", "cov252", "s0", "seasonal", "ewma94", "har", "harx2", "garch11", "roll252", "base_rate", "network"];

fn parse_model(text: &str) -> Result<String, String> {
    match MODELS.iter().find(|m| **m == text) {
        Some(model) => Ok((*model).to_owned()),
        None => Err(format!("known models are {}", MODELS.join(", "))),
    }
}

fn parse_horizon(text: &str) -> Result<Horizon, String> {
    let sessions = text.parse::<usize>().ok().and_then(Horizon::from_sessions);
    sessions.ok_or_else(|| "a horizon is 5, 20, 63, 126 or 252 sessions".into())
}

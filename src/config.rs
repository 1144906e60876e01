//! Configuration: every option of every command is also an environment variable.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// A value that must never be printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps a value from being printed.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct StoreConfig {
    /// Postgres server to use instead of the embedded one, postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", value_name = "URL", global = true, hide_env_values = true)]
    pub database_url: Option<Secret>,
    /// File whose first line is the password of that server, for an address without one
    #[arg(long, env = "FORECASTD_DATABASE_PASSWORD_FILE", value_name = "FILE", global = true)]
    pub database_password_file: Option<PathBuf>,
    /// Refuse a schema that is behind instead of bringing it up to date (`forecastd migrate` does)
    #[arg(long, env = "FORECASTD_NO_MIGRATE", global = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub no_migrate: bool,
    /// Key that signs the ledger's heads, the same for every process that publishes. By default ledger.key in the data
    /// folder, made there for a new ledger
    #[arg(long, env = "FORECASTD_SIGNING_KEY", value_name = "FILE", global = true)]
    pub signing_key: Option<PathBuf>,
    /// Folder of the embedded Postgres and of the signing key
    #[arg(long, env = "FORECASTD_DATA_DIR", value_name = "DIR", default_value = "data", global = true)]
    pub data_dir: PathBuf,
    /// Folder with PostgreSQL programs to use when none are installed
    #[arg(long, env = "FORECASTD_POSTGRES_DIR", value_name = "DIR", default_value = ".tools/postgres", global = true)]
    pub postgres_dir: PathBuf,
    /// Connections to the store
    #[arg(long, env = "FORECASTD_DATABASE_CONNECTIONS", value_name = "N", default_value_t = 8, global = true,
          value_parser = clap::value_parser!(u32).range(2..=200))]
    pub database_connections: u32,
    /// File with the time to take for now, to rehearse operation on a simulated market; a real store refuses it
    #[arg(long, env = "FORECASTD_CLOCK_FILE", value_name = "FILE", global = true, hide = true)]
    pub clock_file: Option<PathBuf>,
    /// Messages to show: error, warn, info, debug, or a filter such as forecastd=debug,sqlx=warn
    #[arg(long, env = "FORECASTD_LOG", value_name = "FILTER", default_value = "info", global = true)]
    pub log: String,
    /// How messages look
    #[arg(long, env = "FORECASTD_LOG_FORMAT", value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
}

/// How messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How forecasts are made; the defaults are the starting values of the method description.
#[derive(Debug, Clone, Args, serde::Serialize, serde::Deserialize, PartialEq)]
pub struct RecipeConfig {
    /// Networks in the ensemble; 0 serves the benchmarks alone
    #[arg(long, env = "FORECASTD_MEMBERS", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub members: u32,
    /// Threads that train networks at once, one network each
    #[arg(long, env = "FORECASTD_THREADS", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// How the tasks share parameters: one trunk (hard), coupled trunks (soft) or a gated mixture of trunks (experts)
    #[arg(long, env = "FORECASTD_SHARING", value_name = "KIND", default_value = "hard")]
    pub sharing: SharingKind,
    /// How the losses of the tasks are weighed: equal, or learned from their uncertainty
    #[arg(long, env = "FORECASTD_WEIGHTING", value_name = "KIND", default_value = "equal")]
    pub weighting: WeightingKind,
    /// Where networks are trained; cuda and wgpu need a program built with that feature. Serving is always on the cpu
    #[arg(long, env = "FORECASTD_DEVICE", value_name = "DEVICE", default_value = "cpu")]
    pub device: TrainingDevice,
    /// Passes over the training rows; more learn the past by heart
    #[arg(long, env = "FORECASTD_EPOCHS", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub epochs: u32,
    /// Scenarios of the joint distribution, a multiple of 8
    #[arg(long, env = "FORECASTD_SCENARIOS", value_name = "S", default_value_t = 20_000, value_parser = parse_scenarios)]
    pub scenarios: usize,
    /// Seed of training and scenarios, at most 2^53 - 1
    #[arg(long, env = "FORECASTD_SEED", value_name = "N", default_value_t = 20_240_930, value_parser = clap::value_parser!(u64).range(0..=9_007_199_254_740_991))]
    pub seed: u64,
    /// Equity risk premium a year, the mean without skill
    #[arg(long, env = "FORECASTD_EQUITY_PREMIUM", value_name = "FRACTION", default_value_t = 0.05, value_parser = parse_premium)]
    pub equity_premium: f64,
    /// Cost of moving the exposure by one unit, as a fraction
    #[arg(long, env = "FORECASTD_COST", value_name = "FRACTION", default_value_t = 0.0005, value_parser = parse_fraction)]
    pub cost: f64,
    /// Impact of trading with the crowd, in units of the horizon's volatility
    #[arg(long, env = "FORECASTD_IMPACT", value_name = "FRACTION", default_value_t = 0.01, value_parser = parse_fraction)]
    pub impact: f64,
    /// Precision of the crowd's responses (lambda_q of the quantal response equilibrium)
    #[arg(long, env = "FORECASTD_PRECISION", value_name = "NUMBER", default_value_t = 5.0, value_parser = parse_positive)]
    pub precision: f64,
    /// Share of columns in which an action must be best to be a best response (tau)
    #[arg(long, env = "FORECASTD_DOMINANCE_THRESHOLD", value_name = "FRACTION", default_value_t = 0.6, value_parser = parse_fraction)]
    pub dominance_threshold: f64,
    /// Discount of a week in the decision process, the move factor gamma
    #[arg(long, env = "FORECASTD_DISCOUNT", value_name = "FRACTION", default_value_t = 0.99, value_parser = parse_fraction)]
    pub discount: f64,
    /// Weeks that a market state's prior weighs in its transitions (kappa)
    #[arg(long, env = "FORECASTD_PRIOR_WEEKS", value_name = "NUMBER", default_value_t = 8.0, value_parser = parse_positive)]
    pub prior_weeks: f64,
    /// Temperature of the policy over the reward model (beta): small follows the reward, large the reference
    #[arg(long, env = "FORECASTD_POLICY_TEMPERATURE", value_name = "NUMBER", default_value_t = 1.0, value_parser = parse_positive)]
    pub policy_temperature: f64,
}

/// How the tasks of the network share parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharingKind {
    /// One trunk for all tasks.
    Hard,
    /// A trunk a task group, coupled.
    Soft,
    /// Trunks mixed by a gate a task group.
    Experts,
}

/// How the losses of the tasks are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightingKind {
    /// Alike.
    Equal,
    /// By learned uncertainty.
    Uncertainty,
}

/// Where networks are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingDevice {
    /// The processor.
    Cpu,
    /// An NVIDIA card.
    Cuda,
    /// The card that wgpu prefers.
    Wgpu,
}

impl RecipeConfig {
    /// The arguments that give a child process the same recipe.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let values = [
            ("--members", self.members.to_string()),
            ("--threads", self.threads.to_string()),
            ("--epochs", self.epochs.to_string()),
            ("--sharing", self.sharing.as_str().to_owned()),
            ("--weighting", self.weighting.as_str().to_owned()),
            ("--device", self.device.as_str().to_owned()),
            ("--scenarios", self.scenarios.to_string()),
            ("--seed", self.seed.to_string()),
            ("--equity-premium", self.equity_premium.to_string()),
            ("--cost", self.cost.to_string()),
            ("--impact", self.impact.to_string()),
            ("--precision", self.precision.to_string()),
            ("--dominance-threshold", self.dominance_threshold.to_string()),
            ("--discount", self.discount.to_string()),
            ("--prior-weeks", self.prior_weeks.to_string()),
            ("--policy-temperature", self.policy_temperature.to_string()),
        ];
        values.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

impl SharingKind {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Experts => "experts",
        }
    }
}

impl WeightingKind {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Uncertainty => "uncertainty",
        }
    }
}

impl TrainingDevice {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
        }
    }
}

fn parse_scenarios(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if (200..=1_000_000).contains(&n) && n % 8 == 0 => Ok(n),
        _ => Err("must be a multiple of 8 between 200 and 1000000".into()),
    }
}

fn parse_fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("must be a number between 0 and 1".into()),
    }
}

/// Without a premium nobody would hold anything, and risk aversion could not be told from what is held.
fn parse_premium(text: &str) -> Result<f64, String> {
    parse_fraction(text).and_then(|x| if x > 0.0 { Ok(x) } else { Err("must be above 0, at most 1".into()) })
}

fn parse_positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x <= 1000.0 => Ok(x),
        _ => Err("must be a number above 0, at most 1000".into()),
    }
}

/// The options of a command as a Markdown table: option, environment variable, default, meaning.
#[must_use]
pub fn markdown_table(command: &clap::Command) -> String {
    let mut table = String::from("| option | environment | default | meaning |\n|---|---|---|---|\n");
    for argument in command.get_arguments().filter(|a| a.get_long().is_some() && a.get_env().is_some()) {
        let defaults: Vec<_> = argument.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
        let default = if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(",")) };
        table.push_str(&format!(
            "| `--{}` | `{}` | {default} | {} |\n",
            argument.get_long().unwrap_or_default(),
            argument.get_env().unwrap_or_default().to_string_lossy(),
            argument.get_help().map(ToString::to_string).unwrap_or_default(),
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret: Secret = "postgres://user:password@host/db".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert!(secret.expose().contains("password"));
    }

    #[test]
    fn scenarios_are_a_multiple_of_eight() {
        assert_eq!(parse_scenarios("20000"), Ok(20_000));
        assert!(parse_scenarios("20001").is_err());
        assert!(parse_fraction("1.5").is_err());
        assert!(parse_fraction("NaN").is_err());
    }
}

//! Arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::operation::{ScheduleConfig, WorkConfig};
use crate::config::RecipeConfig;

/// Options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// Address to listen on
    #[arg(long, env = "FORECASTD_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Folder or file to import before serving; may be given more than once
    #[arg(long, env = "FORECASTD_IMPORT", value_name = "PATH", value_delimiter = ':')]
    pub import: Vec<PathBuf>,
    /// Origins whose pages may read the answers (CORS); none by default
    #[arg(long, env = "FORECASTD_CORS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Ask for a key with any scope before reading, too
    #[arg(long, env = "FORECASTD_PRIVATE", value_parser = clap::builder::BoolishValueParser::new())]
    pub private: bool,
    /// Requests handled at once; more are answered 503, health checks excepted
    #[arg(long, env = "FORECASTD_MAX_CONCURRENCY", value_name = "N", default_value_t = 512, value_parser = at_least_one)]
    pub max_concurrency: usize,
    /// Requests that may wait for a change at once (?wait=)
    #[arg(long, env = "FORECASTD_MAX_WAITERS", value_name = "N", default_value_t = 1000, value_parser = at_least_one)]
    pub max_waiters: usize,
    /// Only serve and keep the schedule; leave the jobs to `forecastd work`
    #[arg(long, env = "FORECASTD_NO_WORK", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_work: bool,
    #[command(flatten)]
    /// When jobs are due.
    pub schedule: ScheduleConfig,
    #[command(flatten)]
    /// How jobs are worked on.
    pub work: WorkConfig,
    /// Address of the metrics for Prometheus, best one that only this machine reaches; none switches them off
    #[arg(long, env = "FORECASTD_METRICS_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub metrics_listen: MetricsAddress,
    #[command(flatten)]
    /// How forecasts are made.
    pub recipe: RecipeConfig,
}

/// Where metrics are shown: an address, or nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsAddress(pub Option<SocketAddr>);

impl std::str::FromStr for MetricsAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "none" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|address| Self(Some(address)))
            .map_err(|_| "expected an address such as 127.0.0.1:9464, or none".into())
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse::<usize>().ok().filter(|n| *n >= 1).ok_or_else(|| "must be a whole number of at least 1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_can_be_switched_off() {
        assert_eq!("none".parse(), Ok(MetricsAddress(None)));
        assert_eq!("".parse(), Ok(MetricsAddress(None)));
        assert_eq!("[::1]:9464".parse::<MetricsAddress>().map(|a| a.0.is_some()), Ok(true));
        assert!("9464".parse::<MetricsAddress>().is_err());
    }
}

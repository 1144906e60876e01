//! Arguments of `forecastd keys`.

use clap::{Subcommand, ValueEnum};

/// Keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print its secret once
    #[command(after_help = "Example:
  forecastd keys create --scope ingest --name nightly-prices --days 365")]
    Create {
        /// What the key may do; may be given more than once
        #[arg(long, required = true)]
        scope: Vec<KeyScope>,
        /// What its owner calls it
        #[arg(long, default_value = "unnamed", value_parser = parse_name)]
        name: String,
        /// Days until it expires; never without
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: Option<u32>,
    },
    /// List keys (never their secrets)
    List,
    /// Revoke a key for good
    Revoke {
        /// Its id, from `keys list`
        id: uuid::Uuid,
    },
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyScope {
    /// Write prices, factors and filings.
    Ingest,
    /// Run jobs, activate models.
    Operate,
    /// All of it.
    Admin,
}

impl KeyScope {
    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err("a name has 1 to 64 printable characters".into()) }
}

//! Arguments of `forecastd models`.

use clap::{Args, Subcommand};

/// Models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List models, newest first, and which one is in force
    List {
        /// At most so many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one as JSON: lineage, recipe, scores, seats
    #[command(after_help = "Example:
  forecastd models show 2024-09-30.3f9c12ab")]
    Show {
        /// Its name, from `models list`
        id: String,
    },
    /// Put one in force and ask for a publication; the answers say who decided it and why
    #[command(after_help = "Example:
  forecastd models activate 2024-09-30.3f9c12ab --reason 'the new one jumps'")]
    Activate {
        /// Its name, from `models list`
        id: String,
        /// Why
        #[arg(long, value_parser = parse_reason)]
        reason: String,
        /// Also one that its training kept back
        #[arg(long)]
        force: bool,
    },
    /// Put the model back that was in force before; a second time undoes the first
    #[command(after_help = "Example:
  forecastd models rollback --reason 'the new one jumps'")]
    Rollback {
        /// Why
        #[arg(long, default_value = "rollback", value_parser = parse_reason)]
        reason: String,
    },
    /// Let go of the weights of old models that no entry of the ledger names
    #[command(after_help = "Examples:
  forecastd models prune --dry-run
  forecastd models prune --keep 10 --folds")]
    Prune(PruneArgs),
}

/// What to let go of.
#[derive(Debug, Clone, Copy, Args)]
pub struct PruneArgs {
    /// The last models promoted and the last stored that are kept in any case, so many of each
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(2..=100_000))]
    pub keep: i32,
    /// Also folds of recipes that no kept model uses and that no training touched for a year
    #[arg(long)]
    pub folds: bool,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

fn parse_reason(text: &str) -> Result<String, String> {
    let fits = (1..=500).contains(&text.trim().chars().count()) && !text.chars().any(char::is_control);
    if fits { Ok(text.trim().to_owned()) } else { Err("a reason has 1 to 500 printable characters".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_and_printable() {
        assert_eq!(parse_reason(" it jumps "), Ok("it jumps".into()));
        for bad in ["", "  ", "a\nb", &"x".repeat(501)] {
            assert!(parse_reason(bad).is_err(), "{bad:?}");
        }
    }
}

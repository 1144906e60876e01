//! What every opinion carries, whatever it says: of whom, for how long, published when, by which models.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::chain::Chain;
use crate::opinion::provenance::Provenance;
use crate::opinion::schemas;

/// The sentence that stands in every opinion.
pub const DISCLAIMER: &str = "Model estimate. Not a rating agency's opinion, not investment advice.";

/// The name that [`Sources`] gives to a head served from the network.
pub const NETWORK: &str = "network";

/// The shared part of every opinion. It is flattened into the opinion, so its fields stand beside the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Envelope {
    /// Which opinion this is.
    pub kind: Kind,
    /// Canonical symbol; `null` with the reason `whole_universe` where the opinion is of all instruments at once.
    #[schema(schema_with = schemas::optional_symbol)]
    pub symbol: Option<Symbol>,
    /// How far the opinion looks ahead.
    #[schema(schema_with = schemas::horizon)]
    pub horizon: Horizon,
    /// The session after whose close it was formed.
    #[schema(value_type = String, format = Date, example = "2024-09-30")]
    pub as_of: Day,
    /// When it was published, in whole seconds.
    #[schema(value_type = String, format = DateTime, example = "2024-09-30T21:05:12Z")]
    pub published_at: DateTime<Utc>,
    /// Last day on which it counts as fresh: `as_of` plus the horizon in sessions.
    #[schema(value_type = String, format = Date, example = "2024-10-28")]
    pub valid_until: Day,
    /// `network` if any head is the network's.
    pub source: Source,
    /// The winner head by head.
    pub sources: Sources,
    /// The model that answered: fitted benchmarks, the decision which heads are served, and the network where there is
    /// one.
    #[schema(example = "2024-09-30.3f9c")]
    pub model_id: Option<String>,
    /// Whether the prices are invented. Simulated and real prices never mix.
    pub simulated: bool,
    /// Published after the next session had opened; such an opinion stays outside the track record.
    pub late: bool,
    /// `backfill` in opinions that were written afterwards, from what was known by `as_of`; absent from live ones. The two
    /// never stand in one chain.
    #[serde(default, skip_serializing_if = "Chain::is_live")]
    #[schema(value_type = String, pattern = "^backfill$", required = false)]
    pub chain: Chain,
    /// Why a field is `null`: the dotted path of the field (`rating.long_term`, `actions.reward`) and the reason.
    #[schema(example = json!({"attribution": "not_computed_yet"}))]
    pub reasons: Reasons,
    /// What the opinion was computed from, enough to compute it again.
    pub provenance: Provenance,
    /// What the opinion is not.
    #[schema(example = "Model estimate. Not a rating agency's opinion, not investment advice.")]
    pub disclaimer: String,
}

/// Reasons for absent values: dotted field path to one of the words in [`reason`].
pub type Reasons = BTreeMap<String, String>;

/// The words used as reasons. Open: later methods add words.
pub mod reason {
    /// The method that fills the field comes with a later version.
    pub const NOT_COMPUTED_YET: &str = "not_computed_yet";
    /// Too few returns for this instrument.
    pub const INSUFFICIENT_HISTORY: &str = "insufficient_history";
    /// No usable filing was known.
    pub const NO_FILINGS: &str = "no_filings";
    /// No network has been trained.
    pub const NO_NETWORK: &str = "no_network";
    /// There are too few outcomes to compute it from.
    pub const TOO_FEW_WINDOWS: &str = "too_few_windows";
    /// The prices stopped long before `as_of`.
    pub const PRICES_STOPPED: &str = "prices_stopped";
    /// An index, or a series that is never traded, is not ranked and not rated.
    pub const NOT_TRADED: &str = "not_traded";
    /// Nothing was published before, so nothing changed.
    pub const FIRST_PUBLICATION: &str = "first_publication";
    /// The opinion is of all instruments at once.
    pub const WHOLE_UNIVERSE: &str = "whole_universe";
}

/// The opinions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`crate::opinion::signal::Signal`].
    Signal,
    /// [`crate::opinion::rating::Rating`].
    Rating,
    /// [`crate::opinion::ranking::Ranking`].
    Ranking,
    /// [`crate::opinion::ranks::Ranks`].
    Ranks,
    /// [`crate::opinion::forecast::Forecast`].
    Forecast,
    /// [`crate::opinion::predictability::Predictability`].
    Predictability,
    /// [`crate::opinion::process::Process`].
    Process,
    /// [`crate::opinion::responses::Responses`].
    Responses,
    /// [`crate::opinion::rating_record::RatingRecord`].
    RatingRecord,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Signal,
        Self::Rating,
        Self::Ranking,
        Self::Ranks,
        Self::Forecast,
        Self::Predictability,
        Self::Process,
        Self::Responses,
        Self::RatingRecord,
    ];

    /// The word used in the ledger and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Rating => "rating",
            Self::Ranking => "ranking",
            Self::Ranks => "ranks",
            Self::Forecast => "forecast",
            Self::Predictability => "predictability",
            Self::Process => "process",
            Self::Responses => "responses",
            Self::RatingRecord => "rating_record",
        }
    }

    /// The horizon under which an opinion is filed and found. Ratings, their record, verdicts and processes have terms of
    /// their own, so every horizon has the same one.
    #[must_use]
    pub fn filed_under(self, horizon: Horizon) -> Horizon {
        match self {
            Self::Rating | Self::Predictability | Self::Process | Self::RatingRecord => Horizon::FourWeeks,
            Self::Signal | Self::Ranking | Self::Ranks | Self::Forecast | Self::Responses => horizon,
        }
    }

    /// Whether an opinion is of all instruments at once, so that it has no symbol.
    #[must_use]
    pub fn is_of_universe(self) -> bool {
        matches!(self, Self::Ranks | Self::Responses | Self::RatingRecord)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|k| k.as_str() == text).ok_or_else(|| format!("unknown kind of opinion {text:?}"))
    }
}

/// Who made the opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// At least one head is the network's.
    Network,
    /// Every head is a benchmark's.
    Benchmark,
}

/// The model that won each head and is therefore served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sources {
    /// Mean of the return.
    #[schema(example = "equity_premium")]
    pub mean: String,
    /// Volatility.
    #[schema(example = "network")]
    pub volatility: String,
    /// Cross-sectional ranks.
    #[schema(example = "seasonal")]
    pub ranks: String,
    /// Quantiles and intervals.
    #[schema(example = "conformal")]
    pub intervals: String,
    /// Probability of a rise.
    #[schema(example = "base_rate")]
    pub direction: String,
}

impl Sources {
    /// [`Source::Network`] if any head is named [`NETWORK`], else [`Source::Benchmark`].
    #[must_use]
    pub fn source(&self) -> Source {
        let heads = [&self.mean, &self.volatility, &self.ranks, &self.intervals, &self.direction];
        if heads.into_iter().any(|name| name == NETWORK) { Source::Network } else { Source::Benchmark }
    }
}

/// A range that holds the value with a stated probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Interval {
    /// Probability that the value lies in the range, 0..1.
    #[schema(example = 0.9)]
    pub level: f64,
    /// Lower end, in the unit of the value.
    #[schema(example = -0.182)]
    pub low: f64,
    /// Upper end, in the unit of the value.
    #[schema(example = 0.219)]
    pub high: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_head_of_the_network_makes_it_the_source() {
        let name = |s: &str| s.to_owned();
        let mut sources = Sources {
            mean: name("equity_premium"),
            volatility: name("harx2"),
            ranks: name("seasonal"),
            intervals: name("conformal"),
            direction: name("base_rate"),
        };
        assert_eq!(sources.source(), Source::Benchmark);
        sources.volatility = name("network");
        assert_eq!(sources.source(), Source::Network);
    }

    #[test]
    fn kinds_round_trip() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse::<Kind>(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
            assert_eq!(kind.filed_under(Horizon::FourWeeks), Horizon::FourWeeks);
        }
        assert!("verdict".parse::<Kind>().is_err());
    }
}

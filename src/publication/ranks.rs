//! The ranks of the universe on the decision day.

use std::collections::BTreeMap;

use crate::forecast::prepared::Prepared;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::canonical::rounded;
use crate::opinion::envelope::{Kind, Sources, reason};
use crate::opinion::explanation::RanksExplanation;
use crate::opinion::numbers::rounded_distribution;
use crate::opinion::ranks::{ExpectedRank, Ranks};
use crate::opinion::signal::Action;
use crate::publication::header::{About, Absent, Header};
use crate::scenario::recipes::RankForecast;

/// What the ranks are formed from.
pub struct RankedUniverse<'a> {
    /// The rows and their columns.
    pub prepared: &'a Prepared,
    /// The ranked instruments.
    pub instruments: &'a [usize],
    /// Their forecast, in the same order; `None` when there is none.
    pub forecast: Option<&'a RankForecast>,
    /// The actions of the signals.
    pub actions: &'a BTreeMap<Symbol, Action>,
    /// Joint draws behind the chances.
    pub scenarios: usize,
    /// Weight of the network's tilt.
    pub tilt_weight: f64,
}

/// Forms the ranks: best expected rank first; between equals the higher chance of the best fifth, then the symbol.
#[must_use]
pub fn ranks(header: &Header, universe: &RankedUniverse<'_>, horizon: Horizon, sources: &Sources) -> Ranks {
    let mut rows: Vec<ExpectedRank> = match universe.forecast {
        Some(forecast) => (0..universe.instruments.len()).map(|k| row(universe, forecast, k)).collect(),
        None => vec![],
    };
    let last = f64::MAX;
    let order = |r: &ExpectedRank| (r.expected_rank.unwrap_or(last), r.quintile_probabilities.map_or(0.0, |p| p[4]));
    rows.sort_by(|a, b| {
        let ((a_rank, a_best), (b_rank, b_best)) = (order(a), order(b));
        a_rank.total_cmp(&b_rank).then(b_best.total_cmp(&a_best)).then_with(|| a.symbol.cmp(&b.symbol))
    });
    let mut absent = Absent::default();
    if rows.is_empty() {
        ["ranks", "explanation"].into_iter().for_each(|field| absent.because(field, reason::INSUFFICIENT_HISTORY));
    }
    Ranks {
        explanation: (!rows.is_empty()).then(|| explanation(universe, sources)),
        ranks: rows,
        envelope: header.envelope(About { kind: Kind::Ranks, symbol: None, horizon, sources }, absent),
    }
}

fn explanation(universe: &RankedUniverse<'_>, sources: &Sources) -> RanksExplanation {
    let tilted = match universe.tilt_weight > 0.0 {
        true => "tilted by the network towards the side on which it expects them",
        false => "on which side nobody has been shown to know, so that all expected ranks are the middle one",
    };
    RanksExplanation {
        sentence: format!(
            "{} instruments by how far from the middle they may land, by {}; {tilted}.",
            universe.instruments.len(),
            sources.ranks
        ),
        instruments: universe.instruments.len() as u32,
        scenarios: universe.scenarios as u32,
        tilt_weight: rounded(universe.tilt_weight),
    }
}

fn row(universe: &RankedUniverse<'_>, forecast: &RankForecast, k: usize) -> ExpectedRank {
    let symbol = &universe.prepared.history.instruments[universe.instruments[k]].instrument.symbol;
    ExpectedRank {
        symbol: symbol.clone(),
        expected_rank: Some(rounded(forecast.expected_rank[k])),
        quintile_probabilities: Some(rounded_distribution(forecast.quintile_probabilities[k])),
        action: universe.actions.get(symbol).copied(),
        reason: forecast.borrowed[k].then(|| "borrowed_from_the_universe".to_owned()),
    }
}

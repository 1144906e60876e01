//! What all answers of one publication share, and the envelope of each.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::chain::Chain;
use crate::opinion::envelope::{DISCLAIMER, Envelope, Kind, Reasons, Sources, reason};
use crate::opinion::provenance::Provenance;

/// The shared part of a publication.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Decision day.
    pub as_of: Day,
    /// When it is written, whole seconds.
    pub published_at: DateTime<Utc>,
    /// Whether the prices are invented.
    pub simulated: bool,
    /// The model that answers.
    pub model_id: String,
    /// Whether the model holds a network.
    pub has_network: bool,
    /// Where it is written.
    pub chain: Chain,
    /// Inputs, cutoffs, recipe, seed, code.
    pub provenance: Provenance,
}

/// Why values are absent, by dotted path.
#[derive(Debug, Clone, Default)]
pub struct Absent(Reasons);

impl Absent {
    /// Notes why a field is null.
    pub fn because(&mut self, field: &str, reason: impl ToString) {
        self.0.insert(field.to_owned(), reason.to_string());
    }

    /// The value, or nothing with the reason noted.
    pub fn or_because<T>(&mut self, value: Option<T>, field: &str, reason: impl ToString) -> Option<T> {
        if value.is_none() {
            self.because(field, reason);
        }
        value
    }
}

/// Who and what an answer is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Kind of the answer.
    pub kind: Kind,
    /// Whose; `None` for the whole universe.
    pub symbol: Option<&'a Symbol>,
    /// How far it looks ahead.
    pub horizon: Horizon,
    /// Who won each head.
    pub sources: &'a Sources,
}

impl Header {
    /// Name of the publication.
    #[must_use]
    pub fn publication(&self) -> Uuid {
        self.provenance.publication
    }

    /// Whether it was written after the next session had opened, or is backfilled.
    #[must_use]
    pub fn late(&self) -> bool {
        self.chain == Chain::Backfill || self.published_at >= calendar::open_of(calendar::next_session(self.as_of))
    }

    /// Last day of validity at a horizon.
    #[must_use]
    pub fn valid_until(&self, horizon: Horizon) -> Day {
        calendar::add_sessions(self.as_of, horizon.sessions())
    }

    /// The envelope of an answer.
    #[must_use]
    pub fn envelope(&self, about: About<'_>, absent: Absent) -> Envelope {
        let Absent(mut reasons) = absent;
        if about.symbol.is_none() {
            reasons.insert("symbol".into(), reason::WHOLE_UNIVERSE.into());
        }
        if !self.has_network {
            reasons.insert("provenance.model_sha256".into(), reason::NO_NETWORK.into());
        }
        Envelope {
            kind: about.kind,
            symbol: about.symbol.cloned(),
            horizon: about.horizon,
            as_of: self.as_of,
            published_at: self.published_at,
            valid_until: self.valid_until(about.horizon),
            source: about.sources.source(),
            sources: about.sources.clone(),
            model_id: Some(self.model_id.clone()),
            simulated: self.simulated,
            late: self.late(),
            chain: self.chain,
            reasons,
            provenance: self.provenance.clone(),
            disclaimer: DISCLAIMER.to_owned(),
        }
    }
}

/// What was answered last, by symbol and horizon, so that changes can be dated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Previous {
    /// Last signals.
    pub signals: BTreeMap<(Symbol, Horizon), crate::opinion::signal::Signal>,
    /// Last ratings.
    pub ratings: BTreeMap<Symbol, crate::opinion::rating::Rating>,
}

//! What happened after a decision day, as it was known when its horizon had matured.

use chrono::{DateTime, Days, Utc};

use crate::evaluation::live_scores::{Happened, NotScored, carried_return};
use crate::evaluation::rank_scores::{CLASS_COUNT, quintile_membership};
use crate::jobs::moment::Moment;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::history::History;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::store::StoreError;
use crate::store::history::load_days;
use crate::store::open::Store;

/// Sessions after maturity during which rows still count, and for which an instrument whose prices are late is waited for.
const GRACE_SESSIONS: usize = 5;
/// Sessions by which the exchange may have been closed unexpectedly within a horizon.
const CLOSURES: usize = 10;
/// Calendar days before the decision day from which prices are read, so that the first return has a price before it.
const DAYS_BEFORE: u64 = 21;

/// What happened over one horizon after a decision day.
pub struct Outcome {
    history: History,
    session: usize,
    /// Position of the last session; `None` where the rows of the last session came too late to count.
    end: Option<usize>,
    /// Last session of the horizon.
    pub matured_on: Day,
    /// Cutoff on `known_at` of the rows behind it.
    pub known_until: DateTime<Utc>,
    /// Cutoff on `recorded_at` of these rows.
    pub recorded_until: DateTime<Utc>,
    is_final: bool,
}

impl Outcome {
    /// Loads what is known at a moment; `None` until the last session of the horizon is one that the service would decide
    /// on. Later than five sessions after it no row counts any more, so an outcome does not depend on when it is looked at.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be reached.
    pub async fn load(
        store: &Store,
        moment: &Moment,
        (as_of, horizon): (Day, Horizon),
    ) -> Result<Option<Self>, StoreError> {
        let Moment { known_until, recorded_until, .. } = *moment;
        let first = as_of.checked_sub_days(Days::new(DAYS_BEFORE)).unwrap_or(as_of);
        let days = first..=calendar::add_sessions(as_of, horizon.sessions() + CLOSURES);
        let history = load_days(&store.pool, (known_until, recorded_until), days.clone()).await?;
        let position = |history: &History, day: Day| history.sessions.binary_search(&day).ok();
        let Some(session) = position(&history, as_of) else { return Ok(None) };
        let Some(matured_on) = history.sessions.get(session + horizon.sessions()).copied() else { return Ok(None) };
        if history.decision_day().is_none_or(|newest| newest < matured_on) {
            return Ok(None);
        }
        let closed = calendar::close_of(calendar::add_sessions(matured_on, GRACE_SESSIONS));
        let is_final = closed <= known_until;
        let (history, known_until) = if closed < known_until {
            (load_days(&store.pool, (closed, recorded_until), days).await?, closed)
        } else {
            (history, known_until)
        };
        let end = position(&history, matured_on);
        let session = position(&history, as_of).unwrap_or(session);
        Ok(Some(Self { history, session, end, matured_on, known_until, recorded_until, is_final }))
    }

    /// Whether the prices of an instrument have not arrived yet: it traded within the last five sessions, lacks the last
    /// one, and these days may still bring it.
    #[must_use]
    pub fn awaits(&self, symbol: &Symbol) -> bool {
        let Some(end) = self.end.filter(|_| !self.is_final) else { return false };
        let closes = self.history.find(symbol).map(|i| &i.close[end.saturating_sub(GRACE_SESSIONS)..=end]);
        closes.is_some_and(|c| c.last().is_some_and(|last| last.is_nan()) && c.iter().any(|c| c.is_finite()))
    }

    /// What an instrument did.
    ///
    /// # Errors
    /// [`NotScored`].
    pub fn of(&self, symbol: &Symbol) -> Result<Happened, NotScored> {
        let instrument = self.history.find(symbol).ok_or(NotScored::PricesStopped)?;
        Happened::between(instrument, self.session, self.end.ok_or(NotScored::PricesMissing)?)
    }

    /// The fifths that ranked instruments fell into, in their order; one that stopped keeps the place of its last price.
    #[must_use]
    pub fn fifths<'s>(&self, ranked: impl Iterator<Item = &'s Symbol>) -> Vec<[f64; CLASS_COUNT]> {
        let end = self.end.unwrap_or(self.session);
        let returned = |symbol| self.history.find(symbol).map_or(0.0, |i| carried_return(i, self.session, end));
        quintile_membership(&ranked.map(returned).collect::<Vec<_>>())
    }
}

//! The newest opinions as ready bytes, found by kind, horizon and symbol without a lock.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chrono::{DateTime, Days, NaiveTime, Utc};
use serde::Deserialize;

use crate::api::pick;
use crate::api::ready::Ready;
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::envelope::{Kind, Reasons, reason};
use crate::store::StoreError;
use crate::store::ledger::LedgerRow;

/// The part of an entry that is served only when asked for.
pub const EXPLANATION: &str = "explanation";

/// Whose settings a process was solved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SolvedFor {
    /// Those of the publication: the answer is the entry.
    Publication,
    /// Those of the request: the answer was computed from the entry.
    Request,
}

impl SolvedFor {
    /// The word used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publication => "publication",
            Self::Request => "request",
        }
    }
}

/// A published opinion as the ledger holds it.
#[derive(Debug, Clone)]
pub struct PublishedEntry {
    /// Place in the ledger.
    pub sequence: i64,
    /// Hash of the entry after its predecessor's.
    pub hash: [u8; 32],
    /// Which opinion.
    pub kind: Kind,
    /// Of whom; `None` for opinions of the whole universe.
    pub symbol: Option<Symbol>,
    /// How far it looks ahead.
    pub horizon: Horizon,
    /// When it was published.
    pub published_at: DateTime<Utc>,
    /// Last day of freshness.
    pub valid_until: Day,
    /// Prices stopped, so that it is stale from the start.
    pub prices_stopped: bool,
    /// RFC 8785 canonical JSON, without what [`served`] appends.
    pub entry: Bytes,
}

/// All newest opinions at one moment. Immutable; a publication makes a new one.
#[derive(Debug, Default)]
pub struct Snapshot {
    groups: BTreeMap<(Kind, Horizon), Group>,
    next_publication: Option<DateTime<Utc>>,
}

/// The opinions of one kind and horizon, ascending by symbol.
#[derive(Debug, Default)]
pub struct Group {
    items: Vec<Item>,
    first_pages: [OnceLock<Arc<Ready>>; 2],
}

/// One opinion, ready to be served.
#[derive(Debug, Clone)]
pub struct Item {
    /// Of whom; `None` for opinions of the whole universe.
    pub symbol: Option<Symbol>,
    /// The served answer without its explanation.
    pub ready: Arc<Ready>,
    /// The same with it, written on first use.
    explained: OnceLock<Arc<Ready>>,
    published: Arc<PublishedEntry>,
    stale: bool,
}

impl TryFrom<LedgerRow> for PublishedEntry {
    type Error = StoreError;

    /// Reads the columns of a ledger row. The opinion itself says when its prices have stopped, in its reasons.
    fn try_from(row: LedgerRow) -> Result<Self, StoreError> {
        let said: Said = serde_json::from_slice(&row.entry).map_err(StoreError::row)?;
        Ok(Self {
            sequence: row.sequence,
            hash: row.hash,
            kind: row.kind.parse().map_err(StoreError::row)?,
            symbol: row.symbol.map(|s| Symbol::parse(&s)).transpose().map_err(StoreError::row)?,
            horizon: row.horizon.parse().map_err(StoreError::row)?,
            published_at: row.published_at,
            valid_until: row.valid_until,
            prices_stopped: said.reasons.values().any(|r| r == reason::PRICES_STOPPED),
            entry: row.entry.into(),
        })
    }
}

/// The part of an opinion that decides on its freshness.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    reasons: Reasons,
}

impl Snapshot {
    /// Lays out the newest entry of each kind, horizon and symbol; of several the highest sequence counts.
    #[must_use]
    pub fn build(entries: Vec<PublishedEntry>, now: DateTime<Utc>) -> Self {
        let mut newest: BTreeMap<(Kind, Horizon, Option<Symbol>), PublishedEntry> = BTreeMap::new();
        for entry in entries {
            let key = (entry.kind, entry.kind.filed_under(entry.horizon), entry.symbol.clone());
            if newest.get(&key).is_none_or(|held| held.sequence < entry.sequence) {
                newest.insert(key, entry);
            }
        }
        let mut groups: BTreeMap<(Kind, Horizon), Group> = BTreeMap::new();
        for ((kind, horizon, _), entry) in newest {
            groups.entry((kind, horizon)).or_default().items.push(Item::new(Arc::new(entry), now));
        }
        Self { groups, next_publication: None }
    }

    /// Names the instant until which answers may be kept by caches.
    #[must_use]
    pub fn with_next_publication(mut self, at: Option<DateTime<Utc>>) -> Self {
        self.next_publication = at;
        self
    }

    /// The same opinions at a later moment, with `stale` as it is then.
    #[must_use]
    pub fn at(&self, now: DateTime<Utc>) -> Self {
        let groups = self.groups.iter().map(|(key, group)| (*key, group.at(now))).collect();
        Self { groups, next_publication: self.next_publication }
    }

    /// Whether nothing has been published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// When the next publication is scheduled.
    #[must_use]
    pub fn next_publication(&self) -> Option<DateTime<Utc>> {
        self.next_publication
    }

    /// The next moment at which an opinion turns stale.
    #[must_use]
    pub fn next_staleness(&self) -> Option<DateTime<Utc>> {
        self.items().filter(|i| !i.stale).map(|i| stale_from(i.published.valid_until)).min()
    }

    /// Newest place of the ledger that is served here; 0 when nothing is.
    #[must_use]
    pub fn sequence(&self) -> i64 {
        self.items().map(|i| i.published.sequence).max().unwrap_or(0)
    }

    /// When the newest answer that is served here was published.
    #[must_use]
    pub fn published_at(&self) -> Option<DateTime<Utc>> {
        self.items().map(|i| i.published.published_at).max()
    }

    /// The opinions of a kind and horizon; see [`Kind::filed_under`].
    #[must_use]
    pub fn group(&self, kind: Kind, horizon: Horizon) -> Option<&Group> {
        self.groups.get(&(kind, kind.filed_under(horizon)))
    }

    /// One opinion.
    #[must_use]
    pub fn find(&self, kind: Kind, horizon: Horizon, symbol: Option<&Symbol>) -> Option<&Item> {
        self.group(kind, horizon)?.find(symbol)
    }

    /// Every symbol of which anything is published, ascending, repeated.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.items().filter_map(|i| i.symbol.as_ref())
    }

    fn items(&self) -> impl Iterator<Item = &Item> {
        self.groups.values().flat_map(|g| &g.items)
    }
}

impl Group {
    /// All opinions, ascending by symbol.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The first page of the list without any selection, with explanations or without, made on first use: most readers
    /// ask for just that.
    #[must_use]
    pub fn first_page(&self, explained: bool) -> &OnceLock<Arc<Ready>> {
        &self.first_pages[usize::from(explained)]
    }

    /// The opinion of one symbol.
    #[must_use]
    pub fn find(&self, symbol: Option<&Symbol>) -> Option<&Item> {
        let at = self.items.binary_search_by(|item| item.symbol.as_ref().cmp(&symbol)).ok()?;
        self.items.get(at)
    }

    fn at(&self, now: DateTime<Utc>) -> Self {
        Self { items: self.items.iter().map(|item| item.at(now)).collect(), ..Self::default() }
    }
}

impl Item {
    /// The served answer with its explanation or without.
    #[must_use]
    pub fn form(&self, explained: bool) -> &Arc<Ready> {
        if explained { self.explained() } else { &self.ready }
    }

    /// The same with it where the entry holds one.
    fn explained(&self) -> &Arc<Ready> {
        self.explained.get_or_init(|| {
            let body = served(&self.published, &self.published.entry, self.stale);
            // Equal bytes are sent from one place, with one tag.
            let same = self.ready.identity.body == body;
            if same { self.ready.clone() } else { Arc::new(Ready::json(body, self.ready.last_modified)) }
        })
    }

    /// The entry that is served.
    #[must_use]
    pub fn published(&self) -> &PublishedEntry {
        &self.published
    }

    /// Whether it is past its freshness.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    fn new(published: Arc<PublishedEntry>, now: DateTime<Utc>) -> Self {
        let stale = is_stale(&published, now);
        let modified =
            if stale && !published.prices_stopped { stale_from(published.valid_until) } else { published.published_at };
        // An answer that was stale when it was published has not changed since.
        let modified = modified.max(published.published_at);
        let body = served(&published, &pick::without(&published.entry, EXPLANATION), stale);
        let ready = Arc::new(Ready::json(body, Some(modified)));
        Self { symbol: published.symbol.clone(), ready, explained: OnceLock::new(), published, stale }
    }

    fn at(&self, now: DateTime<Utc>) -> Self {
        if is_stale(&self.published, now) == self.stale { self.clone() } else { Self::new(self.published.clone(), now) }
    }
}

/// A body (the entry, or what is left of it) with the entry's place in the ledger and its freshness appended; of a process
/// also that it was solved for the publication. The bytes of the body stay untouched.
#[must_use]
pub fn served(published: &PublishedEntry, body: &[u8], stale: bool) -> Vec<u8> {
    let solved_for = (published.kind == Kind::Process).then_some(SolvedFor::Publication);
    served_as(published, body, (stale, solved_for))
}

/// The same with who the settings of a process came from.
#[must_use]
pub fn served_as(published: &PublishedEntry, body: &[u8], (stale, solved_for): (bool, Option<SolvedFor>)) -> Vec<u8> {
    let open = body.strip_suffix(b"}").unwrap_or(body);
    let (sequence, hash) = (published.sequence, hex::encode(published.hash));
    let solved_for = solved_for.map(|who| format!(",\"solved_for\":\"{}\"", who.as_str())).unwrap_or_default();
    let tail = format!(",\"ledger\":{{\"sequence\":{sequence},\"hash\":\"{hash}\"}},\"stale\":{stale}{solved_for}}}");
    [open, tail.as_bytes()].concat()
}

/// Whether the entry is past its last day of freshness, or was stale from the start.
#[must_use]
pub fn is_stale(published: &PublishedEntry, now: DateTime<Utc>) -> bool {
    published.prices_stopped || now >= stale_from(published.valid_until)
}

/// The first instant after the last day of freshness.
fn stale_from(valid_until: Day) -> DateTime<Utc> {
    let day = valid_until.checked_add_days(Days::new(1)).unwrap_or(valid_until);
    day.and_time(NaiveTime::MIN).and_utc()
}

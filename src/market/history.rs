//! What was known at one moment, laid out for computing: one row a session, one column an instrument.
//!
//! A missing number is NaN inside these columns (a column of `Option<f64>` would double their size); NaN never leaves
//! the pure modules.

use chrono::{DateTime, Utc};

use crate::market::bar::{Action, Bar, Day};
use crate::market::calendar;
use crate::market::factor::FactorHistory;
use crate::market::filing::Filing;
use crate::market::instrument::{Instrument, InstrumentKind, Symbol};

/// The rows of one instrument as they come from the store, a file or the simulator.
#[derive(Debug, Clone)]
pub struct InstrumentRows {
    /// Who it is.
    pub instrument: Instrument,
    /// Bars, ascending by day, one a day.
    pub bars: Vec<Bar>,
    /// Splits and dividends, ascending by day, one a day.
    pub actions: Vec<Action>,
    /// Filings, ascending by `known_at`.
    pub filings: Vec<KnownFiling>,
}

/// A filing with the moment from which the world could use it.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownFiling {
    /// When the world could know it.
    pub known_at: DateTime<Utc>,
    /// What was filed.
    pub filing: Filing,
}

/// One instrument's columns, each as long as [`History::sessions`].
#[derive(Debug, Clone)]
pub struct InstrumentHistory {
    /// Who it is.
    pub instrument: Instrument,
    /// Raw first price; NaN where missing.
    pub open: Vec<f64>,
    /// Raw highest price; NaN where missing.
    pub high: Vec<f64>,
    /// Raw lowest price; NaN where missing.
    pub low: Vec<f64>,
    /// Raw close; NaN where there is no bar.
    pub close: Vec<f64>,
    /// Shares traded; NaN where missing.
    pub volume: Vec<f64>,
    /// Log total return from the previous bar's close (dividends and splits included); NaN on the first bar and where
    /// there is no bar. After a gap the return spans the gap.
    pub log_return: Vec<f64>,
    /// Log of open over the previous close, on the same basis; NaN where the open is missing.
    pub overnight_return: Vec<f64>,
    /// New shares for one old, 1 on days without a split.
    pub split: Vec<f64>,
    /// Filings, ascending by `known_at`.
    pub filings: Vec<KnownFiling>,
    /// Session index of the first bar; `None` without bars.
    pub first: Option<usize>,
    /// Session index of the last bar; `None` without bars.
    pub last: Option<usize>,
}

/// Everything known at one moment.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Ascending sessions: every day on which an instrument that is not an index has a bar, and which is a session of the
    /// exchange or one of most instruments. A bar on another day is left out; the return of the next one spans it.
    pub sessions: Vec<Day>,
    /// Instruments, ascending by symbol.
    pub instruments: Vec<InstrumentHistory>,
    /// Factor series, ascending by id.
    pub factors: Vec<FactorHistory>,
}

impl History {
    /// Lays the rows out over their common sessions.
    #[must_use]
    pub fn assemble(mut rows: Vec<InstrumentRows>, mut factors: Vec<FactorHistory>) -> Self {
        rows.sort_by(|a, b| a.instrument.symbol.cmp(&b.instrument.symbol));
        factors.sort_by(|a, b| a.id.cmp(&b.id));
        let only_indices = rows.iter().all(|r| r.instrument.kind == InstrumentKind::Index);
        let mut sessions: Vec<Day> = rows
            .iter()
            .filter(|r| only_indices || r.instrument.kind != InstrumentKind::Index)
            .flat_map(|r| r.bars.iter().map(Bar::day))
            .collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions.retain(|day| calendar::is_session(*day) || is_common(&rows, *day));
        let instruments = rows.into_iter().map(|r| lay_out(r, &sessions)).collect();
        Self { sessions, instruments, factors }
    }

    /// The part of this history that was known at the close of `day`: later sessions, values and filings are dropped.
    #[must_use]
    pub fn until(&self, day: Day) -> Self {
        let count = self.sessions.partition_point(|d| *d <= day);
        let known_until = calendar::close_of(day);
        let factors = self.factors.iter().map(|f| {
            let observations = f.observations.iter().filter(|o| o.known_at <= known_until).copied().collect();
            FactorHistory { id: f.id.clone(), observations }
        });
        Self {
            sessions: self.sessions[..count].to_vec(),
            instruments: self
                .instruments
                .iter()
                .map(|i| i.until(count, known_until))
                .filter(|i| i.first.is_some())
                .collect(),
            factors: factors.filter(|f| !f.observations.is_empty()).collect(),
        }
    }

    /// The newest session on which at least half of the instruments that traded within the five sessions before have a
    /// bar: a single early bar does not move the day on which all are decided. `None` without sessions.
    #[must_use]
    pub fn decision_day(&self) -> Option<Day> {
        (0..self.sessions.len()).rev().find(|t| self.decides(*t)).map(|t| self.sessions[t])
    }

    /// Every session that is or was [`History::decision_day`] once it had closed, ascending, with its index.
    pub fn decision_days(&self) -> impl Iterator<Item = (usize, Day)> {
        (0..self.sessions.len()).filter(|t| self.decides(*t)).map(|t| (t, self.sessions[t]))
    }

    fn decides(&self, session: usize) -> bool {
        let traded = |from: usize, to: usize| {
            let has_bar = |i: &&InstrumentHistory| i.close[from..=to].iter().any(|c| c.is_finite());
            self.instruments.iter().filter(has_bar).count()
        };
        2 * traded(session, session) >= traded(session.saturating_sub(5), session)
    }

    /// Index of the last session on or before `day`.
    #[must_use]
    pub fn session_at(&self, day: Day) -> Option<usize> {
        self.sessions.partition_point(|d| *d <= day).checked_sub(1)
    }

    /// The instrument of that name.
    #[must_use]
    pub fn find(&self, symbol: &Symbol) -> Option<&InstrumentHistory> {
        let at = self.instruments.binary_search_by(|i| i.instrument.symbol.cmp(symbol)).ok()?;
        self.instruments.get(at)
    }

    /// The factor series of that name.
    #[must_use]
    pub fn factor(&self, id: &str) -> Option<&FactorHistory> {
        self.factors.iter().find(|f| f.id == id)
    }
}

impl InstrumentHistory {
    /// Sum of log returns over the `count` sessions that end at session `end`; `None` when any is missing.
    #[must_use]
    pub fn return_over(&self, end: usize, count: usize) -> Option<f64> {
        let start = (end + 1).checked_sub(count)?;
        let sum: f64 = self.log_return.get(start..=end)?.iter().sum();
        sum.is_finite().then_some(sum)
    }

    /// Whether a price is never a traded one: an index by kind, or a series whose volume is always zero.
    #[must_use]
    pub fn is_index(&self) -> bool {
        let mut known = self.volume.iter().filter(|v| v.is_finite()).peekable();
        self.instrument.kind == InstrumentKind::Index || (known.peek().is_some() && known.all(|v| *v == 0.0))
    }

    fn until(&self, count: usize, known_until: DateTime<Utc>) -> Self {
        let cut = |column: &[f64]| column[..count].to_vec();
        let close = cut(&self.close);
        Self {
            instrument: self.instrument.clone(),
            open: cut(&self.open),
            high: cut(&self.high),
            low: cut(&self.low),
            volume: cut(&self.volume),
            log_return: cut(&self.log_return),
            overnight_return: cut(&self.overnight_return),
            split: cut(&self.split),
            filings: self.filings.iter().filter(|f| f.known_at <= known_until).cloned().collect(),
            first: close.iter().position(|c| c.is_finite()),
            last: close.iter().rposition(|c| c.is_finite()),
            close,
        }
    }
}

/// Whether at least half of the instruments that traded within ten days have a bar on the day, so that it is a session of
/// another exchange and not a stray row or an instrument that trades on Sundays.
fn is_common(rows: &[InstrumentRows], day: Day) -> bool {
    let newest_bar = |r: &InstrumentRows| {
        let count = r.bars.partition_point(|b| b.day() <= day);
        r.bars[..count].last().map(|b| (day - b.day()).num_days())
    };
    let ages: Vec<i64> = rows.iter().filter_map(newest_bar).filter(|age| *age < 10).collect();
    2 * ages.iter().filter(|age| **age == 0).count() >= ages.len()
}

fn lay_out(rows: InstrumentRows, sessions: &[Day]) -> InstrumentHistory {
    let empty = || vec![f64::NAN; sessions.len()];
    let mut laid = InstrumentHistory {
        instrument: rows.instrument,
        open: empty(),
        high: empty(),
        low: empty(),
        close: empty(),
        volume: empty(),
        log_return: empty(),
        overnight_return: empty(),
        split: vec![1.0; sessions.len()],
        filings: rows.filings,
        first: None,
        last: None,
    };
    let mut actions = rows.actions.iter().peekable();
    let mut previous: Option<f64> = None;
    for bar in &rows.bars {
        let fields = bar.fields();
        let Ok(t) = sessions.binary_search(&fields.day) else { continue };
        // Actions on days without a bar, or off the sessions, apply to the next bar.
        let mut action = Action { day: fields.day, split: 1.0, dividend: 0.0 };
        while let Some(a) = actions.next_if(|a| a.day <= fields.day) {
            action.dividend += a.dividend / action.split;
            action.split *= a.split;
        }
        laid.open[t] = fields.open.unwrap_or(f64::NAN);
        laid.high[t] = fields.high.unwrap_or(f64::NAN);
        laid.low[t] = fields.low.unwrap_or(f64::NAN);
        laid.close[t] = fields.close;
        laid.volume[t] = fields.volume.unwrap_or(f64::NAN);
        laid.split[t] = action.split;
        if let Some(r) = previous.and_then(|p| action.log_return(p, fields.close)) {
            laid.log_return[t] = r;
            laid.overnight_return[t] = fields.open.map_or(f64::NAN, |o| r - (fields.close / o).ln());
        }
        previous = Some(fields.close);
        laid.first.get_or_insert(t);
        laid.last = Some(t);
    }
    laid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::bar::BarFields;

    fn rows(symbol: &str, closes: &[(u32, f64)]) -> InstrumentRows {
        let bars = closes.iter().map(|(d, close)| {
            let day = Day::from_ymd_opt(2024, 10, *d).unwrap();
            Bar::new(BarFields { day, open: None, high: None, low: None, close: *close, volume: None }).unwrap()
        });
        InstrumentRows {
            instrument: Instrument::unnamed(Symbol::parse(symbol).unwrap()),
            bars: bars.collect(),
            actions: vec![],
            filings: vec![],
        }
    }

    #[test]
    fn columns_share_their_sessions_and_truncate() {
        let mut split = rows("B", &[(1, 100.0), (2, 26.0)]);
        split.actions.push(Action { day: Day::from_ymd_opt(2024, 10, 2).unwrap(), split: 4.0, dividend: 0.0 });
        let history = History::assemble(vec![split, rows("A", &[(2, 10.0), (3, 11.0)])], vec![]);
        assert_eq!(history.sessions.len(), 3);
        let a = history.find(&Symbol::parse("a").unwrap()).unwrap();
        assert_eq!((a.first, a.last), (Some(1), Some(2)));
        assert!((a.log_return[2] - 1.1f64.ln()).abs() < 1e-12);
        let b = history.find(&Symbol::parse("b").unwrap()).unwrap();
        assert!((b.log_return[1] - 1.04f64.ln()).abs() < 1e-12);
        let early = history.until(Day::from_ymd_opt(2024, 10, 1).unwrap());
        assert_eq!((early.sessions.len(), early.instruments.len()), (1, 1));
    }
}

//! Spans of decision days over which scores are reported: all of them, calendar years, and all but the crash of 2020.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use chrono::Datelike;
use serde::{Serialize, Serializer};

use crate::market::bar::Day;
use crate::market::history::History;

/// First and last day of the crash of 2020, which alone can decide a mean of losses.
pub const CRASH: (Day, Day) = match (Day::from_ymd_opt(2020, 1, 15), Day::from_ymd_opt(2020, 4, 15)) {
    (Some(first), Some(last)) => (first, last),
    _ => (Day::MIN, Day::MIN),
};

/// A span of decision days, written `all`, `2016` or `without_2020_crash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// Every day.
    All,
    /// The days of one calendar year.
    Year(i32),
    /// Every day but those of [`crash_decisions`].
    WithoutCrash,
}

/// A number of one period.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InPeriod<Value> {
    /// The period.
    pub period: Period,
    /// The number or numbers.
    #[serde(flatten)]
    pub value: Value,
}

impl Period {
    /// Whether a decision day belongs to it; `crash` comes from [`crash_decisions`].
    #[must_use]
    pub fn contains(self, as_of: Day, crash: &Range<Day>) -> bool {
        match self {
            Self::All => true,
            Self::Year(year) => as_of.year() == year,
            Self::WithoutCrash => !crash.contains(&as_of),
        }
    }

    /// All periods that hold one of the days: all, the years ascending, without the crash.
    #[must_use]
    pub fn of_days(days: impl Iterator<Item = Day>, crash: &Range<Day>) -> Vec<Self> {
        let (mut years, mut calm) = (BTreeSet::new(), false);
        for day in days {
            years.insert(day.year());
            calm |= !crash.contains(&day);
        }
        let all = (!years.is_empty()).then_some(Self::All);
        all.into_iter().chain(years.into_iter().map(Self::Year)).chain(calm.then_some(Self::WithoutCrash)).collect()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Year(year) => write!(formatter, "{year}"),
            Self::WithoutCrash => formatter.write_str("without_2020_crash"),
        }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The decision days whose outcome over `horizon_sessions` holds a session of [`CRASH`]; empty when there are none.
///
/// The outcome of session `s` spans the sessions `s + 1 ..= s + horizon_sessions`.
#[must_use]
pub fn crash_decisions(history: &History, horizon_sessions: usize) -> Range<Day> {
    let sessions = &history.sessions;
    let first = sessions.partition_point(|d| *d < CRASH.0);
    let end = sessions.partition_point(|d| *d <= CRASH.1);
    match (sessions.get(first.saturating_sub(horizon_sessions)), end.checked_sub(1).and_then(|last| sessions.get(last)))
    {
        (Some(from), Some(to)) if first < end => *from..*to,
        _ => Day::MIN..Day::MIN,
    }
}

/// A value of the rows of each period in which there is one.
pub(super) fn by_period<Row, Value>(
    rows: &[Row],
    as_of: impl Fn(&Row) -> Day,
    crash: &Range<Day>,
    value: impl Fn(&[&Row]) -> Option<Value>,
) -> Vec<InPeriod<Value>> {
    let of = |period: Period| {
        let rows: Vec<&Row> = rows.iter().filter(|r| period.contains(as_of(r), crash)).collect();
        Some(InPeriod { period, value: value(&rows)? })
    };
    Period::of_days(rows.iter().map(&as_of), crash).into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn weekdays(from: &str, to: &str) -> History {
        let days = day(from).iter_days().take_while(|d| *d <= day(to)).filter(|d| d.weekday().number_from_monday() < 6);
        History { sessions: days.collect(), ..History::default() }
    }

    #[test]
    fn a_decision_is_of_the_crash_when_its_outcome_touches_it() {
        let history = weekdays("2019-01-01", "2021-01-01");
        // Wednesday, 15 January is the fifth session after Wednesday, 8 January.
        assert_eq!(crash_decisions(&history, 5), day("2020-01-08")..day("2020-04-15"));
        assert_eq!(crash_decisions(&history, 1), day("2020-01-14")..day("2020-04-15"));
        assert_eq!(crash_decisions(&history, 10_000).start, day("2019-01-01"));
        for calm in [weekdays("2014-01-01", "2019-12-31"), weekdays("2020-05-01", "2021-01-01"), History::default()] {
            assert!(crash_decisions(&calm, 20).is_empty());
        }
    }

    #[test]
    fn periods_are_all_years_and_the_days_without_the_crash() {
        let crash = day("2020-01-08")..day("2020-04-15");
        let rows = [(day("2020-03-02"), 7), (day("2019-12-02"), 1), (day("2020-05-04"), 2)];
        let sums = by_period(&rows, |r| r.0, &crash, |rows| Some(rows.iter().map(|r| r.1).sum::<i32>()));
        let found: Vec<(String, i32)> = sums.into_iter().map(|s| (s.period.to_string(), s.value)).collect();
        let expected = [("all", 10), ("2019", 1), ("2020", 9), ("without_2020_crash", 3)];
        assert_eq!(found, expected.map(|(p, v)| (p.to_owned(), v)));
        assert!(Period::of_days(std::iter::empty(), &crash).is_empty());
        assert_eq!(Period::of_days([day("2020-03-02")].into_iter(), &crash), [Period::All, Period::Year(2020)]);
    }
}

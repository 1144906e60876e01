//! How old prices and factor series are, and what is missing between them, counted in sessions of the New York exchange.

use chrono::Days;

use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::factor::FactorHistory;
use crate::market::history::{History, InstrumentHistory};
use crate::opinion::drift::{Gaps, SeriesStaleness, Staleness};

/// Prices count as stopped when more sessions than this have closed since the last bar.
pub const STALE_AFTER_SESSIONS: u32 = 5;
/// Calendar days of the year that is searched for gaps.
const YEAR_DAYS: u64 = 365;
/// Sessions that count as late.
const LATELY: usize = 20;

/// Age of the last bar at the close of a session.
#[must_use]
pub fn staleness(last_bar: Option<Day>, newest_closed: Day) -> Staleness {
    let behind = |last: Day| calendar::sessions_between(last, newest_closed) as u32;
    Staleness { sessions_behind: last_bar.map(behind), last_bar }
}

/// Whether prices have stopped; an instrument without bars counts as such.
#[must_use]
pub fn is_stale(staleness: &Staleness) -> bool {
    staleness.sessions_behind.is_none_or(|behind| behind > STALE_AFTER_SESSIONS)
}

/// Sessions without a bar in the year that ends at an instrument's last bar.
#[must_use]
pub fn gaps(history: &History, instrument: &InstrumentHistory) -> Gaps {
    let (Some(first), Some(last)) = (instrument.first, instrument.last) else { return Gaps::default() };
    let (first, last) = (history.sessions[first], history.sessions[last]);
    let year = last.checked_sub_days(Days::new(YEAR_DAYS)).unwrap_or(first);
    let days = first.max(year).iter_days().take_while(|day| *day <= last);
    let has_bar = |day: Day| history.sessions.binary_search(&day).is_ok_and(|t| instrument.close[t].is_finite());
    let present: Vec<bool> = days.filter(|day| calendar::is_session(*day)).map(has_bar).collect();
    let missing = |of: &[bool]| of.iter().filter(|there| !**there).count() as u32;
    let runs = present.chunk_by(|a, b| a == b).filter(|run| !run[0]);
    Gaps {
        sessions: present.len() as u32,
        missing: missing(&present),
        missing_lately: missing(&present[present.len().saturating_sub(LATELY)..]),
        longest: runs.map(<[bool]>::len).max().unwrap_or_default() as u32,
    }
}

/// Age of a factor series, against the longest step between its values of the last year: a monthly series is not late after
/// a week. `None` without values.
#[must_use]
pub fn series_staleness(series: &FactorHistory, newest_closed: Day) -> Option<SeriesStaleness> {
    let last_day = series.observations.iter().map(|o| o.day).max()?;
    let year = last_day.checked_sub_days(Days::new(YEAR_DAYS)).unwrap_or(last_day);
    let mut days: Vec<Day> = series.observations.iter().map(|o| o.day).filter(|day| *day >= year).collect();
    days.sort_unstable();
    let steps = days.windows(2).map(|pair| calendar::sessions_between(pair[0], pair[1]) as u32);
    let usual_step_sessions = steps.max().unwrap_or(1).max(1);
    let sessions_behind = calendar::sessions_between(last_day, newest_closed) as u32;
    let stale = sessions_behind > usual_step_sessions + STALE_AFTER_SESSIONS;
    Some(SeriesStaleness { id: series.id.clone(), last_day, sessions_behind, usual_step_sessions, stale })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};
    use crate::market::factor::Observation;

    fn day(m: u32, d: u32) -> Day {
        Day::from_ymd_opt(2024, m, d).unwrap()
    }

    #[test]
    fn age_is_counted_in_closed_sessions() {
        // 2024-09-02 was Labor Day.
        let old = staleness(Some(day(8, 30)), day(9, 9));
        assert_eq!((old.sessions_behind, is_stale(&old)), (Some(5), false));
        assert!(is_stale(&staleness(Some(day(8, 30)), day(9, 10))));
        assert_eq!(staleness(Some(day(9, 10)), day(9, 9)).sessions_behind, Some(0));
        assert!(is_stale(&staleness(None, day(9, 9))));
    }

    #[test]
    fn gaps_of_the_last_year_are_counted() {
        let history = sample(&Sample::default());
        let of = |symbol: &str| gaps(&history, history.find(&symbol.parse().unwrap()).unwrap());
        let (whole, gappy) = (of("TEST0"), of("TEST2"));
        assert_eq!((whole.missing, whole.longest), (0, 0));
        assert!((251..=253).contains(&whole.sessions), "{whole:?}");
        assert_eq!((gappy.missing, gappy.longest), (23, 1));
        assert!((1..=2).contains(&gappy.missing_lately));
        assert_eq!(of("TEST1").sessions, 140, "young");
    }

    #[test]
    fn a_series_is_late_by_its_own_habit() {
        let series = |days: Vec<Day>| {
            let observation = |day: Day| Observation { day, known_at: calendar::close_of(day), value: 1.0 };
            FactorHistory { id: "X".into(), observations: days.into_iter().map(observation).collect() }
        };
        let monthly = series((1..=8).map(|m| day(m, 28)).collect());
        let found = series_staleness(&monthly, day(9, 27)).unwrap();
        assert!(!found.stale && (20..=23).contains(&found.usual_step_sessions), "{found:?}");
        assert!(series_staleness(&monthly, day(10, 15)).unwrap().stale);
        let daily = series((3..=6).map(|d| day(9, d)).collect());
        assert!(!series_staleness(&daily, day(9, 13)).unwrap().stale);
        assert!(series_staleness(&daily, day(9, 17)).unwrap().stale);
        assert_eq!(series_staleness(&series(vec![]), day(9, 17)), None);
    }
}

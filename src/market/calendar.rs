//! The New York exchange calendar, by rule: which days trade, and when a session opens and closes.
//!
//! Rules: the NYSE holiday rules in force since 2022 (Rule 7.2), with the one-off closures since 2012. Early closes
//! are treated as full sessions: an answer published after an early close is still published after the close.

use chrono::{DateTime, Datelike, Days, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::America::New_York;

use crate::market::bar::Day;

/// Whether the exchange trades on that day.
#[must_use]
pub fn is_session(day: Day) -> bool {
    !matches!(day.weekday(), Weekday::Sat | Weekday::Sun) && !is_holiday(day)
}

/// The first session after a day.
#[must_use]
pub fn next_session(day: Day) -> Day {
    sessions_after(day).next().unwrap_or(day)
}

/// The session that lies `count` sessions after a day; the day itself when `count` is 0.
#[must_use]
pub fn add_sessions(day: Day, count: usize) -> Day {
    match count {
        0 => day,
        n => sessions_after(day).nth(n - 1).unwrap_or(day),
    }
}

/// The last session on or before a day.
#[must_use]
pub fn last_session_until(day: Day) -> Day {
    day.iter_days().rev().find(|d| is_session(*d)).unwrap_or(day)
}

/// The newest session that has closed at an instant.
#[must_use]
pub fn newest_closed_session(now: DateTime<Utc>) -> Day {
    let today = last_session_until(now.date_naive());
    if close_of(today) <= now { today } else { last_session_until(today.pred_opt().unwrap_or(today)) }
}

/// Sessions in the half-open range (`from`, `to`].
#[must_use]
pub fn sessions_between(from: Day, to: Day) -> usize {
    sessions_after(from).take_while(|d| *d <= to).count()
}

/// The instant at which a session closes (16:00 New York).
#[must_use]
pub fn close_of(day: Day) -> DateTime<Utc> {
    new_york(day, 16, 0)
}

/// The instant at which a session opens (09:30 New York).
#[must_use]
pub fn open_of(day: Day) -> DateTime<Utc> {
    new_york(day, 9, 30)
}

fn sessions_after(day: Day) -> impl Iterator<Item = Day> {
    day.iter_days().skip(1).filter(|d| is_session(*d))
}

fn new_york(day: Day, hour: u32, minute: u32) -> DateTime<Utc> {
    let time = NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or(NaiveTime::MIN);
    let local = New_York.from_local_datetime(&day.and_time(time));
    // New York never changes its clocks during the trading day, so the local time is unique.
    local.earliest().map_or_else(|| Utc.from_utc_datetime(&day.and_time(time)), |t| t.with_timezone(&Utc))
}

fn is_holiday(day: Day) -> bool {
    let (y, m, d) = (day.year(), day.month(), day.day());
    let fixed = |month, date, since| y >= since && observed(y, month, date) == Some(day);
    fixed(1, 1, 0)
        || nth_weekday(y, 1, Weekday::Mon, 3) == Some(day)
        || nth_weekday(y, 2, Weekday::Mon, 3) == Some(day)
        || good_friday(y) == Some(day)
        || (m == 5 && day.weekday() == Weekday::Mon && d > 24)
        || fixed(6, 19, 2022)
        || fixed(7, 4, 0)
        || nth_weekday(y, 9, Weekday::Mon, 1) == Some(day)
        || nth_weekday(y, 11, Weekday::Thu, 4) == Some(day)
        || fixed(12, 25, 0)
        || ONE_OFF_CLOSURES.contains(&(y, m, d))
}

/// Hurricane Sandy and the days of mourning for presidents Bush and Carter.
const ONE_OFF_CLOSURES: [(i32, u32, u32); 4] = [(2012, 10, 29), (2012, 10, 30), (2018, 12, 5), (2025, 1, 9)];

/// A fixed-date holiday as observed: Friday when it falls on a Saturday, Monday when on a Sunday. New Year's Day on a
/// Saturday is not observed (the Friday belongs to the old year's accounts).
fn observed(year: i32, month: u32, date: u32) -> Option<Day> {
    let day = Day::from_ymd_opt(year, month, date)?;
    match day.weekday() {
        Weekday::Sat if month == 1 => None,
        Weekday::Sat => day.checked_sub_days(Days::new(1)),
        Weekday::Sun => day.checked_add_days(Days::new(1)),
        _ => Some(day),
    }
}

fn nth_weekday(year: i32, month: u32, weekday: Weekday, n: u8) -> Option<Day> {
    Day::from_weekday_of_month_opt(year, month, weekday, n)
}

/// Two days before Easter Sunday (anonymous Gregorian computus).
fn good_friday(year: i32) -> Option<Day> {
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let month = (h + l - 7 * m + 114) / 31;
    let date = (h + l - 7 * m + 114) % 31 + 1;
    Day::from_ymd_opt(year, month.unsigned_abs(), date.unsigned_abs())?.checked_sub_days(Days::new(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(y: i32, m: u32, d: u32) -> Day {
        Day::from_ymd_opt(y, m, d).unwrap()
    }

    #[test]
    fn known_holidays_are_closed_and_their_neighbours_open() {
        for (y, m, d) in [
            (2024, 3, 29),
            (2024, 7, 4),
            (2024, 11, 28),
            (2022, 6, 20),
            (2023, 1, 2),
            (2018, 12, 5),
            (2021, 4, 2),
            (2024, 5, 27),
        ] {
            assert!(!is_session(day(y, m, d)), "{y}-{m}-{d}");
        }
        // 2021-12-31: New Year's Day 2022 fell on a Saturday. 2021-06-18: Juneteenth was not yet a holiday.
        for (y, m, d) in [(2021, 12, 31), (2021, 6, 18), (2024, 9, 30), (2024, 5, 28)] {
            assert!(is_session(day(y, m, d)), "{y}-{m}-{d}");
        }
    }

    #[test]
    fn sessions_are_counted() {
        assert_eq!(add_sessions(day(2024, 9, 30), 20), day(2024, 10, 28));
        assert_eq!(next_session(day(2024, 9, 27)), day(2024, 9, 30));
        assert_eq!(sessions_between(day(2024, 9, 30), day(2024, 10, 28)), 20);
        assert_eq!((2013..2024).map(|y| sessions_between(day(y - 1, 12, 31), day(y, 12, 31))).sum::<usize>(), 2768);
    }

    #[test]
    fn a_session_counts_once_it_has_closed() {
        let at = |text: &str| newest_closed_session(text.parse().unwrap());
        assert_eq!(at("2024-09-30T19:59:59Z"), day(2024, 9, 27));
        assert_eq!(at("2024-09-30T20:00:00Z"), day(2024, 9, 30));
        assert_eq!(at("2024-10-06T12:00:00Z"), day(2024, 10, 4));
    }

    #[test]
    fn a_session_closes_at_four_in_new_york() {
        assert_eq!(close_of(day(2024, 9, 30)).to_rfc3339(), "2024-09-30T20:00:00+00:00");
        assert_eq!(open_of(day(2024, 12, 2)).to_rfc3339(), "2024-12-02T14:30:00+00:00");
    }
}

//! When something is due: a cron expression in a time zone, kept to the exchange's sessions where that is asked.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;

use crate::market::calendar;

/// Slots of one schedule that are looked through at most; a schedule of every minute has as many in a week.
const MOST_SLOTS: usize = 10_080;

/// A schedule, such as `45 16 * * * America/New_York sessions`.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Box<Cron>,
    zone: Tz,
    only_sessions: bool,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Five fields are needed.
    #[error(
        "a schedule has five cron fields (minute, hour, day, month, weekday), then a time zone if it is not UTC, then `sessions` for trading days only, such as \"45 16 * * * America/New_York sessions\""
    )]
    Form,
    /// The fields are no cron expression.
    #[error("the cron fields cannot be read: {0}")]
    Cron(String),
    /// The time zone is unknown.
    #[error("{0:?} is no time zone of the IANA database, such as America/New_York")]
    Zone(String),
}

impl Schedule {
    /// The slots after `after` and until `until`, ascending; the newest ten thousand where there are more.
    #[must_use]
    pub fn slots(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let backwards = self.cron.iter_before(until.with_timezone(&self.zone) + chrono::TimeDelta::seconds(1));
        let mut slots: Vec<DateTime<Utc>> = backwards
            .take(MOST_SLOTS)
            .take_while(|at| at.with_timezone(&Utc) > after)
            .filter(|at| self.admits(at))
            .map(|at| at.with_timezone(&Utc))
            .filter(|at| *at <= until)
            .collect();
        slots.reverse();
        slots.dedup();
        slots
    }

    /// The first slot after an instant, if there is one within two years.
    #[must_use]
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let end = after + chrono::TimeDelta::days(731);
        let mut slots = self.cron.iter_after(after.with_timezone(&self.zone)).take(MOST_SLOTS);
        slots.find(|at| self.admits(at)).map(|at| at.with_timezone(&Utc)).filter(|at| *at <= end)
    }

    fn admits(&self, at: &DateTime<Tz>) -> bool {
        !self.only_sessions || calendar::is_session(at.date_naive())
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (fields, rest) = words.split_at_checked(5).ok_or(ScheduleError::Form)?;
        let (zone, rule) = match *rest {
            [] => ("UTC", None),
            ["sessions"] => ("UTC", Some("sessions")),
            [zone] => (zone, None),
            [zone, rule] => (zone, Some(rule)),
            _ => return Err(ScheduleError::Form),
        };
        if rule.is_some_and(|rule| rule != "sessions") {
            return Err(ScheduleError::Form);
        }
        let cron = Cron::from_str(&fields.join(" ")).map_err(|error| ScheduleError::Cron(error.to_string()))?;
        let zone: Tz = zone.parse().map_err(|_| ScheduleError::Zone(zone.to_owned()))?;
        Ok(Self { text: words.join(" "), cron: Box::new(cron), zone, only_sessions: rule.is_some() })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn shown(schedule: &str, after: &str, until: &str) -> Vec<String> {
        let slots = schedule.parse::<Schedule>().unwrap().slots(at(after), at(until));
        slots.iter().map(|slot| slot.format("%m-%d %H:%M").to_string()).collect()
    }

    #[test]
    fn slots_keep_to_the_sessions_of_the_exchange() {
        // Thanksgiving week of 2024: no session on Thursday, and the clocks stand at UTC-5.
        let slots = shown("45 16 * * * America/New_York sessions", "2024-11-26T00:00:00Z", "2024-12-02T23:00:00Z");
        assert_eq!(slots, ["11-26 21:45", "11-27 21:45", "11-29 21:45", "12-02 21:45"]);
        let every_day = shown("45 16 * * * America/New_York", "2024-11-27T00:00:00Z", "2024-11-29T00:00:00Z");
        assert_eq!(every_day, ["11-27 21:45", "11-28 21:45"]);
    }

    #[test]
    fn a_local_time_moves_with_the_clocks_and_comes_once_a_day() {
        // In 2024 the clocks go forward on 10 March and back on 3 November, at two in the morning.
        let spring = shown("45 16 * * * America/New_York", "2024-03-09T00:00:00Z", "2024-03-11T23:00:00Z");
        assert_eq!(spring, ["03-09 21:45", "03-10 20:45", "03-11 20:45"]);
        let autumn = shown("30 1 * * * America/New_York", "2024-11-02T12:00:00Z", "2024-11-04T12:00:00Z");
        assert_eq!(autumn.len(), 2, "{autumn:?}");
    }

    #[test]
    fn the_ends_are_open_and_closed() {
        let weekly = "0 6 * * SAT America/New_York";
        assert_eq!(shown(weekly, "2024-09-28T10:00:00Z", "2024-10-05T10:00:00Z"), ["10-05 10:00"]);
        assert_eq!(shown(weekly, "2024-09-28T09:59:59Z", "2024-10-05T09:59:59Z"), ["09-28 10:00"]);
        let next = weekly.parse::<Schedule>().unwrap().next(at("2024-09-28T10:00:00Z"));
        assert_eq!(next, Some(at("2024-10-05T10:00:00Z")));
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_a_reason() {
        for text in ["", "45 16 * *", "45 16 * * * America/New_York holidays", "45 16 * * * UTC sessions more"] {
            assert_eq!(text.parse::<Schedule>().unwrap_err(), ScheduleError::Form, "{text}");
        }
        assert!(matches!("99 16 * * *".parse::<Schedule>(), Err(ScheduleError::Cron(_))));
        assert!(matches!("0 6 * * SAT Mars/Olympus".parse::<Schedule>(), Err(ScheduleError::Zone(_))));
        let never = "0 6 31 2 *".parse::<Schedule>();
        assert!(never.is_err() || never.unwrap().next(at("2024-01-01T00:00:00Z")).is_none());
    }
}

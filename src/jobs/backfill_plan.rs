//! Which past days are backfilled, with which model, and what that will take.

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::TimeDelta;

use crate::cli::research::BackfillRange;
use crate::jobs::moment::Moment;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::horizon::Horizon;
use crate::store::backfill::{self, Span};
use crate::store::history::{Revisions, load};
use crate::store::open::Store;

/// How long after the close a day is published.
pub const AFTER_CLOSE: TimeDelta = TimeDelta::minutes(45);
/// Sessions that must lie before the first decision day: the longest window that looks back.
pub const PAST_SESSIONS: usize = 252;
/// Bytes in the store that the answers of an instrument and a day take, indices included (measured on 133 instruments).
const BYTES_OF_INSTRUMENT: u64 = 45_000;
/// Reading the rows, composing and writing a day take so many times as long as reading them alone; fitting the benchmarks
/// so many (both measured on 133 instruments).
const DAY_IN_READINGS: u32 = 2;
const FIT_IN_READINGS: u32 = 6;

/// A decision day that is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedDay {
    /// The day.
    pub as_of: Day,
    /// The last day that it answers for: that before the next decision.
    pub last_day: Day,
    /// The model was fitted at the close of this session.
    pub fit_on: Day,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Days that nothing answers for yet, ascending.
    pub days: Vec<PlannedDay>,
    /// When it was planned; its cutoff on what was recorded holds for the whole run.
    pub moment: Moment,
    instruments: u64,
    reading: Duration,
}

/// Plans a backfill.
///
/// # Errors
/// When the range reaches past the last closed session or lies before enough history, or the store fails.
pub async fn plan(store: &Store, range: &BackfillRange) -> anyhow::Result<Plan> {
    let moment = Moment::take(&store.pool).await?;
    let began = Instant::now();
    let loaded = load(&store.pool, moment.known_until, moment.recorded_until, Revisions::Newest).await?;
    let reading = began.elapsed();
    let sessions: Vec<(usize, Day)> = loaded.history.decision_days().collect();
    let sessions = sessions_of(range, &sessions)?;
    let spans = backfill::spans(&store.pool, range.from, range.to).await?;
    let instruments = loaded.history.instruments.len() as u64;
    Ok(Plan { days: planned(&sessions, range, &spans), moment, instruments, reading })
}

impl Plan {
    /// What was known to the world when a session would have been published, of what the store holds now.
    #[must_use]
    pub fn moment_of(&self, day: Day) -> Moment {
        let known_until = (calendar::close_of(day) + AFTER_CLOSE).min(self.moment.known_until);
        Moment { known_until, ..self.moment }
    }

    /// What it will take, in one line.
    #[must_use]
    pub fn estimate(&self, has_network: bool) -> String {
        let (Some(first), Some(last)) = (self.days.first(), self.days.last()) else {
            return "all of these days are backfilled already".into();
        };
        let days = self.days.len() as u64;
        let fits = 1 + self.days.windows(2).filter(|pair| pair[0].fit_on != pair[1].fit_on).count() as u64;
        let answers =
            days * (self.instruments * (3 * Horizon::ALL.len() as u64 + 3) + 2 * Horizon::ALL.len() as u64 + 1);
        let megabytes = (days * self.instruments * BYTES_OF_INSTRUMENT).div_ceil(1_000_000);
        let seconds =
            self.reading.as_secs_f64() * (days * u64::from(DAY_IN_READINGS) + fits * u64::from(FIT_IN_READINGS)) as f64;
        let more = if has_network { ", and the training of the networks" } else { "" };
        format!(
            "{days} decision days from {} to {}, {fits} models: about {answers} answers, {megabytes} MB in the store, {}{more}",
            first.as_of,
            last.as_of,
            spoken(seconds)
        )
    }
}

/// The decision days of the store within a range.
fn sessions_of(range: &BackfillRange, known: &[(usize, Day)]) -> anyhow::Result<Vec<Day>> {
    let BackfillRange { from, to, .. } = *range;
    anyhow::ensure!(from <= to, "the range ends on {to}, before it begins on {from}");
    let newest = known.last().context("the store holds no prices; import some first: forecastd import FOLDER")?.1;
    anyhow::ensure!(
        calendar::sessions_between(newest, to) == 0,
        "the range ends on {to}, but the last closed session with prices in the store is {newest}"
    );
    let within: Vec<(usize, Day)> = known.iter().filter(|(_, day)| (from..=to).contains(day)).copied().collect();
    let first = within.first().with_context(|| format!("the store holds no session from {from} to {to}"))?;
    if first.0 < PAST_SESSIONS {
        let enough = known.iter().find(|(t, _)| *t >= PAST_SESSIONS);
        let advice = enough.map_or_else(String::new, |(_, day)| format!("; begin on {day} or later"));
        anyhow::bail!(
            "{} sessions lie before {}, and {PAST_SESSIONS} are needed to answer for it{advice}",
            first.0,
            first.1
        );
    }
    Ok(within.into_iter().map(|(_, day)| day).collect())
}

/// The decisions to be written: one every so many sessions, and one where the days of others end; none for a day that is
/// answered for.
fn planned(sessions: &[Day], range: &BackfillRange, spans: &[Span]) -> Vec<PlannedDay> {
    let (every, retrain_every) = (range.every as usize, range.retrain_every as usize);
    let answered = |day: Day| spans.iter().any(|span| span.holds(day));
    let decides = |i: usize| i.is_multiple_of(every) || (i > 0 && answered(sessions[i - 1]));
    let day = |(i, as_of): (usize, Day)| {
        let next =
            sessions.iter().enumerate().skip(i + 1).find(|(k, _)| k.is_multiple_of(every)).map(|(_, next)| *next);
        let taken = spans.iter().map(|span| span.first_day).find(|first| *first > as_of);
        let end = [next, taken].into_iter().flatten().min().and_then(|end| end.pred_opt());
        let fit_on = sessions[i / retrain_every * retrain_every];
        PlannedDay { as_of, last_day: end.unwrap_or(range.to), fit_on }
    };
    let open = sessions.iter().copied().enumerate().filter(|(i, as_of)| !answered(*as_of) && decides(*i));
    open.map(day).collect()
}

fn spoken(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn range(from: &str, to: &str) -> BackfillRange {
        BackfillRange { from: day(from), to: day(to), every: 5, retrain_every: 8 }
    }

    /// The sessions of September 2024 (the 2nd is a holiday), and where each stands in a history.
    fn september(before: usize) -> Vec<(usize, Day)> {
        let days = day("2024-09-01").iter_days().take(30).filter(|d| calendar::is_session(*d));
        days.enumerate().map(|(k, d)| (before + k, d)).collect()
    }

    fn shown(days: &[PlannedDay]) -> Vec<String> {
        let date = |d: Day| d.format("%d").to_string();
        days.iter().map(|d| format!("{}-{} {}", date(d.as_of), date(d.last_day), date(d.fit_on))).collect()
    }

    #[test]
    fn each_day_is_answered_for_by_the_decision_before_it() {
        let sessions: Vec<Day> = september(0).into_iter().map(|s| s.1).collect();
        let whole = range("2024-09-01", "2024-09-30");
        let days = planned(&sessions, &whole, &[]);
        assert_eq!(shown(&days), ["03-09 03", "10-16 03", "17-23 13", "24-30 13"]);
        let done: Vec<Span> = days[..2].iter().map(|d| Span { first_day: d.as_of, last_day: d.last_day }).collect();
        assert_eq!(planned(&sessions, &whole, &done), days[2..], "what was cut off goes on where it was");
    }

    #[test]
    fn what_is_answered_for_is_left_alone_and_gaps_are_filled() {
        let sessions: Vec<Day> = september(0).into_iter().map(|s| s.1).collect();
        let whole = range("2024-09-01", "2024-09-30");
        let taken = |first: &str, last: &str| Span { first_day: day(first), last_day: day(last) };
        let days = planned(&sessions, &whole, &[taken("2024-09-09", "2024-09-12"), taken("2024-09-18", "2024-09-18")]);
        assert_eq!(shown(&days), ["03-08 03", "13-16 13", "17-17 13", "19-23 13", "24-30 13"]);
        let all = [taken("2024-08-01", "2024-09-30")];
        assert!(planned(&sessions, &whole, &all).is_empty());
    }

    #[test]
    fn ranges_without_prices_or_without_a_past_are_refused() {
        let refused = |from: &str, to: &str, before: usize| {
            sessions_of(&range(from, to), &september(before)).unwrap_err().to_string()
        };
        assert!(refused("2024-09-10", "2024-09-03", 300).contains("before it begins"));
        let late = refused("2024-09-10", "2024-10-01", 300);
        assert!(late.contains("last closed session") && late.contains("2024-09-30"), "{late}");
        assert!(refused("2024-08-01", "2024-08-20", 300).contains("no session"));
        let early = refused("2024-09-03", "2024-09-20", 250);
        assert!(early.contains("250 sessions") && early.contains("2024-09-05"), "{early}");
        assert!(sessions_of(&range("2024-09-01", "2024-09-30"), &[]).is_err());
        let weekend = sessions_of(&range("2024-09-20", "2024-09-22"), &september(300)).unwrap();
        assert_eq!(weekend, [day("2024-09-20")]);
    }
}

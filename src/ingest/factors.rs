//! Factor files: the French library, FRED, market closes. No file says when its values were known, so the moment is
//! assumed from the habits of its publisher; what is assumed is at least as late as what was true.

use chrono::{DateTime, Days, Utc};

use crate::ingest::finding::{Finding, Inspection};
use crate::ingest::parse::{Parsed, Source};
use crate::ingest::recognize::{FRED, FRENCH};
use crate::ingest::table::{Header, Table};
use crate::ingest::wide::{self, Column, Wide};
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::factor::{FactorHistory, Observation};

/// When a value becomes known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publication {
    /// At the close of its own day: prices.
    AtTheClose,
    /// At the close of that many sessions later.
    SessionsLater(usize),
    /// At the time of the close, that many calendar days later.
    DaysLater(u64),
}

/// Sessions after which a daily rate is known.
const RATE_LAG_SESSIONS: usize = 1;
/// Sessions after which the broad dollar index (`DTWEXBGS`) is known; it comes once a week.
const DOLLAR_LAG_SESSIONS: usize = 5;
/// Days after which the French factors of a day are known; they come once a month.
const FRENCH_LAG_DAYS: u64 = 45;

impl Publication {
    fn of(key: &str) -> Self {
        match key {
            "dtwexbgs" => Self::SessionsLater(DOLLAR_LAG_SESSIONS),
            _ if FRED.contains(&key) => Self::SessionsLater(RATE_LAG_SESSIONS),
            _ if FRENCH.contains(&key) => Self::DaysLater(FRENCH_LAG_DAYS),
            _ => Self::AtTheClose,
        }
    }

    fn known_at(self, day: Day) -> DateTime<Utc> {
        calendar::close_of(match self {
            Self::AtTheClose => day,
            Self::SessionsLater(count) => calendar::add_sessions(day, count),
            Self::DaysLater(count) => day.checked_add_days(Days::new(count)).unwrap_or(Day::MAX),
        })
    }
}

/// Reads a factor file: each column becomes a series named like the column.
///
/// # Errors
/// A line that ends the reading, or a file without a value.
pub fn read(
    table: &mut Table<'_>,
    header: &Header,
    source: Source<'_>,
    inspection: &mut Inspection,
) -> Result<Parsed, Finding> {
    let wide = wide::read(table, header, source, inspection)?;
    let series = wide.columns.iter().enumerate().map(|(at, column)| history_of(&wide, at, column));
    let (full, empty): (Vec<FactorHistory>, Vec<_>) = series.partition(|s| !s.observations.is_empty());
    for series in empty {
        inspection.warnings.push(Finding {
            line: None,
            column: Some(series.id),
            reason: "the column is empty; left out".into(),
        });
    }
    if full.is_empty() && inspection.problems.is_empty() {
        return Err(Finding::of_file("the file has no value"));
    }
    Ok(Parsed::Factors(full))
}

fn history_of(wide: &Wide, at: usize, column: &Column) -> FactorHistory {
    let publication = Publication::of(&column.key);
    let observation = |day: Day, value: f64| Observation { day, known_at: publication.known_at(day), value };
    let observations = wide.rows.iter().filter_map(|r| Some(observation(r.day, r.row[at]?))).collect();
    // Known series have one name, however the file spells it; FRED's names are upper case.
    let id = if FRED.contains(&column.key.as_str()) { column.name.to_uppercase() } else { column.name.clone() };
    FactorHistory { id, observations }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::parse::parse_from;

    fn series(text: &str) -> Vec<FactorHistory> {
        let accepted = parse_from("f.csv", text.as_bytes(), Day::from_ymd_opt(2024, 12, 31).unwrap()).unwrap();
        let Parsed::Factors(series) = accepted.parsed else { panic!("no factors") };
        series
    }

    fn known(text: &str) -> Vec<(String, String)> {
        let text_of = |o: &Observation| o.known_at.format("%Y-%m-%d %H:%M").to_string();
        series(text).iter().map(|s| (s.id.clone(), text_of(&s.observations[0]))).collect()
    }

    #[test]
    fn moments_of_knowledge_follow_the_publisher() {
        let pair = |id: &str, at: &str| (id.to_owned(), at.to_owned());
        // A Friday; the close is at 20:00 UTC in summer.
        let fred = known("Date,dgs2,DTWEXBGS\n2024-09-27,3.5500,121.1\n");
        assert_eq!(fred, [pair("DGS2", "2024-09-30 20:00"), pair("DTWEXBGS", "2024-10-04 20:00")]);
        assert_eq!(known("Date,Mkt-RF,RF\n2024-06-03,-1.44,0.03\n")[0], pair("Mkt-RF", "2024-07-18 20:00"));
        assert_eq!(
            known("Date,TNX_10y_yield_pct,GSPC\n2024-09-27,3.749,5738.1\n")[1],
            pair("GSPC", "2024-09-27 20:00")
        );
    }

    #[test]
    fn empty_fields_are_days_without_a_value() {
        let found = series("Date,DGS2,DGS10,DFII10\n2000-01-03,6.38,.,\n2000-01-04,,6.49,\n");
        let shape: Vec<(&str, usize)> = found.iter().map(|s| (s.id.as_str(), s.observations.len())).collect();
        assert_eq!(shape, [("DGS2", 1), ("DGS10", 1)]);
    }
}

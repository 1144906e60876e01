//! Calendar quarters, the rounds in which responses are compared.

use std::fmt;
use std::str::FromStr;

use chrono::Datelike;
use serde::{Deserialize, Serialize};

use crate::market::bar::Day;

/// A calendar quarter, written `2016-Q1`; ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quarter {
    year: i32,
    number: u8,
}

impl Quarter {
    /// The quarter that holds a day.
    #[must_use]
    pub fn of(day: Day) -> Self {
        Self { year: day.year(), number: (day.month0() / 3 + 1) as u8 }
    }

    /// Quarters since the beginning of the year 0: one more for the next quarter.
    #[must_use]
    pub fn ordinal(self) -> i32 {
        4 * self.year + i32::from(self.number) - 1
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-Q{}", self.year, self.number)
    }
}

impl From<Quarter> for String {
    fn from(quarter: Quarter) -> Self {
        quarter.to_string()
    }
}

impl TryFrom<String> for Quarter {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Quarter {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is no quarter such as 2016-Q1");
        let (year, number) = text.split_once("-Q").ok_or_else(refused)?;
        let read = Self { year: year.parse().map_err(|_| refused())?, number: number.parse().map_err(|_| refused())? };
        if (1..=4).contains(&read.number) && read.to_string() == text { Ok(read) } else { Err(refused()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_fall_into_quarters() {
        for (day, quarter) in [
            ("2016-01-01", "2016-Q1"),
            ("2016-03-31", "2016-Q1"),
            ("2016-04-01", "2016-Q2"),
            ("2020-09-30", "2020-Q3"),
            ("2023-12-29", "2023-Q4"),
        ] {
            assert_eq!(Quarter::of(day.parse().unwrap()).to_string(), quarter);
            let json = serde_json::to_string(&Quarter::of(day.parse().unwrap())).unwrap();
            assert_eq!(serde_json::from_str::<Quarter>(&json).unwrap(), quarter.parse().unwrap());
        }
        assert!(Quarter::of("2019-12-31".parse().unwrap()) < Quarter::of("2020-01-01".parse().unwrap()));
        for text in ["2016-Q5", "2016-Q0", "2016-1", "16-Q1", "2016-Q01", ""] {
            assert!(text.parse::<Quarter>().is_err(), "{text}");
        }
    }
}

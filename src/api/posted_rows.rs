//! The body of `POST /prices`, read field by field so that every bad field of every row is named at once.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::api::parameters;
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_type::ProblemType;
use crate::market::bar::{Bar, BarError, BarFields, Day};
use crate::market::calendar;
use crate::market::instrument::Symbol;
use crate::store::prices::PostedRow;

/// The source of rows that name none.
const SOURCE_DEFAULT: &str = "api";
/// Earlier days are refused.
const FIRST_DAY: Day = match Day::from_ymd_opt(1900, 1, 1) {
    Some(day) => day,
    None => Day::MIN,
};
/// Longer names of sources are refused.
const SOURCE_MAX_CHARS: usize = 64;
const FIELDS: [&str; 9] = ["symbol", "day", "open", "high", "low", "close", "volume", "split", "dividend"];

/// A checked body.
#[derive(Debug, PartialEq)]
pub struct Posted {
    /// Name of the source.
    pub source: String,
    /// Rows, one a symbol and day.
    pub rows: Vec<PostedRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    source: Option<String>,
    #[serde(borrow)]
    rows: Vec<&'a RawValue>,
}

/// Reads and checks a body. No row may lie after `newest`, the newest session that has closed.
///
/// # Errors
/// 400 when it is not the JSON expected, 422 naming every bad field of every row.
pub fn read(bytes: &[u8], newest: Day) -> Result<Posted, Problem> {
    let body: Body<'_> = serde_json::from_slice(bytes).map_err(malformed)?;
    let mut errors = Vec::new();
    let source = body.source.unwrap_or_else(|| SOURCE_DEFAULT.into());
    if source.is_empty() || source.chars().count() > SOURCE_MAX_CHARS || source.chars().any(char::is_control) {
        errors.push(FieldError::parameter("source", "must hold 1 to 64 printable characters"));
    }
    if body.rows.is_empty() {
        errors.push(FieldError::parameter("rows", "must hold at least one row"));
    }
    let mut seen = BTreeSet::new();
    let mut rows = Vec::with_capacity(body.rows.len());
    for (number, text) in body.rows.into_iter().enumerate() {
        let mut reader = RowReader { number, errors: &mut errors };
        let Some(row) = reader.read(text, newest) else { continue };
        if !seen.insert((row.symbol.clone(), row.bar.day())) {
            reader.refuse("day", "is given more than once for this symbol");
        }
        rows.push(row);
    }
    if errors.is_empty() { Ok(Posted { source, rows }) } else { Err(Problem::invalid(errors)) }
}

/// The message of the reader names line and column and, of the content, at most the name of a field.
pub(crate) fn malformed(error: serde_json::Error) -> Problem {
    let detail: String = format!("the body cannot be read: {error}").chars().take(200).collect();
    Problem::new(ProblemType::MalformedRequest, detail)
}

struct RowReader<'a> {
    number: usize,
    errors: &'a mut Vec<FieldError>,
}

impl RowReader<'_> {
    fn read(&mut self, text: &RawValue, newest: Day) -> Option<PostedRow> {
        let Ok(row) = serde_json::from_str::<Map<String, Value>>(text.get()) else {
            self.refuse("row", "is not an object");
            return None;
        };
        for name in row.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            let short: String = name.chars().take(40).collect();
            self.refuse(&short, &format!("is not known; known are {}", FIELDS.join(", ")));
        }
        let symbol = self.text(&row, "symbol", |t| Symbol::parse(t).map_err(|e| e.to_string()));
        let day = self.text(&row, "day", parameters::day).filter(|day| self.is_past(*day, newest));
        let [open, high, low, volume] = ["open", "high", "low", "volume"].map(|name| self.number(&row, name));
        let (split, dividend) = (self.number(&row, "split"), self.number(&row, "dividend"));
        let close = self.number(&row, "close");
        if !row.contains_key("close") || row["close"].is_null() {
            self.refuse("close", "is missing");
        }
        let split = self.within(
            split.unwrap_or(1.0),
            "split",
            |s| (1e-4..=1e4).contains(&s),
            "must be between 0.0001 and 10000",
        );
        let dividend = self.within(dividend.unwrap_or(0.0), "dividend", |d| d >= 0.0, "must not be negative");
        let fields = BarFields { day: day?, open, high, low, close: close?, volume };
        for error in fields.broken_rules() {
            self.refuse(field_of(&error), &error.to_string());
        }
        let bar = Bar::new(fields).ok()?;
        Some(PostedRow { symbol: symbol?, bar, split: split?, dividend: dividend? })
    }

    fn text<T>(
        &mut self,
        row: &Map<String, Value>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let read = match row.get(name) {
            None | Some(Value::Null) => Err("is missing".to_owned()),
            Some(Value::String(text)) => parse(text),
            Some(_) => Err("must be a text".to_owned()),
        };
        read.map_err(|reason| self.refuse(name, &reason)).ok()
    }

    fn number(&mut self, row: &Map<String, Value>, name: &str) -> Option<f64> {
        match row.get(name)? {
            Value::Null => None,
            Value::Number(number) => number.as_f64(),
            _ => {
                self.refuse(name, "must be a number");
                None
            }
        }
    }

    fn within(&mut self, value: f64, name: &str, rule: impl Fn(f64) -> bool, reason: &str) -> Option<f64> {
        if rule(value) && value.is_finite() {
            return Some(value);
        }
        self.refuse(name, reason);
        None
    }

    fn is_past(&mut self, day: Day, newest: Day) -> bool {
        let reason = match () {
            () if day > newest => format!("is after {newest}, the newest session that has closed"),
            () if day < FIRST_DAY => format!("is before {FIRST_DAY}"),
            () if !calendar::is_session(day) => "is no session of the exchange".to_owned(),
            () => return true,
        };
        self.refuse("day", &reason);
        false
    }

    fn refuse(&mut self, field: &str, reason: &str) {
        self.errors.push(FieldError { field: field.to_owned(), row: Some(self.number), reason: reason.to_owned() });
    }
}

fn field_of(error: &BarError) -> &'static str {
    match error {
        BarError::NotFinite(name)
        | BarError::NotPositive(name, _)
        | BarError::Implausible(name, _)
        | BarError::OutsideRange(name, _) => name,
        BarError::NegativeVolume(_) => "volume",
        BarError::HighBelowLow { .. } => "high",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(body: &str) -> Result<Posted, Problem> {
        read(body.as_bytes(), Day::from_ymd_opt(2024, 10, 1).unwrap())
    }

    fn refused(body: &str) -> Vec<(Option<usize>, String)> {
        outcome(body).unwrap_err().body("r").errors.into_iter().map(|e| (e.row, e.field)).collect()
    }

    #[test]
    fn a_good_body_is_read() {
        let posted =
            outcome(r#"{"source":"desk","rows":[{"symbol":"baba","day":"2024-09-30","close":106.12,"split":8}]}"#)
                .unwrap();
        assert_eq!(posted.source, "desk");
        assert_eq!(posted.rows[0].symbol.as_str(), "BABA");
        assert_eq!((posted.rows[0].split, posted.rows[0].dividend), (8.0, 0.0));
    }

    #[test]
    fn every_bad_field_of_every_row_is_named() {
        let body = r#"{"source":"","rows":[
            {"symbol":"A/B","day":"2024-13-01","close":"1"},
            {"symbol":"BABA","day":"2024-09-30","close":10,"high":9,"low":8},
            {"symbol":"BABA","day":"2024-10-02","close":10},
            {"symbol":"JD","day":"2024-09-30","close":10,"split":0,"dividend":-1,"color":1},
            7,
            {"day":"2024-09-30"},
            {"symbol":"PDD","day":"2024-09-30","close":10},
            {"symbol":"pdd","day":"2024-09-30","close":11}]}"#;
        let expected = [
            (None, "source"),
            (Some(0), "symbol"),
            (Some(0), "day"),
            (Some(0), "close"),
            (Some(1), "close"),
            (Some(2), "day"),
            (Some(3), "color"),
            (Some(3), "split"),
            (Some(3), "dividend"),
            (Some(4), "row"),
            (Some(5), "symbol"),
            (Some(5), "close"),
            (Some(7), "day"),
        ];
        assert_eq!(refused(body), expected.map(|(row, field)| (row, field.to_owned())));
        assert_eq!(refused(r#"{"rows":[]}"#), [(None, "rows".to_owned())]);
    }

    #[test]
    fn a_body_of_another_shape_is_malformed() {
        for body in ["", "[]", "{\"rows\":1}", "{\"rows\":[],\"more\":1}", "{\"rows\":[{]}", "\u{0}"] {
            assert_eq!(outcome(body).unwrap_err().kind(), ProblemType::MalformedRequest, "{body}");
        }
    }
}

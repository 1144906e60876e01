//! Query parameters: every one is known, given once, and read into a checked type; all that fail are reported at once.

use std::fmt::Display;
use std::time::Duration;

use axum::extract::Query;
use axum::http::Uri;

use crate::api::problem::{FieldError, Problem};
use crate::market::bar::Day;
use crate::market::instrument::Symbol;

/// A request holds at most so many symbols.
pub const SYMBOLS_MAX: usize = 1000;
/// A request waits at most so long.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// The query of one request while it is being read.
pub struct Parameters {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Parameters {
    /// Splits the query. Parameters outside `known` and repeated ones are recorded as errors.
    #[must_use]
    pub fn read(uri: &Uri, known: &[&str]) -> Self {
        let mut errors = Vec::new();
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map_or_else(
            |_| {
                errors.push(FieldError::parameter("query", "cannot be decoded"));
                Vec::new()
            },
            |Query(pairs)| pairs,
        );
        for (position, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                errors.push(FieldError::parameter(name, unknown(known)));
            } else if pairs[..position].iter().any(|(earlier, _)| earlier == name) {
                errors.push(FieldError::parameter(name, "is given more than once"));
            }
        }
        Self { pairs, errors }
    }

    /// Whether the parameter was given, well or not.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(given, _)| given == name)
    }

    /// The parameter as `parse` reads it; `None` when it is absent or refused.
    pub fn take<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.pairs.iter().find(|(given, _)| given == name)?.1.clone();
        self.place(name, &text, parse)
    }

    /// A value that came with the path rather than the query.
    pub fn place<T, E: Display>(
        &mut self,
        name: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.errors.push(FieldError::parameter(name, reason.to_string()));
                None
            }
        }
    }

    /// Records a rule that several parameters break together.
    pub fn refuse(&mut self, name: &str, reason: &str) {
        self.errors.push(FieldError::parameter(name, reason));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 422 with everything that was refused.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }
}

/// Reads a day, `2024-09-30`.
///
/// # Errors
/// When the text is not a day of the calendar in that form.
pub fn day(text: &str) -> Result<Day, String> {
    let parsed = Day::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    parsed.ok_or_else(|| format!("{} is not a day such as 2024-09-30", shown(text)))
}

/// Reads `30s` or `30`: whole seconds, at most 60.
///
/// # Errors
/// When the text is another.
pub fn wait(text: &str) -> Result<Duration, String> {
    let digits = text.strip_suffix('s').unwrap_or(text);
    let seconds = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    match seconds.map(Duration::from_secs) {
        Some(length) if length <= WAIT_MAX => Ok(length),
        _ => Err("must be whole seconds from 0s to 60s".into()),
    }
}

/// Reads a comma-separated list of symbols, in any case, without repetition.
///
/// # Errors
/// When one is no symbol, or there are too many.
pub fn symbols(text: &str) -> Result<Vec<Symbol>, String> {
    let parsed: Result<Vec<Symbol>, String> =
        text.split(',').map(|part| Symbol::parse(part.trim()).map_err(|e| format!("{}: {e}", shown(part)))).collect();
    let mut list = parsed?;
    list.sort();
    list.dedup();
    if list.len() > SYMBOLS_MAX { Err(format!("holds more than {SYMBOLS_MAX} symbols")) } else { Ok(list) }
}

/// Reads a whole number within a range.
///
/// # Errors
/// When the text is another.
pub fn integer(text: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64, String> {
    let number = text.parse::<i64>().ok().filter(|n| range.contains(n));
    number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
}

/// Reads a decimal number within a range, `0.05` or `5e-2`.
///
/// # Errors
/// When the text is another.
pub fn number(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'e' | b'E'));
    let number = text.parse::<f64>().ok().filter(|x| plain && range.contains(x));
    // Negative zero is the same number and must not show.
    number.map(|x| x + 0.0).ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
}

/// Reads `true` or `false`.
///
/// # Errors
/// When the text is another.
pub fn flag(text: &str) -> Result<bool, &'static str> {
    text.parse().map_err(|_| "must be true or false")
}

/// Reads a comma-separated list of field names.
///
/// # Errors
/// When a name is empty.
pub fn fields(text: &str) -> Result<Vec<String>, &'static str> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) { Err("holds an empty name") } else { Ok(names) }
}

fn unknown(known: &[&str]) -> String {
    if known.is_empty() {
        return "is not known; this operation has no parameters".into();
    }
    format!("is not known; known are {}", known.join(", "))
}

/// At most 40 characters of a text that came from outside.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_fails_is_reported_at_once() {
        let uri: Uri = "/signals?horizon=3w&wait=90s&color=red&limit=5&limit=6".parse().unwrap();
        let mut parameters = Parameters::read(&uri, &["horizon", "wait", "limit"]);
        parameters.take("horizon", str::parse::<crate::market::horizon::Horizon>);
        parameters.take("wait", wait);
        assert_eq!(parameters.take("limit", |t| integer(t, 1..=1000)), Some(5));
        let body = parameters.finish().unwrap_err().body("r");
        let fields: Vec<&str> = body.errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["color", "limit", "horizon", "wait"]);
        assert!(body.errors[0].reason.contains("known are horizon, wait, limit"));
    }

    #[test]
    fn values_are_read_strictly() {
        assert_eq!(wait("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        for text in ["61s", "-1s", "+5", "1.5s", "", "s", "99999999999999999999"] {
            assert!(wait(text).is_err(), "{text}");
        }
        assert!(day("2024-09-30").is_ok());
        for text in ["2024-9-30", "2024-02-30", "20240930", "+02024-09-30", ""] {
            assert!(day(text).is_err(), "{text}");
        }
        let symbols_of = |t: &str| symbols(t).map(|l| l.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(symbols_of("jd, baba,JD"), Ok(vec!["BABA".into(), "JD".into()]));
        assert!(symbols("BABA,,JD").is_err());
        assert!(integer("1e3", 1..=1000).is_err());
        assert_eq!((number("5e-2", 0.0..=1.0), number("-0", 0.0..=1.0)), (Ok(0.05), Ok(0.0)));
        for text in ["1.01", "-0.1", "nan", "inf", "+0.5", "0,5", "", " 0.5", "1e-3x"] {
            assert_eq!(number(text, 0.0..=1.0), Err("must be a number from 0 to 1".into()), "{text}");
        }
        assert!(fields("action,,price").is_err());
    }
}

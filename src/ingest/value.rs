//! Single fields: numbers and days, as the sources write them.

use crate::market::bar::Day;

/// A number read from a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// The value, finite.
    pub value: f64,
    /// Whether a currency sign or thousands separators had to be taken out.
    pub normalized: bool,
}

/// Words for "no value": old and new Yahoo, pandas, FRED, spreadsheets.
const MISSING: [&str; 7] = ["null", "nan", "n/a", "na", "none", "-", "."];

/// Longest number accepted, in characters; a double never needs more than 25.
const MAX_NUMBER_CHARS: usize = 64;

/// Earliest year accepted; before it there were no daily prices.
const FIRST_YEAR: i32 = 1800;

/// Reads a number; `None` where the field says that there is none (empty, `null`, `NaN`, `.`).
///
/// # Errors
/// Words for the owner of the file when the field is neither.
pub fn number(text: &str) -> Result<Option<Number>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(value) = plain(text) {
        return Ok(Some(Number { value, normalized: false }));
    }
    if MISSING.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Ok(None);
    }
    let bare = text.strip_prefix('$').or_else(|| text.strip_prefix("US$")).unwrap_or(text);
    match without_thousands(bare).as_deref().and_then(plain) {
        Some(value) => Ok(Some(Number { value, normalized: true })),
        None => Err(format!("{:?} is not a number", clipped(text))),
    }
}

/// Reads a day written `2024-09-30`, with or without a time behind it, or `09/30/2024`.
///
/// # Errors
/// Words for the owner of the file.
pub fn day(text: &str) -> Result<Day, String> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        bytes.get(range)?.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
    };
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let parts = if byte(4) == b'-' && byte(7) == b'-' && matches!(byte(10), 0 | b' ' | b'T') {
        (digits(0..4), digits(5..7), digits(8..10))
    } else if byte(2) == b'/' && byte(5) == b'/' && bytes.len() == 10 {
        (digits(6..10), digits(0..2), digits(3..5))
    } else {
        (None, None, None)
    };
    let found = match parts {
        (Some(year), Some(month), Some(date)) => {
            i32::try_from(year).ok().and_then(|y| Day::from_ymd_opt(y, month, date))
        }
        _ => None,
    };
    let accepted = found.filter(|d| chrono::Datelike::year(d) >= FIRST_YEAR);
    accepted
        .ok_or_else(|| format!("{:?} is not a day written YYYY-MM-DD or MM/DD/YYYY since {FIRST_YEAR}", clipped(text)))
}

/// Digits behind the decimal point, for the rounding of a source; 0 where there is no point.
#[must_use]
pub fn decimals(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, fraction)| fraction.bytes().take_while(u8::is_ascii_digit).count())
}

/// The start of a field, short enough for a message.
#[must_use]
pub fn clipped(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Digits, point, sign and exponent only, so that the words `inf` and `nan` are no numbers.
fn plain(text: &str) -> Option<f64> {
    let allowed = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
    if text.len() > MAX_NUMBER_CHARS || !text.bytes().all(allowed) {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Takes the commas out of `1,058.50`; `None` unless they stand before groups of three digits, because `1,5` is
/// somebody's decimal comma.
fn without_thousands(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut groups = whole.split(',');
    let first = groups.next()?.trim_start_matches('-');
    let is_digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    let fits = !first.is_empty() && (first.len() <= 3 || !whole.contains(','));
    let grouped = groups.all(|group| group.len() == 3 && is_digits(group));
    (fits && grouped && is_digits(first) && is_digits(fraction))
        .then(|| format!("{}.{fraction}", whole.replace(',', "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_sources_write_them() {
        let value = |text| number(text).map(|n| n.map(|n| n.value));
        for (text, expected) in [
            ("105.849998", 105.849998),
            ("-1", -1.0),
            ("1.5e3", 1500.0),
            ("$1,058.50", 1058.5),
            ("21,218,500", 21_218_500.0),
        ] {
            assert_eq!(value(text), Ok(Some(expected)), "{text}");
        }
        for text in ["", "null", "NaN", "N/A", "."] {
            assert_eq!(value(text), Ok(None), "{text}");
        }
        for text in ["inf", "1,5", "1,05,000", "12 USD", "€5", "1e999", "--5", ",500", "$"] {
            assert!(value(text).is_err(), "{text}");
        }
        assert!(number(&"7".repeat(700)).unwrap_err().len() < 100);
    }

    #[test]
    fn days_as_the_sources_write_them() {
        let expected = Day::from_ymd_opt(2022, 3, 1).unwrap();
        for text in ["2022-03-01", "03/01/2022", "2022-03-01 00:00:00-05:00", "2022-03-01T00:00:00"] {
            assert_eq!(day(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "2022-02-30",
            "31/05/2022",
            "2022-3-1",
            "1799-12-31",
            "2022-03-011",
            "2022/03/01",
            "99999999999",
            "дата-11-1",
        ] {
            assert!(day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn decimals_count_the_digits_behind_the_point() {
        assert_eq!((decimals("1.250000"), decimals("$1,058.5"), decimals("7")), (6, 1, 0));
    }
}

//! The bytes of an opinion: one text for one opinion, so that a hash names it.

use serde::Serialize;
use serde::de::{DeserializeOwned, Error};

/// Decimals kept of every number of an opinion. Fewer digits than a double holds, so that the last bits of a sum never
/// decide the bytes of the ledger; one millionth is below what any of these numbers is known to.
pub const DECIMALS: u32 = 6;

/// The opinion as RFC 8785 canonical JSON (keys sorted, shortest numbers, no white space): the entry of the ledger.
///
/// A reader who takes `ledger` and `stale` off the served answer and canonicalizes the rest has these bytes again.
///
/// # Errors
/// When a number is not finite, or a seed is too large for a JSON number.
pub fn canonical<T: Serialize + DeserializeOwned + PartialEq>(opinion: &T) -> serde_json::Result<Vec<u8>> {
    let bytes = serde_json_canonicalizer::to_vec(opinion)?;
    // Reading back is the proof that nothing was lost: NaN and infinity are written as null without a word.
    let read: T = serde_json::from_slice(&bytes)?;
    let changed = || serde_json::Error::custom("a number is not finite, so the opinion changes when it is written");
    if read == *opinion { Ok(bytes) } else { Err(changed()) }
}

/// `value` rounded half away from zero to [`DECIMALS`] decimals; negative zero becomes zero.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    rounded_to(value, DECIMALS)
}

/// `value` rounded half away from zero to so many decimals (at most 15); negative zero becomes zero.
#[must_use]
pub fn rounded_to(value: f64, decimals: u32) -> f64 {
    let scale = 10_f64.powi(decimals.min(15).cast_signed());
    let scaled = (value * scale).round() / scale;
    // Beyond 2^53 there are no decimals left to round, and the product may overflow.
    let kept = if scaled.is_finite() { scaled } else { value };
    kept + 0.0
}

/// The rounded value where it is a number, else `None`: NaN and infinity stop here.
#[must_use]
pub fn finite(value: f64) -> Option<f64> {
    value.is_finite().then(|| rounded(value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_rounded_to_six_decimals() {
        assert_eq!(rounded(0.123_456_789), 0.123_457);
        assert_eq!(rounded(-0.000_000_4).to_bits(), 0.0_f64.to_bits());
        assert_eq!(rounded_to(106.125, 2), 106.13);
        assert_eq!(rounded(1e300), 1e300);
        assert_eq!(finite(f64::NAN), None);
        assert_eq!(finite(f64::INFINITY), None);
    }

    #[test]
    fn keys_are_sorted_and_infinity_is_refused() {
        let value =
            BTreeMap::from([("b".to_owned(), Some(1e21)), ("\u{20ac}".to_owned(), None), ("a".to_owned(), Some(1.0))]);
        assert_eq!(canonical(&value).unwrap(), "{\"a\":1,\"b\":1e+21,\"\u{20ac}\":null}".as_bytes());
        assert!(canonical(&vec![f64::NAN]).is_err());
        assert!(canonical(&vec![Some(f64::INFINITY)]).is_err());
    }

    proptest! {
        #[test]
        fn rounding_moves_a_value_by_at_most_half_a_unit_and_only_once(value in -1e6_f64..1e6) {
            let once = rounded(value);
            prop_assert!((once - value).abs() <= 0.500_001e-6);
            prop_assert_eq!(rounded(once).to_bits(), once.to_bits());
        }
    }
}

//! A number from 0 to 1.

use serde::{Deserialize, Serialize};

/// A probability, 0..=1 by construction.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Probability(f64);

/// A number outside 0..=1, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is not a probability")]
pub struct ProbabilityError(f64);

impl Probability {
    /// What cannot happen.
    pub const ZERO: Self = Self(0.0);
    /// What has happened.
    pub const ONE: Self = Self(1.0);

    /// Checks the number.
    ///
    /// # Errors
    /// [`ProbabilityError`] when it is NaN or outside 0..=1.
    pub fn new(value: f64) -> Result<Self, ProbabilityError> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(ProbabilityError(value)) }
    }

    /// For formulas that give a probability up to rounding: the nearest one. The caller has checked for NaN, which
    /// counts as 1.
    #[must_use]
    pub(crate) fn rounded(value: f64) -> Self {
        if value < 1.0 { Self(value.max(0.0)) } else { Self::ONE }
    }

    /// The number.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Probability {
    type Error = ProbabilityError;
    fn try_from(value: f64) -> Result<Self, ProbabilityError> {
        Self::new(value)
    }
}

impl From<Probability> for f64 {
    fn from(probability: Probability) -> Self {
        probability.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zero_to_one_is_a_probability() {
        assert_eq!(Probability::new(0.25).unwrap().value(), 0.25);
        assert!([-0.1, 1.1, f64::NAN, f64::INFINITY].into_iter().all(|value| Probability::new(value).is_err()));
        assert_eq!(Probability::rounded(1.0 + 1e-16), Probability::ONE);
        assert_eq!(Probability::rounded(-1e-20), Probability::ZERO);
        assert!(serde_json::from_str::<Probability>("1.5").is_err());
    }
}

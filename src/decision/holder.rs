//! Who decides: the two kinds of stock holders, their exposures, and how much risk they bear.

use serde::{Deserialize, Serialize};

use super::action::Action;

/// Risk aversion of a `long_short` holder: the gain wanted for one unit of variance, doubled.
pub const LONG_SHORT_RISK_AVERSION: f64 = 2.0;

/// Which exposures a holder may take, in units of the instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderType {
    /// Owns the instrument: exposures 0, 1, 2, now 1.
    #[default]
    Holder,
    /// May be short: exposures -1, 0, 1, now 0.
    LongShort,
}

impl HolderType {
    /// The allowed exposures, lowest first.
    #[must_use]
    pub fn exposures(self) -> [i8; 3] {
        match self {
            Self::Holder => [0, 1, 2],
            Self::LongShort => [-1, 0, 1],
        }
    }

    /// The exposure when nothing else is said: 1 for a holder, 0 for long and short.
    #[must_use]
    pub fn default_exposure(self) -> i8 {
        self.exposures()[1]
    }

    /// The nearest allowed exposure.
    #[must_use]
    pub fn clamp(self, exposure: i8) -> i8 {
        let [lowest, _, highest] = self.exposures();
        exposure.clamp(lowest, highest)
    }

    /// Risk aversion lambda, per unit of exposure squared and variance.
    ///
    /// A `holder` reveals it by holding one unit at long-run conditions: `lambda = mu0 / sigma_longrun^2`, where one
    /// unit maximizes `e mu0 - (lambda/2) e^2 sigma_longrun^2`. `long_short` has [`LONG_SHORT_RISK_AVERSION`].
    #[must_use]
    pub fn risk_aversion(self, long_run: LongRun) -> f64 {
        match self {
            Self::Holder => long_run.mean / (long_run.volatility * long_run.volatility),
            Self::LongShort => LONG_SHORT_RISK_AVERSION,
        }
    }
}

/// What the holder is used to, over the horizon of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LongRun {
    /// mu0, the premium for one unit: simple return over the horizon, above 0.
    pub mean: f64,
    /// sigma_longrun, over the horizon (not annualized), above 0.
    pub volatility: f64,
}

/// A holder and the exposure it has before it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "HolderFields", into = "HolderFields")]
pub struct Holder {
    kind: HolderType,
    exposure: i8,
}

/// The unchecked fields of a [`Holder`], as in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderFields {
    /// Which exposures are allowed.
    #[serde(rename = "type")]
    pub kind: HolderType,
    /// The exposure now.
    pub exposure: i8,
}

/// An exposure outside the range of the holder's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an exposure of {exposure} is outside {lowest}..{highest}")]
pub struct ExposureError {
    exposure: i8,
    lowest: i8,
    highest: i8,
}

impl Holder {
    /// A holder of that type at that exposure.
    ///
    /// # Errors
    /// [`ExposureError`] when the exposure is not one of [`HolderType::exposures`].
    pub fn new(kind: HolderType, exposure: i8) -> Result<Self, ExposureError> {
        let [lowest, _, highest] = kind.exposures();
        if (lowest..=highest).contains(&exposure) {
            Ok(Self { kind, exposure })
        } else {
            Err(ExposureError { exposure, lowest, highest })
        }
    }

    /// A holder of that type at its default exposure.
    #[must_use]
    pub fn usual(kind: HolderType) -> Self {
        Self { kind, exposure: kind.default_exposure() }
    }

    /// Which exposures are allowed.
    #[must_use]
    pub fn kind(self) -> HolderType {
        self.kind
    }

    /// The exposure now.
    #[must_use]
    pub fn exposure(self) -> i8 {
        self.exposure
    }

    /// The exposure after the action, clamped to the range of the type.
    #[must_use]
    pub fn exposure_after(self, action: Action) -> i8 {
        self.kind.clamp(self.exposure + action.exposure_change())
    }

    /// Whether the action is open: hold always, the others where the range leaves room.
    #[must_use]
    pub fn can(self, action: Action) -> bool {
        self.exposure_after(action) - self.exposure == action.exposure_change()
    }
}

impl Default for Holder {
    fn default() -> Self {
        Self::usual(HolderType::Holder)
    }
}

impl TryFrom<HolderFields> for Holder {
    type Error = ExposureError;
    fn try_from(fields: HolderFields) -> Result<Self, ExposureError> {
        Self::new(fields.kind, fields.exposure)
    }
}

impl From<Holder> for HolderFields {
    fn from(holder: Holder) -> Self {
        Self { kind: holder.kind, exposure: holder.exposure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_never_leaves_its_range() {
        for kind in [HolderType::Holder, HolderType::LongShort] {
            for exposure in kind.exposures() {
                let holder = Holder::new(kind, exposure).unwrap();
                for action in Action::ALL {
                    assert!(kind.exposures().contains(&holder.exposure_after(action)));
                    assert_eq!(holder.can(action), kind.exposures().contains(&(exposure + action.exposure_change())));
                }
            }
        }
        assert!(Holder::new(HolderType::Holder, -1).is_err());
        assert!(Holder::new(HolderType::LongShort, 2).is_err());
    }

    #[test]
    fn one_unit_is_best_at_long_run_conditions() {
        let long_run = LongRun { mean: 0.004, volatility: 0.08 };
        let aversion = HolderType::Holder.risk_aversion(long_run);
        let utility = |e: f64| e * long_run.mean - 0.5 * aversion * e * e * long_run.volatility.powi(2);
        assert!(utility(1.0) > utility(0.99) && utility(1.0) > utility(1.01));
        assert_eq!(HolderType::LongShort.risk_aversion(long_run), 2.0);
    }

    #[test]
    fn json_is_checked() {
        let json = serde_json::to_string(&Holder::default()).unwrap();
        assert_eq!(json, r#"{"type":"holder","exposure":1}"#);
        assert_eq!(serde_json::from_str::<Holder>(&json).unwrap(), Holder::default());
        assert!(serde_json::from_str::<Holder>(r#"{"type":"holder","exposure":3}"#).is_err());
    }
}

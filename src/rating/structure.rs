//! How a company is financed, as the structural models see it.

use serde::{Deserialize, Serialize};

/// Market value of the equity and the liabilities before it, in one currency; both above 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CapitalStructure {
    /// E, close times shares on the same split basis.
    pub equity: f64,
    /// D, debt where known, else assets less equity, from the last filing known.
    pub liabilities: f64,
}

/// What the creditors recover in a default, the same for all companies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Lbar, mean share of the liabilities at which assets default, above 0.
    pub mean: f64,
    /// Standard deviation of ln L, at least 0.
    pub log_deviation: f64,
}

impl Default for Recovery {
    /// The values of CreditGrades (2002) for firms in general: mean .5, deviation .3.
    fn default() -> Self {
        Self { mean: 0.5, log_deviation: 0.3 }
    }
}

impl CapitalStructure {
    /// `V = E + Lbar D`.
    #[must_use]
    pub fn asset_value(self, recovery: Recovery) -> f64 {
        self.equity + recovery.mean * self.liabilities
    }

    /// `E/V`, by which equity risk and premium shrink to those of the assets.
    #[must_use]
    pub fn equity_share(self, recovery: Recovery) -> f64 {
        self.equity / self.asset_value(recovery)
    }

    /// `s = sigma_E E/V`, annualized like `equity_volatility`.
    #[must_use]
    pub fn asset_volatility(self, recovery: Recovery, equity_volatility: f64) -> f64 {
        equity_volatility * self.equity_share(recovery)
    }

    /// `Lbar D/V`, the mean barrier as a fraction of the assets.
    #[must_use]
    pub fn barrier(self, recovery: Recovery) -> f64 {
        recovery.mean * self.liabilities / self.asset_value(recovery)
    }

    /// Whether both numbers are finite and above 0.
    #[must_use]
    pub fn is_sound(self) -> bool {
        [self.equity, self.liabilities].into_iter().all(|value| value.is_finite() && value > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_liabilities_are_assets_before_default() {
        let structure = CapitalStructure { equity: 50.0, liabilities: 60.0 };
        let recovery = Recovery::default();
        assert_eq!(structure.asset_value(recovery), 80.0);
        assert_eq!(structure.asset_volatility(recovery, 0.4), 0.25);
        assert_eq!(structure.barrier(recovery), 0.375);
        assert!(structure.is_sound() && !CapitalStructure { equity: f64::NAN, ..structure }.is_sound());
        assert!(!CapitalStructure { liabilities: 0.0, ..structure }.is_sound());
    }
}

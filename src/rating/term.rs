//! One grade of a rating: the first passage over one horizon, with its interval and what two other models say.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::credit_grades::credit_grades_default;
use super::first_passage::{Diffusion, UncertainBarrier, uncertain_first_passage};
use super::merton::{MertonInputs, merton_assets};
use super::probability::Probability;
use super::scale::{Grade, Scale, grade};
use super::structure::{CapitalStructure, Recovery};
use super::variance::EquityVolatility;

/// Years of the short-term rating.
pub const SHORT_TERM_YEARS: f64 = 1.0;

/// Years of the long-term rating.
pub const LONG_TERM_YEARS: f64 = 10.0;

/// The configured numbers of a rating.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatingSettings {
    /// ERP, expected return of the market above the short rate, a year.
    pub equity_premium: f64,
    /// What creditors recover.
    pub recovery: Recovery,
    /// b of the price-only basis: the fraction of the price now that counts as default, between 0 and 1.
    pub price_barrier: f64,
    /// Correction of the one-year volatility.
    pub sigma_scale: SigmaScale,
    /// Level of the intervals, between 0 and 1.
    pub interval_level: f64,
}

impl Default for RatingSettings {
    fn default() -> Self {
        let sigma_scale = SigmaScale::default();
        Self {
            equity_premium: 0.05,
            recovery: Recovery::default(),
            price_barrier: 0.2,
            sigma_scale,
            interval_level: 0.9,
        }
    }
}

/// The one calibrated number: a factor on the volatility of the one-year first passage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SigmaScale {
    /// The factor, above 0.
    pub factor: f64,
    /// Whether it was fitted to realized drawdowns out of sample.
    pub calibrated: bool,
}

impl Default for SigmaScale {
    /// No correction, not calibrated.
    fn default() -> Self {
        Self { factor: 1.0, calibrated: false }
    }
}

/// One grade.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TermRating {
    /// The grade of the probability.
    pub grade: Grade,
    /// Within the horizon, under the physical measure.
    pub default_probability: Probability,
    /// From the uncertainty of the volatility; `None` where that is not known.
    pub interval: Option<ProbabilityInterval>,
    /// 1 or 10.
    pub horizon_years: f64,
    /// Whether the probability was calibrated on realized events; never for ten years, which nobody has seen often
    /// enough.
    pub calibrated: bool,
    /// The numbers behind it; `None` after a recorded default.
    pub drivers: Option<RatingDrivers>,
}

/// A range of a probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityInterval {
    /// Probability that the range covers.
    pub level: f64,
    /// With the lower volatility.
    pub low: Probability,
    /// With the higher volatility.
    pub high: Probability,
}

/// What went into one first passage, and what two other models say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatingDrivers {
    /// Volatility of the share averaged over the horizon, annualized.
    pub equity_volatility: f64,
    /// Volatility of what falls: the assets, or the share itself.
    pub volatility: f64,
    /// Its arithmetic drift a year.
    pub mean: f64,
    /// Mean barrier as a fraction of the value now.
    pub barrier: f64,
    /// Standard deviation of its logarithm.
    pub barrier_log_deviation: f64,
    /// Probability that the barrier lies above the value already, whatever the risk.
    pub passed_already: Probability,
    /// Factor that the volatility of the share contains.
    pub sigma_factor: f64,
    /// CreditGrades, without drift; `None` on the price-only basis.
    pub credit_grades: Option<Probability>,
    /// Merton with the liabilities due at the horizon; `None` on the price-only basis.
    pub merton: Option<Probability>,
}

/// What a first passage is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Firm {
    /// Equity and liabilities on the balance-sheet basis; `None` on the price-only basis.
    pub structure: Option<CapitalStructure>,
    /// Volatility of the share.
    pub volatility: EquityVolatility,
    /// Short interest rate a year.
    pub short_rate: f64,
    /// Beta of the share to the market.
    pub beta: f64,
    /// The configured numbers.
    pub settings: RatingSettings,
}

impl Firm {
    /// The rating over that many years.
    #[must_use]
    pub fn term(&self, years: f64, scale: &Scale) -> TermRating {
        let equity_volatility = self.sigma_factor(years) * self.volatility.over(years);
        let probability = self.default_probability(equity_volatility, years);
        TermRating {
            grade: grade(probability, years, scale),
            default_probability: probability,
            interval: self.interval(equity_volatility, years),
            horizon_years: years,
            calibrated: years <= SHORT_TERM_YEARS && self.settings.sigma_scale.calibrated,
            drivers: Some(self.drivers(equity_volatility, years)),
        }
    }

    /// The default probability within that many years alone.
    #[must_use]
    pub fn probability(&self, years: f64) -> Probability {
        self.default_probability(self.sigma_factor(years) * self.volatility.over(years), years)
    }

    /// The share itself over a year, as the calibration sees it: without the factor.
    #[must_use]
    pub fn share(&self) -> Diffusion {
        let on_price = Self { structure: None, ..*self };
        on_price.passage(self.volatility.over(SHORT_TERM_YEARS)).1
    }

    fn sigma_factor(&self, years: f64) -> f64 {
        if years <= SHORT_TERM_YEARS { self.settings.sigma_scale.factor } else { 1.0 }
    }

    fn default_probability(&self, equity_volatility: f64, years: f64) -> Probability {
        let (barrier, diffusion) = self.passage(equity_volatility);
        uncertain_first_passage(barrier, diffusion, years)
    }

    /// What falls, and to where. Its mean is `short rate + beta (E/V) ERP`. A beta below 0 counts as 0, or more debt
    /// would raise the mean; a mean below 0 counts as 0, or more volatility could help: neither may improve a grade.
    fn passage(&self, equity_volatility: f64) -> (UncertainBarrier, Diffusion) {
        let RatingSettings { recovery, price_barrier, equity_premium, .. } = self.settings;
        let (share, mean, log_deviation) = match self.structure {
            Some(structure) => (structure.equity_share(recovery), structure.barrier(recovery), recovery.log_deviation),
            None => (1.0, price_barrier, 0.0),
        };
        let drift = (self.short_rate + self.beta.max(0.0) * share * equity_premium).max(0.0);
        let diffusion = Diffusion { mean: drift, volatility: equity_volatility * share };
        (UncertainBarrier { mean, log_deviation }, diffusion)
    }

    fn interval(&self, equity_volatility: f64, years: f64) -> Option<ProbabilityInterval> {
        let level = self.settings.interval_level;
        let deviations = Normal::standard().inverse_cdf(0.5 + 0.5 * level);
        let spread = (deviations * self.volatility.log_standard_error?).exp();
        let low = self.default_probability(equity_volatility / spread, years);
        let high = self.default_probability(equity_volatility * spread, years);
        Some(ProbabilityInterval { level, low, high })
    }

    fn drivers(&self, equity_volatility: f64, years: f64) -> RatingDrivers {
        let (barrier, diffusion) = self.passage(equity_volatility);
        let recovery = self.settings.recovery;
        let merton = |structure| {
            let inputs = MertonInputs { structure, equity_volatility, rate: self.short_rate, years };
            merton_assets(inputs).default_probability
        };
        RatingDrivers {
            equity_volatility,
            volatility: diffusion.volatility,
            mean: diffusion.mean,
            barrier: barrier.mean,
            barrier_log_deviation: barrier.log_deviation,
            passed_already: barrier.passed_already(),
            sigma_factor: self.sigma_factor(years),
            credit_grades: self.structure.map(|s| credit_grades_default(s, recovery, equity_volatility, years)),
            merton: self.structure.map(merton),
        }
    }
}

impl TermRating {
    /// The rating after a recorded default.
    #[must_use]
    pub fn defaulted(years: f64) -> Self {
        Self {
            grade: Grade::C,
            default_probability: Probability::ONE,
            interval: None,
            horizon_years: years,
            calibrated: false,
            drivers: None,
        }
    }
}

//! How forecasts are made: the configured numbers, kept with every model so that a replay uses the same.

use serde::{Deserialize, Serialize};

use crate::decision::signal::GameSettings;

/// Configured numbers of forecasts and games.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForecastSettings {
    /// S, scenarios of a joint distribution, a multiple of 8.
    pub scenarios: usize,
    /// Seed of the scenarios.
    pub seed: u64,
    /// Equity risk premium a year, as a fraction.
    pub equity_premium: f64,
    /// Cost, impact, precision and threshold of the game.
    pub game: GameSettings,
    /// gamma, discount of a week in the decision process, 0..=1.
    pub discount: f64,
    /// kappa, weeks that the prior of a market state weighs, above 0.
    pub prior_weeks: f64,
    /// beta of the policy over the reward model, above 0.
    pub policy_temperature: f64,
}

impl Default for ForecastSettings {
    fn default() -> Self {
        Self {
            scenarios: 20_000,
            seed: 20_240_930,
            equity_premium: 0.05,
            game: GameSettings::default(),
            discount: 0.99,
            prior_weeks: 8.0,
            policy_temperature: 1.0,
        }
    }
}

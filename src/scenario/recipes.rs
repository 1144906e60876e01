//! The named rank models: what a network has to beat, and what is served until it does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::scenario::covariance::{Covariance, CovarianceError, Estimator};
use crate::scenario::ranks::{QuintileProbabilities, RankComponent, expected_rank, mixture_quintiles};
use crate::scenario::seasonal::seasonal_components;

/// A way to forecast the cross-sectional rank without any view on means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankModel {
    /// A fifth everywhere.
    Uniform,
    /// Sample covariance of 252 sessions.
    Cov252,
    /// Half the draws from four covariances (252 and 504 sessions, half-life 63, Ledoit-Wolf 252), half from the
    /// 252-session correlation with `sqrt(sigma_forecast x sigma_252)` as volatility: the short memory of a volatility
    /// forecast alone hurts ranks.
    S0,
    /// The 252-session correlation with exponentially weighted volatility, decay .94 (RiskMetrics 1996).
    Ewma94,
    /// Half the draws from cov252, half from clipped returns, both with volatilities of the coming window's season of
    /// quarterly reports; see [`crate::scenario::seasonal`].
    Seasonal,
}

/// What a rank forecast is made from; all columns in the same order.
#[derive(Debug, Clone, Copy)]
pub struct RankInputs<'a> {
    /// Log returns of the instruments to rank, ending at the decision day; NaN where missing. At most 756 sessions are
    /// used.
    pub log_returns: &'a [&'a [f64]],
    /// Forecast of the mean daily variance over the horizon; where it is missing (NaN, or the slice too short) the
    /// 252-session volatility stands alone.
    pub forecast_variance: &'a [f64],
    /// How far ahead, in sessions: only a season depends on it, as the horizon scales all volatilities alike.
    pub horizon_sessions: usize,
    /// S, antithetic draws.
    pub draws: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// A rank forecast for a universe, in the order of the inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct RankForecast {
    /// Chances of the fifths, worst first.
    pub quintile_probabilities: Vec<QuintileProbabilities>,
    /// Expected rank, 1 for the highest return. Without a tilt it is (N + 1) / 2 for every instrument.
    pub expected_rank: Vec<f64>,
    /// Whether an instrument leaned on the universe for its volatility or correlation.
    pub borrowed: Vec<bool>,
}

impl RankModel {
    /// All models.
    pub const ALL: [Self; 5] = [Self::Uniform, Self::Cov252, Self::S0, Self::Ewma94, Self::Seasonal];

    /// The name in files and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Cov252 => "cov252",
            Self::S0 => "s0",
            Self::Ewma94 => "ewma94",
            Self::Seasonal => "seasonal",
        }
    }

    /// Chances of the fifths and expected ranks.
    ///
    /// # Errors
    /// [`CovarianceError`] when the returns give no correlation matrix.
    pub fn quintile_probabilities(self, inputs: &RankInputs) -> Result<RankForecast, CovarianceError> {
        let count = inputs.log_returns.len();
        let components = self.components(inputs);
        let quintile_probabilities = match self {
            Self::Uniform => vec![[0.2; 5]; count],
            _ => mixture_quintiles(&components, inputs.seed)?,
        };
        Ok(RankForecast {
            expected_rank: quintile_probabilities.iter().map(|p| expected_rank(p, count)).collect(),
            borrowed: (0..count).map(|i| components.iter().any(|c| c.covariance.borrowed[i])).collect(),
            quintile_probabilities,
        })
    }

    fn components(self, inputs: &RankInputs) -> Vec<RankComponent> {
        let pairs = inputs.draws.div_ceil(2);
        let estimate = |estimator| Covariance::estimate(inputs.log_returns, estimator);
        let sample = || estimate(Estimator::Sample { sessions: 252 });
        match self {
            Self::Uniform => vec![],
            Self::Cov252 => vec![RankComponent { covariance: sample(), pairs }],
            Self::Ewma94 => {
                let half_life = 0.5f64.ln() / 0.94f64.ln();
                let Covariance { volatility, borrowed, .. } = estimate(Estimator::Ewma { half_life, sessions: 252 });
                let covariance = Covariance { volatility, borrowed, ..sample() };
                vec![RankComponent { covariance, pairs }]
            }
            Self::S0 => mixture(sample(), inputs, pairs),
            Self::Seasonal => seasonal_components(inputs.log_returns, inputs.horizon_sessions, pairs),
        }
    }
}

fn mixture(sample: Covariance, inputs: &RankInputs, pairs: usize) -> Vec<RankComponent> {
    let blended = |(i, sigma): (usize, &f64)| match inputs.forecast_variance.get(i) {
        Some(variance) if variance.is_finite() && *variance > 0.0 => (variance.sqrt() * sigma).sqrt(),
        _ => *sigma,
    };
    let volatility = sample.volatility.iter().enumerate().map(blended).collect();
    let forecast = Covariance { volatility, ..sample.clone() };
    let others = [
        Estimator::Sample { sessions: 504 },
        Estimator::Ewma { half_life: 63.0, sessions: 504 },
        Estimator::LedoitWolf { sessions: 252 },
    ];
    let eighth = pairs / 8;
    let mut components = vec![RankComponent { covariance: sample, pairs: eighth }];
    components.extend(others.map(|estimator| {
        let covariance = Covariance::estimate(inputs.log_returns, estimator);
        RankComponent { covariance, pairs: eighth }
    }));
    components.push(RankComponent { covariance: forecast, pairs: pairs - 4 * eighth });
    components
}

impl fmt::Display for RankModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RankModel {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|m| m.as_str() == text);
        let known = || Self::ALL.map(Self::as_str).join(", ");
        found.ok_or_else(|| format!("unknown rank model {text:?}; known are {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::simulation::{SimulationOptions, simulate};
    use crate::market::{bar::Day, history::History};

    fn history() -> History {
        let last_day = Day::from_ymd_opt(2024, 9, 30).unwrap();
        simulate(SimulationOptions { seed: 4, instruments: 12, sessions: 800, last_day }).history()
    }

    fn columns(history: &History) -> Vec<&[f64]> {
        history.instruments.iter().map(|i| i.log_return.as_slice()).collect()
    }

    fn inputs<'a>(log_returns: &'a [&'a [f64]], forecast_variance: &'a [f64]) -> RankInputs<'a> {
        RankInputs { log_returns, forecast_variance, horizon_sessions: 20, draws: 4000, seed: 9 }
    }

    fn forecast(model: RankModel, history: &History, variance: &[f64]) -> RankForecast {
        model.quintile_probabilities(&inputs(&columns(history), variance)).unwrap()
    }

    #[test]
    fn every_model_answers_for_every_instrument() {
        let history = history();
        for model in RankModel::ALL {
            let found = forecast(model, &history, &[]);
            assert_eq!(found.quintile_probabilities.len(), history.instruments.len());
            for p in &found.quintile_probabilities {
                assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{model}");
                assert!((p[0], p[1]) == (p[4], p[3]), "{model}");
            }
            assert_eq!(model.as_str().parse(), Ok(model));
            assert_eq!(found, forecast(model, &history, &[]));
        }
        assert!("s1".parse::<RankModel>().unwrap_err().ends_with("uniform, cov252, s0, ewma94, seasonal"));
    }

    #[test]
    fn a_higher_variance_forecast_moves_mass_to_the_ends() {
        let history = history();
        let calm = forecast(RankModel::S0, &history, &[1e-4; 12]).quintile_probabilities;
        let mut variance = [1e-4; 12];
        variance[3] = 2e-3;
        let nervous = forecast(RankModel::S0, &history, &variance).quintile_probabilities;
        assert!(nervous[3][4] > calm[3][4] + 0.03);
        assert_eq!(forecast(RankModel::Cov252, &history, &variance), forecast(RankModel::Cov252, &history, &[]));
    }

    #[test]
    fn a_report_ahead_moves_mass_to_the_ends_of_short_horizons() {
        let mut history = history();
        let column = &mut history.instruments[3].log_return;
        let end = column.len();
        (1..=12).for_each(|quarter| column[end + 10 - 63 * quarter] = 0.15);
        let log_returns = columns(&history);
        let best = |model: RankModel, horizon_sessions| {
            let inputs = RankInputs { horizon_sessions, ..inputs(&log_returns, &[]) };
            model.quintile_probabilities(&inputs).unwrap().quintile_probabilities[3][4]
        };
        assert!(best(RankModel::Seasonal, 20) > best(RankModel::Seasonal, 5) + 0.03);
        assert!(best(RankModel::Seasonal, 20) > best(RankModel::Seasonal, 252) + 0.03);
        assert!(best(RankModel::Cov252, 20) == best(RankModel::Cov252, 5));
    }

    #[test]
    fn returns_before_the_window_do_not_matter() {
        let history = history();
        for (model, sessions) in [(RankModel::Cov252, 252), (RankModel::S0, 504), (RankModel::Seasonal, 756)] {
            let whole = columns(&history);
            let cut: Vec<&[f64]> = whole.iter().map(|c| &c[c.len() - sessions..]).collect();
            let found = model.quintile_probabilities(&inputs(&cut, &[])).unwrap();
            assert_eq!(found, forecast(model, &history, &[]), "{model}");
        }
    }
}

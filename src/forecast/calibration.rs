//! Calibration of intervals: the standardized errors of past forecasts, by day, and the quantile map that the matured
//! ones give.

use crate::forecast::prepared::Prepared;
use crate::forecast::walk::VolatilityWalk;
use crate::market::horizon::Horizon;
use crate::scenario::adaptive::Adaptation;
use crate::scenario::conformal::QuantileMap;

/// Sessions between the days whose errors count.
const SPACING: usize = 5;
/// The interval whose misses move the scale: 90 %, with the step of Gibbs and Candes (2021) that the method starts with.
const ADAPTATION: Adaptation = Adaptation { target: 0.1, step: 0.01 };
/// Days after which the map behind past intervals is fitted anew: a year of them.
const REFIT_DAYS: usize = 50;

/// Standardized errors `|r - m| / sigma` of the forecasts of one day.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreDay {
    /// Decision day.
    pub session: usize,
    /// One score an instrument whose return is known.
    pub scores: Vec<f64>,
}

/// Matured errors of one horizon with the misses of the intervals that were in force.
#[derive(Debug, Clone)]
pub struct Calibration {
    horizon: usize,
    days: Vec<ScoreDay>,
    misses: Vec<f64>,
}

impl Calibration {
    /// The errors of a walk's forecasts around the mean without skill.
    #[must_use]
    pub fn of_walk(prepared: &Prepared, walk: &VolatilityWalk, horizon: Horizon, premium: f64) -> Self {
        let first = walk.first_session(&prepared.history.sessions).unwrap_or(usize::MAX);
        let end = prepared.sessions().saturating_sub(horizon.sessions());
        let grid = (first.min(end)..end).filter(|t| t % SPACING == 0);
        let days = grid.map(|t| score_day(prepared, walk, (t, horizon), premium)).filter(|d| !d.scores.is_empty());
        Self::new(days.collect(), horizon)
    }

    /// Folds the days, ascending, into the misses of the intervals that were in force on each.
    #[must_use]
    pub fn new(days: Vec<ScoreDay>, horizon: Horizon) -> Self {
        let mut calibration = Self { horizon: horizon.sessions(), days, misses: Vec::new() };
        let mut map = QuantileMap::gaussian();
        for k in 0..calibration.days.len() {
            let session = calibration.days[k].session;
            if k % REFIT_DAYS == 0 {
                map = QuantileMap::fit(&calibration.matured_scores(session));
            }
            let rate = calibration.miss_rate(session);
            calibration.misses.push(ADAPTATION.missed(&map, rate, &calibration.days[k].scores));
        }
        calibration
    }

    /// The map that the errors matured by the close of a session give, at the adapted scale.
    #[must_use]
    pub fn map_at(&self, session: usize) -> QuantileMap {
        self.adapted(&QuantileMap::fit(&self.matured_scores(session)), session)
    }

    fn adapted(&self, map: &QuantileMap, session: usize) -> QuantileMap {
        map.with_scale(ADAPTATION.scale(map, self.miss_rate(session)))
    }

    /// The adapted rate of misses by the close of a session, from the misses matured by then.
    fn miss_rate(&self, session: usize) -> f64 {
        let known = self.misses.iter().zip(&self.days).filter(|(_, d)| d.session + self.horizon <= session);
        ADAPTATION.miss_rate(known.map(|(miss, _)| *miss))
    }

    fn matured_scores(&self, session: usize) -> Vec<f64> {
        let matured = self.days.iter().take_while(|d| d.session + self.horizon <= session);
        matured.flat_map(|d| d.scores.iter().copied()).collect()
    }
}

fn score_day(prepared: &Prepared, walk: &VolatilityWalk, (t, horizon): (usize, Horizon), premium: f64) -> ScoreDay {
    let sessions = horizon.sessions();
    let forecasts = walk.forecasts(&prepared.inputs, t, horizon);
    let scores = forecasts.iter().enumerate().filter_map(|(i, forecast)| {
        let variance = forecast.as_ref()?.daily_variance * sessions as f64;
        let returns = prepared.universe.returns(i);
        let known = !prepared.universe.is_index(i, t) && returns.count(t + sessions, sessions) == sessions;
        let median = prepared.mean_without_skill(i, t, horizon, premium).ln_1p() - variance / 2.0;
        known.then(|| (returns.sum(t + sessions, sessions) - median).abs() / variance.sqrt())
    });
    ScoreDay { session: t, scores: scores.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::conformal::normal_score;

    fn days(scale: impl Fn(usize) -> f64) -> Vec<ScoreDay> {
        let quantile = |k: usize| normal_score(0.5 + (k as f64 + 0.5) / 400.0);
        (0..400)
            .map(|t| ScoreDay { session: 5 * t, scores: (0..200).map(|k| quantile(k) * scale(t)).collect() })
            .collect()
    }

    #[test]
    fn wide_errors_give_a_wide_map_once_they_are_known() {
        let calibration = Calibration::new(days(|_| 2.0), Horizon::FourWeeks);
        assert!(!calibration.map_at(10).is_calibrated());
        assert!((calibration.map_at(1999).quantile(0.95) - 2.0 * normal_score(0.95)).abs() < 0.05);
    }

    #[test]
    fn the_map_does_not_know_later_errors() {
        let calm = Calibration::new(days(|_| 1.0), Horizon::FourWeeks);
        let shaken = Calibration::new(days(|t| if t < 300 { 1.0 } else { 5.0 }), Horizon::FourWeeks);
        let last_calm = 5 * 300 + 19;
        assert_eq!(calm.map_at(last_calm), shaken.map_at(last_calm));
        assert!(shaken.map_at(1999).quantile(0.95) > calm.map_at(1999).quantile(0.95));
    }
}

//! Output rows to forecasts: corrections of the benchmarks, and probabilities.

use crate::learning::loss::{base_logit, bounded_correction, bounded_mean, softmax};
use crate::learning::task::{CLASSES, HEADS, HORIZONS, Head, OUTPUTS, STATES, Task};
use crate::market::horizon::Horizon;

/// What the network says of one instrument over one horizon, as corrections of the benchmarks it was trained against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HorizonForecast {
    /// Added to ln of the benchmark's daily variance; within +- 1.5.
    pub log_variance_correction: f64,
    /// Added to ln of the benchmark's daily variance in excess of the universe; within +- 1.5.
    pub log_dispersion_correction: f64,
    /// Added to the benchmark's mean, in units of the benchmark's volatility over the horizon; within +- 0.5.
    pub scaled_mean: f64,
    /// Added to the log odds of the base rate of a positive return; within +- 1.5.
    pub direction_logit_correction: f64,
    /// Added to the log odds of the base rate of a drawdown of 1.5 volatilities; within +- 1.5.
    pub drawdown_logit_correction: f64,
    /// Probability of each fifth of the universe, worst first; sums to 1.
    pub quintile_probabilities: [f64; CLASSES],
}

impl HorizonForecast {
    /// Probability of a positive return, given the base rate known on the decision day.
    #[must_use]
    pub fn probability_up(&self, base_rate: f64) -> f64 {
        corrected(base_rate, self.direction_logit_correction)
    }

    /// Probability of a drawdown of 1.5 volatilities, given the base rate known on the decision day.
    #[must_use]
    pub fn probability_drawdown(&self, base_rate: f64) -> f64 {
        corrected(base_rate, self.drawdown_logit_correction)
    }
}

/// What the network says of one instrument on one day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowForecast {
    /// By horizon, in the order of [`Horizon::ALL`].
    pub horizons: [HorizonForecast; HORIZONS],
    /// Probability of each discrete state one week ahead; sums to 1.
    pub next_state: [f64; STATES],
}

impl RowForecast {
    /// Reads an output row, each head at its share.
    ///
    /// # Shapes
    /// `outputs` is `[OUTPUTS]`.
    #[must_use]
    pub fn decode(outputs: &[f32], shrink: &[f32; HEADS]) -> Self {
        let mut row = [0.0; OUTPUTS];
        for (head, share) in Head::all().into_iter().zip(shrink) {
            for column in head.columns() {
                row[column] = outputs[column] * share;
            }
        }
        let at = |task: Task, horizon: Horizon| &row[Head::all()[Head::index(task, horizon)].columns()];
        let horizons = Horizon::ALL.map(|horizon| HorizonForecast {
            log_variance_correction: f64::from(bounded_correction(at(Task::Volatility, horizon)[0])),
            log_dispersion_correction: f64::from(bounded_correction(at(Task::Dispersion, horizon)[0])),
            scaled_mean: f64::from(bounded_mean(at(Task::Mean, horizon)[0])),
            direction_logit_correction: f64::from(bounded_correction(at(Task::Direction, horizon)[0])),
            drawdown_logit_correction: f64::from(bounded_correction(at(Task::Drawdown, horizon)[0])),
            quintile_probabilities: probabilities(at(Task::Rank, horizon)),
        });
        Self { horizons, next_state: probabilities(at(Task::NextState, Horizon::OneWeek)) }
    }
}

/// Softmax as doubles that sum to 1 to their own precision; equal logits give exactly equal probabilities.
fn probabilities<const N: usize>(logits: &[f32]) -> [f64; N] {
    let mut shares: [f32; N] = std::array::from_fn(|class| logits[class]);
    softmax(&mut shares);
    let sum: f64 = shares.iter().map(|share| f64::from(*share)).sum();
    shares.map(|share| f64::from(share) / sum)
}

fn corrected(base_rate: f64, correction: f64) -> f64 {
    if correction == 0.0 {
        return base_rate;
    }
    1.0 / (1.0 + (-(f64::from(base_logit(base_rate as f32)) + correction)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_outputs_are_the_benchmark_exactly() {
        let forecast = RowForecast::decode(&[0.0; OUTPUTS], &[1.0; HEADS]);
        for horizon in forecast.horizons {
            assert_eq!(horizon.log_variance_correction, 0.0);
            assert_eq!(horizon.log_dispersion_correction, 0.0);
            assert_eq!(horizon.scaled_mean, 0.0);
            assert_eq!(horizon.quintile_probabilities, [0.2; CLASSES]);
            assert_eq!(horizon.probability_up(0.5437), 0.5437);
            assert_eq!(horizon.probability_drawdown(0.0), 0.0);
        }
        assert_eq!(forecast.next_state, [1.0 / 9.0; STATES]);
    }

    #[test]
    fn shares_and_bounds_hold() {
        let mut shrink = [1.0; HEADS];
        shrink[Head::index(Task::Rank, Horizon::OneWeek)] = 0.0;
        let forecast = RowForecast::decode(&[80.0; OUTPUTS], &shrink);
        assert!((forecast.horizons[0].log_variance_correction - 1.5).abs() < 1e-6);
        assert!((forecast.horizons[4].drawdown_logit_correction - 1.5).abs() < 1e-6);
        let outputs: [f32; OUTPUTS] = std::array::from_fn(|column| column as f32);
        let forecast = RowForecast::decode(&outputs, &shrink);
        assert_eq!(forecast.horizons[0].quintile_probabilities, [0.2; CLASSES]);
        let ranks = forecast.horizons[1].quintile_probabilities;
        assert!(ranks.is_sorted() && (ranks.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn logit_corrections_move_the_base_rate() {
        let forecast = RowForecast::decode(&[1.0; OUTPUTS], &[1.0; HEADS]).horizons[2];
        let odds = |probability: f64| (probability / (1.0 - probability)).ln();
        let moved = odds(forecast.probability_up(0.6)) - odds(0.6);
        assert!((moved - forecast.direction_logit_correction).abs() < 1e-6);
    }
}

//! Fits the reward model: the benchmark in closed form, the network's correction of it by descent over all pairs.

use std::f64::consts::PI;

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Tensor, TensorData, TensorReadError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::decision::action::{Action, PerAction};
use crate::learning::device::processor;
use crate::learning::reward::{RewardError, RewardSettings, RewardTable};
use crate::learning::reward_constant::constant_rewards;
use crate::learning::reward_network::{ACTIONS, RewardNetwork, cell_inputs};
use crate::learning::reward_tally::{CELLS, Tally, cell};
use crate::learning::task::STATES;
use crate::market::horizon::Horizon;

/// Share of the first step size that is left in the last epoch.
const FINAL_RATE_SHARE: f64 = 0.05;

/// The benchmark: every state has the rewards of its horizon.
pub(crate) fn constant_table(tally: &Tally) -> RewardTable {
    let of_horizon = |horizon| constant_rewards(&tally.over_states(horizon), tally.quarters());
    RewardTable::from_fn(|horizon| Some([of_horizon(horizon)?; STATES]))
}

/// The network's rewards: the benchmark's plus a correction c that minimizes
///
/// `mean over comparisons of -ln sigmoid(r_w - r_l) + k / (8 quarters) x mean over cells of the sum over actions of c^2`
///
/// with k = `prior_quarters` and the cells of all horizons with comparisons. Around c = 0 the first term's curvature in a
/// cell with its share of comparisons is that of the second with k = quarters. Comparisons of one quarter share
/// the market that decided them, so quarters and not pairs measure what is known.
///
/// # Errors
/// Numbers that cannot be read or are not finite.
pub(crate) fn fit_network(
    tally: &Tally,
    constant: &RewardTable,
    settings: &RewardSettings,
) -> Result<RewardTable, RewardError> {
    let descent = Descent::new(tally, constant, settings.prior_quarters);
    let device = processor().autodiff();
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut network = RewardNetwork::init(settings.hidden, &mut random, &device);
    let mut optimizer = AdamWConfig::new().with_weight_decay(settings.weight_decay as f32).with_epsilon(1e-8).init();
    let inputs = cell_inputs(&device);
    for epoch in 0..settings.epochs {
        let outputs = network.forward(inputs.clone());
        let slopes = TensorData::new(descent.slopes(&corrections(&outputs)?), outputs.dims());
        let mut graph = (outputs * Tensor::from_data(slopes, &device)).sum().backward();
        let gradients = GradientsParams::from_module(&mut graph, &network);
        network = optimizer.step(rate_in(epoch, settings), network, gradients);
    }
    let table = descent.corrected(&corrections(&network.forward(inputs))?);
    if table.is_finite() { Ok(table) } else { Err(RewardError::NotFinite) }
}

/// The step size falls along a half cosine.
fn rate_in(epoch: usize, settings: &RewardSettings) -> f64 {
    let done = epoch as f64 / settings.epochs as f64;
    let share = FINAL_RATE_SHARE + (1.0 - FINAL_RATE_SHARE) * (1.0 + (PI * done).cos()) / 2.0;
    settings.learning_rate * share
}

/// Output rows as corrections of the cells, centred again in full precision.
fn corrections(outputs: &Tensor<2>) -> Result<Vec<PerAction<f64>>, TensorReadError> {
    let outputs = outputs.clone().inner().try_into_vec_as::<f32>()?;
    let centred = |row: &[f32]| centred(&PerAction::from_fn(|action| f64::from(row[action.index()])));
    Ok(outputs.chunks_exact(ACTIONS).map(centred).collect())
}

fn centred(rewards: &PerAction<f64>) -> PerAction<f64> {
    let mean = (rewards.sell + rewards.hold + rewards.buy) / 3.0;
    PerAction::from_fn(|action| rewards[action] - mean)
}

/// What is descended, cell by cell.
struct Descent<'a> {
    tally: &'a Tally,
    /// The benchmark's rewards; `None` where nothing is compared.
    constant: [Option<PerAction<f64>>; CELLS],
    /// Slope of the penalty over the correction.
    pull: f64,
}

impl<'a> Descent<'a> {
    fn new(tally: &'a Tally, constant: &RewardTable, prior_quarters: f64) -> Self {
        let of_cell = |at: usize| constant.rewards((at % STATES) as u8, Horizon::ALL[at / STATES]).copied();
        let constant: [_; CELLS] = std::array::from_fn(of_cell);
        let cells = constant.iter().flatten().count().max(1) as f64;
        Self { tally, constant, pull: prior_quarters / (4.0 * tally.quarters().max(1) as f64 * cells) }
    }

    /// Slopes of the objective in the corrections, `[CELLS][ACTIONS]`.
    fn slopes(&self, corrections: &[PerAction<f64>]) -> Vec<f32> {
        let of_cell = |(at, correction): (usize, &PerAction<f64>)| {
            let Some(constant) = &self.constant[at] else { return [0.0; ACTIONS] };
            let slopes = self.tally.slopes(at, &sum(constant, correction));
            Action::ALL.map(|action| (slopes[action] + self.pull * correction[action]) as f32)
        };
        corrections.iter().enumerate().flat_map(of_cell).collect()
    }

    fn corrected(&self, corrections: &[PerAction<f64>]) -> RewardTable {
        let reward = |at: usize| Some(centred(&sum(self.constant[at].as_ref()?, &corrections[at])));
        RewardTable::from_fn(|horizon| {
            let rewards: Option<Vec<_>> = (0..STATES).map(|state| reward(cell(horizon, state))).collect();
            rewards?.try_into().ok()
        })
    }
}

fn sum(first: &PerAction<f64>, second: &PerAction<f64>) -> PerAction<f64> {
    PerAction::from_fn(|action| first[action] + second[action])
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::learning::reward::RewardPair;
    use crate::learning::reward_planted::{Planted, by_state};
    use crate::learning::reward_tally::DUELS;

    fn rewards(table: &RewardTable) -> Vec<PerAction<f64>> {
        let of_cell = |at: usize| table.rewards((at % STATES) as u8, Horizon::ALL[at / STATES]).copied();
        (0..CELLS).map(|at| of_cell(at).unwrap_or_default()).collect()
    }

    fn objective(descent: &Descent<'_>, corrections: &[PerAction<f64>]) -> f64 {
        let rewards: Vec<_> =
            descent.constant.iter().zip(corrections).map(|(c, d)| sum(&c.unwrap_or_default(), d)).collect();
        let known = corrections.iter().zip(&descent.constant).filter(|(_, constant)| constant.is_some());
        let squares: f64 = known.flat_map(|(c, _)| Action::ALL.map(|action| c[action] * c[action])).sum();
        descent.tally.mean_loss(&rewards) + descent.pull / 2.0 * squares
    }

    #[test]
    fn slopes_are_those_of_the_objective() {
        let pairs = Planted { quarters: 3, ..Planted::usual(by_state) }.pairs(2);
        let tally = Tally::of(&pairs);
        let descent = Descent::new(&tally, &constant_table(&tally), 8.0);
        let mut corrections: Vec<_> = (0..CELLS)
            .map(|at| PerAction { sell: 0.1 * (at % 5) as f64, hold: -0.2, buy: 0.3 - 0.05 * (at % 7) as f64 })
            .collect();
        let slopes = descent.slopes(&corrections);
        for (at, action) in [(0, Action::Sell), (5, Action::Hold), (17, Action::Buy), (30, Action::Sell)] {
            let start = corrections[at][action];
            let mut moved = |by: f64| {
                corrections[at][action] = start + by;
                objective(&descent, &corrections)
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            corrections[at][action] = start;
            let slope = f64::from(slopes[at * ACTIONS + action.index()]);
            assert!((difference - slope).abs() < 1e-8, "{at}: {difference} {slope}");
        }
    }

    #[test]
    fn thirty_two_pairs_are_learned_by_heart() {
        // Each in a cell of its own, with winners that follow no rule.
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut pair = |number: usize| {
            let (state, horizon) = ((number % STATES) as u8, Horizon::ALL[number / STATES]);
            let [first, second] = DUELS[random.random_range(0..DUELS.len())];
            let [better, worse] = if random.random_bool(0.5) { [first, second] } else { [second, first] };
            RewardPair { state, horizon, better, worse, tie: false, quarter: 8000, known_from: 8001 }
        };
        let pairs: Vec<_> = (0..32).map(&mut pair).collect();
        let tally = Tally::of(&pairs);
        let constant = constant_table(&tally);
        let settings = RewardSettings { epochs: 2000, prior_quarters: 1e-3, ..RewardSettings::default() };
        let network = fit_network(&tally, &constant, &settings).unwrap();
        let loss = |table: &RewardTable| tally.mean_loss(&rewards(table));
        assert!(loss(&network) < 0.05 && loss(&constant) > 0.4, "{} {}", loss(&network), loss(&constant));
        assert!(rewards(&network).iter().all(|r| (r.sell + r.hold + r.buy).abs() < 1e-12));
    }

    #[test]
    fn few_quarters_correct_little() {
        let spread = |prior_quarters: f64| {
            let tally = Tally::of(&Planted { quarters: 8, ..Planted::usual(by_state) }.pairs(4));
            let constant = constant_table(&tally);
            let settings = RewardSettings { prior_quarters, ..RewardSettings::default() };
            let network = rewards(&fit_network(&tally, &constant, &settings).unwrap());
            network.iter().zip(rewards(&constant)).map(|(r, c)| (r.buy - c.buy).powi(2)).sum::<f64>().sqrt()
        };
        // Shrinkage near 8 / (8 + 8), 8 / (8 + 72).
        let (free, half, tenth) = (spread(1e-3), spread(8.0), spread(72.0));
        assert!(
            (0.4..0.65).contains(&(half / free)) && (0.06..0.16).contains(&(tenth / free)),
            "{free} {half} {tenth}"
        );
    }

    #[test]
    fn a_descent_that_explodes_is_refused() {
        let tally = Tally::of(&Planted { quarters: 2, ..Planted::usual(by_state) }.pairs(4));
        let settings = RewardSettings { learning_rate: 1e38, ..RewardSettings::default() };
        let result = fit_network(&tally, &constant_table(&tally), &settings);
        assert!(matches!(result, Err(RewardError::NotFinite)), "{result:?}");
    }
}

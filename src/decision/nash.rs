//! All Nash equilibria of a small two-player game, by support enumeration.
//!
//! For each pair of supports of equal size the indifference conditions are solved, and the solution is kept where no
//! action outside does better. Non-degenerate games have no other equilibria; in degenerate ones (ties), where
//! equilibria may form segments, the answer holds at least one, and those that are solutions of such a system.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::action::{Action, MixedStrategy, PerAction};

/// Slack of the comparisons, relative to the spread of the payoffs.
const TOLERANCE: f64 = 1e-10;

/// One equilibrium of the holder against the crowd.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NashEquilibrium {
    /// What the holder plays.
    pub holder: MixedStrategy,
    /// What the crowd plays.
    pub crowd: MixedStrategy,
    /// Both play the same.
    pub symmetric: bool,
}

/// All equilibria of the symmetric game `[own action][crowd action]`, closed actions left out.
#[must_use]
pub fn symmetric_game_equilibria(game: &PerAction<PerAction<f64>>, open: &PerAction<bool>) -> Vec<NashEquilibrium> {
    let actions: Vec<Action> = Action::ALL.into_iter().filter(|&action| open[action]).collect();
    let rows = DMatrix::from_fn(actions.len(), actions.len(), |own, crowd| game[actions[own]][actions[crowd]]);
    let columns = rows.transpose();
    let widen = |weights: &[f64]| {
        let mut strategy = MixedStrategy::default();
        actions.iter().zip(weights).for_each(|(&action, &weight)| strategy[action] = weight);
        strategy
    };
    let name = |(row, column): (Vec<f64>, Vec<f64>)| NashEquilibrium {
        holder: widen(&row),
        crowd: widen(&column),
        symmetric: close(&row, &column),
    };
    bimatrix_equilibria(&rows, &columns).into_iter().map(name).collect()
}

/// All equilibria (row strategy, column strategy) of a game with payoffs `rows` and `columns`, smallest supports first.
///
/// # Shapes
/// Both matrices are row actions by column actions, each at most 16 either way.
#[must_use]
pub fn bimatrix_equilibria(rows: &DMatrix<f64>, columns: &DMatrix<f64>) -> Vec<(Vec<f64>, Vec<f64>)> {
    let (rows, columns) = (scaled(rows), scaled(columns).transpose());
    let mut found: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for size in 1..=rows.nrows().min(rows.ncols()) {
        for row_support in supports(rows.nrows(), size) {
            for column_support in supports(rows.ncols(), size) {
                // The opponent's mixture is what makes one's own support indifferent.
                let Some(column) = indifference(&rows, &row_support, &column_support) else { continue };
                let Some(row) = indifference(&columns, &column_support, &row_support) else { continue };
                let known = found.iter().any(|(r, c)| close(r, &row) && close(c, &column));
                if !known {
                    found.push((row, column));
                }
            }
        }
    }
    found
}

/// The opponent's mixture on `opponent_support` against which all of `own_support` pays the same and nothing pays more.
fn indifference(payoffs: &DMatrix<f64>, own_support: &[usize], opponent_support: &[usize]) -> Option<Vec<f64>> {
    let size = own_support.len();
    let system = DMatrix::from_fn(size + 1, size + 1, |row, column| match (row < size, column < size) {
        (true, true) => payoffs[(own_support[row], opponent_support[column])],
        (true, false) => -1.0,
        (false, true) => 1.0,
        (false, false) => 0.0,
    });
    let mut right = DVector::zeros(size + 1);
    right[size] = 1.0;
    let solution = system.lu().solve(&right)?;
    let mut mixture = vec![0.0; payoffs.ncols()];
    for (&position, &weight) in opponent_support.iter().zip(solution.iter()) {
        if !weight.is_finite() || weight < -TOLERANCE {
            return None;
        }
        mixture[position] = weight.max(0.0);
    }
    let total: f64 = mixture.iter().sum();
    mixture.iter_mut().for_each(|weight| *weight /= total);
    let replies = payoffs * DVector::from_column_slice(&mixture);
    (replies.max() <= solution[size] + TOLERANCE).then_some(mixture)
}

fn supports(actions: usize, size: usize) -> impl Iterator<Item = Vec<usize>> {
    let members = move |mask: u32| (0..actions).filter(move |&action| mask & (1 << action) != 0).collect::<Vec<_>>();
    (1..1_u32 << actions).filter(move |mask| mask.count_ones() as usize == size).map(members)
}

/// Payoffs between 0 and 1: equilibria do not depend on unit and origin, the tolerance does.
fn scaled(payoffs: &DMatrix<f64>) -> DMatrix<f64> {
    let (low, spread) = (payoffs.min(), payoffs.max() - payoffs.min());
    payoffs.map(|payoff| if spread > 0.0 { (payoff - low) / spread } else { 0.0 })
}

fn close(left: &[f64], right: &[f64]) -> bool {
    left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matrix(values: &[[f64; 2]; 2]) -> DMatrix<f64> {
        DMatrix::from_fn(2, 2, |row, column| values[row][column])
    }

    #[test]
    fn classic_games_have_their_known_equilibria() {
        let pennies = matrix(&[[1.0, -1.0], [-1.0, 1.0]]);
        assert_eq!(bimatrix_equilibria(&pennies, &-&pennies), [(vec![0.5, 0.5], vec![0.5, 0.5])]);
        let asymmetric = bimatrix_equilibria(&matrix(&[[9.0, 0.0], [0.0, 1.0]]), &matrix(&[[0.0, 1.0], [1.0, 0.0]]));
        assert!(asymmetric.len() == 1 && close(&asymmetric[0].0, &[0.5, 0.5]) && close(&asymmetric[0].1, &[0.1, 0.9]));
        let prisoners = matrix(&[[3.0, 0.0], [5.0, 1.0]]);
        assert_eq!(bimatrix_equilibria(&prisoners, &prisoners.transpose()), [(vec![0.0, 1.0], vec![0.0, 1.0])]);
        let chicken = matrix(&[[0.0, 7.0], [2.0, 6.0]]);
        assert_eq!(bimatrix_equilibria(&chicken, &chicken.transpose()).len(), 3);
    }

    #[test]
    fn rock_paper_scissors_mixes_evenly() {
        let rows = [[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]];
        let game = PerAction::from_fn(|own| PerAction::from_fn(|crowd| rows[own.index()][crowd.index()]));
        let found = symmetric_game_equilibria(&game, &PerAction { sell: true, hold: true, buy: true });
        assert_eq!(found.len(), 1);
        assert!(found[0].symmetric && Action::ALL.iter().all(|&a| (found[0].holder[a] - 1.0 / 3.0).abs() < 1e-12));
    }

    prop_compose! {
        fn any_rows()(values in prop::array::uniform9(-100..=100_i32)) -> PerAction<PerAction<f64>> {
            PerAction::from_fn(|own| PerAction::from_fn(|crowd| f64::from(values[3 * own.index() + crowd.index()])))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn there_is_an_equilibrium_and_nobody_gains_by_leaving_it(
            game in any_rows(),
            open in prop::sample::select(vec![[true; 3], [false, true, true], [true, true, false], [true, false, true]]),
        ) {
            let open = PerAction::from_fn(|action| open[action.index()]);
            let found = symmetric_game_equilibria(&game, &open);
            prop_assert!(!found.is_empty());
            for equilibrium in found {
                for (own, other) in [(equilibrium.holder, equilibrium.crowd), (equilibrium.crowd, equilibrium.holder)] {
                    let payoffs = PerAction::from_fn(|action| game[action].weighted_by(&other));
                    let reached = payoffs.weighted_by(&own);
                    prop_assert!((own.sell + own.hold + own.buy - 1.0).abs() < 1e-12);
                    prop_assert!(Action::ALL.iter().all(|&a| !open[a] || payoffs[a] <= reached + 1e-6));
                    prop_assert!(Action::ALL.iter().all(|&a| own[a] >= 0.0 && (open[a] || own[a] == 0.0)));
                }
            }
        }

        #[test]
        fn a_constant_per_column_moves_no_equilibrium(game in any_rows(), shift in prop::array::uniform3(-50..=50_i32)) {
            let open = PerAction { sell: true, hold: true, buy: true };
            let moved = PerAction::from_fn(|own| {
                PerAction::from_fn(|crowd: Action| game[own][crowd] + f64::from(shift[crowd.index()]))
            });
            let (before, after) = (symmetric_game_equilibria(&game, &open), symmetric_game_equilibria(&moved, &open));
            prop_assert_eq!(before.len(), after.len());
            for (one, other) in before.iter().zip(&after) {
                prop_assert!(Action::ALL.iter().all(|&a| (one.holder[a] - other.holder[a]).abs() < 1e-8));
            }
        }
    }
}

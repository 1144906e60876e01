//! Dominated actions, and what is left when nobody plays them.
//!
//! The crowd are holders with the same payoffs, so an action eliminated for the holder is eliminated for the crowd and
//! the columns of that crowd action go.

use serde::{Deserialize, Serialize};

use super::action::{Action, MixedStrategy, PerAction};
use super::game::{Column, PayoffMatrix};

/// How an action left the game.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EliminationKind {
    /// The holder's range leaves no room for it.
    OutOfRange,
    /// Another action is better in every column.
    Strict,
    /// Another action is nowhere worse and somewhere better.
    Weak,
    /// A mixture of the other two actions is better in every column.
    Mixture,
}

/// One action leaving the game, and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Elimination {
    /// The action that leaves.
    pub action: Action,
    /// 0 for actions out of range, then 1, 2.
    pub round: u8,
    /// Why.
    pub kind: EliminationKind,
    /// The action or mixture that is better; all 0 for actions out of range.
    pub by: MixedStrategy,
    /// Columns in play when it left.
    pub columns: usize,
}

/// The strength of an argument from dominance, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dominance {
    /// Better than every other action in every column.
    Strict,
    /// Nowhere worse than any other action, and against each somewhere better.
    Weak,
    /// The only one left after iterated elimination of strictly dominated actions, mixtures included.
    Iterated,
}

/// What dominance leaves of a game.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduction {
    /// The dominant action with the strength of the argument, where there is one.
    pub dominant: Option<(Action, Dominance)>,
    /// Who left, in order.
    pub eliminations: Vec<Elimination>,
    /// Which actions remain.
    pub remaining: PerAction<bool>,
    /// Positions of the remaining columns in [`PayoffMatrix::columns`], ascending.
    pub columns: Vec<usize>,
}

impl Reduction {
    /// How the action left, if it did.
    #[must_use]
    pub fn elimination_of(&self, action: Action) -> Option<Elimination> {
        self.eliminations.iter().find(|elimination| elimination.action == action).copied()
    }
}

/// Looks for a strictly, then a weakly dominant action, and else eliminates strictly dominated actions in rounds.
///
/// Within a round all dominated actions leave together; for strict dominance the order does not matter for what is
/// left.
#[must_use]
pub fn reduce(matrix: &PayoffMatrix) -> Reduction {
    let game = Play::start(matrix);
    for (dominance, kind) in [(Dominance::Strict, EliminationKind::Strict), (Dominance::Weak, EliminationKind::Weak)] {
        let dominates = |&best: &Action| {
            game.actions().filter(|&other| other != best).all(|other| beats(&game.columns(), best, other, kind))
        };
        if let Some(best) = game.actions().find(dominates) {
            return game.won_by(best, dominance, kind);
        }
    }
    game.iterated()
}

/// A game in the course of elimination.
struct Play<'a> {
    matrix: &'a PayoffMatrix,
    remaining: PerAction<bool>,
    eliminations: Vec<Elimination>,
}

impl<'a> Play<'a> {
    fn start(matrix: &'a PayoffMatrix) -> Self {
        let closed = Action::ALL.into_iter().filter(|&action| !matrix.open()[action]);
        let left = |action| Elimination {
            action,
            round: 0,
            kind: EliminationKind::OutOfRange,
            by: MixedStrategy::default(),
            columns: matrix.columns().len(),
        };
        Self { matrix, remaining: *matrix.open(), eliminations: closed.map(left).collect() }
    }

    fn actions(&self) -> impl Iterator<Item = Action> + use<> {
        let remaining = self.remaining;
        Action::ALL.into_iter().filter(move |&action| remaining[action])
    }

    fn columns(&self) -> Vec<&'a Column> {
        self.matrix.columns().iter().filter(|column| self.remaining[column.crowd]).collect()
    }

    fn won_by(mut self, best: Action, dominance: Dominance, kind: EliminationKind) -> Reduction {
        let columns = self.columns().len();
        let losers: Vec<Action> = self.actions().filter(|&action| action != best).collect();
        for action in losers {
            self.eliminations.push(Elimination { action, round: 1, kind, by: pure(best), columns });
            self.remaining[action] = false;
        }
        self.finish(Some((best, dominance)))
    }

    fn iterated(mut self) -> Reduction {
        for round in 1.. {
            let leaving = self.strictly_dominated(round);
            if leaving.is_empty() {
                break;
            }
            leaving.iter().for_each(|elimination| self.remaining[elimination.action] = false);
            self.eliminations.extend(leaving);
        }
        let mut left = self.actions();
        let dominant = match (left.next(), left.next()) {
            (Some(only), None) => Some((only, Dominance::Iterated)),
            _ => None,
        };
        self.finish(dominant)
    }

    fn strictly_dominated(&self, round: u8) -> Vec<Elimination> {
        let columns = self.columns();
        let reason = |action: Action| {
            let others: Vec<Action> = self.actions().filter(|&other| other != action).collect();
            let better = others.iter().find(|&&other| beats(&columns, other, action, EliminationKind::Strict));
            let mixture = || match others[..] {
                [first, second] => dominating_mixture(&columns, action, first, second),
                _ => None,
            };
            let (kind, by) = match better {
                Some(&other) => (EliminationKind::Strict, pure(other)),
                None => (EliminationKind::Mixture, mixture()?),
            };
            Some(Elimination { action, round, kind, by, columns: columns.len() })
        };
        self.actions().filter_map(reason).collect()
    }

    fn finish(self, dominant: Option<(Action, Dominance)>) -> Reduction {
        let kept = |&position: &usize| self.remaining[self.matrix.columns()[position].crowd];
        let columns = (0..self.matrix.columns().len()).filter(kept).collect();
        Reduction { dominant, eliminations: self.eliminations, remaining: self.remaining, columns }
    }
}

fn pure(action: Action) -> MixedStrategy {
    PerAction::from_fn(|other| if other == action { 1.0 } else { 0.0 })
}

fn beats(columns: &[&Column], better: Action, action: Action, kind: EliminationKind) -> bool {
    let gains = || columns.iter().map(|column| (column.payoffs[better], column.payoffs[action]));
    match kind {
        EliminationKind::Weak => gains().all(|(b, a)| b >= a) && gains().any(|(b, a)| b > a),
        _ => gains().all(|(b, a)| b > a),
    }
}

/// The mixture `q first + (1 - q) second` that is better than `action` in every column, if any.
///
/// Each column bounds q from one side; the open interval between the bounds is not empty when such a mixture exists.
/// Its middle is tried in every column before it is believed, so that rounding never eliminates an action.
fn dominating_mixture(columns: &[&Column], action: Action, first: Action, second: Action) -> Option<MixedStrategy> {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for column in columns {
        let slope = column.payoffs[first] - column.payoffs[second];
        let needed = column.payoffs[action] - column.payoffs[second];
        if slope > 0.0 {
            low = low.max(needed / slope);
        } else if slope < 0.0 {
            high = high.min(needed / slope);
        } else if needed >= 0.0 {
            return None;
        }
    }
    let weight = 0.5 * (low + high);
    let mut mixture = MixedStrategy::default();
    mixture[first] = weight;
    mixture[second] = 1.0 - weight;
    let better = |column: &&Column| column.payoffs.weighted_by(&mixture) > column.payoffs[action];
    (low < high && columns.iter().all(better)).then_some(mixture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A game of one model from its rows `[own][crowd]`, closed actions left out.
    fn game(rows: [[f64; 3]; 3], open: [bool; 3]) -> PayoffMatrix {
        let open = PerAction::from_fn(|action| open[action.index()]);
        let column = |crowd: Action| Column {
            models: vec!["m".to_owned()],
            crowd,
            belief: 1.0,
            payoffs: PerAction::from_fn(|own| rows[own.index()][crowd.index()]),
        };
        let columns = Action::ALL.into_iter().filter(|&crowd| open[crowd]).map(column).collect();
        PayoffMatrix::from_columns(open, columns).unwrap()
    }

    #[test]
    fn prisoners_defect_strictly() {
        // Hold is to cooperate, sell to defect.
        let prisoners = game([[1.0, 5.0, 0.0], [0.0, 3.0, 0.0], [0.0; 3]], [true, true, false]);
        let reduction = reduce(&prisoners);
        assert_eq!(reduction.dominant, Some((Action::Sell, Dominance::Strict)));
        assert_eq!(reduction.columns, [0]);
        assert_eq!(reduction.elimination_of(Action::Buy).unwrap().kind, EliminationKind::OutOfRange);
    }

    #[test]
    fn weak_dominance_needs_one_better_column() {
        let weak = game([[0.0, 0.0, 0.0], [1.0, 0.0, 2.0], [0.0, 0.0, -1.0]], [true; 3]);
        assert_eq!(reduce(&weak).dominant, Some((Action::Hold, Dominance::Weak)));
        let equal = game([[1.0; 3]; 3], [true; 3]);
        assert_eq!(reduce(&equal).dominant, None);
    }

    #[test]
    fn a_mixture_eliminates_and_then_the_rest_follows() {
        // Hold loses to half sell, half buy; without the crowd that holds, sell beats buy.
        let rows = [[4.0, 0.0, 3.0], [1.0, 1.0, 1.0], [0.0, 9.0, 2.0]];
        let reduction = reduce(&game(rows, [true; 3]));
        assert_eq!(reduction.dominant, Some((Action::Sell, Dominance::Iterated)));
        let hold = reduction.elimination_of(Action::Hold).unwrap();
        assert_eq!((hold.kind, hold.round), (EliminationKind::Mixture, 1));
        assert_eq!(hold.by.hold, 0.0);
        assert_eq!(reduction.elimination_of(Action::Buy).unwrap().round, 2);
        assert_eq!(reduction.columns, [0]);
    }

    #[test]
    fn a_middling_action_that_no_mixture_beats_stays() {
        let rows = [[4.0, 0.0, 0.0], [2.0, 2.0, 2.0], [0.0, 4.0, 4.0]];
        assert_eq!(reduce(&game(rows, [true; 3])).dominant, None);
        assert!(reduce(&game(rows, [true; 3])).eliminations.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn a_constant_per_column_and_new_names_change_nothing(
            values in prop::array::uniform9(-6..=6_i32),
            shift in prop::array::uniform3(-50..=50_i32),
        ) {
            let value = |own: usize, crowd: usize| f64::from(values[3 * own + crowd]);
            let rows = |payoff: &dyn Fn(usize, usize) -> f64| [0, 1, 2].map(|own| [0, 1, 2].map(|crowd| payoff(own, crowd)));
            let plain = reduce(&game(rows(&value), [true; 3]));
            let shifted = reduce(&game(rows(&|own, crowd| value(own, crowd) + f64::from(shift[crowd])), [true; 3]));
            let mirrored = reduce(&game(rows(&|own, crowd| value(2 - own, 2 - crowd)), [true; 3]));
            prop_assert_eq!(&shifted, &plain);
            prop_assert_eq!(mirrored.remaining, plain.remaining.mirrored());
            prop_assert_eq!(mirrored.dominant, plain.dominant.map(|(action, dominance)| (action.mirrored(), dominance)));
        }
    }
}

//! A finite Markov decision process: what is worth doing in each state, by backward induction or value iteration.
//!
//! States and actions are numbers from 0. With P the transitions, R the reactions and gamma the discount,
//! `Q(s, a) = R(s, a) + gamma sum_s' P(s' | s, a) V(s')` and `V(s) = max_a Q(s, a)` (Puterman 1994, chapters 4 and 6).

use serde::{Deserialize, Serialize};

/// How far a row of transitions may be from summing to 1.
const SUM_TOLERANCE: f64 = 1e-9;
/// The action that ties go to: the second, which is `hold` where the actions are sell, hold, buy.
const PREFERRED: usize = 1;

/// States x actions with checked transitions and reactions.
#[derive(Debug, Clone, PartialEq)]
pub struct FiniteProcess {
    states: usize,
    actions: usize,
    /// `[state][action][next]`, laid out in that order.
    transition: Vec<f64>,
    /// `[state][action]`, laid out in that order.
    reaction: Vec<f64>,
}

/// What is best, and what it is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// Q, `[state][action]`: the worth of doing the action now and the best ever after.
    pub q_value: Vec<Vec<f64>>,
    /// V, `[state]`: the worth of the state.
    pub value: Vec<f64>,
    /// The best action in each state with all steps to go; the second action (hold) wins ties, else the first of the best.
    pub policy: Vec<usize>,
    /// The best actions step by step, `[step][state]`, the first step (all to go) first. Without an end every step is
    /// alike and there is one.
    pub policy_by_step: Vec<Vec<usize>>,
}

/// Which rule a process or a question to it breaks.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FiniteProcessError {
    /// No states or no actions, or tables of different shapes.
    #[error("transitions and reactions must be given for the same states and actions, at least one of each")]
    Shape,
    /// A row holds a negative number or does not sum to 1.
    #[error("the transitions from state {state} under action {action} are no probabilities that sum to 1")]
    Transition {
        /// From where.
        state: usize,
        /// Doing what.
        action: usize,
    },
    /// A reaction is NaN or infinite.
    #[error("the reaction in state {state} to action {action} is not finite")]
    Reaction {
        /// Where.
        state: usize,
        /// To what.
        action: usize,
    },
    /// The discount is outside 0..=1, or 1 without an end.
    #[error("the discount must be in 0..=1, and below 1 without a number of steps")]
    Discount,
    /// Nothing to decide.
    #[error("at least one step is needed")]
    Steps,
    /// An error bound that is not above 0.
    #[error("the tolerance must be a number above 0")]
    Tolerance,
}

impl FiniteProcess {
    /// A process from `transition[state][action][next]` and `reaction[state][action]`.
    ///
    /// # Errors
    /// [`FiniteProcessError`] when the tables differ in shape, a row is negative somewhere or off 1 by more than 1e-9, or
    /// a reaction is not finite.
    pub fn new(transition: &[Vec<Vec<f64>>], reaction: &[Vec<f64>]) -> Result<Self, FiniteProcessError> {
        let (states, actions) = (reaction.len(), reaction.first().map_or(0, Vec::len));
        let fits = |rows: &Vec<Vec<f64>>| rows.len() == actions && rows.iter().all(|row| row.len() == states);
        let shaped = transition.len() == states && transition.iter().all(fits);
        if states == 0 || actions == 0 || !shaped || reaction.iter().any(|row| row.len() != actions) {
            return Err(FiniteProcessError::Shape);
        }
        for state in 0..states {
            for action in 0..actions {
                let row = &transition[state][action];
                if !row.iter().all(|p| *p >= 0.0) || (row.iter().sum::<f64>() - 1.0).abs() > SUM_TOLERANCE {
                    return Err(FiniteProcessError::Transition { state, action });
                }
                if !reaction[state][action].is_finite() {
                    return Err(FiniteProcessError::Reaction { state, action });
                }
            }
        }
        let transition = transition.iter().flatten().flatten().copied().collect();
        Ok(Self { states, actions, transition, reaction: reaction.concat() })
    }

    /// Number of states.
    #[must_use]
    pub fn states(&self) -> usize {
        self.states
    }

    /// Number of actions.
    #[must_use]
    pub fn actions(&self) -> usize {
        self.actions
    }

    /// P, the chances of the next states.
    ///
    /// # Panics
    /// When there is no such state or action.
    #[must_use]
    pub fn transition(&self, state: usize, action: usize) -> &[f64] {
        let at = state * self.actions + action;
        &self.transition[at * self.states..][..self.states]
    }

    /// R, what the step pays.
    ///
    /// # Panics
    /// When there is no such state or action.
    #[must_use]
    pub fn reaction(&self, state: usize, action: usize) -> f64 {
        self.reaction[state * self.actions + action]
    }

    /// Solves for `steps` steps after which nothing is worth anything, by backward induction (Puterman 1994, section 4.5).
    ///
    /// # Errors
    /// [`FiniteProcessError`] without a step, or with a discount outside 0..=1.
    pub fn backward_induction(&self, steps: u32, discount: f64) -> Result<Solution, FiniteProcessError> {
        if !(0.0..=1.0).contains(&discount) {
            return Err(FiniteProcessError::Discount);
        }
        let mut stage = self.backup(&vec![0.0; self.states], discount);
        let mut policies = vec![stage.policy()];
        for _ in 1..steps {
            stage = self.backup(&stage.value(), discount);
            policies.push(stage.policy());
        }
        policies.reverse();
        if steps == 0 { Err(FiniteProcessError::Steps) } else { Ok(stage.solution(policies)) }
    }

    /// Solves without an end, by value iteration; the value is within `tolerance` of the true one in every state.
    ///
    /// Stops when a sweep changes no value by more than `tolerance (1 - gamma) / (2 gamma)` (Puterman 1994, theorem
    /// 6.3.1, which gives half the tolerance).
    ///
    /// # Errors
    /// [`FiniteProcessError`] when the discount is outside 0..1 (1 excluded) or the tolerance is not above 0.
    pub fn value_iteration(&self, discount: f64, tolerance: f64) -> Result<Solution, FiniteProcessError> {
        if !(0.0..1.0).contains(&discount) {
            return Err(FiniteProcessError::Discount);
        }
        if !(tolerance > 0.0 && tolerance.is_finite()) {
            return Err(FiniteProcessError::Tolerance);
        }
        let enough = tolerance * (1.0 - discount) / (2.0 * discount);
        let (mut value, mut stage) = (vec![0.0; self.states], self.backup(&vec![0.0; self.states], discount));
        let mut change = largest_difference(&stage.value(), &value);
        // Each sweep shrinks the change by the discount. Where rounding keeps it from shrinking further, it ends here.
        let mut expected_change = change;
        while change > enough && expected_change > enough * f64::EPSILON {
            value = stage.value();
            stage = self.backup(&value, discount);
            change = largest_difference(&stage.value(), &value);
            expected_change *= discount;
        }
        let policy = stage.policy();
        Ok(stage.solution(vec![policy]))
    }

    /// Q of one step followed by `value`.
    fn backup(&self, value: &[f64], discount: f64) -> Stage {
        let rows = self.transition.chunks_exact(self.states);
        let expected = rows.map(|row| row.iter().zip(value).map(|(p, v)| p * v).sum::<f64>());
        let q = expected.zip(&self.reaction).map(|(expected, reaction)| reaction + discount * expected).collect();
        Stage { actions: self.actions, q }
    }
}

/// Q of all states, laid out as the reactions are.
struct Stage {
    actions: usize,
    q: Vec<f64>,
}

impl Stage {
    fn value(&self) -> Vec<f64> {
        self.q.chunks_exact(self.actions).map(|q| q[best_action(q)]).collect()
    }

    fn policy(&self) -> Vec<usize> {
        self.q.chunks_exact(self.actions).map(best_action).collect()
    }

    fn solution(&self, policy_by_step: Vec<Vec<usize>>) -> Solution {
        let q_value = self.q.chunks_exact(self.actions).map(<[f64]>::to_vec).collect();
        Solution { q_value, value: self.value(), policy: self.policy(), policy_by_step }
    }
}

/// The position of the largest number; ties go to the second position where it is among the best, else to the first.
#[must_use]
pub fn best_action(q: &[f64]) -> usize {
    let first = (1..q.len()).fold(0, |best, at| if q[at] > q[best] { at } else { best });
    match q.get(PREFERRED) {
        Some(preferred) if *preferred >= q[first] => PREFERRED,
        _ => first,
    }
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

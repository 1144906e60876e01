//! Tests of the finite process: a worked example, and properties of random processes.

use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::finite_process::*;

/// Two states: staying pays 1 in the first, pressing pays 2 in the second; `[state][action]`.
fn worked_example() -> FiniteProcess {
    let transition = [vec![vec![0.9, 0.1], vec![0.5, 0.5]], vec![vec![0.2, 0.8], vec![0.5, 0.5]]];
    FiniteProcess::new(&transition, &[vec![1.0, 0.0], vec![0.0, 2.0]]).unwrap()
}

fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {expected:?}");
}

#[test]
fn the_worked_example_is_solved_without_an_end() {
    let solution = worked_example().value_iteration(0.9, 1e-9).unwrap();
    assert_near(&solution.value, &[11.40625, 12.96875]);
    assert_near(&solution.q_value.concat(), &[11.40625, 10.96875, 11.390625, 12.96875]);
    assert_eq!((solution.policy, solution.policy_by_step), (vec![0, 1], vec![vec![0, 1]]));
}

#[test]
fn the_worked_example_is_solved_for_four_steps() {
    let solution = worked_example().backward_induction(4, 1.0).unwrap();
    assert_near(&solution.value, &[4.396, 6.02]);
    assert_near(&solution.q_value.concat(), &[4.396, 4.02, 4.488, 6.02]);
    assert_eq!((solution.policy, solution.policy_by_step.len()), (vec![0, 1], 4));
}

#[test]
fn what_is_no_process_is_refused() {
    let rows = |row: &[f64]| [vec![row.to_vec()], vec![vec![0.5, 0.5]]];
    let reaction = [vec![0.0], vec![1.0]];
    let error = |row: &[f64]| FiniteProcess::new(&rows(row), &reaction).unwrap_err();
    assert_eq!(error(&[0.5, 0.4]), FiniteProcessError::Transition { state: 0, action: 0 });
    assert_eq!(error(&[1.5, -0.5]), FiniteProcessError::Transition { state: 0, action: 0 });
    assert_eq!(error(&[f64::NAN, 0.5]), FiniteProcessError::Transition { state: 0, action: 0 });
    assert_eq!(error(&[1.0]), FiniteProcessError::Shape);
    assert!(FiniteProcess::new(&rows(&[0.5, 0.5 + 1e-10]), &reaction).is_ok());
    assert_eq!(FiniteProcess::new(&[], &[]), Err(FiniteProcessError::Shape));
    assert_eq!(FiniteProcess::new(&rows(&[1.0, 0.0]), &[vec![0.0], vec![]]), Err(FiniteProcessError::Shape));
    let infinite = [vec![0.0], vec![f64::INFINITY]];
    let expected = Err(FiniteProcessError::Reaction { state: 1, action: 0 });
    assert_eq!(FiniteProcess::new(&rows(&[1.0, 0.0]), &infinite), expected);
}

#[test]
fn questions_out_of_range_are_refused() {
    let process = worked_example();
    assert_eq!(process.backward_induction(0, 1.0), Err(FiniteProcessError::Steps));
    assert_eq!(process.backward_induction(4, 1.1), Err(FiniteProcessError::Discount));
    assert_eq!(process.backward_induction(4, f64::NAN), Err(FiniteProcessError::Discount));
    assert_eq!(process.value_iteration(1.0, 1e-9), Err(FiniteProcessError::Discount));
    assert_eq!(process.value_iteration(0.9, 0.0), Err(FiniteProcessError::Tolerance));
    let endless = process.value_iteration(0.9, f64::MIN_POSITIVE).unwrap();
    assert_near(&endless.value, &[11.40625, 12.96875]);
}

#[test]
fn ties_go_to_the_second_action_and_then_to_the_first() {
    assert_eq!(best_action(&[1.0, 1.0, 1.0]), 1);
    assert_eq!(best_action(&[1.0, 0.0, 1.0]), 0);
    assert_eq!(best_action(&[0.0, 1.0, 2.0]), 2);
    assert_eq!(best_action(&[3.0]), 0);
}

fn random_process(seed: u64) -> FiniteProcess {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (states, actions) = (random.random_range(1..=6), random.random_range(1..=4));
    let mut row = || {
        // Cubes make some chances small; the first is never 0.
        let weights: Vec<f64> =
            (0..states).map(|k| f64::from(k == 0) * 0.01 + random.random::<f64>().powi(3)).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|w| w / total).collect::<Vec<f64>>()
    };
    let transition: Vec<Vec<Vec<f64>>> = (0..states).map(|_| (0..actions).map(|_| row()).collect()).collect();
    let reaction: Vec<Vec<f64>> =
        (0..states).map(|_| (0..actions).map(|_| random.random_range(-1.0..1.0)).collect()).collect();
    FiniteProcess::new(&transition, &reaction).unwrap()
}

/// One Bellman backup from the definition.
fn backed_up(process: &FiniteProcess, value: &[f64], discount: f64) -> Vec<Vec<f64>> {
    let q = |s: usize, a: usize| {
        let expected: f64 = process.transition(s, a).iter().zip(value).map(|(p, v)| p * v).sum();
        process.reaction(s, a) + discount * expected
    };
    (0..process.states()).map(|s| (0..process.actions()).map(|a| q(s, a)).collect()).collect()
}

/// The exact value of following a policy for ever: `(I - gamma P) v = r`.
fn followed(process: &FiniteProcess, policy: &[usize], discount: f64) -> DVector<f64> {
    let n = process.states();
    let system = DMatrix::from_fn(n, n, |s, next| {
        f64::from(u8::from(s == next)) - discount * process.transition(s, policy[s])[next]
    });
    let reactions = DVector::from_fn(n, |s, _| process.reaction(s, policy[s]));
    system.lu().solve(&reactions).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn without_a_future_the_greedy_action_is_best(seed in any::<u64>(), steps in 1..6_u32) {
        let process = random_process(seed);
        for solution in [process.backward_induction(steps, 0.0).unwrap(), process.value_iteration(0.0, 1e-9).unwrap()] {
            for s in 0..process.states() {
                let greedy = (0..process.actions()).map(|a| process.reaction(s, a)).fold(f64::MIN, f64::max);
                prop_assert_eq!(process.reaction(s, solution.policy[s]), greedy);
                prop_assert_eq!(solution.value[s], greedy);
            }
        }
    }

    #[test]
    fn value_iteration_is_a_fixed_point_that_no_policy_beats(seed in any::<u64>(), discount in 0.0..0.97_f64) {
        let process = random_process(seed);
        let solution = process.value_iteration(discount, 1e-8).unwrap();
        for (q, v) in backed_up(&process, &solution.value, discount).iter().zip(&solution.value) {
            let best = q.iter().copied().fold(f64::MIN, f64::max);
            prop_assert!((best - v).abs() < 2e-8);
        }
        let own = followed(&process, &solution.policy, discount);
        prop_assert!(own.iter().zip(&solution.value).all(|(own, v)| (own - v).abs() <= 1e-8));
        let mut random = ChaCha8Rng::seed_from_u64(!seed);
        for _ in 0..10 {
            let policy: Vec<usize> =
                (0..process.states()).map(|_| random.random_range(0..process.actions())).collect();
            let other = followed(&process, &policy, discount);
            prop_assert!(other.iter().zip(&solution.value).all(|(other, v)| *other <= v + 1e-8));
        }
    }

    #[test]
    fn one_more_step_is_one_more_backup(seed in any::<u64>(), steps in 1..30_u32, discount in 0.0..=1.0_f64) {
        let process = random_process(seed);
        let now = process.backward_induction(steps, discount).unwrap();
        let longer = process.backward_induction(steps + 1, discount).unwrap();
        let expected = backed_up(&process, &now.value, discount).concat();
        prop_assert!(longer.q_value.concat().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
        prop_assert_eq!(&longer.policy_by_step[1..], &now.policy_by_step[..]);
        prop_assert_eq!(&longer.policy_by_step[0], &longer.policy);
    }
}

//! The policy that a reward asks for when it must stay near a reference, exact for three actions.

use super::action::{Action, MixedStrategy, PerAction};

/// Why there is no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// beta is not above 0 and finite.
    #[error("beta must be above 0 and finite")]
    Beta,
    /// A reward is not finite.
    #[error("a reward is not finite")]
    Reward,
    /// A reference weight is negative or not finite, or all are 0.
    #[error("the weights of the reference must be finite, not negative, and not all 0")]
    Reference,
}

/// `pi(a|f) = pi_ref(a|f) exp(r(f,a) / beta) / Z`: the one policy with the highest expected reward less beta times its
/// Kullback-Leibler divergence from the reference (Ouyang et al. 2022, eq. 2; closed form in Rafailov et al. 2023,
/// eq. 4). A small `beta` follows the reward, a large one the reference; an action that the reference never takes is
/// never taken. The weights of the reference need not sum to 1.
///
/// # Errors
/// [`PolicyError`] for numbers outside their range.
pub fn policy(reward: &PerAction<f64>, beta: f64, reference: &PerAction<f64>) -> Result<MixedStrategy, PolicyError> {
    if !(beta > 0.0 && beta.is_finite()) {
        return Err(PolicyError::Beta);
    }
    if Action::ALL.into_iter().any(|action| !reward[action].is_finite()) {
        return Err(PolicyError::Reward);
    }
    let allowed: Vec<Action> = Action::ALL.into_iter().filter(|&action| reference[action] > 0.0).collect();
    if allowed.is_empty() || Action::ALL.into_iter().any(|a| !(reference[a] >= 0.0 && reference[a].is_finite())) {
        return Err(PolicyError::Reference);
    }
    // Relative to the best and to the largest weight, so that no exponential and no sum overflows.
    let best = allowed.iter().map(|&action| reward[action]).fold(f64::NEG_INFINITY, f64::max);
    let largest = allowed.iter().map(|&action| reference[action]).fold(0.0, f64::max);
    let weight = |action: Action| match reference[action] / largest {
        share if share > 0.0 => share * ((reward[action] - best) / beta).exp(),
        _ => 0.0,
    };
    let weights = PerAction::from_fn(weight);
    let total = weights.sell + weights.hold + weights.buy;
    Ok(PerAction::from_fn(|action| weights[action] / total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNIFORM: PerAction<f64> = PerAction { sell: 1.0, hold: 1.0, buy: 1.0 };

    fn of([sell, hold, buy]: [f64; 3]) -> PerAction<f64> {
        PerAction { sell, hold, buy }
    }

    fn nearly(a: &MixedStrategy, b: &MixedStrategy, tolerance: f64) -> bool {
        Action::ALL.into_iter().all(|action| (a[action] - b[action]).abs() <= tolerance)
    }

    #[test]
    fn the_policy_has_the_expected_values() {
        let expected = of([0.665_240_96, 0.244_728_47, 0.090_030_57]);
        let third = of([0.333_333_333_3; 3]);
        assert!(nearly(&policy(&of([1.0, 0.0, -1.0]), 1.0, &third).unwrap(), &expected, 1e-8));
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for beta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(policy(&UNIFORM, beta, &UNIFORM), Err(PolicyError::Beta));
        }
        assert_eq!(policy(&of([f64::NAN, 0.0, 0.0]), 1.0, &UNIFORM), Err(PolicyError::Reward));
        for reference in [[0.0; 3], [1.0, -0.1, 0.1], [1.0, f64::NAN, 0.0], [f64::INFINITY, 1.0, 1.0]] {
            assert_eq!(policy(&UNIFORM, 1.0, &of(reference)), Err(PolicyError::Reference));
        }
        let extreme = policy(&of([1e300, -1e300, 0.0]), 1e-300, &UNIFORM).unwrap();
        assert_eq!(extreme, of([1.0, 0.0, 0.0]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn a_policy_lies_between_the_reference_and_the_best(
            reward in prop::array::uniform3(-20.0_f64..20.0),
            weights in prop::array::uniform3(0.01_f64..1.0),
            beta in 0.01_f64..100.0,
            shift in -50.0_f64..50.0,
            closed in 0_usize..4,
        ) {
            let mut weights = weights;
            if let Some(weight) = weights.get_mut(closed) {
                *weight = 0.0;
            }
            let (reward, total) = (of(reward), weights.iter().sum::<f64>());
            let reference = of(weights.map(|w| w / total));
            let found = policy(&reward, beta, &reference).unwrap();
            prop_assert!((found.sell + found.hold + found.buy - 1.0).abs() < 1e-12);
            prop_assert!(Action::ALL.into_iter().all(|a| found[a] >= 0.0 && (reference[a] > 0.0 || found[a] == 0.0)));
            let shifted = PerAction::from_fn(|action| reward[action] + shift);
            // The shift is lost to rounding by about 1e-14, which beta magnifies.
            prop_assert!(nearly(&policy(&shifted, beta, &reference).unwrap(), &found, 1e-13 / beta + 1e-12));
            prop_assert!(nearly(&policy(&reward, 1e12, &reference).unwrap(), &reference, 1e-9));
            let best = Action::ALL.into_iter().filter(|&a| reference[a] > 0.0);
            let best = best.max_by(|&a, &b| reward[a].total_cmp(&reward[b])).unwrap();
            prop_assert_eq!(policy(&reward, 1e-13, &reference).unwrap()[best], 1.0);
            // The expected reward is never below the reference's.
            prop_assert!(reward.weighted_by(&found) >= reward.weighted_by(&reference) - 1e-9);
        }
    }
}

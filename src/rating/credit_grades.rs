//! CreditGrades, a closed form that the rating is checked against.

use super::first_passage::{log_normal_cdf, normal_cdf};
use super::probability::Probability;
use super::structure::{CapitalStructure, Recovery};

/// Default probability over `years` without drift, by CreditGrades (Technical Document, 2002):
/// `1 - Phi(-A/2 + ln d / A) + d Phi(-A/2 - ln d / A)`, `A^2 = s^2 T + lambda^2`, `d = V exp(lambda^2) / (Lbar D)`.
///
/// Its barrier is uncertain as in this crate's own rating, approximated by a path that began before today; at zero
/// drift the two agree to about 1 %.
#[must_use]
pub fn credit_grades_default(
    structure: CapitalStructure,
    recovery: Recovery,
    equity_volatility: f64,
    years: f64,
) -> Probability {
    let variance_of_barrier = recovery.log_deviation * recovery.log_deviation;
    let asset_volatility = structure.asset_volatility(recovery, equity_volatility);
    let spread = (asset_volatility * asset_volatility * years + variance_of_barrier).sqrt();
    let cushion = variance_of_barrier - structure.barrier(recovery).ln();
    if spread <= 0.0 {
        return if cushion > 0.0 { Probability::ZERO } else { Probability::ONE };
    }
    let survival = normal_cdf(-0.5 * spread + cushion / spread)
        - (cushion + log_normal_cdf(-0.5 * spread - cushion / spread)).exp();
    Probability::rounded(1.0 - survival)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::rating::first_passage::{Diffusion, UncertainBarrier, uncertain_first_passage};

    #[test]
    fn the_published_values_are_reproduced() {
        let structure = CapitalStructure { equity: 50.0, liabilities: 60.0 };
        let recovery = Recovery { mean: 0.5, log_deviation: 0.3 };
        for (years, expected) in [(1.0, 0.010_264_01), (5.0, 0.150_826_63), (10.0, 0.332_476_54)] {
            let found = credit_grades_default(structure, recovery, 0.4, years).value();
            assert!((found - expected).abs() < 1e-8, "{years}: {found}");
            let barrier = UncertainBarrier { mean: structure.barrier(recovery), log_deviation: 0.3 };
            let own = uncertain_first_passage(barrier, Diffusion { mean: 0.0, volatility: 0.25 }, years).value();
            assert!((own / found - 1.0).abs() < 0.01, "{years}: {own} against {found}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn without_drift_the_closed_form_is_never_below_and_within_a_percent_where_the_barrier_is_far(
            equity in 1.0..100.0_f64, leverage in 0.01..30.0_f64, spread in 0.05..2.5_f64, years in 0.25..10.0_f64,
        ) {
            let structure = CapitalStructure { equity, liabilities: equity * leverage };
            let recovery = Recovery::default();
            let volatility = spread / years.sqrt();
            let equity_volatility = volatility / structure.equity_share(recovery);
            let barrier = UncertainBarrier { mean: structure.barrier(recovery), log_deviation: recovery.log_deviation };
            let own = uncertain_first_passage(barrier, Diffusion { mean: 0.0, volatility }, years).value();
            let closed = credit_grades_default(structure, recovery, equity_volatility, years).value();
            prop_assert!(own <= closed + 1e-9, "{own} above {closed}");
            if barrier.mean <= 0.4 && spread >= 0.25 {
                prop_assert!(closed - own <= 0.01 * closed + 1e-9, "{own} {closed}");
            }
        }
    }

    #[test]
    fn a_company_without_risk_or_debt_does_not_default() {
        let recovery = Recovery { mean: 0.5, log_deviation: 0.3 };
        let tiny = CapitalStructure { equity: 100.0, liabilities: 1e-9 };
        assert_eq!(credit_grades_default(tiny, recovery, 0.3, 10.0), Probability::ZERO);
        let certain = Recovery { mean: 0.5, log_deviation: 0.0 };
        assert_eq!(credit_grades_default(tiny, certain, 0.0, 1.0), Probability::ZERO);
    }
}

//! Merton's model and the naive distance to default, two more checks of the rating.

use serde::{Deserialize, Serialize};

use super::first_passage::normal_cdf;
use super::probability::Probability;
use super::structure::CapitalStructure;
use crate::decision::bisection::increasing_root;

/// What Merton (1974) needs besides the balance sheet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MertonInputs {
    /// Equity and the debt due at the end.
    pub structure: CapitalStructure,
    /// Annualized volatility of the equity, above 0.
    pub equity_volatility: f64,
    /// Continuously compounded rate a year.
    pub rate: f64,
    /// Years until the debt is due, above 0.
    pub years: f64,
}

/// The assets behind an equity price.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MertonAssets {
    /// V.
    pub asset_value: f64,
    /// sigma_V, annualized.
    pub asset_volatility: f64,
    /// `Phi(-d2)`, under the risk-neutral measure.
    pub default_probability: Probability,
}

/// Solves `E = V Phi(d1) - D exp(-rT) Phi(d2)` and `sigma_E E = Phi(d1) sigma_V V` (Merton 1974) for V and sigma_V.
///
/// For a given sigma_V the first equation has one V between E and `E + D exp(-rT)`. The second then changes sign
/// between sigma_V = 0 and sigma_V = sigma_E, because `E <= V Phi(d1)`: two nested bisections cannot miss.
#[must_use]
pub fn merton_assets(inputs: MertonInputs) -> MertonAssets {
    let MertonInputs { structure, equity_volatility, .. } = inputs;
    let excess = |asset_volatility: f64| {
        let asset_value = inputs.value_at(asset_volatility);
        let (d1, _) = inputs.distances(asset_value, asset_volatility);
        normal_cdf(d1) * asset_volatility * asset_value - equity_volatility * structure.equity
    };
    let asset_volatility = increasing_root(excess, 0.0, equity_volatility);
    let asset_value = inputs.value_at(asset_volatility);
    let (_, d2) = inputs.distances(asset_value, asset_volatility);
    MertonAssets { asset_value, asset_volatility, default_probability: Probability::rounded(normal_cdf(-d2)) }
}

impl MertonInputs {
    fn discounted_debt(&self) -> f64 {
        self.structure.liabilities * (-self.rate * self.years).exp()
    }

    fn distances(&self, asset_value: f64, asset_volatility: f64) -> (f64, f64) {
        let spread = asset_volatility * self.years.sqrt();
        let moneyness = (asset_value / self.discounted_debt()).ln();
        // Without risk the option ends where the assets stand; the ratio below would be 0/0 at the money.
        if spread <= 0.0 {
            return (f64::INFINITY.copysign(moneyness), f64::INFINITY.copysign(moneyness));
        }
        (moneyness / spread + 0.5 * spread, moneyness / spread - 0.5 * spread)
    }

    fn value_at(&self, asset_volatility: f64) -> f64 {
        let debt = self.discounted_debt();
        let equity = |asset_value: f64| {
            let (d1, d2) = self.distances(asset_value, asset_volatility);
            asset_value * normal_cdf(d1) - debt * normal_cdf(d2)
        };
        increasing_root(
            |value| equity(value) - self.structure.equity,
            self.structure.equity,
            self.structure.equity + debt,
        )
    }
}

/// The naive distance to default of Bharath and Shumway (2008), which solves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NaiveDistance {
    /// `E/(E+D) sigma_E + D/(E+D) (.05 + .25 sigma_E)`, annualized.
    pub asset_volatility: f64,
    /// In standard deviations.
    pub distance: f64,
    /// `Phi(-distance)`.
    pub default_probability: Probability,
}

/// `(ln((E+D)/D) + (past_return - sigma_V^2/2) T) / (sigma_V sqrt T)`, `past_return` the simple return of the last
/// year.
#[must_use]
pub fn naive_distance(
    structure: CapitalStructure,
    equity_volatility: f64,
    past_return: f64,
    years: f64,
) -> NaiveDistance {
    let CapitalStructure { equity, liabilities } = structure;
    let assets = equity + liabilities;
    let debt_volatility = 0.05 + 0.25 * equity_volatility;
    let asset_volatility = (equity * equity_volatility + liabilities * debt_volatility) / assets;
    let drift = past_return - 0.5 * asset_volatility * asset_volatility;
    let distance = ((assets / liabilities).ln() + drift * years) / (asset_volatility * years.sqrt());
    NaiveDistance { asset_volatility, distance, default_probability: Probability::rounded(normal_cdf(-distance)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STRUCTURE: CapitalStructure = CapitalStructure { equity: 3.0, liabilities: 10.0 };

    #[test]
    fn the_published_values_are_reproduced() {
        let inputs = MertonInputs { structure: STRUCTURE, equity_volatility: 0.8, rate: 0.05, years: 1.0 };
        let found = merton_assets(inputs);
        assert!((found.asset_value - 12.395_387_19).abs() < 1e-8, "{found:?}");
        assert!((found.asset_volatility - 0.212_304_71).abs() < 1e-8, "{found:?}");
        assert!((found.default_probability.value() - 0.126_971_24).abs() < 1e-8, "{found:?}");
        let naive = naive_distance(STRUCTURE, 0.8, 0.0, 1.0);
        assert!((naive.asset_volatility - 0.376_923_08).abs() < 1e-8, "{naive:?}");
        assert!((naive.distance - 0.507_606_92).abs() < 1e-8, "{naive:?}");
        assert!((naive.default_probability.value() - 0.305_864_52).abs() < 1e-8, "{naive:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn both_equations_hold_for_any_balance_sheet(
            leverage in 0.001..50.0_f64, equity_volatility in 0.02..2.0_f64, rate in -0.02..0.15_f64, years in 0.1..10.0_f64,
        ) {
            let structure = CapitalStructure { equity: 1.0, liabilities: leverage };
            let inputs = MertonInputs { structure, equity_volatility, rate, years };
            let found = merton_assets(inputs);
            let (d1, d2) = inputs.distances(found.asset_value, found.asset_volatility);
            let equity = found.asset_value * normal_cdf(d1) - inputs.discounted_debt() * normal_cdf(d2);
            prop_assert!((equity - 1.0).abs() < 1e-9, "{equity}");
            let volatility = normal_cdf(d1) * found.asset_volatility * found.asset_value;
            prop_assert!((volatility - equity_volatility).abs() < 1e-6, "{volatility} {equity_volatility}");
        }
    }
}

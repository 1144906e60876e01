//! What trading an instrument costs: the configured cost and impact, which are those of the universe's median
//! instrument, scaled to each one's own volatility and dollar volume.

use serde::{Deserialize, Serialize};

/// Sessions over which volatility and dollar volume are measured.
pub const LIQUIDITY_SESSIONS: usize = 63;
/// Sessions of these that must have a return and a volume.
const MINIMUM_SESSIONS: usize = LIQUIDITY_SESSIONS * 4 / 5;
/// Cost and impact stay within these multiples of the median instrument's: beyond, volume says more about the data.
const SCALE: (f64, f64) = (0.2, 5.0);

/// How much an instrument moves and trades in a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traded {
    /// s, root mean square of the daily log returns, above 0.
    pub volatility: f64,
    /// D, mean of close x volume a day, above 0, in one currency for all instruments.
    pub dollar_volume: f64,
}

/// What trading costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Liquidity {
    /// c, cost of trading one unit, as a fraction.
    pub cost: f64,
    /// eta, price impact of trading with the crowd, in volatilities over the horizon.
    pub impact: f64,
    /// Mean dollar volume a day; `None` where it is not known.
    pub dollar_volume: Option<f64>,
    /// Whether cost and impact are the median instrument's, since this one's volume is not known.
    pub borrowed: bool,
}

/// Columns of one instrument by session, NaN where a number is missing.
#[derive(Debug, Clone, Copy)]
pub struct TradedColumns<'a> {
    /// Close on the share basis of the volume.
    pub close: &'a [f64],
    /// Shares traded.
    pub volume: &'a [f64],
    /// Log return.
    pub log_return: &'a [f64],
}

impl Traded {
    /// Measures the 63 sessions that end at a session; `None` when fewer than four fifths of them have a return and a
    /// volume, or nothing moved or traded.
    #[must_use]
    pub fn until(columns: &TradedColumns<'_>, session: usize) -> Option<Self> {
        let TradedColumns { close, volume, log_return } = columns;
        let window = (session + 1).saturating_sub(LIQUIDITY_SESSIONS)..=session;
        let (close, volume) = (close.get(window.clone())?, volume.get(window.clone())?);
        let dollars = mean_of_known(close.iter().zip(volume).map(|(close, volume)| close * volume))?;
        let variance = mean_of_known(log_return.get(window)?.iter().map(|r| r * r))?;
        let traded = Self { volatility: variance.sqrt(), dollar_volume: dollars };
        (traded.volatility > 0.0 && traded.dollar_volume > 0.0).then_some(traded)
    }

    /// `s / sqrt(D)`: volatility for one trade, to which the spread is proportional (Wyart et al. 2008), with the number
    /// of trades as dollar volume.
    fn volatility_per_trade(&self) -> f64 {
        self.volatility / self.dollar_volume.sqrt()
    }
}

/// Cost and impact of each instrument of a universe:
/// `cost x clamp((s / sqrt(D)) / median(s / sqrt(D)), .2, 5)` and `impact x clamp(sqrt(median(D) / D), .2, 5)`, the
/// square-root law of impact (Almgren et al. 2005; Toth et al. 2011).
///
/// `None` where volume is missing: such an instrument borrows the configured values.
#[must_use]
pub fn liquidity(universe: &[Option<Traded>], cost: f64, impact: f64) -> Vec<Liquidity> {
    let known = || universe.iter().flatten();
    let per_trade = median(known().map(Traded::volatility_per_trade).collect());
    let dollars = median(known().map(|traded| traded.dollar_volume).collect());
    let scaled = |ratio: f64| ratio.clamp(SCALE.0, SCALE.1);
    let own = |traded: &Option<Traded>| match (traded, per_trade, dollars) {
        (Some(traded), Some(per_trade), Some(dollars)) => Liquidity {
            cost: cost * scaled(traded.volatility_per_trade() / per_trade),
            impact: impact * scaled((dollars / traded.dollar_volume).sqrt()),
            dollar_volume: Some(traded.dollar_volume),
            borrowed: false,
        },
        _ => Liquidity { cost, impact, dollar_volume: None, borrowed: true },
    };
    universe.iter().map(own).collect()
}

fn mean_of_known(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.filter(|v| v.is_finite()).fold((0_usize, 0.0), |(count, sum), v| (count + 1, sum + v));
    (count >= MINIMUM_SESSIONS).then(|| sum / count as f64)
}

/// The middle number, or the mean of the middle two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[values.len() / 2 - 1], upper) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn traded(volatility: f64, dollar_volume: f64) -> Option<Traded> {
        Some(Traded { volatility, dollar_volume })
    }

    #[test]
    fn the_median_instrument_has_the_configured_values() {
        let universe =
            [traded(0.02, 4e6), traded(0.02, 1e8), traded(0.02, 25e8), None, traded(0.02, 1e12), traded(0.02, 1.0)];
        let found = liquidity(&universe, 0.0005, 0.01);
        let scales: Vec<(f64, f64)> = found.iter().map(|l| (l.cost / 0.0005, l.impact / 0.01)).collect();
        let expected = [(5.0, 5.0), (1.0, 1.0), (0.2, 0.2), (1.0, 1.0), (0.2, 0.2), (5.0, 5.0)];
        for (found, expected) in scales.iter().zip(expected) {
            assert!((found.0 - expected.0).abs() < 1e-12 && (found.1 - expected.1).abs() < 1e-12, "{scales:?}");
        }
        assert_eq!(found.iter().map(|l| l.borrowed).collect::<Vec<_>>(), [false, false, false, true, false, false]);
        assert_eq!((found[3].dollar_volume, found[1].dollar_volume), (None, Some(1e8)));
        // Twice the volatility at the same volume: twice the spread, the same impact in volatilities.
        let restless = liquidity(&[traded(0.02, 1e8), traded(0.04, 1e8), traded(0.01, 1e8)], 0.0005, 0.01);
        assert!((restless[1].cost - 0.001).abs() < 1e-15 && (restless[1].impact - 0.01).abs() < 1e-15);
        assert!(liquidity(&[None, None], 0.0005, 0.01).iter().all(|l| l.borrowed && l.cost == 0.0005));
    }

    #[test]
    fn columns_are_measured_over_a_quarter() {
        let (mut close, volume) = (vec![10.0; 100], vec![1e5; 100]);
        let log_return: Vec<f64> = (0..100).map(|t| if t % 2 == 0 { 0.01 } else { -0.01 }).collect();
        close[..37].fill(1e9);
        let columns = |close: &[f64], volume: &[f64]| {
            Traded::until(&TradedColumns { close, volume, log_return: &log_return }, 99)
        };
        let found = columns(&close, &volume).unwrap();
        assert!((found.volatility - 0.01).abs() < 1e-12 && (found.dollar_volume - 1e6).abs() < 1e-3);
        assert_eq!(columns(&close, &[f64::NAN; 100]), None);
        assert_eq!(columns(&close, &[0.0; 100]), None);
        close[37..50].fill(f64::NAN);
        assert!(columns(&close, &volume).is_some());
        close[50] = f64::NAN;
        assert_eq!(columns(&close, &volume), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn more_volume_never_costs_more_and_the_unit_of_money_does_not_matter(
            universe in prop::collection::vec((0.001..0.1_f64, 1e4..1e11_f64), 1..20), factor in 0.001..1000.0_f64,
        ) {
            let of = |factor: f64| {
                let universe: Vec<_> = universe.iter().map(|(s, d)| traded(*s, d * factor)).collect();
                liquidity(&universe, 0.0005, 0.01)
            };
            let (found, other) = (of(1.0), of(factor));
            for (a, b) in found.iter().zip(&other) {
                prop_assert!((a.cost - b.cost).abs() < 1e-12 && (a.impact - b.impact).abs() < 1e-12);
                prop_assert!((0.000_099_9..=0.002_500_1).contains(&a.cost) && (0.001_99..=0.050_01).contains(&a.impact));
            }
            for (i, a) in universe.iter().enumerate() {
                for (k, b) in universe.iter().enumerate() {
                    if a.1 >= b.1 {
                        prop_assert!(found[i].impact <= found[k].impact);
                    }
                    if a.1 >= b.1 && a.0 <= b.0 {
                        prop_assert!(found[i].cost <= found[k].cost);
                    }
                }
            }
        }
    }
}

//! Factor group "momentum": past returns over several spans.

use crate::features::universe::Universe;
use crate::features::windows::{cumulative, distance_to_high};
use crate::market::history::InstrumentHistory;
use crate::scenario::windows::{RunningSums, most_of};

/// Columns of the group; returns are log total returns.
///
/// - `return_w`: over w sessions; `momentum_12_1`: over the 231 sessions that ended 21 sessions ago.
/// - `reversal_5`: minus the five-session return in excess of the equal-weighted universe, over the root of 5 x its mean
///   squared daily excess of 60 sessions.
/// - `trend_63`: `return_63` over the root of 63 x mean squared return over 63.
/// - `distance_to_high_252`: log total-return index less its highest of 252 sessions, <= 0.
pub const NAMES: [&str; 10] = [
    "return_1",
    "return_5",
    "return_20",
    "return_63",
    "return_126",
    "return_252",
    "momentum_12_1",
    "reversal_5",
    "trend_63",
    "distance_to_high_252",
];
/// Columns that also get a cross-sectional rank.
pub const RANKED: [&str; 5] = ["return_5", "return_20", "return_126", "momentum_12_1", "distance_to_high_252"];

/// The group for one instrument.
pub(crate) struct MomentumColumns<'a> {
    position: usize,
    universe: &'a Universe,
    mean_sums: &'a RunningSums,
    squared: RunningSums,
    levels: Vec<f64>,
}

impl<'a> MomentumColumns<'a> {
    /// `position` is the instrument's in the history; `mean_sums` sums the mean returns of the universe.
    pub(crate) fn new(
        (position, instrument): (usize, &InstrumentHistory),
        universe: &'a Universe,
        mean_sums: &'a RunningSums,
    ) -> Self {
        let squared = RunningSums::new(instrument.log_return.iter().map(|r| r * r));
        Self { position, universe, mean_sums, squared, levels: cumulative(&instrument.log_return) }
    }

    pub(crate) fn row(&self, t: usize) -> [f64; NAMES.len()] {
        let returns = self.universe.returns(self.position);
        let sum = |end: usize, w: usize| {
            if returns.count(end, w) >= most_of(w) { returns.sum(end, w) } else { f64::NAN }
        };
        let root = |daily: Option<f64>, h: f64| daily.map_or(f64::NAN, |v| (v * h).sqrt());
        let excess = self.universe.dispersion(self.position, t, 60);
        let ratio = |x: f64, scale: f64| if scale > 1e-9 { x / scale } else { f64::NAN };
        let high =
            if returns.count(t, 252) >= most_of(252) { distance_to_high(&self.levels, t, 252) } else { f64::NAN };
        [
            sum(t, 1),
            sum(t, 5),
            sum(t, 20),
            sum(t, 63),
            sum(t, 126),
            sum(t, 252),
            t.checked_sub(21).map_or(f64::NAN, |end| sum(end, 231)),
            ratio(self.mean_sums.sum(t, 5) - sum(t, 5), root(excess, 5.0)),
            ratio(sum(t, 63), root(self.squared.mean_of_most(t, 63), 63.0)),
            high,
        ]
    }
}

/// Sums of the universe's mean return, for [`MomentumColumns::new`].
pub(crate) fn universe_sums(universe: &Universe) -> RunningSums {
    RunningSums::new(universe.mean_return().iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn returns_are_sums_and_young_spans_are_missing() {
        let history = sample(&Sample::default());
        let (universe, instrument) = (Universe::new(&history), &history.instruments[1]);
        let sums = universe_sums(&universe);
        let columns = MomentumColumns::new((1, instrument), &universe, &sums);
        let row = columns.row(400);
        let sum = |from: usize, to: usize| instrument.log_return[from..=to].iter().sum::<f64>();
        for (k, expected) in [(0, sum(400, 400)), (2, sum(381, 400)), (5, sum(149, 400)), (6, sum(149, 379))] {
            assert!((row[k] - expected).abs() < 1e-12, "{}", NAMES[k]);
        }
        assert!(row[9] <= 0.0);
        let young = columns.row(30);
        assert!(young[2].is_finite() && young[3..7].iter().all(|x| x.is_nan()) && young[9].is_nan());
    }
}

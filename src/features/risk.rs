//! Factor group "risk": the inputs of harX2, tails, trading and distance from the universe.

use crate::features::universe::Universe;
use crate::features::windows::{Skewness, cumulative, max_drawdown, window};
use crate::market::history::InstrumentHistory;
use crate::scenario::volatility_inputs::{VOLATILITY_COLUMNS, VolatilityInputs};
use crate::scenario::windows::{RunningSums, most_of};

/// Columns of the group.
///
/// - The regressors of harX2 for a horizon of 20 sessions, in their order and under their names
///   ([`crate::scenario::volatility_inputs::VolatilityRow`]), less `return_20`, which is a column of "momentum".
/// - `skewness_252`: of daily log returns; `max_drawdown_252`: largest fall of the log total-return index within 252
///   sessions, >= 0.
/// - `log_turnover_20`: ln of the mean daily value traded over 20 sessions over the market value.
/// - `abnormal_volume`: ln of the mean value traded over 20 sessions over that of 252.
/// - `log_illiquidity_60`: ln of the mean of |log return| / value traded over 60 sessions (Amihud 2002).
/// - `log_tracking_error_w`: ln of the root mean squared daily return in excess of the equal-weighted universe.
pub const NAMES: [&str; 20] = [
    "log_variance_5",
    "log_variance_20",
    "log_variance_60",
    "log_variance_252",
    "season_quarter",
    "season_year",
    "season_mean",
    "log_variance_level",
    "log_downside_20",
    "log_range_1",
    "log_range_5",
    "log_range_20",
    "log_range_60",
    "skewness_252",
    "max_drawdown_252",
    "log_turnover_20",
    "abnormal_volume",
    "log_illiquidity_60",
    "log_tracking_error_252",
    "log_tracking_error_63",
];
/// Columns that also get a cross-sectional rank.
pub const RANKED: [&str; 5] =
    ["log_variance_20", "log_variance_252", "abnormal_volume", "log_illiquidity_60", "log_tracking_error_252"];
/// Regressors of harX2 among the columns.
const INPUTS: usize = VOLATILITY_COLUMNS.len() - 1;
/// Position of `return_20` among the regressors.
const RETURN_20: usize = 8;
/// Horizon of the season terms, in sessions.
const HORIZON: usize = 20;

/// The group for one instrument.
pub(crate) struct RiskColumns<'a> {
    position: usize,
    inputs: &'a VolatilityInputs,
    universe: &'a Universe,
    skewness: Skewness,
    levels: Vec<f64>,
    value_traded: RunningSums,
    illiquidity: RunningSums,
}

impl<'a> RiskColumns<'a> {
    /// `position` is the instrument's in the history.
    pub(crate) fn new(
        (position, instrument): (usize, &InstrumentHistory),
        inputs: &'a VolatilityInputs,
        universe: &'a Universe,
    ) -> Self {
        let value_traded: Vec<f64> = instrument.close.iter().zip(&instrument.volume).map(|(c, v)| c * v).collect();
        let price_of_trade = |(r, value): (&f64, &f64)| if *value > 0.0 { r.abs() / value } else { f64::NAN };
        Self {
            position,
            inputs,
            universe,
            skewness: Skewness::new(&instrument.log_return),
            levels: cumulative(&instrument.log_return),
            illiquidity: RunningSums::new(instrument.log_return.iter().zip(&value_traded).map(price_of_trade)),
            value_traded: RunningSums::new(value_traded),
        }
    }

    /// `market_value` in the currency of the prices, where known.
    pub(crate) fn row(&self, t: usize, market_value: Option<f64>) -> [f64; NAMES.len()] {
        let regressors = self.inputs.row(self.position, t, HORIZON);
        let log = |x: Option<f64>| x.filter(|x| *x > 0.0).map_or(f64::NAN, f64::ln);
        let traded = |w| self.value_traded.mean_of_most(t, w);
        let tracking = |w| 0.5 * log(self.universe.dispersion(self.position, t, w));
        let returns = self.universe.returns(self.position);
        let full_year = returns.count(t, 252) >= most_of(252);
        let drawdown = if full_year { max_drawdown(window(&self.levels, t, 252)) } else { f64::NAN };
        let mut row = [f64::NAN; NAMES.len()];
        row[..RETURN_20].copy_from_slice(&regressors[..RETURN_20]);
        row[RETURN_20..INPUTS].copy_from_slice(&regressors[RETURN_20 + 1..]);
        row[INPUTS..].copy_from_slice(&[
            self.skewness.over(t, 252).unwrap_or(f64::NAN),
            drawdown,
            log(traded(20)) - log(market_value),
            log(traded(20)) - log(traded(252)),
            log(self.illiquidity.mean_of_most(t, 60)),
            tracking(252),
            tracking(63),
        ]);
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn regressors_keep_their_names() {
        let expected: Vec<&str> = VOLATILITY_COLUMNS.into_iter().filter(|name| *name != "return_20").collect();
        assert_eq!(NAMES[..INPUTS], expected);
    }

    #[test]
    fn closes_alone_leave_ranges_and_trading_missing() {
        let history = sample(&Sample { ranges: false, ..Sample::default() });
        let (universe, inputs) = (Universe::new(&history), VolatilityInputs::new(&history));
        let row = RiskColumns::new((1, &history.instruments[1]), &inputs, &universe).row(600, None);
        for (name, value) in NAMES.iter().zip(row) {
            let needs_more = name.starts_with("log_range")
                || ["log_turnover_20", "abnormal_volume", "log_illiquidity_60"].contains(name);
            assert_eq!(value.is_nan(), needs_more, "{name} {value}");
        }
    }

    #[test]
    fn turnover_is_value_traded_over_market_value() {
        let history = sample(&Sample::default());
        let (universe, inputs) = (Universe::new(&history), VolatilityInputs::new(&history));
        let instrument = &history.instruments[1];
        let row = RiskColumns::new((1, instrument), &inputs, &universe).row(600, Some(1e9));
        let traded: f64 = (581..=600).map(|t| instrument.close[t] * instrument.volume[t]).sum::<f64>() / 20.0;
        assert!((row[15] - (traded / 1e9).ln()).abs() < 1e-9);
    }
}

//! Factor group "market": how an instrument moves with the market, and the state of the market, rates and the dollar.

use crate::features::universe::Universe;
use crate::features::windows::JointSums;
use crate::market::history::{History, InstrumentHistory};
use crate::market::instrument::InstrumentKind;
use crate::scenario::windows::RunningSums;

/// Columns of the group.
///
/// - `beta_w`, `correlation_w`: slope and correlation of daily log returns on the market series over w sessions.
/// - `market_return_w`: sum of the market's log returns; `market_log_volatility_w`: ln of the root mean squared one.
/// - `rate_level`: ten-year yield in percent (DGS10); `rate_slope`: ten less two years (T10Y2Y, else DGS10 - DGS2);
///   `rate_change_20`: change of the two-year yield (DGS2) over 20 sessions.
/// - `log_vix`: ln of VIXCLS, else of the close of the instrument VIX; `vix_change_20`: its change over 20 sessions;
///   `vix_premium`: ln of the daily volatility it implies less `market_log_volatility_20`.
/// - `dollar_return_w`: change of ln DTWEXBGS over w sessions.
pub const NAMES: [&str; 17] = [
    "beta_252",
    "beta_63",
    "correlation_252",
    "correlation_63",
    "market_return_20",
    "market_return_63",
    "market_return_252",
    "market_log_volatility_20",
    "market_log_volatility_252",
    "rate_level",
    "rate_slope",
    "rate_change_20",
    "log_vix",
    "vix_change_20",
    "vix_premium",
    "dollar_return_20",
    "dollar_return_63",
];
/// Columns that also get a cross-sectional rank.
pub const RANKED: [&str; 2] = ["beta_252", "correlation_252"];
/// How many columns depend on the instrument; the others are the same for all.
const OWN: usize = 4;

/// The columns that all instruments share, by session.
#[derive(Debug, Clone)]
pub(crate) struct MarketState {
    returns: RunningSums,
    squared: RunningSums,
    ten_years: Vec<f64>,
    two_years: Vec<f64>,
    slope: Vec<f64>,
    log_vix: Vec<f64>,
    log_dollar: Vec<f64>,
}

impl MarketState {
    pub(crate) fn new(history: &History, universe: &Universe) -> Self {
        let market = universe.market_return();
        let series = |id: &str| match history.factor(id) {
            Some(factor) => factor.known_at_close(&history.sessions),
            None => vec![f64::NAN; history.sessions.len()],
        };
        let (two_years, ten_years) = (series("DGS2"), series("DGS10"));
        let difference = ten_years.iter().zip(&two_years).map(|(long, short)| long - short);
        let slope = series("T10Y2Y").into_iter().zip(difference).map(|(s, d)| if s.is_finite() { s } else { d });
        let vix = series("VIXCLS").into_iter().zip(vix_closes(history)).map(|(v, c)| if v.is_finite() { v } else { c });
        Self {
            returns: RunningSums::new(market.iter().copied()),
            squared: RunningSums::new(market.iter().map(|r| r * r)),
            slope: slope.collect(),
            log_vix: vix.map(f64::ln).collect(),
            log_dollar: series("DTWEXBGS").into_iter().map(f64::ln).collect(),
            two_years,
            ten_years,
        }
    }

    fn shared(&self, t: usize) -> [f64; NAMES.len() - OWN] {
        let sum = |w| self.returns.mean_of_most(t, w).map_or(f64::NAN, |_| self.returns.sum(t, w));
        let log_volatility = |w| self.squared.mean_of_most(t, w).map_or(f64::NAN, |v| 0.5 * v.max(1e-12).ln());
        let change = |values: &[f64], w: usize| t.checked_sub(w).map_or(f64::NAN, |past| values[t] - values[past]);
        let implied = self.log_vix[t] - (100.0 * 252f64.sqrt()).ln();
        [
            sum(20),
            sum(63),
            sum(252),
            log_volatility(20),
            log_volatility(252),
            self.ten_years[t],
            self.slope[t],
            change(&self.two_years, 20),
            self.log_vix[t],
            change(&self.log_vix, 20),
            implied - log_volatility(20),
            change(&self.log_dollar, 20),
            change(&self.log_dollar, 63),
        ]
    }
}

/// Closes of the instrument VIX; a session without one keeps the last.
fn vix_closes(history: &History) -> Vec<f64> {
    let index = history.instruments.iter().find(|i| i.instrument.symbol.as_str() == "VIX");
    let index = index.filter(|i| i.instrument.kind == InstrumentKind::Index);
    let mut last = f64::NAN;
    let close = |t: usize| {
        last = index.map(|i| i.close[t]).filter(|c| c.is_finite()).unwrap_or(last);
        last
    };
    (0..history.sessions.len()).map(close).collect()
}

/// The group for one instrument.
pub(crate) struct MarketColumns<'a> {
    state: &'a MarketState,
    joint: JointSums,
}

impl<'a> MarketColumns<'a> {
    pub(crate) fn new(instrument: &InstrumentHistory, universe: &Universe, state: &'a MarketState) -> Self {
        Self { state, joint: JointSums::new(universe.market_return(), &instrument.log_return) }
    }

    pub(crate) fn row(&self, t: usize) -> [f64; NAMES.len()] {
        let of = |w| self.joint.slope_and_correlation(t, w).unwrap_or((f64::NAN, f64::NAN));
        let ((beta_year, correlation_year), (beta_quarter, correlation_quarter)) = (of(252), of(63));
        let mut row = [f64::NAN; NAMES.len()];
        row[..OWN].copy_from_slice(&[beta_year, beta_quarter, correlation_year, correlation_quarter]);
        row[OWN..].copy_from_slice(&self.state.shared(t));
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn missing_market_series_stay_missing() {
        let history = sample(&Sample { surroundings: false, ..Sample::default() });
        let universe = Universe::new(&history);
        let state = MarketState::new(&history, &universe);
        let row = MarketColumns::new(&history.instruments[0], &universe, &state).row(600);
        assert!(row[..9].iter().all(|x| x.is_finite()), "{row:?}");
        assert!(row[9..].iter().all(|x| x.is_nan()), "{row:?}");
    }

    #[test]
    fn the_market_fund_has_beta_one_and_the_vix_is_read() {
        let history = sample(&Sample::default());
        let universe = Universe::new(&history);
        let state = MarketState::new(&history, &universe);
        let fund = history.find(&"SPY".parse().unwrap()).unwrap();
        let row = MarketColumns::new(fund, &universe, &state).row(600);
        assert!(row[..4].iter().all(|x| (x - 1.0).abs() < 1e-9), "{row:?}");
        let vix = history.find(&"VIX".parse().unwrap()).unwrap();
        assert_eq!(row[12], vix.close[600].ln());
        assert!(row.iter().all(|x| x.is_finite()), "{row:?}");
    }
}

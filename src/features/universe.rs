//! Who counts on a day: indices, rankable instruments, the equal-weighted universe and the market series.

use crate::market::history::{History, InstrumentHistory};
use crate::scenario::index_watch::IndexWatch;
use crate::scenario::windows::{RunningSums, most_of};

/// Symbol of the market series; without it the equal-weighted universe stands for the market.
pub const MARKET_SYMBOL: &str = "SPY";
/// Returns an instrument needs before it is ranked.
const RANKABLE_RETURNS: usize = 504;
/// Of the last 252 sessions, how many must have a return.
const RANKABLE_IN_YEAR: usize = 245;

/// Whether an instrument may be ranked at the close of a session: at least 504 returns, at least 245 of the last 252
/// sessions present, and no index. Looks at no later session.
#[must_use]
pub fn is_rankable(instrument: &InstrumentHistory, session: usize) -> bool {
    let Some(known) = instrument.log_return.get(..=session) else { return false };
    let present = |returns: &[f64]| returns.iter().filter(|r| r.is_finite()).count();
    let year = &known[known.len().saturating_sub(252)..];
    present(known) >= RANKABLE_RETURNS
        && present(year) >= RANKABLE_IN_YEAR
        && !IndexWatch::new(instrument).is_index(session)
}

/// The universe over all sessions of a history, each session seen from its own close.
#[derive(Debug, Clone)]
pub struct Universe {
    watches: Vec<IndexWatch>,
    returns: Vec<RunningSums>,
    excess: Vec<RunningSums>,
    mean_return: Vec<f64>,
    market_return: Vec<f64>,
}

impl Universe {
    /// Computes the columns.
    #[must_use]
    pub fn new(history: &History) -> Self {
        let watches: Vec<IndexWatch> = history.instruments.iter().map(IndexWatch::new).collect();
        let mean_return: Vec<f64> = (0..history.sessions.len()).map(|t| mean_return(history, &watches, t)).collect();
        let fund = history.instruments.iter().find(|i| i.instrument.symbol.as_str() == MARKET_SYMBOL);
        let market_return = mean_return
            .iter()
            .enumerate()
            .map(|(t, mean)| fund.map(|f| f.log_return[t]).filter(|r| r.is_finite()).unwrap_or(*mean));
        let market_return = market_return.collect();
        let excess = history
            .instruments
            .iter()
            .map(|i| RunningSums::new(i.log_return.iter().zip(&mean_return).map(|(r, mean)| (r - mean).powi(2))));
        Self {
            returns: history.instruments.iter().map(|i| RunningSums::new(i.log_return.iter().copied())).collect(),
            excess: excess.collect(),
            watches,
            mean_return,
            market_return,
        }
    }

    /// Whether the instrument looked like an index at the close of the session.
    #[must_use]
    pub fn is_index(&self, instrument: usize, session: usize) -> bool {
        self.watches[instrument].is_index(session)
    }

    /// [`is_rankable`] in constant time.
    #[must_use]
    pub fn is_rankable(&self, instrument: usize, session: usize) -> bool {
        let returns = &self.returns[instrument];
        returns.count(session, session + 1) >= RANKABLE_RETURNS
            && returns.count(session, 252) >= RANKABLE_IN_YEAR
            && !self.is_index(instrument, session)
    }

    /// Log returns of the instrument, summed up.
    #[must_use]
    pub fn returns(&self, instrument: usize) -> &RunningSums {
        &self.returns[instrument]
    }

    /// Mean squared log return in excess of the equal-weighted universe over the window that ends at the session; `None`
    /// when less than four fifths of it are present. Its root is the daily tracking error.
    #[must_use]
    pub fn dispersion(&self, instrument: usize, session: usize, window: usize) -> Option<f64> {
        self.excess[instrument].mean(session, window, most_of(window))
    }

    /// Mean log return of all instruments but indices, by session; NaN where none has one.
    #[must_use]
    pub fn mean_return(&self) -> &[f64] {
        &self.mean_return
    }

    /// Log return of SPY, else of the equal-weighted universe, by session; NaN where there is neither.
    #[must_use]
    pub fn market_return(&self) -> &[f64] {
        &self.market_return
    }
}

fn mean_return(history: &History, watches: &[IndexWatch], session: usize) -> f64 {
    let members = history.instruments.iter().zip(watches).filter(|(_, watch)| !watch.is_index(session));
    let returns = members.map(|(i, _)| i.log_return[session]).filter(|r| r.is_finite());
    let (sum, count) = returns.fold((0.0, 0.0), |(sum, count), r| (sum + r, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn rankable_needs_two_years_and_a_full_last_year() {
        let history = sample(&Sample::default());
        let universe = Universe::new(&history);
        for (i, instrument) in history.instruments.iter().enumerate() {
            for session in (0..700).step_by(7).chain([503, 504, 505]) {
                assert_eq!(universe.is_rankable(i, session), is_rankable(instrument, session));
            }
        }
        let by_name = |name: &str, session| is_rankable(history.find(&name.parse().unwrap()).unwrap(), session);
        assert_eq!((by_name("TEST0", 503), by_name("TEST0", 504)), (false, true));
        assert!(!by_name("TEST1", 699), "young");
        assert!(!by_name("TEST2", 699), "a gap every eleventh session");
        assert!(!by_name("VIX", 699), "an index");
        assert!(!by_name("TEST0", 700), "no such session");
    }

    #[test]
    fn the_market_is_the_fund_or_the_mean() {
        let with = sample(&Sample::default());
        let fund = with.find(&MARKET_SYMBOL.parse().unwrap()).unwrap();
        assert_eq!(Universe::new(&with).market_return()[1..], fund.log_return[1..]);
        let without = Universe::new(&sample(&Sample { surroundings: false, ..Sample::default() }));
        assert_eq!(without.market_return()[1..], without.mean_return()[1..]);
    }
}

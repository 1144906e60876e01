//! The nine discrete states of an instrument: trend tercile x volatility tercile, on its own past.

use crate::market::history::{History, InstrumentHistory};
use crate::scenario::windows::RunningSums;

/// Number of states.
pub const STATES: usize = 9;
/// Sessions after which the next state is looked at.
pub const STATE_STEP: usize = 5;
/// Observations that terciles need.
const MINIMUM_OBSERVATIONS: usize = 252;

/// States of all instruments on all sessions.
///
/// Trend = sum of log returns over 63 sessions over the root of their sum of squares; volatility = mean squared log
/// return over 20 sessions over that of 252. The tercile of a number is floor(3 x share of the numbers until that
/// session, its own included, that are below it), so it looks at no later session. State = 3 x trend tercile +
/// volatility tercile: 0 is falling and calm, 8 rising and turbulent.
#[derive(Debug, Clone)]
pub struct MarketStates {
    states: Vec<Vec<Option<u8>>>,
}

impl MarketStates {
    /// Computes all states.
    #[must_use]
    pub fn new(history: &History) -> Self {
        Self { states: history.instruments.iter().map(states).collect() }
    }

    /// State at the close of a session, 0..9; `None` before 252 observations of both numbers, or where a window is less
    /// than four fifths present.
    #[must_use]
    pub fn state(&self, instrument: usize, session: usize) -> Option<u8> {
        *self.states.get(instrument)?.get(session)?
    }

    /// States of an instrument by session; empty for one that is not there.
    #[must_use]
    pub fn of(&self, instrument: usize) -> &[Option<u8>] {
        self.states.get(instrument).map_or(&[], Vec::as_slice)
    }

    /// State five sessions later; `None` until that session is part of the history.
    #[must_use]
    pub fn next_state(&self, instrument: usize, session: usize) -> Option<u8> {
        self.state(instrument, session + STATE_STEP)
    }
}

fn states(instrument: &InstrumentHistory) -> Vec<Option<u8>> {
    let returns = RunningSums::new(instrument.log_return.iter().copied());
    let squared = RunningSums::new(instrument.log_return.iter().map(|r| r * r));
    let positive = |x: f64| (x > 1e-12).then_some(x);
    let trend = |t: usize| {
        let scale = squared.mean_of_most(t, 63).and_then(positive)? * squared.count(t, 63) as f64;
        Some(returns.sum(t, 63) / scale.sqrt())
    };
    let volatility = |t: usize| Some(squared.mean_of_most(t, 20)? / squared.mean_of_most(t, 252).and_then(positive)?);
    let sessions = 0..instrument.log_return.len();
    let trends = terciles(sessions.clone().map(trend));
    let volatilities = terciles(sessions.map(volatility));
    trends.into_iter().zip(volatilities).map(|(trend, volatility)| Some(3 * trend? + volatility?)).collect()
}

/// Tercile of each number among those so far.
fn terciles(values: impl Iterator<Item = Option<f64>>) -> Vec<Option<u8>> {
    let mut sorted: Vec<f64> = vec![];
    let tercile = |value: Option<f64>| {
        let value = value?;
        let below = sorted.partition_point(|v| *v < value);
        sorted.insert(below, value);
        (sorted.len() >= MINIMUM_OBSERVATIONS).then(|| (3 * below / sorted.len()) as u8)
    };
    values.map(tercile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn terciles_count_what_lies_below() {
        let rising = terciles((0..600).map(|k| Some(f64::from(k))));
        assert!(rising[..251].iter().all(Option::is_none) && rising[251..].iter().all(|t| *t == Some(2)));
        let falling = terciles((0..600).map(|k| Some(-f64::from(k))));
        assert!(falling[251..].iter().all(|t| *t == Some(0)));
        let wave = terciles((0..3000).map(|k| (k % 7 != 0).then(|| f64::from(k * 37 % 101))));
        for class in 0..3 {
            let share =
                wave.iter().flatten().filter(|t| **t == class).count() as f64 / wave.iter().flatten().count() as f64;
            assert!((share - 1.0 / 3.0).abs() < 0.02, "{class}: {share}");
        }
    }

    #[test]
    fn states_know_nothing_later() {
        let history = sample(&Sample { sessions: 900, ..Sample::default() });
        let early = history.until(history.sessions[800]);
        let (all, known) = (MarketStates::new(&history), MarketStates::new(&early));
        let mut seen = 0;
        for (i, instrument) in early.instruments.iter().enumerate() {
            let at = history.instruments.iter().position(|x| x.instrument == instrument.instrument).unwrap();
            for session in 0..=800 {
                assert_eq!(known.state(i, session), all.state(at, session));
                seen += usize::from(known.state(i, session).is_some());
            }
            assert_eq!(known.next_state(i, 796), None);
            assert_eq!(known.next_state(i, 795), all.state(at, 800));
        }
        assert!(seen > 1000);
    }
}

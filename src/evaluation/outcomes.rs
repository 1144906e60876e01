//! What happened after a decision, and the trailing volatilities that references use, by the conventions of the scores.
//!
//! A session's return counts here only between two neighbouring sessions: after a gap in the prices the first return is
//! missing, and so is every outcome that would need it.

use crate::market::history::{History, InstrumentHistory};
use crate::scenario::index_watch::IndexWatch;

/// Sessions that must precede a scored decision.
pub const HISTORY_SESSIONS: usize = 252;

/// Realized variances a day at or below this are not scored: the price did not move.
pub const VARIANCE_FLOOR: f64 = 1e-8;

/// Whether a decision at `session` can be scored: 252 sessions lie before it and its horizon has matured.
#[must_use]
pub fn is_scorable(history: &History, session: usize, horizon_sessions: usize) -> bool {
    session >= HISTORY_SESSIONS && session + horizon_sessions < history.sessions.len()
}

/// Log total return from the session before to this one; `None` when either has no price.
#[must_use]
pub fn session_return(instrument: &InstrumentHistory, session: usize) -> Option<f64> {
    let previous = instrument.close.get(session.checked_sub(1)?)?;
    let value = *instrument.log_return.get(session)?;
    (previous.is_finite() && value.is_finite()).then_some(value)
}

/// Sums of log returns within this of 0 are rounding: the price came back to where it was.
const ROUNDING: f64 = 1e-12;

/// Log total return over the `horizon_sessions` after `session`, exactly 0 for an unchanged price (which is no rise, and
/// ties with other unchanged prices); `None` when one of the sessions is missing.
#[must_use]
pub fn realized_return(instrument: &InstrumentHistory, session: usize, horizon_sessions: usize) -> Option<f64> {
    let returns = (session + 1..=session + horizon_sessions).map(|s| session_return(instrument, s));
    let sum: f64 = returns.sum::<Option<f64>>()?;
    Some(if sum.abs() < ROUNDING { 0.0 } else { sum })
}

/// Mean squared daily log return (no mean removed) over the `horizon_sessions` after `session`; `None` when one of them
/// is missing or there are none.
#[must_use]
pub fn realized_variance(instrument: &InstrumentHistory, session: usize, horizon_sessions: usize) -> Option<f64> {
    let squares = (session + 1..=session + horizon_sessions).map(|s| Some(session_return(instrument, s)?.powi(2)));
    let sum: f64 = squares.sum::<Option<f64>>()?;
    (horizon_sessions > 0).then(|| sum / horizon_sessions as f64)
}

/// Mean squared daily log return over the known returns of the `window` sessions that end at `session`; `None` when
/// fewer than `minimum` (or none) are known.
#[must_use]
pub fn trailing_variance(instrument: &InstrumentHistory, session: usize, window: usize, minimum: usize) -> Option<f64> {
    let start = (session + 1).saturating_sub(window);
    let squares: Vec<f64> = (start..=session).filter_map(|s| session_return(instrument, s)).map(|r| r * r).collect();
    (squares.len() >= minimum.max(1)).then(|| squares.iter().sum::<f64>() / squares.len() as f64)
}

/// Exponentially weighted mean squared return up to `session` (RiskMetrics 1996, decay `decay` a known return, weights
/// normalized); `None` before the first return.
#[must_use]
pub fn exponential_variance(instrument: &InstrumentHistory, session: usize, decay: f64) -> Option<f64> {
    let (mut weighted, mut weight) = (0.0, 0.0);
    for r in (0..=session).filter_map(|s| session_return(instrument, s)) {
        weighted = decay * weighted + r * r;
        weight = decay * weight + 1.0;
    }
    (weight > 0.0).then(|| weighted / weight)
}

/// For each session the share of all returns over `horizon_sessions` that were above 0, over all instruments but indices
/// and all starting sessions whose horizon had matured by then; `None` before the first.
///
/// # Shapes
/// One value a session.
#[must_use]
pub fn expanding_base_rate(history: &History, horizon_sessions: usize) -> Vec<Option<f64>> {
    let watches: Vec<IndexWatch> = history.instruments.iter().map(IndexWatch::new).collect();
    let (mut ups, mut count) = (0usize, 0usize);
    let mut rates = Vec::with_capacity(history.sessions.len());
    for session in 0..history.sessions.len() {
        if let Some(start) = session.checked_sub(horizon_sessions) {
            let held = history.instruments.iter().zip(&watches).filter(|(_, watch)| !watch.is_index(start));
            for outcome in held.filter_map(|(i, _)| realized_return(i, start, horizon_sessions)) {
                ups += usize::from(outcome > 0.0);
                count += 1;
            }
        }
        rates.push((count > 0).then(|| ups as f64 / count as f64));
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::bar::{Bar, BarFields, Day};
    use crate::market::history::InstrumentRows;
    use crate::market::instrument::{Instrument, Symbol};

    fn rows(symbol: &str, closes: &[f64]) -> InstrumentRows {
        let start = Day::from_ymd_opt(2024, 1, 1).unwrap();
        let bars = start.iter_days().zip(closes).filter(|(_, c)| c.is_finite()).map(|(day, close)| {
            Bar::new(BarFields { day, open: None, high: None, low: None, close: *close, volume: None }).unwrap()
        });
        let instrument = Instrument::unnamed(Symbol::parse(symbol).unwrap());
        InstrumentRows { instrument, bars: bars.collect(), actions: vec![], filings: vec![] }
    }

    fn sample() -> History {
        let powers = [1.0, 2.0, 4.0, 2.0, 1.0, 2.0].map(|v: f64| v.exp2());
        let gap = [1.0, 2.0, f64::NAN, 4.0, 8.0, 16.0];
        History::assemble(vec![rows("A", &powers), rows("B", &gap)], vec![])
    }

    #[test]
    fn a_gap_hides_two_returns_and_the_outcomes_over_them() {
        let history = sample();
        let known: Vec<bool> = (0..6).map(|s| session_return(&history.instruments[1], s).is_some()).collect();
        assert_eq!(known, [false, true, false, false, true, true]);
        assert_eq!(realized_return(&history.instruments[1], 1, 3), None);
        assert!((realized_return(&history.instruments[1], 3, 2).unwrap() - 4f64.ln()).abs() < 1e-12);
        assert_eq!(realized_return(&history.instruments[1], 3, 3), None);
    }

    #[test]
    fn an_unchanged_price_has_returned_exactly_nothing() {
        let closes = [23.31, 23.57, 22.9, 24.03, 23.31];
        let history = History::assemble(vec![rows("A", &closes)], vec![]);
        let noisy: f64 = history.instruments[0].log_return[1..].iter().sum();
        assert_ne!(noisy, 0.0);
        assert_eq!(realized_return(&history.instruments[0], 0, 4), Some(0.0));
    }

    #[test]
    fn variances_are_means_of_squares() {
        let (history, ln2) = (sample(), 2f64.ln());
        let a = &history.instruments[0];
        assert!((realized_variance(a, 0, 2).unwrap() - 2.5 * ln2 * ln2).abs() < 1e-12);
        assert!((trailing_variance(a, 2, 20, 2).unwrap() - 2.5 * ln2 * ln2).abs() < 1e-12);
        assert_eq!(trailing_variance(a, 2, 20, 3), None);
        assert!((exponential_variance(a, 2, 0.5).unwrap() - (0.5 + 4.0) / 1.5 * ln2 * ln2).abs() < 1e-12);
    }

    #[test]
    fn the_base_rate_knows_only_matured_outcomes() {
        let history = sample();
        let rates = expanding_base_rate(&history, 2);
        assert_eq!(rates[..2], [None, None]);
        // A over two sessions from 0: up; from 1: flat; from 2: down; from 3: flat. B matures only at 5.
        assert_eq!(rates[2..], [Some(1.0), Some(0.5), Some(1.0 / 3.0), Some(2.0 / 5.0)]);
        let early = history.until(history.sessions[3]);
        assert_eq!(expanding_base_rate(&early, 2), rates[..4]);
    }
}

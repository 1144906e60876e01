//! Targets: what happened over a horizon after a session. The only code that looks forward.

use crate::features::universe::Universe;
use crate::features::windows::max_drawdown;
use crate::market::history::{History, InstrumentHistory};
use crate::market::horizon::Horizon;
use crate::scenario::windows::most_of;

/// The drawdown that counts, in volatilities over the horizon.
pub const DRAWDOWN_VOLATILITIES: f64 = 1.5;

/// What happened to one instrument over the sessions after a decision session. Log returns; a missing return counts as
/// none (the last price carries on), and the next one spans the gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HorizonTarget {
    /// Log total return over the horizon.
    pub realized_return: f64,
    /// Mean squared daily log return, of those present; >= 0.
    pub realized_variance: f64,
    /// Mean squared daily log return in excess of the equal-weighted universe's, of those present; >= 0.
    pub realized_dispersion: f64,
    /// `realized_return` less its mean over the instruments (no indices) that have a target.
    pub relative_return: f64,
    /// Largest fall of the log price from the decision close or a later peak; >= 0.
    pub max_drawdown: f64,
    /// Membership of the fifths of the rankable instruments by return, worst first; sums to 1, ties share. `None` where
    /// the instrument was not rankable on the decision session.
    pub quintile: Option<[f32; 5]>,
}

impl HorizonTarget {
    /// Whether the price fell by 1.5 volatilities; `volatility` is the forecast over the horizon, in log return.
    #[must_use]
    pub fn has_drawdown(&self, volatility: f64) -> bool {
        self.max_drawdown >= DRAWDOWN_VOLATILITIES * volatility
    }

    /// Whether the return was above zero.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.realized_return > 0.0
    }
}

/// The targets of all instruments for one decision session, in the order of the history.
///
/// `None` until the horizon's last session is part of the history; for an index; without a close on the decision
/// session; and with less than four fifths of the returns present (such an instrument still takes its place among the
/// fifths, at its last price).
#[must_use]
pub fn horizon_targets(
    history: &History,
    universe: &Universe,
    horizon: Horizon,
    session: usize,
) -> Vec<Option<HorizonTarget>> {
    let end = session + horizon.sessions();
    if end >= history.sessions.len() {
        return vec![None; history.instruments.len()];
    }
    let window = session + 1..end + 1;
    let mut targets: Vec<Option<HorizonTarget>> = history
        .instruments
        .iter()
        .enumerate()
        .map(|(i, instrument)| {
            let is_tradable = !universe.is_index(i, session) && instrument.close[session].is_finite();
            let mean = &universe.mean_return()[window.clone()];
            is_tradable.then(|| realized(instrument, window.clone(), mean)).flatten()
        })
        .collect();
    subtract_mean(&mut targets);
    let rankable: Vec<usize> = (0..targets.len()).filter(|i| universe.is_rankable(*i, session)).collect();
    let returns: Vec<f64> =
        rankable.iter().map(|i| carried(&history.instruments[*i].log_return[window.clone()])).collect();
    for (i, membership) in rankable.into_iter().zip(quintiles(&returns)) {
        if let Some(target) = &mut targets[i] {
            target.quintile = Some(membership);
        }
    }
    targets
}

/// Membership of the fifths by the rule of the M6 competition (Makridakis et al. 2023): position p of n, counted from
/// the lowest return, has class ceil(5p/n); ties share the classes of their positions.
#[must_use]
pub fn quintiles(returns: &[f64]) -> Vec<[f32; 5]> {
    let mut order: Vec<usize> = (0..returns.len()).collect();
    order.sort_by(|a, b| returns[*a].total_cmp(&returns[*b]));
    let mut memberships = vec![[0.0; 5]; returns.len()];
    let mut below = 0;
    for tie in order.chunk_by(|a, b| returns[*a] == returns[*b]) {
        let mut shared = [0.0f64; 5];
        for position in below + 1..=below + tie.len() {
            shared[(5 * position).div_ceil(returns.len()) - 1] += 1.0 / tie.len() as f64;
        }
        tie.iter().for_each(|i| memberships[*i] = shared.map(|share| share as f32));
        below += tie.len();
    }
    memberships
}

fn realized(instrument: &InstrumentHistory, window: std::ops::Range<usize>, mean: &[f64]) -> Option<HorizonTarget> {
    let length = window.len();
    let returns = &instrument.log_return[window];
    let (mut squares, mut excess, mut present) = (0.0, 0.0, 0usize);
    let mut levels = vec![0.0];
    let mut level = 0.0;
    for (r, mean) in returns.iter().zip(mean).filter(|(r, _)| r.is_finite()) {
        squares += r * r;
        excess += (r - mean).powi(2);
        present += 1;
        level += r;
        levels.push(level);
    }
    (present >= most_of(length)).then(|| HorizonTarget {
        realized_return: level,
        realized_variance: squares / present as f64,
        realized_dispersion: excess / present as f64,
        relative_return: level,
        max_drawdown: max_drawdown(&levels),
        quintile: None,
    })
}

fn subtract_mean(targets: &mut [Option<HorizonTarget>]) {
    let returns = targets.iter().flatten().map(|t| t.realized_return);
    let (sum, count) = returns.fold((0.0, 0.0), |(sum, count), r| (sum + r, count + 1.0));
    targets.iter_mut().flatten().for_each(|t| t.relative_return -= sum / count);
}

fn carried(returns: &[f64]) -> f64 {
    returns.iter().filter(|r| r.is_finite()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};
    use proptest::prelude::*;

    #[test]
    fn ties_share_their_fifths() {
        // The rule's own example in the shared scorer: 1, 1, 2, 3, 4.
        let found = quintiles(&[1.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(found[0], [0.5, 0.5, 0.0, 0.0, 0.0]);
        assert_eq!(found[1], found[0]);
        assert_eq!(found[4], [0.0, 0.0, 0.0, 0.0, 1.0]);
        // Position 2 of 7 has class ceil(10/7) = 2.
        assert_eq!(quintiles(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])[1], [0.0, 1.0, 0.0, 0.0, 0.0]);
        assert!(quintiles(&[]).is_empty());
    }

    #[test]
    fn targets_add_up_what_came_after() {
        let history = sample(&Sample::default());
        let universe = Universe::new(&history);
        let targets = horizon_targets(&history, &universe, Horizon::FourWeeks, 600);
        let at =
            |symbol: &str| history.instruments.iter().position(|i| i.instrument.symbol.as_str() == symbol).unwrap();
        let (i, returns) = (at("TEST5"), &history.instruments[at("TEST5")].log_return[601..=620]);
        let target = targets[i].unwrap();
        assert!((target.realized_return - returns.iter().sum::<f64>()).abs() < 1e-12);
        assert!((target.realized_variance - returns.iter().map(|r| r * r).sum::<f64>() / 20.0).abs() < 1e-15);
        assert!(target.has_drawdown(target.max_drawdown / 1.5) && !target.has_drawdown(target.max_drawdown));
        assert_eq!(targets[at("VIX")], None);
        assert!(targets[at("TEST2")].unwrap().quintile.is_none(), "gaps: a target, but not rankable");
        let classes: f32 = targets.iter().flatten().filter_map(|t| t.quintile).map(|q| q.iter().sum::<f32>()).sum();
        assert_eq!(classes, (0..targets.len()).filter(|i| universe.is_rankable(*i, 600)).count() as f32);
        let relative: f64 = targets.iter().flatten().map(|t| t.relative_return).sum();
        assert!(relative.abs() < 1e-12);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
        #[test]
        fn a_target_exists_only_once_its_last_session_is_known(session in 0usize..700, seed in 0u64..50) {
            let history = sample(&Sample { seed, ..Sample::default() });
            for horizon in Horizon::ALL {
                let end = session + horizon.sessions();
                let of = |history: &History| horizon_targets(history, &Universe::new(history), horizon, session);
                if end < history.sessions.len() {
                    let known = of(&history.until(history.sessions[end]));
                    prop_assert_eq!(known.iter().flatten().count(), of(&history).iter().flatten().count());
                    let first = |targets: Vec<Option<HorizonTarget>>| targets.into_iter().flatten().next();
                    prop_assert_eq!(first(known), first(of(&history)));
                    let early = of(&history.until(history.sessions[end - 1]));
                    prop_assert!(early.iter().all(Option::is_none));
                }
            }
        }
    }
}

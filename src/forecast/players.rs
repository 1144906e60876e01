//! The players that are ranked by what their responses earned: simple views of the mean, each a name and one number.
//!
//! All of them take the benchmark's volatility; a player's response is the action that is best if its mean is right.

use crate::decision::action::{Action, PerAction};
use crate::decision::game::{BelievedModel, Terms};
use crate::forecast::prepared::Prepared;
use crate::market::horizon::Horizon;

/// The players besides the members of the network, in the order of [`benchmark_means`].
pub const BENCHMARK_PLAYERS: [&str; 5] = ["harx2", "no_change", "base_rate_drift", "momentum_12_1", "reversal"];

/// Sessions of the two ends of 12-1 momentum before the decision: returns from a year ago to a month ago (Jegadeesh and
/// Titman 1993, without the last month).
const MOMENTUM: (usize, usize) = (252, 21);

/// Sessions whose return the reversal player expects to come back (Jegadeesh 1990).
const REVERSAL: usize = 20;

/// The name of the k-th member among players and columns of the game, from 1.
#[must_use]
pub fn member_name(k: usize) -> String {
    format!("network.{}", k + 1)
}

/// Means of the players in the order of [`BENCHMARK_PLAYERS`], simple returns over the horizon:
/// - `harx2` expects `mu0`, the premium without skill,
/// - `no_change` nothing,
/// - `base_rate_drift` the instrument's own average session so far, times the horizon,
/// - `momentum_12_1` the average session from a year ago to a month ago, times the horizon,
/// - `reversal` that the last month's return comes back, or the last week's over a week.
///
/// A player without its returns expects `mu0`.
#[must_use]
pub fn benchmark_means(
    prepared: &Prepared,
    instrument: usize,
    (session, horizon): (usize, Horizon),
    mu0: f64,
) -> [f64; 5] {
    let h = horizon.sessions();
    let history = &prepared.history.instruments[instrument];
    let per_session = |end: usize, count: usize| Some(history.return_over(end, count)? / count as f64);
    let over_horizon = |daily: Option<f64>| daily.map_or(mu0, |daily| (daily * h as f64).exp_m1());
    let momentum = session.checked_sub(MOMENTUM.1).and_then(|end| per_session(end, MOMENTUM.0 - MOMENTUM.1));
    let reversal = history.return_over(session, h.min(REVERSAL)).map_or(mu0, |r| (-r).exp_m1());
    [mu0, 0.0, over_horizon(prepared.drift(instrument, session)), over_horizon(momentum), reversal]
}

/// The best action for a holder who is sure of one mean and volatility, whatever the crowd does; ties go to hold.
#[must_use]
pub fn response(terms: &Terms, mean: f64, volatility: f64) -> Action {
    let model = BelievedModel { names: vec![], mean, volatility, belief: 1.0 };
    let values = PerAction::from_fn(|action| terms.payoff(action, &model, 0.0));
    let open = Action::ALL.into_iter().filter(|action| terms.holder.can(*action));
    open.fold(Action::Hold, |best, action| if values[action] > values[best] { action } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::holder::Holder;
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn a_response_is_best_under_its_own_view() {
        let terms = Terms { holder: Holder::default(), risk_aversion: 0.625, cost: 0.0005, impact: 0.01 };
        let table = [(0.004, 0.08, Action::Hold), (0.0, 0.08, Action::Sell), (0.03, 0.08, Action::Buy)];
        for (mean, volatility, expected) in table {
            assert_eq!(response(&terms, mean, volatility), expected, "{mean}");
        }
        let costly = Terms { cost: 1.0, ..terms };
        assert_eq!(response(&costly, 0.03, 0.08), Action::Hold);
    }

    #[test]
    fn players_expect_what_their_names_say() {
        let prepared = Prepared::new(sample(&Sample { sessions: 600, ..Sample::default() }));
        let (session, horizon) = (500, Horizon::FourWeeks);
        let closes = &prepared.history.instruments[0];
        let [harx2, no_change, drift, momentum, reversal] = benchmark_means(&prepared, 0, (session, horizon), 0.004);
        assert_eq!((harx2, no_change), (0.004, 0.0));
        let back: f64 = closes.log_return[session - 19..=session].iter().sum();
        assert!((reversal - ((-back).exp() - 1.0)).abs() < 1e-12);
        let year: f64 = closes.log_return[session - 251..=session - 21].iter().sum();
        assert!((momentum - ((year / 231.0 * 20.0).exp() - 1.0)).abs() < 1e-12);
        let so_far: Vec<f64> = closes.log_return[..=session].iter().copied().filter(|r| r.is_finite()).collect();
        let average = so_far.iter().sum::<f64>() / so_far.len() as f64;
        assert!((drift - ((average * 20.0).exp() - 1.0)).abs() < 1e-9);
        let later = Prepared::new(prepared.history.until(prepared.history.sessions[session]));
        assert_eq!(
            benchmark_means(&later, 0, (session, horizon), 0.004),
            [harx2, no_change, drift, momentum, reversal],
            "later rows change nothing"
        );
    }
}

//! May the network's next-state head speak in the decision process? Its out-of-sample record against the counted
//! transitions, judged as every other head is.

use serde::{Deserialize, Serialize};

use crate::evaluation::gate::{GateDecision, judge_seat};
use crate::features::states::{MarketStates, STATE_STEP, STATES};
use crate::forecast::samples::ROW_SPACING;
use crate::forecast::walker::{Record, Walker};
use crate::learning::dataset::RowTargets;
use crate::learning::forecast::RowForecast;
use crate::learning::task::{Head, Task};
use crate::market::horizon::Horizon;

/// Weight of the head in the current row, as the decision process blends it.
const BLEND: f64 = 0.5;

/// What the gate says of the next-state head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NextStateSeat {
    /// Log loss of the counted transitions less that of the blend, by day.
    pub gate: GateDecision,
}

impl NextStateSeat {
    /// Whether the head is blended in.
    #[must_use]
    pub fn is_seated(&self) -> bool {
        self.gate.seated
    }
}

/// Judges the head at every refit of the walk and says what holds now; `None` without a record. `kappa` weighs the prior
/// of the counted rows.
///
/// What is compared is what would be served: the counted row of the current state, and its mean with the head's.
#[must_use]
pub fn judge_next_state(walker: &Walker<'_>, states: &MarketStates, kappa: f64) -> Option<NextStateSeat> {
    let gains = gains(walker, states, kappa)?;
    let overlap = STATE_STEP.div_ceil(ROW_SPACING);
    let mut seat: Option<(GateDecision, Option<usize>)> = None;
    for standing in walker.standings.iter().skip(1) {
        let known: Vec<(usize, f64)> =
            gains.iter().copied().filter(|(session, _)| session + STATE_STEP <= standing.from).collect();
        let since = seat.and_then(|(_, since)| since);
        let first_live = since.map(|since| known.partition_point(|(session, _)| *session <= since));
        let gate = judge_seat(first_live, &known.iter().map(|g| g.1).collect::<Vec<_>>(), overlap);
        seat = Some((gate, gate.seated.then(|| since.unwrap_or(standing.from))));
    }
    seat.map(|(gate, _)| NextStateSeat { gate })
}

/// By day of the record, what the blend gained.
fn gains(walker: &Walker<'_>, states: &MarketStates, kappa: f64) -> Option<Vec<(usize, f64)>> {
    let (record, samples) = (&walker.record, &walker.school.as_ref()?.samples);
    let mut tallies: Vec<Tally> = vec![];
    let mut by_day: Vec<(usize, f64, f64)> = vec![];
    for k in 0..record.rows.len() {
        let instrument = samples.instrument[record.rows[k]] as usize;
        let session = record.days[k] as usize;
        if tallies.len() <= instrument {
            tallies.resize_with(instrument + 1, Tally::default);
        }
        tallies[instrument].advance(states, instrument, session);
        let Some(gain) = gain(walker, record, k, (states.state(instrument, session), &tallies[instrument], kappa))
        else {
            continue;
        };
        match by_day.last_mut().filter(|day| day.0 == session) {
            Some(day) => (day.1, day.2) = (day.1 + gain, day.2 + 1.0),
            None => by_day.push((session, gain, 1.0)),
        }
    }
    Some(by_day.into_iter().map(|(session, sum, count)| (session, sum / count)).collect())
}

fn gain(
    walker: &Walker<'_>,
    record: &Record,
    k: usize,
    (state, tally, kappa): (Option<u8>, &Tally, f64),
) -> Option<f64> {
    let next = record.targets[k].next_state;
    if next == RowTargets::UNKNOWN_STATE {
        return None;
    }
    let shares = &walker.standings[record.standing[k]].shares;
    if shares[Head::index(Task::NextState, Horizon::OneWeek)] == 0.0 {
        // Nothing of the head is believed, so nothing of it would be blended in.
        return Some(0.0);
    }
    let said = RowForecast::decode(record.output(k), shares).next_state[usize::from(next)];
    let counted = tally.chance(usize::from(state?), usize::from(next), kappa);
    Some((counted + BLEND * (said - counted)).ln() - counted.ln())
}

/// One instrument's weeks so far.
#[derive(Debug, Clone, Default)]
struct Tally {
    counts: [[f64; STATES]; STATES],
    visits: [f64; STATES],
    seen: usize,
}

impl Tally {
    fn advance(&mut self, states: &MarketStates, instrument: usize, session: usize) {
        for t in self.seen..=session {
            let Some(now) = states.state(instrument, t).map(usize::from) else { continue };
            self.visits[now] += 1.0;
            let before = t.checked_sub(STATE_STEP).and_then(|from| states.state(instrument, from));
            if let Some(before) = before {
                self.counts[usize::from(before)][now] += 1.0;
            }
        }
        self.seen = self.seen.max(session + 1);
    }

    /// `(N[m, m'] + kappa pi[m']) / (N[m] + kappa)` in weeks, pi the frequencies with one week added to each.
    fn chance(&self, state: usize, next: usize, kappa: f64) -> f64 {
        let weeks = |count: f64| count / STATE_STEP as f64;
        let visited = weeks(self.visits.iter().sum()) + STATES as f64;
        let prior = (weeks(self.visits[next]) + 1.0) / visited;
        let row = weeks(self.counts[state].iter().sum());
        (weeks(self.counts[state][next]) + kappa * prior) / (row + kappa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::market_process::{MarketPast, MarketProcess, WeekAhead, WeekMean};
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn the_tally_counts_what_the_decision_process_counts() {
        let history = sample(&Sample { sessions: 900, ..Sample::default() });
        let states = MarketStates::new(&history);
        let of_all: Vec<Option<u8>> = (0..900).map(|t| states.state(0, t)).collect();
        let mut tally = Tally::default();
        let week = WeekAhead {
            premium: WeekMean { value: 0.001, error: 0.0 },
            seated_mean: None,
            variance: 0.001,
            long_run_variance: 0.001,
            next_state: None,
            kappa: 8.0,
        };
        let mut compared = 0;
        for session in [400, 637, 899] {
            tally.advance(&states, 0, session);
            let Some(now) = of_all[session] else { continue };
            let past = MarketPast { states: &of_all, log_return: &history.instruments[0].log_return, session };
            let rows = MarketProcess::of_past(&past, &week).unwrap().transition();
            for (next, expected) in rows[usize::from(now)].iter().enumerate() {
                assert!((tally.chance(usize::from(now), next, 8.0) - expected).abs() < 1e-12);
                compared += 1;
            }
        }
        assert!(compared >= 18);
    }
}

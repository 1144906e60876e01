//! The verdicts that a training gives: what is predictable about each instrument, from the recipe's out-of-sample record.

use crate::evaluation::verdict::Predictability;
use crate::forecast::calibration::Calibration;
use crate::forecast::day::{DayInputs, RANKS, benchmark_ranks};
use crate::forecast::predictability::{DayValues, Record, Said, TermForecasts, predictability};
use crate::forecast::prepared::Prepared;
use crate::forecast::state::ModelState;
use crate::forecast::walker::Walker;
use crate::market::horizon::Horizon;
use crate::opinion::envelope::NETWORK;

/// Scenarios behind the ranks of one day.
const SCENARIOS: usize = 4_000;
/// First session of ranks: the two years that an instrument needs to be ranked.
const FIRST_RANKS: usize = 504;

/// Verdicts on all instruments by the close of a session, in the order of the history. Volatility is judged as it was
/// served, direction with the network's raw mean where there is one, ranks as the benchmark gives them.
#[must_use]
pub fn verdicts(
    prepared: &Prepared,
    benchmarks: &ModelState,
    walker: Option<&Walker<'_>>,
    until: usize,
) -> Vec<Predictability> {
    let record = Record { history: &prepared.history, inputs: &prepared.inputs, volatility: &benchmarks.harx2, until };
    let [short, long] =
        [Horizon::FourWeeks, Horizon::Year].map(|horizon| Term::new(prepared, benchmarks, walker, horizon));
    predictability(&record, &short.forecasts(), &long.forecasts())
}

struct Term {
    variances: Vec<DayValues<f64>>,
    means: Vec<DayValues<f64>>,
    ranks: Vec<DayValues<[f64; 5]>>,
}

impl Term {
    fn new(prepared: &Prepared, benchmarks: &ModelState, walker: Option<&Walker<'_>>, horizon: Horizon) -> Self {
        let seated = |session: usize| walker.is_some_and(|w| w.standing_on(session).seats[horizon.index()].volatility);
        let served = walker.map(|w| w.audition(horizon).variances()).unwrap_or_default();
        Self {
            variances: served.iter().filter(|(session, _)| seated(*session)).cloned().collect(),
            means: walker.map(|w| w.audition(horizon).raw_means().to_vec()).unwrap_or_default(),
            ranks: ranks(prepared, benchmarks, horizon),
        }
    }

    fn forecasts(&self) -> TermForecasts<'_> {
        let said = |name, days| Said { name, days };
        TermForecasts {
            variances: (!self.variances.is_empty()).then(|| said("served", &self.variances)),
            means: (!self.means.is_empty()).then(|| said(NETWORK, &self.means)),
            ranks: (!self.ranks.is_empty()).then(|| Said { name: RANKS.as_str(), days: &self.ranks }),
        }
    }
}

fn ranks(prepared: &Prepared, benchmarks: &ModelState, horizon: Horizon) -> Vec<DayValues<[f64; 5]>> {
    let calibration = Calibration::new(vec![], horizon);
    let end = prepared.sessions().saturating_sub(horizon.sessions());
    let days = (FIRST_RANKS.min(end)..end).step_by(horizon.sessions());
    let ranked = days.filter_map(|session| {
        let inputs =
            DayInputs { prepared, state: benchmarks, calibration: &calibration, network: None, session, horizon };
        let rankable = |i: &usize| prepared.universe.is_rankable(*i, session);
        let instruments: Vec<usize> = prepared.alive(session).into_iter().filter(rankable).collect();
        let forecast = benchmark_ranks(&inputs, RANKS, &instruments, SCENARIOS)?;
        let mut values = vec![None; prepared.history.instruments.len()];
        for (i, p) in instruments.iter().zip(forecast.quintile_probabilities) {
            values[*i] = Some(p);
        }
        Some((session, values))
    });
    ranked.collect()
}

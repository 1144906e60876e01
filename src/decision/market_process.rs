//! What is known of an instrument's nine market states, week by week: how often one follows another, and what a week in
//! each pays and risks.
//!
//! The states are those of [`crate::features::states`]: 3 x trend tercile + volatility tercile on the instrument's own
//! past. A step is a week of five sessions.

use serde::{Deserialize, Serialize};

use crate::features::states::{STATE_STEP, STATES};

/// Weight of the prior in weeks: how much the instrument's overall frequencies count in each row.
pub const KAPPA: f64 = 8.0;
/// How far given probabilities may be from summing to 1 before they are normalized: single-precision sums pass.
const SUM_TOLERANCE: f64 = 1e-5;
/// Sessions of a week that must have a return for its variance to count.
const MINIMUM_RETURNS: usize = 4;
/// Weight of the network's next-state head in the row of the current state.
const NEXT_STATE_WEIGHT: f64 = 0.5;

/// The numbers of a [`MarketProcess`], unchecked, as in JSON. Arrays are by market state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarketNumbers {
    /// N, `[state][next state]`: weeks in which the next state followed, at least 0.
    pub counts: [[f64; STATES]; STATES],
    /// pi, the prior of every row: the frequencies of the states, above 0, summing to 1.
    pub prior: [f64; STATES],
    /// kappa, weight of the prior in weeks, above 0.
    pub kappa: f64,
    /// Expected simple return of a week.
    pub mean: [f64; STATES],
    /// Its standard error, at least 0; all states err together.
    pub mean_error: [f64; STATES],
    /// Variance of a week's return, above 0.
    pub variance: [f64; STATES],
    /// Weeks behind the variance, above 0.
    pub variance_observations: [f64; STATES],
    /// The state now, 0..9.
    pub current: u8,
    /// Chances of the states in a week by the network's head, once it is seated.
    pub next_state: Option<[f64; STATES]>,
}

/// The nine states of an instrument, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MarketNumbers", into = "MarketNumbers")]
pub struct MarketProcess(MarketNumbers);

/// Which number of a market process is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MarketProcessError {
    /// A field breaks the range that its documentation states.
    #[error("{0} of the market process is out of range")]
    OutOfRange(&'static str),
    /// The instrument has no state on the day.
    #[error("the instrument has no market state: its past is too short")]
    NoState,
}

/// An instrument's own past by session.
#[derive(Debug, Clone, Copy)]
pub struct MarketPast<'a> {
    /// State at the close of each session, where there is one.
    pub states: &'a [Option<u8>],
    /// Log return of each session, NaN where there is none.
    pub log_return: &'a [f64],
    /// The decision day; nothing after it is read.
    pub session: usize,
}

/// An expected simple return of a week.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeekMean {
    /// The return.
    pub value: f64,
    /// Its standard error, at least 0.
    pub error: f64,
}

/// What is forecast of the coming week.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeekAhead {
    /// mu0, for every state.
    pub premium: WeekMean,
    /// The served mean, for the current state, once a mean head is seated.
    pub seated_mean: Option<WeekMean>,
    /// Variance of the return as served, for the current state.
    pub variance: f64,
    /// Long-run variance of a week, to which the others are shrunk.
    pub long_run_variance: f64,
    /// Chances of the next states by the network's head, once it is seated.
    pub next_state: Option<[f64; STATES]>,
    /// kappa, usually [`KAPPA`].
    pub kappa: f64,
}

/// Standard error of mu0 when the equity premium is known from `years` of a market of that annual volatility:
/// `mu0 / premium x volatility / sqrt(years)`, since mu0 is proportional to the premium.
#[must_use]
pub fn premium_error(mu0: f64, annual_premium: f64, market_volatility_annualized: f64, years: f64) -> f64 {
    mu0 / annual_premium * market_volatility_annualized / years.sqrt()
}

impl MarketProcess {
    /// Checks the numbers; probabilities are normalized.
    ///
    /// # Errors
    /// [`MarketProcessError::OutOfRange`] naming the field.
    pub fn new(mut numbers: MarketNumbers) -> Result<Self, MarketProcessError> {
        let not_negative = |x: &f64| x.is_finite() && *x >= 0.0;
        let positive = |x: &f64| x.is_finite() && *x > 0.0;
        let checks = [
            ("counts", numbers.counts.iter().flatten().all(not_negative)),
            ("prior", numbers.prior.iter().all(positive) && normalize(&mut numbers.prior)),
            ("kappa", positive(&numbers.kappa)),
            ("mean", numbers.mean.iter().all(|x| x.is_finite())),
            ("mean_error", numbers.mean_error.iter().all(not_negative)),
            ("variance", numbers.variance.iter().all(positive)),
            ("variance_observations", numbers.variance_observations.iter().all(positive)),
            ("current", usize::from(numbers.current) < STATES),
            ("next_state", numbers.next_state.as_mut().is_none_or(|p| p.iter().all(not_negative) && normalize(p))),
        ];
        match checks.into_iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(MarketProcessError::OutOfRange(field)),
            None => Ok(Self(numbers)),
        }
    }

    /// Counts an instrument's own past.
    ///
    /// Weeks overlap, so each counts a fifth and N is in weeks; only weeks that ended by the decision day count. pi is
    /// the frequency of the states with one week added to each. The variance of a state is the mean realized variance
    /// (sum of five squared log returns) of the weeks after it, with kappa weeks of the long run added; that of the
    /// current state is the forecast.
    ///
    /// # Errors
    /// [`MarketProcessError`] when there is no state on the decision day, or a given number is out of range.
    pub fn of_past(past: &MarketPast<'_>, week: &WeekAhead) -> Result<Self, MarketProcessError> {
        let current = past.state(past.session).ok_or(MarketProcessError::NoState)?;
        let (mut counts, mut visits) = ([[0.0; STATES]; STATES], [0.0; STATES]);
        let (mut sums, mut weeks) = ([0.0; STATES], [0.0; STATES]);
        for session in 0..=past.session {
            let Some(state) = past.state(session) else { continue };
            visits[state] += 1.0;
            let end = session + STATE_STEP;
            if end > past.session {
                continue;
            }
            if let Some(next) = past.state(end) {
                counts[state][next] += 1.0;
            }
            if let Some(variance) = past.realized_variance(end) {
                sums[state] += variance;
                weeks[state] += 1.0;
            }
        }
        let step = STATE_STEP as f64;
        let visited = visits.iter().sum::<f64>() / step + STATES as f64;
        let mut variance: [f64; STATES] = std::array::from_fn(|m| {
            (sums[m] / step + week.kappa * week.long_run_variance) / (weeks[m] / step + week.kappa)
        });
        variance[current] = week.variance;
        let (mut mean, mut mean_error) = ([week.premium.value; STATES], [week.premium.error; STATES]);
        if let Some(seated) = week.seated_mean {
            (mean[current], mean_error[current]) = (seated.value, seated.error);
        }
        Self::new(MarketNumbers {
            counts: counts.map(|row| row.map(|n| n / step)),
            prior: visits.map(|n| (n / step + 1.0) / visited),
            kappa: week.kappa,
            mean,
            mean_error,
            variance,
            variance_observations: weeks.map(|n| n / step + week.kappa),
            current: current as u8,
            next_state: week.next_state,
        })
    }

    /// The numbers.
    #[must_use]
    pub fn numbers(&self) -> &MarketNumbers {
        &self.0
    }

    /// The state now, 0..9.
    #[must_use]
    pub fn current(&self) -> usize {
        usize::from(self.0.current)
    }

    /// Weeks behind a row with the prior's: `N[m] + kappa`, the concentration of its Dirichlet posterior.
    ///
    /// # Panics
    /// When there is no such state.
    #[must_use]
    pub fn concentration(&self, state: usize) -> f64 {
        self.0.counts[state].iter().sum::<f64>() + self.0.kappa
    }

    /// P_market, `[state][next state]`: `(N[m, m'] + kappa pi[m']) / (N[m] + kappa)`, the mean of the posterior. The
    /// current row is the mean of that and the network's head, where the head is seated.
    #[must_use]
    pub fn transition(&self) -> [[f64; STATES]; STATES] {
        let MarketNumbers { counts, prior, kappa, .. } = &self.0;
        let counted = |m: usize, next: usize| (counts[m][next] + kappa * prior[next]) / self.concentration(m);
        let mut rows = std::array::from_fn(|m| std::array::from_fn(|next| counted(m, next)));
        if let Some(head) = &self.0.next_state {
            let row: &mut [f64; STATES] = &mut rows[self.current()];
            row.iter_mut().zip(head).for_each(|(p, q)| *p += NEXT_STATE_WEIGHT * (q - *p));
        }
        rows
    }
}

impl MarketPast<'_> {
    fn state(&self, session: usize) -> Option<usize> {
        let state = usize::from((*self.states.get(session)?)?);
        (state < STATES).then_some(state)
    }

    /// Sum of the squared log returns of the week that ends at a session, of four returns scaled to five.
    fn realized_variance(&self, end: usize) -> Option<f64> {
        let week = self.log_return.get(end + 1 - STATE_STEP..=end)?;
        let known = week.iter().filter(|r| r.is_finite());
        let (count, sum) = known.fold((0, 0.0), |(count, sum), r| (count + 1, sum + r * r));
        (count >= MINIMUM_RETURNS).then(|| sum * STATE_STEP as f64 / count as f64)
    }
}

impl TryFrom<MarketNumbers> for MarketProcess {
    type Error = MarketProcessError;
    fn try_from(numbers: MarketNumbers) -> Result<Self, MarketProcessError> {
        Self::new(numbers)
    }
}

impl From<MarketProcess> for MarketNumbers {
    fn from(process: MarketProcess) -> Self {
        process.0
    }
}

/// Scales to a sum of 1; whether that was nearly the sum before.
fn normalize(probabilities: &mut [f64; STATES]) -> bool {
    let total: f64 = probabilities.iter().sum();
    probabilities.iter_mut().for_each(|p| *p /= total);
    (total - 1.0).abs() <= SUM_TOLERANCE
}

/// The nine states of one instrument with plausible, seeded numbers.
#[cfg(test)]
pub(crate) fn sample_process(seed: u64) -> MarketProcess {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let frequencies: [f64; STATES] = std::array::from_fn(|_| 0.2 + random.random::<f64>());
    let total: f64 = frequencies.iter().sum();
    let head: [f64; STATES] = std::array::from_fn(|_| random.random::<f64>() + 0.01);
    let head_total: f64 = head.iter().sum();
    let stays = |m: usize, next: usize| if m == next { 30.0 } else { 3.0 };
    MarketProcess::new(MarketNumbers {
        counts: std::array::from_fn(|m| std::array::from_fn(|next| stays(m, next) * random.random::<f64>())),
        prior: frequencies.map(|f| f / total),
        kappa: KAPPA,
        mean: std::array::from_fn(|_| random.random_range(-0.01..0.012)),
        mean_error: [0.001; STATES],
        variance: std::array::from_fn(|_| random.random_range(0.0002..0.004)),
        variance_observations: std::array::from_fn(|_| random.random_range(8.0..200.0)),
        current: random.random_range(0..STATES as u8),
        next_state: random.random_bool(0.5).then(|| head.map(|p| p / head_total)),
    })
    .unwrap()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn week(next_state: Option<[f64; STATES]>) -> WeekAhead {
        WeekAhead {
            premium: WeekMean { value: 0.001, error: 0.0005 },
            seated_mean: None,
            variance: 0.0025,
            long_run_variance: 0.0016,
            next_state,
            kappa: KAPPA,
        }
    }

    #[test]
    fn the_past_is_counted_in_weeks() {
        // Ten sessions in state 2, then ten in state 7; returns of 1 % and 2 %.
        let states: Vec<Option<u8>> = (0..20).map(|t| Some(if t < 10 { 2 } else { 7 })).collect();
        let log_return: Vec<f64> = (0..20).map(|t| if t < 10 { 0.01 } else { -0.02 }).collect();
        let past = MarketPast { states: &states, log_return: &log_return, session: 19 };
        let process = MarketProcess::of_past(&past, &week(None)).unwrap();
        let numbers = process.numbers();
        assert_eq!((numbers.counts[2][2], numbers.counts[2][7], numbers.counts[7][7]), (1.0, 1.0, 1.0));
        assert!((numbers.prior[2] - 3.0 / 13.0).abs() < 1e-12 && (numbers.prior[0] - 1.0 / 13.0).abs() < 1e-12);
        // Weeks that start in state 2 end in sessions 5 to 14: five of five small squares, then one large more each.
        let mean = (5.0 * 5.0 + (4.0 + 8.0 + 12.0 + 16.0 + 20.0) + (4.0 + 3.0 + 2.0 + 1.0)) * 1e-4 / 10.0;
        assert!((numbers.variance[2] - (2.0 * mean + 8.0 * 0.0016) / 10.0).abs() < 1e-12);
        assert_eq!((numbers.variance[7], numbers.variance[0]), (0.0025, 0.0016));
        assert_eq!((numbers.variance_observations[2], numbers.variance_observations[0]), (10.0, 8.0));
        assert_eq!((process.current(), numbers.mean[7]), (7, 0.001));
        let p = process.transition();
        assert!((p[2][7] - (1.0 + 8.0 * 3.0 / 13.0) / 10.0).abs() < 1e-12);
    }

    #[test]
    fn a_seated_mean_and_head_speak_of_the_current_state_alone() {
        let states = [Some(4); 8];
        let past = MarketPast { states: &states, log_return: &[0.01; 8], session: 7 };
        let mut head = [0.0; STATES];
        head[8] = 1.0;
        let seated = WeekMean { value: 0.004, error: 0.002 };
        let process =
            MarketProcess::of_past(&past, &WeekAhead { seated_mean: Some(seated), ..week(Some(head)) }).unwrap();
        let plain = MarketProcess::of_past(&past, &week(None)).unwrap();
        assert_eq!((process.numbers().mean[4], process.numbers().mean[3]), (0.004, 0.001));
        assert_eq!((process.numbers().mean_error[4], process.numbers().mean_error[3]), (0.002, 0.0005));
        let (blended, counted) = (process.transition(), plain.transition());
        assert!((blended[4][8] - (0.5 + 0.5 * counted[4][8])).abs() < 1e-15);
        assert_eq!(blended[3], counted[3]);
        assert_eq!(process.concentration(4), plain.concentration(4));
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let broken = |change: fn(&mut MarketNumbers)| {
            let mut numbers = sample_process(1).numbers().clone();
            change(&mut numbers);
            MarketProcess::new(numbers).unwrap_err()
        };
        assert_eq!(broken(|n| n.counts[0][1] = -1.0), MarketProcessError::OutOfRange("counts"));
        assert_eq!(broken(|n| n.prior[0] += 0.1), MarketProcessError::OutOfRange("prior"));
        assert_eq!(broken(|n| n.variance[3] = 0.0), MarketProcessError::OutOfRange("variance"));
        assert_eq!(broken(|n| n.mean[3] = f64::NAN), MarketProcessError::OutOfRange("mean"));
        assert_eq!(broken(|n| n.current = 9), MarketProcessError::OutOfRange("current"));
        assert_eq!(broken(|n| n.next_state = Some([0.2; STATES])), MarketProcessError::OutOfRange("next_state"));
        let nowhere = MarketPast { states: &[None], log_return: &[0.0], session: 0 };
        assert_eq!(MarketProcess::of_past(&nowhere, &week(None)), Err(MarketProcessError::NoState));
        assert!((premium_error(0.001, 0.05, 0.16, 16.0) - 0.0008).abs() < 1e-15);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn rows_sum_to_one_and_numbers_survive_json(seed in any::<u64>()) {
            let process = sample_process(seed);
            for row in process.transition() {
                prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9 && row.iter().all(|p| *p > 0.0));
            }
            let json = serde_json::to_string(&process).unwrap();
            let read: MarketProcess = serde_json::from_str(&json).unwrap();
            prop_assert!(read.transition().iter().flatten().zip(process.transition().iter().flatten())
                .all(|(a, b)| (a - b).abs() < 1e-15));
        }

        #[test]
        fn what_comes_later_changes_nothing(seed in any::<u64>(), session in 0..60_usize) {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut states: Vec<Option<u8>> =
                (0..80).map(|_| random.random_bool(0.9).then(|| random.random_range(0..9))).collect();
            states[session] = Some(3);
            let mut log_return: Vec<f64> = (0..80).map(|_| random.random_range(-0.05..0.05)).collect();
            let known = MarketPast { states: &states[..=session], log_return: &log_return[..=session], session };
            let expected = MarketProcess::of_past(&known, &week(None)).unwrap();
            let all = MarketPast { states: &states, log_return: &log_return, session };
            prop_assert_eq!(&MarketProcess::of_past(&all, &week(None)).unwrap(), &expected);
            log_return[session + 1..].fill(f64::NAN);
            let weeks: f64 = expected.numbers().counts.iter().flatten().sum();
            prop_assert!(weeks <= session as f64 / 5.0);
            let gone = MarketPast { states: &states, log_return: &log_return, session };
            prop_assert_eq!(MarketProcess::of_past(&gone, &week(None)).unwrap(), expected);
        }
    }
}

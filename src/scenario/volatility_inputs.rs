//! What the volatility benchmarks look at: rolling variances of every instrument, from the past alone.

use crate::market::bar::Day;
use crate::market::history::{History, InstrumentHistory};
use crate::scenario::index_watch::IndexWatch;
use crate::scenario::windows::{RunningSums, most_of};

/// Daily variances below this count as this (the shared scorer uses the same floor).
pub const VARIANCE_FLOOR: f64 = 1e-8;
/// Windows of the mean squared return, in sessions.
pub const VARIANCE_WINDOWS: [usize; 4] = [5, 20, 60, 252];
/// Windows of the mean range variance, in sessions.
pub const RANGE_WINDOWS: [usize; 4] = [1, 5, 20, 60];
/// How many sessions ago the season windows began.
const SEASONS: [usize; 4] = [63, 126, 189, 252];
/// The longest horizon with season terms: beyond it the quarter's window would reach past the decision day.
const LONGEST_SEASON: usize = 60;
/// Observations behind the expanding mean of ln V20.
const LEVEL_MINIMUM: usize = 250;

/// Names of the numbers of a [`VolatilityRow`], in its order.
pub const VOLATILITY_COLUMNS: [&str; 14] = [
    "log_variance_5",
    "log_variance_20",
    "log_variance_60",
    "log_variance_252",
    "season_quarter",
    "season_year",
    "season_mean",
    "log_variance_level",
    "return_20",
    "log_downside_20",
    "log_range_1",
    "log_range_5",
    "log_range_20",
    "log_range_60",
];
/// Numbers of a row that need no ranges; the others follow them.
pub const WITHOUT_RANGES: usize = 10;

/// The regressors of harX2 on one day, in the order of [`VOLATILITY_COLUMNS`]; NaN where missing.
///
/// `log_variance_w` = ln V(w), V(w) the mean squared log return over w sessions; `season_*` compare F(k), the mean over
/// the window as long as the horizon that began k sessions before the coming one, with V(252); `log_variance_level` is
/// the mean of ln V(20) over all days so far; `log_range_w` is ln of the mean over w sessions of the Garman-Klass (1980)
/// variance plus the squared overnight return.
pub type VolatilityRow = [f64; VOLATILITY_COLUMNS.len()];

/// Rolling columns of every instrument of a history.
#[derive(Debug, Clone)]
pub struct VolatilityInputs {
    sessions: Vec<Day>,
    columns: Vec<Columns>,
}

#[derive(Debug, Clone)]
struct Columns {
    squared: RunningSums,
    downside: RunningSums,
    returns: RunningSums,
    range: RunningSums,
    log_variance_20: RunningSums,
    exponential: Vec<f64>,
    volume: IndexWatch,
}

impl VolatilityInputs {
    /// Computes the columns.
    #[must_use]
    pub fn new(history: &History) -> Self {
        Self { sessions: history.sessions.clone(), columns: history.instruments.iter().map(Columns::new).collect() }
    }

    /// The sessions of the history.
    #[must_use]
    pub fn sessions(&self) -> &[Day] {
        &self.sessions
    }

    /// Number of instruments, in the order of the history.
    #[must_use]
    pub fn instruments(&self) -> usize {
        self.columns.len()
    }

    /// Whether the instrument looked like an index at the close of that session.
    #[must_use]
    pub fn is_index(&self, instrument: usize, session: usize) -> bool {
        self.columns[instrument].volume.is_index(session)
    }

    /// Mean squared log return over the window that ends at the session, at least the floor; `None` when less than four
    /// fifths of it are present.
    #[must_use]
    pub fn variance(&self, instrument: usize, session: usize, window: usize) -> Option<f64> {
        self.columns[instrument].squared.mean_of_most(session, window).map(floored)
    }

    /// Exponentially weighted mean squared log return, weight .94 to the power of the age counted in returns, weights
    /// summing to 1, at least the floor; `None` before the first return.
    #[must_use]
    pub fn exponential_variance(&self, instrument: usize, session: usize) -> Option<f64> {
        let value = self.columns[instrument].exponential[session];
        value.is_finite().then(|| floored(value))
    }

    /// Mean squared log return over the `horizon` sessions after `session`, at least the floor; `None` until the last of
    /// them is there, or when one is missing.
    #[must_use]
    pub fn realized_variance(&self, instrument: usize, session: usize, horizon: usize) -> Option<f64> {
        let end = session + horizon;
        (end < self.sessions.len()).then(|| self.columns[instrument].squared.mean(end, horizon, horizon))?.map(floored)
    }

    /// The regressors for a horizon of that many sessions, NaN where missing.
    #[must_use]
    pub fn row(&self, instrument: usize, session: usize, horizon: usize) -> VolatilityRow {
        let columns = &self.columns[instrument];
        let mut row = [f64::NAN; VOLATILITY_COLUMNS.len()];
        for (value, window) in row.iter_mut().zip(VARIANCE_WINDOWS) {
            *value = log_mean(&columns.squared, session, window);
        }
        let log_year = row[3];
        row[4..7].copy_from_slice(&columns.season(session, horizon, log_year));
        row[7] = columns.log_variance_20.mean(session, session + 1, LEVEL_MINIMUM).unwrap_or(f64::NAN);
        row[8] = columns.returns.mean_of_most(session, 20).map_or(f64::NAN, |_| columns.returns.sum(session, 20));
        row[9] = columns.downside.mean_of_most(session, 20).map_or(f64::NAN, log_downside);
        for (value, window) in row[WITHOUT_RANGES..].iter_mut().zip(RANGE_WINDOWS) {
            *value = log_mean(&columns.range, session, window);
        }
        row
    }

    /// Returns present among the 252 sessions that end at the session.
    #[must_use]
    pub fn returns_in_year(&self, instrument: usize, session: usize) -> usize {
        self.columns[instrument].squared.count(session, 252)
    }

    /// Mean over the universe (no indices) of each regressor on one day; NaN where no instrument has it.
    #[must_use]
    pub fn universe_row(&self, session: usize, horizon: usize) -> VolatilityRow {
        let mut sums = [(0.0, 0.0); VOLATILITY_COLUMNS.len()];
        for instrument in (0..self.instruments()).filter(|i| !self.is_index(*i, session)) {
            for ((sum, count), value) in sums.iter_mut().zip(self.row(instrument, session, horizon)) {
                if value.is_finite() {
                    *sum += value;
                    *count += 1.0;
                }
            }
        }
        sums.map(|(sum, count)| sum / count)
    }

    /// The row of a young instrument, its gaps filled from what there is, shrunk to the universe.
    ///
    /// A window of `w` sessions with `n` of them present takes the weight `n/w` for the instrument's own number over
    /// those `n` and `1 - n/w` for the universe's mean of the day; season terms are the universe's; the level takes
    /// `n/250`. Without a universe the own number stands alone. Range terms stay missing unless those of 1, 5 and 20
    /// sessions are known: the coefficients without ranges serve then.
    #[must_use]
    pub fn filled_row(&self, row: &VolatilityRow, place: Place, universe: &VolatilityRow) -> VolatilityRow {
        let Place { instrument, session } = place;
        let columns = &self.columns[instrument];
        let mut filled = *row;
        let year = log_part(&columns.squared, session, 252);
        let shrunk = |sums: &RunningSums, window: usize, mean: f64, of: &dyn Fn(f64) -> f64| {
            let count = sums.count(session, window);
            let own = if count == 0 { year } else { of(sums.sum(session, window) / count as f64) };
            blend(own, count as f64 / window as f64, mean)
        };
        let log = |mean: f64| floored(mean).ln();
        for (k, window) in VARIANCE_WINDOWS.into_iter().enumerate().filter(|(k, _)| row[*k].is_nan()) {
            filled[k] = shrunk(&columns.squared, window, universe[k], &log);
        }
        for k in (4..7).filter(|k| row[*k].is_nan()) {
            filled[k] = if universe[k].is_finite() { universe[k] } else { 0.0 };
        }
        if row[7].is_nan() {
            let count = columns.log_variance_20.count(session, session + 1);
            let own = columns.log_variance_20.mean(session, session + 1, 1).unwrap_or(year);
            filled[7] = blend(own, count as f64 / LEVEL_MINIMUM as f64, universe[7]);
        }
        if row[8].is_nan() {
            filled[8] = columns.returns.sum(session, 20);
        }
        if row[9].is_nan() {
            filled[9] = shrunk(&columns.downside, 20, universe[9], &log_downside);
        }
        let has_ranges = row[WITHOUT_RANGES..WITHOUT_RANGES + 3].iter().all(|v| v.is_finite());
        if has_ranges && row[13].is_nan() {
            filled[13] = shrunk(&columns.range, 60, universe[13], &log);
        }
        filled
    }
}

/// An instrument on a day, both by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index into the history's instruments.
    pub instrument: usize,
    /// Index into the history's sessions.
    pub session: usize,
}

impl Columns {
    fn new(instrument: &InstrumentHistory) -> Self {
        let returns = &instrument.log_return;
        let squared = RunningSums::new(returns.iter().map(|r| r * r));
        let log_variance_20 = (0..returns.len()).map(|t| log_mean(&squared, t, 20));
        Self {
            log_variance_20: RunningSums::new(log_variance_20),
            downside: RunningSums::new(returns.iter().map(|r| if r.is_nan() { *r } else { r.min(0.0).powi(2) })),
            returns: RunningSums::new(returns.iter().copied()),
            range: RunningSums::new((0..returns.len()).map(|t| range_variance(instrument, t))),
            exponential: exponential(returns),
            volume: IndexWatch::new(instrument),
            squared,
        }
    }

    /// ln F(63) - ln V252, ln F(252) - ln V252, ln mean F - ln V252; 0 beyond the longest season.
    fn season(&self, session: usize, horizon: usize, log_year: f64) -> [f64; 3] {
        if horizon > LONGEST_SEASON {
            return [0.0; 3];
        }
        let past = SEASONS.map(|k| {
            let end = (session + horizon).checked_sub(k);
            end.and_then(|end| self.squared.mean_of_most(end, horizon)).unwrap_or(f64::NAN)
        });
        let mean = past.iter().sum::<f64>() / past.len() as f64;
        [past[0], past[3], mean].map(|f| if f.is_nan() { f } else { floored(f).ln() - log_year })
    }
}

/// Garman-Klass variance of the session plus its squared overnight return; NaN where a price is missing.
fn range_variance(instrument: &InstrumentHistory, t: usize) -> f64 {
    let height = (instrument.high[t] / instrument.low[t]).ln();
    let body = (instrument.close[t] / instrument.open[t]).ln();
    0.5 * height * height - (2.0 * 2f64.ln() - 1.0) * body * body + instrument.overnight_return[t].powi(2)
}

fn exponential(returns: &[f64]) -> Vec<f64> {
    let (mut weighted, mut weights) = (0.0, 0.0);
    let step = |r: &f64| {
        if r.is_finite() {
            weighted = 0.94 * weighted + r * r;
            weights = 0.94 * weights + 1.0;
        }
        weighted / weights
    };
    returns.iter().map(step).collect()
}

fn floored(variance: f64) -> f64 {
    variance.max(VARIANCE_FLOOR)
}

fn log_downside(mean: f64) -> f64 {
    (mean.max(0.0) + VARIANCE_FLOOR).ln()
}

fn log_mean(sums: &RunningSums, session: usize, window: usize) -> f64 {
    sums.mean(session, window, most_of(window)).map_or(f64::NAN, |mean| floored(mean).ln())
}

fn log_part(sums: &RunningSums, session: usize, window: usize) -> f64 {
    sums.mean(session, window, 1).map_or(f64::NAN, |mean| floored(mean).ln())
}

fn blend(own: f64, weight: f64, universe: f64) -> f64 {
    match (own.is_finite(), universe.is_finite()) {
        (true, true) => weight * own + (1.0 - weight) * universe,
        (true, false) => own,
        (false, _) => universe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    fn rows_of(history: &History, session: usize, horizon: usize) -> Vec<VolatilityRow> {
        let inputs = VolatilityInputs::new(history);
        (0..inputs.instruments()).map(|i| inputs.row(i, session, horizon)).collect()
    }

    #[test]
    fn regressors_follow_their_formulas() {
        let history = sample(&Sample::default());
        let (session, instrument) = (600, &history.instruments[5]);
        let row = rows_of(&history, session, 20)[5];
        let squares = |from: usize, until: usize| {
            let window = &instrument.log_return[from..=until];
            window.iter().map(|r| r * r).sum::<f64>() / window.len() as f64
        };
        let range = |t: usize| {
            let (o, h, l, c) = (instrument.open[t], instrument.high[t], instrument.low[t], instrument.close[t]);
            let overnight = (o / instrument.close[t - 1]).ln();
            0.5 * (h / l).ln().powi(2) - (2.0 * 2f64.ln() - 1.0) * (c / o).ln().powi(2) + overnight.powi(2)
        };
        let quarter = squares(session + 1 - 63, session + 20 - 63);
        let downside = instrument.log_return[581..=600].iter().map(|r| r.min(0.0).powi(2)).sum::<f64>() / 20.0;
        let expected = [
            (0, squares(596, 600).ln()),
            (3, squares(349, 600).ln()),
            (4, quarter.ln() - squares(349, 600).ln()),
            (8, instrument.log_return[581..=600].iter().sum()),
            (9, (downside + 1e-8).ln()),
            (10, range(600).ln()),
            (11, ((596..=600).map(range).sum::<f64>() / 5.0).ln()),
        ];
        for (k, value) in expected {
            assert!((row[k] - value).abs() < 1e-9, "{}: {} against {value}", VOLATILITY_COLUMNS[k], row[k]);
        }
        assert_eq!(rows_of(&history, session, 63)[5][4..7], [0.0; 3]);
    }

    #[test]
    fn exponential_weights_sum_to_one_and_skip_gaps() {
        let values = exponential(&[f64::NAN, 0.1, f64::NAN, 0.2]);
        assert!(values[0].is_nan());
        assert!((values[1] - 0.01).abs() < 1e-15 && values[2] == values[1]);
        assert!((values[3] - (0.94 * 0.01 + 0.04) / 1.94).abs() < 1e-15);
    }

    #[test]
    fn later_sessions_change_no_bit() {
        let history = sample(&Sample::default());
        let early = history.until(history.sessions[500]);
        let full = VolatilityInputs::new(&history);
        for (i, row) in rows_of(&early, 500, 20).iter().enumerate() {
            let symbol = &early.instruments[i].instrument.symbol;
            let at = history.instruments.iter().position(|x| x.instrument.symbol == *symbol).unwrap();
            assert_eq!(row.map(f64::to_bits), full.row(at, 500, 20).map(f64::to_bits), "{symbol}");
        }
    }
}

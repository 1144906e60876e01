//! What the network learns from: plain columns of features and targets, one row an instrument on a decision day.
//!
//! A missing number is NaN, in features and in targets alike.

use std::ops::Range;

use crate::learning::task::{CLASSES, HORIZONS, STATES};
use crate::market::horizon::Horizon;

/// What happened over one horizon after the decision day, beside what the benchmarks expected. NaN = not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HorizonTargets {
    /// ln(realized daily variance / the benchmark's forecast of it); the volatility head corrects this benchmark.
    pub log_variance_ratio: f32,
    /// The same for the variance of the daily return in excess of the equal-weighted universe.
    pub log_dispersion_ratio: f32,
    /// (log return - the benchmark's mean) / the benchmark's volatility over the horizon.
    pub scaled_return: f32,
    /// 1 if the log return is positive, else 0.
    pub up: f32,
    /// Base rate of `up` known on the decision day: the offset of the direction head.
    pub benchmark_probability_up: f32,
    /// 1 if the largest fall from the decision day's close or a later peak within the horizon reaches 1.5 volatilities,
    /// else 0.
    pub drawdown: f32,
    /// Base rate of `drawdown` known on the decision day: the offset of the drawdown head.
    pub benchmark_probability_drawdown: f32,
    /// Membership of the fifths of the universe by return, worst first; sums to 1, ties share.
    pub quintile: [f32; CLASSES],
}

impl HorizonTargets {
    /// Nothing known.
    pub const UNKNOWN: Self = Self {
        log_variance_ratio: f32::NAN,
        log_dispersion_ratio: f32::NAN,
        scaled_return: f32::NAN,
        up: f32::NAN,
        benchmark_probability_up: f32::NAN,
        drawdown: f32::NAN,
        benchmark_probability_drawdown: f32::NAN,
        quintile: [f32::NAN; CLASSES],
    };
}

/// Targets of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowTargets {
    /// By horizon, in the order of [`Horizon::ALL`].
    pub horizons: [HorizonTargets; HORIZONS],
    /// Discrete state one week after the decision day, 0..9; [`RowTargets::UNKNOWN_STATE`] when not known.
    pub next_state: u8,
}

impl RowTargets {
    /// Stands for a next state that is not known.
    pub const UNKNOWN_STATE: u8 = u8::MAX;
    /// Nothing known.
    pub const UNKNOWN: Self = Self { horizons: [HorizonTargets::UNKNOWN; HORIZONS], next_state: Self::UNKNOWN_STATE };
}

/// Rows to learn from, ascending by day.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Features in a row.
    pub feature_count: usize,
    /// `[rows][feature_count]`; NaN = missing.
    pub features: Vec<f32>,
    /// Session index of each row's decision day, ascending; differences count sessions.
    pub day_index: Vec<u32>,
    /// Which instrument each row is about.
    pub instrument: Vec<u32>,
    /// Targets of each row.
    pub targets: Vec<RowTargets>,
}

/// The rule of the samples or the plan that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// There are no features.
    #[error("samples have no features")]
    NoFeatures,
    /// A column is not as long as there are rows.
    #[error("column {column} has {found} entries, {expected} are needed")]
    Length {
        /// Name of the column.
        column: &'static str,
        /// Entries it must have.
        expected: usize,
        /// Entries it has.
        found: usize,
    },
    /// Days do not ascend.
    #[error("row {row} is earlier than the row before it")]
    Order {
        /// The first such row.
        row: usize,
    },
    /// A next state is neither 0..9 nor unknown.
    #[error("row {row} has a next state outside 0..9")]
    State {
        /// The first such row.
        row: usize,
    },
    /// The plan leaves nothing to train on or to validate on.
    #[error("the plan leaves {training} training rows and {validation} validation rows")]
    EmptySpan {
        /// Rows before the validation span.
        training: usize,
        /// Rows in the validation span.
        validation: usize,
    },
}

impl Samples {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.day_index.len()
    }

    /// Features of one row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.features[row * self.feature_count..(row + 1) * self.feature_count]
    }

    /// Checks lengths, order and states.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), DatasetError> {
        let rows = self.rows();
        if self.feature_count == 0 {
            return Err(DatasetError::NoFeatures);
        }
        let columns = [
            ("features", rows.saturating_mul(self.feature_count), self.features.len()),
            ("instrument", rows, self.instrument.len()),
            ("targets", rows, self.targets.len()),
        ];
        if let Some((column, expected, found)) = columns.into_iter().find(|(_, expected, found)| expected != found) {
            return Err(DatasetError::Length { column, expected, found });
        }
        if let Some(row) = (1..rows).find(|&row| self.day_index[row] < self.day_index[row - 1]) {
            return Err(DatasetError::Order { row });
        }
        let known = |state: u8| usize::from(state) < STATES || state == RowTargets::UNKNOWN_STATE;
        match self.targets.iter().position(|targets| !known(targets.next_state)) {
            Some(row) => Err(DatasetError::State { row }),
            None => Ok(()),
        }
    }
}

/// Targets of some rows, as far as they were known at the close of a session.
#[derive(Debug, Clone, Copy)]
pub struct KnownTargets<'a> {
    targets: &'a [RowTargets],
    days: &'a [u32],
    until_day: u32,
}

impl<'a> KnownTargets<'a> {
    /// Targets whose last session is not later than `until_day`.
    ///
    /// # Shapes
    /// One day a row; with unequal lengths the shorter counts.
    #[must_use]
    pub fn until(until_day: u32, targets: &'a [RowTargets], days: &'a [u32]) -> Self {
        let rows = targets.len().min(days.len());
        Self { targets: &targets[..rows], days: &days[..rows], until_day }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.targets.len()
    }

    /// Session indices of the decision days.
    #[must_use]
    pub fn days(&self) -> &'a [u32] {
        self.days
    }

    /// Targets of a row, and the number of sessions after its decision day that were known: a target with a longer
    /// horizon must not be looked at.
    #[must_use]
    pub fn row(&self, row: usize) -> (&'a RowTargets, usize) {
        (&self.targets[row], self.until_day.saturating_sub(self.days[row]) as usize)
    }

    /// Targets of a row, if those of a horizon were known.
    #[must_use]
    pub fn at(&self, row: usize, horizon: Horizon) -> Option<&'a RowTargets> {
        let (targets, sessions_known) = self.row(row);
        (horizon.sessions() <= sessions_known).then_some(targets)
    }
}

/// Which days train and which validate. Days are session indices as in [`Samples::day_index`].
///
/// Rows of `until_day` and later, and targets whose last session is later than `until_day`, are not looked at. The last
/// `validation_sessions` before it validate. Earlier rows train, with the targets whose last session is not later than the
/// first validation day: the purge, horizon by horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingPlan {
    /// The session at whose close everything that trains or validates was known.
    pub until_day: u32,
    /// Length of the validation span; 0 for none, all rows then train.
    pub validation_sessions: u32,
}

/// The rows of a plan, with their purged targets.
#[derive(Debug, Clone)]
pub struct Split<'a> {
    /// Rows that train.
    pub training: Range<usize>,
    /// Rows that validate.
    pub validation: Range<usize>,
    /// Targets of the training rows, less those that reach into the validation span.
    pub training_targets: KnownTargets<'a>,
    /// Targets of the validation rows, less those that reach beyond it.
    pub validation_targets: KnownTargets<'a>,
}

impl TrainingPlan {
    /// First day of the validation span, and the last session that training targets may reach.
    #[must_use]
    pub fn validation_from_day(&self) -> u32 {
        self.until_day.saturating_sub(self.validation_sessions)
    }

    /// Splits checked samples.
    ///
    /// # Errors
    /// [`DatasetError::EmptySpan`] when no row trains, or none validates although the plan has a validation span.
    pub fn split<'a>(&self, samples: &'a Samples) -> Result<Split<'a>, DatasetError> {
        let rows_before = |day: u32| samples.day_index.partition_point(|&other| other < day);
        let (first, last) = (rows_before(self.validation_from_day()), rows_before(self.until_day));
        if first == 0 || (last == first && self.validation_sessions > 0) {
            return Err(DatasetError::EmptySpan { training: first, validation: last - first });
        }
        let known = |until: u32, rows: Range<usize>| {
            KnownTargets::until(until, &samples.targets[rows.clone()], &samples.day_index[rows])
        };
        Ok(Split {
            training: 0..first,
            validation: first..last,
            training_targets: known(self.validation_from_day(), 0..first),
            validation_targets: known(self.until_day, first..last),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(days: &[u32]) -> Samples {
        let known = HorizonTargets {
            log_variance_ratio: 0.1,
            log_dispersion_ratio: 0.1,
            scaled_return: 0.2,
            up: 1.0,
            benchmark_probability_up: 0.5,
            drawdown: 0.0,
            benchmark_probability_drawdown: 0.2,
            quintile: [0.2; CLASSES],
        };
        Samples {
            feature_count: 2,
            features: vec![0.0; 2 * days.len()],
            day_index: days.to_vec(),
            instrument: vec![0; days.len()],
            targets: vec![RowTargets { horizons: [known; HORIZONS], next_state: 3 }; days.len()],
        }
    }

    #[test]
    fn purge_leaves_only_targets_known_at_the_cut() {
        let samples = samples(&[0, 95, 96, 100, 105]);
        let split = TrainingPlan { until_day: 105, validation_sessions: 5 }.split(&samples).unwrap();
        assert_eq!((split.training, split.validation), (0..3, 3..4));
        let known =
            |targets: KnownTargets<'_>, row: usize| Horizon::ALL.map(|horizon| targets.at(row, horizon).is_some());
        assert_eq!(known(split.training_targets, 0), [true, true, true, false, false]);
        assert_eq!(known(split.training_targets, 1), [true, false, false, false, false]);
        assert_eq!(known(split.training_targets, 2), [false; HORIZONS]);
        assert_eq!(known(split.validation_targets, 0), [true, false, false, false, false]);
    }

    #[test]
    fn without_validation_every_earlier_row_trains() {
        let samples = samples(&[0, 95, 96, 100, 105]);
        let split = TrainingPlan { until_day: 100, validation_sessions: 0 }.split(&samples).unwrap();
        assert_eq!((split.training, split.validation), (0..3, 3..3));
        assert!(split.training_targets.at(1, Horizon::OneWeek).is_some());
        assert!(split.training_targets.at(2, Horizon::OneWeek).is_none());
    }

    #[test]
    fn empty_spans_are_refused() {
        let samples = samples(&[0, 5, 10]);
        for (until_day, validation_sessions) in [(10, 10), (20, 9), (5, 5), (0, 0), (5, 50)] {
            let plan = TrainingPlan { until_day, validation_sessions };
            let refused = matches!(plan.split(&samples), Err(DatasetError::EmptySpan { .. }));
            assert!(refused, "{until_day} {validation_sessions}");
        }
    }

    #[test]
    fn broken_samples_are_named() {
        let good = samples(&[0, 5, 5]);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Samples::default().check(), Err(DatasetError::NoFeatures));
        let short = Samples { features: vec![0.0; 5], ..good.clone() };
        assert_eq!(short.check(), Err(DatasetError::Length { column: "features", expected: 6, found: 5 }));
        assert_eq!(samples(&[0, 5, 4]).check(), Err(DatasetError::Order { row: 2 }));
        let mut states = good;
        states.targets[1].next_state = 9;
        assert_eq!(states.check(), Err(DatasetError::State { row: 1 }));
    }
}

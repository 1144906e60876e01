//! The tasks the network learns together, and where each head's numbers lie in one output row.

use serde::{Deserialize, Serialize};

use crate::market::horizon::Horizon;

/// Number of horizons; every task but the next state has one head per horizon.
pub const HORIZONS: usize = Horizon::ALL.len();
/// Classes of the cross-sectional rank, worst fifth first.
pub const CLASSES: usize = 5;
/// Discrete states: trend tercile times volatility tercile.
pub const STATES: usize = 9;
/// Heads of the network: six tasks at five horizons and the next state.
pub const HEADS: usize = 6 * HORIZONS + 1;
/// Numbers in one output row: five scalar tasks and one of five classes at each horizon, and nine states.
pub const OUTPUTS: usize = (5 + CLASSES) * HORIZONS + STATES;

/// What a head is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Log of the realized over the benchmark's daily variance.
    Volatility,
    /// Log of the realized over the benchmark's daily variance of the return in excess of the universe.
    Dispersion,
    /// Return in units of the benchmark's volatility.
    Mean,
    /// Probability that the return is positive, as a logit beside the base rate's.
    Direction,
    /// Probability of a drawdown of at least 1.5 volatilities within the horizon, as a logit beside the base rate's.
    Drawdown,
    /// Fifth of the universe by return.
    Rank,
    /// Discrete state one week ahead.
    NextState,
}

impl Task {
    /// All tasks in the order of the output row.
    pub const ALL: [Self; 7] =
        [Self::Volatility, Self::Dispersion, Self::Mean, Self::Direction, Self::Drawdown, Self::Rank, Self::NextState];

    /// Name in reports and files.
    #[must_use]
    pub fn label(self) -> &'static str {
        ["volatility", "dispersion", "mean", "direction", "drawdown", "rank", "next_state"][self as usize]
    }
}

/// One task at one horizon, and its columns in an output row of [`OUTPUTS`] numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What is asked.
    pub task: Task,
    /// Over which horizon; the next state is one week ahead.
    pub horizon: Horizon,
    /// First of its columns.
    pub column: usize,
    /// Number of its columns.
    pub width: usize,
}

impl Head {
    /// The heads in the order of their columns: tasks outside, horizons inside.
    #[must_use]
    pub fn all() -> [Self; HEADS] {
        std::array::from_fn(|index| {
            let task = Task::ALL[index / HORIZONS];
            let scalar_columns = 5 * HORIZONS;
            let (column, width) = match task {
                Task::Rank => (scalar_columns + CLASSES * (index - scalar_columns), CLASSES),
                Task::NextState => (scalar_columns + CLASSES * HORIZONS, STATES),
                _ => (index, 1),
            };
            Self { task, horizon: Horizon::ALL[index % HORIZONS], column, width }
        })
    }

    /// Position of a task's head at a horizon in [`Head::all`].
    #[must_use]
    pub fn index(task: Task, horizon: Horizon) -> usize {
        match task {
            Task::NextState => HEADS - 1,
            _ => task as usize * HORIZONS + horizon.index(),
        }
    }

    /// This head's part of an output row.
    #[must_use]
    pub fn columns(self) -> std::ops::Range<usize> {
        self.column..self.column + self.width
    }

    /// `volatility@4w`; the next state has no horizon in its name.
    #[must_use]
    pub fn label(self) -> String {
        match self.task {
            Task::NextState => self.task.label().to_owned(),
            _ => format!("{}@{}", self.task.label(), self.horizon),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_cover_every_column_once_and_in_order() {
        let mut next = 0;
        for (index, head) in Head::all().into_iter().enumerate() {
            assert_eq!(head.column, next, "{}", head.label());
            assert_eq!(Head::index(head.task, head.horizon), index);
            next += head.width;
        }
        assert_eq!(next, OUTPUTS);
    }

    #[test]
    fn labels_name_task_and_horizon() {
        let heads = Head::all();
        assert_eq!(heads[1].label(), "volatility@4w");
        assert_eq!(heads[29].label(), "rank@52w");
        assert_eq!(heads[30].label(), "next_state");
    }
}

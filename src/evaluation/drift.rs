//! Feature drift of a universe and of each of its instruments: the newest quarter against what the model in force was
//! trained on.

use crate::evaluation::drift_windows::{ColumnDistances, GroupDrift, judge};
use crate::features::table::{FeatureTable, compute};
use crate::features::universe::Universe;
use crate::market::bar::Day;
use crate::market::history::History;
use crate::scenario::volatility_inputs::VolatilityInputs;

/// Sessions between the rows of a window: neighbouring days say nearly the same.
const ROW_SPACING: usize = 3;
/// Sessions after the first bar without rows: the longest feature window.
const FIRST_ROW: usize = 252;
/// An instrument without a bar for more sessions than this has stopped, and has no rows.
const STOPPED_AFTER: usize = 5;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DriftSpan {
    /// Sessions of the recent window, and of each window of the training span.
    pub window_sessions: usize,
    /// Last session that the model in force has learnt from. Of these the recent window's are left out of the reference.
    pub trained_until: Day,
}

/// What is found, by factor in the order of [`crate::features::schema::FactorGroup::ALL`].
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureDrift {
    /// Of all instruments together.
    pub universe: [Option<GroupDrift>; 4],
    /// Of each instrument, in the order of the history.
    pub instruments: Vec<[Option<GroupDrift>; 4]>,
}

/// Measures the drift at the last session of a history. Nothing is found where the training span has no window.
#[must_use]
pub fn feature_drift(history: &History, span: DriftSpan) -> FeatureDrift {
    let windows = windows(history, span);
    let instruments = history.instruments.len();
    if windows.len() < 2 {
        return FeatureDrift { universe: [None; 4], instruments: vec![[None; 4]; instruments] };
    }
    let rows = Rows::of(history, &windows);
    let judged = |chosen: &[usize]| {
        let columns: Vec<ColumnDistances> = (0..rows.table.schema.columns.len())
            .filter_map(|c| ColumnDistances::of(rows.table.schema.columns[c].group, &rows.column(c, chosen)))
            .collect();
        judge(&columns)
    };
    let all: Vec<usize> = (0..instruments).collect();
    FeatureDrift { universe: judged(&all), instruments: all.iter().map(|i| judged(&[*i])).collect() }
}

/// Sessions of the rows of each window; the recent window first, then those of the training span, newest first.
fn windows(history: &History, span: DriftSpan) -> Vec<Vec<usize>> {
    let length = span.window_sessions.max(1);
    let until = |end: usize| (0..length).step_by(ROW_SPACING).map(|back| end - back).collect::<Vec<_>>();
    let Some(last) = history.sessions.len().checked_sub(1).filter(|last| *last >= FIRST_ROW + length) else {
        return vec![];
    };
    let trained = history.session_at(span.trained_until).map(|t| t.min(last - length));
    let ends = trained.into_iter().flat_map(|end| (FIRST_ROW + length - 1..=end).rev().step_by(length));
    std::iter::once(last).chain(ends).map(until).collect()
}

/// The features of all windows, and which rows count.
struct Rows {
    table: FeatureTable,
    /// By window, the positions of its sessions in the table.
    windows: Vec<Vec<usize>>,
    /// By instrument and position in the table.
    alive: Vec<Vec<bool>>,
}

impl Rows {
    fn of(history: &History, windows: &[Vec<usize>]) -> Self {
        let mut sessions = windows.concat();
        sessions.sort_unstable();
        let universe = Universe::new(history);
        let table = compute(history, &VolatilityInputs::new(history), &sessions);
        let position = |t: &usize| sessions.partition_point(|session| session < t);
        let windows = windows.iter().map(|window| window.iter().map(position).collect()).collect();
        let alive = |i: usize| {
            let instrument = &history.instruments[i];
            let traded = |t: usize| instrument.close[t.saturating_sub(STOPPED_AFTER)..=t].iter().any(|c| c.is_finite());
            let old_enough = |t: usize| instrument.first.is_some_and(|first| first + FIRST_ROW <= t);
            sessions.iter().map(|t| old_enough(*t) && traded(*t) && !universe.is_index(i, *t)).collect()
        };
        Self { alive: (0..history.instruments.len()).map(alive).collect(), table, windows }
    }

    /// Values of a column of some instruments, window by window.
    fn column(&self, column: usize, instruments: &[usize]) -> Vec<Vec<f32>> {
        let values = |window: &Vec<usize>| {
            let cells = window.iter().flat_map(|position| instruments.iter().map(move |i| (*position, *i)));
            let alive = cells.filter(|(position, i)| self.alive[*i][*position]);
            alive.map(|(position, i)| self.table.row(position, i)[column]).collect()
        };
        self.windows.iter().map(values).collect()
    }
}

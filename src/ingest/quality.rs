//! The quality report of a price series: what is odd but not impossible.

use crate::ingest::dated::Dated;
use crate::ingest::finding::{Finding, Inspection};
use crate::market::bar::{Action, Bar, BarFields};
use crate::market::calendar;

/// From this many sessions missing in a row on, a gap is reported.
pub const GAP_SESSIONS: usize = 11;

/// From this many unchanged rows without trading in a row on, a series is reported as stale.
pub const STALE_ROWS: usize = 5;

/// A total return beyond this factor, or its inverse, in one session is reported.
const LARGE_MOVE: f64 = 2.0;

/// Reports gaps and stale stretches. `column` names the series in a wide file.
///
/// # Shapes
/// `bars` ascend by day.
pub fn inspect(bars: &[Dated<Bar>], column: Option<&str>, inspection: &mut Inspection) {
    let mut note = |line, reason: String| {
        inspection.warnings.push(Finding { line: Some(line), column: column.map(str::to_owned), reason });
    };
    for pair in bars.windows(2) {
        if let Some(reason) = gap(&pair[0], &pair[1]) {
            note(pair[1].line, reason);
        }
    }
    for run in stale_runs(bars) {
        let (first, last) = (&run[0], &run[run.len() - 1]);
        let reason = format!("{} rows to {} repeat the prices before them without trading", run.len(), last.day);
        note(first.line, reason);
    }
}

/// Reports days on which the exchange is closed.
pub fn inspect_days<T>(rows: &[Dated<T>], inspection: &mut Inspection) {
    let mut closed = rows.iter().filter(|r| !calendar::is_session(r.day));
    if let Some(first) = closed.next() {
        let reason = format!("{} days, {} the first, are no sessions of the exchange", 1 + closed.count(), first.day);
        inspection.warnings.push(Finding::at_line(first.line, reason));
    }
}

/// Reports total returns beyond a factor of two in a session: a split that was forgotten, a slipped decimal point, or
/// a very bad day.
///
/// # Shapes
/// `bars` and `actions` ascend by day.
pub fn inspect_moves(bars: &[Dated<Bar>], actions: &[Action], column: Option<&str>, inspection: &mut Inspection) {
    for pair in bars.windows(2) {
        let (previous, bar) = (pair[0].row, pair[1].row);
        let found = actions.binary_search_by(|a| a.day.cmp(&bar.day()));
        let action = found.map_or(Action { day: bar.day(), split: 1.0, dividend: 0.0 }, |at| actions[at]);
        let total = action.log_return(previous.close(), bar.close()).unwrap_or(f64::INFINITY);
        if total.abs() > LARGE_MOVE.ln() {
            let reason = format!("the total return of {} is {:+.0} %", bar.day(), 100.0 * total.exp_m1());
            inspection.warnings.push(Finding { line: Some(pair[1].line), column: column.map(str::to_owned), reason });
        }
    }
}

fn gap(before: &Dated<Bar>, after: &Dated<Bar>) -> Option<String> {
    // Counting sessions is slow; fewer calendar days than the limit cannot hold as many sessions.
    if after.day.signed_duration_since(before.day).num_days() <= GAP_SESSIONS as i64 {
        return None;
    }
    let missing = calendar::sessions_between(before.day, after.day).saturating_sub(1);
    let reason = || format!("{missing} sessions are missing between {} and {}", before.day, after.day);
    (missing >= GAP_SESSIONS).then(reason)
}

fn stale_runs(bars: &[Dated<Bar>]) -> Vec<&[Dated<Bar>]> {
    let repeats: Vec<bool> = bars.windows(2).map(|pair| is_stale(pair[0].row.fields(), pair[1].row.fields())).collect();
    let mut runs = Vec::new();
    let mut start = 0;
    for group in repeats.chunk_by(|a, b| a == b) {
        if group[0] && group.len() >= STALE_ROWS {
            runs.push(&bars[start + 1..=start + group.len()]);
        }
        start += group.len();
    }
    runs
}

fn is_stale(before: BarFields, after: BarFields) -> bool {
    after.volume.unwrap_or(0.0) == 0.0 && BarFields { day: before.day, volume: before.volume, ..after } == before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::bar::Day;

    fn bars(rows: &[(u32, u32, f64, f64)]) -> Vec<Dated<Bar>> {
        let bar = |(i, (month, date, close, volume)): (usize, &(u32, u32, f64, f64))| {
            let day = Day::from_ymd_opt(2022, *month, *date).unwrap();
            let fields = BarFields { day, open: None, high: None, low: None, close: *close, volume: Some(*volume) };
            Dated { day, line: i as u64 + 2, row: Bar::new(fields).unwrap() }
        };
        rows.iter().enumerate().map(bar).collect()
    }

    fn warnings(rows: &[(u32, u32, f64, f64)]) -> Vec<String> {
        let mut inspection = Inspection::default();
        inspect(&bars(rows), None, &mut inspection);
        inspect_days(&bars(rows), &mut inspection);
        inspection.warnings.kept().iter().map(|f| f.in_file("x")).collect()
    }

    #[test]
    fn gaps_stale_runs_and_closed_days_are_named() {
        assert_eq!(warnings(&[(3, 1, 1.0, 1.0), (3, 16, 1.1, 1.0)]), Vec::<String>::new());
        assert_eq!(
            warnings(&[(3, 1, 1.0, 1.0), (3, 17, 1.1, 1.0)]),
            ["x:3: 11 sessions are missing between 2022-03-01 and 2022-03-17"]
        );
        assert_eq!(
            warnings(&[(3, 4, 1.0, 1.0), (3, 5, 1.1, 1.0)]),
            ["x:3: 1 days, 2022-03-05 the first, are no sessions of the exchange"]
        );
        let flat: Vec<_> = [1, 2, 3, 4, 7, 8].iter().map(|d| (3, *d, 1.0, if *d == 1 { 5.0 } else { 0.0 })).collect();
        assert_eq!(warnings(&flat), ["x:3: 5 rows to 2022-03-08 repeat the prices before them without trading"]);
        assert!(warnings(&flat[..5]).is_empty());
    }
}

//! Rows of a daily table: each day once, in order, none in the future.

use crate::ingest::finding::{Finding, Inspection};
use crate::ingest::table::Row;
use crate::ingest::value;
use crate::market::bar::Day;

/// A row with its day and its line in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Dated<T> {
    /// Day of the row.
    pub day: Day,
    /// Line of the file, from 1.
    pub line: u64,
    /// What the row holds.
    pub row: T,
}

/// Reads the day of a row; notes a problem and gives `None` when it is no day or lies after `today`.
pub fn day_of(row: Row<'_>, column: usize, name: &str, today: Day, inspection: &mut Inspection) -> Option<Day> {
    let reason = match value::day(row.field(column)) {
        Ok(day) if day <= today => return Some(day),
        Ok(day) => format!("{day} lies in the future; today is {today}"),
        Err(reason) => reason,
    };
    inspection.problems.push(Finding::at_field(row.line, name, reason));
    None
}

/// Sorts rows by day and removes repeated ones. Another order than ascending is a warning, an identical repetition as
/// well; two different rows for one day are a problem, because nobody can say which is right.
pub fn in_order<T: PartialEq>(mut rows: Vec<Dated<T>>, inspection: &mut Inspection) -> Vec<Dated<T>> {
    warn_about_order(&rows, inspection);
    rows.sort_by_key(|r| (r.day, r.line));
    rows.dedup_by(|later, earlier| {
        let repeated = later.day == earlier.day;
        if repeated && later.row == earlier.row {
            let reason = format!("{} repeats line {}; one of them is used", later.day, earlier.line);
            inspection.warnings.push(Finding::at_line(later.line, reason));
        } else if repeated {
            let reason = format!("{} appears again with other values than on line {}", later.day, earlier.line);
            inspection.problems.push(Finding::at_line(later.line, reason));
        }
        repeated
    });
    rows
}

fn warn_about_order<T>(rows: &[Dated<T>], inspection: &mut Inspection) {
    let Some(turn) = rows.windows(2).find(|pair| pair[1].day < pair[0].day) else { return };
    let newest_first = rows.windows(2).all(|pair| pair[1].day <= pair[0].day);
    let reason =
        if newest_first { "the rows are newest first; sorted" } else { "the rows are not in order of days; sorted" };
    inspection.warnings.push(Finding::at_line(turn[1].line, reason));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(days: &[(u32, i32)]) -> (Vec<u32>, Inspection) {
        let rows = days.iter().enumerate().map(|(i, (date, value))| Dated {
            day: Day::from_ymd_opt(2024, 10, *date).unwrap(),
            line: i as u64 + 2,
            row: *value,
        });
        let mut inspection = Inspection::default();
        let ordered = in_order(rows.collect(), &mut inspection);
        (ordered.iter().map(|r| chrono::Datelike::day(&r.day)).collect(), inspection)
    }

    #[test]
    fn order_and_repetition_are_settled_or_refused() {
        let (days, inspection) = order(&[(3, 0), (2, 0), (1, 0)]);
        assert_eq!(days, [1, 2, 3]);
        assert!(inspection.warnings.kept()[0].reason.contains("newest first"));
        let (days, inspection) = order(&[(1, 0), (3, 0), (2, 0), (2, 0)]);
        assert_eq!((days.len(), inspection.warnings.total(), inspection.problems.total()), (3, 2, 0));
        let (_, inspection) = order(&[(1, 0), (1, 1)]);
        assert_eq!(inspection.problems.kept()[0].line, Some(3));
    }
}

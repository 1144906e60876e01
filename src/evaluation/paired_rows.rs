//! Two forecasts on exactly the same rows: what both said and what can be scored, as one pair of mean losses a day.

use std::cmp::Ordering;

use crate::evaluation::rank_scorecard::MINIMUM_RANKED;
use crate::evaluation::rank_scores::{CLASS_COUNT, quintile_membership, ranked_probability_score};
use crate::evaluation::report::PairedLosses;
use crate::market::bar::Day;

/// What a row is of: decision day, position of the instrument in the history, quantile (0 for other heads).
pub type RowKey = (Day, usize, u32);

/// One scored row of a forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowLoss {
    /// What it is of.
    pub key: RowKey,
    /// Its loss.
    pub loss: f64,
}

/// One scored row of a rank forecast; its loss depends on the rows it is ranked among.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankedRow {
    /// What it is of.
    pub key: RowKey,
    /// Probabilities of the fifths, worst first.
    pub quintile_probabilities: [f64; CLASS_COUNT],
    /// Realized log return.
    pub realized: f64,
}

/// Mean losses of both forecasts over the rows of one day that they share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedDay {
    /// Decision day.
    pub as_of: Day,
    /// The losses.
    pub losses: PairedLosses,
}

/// Pairs two forecasts row by row, by day ascending; a row that only one of them has does not count.
///
/// Both must ascend by key, each key once.
#[must_use]
pub fn pair_losses(forecast: &[RowLoss], benchmark: &[RowLoss]) -> Vec<PairedDay> {
    let pairs: Vec<(Day, f64, f64)> =
        common(forecast, benchmark, |r| r.key).into_iter().map(|(a, b)| (a.key.0, a.loss, b.loss)).collect();
    let day = |rows: &[(Day, f64, f64)]| paired_day(rows[0].0, rows.iter().map(|r| (r.1, r.2)));
    pairs.chunk_by(|a, b| a.0 == b.0).filter_map(day).collect()
}

/// Pairs two rank forecasts by day ascending: the instruments that both rank are ranked among each other, and a day counts
/// with at least [`MINIMUM_RANKED`] of them.
///
/// Both must ascend by key, each key once.
#[must_use]
pub fn pair_ranks(forecast: &[RankedRow], benchmark: &[RankedRow]) -> Vec<PairedDay> {
    let day = |rows: &[(&RankedRow, &RankedRow)]| {
        let classes = quintile_membership(&rows.iter().map(|r| r.0.realized).collect::<Vec<_>>());
        let score = |row: &RankedRow, class| ranked_probability_score(&row.quintile_probabilities, class);
        paired_day(rows[0].0.key.0, rows.iter().zip(&classes).map(|((a, b), class)| (score(a, class), score(b, class))))
    };
    let rows = common(forecast, benchmark, |r| r.key);
    let days = rows.chunk_by(|a, b| a.0.key.0 == b.0.key.0);
    days.filter(|rows| rows.len() >= MINIMUM_RANKED).filter_map(day).collect()
}

fn paired_day(as_of: Day, losses: impl Iterator<Item = (f64, f64)>) -> Option<PairedDay> {
    Some(PairedDay { as_of, losses: PairedLosses::of(losses)? })
}

/// The rows of both with the same key.
fn common<'r, Row>(left: &'r [Row], right: &'r [Row], key: impl Fn(&Row) -> RowKey) -> Vec<(&'r Row, &'r Row)> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let mut pairs = Vec::new();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match key(a).cmp(&key(b)) {
            Ordering::Less => drop(left.next()),
            Ordering::Greater => drop(right.next()),
            Ordering::Equal => pairs.extend(left.next().zip(right.next())),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: u32) -> Day {
        Day::from_ymd_opt(2024, 1, number).unwrap()
    }

    fn row(number: u32, instrument: usize, loss: f64) -> RowLoss {
        RowLoss { key: (day(number), instrument, 0), loss }
    }

    #[test]
    fn only_common_rows_are_paired() {
        let ours = [row(1, 0, 1.0), row(1, 2, 3.0), row(2, 0, 9.0), row(3, 1, 4.0)];
        let theirs = [row(1, 0, 2.0), row(1, 1, 50.0), row(1, 2, 6.0), row(3, 1, 1.0), row(4, 1, 7.0)];
        let paired = |rows, loss, benchmark_loss| PairedLosses { rows, loss, benchmark_loss };
        let expected = [
            PairedDay { as_of: day(1), losses: paired(2, 2.0, 4.0) },
            PairedDay { as_of: day(3), losses: paired(1, 4.0, 1.0) },
        ];
        assert_eq!(pair_losses(&ours, &theirs), expected);
        assert!(pair_losses(&ours, &[]).is_empty() && pair_losses(&[], &[]).is_empty());
    }

    fn ranked(instruments: std::ops::Range<usize>, quintile_probabilities: [f64; CLASS_COUNT]) -> Vec<RankedRow> {
        let row = |i| RankedRow { key: (day(1), i, 0), quintile_probabilities, realized: i as f64 };
        instruments.map(row).collect()
    }

    #[test]
    fn ranks_are_scored_among_the_common_instruments() {
        let (uniform, worst) = (ranked(0..25, [0.2; 5]), ranked(5..30, [1.0, 0.0, 0.0, 0.0, 0.0]));
        let paired = pair_ranks(&uniform, &worst);
        let [PairedDay { losses, .. }] = paired[..] else { panic!("{paired:?}") };
        assert_eq!(losses.rows, 20);
        // A fifth in each class: uniform scores .16, "all in the worst fifth" (0 + 1 + 2 + 3 + 4) / 5 / 5.
        assert!((losses.loss - 0.16).abs() < 1e-12 && (losses.benchmark_loss - 0.4).abs() < 1e-12, "{losses:?}");
        assert!(pair_ranks(&uniform, &ranked(6..30, [0.2; 5])).is_empty(), "19 instruments are too few");
    }
}

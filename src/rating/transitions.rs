//! How grades changed within a year, counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::scale::Grade;

/// Counts of where grades went. Compact: only pairs that occurred.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transitions {
    /// Ascending by the grades; `None` for one that was no longer rated.
    pub counts: Vec<Transition>,
}

/// One pair of grades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Transition {
    /// The grade at first.
    pub from: Grade,
    /// The grade after the period; `None` when it was withdrawn.
    pub to: Option<Grade>,
    /// How often.
    pub count: usize,
}

/// A row of the matrix in letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LetterRow {
    /// The letter at first: `Aaa`, `Aa`, `A`, `Baa`, `Ba`, `B`, `Caa`, `Ca`, `C`.
    pub from: &'static str,
    /// Ratings that began there.
    pub count: usize,
    /// Counts after the period, in the order of [`LETTERS`].
    pub to: [usize; LETTERS.len()],
    /// No longer rated.
    pub withdrawn: usize,
}

/// The grades without their notches, best first.
pub const LETTERS: [&str; 9] = ["Aaa", "Aa", "A", "Baa", "Ba", "B", "Caa", "Ca", "C"];

/// The place of a grade's letter in [`LETTERS`].
#[must_use]
pub fn letter(grade: Grade) -> usize {
    let name = grade.as_str().trim_end_matches(|c: char| c.is_ascii_digit());
    LETTERS.iter().position(|letter| *letter == name).unwrap_or(LETTERS.len() - 1)
}

impl Transitions {
    /// Counts pairs of a grade and what it became.
    #[must_use]
    pub fn count(pairs: impl IntoIterator<Item = (Grade, Option<Grade>)>) -> Self {
        let mut counts: BTreeMap<(Grade, Option<Grade>), usize> = BTreeMap::new();
        for pair in pairs {
            *counts.entry(pair).or_default() += 1;
        }
        let transition = |((from, to), count)| Transition { from, to, count };
        Self { counts: counts.into_iter().map(transition).collect() }
    }

    /// The matrix in letters; letters in which nothing began have counts of 0.
    #[must_use]
    pub fn by_letter(&self) -> Vec<LetterRow> {
        let empty = |from| LetterRow { from, count: 0, to: [0; LETTERS.len()], withdrawn: 0 };
        let mut rows: Vec<LetterRow> = LETTERS.map(empty).into();
        for Transition { from, to, count } in &self.counts {
            let row = &mut rows[letter(*from)];
            row.count += count;
            match to {
                Some(to) => row.to[letter(*to)] += count,
                None => row.withdrawn += count,
            }
        }
        rows
    }

    /// Share of ratings that stayed on their notch, and share that stayed within one, of those still rated.
    #[must_use]
    pub fn stability(&self) -> Option<(f64, f64)> {
        let within = |notches: usize| {
            let near = |t: &&Transition| t.to.is_some_and(|to| (to as usize).abs_diff(t.from as usize) <= notches);
            self.counts.iter().filter(near).map(|t| t.count).sum::<usize>() as f64
        };
        let rated = within(usize::MAX);
        (rated > 0.0).then(|| (within(0) / rated, within(1) / rated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_leave_the_notch_away() {
        let found: Vec<&str> = Grade::ALL.map(|g| LETTERS[letter(g)]).into();
        assert_eq!(found[..8], ["Aaa", "Aa", "Aa", "Aa", "A", "A", "A", "Baa"]);
        assert_eq!(found[16..], ["Caa", "Caa", "Caa", "Ca", "C"]);
    }

    #[test]
    fn pairs_are_counted() {
        let pairs = [(Grade::A1, Some(Grade::A2)), (Grade::A1, Some(Grade::A2)), (Grade::A1, None)];
        let transitions = Transitions::count(pairs);
        assert_eq!(transitions.counts.len(), 2);
        let row = &transitions.by_letter()[2];
        assert_eq!((row.count, row.to[2], row.withdrawn), (3, 2, 1));
        assert_eq!(transitions.stability(), Some((0.0, 1.0)));
        assert_eq!(Transitions::default().stability(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn no_pair_is_lost(pairs in prop::collection::vec((0..21_usize, prop::option::of(0..21_usize)), 0..60)) {
            let grades = pairs.iter().map(|(a, b)| (Grade::ALL[*a], b.map(|b| Grade::ALL[b])));
            let rows = Transitions::count(grades).by_letter();
            let moved: usize = rows.iter().map(|r| r.to.iter().sum::<usize>() + r.withdrawn).sum();
            prop_assert_eq!(moved, pairs.len());
            prop_assert!(rows.iter().all(|r| r.count == r.to.iter().sum::<usize>() + r.withdrawn));
        }
    }
}

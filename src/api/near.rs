//! Names that look alike: what a person who mistyped a symbol or a model may have meant.

use crate::market::instrument::Symbol;

/// At most so many names are suggested.
const SUGGESTIONS_MAX: usize = 5;
/// Longer than any symbol or model's name.
const NAME_MAX_BYTES: usize = 64;

/// Known symbols that look like `asked`, the likeliest first: at most two edits away (one for symbols of up to three
/// characters), or longer by an ending.
#[must_use]
pub fn near_matches<'a>(asked: &Symbol, known: impl Iterator<Item = &'a Symbol>) -> Vec<String> {
    near_names(asked.as_str(), known.map(Symbol::as_str))
}

/// The same for names of any kind; of a text that is longer than any name nothing is near.
#[must_use]
pub fn near_names<'a>(asked: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    if asked.len() > NAME_MAX_BYTES {
        return Vec::new();
    }
    let allowed = if asked.len() <= 3 { 1 } else { 2 };
    let mut found: Vec<(usize, &str)> = known
        .filter_map(|name| {
            let distance = edit_distance(asked, name);
            let extends = asked.len() >= 2 && name.starts_with(asked);
            (distance <= allowed || extends).then_some((distance, name))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name.to_owned()).collect()
}

/// Edits between two texts, byte by byte: insert, delete, replace, or swap two neighbours (optimal string alignment).
#[must_use]
pub fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_distances() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "AB", 2),
            ("BABA", "BABA", 0),
            ("BABA", "ABBA", 1),
            ("BABA", "BAB", 1),
            ("KITTEN", "SITTING", 3),
        ] {
            assert_eq!(edit_distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn the_likeliest_name_comes_first() {
        let known: Vec<Symbol> = ["AAPL", "BABA", "BA", "BIDU", "BRK-B"].map(|s| Symbol::parse(s).unwrap()).into();
        let near = |text: &str| near_matches(&Symbol::parse(text).unwrap(), known.iter());
        assert_eq!(near("BABAA"), ["BABA"]);
        assert_eq!(near("BRK"), ["BRK-B"]);
        assert_eq!(near("APPL"), ["AAPL"]);
        assert!(near("ZZZZZZ").is_empty());
        let models = ["2024-09-30.3f9c12ab", "2024-09-27.3f9c12ab", "2023-12-29.00ff00ff"];
        assert_eq!(near_names("2024-09-30.3f9c12aB", models.into_iter()), models[..1]);
        assert_eq!(near_names("2023-12-29", models.into_iter()), models[2..]);
        assert!(near_names(&"2".repeat(65), models.into_iter()).is_empty());
    }

    proptest! {
        #[test]
        fn a_distance_is_symmetric_and_bounded_by_the_longer_text(a in "[A-D]{0,8}", b in "[A-D]{0,8}") {
            let distance = edit_distance(&a, &b);
            prop_assert_eq!(distance, edit_distance(&b, &a));
            prop_assert!(distance <= a.len().max(b.len()));
            prop_assert!(distance >= a.len().abs_diff(b.len()));
            prop_assert_eq!(distance == 0, a == b);
        }
    }
}

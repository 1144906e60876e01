//! The 21 grades, and the default probabilities that separate them.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::probability::Probability;

/// Years of the idealized table.
const TABLE_YEARS: f64 = 10.0;

/// Grades given by probability: all but C.
const GRADED: usize = 20;

/// A grade of the agency-style scale, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the grades are their own names")]
pub enum Grade {
    Aaa,
    Aa1,
    Aa2,
    Aa3,
    A1,
    A2,
    A3,
    Baa1,
    Baa2,
    Baa3,
    Ba1,
    Ba2,
    Ba3,
    B1,
    B2,
    B3,
    Caa1,
    Caa2,
    Caa3,
    Ca,
    /// For a recorded default only.
    C,
}

impl Grade {
    /// All grades, best first.
    #[rustfmt::skip]
    pub const ALL: [Self; 21] = [
        Self::Aaa, Self::Aa1, Self::Aa2, Self::Aa3, Self::A1, Self::A2, Self::A3,
        Self::Baa1, Self::Baa2, Self::Baa3, Self::Ba1, Self::Ba2, Self::Ba3, Self::B1, Self::B2, Self::B3,
        Self::Caa1, Self::Caa2, Self::Caa3, Self::Ca, Self::C,
    ];

    /// The name, `Aaa` to `C`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        [
            "Aaa", "Aa1", "Aa2", "Aa3", "A1", "A2", "A3", "Baa1", "Baa2", "Baa3", "Ba1", "Ba2", "Ba3", "B1", "B2",
            "B3", "Caa1", "Caa2", "Caa3", "Ca", "C",
        ][self as usize]
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Grade {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|grade| grade.as_str() == text);
        found.ok_or_else(|| format!("unknown grade {text:?}; known are Aaa, Aa1 .. Caa3, Ca, C"))
    }
}

/// The idealized ten-year default probability of each grade from Aaa to Ca, strictly rising, between 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    ten_year: [f64; GRADED],
}

impl Scale {
    /// The table kept beside this file, parsed once; its source is named in the file.
    #[must_use]
    pub fn idealized() -> &'static Self {
        static SCALE: OnceLock<Scale> = OnceLock::new();
        SCALE.get_or_init(|| {
            Self::parse(include_str!("scale.csv")).expect("the table is part of the program, and a test reads it")
        })
    }

    /// Reads a table `grade,idealized_ten_year_percent`, all 21 grades in order, lines with # left out.
    ///
    /// # Errors
    /// [`ScaleError`] when a line cannot be read, a grade is missing or out of order, or the probabilities do not rise.
    pub fn parse(text: &str) -> Result<Self, ScaleError> {
        let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
        let rows: Vec<(String, f64)> = reader
            .deserialize()
            .collect::<Result<_, _>>()
            .map_err(|error| ScaleError::Unreadable(error.to_string()))?;
        if rows.len() != Grade::ALL.len() {
            return Err(ScaleError::Rows(rows.len()));
        }
        if let Some((grade, _)) = Grade::ALL.iter().zip(&rows).find(|(grade, (name, _))| name != grade.as_str()) {
            return Err(ScaleError::Order(*grade));
        }
        let mut ten_year = [0.0; GRADED];
        let mut previous = 0.0;
        for (slot, (grade, (_, percent))) in ten_year.iter_mut().zip(Grade::ALL.iter().zip(&rows)) {
            *slot = percent / 100.0;
            if !(*slot > previous && *slot < 1.0) {
                return Err(ScaleError::NotRising(*grade));
            }
            previous = *slot;
        }
        Ok(Self { ten_year })
    }

    /// Idealized default probability over `years` of each grade from Aaa to Ca: `PD_T = 1 - (1 - PD_10)^(T/10)`.
    #[must_use]
    pub fn default_probabilities(&self, years: f64) -> [f64; GRADED] {
        // ln_1p and exp_m1 keep the digits of the small ones.
        self.ten_year.map(|ten_year| -((-ten_year).ln_1p() * years / TABLE_YEARS).exp_m1())
    }

    /// The 19 probabilities between neighbouring grades from Aaa to Ca, rising: `sqrt(PD_T(g) PD_T(next))`.
    #[must_use]
    pub fn cut_points(&self, years: f64) -> [f64; GRADED - 1] {
        let probabilities = self.default_probabilities(years);
        std::array::from_fn(|position| (probabilities[position] * probabilities[position + 1]).sqrt())
    }
}

/// The grade of a default probability over `years`, Aaa to Ca; at a cut point the worse of the two.
#[must_use]
pub fn grade(default_probability: Probability, years: f64, scale: &Scale) -> Grade {
    let passed = scale.cut_points(years).into_iter().filter(|&cut| cut <= default_probability.value()).count();
    Grade::ALL[passed]
}

/// Which rule a table of the scale breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// Not a table of names and numbers.
    #[error("the scale cannot be read: {0}")]
    Unreadable(String),
    /// Not one row a grade.
    #[error("the scale needs 21 rows, not {0}")]
    Rows(usize),
    /// Another grade in this place.
    #[error("the row of {0} is missing or out of order")]
    Order(Grade),
    /// Not above the grade before, or not between 0 and 1.
    #[error("the probability of {0} does not rise, or is not between 0 and 100 percent")]
    NotRising(Grade),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn probability(value: f64) -> Probability {
        Probability::new(value).unwrap()
    }

    #[test]
    fn cut_points_are_geometric_midpoints_of_the_table() {
        let ten = Scale::idealized().cut_points(10.0);
        assert_eq!(ten.len(), 19);
        assert!((ten[0] - (0.0001_f64 * 0.001).sqrt()).abs() < 1e-12);
        assert!((ten[9] - (0.061_f64 * 0.094).sqrt()).abs() < 1e-12);
        assert!((ten[18] - (0.807_f64 * 0.9998).sqrt()).abs() < 1e-12);
        let one = Scale::idealized().cut_points(1.0);
        let yearly = |ten_year: f64| 1.0 - (1.0 - ten_year).powf(0.1);
        assert!((one[9] - (yearly(0.061) * yearly(0.094)).sqrt()).abs() < 1e-12);
        assert!(one.iter().zip(&ten).all(|(short, long)| short < long));
    }

    #[test]
    fn every_cut_point_follows_the_published_formula() {
        let percent = [
            0.01, 0.1, 0.2, 0.4, 0.7, 1.2, 1.8, 2.6, 3.6, 6.1, 9.4, 13.5, 17.66, 22.2, 27.2, 34.9, 47.7, 65.0, 80.7,
            99.98,
        ];
        for years in [1.0, 5.0, 10.0] {
            let within = |k: usize| 1.0 - (1.0 - percent[k] / 100.0_f64).powf(years / 10.0);
            for (k, cut) in Scale::idealized().cut_points(years).into_iter().enumerate() {
                assert!((cut - (within(k) * within(k + 1)).sqrt()).abs() < 1e-9, "{years} {k}: {cut}");
            }
        }
    }

    #[test]
    fn the_tables_own_probabilities_get_their_own_grades() {
        for years in [1.0, 5.0, 10.0] {
            let probabilities = Scale::idealized().default_probabilities(years);
            for (given, expected) in probabilities.iter().zip(Grade::ALL) {
                assert_eq!(grade(probability(*given), years, Scale::idealized()), expected);
            }
        }
        assert_eq!(grade(Probability::ZERO, 1.0, Scale::idealized()), Grade::Aaa);
        assert_eq!(grade(Probability::ONE, 10.0, Scale::idealized()), Grade::Ca, "C is for recorded defaults only");
        assert_eq!(grade(probability(0.099), 10.0, Scale::idealized()), Grade::Ba1);
    }

    #[test]
    fn a_damaged_table_is_refused() {
        let table = include_str!("scale.csv");
        assert!(matches!(Scale::parse("grade,p\nAaa,x\n"), Err(ScaleError::Unreadable(_))));
        assert_eq!(Scale::parse("grade,p\nAaa,0.1\n"), Err(ScaleError::Rows(1)));
        assert_eq!(Scale::parse(&table.replace("Baa1", "Bbb1")), Err(ScaleError::Order(Grade::Baa1)));
        assert_eq!(Scale::parse(&table.replace("A2,1.2", "A2,0.2")), Err(ScaleError::NotRising(Grade::A2)));
        assert_eq!(Scale::parse(&table.replace("Ca,99.98", "Ca,100")), Err(ScaleError::NotRising(Grade::Ca)));
    }

    #[test]
    fn names_round_trip() {
        for grade in Grade::ALL {
            assert_eq!(grade.as_str().parse::<Grade>().unwrap(), grade);
            assert_eq!(serde_json::to_string(&grade).unwrap(), format!("\"{grade}\""));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_higher_probability_never_improves_the_grade(one in 0.0..=1.0_f64, other in 0.0..=1.0_f64, years in 0.1..20.0_f64) {
            let (low, high) = (probability(one.min(other)), probability(one.max(other)));
            prop_assert!(grade(low, years, Scale::idealized()) <= grade(high, years, Scale::idealized()));
        }
    }
}

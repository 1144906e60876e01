//! Names, groups and order of the feature columns.

use serde::{Deserialize, Serialize};

use crate::features::{fundamentals, market, momentum, risk};

/// Version of the formulas behind the names: a change of any formula raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// The four factors of the attribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorGroup {
    /// The market and what drives it.
    Market,
    /// Past returns.
    Momentum,
    /// Filings.
    Fundamentals,
    /// Volatility, tails and trading.
    Risk,
}

impl FactorGroup {
    /// All groups, in the order of the columns.
    pub const ALL: [Self; 4] = [Self::Market, Self::Momentum, Self::Fundamentals, Self::Risk];

    /// Word used in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::Momentum => "momentum",
            Self::Fundamentals => "fundamentals",
            Self::Risk => "risk",
        }
    }

    /// The group's own columns, and those of them that also get a rank.
    fn names(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Market => (&market::NAMES, &market::RANKED),
            Self::Momentum => (&momentum::NAMES, &momentum::RANKED),
            Self::Fundamentals => (&fundamentals::NAMES, &fundamentals::RANKED),
            Self::Risk => (&risk::NAMES, &risk::RANKED),
        }
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FeatureColumn {
    /// Name; a cross-sectional rank ends in `_rank`.
    pub name: String,
    /// Factor it belongs to.
    pub group: FactorGroup,
}

/// The columns of a feature table, in order. Two schemas are compatible when they are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FeatureSchema {
    /// [`SCHEMA_VERSION`] of the code that computed the columns.
    pub version: u32,
    /// Columns: group by group, each group's numbers before its ranks.
    pub columns: Vec<FeatureColumn>,
}

impl FeatureSchema {
    /// Position of a column.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Positions of a group's columns; they are adjacent.
    #[must_use]
    pub fn group(&self, group: FactorGroup) -> std::ops::Range<usize> {
        let start = self.columns.iter().position(|c| c.group == group).unwrap_or(self.columns.len());
        start..start + self.columns[start..].iter().take_while(|c| c.group == group).count()
    }
}

/// The schema of this code.
#[must_use]
pub fn schema() -> FeatureSchema {
    let columns = FactorGroup::ALL.into_iter().flat_map(|group| {
        let (names, ranked) = group.names();
        let plain = names.iter().map(|name| (*name).to_owned());
        let ranks = ranked.iter().map(|name| format!("{name}_rank"));
        plain.chain(ranks).map(move |name| FeatureColumn { name, group })
    });
    FeatureSchema { version: SCHEMA_VERSION, columns: columns.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_groups_adjacent() {
        let schema = schema();
        let names: BTreeSet<&str> = schema.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names.len(), schema.columns.len());
        let counted: usize = FactorGroup::ALL.into_iter().map(|g| schema.group(g).len()).sum();
        assert_eq!(counted, schema.columns.len());
        assert!((50..=80).contains(&counted), "{counted} columns");
    }

    #[test]
    fn every_rank_has_its_column() {
        for group in FactorGroup::ALL {
            let (names, ranked) = group.names();
            assert!(ranked.iter().all(|name| names.contains(name)), "{group:?}");
        }
    }

    #[test]
    fn a_schema_survives_json() {
        let text = serde_json::to_string(&schema()).unwrap();
        assert_eq!(serde_json::from_str::<FeatureSchema>(&text).unwrap(), schema());
    }
}

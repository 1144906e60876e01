//! The split basis of stored prices against that of filings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::features::share_counts::{Prices, examine};
use crate::market::bar::Day;
use crate::market::history::History;
use crate::market::instrument::Symbol;

/// Splits that the prices already contain although no action records them, found as jumps between filed share counts.
///
/// Downloads restate every earlier close after a split; filings keep the counts of their day. The unit of a stored close
/// is a property of the download, not something known on the day of the close, so it is inferred from all filings of the
/// history given and kept apart from what features know: the same basis must serve a history and its earlier parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PriceBasis {
    /// Per symbol the days of the first filings on a new basis, ascending, with new units for one old.
    splits: BTreeMap<Symbol, Vec<(Day, f64)>>,
}

impl PriceBasis {
    /// Infers the basis of every instrument.
    #[must_use]
    pub fn infer(history: &History) -> Self {
        let mut splits = BTreeMap::new();
        for instrument in &history.instruments {
            let counts = examine(&instrument.filings, Prices { sessions: &history.sessions, instrument });
            let jumps: Vec<(Day, f64)> = counts.iter().filter(|c| c.jump != 1.0).map(|c| (c.filed, c.jump)).collect();
            if !jumps.is_empty() {
                splits.insert(instrument.instrument.symbol.clone(), jumps);
            }
        }
        Self { splits }
    }

    /// Units on the basis of the prices for one unit on the basis of a filing of that day, recorded splits aside.
    #[must_use]
    pub fn factor_after(&self, symbol: &Symbol, filed: Day) -> f64 {
        let later = self.splits.get(symbol).into_iter().flatten().filter(|(day, _)| *day > filed);
        later.map(|(_, factor)| factor).product()
    }

    /// The unrecorded splits of an instrument: days of the first filings on the new basis, new units for one old.
    #[must_use]
    pub fn splits(&self, symbol: &Symbol) -> &[(Day, f64)] {
        self.splits.get(symbol).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn only_unrecorded_splits_count() {
        let mut history = sample(&Sample::default());
        assert_eq!(PriceBasis::infer(&history), PriceBasis::default(), "the split of TEST3 is recorded");
        let at = history.instruments.iter().position(|i| i.instrument.symbol.as_str() == "TEST3").unwrap();
        let symbol = history.instruments[at].instrument.symbol.clone();
        let split_at = history.instruments[at].split.iter().position(|s| *s != 1.0).unwrap();
        history.instruments[at].split[split_at] = 1.0;
        let basis = PriceBasis::infer(&history);
        assert_eq!(basis.splits(&symbol).len(), 1);
        assert_eq!(basis.factor_after(&symbol, history.sessions[0]), 4.0);
        assert_eq!(basis.factor_after(&symbol, history.sessions[699]), 1.0);
    }
}

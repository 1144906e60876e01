//! Telling indices from tradable instruments, at any session of a history.

use crate::market::history::InstrumentHistory;
use crate::market::instrument::InstrumentKind;

/// When an instrument counts as an index: by kind, or as long as its volume has always been zero. Unlike
/// [`InstrumentHistory::is_index`] it looks at no later session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexWatch {
    by_kind: bool,
    first_known: usize,
    first_traded: usize,
}

impl IndexWatch {
    /// Looks through the volumes once.
    #[must_use]
    pub fn new(instrument: &InstrumentHistory) -> Self {
        let first =
            |found: &dyn Fn(f64) -> bool| instrument.volume.iter().position(|v| found(*v)).unwrap_or(usize::MAX);
        Self {
            by_kind: instrument.instrument.kind == InstrumentKind::Index,
            first_known: first(&f64::is_finite),
            first_traded: first(&|v| v > 0.0),
        }
    }

    /// Whether the instrument looked like an index at the close of that session.
    #[must_use]
    pub fn is_index(&self, session: usize) -> bool {
        self.by_kind || (self.first_known <= session && self.first_traded > session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn a_series_is_an_index_until_it_trades() {
        let mut history = sample(&Sample { sessions: 6, ..Sample::default() });
        let instrument = &mut history.instruments[0];
        instrument.volume = vec![f64::NAN, 0.0, 0.0, 7.0, 0.0, 9.0];
        let watch = IndexWatch::new(instrument);
        assert_eq!([0, 1, 2, 3, 4, 5].map(|t| watch.is_index(t)), [false, true, true, false, false, false]);
        instrument.volume.fill(f64::NAN);
        assert!(!IndexWatch::new(instrument).is_index(5), "closes alone do not make an index");
        instrument.instrument.kind = InstrumentKind::Index;
        assert!(IndexWatch::new(instrument).is_index(0));
    }
}

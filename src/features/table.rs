//! All features of all instruments on chosen sessions.

use crate::features::balance_sheet::FilingTimeline;
use crate::features::fundamentals;
use crate::features::market::{MarketColumns, MarketState};
use crate::features::momentum::{MomentumColumns, universe_sums};
use crate::features::price_basis::PriceBasis;
use crate::features::risk::RiskColumns;
use crate::features::schema::{FactorGroup, FeatureSchema, schema};
use crate::features::universe::Universe;
use crate::market::history::{History, InstrumentHistory};
use crate::scenario::volatility_inputs::VolatilityInputs;
use crate::scenario::windows::RunningSums;

/// Instruments that a cross-sectional rank needs.
const RANKED_MINIMUM: usize = 5;

/// Features as computed, before any standardization; NaN = missing.
#[derive(Debug, Clone)]
pub struct FeatureTable {
    /// Columns of a row.
    pub schema: FeatureSchema,
    /// Sessions of the history that have rows.
    pub sessions: Vec<usize>,
    /// Instruments of the history; all have a row on every session.
    pub instruments: usize,
    values: Vec<f32>,
}

/// Computes the features at the closes of the given sessions.
///
/// The split basis of the prices is inferred from all filings of the history given; see [`compute_on_basis`].
///
/// # Shapes
/// `[sessions][instruments][columns]`, in the order of `sessions`, of the history and of [`schema`].
#[must_use]
pub fn compute(history: &History, inputs: &VolatilityInputs, sessions: &[usize]) -> FeatureTable {
    compute_on_basis(history, inputs, &PriceBasis::infer(history), sessions)
}

/// [`compute`] with the split basis of the prices given, so that a walk through the past uses one basis for all its
/// days. `inputs` must be of the same history. Given the basis, a row is a function of what was known at its session.
///
/// # Shapes
/// As [`compute`].
///
/// # Panics
/// When a session is not one of the history's.
#[must_use]
pub fn compute_on_basis(
    history: &History,
    inputs: &VolatilityInputs,
    basis: &PriceBasis,
    sessions: &[usize],
) -> FeatureTable {
    let (schema, instruments) = (schema(), history.instruments.len());
    let values = vec![f32::NAN; sessions.len() * instruments * schema.columns.len()];
    let mut table = FeatureTable { schema, sessions: sessions.to_vec(), instruments, values };
    let universe = Universe::new(history);
    let context = Context {
        history,
        inputs,
        basis,
        state: MarketState::new(history, &universe),
        mean_sums: universe_sums(&universe),
        universe,
    };
    for (position, instrument) in history.instruments.iter().enumerate() {
        context.fill(&mut table, position, instrument);
    }
    add_ranks(&mut table, &context.universe);
    table
}

impl FeatureTable {
    /// The row of an instrument on the session at that position of [`FeatureTable::sessions`].
    ///
    /// # Panics
    /// When either is out of range.
    #[must_use]
    pub fn row(&self, session_position: usize, instrument: usize) -> &[f32] {
        let start = self.start(session_position, instrument);
        &self.values[start..start + self.schema.columns.len()]
    }

    fn start(&self, session_position: usize, instrument: usize) -> usize {
        assert!(instrument < self.instruments, "instrument {instrument} of {}", self.instruments);
        (session_position * self.instruments + instrument) * self.schema.columns.len()
    }
}

struct Context<'a> {
    history: &'a History,
    inputs: &'a VolatilityInputs,
    basis: &'a PriceBasis,
    universe: Universe,
    state: MarketState,
    mean_sums: RunningSums,
}

impl Context<'_> {
    fn fill(&self, table: &mut FeatureTable, position: usize, instrument: &InstrumentHistory) {
        let starts = FactorGroup::ALL.map(|group| table.schema.group(group).start);
        let market = MarketColumns::new(instrument, &self.universe, &self.state);
        let momentum = MomentumColumns::new((position, instrument), &self.universe, &self.mean_sums);
        let risk = RiskColumns::new((position, instrument), self.inputs, &self.universe);
        let timeline = FilingTimeline::new(self.history, instrument, self.basis);
        for (session_position, t) in table.sessions.clone().into_iter().enumerate() {
            // Before its first bar an instrument does not exist.
            if instrument.first.is_none_or(|first| first > t) {
                continue;
            }
            let row = table.start(session_position, position);
            let market_value = timeline.market_value(t).ok();
            let groups: [&[f64]; 4] = [
                &market.row(t),
                &momentum.row(t),
                &fundamentals::row(&timeline, t, market_value),
                &risk.row(t, market_value),
            ];
            for (start, values) in starts.iter().zip(groups) {
                let cells = &mut table.values[row + start..row + start + values.len()];
                cells.iter_mut().zip(values).for_each(|(cell, value)| *cell = finite(*value));
            }
        }
    }
}

/// Cross-sectional ranks from -0.5 (lowest) to 0.5 among the instruments that are no index and have the number; ties
/// share their mean rank. NaN with fewer than five.
fn add_ranks(table: &mut FeatureTable, universe: &Universe) {
    let name_of_rank = |name: &str| name.strip_suffix("_rank").and_then(|of| table.schema.position(of));
    let ranks: Vec<(usize, usize)> =
        table.schema.columns.iter().enumerate().filter_map(|(k, c)| Some((k, name_of_rank(&c.name)?))).collect();
    for session_position in 0..table.sessions.len() {
        let session = table.sessions[session_position];
        let members: Vec<usize> = (0..table.instruments).filter(|i| !universe.is_index(*i, session)).collect();
        for &(rank, of) in &ranks {
            let cells = members.iter().map(|i| table.start(session_position, *i));
            let mut known: Vec<(f32, usize)> =
                cells.map(|start| (table.values[start + of], start + rank)).filter(|(v, _)| v.is_finite()).collect();
            if known.len() >= RANKED_MINIMUM {
                known.sort_by(|a, b| a.0.total_cmp(&b.0));
                write_ranks(&mut table.values, &known);
            }
        }
    }
}

/// `sorted` holds values, ascending, with the cells of their ranks.
fn write_ranks(cells: &mut [f32], sorted: &[(f32, usize)]) {
    let count = sorted.len() as f64;
    let mut below = 0;
    for tie in sorted.chunk_by(|a, b| a.0 == b.0) {
        let rank = (below as f64 + tie.len() as f64 / 2.0) / count - 0.5;
        tie.iter().for_each(|(_, cell)| cells[*cell] = rank as f32);
        below += tie.len();
    }
}

/// Infinity (a number too large for a cell) counts as missing.
fn finite(value: f64) -> f32 {
    let cell = value as f32;
    if cell.is_finite() { cell } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};
    use proptest::prelude::*;

    fn bits(row: &[f32]) -> Vec<u32> {
        row.iter().map(|x| x.to_bits()).collect()
    }

    /// Every feature on `session` from the whole history and from the part known then.
    fn assert_nothing_later_is_known(history: &History, session: usize) {
        let basis = PriceBasis::infer(history);
        let early = history.until(history.sessions[session]);
        let of = |history: &History| compute_on_basis(history, &VolatilityInputs::new(history), &basis, &[session]);
        let (known, all) = (of(&early), of(history));
        assert_eq!(known.schema, all.schema);
        for (i, instrument) in early.instruments.iter().enumerate() {
            let symbol = &instrument.instrument.symbol;
            let at = history.instruments.iter().position(|x| x.instrument.symbol == *symbol).unwrap();
            for ((column, known), all) in schema().columns.iter().zip(known.row(0, i)).zip(all.row(0, at)) {
                let name = &column.name;
                assert_eq!(known.to_bits(), all.to_bits(), "{symbol} {name} on session {session}: {known} {all}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
        #[test]
        fn truncation_changes_no_bit(seed in 0u64..1000, session in 0usize..700, ranges: bool, surroundings: bool, recorded: bool) {
            let mut history = sample(&Sample { seed, ranges, surroundings, ..Sample::default() });
            if !recorded {
                history.instruments.iter_mut().for_each(|i| i.split.fill(1.0));
            }
            assert_nothing_later_is_known(&history, session);
        }
    }

    #[test]
    fn a_full_history_fills_every_column_of_an_ordinary_instrument() {
        let history = sample(&Sample::default());
        let table = compute(&history, &VolatilityInputs::new(&history), &[600, 650]);
        let at = history.instruments.iter().position(|i| i.instrument.symbol.as_str() == "TEST5").unwrap();
        for (column, value) in table.schema.columns.iter().zip(table.row(1, at)) {
            assert!(value.is_finite(), "{} is missing", column.name);
        }
        let later = compute(&history, &VolatilityInputs::new(&history), &[650]);
        assert_eq!(bits(table.row(1, at)), bits(later.row(0, at)));
    }

    #[test]
    fn ranks_lie_evenly_and_ties_share() {
        let mut cells = [0.0; 5];
        write_ranks(&mut cells, &[(1.0, 4), (2.0, 0), (2.0, 1), (3.0, 2), (9.0, 3)]);
        assert_eq!(cells, [-0.1, -0.1, 0.2, 0.4, -0.4]);
    }

    #[test]
    fn indices_have_no_rank_and_the_unborn_no_row() {
        let history = sample(&Sample::default());
        let table = compute(&history, &VolatilityInputs::new(&history), &[300]);
        let at =
            |symbol: &str| history.instruments.iter().position(|i| i.instrument.symbol.as_str() == symbol).unwrap();
        assert!(table.row(0, at("TEST1")).iter().all(|x| x.is_nan()), "not listed yet");
        let rank = table.schema.position("log_variance_20_rank").unwrap();
        assert!(table.row(0, at("VIX"))[rank].is_nan());
        assert!(table.row(0, at("TEST0"))[rank].is_finite());
    }
}

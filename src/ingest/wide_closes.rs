//! Wide files of adjusted closes: `Date,SYM1,SYM2,...`, one column an instrument, empty where it did not trade.

use crate::ingest::dated::{self, Dated};
use crate::ingest::finding::{Finding, Inspection};
use crate::ingest::parse::{Parsed, PriceKind, PriceSeries, Source};
use crate::ingest::quality;
use crate::ingest::table::{Header, Table};
use crate::ingest::wide::{self, Column};
use crate::market::bar::{Bar, BarFields};
use crate::market::instrument::Symbol;

/// Reads the file: closes only, no actions, because an adjusted close already holds them.
///
/// # Errors
/// A line that ends the reading, or a header with a name that is no symbol.
pub fn read(
    table: &mut Table<'_>,
    header: &Header,
    source: Source<'_>,
    inspection: &mut Inspection,
) -> Result<Parsed, Finding> {
    let wide = wide::read(table, header, source, inspection)?;
    let mut prices = Vec::with_capacity(wide.columns.len());
    for (at, column) in wide.columns.iter().enumerate() {
        let symbol = Symbol::parse(&column.name).map_err(|e| Finding::at_field(1, &column.name, e.to_string()))?;
        let bars = bars_of(&wide.rows, at, column, inspection);
        if bars.is_empty() {
            inspection.warnings.push(Finding {
                line: None,
                column: Some(column.name.clone()),
                reason: "the column is empty; left out".into(),
            });
            continue;
        }
        quality::inspect(&bars, Some(&column.name), inspection);
        quality::inspect_moves(&bars, &[], Some(&column.name), inspection);
        let bars = bars.into_iter().map(|b| b.row).collect();
        prices.push(PriceSeries { symbol, currency: "USD", kind: PriceKind::Adjusted, bars, actions: Vec::new() });
    }
    if prices.is_empty() && inspection.problems.is_empty() {
        return Err(Finding::of_file("the file has no close"));
    }
    Ok(Parsed::Prices(prices))
}

fn bars_of(
    rows: &[Dated<Vec<Option<f64>>>],
    at: usize,
    column: &Column,
    inspection: &mut Inspection,
) -> Vec<Dated<Bar>> {
    let mut bars = Vec::new();
    for dated::Dated { day, line, row } in rows {
        let Some(close) = row[at] else { continue };
        match Bar::new(BarFields { day: *day, open: None, high: None, low: None, close, volume: None }) {
            Ok(bar) => bars.push(Dated { day: *day, line: *line, row: bar }),
            Err(e) => inspection.problems.push(Finding::at_field(*line, &column.name, e.to_string())),
        }
    }
    bars
}

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
    quality::inspect_days(&wide.rows, inspection);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::finding::Refusal;
    use crate::ingest::parse::{Accepted, parse_from};
    use crate::market::bar::Day;

    fn parse(text: &str) -> Result<Accepted, Refusal> {
        parse_from("wide.csv", text.as_bytes(), Day::from_ymd_opt(2024, 9, 30).unwrap())
    }

    #[test]
    fn each_column_is_a_series_with_its_own_gaps() {
        let accepted =
            parse("Date,baba,^GSPC,NONE\n2022-03-03,3.5,,\n2022-03-01,1.5,9,\n2022-03-02,,8,null\n").unwrap();
        let Parsed::Prices(series) = &accepted.parsed else { panic!() };
        let shape: Vec<(&str, Vec<f64>)> =
            series.iter().map(|s| (s.symbol.as_str(), s.bars.iter().map(Bar::close).collect())).collect();
        assert_eq!(shape, [("BABA", vec![1.5, 3.5]), ("^GSPC", vec![9.0, 8.0])]);
        assert!(series.iter().all(|s| s.kind == PriceKind::Adjusted && s.actions.is_empty()));
        let warnings = accepted.warnings.in_file("wide.csv");
        for expected in [":3: the rows are not in order", " (NONE): the column is empty", ":2 (baba): the total return"]
        {
            assert!(warnings.contains(expected), "{warnings}");
        }
    }

    #[test]
    fn bad_values_and_names_are_refused_with_their_column() {
        for (text, place) in [
            ("Date,A,B\n2022-03-01,1,-2\n", "wide.csv:2 (B): close must be above zero, not -2"),
            ("Date,A,B\n2022-03-01,1,x\n", "wide.csv:2 (B): \"x\" is not a number"),
            ("Date,A,Big Co\n2022-03-01,1,2\n", "wide.csv:1 (Big Co): a symbol may hold"),
            ("Date,A,\n2022-03-01,1,2\n", "wide.csv:1: column 3 has no name"),
            ("Date,A,a\n2022-03-01,1,2\n", "wide.csv:1: two columns are named \"a\""),
            ("Date,A\n2022-03-01,1\n2022-03-01,2\n", "wide.csv:3: 2022-03-01 appears again"),
            ("Date,A\n2022-03-01,\n", "wide.csv: the file has no close"),
        ] {
            let refusal = parse(text).unwrap_err().to_string();
            assert!(refusal.starts_with(place), "{refusal}");
        }
    }
}

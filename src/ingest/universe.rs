//! The universe file: which instruments there are.

use std::collections::BTreeMap;

use crate::ingest::finding::{Finding, Inspection};
use crate::ingest::parse::Parsed;
use crate::ingest::table::{Header, Row, Table};
use crate::market::instrument::{Instrument, InstrumentKind, Symbol};

/// Reads `symbol,kind` and, where given, `name`, `sector`, `currency`; other columns describe files, not instruments.
///
/// # Errors
/// A line that ends the reading.
pub fn read(table: &mut Table<'_>, header: &Header, inspection: &mut Inspection) -> Result<Parsed, Finding> {
    let mut instruments = Vec::new();
    let mut lines: BTreeMap<Symbol, u64> = BTreeMap::new();
    while let Some(row) = table.next_row()? {
        match instrument_of(row, header) {
            Ok(instrument) => match lines.insert(instrument.symbol.clone(), row.line) {
                None => instruments.push(instrument),
                Some(before) => {
                    let reason = format!("{} is also on line {before}", instrument.symbol);
                    inspection.problems.push(Finding::at_field(row.line, "symbol", reason));
                }
            },
            Err(problem) => inspection.problems.push(problem),
        }
    }
    Ok(Parsed::Universe(instruments))
}

fn instrument_of(row: Row<'_>, header: &Header) -> Result<Instrument, Finding> {
    let text = |key: &str| header.find(&[key]).map(|c| row.field(c)).filter(|t| !t.is_empty());
    let problem = |column: &str, reason: String| Finding::at_field(row.line, column, reason);
    let symbol = Symbol::parse(text("symbol").unwrap_or_default()).map_err(|e| problem("symbol", e.to_string()))?;
    let kind: InstrumentKind =
        text("kind").unwrap_or_default().to_lowercase().parse().map_err(|e| problem("kind", e))?;
    let currency = text("currency").unwrap_or("USD").to_uppercase();
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(problem("currency", format!("{currency:?} is no ISO 4217 code")));
    }
    Ok(Instrument {
        symbol,
        name: text("name").map(str::to_owned),
        sector: text("sector").map(str::to_owned),
        kind,
        currency,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::parse::parse_from;
    use crate::market::bar::Day;

    #[test]
    fn instruments_are_read_and_bad_ones_named() {
        let today = Day::from_ymd_opt(2024, 9, 30).unwrap();
        let text = "symbol,name,sector,kind,rows\n\
            BABA,Alibaba Group (ADR),Consumer Discretionary,equity,9\n\
            spy,\"S&P, 500\",,etf,9\nNTES,,,equity_stale,1\n";
        let Parsed::Universe(found) = parse_from("universe.csv", text.as_bytes(), today).unwrap().parsed else {
            panic!()
        };
        let shape: Vec<_> =
            found.iter().map(|i| (i.symbol.as_str(), i.name.as_deref(), i.sector.as_deref(), i.kind)).collect();
        assert_eq!(
            shape[0],
            ("BABA", Some("Alibaba Group (ADR)"), Some("Consumer Discretionary"), InstrumentKind::Equity)
        );
        assert_eq!(shape[1], ("SPY", Some("S&P, 500"), None, InstrumentKind::Etf));
        assert_eq!(shape[2].3, InstrumentKind::Equity);
        let refusal = parse_from("u.csv", "symbol,kind\nA,equity\nB,bond\na,etf\n".as_bytes(), today).unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.contains("u.csv:3 (kind): unknown kind") && text.contains("u.csv:4 (symbol): A is also on line 2"),
            "{text}"
        );
    }
}

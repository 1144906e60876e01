//! Yahoo price files: one instrument, one row a session.

use crate::ingest::actions::{self, AdjustedDay, Rounding};
use crate::ingest::dated::{self, Dated};
use crate::ingest::finding::{Finding, Inspection};
use crate::ingest::parse::{Parsed, PriceKind, PriceSeries, Source, warn_about_unused};
use crate::ingest::quality;
use crate::ingest::recognize::{ADJUSTED, CLOSE, DATE};
use crate::ingest::symbol_of_file::symbol_of_file;
use crate::ingest::table::{Header, Row, Table};
use crate::ingest::value;
use crate::market::bar::{Action, Bar, BarError, BarFields};
use crate::market::instrument::Symbol;

/// Reads a file with one header line; the symbol is the name of the file.
///
/// # Errors
/// A line that ends the reading, or a file name that is no symbol.
pub fn read(
    table: &mut Table<'_>,
    header: &Header,
    source: Source<'_>,
    inspection: &mut Inspection,
) -> Result<Parsed, Finding> {
    let symbol = symbol_of_file(source.name, inspection)?;
    let columns = Columns::find(header)?;
    read_rows(table, &columns, symbol, source, inspection)
}

/// Reads a file with the three header lines of yfinance: `Price`, `Ticker` (which names the symbol) and `Date`.
///
/// # Errors
/// As [`read`]; also a second line without exactly one ticker.
pub fn read_three_lines(
    table: &mut Table<'_>,
    header: &Header,
    source: Source<'_>,
    inspection: &mut Inspection,
) -> Result<Parsed, Finding> {
    let missing = || Finding::of_file("the header has fewer than three lines");
    let tickers = table.header_line()?.ok_or_else(missing)?;
    table.header_line()?.filter(|h| h.keys().first().is_some_and(|k| k == "date")).ok_or_else(missing)?;
    let ticker = tickers.name(1);
    if tickers.names().iter().skip(1).any(|name| name != ticker) {
        return Err(Finding::at_line(
            2,
            "the file holds several tickers; write one file a ticker, or a wide file of closes",
        ));
    }
    let symbol = Symbol::parse(ticker).map_err(|e| Finding::at_field(2, "Ticker", e.to_string()))?;
    if !symbol_of_file(source.name, &mut Inspection::default()).is_ok_and(|named| named == symbol) {
        inspection
            .warnings
            .push(Finding::at_line(2, format!("the header says {symbol}, the file name does not; the header is used")));
    }
    let dated = std::iter::once("Date").chain(header.names().iter().skip(1).map(String::as_str));
    let columns = Columns::find(&Header::new(dated))?;
    read_rows(table, &columns, symbol, source, inspection)
}

/// The columns that are read, by their position.
struct Columns {
    header: Header,
    date: usize,
    open: Option<usize>,
    high: Option<usize>,
    low: Option<usize>,
    close: usize,
    adjusted: Option<usize>,
    volume: Option<usize>,
}

impl Columns {
    fn find(header: &Header) -> Result<Self, Finding> {
        if let Some(repeated) = header.repeated() {
            return Err(Finding::at_line(1, format!("two columns are named {repeated:?}")));
        }
        let missing = |name: &str| Finding::at_line(1, format!("there is no column {name:?}"));
        let adjusted = header.find(&ADJUSTED);
        let close = header.find(&CLOSE);
        Ok(Self {
            date: header.find(&DATE).ok_or_else(|| missing("Date"))?,
            open: header.find(&["open"]),
            high: header.find(&["high"]),
            low: header.find(&["low"]),
            close: close.or(adjusted).ok_or_else(|| missing("Close"))?,
            adjusted: close.and(adjusted),
            volume: header.find(&["volume"]),
            header: header.clone(),
        })
    }

    fn kind(&self) -> PriceKind {
        if self.header.find(&CLOSE).is_some() { PriceKind::Traded } else { PriceKind::Adjusted }
    }

    fn warn(&self, inspection: &mut Inspection) {
        let used = [Some(self.date), self.open, self.high, self.low, Some(self.close), self.adjusted, self.volume];
        warn_about_unused(&self.header, &used, inspection);
        if self.volume.is_none() {
            inspection.warnings.push(Finding::at_line(1, "there is no column \"Volume\"; volumes are missing"));
        }
    }
}

/// A bar with the adjusted close beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Quote {
    bar: Bar,
    adjusted: Option<f64>,
}

/// What is counted while the rows are read, for warnings at the end.
#[derive(Debug, Default)]
struct Tally {
    normalized: usize,
    first_normalized: Option<u64>,
    close_decimals: usize,
    adjusted_decimals: usize,
}

fn read_rows(
    table: &mut Table<'_>,
    columns: &Columns,
    symbol: Symbol,
    source: Source<'_>,
    inspection: &mut Inspection,
) -> Result<Parsed, Finding> {
    columns.warn(inspection);
    let (mut rows, mut tally) = (Vec::new(), Tally::default());
    while let Some(row) = table.next_row()? {
        let day = dated::day_of(row, columns.date, columns.header.name(columns.date), source.today, inspection);
        let Some(day) = day else { continue };
        match quote_of(row, day, columns, &mut tally) {
            Ok(Some(quote)) => rows.push(Dated { day, line: row.line, row: Some(quote) }),
            Ok(None) => {
                inspection.warnings.push(Finding::at_line(row.line, format!("{day} has no close; the row is left out")))
            }
            Err(problem) => {
                inspection.problems.push(problem);
                // A broken row still counts as a row of its day, so that a second one is noticed.
                rows.push(Dated { day, line: row.line, row: None });
            }
        }
    }
    if let Some(line) = tally.first_normalized {
        let reason = format!("{} numbers with currency signs or thousands separators were put right", tally.normalized);
        inspection.warnings.push(Finding::at_line(line, reason));
    }
    let ordered = dated::in_order(rows, inspection).into_iter();
    let rows: Vec<Dated<Quote>> =
        ordered.filter_map(|r| Some(Dated { day: r.day, line: r.line, row: r.row? })).collect();
    if rows.is_empty() && inspection.problems.is_empty() {
        return Err(Finding::of_file("the file has no row with a close"));
    }
    Ok(Parsed::Prices(vec![series(symbol, columns, &rows, &tally, inspection)]))
}

/// Checks one row; `None` when it has no close.
fn quote_of(
    row: Row<'_>,
    day: crate::market::bar::Day,
    columns: &Columns,
    tally: &mut Tally,
) -> Result<Option<Quote>, Finding> {
    let mut number = |column: Option<usize>| -> Result<Option<f64>, Finding> {
        let Some(column) = column else { return Ok(None) };
        let read = value::number(row.field(column))
            .map_err(|reason| Finding::at_field(row.line, columns.header.name(column), reason))?;
        if read.is_some_and(|n| n.normalized) {
            tally.normalized += 1;
            tally.first_normalized.get_or_insert(row.line);
        }
        Ok(read.map(|n| n.value))
    };
    let (open, high, low, volume) =
        (number(columns.open)?, number(columns.high)?, number(columns.low)?, number(columns.volume)?);
    let (close, adjusted) = (number(Some(columns.close))?, number(columns.adjusted)?);
    let Some(close) = close else { return Ok(None) };
    let bar = Bar::new(BarFields { day, open, high, low, close, volume }).map_err(|e| columns.blame(row.line, e))?;
    if let (Some(column), Some(price)) = (columns.adjusted, adjusted.filter(|a| *a <= 0.0)) {
        return Err(Finding::at_field(
            row.line,
            columns.header.name(column),
            format!("the adjusted close must be above zero, not {price}"),
        ));
    }
    tally.close_decimals = tally.close_decimals.max(value::decimals(row.field(columns.close)));
    tally.adjusted_decimals =
        tally.adjusted_decimals.max(columns.adjusted.map_or(0, |c| value::decimals(row.field(c))));
    Ok(Some(Quote { bar, adjusted }))
}

impl Columns {
    /// Puts a broken rule of the bar to the column that breaks it.
    fn blame(&self, line: u64, error: BarError) -> Finding {
        let field = match error {
            BarError::NotFinite(name)
            | BarError::NotPositive(name, _)
            | BarError::Implausible(name, _)
            | BarError::OutsideRange(name, _) => name,
            BarError::NegativeVolume(_) => "volume",
            BarError::HighBelowLow { .. } => "high",
        };
        let column = if field == "close" { self.close } else { self.header.find(&[field]).unwrap_or(self.close) };
        Finding::at_field(line, self.header.name(column), error.to_string())
    }
}

fn series(
    symbol: Symbol,
    columns: &Columns,
    rows: &[Dated<Quote>],
    tally: &Tally,
    inspection: &mut Inspection,
) -> PriceSeries {
    let bars: Vec<Dated<Bar>> = rows.iter().map(|r| Dated { day: r.day, line: r.line, row: r.row.bar }).collect();
    quality::inspect_days(&bars, inspection);
    quality::inspect(&bars, None, inspection);
    let days: Vec<AdjustedDay> =
        rows.iter().map(|r| AdjustedDay { day: r.day, close: r.row.bar.close(), adjusted: r.row.adjusted }).collect();
    let half_unit = |decimals: usize| 0.5 * 0.1f64.powi(i32::try_from(decimals).unwrap_or(i32::MAX));
    let rounding = Rounding { close: half_unit(tally.close_decimals), adjusted: half_unit(tally.adjusted_decimals) };
    let derived = actions::derive(&days, rounding);
    for found in &derived {
        if let Some(remark) = &found.remark {
            inspection.warnings.push(Finding::at_line(rows[found.at].line, remark.clone()));
        }
    }
    let actions: Vec<Action> = derived.iter().map(|d| d.action).collect();
    quality::inspect_moves(&bars, &actions, None, inspection);
    PriceSeries { symbol, currency: "USD", kind: columns.kind(), bars: bars.iter().map(|b| b.row).collect(), actions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::finding::Refusal;
    use crate::ingest::parse::{Accepted, parse_from};
    use crate::market::bar::Day;

    fn parse(text: &str) -> Result<Accepted, Refusal> {
        parse_from("BABA.csv", text.as_bytes(), Day::from_ymd_opt(2024, 9, 30).unwrap())
    }

    #[test]
    fn all_but_day_and_close_may_be_absent_in_any_order() {
        let accepted = parse("Low,Split, close/last,DATE\n,x,10,03/01/2022\n9.5,,11,03/02/2022\n").unwrap();
        let Parsed::Prices(series) = &accepted.parsed else { panic!() };
        let lows: Vec<_> = series[0].bars.iter().map(|b| (b.fields().low, b.close())).collect();
        assert_eq!((lows, series[0].kind), (vec![(None, 10.0), (Some(9.5), 11.0)], PriceKind::Traded));
        assert!(accepted.warnings.in_file("BABA.csv").contains("BABA.csv:1 (Split): the column is not used"));
        let Parsed::Prices(series) = parse("Date,Adj Close\n2022-03-01,10\n").unwrap().parsed else { panic!() };
        assert_eq!(series[0].kind, PriceKind::Adjusted);
    }

    #[test]
    fn a_broken_rule_is_put_to_its_column() {
        for (text, place) in [
            ("Date,Close,Adj Close\n2022-03-01,10,0\n", "BABA.csv:2 (Adj Close): the adjusted close must be"),
            ("Date,Close/Last\n2022-03-01,-10\n", "BABA.csv:2 (Close/Last): close must be above zero, not -10"),
            ("Date,Close,Volume\n2022-03-01,10,-1\n", "BABA.csv:2 (Volume): volume must not be negative"),
            ("Date,Close\n2022-02-30,10\n", "BABA.csv:2 (Date): \"2022-02-30\" is not a day"),
            ("Date,Close\n2022-03-01,null\n", "BABA.csv: the file has no row with a close"),
            ("Price,Close,Close\nTicker,A,B\nDate,,\n2022-03-01,1,2\n", "BABA.csv:2: the file holds several tickers"),
            ("Price,Close\nTicker,BABA\n", "BABA.csv: the header has fewer than three lines"),
        ] {
            let refusal = parse(text).unwrap_err().to_string();
            assert!(refusal.starts_with(place), "{refusal}");
        }
    }
}

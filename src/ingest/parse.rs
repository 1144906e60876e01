//! From a file to checked values: the format is recognized, every row checked, and either all of it accepted, with a
//! quality report, or all of it refused, with places and reasons. Memory is bounded by the limits of
//! [`lines`](crate::ingest::lines) and [`table`](crate::ingest::table), not by the size of the file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::ingest::finding::{Finding, Findings, Inspection, Refusal};
use crate::ingest::recognize::{Format, recognize};
use crate::ingest::table::{Header, Table};
use crate::ingest::{factors, filings, universe, wide_closes, yahoo};
use crate::market::bar::{Action, Bar, Day};
use crate::market::factor::FactorHistory;
use crate::market::history::KnownFiling;
use crate::market::instrument::{Instrument, Symbol};

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// Price series: one of a Yahoo file, one a column of a wide file; in the order of the columns.
    Prices(Vec<PriceSeries>),
    /// Factor series with the assumed moments of knowledge, in the order of the columns.
    Factors(Vec<FactorHistory>),
    /// Filings by symbol, both ascending; those of a symbol by `known_at`, then by the end of the period.
    Filings(Vec<(Symbol, Vec<KnownFiling>)>),
    /// Instruments, in the order of the file.
    Universe(Vec<Instrument>),
}

/// The bars and actions of one instrument.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceSeries {
    /// Whose prices they are.
    pub symbol: Symbol,
    /// ISO 4217 code; none of the formats states one, so it is the dollar.
    pub currency: &'static str,
    /// What the closes mean.
    pub kind: PriceKind,
    /// Bars, ascending by day, one a day, at least one.
    pub bars: Vec<Bar>,
    /// Splits and dividends, ascending by day, one a day; empty for adjusted prices.
    pub actions: Vec<Action>,
}

/// What the closes of a series mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceKind {
    /// As the source states them, with the actions beside them.
    Traded,
    /// Adjusted closes only: the level depends on the day of the download, only ratios count, actions are unknown.
    Adjusted,
}

/// A file that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// Its content.
    pub parsed: Parsed,
    /// The quality report: what is odd, or had to be put right.
    pub warnings: Findings,
    /// Rows read, without the header.
    pub rows: usize,
}

/// What the readers of the formats know about the file besides its rows.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// File name, for messages and for the symbol.
    pub name: &'a str,
    /// Rows after this day are refused.
    pub today: Day,
}

/// Reads a file.
///
/// # Errors
/// [`Refusal`] with file, line, column and reason; nothing of the file is to be used then.
pub fn parse(path: &Path, today: Day) -> Result<Accepted, Refusal> {
    let name = path.file_name().map_or_else(|| path.to_string_lossy(), |n| n.to_string_lossy()).into_owned();
    let unreadable = |e: std::io::Error| Refusal::because(&name, Finding::of_file(format!("cannot be read: {e}")));
    let file = File::open(path).map_err(unreadable)?;
    parse_from(&name, file, today)
}

/// Reads a table from anywhere; `name` stands for the file in messages and names the symbol of a price file.
///
/// # Errors
/// As [`parse`].
pub fn parse_from(name: &str, source: impl Read, today: Day) -> Result<Accepted, Refusal> {
    let mut table = Table::new(source);
    let mut inspection = Inspection::default();
    let parsed = read(&mut table, Source { name, today }, &mut inspection);
    let Inspection { mut problems, warnings } = inspection;
    match parsed {
        Ok(parsed) if problems.is_empty() => Ok(Accepted { parsed, warnings, rows: table.rows() }),
        Ok(_) => Err(Refusal { file: name.to_owned(), problems }),
        Err(finding) => {
            problems.push(finding);
            Err(Refusal { file: name.to_owned(), problems })
        }
    }
}

fn read(table: &mut Table<'_>, source: Source<'_>, inspection: &mut Inspection) -> Result<Parsed, Finding> {
    let header = table.header_line()?.ok_or_else(|| Finding::of_file("the file is empty"))?;
    let format = recognize(&header).map_err(|reason| Finding::at_line(1, reason))?;
    match format {
        Format::Yahoo => yahoo::read(table, &header, source, inspection),
        Format::YahooThreeLines => yahoo::read_three_lines(table, &header, source, inspection),
        Format::WideCloses => wide_closes::read(table, &header, source, inspection),
        Format::French | Format::Fred | Format::MarketCloses => factors::read(table, &header, source, inspection),
        Format::Filings => filings::read(table, &header, source, inspection),
        Format::Universe => universe::read(table, &header, inspection),
    }
}

/// Warns about columns that the format has no use for.
pub fn warn_about_unused(header: &Header, used: &[Option<usize>], inspection: &mut Inspection) {
    for (column, name) in header.names().iter().enumerate() {
        if !used.contains(&Some(column)) {
            inspection.warnings.push(Finding {
                line: Some(1),
                column: Some(name.clone()),
                reason: "the column is not used".into(),
            });
        }
    }
}

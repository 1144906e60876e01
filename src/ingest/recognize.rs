//! Which format a file has, told by its header alone.
//!
//! A table that begins with a date is, in this order: a Yahoo price file when it has a close; French factors, FRED
//! series or market closes when its columns carry their well-known names; else a wide file of adjusted closes, each
//! column named by its symbol.

use crate::ingest::table::Header;
use crate::ingest::value::clipped;

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `Date,Open,High,Low,Close,Adj Close,Volume` in any order; all but date and close may be absent.
    Yahoo,
    /// The same with the three header lines of newer yfinance: `Price,...`, `Ticker,...`, `Date,...`.
    YahooThreeLines,
    /// `Date,SYM1,SYM2,...` with one adjusted close a symbol, gaps allowed.
    WideCloses,
    /// The daily factors of Kenneth French, percent a day.
    French,
    /// Daily FRED series side by side, empty where nothing was published.
    Fred,
    /// Closes and yields of markets side by side, to be used as factors.
    MarketCloses,
    /// One row a filing: `symbol,period_end,filed,...`.
    Filings,
    /// One row an instrument: `symbol,name,sector,kind,...`.
    Universe,
}

/// Names of the column of days.
pub const DATE: [&str; 4] = ["date", "day", "datetime", "observation_date"];
/// Names of the column of closes.
pub const CLOSE: [&str; 2] = ["close", "close/last"];
/// Names of the column of adjusted closes.
pub const ADJUSTED: [&str; 3] = ["adj_close", "adjclose", "adjusted_close"];

/// Columns of the French files, as they are compared.
pub const FRENCH: [&str; 7] = ["mkt-rf", "smb", "hml", "rmw", "cma", "rf", "mom"];

/// Daily FRED series whose publication lag is known, as they are compared: rates, spreads, inflation expectations,
/// oil, the VIX and the dollar.
pub const FRED: [&str; 33] = [
    "dff",
    "effr",
    "sofr",
    "dgs1mo",
    "dgs3mo",
    "dgs6mo",
    "dgs1",
    "dgs2",
    "dgs3",
    "dgs5",
    "dgs7",
    "dgs10",
    "dgs20",
    "dgs30",
    "dtb3",
    "dtb6",
    "t10y2y",
    "t10y3m",
    "t5yie",
    "t10yie",
    "t5yifr",
    "dfii5",
    "dfii7",
    "dfii10",
    "dfii20",
    "dfii30",
    "dcoilwtico",
    "dcoilbrenteu",
    "vixcls",
    "dtwexbgs",
    "bamlh0a0hym2",
    "bamlc0a0cm",
    "daaa",
];

/// Yields that only a file of market closes has, as they are compared.
pub const MARKET: [&str; 2] = ["tnx_10y_yield_pct", "irx_13w_yield_pct"];

/// Tells the format from the first line.
///
/// # Errors
/// Words for the owner of a file that is none of the formats.
pub fn recognize(header: &Header) -> Result<Format, String> {
    if let Some(reason) = impostor(header) {
        return Err(reason);
    }
    if header.keys().first().is_some_and(|k| k == "price") && header.find(&CLOSE).is_some() {
        return Ok(Format::YahooThreeLines);
    }
    if let Some(repeated) = header.repeated() {
        return Err(format!("two columns are named {repeated:?}"));
    }
    if header.has("symbol") && header.has("period_end") && header.has("filed") {
        return Ok(Format::Filings);
    }
    if header.has("symbol") && header.has("kind") {
        return Ok(Format::Universe);
    }
    match header.find(&DATE) {
        Some(date) if header.names().len() > 1 => daily(header, date),
        _ => Err(format!("the header {:?} is none of the known formats", clipped(&header.names().join(",")))),
    }
}

fn daily(header: &Header, date: usize) -> Result<Format, String> {
    if header.find(&CLOSE).or_else(|| header.find(&ADJUSTED)).is_some() {
        return Ok(Format::Yahoo);
    }
    let columns: Vec<&str> =
        header.keys().iter().enumerate().filter(|(i, _)| *i != date).map(|(_, k)| k.as_str()).collect();
    let stranger = |known: &[&str]| columns.iter().find(|c| !known.contains(c)).copied();
    let any = |known: &[&str]| columns.iter().any(|c| known.contains(c));
    let refuse = |what: &str, column: &str| {
        Err(format!("column {column:?} stands beside {what}, but its publication lag is not known; leave it out"))
    };
    if any(&MARKET) {
        return Ok(Format::MarketCloses);
    }
    // RF and CMA alone are Regions Financial and Comerica.
    let only_french = columns.iter().all(|c| FRENCH.contains(c)) && any(&["smb", "hml", "rmw", "mom"]);
    if columns.contains(&"mkt-rf") || only_french {
        return stranger(&FRENCH).map_or(Ok(Format::French), |c| refuse("French factors", c));
    }
    if any(&FRED) || header.has("observation_date") {
        return stranger(&FRED).map_or(Ok(Format::Fred), |c| refuse("FRED series", c));
    }
    Ok(Format::WideCloses)
}

/// Files that only look like tables, with the way out.
fn impostor(header: &Header) -> Option<String> {
    let first = header.name(0);
    if first.starts_with("version https://git-lfs") {
        return Some("this is a Git LFS pointer, not the data; run `git lfs pull` where it was cloned".into());
    }
    if first.starts_with('<') {
        return Some("this is a web page, not a table; the download probably failed".into());
    }
    let semicolons = header.names().len() == 1 && (first.contains(';') || first.contains('\t'));
    semicolons.then(|| "the columns are separated by semicolons or tabs; commas are expected".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(line: &str) -> Result<Format, String> {
        recognize(&Header::new(line.split(',')))
    }

    #[test]
    fn headers_tell_their_format() {
        for (line, expected) in [
            ("Date,Open,High,Low,Close,Adj Close,Volume", Format::Yahoo),
            (" date , CLOSE ", Format::Yahoo),
            ("Close/Last,Volume,Open,High,Low,Date", Format::Yahoo),
            ("Price,Close,High,Low,Open,Volume", Format::YahooThreeLines),
            ("Date,BABA,JD", Format::WideCloses),
            ("Date,Mkt-RF,SMB,HML,RMW,CMA,RF,MOM", Format::French),
            ("Date,MOM", Format::French),
            ("Date,RF,CMA", Format::WideCloses),
            ("Date,AAPL,GSPC", Format::WideCloses),
            ("Date,DGS2,VIXCLS", Format::Fred),
            ("observation_date,DGS10", Format::Fred),
            ("Date,KWEB,TNX_10y_yield_pct", Format::MarketCloses),
            ("symbol,period_end,filed,revenue", Format::Filings),
            ("symbol,name,sector,kind", Format::Universe),
        ] {
            assert_eq!(format(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused_with_the_way_out() {
        for (line, word) in [
            ("version https://git-lfs.github.com/spec/v1", "git lfs pull"),
            ("<!DOCTYPE html>", "web page"),
            ("Date;Open;Close", "semicolons"),
            ("score,moodys,sp", "none of the known formats"),
            ("Date", "none of the known formats"),
            ("Date,Close,close", "two columns"),
            ("observation_date,UNRATE", "publication lag"),
            ("Date,DGS2,AAPL", "publication lag"),
        ] {
            assert!(format(line).unwrap_err().contains(word), "{line}");
        }
    }
}

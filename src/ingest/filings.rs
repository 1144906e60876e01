//! Filings: one row a filing and period, as SEC data are laid out for US quarters and for foreign annual reports.

use std::collections::BTreeMap;

use crate::ingest::dated;
use crate::ingest::finding::{Finding, Inspection};
use crate::ingest::parse::{Parsed, Source};
use crate::ingest::table::{Header, Row, Table};
use crate::ingest::value;
use crate::market::calendar;
use crate::market::filing::Filing;
use crate::market::history::KnownFiling;
use crate::market::instrument::Symbol;

/// Currency of rows in which the filer itself translated a report into dollars for the reader's convenience.
const CONVENIENCE: &str = "USD_CONVENIENCE";

/// A filing with its place in the file.
struct Entry {
    line: u64,
    symbol: Symbol,
    filing: Filing,
    convenience: bool,
}

/// Reads the filings. Each is known at the close of the session after its filing day.
///
/// A convenience translation is left out where the original is in the file. Equity is the parent's where given, else
/// the total with minority interests. Debt stays unknown: the columns that exist are parts of it.
///
/// # Errors
/// A line that ends the reading.
pub fn read(
    table: &mut Table<'_>,
    header: &Header,
    source: Source<'_>,
    inspection: &mut Inspection,
) -> Result<Parsed, Finding> {
    let mut entries = Vec::new();
    while let Some(row) = table.next_row()? {
        let entry = entry_of(row, header, source, inspection);
        entries.extend(entry);
    }
    let mut by_symbol: BTreeMap<Symbol, Vec<KnownFiling>> = BTreeMap::new();
    for Entry { symbol, filing, .. } in settle(entries, inspection) {
        let known_at = calendar::close_of(calendar::next_session(filing.filed));
        by_symbol.entry(symbol).or_default().push(KnownFiling { known_at, filing });
    }
    for filings in by_symbol.values_mut() {
        filings.sort_by_key(|f| (f.known_at, f.filing.period_end, f.filing.period_months));
    }
    Ok(Parsed::Filings(by_symbol.into_iter().collect()))
}

/// Drops convenience translations and repeated rows; two different rows for one filing and period are a problem.
fn settle(entries: Vec<Entry>, inspection: &mut Inspection) -> Vec<Entry> {
    type Key = (Symbol, crate::market::bar::Day, crate::market::bar::Day, u32);
    let key = |e: &Entry| -> Key { (e.symbol.clone(), e.filing.filed, e.filing.period_end, e.filing.period_months) };
    let (translated, originals): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|e| e.convenience);
    let mut settled: BTreeMap<Key, Entry> = BTreeMap::new();
    for entry in originals {
        let key = key(&entry);
        let Some(before) = settled.get(&key) else {
            settled.insert(key, entry);
            continue;
        };
        let place = format!("the period to {} filed on {}", entry.filing.period_end, entry.filing.filed);
        if before.filing == entry.filing {
            inspection.warnings.push(Finding::at_line(entry.line, format!("{place} repeats line {}", before.line)));
        } else {
            inspection
                .problems
                .push(Finding::at_line(entry.line, format!("{place} is on line {} with other values", before.line)));
        }
    }
    let first = translated.first().map(|e| e.line);
    let all = translated.len();
    for entry in translated {
        settled.entry(key(&entry)).or_insert(entry);
    }
    if let Some(line) = first {
        let kept = settled.values().filter(|e| e.convenience).count();
        let reason = format!(
            "{} convenience translations stand beside their originals and are left out; {kept} without one are used",
            all - kept
        );
        inspection.warnings.push(Finding::at_field(line, "currency", reason));
    }
    settled.into_values().collect()
}

fn entry_of(row: Row<'_>, header: &Header, source: Source<'_>, inspection: &mut Inspection) -> Option<Entry> {
    let text = |key: &str| header.find(&[key]).map_or("", |c| row.field(c));
    let before = inspection.problems.total();
    let mut day = |key: &str| dated::day_of(row, header.find(&[key])?, key, source.today, inspection);
    let (period_end, filed) = (day("period_end"), day("filed"));
    let symbol = Symbol::parse(text("symbol"))
        .map_err(|e| inspection.problems.push(Finding::at_field(row.line, "symbol", e.to_string())));
    let mut amounts = Amounts { row, header, inspection };
    let period_months = amounts.count("period_months", 3).filter(|m| [3, 6, 12].contains(m));
    let currency = Some(text("currency").to_uppercase()).filter(|c| !c.is_empty()).unwrap_or_else(|| "USD".into());
    let filing = Filing {
        period_end: period_end?,
        filed: filed?,
        period_months: period_months.unwrap_or_default(),
        currency: if currency == CONVENIENCE { "USD".into() } else { currency.clone() },
        revenue: amounts.not_negative(&["revenue"]),
        net_income: amounts.amount(&["net_income"]),
        total_assets: amounts.positive(&["total_assets"]),
        equity: amounts.amount(&["equity_parent", "equity", "equity_total_incl_nci"]),
        operating_cash_flow: amounts.amount(&["operating_cash_flow"]),
        capital_expenditure: amounts.not_negative(&["capex", "capital_expenditure"]),
        free_cash_flow: amounts.amount(&["free_cash_flow"]),
        shares: amounts.positive(&["shares_diluted_as_filed", "ordinary_shares_outstanding", "shares"]),
        shares_per_unit: amounts.positive(&["shares_per_ads", "shares_per_unit"]).unwrap_or(1.0),
        debt: None,
    };
    let mut problem =
        |column: &str, reason: String| inspection.problems.push(Finding::at_field(row.line, column, reason));
    if period_months.is_none() {
        problem("period_months", "a period has 3, 6 or 12 months".into());
    }
    if filing.currency.len() != 3 || !filing.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        problem("currency", format!("{:?} is no ISO 4217 code", value::clipped(&filing.currency)));
    }
    if filing.filed < filing.period_end {
        problem("filed", format!("filed on {}, before the period ended on {}", filing.filed, filing.period_end));
    }
    let sound = inspection.problems.total() == before;
    sound.then_some(Entry { line: row.line, symbol: symbol.ok()?, filing, convenience: currency == CONVENIENCE })
}

/// The number fields of one row.
struct Amounts<'r> {
    row: Row<'r>,
    header: &'r Header,
    inspection: &'r mut Inspection,
}

impl Amounts<'_> {
    /// The first of these columns that holds a number.
    fn amount(&mut self, keys: &[&str]) -> Option<f64> {
        keys.iter().find_map(|key| {
            let column = self.header.find(&[key])?;
            match value::number(self.row.field(column)) {
                Ok(number) => number.map(|n| n.value),
                Err(reason) => {
                    self.inspection.problems.push(Finding::at_field(self.row.line, key, reason));
                    None
                }
            }
        })
    }

    /// As [`Amounts::amount`], for what cannot be zero or less.
    fn positive(&mut self, keys: &[&str]) -> Option<f64> {
        self.possible(keys, |amount| amount > 0.0)
    }

    /// As [`Amounts::amount`], for what cannot be below zero.
    fn not_negative(&mut self, keys: &[&str]) -> Option<f64> {
        self.possible(keys, |amount| amount >= 0.0)
    }

    /// An impossible value is a warning and counts as missing: derived quarters (the year less three quarters) often
    /// hold one, and the other fields of the row are still good.
    fn possible(&mut self, keys: &[&str], is_possible: fn(f64) -> bool) -> Option<f64> {
        let amount = self.amount(keys)?;
        if is_possible(amount) {
            return Some(amount);
        }
        let reason = format!("{amount} is impossible; taken as missing");
        self.inspection.warnings.push(Finding::at_field(self.row.line, keys[0], reason));
        None
    }

    fn count(&mut self, key: &str, otherwise: u32) -> Option<u32> {
        if !self.header.has(key) {
            return Some(otherwise);
        }
        self.amount(&[key]).filter(|n| n.fract() == 0.0 && (0.0..100.0).contains(n)).map(|n| n as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::parse::{Accepted, parse_from};
    use crate::market::bar::Day;

    const ANNUAL: &str = "symbol,period_start,period_end,period_months,form,filed,currency,\
        revenue,net_income,operating_cash_flow,total_assets,equity_total_incl_nci,equity_parent,\
        senior_notes_noncurrent,senior_notes_current,ordinary_shares_outstanding,shares_per_ads\n";

    fn read(text: &str) -> Result<Accepted, String> {
        parse_from("f.csv", text.as_bytes(), Day::from_ymd_opt(2024, 9, 30).unwrap()).map_err(|r| r.to_string())
    }

    fn filings(text: &str) -> Vec<(Symbol, Vec<KnownFiling>)> {
        match read(text).unwrap().parsed {
            Parsed::Filings(filings) => filings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_quarter_is_known_the_session_after_it_was_filed() {
        let found = filings(
            "symbol,period_end,filed,revenue,revenue_source,net_income,total_assets,equity,operating_cash_flow,capex,\
             free_cash_flow,shares_diluted_as_filed\n\
             AAPL,2024-03-30,2024-05-03,90,as_filed_quarter,23,337,74,,,,0\n\
             AA,2024-03-31,2024-05-02,1,,,,,,,,5\n",
        );
        assert_eq!(found[0].0.as_str(), "AA");
        let aapl = &found[1].1[0];
        // Filed on a Friday.
        assert_eq!(aapl.known_at, calendar::close_of(Day::from_ymd_opt(2024, 5, 6).unwrap()));
        assert_eq!((aapl.filing.period_months, aapl.filing.currency.as_str()), (3, "USD"));
        assert_eq!(
            (aapl.filing.revenue, aapl.filing.equity, aapl.filing.shares, aapl.filing.shares_per_unit),
            (Some(90.0), Some(74.0), None, 1.0)
        );
    }

    #[test]
    fn originals_go_before_translations_and_comparative_rows_keep_their_filing_day() {
        let rows = "BABA,2013-04-01,2014-03-31,12,20-F(comparative),2015-06-25,CNY,52,23,26,111,30,,,,,\n\
                    BABA,2014-04-01,2015-03-31,12,20-F,2015-06-25,USD_convenience,12,3,6,41,25,23,7,,2495,1\n\
                    BABA,2014-04-01,2015-03-31,12,20-F,2015-06-25,CNY,76,24,41,255,157,,48,,2495,1\n\
                    BABA,2023-04-01,2024-03-31,12,20-F,2024-05-23,CNY,941,80,182,1764,1101,986,86,16,19469,8\n\
                    X,2023-04-01,2024-03-31,6,6-K,2024-05-23,USD_convenience,9,,,,,,,,,8\n";
        let found = filings(&format!("{ANNUAL}{rows}"));
        let baba: Vec<&Filing> = found[0].1.iter().map(|f| &f.filing).collect();
        assert_eq!(baba.len(), 3);
        assert!(baba.iter().all(|f| f.currency == "CNY" && f.debt.is_none()));
        assert_eq!((baba[0].revenue, baba[1].revenue, baba[1].equity), (Some(52.0), Some(76.0), Some(157.0)));
        assert_eq!((baba[2].equity, baba[2].shares_per_unit, baba[2].period_months), (Some(986.0), 8.0, 12));
        assert_eq!(found[1].1[0].filing.currency, "USD");
    }

    #[test]
    fn impossible_rows_are_named() {
        for (row, place) in [
            (
                "B,2014-04-01,2015-03-31,12,20-F,2015-01-25,CNY,,,,,,,,,,",
                "f.csv:2 (filed): filed on 2015-01-25, before",
            ),
            ("B,2014-04-01,2015-03-31,9,20-F,2015-06-25,CNY,,,,,,,,,,", "f.csv:2 (period_months): a period has"),
            (
                "B,2014-04-01,2015-03-31,12,20-F,2025-06-25,CNY,,,,,,,,,,",
                "f.csv:2 (filed): 2025-06-25 lies in the future",
            ),
            ("B,2014-04-01,2015-03-31,12,20-F,2015-06-25,yuan,,,,,,,,,,", "f.csv:2 (currency): \"YUAN\" is no ISO"),
            (
                "B,2014-04-01,2015-03-31,12,20-F,2015-06-25,CNY,many,,,,,,,,,",
                "f.csv:2 (revenue): \"many\" is not a number",
            ),
            ("B B,2014-04-01,2015-03-31,12,20-F,2015-06-25,CNY,,,,,,,,,,", "f.csv:2 (symbol): a symbol may hold"),
        ] {
            let refusal = read(&format!("{ANNUAL}{row}\n")).unwrap_err();
            assert!(refusal.starts_with(place), "{refusal}");
        }
        let twice = format!(
            "{ANNUAL}B,,2015-03-31,12,,2015-06-25,CNY,1,,,,,,,,,\nB,,2015-03-31,12,,2015-06-25,CNY,2,,,,,,,,,\n"
        );
        assert!(
            read(&twice).unwrap_err().contains("f.csv:3: the period to 2015-03-31 filed on 2015-06-25 is on line 2")
        );
    }
}

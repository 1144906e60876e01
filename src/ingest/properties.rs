//! Properties of the whole reader: it never panics, and what it accepts keeps the promises of its types.

use proptest::prelude::*;

use crate::ingest::parse::{Parsed, parse_from};
use crate::market::bar::Day;

const HEADERS: [&str; 9] = [
    "Date,Open,High,Low,Close,Adj Close,Volume",
    "Price,Close,High,Low,Open,Volume\nTicker,A,A,A,A,A\nDate,,,,,",
    "Date,AAA,BBB",
    "Date,Mkt-RF,SMB,RF",
    "Date,DGS2,DTWEXBGS",
    "Date,TNX_10y_yield_pct,GSPC",
    "symbol,period_end,filed,period_months,currency,revenue,equity_parent,shares",
    "symbol,name,sector,kind",
    "",
];

const FIELDS: [&str; 28] = [
    "2022-03-01",
    "2022-03-02",
    "2022-03-03",
    "2022-06-01",
    "03/04/2022",
    "2099-01-01",
    "0000-00-00",
    "100",
    "100.5",
    "99.000001",
    "-1",
    "0",
    "1e308",
    "1e-308",
    "null",
    "",
    "NaN",
    "inf",
    "\"1,000.50\"",
    "$5",
    "A",
    "BABA",
    "equity",
    "USD_convenience",
    "CNY",
    "12",
    "\"",
    "ä",
];

/// A good series with numbers that can be mutated.
fn good() -> String {
    let rows = (1..=28).map(|d| format!("2022-02-{d:02},{0}.5,{0}.9,{0}.1,{0}.5,{0}.25,1000\n", 100 + d % 7));
    format!("{}\n{}", HEADERS[0], rows.collect::<String>())
}

/// Reads, and checks what every accepted file promises.
fn read(bytes: &[u8]) -> Result<(), TestCaseError> {
    let today = Day::from_ymd_opt(2024, 9, 30).unwrap();
    let Ok(accepted) = parse_from("A.csv", bytes, today) else { return Ok(()) };
    match accepted.parsed {
        Parsed::Prices(series) => {
            for s in series {
                prop_assert!(!s.bars.is_empty() && s.bars.is_sorted_by(|a, b| a.day() < b.day()));
                prop_assert!(s.bars.iter().all(|b| b.day() <= today));
                prop_assert!(s.actions.is_sorted_by(|a, b| a.day < b.day));
                prop_assert!(
                    s.actions
                        .iter()
                        .all(|a| a.split.is_finite() && a.split > 0.0 && a.dividend.is_finite() && a.dividend >= 0.0)
                );
            }
        }
        Parsed::Factors(series) => {
            for s in series {
                prop_assert!(s.observations.iter().all(|o| o.value.is_finite() && o.known_at.date_naive() >= o.day));
                prop_assert!(s.observations.is_sorted_by(|a, b| a.day < b.day));
            }
        }
        Parsed::Filings(filings) => {
            let sound = |f: &crate::market::history::KnownFiling| {
                f.filing.filed >= f.filing.period_end && f.known_at.date_naive() > f.filing.filed
            };
            prop_assert!(filings.iter().all(|(_, f)| f.iter().all(sound)));
        }
        Parsed::Universe(universe) => prop_assert!(!universe.is_empty()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn arbitrary_bytes_never_panic(
        header in prop::sample::select(&HEADERS[..]),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        read(&bytes)?;
        read(&[header.as_bytes(), b"\n", &bytes].concat())?;
    }

    #[test]
    fn plausible_tables_never_panic(
        header in prop::sample::select(&HEADERS[..]),
        fields in prop::collection::vec(prop::sample::select(&FIELDS[..]), 0..80),
    ) {
        let width = header.lines().last().unwrap_or("").split(',').count();
        let rows: Vec<String> = fields.chunks(width).map(|row| row.join(",")).collect();
        read(format!("{header}\n{}\n", rows.join("\n")).as_bytes())?;
    }

    #[test]
    fn mutated_good_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..12),
    ) {
        let mut bytes = good().into_bytes();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, b"0123456789,.-\n\"/"[usize::from(byte % 16)]),
                _ => drop(bytes.remove(at)),
            }
        }
        read(&bytes)?;
    }

    #[test]
    fn every_cut_of_a_good_file_inside_a_row_is_refused(cut in any::<prop::sample::Index>()) {
        let text = good();
        let cut = &text[..cut.index(text.len())];
        let fields = cut.lines().last().map_or(0, |line| line.split(',').count());
        let accepted = parse_from("A.csv", cut.as_bytes(), Day::from_ymd_opt(2024, 9, 30).unwrap()).is_ok();
        prop_assert!(!accepted || cut.ends_with('\n') || fields == 7);
    }
}

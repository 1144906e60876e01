//! The market of a folder of real files, given by `FORECASTD_TEST_DATA`, for tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ingest::parse::{Parsed, parse};
use crate::market::bar::Day;
use crate::market::history::{History, InstrumentRows, KnownFiling};
use crate::market::instrument::Symbol;

/// The history of the folder; `None`, with a printed line, where none is given.
pub(crate) fn real_market() -> Option<History> {
    let Some(folder) = std::env::var_os("FORECASTD_TEST_DATA").map(PathBuf::from).filter(|f| !f.as_os_str().is_empty())
    else {
        println!("FORECASTD_TEST_DATA is not set: nothing was measured on real data");
        return None;
    };
    let Parsed::Universe(universe) = read(&folder.join("universe.csv")) else { panic!("no universe") };
    let mut filings: BTreeMap<Symbol, Vec<KnownFiling>> = BTreeMap::new();
    for name in ["us_quarterly_sec.csv", "baba_annual_sec.csv"] {
        let Parsed::Filings(found) = read(&folder.join("fundamentals").join(name)) else { panic!("no filings") };
        filings.extend(found);
    }
    let mut factors = vec![];
    for name in ["fred_daily.csv", "market_closes.csv"] {
        let Parsed::Factors(found) = read(&folder.join("factors").join(name)) else { panic!("no factors") };
        factors.extend(found);
    }
    let rows = universe.into_iter().map(|instrument| {
        let path = folder.join(format!("prices/{}.csv", instrument.symbol));
        let Parsed::Prices(mut series) = read(&path) else { panic!("no prices") };
        let series = series.pop().unwrap();
        let filings = filings.remove(&instrument.symbol).unwrap_or_default();
        InstrumentRows { instrument, bars: series.bars, actions: series.actions, filings }
    });
    Some(History::assemble(rows.collect(), factors))
}

fn read(path: &Path) -> Parsed {
    parse(path, Day::from_ymd_opt(2024, 9, 30).unwrap()).unwrap_or_else(|refusal| panic!("{refusal}")).parsed
}

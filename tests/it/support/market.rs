//! Small simulated markets, and the files that such a market would be downloaded as.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use forecastd::market::bar::{Action, Bar, Day};
use forecastd::market::factor::FactorHistory;
use forecastd::market::filing::Filing;
use forecastd::market::history::InstrumentRows;
use forecastd::market::simulation::{SimulatedMarket, SimulationOptions, simulate};

/// The day on which every market of the tests ends unless they say otherwise.
pub const LAST_DAY: Day = Day::from_ymd_opt(2024, 9, 30).unwrap();

/// A market of that size, the same one every time.
pub fn market(instruments: usize, sessions: usize) -> SimulatedMarket {
    simulate(SimulationOptions { seed: 7, instruments, sessions, last_day: LAST_DAY })
}

/// What of a market had happened, and was known, by the close of a day.
pub fn until(market: &SimulatedMarket, day: Day) -> SimulatedMarket {
    let known_until = forecastd::market::calendar::close_of(day);
    let mut cut = market.clone();
    for rows in &mut cut.rows {
        rows.bars.retain(|b| b.day() <= day);
        rows.actions.retain(|a| a.day <= day);
        rows.filings.retain(|f| f.known_at <= known_until);
    }
    cut.rows.retain(|rows| !rows.bars.is_empty());
    for factor in &mut cut.factors {
        factor.observations.retain(|o| o.known_at <= known_until);
    }
    cut
}

/// A price file as Yahoo writes it: closes as traded, adjusted closes with splits and dividends taken out backwards.
pub fn yahoo_csv(bars: &[Bar], actions: &[Action]) -> String {
    let mut adjusted = vec![0.0; bars.len()];
    let mut factor = 1.0;
    for (i, bar) in bars.iter().enumerate().rev() {
        adjusted[i] = bar.close() * factor;
        if let (Some(action), Some(before)) = (actions.iter().find(|a| a.day == bar.day()), i.checked_sub(1)) {
            let previous = bars[before].close();
            factor *= (previous - action.dividend) / previous / action.split;
        }
    }
    let mut text = String::from("Date,Open,High,Low,Close,Adj Close,Volume\n");
    for (bar, adjusted) in bars.iter().zip(adjusted) {
        let b = bar.fields();
        let price = |p: Option<f64>| p.map_or_else(String::new, |p| format!("{p:.6}"));
        let volume = b.volume.map_or_else(String::new, |v| format!("{v:.0}"));
        let (open, high, low) = (price(b.open), price(b.high), price(b.low));
        writeln!(text, "{},{open},{high},{low},{:.6},{adjusted:.6},{volume}", b.day, b.close).unwrap();
    }
    text
}

/// The universe file of a market.
pub fn universe_csv(rows: &[InstrumentRows]) -> String {
    let mut text = String::from("symbol,name,sector,kind\n");
    for InstrumentRows { instrument: i, .. } in rows {
        let (name, sector) = (i.name.as_deref().unwrap_or(""), i.sector.as_deref().unwrap_or(""));
        writeln!(text, "{},{name},{sector},{}", i.symbol, i.kind.as_str()).unwrap();
    }
    text
}

/// The factor series side by side, as FRED lays them out.
pub fn fred_csv(factors: &[FactorHistory]) -> String {
    let names: Vec<&str> = factors.iter().map(|f| f.id.as_str()).collect();
    let mut rows: BTreeMap<Day, Vec<String>> = BTreeMap::new();
    for (column, factor) in factors.iter().enumerate() {
        for o in &factor.observations {
            rows.entry(o.day).or_insert_with(|| vec![String::new(); factors.len()])[column] = o.value.to_string();
        }
    }
    let lines = rows.iter().map(|(day, values)| format!("{day},{}\n", values.join(",")));
    format!("Date,{}\n{}", names.join(","), lines.collect::<String>())
}

/// The filings of a market, one row a filing.
pub fn filings_csv(rows: &[InstrumentRows]) -> String {
    let mut text = String::from(
        "symbol,period_end,filed,period_months,revenue,net_income,total_assets,equity,operating_cash_flow,capex,free_cash_flow,shares\n",
    );
    for row in rows {
        for known in &row.filings {
            let f: &Filing = &known.filing;
            let amounts = [
                f.revenue,
                f.net_income,
                f.total_assets,
                f.equity,
                f.operating_cash_flow,
                f.capital_expenditure,
                f.free_cash_flow,
                f.shares,
            ];
            let amounts = amounts.map(|a| a.map_or_else(String::new, |a| a.to_string())).join(",");
            let symbol = &row.instrument.symbol;
            writeln!(text, "{symbol},{},{},{},{amounts}", f.period_end, f.filed, f.period_months).unwrap();
        }
    }
    text
}

/// Writes a market as a folder of files: `universe.csv`, `prices/`, `factors/`, `fundamentals/`.
pub fn write_folder(folder: &Path, market: &SimulatedMarket) {
    for part in ["prices", "factors", "fundamentals"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    fs::write(folder.join("universe.csv"), universe_csv(&market.rows)).unwrap();
    for rows in &market.rows {
        let path = folder.join(format!("prices/{}.csv", rows.instrument.symbol));
        fs::write(path, yahoo_csv(&rows.bars, &rows.actions)).unwrap();
    }
    fs::write(folder.join("factors/fred_daily.csv"), fred_csv(&market.factors)).unwrap();
    fs::write(folder.join("fundamentals/quarterly.csv"), filings_csv(&market.rows)).unwrap();
}

/// The folder of real data that `FORECASTD_TEST_DATA` names; says which data a test uses.
pub fn real_data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FORECASTD_TEST_DATA").map(PathBuf::from).filter(|f| !f.as_os_str().is_empty());
    // Written past the capture of test output, so that it is seen.
    let _ = match &folder {
        Some(folder) => writeln!(std::io::stderr(), "{test}: real data of {}", folder.display()),
        None => writeln!(std::io::stderr(), "{test}: skipped, FORECASTD_TEST_DATA is not set; the others simulate"),
    };
    folder
}

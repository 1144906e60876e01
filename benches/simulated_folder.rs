//! A simulated market as a folder of files, so that its import takes the way of real ones. It has no filings.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use forecastd::market::bar::{Action, Day};
use forecastd::market::factor::FactorHistory;
use forecastd::market::history::InstrumentRows;
use forecastd::market::simulation::{SimulationOptions, simulate};

/// As many instruments as take part in ranks, over as many sessions as the walk needs.
const OPTIONS: SimulationOptions =
    SimulationOptions { seed: 1, instruments: 60, sessions: 3_200, last_day: Day::from_ymd_opt(2024, 9, 30).unwrap() };

/// Writes the folder.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    let market = simulate(OPTIONS);
    fs::create_dir(folder.join("prices"))?;
    fs::create_dir(folder.join("factors"))?;
    let mut universe = String::from("symbol,name,sector,kind\n");
    for rows in &market.rows {
        let (instrument, blank) = (&rows.instrument, String::new());
        let (name, sector) = (instrument.name.as_ref(), instrument.sector.as_ref());
        let fields = [instrument.symbol.as_str(), name.unwrap_or(&blank), sector.unwrap_or(&blank)];
        universe.push_str(&format!("{},{}\n", fields.join(","), instrument.kind.as_str()));
        write_prices(&folder.join(format!("prices/{}.csv", instrument.symbol)), rows)?;
    }
    fs::write(folder.join("universe.csv"), universe)?;
    write_factors(&folder.join("factors/fred_daily.csv"), &market.factors)
}

fn write_prices(path: &Path, rows: &InstrumentRows) -> anyhow::Result<()> {
    let actions: BTreeMap<Day, Action> = rows.actions.iter().map(|a| (a.day, *a)).collect();
    // A download states all prices on the share basis of its last day, and lowers past adjusted closes by dividends.
    let (mut share, mut adjustment) = (1.0, 1.0);
    let mut lines = Vec::with_capacity(rows.bars.len());
    for (position, bar) in rows.bars.iter().enumerate().rev() {
        let b = bar.fields();
        let price = |p: Option<f64>| p.map(|p| format!("{:.6}", p / share)).unwrap_or_default();
        let volume = b.volume.map(|v| format!("{:.0}", v * share)).unwrap_or_default();
        let (open, high, low) = (price(b.open), price(b.high), price(b.low));
        let (close, adjusted) = (price(Some(b.close)), b.close / share * adjustment);
        lines.push(format!("{},{open},{high},{low},{close},{adjusted:.6},{volume}", b.day));
        if let (Some(action), Some(before)) = (actions.get(&b.day), position.checked_sub(1)) {
            share *= action.split;
            adjustment *= 1.0 - action.dividend / rows.bars[before].close();
        }
    }
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "Date,Open,High,Low,Close,Adj Close,Volume")?;
    for line in lines.iter().rev() {
        writeln!(file, "{line}")?;
    }
    Ok(file.flush()?)
}

fn write_factors(path: &Path, factors: &[FactorHistory]) -> anyhow::Result<()> {
    let mut days: BTreeMap<Day, Vec<String>> = BTreeMap::new();
    for (column, factor) in factors.iter().enumerate() {
        for observation in &factor.observations {
            let cells = days.entry(observation.day).or_insert_with(|| vec![String::new(); factors.len()]);
            cells[column] = observation.value.to_string();
        }
    }
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "Date,{}", factors.iter().map(|f| f.id.as_str()).collect::<Vec<_>>().join(","))?;
    for (day, cells) in days {
        writeln!(file, "{day},{}", cells.join(","))?;
    }
    Ok(file.flush()?)
}

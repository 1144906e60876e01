//! Checks on a folder of real files, given by `FORECASTD_TEST_DATA`; without it they say so and pass.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::ingest::parse::{Accepted, Parsed, parse};
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::history::{History, InstrumentRows};
use crate::market::instrument::Instrument;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("FORECASTD_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("FORECASTD_TEST_DATA is not set: no real file was checked");
    }
    folder
}

fn read(path: &Path) -> Accepted {
    parse(path, Day::from_ymd_opt(2024, 9, 30).unwrap()).unwrap_or_else(|refusal| panic!("{refusal}"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

/// `(day, ln of the adjusted close over the one before)`, read without the code under test.
fn adjusted_returns(path: &Path) -> Vec<(Day, f64)> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<(Day, f64)> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>())
        .map(|f| (f[0].parse().unwrap(), f[5].parse().unwrap()))
        .collect();
    rows.windows(2).map(|pair| (pair[1].0, (pair[1].1 / pair[0].1).ln())).collect()
}

#[test]
fn derived_actions_reproduce_the_adjusted_closes() {
    let Some(folder) = folder() else { return };
    let (mut largest, mut largest_sum, mut actions, mut over, mut days) = (0.0f64, 0.0f64, 0, 0, 0);
    for path in files(&folder.join("prices")) {
        let accepted = read(&path);
        if !accepted.warnings.is_empty() {
            println!("{}", accepted.warnings.in_file(&path.file_name().unwrap().to_string_lossy()));
        }
        let Parsed::Prices(mut series) = accepted.parsed else { panic!() };
        let series = series.pop().unwrap();
        actions += series.actions.len();
        let rows = InstrumentRows {
            instrument: Instrument::unnamed(series.symbol),
            bars: series.bars,
            actions: series.actions,
            filings: vec![],
        };
        let history = History::assemble(vec![rows], vec![]);
        let mut sum = 0.0;
        for ((day, expected), found) in adjusted_returns(&path).into_iter().zip(&history.instruments[0].log_return[1..])
        {
            let deviation = (found - expected).abs();
            days += 1;
            over += usize::from(deviation > 1e-6);
            largest = largest.max(deviation);
            sum += found - expected;
            largest_sum = largest_sum.max(f64::abs(sum));
            assert!(deviation < 5e-6, "{} {day}: {found} instead of {expected}", path.display());
        }
    }
    println!("{actions} actions; {over} of {days} days deviate by more than 1e-6");
    println!("largest deviation of a day {largest:.2e}, since the first day {largest_sum:.2e}");
    assert!((over as f64) < 1e-3 * days as f64);
}

#[test]
fn all_clean_files_are_accepted_with_their_moments_of_knowledge() {
    let Some(folder) = folder() else { return };
    for name in ["ff5_mom_daily.csv", "fred_daily.csv", "market_closes.csv"] {
        let accepted = read(&folder.join("factors").join(name));
        let Parsed::Factors(series) = accepted.parsed else { panic!("{name}") };
        assert!(accepted.warnings.is_empty(), "{}", accepted.warnings.in_file(name));
        assert!(series.iter().all(|s| s.observations.iter().all(|o| o.known_at >= calendar::close_of(o.day))));
        println!("{name}: {} rows, {} series", accepted.rows, series.len());
    }
    for name in ["us_quarterly_sec.csv", "baba_annual_sec.csv"] {
        let accepted = read(&folder.join("fundamentals").join(name));
        println!("{}", accepted.warnings.in_file(name));
        let Parsed::Filings(filings) = accepted.parsed else { panic!("{name}") };
        assert!(filings.iter().all(|(_, f)| f.is_sorted_by_key(|f| f.known_at)));
        println!(
            "{name}: {} rows, {} symbols, {} filings",
            accepted.rows,
            filings.len(),
            filings.iter().map(|(_, f)| f.len()).sum::<usize>()
        );
    }
    let Parsed::Universe(universe) = read(&folder.join("universe.csv")).parsed else { panic!() };
    assert_eq!(universe.len(), files(&folder.join("prices")).len());
}

#[test]
fn prices_are_read_at_a_useful_rate() {
    let Some(folder) = folder() else { return };
    let paths = files(&folder.join("prices"));
    let start = Instant::now();
    let rows: usize = paths.iter().map(|path| read(path).rows).sum();
    let seconds = start.elapsed().as_secs_f64();
    println!("{rows} rows of {} files in {seconds:.2} s: {:.0} rows/s", paths.len(), rows as f64 / seconds);
}

//! A small market as files: closes that wander, the same ones every time.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use chrono::{Datelike, Days, NaiveDate, Weekday};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::process::write_file;

/// Instruments of the market.
pub const INSTRUMENTS: usize = 16;
/// Weekdays of their files.
pub const DAYS: usize = 1300;
/// Name of an instrument.
pub fn symbol(number: usize) -> String {
    format!("F{number:02}")
}

/// The last day of the files; the 40 weekdays up to it are sessions.
pub fn last_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 8, 30).unwrap_or_default()
}

/// The weekdays up to a day, oldest first.
pub fn weekdays_until(last: NaiveDate, count: usize) -> Vec<NaiveDate> {
    let is_weekday = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    let mut days: Vec<NaiveDate> =
        (0..).map_while(|back| last.checked_sub_days(Days::new(back))).filter(is_weekday).take(count).collect();
    days.reverse();
    days
}

/// Sessions that may be posted again: the newest of the files.
pub fn newest_sessions() -> Vec<NaiveDate> {
    weekdays_until(last_day(), 40)
}

/// The close of an instrument on each weekday of the files.
pub fn closes(number: usize, days: usize) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(number as u64 + 1);
    let mut close = 50.0 + number as f64;
    let step = |_| {
        close *= 1.0 + random.random_range(-0.025..0.0255);
        (close * 1e4).round() / 1e4
    };
    (0..days).map(step).collect()
}

/// Writes the files of the market into `FOLDER/prices`.
pub fn write(folder: &Path) -> Result<()> {
    let prices = folder.join("prices");
    std::fs::create_dir_all(&prices)?;
    let days = weekdays_until(last_day(), DAYS);
    for number in 0..INSTRUMENTS {
        write_prices(&prices, &symbol(number), &days, &closes(number, DAYS))?;
    }
    Ok(())
}

/// Writes one file of prices without splits and dividends.
pub fn write_prices(folder: &Path, symbol: &str, days: &[NaiveDate], closes: &[f64]) -> Result<()> {
    let mut text = String::from("Date,Open,High,Low,Close,Adj Close,Volume\n");
    for (day, close) in days.iter().zip(closes) {
        let (high, low) = (close * 1.01, close * 0.99);
        writeln!(text, "{day},{close:.4},{high:.4},{low:.4},{close:.4},{close:.4},1000000")?;
    }
    write_file(&folder.join(format!("{symbol}.csv")), &text)
}

//! The bars of the price files, as a bare `COPY` takes them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::{DateTime, Utc};
use forecastd::ingest::parse::{Parsed, PriceSeries, parse};
use forecastd::market::calendar;
use forecastd::store::copy::BinaryRows;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::table::clocked;

/// Price series with the file each comes from.
pub struct BarRows {
    series: Vec<(String, PriceSeries)>,
    recorded_at: DateTime<Utc>,
    /// Seconds for reading and hashing the files.
    pub hash_seconds: f64,
    /// Seconds for parsing them.
    pub parse_seconds: f64,
}

impl BarRows {
    /// Parses the CSV files of a folder, ascending by name; refused files are left out.
    pub fn parse(folder: &Path) -> anyhow::Result<Self> {
        let entries: Vec<PathBuf> =
            std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<std::io::Result<_>>()?;
        let mut files: Vec<PathBuf> =
            entries.into_iter().filter(|p| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"))).collect();
        files.sort();
        let recorded_at = Utc::now();
        let (hashes, hash_seconds) = clocked(|| {
            files.iter().map(|f| Ok(Sha256::digest(std::fs::read(f)?))).collect::<std::io::Result<Vec<_>>>()
        });
        hashes?;
        let (series, parse_seconds) = clocked(|| {
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let of_file = |path: &PathBuf| match parse(path, recorded_at.date_naive()).map(|a| a.parsed) {
                Ok(Parsed::Prices(series)) => series.into_iter().map(|s| (name(path), s)).collect(),
                _ => vec![],
            };
            files.iter().flat_map(of_file).collect()
        });
        Ok(Self { series, recorded_at, hash_seconds, parse_seconds })
    }

    /// Number of series.
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// Every bar in the form of the wire, one buffer a series. Series are numbered from 1.
    pub fn encoded(&self) -> Vec<BinaryRows> {
        self.series.iter().zip(1..).map(|((file, series), id)| self.encode(file, series, id)).collect()
    }

    fn encode(&self, file: &str, series: &PriceSeries, id: i64) -> BinaryRows {
        let mut copy = BinaryRows::new();
        for bar in &series.bars {
            let b = bar.fields();
            copy.row(11)
                .int8(id)
                .date(b.day)
                .instant(self.recorded_at)
                .instant(calendar::close_of(b.day))
                .boolean(true)
                .optional_float8(b.open)
                .optional_float8(b.high)
                .optional_float8(b.low)
                .float8(b.close)
                .optional_float8(b.volume)
                .text(file);
        }
        copy
    }
}

/// Copies in one transaction, one statement a series.
pub async fn copy_all(
    connection: &mut PgConnection,
    rows: Vec<BinaryRows>,
    statement: &'static str,
) -> anyhow::Result<u64> {
    let mut copied = 0;
    sqlx::query("begin").execute(&mut *connection).await?;
    for series in rows {
        copied += series.copy(connection, statement).await.context("a row was refused")?;
    }
    sqlx::query("commit").execute(connection).await?;
    Ok(copied)
}

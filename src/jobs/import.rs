//! Imports files: each whole or not at all, each in a transaction of its own, so that an interrupted import is resumed
//! by running it again.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::Utc;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use tokio::sync::mpsc;

use crate::ingest::finding::Refusal;
use crate::ingest::parse::{Accepted, Parsed, parse};
use crate::jobs::progress::Phase;
use crate::market::bar::Day;
use crate::market::instrument::Instrument;
use crate::store::bars::{self, PriceRows, Recorded};
use crate::store::imports::{self, ImportRecord};
use crate::store::{StoreError, factors, filings, instruments, pool};

/// What an import did.
#[derive(Debug, Default)]
pub struct ImportReport {
    /// Files that are in the store now.
    pub files: usize,
    /// Rows, over all files.
    pub recorded: Recorded,
    /// Files in the folders that are no data of ours, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
    /// Files that were refused; nothing of them is in the store.
    pub refused: Vec<Refusal>,
    /// Files with something odd in them.
    pub warned: usize,
}

/// Imports files and folders.
///
/// # Errors
/// When a path cannot be read or the store fails. Refused files are no error here; the report lists them.
pub async fn import(pool: &PgPool, paths: &[PathBuf]) -> anyhow::Result<ImportReport> {
    let (files, skipped) = find_files(paths)?;
    let mut report = ImportReport { skipped, ..ImportReport::default() };
    for (path, reason) in &report.skipped {
        tracing::info!("skipped {}: {reason}", path.display());
    }
    let phase = Phase::start("import", "files", files.len() as u64);
    let mut parsed = parse_ahead(files);
    while let Some(file) = parsed.recv().await {
        let file = file?;
        phase.note(file.name.clone());
        match file.outcome {
            Ok(accepted) => {
                if !accepted.warnings.is_empty() {
                    report.warned += 1;
                    phase.line(&format!("warning: {}", accepted.warnings.in_file(&file.name)));
                }
                let (pool, name) = (pool.clone(), file.name.clone());
                // In a task of its own, so that a stop in the middle never leaves a connection with a half-read COPY.
                let recording = tokio::spawn(async move { record(&pool, &name, file.sha256, accepted).await });
                report.recorded += recording.await?.with_context(|| format!("{} was not imported", file.name))?;
                report.files += 1;
            }
            Err(refusal) => {
                phase.refuse(&refusal.to_string());
                report.refused.push(refusal);
            }
        }
        phase.advance(1);
    }
    let Recorded { inserted, revised, unchanged } = report.recorded;
    phase.finish(&format!(
        "{} files, {inserted} rows new, {revised} revised, {unchanged} unchanged, {} files refused",
        report.files,
        report.refused.len()
    ));
    Ok(report)
}

struct ParsedFile {
    name: String,
    sha256: [u8; 32],
    outcome: Result<Accepted, Refusal>,
}

/// Parses on a thread of its own, a few files ahead of the store.
fn parse_ahead(files: Vec<PathBuf>) -> mpsc::Receiver<anyhow::Result<ParsedFile>> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let today = Utc::now().date_naive();
        for path in files {
            if sender.blocking_send(parse_file(&path, today)).is_err() {
                return;
            }
        }
    });
    receiver
}

fn parse_file(path: &Path, today: Day) -> anyhow::Result<ParsedFile> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut hash = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    std::io::copy(&mut file, &mut hash).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(ParsedFile { name, sha256: hash.finalize().into(), outcome: parse(path, today) })
}

async fn record(pool: &PgPool, name: &str, sha256: [u8; 32], mut accepted: Accepted) -> Result<Recorded, StoreError> {
    in_symbol_order(&mut accepted.parsed);
    let mut transaction = pool.begin().await?;
    let recorded_at = pool::begin_recording(&mut transaction).await?;
    let recorded = record_content(&mut transaction, recorded_at, name, &accepted.parsed).await?;
    let warnings = accepted.warnings.kept().iter().map(|w| w.in_file(name)).collect();
    imports::insert(&mut transaction, &ImportRecord { file: name.into(), sha256, recorded, warnings }).await?;
    transaction.commit().await?;
    Ok(recorded)
}

/// Instruments are locked in one order everywhere, so that two imports never wait for each other.
fn in_symbol_order(parsed: &mut Parsed) {
    match parsed {
        Parsed::Prices(series) => series.sort_by(|a, b| a.symbol.cmp(&b.symbol)),
        Parsed::Factors(series) => series.sort_by(|a, b| a.id.cmp(&b.id)),
        Parsed::Filings(by_symbol) => by_symbol.sort_by(|a, b| a.0.cmp(&b.0)),
        Parsed::Universe(described) => described.sort_by(|a, b| a.symbol.cmp(&b.symbol)),
    }
}

async fn record_content(
    connection: &mut PgConnection,
    recorded_at: chrono::DateTime<Utc>,
    name: &str,
    parsed: &Parsed,
) -> Result<Recorded, StoreError> {
    let mut recorded = Recorded::default();
    match parsed {
        Parsed::Prices(series) => {
            for one in series {
                // A file without an adjusted close, or with nothing else, cannot know of actions.
                let has_all_actions = !one.actions.is_empty();
                let rows = PriceRows {
                    symbol: &one.symbol,
                    bars: &one.bars,
                    actions: &one.actions,
                    has_all_actions,
                    source: name,
                    restates: true,
                };
                recorded += bars::record(connection, recorded_at, &rows).await?;
            }
        }
        Parsed::Factors(series) => {
            for one in series {
                recorded += factors::record(connection, recorded_at, one, name).await?;
            }
        }
        Parsed::Filings(by_symbol) => {
            for (symbol, rows) in by_symbol {
                recorded += filings::record(connection, recorded_at, (symbol, rows), name).await?;
            }
        }
        Parsed::Universe(described) => recorded += describe(connection, recorded_at, described).await?,
    }
    Ok(recorded)
}

async fn describe(
    connection: &mut PgConnection,
    recorded_at: chrono::DateTime<Utc>,
    described: &[Instrument],
) -> Result<Recorded, StoreError> {
    let mut recorded = Recorded::default();
    for instrument in described {
        let changed = instruments::describe(connection, instrument, recorded_at).await?;
        if changed { recorded.inserted += 1 } else { recorded.unchanged += 1 }
    }
    Ok(recorded)
}

type Files = (Vec<PathBuf>, Vec<(PathBuf, String)>);

/// Files to import in a fixed order (descriptions first), and what is left out. A folder is read by the layout
/// `universe.csv`, `prices/`, `factors/`, `fundamentals/`; one without any of these, by the CSV files in it.
fn find_files(paths: &[PathBuf]) -> anyhow::Result<Files> {
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_dir() {
            let (found, left) = find_in_folder(path)?;
            files.extend(found);
            skipped.extend(left);
        } else {
            anyhow::ensure!(path.exists(), "{} does not exist", path.display());
            files.push(path.clone());
        }
    }
    anyhow::ensure!(
        !files.is_empty(),
        "there is no CSV file in {}",
        paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok((files, skipped))
}

fn find_in_folder(folder: &Path) -> anyhow::Result<Files> {
    let entries = sorted_entries(folder)?;
    let named = |name: &str| entries.iter().find(|p| p.file_name() == Some(OsStr::new(name))).cloned();
    let parts = ["prices", "factors", "fundamentals"].map(named);
    let universe = named("universe.csv");
    if universe.is_none() && parts.iter().all(Option::is_none) {
        return Ok(split_by_suffix(entries));
    }
    let mut files: Vec<PathBuf> = universe.iter().cloned().collect();
    let mut skipped = Vec::new();
    for part in parts.iter().flatten() {
        let (found, left) = split_by_suffix(sorted_entries(part)?);
        files.extend(found);
        skipped.extend(left);
    }
    let used: Vec<&PathBuf> = universe.iter().chain(parts.iter().flatten()).collect();
    let reason = || "not part of the layout (universe.csv, prices/, factors/, fundamentals/)".to_owned();
    skipped.extend(entries.iter().filter(|e| !used.contains(e)).map(|e| (e.clone(), reason())));
    Ok((files, skipped))
}

fn split_by_suffix(entries: Vec<PathBuf>) -> Files {
    let is_csv = |p: &PathBuf| p.is_file() && p.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let (files, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_csv);
    (files, others.into_iter().map(|p| (p, "not a CSV file".to_owned())).collect())
}

fn sorted_entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read =
        || -> std::io::Result<Vec<PathBuf>> { std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect() };
    let mut entries = read().with_context(|| format!("{} cannot be read", folder.display()))?;
    entries.sort();
    Ok(entries)
}

//! Importing files: once, twice, revised, restated, refused, interrupted, at the same time.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use forecastd::jobs::import::{ImportReport, import};
use forecastd::market::bar::{Bar, Day};
use forecastd::market::calendar;
use forecastd::market::history::History;
use forecastd::market::instrument::{InstrumentKind, Symbol};
use forecastd::market::simulation::SimulatedMarket;
use forecastd::store::history::{Revisions, load};
use forecastd::store::pool;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tempfile::TempDir;

use crate::support::market::{LAST_DAY, market, real_data, until, write_folder, yahoo_csv};
use crate::support::store::{count, fingerprint, real};

async fn import_all(pool: &PgPool, folder: &Path) -> ImportReport {
    import(pool, &[folder.to_owned()]).await.unwrap()
}

fn folder_of(market: &SimulatedMarket) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), market);
    folder
}

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

async fn history(pool: &PgPool) -> History {
    let cutoff = pool::cutoff(pool).await.unwrap();
    load(pool, cutoff, cutoff, Revisions::Newest).await.unwrap().history
}

/// Largest difference between the log returns of two histories of the same instruments and sessions.
fn largest_difference(one: &History, other: &History) -> f64 {
    assert_eq!(one.sessions, other.sessions);
    let names = |h: &History| h.instruments.iter().map(|i| i.instrument.clone()).collect::<Vec<_>>();
    assert_eq!(names(one), names(other));
    let mut largest = 0.0f64;
    for (a, b) in one.instruments.iter().zip(&other.instruments) {
        for (x, y) in a.log_return.iter().zip(&b.log_return) {
            assert_eq!(x.is_nan(), y.is_nan(), "{}", a.instrument.symbol);
            largest = largest.max(if x.is_nan() { 0.0 } else { (x - y).abs() });
        }
    }
    largest
}

#[sqlx::test]
async fn a_second_import_changes_nothing(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let market = market(8, 300);
    let folder = folder_of(&market);
    let rows: usize = market.rows.iter().map(|r| 1 + r.bars.len() + r.filings.len()).sum();
    let observations: usize = market.factors.iter().map(|f| f.observations.len()).sum();
    let first = import_all(&opened.store.pool, folder.path()).await;
    assert_eq!((first.files, first.refused.len(), first.skipped.len()), (11, 0, 0));
    assert_eq!(first.recorded.inserted, (rows + observations) as u64);
    assert_eq!((first.recorded.revised, first.recorded.unchanged), (0, 0));
    let before = fingerprint(&opened.owner).await;
    let second = import_all(&opened.store.pool, folder.path()).await;
    assert_eq!((second.recorded.inserted, second.recorded.revised), (0, 0));
    assert_eq!(second.recorded.unchanged, first.recorded.inserted);
    assert_eq!(fingerprint(&opened.owner).await, before);
    let (stored, simulated) = (history(&opened.store.pool).await, market.history());
    assert!(largest_difference(&stored, &simulated) < 5e-6);
    let filings = |h: &History| h.instruments.iter().map(|i| i.filings.len()).collect::<Vec<_>>();
    assert_eq!(filings(&stored), filings(&simulated));
    assert_eq!(stored.factors, simulated.factors);
}

#[sqlx::test]
async fn a_revised_price_is_one_new_row_beside_the_old_one(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let mut market = market(4, 60);
    let folder = folder_of(&market);
    import_all(&opened.store.pool, folder.path()).await;
    let before_revision = pool::cutoff(&opened.store.pool).await.unwrap();
    let bars = count(&opened.owner, "bars").await;
    let old = market.rows[2].bars[30];
    let close = old.close() * 1.01;
    let fields = old.fields();
    let high = fields.high.map(|h| h.max(close));
    market.rows[2].bars[30] = Bar::new(forecastd::market::bar::BarFields { close, high, ..fields }).unwrap();
    write_folder(folder.path(), &market);
    let report = import_all(&opened.store.pool, folder.path()).await;
    assert_eq!((report.recorded.inserted, report.recorded.revised), (0, 1));
    assert_eq!(count(&opened.owner, "bars").await, bars + 1);
    let rows: Vec<(f64, DateTime<Utc>, bool, DateTime<Utc>)> = sqlx::query_as(
        "select close, known_at, known_at_assumed, recorded_at from bars
         where day = $1 and instrument_id = (select instrument_id from instruments where symbol = 'SIM-NOISE')
         order by recorded_at",
    )
    .bind(old.day())
    .fetch_all(&opened.owner)
    .await
    .unwrap();
    let [(first, first_known, true, first_recorded), (second, second_known, false, second_recorded)] = rows[..] else {
        panic!("{rows:?}")
    };
    assert!((first - old.close()).abs() < 1e-9 && (second - close).abs() < 1e-6);
    assert_eq!((first_known, second_known), (calendar::close_of(old.day()), second_recorded));
    assert!(first_recorded < before_revision && before_revision < second_recorded);
    let close_at = |h: &History| h.find(&symbol("SIM-NOISE")).unwrap().close[30];
    let now = pool::cutoff(&opened.store.pool).await.unwrap();
    let close_by = async |known, recorded, revisions| {
        close_at(&load(&opened.store.pool, known, recorded, revisions).await.unwrap().history)
    };
    assert_eq!(close_by(now, now, Revisions::Newest).await, second);
    assert_eq!(close_by(before_revision, now, Revisions::Newest).await, first, "it was not known yet");
    assert_eq!(close_by(now, before_revision, Revisions::Newest).await, first, "it was not recorded yet");
    assert_eq!(close_by(now, now, Revisions::First).await, first, "a walk through the past knows no correction");
}

/// The same prices on another basis, as a download after a split or a dividend states them.
fn restated(bars: &[Bar], factor: f64) -> Vec<Bar> {
    let times = |p: Option<f64>| p.map(|p| p * factor);
    let restate = |bar: &Bar| {
        let b = bar.fields();
        let volume = b.volume.map(|v| (v / factor).round());
        let fields = forecastd::market::bar::BarFields {
            open: times(b.open),
            high: times(b.high),
            low: times(b.low),
            close: b.close * factor,
            volume,
            ..b
        };
        Bar::new(fields).unwrap()
    };
    bars.iter().map(restate).collect()
}

#[sqlx::test]
async fn a_file_on_another_basis_changes_nothing_and_its_new_days_join(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let opened = real(options, connect).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("BABA.csv");
    // The noise pays no dividend and never splits, so that its closes are its total returns.
    let bars = market(3, 400).rows.swap_remove(2).bars;
    let expected: Vec<f64> = bars.windows(2).map(|p| (p[1].close() / p[0].close()).ln()).collect();
    let mut known = 300;
    fs::write(&path, yahoo_csv(&bars[..known], &[])).unwrap();
    import_all(&opened.store.pool, folder.path()).await;
    for (factor, days) in [(0.25, 301), (0.25, 301), (0.125, 340), (0.125, 340), (0.124, 400), (0.124, 400), (1.0, 400)]
    {
        let rows = count(&opened.owner, "bars").await;
        fs::write(&path, yahoo_csv(&restated(&bars[..days], factor), &[])).unwrap();
        let report = import_all(&opened.store.pool, folder.path()).await;
        let found = (report.recorded.inserted, report.recorded.revised, report.recorded.unchanged);
        assert_eq!(found, ((days - known) as u64, 0, known as u64), "{factor} to {days}");
        assert_eq!(count(&opened.owner, "bars").await, rows + (days - known) as i64, "{factor} to {days}");
        known = days;
        let stored = history(&opened.store.pool).await;
        for (t, (found, expected)) in stored.instruments[0].log_return[1..].iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 2e-6, "{factor} to {days}: return {t} is {found}, not {expected}");
        }
    }
}

#[sqlx::test]
async fn a_folder_downloaded_again_after_splits_changes_nothing(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let whole = market(8, 420);
    let known = until(&whole, whole.rows[0].bars[399].day());
    import_all(&opened.store.pool, folder_of(&known).path()).await;
    let mut again = whole.clone();
    for (k, rows) in again.rows.iter_mut().enumerate() {
        let factor = [0.5, 0.1, 3.0][k % 3];
        rows.bars = restated(&rows.bars, factor);
        rows.actions.iter_mut().for_each(|a| a.dividend *= factor);
    }
    let folder = folder_of(&again);
    for round in ["first", "second"] {
        let report = import_all(&opened.store.pool, folder.path()).await;
        assert_eq!(report.recorded.revised, 0, "{round}");
        assert!(largest_difference(&history(&opened.store.pool).await, &whole.clone().history()) < 1e-5, "{round}");
    }
    assert_eq!(count(&opened.owner, "bars").await, 8 * 420);
}

#[sqlx::test]
async fn a_refused_file_leaves_nothing_behind_and_the_others_are_in(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let market = market(4, 150);
    let folder = folder_of(&market);
    let mut lines: Vec<String> = yahoo_csv(&market.rows[0].bars, &[]).lines().map(str::to_owned).collect();
    lines[40] = lines[40].replacen(',', ",-", 1);
    fs::write(folder.path().join("prices/BAD.csv"), lines.join("\n")).unwrap();
    fs::write(folder.path().join("prices/notes.txt"), "no data").unwrap();
    let report = import_all(&opened.store.pool, folder.path()).await;
    assert_eq!((report.files, report.refused.len(), report.skipped.len()), (7, 1, 1), "{:?}", report.refused);
    let text = report.refused[0].to_string();
    assert!(text.contains("BAD.csv:41") && text.contains("Open"), "{text}");
    assert!(report.skipped[0].0.ends_with("notes.txt"));
    let known: Vec<String> =
        sqlx::query_scalar("select symbol from instruments order by 1").fetch_all(&opened.owner).await.unwrap();
    assert_eq!(known, ["SIM-01", "SIM-MARKET", "SIM-NOISE", "SIM-PLANTED"]);
    assert_eq!(count(&opened.owner, "bars").await, 4 * 150);
    let files: Vec<String> = sqlx::query_scalar("select file from imports").fetch_all(&opened.owner).await.unwrap();
    assert!(files.len() == 7 && !files.contains(&"BAD.csv".to_owned()), "{files:?}");
}

#[sqlx::test]
async fn two_imports_of_a_folder_at_once_do_what_one_does(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let market = market(8, 200);
    let folder = folder_of(&market);
    let pool = &opened.store.pool;
    let (one, other) = tokio::join!(import_all(pool, folder.path()), import_all(pool, folder.path()));
    let rows: usize = market.rows.iter().map(|r| 1 + r.bars.len() + r.filings.len()).sum();
    let rows = (rows + market.factors.iter().map(|f| f.observations.len()).sum::<usize>()) as u64;
    assert_eq!(one.recorded.inserted + other.recorded.inserted, rows);
    assert_eq!(one.recorded.unchanged + other.recorded.unchanged, rows);
    assert_eq!(one.recorded.revised + other.recorded.revised, 0);
    assert!(largest_difference(&history(pool).await, &market.history()) < 5e-6);
}

#[sqlx::test]
async fn files_that_name_instruments_in_another_order_do_not_block_each_other(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let opened = real(options, connect).await;
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..60).map(|i| format!("S{i:02}")).collect();
    let write = |name: &str, names: Vec<&String>, day: u32| -> PathBuf {
        let mut text = format!("Date,{}\n", names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(","));
        for k in 0..20 {
            let closes: Vec<String> = names.iter().map(|_| format!("{}", 100 + k)).collect();
            text.push_str(&format!("2024-0{day}-{:02},{}\n", k + 1, closes.join(",")));
        }
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let forwards = [write("forwards.csv", names.iter().collect(), 1)];
    let backwards = [write("backwards.csv", names.iter().rev().collect(), 2)];
    let pool = &opened.store.pool;
    let (one, other) = tokio::join!(import(pool, &forwards), import(pool, &backwards));
    one.unwrap();
    other.unwrap();
    assert_eq!(count(&opened.owner, "bars").await, 2 * 60 * 20);
}

#[sqlx::test]
async fn an_interrupted_import_is_resumed_by_running_it_again(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let market = market(20, 500);
    let folder = folder_of(&market);
    let whole = |s: &str| market.rows.iter().find(|r| r.instrument.symbol.as_str() == s).unwrap().bars.len() as i64;
    for files in [2, 6, 10] {
        let (pool, path) = (opened.store.pool.clone(), folder.path().to_owned());
        let begun = count(&opened.owner, "imports").await;
        let running = tokio::spawn(async move { import(&pool, &[path]).await });
        while count(&opened.owner, "imports").await < begun + files {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        running.abort();
        assert!(running.await.is_err_and(|e| e.is_cancelled()), "it was interrupted");
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select symbol, count(day) from instruments left join bars using (instrument_id) group by 1 order by 1",
        )
        .fetch_all(&opened.owner)
        .await
        .unwrap();
        assert!(rows.iter().all(|(s, n)| *n == 0 || *n == whole(s)), "each file is in or not: {rows:?}");
        assert!(rows.iter().any(|(_, n)| *n == 0), "some files were left for later");
    }
    let report = import_all(&opened.store.pool, folder.path()).await;
    assert!(report.recorded.unchanged > 0 && report.recorded.revised == 0);
    assert!(largest_difference(&history(&opened.store.pool).await, &market.history()) < 5e-6);
}

#[sqlx::test]
async fn a_wide_file_of_closes_and_a_universe_are_enough(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let folder = tempfile::tempdir().unwrap();
    let closes = "Date,AAA,BBB,IDX\n2024-09-26,10,,1000\n2024-09-27,11,20,1010\n2024-09-30,,21,1020\n";
    fs::write(folder.path().join("closes.csv"), closes).unwrap();
    let universe = "symbol,name,sector,kind\nAAA,A company,Energy,equity_stale\nBBB,A fund,,etf\nIDX,,,index\n";
    fs::write(folder.path().join("universe.csv"), universe).unwrap();
    let files = ["universe.csv", "closes.csv"].map(|f| folder.path().join(f));
    for (inserted, unchanged) in [(10, 0), (0, 10)] {
        let report = import(&opened.store.pool, &files).await.unwrap();
        assert_eq!((report.files, report.recorded.revised), (2, 0));
        assert_eq!((report.recorded.inserted, report.recorded.unchanged), (inserted, unchanged));
    }
    let history = history(&opened.store.pool).await;
    assert_eq!(history.sessions.len(), 3);
    let kinds: Vec<InstrumentKind> = history.instruments.iter().map(|i| i.instrument.kind).collect();
    assert_eq!(kinds, [InstrumentKind::Equity, InstrumentKind::Etf, InstrumentKind::Index]);
    let a = history.find(&symbol("AAA")).unwrap();
    assert!(a.close[2].is_nan() && a.open[0].is_nan() && a.volume[0].is_nan());
    assert!((a.log_return[1] - 1.1f64.ln()).abs() < 1e-12);
    assert_eq!(a.instrument.sector.as_deref(), Some("Energy"));
    // A later description counts, the earlier one stays.
    fs::write(folder.path().join("universe.csv"), universe.replace("A company", "Another name")).unwrap();
    let report = import(&opened.store.pool, &files[..1]).await.unwrap();
    assert_eq!((report.recorded.inserted, report.recorded.unchanged), (1, 2));
    assert_eq!(count(&opened.owner, "descriptions").await, 4);
}

#[sqlx::test]
async fn real_files_keep_their_total_returns(options: PgPoolOptions, connect: PgConnectOptions) {
    let Some(data) = real_data("real_files_keep_their_total_returns") else { return };
    let opened = real(options, connect).await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("prices")).unwrap();
    let symbols = ["BABA", "JD", "SPY"];
    for name in symbols {
        let file = format!("prices/{name}.csv");
        fs::copy(data.join(&file), folder.path().join(&file)).unwrap();
    }
    fs::copy(data.join("universe.csv"), folder.path().join("universe.csv")).unwrap();
    let paths = [folder.path().to_owned(), data.join("fundamentals")];
    let first = import(&opened.store.pool, &paths).await.unwrap();
    assert!(first.refused.is_empty(), "{:?}", first.refused);
    let before = fingerprint(&opened.owner).await;
    let second = import(&opened.store.pool, &paths).await.unwrap();
    assert_eq!((second.recorded.inserted, second.recorded.revised), (0, 0));
    assert_eq!(fingerprint(&opened.owner).await, before);
    let history = history(&opened.store.pool).await;
    assert_eq!(history.sessions.last(), Some(&LAST_DAY));
    for name in symbols {
        let text = fs::read_to_string(data.join(format!("prices/{name}.csv"))).unwrap();
        let adjusted: Vec<f64> = text.lines().skip(1).map(|l| l.split(',').nth(5).unwrap().parse().unwrap()).collect();
        let expected = (adjusted.last().unwrap() / adjusted[0]).ln();
        let returns = &history.find(&symbol(name)).unwrap().log_return;
        let found: f64 = returns.iter().filter(|r| !r.is_nan()).sum();
        assert!((found - expected).abs() < 1e-4, "{name}: {found} {expected}");
    }
    assert!(!history.find(&symbol("BABA")).unwrap().filings.is_empty());
}

#[sqlx::test]
async fn what_a_folder_holds_is_read_in_its_layout(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let folder = folder_of(&until(&market(3, 40), Day::from_ymd_opt(2024, 9, 20).unwrap()));
    fs::write(folder.path().join("manifest.csv"), "file,rows\n").unwrap();
    let report = import_all(&opened.store.pool, folder.path()).await;
    assert_eq!(report.skipped.len(), 1);
    assert!(report.skipped[0].1.contains("not part of the layout"), "{:?}", report.skipped);
    let nowhere = import(&opened.store.pool, &[folder.path().join("nowhere")]).await.unwrap_err();
    assert!(nowhere.to_string().contains("does not exist"), "{nowhere}");
    let empty = tempfile::tempdir().unwrap();
    let nothing = import(&opened.store.pool, &[empty.path().to_owned()]).await.unwrap_err();
    assert!(nothing.to_string().contains("no CSV file"), "{nothing}");
}

#[sqlx::test]
async fn a_row_without_its_instrument_or_factor_is_refused(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    for statement in [
        "insert into bars (instrument_id, day, recorded_at, known_at, known_at_assumed, close, source)
         values (77, '2024-09-30', now(), now(), true, 1, 'x')",
        "insert into actions (instrument_id, day, recorded_at, known_at, known_at_assumed, split, dividend, source)
         values (77, '2024-09-30', now(), now(), true, 1, 1, 'x')",
        "insert into observations (factor_id, day, recorded_at, known_at, known_at_assumed, value, source)
         values (77, '2024-09-30', now(), now(), true, 1, 'x')",
    ] {
        let error = sqlx::query(statement).execute(&opened.store.pool).await.expect_err(statement).to_string();
        assert!(error.contains("that does not exist"), "{error}");
    }
}

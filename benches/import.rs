//! Import against a bare `COPY` of the same bars, in alternating runs on fresh databases; and where the time goes.

use std::path::PathBuf;

use forecastd::jobs::import::import;
use sqlx::{Connection, PgConnection};

use crate::Bench;
use crate::rows::{BarRows, copy_all};
use crate::stores::Stores;
use crate::table::{Table, clocked, median, rate, seconds, thousands, timed};

/// Runs of each kind.
const ROUNDS: usize = 3;

/// The columns and the primary key of `bars`, nothing else of it.
const BARE_TABLE: &str = "create table copied (like bars, primary key (instrument_id, day, recorded_at))";
const COPY_BARE: &str = "copy copied (instrument_id, day, recorded_at, known_at, known_at_assumed, open, high, low, close, \
     volume, source) from stdin (format binary)";
/// `bars` with its checks and its reference to the instruments.
const CHECKED_TABLE: &str = "create table checked (like bars including all); \
     alter table checked add foreign key (instrument_id) references instruments";
const COPY_CHECKED: &str = "copy checked (instrument_id, day, recorded_at, known_at, known_at_assumed, open, high, low, \
     close, volume, source) from stdin (format binary)";

/// Rows and seconds of each run of one kind.
#[derive(Default)]
struct Runs {
    rows: u64,
    seconds: Vec<f64>,
}

impl Runs {
    fn add(&mut self, (rows, seconds): (u64, f64)) {
        self.rows = rows;
        self.seconds.push(seconds);
    }

    fn per_second(&self) -> f64 {
        self.rows as f64 / median(&self.seconds)
    }
}

#[derive(Default)]
struct Measured {
    bare: Runs,
    checked: Runs,
    prices: Runs,
    folder: Runs,
    again: Runs,
}

/// Prints the tables.
pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let rows = BarRows::parse(&bench.data.prices())?;
    for durable in [false, true] {
        let stores = Stores::start(durable).await?;
        let mut measured = Measured::default();
        for round in 0..ROUNDS {
            measure(&mut measured, bench, &rows, (&stores, round)).await?;
        }
        stores.stop().await?;
        print(bench, &measured, durable);
        if !durable {
            print_profile(bench, &rows, &measured);
        }
    }
    Ok(())
}

/// One run of each kind; every second round in the other order.
async fn measure(
    measured: &mut Measured,
    bench: &Bench,
    rows: &BarRows,
    (stores, round): (&Stores, usize),
) -> anyhow::Result<()> {
    let (folder, prices) = (bench.data.folder.clone(), bench.data.prices());
    for turn in 0..3 {
        match (turn + round) % 3 {
            0 => {
                let (bare, checked) = copy_runs(stores, &format!("copy{round}"), rows).await?;
                measured.bare.add(bare);
                measured.checked.add(checked);
            }
            1 => measured.prices.add(import_runs(stores, &format!("prices{round}"), &prices).await?.0),
            _ => {
                let (first, again) = import_runs(stores, &format!("folder{round}"), &folder).await?;
                measured.folder.add(first);
                measured.again.add(again);
            }
        }
    }
    Ok(())
}

type Run = (u64, f64);

async fn copy_runs(stores: &Stores, database: &str, rows: &BarRows) -> anyhow::Result<(Run, Run)> {
    let store = stores.open(database).await?;
    let mut connection = PgConnection::connect(&store.url).await?;
    sqlx::raw_sql(BARE_TABLE).execute(&mut connection).await?;
    sqlx::raw_sql(CHECKED_TABLE).execute(&mut connection).await?;
    let symbols = rows.count() as i32;
    sqlx::query("insert into instruments (symbol) select 'S' || n from generate_series(1, least($1, 10000)) n")
        .bind(symbols)
        .execute(&mut connection)
        .await?;
    let encoded = rows.encoded();
    let (bare, bare_seconds) = timed(copy_all(&mut connection, encoded, COPY_BARE)).await;
    let encoded = rows.encoded();
    let (checked, checked_seconds) = timed(copy_all(&mut connection, encoded, COPY_CHECKED)).await;
    connection.close().await?;
    store.pool.close().await;
    Ok(((bare?, bare_seconds), (checked?, checked_seconds)))
}

/// A first import, and a second one that finds nothing new.
async fn import_runs(stores: &Stores, database: &str, path: &PathBuf) -> anyhow::Result<(Run, Run)> {
    let store = stores.open(database).await?;
    let (first, first_seconds) = timed(import(&store.pool, std::slice::from_ref(path))).await;
    let (again, again_seconds) = timed(import(&store.pool, std::slice::from_ref(path))).await;
    store.pool.close().await;
    let (first, again) = (first?.recorded, again?.recorded);
    anyhow::ensure!(again.inserted + again.revised == 0, "the second import changed rows: {again:?}");
    Ok(((first.inserted, first_seconds), (again.unchanged, again_seconds)))
}

fn print(bench: &Bench, measured: &Measured, durable: bool) {
    let title = if durable { "Import, durable as the service runs" } else { "Import, without waiting for the disk" };
    let mut table = Table::new(title, &bench.caption, &["run", "rows", "seconds", "rows/s", "of bare COPY"]);
    let bare = measured.bare.per_second();
    let kinds = [
        ("bare COPY of the bars", &measured.bare),
        ("import of the price files", &measured.prices),
        ("import of the folder", &measured.folder),
        ("second import, nothing changed", &measured.again),
    ];
    for (name, runs) in kinds {
        let share = format!("{:.0} %", 100.0 * runs.per_second() / bare);
        let middle = median(&runs.seconds);
        let (count, took) = (thousands(runs.rows as f64), seconds(middle));
        table.row(&[name, &count, &took, &rate(runs.rows as f64, middle), &share]);
    }
    table.note(&format!("medians of {ROUNDS} alternating runs on fresh databases; the aim is 40 %"));
    table.note(
        "bare COPY: rows encoded beforehand, one transaction, a table with the primary key of bars and no other rule",
    );
    table.print();
}

fn print_profile(bench: &Bench, rows: &BarRows, measured: &Measured) {
    let heads = ["part of the import of the price files", "seconds", "share"];
    let mut table = Table::new("Import: where the time goes", &bench.caption, &heads);
    let (_, encode) = clocked(|| rows.encoded());
    let (whole, checked) = (median(&measured.prices.seconds), median(&measured.checked.seconds));
    let mut row = |name: &str, part: f64| table.row(&[name, &seconds(part), &format!("{:.0} %", 100.0 * part / whole)]);
    row("read and hash the files (own thread)", rows.hash_seconds);
    row("parse and check them (own thread)", rows.parse_seconds);
    row("encode the rows", encode);
    row("COPY into a table with the rules of bars", checked);
    row("whole import", whole);
    table.note("the parts run one after another here; in an import two threads and Postgres share the cores");
    table.print();
}

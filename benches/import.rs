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

/// Tables of the columns and the primary key of `bars` with ever more of its rules, and the statements that fill them.
const TABLES: [(&str, &str, &str); 3] = [
    (
        "COPY, primary key alone",
        "create table bare (like bars, primary key (instrument_id, day, recorded_at))",
        "copy bare from stdin (format binary)",
    ),
    (
        "  and checks and other indexes",
        "create table checked (like bars including all)",
        "copy checked from stdin (format binary)",
    ),
    (
        "  (a foreign key, not used)",
        "create table referring (like bars including all, foreign key (instrument_id) references instruments)",
        "copy referring from stdin (format binary)",
    ),
];

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

    fn best_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

#[derive(Default)]
struct Measured {
    /// In the order of [`TABLES`]; the first one is the bare one.
    copies: [Runs; 3],
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
                let copied = copy_runs(stores, &format!("copy{round}"), rows).await?;
                measured.copies.iter_mut().zip(copied).for_each(|(runs, run)| runs.add(run));
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

async fn copy_runs(stores: &Stores, database: &str, rows: &BarRows) -> anyhow::Result<Vec<Run>> {
    let store = stores.open(database).await?;
    let mut connection = PgConnection::connect(&store.url).await?;
    sqlx::query("insert into instruments (symbol) select 'S' || n from generate_series(1, $1) n")
        .bind(i32::try_from(rows.series())?)
        .execute(&mut connection)
        .await?;
    let mut runs = Vec::new();
    for (_, create, fill) in TABLES {
        sqlx::query(create).execute(&mut connection).await?;
        let encoded = rows.encoded();
        let (copied, took) = timed(copy_all(&mut connection, encoded, fill)).await;
        runs.push((copied?, took));
    }
    connection.close().await?;
    store.pool.close().await;
    Ok(runs)
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
    let bare = &measured.copies[0];
    let kinds = [
        ("bare COPY of the bars", bare),
        ("import of the price files", &measured.prices),
        ("import of the folder", &measured.folder),
        ("second import, nothing changed", &measured.again),
    ];
    for (name, runs) in kinds {
        let share = format!("{:.0} %", 100.0 * runs.per_second() / bare.per_second());
        let middle = median(&runs.seconds);
        let (count, took) = (thousands(runs.rows as f64), seconds(middle));
        table.row(&[name, &count, &took, &rate(runs.rows as f64, middle), &share]);
    }
    let [prices, folder] = [&measured.prices, &measured.folder]
        .map(|runs| format!("{:.0} %", 100.0 * runs.best_per_second() / bare.best_per_second()));
    table.note(&format!("medians of {ROUNDS} alternating runs on fresh databases; the aim is 40 %"));
    table.note(&format!("of the fastest runs: price files {prices}, folder {folder}"));
    table.note(
        "bare COPY: rows encoded beforehand, one transaction, a table with the primary key of bars and no other rule",
    );
    table.print();
}

fn print_profile(bench: &Bench, rows: &BarRows, measured: &Measured) {
    let heads = ["part of the import of the price files", "seconds", "share"];
    let mut table = Table::new("Import: where the time goes", &bench.caption, &heads);
    let (_, encode) = clocked(|| rows.encoded());
    let whole = median(&measured.prices.seconds);
    let mut row = |name: &str, part: f64| table.row(&[name, &seconds(part), &format!("{:.0} %", 100.0 * part / whole)]);
    row("read and hash the files (own thread)", rows.hash_seconds);
    row("parse and check them (own thread)", rows.parse_seconds);
    row("encode the rows", encode);
    for ((name, ..), runs) in TABLES.iter().zip(&measured.copies) {
        row(name, median(&runs.seconds));
    }
    row("whole import", whole);
    table.note("the parts run one after another here; in an import two threads and Postgres share the cores");
    table.print();
}

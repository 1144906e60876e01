//! `make bench-pytorch`: training beside PyTorch's on the same network, losses, rows and batches, turn and turn about.

use std::sync::atomic::AtomicBool;
use std::sync::{Barrier, Mutex, PoisonError};

use anyhow::Context;
use forecastd::learning::device::DeviceKind;
use forecastd::learning::ensemble::{Provenance, train as train_network};
use forecastd::learning::recipe::Recipe;
use forecastd::learning::task::OUTPUTS;
use forecastd::learning::training::Control;

use crate::lesson::{self, Lesson};
use crate::steps::{self, Loss, Rows, STAGES};
use crate::table::{Table, median, thousands};
use crate::worker::{Worker, ask};

/// Names the Python that has PyTorch.
const PYTHON: &str = "FORECASTD_BENCH_PYTHON";
/// Turns of every contestant; medians are printed.
const ROUNDS: usize = 5;
/// Passes over the rows in a turn of ours, and seconds in a turn of PyTorch's.
const EPOCHS: usize = 3;
const SECONDS: u32 = 2;
/// Steps in a turn of the stages and of the bare products.
const STEPS: usize = 100;
/// Cores that both sides may use.
const THREADS: usize = 2;
/// Hidden widths of the larger network.
const LARGER: [usize; 2] = [128, 128];

/// Prints the tables, for the network of the default recipe and for a larger one.
pub fn run(lesson: &Lesson<'_>) -> anyhow::Result<()> {
    let python = std::env::var_os(PYTHON).with_context(|| format!("{PYTHON} is not set: run `make bench-pytorch`"))?;
    let folder = tempfile::tempdir()?;
    for hidden in [Recipe::default().hidden, LARGER.to_vec()] {
        let rows = lesson.rows(hidden)?;
        let file = folder.path().join("rows.safetensors");
        lesson::write(&rows, &file)?;
        let start = |threads| Worker::start(python.as_ref(), &file, threads);
        let mut pair = (0..THREADS).map(|_| start(1)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut single = vec![start(THREADS)?];
        compare(lesson, &rows, &mut pair, &mut single)?;
    }
    Ok(())
}

/// Figures of each turn.
#[derive(Default)]
struct Turns {
    pair: Vec<f64>,
    single: Vec<f64>,
    ours: Vec<f64>,
}

impl Turns {
    fn medians(&self) -> [f64; 3] {
        [&self.pair, &self.single, &self.ours].map(|turns| median(turns))
    }

    /// Ours by the faster of PyTorch's, turn by turn: the machine may have been slower in one turn than in another.
    fn ratio(&self) -> f64 {
        let [pair, single, _] = self.medians();
        let faster = if pair >= single { &self.pair } else { &self.single };
        median(&self.ours.iter().zip(faster).map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    }
}

fn compare(lesson: &Lesson<'_>, rows: &Rows<'_>, pair: &mut [Worker], single: &mut [Worker]) -> anyhow::Result<()> {
    let (mut all, mut squared, mut matmul) = (Turns::default(), Turns::default(), Turns::default());
    let (mut ours_stages, mut their_stages) = (Vec::new(), Vec::new());
    for turn in 1..=ROUNDS {
        eprintln!("hidden {:?}: turn {turn} of {ROUNDS}", rows.recipe.hidden);
        for (turns, loss) in [(&mut all, Loss::All), (&mut squared, Loss::Squared)] {
            let question = format!("train {} {SECONDS}", loss.name());
            turns.pair.push(sum(&ask(pair, &question)?));
            turns.single.push(sum(&ask(single, &question)?));
            turns.ours.push(match loss {
                Loss::All => ensemble_rate(lesson, &rows.recipe)?,
                Loss::Squared => side_by_side(|barrier| steps::train(rows, loss, EPOCHS, barrier))?.iter().sum(),
            });
        }
        let question = format!("matmul {STEPS}");
        matmul.pair.push(sum(&ask(pair, &question)?));
        matmul.single.push(sum(&ask(single, &question)?));
        matmul.ours.push(side_by_side(|barrier| steps::matmul(rows, STEPS, barrier))?.iter().sum());
        their_stages.push(mean(&ask(pair, &format!("stages all {STEPS}"))?));
        let stages = side_by_side(|barrier| steps::stages(rows, Loss::All, STEPS, barrier))?;
        ours_stages.push(mean(&stages.iter().map(|stages| stages.to_vec()).collect::<Vec<_>>()));
    }
    let caption = format!("hidden {:?}; {}; {}", rows.recipe.hidden, lesson.caption, pair[0].version);
    print_rates(&caption, rows, &[all, squared], &matmul);
    print_stages(&caption, rows, &ours_stages, &their_stages, &matmul);
    Ok(())
}

fn print_rates(caption: &str, rows: &Rows<'_>, [all, squared]: &[Turns; 2], matmul: &Turns) {
    let heads = ["network-samples a second", "PyTorch, 2 x 1 thread", "PyTorch, 1 x 2", "ours, 2 x 1", "ours / faster"];
    let mut table = Table::new("Training beside PyTorch", caption, &heads);
    let mut row = |name: &str, turns: &Turns, unit: f64, show: fn(f64) -> String| {
        let [pair, single, ours] = turns.medians().map(|value| show(value / unit));
        table.row(&[name, &pair, &single, &ours, &format!("{:.2}", turns.ratio())]);
    };
    row("all losses", all, 100.0, |hundreds| thousands(hundreds.round() * 100.0));
    row("squared error instead", squared, 100.0, |hundreds| thousands(hundreds.round() * 100.0));
    row("bare matrix products of a step, GFLOP/s", matmul, 1e9, |value| format!("{value:.1}"));
    let operations = steps::operations_per_row(rows);
    let reached = |turns: &Turns| std::array::from_fn(|i| turns.medians()[i] * operations / 1e9);
    let [pair, single, ours]: [f64; 3] = reached(all);
    let cells = [pair, single, ours].map(|value| format!("{value:.1}"));
    table.row(&["GFLOP/s reached in training, all losses", &cells[0], &cells[1], &cells[2], ""]);
    let limits = matmul.medians();
    let cells: [String; 3] =
        std::array::from_fn(|i| format!("{:.0} %", [pair, single, ours][i] * 1e9 / limits[i] * 100.0));
    table.row(&["share of the matrix products' limit", &cells[0], &cells[1], &cells[2], ""]);
    table.note(&format!(
        "{} rows, {} inputs, {OUTPUTS} outputs, batches of {}; {:.0} thousand operations a sample",
        thousands(rows.targets.rows() as f64),
        rows.input_count,
        rows.recipe.batch_size,
        operations / 1e3
    ));
    table.note(&format!("medians of {ROUNDS} turns of about {SECONDS} seconds; ratios are taken by turn"));
    table
        .note("ours with all losses is the training of the program itself; the squared error has a loop of this bench");
    table.print();
}

fn print_stages(caption: &str, rows: &Rows<'_>, ours: &[Vec<f64>], theirs: &[Vec<f64>], matmul: &Turns) {
    let heads = ["stage", "PyTorch, us", "share", "ours, us", "share"];
    let mut table = Table::new("Where a step goes", caption, &heads);
    let medians = |turns: &[Vec<f64>]| -> Vec<f64> {
        (0..STAGES.len()).map(|at| median(&turns.iter().map(|turn| turn[at]).collect::<Vec<_>>())).collect()
    };
    let (theirs, ours) = (medians(theirs), medians(ours));
    let totals = [theirs.iter().sum::<f64>(), ours.iter().sum::<f64>()];
    let cells = |seconds: [f64; 2]| {
        let share = |at: usize| format!("{:.0} %", seconds[at] / totals[at] * 100.0);
        [format!("{:.0}", seconds[0] * 1e6), share(0), format!("{:.0}", seconds[1] * 1e6), share(1)]
    };
    for (at, stage) in STAGES.iter().enumerate() {
        let [a, b, c, d] = cells([theirs[at], ours[at]]);
        table.row(&[stage, &a, &b, &c, &d]);
    }
    let [a, b, c, d] = cells(totals);
    table.row(&["a step", &a, &b, &c, &d]);
    let operations = steps::operations_per_row(rows) * rows.recipe.batch_size as f64 * THREADS as f64;
    let [pair, _, own] = matmul.medians();
    let [a, b, c, d] = cells([operations / pair, operations / own]);
    table.row(&["of it matrix products, at the bare rate", &a, &b, &c, &d]);
    table.note(&format!("one of {THREADS} networks that learn at the same time, on one thread each; all losses"));
    table.print();
}

/// Network-samples a second of the program's own training, without its validation.
fn ensemble_rate(lesson: &Lesson<'_>, recipe: &Recipe) -> anyhow::Result<f64> {
    let recipe = recipe.clone().with_members(THREADS).with_epochs(EPOCHS).with_patience(EPOCHS);
    let speeds = Mutex::new(vec![0.0; THREADS]);
    let note = |member: usize, rate: f64| {
        speeds.lock().unwrap_or_else(PoisonError::into_inner)[member] += 1.0 / rate / EPOCHS as f64;
    };
    let control = Control {
        threads: THREADS,
        device: DeviceKind::Cpu,
        progress: &|progress| note(progress.member, progress.rows_per_second),
        cancelled: &AtomicBool::new(false),
    };
    let provenance = Provenance { seed: 1, data_hash: String::new(), schema: serde_json::Value::Null };
    train_network(lesson.samples, &recipe.plan(lesson.until_day), &recipe, provenance, &control)?;
    let seconds_per_row = speeds.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(seconds_per_row.iter().map(|seconds| 1.0 / seconds).sum())
}

/// The same work on as many threads as there are cores to use, each with its own pool of one, as in a training.
fn side_by_side<T: Send>(work: impl Fn(&Barrier) -> anyhow::Result<T> + Sync) -> anyhow::Result<Vec<T>> {
    let barrier = Barrier::new(THREADS);
    let alone = || rayon::ThreadPoolBuilder::new().num_threads(1).build()?.install(|| work(&barrier));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(alone)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<T>>| thread.join();
        threads.into_iter().map(|t| join(t).map_err(|_| anyhow::anyhow!("a thread of the bench died"))?).collect()
    })
}

fn sum(answers: &[Vec<f64>]) -> f64 {
    answers.iter().map(|answer| answer[0]).sum()
}

fn mean(answers: &[Vec<f64>]) -> Vec<f64> {
    (0..STAGES.len()).map(|at| answers.iter().map(|a| a[at]).sum::<f64>() / answers.len() as f64).collect()
}

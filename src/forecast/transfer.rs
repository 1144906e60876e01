//! Does learning the tasks together help? Every way of sharing against one single-task network a task, head by head, out
//! of sample, with paired tests; and whether instruments with little data gain.

use std::fmt::Write as _;

use serde::Serialize;

use crate::evaluation::paired_tests::{diebold_mariano, overlap_steps};
use crate::forecast::prepared::Prepared;
use crate::forecast::training::{FitError, FitRequest, fit_benchmarks};
use crate::forecast::walker::{Folds, Record, Walker};
use crate::learning::loss::row_losses;
use crate::learning::recipe::{Recipe, TaskWeights, Weighting};
use crate::learning::sharing::Sharing;
use crate::learning::task::{HEADS, Head, OUTPUTS, Task};
use crate::learning::training::Control;
use crate::market::horizon::Horizon;

/// Returns in the past of an instrument below which it counts as one with little data: three years.
const LITTLE_DATA: usize = 756;
/// A difference is named when its two-sided p-value is below this.
const LEVEL: f64 = 0.05;

/// A way of learning the tasks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variant {
    /// Such as `hard`, `soft, uncertainty` or `single volatility`.
    pub name: String,
    /// The only task it learns; `None` for all of them.
    pub only: Option<Task>,
    #[serde(skip)]
    recipe: Recipe,
}

/// The variants of a recipe: each sharing with each weighting, then a single-task network a task.
#[must_use]
pub fn variants(recipe: &Recipe) -> Vec<Variant> {
    let mut variants = Vec::new();
    for weighting in [Weighting::Equal, Weighting::Uncertainty] {
        for sharing in Sharing::ALL {
            let name = format!("{sharing:?}, {weighting:?}").to_lowercase();
            variants.push(Variant { name, only: None, recipe: Recipe { sharing, weighting, ..recipe.clone() } });
        }
    }
    for task in Task::ALL {
        let alone = Recipe {
            sharing: Sharing::Hard,
            weighting: Weighting::Equal,
            task_weights: TaskWeights::only(task),
            ..recipe.clone()
        };
        variants.push(Variant { name: format!("single {}", task.label()), only: Some(task), recipe: alone });
    }
    variants
}

/// One head of one variant against the single-task network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadTransfer {
    /// The variant.
    pub variant: String,
    /// Label of the head, such as `volatility@4w`.
    pub head: String,
    /// Days compared.
    pub days: usize,
    /// Mean loss over the benchmark's, the benchmark being an output of 0.
    pub relative_loss: f64,
    /// The same of the single-task network.
    pub single_relative_loss: f64,
    /// Diebold-Mariano/HLN of the single-task loss less the variant's; above 0 the variant is better.
    pub statistic: Option<f64>,
    /// Its two-sided p-value.
    pub p_value: Option<f64>,
    /// The same on rows of instruments with fewer than 756 returns in their past.
    pub little_data: Option<Pair>,
    /// And on the other rows.
    pub much_data: Option<Pair>,
}

/// Mean gain over the single-task network relative to the benchmark's loss, and its test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// (single-task loss - loss) / the benchmark's loss.
    pub gain: f64,
    /// Diebold-Mariano/HLN.
    pub statistic: Option<f64>,
    /// Rows.
    pub rows: usize,
}

/// Walks every variant and compares; `progress` hears of each variant begun and the folds it has to train.
///
/// # Errors
/// [`FitError`] when a training fails or is cancelled.
pub fn compare(
    prepared: &Prepared,
    request: &FitRequest<'_>,
    folds: Folds<'_>,
    control: &Control<'_>,
    progress: &dyn Fn(&str, usize),
) -> Result<Vec<HeadTransfer>, FitError> {
    let last = prepared.sessions().checked_sub(1).ok_or(FitError::Empty)?;
    let state = fit_benchmarks(prepared, &of_recipe(request, request.recipe), last);
    let mut walked = Vec::new();
    for variant in variants(request.recipe) {
        let own = of_recipe(request, &variant.recipe);
        let mut walker = Walker::begin(prepared, &own, folds, &state, last);
        progress(&variant.name, walker.missing(last)?);
        walker.advance(last, control)?;
        walker.settle(last)?;
        let losses = Losses::of(prepared, &walker);
        walked.push((variant, losses));
    }
    let single = |task: Task| walked.iter().find(|(variant, _)| variant.only == Some(task)).map(|(_, losses)| losses);
    let mut transfers = Vec::new();
    for (variant, losses) in walked.iter().filter(|(variant, _)| variant.only.is_none()) {
        for (index, head) in Head::all().into_iter().enumerate() {
            transfers
                .extend(single(head.task).and_then(|single| transfer(&variant.name, (index, head), losses, single)));
        }
    }
    Ok(transfers)
}

/// The request for another recipe; without horizons nothing is auditioned, which this comparison has no use for.
fn of_recipe<'a>(request: &FitRequest<'a>, recipe: &'a Recipe) -> FitRequest<'a> {
    FitRequest { settings: request.settings, recipe, data_hash: request.data_hash.clone(), horizons: &[] }
}

/// Losses of every row and head of a record.
struct Losses {
    days: Vec<u32>,
    young: Vec<bool>,
    network: Vec<[Option<f32>; HEADS]>,
    benchmark: Vec<[Option<f32>; HEADS]>,
}

impl Losses {
    fn of(prepared: &Prepared, walker: &Walker<'_>) -> Self {
        let record: &Record = &walker.record;
        let zeros = [0.0; OUTPUTS];
        let young = |k: usize| {
            let Some(school) = &walker.school else { return false };
            let instrument = school.samples.instrument[record.rows[k]] as usize;
            let past = record.days[k] as usize + 1;
            prepared.universe.returns(instrument).count(past - 1, past) < LITTLE_DATA
        };
        Self {
            days: record.days.clone(),
            young: (0..record.rows.len()).map(young).collect(),
            network: (0..record.rows.len()).map(|k| row_losses(record.output(k), &record.targets[k])).collect(),
            benchmark: record.targets.iter().map(|targets| row_losses(&zeros, targets)).collect(),
        }
    }
}

fn transfer(variant: &str, (index, head): (usize, Head), losses: &Losses, single: &Losses) -> Option<HeadTransfer> {
    let all = paired(index, head, losses, single, |_| true)?;
    let pair = |young: bool| {
        let sums = paired(index, head, losses, single, |k| losses.young[k] == young)?;
        Some(Pair {
            gain: (sums.single - sums.network) / sums.benchmark,
            statistic: diebold_mariano(&sums.gains, sums.steps).map(|t| t.statistic),
            rows: sums.rows,
        })
    };
    let test = diebold_mariano(&all.gains, all.steps);
    Some(HeadTransfer {
        variant: variant.to_owned(),
        head: head.label(),
        days: all.gains.len(),
        relative_loss: all.network / all.benchmark,
        single_relative_loss: all.single / all.benchmark,
        statistic: test.map(|t| t.statistic),
        p_value: test.map(|t| t.p_value_two_sided),
        little_data: pair(true),
        much_data: pair(false),
    })
}

struct Sums {
    gains: Vec<f64>,
    steps: usize,
    network: f64,
    single: f64,
    benchmark: f64,
    rows: usize,
}

/// Daily gains of a head over the rows that are chosen; `None` without any or where the benchmark costs nothing.
fn paired(index: usize, head: Head, losses: &Losses, single: &Losses, chosen: impl Fn(usize) -> bool) -> Option<Sums> {
    let mut days: Vec<(usize, f64, f64)> = Vec::new();
    let mut sums = Sums { gains: vec![], steps: 1, network: 0.0, single: 0.0, benchmark: 0.0, rows: 0 };
    for k in (0..losses.days.len().min(single.days.len())).filter(|k| chosen(*k)) {
        let known = (losses.network[k][index], single.network[k][index], losses.benchmark[k][index]);
        let (Some(network), Some(alone), Some(benchmark)) = known else { continue };
        let (network, alone) = (f64::from(network), f64::from(alone));
        sums.network += network;
        sums.single += alone;
        sums.benchmark += f64::from(benchmark);
        sums.rows += 1;
        let day = losses.days[k] as usize;
        match days.last_mut().filter(|(last, ..)| *last == day) {
            Some((_, sum, count)) => (*sum, *count) = (*sum + alone - network, *count + 1.0),
            None => days.push((day, alone - network, 1.0)),
        }
    }
    let sessions: Vec<usize> = days.iter().map(|d| d.0).collect();
    sums.steps = overlap_steps(head.horizon.sessions(), &sessions);
    sums.gains = days.into_iter().map(|(_, sum, count)| sum / count).collect();
    (sums.benchmark > 0.0).then_some(sums)
}

/// The comparison as Markdown: a table a variant, where sharing hurts, and whether little data gains.
#[must_use]
pub fn markdown(transfers: &[HeadTransfer]) -> String {
    let mut text = String::from(
        "# Learning the tasks together\n\nEach way of sharing against one single-task network a task (all horizons, same \
         size), on the same days, out of sample, at the full share of the output. Losses are relative to the benchmark's, \
         which is 1; below 1 is better. The statistic is Diebold-Mariano with the factor of Harvey, Leybourne and Newbold; \
         above 0 sharing is better.\n",
    );
    let mut variants: Vec<&str> = transfers.iter().map(|t| t.variant.as_str()).collect();
    variants.dedup();
    for variant in variants {
        let of = || transfers.iter().filter(|t| t.variant == variant);
        let _ = writeln!(
            text,
            "\n## {variant}\n\n| head | days | single task | shared | statistic | p | little data | much data |\n|---|---|---|---|---|---|---|---|"
        );
        for t in of() {
            let number = |x: Option<f64>, digits: usize| x.map_or_else(|| "-".into(), |x| format!("{x:.digits$}"));
            let pair = |pair: Option<Pair>| {
                pair.map_or_else(|| "-".into(), |p| format!("{:+.2} % ({})", 100.0 * p.gain, number(p.statistic, 1)))
            };
            let _ = writeln!(
                text,
                "| {} | {} | {:.4} | {:.4} | {} | {} | {} | {} |",
                t.head,
                t.days,
                t.single_relative_loss,
                t.relative_loss,
                number(t.statistic, 2),
                number(t.p_value, 3),
                pair(t.little_data),
                pair(t.much_data)
            );
        }
        let significant = |sign: f64| {
            let heads: Vec<&str> = of()
                .filter(|t| t.p_value.is_some_and(|p| p < LEVEL) && t.statistic.is_some_and(|s| s * sign > 0.0))
                .map(|t| t.head.as_str())
                .collect();
            if heads.is_empty() { "nowhere".to_owned() } else { heads.join(", ") }
        };
        let _ = writeln!(
            text,
            "\nNegative transfer (p < {LEVEL}): {}.\nPositive transfer: {}.",
            significant(-1.0),
            significant(1.0)
        );
        let _ = writeln!(text, "\n{}", data_sentence(&of().collect::<Vec<_>>()));
    }
    text
}

/// Whether instruments and horizons with little data gain, in numbers.
fn data_sentence(transfers: &[&HeadTransfer]) -> String {
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let little = mean(transfers.iter().filter_map(|t| t.little_data).map(|p| 100.0 * p.gain).collect());
    let much = mean(transfers.iter().filter_map(|t| t.much_data).map(|p| 100.0 * p.gain).collect());
    let at = |horizon: Horizon| {
        let suffix = format!("@{horizon}");
        let of = transfers.iter().filter(|t| t.head.ends_with(&suffix));
        mean(of.map(|t| 100.0 * (t.single_relative_loss - t.relative_loss)).collect())
    };
    let by_horizon: Vec<String> = Horizon::ALL.iter().map(|h| format!("{h} {:+.2} %", at(*h))).collect();
    format!(
        "Mean gain over the heads: instruments with fewer than {LITTLE_DATA} returns {little:+.2} %, others {much:+.2} %; by \
         horizon, the longer the less data: {}.",
        by_horizon.join(", ")
    )
}

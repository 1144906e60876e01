//! The rows that both sides learn from, and the file that brings them to the other side.

use std::collections::HashMap;
use std::path::Path;

use forecastd::learning::dataset::{HorizonTargets, KnownTargets, RowTargets, Samples};
use forecastd::learning::objective::Objective;
use forecastd::learning::recipe::{Recipe, Weighting};
use forecastd::learning::scaler::Scaler;
use forecastd::learning::sharing::Sharing;
use forecastd::learning::task::{HEADS, OUTPUTS, STATES, Task};
use forecastd::market::horizon::Horizon;
use safetensors::tensor::{Dtype, TensorView};

use crate::steps::Rows;

/// Rows on which both sides must find the same slopes.
const CHECKED: usize = 512;

/// The samples to learn from, and what else a training asks for.
pub struct Lesson<'a> {
    /// All rows.
    pub samples: &'a Samples,
    /// The session until whose close they are known.
    pub until_day: u32,
    /// Data and machine in words.
    pub caption: &'a str,
}

impl<'a> Lesson<'a> {
    /// The training rows as the network sees them; the default recipe but for the widths.
    pub fn rows(&self, hidden: Vec<usize>) -> anyhow::Result<Rows<'a>> {
        // The other side knows no other sharing and weighting.
        let recipe = Recipe::default().with_sharing(Sharing::Hard).with_weighting(Weighting::Equal).with_hidden(hidden);
        let samples = self.samples;
        let split = recipe.plan(self.until_day).split(samples)?;
        let scaler = Scaler::fit(samples, split.training.clone());
        let mut inputs = Vec::new();
        scaler.append(&samples.features[..split.training.end * samples.feature_count], &mut inputs);
        let (targets, input_count) = (split.training_targets, scaler.input_count());
        let objective = Objective::fit(&targets, &recipe.task_weights);
        let plain = known(&targets).iter().flat_map(plain).collect();
        Ok(Rows { recipe, inputs, input_count, targets, objective, plain })
    }
}

/// Writes the rows, the hyperparameters, and outputs with their slopes, for the other side to check its losses by.
pub fn write(rows: &Rows<'_>, file: &Path) -> anyhow::Result<()> {
    let checked: Vec<u32> = (0..rows.targets.rows().min(CHECKED) as u32).collect();
    let outputs: Vec<f32> = (0..checked.len() * OUTPUTS).map(|at| 2.0 * (at as f32 * 0.7).sin()).collect();
    let slopes = rows.objective.descent(&outputs, &checked, &rows.targets, &[1.0; HEADS]).slopes;
    let mut columns = columns(&known(&rows.targets));
    columns.push(("plain", OUTPUTS, rows.plain.clone()));
    columns.push(("inputs", rows.input_count, rows.inputs.clone()));
    columns.push(("check_outputs", OUTPUTS, outputs));
    columns.push(("check_slopes", OUTPUTS, slopes));
    let bytes: Vec<Vec<u8>> =
        columns.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let view = |((name, width, values), bytes): (&(&'static str, usize, Vec<f32>), _)| {
        Ok((*name, TensorView::new(Dtype::F32, vec![values.len() / width, *width], bytes)?))
    };
    let views = columns.iter().zip(bytes.iter().map(Vec::as_slice)).map(view).collect::<anyhow::Result<Vec<_>>>()?;
    let recipe = &rows.recipe;
    let metadata = HashMap::from([
        ("hidden".to_owned(), serde_json::to_string(&recipe.hidden)?),
        ("batch_size".to_owned(), recipe.batch_size.to_string()),
        ("task_weights".to_owned(), serde_json::to_string(&Task::ALL.map(|task| recipe.task_weights.of(task)))?),
        ("learning_rate".to_owned(), recipe.learning_rate.to_string()),
        ("weight_decay".to_owned(), recipe.weight_decay.to_string()),
    ]);
    std::fs::write(file, safetensors::serialize(views, Some(metadata))?)?;
    Ok(())
}

/// Copies of the targets, less what was not known.
fn known(targets: &KnownTargets<'_>) -> Vec<RowTargets> {
    let row = |row: usize| RowTargets {
        horizons: Horizon::ALL
            .map(|h| targets.at(row, h).map_or(HorizonTargets::UNKNOWN, |targets| targets.horizons[h.index()])),
        next_state: targets.at(row, Horizon::OneWeek).map_or(RowTargets::UNKNOWN_STATE, |targets| targets.next_state),
    };
    (0..targets.rows()).map(row).collect()
}

/// Targets in the order of the outputs, 0 where unknown.
fn plain(targets: &RowTargets) -> Vec<f32> {
    let states = (0..STATES).map(|state| f32::from(usize::from(targets.next_state) == state));
    let columns = columns(std::slice::from_ref(targets));
    let outputs = columns.iter().filter(|(name, ..)| !["base_rate", "state"].contains(name));
    let known = outputs.flat_map(|(_, _, values)| values.iter().copied());
    known.chain(states).map(|value| if value.is_finite() { value } else { 0.0 }).collect()
}

/// Name, numbers a row, and numbers of each column of the file.
fn columns(targets: &[RowTargets]) -> Vec<(&'static str, usize, Vec<f32>)> {
    let of = |name, fields: &[fn(&HorizonTargets) -> Vec<f32>]| {
        let row = |t: &RowTargets| -> Vec<f32> { fields.iter().flat_map(|f| t.horizons.iter().flat_map(f)).collect() };
        let values: Vec<f32> = targets.iter().flat_map(row).collect();
        (name, values.len() / targets.len(), values)
    };
    let state = |t: &RowTargets| if usize::from(t.next_state) < STATES { f32::from(t.next_state) } else { -1.0 };
    vec![
        of("log_ratio", &[|h| vec![h.log_variance_ratio], |h| vec![h.log_dispersion_ratio]]),
        of("scaled_return", &[|h| vec![h.scaled_return]]),
        of("outcome", &[|h| vec![h.up], |h| vec![h.drawdown]]),
        of("base_rate", &[|h| vec![h.benchmark_probability_up], |h| vec![h.benchmark_probability_drawdown]]),
        of("quintile", &[|h| h.quintile.into()]),
        ("state", 1, targets.iter().map(state).collect()),
    ]
}

//! Canaries: trials with a known outcome that every training goes through before its model may be promoted.

use std::sync::atomic::AtomicBool;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

use crate::evaluation::paired_tests::diebold_mariano;
use crate::features::price_basis::PriceBasis;
use crate::forecast::prepared::Prepared;
use crate::forecast::samples::{ROW_SPACING, features_on, rows_of_session};
use crate::forecast::school::School;
use crate::forecast::training::FitError;
use crate::forecast::verdict_calibration::{CalibrationSettings, calibrate};
use crate::forecast::walk::VolatilityWalk;
use crate::learning::dataset::{HorizonTargets, RowTargets, Samples, TrainingPlan};
use crate::learning::device::DeviceKind;
use crate::learning::ensemble::{Provenance, train};
use crate::learning::loss::row_losses;
use crate::learning::recipe::Recipe;
use crate::learning::task::{HEADS, Head, OUTPUTS, Task};
use crate::learning::training::Control;
use crate::market::horizon::Horizon;

/// Decision days that a trial trains and tests on, and how many of them test.
const TRIAL_DAYS: usize = 200;
const TEST_DAYS: usize = 60;
/// Rows below which a trial network has too little to learn from, so that nothing can be tested.
const LEAST_ROWS: usize = 5_000;
/// Days of the out-of-sample record from which on a gain can be too good to be true: of fewer it is luck.
const LEAST_RECORD_DAYS: usize = 150;
/// Rows of a trial, at most.
const TRIAL_ROWS: usize = 16_000;
/// A shuffled target must not be learned with a Diebold-Mariano statistic above this at any of the 31 heads.
const SHUFFLED_LIMIT: f64 = 4.0;
/// The planted effect must be learned with one above this.
const PLANTED_LIMIT: f64 = 3.0;
/// Slope of the planted effect on the own last return.
const PLANTED_SLOPE: f32 = 0.3;
/// Relative gains at four weeks that are too good to be true. Those of returns grow with the root of the horizon, as a
/// drift does; those of variances do not.
const UNBELIEVABLE: [(Task, f64, bool); 7] = [
    (Task::Volatility, 0.25, false),
    (Task::Dispersion, 0.25, false),
    (Task::Mean, 0.05, true),
    (Task::Direction, 0.05, true),
    (Task::Drawdown, 0.15, false),
    (Task::Rank, 0.05, true),
    (Task::NextState, 0.7, false),
];

/// What became of one trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Canary {
    /// Which trial.
    pub name: &'static str,
    /// Whether it came out as it must.
    pub passed: bool,
    /// The number that decided, where there is one.
    pub statistic: Option<f64>,
    /// What it was held against.
    pub limit: Option<f64>,
    /// In a sentence.
    pub detail: String,
}

/// What the canaries look at.
pub struct Trial<'a> {
    /// The rows.
    pub prepared: &'a Prepared,
    /// harX2's fits.
    pub benchmark: &'a VolatilityWalk,
    /// Features and targets.
    pub school: &'a School,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Loss of each head over the benchmark's on the out-of-sample record, at the share that is believed; 1 without any.
    pub relative_loss: &'a [f64; HEADS],
    /// Days of that record.
    pub record_days: usize,
    /// Seed of all chance.
    pub seed: u64,
}

/// Sends all canaries.
///
/// # Errors
/// [`FitError`] when a trial network cannot be trained.
pub fn send(trial: &Trial<'_>) -> Result<Vec<Canary>, FitError> {
    let mut canaries = vec![truncation(trial)];
    canaries.extend(learned(trial)?);
    canaries.push(verdicts(trial));
    canaries.push(believable(trial.relative_loss, trial.record_days));
    Ok(canaries)
}

/// Cuts the history at a session and compares features and benchmarks there, bit by bit, with those of the whole history.
fn truncation(trial: &Trial<'_>) -> Canary {
    let history = &trial.prepared.history;
    let last = history.sessions.len() - 1;
    let back = 60 + (trial.seed % 180) as usize;
    let session = last.saturating_sub(back) / ROW_SPACING * ROW_SPACING;
    let cut = Prepared::new(history.until(history.sessions[session]));
    let basis = PriceBasis::infer(history);
    let table = features_on(&cut, &basis, &[session]);
    let mut differing = 0;
    let mut compared = 0;
    for row in rows_of_session(&trial.school.samples, session) {
        let instrument = trial.school.samples.instrument[row] as usize;
        let symbol = &history.instruments[instrument].instrument.symbol;
        let Some(position) = cut.history.instruments.iter().position(|i| i.instrument.symbol == *symbol) else {
            differing += 1;
            continue;
        };
        let (whole, short) = (trial.school.samples.row(row), table.row(0, position));
        differing +=
            whole.iter().zip(short).filter(|(a, b)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())).count();
        compared += whole.len();
        for horizon in Horizon::ALL {
            let forecast = |prepared: &Prepared, i: usize| {
                let fit = trial.benchmark.in_force(history.sessions[session], horizon)?;
                fit.daily_variance(&prepared.inputs, i, session).map(f64::to_bits)
            };
            differing += usize::from(forecast(trial.prepared, instrument) != forecast(&cut, position));
        }
    }
    Canary {
        name: "truncation_invariance",
        passed: differing == 0 && compared > 0,
        statistic: Some(differing as f64),
        limit: Some(0.0),
        detail: format!(
            "{compared} features and the volatility benchmarks of {} without the {} sessions after it: {differing} differ",
            history.sessions[session],
            last - session
        ),
    }
}

/// Two small trainings on the newest rows: one on shuffled targets, one on a planted effect.
fn learned(trial: &Trial<'_>) -> Result<Vec<Canary>, FitError> {
    let rows = newest_rows(&trial.school.samples);
    if rows.rows() < LEAST_ROWS {
        let untested = |name| Canary {
            name,
            passed: true,
            statistic: None,
            limit: None,
            detail: format!("not tested: {} rows are fewer than {LEAST_ROWS}", rows.rows()),
        };
        return Ok(vec![untested("shuffled_targets"), untested("planted_autoregression")]);
    }
    let mut random = ChaCha8Rng::seed_from_u64(trial.seed);
    let mut shuffled = rows.clone();
    shuffled.targets.shuffle(&mut random);
    let statistics = gains(trial, &shuffled)?;
    let best = Head::all().into_iter().zip(statistics).filter_map(|(head, t)| t.map(|t| (head, t)));
    let best = best.max_by(|a, b| a.1.total_cmp(&b.1));
    let null = Canary {
        name: "shuffled_targets",
        passed: best.is_some_and(|(_, t)| t < SHUFFLED_LIMIT),
        statistic: best.map(|b| b.1),
        limit: Some(SHUFFLED_LIMIT),
        detail: match best {
            Some((head, _)) => format!("trained on shuffled targets, the best of {HEADS} heads was {}", head.label()),
            None => "no head could be tested".into(),
        },
    };
    let mut planted = rows;
    plant(&mut planted, column(trial, "return_20"), &mut random);
    let index = Head::index(Task::Mean, Horizon::FourWeeks);
    let statistic = gains(trial, &planted)?[index];
    let found = Canary {
        name: "planted_autoregression",
        passed: statistic.is_some_and(|t| t > PLANTED_LIMIT),
        statistic,
        limit: Some(PLANTED_LIMIT),
        detail: format!("an autoregression of {PLANTED_SLOPE} in the own four-week returns, learned by the mean head"),
    };
    Ok(vec![null, found])
}

/// Diebold-Mariano statistics of each head's raw output on the last days against its own mean over them: what a network
/// says of one row and not of another. A level that all rows share can be learned from shuffled targets, and honestly.
fn gains(trial: &Trial<'_>, rows: &Samples) -> Result<[Option<f64>; HEADS], FitError> {
    let mut days: Vec<u32> = rows.day_index.clone();
    days.dedup();
    let until_day = days[days.len().saturating_sub(TEST_DAYS)];
    let recipe = Recipe { members: 1, epochs: 4, validation_sessions: 0, ..trial.recipe.clone() };
    let plan = TrainingPlan { until_day, validation_sessions: 0 };
    let provenance = Provenance { seed: trial.seed, data_hash: String::new(), schema: trial.school.schema.clone() };
    let control =
        Control { threads: 1, progress: &|_| (), cancelled: &AtomicBool::new(false), device: DeviceKind::Cpu };
    let model = train(rows, &plan, &recipe, provenance, &control)?;
    let first = rows.day_index.partition_point(|day| *day < until_day);
    let outputs = model.outputs(&rows.features[first * rows.feature_count..])?;
    let mut constant = [0.0; OUTPUTS];
    let count = (outputs.len() / OUTPUTS).max(1) as f32;
    for output in outputs.chunks_exact(OUTPUTS) {
        constant.iter_mut().zip(output).for_each(|(mean, value)| *mean += value / count);
    }
    let mut daily = vec![Vec::new(); HEADS];
    let mut sums = vec![(0.0, 0.0); HEADS];
    for row in first..rows.rows() {
        let said = &outputs[(row - first) * OUTPUTS..(row - first + 1) * OUTPUTS];
        let (network, benchmark) = (row_losses(said, &rows.targets[row]), row_losses(&constant, &rows.targets[row]));
        for head in 0..HEADS {
            if let (Some(network), Some(benchmark)) = (network[head], benchmark[head]) {
                sums[head] = (sums[head].0 + f64::from(benchmark) - f64::from(network), sums[head].1 + 1.0);
            }
        }
        if row + 1 == rows.rows() || rows.day_index[row + 1] != rows.day_index[row] {
            for (head, sum) in sums.iter_mut().enumerate() {
                if sum.1 > 0.0 {
                    daily[head].push(sum.0 / sum.1);
                }
                *sum = (0.0, 0.0);
            }
        }
    }
    // Shuffled and planted targets of neighbouring days are independent, so nothing overlaps.
    Ok(std::array::from_fn(|head| diebold_mariano(&daily[head], 1).map(|test| test.statistic)))
}

/// The newest days, thinned to every so many rows.
fn newest_rows(samples: &Samples) -> Samples {
    let mut days: Vec<u32> = samples.day_index.clone();
    days.dedup();
    let known = |row: usize| samples.targets[row].horizons[Horizon::FourWeeks.index()].up.is_finite();
    let from = days[days.len().saturating_sub(TRIAL_DAYS)];
    let first = samples.day_index.partition_point(|day| *day < from);
    let every = ((samples.rows() - first) / TRIAL_ROWS).max(1);
    let mut newest = Samples { feature_count: samples.feature_count, ..Samples::default() };
    for row in (first..samples.rows()).step_by(every).filter(|row| known(*row)) {
        newest.features.extend_from_slice(samples.row(row));
        newest.day_index.push(samples.day_index[row]);
        newest.instrument.push(samples.instrument[row]);
        newest.targets.push(samples.targets[row]);
    }
    newest
}

/// Replaces all targets by one: the four-week return as an autoregression on the own last four-week return.
fn plant(samples: &mut Samples, column: usize, random: &mut ChaCha8Rng) {
    let values = || (0..samples.rows()).map(|row| samples.row(row)[column]).filter(|v| v.is_finite());
    let count = values().count().max(1) as f32;
    let mean = values().sum::<f32>() / count;
    let deviation = (values().map(|v| (v - mean).powi(2)).sum::<f32>() / count).sqrt().max(1e-9);
    for row in 0..samples.rows() {
        let value = samples.row(row)[column];
        let last = if value.is_finite() { ((value - mean) / deviation).clamp(-3.0, 3.0) } else { 0.0 };
        let noise: f32 = StandardNormal.sample(random);
        let next = PLANTED_SLOPE * last + (1.0 - PLANTED_SLOPE * PLANTED_SLOPE).sqrt() * noise;
        let mut targets = RowTargets::UNKNOWN;
        targets.horizons[Horizon::FourWeeks.index()] =
            HorizonTargets { scaled_return: next, ..HorizonTargets::UNKNOWN };
        samples.targets[row] = targets;
    }
}

fn column(trial: &Trial<'_>, name: &str) -> usize {
    let columns = trial.school.schema["columns"].as_array();
    columns.and_then(|c| c.iter().position(|column| column["name"] == name)).unwrap_or(0)
}

/// A small calibration of the verdicts: noise is not called predictable, what was planted is found.
fn verdicts(trial: &Trial<'_>) -> Canary {
    let report = calibrate(&CalibrationSettings { seed: trial.seed, markets: 1, instruments: 30 });
    Canary {
        name: "verdicts_on_simulated_instruments",
        passed: report.holds(),
        statistic: None,
        limit: None,
        detail: report
            .rows
            .iter()
            .map(|r| format!("{:?} {:?}: {} of {} predictable", r.simulated, r.head, r.predictable, r.instruments))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

/// Results too good to be true.
fn believable(relative_loss: &[f64; HEADS], record_days: usize) -> Canary {
    let limit = |head: &Head| {
        let found = UNBELIEVABLE.iter().find(|(task, ..)| *task == head.task);
        found.map_or(0.0, |(_, gain, grows)| {
            let horizons = head.horizon.sessions() as f64 / Horizon::FourWeeks.sessions() as f64;
            1.0 - gain * if *grows { horizons.sqrt() } else { 1.0 }
        })
    };
    let margins = Head::all().into_iter().zip(relative_loss).map(|(head, loss)| (head, *loss, limit(&head)));
    let worst = margins.min_by(|a, b| (a.1 - a.2).total_cmp(&(b.1 - b.2)));
    Canary {
        name: "too_good_to_be_true",
        passed: record_days < LEAST_RECORD_DAYS || worst.is_some_and(|(_, loss, limit)| loss >= limit),
        statistic: worst.map(|w| w.1),
        limit: worst.map(|w| w.2),
        detail: worst.map_or_else(String::new, |(head, ..)| {
            format!(
                "loss over the benchmark's on the out-of-sample record of {record_days} days (judged from {LEAST_RECORD_DAYS} \
                 on); nearest to its limit is {}",
                head.label()
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_good_dies_and_what_grows_with_the_horizon_may() {
        let with = |task: Task, horizon: Horizon, loss: f64| {
            let mut losses = [1.0; HEADS];
            losses[Head::index(task, horizon)] = loss;
            believable(&losses, 400)
        };
        assert!(believable(&[1.0; HEADS], 400).passed);
        assert!(believable(&[0.1; HEADS], 40).passed && !believable(&[0.1; HEADS], 400).passed);
        assert!(with(Task::Volatility, Horizon::FourWeeks, 0.8).passed);
        let dead = with(Task::Volatility, Horizon::FourWeeks, 0.7);
        assert!(!dead.passed && dead.detail.contains("volatility@4w"), "{}", dead.detail);
        assert!(!with(Task::Mean, Horizon::FourWeeks, 0.9).passed);
        assert!(with(Task::Mean, Horizon::Year, 0.9).passed);
    }

    #[test]
    fn a_planted_effect_is_an_autoregression_of_its_slope() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let features: Vec<f32> = (0..20_000).map(|_| StandardNormal.sample(&mut random)).collect();
        let mut samples = Samples {
            feature_count: 1,
            day_index: (0..20_000).collect(),
            instrument: vec![0; 20_000],
            targets: vec![RowTargets::UNKNOWN; 20_000],
            features,
        };
        plant(&mut samples, 0, &mut random);
        let rows = samples.features.iter().zip(&samples.targets);
        let products = rows.map(|(x, t)| x * t.horizons[Horizon::FourWeeks.index()].scaled_return);
        let slope = products.sum::<f32>() / 20_000.0;
        assert!((slope - PLANTED_SLOPE).abs() < 0.03, "{slope}");
        assert!(samples.targets[0].horizons[0].scaled_return.is_nan());
    }
}

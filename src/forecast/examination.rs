//! The examination of new weights: are they as good as the last ones, and which factors do they rest on?

use serde::Serialize;

use crate::evaluation::non_inferiority::{NON_INFERIORITY_MARGIN, NonInferiority, NonInferiorityReason, non_inferior};
use crate::evaluation::paired_tests::overlap_steps;
use crate::evaluation::permutation::{GroupSignificance, PermutationRequest, permutation_significance};
use crate::features::schema::{FactorGroup, schema};
use crate::forecast::school::School;
use crate::forecast::state::Seats;
use crate::forecast::training::FitError;
use crate::forecast::walker::Walker;
use crate::learning::ensemble::{ForecastError, TrainedModel};
use crate::learning::loss::row_losses;
use crate::learning::task::{Head, OUTPUTS, Task};
use crate::market::horizon::Horizon;

/// Days of the record on which the significance of the factor groups is tested, the newest that matured.
const SIGNIFICANCE_DAYS: usize = 100;
/// Permutations of each group, averaged.
const REPETITIONS: usize = 2;

/// New weights against the newest fold's, one seated head.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadNonInferiority {
    /// The head, such as `volatility@4w`.
    pub head: String,
    /// Whether the new weights may replace the old ones.
    pub accepted: bool,
    /// The test.
    pub test: NonInferiority,
}

/// Significance of the factor groups for the volatility over one horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HorizonSignificance {
    /// Label of the horizon.
    pub horizon: &'static str,
    /// One a group.
    pub groups: Vec<GroupSignificance>,
}

/// Compares new weights with the newest fold's on the days that the fold has played, for every seated head. The new ones
/// have seen those days, so this finds broken weights, not better ones: a head with too few days to test passes unless its
/// mean loss is worse by more than the margin.
///
/// # Errors
/// [`FitError`] when the network gives no forecast.
pub fn compare_weights(walker: &Walker<'_>, network: &TrainedModel) -> Result<Vec<HeadNonInferiority>, FitError> {
    let (Some(school), Some(from)) = (&walker.school, walker.played_from()) else { return Ok(vec![]) };
    let first = walker.record.days.partition_point(|day| (*day as usize) <= from);
    let rows = &walker.record.rows[first..];
    let (Some(&low), Some(&high)) = (rows.first(), rows.last()) else { return Ok(vec![]) };
    let width = school.samples.feature_count;
    let outputs = network.outputs(&school.samples.features[low * width..(high + 1) * width])?;
    let new = |k: usize| &outputs[(rows[k] - low) * OUTPUTS..(rows[k] - low + 1) * OUTPUTS];
    let mut compared = Vec::new();
    for (index, head) in Head::all().into_iter().enumerate() {
        if !is_seated(&walker.standing().seats, head) {
            continue;
        }
        let share = walker.standing().shares[index];
        let days = |output: &dyn Fn(usize) -> Vec<f32>| daily_losses(walker, first, index, output);
        let (new_losses, sessions) = days(&|k| scaled(new(k), share));
        let (old_losses, _) = days(&|k| scaled(walker.record.output(first + k), share));
        let steps = overlap_steps(head.horizon.sessions(), &sessions);
        let test = non_inferior(&new_losses, &old_losses, NON_INFERIORITY_MARGIN, steps);
        let close = test.loss_ratio.is_none_or(|ratio| ratio <= 1.0 + NON_INFERIORITY_MARGIN);
        let accepted = test.accepted || (test.reason == NonInferiorityReason::TooFewDays && close);
        compared.push(HeadNonInferiority { head: head.label(), accepted, test });
    }
    Ok(compared)
}

fn is_seated(seats: &[Seats; 5], head: Head) -> bool {
    let seats = &seats[head.horizon.index()];
    match head.task {
        Task::Volatility => seats.volatility,
        Task::Direction => seats.direction,
        Task::Rank => seats.tilt_weight > 0.0,
        Task::Mean => seats.mean_weight > 0.0,
        Task::Dispersion | Task::Drawdown | Task::NextState => false,
    }
}

fn scaled(outputs: &[f32], share: f32) -> Vec<f32> {
    outputs.iter().map(|output| output * share).collect()
}

/// Mean losses of a head by day, over the known rows of the record from `first` on; and the days.
fn daily_losses(
    walker: &Walker<'_>,
    first: usize,
    head: usize,
    output: &dyn Fn(usize) -> Vec<f32>,
) -> (Vec<f64>, Vec<usize>) {
    let mut days: Vec<(usize, f64, f64)> = Vec::new();
    for (k, (day, targets)) in walker.record.days[first..].iter().zip(&walker.record.targets[first..]).enumerate() {
        let Some(loss) = row_losses(&output(k), targets)[head] else { continue };
        match days.last_mut().filter(|(last, ..)| *last == *day as usize) {
            Some((_, sum, count)) => (*sum, *count) = (*sum + f64::from(loss), *count + 1.0),
            None => days.push((*day as usize, f64::from(loss), 1.0)),
        }
    }
    days.into_iter().map(|(day, sum, count)| (sum / count, day)).unzip()
}

/// Permutation significance of each factor group for the raw volatility head, by horizon: `network` is the newest fold's,
/// the days are those it has played, newest first, so everything is out of sample.
///
/// # Errors
/// [`FitError`] when the network gives no forecast.
pub fn volatility_significance(
    walker: &Walker<'_>,
    network: &TrainedModel,
    seed: u64,
) -> Result<Vec<HorizonSignificance>, FitError> {
    let Some(school) = &walker.school else { return Ok(vec![]) };
    let mut significance = Vec::new();
    for horizon in Horizon::ALL {
        let index = Head::index(Task::Volatility, horizon);
        let rows = newest_known(walker, school, horizon);
        if rows.is_empty() {
            continue;
        }
        let groups = group_significance(school, network, &rows, (index, horizon, seed))?;
        significance.push(HorizonSignificance { horizon: horizon.label(), groups });
    }
    Ok(significance)
}

/// Rows of the record on the newest days whose volatility is known.
fn newest_known(walker: &Walker<'_>, school: &School, horizon: Horizon) -> Vec<usize> {
    let from = walker.played_from().unwrap_or(usize::MAX);
    let is_known = |row: &usize| {
        school.samples.day_index[*row] as usize > from
            && school.samples.targets[*row].horizons[horizon.index()].log_variance_ratio.is_finite()
    };
    let known: Vec<usize> = walker.record.rows.iter().copied().filter(is_known).collect();
    let mut days: Vec<u32> = known.iter().map(|row| school.samples.day_index[*row]).collect();
    days.dedup();
    let from = days.get(days.len().saturating_sub(SIGNIFICANCE_DAYS)).copied().unwrap_or(u32::MAX);
    known.into_iter().filter(|row| school.samples.day_index[*row] >= from).collect()
}

fn group_significance(
    school: &School,
    network: &TrainedModel,
    rows: &[usize],
    (index, horizon, seed): (usize, Horizon, u64),
) -> Result<Vec<GroupSignificance>, FitError> {
    let samples = &school.samples;
    let features: Vec<f32> = rows.iter().flat_map(|row| samples.row(*row).iter().copied()).collect();
    let days: Vec<u32> = rows.iter().map(|row| samples.day_index[*row]).collect();
    let mut sessions: Vec<usize> = days.iter().map(|day| *day as usize).collect();
    sessions.dedup();
    let columns = schema();
    let groups = FactorGroup::ALL.map(|group| (group.as_str(), columns.group(group)));
    let request = PermutationRequest {
        features: &features,
        feature_count: samples.feature_count,
        days: &days,
        groups: &groups,
        repetitions: REPETITIONS,
        seed,
        overlap_steps: overlap_steps(horizon.sessions(), &sessions),
    };
    let losses = |features: &[f32]| -> Result<Vec<f64>, ForecastError> {
        let outputs = network.outputs(features)?;
        let mut daily: Vec<(u32, f64, f64)> = Vec::new();
        for ((row, day), output) in rows.iter().zip(&days).zip(outputs.chunks_exact(OUTPUTS)) {
            let loss = row_losses(output, &samples.targets[*row])[index].map_or(0.0, f64::from);
            match daily.last_mut().filter(|(last, ..)| last == day) {
                Some((_, sum, count)) => (*sum, *count) = (*sum + loss, *count + 1.0),
                None => daily.push((*day, loss, 1.0)),
            }
        }
        Ok(daily.into_iter().map(|(_, sum, count)| sum / count).collect())
    };
    Ok(permutation_significance(&request, losses)?)
}

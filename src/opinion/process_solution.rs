//! Solves a published process again, for its own settings or others, from the numbers published with it.

use crate::decision::action::Action as Move;
use crate::decision::holder::LongRun;
use crate::decision::market_process::{MarketNumbers, MarketProcess, MarketProcessError};
use crate::decision::process::{EXPOSURES, HolderProcess, ProcessError, ProcessSettings, state_labels};
use crate::opinion::canonical::{rounded, rounded_to};
use crate::opinion::numbers::rounded_distribution;
use crate::opinion::process::{Estimates, Process};
use crate::opinion::process_explanation::explain;
use crate::opinion::ranking::Strategy;
use crate::opinion::signal::Holder;

/// Decimals of payoffs and values: a week's are thousandths, and their small differences decide.
pub const PAYOFF_DECIMALS: u32 = 9;
/// Reason for steps that are `null`.
const WITHOUT_END: &str = "without_end";

/// The same process for other settings, from the numbers published with it. The settings it was published with give it
/// back to the last byte.
///
/// # Errors
/// [`ProcessError`] when a setting is out of its range, or the numbers give no process.
pub fn solve_again(published: &Process, settings: &ProcessSettings) -> Result<Process, ProcessError> {
    let settings = ProcessSettings { cost: rounded(settings.cost), discount: rounded(settings.discount), ..*settings };
    settings.check()?;
    let mut process = Process {
        holder: Holder::usual(settings.holder),
        cost: settings.cost,
        discount: settings.discount,
        steps: settings.steps,
        states: state_labels(settings.holder),
        ..published.clone()
    };
    match settings.steps {
        Some(_) => process.envelope.reasons.remove("steps"),
        None => process.envelope.reasons.insert("steps".to_owned(), WITHOUT_END.to_owned()),
    };
    if let Some(estimates) = &published.estimates {
        let (market, long_run) = known(estimates)?;
        let solved = HolderProcess::solve(&market, &settings, long_run)?;
        process.explanation = Some(explain(&market, &solved, &settings));
        fill(&mut process, &market, &solved);
    }
    Ok(process)
}

/// The settings that a process was published with.
#[must_use]
pub fn settings_of(process: &Process) -> ProcessSettings {
    ProcessSettings {
        holder: process.holder.kind.into(),
        cost: process.cost,
        discount: process.discount,
        steps: process.steps,
    }
}

/// Writes the solution into the answer.
fn fill(process: &mut Process, market: &MarketProcess, solved: &HolderProcess<'_>) {
    let (solution, finite, now) = (solved.solution(), solved.finite(), solved.current_state());
    let payoff = |value: f64| rounded_to(value, PAYOFF_DECIMALS);
    let actions = || 0..finite.actions();
    let rows = market.transition().map(rounded_distribution);
    let transition = |state: usize, action: usize| {
        // The exposure taken is the one that has all the chances; the market's row is shown as it was rounded once.
        let row = finite.transition(state, action);
        let shown = |(next, p): (usize, &f64)| if *p > 0.0 { rows[state / EXPOSURES][next / EXPOSURES] } else { 0.0 };
        row.iter().enumerate().map(shown).collect()
    };
    let by_state = |value: &dyn Fn(usize, usize) -> f64| {
        let row = |state: usize| actions().map(|action| payoff(value(state, action))).collect();
        Some((0..finite.states()).map(row).collect())
    };
    let transitions = |state: usize| actions().map(|action| transition(state, action)).collect();
    process.transition = Some((0..finite.states()).map(transitions).collect());
    process.reaction = by_state(&|state, action| finite.reaction(state, action));
    process.q_value = by_state(&|state, action| solution.q_value[state][action]);
    process.value = Some(solution.value.iter().map(|v| payoff(*v)).collect());
    process.policy = Some((0..finite.states()).map(|state| solved.action(state).into()).collect());
    process.current_state = process.states.get(now).cloned();
    process.action = Some(solved.action(now).into());
    process.probability_optimal = solved.probability_optimal(process.draws, process.seed).map(|chances| {
        let [sell, hold, buy] = rounded_distribution(Move::ALL.map(|action| chances[action]));
        Strategy { sell, hold, buy }
    });
    process.risk_aversion = Some(rounded(solved.risk_aversion()));
}

fn known(estimates: &Estimates) -> Result<(MarketProcess, LongRun), MarketProcessError> {
    let market = MarketProcess::new(MarketNumbers {
        counts: estimates.counts,
        prior: estimates.prior,
        kappa: estimates.kappa,
        mean: estimates.mean,
        mean_error: estimates.mean_error,
        variance: estimates.variance,
        variance_observations: estimates.variance_observations,
        current: estimates.current,
        next_state: estimates.next_state,
    })?;
    Ok((market, LongRun { mean: estimates.long_run_mean, volatility: estimates.long_run_volatility }))
}

//! Properties of the holder's process, each on a thousand random market processes and more.

use proptest::prelude::*;

use super::action::{Action, PerAction};
use super::holder::{HolderType, LongRun};
use super::market_process::{MarketNumbers, MarketProcess, sample_process};
use super::process::*;
use crate::features::states::STATES;

const LONG_RUN: LongRun = LongRun { mean: 0.001, volatility: 0.04 };

fn any_holder() -> impl Strategy<Value = HolderType> {
    prop::sample::select(vec![HolderType::Holder, HolderType::LongShort])
}

fn any_settings() -> impl Strategy<Value = ProcessSettings> {
    let steps = prop_oneof![3 => (1..=12_u32).prop_map(Some), 1 => Just(None)];
    (any_holder(), 0.0..0.005_f64, 0.0..0.98_f64, steps).prop_map(|(holder, cost, discount, steps)| ProcessSettings {
        holder,
        cost,
        discount,
        steps,
    })
}

fn changed(market: &MarketProcess, change: impl Fn(&mut MarketNumbers)) -> MarketProcess {
    let mut numbers = market.numbers().clone();
    change(&mut numbers);
    MarketProcess::new(numbers).unwrap()
}

fn solved<'a>(market: &'a MarketProcess, settings: &ProcessSettings) -> HolderProcess<'a> {
    HolderProcess::solve(market, settings, LONG_RUN).unwrap()
}

/// The best worth from the definition, by trying every action after every turn of the market.
fn tried(market: &MarketProcess, settings: &ProcessSettings, (m, exposure): (usize, i8), steps: u32) -> PerAction<f64> {
    let (rows, numbers) = (market.transition(), market.numbers());
    let aversion = settings.holder.risk_aversion(LONG_RUN);
    PerAction::from_fn(|action| {
        let after =
            (exposure + action.exposure_change()).clamp(settings.holder.exposures()[0], settings.holder.exposures()[2]);
        let e = f64::from(after);
        let paid = e * numbers.mean[m] - aversion / 2.0 * e * e * numbers.variance[m];
        let best = |next| {
            let q = tried(market, settings, (next, after), steps - 1);
            q.sell.max(q.hold).max(q.buy)
        };
        let later: f64 = if steps > 1 { (0..STATES).map(|next| rows[m][next] * best(next)).sum() } else { 0.0 };
        paid - settings.cost * (e - f64::from(exposure)).abs() + settings.discount * later
    })
}

#[test]
fn settings_out_of_range_name_field_and_range() {
    let good = ProcessSettings::default();
    assert_eq!(good.check(), Ok(()));
    let table = [
        (ProcessSettings { cost: 1.5, ..good }, "cost must be in 0..=1"),
        (ProcessSettings { cost: f64::NAN, ..good }, "cost must be in 0..=1"),
        (ProcessSettings { discount: -0.1, ..good }, "discount must be in 0..=1"),
        (ProcessSettings { steps: None, ..good }, "discount must be in 0..=0.999 without steps"),
        (ProcessSettings { steps: Some(0), ..good }, "steps must be in 1..=52"),
        (ProcessSettings { steps: Some(53), ..good }, "steps must be in 1..=52"),
    ];
    for (settings, words) in table {
        assert_eq!(settings.check().unwrap_err().to_string(), words);
        assert!(HolderProcess::solve(&sample_process(1), &settings, LONG_RUN).is_err());
    }
    let endless = ProcessSettings { steps: None, discount: ENDLESS_DISCOUNT_MAX, ..good };
    assert!(HolderProcess::solve(&sample_process(1), &endless, LONG_RUN).is_ok());
    let nothing = LongRun { mean: 0.001, volatility: 0.0 };
    assert!(matches!(HolderProcess::solve(&sample_process(1), &good, nothing), Err(ProcessError::LongRun)));
}

#[test]
fn states_have_their_names() {
    let labels = state_labels(HolderType::Holder);
    assert_eq!((labels.len(), labels[1].as_str(), labels[26].as_str()), (27, "falling_calm.1", "rising_turbulent.2"));
    assert_eq!(state_labels(HolderType::LongShort)[12], "level_usual.-1");
}

#[test]
fn a_holder_at_long_run_conditions_holds() {
    let usual = changed(&sample_process(3), |n| (n.mean, n.variance) = ([0.001; STATES], [0.0016; STATES]));
    let process = solved(&usual, &ProcessSettings::default());
    assert!((0..STATES).all(|m| process.action(3 * m + 1) == Action::Hold));
    assert_eq!(process.values(process.current_state()).hold, process.solution().value[process.current_state()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_market_moves_by_its_own_law_and_the_exposure_stays_in_range(seed in any::<u64>(), holder in any_holder()) {
        let market = sample_process(seed);
        let process = solved(&market, &ProcessSettings { holder, ..ProcessSettings::default() });
        let rows = market.transition();
        for state in 0..PROCESS_STATES {
            let exposure = holder.exposures()[state % 3];
            for action in Action::ALL {
                let row = process.finite().transition(state, action.index());
                prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                let after = holder.exposures().iter().position(|e| *e == holder.clamp(exposure + action.exposure_change()));
                for (next, p) in row.iter().enumerate() {
                    let expected = if Some(next % 3) == after { rows[state / 3][next / 3] } else { 0.0 };
                    prop_assert_eq!(*p, expected);
                }
            }
        }
        // Where the range ends the action is holding, without a cost.
        for (state, action) in (0..STATES).flat_map(|m| [(3 * m, Action::Sell), (3 * m + 2, Action::Buy)]) {
            prop_assert_eq!(process.values(state)[action], process.values(state).hold);
            prop_assert_ne!(process.action(state), action);
        }
    }

    #[test]
    fn a_large_cost_means_hold(seed in any::<u64>(), holder in any_holder(), steps in 1..=12_u32) {
        let market = sample_process(seed);
        let process = solved(&market, &ProcessSettings { holder, cost: 1.0, discount: 1.0, steps: Some(steps) });
        prop_assert!((0..PROCESS_STATES).all(|state| process.action(state) == Action::Hold));
        prop_assert_eq!(process.probability_optimal(20, seed).unwrap(), PerAction { sell: 0.0, hold: 1.0, buy: 0.0 });
    }

    #[test]
    fn without_a_future_the_action_is_greedy(seed in any::<u64>(), settings in any_settings()) {
        let market = sample_process(seed);
        let process = solved(&market, &ProcessSettings { discount: 0.0, ..settings });
        for state in 0..PROCESS_STATES {
            let greedy = tried(&market, &settings, (state / 3, settings.holder.exposures()[state % 3]), 1);
            let best = greedy.sell.max(greedy.hold).max(greedy.buy);
            prop_assert!((greedy[process.action(state)] - best).abs() < 1e-15);
        }
    }

    #[test]
    fn no_plan_is_better(seed in any::<u64>(), settings in any_settings(), exposure in 0..3_usize) {
        let settings = ProcessSettings { steps: Some(2 + u32::from(seed % 64 == 0)), ..settings };
        let market = sample_process(seed);
        let process = solved(&market, &settings);
        let state = 3 * market.current() + exposure;
        let steps = settings.steps.unwrap();
        let q = tried(&market, &settings, (market.current(), settings.holder.exposures()[exposure]), steps);
        prop_assert!(Action::ALL.iter().all(|action| (q[*action] - process.values(state)[*action]).abs() < 1e-13));
        prop_assert!(Action::ALL.iter().all(|action| q[*action] <= q[process.action(state)] + 1e-13));
    }

    #[test]
    fn a_planted_mean_gives_the_policy_of_the_oracle(
        seed in any::<u64>(), settings in any_settings(), best in prop::array::uniform9(0..3_usize), alike in any::<bool>(),
    ) {
        // The mean whose best exposure is the planted one: mu = lambda e sigma^2.
        let best = if alike { [best[0]; STATES] } else { best };
        let planted = |m: usize| f64::from(settings.holder.exposures()[best[m]]);
        let aversion = settings.holder.risk_aversion(LONG_RUN);
        let market = changed(&sample_process(seed), |n| {
            n.mean = std::array::from_fn(|m| aversion * planted(m) * n.variance[m]);
        });
        let settings = ProcessSettings { cost: 0.0, ..settings };
        let process = solved(&market, &settings);
        for (m, planted) in best.iter().enumerate() {
            // The oracle walks to the planted exposure. Where the states differ and a future counts, it may pay to stand
            // between two of them, so that only the exhaustive search knows.
            if alike || settings.discount == 0.0 || settings.steps == Some(1) {
                for from in 0..3 {
                    let oracle = Action::ALL[(1 + planted).saturating_sub(from).min(2)];
                    prop_assert_eq!(process.action(3 * m + from), oracle);
                }
            }
        }
        if let Some(steps) = settings.steps.filter(|steps| *steps <= 2) {
            for m in 0..STATES {
                let q = tried(&market, &settings, (m, settings.holder.exposures()[1]), steps);
                prop_assert!((q[process.action(3 * m + 1)] - q.sell.max(q.hold).max(q.buy)).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn a_mirrored_world_gives_the_mirrored_policy(seed in any::<u64>(), settings in any_settings()) {
        let settings = ProcessSettings { holder: HolderType::LongShort, ..settings };
        let market = sample_process(seed);
        let mirrored = changed(&market, |n| n.mean = n.mean.map(|mean| -mean));
        let (plain, turned) = (solved(&market, &settings), solved(&mirrored, &settings));
        for m in 0..STATES {
            for e in 0..3 {
                prop_assert_eq!(turned.action(3 * m + 2 - e), plain.action(3 * m + e).mirrored());
                let (a, b) = (turned.solution().value[3 * m + 2 - e], plain.solution().value[3 * m + e]);
                prop_assert!((a - b).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn certain_numbers_leave_no_doubt(seed in any::<u64>(), settings in any_settings()) {
        let market = changed(&sample_process(seed), |n| {
            n.counts = n.counts.map(|row| row.map(|x| 1e12 * (x + 1e-3)));
            (n.mean_error, n.variance_observations) = ([0.0; STATES], [1e14; STATES]);
        });
        let process = solved(&market, &settings);
        let probability = process.probability_optimal(3, seed).unwrap();
        let now = process.current_state();
        let values = process.values(now);
        let mut sorted = [values.sell, values.hold, values.buy];
        sorted.sort_by(f64::total_cmp);
        prop_assume!(sorted[2] - sorted[1] > 1e-7);
        prop_assert_eq!(probability[process.action(now)], 1.0);
    }

    #[test]
    fn probabilities_sum_to_one_and_repeat(seed in any::<u64>(), settings in any_settings()) {
        let market = sample_process(seed);
        let process = solved(&market, &settings);
        let probability = process.probability_optimal(40, seed).unwrap();
        prop_assert!((probability.sell + probability.hold + probability.buy - 1.0).abs() < 1e-12);
        prop_assert_eq!(process.probability_optimal(40, seed), Some(probability));
        prop_assert_eq!(process.probability_optimal(0, seed), None);
    }
}

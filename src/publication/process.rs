//! The decision process of an instrument, solved from the numbers that are published with it, so that anybody can solve it
//! again for another holder, cost, discount or number of steps.

use crate::decision::action::Action;
use crate::decision::holder::LongRun;
use crate::decision::market_process::MarketProcess;
use crate::decision::process::{ProcessSettings, state_labels};
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::canonical::{rounded, rounded_to};
use crate::opinion::envelope::{Kind, Sources};
use crate::opinion::process::{Estimates, Process};
use crate::opinion::process_solution::solve_again;
use crate::opinion::signal::Holder;
use crate::publication::header::{About, Absent, Header};

/// The horizon that processes are filed under; they have steps of a week, whatever the horizon asked for.
pub const PROCESS_HORIZON: Horizon = Horizon::FourWeeks;
/// Decimals of estimates: the variance of a quiet week is a millionth.
const ESTIMATE_DECIMALS: u32 = 12;
/// Reason for a next state that is `null`.
const NOT_SEATED: &str = "not_seated";
/// Reason for everything where the numbers give no process.
const NO_SOLUTION: &str = "no_solution";

/// One instrument on the decision day.
#[derive(Clone, Copy)]
pub struct ProcessSubject<'a> {
    /// Who.
    pub symbol: &'a Symbol,
    /// What is known of its market states, and the week that its holders are used to.
    pub known: Option<(&'a MarketProcess, LongRun)>,
    /// Why nothing is known.
    pub without: &'a str,
    /// Who won each head.
    pub sources: &'a Sources,
}

/// Posterior draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PosteriorDraws {
    /// How many, at least 1.
    pub count: u32,
    /// Their seed, at most 2^53 - 1.
    pub seed: u64,
}

/// Forms the process of an instrument for the published holder.
#[must_use]
pub fn process(
    header: &Header,
    subject: &ProcessSubject<'_>,
    settings: &ProcessSettings,
    draws: PosteriorDraws,
) -> Process {
    let about =
        About { kind: Kind::Process, symbol: Some(subject.symbol), horizon: PROCESS_HORIZON, sources: subject.sources };
    let unsolved = Process {
        envelope: header.envelope(about, Absent::default()),
        holder: Holder::usual(settings.holder),
        cost: rounded(settings.cost),
        discount: rounded(settings.discount),
        steps: settings.steps,
        states: state_labels(settings.holder),
        actions: Action::ALL.map(Into::into).to_vec(),
        transition: None,
        reaction: None,
        q_value: None,
        value: None,
        policy: None,
        current_state: None,
        action: None,
        probability_optimal: None,
        draws: draws.count,
        seed: draws.seed,
        risk_aversion: None,
        estimates: subject.known.map(|(market, long_run)| estimates(market, long_run)),
        explanation: None,
    };
    let without = if subject.known.is_some() { NO_SOLUTION } else { subject.without };
    with_reasons(solve_again(&unsolved, settings).unwrap_or(unsolved), without)
}

/// Notes why fields are null.
fn with_reasons(mut process: Process, without: &str) -> Process {
    let absent = [
        ("transition", process.transition.is_none()),
        ("reaction", process.reaction.is_none()),
        ("q_value", process.q_value.is_none()),
        ("value", process.value.is_none()),
        ("policy", process.policy.is_none()),
        ("current_state", process.current_state.is_none()),
        ("action", process.action.is_none()),
        ("probability_optimal", process.probability_optimal.is_none()),
        ("risk_aversion", process.risk_aversion.is_none()),
        ("estimates", process.estimates.is_none()),
        ("explanation", process.explanation.is_none()),
    ];
    let reasons = &mut process.envelope.reasons;
    for (field, _) in absent.into_iter().filter(|(_, is_none)| *is_none) {
        reasons.insert(field.to_owned(), without.to_owned());
    }
    if process.estimates.as_ref().is_some_and(|estimates| estimates.next_state.is_none()) {
        reasons.insert("estimates.next_state".to_owned(), NOT_SEATED.to_owned());
    }
    process
}

fn estimates(market: &MarketProcess, long_run: LongRun) -> Estimates {
    let numbers = market.numbers();
    let one = |value: f64| rounded_to(value, ESTIMATE_DECIMALS);
    Estimates {
        counts: numbers.counts.map(|row| row.map(one)),
        prior: numbers.prior.map(one),
        kappa: one(numbers.kappa),
        mean: numbers.mean.map(one),
        mean_error: numbers.mean_error.map(one),
        variance: numbers.variance.map(one),
        variance_observations: numbers.variance_observations.map(one),
        current: numbers.current,
        next_state: numbers.next_state.map(|chances| chances.map(one)),
        long_run_mean: one(long_run.mean),
        long_run_volatility: one(long_run.volatility),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, TimeZone, Utc};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::decision::finite_process::FiniteProcess;
    use crate::decision::holder::HolderType;
    use crate::decision::market_process::sample_process;
    use crate::opinion::canonical::canonical;
    use crate::opinion::chain::Chain;
    use crate::opinion::process_solution::settings_of;
    use crate::opinion::provenance::Provenance;

    const LONG_RUN: LongRun = LongRun { mean: 0.001, volatility: 0.04 };
    const DRAWS: PosteriorDraws = PosteriorDraws { count: 50, seed: 20_240_930 };

    fn header() -> Header {
        let at = Utc.with_ymd_and_hms(2024, 9, 30, 21, 5, 12).unwrap();
        let provenance = Provenance {
            inputs_hash: "0".repeat(64),
            known_until: at,
            recorded_until: at,
            recipe: "default".to_owned(),
            model_sha256: None,
            seed: 1,
            code_version: "0.1.0".to_owned(),
            publication: Uuid::nil(),
            promotion: None,
        };
        let as_of = NaiveDate::from_ymd_opt(2024, 9, 30).unwrap();
        let model_id = "2024-09-30.test".to_owned();
        Header {
            as_of,
            published_at: at,
            simulated: true,
            model_id,
            has_network: false,
            chain: Chain::Live,
            provenance,
        }
    }

    fn published(known: Option<(&MarketProcess, LongRun)>, settings: &ProcessSettings) -> Process {
        let symbol = Symbol::parse("BABA").unwrap();
        let name = |s: &str| s.to_owned();
        let sources = Sources {
            mean: name("equity_premium"),
            volatility: name("harx2"),
            ranks: name("seasonal"),
            intervals: name("conformal"),
            direction: name("base_rate"),
        };
        let subject = ProcessSubject { symbol: &symbol, known, without: "insufficient_history", sources: &sources };
        process(&header(), &subject, settings, DRAWS)
    }

    #[test]
    fn what_is_not_known_is_null_with_a_reason() {
        let nothing = published(None, &ProcessSettings::default());
        let written: serde_json::Value = serde_json::from_slice(&canonical(&nothing).unwrap()).unwrap();
        for (field, value) in written.as_object().unwrap() {
            let reason = written["reasons"].get(field);
            assert!(!value.is_null() || reason.is_some_and(|r| r == "insufficient_history"), "{field} has no reason");
        }
        assert_eq!(nothing.states.len(), 27);
        let other = ProcessSettings { holder: HolderType::LongShort, ..ProcessSettings::default() };
        let again = solve_again(&nothing, &other).unwrap();
        assert_eq!((again.holder, again.action), (Holder::usual(HolderType::LongShort), None));
        let (market, no_risk) = (sample_process(1), LongRun { mean: 0.001, volatility: 0.0 });
        let unsolved = published(Some((&market, no_risk)), &ProcessSettings::default());
        assert_eq!(unsolved.envelope.reasons["action"], "no_solution");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let market = sample_process(1);
        let process = published(Some((&market, LONG_RUN)), &ProcessSettings::default());
        let refused = solve_again(&process, &ProcessSettings { cost: 2.0, ..ProcessSettings::default() });
        assert_eq!(refused.unwrap_err().to_string(), "cost must be in 0..=1");
    }

    #[test]
    fn the_sentence_says_what_kind_of_action_it_is() {
        let mut numbers = sample_process(5).numbers().clone();
        (numbers.current, numbers.mean, numbers.variance) = (3, [0.001; 9], [0.0064; 9]);
        numbers.counts[3] = [0.0; 9];
        numbers.next_state = None;
        let market = MarketProcess::new(numbers).unwrap();
        let settings = ProcessSettings { steps: Some(1), ..ProcessSettings::default() };
        let explanation = published(Some((&market, LONG_RUN)), &settings).explanation.unwrap();
        assert!(explanation.sentence.starts_with(
            "Sell because the risk is not paid, not because the price will fall: the market is level and calm, which lasts \
             1."
        ));
        assert!(explanation.sentence.ends_with(
            "one unit is expected to earn 0.10 % in the coming week and would need 0.40 % for its risk; the next best \
             action, hold, is worth 0.05 % less over one week."
        ), "{}", explanation.sentence);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn the_published_settings_give_the_same_bytes_again(
            seed in any::<u64>(),
            holder in prop::sample::select(vec![HolderType::Holder, HolderType::LongShort]),
            cost in 0.0..0.01_f64,
            discount in 0.0..0.95_f64,
            steps in prop::option::of(1..=8_u32),
        ) {
            let market = sample_process(seed);
            let settings = ProcessSettings { holder, cost, discount, steps };
            let entry = canonical(&published(Some((&market, LONG_RUN)), &settings)).unwrap();
            let read: Process = serde_json::from_slice(&entry).unwrap();
            prop_assert_eq!(&canonical(&solve_again(&read, &settings).unwrap()).unwrap(), &entry);
            prop_assert_eq!(&canonical(&solve_again(&read, &settings_of(&read)).unwrap()).unwrap(), &entry);
            prop_assert_eq!((read.cost, read.discount), (rounded(cost), rounded(discount)));
            // By way of other settings, too.
            let other = solve_again(&read, &ProcessSettings::default()).unwrap();
            prop_assert_eq!(&canonical(&solve_again(&other, &settings).unwrap()).unwrap(), &entry);
        }

        #[test]
        fn the_shown_numbers_agree_with_each_other(seed in any::<u64>(), discount in 0.0..1.0_f64, steps in 1..=8_u32) {
            let market = sample_process(seed);
            let settings = ProcessSettings { discount, steps: Some(steps), ..ProcessSettings::default() };
            let shown = published(Some((&market, LONG_RUN)), &settings);
            let (transition, reaction) = (shown.transition.unwrap(), shown.reaction.unwrap());
            let (q, value, policy) = (shown.q_value.unwrap(), shown.value.unwrap(), shown.policy.unwrap());
            prop_assert!(transition.iter().flatten().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-9));
            let finite = FiniteProcess::new(&transition, &reaction).unwrap();
            let again = finite.backward_induction(steps, shown.discount).unwrap();
            prop_assert!(again.q_value.concat().iter().zip(q.concat()).all(|(a, b)| (a - b).abs() < 1e-6));
            for s in 0..27 {
                prop_assert_eq!(value[s], q[s].iter().copied().fold(f64::MIN, f64::max));
                prop_assert_eq!(q[s][Action::ALL.iter().position(|a| policy[s] == (*a).into()).unwrap()], value[s]);
            }
            let chances = shown.probability_optimal.unwrap();
            prop_assert!((chances.sell + chances.hold + chances.buy - 1.0).abs() < 1e-12);
            prop_assert_eq!(shown.action, Some(policy[3 * market.current() + 1]));
        }
    }
}

//! Tests of the verdicts on simulated instruments: nothing later counts, the young are not judged, days meet stored
//! forecasts.

use crate::evaluation::evidence::{Benchmark, TestName};
use crate::evaluation::verdict::{Predictability, TermVerdicts, Verdict, VerdictReason};
use crate::forecast::predictability::{DayValues, Record, Said, TermForecasts, predictability, term_verdicts};
use crate::forecast::verdict_markets::{Path, market, volatility_ranks};
use crate::forecast::walk::VolatilityWalk;
use crate::market::history::History;
use crate::market::horizon::Horizon;
use crate::market::instrument::InstrumentKind;
use crate::scenario::volatility::VolatilityModel;
use crate::scenario::volatility_inputs::VolatilityInputs;

const TWELVE_YEARS: usize = 12 * 252 + 1;
const YOUNG: usize = 3;
const INDEX: usize = 4;

/// Twenty-four clustering instruments; one is five years old, one is an index.
fn clustering_market() -> History {
    let paths: Vec<Path> = (0..24).map(|k| Path::Clustering { volatility: 0.008 + 0.001 * k as f64 }).collect();
    let mut history = market(&paths, TWELVE_YEARS, 5);
    let born = TWELVE_YEARS - 5 * 252;
    let young = &mut history.instruments[YOUNG];
    young.close[..born].fill(f64::NAN);
    young.log_return[..=born].fill(f64::NAN);
    young.first = Some(born);
    history.instruments[INDEX].instrument.kind = InstrumentKind::Index;
    history
}

fn judged(history: &History, until: usize, said: &TermForecasts<'_>) -> Vec<Predictability> {
    let inputs = VolatilityInputs::new(history);
    let horizons = [Horizon::FourWeeks, Horizon::Year];
    let volatility = VolatilityWalk::fit(&inputs, VolatilityModel::HarX2, &horizons, until);
    predictability(&Record { history, inputs: &inputs, volatility: &volatility, until }, said, said)
}

/// Means and ranks stored every five sessions from the third year on.
fn stored(history: &History) -> (Vec<DayValues<f64>>, Vec<DayValues<[f64; 5]>>) {
    let means = (507..history.sessions.len()).step_by(5).map(|s| {
        let mean = |i: usize| Some(0.01 * ((s * (i + 3)) as f64).sin());
        (s, (0..history.instruments.len()).map(mean).collect())
    });
    (means.collect(), volatility_ranks(&VolatilityInputs::new(history), 507, 5))
}

#[test]
fn rows_added_later_change_no_verdict() {
    let history = clustering_market();
    let (means, ranks) = stored(&history);
    let all = TermForecasts {
        means: Some(Said { name: "network", days: &means }),
        ranks: Some(Said { name: "cov252", days: &ranks }),
        ..TermForecasts::default()
    };
    for until in [2410, 2413] {
        let early = history.until(history.sessions[until]);
        let known = means.partition_point(|d| d.0 <= until);
        let then = TermForecasts {
            means: Some(Said { name: "network", days: &means[..known] }),
            ranks: Some(Said { name: "cov252", days: &ranks[..known] }),
            ..TermForecasts::default()
        };
        let of_all = judged(&history, until, &all);
        assert_eq!(of_all, judged(&early, until, &then));
        assert_eq!(
            serde_json::to_string(&of_all).unwrap(),
            serde_json::to_string(&judged(&early, until, &then)).unwrap()
        );
    }
    assert_ne!(judged(&history, 2410, &all), judged(&history, 2500, &all));
}

#[test]
fn little_data_is_insufficient() {
    use VerdictReason::{NoForecasts, TooFewWindows};
    let history = clustering_market();
    let (_, ranks) = stored(&history);
    let said = TermForecasts { ranks: Some(Said { name: "cov252", days: &ranks }), ..TermForecasts::default() };
    let verdicts = judged(&history, TWELVE_YEARS - 1, &said);
    let heads = |term: &TermVerdicts| [term.direction.clone(), term.volatility.clone(), term.rank.clone()];
    for (i, verdict) in verdicts.iter().enumerate() {
        for head in heads(&verdict.long_term) {
            assert_eq!(head.verdict, Verdict::InsufficientData, "{i} {head:?}");
            assert!(head.windows <= 12 && head.power.is_none_or(|p| p < 0.5));
        }
        for head in heads(&verdict.short_term) {
            let enough = ![YOUNG, INDEX].contains(&i);
            assert_eq!(head.verdict != Verdict::InsufficientData, enough, "{i} {head:?}");
            assert_eq!(head.next_test_date.is_some(), i != INDEX);
        }
    }
    assert!(heads(&verdicts[YOUNG].short_term).iter().all(|h| h.reason == Some(TooFewWindows) && h.windows > 0));
    assert_eq!(verdicts[INDEX].short_term.volatility.reason, Some(NoForecasts));
    let none = judged(&history, TWELVE_YEARS - 1, &TermForecasts::default());
    assert_eq!(none[0].short_term.rank.reason, Some(NoForecasts));
    // Decisions every ten sessions, so one matures within two weeks.
    let next = none[0].short_term.volatility.next_test_date.unwrap();
    assert!((1..=16).contains(&(next - history.sessions[TWELVE_YEARS - 1]).num_days()));
}

#[test]
fn clustering_is_found_and_its_direction_is_not() {
    let history = clustering_market();
    let verdicts = judged(&history, TWELVE_YEARS - 1, &TermForecasts::default());
    let predictable = |of: fn(&TermVerdicts) -> Verdict| {
        verdicts.iter().filter(|v| of(&v.short_term) == Verdict::Predictable).count()
    };
    assert!(predictable(|t| t.volatility.verdict) >= 12);
    assert_eq!(predictable(|t| t.direction.verdict), 0);
    let one = &verdicts[0].short_term;
    assert_eq!((one.direction.benchmark, one.direction.deciding_test), (Benchmark::ExpandingMean, TestName::ClarkWest));
    assert_eq!((one.volatility.forecast.as_str(), one.volatility.eras.len()), ("harx2", 3));
    assert!(one.volatility.tests.iter().all(|t| t.statistic.is_finite() && (0.0..=1.0).contains(&t.p_value)));
}

#[test]
fn a_served_variance_replaces_harx2_on_its_days() {
    let history = clustering_market();
    let inputs = VolatilityInputs::new(&history);
    let until = TWELVE_YEARS - 1;
    let volatility = VolatilityWalk::fit(&inputs, VolatilityModel::HarX2, &[Horizon::FourWeeks], until);
    let record = Record { history: &history, inputs: &inputs, volatility: &volatility, until };
    let skill = |said: &TermForecasts<'_>| {
        let verdicts = term_verdicts(&record, Horizon::FourWeeks, said);
        (verdicts[0].volatility.forecast.clone(), verdicts[0].volatility.skill.unwrap())
    };
    // Stored off the regular days on purpose; a variance ten times too high.
    let days: Vec<DayValues<f64>> = (1003..=until)
        .step_by(5)
        .map(|s| {
            (
                s,
                volatility
                    .forecasts(&inputs, s, Horizon::FourWeeks)
                    .iter()
                    .map(|f| Some(10.0 * f.as_ref()?.daily_variance))
                    .collect(),
            )
        })
        .collect();
    let served = TermForecasts { variances: Some(Said { name: "served", days: &days }), ..TermForecasts::default() };
    let (own, bad) = (skill(&TermForecasts::default()), skill(&served));
    assert_eq!((own.0.as_str(), bad.0.as_str()), ("harx2", "served"));
    assert!(own.1 > 0.0 && bad.1 < -1.0, "{own:?} {bad:?}");
}

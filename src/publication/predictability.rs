//! The verdicts on an instrument, in the words of the answers.

use serde::Serialize;

use crate::evaluation::evidence::{Era, TestName, VerdictTest as Test};
use crate::evaluation::verdict::{HeadVerdict, Predictability as Judgement, TermVerdicts, Verdict as Said};
use crate::market::instrument::Symbol;
use crate::opinion::canonical::finite;
use crate::opinion::envelope::{Kind, Sources, reason};
use crate::opinion::explanation::PredictabilityExplanation;
use crate::opinion::predictability::{EraGain, HeadPredictability, Predictability, TermPredictability, VerdictTest};
use crate::opinion::signal::Verdict;
use crate::publication::header::{About, Absent, Header};
use crate::publication::rating::RATING_HORIZON;

/// Whom the verdicts are about, and what is known of them.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    /// Who.
    pub symbol: &'a Symbol,
    /// What the model holds about it; `None` when it was never judged.
    pub verdicts: Option<&'a Judgement>,
    /// Why it was not.
    pub without: &'a str,
    /// Its prices go on, so that there will be another window.
    pub alive: bool,
    /// Who won each head.
    pub sources: &'a Sources,
}

/// Forms the opinion.
#[must_use]
pub fn predictability(header: &Header, judged: &Judged<'_>) -> Predictability {
    let short_term = judged.verdicts.map(|v| shown_term(&v.short_term, judged.alive));
    let long_term = judged.verdicts.map(|v| shown_term(&v.long_term, judged.alive));
    let mut absent = Absent::default();
    for (name, term) in [("short_term", &short_term), ("long_term", &long_term)] {
        match term {
            Some(term) => explain(&mut absent, name, term, judged.alive),
            None => absent.because(name, judged.without),
        }
    }
    let about = About {
        kind: Kind::Predictability,
        symbol: Some(judged.symbol),
        horizon: RATING_HORIZON,
        sources: judged.sources,
    };
    let explanation = short_term.as_ref().zip(long_term.as_ref()).map(|(short, long)| counted(short, long));
    if explanation.is_none() {
        absent.because("explanation", judged.without);
    }
    Predictability { short_term, long_term, explanation, envelope: header.envelope(about, absent) }
}

fn counted(short_term: &TermPredictability, long_term: &TermPredictability) -> PredictabilityExplanation {
    let of_term = |name: &'static str, term: &TermPredictability| {
        let heads = [("direction", &term.direction), ("volatility", &term.volatility), ("rank", &term.rank)];
        heads.map(|(head, said)| (format!("{name}.{head}"), said.verdict))
    };
    let all = [of_term("short_term", short_term), of_term("long_term", long_term)].concat();
    let with = |verdict: Verdict| all.iter().filter(|(_, v)| *v == verdict).map(|(name, _)| name.clone()).collect();
    let [predictable, not_predictable, insufficient_data]: [Vec<String>; 3] =
        [Verdict::Predictable, Verdict::NotPredictable, Verdict::InsufficientData].map(with);
    let shown = match predictable.is_empty() {
        true => "none is shown to be predictable".to_owned(),
        false => format!("{} is shown to be predictable", predictable.join(", ")),
    };
    let sentence =
        format!("Of {} questions {shown}: for {} there is too little data.", all.len(), insufficient_data.len());
    PredictabilityExplanation { sentence, predictable, not_predictable, insufficient_data }
}

/// Says of every absent number why it is absent.
fn explain(absent: &mut Absent, term_name: &str, term: &TermPredictability, alive: bool) {
    let heads = [("direction", &term.direction), ("volatility", &term.volatility), ("rank", &term.rank)];
    for (name, head) in heads {
        let path = |field: &str| format!("{term_name}.{name}.{field}");
        let without = head.reason.as_deref().unwrap_or(reason::TOO_FEW_WINDOWS);
        let deciding = &head.deciding_test;
        let numbers = [
            ("windows_needed", head.windows_needed.map(f64::from)),
            ("power", head.power),
            ("skill", head.skill),
            ("deciding_test.statistic", deciding.statistic),
            ("deciding_test.p_value", deciding.p_value),
            ("deciding_test.adjusted_p_value", deciding.adjusted_p_value),
        ];
        for (field, _) in numbers.into_iter().filter(|(_, number)| number.is_none()) {
            absent.because(&path(field), without);
        }
        if head.other_tests.iter().any(|test| test.adjusted_p_value.is_none()) {
            absent.because(&path("other_tests.adjusted_p_value"), without);
        }
        if head.next_test_date.is_none() {
            let stopped = if alive { "not_scheduled" } else { reason::PRICES_STOPPED };
            absent.because(&path("next_test_date"), stopped);
        }
    }
}

fn shown_term(term: &TermVerdicts, alive: bool) -> TermPredictability {
    TermPredictability {
        direction: shown_head(&term.direction, alive),
        volatility: shown_head(&term.volatility, alive),
        rank: shown_head(&term.rank, alive),
    }
}

fn shown_head(head: &HeadVerdict, alive: bool) -> HeadPredictability {
    let is_other =
        |test: &&Test| test.name != head.deciding_test && test.statistic.is_finite() && test.p_value.is_finite();
    let others = head.tests.iter().filter(is_other);
    HeadPredictability {
        verdict: shown_verdict(head.verdict),
        reason: head.reason.map(word),
        benchmark: word(head.benchmark),
        forecast: head.forecast.clone(),
        deciding_test: shown_test(head.deciding_test, head.deciding()),
        other_tests: others.map(|test| shown_test(test.name, Some(test))).collect(),
        windows: count(head.windows),
        windows_needed: head.windows_needed.map(count),
        power: head.power.and_then(finite),
        skill: head.skill.and_then(finite),
        eras: head.eras.iter().filter_map(shown_era).collect(),
        next_test_date: head.next_test_date.filter(|_| alive),
    }
}

fn shown_test(name: TestName, test: Option<&Test>) -> VerdictTest {
    VerdictTest {
        name: word(name),
        statistic: test.and_then(|t| finite(t.statistic)),
        p_value: test.and_then(|t| finite(t.p_value)),
        adjusted_p_value: test.and_then(|t| t.adjusted_p_value).and_then(finite),
    }
}

fn shown_era(era: &Era) -> Option<EraGain> {
    Some(EraGain { from: era.from, to: era.to, windows: count(era.windows), gain: finite(era.gain)? })
}

fn shown_verdict(verdict: Said) -> Verdict {
    match verdict {
        Said::Predictable => Verdict::Predictable,
        Said::NotPredictable => Verdict::NotPredictable,
        Said::InsufficientData => Verdict::InsufficientData,
    }
}

fn count(windows: usize) -> u32 {
    u32::try_from(windows).unwrap_or(u32::MAX)
}

/// The word by which JSON names a unit variant.
fn word<T: Serialize>(value: T) -> String {
    let json = serde_json::to_value(value).ok();
    json.and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::evaluation::evidence::{Benchmark, Evidence, Head, Window};
    use crate::evaluation::verdict::{judge, settle};
    use crate::market::bar::Day;
    use crate::opinion::canonical::canonical;
    use crate::opinion::chain::Chain;
    use crate::opinion::provenance::Provenance;
    use crate::publication::header::Header;

    fn day(number: u32) -> Day {
        Day::from_ymd_opt(2014, 1, 2).unwrap() + chrono::Days::new((number * 28).into())
    }

    /// A record in which the forecast gains in `good` of every ten windows.
    fn head(head: Head, windows: u32, good: u32) -> HeadVerdict {
        let window = |k: u32| {
            let gain = if k % 10 < good { 1.0 } else { -1.0 } + f64::from(k % 7) / 50.0;
            let (realized, forecast) = (f64::from(k % 5) - 2.0, gain * (f64::from(k % 5) - 2.0));
            let session = 20 * k as usize;
            Window {
                session,
                day: day(k),
                forecast,
                benchmark: 0.0,
                realized,
                loss: 1.0 - gain / 4.0,
                benchmark_loss: 1.0,
            }
        };
        let windows = (0..windows).map(window).collect();
        let forecast = "harx2".to_owned();
        let mut verdict =
            judge(&Evidence { head, forecast, benchmark: Benchmark::Roll252, horizon_sessions: 20, windows });
        settle(&mut [&mut verdict]);
        verdict.next_test_date = Some(day(200));
        verdict
    }

    fn judgement() -> Judgement {
        let term = |windows: u32| TermVerdicts {
            direction: head(Head::Direction, windows, 5),
            volatility: head(Head::Volatility, windows, 9),
            rank: head(Head::Rank, windows / 20, 5),
        };
        Judgement { short_term: term(140), long_term: term(0) }
    }

    fn sources() -> Sources {
        let name = |s: &str| s.to_owned();
        let (mean, volatility, ranks) = (name("equity_premium"), name("harx2"), name("s0"));
        Sources { mean, volatility, ranks, intervals: name("conformal"), direction: name("base_rate") }
    }

    fn said(verdicts: Option<&Judgement>, without: &str, alive: bool) -> Predictability {
        let at = "2024-09-30T21:05:12Z".parse().unwrap();
        let provenance = Provenance {
            inputs_hash: "00".repeat(32),
            known_until: at,
            recorded_until: at,
            recipe: "benchmarks".into(),
            model_sha256: None,
            seed: 7,
            code_version: "test".into(),
            publication: Uuid::nil(),
            promotion: None,
        };
        let header = Header {
            as_of: Day::from_ymd_opt(2024, 9, 30).unwrap(),
            published_at: at,
            simulated: false,
            model_id: "2024-09-30.00000000".into(),
            has_network: false,
            chain: Chain::Live,
            provenance,
        };
        let (symbol, sources) = (Symbol::parse("BABA").unwrap(), sources());
        predictability(&header, &Judged { symbol: &symbol, verdicts, without, alive, sources: &sources })
    }

    /// Paths of nulls without a reason, and of reasons without a null.
    fn unexplained(value: &Value, reasons: &Value, path: &str, found: &mut Vec<String>) {
        let explained = reasons.get(path).is_some();
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let inner_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    unexplained(inner, reasons, &inner_path, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| unexplained(item, reasons, path, found)),
            Value::Null if explained || path.ends_with(".reason") => {}
            value if explained || value.is_null() => found.push(path.to_owned()),
            _ => {}
        }
    }

    fn check(opinion: &Predictability) {
        canonical(opinion).unwrap();
        let value = serde_json::to_value(opinion).unwrap();
        let mut found = vec![];
        unexplained(&value, &value["reasons"], "", &mut found);
        assert!(found.is_empty(), "{found:?} in {value}");
    }

    #[test]
    fn verdicts_are_told_with_the_tests_that_decided() {
        let opinion = said(Some(&judgement()), "", true);
        check(&opinion);
        let short = opinion.short_term.as_ref().unwrap();
        let volatility = &short.volatility;
        assert_eq!((volatility.verdict, volatility.reason.as_deref()), (Verdict::Predictable, None));
        assert_eq!((volatility.benchmark.as_str(), volatility.forecast.as_str()), ("roll252", "harx2"));
        assert_eq!(volatility.deciding_test.name, "diebold_mariano");
        assert!(volatility.deciding_test.adjusted_p_value.unwrap() < 0.05);
        assert!(
            volatility.other_tests.iter().all(|t| t.name != "diebold_mariano") && !volatility.other_tests.is_empty()
        );
        assert_eq!((volatility.windows, volatility.eras.len()), (140, 3));
        assert_eq!(short.direction.deciding_test.name, "clark_west");
        assert_eq!(short.rank.verdict, Verdict::InsufficientData);
        let long = opinion.long_term.as_ref().unwrap();
        assert_eq!(long.rank.reason.as_deref(), Some("no_forecasts"));
        assert_eq!((long.rank.deciding_test.statistic, long.rank.skill), (None, None));
        let verdicts = opinion.verdicts().unwrap();
        assert_eq!(verdicts.short_term.unwrap().volatility, Verdict::Predictable);
        assert_eq!(verdicts.long_term.unwrap().direction, Verdict::InsufficientData);
    }

    #[test]
    fn a_stopped_instrument_waits_for_no_window() {
        let opinion = said(Some(&judgement()), "", false);
        check(&opinion);
        assert_eq!(opinion.short_term.unwrap().rank.next_test_date, None);
        assert_eq!(opinion.envelope.reasons["short_term.rank.next_test_date"], reason::PRICES_STOPPED);
    }

    #[test]
    fn an_instrument_that_was_never_judged_says_why() {
        let opinion = said(None, reason::NOT_TRADED, true);
        check(&opinion);
        assert_eq!((&opinion.short_term, opinion.verdicts()), (&None, None));
        assert_eq!(opinion.envelope.reasons["long_term"], reason::NOT_TRADED);
    }
}

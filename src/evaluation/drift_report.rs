//! A drift report: features against the training span, prices and series against the calendar, and what of it is an alarm.

use std::collections::BTreeMap;

use crate::evaluation::drift::{DriftSpan, FeatureDrift, feature_drift};
use crate::evaluation::drift_windows::{GroupDrift, LEVEL};
use crate::evaluation::staleness::{STALE_AFTER_SESSIONS, gaps, is_stale, series_staleness, staleness};
use crate::features::schema::FactorGroup;
use crate::market::bar::Day;
use crate::market::history::{History, InstrumentHistory};
use crate::market::instrument::Symbol;
use crate::opinion::canonical::rounded;
use crate::opinion::drift::{
    Alarm, AlarmKind, DriftVerdict, FactorDrift, InstrumentDrift, LivePerformance, PerformanceMeasure, UniverseDrift,
};
use crate::opinion::envelope::{Reasons, reason};

/// Stability index above the noise level from which on a shift is moderate, and from which on it is an alarm.
const EXCESS: [f64; 2] = [0.1, 0.25];
/// Reason for no factor: nothing has been trained.
pub const NO_MODEL: &str = "no_model_yet";
/// An instrument whose last bar lies further back than this many sessions has left the market, and is no alarm.
const LIVE_SESSIONS: usize = 63;
/// Share of the live instruments from which on stopped prices or gaps are an alarm.
const ALARMING_SHARE: f64 = 0.1;
/// Names that a message holds at most.
const NAMED: usize = 5;

/// What a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct DriftInputs<'a> {
    /// Everything known.
    pub history: &'a History,
    /// Name and last training session of the model in force.
    pub model: Option<(&'a str, Day)>,
    /// Sessions of the recent window.
    pub window_sessions: usize,
    /// Newest session that has closed.
    pub newest_closed: Day,
    /// Bars of the last year that were revised; those without any are left out.
    pub revised_bars: &'a BTreeMap<Symbol, u32>,
    /// What live scores say.
    pub performance: &'a LivePerformance,
}

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Newest session that was looked at.
    pub as_of: Day,
    /// The universe.
    pub universe: UniverseDrift,
    /// Each instrument, ascending by symbol.
    pub instruments: Vec<(Symbol, InstrumentDrift)>,
    /// What an operator should see.
    pub alarms: Vec<Alarm>,
}

/// Measures everything; `None` without a session.
#[must_use]
pub fn measure(inputs: DriftInputs<'_>) -> Option<Measured> {
    let as_of = inputs.history.decision_day()?;
    let history = inputs.history.until(as_of);
    let span =
        inputs.model.map(|(_, trained_until)| DriftSpan { window_sessions: inputs.window_sessions, trained_until });
    let found = span.map(|span| feature_drift(&history, span));
    let of_symbol = |symbol: &Symbol| {
        let at = history.instruments.binary_search_by(|i| i.instrument.symbol.cmp(symbol)).ok()?;
        found.as_ref().map(|found| found.instruments[at])
    };
    let instruments: Vec<(Symbol, InstrumentDrift)> = inputs
        .history
        .instruments
        .iter()
        .map(|i| (i.instrument.symbol.clone(), of_instrument(&inputs, as_of, i, of_symbol(&i.instrument.symbol))))
        .collect();
    let universe = of_universe(&inputs, found.as_ref(), &instruments);
    let alarms = alarms(&inputs, &universe, &instruments);
    Some(Measured { as_of, universe, instruments, alarms })
}

fn of_instrument(
    inputs: &DriftInputs<'_>,
    as_of: Day,
    instrument: &InstrumentHistory,
    found: Option<[Option<GroupDrift>; 4]>,
) -> InstrumentDrift {
    let model_id = inputs.model.map(|(model_id, _)| model_id.to_owned());
    let last_bar = instrument.last.map(|t| inputs.history.sessions[t]);
    let mut reasons = Reasons::new();
    if model_id.is_none() {
        reasons.insert("model_id".into(), NO_MODEL.into());
    }
    InstrumentDrift {
        as_of,
        model_id,
        factors: factors(found, inputs.model.is_some()),
        staleness: staleness(last_bar, inputs.newest_closed),
        gaps: gaps(inputs.history, instrument),
        revised_bars: inputs.revised_bars.get(&instrument.instrument.symbol).copied().unwrap_or_default(),
        reasons,
    }
}

fn factors(found: Option<[Option<GroupDrift>; 4]>, has_model: bool) -> Vec<FactorDrift> {
    let found = found.unwrap_or_default();
    FactorGroup::ALL.into_iter().zip(found).map(|(group, found)| of_factor(group, found, has_model)).collect()
}

fn of_factor(group: FactorGroup, found: Option<GroupDrift>, has_model: bool) -> FactorDrift {
    let verdict = found.and_then(verdict);
    let reason = match (verdict, found, has_model) {
        (Some(_), _, _) => None,
        (None, _, false) => Some(NO_MODEL),
        (None, None, true) => Some(reason::INSUFFICIENT_HISTORY),
        (None, Some(_), true) => Some(reason::TOO_FEW_WINDOWS),
    };
    FactorDrift {
        factor: group.as_str().into(),
        psi: found.map(|f| rounded(f.recent.stability_index)),
        psi_noise_level: found.map(|f| rounded(f.noise.stability_index)),
        kolmogorov_smirnov: found.map(|f| rounded(f.recent.kolmogorov_smirnov)),
        kolmogorov_smirnov_noise_level: found.map(|f| rounded(f.noise.kolmogorov_smirnov)),
        p_value: found.map(|f| rounded(f.p_value)),
        verdict,
        reason: reason.map(Into::into),
    }
}

/// `None` with too few windows for the level.
fn verdict(found: GroupDrift) -> Option<DriftVerdict> {
    let excess = found.recent.stability_index - found.noise.stability_index;
    match () {
        () if LEVEL * ((found.windows + 1) as f64) < 1.0 => None,
        () if found.p_value > LEVEL || excess < EXCESS[0] => Some(DriftVerdict::Stable),
        () if excess < EXCESS[1] => Some(DriftVerdict::Moderate),
        () => Some(DriftVerdict::Drifted),
    }
}

fn of_universe(
    inputs: &DriftInputs<'_>,
    found: Option<&FeatureDrift>,
    instruments: &[(Symbol, InstrumentDrift)],
) -> UniverseDrift {
    let universe = found.map(|found| found.universe);
    let count = |is: &dyn Fn(&InstrumentDrift) -> bool| instruments.iter().filter(|(_, drift)| is(drift)).count();
    let series = inputs.history.factors.iter().filter_map(|f| series_staleness(f, inputs.newest_closed));
    UniverseDrift {
        window_sessions: inputs.window_sessions,
        windows: universe.iter().flatten().flatten().map(|group| group.windows).max().unwrap_or_default(),
        factors: factors(universe, inputs.model.is_some()),
        instruments: instruments.len(),
        drifted_instruments: count(&|drift| drift.factors.iter().any(is_drifted)),
        stale_instruments: count(&|drift| is_stale(&drift.staleness)),
        instruments_with_gaps: count(&|drift| drift.gaps.missing > 0),
        series: series.collect(),
        performance: inputs.performance.clone(),
    }
}

fn is_drifted(factor: &FactorDrift) -> bool {
    factor.verdict == Some(DriftVerdict::Drifted)
}

fn alarms(inputs: &DriftInputs<'_>, universe: &UniverseDrift, instruments: &[(Symbol, InstrumentDrift)]) -> Vec<Alarm> {
    let newest = inputs.history.sessions.len().saturating_sub(1);
    let rows = inputs.history.instruments.iter().zip(instruments);
    let live: Vec<(&Symbol, &InstrumentDrift)> = rows
        .filter(|(row, _)| row.last.is_some_and(|last| last + LIVE_SESSIONS >= newest))
        .map(|(_, (symbol, drift))| (symbol, drift))
        .collect();
    let left = universe.factors.iter().filter(|factor| is_drifted(factor)).map(left_the_span);
    let worse = universe.performance.measures.iter().filter(|measure| measure.drifted).map(became_worse);
    let stopped = share_of(&live, |drift| is_stale(&drift.staleness)).map(|(count, names)| Alarm {
        kind: AlarmKind::StalePrices,
        subject: "universe".into(),
        message: format!("{count} instruments have had no bar for more than {STALE_AFTER_SESSIONS} sessions: {names}"),
    });
    let gaps = share_of(&live, |drift| drift.gaps.missing_lately > 0).map(|(count, names)| Alarm {
        kind: AlarmKind::Gaps,
        subject: "universe".into(),
        message: format!("{count} instruments lack bars in their newest 20 sessions: {names}"),
    });
    let late = universe.series.iter().filter(|series| series.stale).map(|series| Alarm {
        kind: AlarmKind::StaleSeries,
        subject: series.id.clone(),
        message: format!(
            "{} has had no value since {}, {} sessions",
            series.id, series.last_day, series.sessions_behind
        ),
    });
    left.chain(worse).chain(stopped).chain(late).chain(gaps).collect()
}

fn left_the_span(factor: &FactorDrift) -> Alarm {
    let number = |value: Option<f64>| value.unwrap_or_default();
    Alarm {
        kind: AlarmKind::FeatureDrift,
        subject: factor.factor.clone(),
        message: format!(
            "the features of {} have left the training span: stability index {:.2}, noise level {:.2}, p {:.3}",
            factor.factor,
            number(factor.psi),
            number(factor.psi_noise_level),
            number(factor.p_value)
        ),
    }
}

fn became_worse(measure: &PerformanceMeasure) -> Alarm {
    Alarm {
        kind: AlarmKind::PerformanceDrift,
        subject: measure.of.clone(),
        message: format!(
            "{} has become worse than its benchmark: mean gain {:.4}, at most {:.4}, over {} live scores",
            measure.of, measure.mean, measure.upper, measure.observations
        ),
    }
}

/// How many, of how many, and some of their names; `None` below the alarming share.
fn share_of(live: &[(&Symbol, &InstrumentDrift)], is: impl Fn(&InstrumentDrift) -> bool) -> Option<(String, String)> {
    let found: Vec<&str> = live.iter().filter(|(_, drift)| is(drift)).map(|(symbol, _)| symbol.as_str()).collect();
    if found.is_empty() || (found.len() as f64) < ALARMING_SHARE * live.len() as f64 {
        return None;
    }
    let more = if found.len() > NAMED { ", ..." } else { "" };
    let names = format!("{}{more}", found[..found.len().min(NAMED)].join(", "));
    Some((format!("{} of {}", found.len(), live.len()), names))
}

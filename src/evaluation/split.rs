//! Walk-forward by date: which days are decided, from which refit, and which rows a refit may learn from.
//!
//! All positions are session indices of one [`History`](crate::market::history::History). A row of session `s` with
//! horizon `h` looks back from `s` and its target spans the sessions `s + 1 ..= s + h`, so the target is known at
//! `s + h`. Rows are purged by that end, never by their own day (Lopez de Prado 2018, chapter 7).

use std::ops::Range;

use chrono::Datelike;

use crate::market::bar::Day;

/// A day that gets a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The day that is written beside the forecast.
    pub as_of: Day,
    /// The last session on or before it; everything known at its close may be used.
    pub session: usize,
}

/// When models are fitted anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refit {
    /// At the first session of each calendar year.
    Yearly,
    /// At the first decision and from there every so many sessions (at least 1).
    Every(usize),
}

/// One refit and the decisions that are served by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Session at whose close the models are fitted.
    pub refit_session: usize,
    /// Decisions at or after the refit and before the next one, ascending.
    pub decisions: Vec<Decision>,
}

/// The rows of one refit, split in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingSpans {
    /// Sessions whose rows train.
    pub training: Range<usize>,
    /// Sessions whose rows judge; later than every training target's end. May be empty.
    pub validation: Range<usize>,
}

/// How a refit's rows are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanRequest {
    /// First session with usable features.
    pub first_session: usize,
    /// Session at whose close the fit happens.
    pub refit_session: usize,
    /// Longest horizon of the targets, in sessions.
    pub horizon_sessions: usize,
    /// Wanted length of the validation span, in sessions; 0 for none.
    pub validation_sessions: usize,
    /// Sessions left out between the last training target and the validation span, beyond the purge.
    pub embargo_sessions: usize,
}

/// Decision days from the first session on or after `from`, every `every` sessions (at least 1), up to `to` inclusive.
#[must_use]
pub fn decisions_every(sessions: &[Day], from: Day, to: Day, every: usize) -> Vec<Decision> {
    let start = sessions.partition_point(|d| *d < from);
    let end = sessions.partition_point(|d| *d <= to);
    let pick = |session: usize| sessions.get(session).map(|as_of| Decision { as_of: *as_of, session });
    (start..end).step_by(every.max(1)).filter_map(pick).collect()
}

/// Decisions at named days: each uses the last session on or before it; days before the first session are left out.
#[must_use]
pub fn decisions_on(sessions: &[Day], days: &[Day]) -> Vec<Decision> {
    let mut days = days.to_vec();
    days.sort_unstable();
    days.dedup();
    let place = |as_of: Day| {
        let session = sessions.partition_point(|d| *d <= as_of).checked_sub(1)?;
        Some(Decision { as_of, session })
    };
    days.into_iter().filter_map(place).collect()
}

/// Groups ascending decisions by the refit that serves them.
///
/// With [`Refit::Yearly`] a decision is served by the first session of its own year (the session of the very first
/// row, for decisions in the year in which the history begins).
#[must_use]
pub fn folds(sessions: &[Day], decisions: &[Decision], refit: Refit) -> Vec<Fold> {
    let Some(first) = decisions.first() else { return Vec::new() };
    let mut folds: Vec<Fold> = Vec::new();
    for decision in decisions {
        let refit_session = match refit {
            Refit::Yearly => first_session_of_year(sessions, decision.session),
            Refit::Every(every) => decision.session - (decision.session - first.session) % every.max(1),
        };
        match folds.last_mut().filter(|f| f.refit_session == refit_session) {
            Some(fold) => fold.decisions.push(*decision),
            None => folds.push(Fold { refit_session, decisions: vec![*decision] }),
        }
    }
    folds
}

/// The rows whose targets of `horizon_sessions` are known at the refit, `s + h <= refit`, from `first_session` on.
#[must_use]
pub fn matured_rows(first_session: usize, refit_session: usize, horizon_sessions: usize) -> Range<usize> {
    let end = (refit_session + 1).saturating_sub(horizon_sessions);
    first_session.min(end)..end
}

/// Splits the matured rows in time: the newest validate, the ones whose targets end at or before the first validation
/// session (less the embargo) train, the ones between are purged.
#[must_use]
pub fn training_spans(request: SpanRequest) -> TrainingSpans {
    let SpanRequest { first_session, refit_session, horizon_sessions, validation_sessions, embargo_sessions } = request;
    let matured = matured_rows(first_session, refit_session, horizon_sessions);
    if validation_sessions == 0 {
        return TrainingSpans { training: matured.clone(), validation: matured.end..matured.end };
    }
    let start = matured.end.saturating_sub(validation_sessions).max(matured.start);
    let training = matured_rows(first_session, start.saturating_sub(embargo_sessions), horizon_sessions);
    TrainingSpans { training, validation: start..matured.end }
}

fn first_session_of_year(sessions: &[Day], session: usize) -> usize {
    let year = sessions.get(session).map_or(0, Datelike::year);
    sessions.partition_point(|d| d.year() < year)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weekdays(count: usize) -> Vec<Day> {
        let start = Day::from_ymd_opt(2018, 1, 1).unwrap();
        start.iter_days().filter(|d| d.weekday().number_from_monday() < 6).take(count).collect()
    }

    #[test]
    fn decisions_start_at_the_first_session_and_named_days_keep_their_name() {
        let sessions = weekdays(30);
        let saturday = Day::from_ymd_opt(2018, 1, 6).unwrap();
        let regular = decisions_every(&sessions, saturday, *sessions.last().unwrap(), 10);
        assert_eq!(regular.iter().map(|d| d.session).collect::<Vec<_>>(), [5, 15, 25]);
        let early = Day::from_ymd_opt(2017, 1, 6).unwrap();
        assert_eq!(decisions_on(&sessions, &[saturday, early, saturday]), [Decision { as_of: saturday, session: 4 }]);
    }

    #[test]
    fn yearly_refits_happen_at_the_first_session_of_the_year() {
        let sessions = weekdays(800);
        let from = Day::from_ymd_opt(2018, 11, 1).unwrap();
        let decisions = decisions_every(&sessions, from, Day::from_ymd_opt(2020, 3, 1).unwrap(), 20);
        let folds = folds(&sessions, &decisions, Refit::Yearly);
        let days: Vec<String> = folds.iter().map(|f| sessions[f.refit_session].to_string()).collect();
        assert_eq!(days, ["2018-01-01", "2019-01-01", "2020-01-01"]);
        assert_eq!(folds.iter().map(|f| f.decisions.len()).sum::<usize>(), decisions.len());
    }

    #[test]
    fn regular_refits_count_from_the_first_decision() {
        let sessions = weekdays(100);
        let decisions = decisions_every(&sessions, sessions[7], sessions[99], 5);
        let refits: Vec<usize> =
            folds(&sessions, &decisions, Refit::Every(40)).iter().map(|f| f.refit_session).collect();
        assert_eq!(refits, [7, 47, 87]);
    }

    #[test]
    fn a_row_matures_when_its_target_ends() {
        assert_eq!(matured_rows(252, 700, 20), 252..681);
        assert_eq!(matured_rows(252, 260, 20), 241..241);
        assert!(matured_rows(0, 5, 20).is_empty());
    }

    proptest! {
        #[test]
        fn targets_never_reach_into_what_judges_them(
            first in 0usize..300, refit in 0usize..2000, horizon in 1usize..260, validation in 0usize..400, embargo in 0usize..30,
        ) {
            let spans = training_spans(SpanRequest {
                first_session: first, refit_session: refit, horizon_sessions: horizon,
                validation_sessions: validation, embargo_sessions: embargo,
            });
            for s in spans.training.clone() {
                prop_assert!(s >= first && s + horizon <= refit);
                prop_assert!(spans.validation.is_empty() || s + horizon + embargo <= spans.validation.start);
            }
            for s in spans.validation.clone() {
                prop_assert!(s >= first && s + horizon <= refit);
            }
            prop_assert!(spans.validation.len() <= validation);
        }
    }
}

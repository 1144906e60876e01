//! The record of the ratings, in the words of the answers.

use crate::features::balance_sheet::ShareCountReport;
use crate::forecast::rating_record as kept;
use crate::opinion::canonical::{finite, rounded, rounded_to};
use crate::opinion::envelope::{Kind, Sources, reason};
use crate::opinion::rating_record::{
    FactorCalibration, GradeCalibration, LetterRow, OutlookRecord, RatingRecord, ShareCount, TermTransitions,
    Transition, Transitions, YearCalibration,
};
use crate::publication::header::{About, Absent, Header};
use crate::publication::rating::{RATING_HORIZON, shown_outlook, word};
use crate::rating::calibration::{CalibrationYear, FactorFit};
use crate::rating::transitions as counted;

/// Forms the opinion.
#[must_use]
pub fn rating_record(header: &Header, record: &kept::RatingRecord, sources: &Sources) -> RatingRecord {
    let mut absent = Absent::default();
    let calibration = shown_fit(&record.calibration.fit);
    for field in ["calibration.fitted", "calibration.standard_error"] {
        if let Some(why) = &calibration.reason {
            absent.because(field, why);
        }
    }
    let from = absent.or_because(record.quarters.first().copied(), "from", reason::INSUFFICIENT_HISTORY);
    let transitions = TermTransitions {
        short_term: shown_transitions(&record.short_term),
        long_term: shown_transitions(&record.long_term),
    };
    for (term, shown) in [("short_term", &transitions.short_term), ("long_term", &transitions.long_term)] {
        if shown.unchanged.is_none() {
            absent.because(&format!("transitions.{term}.unchanged"), reason::TOO_FEW_WINDOWS);
            absent.because(&format!("transitions.{term}.within_one_notch"), reason::TOO_FEW_WINDOWS);
        }
    }
    if record.share_counts.iter().any(|count| count.used.is_none()) {
        absent.because("share_counts.used", "refused");
    }
    let about = About { kind: Kind::RatingRecord, symbol: None, horizon: RATING_HORIZON, sources };
    RatingRecord {
        until: record.until,
        from,
        quarters: count(record.quarters.len()),
        ratings: count(record.ratings),
        calibration,
        by_year: record.calibration.by_year.iter().filter_map(shown_year).collect(),
        by_grade: record.by_grade.iter().map(shown_grade).collect(),
        transitions,
        outlooks: record.outlooks.iter().map(shown_follow_up).collect(),
        share_counts: record.share_counts.iter().map(shown_count).collect(),
        envelope: header.envelope(about, absent),
    }
}

fn shown_fit(fit: &FactorFit) -> FactorCalibration {
    FactorCalibration {
        factor: rounded(fit.factor),
        fitted: fit.fitted.and_then(finite),
        standard_error: fit.standard_error.and_then(finite),
        calibrated: fit.calibrated,
        reason: fit.reason.map(word),
        rows: count(fit.evidence.rows),
        events: count(fit.evidence.events),
        instrument_years: count(fit.evidence.instrument_years),
        event_years: count(fit.evidence.event_years),
    }
}

fn shown_year(year: &CalibrationYear) -> Option<YearCalibration> {
    Some(YearCalibration {
        year: year.year,
        factor: rounded(year.fit.factor),
        calibrated: year.fit.calibrated,
        rows: count(year.rows),
        events: count(year.events),
        predicted: rounded(year.predicted?),
        predicted_without: rounded(year.predicted_without?),
        realized: rounded(year.realized?),
    })
}

fn shown_grade(grade: &kept::GradeCalibration) -> GradeCalibration {
    GradeCalibration {
        grade: grade.grade.to_string(),
        rows: count(grade.rows),
        events: count(grade.events),
        predicted: rounded(grade.predicted),
        realized: rounded(grade.realized),
        default_probability: rounded(grade.default_probability),
    }
}

fn shown_transitions(transitions: &counted::Transitions) -> Transitions {
    let letters = transitions.by_letter().into_iter().filter(|row| row.count > 0).map(|row| LetterRow {
        from: row.from.to_owned(),
        count: count(row.count),
        to: row.to.map(count).into(),
        withdrawn: count(row.withdrawn),
    });
    let notches = transitions.counts.iter().map(|t| Transition {
        from: t.from.to_string(),
        to: t.to.map_or_else(|| "withdrawn".to_owned(), |to| to.to_string()),
        count: count(t.count),
    });
    let stability = transitions.stability();
    Transitions {
        columns: counted::LETTERS.map(str::to_owned).into(),
        letters: letters.collect(),
        notches: notches.collect(),
        unchanged: stability.map(|(unchanged, _)| rounded(unchanged)),
        within_one_notch: stability.map(|(_, near)| rounded(near)),
    }
}

fn shown_follow_up(record: &kept::OutlookRecord) -> OutlookRecord {
    OutlookRecord {
        outlook: shown_outlook(record.outlook),
        count: count(record.count),
        followed: count(record.followed),
        upgraded: count(record.upgraded),
        downgraded: count(record.downgraded),
    }
}

fn shown_count(report: &ShareCountReport) -> ShareCount {
    ShareCount {
        symbol: report.symbol.to_string(),
        filed: report.filed,
        as_filed: rounded_to(report.as_filed, 0),
        used: report.used.map(|units| rounded_to(units, 0)),
        reason: report.finding.as_str().to_owned(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

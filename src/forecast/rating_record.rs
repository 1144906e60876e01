//! What a walk of ratings leaves behind for publishing: the calibrated factor, how probabilities and grades went, each
//! instrument's changes, and the share counts that were not believed. Kept with the model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::features::balance_sheet::{ShareCountReport, share_count_reports};
use crate::features::price_basis::PriceBasis;
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_walk::{Quarter, RatingWalk, WalkedRating};
use crate::forecast::walk::VolatilityWalk;
use crate::market::bar::Day;
use crate::market::instrument::Symbol;
use crate::rating::calibration::RatingCalibration;
use crate::rating::outlook::{Outlook, outlook};
use crate::rating::rate::RatingBasis;
use crate::rating::scale::{Grade, Scale};
use crate::rating::term::{LONG_TERM_YEARS, RatingSettings};
use crate::rating::transitions::Transitions;

/// Quarters of a transition.
const TRANSITION_QUARTERS: usize = 4;

/// The record of the ratings that would have been given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatingRecord {
    /// The last session that anything here knew.
    pub until: Day,
    /// Ends of quarters with ratings, ascending.
    pub quarters: Vec<Day>,
    /// Ratings given at them.
    pub ratings: usize,
    /// The factor on the one-year volatility, and how probabilities of losing half went, by year.
    pub calibration: RatingCalibration,
    /// The same by short-term grade, best first; only grades that were given.
    pub by_grade: Vec<GradeCalibration>,
    /// Where short-term grades were four quarters later.
    pub short_term: Transitions,
    /// Where long-term grades were four quarters later.
    pub long_term: Transitions,
    /// What outlooks were followed by.
    pub outlooks: Vec<OutlookRecord>,
    /// Changes of grade, newest last.
    pub history: BTreeMap<Symbol, Vec<GradeChange>>,
    /// Share counts that were refused or repaired.
    pub share_counts: Vec<ShareCountReport>,
}

/// Whether as many shares of a grade lost half of their value as was expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GradeCalibration {
    /// The short-term grade.
    pub grade: Grade,
    /// Ratings whose year is over.
    pub rows: usize,
    /// Those that lost half.
    pub events: usize,
    /// Mean probability of losing half, with the factor in force.
    pub predicted: f64,
    /// `events / rows`.
    pub realized: f64,
    /// Mean probability of default within the year, a rarer event that is not observed here.
    pub default_probability: f64,
}

/// How often an outlook was given, and what the long-term grade did in the four quarters after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlookRecord {
    /// Which.
    pub outlook: Outlook,
    /// How often.
    pub count: usize,
    /// Those still rated four quarters later.
    pub followed: usize,
    /// Of them, with a better long-term grade then.
    pub upgraded: usize,
    /// Of them, with a worse one.
    pub downgraded: usize,
}

/// The grades of an instrument from the end of a quarter on. Stored as a list, for there are thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredChange", into = "StoredChange")]
pub struct GradeChange {
    /// The end of the quarter.
    pub as_of: Day,
    /// One year; `None` when the rating was withdrawn.
    pub short_term: Option<Grade>,
    /// Ten years.
    pub long_term: Option<Grade>,
    /// What they were computed from.
    pub basis: Option<RatingBasis>,
}

type StoredChange = (Day, Option<Grade>, Option<Grade>, Option<RatingBasis>);

impl From<StoredChange> for GradeChange {
    fn from((as_of, short_term, long_term, basis): StoredChange) -> Self {
        Self { as_of, short_term, long_term, basis }
    }
}

impl From<GradeChange> for StoredChange {
    fn from(change: GradeChange) -> Self {
        (change.as_of, change.short_term, change.long_term, change.basis)
    }
}

impl RatingRecord {
    /// Walks through the past up to a session and keeps what publishing needs.
    #[must_use]
    pub fn walk(prepared: &Prepared, harx2: &VolatilityWalk, settings: &RatingSettings, until: usize) -> Self {
        Self::of(prepared, &RatingWalk::new(prepared, harx2, settings, until), until)
    }

    /// The record of a walk.
    #[must_use]
    pub fn of(prepared: &Prepared, walk: &RatingWalk, until: usize) -> Self {
        let history = &prepared.history;
        let symbols = history.instruments.iter().map(|i| i.instrument.symbol.clone());
        let changes = symbols.enumerate().map(|(i, symbol)| (symbol, changes(walk, i)));
        let basis = PriceBasis::infer(history);
        let known = |report: &ShareCountReport| report.filed <= history.sessions[until];
        Self {
            until: history.sessions[until],
            quarters: walk.quarters.iter().map(|q| q.day).collect(),
            ratings: walk.ratings().count(),
            calibration: walk.calibration.clone(),
            by_grade: by_grade(walk),
            short_term: transitions(walk, WalkedRating::short_grade),
            long_term: transitions(walk, WalkedRating::long_grade),
            outlooks: outlooks(walk),
            history: changes.filter(|(_, changes)| !changes.is_empty()).collect(),
            share_counts: share_count_reports(history, &basis).into_iter().filter(known).collect(),
        }
    }
}

fn changes(walk: &RatingWalk, instrument: usize) -> Vec<GradeChange> {
    let change = |quarter: &Quarter| {
        let rating = quarter.ratings[instrument];
        GradeChange {
            as_of: quarter.day,
            short_term: rating.map(|r| r.short_grade()),
            long_term: rating.map(|r| r.long_grade()),
            basis: rating.map(|r| r.basis),
        }
    };
    let mut changes: Vec<GradeChange> = walk.quarters.iter().map(change).collect();
    changes.dedup_by_key(|change| (change.short_term, change.long_term, change.basis));
    // Before its first rating an instrument had none that could have been withdrawn.
    if changes.first().is_some_and(|c| c.long_term.is_none()) {
        changes.remove(0);
    }
    changes
}

fn by_grade(walk: &RatingWalk) -> Vec<GradeCalibration> {
    let mut matured: BTreeMap<Grade, Vec<&WalkedRating>> = BTreeMap::new();
    for (_, _, rating) in walk.ratings().filter(|(_, _, r)| r.outcome.is_some()) {
        matured.entry(rating.short_grade()).or_default().push(rating);
    }
    let calibration = |(grade, ratings): (Grade, Vec<&WalkedRating>)| {
        let rows = ratings.len();
        let mean = |of: &dyn Fn(&WalkedRating) -> f64| ratings.iter().map(|r| of(r)).sum::<f64>() / rows as f64;
        let events = ratings.iter().filter(|r| r.outcome.is_some_and(|o| o.fell())).count();
        GradeCalibration {
            grade,
            rows,
            events,
            predicted: mean(&WalkedRating::drawdown_probability),
            realized: events as f64 / rows as f64,
            default_probability: mean(&|r| r.short_term.value()),
        }
    };
    matured.into_iter().map(calibration).collect()
}

fn transitions(walk: &RatingWalk, grade: fn(&WalkedRating) -> Grade) -> Transitions {
    let years = walk.quarters.iter().zip(walk.quarters.iter().skip(TRANSITION_QUARTERS));
    Transitions::count(years.flat_map(|(first, last)| {
        let pairs = first.ratings.iter().zip(&last.ratings);
        pairs.filter_map(move |(from, to)| Some((grade(from.as_ref()?), to.as_ref().map(grade))))
    }))
}

fn outlooks(walk: &RatingWalk) -> Vec<OutlookRecord> {
    let empty = |outlook| OutlookRecord { outlook, count: 0, followed: 0, upgraded: 0, downgraded: 0 };
    let mut records = [Outlook::Positive, Outlook::Stable, Outlook::Negative].map(empty);
    for (k, pair) in walk.quarters.windows(2).enumerate() {
        let later = walk.quarters.get(k + 1 + TRANSITION_QUARTERS);
        for (i, (before, now)) in pair[0].ratings.iter().zip(&pair[1].ratings).enumerate() {
            let Some((before, now)) = before.zip(*now).filter(|(before, now)| before.basis == now.basis) else {
                continue;
            };
            let said = outlook(now.long_term, before.long_term, LONG_TERM_YEARS, Scale::idealized());
            let record = &mut records[said as usize];
            record.count += 1;
            if let Some(then) = later.and_then(|quarter| quarter.ratings[i]) {
                record.followed += 1;
                record.upgraded += usize::from(then.long_grade() < now.long_grade());
                record.downgraded += usize::from(then.long_grade() > now.long_grade());
            }
        }
    }
    records.into()
}

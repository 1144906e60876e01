//! The ratings that would have been given at the end of every quarter, each knowing only what was known then, and what
//! came of them within a year.

use chrono::Datelike;

use crate::features::price_basis::PriceBasis;
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_sources::RatingSources;
use crate::forecast::walk::VolatilityWalk;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::horizon::SESSIONS_PER_YEAR;
use crate::rating::calibration::{DRAWDOWN_BARRIER, DrawdownRow, RatingCalibration, drawdown_probability};
use crate::rating::first_passage::Diffusion;
use crate::rating::probability::Probability;
use crate::rating::rate::{RatingBasis, RatingInputs, Subject};
use crate::rating::scale::{Grade, Scale, grade};
use crate::rating::term::{LONG_TERM_YEARS, RatingSettings, SHORT_TERM_YEARS, SigmaScale};
use crate::scenario::volatility_inputs::Place;

/// Sessions between the days of the calibration.
const CALIBRATION_SPACING: usize = 21;
/// An instrument without a bar for more sessions than this has stopped.
const STOPPED_AFTER: usize = 5;
const YEAR: usize = 252;

/// Ratings of the past.
#[derive(Debug, Clone)]
pub struct RatingWalk {
    /// The calibrated factor, year by year.
    pub calibration: RatingCalibration,
    /// Ends of quarters with ratings, ascending.
    pub quarters: Vec<Quarter>,
}

/// All ratings of one day.
#[derive(Debug, Clone)]
pub struct Quarter {
    /// The last session of a calendar quarter.
    pub session: usize,
    /// Its day.
    pub day: Day,
    /// By instrument of the history; `None` where none would have been given.
    pub ratings: Vec<Option<WalkedRating>>,
}

/// One rating of the past.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WalkedRating {
    /// Probability of default within a year.
    pub short_term: Probability,
    /// Probability of default within ten.
    pub long_term: Probability,
    /// What they were computed from.
    pub basis: RatingBasis,
    /// Volatility and drift of the share, without the factor.
    pub share: Diffusion,
    /// The factor in force.
    pub sigma_scale: SigmaScale,
    /// What came within a year; `None` until it is over.
    pub outcome: Option<YearOutcome>,
}

/// What came of a share within the 252 sessions after a day, dividends and splits included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct YearOutcome {
    /// The lowest close, as a fraction of the day's.
    pub lowest: f64,
    /// The largest fall from an earlier close, as a fraction of that, 0..1.
    pub worst_drawdown: f64,
    /// Annualized root of the mean squared log return.
    pub volatility: f64,
}

impl WalkedRating {
    /// The short-term grade.
    #[must_use]
    pub fn short_grade(&self) -> Grade {
        grade(self.short_term, SHORT_TERM_YEARS, Scale::idealized())
    }

    /// The long-term grade.
    #[must_use]
    pub fn long_grade(&self) -> Grade {
        grade(self.long_term, LONG_TERM_YEARS, Scale::idealized())
    }

    /// Probability that the share loses half of its value within a year, with the factor in force.
    #[must_use]
    pub fn drawdown_probability(&self) -> f64 {
        drawdown_probability(self.share, self.sigma_scale.factor)
    }
}

impl YearOutcome {
    /// Whether the share lost half of its value.
    #[must_use]
    pub fn fell(&self) -> bool {
        self.lowest <= DRAWDOWN_BARRIER
    }
}

impl RatingWalk {
    /// Walks through all quarters that ended by `until`. Volatilities are the benchmark's; `settings.sigma_scale` is not
    /// read.
    #[must_use]
    pub fn new(prepared: &Prepared, walk: &VolatilityWalk, settings: &RatingSettings, until: usize) -> Self {
        let basis = PriceBasis::infer(&prepared.history);
        let sources = RatingSources::new(prepared, &basis);
        let day = WalkDay { prepared, sources: &sources, walk, until };
        let sessions = &prepared.history.sessions;
        let first = walk.first_session(sessions).unwrap_or(usize::MAX).min(until);
        let rows: Vec<DrawdownRow> =
            (first..until).step_by(CALIBRATION_SPACING).flat_map(|t| day.drawdown_rows(t, settings)).collect();
        let years = sessions[first].year()..=sessions[until].year();
        let calibration = RatingCalibration::fit(&rows, years);
        let ends = (first..=until).filter(|t| ends_quarter(sessions[*t]));
        let quarters = ends.map(|session| {
            let sigma_scale = calibration.scale_in(sessions[session].year());
            day.quarter(session, &RatingSettings { sigma_scale, ..*settings })
        });
        Self { quarters: quarters.filter(|q| q.ratings.iter().any(Option::is_some)).collect(), calibration }
    }

    /// Every rating with its quarter.
    pub fn ratings(&self) -> impl Iterator<Item = (&Quarter, usize, &WalkedRating)> {
        self.quarters.iter().flat_map(|q| {
            let rated = q.ratings.iter().enumerate();
            rated.filter_map(move |(i, rating)| Some((q, i, rating.as_ref()?)))
        })
    }
}

/// Whether no later session of the same quarter will come.
fn ends_quarter(day: Day) -> bool {
    let next = calendar::next_session(day);
    (next.year(), next.month0() / 3) != (day.year(), day.month0() / 3)
}

#[derive(Clone, Copy)]
struct WalkDay<'a> {
    prepared: &'a Prepared,
    sources: &'a RatingSources<'a>,
    walk: &'a VolatilityWalk,
    until: usize,
}

impl WalkDay<'_> {
    /// The inputs of everything that is rated on a day, by instrument.
    fn inputs(&self, session: usize) -> Vec<(usize, RatingInputs)> {
        let volatilities = self.sources.benchmark_volatilities(self.walk, session);
        let known = volatilities.into_iter().enumerate().filter(|(_, volatility)| volatility.is_some());
        let inputs = known.filter_map(|(instrument, volatility)| {
            Some((instrument, self.sources.inputs(Place { instrument, session }, volatility)?))
        });
        inputs.filter(|(_, inputs)| inputs.subject != Subject::Index).collect()
    }

    fn drawdown_rows(&self, session: usize, settings: &RatingSettings) -> Vec<DrawdownRow> {
        if session + YEAR > self.until {
            return vec![];
        }
        let sessions = &self.prepared.history.sessions;
        let row = |(instrument, inputs): (usize, RatingInputs)| {
            let outcome = year_outcome(self.prepared, Place { instrument, session }, self.until)?;
            Some(DrawdownRow {
                instrument,
                decided_on: sessions[session],
                matured_on: sessions[session + YEAR],
                share: inputs.firm(settings)?.share(),
                fell: outcome.fell(),
            })
        };
        self.inputs(session).into_iter().filter_map(row).collect()
    }

    fn quarter(&self, session: usize, settings: &RatingSettings) -> Quarter {
        let mut ratings = vec![None; self.prepared.history.instruments.len()];
        for (instrument, inputs) in self.inputs(session) {
            ratings[instrument] = inputs.firm(settings).map(|firm| WalkedRating {
                short_term: firm.probability(SHORT_TERM_YEARS),
                long_term: firm.probability(LONG_TERM_YEARS),
                basis: if firm.structure.is_some() { RatingBasis::BalanceSheet } else { RatingBasis::PriceOnly },
                share: firm.share(),
                sigma_scale: settings.sigma_scale,
                outcome: year_outcome(self.prepared, Place { instrument, session }, self.until),
            });
        }
        Quarter { session, day: self.prepared.history.sessions[session], ratings }
    }
}

/// What came within the 252 sessions after a place, if they were over by `until` and the prices went on to their end, or
/// the share had lost half of its value before they stopped.
#[must_use]
pub fn year_outcome(prepared: &Prepared, place: Place, until: usize) -> Option<YearOutcome> {
    let Place { instrument, session } = place;
    let end = Some(session + YEAR).filter(|end| *end <= until)?;
    let returns = &prepared.history.instruments[instrument].log_return[session + 1..=end];
    let (mut level, mut peak, mut lowest, mut fall) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    let (mut squares, mut count) = (0.0, 0.0_f64);
    for r in returns.iter().filter(|r| r.is_finite()) {
        level += r;
        peak = peak.max(level);
        lowest = lowest.min(level);
        fall = fall.max(peak - level);
        squares += r * r;
        count += 1.0;
    }
    let goes_on = prepared.last_bar(instrument, end).is_some_and(|bar| bar + STOPPED_AFTER >= end);
    let outcome = YearOutcome {
        lowest: lowest.exp(),
        worst_drawdown: -(-fall).exp_m1(),
        volatility: (squares / count.max(1.0) * SESSIONS_PER_YEAR).sqrt(),
    };
    (goes_on || outcome.fell()).then_some(outcome)
}

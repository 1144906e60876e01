//! From rows and stored forecasts to the verdicts on all instruments: which decision days count, and what was said on
//! them before the outcome.
//!
//! Direction is decided once a horizon, volatility and rank twice: their windows overlap, which Newey and West's lag of 1
//! allows for, and on simulated noise the tests keep their level (see
//! [`verdict_calibration`](crate::forecast::verdict_calibration)). Only windows whose last session is not after the cutoff
//! count: rows added later change no verdict of an earlier day.

use std::collections::BTreeSet;

use crate::evaluation::autoregression::{ReturnWindow, combined_means};
use crate::evaluation::evidence::{Benchmark, Evidence, Head, Window};
use crate::evaluation::outcomes::{VARIANCE_FLOOR, realized_return, realized_variance};
use crate::evaluation::rank_scores::{CLASS_COUNT, quintile_membership, ranked_probability_score};
use crate::evaluation::scores::qlike;
use crate::evaluation::verdict::{HeadVerdict, Predictability, TermVerdicts, harder, judge, settle};
use crate::forecast::walk::VolatilityWalk;
use crate::market::calendar;
use crate::market::history::History;
use crate::market::horizon::Horizon;
use crate::scenario::volatility_inputs::VolatilityInputs;

/// A decision day moves by fewer sessions than this to meet a stored forecast.
const NEAR: usize = 5;
/// Decisions on volatility and rank within one horizon.
const DECISIONS_IN_HORIZON: usize = 2;
/// Sessions that the earlier forecasts behind an average must span.
const AVERAGED_SESSIONS: usize = 252;
/// Instruments from which on ranks are scored, as in the scorers.
const RANKED_MINIMUM: usize = 20;
/// An instrument without a bar for more sessions than this has stopped.
const STOPPED_AFTER: usize = 5;
/// Expected distance from the middle class when all five are equally likely.
const UNIFORM_DISTANCE: f64 = 1.2;

/// What was said on one decision day: its session index, and one value an instrument in the order of the history.
pub type DayValues<T> = (usize, Vec<Option<T>>);

/// Stored out-of-sample forecasts and who made them.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a, T> {
    /// Name in the answer.
    pub name: &'a str,
    /// Ascending by session.
    pub days: &'a [DayValues<T>],
}

/// What was said over one horizon besides harX2 and the autoregression; all out of sample.
#[derive(Debug, Clone, Copy, Default)]
pub struct TermForecasts<'a> {
    /// Mean daily variances of who holds the seat; harX2 stands in on other days.
    pub variances: Option<Said<'a, f64>>,
    /// Raw means, log returns over the horizon.
    pub means: Option<Said<'a, f64>>,
    /// Quintile probabilities, worst to best.
    pub ranks: Option<Said<'a, [f64; CLASS_COUNT]>>,
}

/// What verdicts are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The rows.
    pub history: &'a History,
    /// Inputs of the volatility benchmarks over the same rows.
    pub inputs: &'a VolatilityInputs,
    /// harX2, each fit knowing only what had matured.
    pub volatility: &'a VolatilityWalk,
    /// The cutoff, a session index.
    pub until: usize,
}

/// The verdicts on all instruments, in the order of the history: short term 4w, long term 52w.
///
/// Instruments that look like an index at the cutoff are not forecast: `insufficient_data` without a window.
#[must_use]
pub fn predictability(record: &Record<'_>, short: &TermForecasts<'_>, long: &TermForecasts<'_>) -> Vec<Predictability> {
    let terms = term_verdicts(record, Horizon::FourWeeks, short).into_iter();
    let pairs = terms.zip(term_verdicts(record, Horizon::Year, long));
    pairs.map(|(short_term, long_term)| Predictability { short_term, long_term }).collect()
}

/// The verdicts on all instruments at one horizon, p-values adjusted over the instruments head by head.
#[must_use]
pub fn term_verdicts(record: &Record<'_>, horizon: Horizon, said: &TermForecasts<'_>) -> Vec<TermVerdicts> {
    let direction = direction_verdicts(record, horizon, said);
    let volatility = volatility_verdicts(record, horizon, said);
    let rank = rank_verdicts(record, horizon, said);
    let terms = direction.into_iter().zip(volatility).zip(rank);
    terms.map(|((direction, volatility), rank)| TermVerdicts { direction, volatility, rank }).collect()
}

/// Direction: the autoregression of the instrument's own return over the horizon, with the other model's mean where there
/// is one, against the expanding mean.
#[must_use]
pub fn direction_verdicts(record: &Record<'_>, horizon: Horizon, said: &TermForecasts<'_>) -> Vec<HeadVerdict> {
    let h = horizon.sessions();
    let days = decision_days(h, said, record.until);
    let other = said.means.map_or(&[][..], |m| m.days);
    let forecast = said.means.map_or_else(|| "autoregression".to_owned(), |m| format!("autoregression_{}", m.name));
    let judged = record.windows(&days, h, |i, session| {
        let instrument = &record.history.instruments[i];
        let previous = instrument.return_over(session, h)?;
        let realized = realized_return(instrument, session, h)?;
        let day = record.history.sessions[session];
        Some(ReturnWindow { session, day, previous, realized, other_mean: value_on(other, session, i) })
    });
    let judged = judged.into_iter().map(|windows| {
        judge(&Evidence {
            head: Head::Direction,
            forecast: forecast.clone(),
            benchmark: Benchmark::ExpandingMean,
            horizon_sessions: h,
            windows: combined_means(&windows, h),
        })
    });
    record.settled(judged.collect(), next_maturity(&days, h, record.until))
}

/// Volatility: the variance of who holds the seat against the last 252 sessions' and against the geometric mean of its
/// own earlier forecasts, by QLIKE of the realized variance; the harder of the two decides.
///
/// The second stands for volatility that never changes. Against the last 252 sessions alone a better estimate of a
/// constant volatility, from more years or from the universe, would count as skill; here only its changes do.
#[must_use]
pub fn volatility_verdicts(record: &Record<'_>, horizon: Horizon, said: &TermForecasts<'_>) -> Vec<HeadVerdict> {
    let h = horizon.sessions();
    let days = decision_days(spacing(h), said, record.until);
    let forecasts = record.variances(&days, horizon, said);
    let averages = own_averages(&forecasts);
    let name = said.variances.map_or(record.volatility.model.as_str(), |v| v.name);
    let windows = record.windows(&days, h, |i, session| {
        let forecast = value_on(&forecasts, session, i)?;
        let year = record.inputs.variance(i, session, 252)?;
        let average = value_on(&averages, session, i)?;
        let realized = realized_variance(&record.history.instruments[i], session, h).filter(|v| *v > VARIANCE_FLOOR)?;
        let day = record.history.sessions[session];
        Some([year, average].map(|benchmark| Window {
            session,
            day,
            forecast,
            benchmark,
            realized,
            loss: qlike(realized, forecast),
            benchmark_loss: qlike(realized, benchmark),
        }))
    });
    let judged = windows.into_iter().map(|windows| {
        let against = |k: usize, benchmark: Benchmark| {
            judge(&Evidence {
                head: Head::Volatility,
                forecast: name.to_owned(),
                benchmark,
                horizon_sessions: h,
                windows: windows.iter().map(|w| w[k]).collect(),
            })
        };
        harder(against(0, Benchmark::Roll252), against(1, Benchmark::OwnAverage))
    });
    record.settled(judged.collect(), next_maturity(&days, h, record.until))
}

/// Rank: given quintile probabilities against one fifth each, by the ranked probability score among the instruments that
/// were ranked that day and have an outcome.
///
/// Forecast and outcome of the reported correlation are expected distances from the middle class: what is known of a rank
/// is mostly whether it will be an extreme one.
#[must_use]
pub fn rank_verdicts(record: &Record<'_>, horizon: Horizon, said: &TermForecasts<'_>) -> Vec<HeadVerdict> {
    let h = horizon.sessions();
    let stored = said.ranks.map_or(&[][..], |r| r.days);
    let days = thinned(stored.iter().map(|d| d.0).filter(|d| *d <= record.until), spacing(h));
    let mut windows = vec![vec![]; record.history.instruments.len()];
    for (session, ranks) in stored.iter().filter(|(s, _)| s + h <= record.until && days.binary_search(s).is_ok()) {
        for (i, window) in record.ranked(*session, h, ranks).into_iter().filter(|(i, _)| !record.is_index(*i)) {
            windows[i].push(window);
        }
    }
    let judged = windows.into_iter().map(|windows| {
        judge(&Evidence {
            head: Head::Rank,
            forecast: said.ranks.map_or("none", |r| r.name).to_owned(),
            benchmark: Benchmark::Uniform,
            horizon_sessions: h,
            windows,
        })
    });
    record.settled(judged.collect(), next_maturity(&days, h, record.until))
}

impl Record<'_> {
    /// What `of` gives on the matured days, by instrument; nothing for those that look like an index at the cutoff.
    fn windows<W>(&self, days: &[usize], h: usize, of: impl Fn(usize, usize) -> Option<W>) -> Vec<Vec<W>> {
        let matured: Vec<usize> = days.iter().copied().filter(|d| d + h <= self.until).collect();
        let of_instrument = |i: usize| match self.is_index(i) {
            true => vec![],
            false => matured.iter().filter_map(|session| of(i, *session)).collect(),
        };
        (0..self.history.instruments.len()).map(of_instrument).collect()
    }

    /// Mean daily variances on the matured days: of who holds the seat, else harX2's fit in force.
    fn variances(&self, days: &[usize], horizon: Horizon, said: &TermForecasts<'_>) -> Vec<DayValues<f64>> {
        let stored = said.variances.map_or(&[][..], |v| v.days);
        let on = |session: usize| {
            let benchmark = self.volatility.forecasts(self.inputs, session, horizon).into_iter().enumerate();
            let served = |(i, f): (usize, Option<_>)| {
                let f: Option<crate::scenario::volatility::VolatilityForecast> = f;
                value_on(stored, session, i).or(f.map(|f| f.daily_variance))
            };
            (session, benchmark.map(served).collect())
        };
        days.iter().filter(|d| **d + horizon.sessions() <= self.until).map(|d| on(*d)).collect()
    }

    /// The scored ranks of one day; none when fewer than twenty have an outcome.
    fn ranked(&self, session: usize, h: usize, ranks: &[Option<[f64; CLASS_COUNT]>]) -> Vec<(usize, Window)> {
        let outcome = |(i, p): (usize, &Option<[f64; CLASS_COUNT]>)| {
            let instrument = self.history.instruments.get(i)?;
            Some((i, (*p)?, realized_return(instrument, session, h)?))
        };
        let known: Vec<(usize, [f64; CLASS_COUNT], f64)> = ranks.iter().enumerate().filter_map(outcome).collect();
        if known.len() < RANKED_MINIMUM {
            return vec![];
        }
        let membership = quintile_membership(&known.iter().map(|k| k.2).collect::<Vec<_>>());
        let window = |((i, p, _), class): (&(usize, [f64; CLASS_COUNT], f64), &[f64; CLASS_COUNT])| {
            let window = Window {
                session,
                day: self.history.sessions[session],
                forecast: distance(p),
                benchmark: UNIFORM_DISTANCE,
                realized: distance(class),
                loss: ranked_probability_score(p, class),
                benchmark_loss: ranked_probability_score(&[1.0 / CLASS_COUNT as f64; CLASS_COUNT], class),
            };
            (*i, window)
        };
        known.iter().zip(&membership).map(window).collect()
    }

    /// Adjusts over the instruments, and names the day of the next window, `next` sessions away, of those that trade.
    fn settled(&self, mut verdicts: Vec<HeadVerdict>, next: Option<usize>) -> Vec<HeadVerdict> {
        settle(&mut verdicts.iter_mut().collect::<Vec<_>>());
        let next = next.map(|sessions| calendar::add_sessions(self.history.sessions[self.until], sessions));
        for (i, verdict) in verdicts.iter_mut().enumerate() {
            verdict.next_test_date = next.filter(|_| self.trades(i));
        }
        verdicts
    }

    /// Whether the instrument looks like an index at the cutoff, and is not forecast.
    fn is_index(&self, instrument: usize) -> bool {
        self.inputs.is_index(instrument, self.until)
    }

    fn trades(&self, instrument: usize) -> bool {
        let recent = self.until.saturating_sub(STOPPED_AFTER)..=self.until;
        let close = &self.history.instruments[instrument].close;
        !self.is_index(instrument) && close[recent].iter().any(|c| c.is_finite())
    }
}

/// Sessions between decisions on volatility and rank.
fn spacing(h: usize) -> usize {
    (h / DECISIONS_IN_HORIZON).max(1)
}

/// The days until the cutoff on which something is decided, at least `spacing` apart: the first stored forecast within
/// five sessions of the earliest possible day, else that day.
fn decision_days(spacing: usize, said: &TermForecasts<'_>, until: usize) -> Vec<usize> {
    let stored = [said.variances.map(|v| v.days), said.means.map(|m| m.days)];
    let stored: BTreeSet<usize> = stored.into_iter().flatten().flatten().map(|d| d.0).collect();
    let day = |earliest: usize| stored.range(earliest..earliest + NEAR).next().copied().unwrap_or(earliest);
    let days = std::iter::successors(Some(day(0)), |last| Some(day(last + spacing)));
    days.take_while(|d| *d <= until).collect()
}

/// Ascending days, each at least `spacing` after the last one kept.
fn thinned(days: impl Iterator<Item = usize>, spacing: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = vec![];
    for day in days {
        if kept.last().is_none_or(|last| last + spacing <= day) {
            kept.push(day);
        }
    }
    kept
}

/// Sessions from the cutoff until the next window matures, decisions going on at their last distance; `None` without two
/// decisions.
fn next_maturity(days: &[usize], h: usize, until: usize) -> Option<usize> {
    let [.., before, last] = days else { return None };
    let going_on = std::iter::successors(Some(*last), |day| Some(day + (last - before)));
    let end = days.iter().copied().chain(going_on).map(|d| d + h).find(|end| *end > until);
    end.map(|end| end - until)
}

/// By day and instrument, the geometric mean of the forecasts on earlier days, once they span a year.
fn own_averages(days: &[DayValues<f64>]) -> Vec<DayValues<f64>> {
    #[derive(Clone, Copy)]
    struct Earlier {
        since: usize,
        count: f64,
        logs: f64,
    }
    let mut earlier: Vec<Option<Earlier>> = vec![];
    let mut averages = Vec::with_capacity(days.len());
    for (session, forecasts) in days {
        earlier.resize(forecasts.len(), None);
        let spans = |e: &Earlier| e.since + AVERAGED_SESSIONS <= *session;
        averages.push((
            *session,
            earlier.iter().map(|e| Some((*e)?).filter(spans).map(|e| (e.logs / e.count).exp())).collect(),
        ));
        for (sums, forecast) in earlier.iter_mut().zip(forecasts) {
            if let Some(forecast) = forecast {
                let sums = sums.get_or_insert(Earlier { since: *session, count: 0.0, logs: 0.0 });
                (sums.count, sums.logs) = (sums.count + 1.0, sums.logs + forecast.ln());
            }
        }
    }
    averages
}

fn value_on<T: Copy>(days: &[DayValues<T>], session: usize, instrument: usize) -> Option<T> {
    let at = days.binary_search_by_key(&session, |d| d.0).ok()?;
    days[at].1.get(instrument).copied().flatten()
}

/// Expected distance of the class from the middle one, 0..=2.
fn distance(probabilities: &[f64; CLASS_COUNT]) -> f64 {
    probabilities.iter().enumerate().map(|(k, p)| p * (k as f64 - 2.0).abs()).sum()
}

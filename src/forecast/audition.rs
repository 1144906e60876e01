//! The audition: the network's out-of-sample losses against the benchmarks', day by day, and the seats they earn.

use serde::Serialize;

use crate::evaluation::gate::{GateDecision, MeanRow, MeanWeight, judge_seat, mean_weight};
use crate::evaluation::outcomes::{VARIANCE_FLOOR, realized_return, realized_variance};
use crate::evaluation::rank_scores::{quintile_membership, ranked_probability_score};
use crate::evaluation::scores::{brier_score, qlike};
use crate::forecast::calibration::{Calibration, ScoreDay};
use crate::forecast::day::{DayInputs, NetworkDay, RANKS, benchmark_ranks, forecast_day, median as median_of};
use crate::forecast::predictability::DayValues;
use crate::forecast::prepared::Prepared;
use crate::forecast::state::{ModelState, Seats};
use crate::market::horizon::Horizon;
use crate::scenario::conformal::QuantileMap;
use crate::scenario::ranks::{TILT_WEIGHT_MAX, apply_tilt, tilt_of};

/// Scenarios behind a rank benchmark of the audition; both sides use the same draws, so fewer than for serving suffice.
const AUDITION_SCENARIOS: usize = 4_000;
/// Instruments from which on ranks are compared, as in the scorers.
const RANKED_MINIMUM: usize = 20;

/// What the network gained over the benchmarks on days that it had not seen, for one horizon.
#[derive(Debug, Clone, Default)]
pub struct HorizonAudition {
    sessions: Vec<usize>,
    volatility: Vec<(usize, f64)>,
    direction: Vec<(usize, f64)>,
    ranks: Vec<(usize, f64)>,
    means: Vec<(usize, Vec<MeanRow>)>,
    errors: Vec<ScoreDay>,
    raw_means: Vec<DayValues<f64>>,
    variances: Vec<DayValues<f64>>,
}

/// The decisions of all heads at one horizon.
#[derive(Debug, Clone, Serialize)]
pub struct HeadDecisions {
    /// Label of the horizon.
    pub horizon: &'static str,
    /// QLIKE against harX2.
    pub volatility: GateDecision,
    /// Brier score against the base rate.
    pub direction: GateDecision,
    /// Ranked probability score of the served law with the full tilt against that law.
    pub ranks: GateDecision,
    /// Weight of the mean.
    pub mean: MeanWeight,
}

/// One day on which the network plays against the benchmarks.
#[derive(Clone, Copy)]
pub struct AuditionDay<'a> {
    /// Rows that reach past the horizon.
    pub prepared: &'a Prepared,
    /// Fitted benchmarks, no seat taken.
    pub benchmarks: &'a ModelState,
    /// What the network said.
    pub network: &'a NetworkDay,
    /// Decision day.
    pub session: usize,
    /// Whether ranks, which cost most, are compared too.
    pub with_ranks: bool,
}

/// Sessions after which the seats of one horizon have been held without a break.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeatedSince {
    /// The volatility's.
    pub volatility: Option<usize>,
    /// The direction's.
    pub direction: Option<usize>,
    /// The ranks'.
    pub ranks: Option<usize>,
}

impl HorizonAudition {
    /// Adds a day whose horizon ends within the history, also after the session that the walk has reached: whoever judges
    /// leaves out what had not matured. Days must ascend.
    pub fn add(&mut self, day: AuditionDay<'_>, horizon: Horizon) {
        let (session, h) = (day.session, horizon.sessions());
        if session + h >= day.prepared.sessions() {
            return;
        }
        let inputs = DayInputs {
            prepared: day.prepared,
            state: day.benchmarks,
            // Intervals do not take part.
            calibration: &Calibration::new(vec![], horizon),
            network: None,
            session,
            horizon,
        };
        let rows = rows_of(&inputs, day.network);
        if rows.is_empty() {
            return;
        }
        self.sessions.push(session);
        self.volatility.extend(mean_gain(rows.iter().filter_map(Row::volatility_gain)).map(|g| (session, g)));
        self.direction.extend(mean_gain(rows.iter().map(Row::direction_gain)).map(|g| (session, g)));
        self.means.push((session, rows.iter().map(|r| r.mean).collect()));
        self.errors.push(ScoreDay { session, scores: rows.iter().map(|r| r.network_error).collect() });
        let by_instrument = |value: &dyn Fn(&Row) -> f64| {
            let mut values = vec![None; day.prepared.history.instruments.len()];
            rows.iter().for_each(|row| values[row.instrument] = Some(value(row)));
            (session, values)
        };
        self.raw_means.push(by_instrument(&|row| row.mean.raw_mean));
        self.variances.push(by_instrument(&|row| row.variances[1]));
        if day.with_ranks {
            self.ranks.extend(rank_gain(&inputs, day.network).map(|g| (session, g)));
        }
    }

    /// The decisions by the close of a session: only days whose horizon had matured count. A head that holds its seat is
    /// judged by what it gained since, any other by all its days.
    #[must_use]
    pub fn decide(&self, horizon: Horizon, until: usize, since: &SeatedSince) -> HeadDecisions {
        let h = horizon.sessions();
        let gate = |gains: &[(usize, f64)], since: Option<usize>| {
            let known: Vec<(usize, f64)> = gains.iter().copied().filter(|(s, _)| s + h <= until).collect();
            let sessions: Vec<usize> = known.iter().map(|g| g.0).collect();
            let first_live = since.map(|since| sessions.partition_point(|s| *s <= since));
            judge_seat(first_live, &known.iter().map(|g| g.1).collect::<Vec<_>>(), overlap(&sessions, h))
        };
        let means: Vec<&(usize, Vec<MeanRow>)> = self.means.iter().filter(|(s, _)| s + h <= until).collect();
        let mean_sessions: Vec<usize> = means.iter().map(|m| m.0).collect();
        let mean_rows: Vec<Vec<MeanRow>> = means.into_iter().map(|m| m.1.clone()).collect();
        HeadDecisions {
            horizon: horizon.label(),
            volatility: gate(&self.volatility, since.volatility),
            direction: gate(&self.direction, since.direction),
            ranks: gate(&self.ranks, since.ranks),
            mean: mean_weight(&mean_rows, overlap(&mean_sessions, h)),
        }
    }

    /// The network's raw means of the days so far, log returns over the horizon, by day and instrument.
    #[must_use]
    pub fn raw_means(&self) -> &[DayValues<f64>] {
        &self.raw_means
    }

    /// The network's mean daily variances of the days so far, by day and instrument.
    #[must_use]
    pub fn variances(&self) -> &[DayValues<f64>] {
        &self.variances
    }

    /// The interval map of the network's volatility, from its matured out-of-sample errors; `None` with too few.
    #[must_use]
    pub fn map_at(&self, horizon: Horizon, until: usize) -> Option<QuantileMap> {
        let map = Calibration::new(self.errors.clone(), horizon).map_at(until);
        map.is_calibrated().then_some(map)
    }
}

impl HeadDecisions {
    /// What of the network is served.
    #[must_use]
    pub fn seats(&self, has_map: bool) -> Seats {
        Seats {
            volatility: self.volatility.seated && has_map,
            direction: self.direction.seated,
            tilt_weight: if self.ranks.seated { TILT_WEIGHT_MAX } else { 0.0 },
            mean_weight: self.mean.weight,
        }
    }

    /// Since when the seats have been held, after this decision at the close of a session.
    #[must_use]
    pub fn since(&self, before: &SeatedSince, session: usize) -> SeatedSince {
        let held = |gate: &GateDecision, since: Option<usize>| gate.seated.then(|| since.unwrap_or(session));
        SeatedSince {
            volatility: held(&self.volatility, before.volatility),
            direction: held(&self.direction, before.direction),
            ranks: held(&self.ranks, before.ranks),
        }
    }
}

/// One instrument on one day, both sides.
struct Row {
    instrument: usize,
    realized_variance: Option<f64>,
    variances: [f64; 2],
    up: bool,
    probabilities: [f64; 2],
    mean: MeanRow,
    network_error: f64,
}

impl Row {
    fn volatility_gain(&self) -> Option<f64> {
        let realized = self.realized_variance.filter(|v| *v > VARIANCE_FLOOR)?;
        Some(qlike(realized, self.variances[0]) - qlike(realized, self.variances[1]))
    }

    fn direction_gain(&self) -> f64 {
        brier_score(self.probabilities[0], self.up) - brier_score(self.probabilities[1], self.up)
    }
}

fn rows_of(inputs: &DayInputs<'_>, network: &NetworkDay) -> Vec<Row> {
    let (session, h) = (inputs.session, inputs.horizon.sessions());
    let benchmark = forecast_day(*inputs);
    let row = |(i, forecast): (usize, &Option<_>)| {
        let forecast: &crate::forecast::day::InstrumentForecast = forecast.as_ref()?;
        let said = &network.ensemble.get(i)?.as_ref()?.horizons[inputs.horizon.index()];
        let instrument = &inputs.prepared.history.instruments[i];
        let realized = realized_return(instrument, session, h)?;
        let daily = forecast.volatility * forecast.volatility / h as f64;
        let factor = said.log_variance_correction.exp();
        let volatility = forecast.volatility * factor.sqrt();
        let median = forecast.median;
        Some(Row {
            instrument: i,
            realized_variance: realized_variance(instrument, session, h),
            variances: [daily, daily * factor],
            up: realized > 0.0,
            probabilities: [forecast.probability_up, said.probability_up(forecast.probability_up)],
            mean: MeanRow {
                raw_mean: median + said.scaled_mean * forecast.volatility,
                benchmark_mean: median,
                realized,
            },
            network_error: (realized - median_of(forecast.mean, volatility)).abs() / volatility,
        })
    };
    benchmark.instruments.iter().enumerate().filter_map(row).collect()
}

fn rank_gain(inputs: &DayInputs<'_>, network: &NetworkDay) -> Option<f64> {
    let (session, h) = (inputs.session, inputs.horizon.sessions());
    let ranked: Vec<usize> = inputs
        .prepared
        .alive(session)
        .into_iter()
        .filter(|i| inputs.prepared.universe.is_rankable(*i, session) && network.ensemble[*i].is_some())
        .filter(|i| realized_return(&inputs.prepared.history.instruments[*i], session, h).is_some())
        .collect();
    if ranked.len() < RANKED_MINIMUM {
        return None;
    }
    let symmetric = benchmark_ranks(inputs, RANKS, &ranked, AUDITION_SCENARIOS)?;
    let realized = ranked.iter().filter_map(|i| realized_return(&inputs.prepared.history.instruments[*i], session, h));
    let membership = quintile_membership(&realized.collect::<Vec<_>>());
    let gains = ranked.iter().zip(&symmetric.quintile_probabilities).zip(&membership).filter_map(|((i, p), class)| {
        let said = network.ensemble[*i].as_ref()?;
        let tilt = tilt_of(&said.horizons[inputs.horizon.index()].quintile_probabilities);
        let tilted = apply_tilt(p, &tilt, TILT_WEIGHT_MAX);
        Some(ranked_probability_score(p, class) - ranked_probability_score(&tilted, class))
    });
    mean_gain(gains)
}

fn mean_gain(gains: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = gains.fold((0.0, 0.0), |(sum, count), g| (sum + g, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// How many of the days one horizon overlaps, from their median distance.
fn overlap(sessions: &[usize], horizon: usize) -> usize {
    let mut gaps: Vec<usize> = sessions.windows(2).map(|w| w[1] - w[0]).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).map_or(1, |gap| horizon.div_ceil((*gap).max(1)))
}

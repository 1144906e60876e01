//! What is measured of a model besides its losses, as rows of a long table.

use serde::Serialize;

use crate::evaluation::comparison::Head;
use crate::evaluation::direction_scorecard::DirectionScore;
use crate::evaluation::interval_scorecard::{IntervalScore, TercileCoverage};
use crate::evaluation::periods::Period;
use crate::evaluation::quantile_scorecard::QuantileScore;
use crate::evaluation::rank_scorecard::RankScore;
use crate::evaluation::scorecard::Scorecard;
use crate::evaluation::scores::CalibrationBin;

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasureRow {
    /// Name of the model.
    pub model: String,
    /// What was forecast.
    pub head: Head,
    /// Horizon in sessions.
    pub horizon_sessions: usize,
    /// Decision days that count.
    pub period: Period,
    /// `information_coefficient` and its `information_coefficient_statistic`; `coverage_50`, `coverage_90`; `share_below`;
    /// `area_under_curve`, `share_up`; `mean_probability` and `share_realized` of calibration bins.
    pub measure: String,
    /// Of coverage: empty for all rows, `state_calm`, `state_middle`, `state_turbulent` for terciles of the volatility of 20
    /// over that of 252 sessions, `asset_calm` and so on for terciles of the volatility of 252 sessions within the day,
    /// `state_spread` and `asset_spread` for the largest less the smallest. Of `share_below`: the quantile. Of calibration:
    /// the bin, as `0.20-0.25`.
    pub group: String,
    /// Observations: days of a rank correlation, else rows; `None` where they are not counted by group.
    pub count: Option<usize>,
    /// The number.
    pub value: f64,
}

/// All measures of a model, in the order of heads and horizons.
#[must_use]
pub fn measures(model: &str, card: &Scorecard) -> Vec<MeasureRow> {
    let mut rows = Vec::new();
    card.ranks.iter().for_each(|score| rank_measures(score, &mut rows));
    card.quantiles.iter().for_each(|score| quantile_measures(score, &mut rows));
    card.quantiles.iter().for_each(|score| interval_measures(score, &mut rows));
    card.direction.iter().for_each(|score| direction_measures(score, &mut rows));
    rows.into_iter().map(|row| MeasureRow { model: model.to_owned(), ..row }).collect()
}

/// Where a number belongs.
#[derive(Clone, Copy)]
struct Place {
    head: Head,
    horizon_sessions: usize,
    period: Period,
}

impl Place {
    fn row(self, measure: &str, group: &str, count: Option<usize>, value: f64) -> MeasureRow {
        let Self { head, horizon_sessions, period } = self;
        let (measure, group) = (measure.to_owned(), group.to_owned());
        MeasureRow { model: String::new(), head, horizon_sessions, period, measure, group, count, value }
    }

    fn calibration(self, bins: &[CalibrationBin], rows: &mut Vec<MeasureRow>) {
        for bin in bins {
            let group = format!("{:.2}-{:.2}", bin.low, bin.high);
            rows.push(self.row("mean_probability", &group, Some(bin.count), bin.mean_probability));
            rows.push(self.row("share_realized", &group, Some(bin.count), bin.share_realized));
        }
    }
}

fn rank_measures(score: &RankScore, rows: &mut Vec<MeasureRow>) {
    let place = |period| Place { head: Head::Ranks, horizon_sessions: score.horizon_sessions, period };
    for of in &score.information_coefficients {
        let (place, value) = (place(of.period), &of.value);
        rows.push(place.row("information_coefficient", "", Some(value.days), value.mean));
        let statistic =
            value.statistic.map(|s| place.row("information_coefficient_statistic", "", Some(value.days), s));
        rows.extend(statistic);
    }
    place(Period::All).calibration(&score.calibration, rows);
}

fn quantile_measures(score: &QuantileScore, rows: &mut Vec<MeasureRow>) {
    let place = Place { head: Head::Quantiles, horizon_sessions: score.horizon_sessions, period: Period::All };
    let below = |q: &crate::evaluation::quantile_scorecard::QuantileLevel| {
        place.row("share_below", &q.quantile.to_string(), Some(q.rows), q.share_below)
    };
    rows.extend(score.quantiles.iter().map(below));
}

fn interval_measures(score: &QuantileScore, rows: &mut Vec<MeasureRow>) {
    for interval in &score.intervals {
        let measure = coverage_name(interval);
        for of in &interval.periods {
            let place = Place { head: Head::Intervals, horizon_sessions: score.horizon_sessions, period: of.period };
            rows.push(place.row(&measure, "", Some(of.value.rows), of.value.coverage));
            for (kind, terciles) in [("state", of.value.over_time), ("asset", of.value.across)] {
                rows.extend(tercile_rows(place, (&measure, kind), terciles));
            }
        }
    }
}

/// `coverage_90` for the interval of level .9.
fn coverage_name(interval: &IntervalScore) -> String {
    format!("coverage_{:.0}", 100.0 * interval.level)
}

fn tercile_rows(place: Place, (measure, kind): (&str, &str), terciles: TercileCoverage) -> Vec<MeasureRow> {
    let named = ["calm", "middle", "turbulent"].into_iter().zip(terciles.coverage);
    let known = named.filter_map(|(name, share)| Some((name, share?)));
    let row = |(name, value): (&str, f64)| place.row(measure, &format!("{kind}_{name}"), None, value);
    known.chain([("spread", terciles.spread)]).map(row).collect()
}

fn direction_measures(score: &DirectionScore, rows: &mut Vec<MeasureRow>) {
    let place = |period| Place { head: Head::Direction, horizon_sessions: score.horizon_sessions, period };
    for of in &score.discrimination {
        let (place, value) = (place(of.period), &of.value);
        rows.extend(value.area_under_curve.map(|area| place.row("area_under_curve", "", Some(value.rows), area)));
        rows.push(place.row("share_up", "", Some(value.rows), value.share_up));
    }
    place(Period::All).calibration(&score.calibration, rows);
}

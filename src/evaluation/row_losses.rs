//! What every model lost on every row of one horizon, head by head, with what happened looked up once for all models.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, Normal};

use crate::evaluation::direction_scorecard;
use crate::evaluation::forecasts::{DirectionRow, Forecasts, QuantileRow, VolatilityRow, quantile_key};
use crate::evaluation::log_loss::log_loss;
use crate::evaluation::outcomes::expanding_base_rate;
use crate::evaluation::paired_rows::{RankedRow, RowKey, RowLoss};
use crate::evaluation::quantile_scorecard::{self, GAUSSIAN, PERCENT};
use crate::evaluation::rank_scorecard;
use crate::evaluation::rank_scores::CLASS_COUNT;
use crate::evaluation::scores::{brier_score, interval_score, pinball_loss, qlike, squared_log_error};
use crate::evaluation::volatility_scorecard::{Outcomes, daily_variance};
use crate::market::bar::Day;
use crate::market::history::History;
use crate::market::instrument::Symbol;

/// Name of the probabilities that say nothing.
pub(super) const UNIFORM: &str = "uniform";
/// Name of the expanding share of ups.
pub(super) const BASE_RATE: &str = "base_rate";
/// The central intervals that are compared: their level and their lower quantile.
const INTERVALS: [(f64, u32, &str); 2] = [(0.5, 250_000, "interval_score_50"), (0.9, 50_000, "interval_score_90")];

/// What was said of one horizon.
#[derive(Clone, Copy)]
pub(super) struct Said<'f> {
    pub(super) forecasts: &'f BTreeMap<String, Forecasts>,
    pub(super) history: &'f History,
    pub(super) horizon: usize,
}

/// Rows by model, ascending by key; references that nobody said stand under their names.
pub(super) type ByModel<'f, Row> = BTreeMap<&'f str, Vec<Row>>;

/// Rows of one loss.
pub(super) struct LossSeries<'f> {
    pub(super) loss_name: &'static str,
    pub(super) models: ByModel<'f, RowLoss>,
}

/// A row with what happened.
struct Matched<'f, Row, Outcome> {
    key: RowKey,
    said: &'f Row,
    outcome: Outcome,
}

impl<'f> Said<'f> {
    /// Ranks with their outcomes; `uniform` stands for every row of any model.
    pub(super) fn ranks(self) -> ByModel<'f, RankedRow> {
        let rows = |f: &'f Forecasts| f.ranks.get(&self.horizon).into_iter().flatten().collect();
        let outcome = |as_of, symbol: &Symbol| {
            let session = rank_scorecard::scorable_session(as_of, self.horizon, self.history)?;
            rank_scorecard::outcome(session, symbol, self.horizon, self.history)
        };
        let matched = self.matched(rows, |r| (r.as_of, &r.symbol, 0), outcome);
        let ranked = |key, quintile_probabilities, realized| RankedRow { key, quintile_probabilities, realized };
        let mut models: ByModel<'f, RankedRow> = BTreeMap::new();
        let mut all = BTreeMap::new();
        for (model, rows) in &matched {
            all.extend(rows.iter().map(|r| (r.key, r.outcome)));
            models
                .insert(model, rows.iter().map(|r| ranked(r.key, r.said.quintile_probabilities, r.outcome)).collect());
        }
        let uniform = || all.iter().map(|(key, realized)| ranked(*key, [0.2; CLASS_COUNT], *realized)).collect();
        models.entry(UNIFORM).or_insert_with(uniform);
        models
    }

    /// QLIKE and the squared error of the log variance.
    pub(super) fn volatility(self) -> Vec<LossSeries<'f>> {
        let mut outcomes = Outcomes::new(self.history, self.horizon);
        let rows = |f: &'f Forecasts| f.volatility.iter().filter(|r| r.horizon == self.horizon).collect();
        let outcome = |as_of, symbol: &Symbol| Some(outcomes.of(as_of, symbol)?.realized);
        let matched = self.matched(rows, |r: &VolatilityRow| (r.as_of, &r.symbol, 0), outcome);
        let series = |(loss_name, loss): (_, fn(f64, f64) -> f64)| LossSeries {
            loss_name,
            models: losses(&matched, |row| loss(row.outcome, daily_variance(row.said))),
        };
        [("qlike", qlike as fn(f64, f64) -> f64), ("squared_log_error", squared_log_error)].map(series).into()
    }

    /// Brier and logarithmic score; `base_rate` stands for every row where no model has that name.
    pub(super) fn direction(self) -> Vec<LossSeries<'f>> {
        let rates = expanding_base_rate(self.history, self.horizon);
        let rows = |f: &'f Forecasts| f.direction.iter().filter(|r| r.horizon == self.horizon).collect();
        let outcome =
            |as_of, symbol: &Symbol| direction_scorecard::outcome((self.horizon, as_of, symbol), &rates, self.history);
        let matched = self.matched(rows, |r: &DirectionRow| (r.as_of, &r.symbol, 0), outcome);
        let series = |(loss_name, loss): (_, fn(f64, bool) -> f64)| {
            let mut models = losses(&matched, |row| loss(row.said.probability_up, row.outcome.up));
            let reference = || reference(&matched, |row| loss(row.outcome.base_rate, row.outcome.up));
            models.entry(BASE_RATE).or_insert_with(reference);
            LossSeries { loss_name, models }
        };
        [("brier_score", brier_score as fn(f64, bool) -> f64), ("log_loss", log_loss)].map(series).into()
    }

    /// Pinball loss of each quantile, then interval scores, all in percent of log return; the Gaussian reference stands
    /// for every row.
    pub(super) fn quantiles(self) -> (LossSeries<'f>, Vec<LossSeries<'f>>) {
        let rows = |f: &'f Forecasts| f.quantiles.iter().filter(|r| r.horizon == self.horizon).collect();
        let outcome = |as_of, symbol: &Symbol| {
            let outcome = quantile_scorecard::outcome((self.horizon, as_of, symbol), self.history)?;
            Some((outcome.realized, outcome.gaussian_sigma))
        };
        let key = |r: &'f QuantileRow| (r.as_of, &r.symbol, quantile_key(r.quantile));
        let matched = self.matched(rows, key, outcome);
        let pinball =
            |row: &QuantileMatch<'f>, value| pinball_loss(probability(row.key.2), value, row.outcome.0) * PERCENT;
        let mut models = losses(&matched, |row| pinball(row, row.said.value));
        models.insert(GAUSSIAN, reference(&matched, |row| pinball(row, gaussian(row.key.2, row.outcome.1))));
        (LossSeries { loss_name: "pinball_loss", models }, INTERVALS.map(|i| intervals(&matched, i)).into())
    }

    /// The rows of each model that has any, with what happened, ascending by key.
    fn matched<Row, Outcome: Copy>(
        self,
        rows: impl Fn(&'f Forecasts) -> Vec<&'f Row>,
        key: impl Fn(&'f Row) -> (Day, &'f Symbol, u32),
        mut outcome: impl FnMut(Day, &Symbol) -> Option<Outcome>,
    ) -> ByModel<'f, Matched<'f, Row, Outcome>> {
        let mut known: BTreeMap<(Day, usize), Option<Outcome>> = BTreeMap::new();
        let mut models = BTreeMap::new();
        for (model, forecasts) in self.forecasts {
            let rows = rows(forecasts);
            let matched = rows.iter().filter_map(|said| {
                let (as_of, symbol, part) = key(said);
                let found = self.history.instruments.binary_search_by(|i| i.instrument.symbol.cmp(symbol)).ok()?;
                let outcome = *known.entry((as_of, found)).or_insert_with(|| outcome(as_of, symbol));
                Some(Matched { key: (as_of, found, part), said: *said, outcome: outcome? })
            });
            let mut matched: Vec<_> = matched.collect();
            matched.sort_by_key(|m| m.key);
            if !rows.is_empty() {
                models.insert(model.as_str(), matched);
            }
        }
        models
    }
}

type QuantileMatch<'f> = Matched<'f, QuantileRow, (f64, f64)>;

fn losses<'f, Row, Outcome>(
    matched: &ByModel<'f, Matched<'f, Row, Outcome>>,
    loss: impl Fn(&Matched<'f, Row, Outcome>) -> f64,
) -> ByModel<'f, RowLoss> {
    let row = |m: &Matched<'f, Row, Outcome>| RowLoss { key: m.key, loss: loss(m) };
    matched.iter().map(|(model, rows)| (*model, rows.iter().map(row).collect())).collect()
}

/// Losses of a reference on every row that any model has.
fn reference<'f, Row, Outcome>(
    matched: &ByModel<'f, Matched<'f, Row, Outcome>>,
    loss: impl Fn(&Matched<'f, Row, Outcome>) -> f64,
) -> Vec<RowLoss> {
    let rows: BTreeMap<RowKey, f64> = matched.values().flatten().map(|m| (m.key, loss(m))).collect();
    rows.into_iter().map(|(key, loss)| RowLoss { key, loss }).collect()
}

/// Interval scores of the rows of each model that has both quantiles.
fn intervals<'f>(matched: &ByModel<'f, QuantileMatch<'f>>, interval: (f64, u32, &'static str)) -> LossSeries<'f> {
    let (level, low, loss_name) = interval;
    let high = 1_000_000 - low;
    let score = |bounds: [f64; 2], realized| interval_score(level, bounds[0], bounds[1], realized) * PERCENT;
    let (mut models, mut all) = (BTreeMap::new(), BTreeMap::new());
    for (model, rows) in matched {
        let row = |rows: &[QuantileMatch<'f>]| {
            let at = |part: u32| rows.iter().find(|r| r.key.2 == part);
            let (low_row, high_row) = (at(low)?, at(high)?);
            let (key, (realized, sigma)) = ((low_row.key.0, low_row.key.1, 0), low_row.outcome);
            let reference = score([gaussian(low, sigma), gaussian(high, sigma)], realized);
            Some((RowLoss { key, loss: score([low_row.said.value, high_row.said.value], realized) }, reference))
        };
        let same = |a: &QuantileMatch<'f>, b: &QuantileMatch<'f>| (a.key.0, a.key.1) == (b.key.0, b.key.1);
        let scored: Vec<(RowLoss, f64)> = rows.chunk_by(same).filter_map(row).collect();
        all.extend(scored.iter().map(|(row, reference)| (row.key, *reference)));
        if !scored.is_empty() {
            models.insert(*model, scored.into_iter().map(|s| s.0).collect());
        }
    }
    models.insert(GAUSSIAN, all.into_iter().map(|(key, loss)| RowLoss { key, loss }).collect());
    LossSeries { loss_name, models }
}

fn probability(quantile: u32) -> f64 {
    f64::from(quantile) / 1e6
}

fn gaussian(quantile: u32, sigma: f64) -> f64 {
    Normal::standard().inverse_cdf(probability(quantile)) * sigma
}

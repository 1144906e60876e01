//! The volatility benchmarks: what a network has to beat, and what is served until it does.

use serde::{Deserialize, Serialize};

use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::scenario::garch::{InstrumentGarch, Path, fit_instruments};
use crate::scenario::pooled::{LogRegression, LogRows};
use crate::scenario::volatility_inputs::{
    Place, VARIANCE_FLOOR, VOLATILITY_COLUMNS, VolatilityInputs, VolatilityRow, WITHOUT_RANGES,
};

/// Returns among the last 252 sessions that an instrument needs for a forecast.
pub const MINIMUM_RETURNS: usize = 20;
/// Training rows: every fifth session from the first full year on.
const FIRST_ROW: usize = 252;
const ROW_SPACING: usize = 5;
/// Regressors of the pooled log-HAR: the first of the row.
const HAR_COLUMNS: usize = 4;

/// A way to forecast the mean daily variance over a horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolatilityModel {
    /// Pooled regression of the log variance on those over 5, 20, 60 and 252 sessions (after Corsi 2009).
    #[serde(rename = "har")]
    LogHar,
    /// The same with seasons, level, return, downside and ranges.
    HarX2,
    /// Exponentially weighted mean of squared returns, decay .94 (RiskMetrics 1996).
    #[serde(rename = "ewma94")]
    Ewma94,
    /// Mean of squared returns over 252 sessions.
    #[serde(rename = "roll252")]
    Rolling252,
    /// GARCH(1,1) of each instrument for itself (Bollerslev 1986).
    Garch11,
}

impl VolatilityModel {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::LogHar, Self::HarX2, Self::Ewma94, Self::Rolling252, Self::Garch11];

    /// Name in answers and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LogHar => "har",
            Self::HarX2 => "harx2",
            Self::Ewma94 => "ewma94",
            Self::Rolling252 => "roll252",
            Self::Garch11 => "garch11",
        }
    }
}

/// A fitted benchmark for one horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PooledVolatility {
    /// What was fitted.
    pub model: VolatilityModel,
    /// Horizon of its forecasts.
    pub horizon: Horizon,
    /// The session whose close was the last thing the fit knew.
    pub fitted_until: Day,
    /// Coefficients for instruments with ranges; harX2 only, and only where the universe has ranges.
    pub with_ranges: Option<LogRegression>,
    /// Coefficients for the others; `None` for the models that have none.
    pub without_ranges: Option<LogRegression>,
    /// One an instrument that could be fitted, in the order of the history; GARCH(1,1) only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub garch: Vec<InstrumentGarch>,
}

/// One forecast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VolatilityForecast {
    /// Mean daily variance of the log return over the coming horizon; finite, > 0.
    pub daily_variance: f64,
    /// Whether the instrument is too young for its own numbers alone, so that the universe's fill the gaps.
    pub borrowed: bool,
}

/// Fits a model on the rows whose last target session is not after `until`, all instruments but indices pooled;
/// GARCH(1,1) on every instrument's own returns up to `until`.
///
/// `None` when `until` is no session, or when a regression has too few rows (ten a coefficient).
#[must_use]
pub fn fit(
    inputs: &VolatilityInputs,
    model: VolatilityModel,
    horizon: Horizon,
    until: usize,
) -> Option<PooledVolatility> {
    let fitted_until = *inputs.sessions().get(until)?;
    let unfitted =
        PooledVolatility { model, horizon, fitted_until, with_ranges: None, without_ranges: None, garch: vec![] };
    let (narrow, wide) = match model {
        VolatilityModel::Ewma94 | VolatilityModel::Rolling252 => return Some(unfitted),
        VolatilityModel::Garch11 => {
            return Some(PooledVolatility { garch: fit_instruments(inputs, until), ..unfitted });
        }
        VolatilityModel::LogHar => (HAR_COLUMNS, None),
        VolatilityModel::HarX2 => (WITHOUT_RANGES, Some(VOLATILITY_COLUMNS.len())),
    };
    let (mut without_ranges, mut with_ranges) = (LogRows::new(narrow), wide.map(LogRows::new));
    let instruments: Vec<usize> = (0..inputs.instruments()).filter(|i| !inputs.is_index(*i, until)).collect();
    for session in (FIRST_ROW..=until.checked_sub(horizon.sessions())?).step_by(ROW_SPACING) {
        for &instrument in &instruments {
            let Some(outcome) = inputs.realized_variance(instrument, session, horizon.sessions()) else { continue };
            let row = inputs.row(instrument, session, horizon.sessions());
            without_ranges.push(&row, outcome);
            if let Some(rows) = &mut with_ranges {
                rows.push(&row, outcome);
            }
        }
    }
    let with_ranges = with_ranges.and_then(|rows| rows.fit());
    Some(PooledVolatility { with_ranges, without_ranges: Some(without_ranges.fit()?), ..unfitted })
}

/// [`fit`] at every horizon asked for, in the order of [`Horizon::ALL`]. The instruments' own GARCH(1,1) knows no horizon
/// and is fitted once.
#[must_use]
pub fn fit_horizons(
    inputs: &VolatilityInputs,
    model: VolatilityModel,
    horizons: &[Horizon],
    until: usize,
) -> [Option<PooledVolatility>; 5] {
    let mut fits = [const { None }; 5];
    for horizon in horizons {
        let same = fits.iter().flatten().next().filter(|_| model == VolatilityModel::Garch11).cloned();
        let fitted = same.map(|same: PooledVolatility| PooledVolatility { horizon: *horizon, ..same });
        fits[horizon.index()] = fitted.or_else(|| fit(inputs, model, *horizon, until));
    }
    fits
}

impl PooledVolatility {
    /// Mean daily variance over the coming horizon, > 0; `None` as for [`PooledVolatility::forecast`].
    #[must_use]
    pub fn daily_variance(&self, inputs: &VolatilityInputs, instrument: usize, session: usize) -> Option<f64> {
        self.forecast(inputs, Place { instrument, session }).map(|f| f.daily_variance)
    }

    /// The forecast at the close of a session; `None` with fewer than 20 returns in the last 252 sessions, and from
    /// GARCH(1,1) for an instrument that had no fit (see [`Garch::fit`](crate::scenario::garch::Garch::fit)).
    #[must_use]
    pub fn forecast(&self, inputs: &VolatilityInputs, place: Place) -> Option<VolatilityForecast> {
        self.forecast_against(inputs, place, &mut None)
    }

    /// The forecasts of all instruments at the close of a session, in the order of the history.
    #[must_use]
    pub fn forecasts(&self, inputs: &VolatilityInputs, session: usize) -> Vec<Option<VolatilityForecast>> {
        let mut universe = None;
        let places = (0..inputs.instruments()).map(|instrument| Place { instrument, session });
        places.map(|place| self.forecast_against(inputs, place, &mut universe)).collect()
    }

    /// Mean daily variances at the close of a session if nothing were known of each instrument's regressors and they took
    /// their training means: the base that an attribution begins with. In the order of the history; `None` where there
    /// is no forecast, from a model without regressors, and from a fit stored without its means.
    #[must_use]
    pub fn variances_at_means(&self, inputs: &VolatilityInputs, session: usize) -> Vec<Option<f64>> {
        let mut universe = None;
        let at_means = |(instrument, forecast): (usize, Option<VolatilityForecast>)| {
            forecast?;
            let (row, _) = self.regressors(inputs, Place { instrument, session }, &mut universe);
            self.regression(&row)?.expected_at_means().map(|variance| variance.max(VARIANCE_FLOOR))
        };
        self.forecasts(inputs, session).into_iter().enumerate().map(at_means).collect()
    }

    /// `universe` keeps the universe's row of the day once an instrument has needed it.
    fn forecast_against(
        &self,
        inputs: &VolatilityInputs,
        place: Place,
        universe: &mut Option<VolatilityRow>,
    ) -> Option<VolatilityForecast> {
        let Place { instrument, session } = place;
        if session >= inputs.sessions().len() || inputs.returns_in_year(instrument, session) < MINIMUM_RETURNS {
            return None;
        }
        if self.model == VolatilityModel::Ewma94 {
            let daily_variance = inputs.exponential_variance(instrument, session)?;
            return Some(VolatilityForecast { daily_variance, borrowed: false });
        }
        if self.model == VolatilityModel::Garch11 {
            return self.garch_forecast(inputs, place);
        }
        let (row, borrowed) = self.regressors(inputs, place, universe);
        let daily_variance = match self.model {
            VolatilityModel::Rolling252 => row[HAR_COLUMNS - 1].exp(),
            _ => self.regression(&row)?.expected(&row),
        };
        let daily_variance = daily_variance.max(VARIANCE_FLOOR);
        daily_variance.is_finite().then_some(VolatilityForecast { daily_variance, borrowed })
    }

    /// The row that the model reads for an instrument, and whether the universe had to fill gaps of it.
    fn regressors(
        &self,
        inputs: &VolatilityInputs,
        place: Place,
        universe: &mut Option<VolatilityRow>,
    ) -> (VolatilityRow, bool) {
        let horizon = self.horizon.sessions();
        let row = inputs.row(place.instrument, place.session, horizon);
        let borrowed = row[self.needed()].iter().any(|x| x.is_nan());
        if !borrowed && !self.lacks_long_range(&row) {
            return (row, false);
        }
        let universe = universe.get_or_insert_with(|| inputs.universe_row(place.session, horizon));
        (inputs.filled_row(&row, place, universe), borrowed)
    }

    fn garch_forecast(&self, inputs: &VolatilityInputs, place: Place) -> Option<VolatilityForecast> {
        let refit = inputs.sessions().binary_search(&self.fitted_until).ok()?;
        let Place { instrument, session } = place;
        let fit = InstrumentGarch::of(&self.garch, inputs, Place { instrument, session: refit })?;
        let path = Path { instrument, refit, session };
        let daily_variance = fit.daily_variance(inputs, path, self.horizon.sessions()).max(VARIANCE_FLOOR);
        daily_variance.is_finite().then_some(VolatilityForecast { daily_variance, borrowed: false })
    }

    /// The regressors without which the model cannot speak.
    fn needed(&self) -> std::ops::Range<usize> {
        match self.model {
            VolatilityModel::LogHar => 0..HAR_COLUMNS,
            VolatilityModel::HarX2 => 0..WITHOUT_RANGES,
            VolatilityModel::Ewma94 | VolatilityModel::Rolling252 | VolatilityModel::Garch11 => {
                HAR_COLUMNS - 1..HAR_COLUMNS
            }
        }
    }

    fn lacks_long_range(&self, row: &VolatilityRow) -> bool {
        let (short, long) = row[WITHOUT_RANGES..].split_at(3);
        self.with_ranges.is_some() && long[0].is_nan() && short.iter().all(|x| x.is_finite())
    }

    fn regression(&self, row: &VolatilityRow) -> Option<&LogRegression> {
        let with_ranges = self.with_ranges.as_ref().filter(|_| row.iter().all(|x| x.is_finite()));
        with_ranges.or(self.without_ranges.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};

    const LONG: Sample = Sample { seed: 3, sessions: 900, instruments: 8, ranges: true, surroundings: true };

    fn qlike(inputs: &VolatilityInputs, fitted: &PooledVolatility, from: usize) -> f64 {
        let horizon = fitted.horizon.sessions();
        let (mut sum, mut count) = (0.0, 0.0);
        for session in (from..inputs.sessions().len() - horizon).step_by(5) {
            for (instrument, forecast) in fitted.forecasts(inputs, session).into_iter().enumerate() {
                let realized = inputs.realized_variance(instrument, session, horizon);
                if let (Some(f), Some(y), false) = (forecast, realized, inputs.is_index(instrument, session)) {
                    let ratio = y / f.daily_variance;
                    sum += ratio - ratio.ln() - 1.0;
                    count += 1.0;
                }
            }
        }
        sum / count
    }

    #[test]
    fn pooled_regressions_beat_the_flat_average_where_volatility_clusters() {
        let inputs = VolatilityInputs::new(&sample(&Sample { sessions: 1500, ..LONG }));
        let loss = |model| qlike(&inputs, &fit(&inputs, model, Horizon::FourWeeks, 1000).unwrap(), 1000);
        let [har, harx2, _, flat, garch] = VolatilityModel::ALL.map(loss);
        assert!(har < flat && harx2 < flat && garch < flat, "har {har} harx2 {harx2} roll252 {flat} garch11 {garch}");
    }

    #[test]
    fn a_fit_and_its_forecasts_know_nothing_later() {
        let history = sample(&LONG);
        let session = 700;
        let early = history.until(history.sessions[session]);
        let (all, known) = (VolatilityInputs::new(&history), VolatilityInputs::new(&early));
        for model in VolatilityModel::ALL {
            for horizon in [Horizon::OneWeek, Horizon::FourWeeks, Horizon::Quarter] {
                let of_all = fit(&all, model, horizon, session).unwrap();
                assert_eq!(Some(&of_all), fit(&known, model, horizon, session).as_ref());
                for (i, instrument) in early.instruments.iter().enumerate() {
                    let same = |x: &&crate::market::history::InstrumentHistory| x.instrument == instrument.instrument;
                    let at = history.instruments.iter().position(|x| same(&x)).unwrap();
                    let of = |inputs, fitted: &PooledVolatility, i| {
                        fitted.daily_variance(inputs, i, session).map(f64::to_bits)
                    };
                    assert_eq!(of(&known, &of_all, i), of(&all, &of_all, at), "{model:?} {horizon}");
                }
            }
        }
    }

    #[test]
    fn young_instruments_borrow_and_very_young_ones_get_nothing() {
        let inputs = VolatilityInputs::new(&sample(&LONG));
        let fitted = fit(&inputs, VolatilityModel::HarX2, Horizon::FourWeeks, 899).unwrap();
        let young = |session| fitted.forecast(&inputs, Place { instrument: 2, session });
        assert_eq!(young(720 + 19), None);
        for session in 720 + 20..899 {
            let forecast = young(session).unwrap();
            assert!(forecast.borrowed && (1e-6..1e-2).contains(&forecast.daily_variance), "{session} {forecast:?}");
        }
        assert!(!fitted.forecast(&inputs, Place { instrument: 6, session: 899 }).unwrap().borrowed);
    }

    #[test]
    fn closes_alone_are_enough() {
        let inputs = VolatilityInputs::new(&sample(&Sample { ranges: false, surroundings: false, ..LONG }));
        let fitted = fit(&inputs, VolatilityModel::HarX2, Horizon::FourWeeks, 899).unwrap();
        assert!(fitted.with_ranges.is_none());
        assert_eq!(fitted.forecasts(&inputs, 850).iter().flatten().count(), 8);
    }

    #[test]
    fn all_horizons_are_those_fitted_one_by_one() {
        let inputs = VolatilityInputs::new(&sample(&LONG));
        let horizons = [Horizon::Quarter, Horizon::OneWeek];
        for model in VolatilityModel::ALL {
            let fits = fit_horizons(&inputs, model, &horizons, 800);
            for horizon in Horizon::ALL {
                let alone = horizons.contains(&horizon).then(|| fit(&inputs, model, horizon, 800)).flatten();
                assert_eq!(fits[horizon.index()], alone, "{model:?} {horizon}");
            }
        }
    }

    #[test]
    fn too_few_rows_are_no_fit() {
        let inputs = VolatilityInputs::new(&sample(&Sample { sessions: 300, ..LONG }));
        assert_eq!(fit(&inputs, VolatilityModel::HarX2, Horizon::Year, 299), None);
        assert_eq!(fit(&inputs, VolatilityModel::HarX2, Horizon::OneWeek, 300), None);
    }
}

//! The volatility benchmarks refitted once a year, each fit knowing only what had matured: what a walk through the past
//! would have used, kept with the model so that publishing refits nothing.

use chrono::Datelike;
use serde::{Deserialize, Serialize};

use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::scenario::volatility::{PooledVolatility, VolatilityForecast, VolatilityModel, fit_horizons};
use crate::scenario::volatility_inputs::VolatilityInputs;

/// Sessions after which a young history gets its first fit.
const FIRST_FIT: usize = 360;

/// Fits of one model, by refit day and horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolatilityWalk {
    /// What was fitted.
    pub model: VolatilityModel,
    /// Ascending by day; one fit a horizon, in the order of [`Horizon::ALL`].
    fits: Vec<(Day, [Option<PooledVolatility>; 5])>,
}

/// Sessions at which a walk refits: the 361st, and the first of each later year.
#[must_use]
pub fn refit_sessions(sessions: &[Day]) -> Vec<usize> {
    (FIRST_FIT..sessions.len()).filter(|t| *t == FIRST_FIT || sessions[*t].year() != sessions[t - 1].year()).collect()
}

impl VolatilityWalk {
    /// Fits a model at every refit session up to `until`, and at `until` itself. Horizons that are not asked for stay
    /// empty.
    #[must_use]
    pub fn fit(inputs: &VolatilityInputs, model: VolatilityModel, horizons: &[Horizon], until: usize) -> Self {
        let sessions = inputs.sessions();
        let mut refits: Vec<usize> = refit_sessions(sessions).into_iter().filter(|t| *t <= until).collect();
        if refits.last() != Some(&until) {
            refits.push(until);
        }
        let fits = refits.into_iter().map(|t| (sessions[t], fit_horizons(inputs, model, horizons, t)));
        Self { model, fits: fits.collect() }
    }

    /// The newest fit of a horizon that was made on or before a day.
    #[must_use]
    pub fn in_force(&self, day: Day, horizon: Horizon) -> Option<&PooledVolatility> {
        let count = self.fits.partition_point(|(fitted, _)| *fitted <= day);
        self.fits[..count].iter().rev().find_map(|(_, fits)| fits[horizon.index()].as_ref())
    }

    /// The fit in force, or before there is one the first that will be, if it is made by `limit`: for rows that only folds
    /// after that day read.
    #[must_use]
    pub fn in_force_or_first(&self, day: Day, horizon: Horizon, limit: Day) -> Option<&PooledVolatility> {
        let mut made = self.fits.iter().take_while(|(fitted, _)| *fitted <= limit);
        self.in_force(day, horizon).or_else(|| made.find_map(|(_, fits)| fits[horizon.index()].as_ref()))
    }

    /// Forecasts of all instruments at the close of a session; `None` where there is none, and everywhere before the
    /// first fit.
    #[must_use]
    pub fn forecasts(
        &self,
        inputs: &VolatilityInputs,
        session: usize,
        horizon: Horizon,
    ) -> Vec<Option<VolatilityForecast>> {
        match self.in_force(inputs.sessions()[session], horizon) {
            Some(fit) => fit.forecasts(inputs, session),
            None => vec![None; inputs.instruments()],
        }
    }

    /// Session of the first fit.
    #[must_use]
    pub fn first_session(&self, sessions: &[Day]) -> Option<usize> {
        let (day, _) = self.fits.first()?;
        sessions.binary_search(day).ok()
    }

    /// Standard deviation of `ln(realized / forecast)` of the volatility, over instruments and days (20 sessions apart)
    /// whose horizon had matured by `until`, each forecast from the fit in force on its day. `None` below a hundred.
    #[must_use]
    pub fn log_error(&self, inputs: &VolatilityInputs, horizon: Horizon, until: usize) -> Option<f64> {
        let first = self.first_session(inputs.sessions())?;
        let mut errors = Vec::new();
        for session in (first..=until.checked_sub(horizon.sessions())?).step_by(20) {
            for (i, forecast) in self.forecasts(inputs, session, horizon).into_iter().enumerate() {
                let realized = inputs.realized_variance(i, session, horizon.sessions());
                let known = forecast.zip(realized).filter(|_| !inputs.is_index(i, session));
                errors.extend(known.map(|(f, realized)| 0.5 * (realized / f.daily_variance).ln()));
            }
        }
        let n = errors.len() as f64;
        let mean_square = errors.iter().map(|e| e * e).sum::<f64>() / n;
        (errors.len() >= 100).then(|| mean_square.sqrt())
    }
}

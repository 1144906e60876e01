//! Pooled least squares in logarithms, with the smearing factor that brings its fit back to levels.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// Directions of the standardized regressors whose variance is below this share of the largest carry no coefficient.
const COLLINEAR: f64 = 1e-10;
/// Rows for one coefficient that a fit needs at least.
const ROWS_PER_COEFFICIENT: usize = 10;

/// ln y = intercept + x' slopes, and E y = smearing x exp(ln y) (Duan 1983).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRegression {
    /// Constant term.
    pub intercept: f64,
    /// One a regressor.
    pub slopes: Vec<f64>,
    /// Mean of y over its fit, in the training rows.
    pub smearing: f64,
    /// Training rows.
    pub rows: usize,
    /// Mean of each regressor over the training rows; empty in fits that were stored without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub means: Vec<f64>,
}

/// Training rows of one regression.
#[derive(Debug, Clone, Default)]
pub struct LogRows {
    columns: usize,
    regressors: Vec<f64>,
    outcomes: Vec<f64>,
}

impl LogRows {
    /// No rows yet, each to have that many regressors.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { columns, regressors: vec![], outcomes: vec![] }
    }

    /// Adds a row, unless a regressor is missing. `outcome` is y > 0.
    pub fn push(&mut self, regressors: &[f64], outcome: f64) {
        let known = &regressors[..self.columns];
        if known.iter().all(|x| x.is_finite()) {
            self.regressors.extend_from_slice(known);
            self.outcomes.push(outcome);
        }
    }

    /// Ordinary least squares of ln y. Collinear and constant regressors share one least-norm solution.
    ///
    /// `None` with fewer than ten rows a coefficient.
    #[must_use]
    pub fn fit(&self) -> Option<LogRegression> {
        let rows = self.outcomes.len();
        if rows < ROWS_PER_COEFFICIENT * (self.columns + 1) {
            return None;
        }
        let logs: Vec<f64> = self.outcomes.iter().map(|y| y.ln()).collect();
        let means = self.means();
        let mean_log = logs.iter().sum::<f64>() / rows as f64;
        let (covariance, with_log) = self.moments(&means, &logs, mean_log);
        let slopes = least_norm(&covariance, &with_log);
        let explained: f64 = slopes.iter().zip(&means).map(|(b, m)| b * m).sum();
        let mut fitted = LogRegression { intercept: mean_log - explained, slopes, smearing: 1.0, rows, means };
        let ratios = self.regressors.chunks_exact(self.columns).zip(&self.outcomes).map(|(x, y)| y / fitted.level(x));
        fitted.smearing = ratios.sum::<f64>() / rows as f64;
        fitted.smearing.is_finite().then_some(fitted)
    }

    fn means(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.columns];
        for row in self.regressors.chunks_exact(self.columns) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        sums.iter().map(|sum| sum / self.outcomes.len() as f64).collect()
    }

    /// Covariances of the regressors with each other and with ln y.
    fn moments(&self, means: &[f64], logs: &[f64], mean_log: f64) -> (DMatrix<f64>, DVector<f64>) {
        let width = self.columns;
        let (mut products, mut with_log) = (vec![0.0; width * width], vec![0.0; width]);
        let mut centred = vec![0.0; width];
        for (row, log) in self.regressors.chunks_exact(width).zip(logs) {
            centred.iter_mut().zip(row).zip(means).for_each(|((c, x), m)| *c = x - m);
            for (k, a) in centred.iter().enumerate() {
                with_log[k] += a * (log - mean_log);
                products[k * width..(k + 1) * width].iter_mut().zip(&centred).for_each(|(p, b)| *p += a * b);
            }
        }
        let rows = logs.len() as f64;
        (DMatrix::from_vec(width, width, products) / rows, DVector::from_vec(with_log) / rows)
    }
}

impl LogRegression {
    /// E y for one row of regressors.
    #[must_use]
    pub fn expected(&self, regressors: &[f64]) -> f64 {
        self.smearing * self.level(regressors)
    }

    /// E y where nothing is known of the regressors and each takes its training mean. `None` when the fit was stored
    /// without its means.
    #[must_use]
    pub fn expected_at_means(&self) -> Option<f64> {
        (!self.means.is_empty()).then(|| self.expected(&self.means))
    }

    fn level(&self, regressors: &[f64]) -> f64 {
        let sum: f64 = self.slopes.iter().zip(regressors).map(|(b, x)| b * x).sum();
        (self.intercept + sum).exp()
    }
}

/// Solves `covariance x slopes = with_log` on the scale of correlations, leaving out directions without variance.
fn least_norm(covariance: &DMatrix<f64>, with_log: &DVector<f64>) -> Vec<f64> {
    let width = with_log.len();
    let deviations: Vec<f64> = (0..width).map(|k| covariance[(k, k)].max(0.0).sqrt()).collect();
    // A constant regressor gets the scale 0 and with it the slope 0.
    let scale = DVector::from_iterator(width, deviations.iter().map(|d| if *d > 1e-12 { 1.0 / d } else { 0.0 }));
    let correlation = DMatrix::from_fn(width, width, |a, b| covariance[(a, b)] * scale[a] * scale[b]);
    let eigen = correlation.symmetric_eigen();
    let largest = eigen.eigenvalues.max();
    let mut projected = eigen.eigenvectors.transpose() * with_log.component_mul(&scale);
    for (value, eigenvalue) in projected.iter_mut().zip(eigen.eigenvalues.iter()) {
        *value = if *eigenvalue > COLLINEAR * largest { *value / eigenvalue } else { 0.0 };
    }
    (eigen.eigenvectors * projected).component_mul(&scale).iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(columns: usize, row: impl Fn(f64) -> Vec<f64>, y: impl Fn(f64) -> f64) -> LogRows {
        let mut rows = LogRows::new(columns);
        (0..200).map(f64::from).for_each(|k| rows.push(&row(k), y(k)));
        rows
    }

    #[test]
    fn an_exact_law_is_found() {
        let fitted = rows(
            2,
            |k| vec![(k * 0.7).sin(), (k * 1.3).cos()],
            |k| (1.0 + 2.0 * (k * 0.7).sin() - (k * 1.3).cos()).exp(),
        );
        let fitted = fitted.fit().unwrap();
        for (found, expected) in
            [(fitted.intercept, 1.0), (fitted.slopes[0], 2.0), (fitted.slopes[1], -1.0), (fitted.smearing, 1.0)]
        {
            assert!((found - expected).abs() < 1e-10, "{fitted:?}");
        }
    }

    #[test]
    fn collinear_and_constant_regressors_do_no_harm() {
        let fitted = rows(3, |k| vec![(k * 0.7).sin(), 2.0 * (k * 0.7).sin(), 0.0], |k| (3.0 * (k * 0.7).sin()).exp());
        let fitted = fitted.fit().unwrap();
        assert!((fitted.slopes[0] + 2.0 * fitted.slopes[1] - 3.0).abs() < 1e-8, "{fitted:?}");
        assert_eq!(fitted.slopes[2], 0.0);
    }

    #[test]
    fn rows_with_gaps_and_short_samples_are_refused() {
        let mut gaps = LogRows::new(1);
        (0..19).for_each(|k| gaps.push(&[f64::from(k)], 1.0));
        gaps.push(&[f64::NAN], 1.0);
        assert_eq!(gaps.fit(), None);
        gaps.push(&[20.0], 1.0);
        assert_eq!(gaps.fit().unwrap().rows, 20);
    }

    #[test]
    fn the_means_are_kept_and_older_fits_do_without() {
        let fitted = rows(2, |k| vec![k, -2.0 * k], |k| (0.01 * k).exp()).fit().unwrap();
        assert_eq!(fitted.means, [99.5, -199.0]);
        assert_eq!(fitted.expected_at_means(), Some(fitted.expected(&[99.5, -199.0])));
        let older = r#"{"intercept":1.0,"slopes":[2.0],"smearing":1.0,"rows":20}"#;
        let older: LogRegression = serde_json::from_str(older).unwrap();
        assert_eq!(older.expected_at_means(), None);
        assert!(!serde_json::to_string(&older).unwrap().contains("means"));
    }
}

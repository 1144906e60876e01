//! Volatilities and correlations of a universe from its past log returns.
//!
//! All estimators take a mean of zero: over a year the mean of a daily return is noise beside its size.

use nalgebra::{Cholesky, DMatrix, DVector};

use crate::scenario::shrinkage;

/// Smallest daily volatility; a price that never moved still has one.
pub const VOLATILITY_FLOOR: f64 = 1e-12;

/// First value added to the diagonal before the Cholesky factorization; ten times more at each retry.
pub const JITTER: f64 = 1e-7;

/// An instrument with less than this share of an estimator's weight on present returns is young and borrows.
const MATURE_SHARE: f64 = 245.0 / 252.0;

/// Returns that weigh as much as the universe in the volatility of a young instrument.
const VOLATILITY_PRIOR_SESSIONS: f64 = 20.0;

/// How past sessions are weighted, and whether the correlation is shrunk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Estimator {
    /// Equal weights on the last `sessions`.
    Sample {
        /// Length of the window.
        sessions: usize,
    },
    /// Weights that halve every `half_life` sessions, cut off after `sessions` and normalized.
    Ewma {
        /// Sessions until a weight has halved, above 0.
        half_life: f64,
        /// Length of the window.
        sessions: usize,
    },
    /// Equal weights; the correlation shrunk to the constant-correlation target of Ledoit and Wolf (2004, "Honey, I
    /// shrunk the sample covariance matrix"). That target leaves every volatility as it is.
    LedoitWolf {
        /// Length of the window.
        sessions: usize,
    },
}

/// Daily volatilities and correlations, in the order of the columns they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariance {
    /// Standard deviation of a daily log return, at least [`VOLATILITY_FLOOR`].
    pub volatility: Vec<f64>,
    /// Correlation matrix: symmetric, positive semidefinite, ones on the diagonal.
    pub correlation: DMatrix<f64>,
    /// Whether an instrument is too young for its own numbers, so that they lean on the universe.
    pub borrowed: Vec<bool>,
}

/// Why no joint draw can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CovarianceError {
    /// The matrix is not a correlation matrix, not even after jitter.
    #[error("the correlation matrix is not positive definite")]
    NotPositiveDefinite,
}

impl Covariance {
    /// Estimates from columns of log returns that all end at the same session.
    ///
    /// Mature instruments: volatility `sqrt(sum w r^2 / sum w)` over present returns, correlation with missing returns
    /// taken as 0. Young ones: the log volatility is averaged with the universe's median, the own part weighing
    /// `k / (k + 20)` for k returns; missing standardized returns are replaced by the universe's common factor times
    /// its mean correlation with that factor. The part of the diagonal that such rows lack is added back, so the
    /// matrix stays positive semidefinite.
    ///
    /// # Shapes
    /// One column an instrument, newest return last, NaN where missing. Columns may differ in length: what a shorter
    /// one lacks is missing.
    #[must_use]
    pub fn estimate(log_returns: &[&[f64]], estimator: Estimator) -> Self {
        let block = Block::new(log_returns, &weights(log_returns, estimator));
        let volatility = block.volatility();
        let mut correlation = cross_products(&block.standardized(), &block.weights);
        correlation.fill_diagonal(1.0);
        if matches!(estimator, Estimator::LedoitWolf { .. }) {
            let scaled = scale_columns(block.standardized(), &volatility);
            correlation = shrinkage::toward_constant_correlation(&scaled, &volatility, correlation);
        }
        Self { volatility, correlation, borrowed: block.young }
    }

    /// Lower Cholesky factor of the correlation plus [`JITTER`] on the diagonal (as in the shared scorer). A matrix of
    /// fewer sessions than instruments is singular, and rounding may push it just below; each retry takes ten times
    /// more jitter, up to 1e-3. Where columns of very different lengths do not fit together at all, the correlations are
    /// shrunk by ever more, up to nine tenths, so that one young instrument never leaves a universe without ranks.
    ///
    /// # Errors
    /// [`CovarianceError::NotPositiveDefinite`] when the last retry fails too.
    pub fn factor(&self) -> Result<DMatrix<f64>, CovarianceError> {
        let size = self.correlation.nrows();
        let jittered = (0..5).map(|retry| (1.0, JITTER * 10f64.powi(retry)));
        let shrunk = [0.05, 0.2, 0.5, 0.9].into_iter().map(|share| (1.0 - share, share));
        jittered
            .chain(shrunk)
            .find_map(|(kept, ridge)| Cholesky::new(&self.correlation * kept + DMatrix::identity(size, size) * ridge))
            .map(Cholesky::unpack)
            .ok_or(CovarianceError::NotPositiveDefinite)
    }
}

/// Normalized session weights, oldest first.
fn weights(log_returns: &[&[f64]], estimator: Estimator) -> Vec<f64> {
    let longest = log_returns.iter().map(|c| c.len()).max().unwrap_or(0);
    let (sessions, decay) = match estimator {
        Estimator::Sample { sessions } | Estimator::LedoitWolf { sessions } => (sessions, 1.0),
        Estimator::Ewma { half_life, sessions } => (sessions, 0.5f64.powf(1.0 / half_life)),
    };
    let count = sessions.min(longest);
    let raw: Vec<f64> = (0..count).rev().map(|age| decay.powf(age as f64)).collect();
    let total: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w / total).collect()
}

/// The window of an estimator, one vector an instrument.
struct Block {
    weights: Vec<f64>,
    columns: Vec<Vec<f64>>,
    young: Vec<bool>,
}

impl Block {
    fn new(log_returns: &[&[f64]], weights: &[f64]) -> Self {
        let rows = weights.len();
        let columns: Vec<Vec<f64>> = log_returns
            .iter()
            .map(|column| {
                let recent = &column[column.len().saturating_sub(rows)..];
                let mut window = vec![f64::NAN; rows - recent.len()];
                window.extend_from_slice(recent);
                window
            })
            .collect();
        // The tolerance keeps 245 of 252 returns mature whatever the rounding of the weights.
        let young = columns.iter().map(|c| present_weight(c, weights) < MATURE_SHARE - 1e-9).collect();
        Self { weights: weights.to_vec(), columns, young }
    }

    /// Root of the weighted mean square over present returns; `None` without any.
    fn own_volatility(&self, instrument: usize) -> Option<f64> {
        let column = &self.columns[instrument];
        let weight = present_weight(column, &self.weights);
        (weight > 0.0).then(|| (sum_of_squares(column, &self.weights) / weight).sqrt().max(VOLATILITY_FLOOR))
    }

    fn volatility(&self) -> Vec<f64> {
        let own: Vec<Option<f64>> = (0..self.columns.len()).map(|i| self.own_volatility(i)).collect();
        let universe = self.universe_log_volatility(&own);
        let blend = |i: usize| {
            let present = self.columns[i].iter().filter(|r| r.is_finite()).count() as f64;
            let share = present / (present + VOLATILITY_PRIOR_SESSIONS);
            let own = own[i].map_or(universe, f64::ln);
            (share * own + (1.0 - share) * universe).exp()
        };
        (0..own.len()).map(|i| if self.young[i] { blend(i) } else { own[i].unwrap_or(VOLATILITY_FLOOR) }).collect()
    }

    /// Median log volatility of the mature instruments, or of all when none is mature.
    fn universe_log_volatility(&self, own: &[Option<f64>]) -> f64 {
        let collect = |young: bool| -> Vec<f64> {
            let chosen = own.iter().zip(&self.young).filter(|(_, y)| young || !**y);
            chosen.filter_map(|(v, _)| v.map(f64::ln)).collect()
        };
        let mut logs = collect(false);
        if logs.is_empty() {
            logs = collect(true);
        }
        logs.sort_by(f64::total_cmp);
        let middle = logs.len() / 2;
        match logs.len() {
            0 => VOLATILITY_FLOOR.ln(),
            n if n % 2 == 1 => logs[middle],
            _ => f64::midpoint(logs[middle - 1], logs[middle]),
        }
    }

    /// Returns in units of volatility without gaps: weighted mean square 1 for mature instruments.
    fn standardized(&self) -> DMatrix<f64> {
        let rows = self.weights.len();
        let mut standardized = DMatrix::zeros(rows, self.columns.len());
        for (i, column) in self.columns.iter().enumerate() {
            let total = sum_of_squares(column, &self.weights).sqrt();
            let unit = if self.young[i] { self.own_volatility(i).unwrap_or(1.0) } else { total };
            for (t, r) in column.iter().enumerate().filter(|(_, r)| r.is_finite()) {
                standardized[(t, i)] = if unit > 0.0 { r / unit } else { 0.0 };
            }
        }
        if let Some(proxy) = self.common_factor(&standardized) {
            for (i, column) in self.columns.iter().enumerate().filter(|(i, _)| self.young[*i]) {
                for (t, _) in column.iter().enumerate().filter(|(_, r)| !r.is_finite()) {
                    standardized[(t, i)] = proxy[t];
                }
            }
        }
        standardized
    }

    /// Equal-weighted mature universe at unit variance, times the mature instruments' mean correlation with it.
    fn common_factor(&self, standardized: &DMatrix<f64>) -> Option<DVector<f64>> {
        let mature: Vec<usize> = (0..self.young.len()).filter(|i| !self.young[*i]).collect();
        if mature.is_empty() || mature.len() == self.young.len() {
            return None;
        }
        let mut sum = DVector::zeros(self.weights.len());
        for i in &mature {
            sum += standardized.column(*i);
        }
        let norm = sum_of_squares(sum.as_slice(), &self.weights).sqrt();
        // The mean of corr(i, factor) over the instruments that make up the factor is its norm over their number.
        (norm > 0.0).then(|| sum / norm * (norm / mature.len() as f64))
    }
}

fn present_weight(column: &[f64], weights: &[f64]) -> f64 {
    column.iter().zip(weights).filter(|(r, _)| r.is_finite()).map(|(_, w)| w).sum()
}

fn sum_of_squares(column: &[f64], weights: &[f64]) -> f64 {
    column.iter().zip(weights).filter(|(r, _)| r.is_finite()).map(|(r, w)| w * r * r).sum()
}

fn scale_columns(mut block: DMatrix<f64>, scale: &[f64]) -> DMatrix<f64> {
    for (mut column, factor) in block.column_iter_mut().zip(scale) {
        column *= *factor;
    }
    block
}

/// Weighted cross products, column by column. A general matrix product would choose its instructions by processor and
/// so its rounding; these dot products round the same everywhere.
fn cross_products(block: &DMatrix<f64>, weights: &[f64]) -> DMatrix<f64> {
    let roots = DVector::from_iterator(weights.len(), weights.iter().map(|w| w.sqrt()));
    let mut weighted = block.clone();
    for mut column in weighted.column_iter_mut() {
        column.component_mul_assign(&roots);
    }
    let size = block.ncols();
    let mut products = DMatrix::zeros(size, size);
    for i in 0..size {
        for j in 0..=i {
            let product = weighted.column(i).dot(&weighted.column(j));
            products[(i, j)] = product;
            products[(j, i)] = product;
        }
    }
    products
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waves(rows: usize, count: usize) -> Vec<Vec<f64>> {
        let wave = |t: usize, i: usize| {
            let (t, i) = (t as f64, i as f64);
            0.01 * (1.0 + i) * ((0.7 * t).sin() + (1.3 * t + i).cos() + 0.5 * (0.11 * t * (i + 2.0)).sin())
        };
        (0..count).map(|i| (0..rows).map(|t| wave(t, i)).collect()).collect()
    }

    fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
        columns.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn sample_moments_match_their_definition() {
        let columns = waves(300, 3);
        let c = Covariance::estimate(&slices(&columns), Estimator::Sample { sessions: 252 });
        let dot = |i: usize, j: usize| (48..300).map(|t| columns[i][t] * columns[j][t]).sum::<f64>() / 252.0;
        for i in 0..3 {
            assert!((c.volatility[i] - dot(i, i).sqrt()).abs() < 1e-14);
            for j in 0..3 {
                assert!((c.correlation[(i, j)] - dot(i, j) / (dot(i, i) * dot(j, j)).sqrt()).abs() < 1e-12);
            }
        }
        assert_eq!(c.borrowed, [false; 3]);
    }

    #[test]
    fn ewma_weights_halve_and_forget() {
        let column: Vec<f64> = (0..400).map(|t| if t == 399 - 63 { 0.02 } else { 0.0 }).collect();
        let estimator = Estimator::Ewma { half_life: 63.0, sessions: 504 };
        let c = Covariance::estimate(&[&column], estimator);
        let total = (1.0 - 0.5f64.powf(400.0 / 63.0)) / (1.0 - 0.5f64.powf(1.0 / 63.0));
        assert!((c.volatility[0] - (0.5 / total).sqrt() * 0.02).abs() < 1e-12);
    }

    #[test]
    fn a_few_missing_returns_count_as_zero_in_the_correlation_only() {
        let mut columns = waves(252, 2);
        columns[1][..5].fill(f64::NAN);
        let c = Covariance::estimate(&slices(&columns), Estimator::Sample { sessions: 252 });
        let square: f64 = columns[1][5..].iter().map(|r| r * r).sum();
        assert!((c.volatility[1] - (square / 247.0).sqrt()).abs() < 1e-14);
        assert!(!c.borrowed[1]);
        let first: f64 = columns[0].iter().map(|r| r * r).sum();
        let dot: f64 = (5..252).map(|t| columns[0][t] * columns[1][t]).sum();
        assert!((c.correlation[(0, 1)] - dot / (first * square).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn young_instruments_lean_on_the_universe() {
        let mut columns = waves(252, 6);
        columns[4][..200].fill(f64::NAN);
        columns[5].fill(f64::NAN);
        let c = Covariance::estimate(&slices(&columns), Estimator::Sample { sessions: 252 });
        assert_eq!(c.borrowed, [false, false, false, false, true, true]);
        // Without one return the volatility is the median of the mature ones.
        assert!((c.volatility[5] - (c.volatility[1] * c.volatility[2]).sqrt()).abs() < 1e-12);
        let own = (columns[4][200..].iter().map(|r| r * r).sum::<f64>() / 52.0).sqrt();
        let blend = own.powf(52.0 / 72.0) * c.volatility[5].powf(20.0 / 72.0);
        assert!((c.volatility[4] - blend).abs() < 1e-12);
        // Instruments of which nothing is known: corr(5, j) = mean corr x corr(j, factor), and these average to the mean
        // of the mature block with its diagonal.
        let block = c.correlation.view((0, 0), (4, 4)).mean();
        assert!(((0..4).map(|j| c.correlation[(5, j)]).sum::<f64>() / 4.0 - block).abs() < 1e-12);
        assert!(c.correlation.clone().symmetric_eigenvalues().min() > -1e-12);
        assert!(c.factor().is_ok());
    }

    #[test]
    fn degenerate_universes_stay_finite() {
        let flat = vec![0.0; 252];
        let missing = vec![f64::NAN; 252];
        for columns in [vec![], vec![flat.clone()], vec![missing.clone()], vec![flat, missing]] {
            let c = Covariance::estimate(&slices(&columns), Estimator::LedoitWolf { sessions: 252 });
            assert!(c.volatility.iter().all(|v| *v >= VOLATILITY_FLOOR && v.is_finite()));
            assert!(c.correlation.iter().all(|v| v.is_finite()));
            assert!(c.factor().is_ok());
        }
        let broken = Covariance {
            volatility: vec![1.0; 2],
            correlation: DMatrix::from_row_slice(2, 2, &[1.0, 2.0, 2.0, 1.0]),
            borrowed: vec![false; 2],
        };
        assert!(broken.factor().is_ok(), "correlations that do not fit together are shrunk");
        let broken = Covariance { correlation: DMatrix::from_element(2, 2, f64::NAN), ..broken };
        assert_eq!(broken.factor(), Err(CovarianceError::NotPositiveDefinite));
    }
}

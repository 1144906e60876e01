//! Shrinkage of a correlation matrix toward one common correlation.

use nalgebra::DMatrix;

/// Ledoit and Wolf (2004, "Honey, I shrunk the sample covariance matrix", Journal of Portfolio Management 30(4)),
/// appendices A and B, for returns of mean zero: `(1 - d) C + d F`, where F holds the mean correlation off its diagonal
/// and the intensity d is estimated from the covariances: `d = max(0, min(1, (pi - rho) / gamma / T))`.
///
/// # Shapes
/// `returns`: T sessions x N instruments, no gaps; `volatility`: N; `correlation`: N x N, the sample correlation.
#[must_use]
pub fn toward_constant_correlation(
    returns: &DMatrix<f64>,
    volatility: &[f64],
    correlation: DMatrix<f64>,
) -> DMatrix<f64> {
    let size = correlation.nrows();
    if size < 2 || returns.nrows() == 0 {
        return correlation;
    }
    let mean = (correlation.sum() - size as f64) / (size * (size - 1)) as f64;
    let intensity = intensity(returns, volatility, &correlation, mean);
    let mut shrunk = correlation * (1.0 - intensity);
    shrunk.add_scalar_mut(intensity * mean);
    shrunk.fill_diagonal(1.0);
    shrunk
}

fn intensity(returns: &DMatrix<f64>, volatility: &[f64], correlation: &DMatrix<f64>, mean: f64) -> f64 {
    let sessions = returns.nrows() as f64;
    let squares = returns.map(|r| r * r);
    let cubes = returns.map(|r| r * r * r);
    let (mut pi, mut rho, mut gamma) = (0.0, 0.0, 0.0);
    for i in 0..volatility.len() {
        let variance = volatility[i] * volatility[i];
        let fourth = squares.column(i).dot(&squares.column(i)) / sessions - variance * variance;
        pi += fourth;
        rho += fourth;
        for j in (0..volatility.len()).filter(|j| *j != i) {
            let covariance = correlation[(i, j)] * volatility[i] * volatility[j];
            pi += squares.column(i).dot(&squares.column(j)) / sessions - covariance * covariance;
            // Asymptotic covariance of s_ii with s_ij; the sum over all (i, j) covers the twin term of s_jj.
            let theta = cubes.column(i).dot(&returns.column(j)) / sessions - variance * covariance;
            rho += mean * volatility[j] / volatility[i] * theta;
            gamma += ((correlation[(i, j)] - mean) * volatility[i] * volatility[j]).powi(2);
        }
    }
    if gamma > 0.0 { ((pi - rho) / gamma / sessions).clamp(0.0, 1.0) } else { 0.0 }
}

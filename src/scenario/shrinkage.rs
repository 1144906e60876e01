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

#[cfg(test)]
mod tests {
    use crate::scenario::covariance::{Covariance, Estimator};

    #[test]
    fn intensity_and_matrix_match_a_literal_transcription_of_the_paper() {
        let first = [1.0, -2.0, 0.5, 3.0, -1.0, -1.5, 2.0, 0.5, -1.0, 0.8].map(|r| r * 0.01);
        let second = [1.2, -1.6, 0.9, 2.4, -0.8, -2.0, 1.5, 0.2, -1.3, 1.1].map(|r| r * 0.01);
        let third = [1.0, -0.5, 0.5, 0.6, -1.5, 0.2, 0.3, 1.0, -0.9, -0.2].map(|r| r * 0.01);
        let found = Covariance::estimate(&[&first, &second, &third], Estimator::LedoitWolf { sessions: 10 });
        for ((i, j), expected) in [((0, 1), 0.86479387), ((0, 2), 0.63942208), ((1, 2), 0.62147332)] {
            assert!((found.correlation[(i, j)] - expected).abs() < 1e-8);
        }
    }
}

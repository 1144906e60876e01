//! Trailing-window statistics of features: regression on the market, skewness, highs and drawdowns.

use crate::scenario::windows::{RunningSums, most_of};

/// Running sums of two columns over the sessions on which both are present.
#[derive(Debug, Clone)]
pub(crate) struct JointSums {
    x: RunningSums,
    y: RunningSums,
    xx: RunningSums,
    xy: RunningSums,
    yy: RunningSums,
}

impl JointSums {
    pub(crate) fn new(x: &[f64], y: &[f64]) -> Self {
        let sums = |of: fn(f64, f64) -> f64| {
            // A product with an absent number is NaN and with it absent; x and y alone need the other's NaN added.
            RunningSums::new(x.iter().zip(y).map(|(x, y)| of(*x, *y)))
        };
        Self {
            x: sums(|x, y| x + 0.0 * y),
            y: sums(|x, y| y + 0.0 * x),
            xx: sums(|x, y| x * x + 0.0 * y),
            xy: sums(|x, y| x * y),
            yy: sums(|x, y| y * y + 0.0 * x),
        }
    }

    /// Slope of y on x, and their correlation; `None` when less than four fifths of the window are present or either does
    /// not vary.
    pub(crate) fn slope_and_correlation(&self, end: usize, length: usize) -> Option<(f64, f64)> {
        let mean = |sums: &RunningSums| sums.mean(end, length, most_of(length));
        let (x, y) = (mean(&self.x)?, mean(&self.y)?);
        let (xx, xy, yy) = (mean(&self.xx)? - x * x, mean(&self.xy)? - x * y, mean(&self.yy)? - y * y);
        (xx > NO_VARIANCE && yy > NO_VARIANCE).then(|| (xy / xx, (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0)))
    }
}

/// Daily variances below this are rounding of the running sums.
const NO_VARIANCE: f64 = 1e-13;

/// Skewness (third central moment over the cubed deviation, both with divisor n) of a column over trailing windows.
#[derive(Debug, Clone)]
pub(crate) struct Skewness {
    first: RunningSums,
    second: RunningSums,
    third: RunningSums,
}

impl Skewness {
    pub(crate) fn new(values: &[f64]) -> Self {
        let power = |n: i32| RunningSums::new(values.iter().map(move |v| v.powi(n)));
        Self { first: power(1), second: power(2), third: power(3) }
    }

    pub(crate) fn over(&self, end: usize, length: usize) -> Option<f64> {
        let mean = |sums: &RunningSums| sums.mean(end, length, most_of(length));
        let (m1, m2, m3) = (mean(&self.first)?, mean(&self.second)?, mean(&self.third)?);
        let variance = m2 - m1 * m1;
        (variance > NO_VARIANCE).then(|| (m3 - 3.0 * m1 * m2 + 2.0 * m1.powi(3)) / variance.powf(1.5))
    }
}

/// Log total-return index: 0 before the first return, unchanged where a return is missing.
pub(crate) fn cumulative(returns: &[f64]) -> Vec<f64> {
    let mut level = 0.0;
    let step = |r: &f64| {
        level += if r.is_finite() { *r } else { 0.0 };
        level
    };
    returns.iter().map(step).collect()
}

/// Level at the window's end less the highest level inside, <= 0.
pub(crate) fn distance_to_high(levels: &[f64], end: usize, length: usize) -> f64 {
    levels[end] - window(levels, end, length).iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Largest fall from an earlier level inside the window, >= 0.
pub(crate) fn max_drawdown(levels: &[f64]) -> f64 {
    let (mut peak, mut worst) = (f64::NEG_INFINITY, 0.0f64);
    for level in levels {
        peak = peak.max(*level);
        worst = worst.max(peak - level);
    }
    worst
}

/// The numbers of a trailing window, shorter at the start of the column.
pub(crate) fn window<T>(values: &[T], end: usize, length: usize) -> &[T] {
    &values[(end + 1).saturating_sub(length)..=end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regression_uses_common_sessions() {
        let x = [1.0, 2.0, f64::NAN, 4.0, 5.0, 3.0];
        let y: Vec<f64> = x.iter().map(|x| 2.0 * x - 1.0).collect();
        let (slope, correlation) = JointSums::new(&x, &y).slope_and_correlation(5, 6).unwrap();
        assert!((slope - 2.0).abs() < 1e-12 && (correlation - 1.0).abs() < 1e-12);
        let gaps = [1.0, f64::NAN, f64::NAN, 4.0, 5.0];
        assert_eq!(JointSums::new(&gaps, &y[..5]).slope_and_correlation(4, 5), None, "three of five are too few");
        assert_eq!(JointSums::new(&[1.0; 5], &[2.0; 5]).slope_and_correlation(4, 5), None);
    }

    #[test]
    fn skewness_of_a_known_sample() {
        // 0, 0, 0, 4: mean 1, variance 3, third moment 6.
        let skewness = Skewness::new(&[0.0, 0.0, 0.0, 4.0]).over(3, 4).unwrap();
        assert!((skewness - 6.0 / 27f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn falls_are_measured_from_the_peak() {
        let levels = cumulative(&[f64::NAN, 0.2, f64::NAN, -0.3, 0.1]);
        assert!((max_drawdown(&levels) - 0.3).abs() < 1e-12);
        assert!((distance_to_high(&levels, 4, 4) + 0.2).abs() < 1e-12);
        assert!((distance_to_high(&levels, 4, 2)).abs() < 1e-12);
    }
}

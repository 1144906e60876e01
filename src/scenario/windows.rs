//! Sums over trailing windows of a column, in constant time a window.

/// Cumulative sums and counts of the numbers of a column; NaN counts as absent.
///
/// A window names the sessions `end - length + 1 ..= end`; what lies before the first session is absent.
#[derive(Debug, Clone)]
pub struct RunningSums {
    sum: Vec<f64>,
    count: Vec<u32>,
}

impl RunningSums {
    /// Adds the column up, in its order.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut sum, mut count) = (vec![0.0], vec![0]);
        let (mut total, mut known) = (0.0, 0);
        for value in values {
            if value.is_finite() {
                total += value;
                known += 1;
            }
            sum.push(total);
            count.push(known);
        }
        Self { sum, count }
    }

    /// Numbers present in the window.
    ///
    /// # Panics
    /// When `end` is not a session of the column.
    #[must_use]
    pub fn count(&self, end: usize, length: usize) -> usize {
        (self.count[end + 1] - self.count[(end + 1).saturating_sub(length)]) as usize
    }

    /// Sum of the numbers present; 0 when there are none.
    ///
    /// # Panics
    /// When `end` is not a session of the column.
    #[must_use]
    pub fn sum(&self, end: usize, length: usize) -> f64 {
        self.sum[end + 1] - self.sum[(end + 1).saturating_sub(length)]
    }

    /// Mean of the numbers present; `None` when fewer than `minimum` (or none) are.
    ///
    /// # Panics
    /// When `end` is not a session of the column.
    #[must_use]
    pub fn mean(&self, end: usize, length: usize, minimum: usize) -> Option<f64> {
        let count = self.count(end, length);
        (count >= minimum.max(1)).then(|| self.sum(end, length) / count as f64)
    }

    /// Mean when at least four fifths of the window are present.
    ///
    /// # Panics
    /// When `end` is not a session of the column.
    #[must_use]
    pub fn mean_of_most(&self, end: usize, length: usize) -> Option<f64> {
        self.mean(end, length, most_of(length))
    }
}

/// Four fifths of a length, rounded down, at least 1: how much of a window must be present.
#[must_use]
pub fn most_of(length: usize) -> usize {
    (length * 4 / 5).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_skip_what_is_missing() {
        let sums = RunningSums::new([1.0, f64::NAN, 3.0, 5.0]);
        assert_eq!((sums.count(3, 3), sums.sum(3, 3)), (2, 8.0));
        assert_eq!(sums.mean(3, 2, 2), Some(4.0));
        assert_eq!(sums.mean(1, 1, 1), None);
        assert_eq!(sums.mean(3, 100, 1), Some(3.0));
        assert_eq!(sums.mean_of_most(3, 4), Some(3.0));
        assert_eq!(sums.mean_of_most(3, 5), None);
        assert_eq!([1, 5, 20, 60, 252].map(most_of), [1, 4, 16, 48, 201]);
    }
}

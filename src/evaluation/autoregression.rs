//! The direction head's own forecaster: least squares of an instrument's return over the horizon on its previous one,
//! fitted anew at each decision on what had matured, and combined with other means at equal weights.

use crate::evaluation::evidence::Window;
use crate::market::bar::Day;

/// Matured windows from which on the mean of their returns is a benchmark.
pub const MEAN_WINDOWS: usize = 12;
/// Matured windows from which on a slope is fitted.
pub const SLOPE_WINDOWS: usize = 30;

/// One decision on the return over the coming horizon. Log returns over the horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReturnWindow {
    /// Decision day, as a session index.
    pub session: usize,
    /// Decision day.
    pub day: Day,
    /// Return over the horizon that ended at the decision.
    pub previous: f64,
    /// Return over the coming horizon.
    pub realized: f64,
    /// What another model said of it, before the outcome.
    pub other_mean: Option<f64>,
}

/// Sums behind a straight line.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    count: usize,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

/// The record of the combined mean against the expanding mean of the matured returns.
///
/// At each decision the benchmark is the mean of `realized` over the windows that had matured, at least
/// [`MEAN_WINDOWS`]; each forecaster there is (the autoregression from [`SLOPE_WINDOWS`] on, the other model where it
/// spoke) deviates from it, and the forecast is the benchmark plus the mean deviation. The autoregression nests the
/// benchmark: a slope of 0 gives it exactly. Losses are squared errors. `windows` ascend by session; decisions on which
/// nobody spoke are left out.
#[must_use]
pub fn combined_means(windows: &[ReturnWindow], horizon_sessions: usize) -> Vec<Window> {
    let (mut matured, mut line) = (windows.iter().peekable(), Line::default());
    let mut record = Vec::with_capacity(windows.len());
    for window in windows {
        while let Some(known) = matured.next_if(|w| w.session + horizon_sessions <= window.session) {
            line.add(known);
        }
        let Some(benchmark) = line.mean() else { continue };
        let own = line.slope().map(|slope| slope * (window.previous - line.x / line.count as f64));
        let deviations: Vec<f64> = own.into_iter().chain(window.other_mean.map(|mean| mean - benchmark)).collect();
        if deviations.is_empty() {
            continue;
        }
        let forecast = benchmark + deviations.iter().sum::<f64>() / deviations.len() as f64;
        record.push(Window {
            session: window.session,
            day: window.day,
            forecast,
            benchmark,
            realized: window.realized,
            loss: (window.realized - forecast).powi(2),
            benchmark_loss: (window.realized - benchmark).powi(2),
        });
    }
    record
}

impl Line {
    fn add(&mut self, window: &ReturnWindow) {
        let (x, y) = (window.previous, window.realized);
        *self = Self { count: self.count + 1, x: self.x + x, y: self.y + y, xx: self.xx + x * x, xy: self.xy + x * y };
    }

    fn mean(&self) -> Option<f64> {
        (self.count >= MEAN_WINDOWS).then(|| self.y / self.count as f64)
    }

    /// Least-squares slope; `None` with too few windows or when the previous returns do not vary.
    fn slope(&self) -> Option<f64> {
        let n = self.count as f64;
        let spread = self.xx - self.x * self.x / n;
        let slope = (self.xy - self.x * self.y / n) / spread;
        (self.count >= SLOPE_WINDOWS && spread > 1e-12 * self.xx && slope.is_finite()).then_some(slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON: usize = 20;

    /// An exact line without noise: each return is half the last one plus a wave.
    fn windows(count: usize, slope: f64) -> Vec<ReturnWindow> {
        let mut previous = 0.02;
        let mut made = Vec::with_capacity(count);
        for k in 0..count {
            let realized = 0.01 + slope * previous + 0.05 * (k as f64 * 2.7).sin();
            let session = HORIZON * k;
            let day = Day::from_ymd_opt(2010, 1, 1).unwrap() + chrono::Days::new(session as u64);
            made.push(ReturnWindow { session, day, previous, realized, other_mean: None });
            previous = realized;
        }
        made
    }

    #[test]
    fn the_slope_is_least_squares_on_what_had_matured() {
        let all = windows(40, 0.5);
        let record = combined_means(&all, HORIZON);
        assert_eq!(record.first().map(|w| w.session), Some(SLOPE_WINDOWS * HORIZON));
        let known = &all[..SLOPE_WINDOWS];
        let mean = |of: fn(&ReturnWindow) -> f64| known.iter().map(of).sum::<f64>() / known.len() as f64;
        let (x, y) = (mean(|w| w.previous), mean(|w| w.realized));
        let cross: f64 = known.iter().map(|w| (w.previous - x) * (w.realized - y)).sum();
        let slope = cross / known.iter().map(|w| (w.previous - x).powi(2)).sum::<f64>();
        let expected = y + slope * (all[SLOPE_WINDOWS].previous - x);
        assert!((record[0].forecast - expected).abs() < 1e-12 && (record[0].benchmark - y).abs() < 1e-12);
        assert!((record[0].loss - (all[SLOPE_WINDOWS].realized - expected).powi(2)).abs() < 1e-15);
    }

    #[test]
    fn later_windows_change_no_earlier_forecast() {
        let all = windows(60, 0.3);
        let (long, short) = (combined_means(&all, HORIZON), combined_means(&all[..45], HORIZON));
        assert_eq!(long[..short.len()], short);
        // A decision within the horizon of the last one does not know its outcome.
        let mut overlapping = all[..31].to_vec();
        overlapping[30].session -= 1;
        assert!(combined_means(&overlapping, HORIZON).is_empty());
    }

    #[test]
    fn means_are_combined_at_equal_weights() {
        let mut all = windows(40, 0.5);
        let alone = combined_means(&all, HORIZON);
        all.iter_mut().for_each(|w| w.other_mean = Some(0.04));
        let both = combined_means(&all, HORIZON);
        assert_eq!(both[0].session, MEAN_WINDOWS * HORIZON);
        assert!((both[0].forecast - 0.04).abs() < 1e-12, "alone until the slope is fitted");
        let last = both.last().unwrap();
        assert!((last.forecast - f64::midpoint(alone.last().unwrap().forecast, 0.04)).abs() < 1e-12);
        assert_eq!(last.benchmark, alone.last().unwrap().benchmark);
    }

    #[test]
    fn constant_returns_have_no_slope() {
        let mut all = windows(50, 0.0);
        all.iter_mut().for_each(|w| w.previous = 0.01);
        assert!(combined_means(&all, HORIZON).is_empty());
    }
}

//! Symmetric split conformal calibration: the odd map from normal scores to standardized returns.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// The nine served quantiles.
pub const QUANTILE_LEVELS: [f64; 9] = [0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95];

/// Scores below which nothing is calibrated and the map stays Gaussian.
pub const SCORES_MIN: usize = 100;

/// Upper quantile levels that are calibrated; by symmetry the lower ones follow and the median is 0.
const KNOT_LEVELS: [f64; 4] = [0.6, 0.75, 0.9, 0.95];

/// Q_h: odd, nondecreasing and continuous, so that `m + sigma Q_h(z)` with z standard normal has calibrated quantiles.
///
/// Through 0 and the four calibrated points (normal score of the level, conformal quantile) it is piecewise linear in
/// the normal score; beyond the outermost point it is proportional to z, so the outer tail is a normal one that meets
/// the widest calibrated interval. Linear pieces keep order, inverse and exponential moment exact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct QuantileMap {
    fields: Fields,
    /// Normal scores and values, from the origin up.
    knots: [(f64, f64); 5],
}

/// What is stored of a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Fields {
    /// Conformal quantiles of the absolute standardized error at the four levels, before `scale`.
    widths: [f64; 4],
    /// Adaptive factor on all widths.
    scale: f64,
    /// Scores behind the widths; below [`SCORES_MIN`] the widths are Gaussian.
    scores: usize,
}

/// Why stored numbers are no quantile map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantileMapError {
    /// The widths fall, are not finite, or the outermost is not above 0.
    #[error("quantile widths must be finite, not negative, ascending, and end above 0")]
    Widths,
    /// The scale is not a positive number.
    #[error("the scale of a quantile map must be finite and above 0")]
    Scale,
}

/// The conformal quantile: the `ceil((n + 1)(1 - miss_rate))`-th smallest of n scores, which a further exchangeable
/// score exceeds with probability at most `miss_rate` (Vovk et al. 2005). `None` when that index exceeds n.
///
/// `sorted` must ascend.
#[must_use]
pub fn conformal_quantile(sorted: &[f64], miss_rate: f64) -> Option<f64> {
    // The slack undoes the rounding of levels such as 1 - .9, which would move a whole index up.
    let index = ((sorted.len() + 1) as f64 * (1.0 - miss_rate) - 1e-9).ceil().max(1.0) as usize;
    sorted.get(index - 1).copied()
}

impl QuantileMap {
    /// The map of a Gaussian law: the identity.
    #[must_use]
    pub fn gaussian() -> Self {
        Self::from_fields(Fields { widths: KNOT_LEVELS.map(normal_score), scale: 1.0, scores: 0 })
    }

    /// Calibrates on scores `|r - m| / sigma_forecast` of forecasts whose outcome is known, pooled over instruments and
    /// days; values that are not finite are left out. Gaussian with fewer than [`SCORES_MIN`] scores, or when no score
    /// in the calibrated range is above 0.
    #[must_use]
    pub fn fit(scores: &[f64]) -> Self {
        let mut sorted: Vec<f64> = scores.iter().filter(|s| s.is_finite()).map(|s| s.abs()).collect();
        sorted.sort_by(f64::total_cmp);
        let widths = KNOT_LEVELS.map(|level| conformal_quantile(&sorted, 2.0 * (1.0 - level)).unwrap_or(0.0));
        if sorted.len() < SCORES_MIN || widths[3] <= 0.0 {
            return Self::gaussian();
        }
        Self::from_fields(Fields { widths, scale: 1.0, scores: sorted.len() })
    }

    /// The same map with another adaptive factor on all widths; a factor that is not finite and above 0 counts as 1.
    #[must_use]
    pub fn with_scale(&self, scale: f64) -> Self {
        let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
        Self::from_fields(Fields { scale, ..self.fields.clone() })
    }

    /// Whether scores stand behind the map; otherwise it is Gaussian.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        self.fields.scores >= SCORES_MIN
    }

    /// Number of scores behind the map, 0 for a Gaussian one.
    #[must_use]
    pub fn scores(&self) -> usize {
        self.fields.scores
    }

    /// Adaptive factor on all widths.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.fields.scale
    }

    /// Q_h(z): odd and nondecreasing.
    #[must_use]
    pub fn apply(&self, z: f64) -> f64 {
        let piece = self.pieces().find(|p| z.abs() <= p.end).unwrap_or(self.tail());
        (piece.intercept + piece.slope * z.abs()).copysign(z)
    }

    /// The normal score that the map takes to a value; where the map is flat, the score of the flat piece next to 0.
    #[must_use]
    pub fn invert(&self, value: f64) -> f64 {
        let reaches = |p: &Piece| value.abs() <= p.intercept + p.slope * p.end;
        let piece = self.pieces().find(reaches).unwrap_or(self.tail());
        let score = if piece.slope > 0.0 { (value.abs() - piece.intercept) / piece.slope } else { piece.start };
        score.copysign(value)
    }

    /// Quantile of the standardized return at a level in (0, 1).
    #[must_use]
    pub fn quantile(&self, level: f64) -> f64 {
        self.apply(normal_score(level))
    }

    /// `P(Q_h(z) <= value)` for z standard normal.
    #[must_use]
    pub fn probability_below(&self, value: f64) -> f64 {
        normal_cdf(self.invert(value))
    }

    /// `E[exp(sigma Q_h(z))]` for z standard normal, in closed form piece by piece:
    /// integral of exp(a + b z) f(z) over (s, e) = exp(a + b^2 / 2) (F(e - b) - F(s - b)). `exp(sigma^2 / 2)` when
    /// Gaussian.
    #[must_use]
    pub fn exponential_moment(&self, sigma: f64) -> f64 {
        let side = |piece: Piece, sign: f64| {
            let (a, b) = (sign * sigma * piece.intercept, sign * sigma * piece.slope);
            (a + b * b / 2.0).exp() * (normal_cdf(piece.end - b) - normal_cdf(piece.start - b))
        };
        self.pieces().chain([self.tail()]).map(|piece| side(piece, 1.0) + side(piece, -1.0)).sum()
    }

    fn from_fields(fields: Fields) -> Self {
        let mut knots = [(0.0, 0.0); 5];
        for (k, level) in KNOT_LEVELS.into_iter().enumerate() {
            knots[k + 1] = (normal_score(level), fields.widths[k] * fields.scale);
        }
        Self { fields, knots }
    }

    fn pieces(&self) -> impl Iterator<Item = Piece> {
        self.knots.windows(2).map(|w| {
            let slope = (w[1].1 - w[0].1) / (w[1].0 - w[0].0);
            Piece { start: w[0].0, end: w[1].0, slope, intercept: w[0].1 - slope * w[0].0 }
        })
    }

    fn tail(&self) -> Piece {
        let (start, value) = self.knots[4];
        Piece { start, end: f64::INFINITY, slope: value / start, intercept: 0.0 }
    }
}

/// One linear piece, for z >= 0.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: f64,
    end: f64,
    slope: f64,
    intercept: f64,
}

impl TryFrom<Fields> for QuantileMap {
    type Error = QuantileMapError;
    fn try_from(fields: Fields) -> Result<Self, QuantileMapError> {
        let widths = fields.widths;
        if !(widths[0] >= 0.0 && widths.is_sorted() && widths[3] > 0.0 && widths[3].is_finite()) {
            return Err(QuantileMapError::Widths);
        }
        if !(fields.scale.is_finite() && fields.scale > 0.0) {
            return Err(QuantileMapError::Scale);
        }
        Ok(Self::from_fields(fields))
    }
}

impl From<QuantileMap> for Fields {
    fn from(map: QuantileMap) -> Self {
        map.fields
    }
}

/// Standard normal quantile of a level in (0, 1).
pub(crate) fn normal_score(level: f64) -> f64 {
    Normal::standard().inverse_cdf(level)
}

/// Standard normal distribution function.
pub(crate) fn normal_cdf(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StudentT};
    use statrs::distribution::{Binomial, DiscreteCDF};

    fn student_scores(count: usize, seed: u64) -> Vec<f64> {
        let law = StudentT::new(4.0).unwrap();
        law.sample_iter(ChaCha8Rng::seed_from_u64(seed)).map(f64::abs).take(count).collect()
    }

    #[test]
    fn the_index_is_the_published_one() {
        let sorted: Vec<f64> = (1..=19).map(f64::from).collect();
        assert_eq!(conformal_quantile(&sorted, 0.1), Some(18.0));
        assert_eq!(conformal_quantile(&sorted, 0.5), Some(10.0));
        assert_eq!(conformal_quantile(&sorted, 0.05), Some(19.0));
        assert_eq!(conformal_quantile(&sorted, 0.04), None);
        assert_eq!(conformal_quantile(&[], 0.1), None);
    }

    /// Scores of one round: independent ones, ones that share the round's scale and so are exchangeable only, and ones
    /// with many ties.
    fn rounds_of(law: usize, size: usize, round: u64) -> Vec<f64> {
        let mut scores = student_scores(size + 1, round);
        let common = scores.pop().unwrap_or(1.0);
        match law {
            0 => {}
            1 => scores.iter_mut().for_each(|s| *s *= 0.1 + common),
            _ => scores.iter_mut().for_each(|s| *s = (*s * 4.0).round()),
        }
        scores
    }

    /// Chance, at most, with which a test of the bounds fails by bad luck.
    const LUCK: f64 = 1e-7;

    /// Whether so many covered in that many rounds are plausible for a coverage within the bounds, by exact binomial tails.
    fn within(covered: u64, rounds: u64, miss_rate: f64, size: usize, has_ties: bool) -> bool {
        let lowest = Binomial::new(1.0 - miss_rate, rounds).unwrap();
        let highest = Binomial::new((1.0 - miss_rate + 1.0 / (size + 1) as f64).min(1.0), rounds).unwrap();
        // Ties can only cover more.
        lowest.cdf(covered) > LUCK && (has_ties || covered == 0 || highest.sf(covered - 1) > LUCK)
    }

    #[test]
    fn coverage_on_exchangeable_scores_keeps_the_finite_sample_bound() {
        // 1 - miss <= P(covered) <= 1 - miss + 1 / (n + 1).
        let rounds = 4000;
        for (size, miss_rate, law) in [(9, 0.1), (19, 0.1), (19, 0.5), (30, 0.2), (57, 0.05)]
            .into_iter()
            .flat_map(|(n, m)| (0..3).map(move |l| (n, m, l)))
        {
            let covered = (0..rounds).filter(|round| {
                let mut scores = rounds_of(law, size + 1, *round);
                let next = scores.pop().unwrap();
                scores.sort_by(f64::total_cmp);
                next <= conformal_quantile(&scores, miss_rate).unwrap()
            });
            let covered = covered.count() as u64;
            assert!(within(covered, rounds, miss_rate, size, law == 2), "{size} {miss_rate} {law}: {covered}");
        }
    }

    #[test]
    fn the_served_map_keeps_the_finite_sample_bound_at_every_calibrated_level() {
        let (rounds, size) = (3000, 119);
        for law in 0..2 {
            let games: Vec<(QuantileMap, f64)> = (0..rounds)
                .map(|round| {
                    let mut scores = rounds_of(law, size + 1, round);
                    let next = scores.pop().unwrap();
                    (QuantileMap::fit(&scores), next)
                })
                .collect();
            for level in KNOT_LEVELS {
                let inside = |(map, next): &&(QuantileMap, f64)| *next <= map.quantile(level) * (1.0 + 1e-12);
                let covered = games.iter().filter(inside).count() as u64;
                assert!(within(covered, rounds, 2.0 * (1.0 - level), size, false), "{law} {level}: {covered}");
            }
        }
    }

    #[test]
    fn too_few_scores_stay_gaussian_and_say_so() {
        let few = QuantileMap::fit(&student_scores(99, 1));
        assert_eq!(few, QuantileMap::gaussian());
        assert!(!few.is_calibrated() && QuantileMap::fit(&student_scores(100, 1)).is_calibrated());
        assert_eq!(QuantileMap::fit(&[0.0; 200]), QuantileMap::gaussian());
        for z in [-3.0, -1.0, -0.1, 0.0, 0.4, 1.4, 5.0] {
            assert!((few.apply(z) - z).abs() < 1e-12);
        }
        assert!((few.exponential_moment(0.3) - 0.045f64.exp()).abs() < 1e-12);
    }

    #[test]
    fn the_exponential_moment_agrees_with_quadrature() {
        let map = QuantileMap::fit(&student_scores(5000, 2)).with_scale(1.1);
        let step = 1e-3;
        let density = |z: f64| (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let sum: f64 = (-9000..9000)
            .map(|k| (f64::from(k) + 0.5) * step)
            .map(|z| (0.25 * map.apply(z)).exp() * density(z) * step)
            .sum();
        assert!((map.exponential_moment(0.25) - sum).abs() < 1e-6);
    }

    #[test]
    fn stored_maps_are_checked_when_read() {
        let map = QuantileMap::fit(&student_scores(500, 3)).with_scale(0.9);
        let json = serde_json::to_string(&map).unwrap();
        assert_eq!(serde_json::from_str::<QuantileMap>(&json).unwrap(), map);
        for bad in [
            r#"{"widths":[0.3,0.2,1.0,2.0],"scale":1.0,"scores":500}"#,
            r#"{"widths":[0.1,0.2,1.0,2.0],"scale":0.0,"scores":500}"#,
            r#"{"widths":[0.0,0.0,0.0,0.0],"scale":1.0,"scores":500}"#,
        ] {
            assert!(serde_json::from_str::<QuantileMap>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_map_is_odd_monotone_and_invertible(seed: u64, a in -6.0f64..6.0, b in -6.0f64..6.0, scale in 0.5f64..2.0) {
            let map = QuantileMap::fit(&student_scores(150, seed)).with_scale(scale);
            prop_assert_eq!(map.apply(a), -map.apply(-a));
            prop_assert!(map.apply(a.min(b)) <= map.apply(a.max(b)));
            prop_assert!((map.invert(map.apply(a)) - a).abs() < 1e-6);
            let levels = QUANTILE_LEVELS.map(|p| map.quantile(p));
            prop_assert!(levels.is_sorted() && levels[4].abs() < 1e-12);
            for (level, value) in QUANTILE_LEVELS.iter().zip(levels) {
                prop_assert!((map.probability_below(value) - level).abs() < 1e-6);
            }
        }
    }
}

//! GARCH(1,1) of one instrument: `h[t+1] = omega + alpha r[t]^2 + beta h[t]` (Bollerslev 1986), returns taken with mean 0.

use argmin::core::{CostFunction, Error, Executor, State};
use argmin::solver::neldermead::NelderMead;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::scenario::volatility_inputs::{Place, VARIANCE_FLOOR, VolatilityInputs};

/// Returns that a fit needs.
pub const GARCH_RETURNS: usize = 500;
/// Largest `alpha + beta` that is looked for; at 1 the variance has no long run.
const PERSISTENCE_LIMIT: f64 = 0.9999;
/// Iterations of the search, at most.
const ITERATIONS: u64 = 120;
/// The search ends when the mean log likelihoods of its corners deviate by less than this.
const TOLERANCE: f64 = 1e-9;
/// Where the search may begin: `(alpha + beta, alpha / (alpha + beta))`, the likeliest of them.
const STARTS: [(f64, f64); 6] = [(0.8, 0.1), (0.9, 0.1), (0.95, 0.05), (0.97, 0.1), (0.99, 0.05), (0.99, 0.1)];
/// Variances whose product is taken before its logarithm. Relative to the long run each is above 1e-4, so that the
/// product of as many stays far from the limits of a double.
const BLOCK: usize = 16;
/// Relative difference up to which the exponential variances of a fit and of an instrument are the same.
const SAME_SERIES: f64 = 1e-9;

/// The law of one instrument's daily variance. `omega` is `long_run_variance (1 - alpha - beta)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Garch {
    /// Weight of the newest squared return, >= 0.
    pub alpha: f64,
    /// Weight of the newest variance, >= 0; `alpha + beta < 1`.
    pub beta: f64,
    /// Daily variance that forecasts revert to, > 0; the recursion begins with it.
    pub long_run_variance: f64,
}

impl Garch {
    /// Gaussian quasi-maximum likelihood with variance targeting (Engle and Mezrich 1996): the long-run variance is the
    /// mean squared return, alpha and beta are searched by Nelder and Mead (1965) over the log odds of
    /// `(alpha + beta) / .9999` and of `alpha / (alpha + beta)`, in at most 120 steps.
    ///
    /// `None` with fewer than [`GARCH_RETURNS`] returns, when they do not move (mean square at or below the floor of all
    /// variances), or when the search does not end in finite numbers.
    #[must_use]
    pub fn fit(squared_returns: &[f64]) -> Option<Self> {
        let long_run_variance = squared_returns.iter().sum::<f64>() / squared_returns.len() as f64;
        if squared_returns.len() < GARCH_RETURNS || long_run_variance.is_nan() || long_run_variance <= VARIANCE_FLOOR {
            return None;
        }
        let relative: Vec<f64> = squared_returns.iter().map(|s| s / long_run_variance).collect();
        let likelihood = Likelihood { relative: &relative };
        let start = likelihood.best_start();
        let simplex = vec![start.to_vec(), vec![start[0] + 0.7, start[1]], vec![start[0], start[1] + 0.7]];
        let solver = NelderMead::new(simplex).with_sd_tolerance(TOLERANCE).ok()?;
        let search = Executor::new(likelihood, solver).configure(|state| state.max_iters(ITERATIONS)).timer(false);
        let found = search.run().ok()?.state().get_best_param().cloned()?;
        let (alpha, beta) = weights(&found);
        (alpha.is_finite() && beta.is_finite()).then_some(Self { alpha, beta, long_run_variance })
    }

    /// Variance of the return that follows one whose variance and square are given.
    #[must_use]
    pub fn next(&self, variance: f64, squared_return: f64) -> f64 {
        let omega = self.long_run_variance * (1.0 - self.alpha - self.beta);
        omega + self.alpha * squared_return + self.beta * variance
    }

    /// Variance of the return after these, the first of which had the given variance.
    #[must_use]
    pub fn filtered(&self, first_variance: f64, squared_returns: impl IntoIterator<Item = f64>) -> f64 {
        squared_returns.into_iter().fold(first_variance, |variance, squared| self.next(variance, squared))
    }

    /// Mean expected variance over the coming `sessions` returns, the first of which has `next_variance` =: h:
    /// `v + (h - v) (1 - p^n) / (n (1 - p))` with v the long run, `p = alpha + beta`, since
    /// `E h[t+k] = v + p^(k-1) (h - v)`.
    #[must_use]
    pub fn mean_variance(&self, next_variance: f64, sessions: usize) -> f64 {
        let (persistence, n) = (self.alpha + self.beta, sessions as f64);
        let share = (1.0 - persistence.powf(n)) / (n * (1.0 - persistence));
        self.long_run_variance + (next_variance - self.long_run_variance) * share
    }
}

/// The law of one instrument as a refit leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InstrumentGarch {
    /// Fitted on all returns up to the refit.
    #[serde(flatten)]
    pub law: Garch,
    /// Variance of the first return after the refit, so that forecasts between refits need not begin at the first return.
    pub next_variance: f64,
    /// The instrument's exponential variance at the refit. It says whose fit this is, in whatever order a later history
    /// holds the instruments; no two of them share it.
    pub exponential_variance: f64,
}

impl InstrumentGarch {
    /// The fit of an instrument among those of a refit; `refit` is the instrument at the session of the refit. `None`
    /// when it had no fit, or when its returns of the year before were revised since.
    #[must_use]
    pub fn of<'a>(fits: &'a [Self], inputs: &VolatilityInputs, refit: Place) -> Option<&'a Self> {
        let own = inputs.exponential_variance(refit.instrument, refit.session)?;
        fits.iter().find(|fit| (fit.exponential_variance / own - 1.0).abs() < SAME_SERIES)
    }

    /// Mean expected daily variance over the `sessions` after a place, by the recursion from `refit` on, or from the first
    /// return when the place lies before it.
    #[must_use]
    pub fn daily_variance(&self, inputs: &VolatilityInputs, path: Path, sessions: usize) -> f64 {
        let Path { instrument, refit, session } = path;
        let (first, variance) = match refit <= session {
            true => (refit + 1, self.next_variance),
            false => (0, self.law.long_run_variance),
        };
        let next = self.law.filtered(variance, squares(inputs, instrument, first, session));
        self.law.mean_variance(next, sessions)
    }
}

/// An instrument, the session of its fit, and that of its forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Index into the history's instruments.
    pub instrument: usize,
    /// Session of the fit.
    pub refit: usize,
    /// Session of the forecast.
    pub session: usize,
}

/// Fits every instrument but indices on its returns up to a session, in the order of the history; those that
/// [`Garch::fit`] refuses are left out.
#[must_use]
pub fn fit_instruments(inputs: &VolatilityInputs, until: usize) -> Vec<InstrumentGarch> {
    let fit = |instrument: usize| {
        let known: Vec<f64> = squares(inputs, instrument, 0, until).collect();
        let law = Garch::fit(&known)?;
        let exponential_variance = inputs.exponential_variance(instrument, until)?;
        let next_variance = law.filtered(law.long_run_variance, known);
        Some(InstrumentGarch { law, next_variance, exponential_variance })
    };
    let fits: Vec<Option<InstrumentGarch>> = (0..inputs.instruments())
        .into_par_iter()
        .map(|i| if inputs.is_index(i, until) { None } else { fit(i) })
        .collect();
    fits.into_iter().flatten().collect()
}

/// Squared log returns of a span of sessions, both ends included; missing ones are passed over.
fn squares(inputs: &VolatilityInputs, instrument: usize, from: usize, until: usize) -> impl Iterator<Item = f64> {
    (from..=until).filter_map(move |session| inputs.variance(instrument, session, 1))
}

/// Position in the search to `(alpha, beta)`.
fn weights(position: &[f64]) -> (f64, f64) {
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    let persistence = PERSISTENCE_LIMIT * logistic(position[0]);
    let alpha = persistence * logistic(position[1]);
    (alpha, persistence - alpha)
}

/// What is minimized, over squared returns relative to their mean.
struct Likelihood<'a> {
    relative: &'a [f64],
}

impl Likelihood<'_> {
    fn best_start(&self) -> [f64; 2] {
        let log_odds = |p: f64| (p / (1.0 - p)).ln();
        let places = STARTS.map(|(p, share)| [log_odds(p / PERSISTENCE_LIMIT), log_odds(share)]);
        let scored = places.map(|place| (self.loss(&place), place));
        scored.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or(places[0], |(_, place)| place)
    }

    /// Mean of `(ln h + r^2 / h) / 2`, the negative mean log likelihood up to a constant.
    fn loss(&self, position: &[f64]) -> f64 {
        let (alpha, beta) = weights(position);
        let omega = 1.0 - alpha - beta;
        let (mut variance, mut sum) = (1.0, 0.0);
        for block in self.relative.chunks(BLOCK) {
            let mut product = 1.0;
            for squared in block {
                product *= variance;
                sum += squared / variance;
                variance = omega + alpha * squared + beta * variance;
            }
            sum += product.ln();
        }
        sum / (2.0 * self.relative.len() as f64)
    }
}

impl CostFunction for Likelihood<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, position: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.loss(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};
    use crate::market::history::History;
    use crate::market::horizon::Horizon;
    use crate::scenario::volatility::{PooledVolatility, VolatilityModel, fit};
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    fn simulated(law: Garch, count: usize, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut variance = law.long_run_variance;
        let draw = |_| {
            let z: f64 = StandardNormal.sample(&mut random);
            let squared = variance * z * z;
            variance = law.next(variance, squared);
            squared
        };
        (0..count).map(draw).collect()
    }

    fn log_odds(alpha: f64, beta: f64) -> [f64; 2] {
        let of = |p: f64| (p / (1.0 - p)).ln();
        [of((alpha + beta) / PERSISTENCE_LIMIT), of(alpha / (alpha + beta))]
    }

    #[test]
    fn likelihood_and_forecast_of_a_tiny_series_agree_with_the_hand() {
        // Squares 1, 4, 1 with mean 2, alpha .2, beta .7, v 2, so omega .2: variances 2, 1.8, 2.26, 2 and next 1.982.
        let law = Garch { alpha: 0.2, beta: 0.7, long_run_variance: 2.0 };
        let variances = [2.0, 0.2 + 0.2 + 1.4, 0.2 + 0.8 + 1.26];
        assert!((law.next(2.0, 1.0) - variances[1]).abs() < 1e-15);
        assert!((law.next(1.8, 4.0) - 2.26).abs() < 1e-15);
        let next = 0.2 + 0.2 * 1.0 + 0.7 * 2.26;
        assert!((law.filtered(2.0, [1.0, 4.0, 1.0]) - next).abs() < 1e-15 && (next - 1.982f64).abs() < 1e-12);
        let by_hand =
            [(2.0f64, 1.0), (1.8, 4.0), (2.26, 1.0)].map(|(h, s)| (h.ln() + s / h) / 2.0).iter().sum::<f64>() / 3.0;
        let relative = [0.5, 2.0, 0.5];
        let loss = Likelihood { relative: &relative }.loss(&log_odds(0.2, 0.7));
        assert!((loss + 2f64.ln() / 2.0 - by_hand).abs() < 1e-12, "{loss} {by_hand}");
        // E h over three days: 1.982, 2 - .018 x .9, 2 - .018 x .81.
        let mean = (1.982 + 1.9838 + 1.98542) / 3.0;
        assert!((law.mean_variance(next, 3) - mean).abs() < 1e-12);
        assert!((law.mean_variance(next, 1) - next).abs() < 1e-12);
    }

    #[test]
    fn known_parameters_are_recovered() {
        let law = Garch { alpha: 0.08, beta: 0.9, long_run_variance: 2e-4 };
        let fits: Vec<Garch> = (0..12).map(|seed| Garch::fit(&simulated(law, 8000, seed)).unwrap()).collect();
        let mean = |of: fn(&Garch) -> f64| fits.iter().map(of).sum::<f64>() / fits.len() as f64;
        // Standard errors of one fit of this length are about .006, .008 and 6 %.
        assert!((mean(|f| f.alpha) - 0.08).abs() < 0.006 && (mean(|f| f.beta) - 0.9).abs() < 0.01, "{fits:?}");
        assert!((mean(|f| f.long_run_variance) / 2e-4 - 1.0).abs() < 0.06);
        assert!(fits.iter().all(|f| (f.alpha - 0.08).abs() < 0.03 && (f.beta - 0.9).abs() < 0.05), "{fits:?}");
    }

    #[test]
    fn the_search_ends_at_the_top_of_a_grid() {
        let squares = simulated(Garch { alpha: 0.1, beta: 0.85, long_run_variance: 1e-4 }, 2000, 5);
        let law = Garch::fit(&squares).unwrap();
        let relative: Vec<f64> = squares.iter().map(|s| s / law.long_run_variance).collect();
        let likelihood = Likelihood { relative: &relative };
        let best = likelihood.loss(&log_odds(law.alpha, law.beta));
        for (a, p) in (1..60).flat_map(|a| (0..80).map(move |p| (f64::from(a) * 0.005, 0.6 + f64::from(p) * 0.005))) {
            assert!(p <= a || likelihood.loss(&log_odds(a, p - a)) > best - 1e-8, "alpha {a} persistence {p}");
        }
    }

    #[test]
    fn short_and_flat_series_have_no_fit() {
        let law = Garch { alpha: 0.08, beta: 0.9, long_run_variance: 2e-4 };
        assert!(Garch::fit(&simulated(law, GARCH_RETURNS, 1)).is_some());
        assert_eq!(Garch::fit(&simulated(law, GARCH_RETURNS - 1, 1)), None);
        assert_eq!(Garch::fit(&[0.0; 600]), None);
        assert_eq!(Garch::fit(&[]), None);
        assert_eq!(Garch::fit(&[f64::NAN; 600]), None);
    }

    #[test]
    fn wild_series_end_in_a_law() {
        let constant = Garch::fit(&[1e-4; 600]).unwrap();
        assert!((constant.mean_variance(1e-4, 20) - 1e-4).abs() < 1e-12);
        let mut crash = vec![1e-5; 1500];
        crash[700] = 0.5;
        let law = Garch::fit(&crash).unwrap();
        assert!(law.alpha >= 0.0 && law.beta >= 0.0 && law.alpha + law.beta < 1.0);
        assert!(law.mean_variance(law.filtered(law.long_run_variance, crash), 252) > 0.0);
    }

    const SAMPLE: Sample = Sample { seed: 4, sessions: 900, instruments: 6, ranges: false, surroundings: true };

    #[test]
    fn stored_fits_find_their_instruments_in_another_order() {
        let history = sample(&SAMPLE);
        let inputs = VolatilityInputs::new(&history);
        let fitted = fit(&inputs, VolatilityModel::Garch11, Horizon::FourWeeks, 700).unwrap();
        let stored: PooledVolatility = serde_json::from_str(&serde_json::to_string(&fitted).unwrap()).unwrap();
        assert_eq!(stored, fitted);
        let mut turned = history.clone();
        turned.instruments.reverse();
        let mut expected = fitted.forecasts(&inputs, 800);
        expected.reverse();
        assert!(expected.iter().flatten().count() >= 5, "{expected:?}");
        assert_eq!(stored.forecasts(&VolatilityInputs::new(&turned), 800), expected);
    }

    #[test]
    fn between_refits_the_recursion_goes_on_from_the_stored_variance() {
        let inputs = VolatilityInputs::new(&sample(&SAMPLE));
        let fitted = fit(&inputs, VolatilityModel::Garch11, Horizon::OneWeek, 700).unwrap();
        for session in [300, 699, 700, 701, 850] {
            let garch = InstrumentGarch::of(&fitted.garch, &inputs, Place { instrument: 0, session: 700 }).unwrap();
            let next = garch.law.filtered(garch.law.long_run_variance, squares(&inputs, 0, 0, session));
            let found = fitted.daily_variance(&inputs, 0, session).unwrap();
            assert_eq!(found, garch.law.mean_variance(next, 5), "{session}");
        }
    }

    #[test]
    fn instruments_with_a_short_past_and_indices_have_no_fit() {
        let history = sample(&SAMPLE);
        let inputs = VolatilityInputs::new(&history);
        let fitted = fit(&inputs, VolatilityModel::Garch11, Horizon::OneWeek, 899).unwrap();
        for (i, forecast) in fitted.forecasts(&inputs, 899).iter().enumerate() {
            let returns = history.instruments[i].log_return.iter().filter(|r| r.is_finite()).count();
            let can = returns >= GARCH_RETURNS && !inputs.is_index(i, 899) && inputs.returns_in_year(i, 899) >= 20;
            assert_eq!(forecast.is_some(), can, "{} with {returns}", history.instruments[i].instrument.symbol);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn later_sessions_change_no_bit(cut in 520usize..890, ahead in 0usize..10) {
            let history = sample(&SAMPLE);
            let known = history.until(history.sessions[cut + ahead]);
            let of = |history: &History| {
                let inputs = VolatilityInputs::new(history);
                let fitted = fit(&inputs, VolatilityModel::Garch11, Horizon::FourWeeks, cut).unwrap();
                let said = fitted.forecasts(&inputs, cut + ahead).into_iter().map(|f| f.map(|f| f.daily_variance.to_bits()));
                let symbols = history.instruments.iter().map(|i| i.instrument.symbol.clone());
                (symbols.zip(said).filter_map(|(symbol, f)| f.map(|f| (symbol, f))).collect::<Vec<_>>(), fitted)
            };
            prop_assert_eq!(of(&known), of(&history));
        }
    }

    proptest! {
        #[test]
        fn the_closed_form_is_the_mean_of_the_recursion(
            persistence in 0.0f64..0.9999, share in 0.0f64..1.0, next in 1e-6f64..1e-2, sessions in 1usize..260,
        ) {
            let alpha = persistence * share;
            let law = Garch { alpha, beta: persistence - alpha, long_run_variance: 2e-4 };
            let (mut expected, mut sum) = (next, 0.0);
            for _ in 0..sessions {
                sum += expected;
                expected = law.next(expected, expected);
            }
            prop_assert!((law.mean_variance(next, sessions) / (sum / sessions as f64) - 1.0).abs() < 1e-9);
        }
    }
}

//! Strengths of players from their games: Bradley and Terry (1952) with the ties of Davidson (1970).
//!
//! `P(i beats j) = pi_i / (pi_i + pi_j + nu sqrt(pi_i pi_j))` and `P(tie) = nu sqrt(pi_i pi_j) / (the same)`. The
//! likelihood is that of an exponential family in `ln pi` and `ln nu`, so it is concave there and its maximum is one.

use nalgebra::{Cholesky, DMatrix, DVector};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::tournament::Tournament;

/// Largest change of a log strength at which the fit has converged.
const CONVERGED: f64 = 1e-12;
/// Sweeps of the MM algorithm; Newton's method goes on from where it is then.
const SWEEPS: usize = 300;
/// Newton steps, which double the digits each.
const STEPS: usize = 60;

/// The strength of one player.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Strength {
    /// `ln pi`; the mean over the players is 0.
    pub log_strength: f64,
    /// Its standard error, from the Fisher information.
    pub standard_error: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
}

/// The strengths of all players.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Strengths {
    /// In the order of the players.
    pub players: Vec<Strength>,
    /// nu: how likely a tie is between equals, `nu / (2 + nu)`; 0 without ties.
    pub tie_parameter: f64,
    /// Probability with which an interval holds its strength, 0..1.
    pub level: f64,
}

/// Why there are no strengths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrengthError {
    /// The level is not between 0 and 1.
    #[error("the level of an interval lies between 0 and 1")]
    Level,
    /// There are not two players.
    #[error("strengths need two players")]
    TooFewPlayers,
    /// Some players never won against or tied with some others, even by way of third ones.
    #[error("the games do not connect {}", .components.iter().map(|c| c.join(", ")).collect::<Vec<_>>().join(" | "))]
    NotConnected {
        /// The players that can be compared with one another.
        components: Vec<Vec<String>>,
    },
    /// Ties outweigh wins so far that the likelihood has no finite maximum, see [`Tournament::decides_ties`].
    #[error("no cycle of results holds more wins than ties")]
    TooFewDecided,
    /// The information is singular to the last digit.
    #[error("the strengths are too far apart for their information")]
    Singular,
}

/// Chances of one game.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chances {
    /// Of winning.
    pub win: f64,
    /// Of losing.
    pub loss: f64,
    /// Of a tie.
    pub tie: f64,
}

/// The chances of a player whose log strength is above the other's by `difference`.
#[must_use]
pub fn chances(difference: f64, tie_parameter: f64) -> Chances {
    // Divided by the stronger of the two, so that nothing overflows.
    let ratio = (-difference.abs()).exp();
    let tie = tie_parameter * ratio.sqrt();
    let total = 1.0 + ratio + tie;
    let (stronger, weaker) = (1.0 / total, ratio / total);
    let (win, loss) = if difference >= 0.0 { (stronger, weaker) } else { (weaker, stronger) };
    Chances { win, loss, tie: tie / total }
}

/// The strengths of the highest likelihood, by the MM algorithm (Hunter 2004, with the arithmetic above the geometric
/// mean in the term of the ties) and Newton's method for the last digits; intervals from the Fisher information under
/// the constraint that log strengths have mean 0.
///
/// Without ties one more win never lowers the winner. With ties a loss turned into a win never narrows the lead over
/// the loser; one more win also makes ties less likely, which in a tournament hardly connected can pull all strengths
/// together, the winner's with them (12 of 60,000 random ones).
///
/// # Errors
/// [`StrengthError`] when the games do not determine them.
pub fn fit(tournament: &Tournament, level: f64) -> Result<Strengths, StrengthError> {
    if !(level > 0.0 && level < 1.0) {
        return Err(StrengthError::Level);
    }
    let players = tournament.players();
    if players.len() < 2 {
        return Err(StrengthError::TooFewPlayers);
    }
    let components = tournament.components();
    if components.len() > 1 {
        let names = |component: &Vec<usize>| component.iter().map(|&i| players[i].clone()).collect();
        return Err(StrengthError::NotConnected { components: components.iter().map(names).collect() });
    }
    let has_ties = tournament.tied_games() > 0;
    if has_ties && !tournament.decides_ties() {
        return Err(StrengthError::TooFewDecided);
    }
    let mut fit = Fit { tournament, log_strengths: vec![0.0; players.len()], log_nu: has_ties.then_some(0.0) };
    fit.sweep_until_converged();
    fit.finish()?;
    let covariance = fit.covariance().ok_or(StrengthError::Singular)?;
    let width = Normal::standard().inverse_cdf(0.5 + level / 2.0);
    let strength = |(i, &log_strength): (usize, &f64)| {
        let standard_error = covariance[(i, i)].max(0.0).sqrt();
        let reach = width * standard_error;
        Strength { log_strength, standard_error, low: log_strength - reach, high: log_strength + reach }
    };
    let players = fit.log_strengths.iter().enumerate().map(strength).collect();
    Ok(Strengths { players, tie_parameter: fit.nu(), level })
}

/// A point on the way to the maximum.
#[derive(Clone)]
struct Fit<'a> {
    tournament: &'a Tournament,
    log_strengths: Vec<f64>,
    /// `None` without ties.
    log_nu: Option<f64>,
}

impl Fit<'_> {
    fn nu(&self) -> f64 {
        self.log_nu.map_or(0.0, f64::exp)
    }

    fn chances(&self, i: usize, j: usize) -> Chances {
        chances(self.log_strengths[i] - self.log_strengths[j], self.nu())
    }

    /// Pairs that played, with their games.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        let (tournament, count) = (self.tournament, self.log_strengths.len());
        let pairs = (0..count).flat_map(move |i| (i + 1..count).map(move |j| (i, j)));
        pairs.map(|(i, j)| (i, j, f64::from(tournament.games_between(i, j)))).filter(|(_, _, games)| *games > 0.0)
    }

    fn sweep_until_converged(&mut self) {
        for _ in 0..SWEEPS {
            if self.sweep() < CONVERGED {
                return;
            }
        }
    }

    /// One sweep over the strengths, then over nu; the largest change.
    fn sweep(&mut self) -> f64 {
        let count = self.log_strengths.len();
        let mut expected = vec![0.0; count];
        for (i, j, games) in self.pairs() {
            let chances = self.chances(i, j);
            expected[i] += games * (chances.win + chances.tie / 2.0);
            expected[j] += games * (chances.loss + chances.tie / 2.0);
        }
        let scored = |i: usize| {
            let tally = self.tournament.tally(i);
            f64::from(tally.wins) + f64::from(tally.ties) / 2.0
        };
        let changes: Vec<f64> = (0..count).map(|i| (scored(i) / expected[i]).ln()).collect();
        let mean = changes.iter().sum::<f64>() / count as f64;
        let mut largest: f64 = 0.0;
        for (log_strength, change) in self.log_strengths.iter_mut().zip(&changes) {
            *log_strength += change - mean;
            largest = largest.max((change - mean).abs());
        }
        if let Some(log_nu) = self.log_nu {
            let expected: f64 = self.pairs().map(|(i, j, games)| games * self.chances(i, j).tie).sum();
            let change = (f64::from(self.tournament.tied_games()) / expected).ln();
            self.log_nu = Some(log_nu + change);
            largest = largest.max(change.abs());
        }
        largest
    }

    /// Newton's method with halved steps until nothing is gained.
    fn finish(&mut self) -> Result<(), StrengthError> {
        for _ in 0..STEPS {
            let covariance = self.covariance().ok_or(StrengthError::Singular)?;
            let step = covariance * self.gradient();
            if step.amax() < CONVERGED || !self.improve(&step) {
                break;
            }
        }
        let mean = self.log_strengths.iter().sum::<f64>() / self.log_strengths.len() as f64;
        self.log_strengths.iter_mut().for_each(|s| *s -= mean);
        Ok(())
    }

    /// Goes the step or a fraction of it, the first that does not lower the likelihood by more than its rounding;
    /// `false` when none does.
    fn improve(&mut self, step: &DVector<f64>) -> bool {
        let before = self.log_likelihood();
        let rounding = 1e-12 * (1.0 + before.abs());
        let count = self.log_strengths.len();
        for fraction in [1.0, 0.5, 0.25, 0.125, 0.0625] {
            let moved = |from: f64, k: usize| from + fraction * step[k];
            let log_strengths = self.log_strengths.iter().enumerate().map(|(k, &from)| moved(from, k)).collect();
            let log_nu = self.log_nu.map(|from| moved(from, count));
            let next = Fit { tournament: self.tournament, log_strengths, log_nu };
            if next.log_likelihood() >= before - rounding {
                *self = next;
                return true;
            }
        }
        false
    }

    fn log_likelihood(&self) -> f64 {
        let weighed = |games: u32, chance: f64| if games > 0 { f64::from(games) * chance.ln() } else { 0.0 };
        let of_pair = |(i, j, _): (usize, usize, f64)| {
            let chances = self.chances(i, j);
            weighed(self.tournament.wins_over(i, j), chances.win)
                + weighed(self.tournament.wins_over(j, i), chances.loss)
                + weighed(self.tournament.ties_between(i, j), chances.tie)
        };
        self.pairs().map(of_pair).sum()
    }

    /// Derivatives of the log likelihood by the log strengths and, with ties, by ln nu.
    fn gradient(&self) -> DVector<f64> {
        let count = self.log_strengths.len();
        let mut gradient = DVector::zeros(count + usize::from(self.log_nu.is_some()));
        for (i, j, games) in self.pairs() {
            let chances = self.chances(i, j);
            let (won, lost) = (self.tournament.wins_over(i, j), self.tournament.wins_over(j, i));
            // What a player scores above the other: the halves of ties cancel.
            let surplus = f64::from(won) - f64::from(lost) - games * (chances.win - chances.loss);
            gradient[i] += surplus / 2.0;
            gradient[j] -= surplus / 2.0;
            if self.log_nu.is_some() {
                gradient[count] += f64::from(self.tournament.ties_between(i, j)) - games * chances.tie;
            }
        }
        gradient
    }

    /// Pseudo-inverse of the Fisher information: the covariance where log strengths have mean 0.
    ///
    /// A game scores `y` in {-1/2, 0, 1/2} for the first, `-y` for the second, and counts a tie; the information is the
    /// covariance of these. It leaves the direction in which all strengths rise together, so that direction is filled
    /// before the inversion and emptied after it.
    fn covariance(&self) -> Option<DMatrix<f64>> {
        let count = self.log_strengths.len();
        let size = count + usize::from(self.log_nu.is_some());
        let mut information = DMatrix::zeros(size, size);
        for (i, j, games) in self.pairs() {
            let Chances { win, loss, tie } = self.chances(i, j);
            let of_score = games * ((win + loss) / 4.0 - ((win - loss) / 2.0).powi(2));
            let with_ties = -games * tie * (win - loss) / 2.0;
            information[(i, i)] += of_score;
            information[(j, j)] += of_score;
            information[(i, j)] -= of_score;
            information[(j, i)] -= of_score;
            if size > count {
                for (k, sign) in [(i, 1.0), (j, -1.0)] {
                    information[(k, count)] += sign * with_ties;
                    information[(count, k)] += sign * with_ties;
                }
                information[(count, count)] += games * tie * (1.0 - tie);
            }
        }
        let fill = information.trace() / (count * size) as f64;
        information.view_mut((0, 0), (count, count)).add_scalar_mut(fill);
        let mut covariance = Cholesky::new(information)?.inverse();
        covariance.view_mut((0, 0), (count, count)).add_scalar_mut(-1.0 / (fill * (count * count) as f64));
        Some(covariance)
    }
}

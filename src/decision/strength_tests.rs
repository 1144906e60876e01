//! Strengths against published numbers and on a thousand random tournaments.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::decision::strength::{Chances, StrengthError, Strengths, chances, fit};
use crate::decision::tournament::Tournament;

fn players(count: usize) -> Tournament {
    Tournament::new((0..count).map(|i| format!("p{i}")).collect())
}

fn log_strengths(strengths: &Strengths) -> Vec<f64> {
    strengths.players.iter().map(|p| p.log_strength).collect()
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance
}

fn below(generator: &mut ChaCha8Rng, bound: u32) -> u32 {
    generator.next_u32() % bound
}

/// Random games of two to nine players, every second tournament with ties, that have strengths.
fn random_tournaments(seed: u64) -> impl Iterator<Item = Tournament> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let random = move || {
        let mut tournament = players(2 + below(&mut generator, 8) as usize);
        let (with_ties, most) = (generator.next_u32().is_multiple_of(2), 1 + below(&mut generator, 12));
        for i in 0..tournament.players().len() {
            for j in (0..tournament.players().len()).filter(|j| *j != i) {
                let games = if below(&mut generator, 3) == 0 { 0 } else { below(&mut generator, most + 1) };
                tournament.add_wins(i, j, games);
                if with_ties && i < j {
                    tournament.add_ties(i, j, below(&mut generator, most + 1));
                }
            }
        }
        tournament
    };
    std::iter::repeat_with(random).filter(|t| fit(t, 0.9).is_ok())
}

/// Derivatives of the log likelihood, straight from the model's formula.
fn gradient(tournament: &Tournament, fitted: &Strengths) -> Vec<f64> {
    let log_likelihood = |shift: &dyn Fn(usize) -> f64, log_nu: f64| {
        let count = tournament.players().len();
        let strength = |i: usize| (fitted.players[i].log_strength + shift(i)).exp();
        let nu = fitted.tie_parameter * log_nu.exp();
        let mut sum = 0.0;
        for i in 0..count {
            for j in 0..i {
                let (a, b) = (strength(i), strength(j));
                let total = (a + b + nu * (a * b).sqrt()).ln();
                let won = f64::from(tournament.wins_over(i, j));
                let lost = f64::from(tournament.wins_over(j, i));
                sum += won * (a.ln() - total) + lost * (b.ln() - total);
                if tournament.ties_between(i, j) > 0 {
                    sum += f64::from(tournament.ties_between(i, j)) * ((nu * (a * b).sqrt()).ln() - total);
                }
            }
        }
        sum
    };
    let step = 1e-5;
    let by = |k: usize| {
        let at = |h: f64| log_likelihood(&|i| if i == k { h } else { 0.0 }, 0.0);
        (at(step) - at(-step)) / (2.0 * step)
    };
    let mut found: Vec<f64> = (0..tournament.players().len()).map(by).collect();
    if fitted.tie_parameter > 0.0 {
        found.push((log_likelihood(&|_| 0.0, step) - log_likelihood(&|_| 0.0, -step)) / (2.0 * step));
    }
    found
}

#[test]
fn strengths_have_the_expected_values() {
    let mut tournament = players(3);
    for (i, j, games) in [(0, 1, 7), (0, 2, 8), (1, 0, 3), (1, 2, 6), (2, 0, 2), (2, 1, 4)] {
        tournament.add_wins(i, j, games);
    }
    let found = fit(&tournament, 0.9).unwrap();
    for (strength, expected) in log_strengths(&found).into_iter().zip([0.740_569_94, -0.149_102_26, -0.591_467_68]) {
        assert!(close(strength, expected, 1e-8), "{strength} is not {expected}");
    }
    assert_eq!(found.tie_parameter, 0.0);
    let mut two = players(2);
    two.add_wins(0, 1, 7);
    two.add_wins(1, 0, 3);
    let found = fit(&two, 0.95).unwrap();
    assert!(close(found.players[0].log_strength - found.players[1].log_strength, 0.847_297_86, 1e-8));
    // The difference is a logit with the standard error 1 / sqrt(n p q); each strength is half of it.
    let standard_error = 0.5 / (10.0_f64 * 0.7 * 0.3).sqrt();
    assert!(close(found.players[0].standard_error, standard_error, 1e-9));
    assert!(close(found.players[0].high - found.players[0].log_strength, 1.959_963_984_540 * standard_error, 1e-9));
}

#[test]
fn two_players_with_ties_have_their_shares() {
    let mut tournament = players(2);
    tournament.add_wins(0, 1, 12);
    tournament.add_wins(1, 0, 3);
    tournament.add_ties(0, 1, 15);
    let found = fit(&tournament, 0.9).unwrap();
    let difference = found.players[0].log_strength - found.players[1].log_strength;
    // With one pair the model is saturated: chances are shares, pi_0 / pi_1 = 4, nu = 15 / sqrt(12 x 3).
    assert!(close(difference, 4.0_f64.ln(), 1e-10) && close(found.tie_parameter, 2.5, 1e-10));
    let Chances { win, loss, tie } = chances(difference, found.tie_parameter);
    assert!(close(win, 0.4, 1e-10) && close(loss, 0.1, 1e-10) && close(tie, 0.5, 1e-10));
}

#[test]
fn what_games_do_not_say_is_refused() {
    assert_eq!(fit(&players(1), 0.9), Err(StrengthError::TooFewPlayers));
    let mut tournament = players(3);
    tournament.add_wins(0, 1, 2);
    tournament.add_wins(1, 0, 1);
    assert_eq!(fit(&tournament, 1.0), Err(StrengthError::Level));
    tournament.add_wins(0, 2, 5);
    let refused = fit(&tournament, 0.9).unwrap_err();
    assert_eq!(refused.to_string(), "the games do not connect p0, p1 | p2");
    let StrengthError::NotConnected { components } = refused else { panic!("{refused}") };
    assert_eq!(components, [vec!["p0", "p1"], vec!["p2"]]);
    let mut tied = players(3);
    tied.add_ties(0, 1, 9);
    tied.add_ties(1, 2, 9);
    tied.add_wins(0, 1, 1);
    assert_eq!(fit(&tied, 0.9), Err(StrengthError::TooFewDecided));
}

#[test]
fn the_likelihood_is_flat_at_the_fit() {
    for tournament in random_tournaments(1).take(1500) {
        let found = fit(&tournament, 0.9).unwrap();
        assert!(log_strengths(&found).iter().sum::<f64>().abs() < 1e-9);
        assert_eq!(found.tie_parameter > 0.0, tournament.tied_games() > 0);
        let games = f64::from(tournament.games());
        for derivative in gradient(&tournament, &found) {
            assert!(derivative.abs() < 1e-7 * games, "{derivative} in {tournament:?}");
        }
    }
}

/// The tournament with players moved and every count of games changed.
fn changed(
    tournament: &Tournament,
    place: impl Fn(usize) -> usize,
    wins: impl Fn(usize, usize, u32) -> u32,
    ties: impl Fn(u32) -> u32,
) -> Tournament {
    let count = tournament.players().len();
    let mut other = players(count);
    for i in 0..count {
        for j in (0..count).filter(|j| *j != i) {
            other.add_wins(place(i), place(j), wins(i, j, tournament.wins_over(i, j)));
            if i < j {
                other.add_ties(place(i), place(j), ties(tournament.ties_between(i, j)));
            }
        }
    }
    other
}

#[test]
fn relabelling_relabels() {
    for tournament in random_tournaments(2).take(1000) {
        let count = tournament.players().len();
        let place = |i: usize| (i + 1) % count;
        let turned = changed(&tournament, place, |_, _, games| games, |games| games);
        let (one, other) = (fit(&tournament, 0.9).unwrap(), fit(&turned, 0.9).unwrap());
        assert!(close(one.tie_parameter, other.tie_parameter, 1e-7 * one.tie_parameter.max(1.0)));
        for i in 0..count {
            let (a, b) = (one.players[i], other.players[place(i)]);
            assert!(close(a.log_strength, b.log_strength, 1e-9) && close(a.standard_error, b.standard_error, 1e-7));
        }
    }
}

#[test]
fn twice_the_games_narrow_the_intervals_by_the_root_of_two() {
    for tournament in random_tournaments(3).take(1000) {
        let doubled = changed(&tournament, |i| i, |_, _, games| 2 * games, |games| 2 * games);
        let (one, two) = (fit(&tournament, 0.9).unwrap(), fit(&doubled, 0.9).unwrap());
        for (a, b) in one.players.iter().zip(&two.players) {
            assert!(close(a.log_strength, b.log_strength, 1e-8));
            assert!(close((a.high - a.low) / (b.high - b.low), 2.0_f64.sqrt(), 1e-6));
        }
    }
}

/// Two different players of a tournament.
fn pair(generator: &mut ChaCha8Rng, tournament: &Tournament) -> (usize, usize) {
    let count = tournament.players().len() as u32;
    let one = below(generator, count);
    (one as usize, ((one + 1 + below(generator, count - 1)) % count) as usize)
}

#[test]
fn without_ties_one_more_win_never_lowers_the_winner() {
    let mut generator = ChaCha8Rng::seed_from_u64(4);
    for tournament in random_tournaments(5).filter(|t| t.tied_games() == 0).take(1500) {
        let (winner, loser) = pair(&mut generator, &tournament);
        let mut more = tournament.clone();
        more.add_wins(winner, loser, 1);
        let before = fit(&tournament, 0.9).unwrap().players[winner].log_strength;
        let after = fit(&more, 0.9).unwrap().players[winner].log_strength;
        assert!(after > before - 1e-9, "{winner} against {loser} in {tournament:?}");
    }
}

#[test]
fn a_loss_turned_into_a_win_never_narrows_the_lead() {
    let mut generator = ChaCha8Rng::seed_from_u64(6);
    let mut cases = 0;
    for tournament in random_tournaments(7).filter(|t| t.tied_games() > 0) {
        let (winner, loser) = pair(&mut generator, &tournament);
        let turned = |i: usize, j: usize, games: u32| match (i, j) {
            _ if tournament.wins_over(loser, winner) == 0 => games,
            pair if pair == (winner, loser) => games + 1,
            pair if pair == (loser, winner) => games - 1,
            _ => games,
        };
        let more = changed(&tournament, |i| i, turned, |games| games);
        let lead = |s: &Strengths| s.players[winner].log_strength - s.players[loser].log_strength;
        let Ok(after) = fit(&more, 0.9) else { continue };
        assert!(lead(&after) > lead(&fit(&tournament, 0.9).unwrap()) - 1e-8, "{winner}, {loser} in {tournament:?}");
        cases += usize::from(more != tournament);
        if cases == 1000 {
            return;
        }
    }
}

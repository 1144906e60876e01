//! Games between ways of responding: who earned more in a calendar quarter, pair by pair.
//!
//! A player says one action for every instrument on every decision day and earns their realized payoff, averaged over
//! the universe. Two players meet once a quarter; the paired test over the quarter's days decides, else it is a tie.

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::quarter::Quarter;
use super::tournament::Tournament;
use crate::evaluation::short_series::short_series_test;
use crate::market::bar::Day;

/// What one player did on a decision day, and what it was worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Response {
    /// Names the actions of the day, see [`response_digest`].
    pub digest: u64,
    /// Realized payoff, the mean over the universe, as a fraction of one unit held.
    pub payoff: f64,
}

/// A matured decision day.
#[derive(Debug, Clone, PartialEq)]
pub struct ContestDay {
    /// The decision day; its calendar quarter is the round.
    pub day: Day,
    /// What each player did, in the order of the players; `None` where a player was not there.
    pub responses: Vec<Option<Response>>,
}

/// How a game is decided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GameRule {
    /// Decision days that one horizon overlaps, at least 1.
    pub overlap: usize,
    /// A two-sided p-value below it is a win, 0..1.
    pub level: f64,
    /// Common days below which a game is a tie.
    pub days_minimum: usize,
}

/// How a game ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GameOutcome {
    /// The first player earned more.
    FirstWins,
    /// The second player earned more.
    SecondWins,
    /// The difference can be chance, or there was none.
    Tie,
}

/// One game.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Game {
    /// The round.
    pub quarter: Quarter,
    /// The player named first.
    pub first: String,
    /// The other one.
    pub second: String,
    /// Who won.
    pub outcome: GameOutcome,
    /// Payoff of the first less that of the second, averaged over the days.
    pub mean_difference: f64,
    /// Two-sided; `None` where the responses were the same, the days too few or the difference constant.
    pub p_value: Option<f64>,
    /// Decision days on which both were there.
    pub days: usize,
}

/// Why there are no games.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContestError {
    /// The overlap is 0, or the level is not between 0 and 1.
    #[error("the overlap is at least 1 and the level lies between 0 and 1")]
    Rule,
    /// A day has more or fewer responses than there are players.
    #[error("the day {0} does not hold one response for each player")]
    Responses(Day),
    /// A day does not come after the one before it.
    #[error("the day {0} is out of order")]
    Order(Day),
}

/// The digest of one player's actions on a day, instruments in a fixed order, `None` where one has no action: FNV-1a
/// with 64 bits (Fowler, Noll and Vo 1991). Equal actions have equal digests.
#[must_use]
pub fn response_digest(actions: &[Option<Action>]) -> u64 {
    let code = |action: &Option<Action>| action.map_or(0, |a| a.index() as u64 + 1);
    actions.iter().map(code).fold(0xcbf2_9ce4_8422_2325, |hash, code| (hash ^ code).wrapping_mul(0x0100_0000_01b3))
}

/// All games, by quarter and then by pair in the order of the players. Two players who were never there on the same
/// day of a quarter have no game in it. Payoffs that are not finite count as absent.
///
/// # Errors
/// [`ContestError`] when the rule or the days are not what they must be.
pub fn play_games(players: &[String], days: &[ContestDay], rule: &GameRule) -> Result<Vec<Game>, ContestError> {
    if rule.overlap == 0 || !(rule.level > 0.0 && rule.level < 1.0) {
        return Err(ContestError::Rule);
    }
    if let Some(wrong) = days.iter().find(|d| d.responses.len() != players.len()) {
        return Err(ContestError::Responses(wrong.day));
    }
    if let Some(pair) = days.windows(2).find(|pair| pair[0].day >= pair[1].day) {
        return Err(ContestError::Order(pair[1].day));
    }
    let mut games = vec![];
    for round in days.chunk_by(|a, b| Quarter::of(a.day) == Quarter::of(b.day)) {
        for first in 0..players.len() {
            for second in first + 1..players.len() {
                games.extend(play(players, round, (first, second), rule));
            }
        }
    }
    Ok(games)
}

fn play(players: &[String], round: &[ContestDay], (first, second): (usize, usize), rule: &GameRule) -> Option<Game> {
    let present = |day: &ContestDay, player: usize| day.responses[player].filter(|r| r.payoff.is_finite());
    let common: Vec<(Response, Response)> =
        round.iter().filter_map(|day| Some((present(day, first)?, present(day, second)?))).collect();
    let quarter = Quarter::of(round.first().filter(|_| !common.is_empty())?.day);
    let differences: Vec<f64> = common.iter().map(|(a, b)| a.payoff - b.payoff).collect();
    let same = common.iter().all(|(a, b)| a.digest == b.digest);
    let is_tested = !same && common.len() >= rule.days_minimum;
    let test = is_tested.then(|| short_series_test(&differences, rule.overlap)).flatten();
    let p_value = test.map(|t| t.p_value_two_sided);
    let mean_difference = differences.iter().sum::<f64>() / differences.len() as f64;
    let outcome = match p_value {
        Some(p) if p < rule.level && mean_difference > 0.0 => GameOutcome::FirstWins,
        Some(p) if p < rule.level && mean_difference < 0.0 => GameOutcome::SecondWins,
        _ => GameOutcome::Tie,
    };
    let (first, second) = (players[first].clone(), players[second].clone());
    Some(Game { quarter, first, second, outcome, mean_difference, p_value, days: common.len() })
}

/// The games counted. Games of players who are not named are left out.
#[must_use]
pub fn tournament(players: &[String], games: &[Game]) -> Tournament {
    let mut counted = Tournament::new(players.to_vec());
    let place = |name: &String| players.iter().position(|player| player == name);
    for game in games {
        let (Some(first), Some(second)) = (place(&game.first), place(&game.second)) else { continue };
        match game.outcome {
            GameOutcome::FirstWins => counted.add_wins(first, second, 1),
            GameOutcome::SecondWins => counted.add_wins(second, first, 1),
            GameOutcome::Tie => counted.add_ties(first, second, 1),
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    const RULE: GameRule = GameRule { overlap: 1, level: 0.10, days_minimum: 5 };

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("p{i}")).collect()
    }

    /// One day a week from the beginning of 2016; `payoffs` gives a digest and a payoff by day and player.
    fn weeks(count: usize, players: usize, payoff: impl Fn(usize, usize) -> Option<(u64, f64)>) -> Vec<ContestDay> {
        let first: Day = "2016-01-04".parse().unwrap();
        let response = |t: usize, p: usize| payoff(t, p).map(|(digest, payoff)| Response { digest, payoff });
        let day = |t: usize| first + chrono::Days::new(7 * t as u64);
        (0..count)
            .map(|t| ContestDay { day: day(t), responses: (0..players).map(|p| response(t, p)).collect() })
            .collect()
    }

    fn wobble(t: usize) -> f64 {
        [0.01, -0.02, 0.015, -0.005, 0.0][t % 5]
    }

    #[test]
    fn the_better_wins_the_same_tie_the_absent_do_not_play() {
        // p1 earns more than p0, p2 responds as p0, p3 comes in the second quarter, p4 stays away.
        let days = weeks(26, 5, |t, p| match p {
            0 | 2 => Some((1, wobble(t))),
            1 => Some((2, wobble(t + 1) + 0.05)),
            3 => (t >= 13).then(|| (3, wobble(t + 2))),
            _ => None,
        });
        let players = names(5);
        let games = play_games(&players, &days, &RULE).unwrap();
        assert_eq!(games.len(), 3 + 6);
        let first = &games[0];
        assert_eq!((first.quarter.to_string().as_str(), first.days), ("2016-Q1", 13));
        assert_eq!(first.outcome, GameOutcome::SecondWins);
        assert!(first.mean_difference < -0.04 && first.p_value.unwrap() < 1e-3);
        let same = games.iter().filter(|g| g.first == "p0" && g.second == "p2");
        assert!(
            same.clone().count() == 2 && same.clone().all(|g| g.outcome == GameOutcome::Tie && g.p_value.is_none())
        );
        let close = games.iter().find(|g| g.first == "p0" && g.second == "p3").unwrap();
        assert!(close.outcome == GameOutcome::Tie && close.p_value.unwrap() > 0.1);
        let counted = tournament(&players, &games);
        assert_eq!((counted.wins_over(1, 0), counted.ties_between(0, 2), counted.games()), (2, 2, 9));
        assert_eq!(counted.tally(4).ties, 0);
    }

    #[test]
    fn few_days_constant_differences_and_missing_payoffs_decide_nothing() {
        let few = play_games(&names(2), &weeks(4, 2, |t, p| Some((p as u64, p as f64 + wobble(t * (p + 1))))), &RULE);
        assert_eq!((few.as_ref().unwrap()[0].p_value, few.as_ref().unwrap()[0].days), (None, 4));
        let constant = play_games(&names(2), &weeks(13, 2, |_, p| Some((p as u64, 0.5 * p as f64))), &RULE).unwrap();
        assert_eq!((constant[0].outcome, constant[0].p_value), (GameOutcome::Tie, None));
        assert_eq!(constant[0].mean_difference, -0.5);
        let holes = weeks(13, 2, |t, p| Some((p as u64, if t < 8 { f64::NAN } else { wobble(t * (p + 1)) })));
        assert_eq!(play_games(&names(2), &holes, &RULE).unwrap()[0].days, 5);
    }

    #[test]
    fn wrong_input_is_refused() {
        let mut days = weeks(3, 2, |_, _| None);
        for rule in [GameRule { overlap: 0, ..RULE }, GameRule { level: 0.0, ..RULE }] {
            assert_eq!(play_games(&names(2), &days, &rule), Err(ContestError::Rule));
        }
        assert_eq!(play_games(&names(3), &days, &RULE), Err(ContestError::Responses(days[0].day)));
        days[2].day = days[1].day;
        assert_eq!(play_games(&names(2), &days, &RULE), Err(ContestError::Order(days[1].day)));
    }

    #[test]
    fn digests_tell_actions_apart() {
        let (sell, hold) = (Some(Action::Sell), Some(Action::Hold));
        let all = [vec![], vec![None], vec![sell], vec![hold], vec![sell, hold], vec![hold, sell], vec![None, sell]];
        let digests: std::collections::BTreeSet<u64> = all.iter().map(|a| response_digest(a)).collect();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn without_any_difference_one_game_in_ten_is_decided() {
        for overlap in [1, 4] {
            let mut generator = ChaCha8Rng::seed_from_u64(7);
            let (weeks_count, players) = (13 * 400, 4);
            let shocks: Vec<f64> =
                (0..(weeks_count + 3) * players).map(|_| StandardNormal.sample(&mut generator)).collect();
            let payoff = |t: usize, p: usize| (0..overlap).map(|k| shocks[(t + k) * players + p]).sum::<f64>();
            let days = weeks(weeks_count, players, |t, p| Some((p as u64, payoff(t, p))));
            let games = play_games(&names(players), &days, &GameRule { overlap, ..RULE }).unwrap();
            let decided = games.iter().filter(|g| g.outcome != GameOutcome::Tie).count() as f64 / games.len() as f64;
            println!("overlap {overlap}: {decided:.3} of {} games decided", games.len());
            assert!((0.07..0.12).contains(&decided));
        }
    }
}

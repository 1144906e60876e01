//! Where the players of a contest stand: games won, lost and tied, and strengths as far as the games determine them.

use serde::{Deserialize, Serialize};

use super::contest::{Game, GameRule, tournament};
use super::quarter::Quarter;
use super::strength::{Strength, StrengthError, fit};
use crate::opinion::canonical::rounded_to;

/// Where one player stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Who.
    pub player: String,
    /// Games won.
    pub wins: u32,
    /// Games lost.
    pub losses: u32,
    /// Games tied.
    pub ties: u32,
    /// `None` until the games determine it.
    pub strength: Option<Strength>,
}

/// Why there are no strengths, a word of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoStrengths {
    /// Some players never won against or tied with some others, even by way of third ones.
    NotConnected,
    /// No games, or so few decided ones that the likelihood has no finite maximum.
    TooFewGames,
}

impl NoStrengths {
    /// `not_connected` or `too_few_games`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::TooFewGames => "too_few_games",
        }
    }
}

/// The result of a contest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standings {
    /// How the games were decided.
    pub rule: GameRule,
    /// Games played.
    pub games: u32,
    /// The quarter of the first game.
    pub first_quarter: Option<Quarter>,
    /// The quarter of the last game.
    pub last_quarter: Option<Quarter>,
    /// Probability with which an interval holds its strength.
    pub interval_level: f64,
    /// nu of Davidson's model; 0 without ties.
    pub tie_parameter: Option<f64>,
    /// Why there are no strengths.
    pub reason: Option<NoStrengths>,
    /// Players that can be compared with one another; one component when the graph is strongly connected.
    pub components: Vec<Vec<String>>,
    /// The strongest first; without strengths by the share of points (a tie is half a point), then by name.
    pub players: Vec<Standing>,
}

impl Standings {
    /// Counts the games and fits the strengths; `interval_level` lies between 0 and 1.
    #[must_use]
    pub fn of(players: &[String], games: &[Game], rule: GameRule, interval_level: f64) -> Self {
        let counted = tournament(players, games);
        let names = |component: &Vec<usize>| component.iter().map(|&i| players[i].clone()).collect();
        let fitted = fit(&counted, interval_level);
        let reason = fitted.as_ref().err().map(|error| match error {
            StrengthError::NotConnected { .. } if counted.games() > 0 => NoStrengths::NotConnected,
            _ => NoStrengths::TooFewGames,
        });
        let fitted = fitted.ok();
        let standing = |(i, player): (usize, &String)| {
            let tally = counted.tally(i);
            Standing {
                player: player.clone(),
                wins: tally.wins,
                losses: tally.losses,
                ties: tally.ties,
                strength: fitted.as_ref().map(|f| f.players[i]),
            }
        };
        let mut standings: Vec<Standing> = players.iter().enumerate().map(standing).collect();
        standings.sort_by(|a, b| merit(b).total_cmp(&merit(a)).then_with(|| a.player.cmp(&b.player)));
        Self {
            rule,
            games: counted.games(),
            first_quarter: games.iter().map(|g| g.quarter).min(),
            last_quarter: games.iter().map(|g| g.quarter).max(),
            interval_level,
            tie_parameter: fitted.as_ref().map(|f| f.tie_parameter),
            reason,
            components: counted.components().iter().map(names).collect(),
            players: standings,
        }
    }

    /// Whether every player can be compared with every other.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.components.len() == 1 && self.games > 0
    }

    /// Log strength of a player.
    #[must_use]
    pub fn log_strength(&self, player: &str) -> Option<f64> {
        self.players.iter().find(|s| s.player == player)?.strength.map(|s| s.log_strength)
    }
}

/// What players are ordered by: strengths in one fit are all there or all absent. Nine decimals, so that the last bits of
/// a fit do not order players of equal results.
fn merit(standing: &Standing) -> f64 {
    let games = standing.wins + standing.losses + standing.ties;
    let points = f64::from(standing.wins) + f64::from(standing.ties) / 2.0;
    let share = if games > 0 { points / f64::from(games) } else { -1.0 };
    rounded_to(standing.strength.map_or(share, |s| s.log_strength), 9)
}

#[cfg(test)]
mod tests {
    use super::super::contest::GameOutcome;
    use super::*;

    const RULE: GameRule = GameRule { overlap: 4, level: 0.10, days_minimum: 8 };

    fn game(quarter: &str, first: &str, second: &str, outcome: GameOutcome) -> Game {
        let (first, second) = (first.to_owned(), second.to_owned());
        let quarter = quarter.parse().unwrap();
        Game { quarter, first, second, outcome, mean_difference: 0.0, p_value: None, days: 13 }
    }

    #[test]
    fn the_strongest_stands_first() {
        use GameOutcome::{FirstWins, SecondWins, Tie};
        let players = ["calm", "bold", "late"].map(str::to_owned);
        let mut games = vec![
            game("2016-Q2", "calm", "bold", FirstWins),
            game("2016-Q1", "calm", "bold", FirstWins),
            game("2016-Q3", "calm", "bold", SecondWins),
            game("2016-Q3", "calm", "bold", Tie),
        ];
        let early = Standings::of(&players, &games, RULE, 0.9);
        assert_eq!((early.reason, early.connected()), (Some(NoStrengths::NotConnected), false));
        assert_eq!(early.components, [vec!["calm", "bold"], vec!["late"]]);
        assert_eq!(early.players.iter().map(|s| s.player.as_str()).collect::<Vec<_>>(), ["calm", "bold", "late"]);
        assert!(early.players.iter().all(|s| s.strength.is_none()));
        games.push(game("2017-Q1", "bold", "late", Tie));
        games.push(game("2017-Q2", "bold", "late", SecondWins));
        let whole = Standings::of(&players, &games, RULE, 0.9);
        assert_eq!((whole.reason, whole.connected(), whole.games), (None, true, 6));
        assert_eq!(whole.first_quarter.unwrap().to_string(), "2016-Q1");
        assert_eq!(whole.last_quarter.unwrap().to_string(), "2017-Q2");
        assert_eq!(whole.players[2].player, "bold");
        assert!(whole.log_strength("late").unwrap() > whole.log_strength("bold").unwrap());
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Standings>(&text).unwrap(), whole);
    }

    #[test]
    fn no_games_and_only_ties_are_too_few() {
        let players = ["a", "b"].map(str::to_owned);
        assert_eq!(Standings::of(&players, &[], RULE, 0.9).reason, Some(NoStrengths::TooFewGames));
        let tied = Standings::of(&players, &[game("2016-Q1", "a", "b", GameOutcome::Tie)], RULE, 0.9);
        assert_eq!((tied.reason, tied.connected()), (Some(NoStrengths::TooFewGames), true));
    }
}

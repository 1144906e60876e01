//! Counts of wins, losses and ties between players, and whether strengths can be read off them.

/// Every pair's wins and ties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tournament {
    players: Vec<String>,
    wins: Vec<Vec<u32>>,
    ties: Vec<Vec<u32>>,
}

/// Wins, losses and ties of one player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Games won.
    pub wins: u32,
    /// Games lost.
    pub losses: u32,
    /// Games tied.
    pub ties: u32,
}

impl Tournament {
    /// A tournament before its first game.
    #[must_use]
    pub fn new(players: Vec<String>) -> Self {
        let none = vec![vec![0; players.len()]; players.len()];
        Self { players, wins: none.clone(), ties: none }
    }

    /// Adds games that `winner` won against `loser`.
    ///
    /// # Panics
    /// When a position is not a player's, or both are the same.
    pub fn add_wins(&mut self, winner: usize, loser: usize, games: u32) {
        assert_ne!(winner, loser, "nobody plays against oneself");
        self.wins[winner][loser] += games;
    }

    /// Adds tied games of two players.
    ///
    /// # Panics
    /// When a position is not a player's, or both are the same.
    pub fn add_ties(&mut self, one: usize, other: usize, games: u32) {
        assert_ne!(one, other, "nobody plays against oneself");
        self.ties[one][other] += games;
        self.ties[other][one] += games;
    }

    /// The names, in the order given.
    #[must_use]
    pub fn players(&self) -> &[String] {
        &self.players
    }

    /// Games that the first won against the second.
    #[must_use]
    pub fn wins_over(&self, winner: usize, loser: usize) -> u32 {
        self.wins[winner][loser]
    }

    /// Games of the two that ended in a tie.
    #[must_use]
    pub fn ties_between(&self, one: usize, other: usize) -> u32 {
        self.ties[one][other]
    }

    /// Games of the two.
    #[must_use]
    pub fn games_between(&self, one: usize, other: usize) -> u32 {
        self.wins[one][other] + self.wins[other][one] + self.ties[one][other]
    }

    /// What a player has won, lost and tied.
    #[must_use]
    pub fn tally(&self, player: usize) -> Tally {
        Tally {
            wins: self.wins[player].iter().sum(),
            losses: self.wins.iter().map(|row| row[player]).sum(),
            ties: self.ties[player].iter().sum(),
        }
    }

    /// All tied games.
    #[must_use]
    pub fn tied_games(&self) -> u32 {
        self.ties.iter().flatten().sum::<u32>() / 2
    }

    /// All games.
    #[must_use]
    pub fn games(&self) -> u32 {
        self.wins.iter().flatten().sum::<u32>() + self.tied_games()
    }

    /// The strongly connected components of the graph with an edge from `i` to `j` where `i` beat `j` or tied with it at
    /// least once; in the order of their first players. Strengths of different components cannot be compared.
    #[must_use]
    pub fn components(&self) -> Vec<Vec<usize>> {
        let count = self.players.len();
        let edge = |i: usize, j: usize| i == j || self.wins[i][j] > 0 || self.ties[i][j] > 0;
        let mut reached: Vec<Vec<bool>> = (0..count).map(|i| (0..count).map(|j| edge(i, j)).collect()).collect();
        for through in 0..count {
            let onward = reached[through].clone();
            for row in reached.iter_mut().filter(|row| row[through]) {
                row.iter_mut().zip(&onward).for_each(|(known, more)| *known |= more);
            }
        }
        let together = |i: usize, j: usize| reached[i][j] && reached[j][i];
        let first = (0..count).filter(|&i| !(0..i).any(|j| together(i, j)));
        first.map(|i| (i..count).filter(|&j| together(i, j)).collect()).collect()
    }

    /// Whether some cycle of results holds more wins than ties, a tie going both ways.
    ///
    /// Without one there are scores `u` with `u_i >= u_j + 1` where `i` beat `j` and `|u_i - u_j| <= 1` where they tied;
    /// spreading the strengths along `u` while ties become as much more likely never lowers the likelihood of Davidson's
    /// model, so it has no finite maximum even in a connected graph. Such scores are the potentials of a graph with
    /// lengths -1 for wins and +1 for ties, which has them exactly if no cycle is negative (Bellman 1958).
    #[must_use]
    pub fn decides_ties(&self) -> bool {
        let count = self.players.len();
        let length = |i: usize, j: usize| match (self.wins[i][j], self.ties[i][j]) {
            (0, 0) => None,
            (0, _) => Some(1),
            _ => Some(-1),
        };
        let edges: Vec<(usize, usize, i64)> =
            (0..count).flat_map(|i| (0..count).filter_map(move |j| Some((i, j, length(i, j)?)))).collect();
        let mut distance = vec![0_i64; count];
        for _ in 0..count {
            let mut changed = false;
            for &(from, to, length) in &edges {
                if distance[from] + length < distance[to] {
                    distance[to] = distance[from] + length;
                    changed = true;
                }
            }
            if !changed {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn players(count: usize) -> Tournament {
        Tournament::new((0..count).map(|i| format!("p{i}")).collect())
    }

    #[test]
    fn games_are_counted_for_both() {
        let mut tournament = players(3);
        tournament.add_wins(0, 1, 7);
        tournament.add_wins(1, 0, 3);
        tournament.add_ties(0, 2, 2);
        assert_eq!(tournament.tally(0), Tally { wins: 7, losses: 3, ties: 2 });
        assert_eq!(tournament.tally(2), Tally { wins: 0, losses: 0, ties: 2 });
        assert_eq!((tournament.games_between(1, 0), tournament.games(), tournament.tied_games()), (10, 12, 2));
    }

    #[test]
    fn who_only_loses_stands_apart() {
        let mut tournament = players(4);
        assert_eq!(tournament.components(), [[0], [1], [2], [3]]);
        tournament.add_wins(0, 2, 1);
        tournament.add_wins(2, 3, 1);
        tournament.add_wins(3, 0, 1);
        tournament.add_wins(1, 2, 5);
        assert_eq!(tournament.components(), [vec![0, 2, 3], vec![1]]);
        tournament.add_ties(1, 3, 1);
        assert_eq!(tournament.components(), [[0, 1, 2, 3]]);
    }

    #[test]
    fn ties_need_a_cycle_with_more_wins() {
        let mut tournament = players(3);
        tournament.add_ties(0, 1, 3);
        tournament.add_ties(1, 2, 3);
        assert!(!tournament.decides_ties());
        // Better by one step each: the ties allow it.
        tournament.add_wins(0, 1, 2);
        tournament.add_wins(1, 2, 2);
        assert_eq!(tournament.components().len(), 1);
        assert!(!tournament.decides_ties());
        // Two wins and one tie round the circle.
        tournament.add_ties(2, 0, 1);
        assert!(tournament.decides_ties());
        let mut both_ways = players(2);
        both_ways.add_wins(0, 1, 1);
        both_ways.add_wins(1, 0, 1);
        assert!(both_ways.decides_ties());
    }
}

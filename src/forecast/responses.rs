//! What is learnt from the games of the past: how strong each player is, which action paid in which market state, and how
//! sure the served action may be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decision::action::{Action, PerAction};
use crate::decision::comparison::{Comparison, ComparisonData, ComparisonRule, Preference};
use crate::decision::confidence::{BootstrapRule, RESAMPLES, ServedDays, confidence};
use crate::decision::contest::{ContestDay, ContestError, Game, GameRule, Response, play_games, response_digest};
use crate::decision::quarter::Quarter;
use crate::decision::standings::Standings;
use crate::features::states::MarketStates;
use crate::forecast::next_state::{NextStateSeat, judge_next_state};
use crate::forecast::past_games::{PastDay, PastGames, PastRequest, PastRow, past_games};
use crate::forecast::prepared::Prepared;
use crate::forecast::settings::ForecastSettings;
use crate::forecast::training::FitError;
use crate::learning::reward::{RewardError, RewardModel, RewardPair, RewardSettings, train_reward};
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;

/// Horizons over which players meet: a quarter holds at least three of their windows. Longer ones would make games of
/// days that share their outcomes.
pub const GAME_HORIZONS: [Horizon; 2] = [Horizon::OneWeek, Horizon::FourWeeks];
/// Two-sided level below which a game is won.
const GAME_LEVEL: f64 = 0.10;
/// Days below which a game is a tie and a state of a quarter is not compared.
const DAYS_MINIMUM: usize = 5;
/// Level of the intervals of strengths.
const INTERVAL_LEVEL: f64 = 0.9;

/// What is kept with a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Responses {
    /// The players, in the order of [`Horizon::ALL`]; `None` at horizons without games.
    pub standings: [Option<Standings>; 5],
    /// What the actions are worth by state; `None` without comparisons.
    pub reward: Option<RewardModel>,
    /// By horizon, how sure each action is where it is the served one; `None` with too few windows.
    pub confidence: BTreeMap<Symbol, [PerAction<Option<f64>>; 5]>,
    /// Whether the network's next-state head speaks in the decision process.
    pub next_state: Option<NextStateSeat>,
}

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub enum ResponsesError {
    /// The days are no contest.
    #[error(transparent)]
    Contest(#[from] ContestError),
    /// The reward model could not be trained.
    #[error(transparent)]
    Reward(#[from] RewardError),
}

/// What was learnt, and the comparisons that the rewards were learnt from.
#[derive(Debug, Clone, Default)]
pub struct Learnt {
    /// What is kept with a model.
    pub responses: Responses,
    /// By horizon, quarter, state and pair.
    pub comparisons: Vec<Comparison>,
}

/// Plays all games of the past and learns from them.
///
/// # Errors
/// [`FitError`] when a fold cannot be read or the reward model cannot be trained.
pub fn learn(request: &PastRequest<'_>, settings: &ForecastSettings) -> Result<Learnt, FitError> {
    let (prepared, until) = (request.prepared, request.until);
    let mut learnt = Learnt::default();
    let instruments = &prepared.history.instruments;
    let mut confident = vec![[PerAction::default(); 5]; instruments.len()];
    for horizon in Horizon::ALL {
        // One horizon at a time: the rows of all of them together would take several times the memory.
        let Some(games) = past_games(request, &[horizon])?.pop() else { continue };
        let has_games = GAME_HORIZONS.contains(&horizon);
        let contest =
            has_games.then(|| Contest::of(prepared, &games, until)).transpose().map_err(ResponsesError::from)?;
        if let Some(contest) = &contest {
            learnt.responses.standings[horizon.index()] = Some(contest.standings(until));
            learnt.comparisons.extend(comparisons(prepared, &games, until));
        }
        let served = served_actions(&games, contest.as_ref(), settings);
        let of_horizon = confidences(instruments.len(), &games, &served, settings.seed);
        confident.iter_mut().zip(of_horizon).for_each(|(all, of_horizon)| all[horizon.index()] = of_horizon);
    }
    let symbols = instruments.iter().map(|i| i.instrument.symbol.clone());
    learnt.responses.confidence = symbols.zip(confident).collect();
    if !learnt.comparisons.is_empty() {
        learnt.responses.reward = Some(reward(&learnt.comparisons, settings.seed).map_err(ResponsesError::from)?);
    }
    if let Some((walker, _)) = request.recipe {
        let states = MarketStates::new(&prepared.history);
        learnt.responses.next_state = judge_next_state(walker, &states, settings.prior_weeks);
    }
    Ok(learnt)
}

/// The games between the players at one horizon, by quarter.
#[derive(Debug, Clone)]
pub struct Contest {
    /// Names of the players.
    pub players: Vec<String>,
    /// How games are decided.
    pub rule: GameRule,
    /// Games and the session from whose close on each was known.
    games: Vec<(usize, Game)>,
}

impl Contest {
    /// Plays all quarters of a horizon that had ended, with the last of their horizons, by the close of a session.
    ///
    /// # Errors
    /// [`ContestError`].
    pub fn of(prepared: &Prepared, past: &PastGames, until: usize) -> Result<Self, ContestError> {
        let overlap = past.overlap();
        let rule = GameRule { overlap, level: GAME_LEVEL, days_minimum: DAYS_MINIMUM.max(2 * overlap) };
        let sessions = &prepared.history.sessions;
        let known = known_from(prepared, past);
        let day = |day: &PastDay| ContestDay { day: sessions[day.session], responses: responses(day, &past.players) };
        let days: Vec<ContestDay> =
            past.days.iter().map(day).filter(|d| d.responses.iter().any(Option::is_some)).collect();
        let games = play_games(&past.players, &days, &rule)?.into_iter();
        let games =
            games.filter_map(|game| Some((*known.get(&game.quarter)?, game))).filter(|(from, _)| *from <= until);
        Ok(Self { players: past.players.clone(), rule, games: games.collect() })
    }

    /// Where the players stood by the close of a session.
    #[must_use]
    pub fn standings(&self, session: usize) -> Standings {
        let known: Vec<Game> = self.games.iter().filter(|(from, _)| *from <= session).map(|(_, g)| g.clone()).collect();
        Standings::of(&self.players, &known, self.rule, INTERVAL_LEVEL)
    }

    /// Sessions after whose close the standings change, ascending.
    #[must_use]
    pub fn changes(&self) -> Vec<usize> {
        let mut changes: Vec<usize> = self.games.iter().map(|(from, _)| *from).collect();
        changes.sort_unstable();
        changes.dedup();
        changes
    }
}

/// The weight of a model in the belief: `exp(log strength)`, so that two models are believed as they would win; `None`
/// without strengths.
#[must_use]
pub fn belief(standings: Option<&Standings>, model: &str) -> Option<f64> {
    standings?.log_strength(model).map(f64::exp)
}

/// The action that would have been served on every decision day, in the order of days and rows: with the belief that
/// the games known by then support.
#[must_use]
pub fn served_actions(games: &PastGames, contest: Option<&Contest>, settings: &ForecastSettings) -> Vec<Vec<Action>> {
    let changes = contest.map(Contest::changes).unwrap_or_default();
    let mut standings: Option<Standings> = None;
    let mut passed = 0;
    let mut served = Vec::with_capacity(games.days.len());
    for day in &games.days {
        let known = changes.partition_point(|from| *from <= day.session);
        if known > passed {
            passed = known;
            standings = contest.map(|c| c.standings(day.session));
        }
        let believed = |name: &str| belief(standings.as_ref(), name);
        served.push(day.rows.iter().map(|row| row.served(&settings.game, &believed)).collect());
    }
    served
}

/// Comparisons of the actions by quarter and market state, of quarters known by the close of a session.
#[must_use]
pub fn comparisons(prepared: &Prepared, games: &PastGames, until: usize) -> Vec<Comparison> {
    let overlap = games.overlap();
    let rule = ComparisonRule { overlap, level: GAME_LEVEL, days_minimum: DAYS_MINIMUM.max(2 * overlap) };
    let mut data = ComparisonData::new(games.horizon, rule);
    let known = known_from(prepared, games);
    for day in &games.days {
        let decided_on = prepared.history.sessions[day.session];
        if known.get(&Quarter::of(decided_on)).is_some_and(|from| *from <= until) {
            for (state, payoffs) in day.rows.iter().filter_map(|row| Some((row.state?, row.payoffs()?))) {
                data.add(decided_on, state, &payoffs);
            }
        }
    }
    data.comparisons()
}

/// Trains the reward model on comparisons.
///
/// # Errors
/// [`RewardError`].
pub fn reward(comparisons: &[Comparison], seed: u64) -> Result<RewardModel, RewardError> {
    let pairs: Vec<RewardPair> = comparisons.iter().map(pair).collect();
    train_reward(&pairs, &RewardSettings { seed, ..RewardSettings::default() })
}

/// How sure each action of each instrument is at a horizon where it is the served one, by instrument of the history.
#[must_use]
pub fn confidences(
    instruments: usize,
    games: &PastGames,
    served: &[Vec<Action>],
    seed: u64,
) -> Vec<PerAction<Option<f64>>> {
    let mut earned: Vec<PerAction<Vec<PerAction<f64>>>> = vec![PerAction::default(); instruments];
    let mut open = PerAction::from_fn(|_| true);
    for (day, served) in games.days.iter().zip(served) {
        for (row, action) in day.rows.iter().zip(served) {
            open = PerAction::from_fn(|action| row.terms.holder.can(action));
            if let Some(payoffs) = row.payoffs() {
                earned[row.instrument][*action].push(payoffs);
            }
        }
    }
    let rule = BootstrapRule { overlap: games.overlap(), resamples: RESAMPLES, seed };
    let of_action = |earned: &PerAction<Vec<PerAction<f64>>>, action: Action| {
        confidence(&ServedDays { action, open, payoffs: &earned[action] }, &rule).ok().map(|c| c.value)
    };
    earned.iter().map(|earned| PerAction::from_fn(|action| of_action(earned, action))).collect()
}

/// What each player did on a day and what it was worth on average. Instruments count on which everybody spoke who spoke
/// that day, so that all are judged on the same ones.
fn responses(day: &PastDay, players: &[String]) -> Vec<Option<Response>> {
    let spoke: Vec<bool> = (0..players.len()).map(|k| day.rows.iter().any(|row| row.responses[k].is_some())).collect();
    let complete = |row: &&PastRow| spoke.iter().zip(&row.responses).all(|(spoke, said)| !spoke || said.is_some());
    let rows: Vec<(&PastRow, PerAction<f64>)> =
        day.rows.iter().filter(complete).filter_map(|row| Some((row, row.payoffs()?))).collect();
    let response = |k: usize| {
        let actions: Vec<Option<Action>> = rows.iter().map(|(row, _)| row.responses[k]).collect();
        let earned: f64 = rows.iter().zip(&actions).filter_map(|((_, p), action)| Some(p[(*action)?])).sum();
        Response { digest: response_digest(&actions), payoff: earned / rows.len() as f64 }
    };
    spoke.iter().enumerate().map(|(k, spoke)| (*spoke && !rows.is_empty()).then(|| response(k))).collect()
}

/// By quarter, the session at whose close all its outcomes were known; quarters that are not over have none.
fn known_from(prepared: &Prepared, past: &PastGames) -> BTreeMap<Quarter, usize> {
    let sessions = &prepared.history.sessions;
    let mut known: BTreeMap<Quarter, usize> = BTreeMap::new();
    for session in 1..sessions.len() {
        let before = Quarter::of(sessions[session - 1]);
        // The last decision day of a quarter is at most its last session.
        if before != Quarter::of(sessions[session]) {
            known.insert(before, session - 1 + past.horizon.sessions());
        }
    }
    known
}

fn pair(comparison: &Comparison) -> RewardPair {
    let (better, worse) = comparison.chosen_and_rejected();
    let quarter = comparison.quarter.ordinal();
    RewardPair {
        state: comparison.state,
        horizon: comparison.horizon,
        better,
        worse,
        tie: comparison.outcome == Preference::Tie,
        quarter,
        // The last outcomes of a quarter fall into the next one.
        known_from: quarter + 2,
    }
}

//! `forecastd payoffs`: what the decisions of the past would have paid, printed as it is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use chrono::Datelike;
use serde_json::json;
use tokio::runtime::Handle;

use crate::cli::research::PayoffsArgs;
use crate::decision::action::{Action, MixedStrategy};
use crate::decision::comparison::{Comparison, to_jsonl};
use crate::decision::policy::policy;
use crate::decision::process::HolderProcess;
use crate::decision::standings::Standings;
use crate::evaluation::payoffs::PayoffTable;
use crate::features::price_basis::PriceBasis;
use crate::features::states::MarketStates;
use crate::forecast::calibration::Calibration;
use crate::forecast::day::{DayForecast, DayInputs, forecast_day};
use crate::forecast::past_games::{PastGames, PastRequest, PastRow, past_games};
use crate::forecast::payoffs::{PayoffRequest, Strategy, payoff_table, surely};
use crate::forecast::players::BENCHMARK_PLAYERS;
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_sources::RatingSources;
use crate::forecast::responses::{Contest, GAME_HORIZONS, belief, comparisons, reward, served_actions};
use crate::forecast::settings::ForecastSettings;
use crate::forecast::state::ModelState;
use crate::forecast::training::{FitRequest, fit_benchmarks};
use crate::forecast::walker::{Folds, Walker};
use crate::jobs::progress::Phase;
use crate::jobs::shelf::StoreShelf;
use crate::jobs::train::{CODE_VERSION, recipe, settings};
use crate::learning::device::device_named;
use crate::learning::reward::RewardModel;
use crate::learning::training::Control;
use crate::market::horizon::Horizon;
use crate::publication::process_day::{ProcessDay, usual_settings};
use crate::store::history::{LoadedHistory, Revisions, load};
use crate::store::open::Store;
use crate::store::pool;

/// Walks and writes `payoffs.md`, `payoffs.json` and `comparisons.jsonl`.
///
/// # Errors
/// When the store fails, holds no prices, no decision day lies in the span, or a file cannot be written.
pub async fn payoffs(store: &Store, arguments: &PayoffsArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        GAME_HORIZONS.contains(&arguments.horizon),
        "players meet over 5 and 20 sessions only; --horizon {} has no games",
        arguments.horizon.sessions()
    );
    anyhow::ensure!(arguments.from <= arguments.to, "--from {} lies after --to {}", arguments.from, arguments.to);
    let cutoff = pool::cutoff(&store.pool).await?;
    let loaded = load(&store.pool, cutoff, cutoff, Revisions::First).await?;
    anyhow::ensure!(
        !loaded.history.sessions.is_empty(),
        "the store holds no prices; import some first: forecastd import FOLDER"
    );
    let (arguments, simulated) = (arguments.clone(), store.simulated);
    let shelf = StoreShelf { pool: store.pool.clone(), runtime: Handle::current() };
    tokio::task::spawn_blocking(move || run(loaded, &arguments, &shelf, simulated)).await?
}

fn run(loaded: LoadedHistory, arguments: &PayoffsArgs, shelf: &StoreShelf, simulated: bool) -> anyhow::Result<()> {
    fs::create_dir_all(&arguments.out).with_context(|| format!("{} cannot be made", arguments.out.display()))?;
    let last = loaded.history.decision_day().context("the history has no session")?;
    let prepared = Prepared::new(loaded.history.until(last));
    let recipe = recipe(&arguments.recipe);
    let request = FitRequest {
        settings: settings(&arguments.recipe),
        recipe: &recipe,
        data_hash: hex::encode(loaded.inputs_hash),
        horizons: &Horizon::ALL,
    };
    let phase = Phase::start("payoffs", "steps", 0);
    let control = Control {
        threads: arguments.recipe.threads as usize,
        progress: &|_| phase.advance(1),
        cancelled: &AtomicBool::new(false),
        device: device_named(arguments.recipe.device.as_str())?,
    };
    let until = prepared.sessions() - 1;
    phase.note("fitting benchmarks");
    let benchmarks = fit_benchmarks(&prepared, &request, until);
    let folds = Folds { shelf, train_missing: true };
    let mut walker = Walker::begin(&prepared, &request, folds, &benchmarks, until);
    phase.extend((walker.missing(until)? * recipe.members * recipe.epochs) as u64);
    phase.note("walking through the past");
    walker.advance(until, &control)?;
    walker.settle(until)?;
    phase.note("playing the games of the past");
    let past = PastRequest {
        prepared: &prepared,
        benchmarks: &benchmarks,
        recipe: walker.school.is_some().then_some((&walker, shelf as _)),
        members: recipe.members,
        until,
    };
    let games = past_games(&past, &GAME_HORIZONS)?;
    phase.note("earning");
    let report = Report::of(arguments, &prepared, &benchmarks, &request, &games)?;
    phase.finish(&format!("{} decision days to {}", report.table.days.len(), arguments.out.display()));
    report.write(arguments, simulated)
}

struct Report {
    horizon: Horizon,
    table: PayoffTable,
    standings: Standings,
    reward: RewardModel,
    comparisons: Vec<Comparison>,
}

impl Report {
    fn of(
        arguments: &PayoffsArgs,
        prepared: &Prepared,
        benchmarks: &ModelState,
        request: &FitRequest<'_>,
        all_games: &[PastGames],
    ) -> anyhow::Result<Self> {
        let (until, settings, horizon) = (prepared.sessions() - 1, &request.settings, arguments.horizon);
        let games = all_games.iter().find(|g| g.horizon == horizon).context("the horizon has no games")?;
        let contest = Contest::of(prepared, games, until)?;
        let compared: Vec<Comparison> = all_games.iter().flat_map(|g| comparisons(prepared, g, until)).collect();
        let taken = taken(games, &served_actions(games, Some(&contest), settings));
        let rewards =
            rewards_by_year(prepared, &compared, settings.seed, (arguments.from.year(), arguments.to.year()))?;
        let beliefs = Beliefs::new(&contest);
        let year_of = |session: usize| prepared.history.sessions[session].year();
        let served = |session: usize, row: &PastRow| surely(taken[&(session, row.instrument)]);
        let rewarded = |session: usize, row: &PastRow| {
            let (model, believed) = (rewards.get(&year_of(session)), beliefs.on(session));
            rewarded((model, horizon), row, settings, &believed).unwrap_or_else(|| served(session, row))
        };
        let weeks = Weeks::new(prepared, benchmarks);
        let process = |session: usize, row: &PastRow| weeks.choose(session, row);
        let players = player_strategies();
        let players = players.iter().map(|(name, choose)| Strategy { name, choose });
        let strategies = [
            Strategy { name: "served", choose: &served },
            Strategy { name: "policy", choose: &rewarded },
            Strategy { name: "process", choose: &process },
        ];
        let strategies: Vec<Strategy<'_>> = strategies.into_iter().chain(players).collect();
        let basis = PriceBasis::infer(&prepared.history);
        let sources = RatingSources::new(prepared, &basis);
        let cash = |session: usize| sources.short_rate(session).unwrap_or(0.0) * horizon.years();
        let earning = PayoffRequest { prepared, games, between: (arguments.from, arguments.to), cash: &cash };
        let table = payoff_table(&earning, &strategies, &|_| {}).with_context(|| {
            format!("no decision between {} and {} has matured within the stored history", arguments.from, arguments.to)
        })?;
        let standings = contest.standings(until);
        Ok(Self { horizon, table, standings, reward: reward(&compared, settings.seed)?, comparisons: compared })
    }

    fn write(&self, arguments: &PayoffsArgs, simulated: bool) -> anyhow::Result<()> {
        let out = &arguments.out;
        let text = self.markdown(arguments, simulated);
        fs::write(out.join("payoffs.md"), &text)?;
        let json = json!({
            "code": CODE_VERSION, "simulated": simulated, "payoffs": &self.table, "summaries": self.table.summaries(),
            "standings": &self.standings, "reward": &self.reward,
        });
        fs::write(out.join("payoffs.json"), serde_json::to_vec_pretty(&json)?)?;
        fs::write(out.join("comparisons.jsonl"), to_jsonl(&self.comparisons, simulated))?;
        println!("{text}\nwritten to {}", out.join("payoffs.md").display());
        Ok(())
    }

    fn markdown(&self, arguments: &PayoffsArgs, simulated: bool) -> String {
        let simulated = if simulated { " **Simulated prices.**" } else { "" };
        let mut text = format!(
            "# Payoffs of decisions over {} sessions, {} to {}\n\nA holder of one unit decides every {} sessions; means over the \
             instruments, a decision.{simulated} {} decision days. Certainty equivalent: after the charge for realized risk that the \
             game makes. Code {CODE_VERSION}.\n\n",
            self.horizon.sessions(),
            arguments.from,
            arguments.to,
            self.horizon.sessions(),
            self.table.days.len()
        );
        text.push_str(&self.table.markdown());
        let overfitting = self.table.overfitting().map_or_else(|| "too few days".to_owned(), |p| format!("{p:.2}"));
        let _ = writeln!(text, "\nProbability of overfitting of choosing by the Sharpe ratio: {overfitting}.\n");
        text.push_str("## Strengths of the players\n\n| player | strength | 90 % interval | wins | losses | ties |\n|---|--:|---|--:|--:|--:|\n");
        for s in &self.standings.players {
            let strength = s.strength.map_or_else(
                || "| none | none".to_owned(),
                |x| format!("| {:.3} | {:.3} to {:.3}", x.log_strength, x.low, x.high),
            );
            let _ = writeln!(text, "| {} {strength} | {} | {} | {} |", s.player, s.wins, s.losses, s.ties);
        }
        text.push_str(&reward_in_words(&self.reward));
        text
    }
}

fn reward_in_words(reward: &RewardModel) -> String {
    let number = |x: Option<f64>| x.map_or_else(|| "none".to_owned(), |x| format!("{x:.4}"));
    let mut text = String::from(
        "\n## Reward model, walk-forward\n\n| year | comparisons | decided | accuracy | constant | log loss | constant |\n\
         |---|--:|--:|--:|--:|--:|--:|\n",
    );
    let years = reward.record.years.iter().map(|y| (y.year.to_string(), &y.scores));
    for (year, s) in years.chain([("all".to_owned(), &reward.record.scores)]) {
        let _ = writeln!(
            text,
            "| {year} | {} | {} | {} | {} | {} | {} |",
            s.comparisons,
            s.non_ties,
            number(s.accuracy),
            number(s.constant_accuracy),
            number(s.log_loss),
            number(s.constant_log_loss)
        );
    }
    let test = reward.record.log_loss_test;
    let _ = writeln!(
        text,
        "\nLog loss of the network against the constant: statistic {}, one-sided p {}. Served: {:?}.",
        number(test.map(|t| t.statistic)),
        number(test.map(|t| t.p_value)),
        reward.source
    );
    text
}

/// The served action by session and instrument.
fn taken(games: &PastGames, served: &[Vec<Action>]) -> BTreeMap<(usize, usize), Action> {
    let of_day = |(day, served): (&crate::forecast::past_games::PastDay, &Vec<Action>)| {
        let session = day.session;
        day.rows.iter().zip(served).map(move |(row, action)| ((session, row.instrument), *action)).collect::<Vec<_>>()
    };
    games.days.iter().zip(served).flat_map(of_day).collect()
}

/// The reward model of each year, from comparisons known before it began.
fn rewards_by_year(
    prepared: &Prepared,
    compared: &[Comparison],
    seed: u64,
    (from, to): (i32, i32),
) -> anyhow::Result<BTreeMap<i32, RewardModel>> {
    let last = prepared.history.sessions.last().map_or(to, |day| day.year());
    let mut rewards = BTreeMap::new();
    for year in from..=to.min(last) {
        let known: Vec<Comparison> = compared.iter().copied().filter(|c| c.quarter.ordinal() + 2 <= 4 * year).collect();
        if !known.is_empty() {
            rewards.insert(year, reward(&known, seed)?);
        }
    }
    Ok(rewards)
}

/// What the policy over the reward model would have done; `None` where there was no reward or no state.
fn rewarded(
    (model, horizon): (Option<&RewardModel>, Horizon),
    row: &PastRow,
    settings: &ForecastSettings,
    believed: &Standings,
) -> Option<MixedStrategy> {
    let rewards = model?.table.rewards(row.state?, horizon)?;
    let decision = row.decision(&settings.game, &|name| belief(Some(believed), name))?;
    policy(rewards, settings.policy_temperature, &decision.equilibrium.quantal_response.probabilities).ok()
}

/// The standings on days of the past.
struct Beliefs<'a> {
    contest: &'a Contest,
    changes: Vec<usize>,
    newest: RefCell<Option<(usize, Standings)>>,
}

impl<'a> Beliefs<'a> {
    fn new(contest: &'a Contest) -> Self {
        Self { contest, changes: contest.changes(), newest: RefCell::new(None) }
    }

    /// Where the players stood by the close of a session.
    fn on(&self, session: usize) -> Standings {
        let known = self.changes.partition_point(|from| *from <= session);
        let mut newest = self.newest.borrow_mut();
        match newest.as_ref().filter(|(changes, _)| *changes == known) {
            Some((_, standings)) => standings.clone(),
            None => newest.insert((known, self.contest.standings(session))).1.clone(),
        }
    }
}

type Choose = Box<dyn Fn(usize, &PastRow) -> MixedStrategy>;

fn player_strategies() -> Vec<(&'static str, Choose)> {
    let strategy = |(k, name): (usize, &'static str)| -> (&'static str, Choose) {
        (name, Box::new(move |_, row| surely(row.responses[k].unwrap_or(Action::Hold))))
    };
    BENCHMARK_PLAYERS.into_iter().enumerate().skip(1).map(strategy).collect()
}

/// The decision process on days of the past, with the benchmark's week.
struct Weeks<'a> {
    prepared: &'a Prepared,
    benchmarks: &'a ModelState,
    states: MarketStates,
    week: RefCell<Option<(usize, DayForecast)>>,
}

impl<'a> Weeks<'a> {
    fn new(prepared: &'a Prepared, benchmarks: &'a ModelState) -> Self {
        Self { prepared, benchmarks, states: MarketStates::new(&prepared.history), week: RefCell::new(None) }
    }

    fn choose(&self, session: usize, row: &PastRow) -> MixedStrategy {
        let is_there = self.week.borrow().as_ref().is_some_and(|(known, _)| *known == session);
        if !is_there {
            let horizon = Horizon::OneWeek;
            let calibration = Calibration::new(vec![], horizon);
            let (prepared, state) = (self.prepared, self.benchmarks);
            let inputs = DayInputs { prepared, state, calibration: &calibration, network: None, session, horizon };
            *self.week.borrow_mut() = Some((session, forecast_day(inputs)));
        }
        let borrowed = self.week.borrow();
        let action = borrowed.as_ref().and_then(|(_, week)| self.action(session, row, week));
        surely(action.unwrap_or(Action::Hold))
    }

    fn action(&self, session: usize, row: &PastRow, week: &DayForecast) -> Option<Action> {
        let forecast = week.instruments[row.instrument].as_ref()?;
        let day = ProcessDay {
            prepared: self.prepared,
            state: self.benchmarks,
            states: &self.states,
            week,
            network: None,
            session,
        };
        let market = day.market(row.instrument, forecast)?;
        let settings = usual_settings(&self.benchmarks.settings, forecast.liquidity.cost);
        let solved = HolderProcess::solve(&market, &settings, forecast.long_run).ok()?;
        Some(solved.action(solved.current_state()))
    }
}

//! The games of the past: on every decision day what each player would have done and what it would have earned, from
//! rows known by then and, where the horizon has matured, from what happened.

use crate::decision::action::{Action, PerAction};
use crate::decision::game::{ModelView, Terms};
use crate::decision::holder::{Holder, HolderType, LongRun};
use crate::decision::signal::{Decision, GameSettings, SignalInputs, decide, served_action};
use crate::features::states::MarketStates;
use crate::forecast::calibration::Calibration;
use crate::forecast::day::{DayInputs, InstrumentForecast, NetworkDay, forecast_day};
use crate::forecast::folds::FoldShelf;
use crate::forecast::members::Members;
use crate::forecast::players::{BENCHMARK_PLAYERS, benchmark_means, member_name, response};
use crate::forecast::prepared::Prepared;
use crate::forecast::samples::ROW_SPACING;
use crate::forecast::state::ModelState;
use crate::forecast::training::FitError;
use crate::forecast::walker::Walker;
use crate::learning::task::{HEADS, Head, Task};
use crate::market::horizon::Horizon;

/// Sessions between the decision days of horizons beyond four weeks: theirs overlap for so long that more say little.
const SPARSE_SPACING: usize = 20;

/// What is played again.
#[derive(Clone, Copy)]
pub struct PastRequest<'a> {
    /// The rows and their columns.
    pub prepared: &'a Prepared,
    /// Fitted benchmarks; seats are those of the walk.
    pub benchmarks: &'a ModelState,
    /// The walk of the recipe, if there is a network, and where its folds are kept.
    pub recipe: Option<(&'a Walker<'a>, &'a dyn FoldShelf)>,
    /// Number of members of the recipe.
    pub members: usize,
    /// Last decision day.
    pub until: usize,
}

/// The games of one horizon.
#[derive(Debug, Clone)]
pub struct PastGames {
    /// How far the decisions look ahead.
    pub horizon: Horizon,
    /// Names of the players, in the order of [`PastRow::responses`].
    pub players: Vec<String>,
    /// Ascending by session.
    pub days: Vec<PastDay>,
}

/// The games of one decision day.
#[derive(Debug, Clone)]
pub struct PastDay {
    /// The decision day.
    pub session: usize,
    /// One an instrument.
    pub rows: Vec<PastRow>,
}

/// One instrument on one decision day.
#[derive(Debug, Clone)]
pub struct PastRow {
    /// Position in the history.
    pub instrument: usize,
    /// Market state at the close of the day; `None` while the past is too short.
    pub state: Option<u8>,
    /// The terms of the usual holder.
    pub terms: Terms,
    /// What the holder was used to.
    pub long_run: LongRun,
    /// The columns of the game that was served.
    pub models: Vec<ModelView>,
    /// The best action under each player's view; `None` where it had none.
    pub responses: Vec<Option<Action>>,
    /// What happened; `None` until the horizon has matured, or where a price is missing.
    pub realized: Option<Realized>,
}

/// What happened over a horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Realized {
    /// Simple total return.
    pub simple_return: f64,
    /// Sum of squared daily log returns.
    pub variance: f64,
}

impl Realized {
    /// What an instrument did after a session, in what is known at the close of `until`; `None` before the horizon has
    /// matured. A price that is missing carries the last one forward, so that whoever stops trading counts too.
    #[must_use]
    pub fn after(
        prepared: &Prepared,
        instrument: usize,
        (session, horizon): (usize, Horizon),
        until: usize,
    ) -> Option<Self> {
        let end = session + horizon.sessions();
        if end > until {
            return None;
        }
        let returns = prepared.history.instruments[instrument].log_return.get(session + 1..=end)?;
        let known = || returns.iter().filter(|r| r.is_finite());
        Some(Self { simple_return: known().sum::<f64>().exp_m1(), variance: known().map(|r| r * r).sum() })
    }
}

impl PastRow {
    /// Realized payoff of each action: `e_a R - (lambda/2) e_a^2 RV - c |d_a|`, with the realized simple return R and the
    /// realized variance RV where the game had mean and variance. What the crowd did is not known afterwards either, so
    /// its impact is left out.
    #[must_use]
    pub fn payoffs(&self) -> Option<PerAction<f64>> {
        let Realized { variance, .. } = self.realized?;
        let money = self.money()?;
        Some(PerAction::from_fn(|action| {
            let exposure = f64::from(self.terms.holder.exposure_after(action));
            money[action] - 0.5 * self.terms.risk_aversion * exposure * exposure * variance
        }))
    }

    /// The same without the charge for risk: `e_a R - c |d_a|`, a simple return on one unit after costs.
    #[must_use]
    pub fn money(&self) -> Option<PerAction<f64>> {
        let Realized { simple_return, .. } = self.realized?;
        let holder = self.terms.holder;
        Some(PerAction::from_fn(|action| {
            let exposure = f64::from(holder.exposure_after(action));
            exposure * simple_return - self.terms.cost * (exposure - f64::from(holder.exposure())).abs()
        }))
    }

    /// The action that would have been served with that belief in the models; hold where none could be decided.
    #[must_use]
    pub fn served(&self, settings: &GameSettings, belief: &dyn Fn(&str) -> Option<f64>) -> Action {
        let belief: Option<Vec<f64>> = self.models.iter().map(|model| belief(&model.name)).collect();
        served_action(&self.inputs(settings, belief)).unwrap_or(Action::Hold)
    }

    /// The whole decision with that belief in the models; `None` where it could not be made.
    #[must_use]
    pub fn decision(&self, settings: &GameSettings, belief: &dyn Fn(&str) -> Option<f64>) -> Option<Decision> {
        let belief = self.models.iter().map(|model| belief(&model.name)).collect();
        decide(&self.inputs(settings, belief)).ok()
    }

    fn inputs(&self, settings: &GameSettings, belief: Option<Vec<f64>>) -> SignalInputs {
        SignalInputs {
            models: self.models.clone(),
            belief,
            holder: self.terms.holder,
            long_run: self.long_run,
            settings: GameSettings { cost: self.terms.cost, impact: self.terms.impact, ..*settings },
        }
    }
}

impl PastGames {
    /// Decision days that one horizon overlaps.
    #[must_use]
    pub fn overlap(&self) -> usize {
        self.horizon.sessions().div_ceil(spacing(self.horizon))
    }
}

/// Sessions between the decision days of a horizon.
#[must_use]
pub fn spacing(horizon: Horizon) -> usize {
    if horizon.sessions() <= SPARSE_SPACING { ROW_SPACING } else { SPARSE_SPACING }
}

/// Plays all games of the past at some horizons.
///
/// # Errors
/// [`FitError`] when a fold cannot be read.
pub fn past_games(request: &PastRequest<'_>, horizons: &[Horizon]) -> Result<Vec<PastGames>, FitError> {
    let prepared = request.prepared;
    let names = BENCHMARK_PLAYERS.iter().map(|name| (*name).to_owned());
    let members = request.recipe.map_or(0, |_| request.members);
    let players: Vec<String> = names.chain((0..members).map(member_name)).collect();
    let mut games: Vec<PastGames> =
        horizons.iter().map(|&horizon| PastGames { horizon, players: players.clone(), days: vec![] }).collect();
    let Some(first) = request.benchmarks.harx2.first_session(&prepared.history.sessions) else { return Ok(games) };
    let states = MarketStates::new(&prepared.history);
    let mut said = request.recipe.and_then(|(walker, shelf)| {
        Some((walker, Members::new(walker.school.as_ref()?, shelf, prepared.history.instruments.len())))
    });
    let mut state = request.benchmarks.benchmarks();
    let is_decided = |t: &usize| horizons.iter().any(|horizon| t.is_multiple_of(spacing(*horizon)));
    for session in (first..=request.until).filter(is_decided) {
        let mut network = None;
        if let Some((walker, members)) = &mut said {
            let standing = walker.standing_on(session);
            state.seats = standing.seats;
            network = members.day(session, &with_raw_means(standing.shares))?;
        }
        let on = OnDay { request, states: &states, state: &state, network: network.as_ref(), session };
        for games in games.iter_mut().filter(|g| session % spacing(g.horizon) == 0) {
            games.days.push(PastDay { session, rows: on.rows(games.horizon, members) });
        }
    }
    Ok(games)
}

/// The shares with the means whole: players speak for themselves from their first day on, whatever is believed of them.
fn with_raw_means(mut shares: [f32; HEADS]) -> [f32; HEADS] {
    Horizon::ALL.into_iter().for_each(|horizon| shares[Head::index(Task::Mean, horizon)] = 1.0);
    shares
}

struct OnDay<'a> {
    request: &'a PastRequest<'a>,
    states: &'a MarketStates,
    state: &'a ModelState,
    network: Option<&'a NetworkDay>,
    session: usize,
}

impl OnDay<'_> {
    fn rows(&self, horizon: Horizon, members: usize) -> Vec<PastRow> {
        let inputs = DayInputs {
            prepared: self.request.prepared,
            state: self.state,
            // Intervals do not take part.
            calibration: &Calibration::new(vec![], horizon),
            network: self.network,
            session: self.session,
            horizon,
        };
        let day = forecast_day(inputs);
        let played = day.instruments.iter().enumerate();
        played.filter_map(|(i, forecast)| Some(self.row((i, horizon), forecast.as_ref()?, members))).collect()
    }

    fn row(&self, (i, horizon): (usize, Horizon), forecast: &InstrumentForecast, members: usize) -> PastRow {
        let prepared = self.request.prepared;
        let holder = Holder::default();
        let terms = Terms {
            holder,
            risk_aversion: HolderType::Holder.risk_aversion(forecast.long_run),
            cost: forecast.liquidity.cost,
            impact: forecast.liquidity.impact,
        };
        // The benchmark's view comes first among the models.
        let volatility = forecast.models[0].volatility;
        let mu0 = forecast.long_run.mean;
        let means = benchmark_means(prepared, i, (self.session, horizon), mu0);
        let simple = means.map(|mean| Some(response(&terms, mean, volatility)));
        let member = |k: usize| {
            let said = self.network?.members.get(k)?.get(i)?.as_ref()?;
            let mean = mu0 + said.horizons[horizon.index()].scaled_mean * volatility;
            Some(response(&terms, mean, volatility))
        };
        PastRow {
            instrument: i,
            state: self.states.state(i, self.session),
            terms,
            long_run: forecast.long_run,
            models: forecast.models.clone(),
            responses: simple.into_iter().chain((0..members).map(member)).collect(),
            realized: Realized::after(prepared, i, (self.session, horizon), self.request.until),
        }
    }
}

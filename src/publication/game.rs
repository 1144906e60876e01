//! Plays the game of an instrument as it is served, with all that was learnt from the games of the past.

use crate::decision::action::Action as Move;
use crate::decision::comparison::state_in_words;
use crate::decision::holder::{Holder as Player, HolderType as PlayerType};
use crate::decision::policy::policy;
use crate::decision::signal::{Decision, GameSettings, SignalInputs, decide};
use crate::decision::standings::{NoStrengths, Standings};
use crate::features::states::STATES;
use crate::forecast::day::InstrumentForecast;
use crate::forecast::responses::{GAME_HORIZONS, belief};
use crate::forecast::state::ModelState;
use crate::learning::reward::{RewardModel, RewardSource as Source};
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::envelope::reason;
use crate::opinion::ranking::ModelStrength;
use crate::opinion::responses::{RewardModelRecord, RewardSource, StateRewards};
use crate::publication::played::{Played, RewardedPolicy};
use crate::publication::responses::model_strengths;

/// Reason at horizons over which players do not meet: a quarter holds fewer than three of their windows.
pub const NO_GAMES_AT_HORIZON: &str = "no_games_at_horizon";
/// Reason while no quarter of the past was over when the model was trained.
pub const TOO_FEW_GAMES: &str = "too_few_games";

/// What the games of one horizon share.
pub struct GameDay<'a> {
    state: &'a ModelState,
    horizon: Horizon,
    strengths: Result<Vec<ModelStrength>, &'static str>,
    without_strengths: Option<&'static str>,
}

impl<'a> GameDay<'a> {
    /// The games of a horizon, by what the model learnt.
    #[must_use]
    pub fn new(state: &'a ModelState, horizon: Horizon) -> Self {
        let standings = standings(state, horizon);
        let without_strengths = standings.ok().and_then(|s| s.reason).map(NoStrengths::as_str);
        Self { state, horizon, strengths: standings.map(model_strengths), without_strengths }
    }

    /// Plays for a holder at the usual exposure, at the instrument's own cost and impact.
    #[must_use]
    pub fn play(&self, symbol: &Symbol, market_state: Option<u8>, forecast: Option<&InstrumentForecast>) -> Played {
        let configured = self.state.settings.game;
        let Some(forecast) = forecast else {
            let (responses, without_strengths) = (self.strengths.clone(), self.without_strengths);
            return Played { responses, without_strengths, ..Played::alone(None, configured) };
        };
        let liquidity = forecast.liquidity;
        let settings = GameSettings { cost: liquidity.cost, impact: liquidity.impact, ..configured };
        let decision = self.decide(forecast, settings);
        let confidence = decision.as_ref().map_or(Err(reason::NOT_COMPUTED_YET), |d| self.confidence(symbol, d.action));
        let policy = decision.as_ref().map_or(Err(reason::NOT_COMPUTED_YET), |d| self.policy(market_state, d));
        Played {
            decision,
            settings,
            dollar_volume: liquidity.dollar_volume.ok_or("no_volume"),
            policy,
            confidence,
            responses: self.strengths.clone(),
            without_strengths: self.without_strengths,
        }
    }

    fn decide(&self, forecast: &InstrumentForecast, settings: GameSettings) -> Option<Decision> {
        let strengths = standings(self.state, self.horizon).ok();
        let inputs = SignalInputs {
            models: forecast.models.clone(),
            // A model without a strength makes all weigh the same.
            belief: forecast.models.iter().map(|model| belief(strengths, &model.name)).collect(),
            holder: Player::usual(PlayerType::Holder),
            long_run: forecast.long_run,
            settings,
        };
        decide(&inputs).ok()
    }

    fn confidence(&self, symbol: &Symbol, action: Move) -> Result<f64, &'static str> {
        let of_symbol = self.state.responses.confidence.get(symbol).ok_or(reason::NOT_COMPUTED_YET)?;
        of_symbol[self.horizon.index()][action].ok_or(reason::TOO_FEW_WINDOWS)
    }

    fn policy(&self, market_state: Option<u8>, decision: &Decision) -> Result<RewardedPolicy, &'static str> {
        let model = reward(self.state, self.horizon)?;
        let state = market_state.ok_or(reason::INSUFFICIENT_HISTORY)?;
        let rewards = *model.table.rewards(state, self.horizon).ok_or(TOO_FEW_GAMES)?;
        let beta = self.state.settings.policy_temperature;
        let reference = decision.equilibrium.quantal_response.probabilities;
        let probabilities = policy(&rewards, beta, &reference).map_err(|_| reason::NOT_COMPUTED_YET)?;
        Ok(RewardedPolicy { rewards, probabilities, source: shown(model.source), beta, reference, state })
    }
}

/// Where the players of a horizon stand, or why there are no games.
///
/// # Errors
/// The reason.
pub fn standings(state: &ModelState, horizon: Horizon) -> Result<&Standings, &'static str> {
    let without = if GAME_HORIZONS.contains(&horizon) { TOO_FEW_GAMES } else { NO_GAMES_AT_HORIZON };
    state.responses.standings[horizon.index()].as_ref().filter(|s| s.games > 0).ok_or(without)
}

/// The record of the reward model at a horizon, or why there is none.
///
/// # Errors
/// The reason.
pub fn reward_record(state: &ModelState, horizon: Horizon) -> Result<RewardModelRecord, &'static str> {
    let model = reward(state, horizon)?;
    let row = |state: u8| {
        let rewards = model.table.rewards(state, horizon)?;
        let (trend, volatility) = state_in_words(state);
        Some(StateRewards {
            state,
            trend: trend.to_owned(),
            volatility: volatility.to_owned(),
            sell: rewards.sell,
            hold: rewards.hold,
            buy: rewards.buy,
        })
    };
    let scores = &model.record.scores;
    Ok(RewardModelRecord {
        source: shown(model.source),
        accuracy: scores.accuracy,
        constant_accuracy: scores.constant_accuracy,
        log_loss: scores.log_loss,
        constant_log_loss: scores.constant_log_loss,
        p_value: model.record.log_loss_test.map(|test| test.p_value),
        comparisons: u32::try_from(scores.comparisons).unwrap_or(u32::MAX),
        table: (0..STATES as u8).filter_map(row).collect(),
    })
}

fn reward(state: &ModelState, horizon: Horizon) -> Result<&RewardModel, &'static str> {
    if !GAME_HORIZONS.contains(&horizon) {
        return Err(NO_GAMES_AT_HORIZON);
    }
    let model = state.responses.reward.as_ref();
    model.filter(|model| model.table.rewards(0, horizon).is_some()).ok_or(TOO_FEW_GAMES)
}

fn shown(source: Source) -> RewardSource {
    match source {
        Source::Network => RewardSource::Network,
        Source::Constant => RewardSource::Constant,
    }
}

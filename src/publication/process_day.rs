//! The decision processes of a day: what is known of each instrument's weeks, from rows and model.

use crate::decision::holder::HolderType;
use crate::decision::market_process::{MarketPast, MarketProcess, WeekAhead, WeekMean, premium_error};
use crate::decision::process::{DEFAULT_DRAWS, ProcessSettings};
use crate::features::states::{MarketStates, STATES};
use crate::forecast::day::{DayForecast, InstrumentForecast, NetworkDay};
use crate::forecast::prepared::Prepared;
use crate::forecast::settings::ForecastSettings;
use crate::forecast::state::ModelState;
use crate::market::horizon::Horizon;
use crate::opinion::process::Process;
use crate::publication::header::Header;
use crate::publication::process::{PosteriorDraws, ProcessSubject, process};

/// Weeks ahead of a published process.
pub const STEPS: u32 = 4;
/// Volatility of the market a year and years of it, from which the premium is known: a standard error of 2 % a year
/// (Dimson, Marsh and Staunton 2002 have about that for the twentieth century).
const MARKET: (f64, f64) = (0.20, 100.0);

/// What the processes of a day share.
#[derive(Clone, Copy)]
pub struct ProcessDay<'a> {
    /// The rows and their columns.
    pub prepared: &'a Prepared,
    /// Settings, seats and what was learnt.
    pub state: &'a ModelState,
    /// Market states by session.
    pub states: &'a MarketStates,
    /// Forecasts over one week.
    pub week: &'a DayForecast,
    /// What the network said, if there is one.
    pub network: Option<&'a NetworkDay>,
    /// Decision day.
    pub session: usize,
}

impl ProcessDay<'_> {
    /// Forms the process of an instrument; `without` says why it has no forecast, if it has none.
    #[must_use]
    pub fn process(&self, header: &Header, instrument: usize, without: &str) -> Process {
        let forecast = self.week.instruments[instrument].as_ref();
        let known = forecast.and_then(|f| Some((self.market(instrument, f)?, f.long_run)));
        let settings = &self.state.settings;
        let subject = ProcessSubject {
            symbol: &self.prepared.history.instruments[instrument].instrument.symbol,
            known: known.as_ref().map(|(market, long_run)| (market, *long_run)),
            without,
            sources: &self.week.sources,
        };
        let cost = forecast.map_or(settings.game.cost, |f| f.liquidity.cost);
        let draws = PosteriorDraws { count: DEFAULT_DRAWS, seed: settings.seed };
        process(header, &subject, &usual_settings(settings, cost), draws)
    }

    /// What is known of an instrument's weeks; `None` while its past is too short for a state.
    #[must_use]
    pub fn market(&self, instrument: usize, forecast: &InstrumentForecast) -> Option<MarketProcess> {
        let premium = self.state.settings.equity_premium;
        let error = premium_error(forecast.long_run.mean, premium, MARKET.0, MARKET.1);
        let is_seated = self.state.seats(Horizon::OneWeek).mean_weight > 0.0;
        let learnt = self.state.responses.next_state.as_ref().filter(|seat| seat.is_seated());
        let said = self.network.filter(|_| learnt.is_some()).and_then(|n| n.ensemble[instrument].as_ref());
        let week = WeekAhead {
            premium: WeekMean { value: forecast.long_run.mean, error },
            seated_mean: is_seated.then_some(WeekMean { value: forecast.mean, error }),
            variance: forecast.volatility * forecast.volatility,
            long_run_variance: forecast.long_run.volatility * forecast.long_run.volatility,
            next_state: said.map(|row| row.next_state).filter(says_something),
            kappa: self.state.settings.prior_weeks,
        };
        let past = MarketPast {
            states: self.states.of(instrument),
            log_return: &self.prepared.history.instruments[instrument].log_return,
            session: self.session,
        };
        MarketProcess::of_past(&past, &week).ok()
    }
}

/// A head of which nothing is believed gives all states the same chance, which is no forecast.
fn says_something(chances: &[f64; STATES]) -> bool {
    chances.iter().any(|p| *p != chances[0])
}

/// The settings of a published process at a cost.
#[must_use]
pub fn usual_settings(settings: &ForecastSettings, cost: f64) -> ProcessSettings {
    ProcessSettings { holder: HolderType::Holder, cost, discount: settings.discount, steps: Some(STEPS) }
}

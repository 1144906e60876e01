//! Composes a publication: every answer of a day, in a fixed order, as canonical bytes. A pure function of the rows, the
//! model, the header and what was answered before; so a replay gives the same bytes.

use std::collections::BTreeMap;

use crate::features::price_basis::PriceBasis;
use crate::features::states::MarketStates;
use crate::forecast::attribution::MaskedForecasts;
use crate::forecast::calibration::Calibration;
use crate::forecast::day::{DayForecast, DayInputs, NetworkDay, forecast_day, forecast_ranks};
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_sources::RatingSources;
use crate::forecast::samples::{features_on, network_day};
use crate::forecast::state::{ModelState, Seats};
use crate::learning::ensemble::{ForecastError, TrainedModel};
use crate::market::bar::Day;
use crate::market::history::InstrumentHistory;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::canonical::canonical;
use crate::opinion::envelope::{Envelope, Kind, Sources, reason};
use crate::opinion::predictability::Predictability;
use crate::opinion::signal::Action;
use crate::publication::attribution::DayAttributions;
use crate::publication::forecast::{Subject, forecast};
use crate::publication::game::{GameDay, reward_record, standings};
use crate::publication::header::{Header, Previous};

use crate::publication::predictability::{Judged, predictability};
use crate::publication::process_day::ProcessDay;
use crate::publication::ranking::ranking;
use crate::publication::ranks::{RankedUniverse, ranks};
use crate::publication::rating::{RATING_HORIZON, Rated, RatingDay, rate_all};
use crate::publication::rating_record::rating_record;
use crate::publication::responses::{ResponsesOfDay, responses};
use crate::publication::signal::{Beside, shown, signal};

/// What a publication is composed from.
pub struct PublicationInputs<'a> {
    /// The rows that passed both cutoffs, and their columns.
    pub prepared: &'a Prepared,
    /// Fitted benchmarks and seats.
    pub state: &'a ModelState,
    /// The network, if there is one.
    pub network: Option<&'a TrainedModel>,
    /// The shared part.
    pub header: &'a Header,
    /// What was answered last.
    pub previous: &'a Previous,
}

/// An answer, ready for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// Kind of the answer.
    pub kind: Kind,
    /// Whose; `None` for the whole universe.
    pub symbol: Option<Symbol>,
    /// How far it looks ahead.
    pub horizon: Horizon,
    /// Last day of validity.
    pub valid_until: Day,
    /// Published after the next session's open.
    pub late: bool,
    /// RFC 8785 canonical JSON.
    pub entry: Vec<u8>,
}

/// Why a publication could not be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// There is no session to decide on.
    #[error("the history has no session")]
    Empty,
    /// The network does not fit the features.
    #[error(transparent)]
    Network(#[from] ForecastError),
    /// An answer holds a number that JSON cannot.
    #[error("an answer cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// Composes all answers; `progress` hears of every horizon done.
///
/// # Errors
/// [`ComposeError`].
pub fn compose(inputs: &PublicationInputs<'_>, progress: &dyn Fn(Horizon)) -> Result<Vec<Composed>, ComposeError> {
    let prepared = inputs.prepared;
    let session = prepared.sessions().checked_sub(1).ok_or(ComposeError::Empty)?;
    let basis = PriceBasis::infer(&prepared.history);
    let said = said_by_network(inputs, &basis, session)?;
    let (network, masked) = (said.as_ref().map(|s| &s.day), said.as_ref().and_then(|s| s.masked.as_ref()));
    let days = Horizon::ALL.map(|horizon| {
        let premium = inputs.state.settings.equity_premium;
        let calibration = Calibration::of_walk(prepared, &inputs.state.harx2, horizon, premium);
        let day = day_inputs(inputs, &calibration, network, (session, horizon));
        HorizonDay {
            forecast: forecast_day(day),
            ranked: ranked(inputs, day),
            attributions: DayAttributions::of_day(&day, masked),
        }
    });
    let year = &days[Horizon::Year.index()].forecast;
    let states = MarketStates::new(&prepared.history);
    let universe = Universe {
        session,
        alive: &alive(prepared, session),
        states: &states,
        processes: &ProcessDay {
            prepared,
            state: inputs.state,
            states: &states,
            week: &days[Horizon::OneWeek.index()].forecast,
            network,
            session,
        },
        ratings: &ratings(inputs, &basis, session, year),
        rating_sources: &year.sources,
        verdicts: &judge_all(inputs, session, &days[RATING_HORIZON.index()].forecast.sources),
    };
    let mut composed = Vec::new();
    for (horizon, day) in Horizon::ALL.into_iter().zip(&days) {
        add_horizon(&mut composed, inputs, (&universe, day), horizon)?;
        progress(horizon);
    }
    Ok(composed)
}

/// The ranked instruments and their forecast.
type RankedDay = (Vec<usize>, Option<crate::scenario::recipes::RankForecast>);

/// What is known of one horizon.
struct HorizonDay {
    forecast: DayForecast,
    ranked: RankedDay,
    attributions: DayAttributions,
}

/// What all horizons share, by instrument of the history.
struct Universe<'a> {
    session: usize,
    alive: &'a [bool],
    states: &'a MarketStates,
    processes: &'a ProcessDay<'a>,
    ratings: &'a [Rated],
    rating_sources: &'a Sources,
    verdicts: &'a [Predictability],
}

/// What the network says, and what it would say if it knew less; the latter only where any of it is served.
struct SaidByNetwork {
    day: NetworkDay,
    masked: Option<MaskedForecasts>,
}

fn said_by_network(
    inputs: &PublicationInputs<'_>,
    basis: &PriceBasis,
    session: usize,
) -> Result<Option<SaidByNetwork>, ComposeError> {
    let Some(network) = inputs.network else { return Ok(None) };
    let table = features_on(inputs.prepared, basis, &[session]);
    let day = network_day(inputs.prepared, network, &table, 0)?;
    let is_served = inputs.state.seats.iter().any(Seats::any);
    let masked = is_served.then(|| MaskedForecasts::of_day(network, &table, 0, &day)).transpose()?;
    Ok(Some(SaidByNetwork { day, masked }))
}

fn day_inputs<'a>(
    inputs: &PublicationInputs<'a>,
    calibration: &'a Calibration,
    network: Option<&'a NetworkDay>,
    (session, horizon): (usize, Horizon),
) -> DayInputs<'a> {
    DayInputs { prepared: inputs.prepared, state: inputs.state, calibration, network, session, horizon }
}

/// The instruments that are ranked on a session.
pub(super) fn rankable(prepared: &Prepared, session: usize) -> Vec<usize> {
    prepared.alive(session).into_iter().filter(|i| prepared.universe.is_rankable(*i, session)).collect()
}

fn ranked(inputs: &PublicationInputs<'_>, day: DayInputs<'_>) -> RankedDay {
    let rankable = rankable(inputs.prepared, day.session);
    let forecast = if rankable.len() >= 5 { forecast_ranks(day, &rankable) } else { None };
    (rankable, forecast)
}

fn ratings(inputs: &PublicationInputs<'_>, basis: &PriceBasis, session: usize, year: &DayForecast) -> Vec<Rated> {
    let PublicationInputs { prepared, state, .. } = *inputs;
    let day = RatingDay {
        prepared,
        sources: &RatingSources::new(prepared, basis),
        harx2: &state.harx2,
        record: state.ratings.as_ref(),
        session,
        log_standard_error: state.year_log_error,
        equity_premium: state.settings.equity_premium,
    };
    let alive = alive(prepared, session);
    rate_all(&day, &year.instruments, |i| without(prepared, (i, alive[i]), session))
}

fn judge_all(inputs: &PublicationInputs<'_>, session: usize, sources: &Sources) -> Vec<Predictability> {
    let prepared = inputs.prepared;
    let alive = alive(prepared, session);
    let judged = |(i, instrument): (usize, &InstrumentHistory)| {
        let (symbol, why) = (&instrument.instrument.symbol, without(prepared, (i, alive[i]), session));
        let judged = Judged {
            symbol,
            verdicts: inputs.state.verdicts.get(symbol),
            // One that came after the training waits for the next.
            without: if why == reason::INSUFFICIENT_HISTORY { reason::NOT_COMPUTED_YET } else { why },
            alive: alive[i],
            sources,
        };
        predictability(inputs.header, &judged)
    };
    prepared.history.instruments.iter().enumerate().map(judged).collect()
}

fn add_horizon(
    composed: &mut Vec<Composed>,
    inputs: &PublicationInputs<'_>,
    (universe, at): (&Universe<'_>, &HorizonDay),
    horizon: Horizon,
) -> Result<(), ComposeError> {
    let (prepared, header, session) = (inputs.prepared, inputs.header, universe.session);
    let sources = &at.forecast.sources;
    let games = GameDay::new(inputs.state, horizon);
    let mut actions: BTreeMap<Symbol, Action> = BTreeMap::new();
    for (i, instrument) in prepared.history.instruments.iter().enumerate() {
        let symbol = &instrument.instrument.symbol;
        let subject = Subject {
            symbol,
            horizon,
            last: prepared.last_bar(i, session).map(|t| (instrument.close[t], instrument.instrument.currency.as_str())),
            forecast: at.forecast.instruments[i].as_ref(),
            without: without(prepared, (i, universe.alive[i]), session),
            map: &at.forecast.map,
            sources,
        };
        let played = games.play(symbol, universe.states.state(i, session), subject.forecast);
        if let Some(decision) = &played.decision {
            actions.insert(symbol.clone(), shown(decision.action));
        }
        let beside = Beside {
            played: &played,
            grades: universe.ratings[i].grades(),
            verdicts: universe.verdicts[i].verdicts(),
            attribution: at.attributions.volatility(i),
            other_attributions: at.attributions.others(i),
            previous: inputs.previous.signals.get(&(symbol.clone(), horizon)),
        };
        let signal = signal(header, &subject, beside);
        composed.push(written(header, &signal.envelope, &signal)?);
        let unattributed = signal.envelope.reasons.get("attribution").map_or(subject.without, String::as_str);
        let ranking = ranking(header, &subject, &played, signal.attribution.as_ref().ok_or(unattributed));
        composed.push(written(header, &ranking.envelope, &ranking)?);
        let forecast = forecast(header, &subject);
        composed.push(written(header, &forecast.envelope, &forecast)?);
        if horizon == RATING_HORIZON {
            let previous = inputs.previous.ratings.get(symbol);
            let rating = universe.ratings[i].rating(header, symbol, universe.rating_sources, previous);
            composed.push(written(header, &rating.envelope, &rating)?);
            let verdicts = &universe.verdicts[i];
            composed.push(written(header, &verdicts.envelope, verdicts)?);
            let process = universe.processes.process(header, i, subject.without);
            composed.push(written(header, &process.envelope, &process)?);
        }
    }
    if let Some(record) = inputs.state.ratings.as_ref().filter(|_| horizon == RATING_HORIZON) {
        let record = rating_record(header, record, universe.rating_sources);
        composed.push(written(header, &record.envelope, &record)?);
    }
    let (instruments, forecast) = &at.ranked;
    let ranked = RankedUniverse {
        prepared,
        instruments,
        forecast: forecast.as_ref(),
        actions: &actions,
        scenarios: inputs.state.settings.scenarios,
        tilt_weight: inputs.state.seats(horizon).tilt_weight,
    };
    let ranks = ranks(header, &ranked, horizon, sources);
    composed.push(written(header, &ranks.envelope, &ranks)?);
    let reward_model = reward_record(inputs.state, horizon);
    let day = ResponsesOfDay {
        horizon,
        sources,
        standings: standings(inputs.state, horizon),
        reward_model: reward_model.as_ref().map_err(|why| *why),
    };
    let responses = responses(header, &day);
    composed.push(written(header, &responses.envelope, &responses)?);
    Ok(())
}

fn written<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq>(
    header: &Header,
    envelope: &Envelope,
    opinion: &T,
) -> Result<Composed, ComposeError> {
    Ok(Composed {
        kind: envelope.kind,
        symbol: envelope.symbol.clone(),
        horizon: envelope.horizon,
        valid_until: envelope.valid_until,
        late: header.late(),
        entry: canonical(opinion)?,
    })
}

/// By instrument, whether it can be forecast at all.
fn alive(prepared: &Prepared, session: usize) -> Vec<bool> {
    let mut alive = vec![false; prepared.history.instruments.len()];
    prepared.alive(session).into_iter().for_each(|i| alive[i] = true);
    alive
}

/// Why an instrument has no forecast, if it has none.
fn without(prepared: &Prepared, (instrument, is_alive): (usize, bool), session: usize) -> &'static str {
    if prepared.universe.is_index(instrument, session) {
        return reason::NOT_TRADED;
    }
    if is_alive { reason::INSUFFICIENT_HISTORY } else { reason::PRICES_STOPPED }
}

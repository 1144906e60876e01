//! Composes a publication: every answer of a day, in a fixed order, as canonical bytes. A pure function of the rows, the
//! model, the header and what was answered before; so a replay gives the same bytes.

use std::collections::BTreeMap;

use crate::features::price_basis::PriceBasis;
use crate::forecast::calibration::Calibration;
use crate::forecast::day::{DayForecast, DayInputs, NetworkDay, forecast_day, forecast_ranks};
use crate::forecast::prepared::Prepared;
use crate::forecast::samples::{features_on, network_day};
use crate::forecast::state::ModelState;
use crate::learning::ensemble::{ForecastError, TrainedModel};
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::canonical::canonical;
use crate::opinion::envelope::{Envelope, Kind, reason};
use crate::opinion::rating::Grades;
use crate::opinion::signal::Action;
use crate::publication::forecast::{Subject, forecast};
use crate::publication::header::{Header, Previous};
use crate::publication::ranking::ranking;
use crate::publication::ranks::{RankedUniverse, ranks};
use crate::publication::rating::{Rated, RatingDay, rate_instrument, short_rate};
use crate::publication::signal::{play, shown, signal};

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
    let days = Horizon::ALL.map(|horizon| {
        let premium = inputs.state.settings.equity_premium;
        let calibration = Calibration::of_walk(prepared, &inputs.state.harx2, horizon, premium);
        let day = day_inputs(inputs, &calibration, said.as_ref(), (session, horizon));
        (forecast_day(day), ranked(inputs, day))
    });
    let ratings = rate_all(inputs, &basis, session, &days[Horizon::Year.index()].0);
    let mut composed = Vec::new();
    for (horizon, (day, ranked)) in Horizon::ALL.into_iter().zip(&days) {
        add_horizon(
            &mut composed,
            inputs,
            &HorizonDay { session, year: &days[Horizon::Year.index()].0, day, ratings: &ratings, ranked },
            horizon,
        )?;
        progress(horizon);
    }
    Ok(composed)
}

/// The ranked instruments and their forecast.
type RankedDay = (Vec<usize>, Option<crate::scenario::recipes::RankForecast>);

struct HorizonDay<'a> {
    session: usize,
    year: &'a DayForecast,
    day: &'a DayForecast,
    ratings: &'a [Rated],
    ranked: &'a RankedDay,
}

fn said_by_network(
    inputs: &PublicationInputs<'_>,
    basis: &PriceBasis,
    session: usize,
) -> Result<Option<NetworkDay>, ComposeError> {
    let Some(network) = inputs.network else { return Ok(None) };
    let table = features_on(inputs.prepared, basis, &[session]);
    Ok(Some(network_day(inputs.prepared, network, &table, 0)?))
}

fn day_inputs<'a>(
    inputs: &PublicationInputs<'a>,
    calibration: &'a Calibration,
    network: Option<&'a NetworkDay>,
    (session, horizon): (usize, Horizon),
) -> DayInputs<'a> {
    DayInputs { prepared: inputs.prepared, state: inputs.state, calibration, network, session, horizon }
}

fn ranked(inputs: &PublicationInputs<'_>, day: DayInputs<'_>) -> RankedDay {
    let universe = &inputs.prepared.universe;
    let rankable: Vec<usize> =
        inputs.prepared.alive(day.session).into_iter().filter(|i| universe.is_rankable(*i, day.session)).collect();
    let forecast = if rankable.len() >= 5 { forecast_ranks(day, &rankable) } else { None };
    (rankable, forecast)
}

fn rate_all(inputs: &PublicationInputs<'_>, basis: &PriceBasis, session: usize, year: &DayForecast) -> Vec<Rated> {
    let prepared = inputs.prepared;
    let day = RatingDay {
        prepared,
        basis,
        session,
        short_rate: short_rate(prepared, session),
        log_standard_error: inputs.state.year_log_error,
        equity_premium: inputs.state.settings.equity_premium,
    };
    (0..prepared.history.instruments.len())
        .map(|i| rate_instrument(&day, i, year.instruments[i].as_ref(), without(prepared, i, session)))
        .collect()
}

fn add_horizon(
    composed: &mut Vec<Composed>,
    inputs: &PublicationInputs<'_>,
    at: &HorizonDay<'_>,
    horizon: Horizon,
) -> Result<(), ComposeError> {
    let (prepared, header, sources) = (inputs.prepared, inputs.header, &at.day.sources);
    let mut actions: BTreeMap<Symbol, Action> = BTreeMap::new();
    for (i, instrument) in prepared.history.instruments.iter().enumerate() {
        let symbol = &instrument.instrument.symbol;
        let subject = Subject {
            symbol,
            horizon,
            last: prepared
                .last_bar(i, at.session)
                .map(|t| (instrument.close[t], instrument.instrument.currency.as_str())),
            forecast: at.day.instruments[i].as_ref(),
            without: without(prepared, i, at.session),
            map: &at.day.map,
            sources,
        };
        let decision = subject.forecast.and_then(|f| play(f, &inputs.state.settings));
        if let Some(decision) = &decision {
            actions.insert(symbol.clone(), shown(decision.action));
        }
        let grades: Grades = at.ratings[i].grades();
        let before = inputs.previous.signals.get(&(symbol.clone(), horizon));
        let signal = signal(header, &subject, decision.as_ref(), (&grades, before));
        composed.push(written(header, &signal.envelope, &signal)?);
        let ranking = ranking(header, &subject, decision.as_ref());
        composed.push(written(header, &ranking.envelope, &ranking)?);
        let forecast = forecast(header, &subject);
        composed.push(written(header, &forecast.envelope, &forecast)?);
        if horizon == crate::publication::rating::RATING_HORIZON {
            let rating = at.ratings[i].rating(header, symbol, &at.year.sources, inputs.previous.ratings.get(symbol));
            composed.push(written(header, &rating.envelope, &rating)?);
        }
    }
    let (instruments, forecast) = at.ranked;
    let universe = RankedUniverse { prepared, instruments, forecast: forecast.as_ref(), actions: &actions };
    let ranks = ranks(header, &universe, horizon, sources);
    composed.push(written(header, &ranks.envelope, &ranks)?);
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

/// Why an instrument has no forecast, if it has none.
fn without(prepared: &Prepared, instrument: usize, session: usize) -> &'static str {
    if prepared.universe.is_index(instrument, session) {
        return reason::NOT_TRADED;
    }
    if prepared.alive(session).contains(&instrument) { reason::INSUFFICIENT_HISTORY } else { reason::PRICES_STOPPED }
}

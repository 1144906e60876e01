//! `GET /instruments` and `GET /instruments/{symbol}`: what is known, from when to when, with which gaps.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::api::asked::{PAGE_DEFAULT, PAGE_MAX};
use crate::api::condition::Condition;
use crate::api::near::near_matches;
use crate::api::opinions::Page;
use crate::api::parameters::{self, Parameters};
use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::api::state::AppState;
use crate::api::tag;
use crate::clock;
use crate::evaluation::staleness::staleness;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::instrument::Symbol;
use crate::opinion::drift::{InstrumentDrift, Staleness};
use crate::opinion::schemas;
use crate::store::StoreError;
use crate::store::drift;
use crate::store::instruments::{self, Coverage, CoveragePage};

/// Prices count as stopped when they lie further behind the newest prices of the store.
const STALE_AFTER_SESSIONS: usize = 5;

/// What is known of an instrument.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Instrument)]
pub struct InstrumentAnswer {
    /// Canonical symbol.
    #[schema(schema_with = schemas::symbol)]
    pub symbol: Symbol,
    /// Name for people.
    #[schema(example = "Alibaba Group")]
    pub name: Option<String>,
    /// Sector in the words of the source.
    pub sector: Option<String>,
    /// `equity`, `etf` or `index`.
    #[schema(example = "equity")]
    pub kind: String,
    /// ISO 4217 code of the prices.
    #[schema(example = "USD")]
    pub currency: String,
    /// First session with a price.
    #[schema(value_type = Option<String>, format = Date, example = "2014-09-19")]
    pub first_day: Option<Day>,
    /// Last session with a price.
    #[schema(value_type = Option<String>, format = Date, example = "2024-09-30")]
    pub last_day: Option<Day>,
    /// Sessions with a price.
    #[schema(minimum = 0, example = 2524)]
    pub sessions: i64,
    /// Sessions of the New York exchange between the first and the last day without a price.
    #[schema(minimum = 0, example = 0)]
    pub gaps: Option<i64>,
    /// Sessions by which the last price lies behind the newest price of any instrument.
    #[schema(minimum = 0, example = 0)]
    pub sessions_behind: Option<usize>,
    /// More than five sessions behind: the prices have stopped.
    pub stale: bool,
    /// Age of the last price now, by the calendar of the exchange.
    pub staleness: Staleness,
    /// What the newest drift report says of it.
    pub drift: Option<InstrumentDrift>,
    /// Earlier names.
    pub renames: Option<Vec<String>>,
    /// Why a field is `null`, by its name.
    pub reasons: BTreeMap<String, String>,
}

/// Documentation of the parameters of a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct PageParameters {
    /// Comma-separated symbols in any case, at most 1000; all unless given.
    #[param(example = "BABA,JD")]
    symbols: Option<String>,
    /// At most so many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Continue where the page before ended: its `next`.
    #[param(schema_with = schemas::symbol)]
    cursor: Option<String>,
}

/// What is known of one instrument.
#[utoipa::path(
    get, path = "/instruments/{symbol}", operation_id = "find_instrument", tag = tag::HISTORY,
    params(("symbol" = String, Path, description = "Symbol in any case", example = "BABA")),
    responses((status = 200, description = "The instrument", body = InstrumentAnswer))
)]
pub async fn find_instrument(
    State(state): State<AppState>,
    Path(text): Path<String>,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    let symbol = only_symbol(Parameters::read(&uri, &[]), &text)?;
    let coverage = known(&state, &symbol).await?;
    let newest = instruments::newest_day(&state.pool).await?;
    let rows = vec![coverage];
    let mut found = answers(&state, rows, newest).await?;
    // One row gives one answer.
    let answer = found.pop().ok_or_else(|| Problem::new(ProblemType::NotFound, "no instrument"))?;
    condition.respond_json(&answer, None)
}

/// The instruments of this store.
#[utoipa::path(
    get, path = "/instruments", operation_id = "list_instruments", tag = tag::HISTORY, params(PageParameters),
    responses((status = 200, description = "A page of instruments", body = ref("#/components/schemas/InstrumentPage")))
)]
pub async fn list_instruments(
    State(state): State<AppState>,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &["symbols", "limit", "cursor"]);
    let limit =
        parameters.take("limit", |t| parameters::integer(t, 1..=PAGE_MAX as i64)).unwrap_or(PAGE_DEFAULT as i64);
    let symbols = parameters.take("symbols", parameters::symbols);
    let after = parameters.take("cursor", Symbol::parse);
    parameters.finish()?;
    // One more than asked tells whether another page follows.
    let page = CoveragePage { after: after.clone(), symbols: symbols.clone(), limit: limit + 1 };
    let mut rows = instruments::coverages(&state.pool, &page).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(PAGE_DEFAULT));
    let next = rows.last().filter(|_| more).map(|row| row.instrument.symbol.clone());
    let is_there = |s: &Symbol| rows.iter().any(|row| row.instrument.symbol == *s);
    let on_page = |s: &Symbol| after.as_ref().is_none_or(|a| s > a) && next.as_ref().is_none_or(|n| s <= n);
    let missing = symbols.into_iter().flatten().filter(|s| on_page(s) && !is_there(s)).collect();
    let newest = instruments::newest_day(&state.pool).await?;
    let items = answers(&state, rows, newest).await?;
    condition.respond_json(&Page { items, missing, next }, None)
}

/// The instrument of that name.
///
/// # Errors
/// 404 with near matches, 503 when the store does not answer.
pub async fn known(state: &AppState, symbol: &Symbol) -> Result<Coverage, Problem> {
    if let Some(coverage) = instruments::coverage(&state.pool, symbol).await? {
        return Ok(coverage);
    }
    let near = near_matches(symbol, instruments::symbols(&state.pool).await?.iter());
    Err(Problem::new(ProblemType::UnknownSymbol, format!("no instrument is named {symbol}")).with_near(near))
}

/// Reads the symbol of the path and ends the reading.
///
/// # Errors
/// 422 with everything that was refused.
pub fn only_symbol(mut parameters: Parameters, text: &str) -> Result<Symbol, Problem> {
    let symbol = parameters.place("symbol", text, Symbol::parse);
    parameters.finish()?;
    // Without a symbol the reading has just failed.
    symbol.ok_or_else(|| Problem::new(ProblemType::NotFound, "no symbol"))
}

/// Shapes the rows, each with what the newest drift report says of it.
async fn answers(
    state: &AppState,
    rows: Vec<Coverage>,
    newest: Option<Day>,
) -> Result<Vec<InstrumentAnswer>, StoreError> {
    let symbols: Vec<&Symbol> = rows.iter().map(|row| &row.instrument.symbol).collect();
    let mut drifts = drift::of_instruments(&state.pool, &symbols).await?;
    let seen = Seen { newest, sessions: Sessions::spanning(&rows, newest), now: clock::now() };
    let shape = |row: Coverage| {
        let drift = drifts.remove(&row.instrument.symbol);
        shaped(row, &seen, drift)
    };
    Ok(rows.into_iter().map(shape).collect())
}

/// What every instrument is seen against.
struct Seen {
    newest: Option<Day>,
    sessions: Sessions,
    now: DateTime<Utc>,
}

/// The sessions of the exchange over a span, so that many instruments are counted against one list.
struct Sessions(Vec<Day>);

impl Sessions {
    fn spanning(rows: &[Coverage], newest: Option<Day>) -> Self {
        let first = rows.iter().filter_map(|row| row.first_day).min();
        let (Some(first), Some(newest)) = (first, newest) else { return Self(Vec::new()) };
        let days = first.iter_days().take_while(|day| *day <= newest);
        Self(days.filter(|day| calendar::is_session(*day)).collect())
    }

    /// Sessions up to and including a day.
    fn until(&self, day: Day) -> usize {
        self.0.partition_point(|session| *session <= day)
    }

    /// Sessions in (`from`, `to`].
    fn between(&self, from: Day, to: Day) -> usize {
        self.until(to).saturating_sub(self.until(from))
    }
}

fn shaped(row: Coverage, seen: &Seen, drift: Option<Value>) -> InstrumentAnswer {
    let Seen { newest, sessions, now } = seen;
    let span = row.first_day.zip(row.last_day).map(|(first, last)| sessions.between(first, last) as i64 + 1);
    let behind = row.last_day.zip(*newest).map(|(last, newest)| sessions.between(last, newest));
    let mut reasons = BTreeMap::from([("renames".to_owned(), "not_recorded".to_owned())]);
    if span.is_none() {
        reasons.extend(
            ["first_day", "last_day", "gaps", "sessions_behind", "staleness.sessions_behind", "staleness.last_bar"]
                .map(|f| (f.to_owned(), "no_prices".to_owned())),
        );
    }
    let drift = readable(drift);
    if let Err(reason) = drift {
        reasons.insert("drift".to_owned(), reason.to_owned());
    }
    let described = [("name", &row.instrument.name), ("sector", &row.instrument.sector)];
    for (field, _) in described.into_iter().filter(|(_, value)| value.is_none()) {
        reasons.insert(field.to_owned(), "not_described".to_owned());
    }
    InstrumentAnswer {
        symbol: row.instrument.symbol,
        name: row.instrument.name,
        sector: row.instrument.sector,
        kind: row.instrument.kind.as_str().to_owned(),
        currency: row.instrument.currency,
        first_day: row.first_day,
        last_day: row.last_day,
        sessions: row.bars,
        // A source with a calendar of its own may hold more days than the exchange had sessions.
        gaps: span.map(|span| (span - row.bars).max(0)),
        sessions_behind: behind,
        stale: behind.is_none_or(|sessions| sessions > STALE_AFTER_SESSIONS),
        staleness: staleness(row.last_day, calendar::newest_closed_session(*now)),
        drift: drift.ok(),
        renames: None,
        reasons,
    }
}

/// The drift of an instrument, or why there is none.
fn readable(measures: Option<Value>) -> Result<InstrumentDrift, &'static str> {
    let measures = measures.ok_or("no_drift_report_yet")?;
    serde_json::from_value(measures).map_err(|_| "reported_by_another_version")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::instrument::Instrument;

    fn day(m: u32, d: u32) -> Day {
        Day::from_ymd_opt(2024, m, d).unwrap()
    }

    fn coverage(days: Option<(Day, Day)>, bars: i64) -> Coverage {
        let instrument = Instrument::unnamed(Symbol::parse("BABA").unwrap());
        Coverage { instrument, first_day: days.map(|d| d.0), last_day: days.map(|d| d.1), bars }
    }

    fn answer(row: Coverage, newest: Option<Day>) -> InstrumentAnswer {
        let sessions = Sessions::spanning(std::slice::from_ref(&row), newest);
        let now = "2024-10-08T21:00:00Z".parse().unwrap();
        shaped(row, &Seen { newest, sessions, now }, Some(serde_json::json!({"of": "another version"})))
    }

    #[test]
    fn gaps_and_staleness_are_counted_in_sessions() {
        // 2024-09-02 was Labor Day: 20 sessions in September.
        let whole = answer(coverage(Some((day(9, 3), day(9, 30))), 20), Some(day(9, 30)));
        assert_eq!((whole.gaps, whole.sessions_behind, whole.stale), (Some(0), Some(0), false));
        let gappy = answer(coverage(Some((day(9, 3), day(9, 30))), 18), Some(day(10, 8)));
        assert_eq!((gappy.gaps, gappy.sessions_behind, gappy.stale), (Some(2), Some(6), true));
        let empty = answer(coverage(None, 0), Some(day(9, 30)));
        assert_eq!((empty.gaps, empty.stale), (None, true));
        assert_eq!(empty.reasons["last_day"], "no_prices");
        // By the calendar, at the evening of 2024-10-08, six sessions have closed since.
        assert_eq!((whole.staleness.sessions_behind, empty.staleness.sessions_behind), (Some(6), None));
        assert_eq!((whole.drift, whole.reasons["drift"].as_str()), (None, "reported_by_another_version"));
    }
}

//! `GET /track-record` and `GET /track-record/{symbol}`: how the answers that were published came out, against the benchmark.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::api::asked;
use crate::api::condition::Condition;
use crate::api::instruments;
use crate::api::parameters::{self, Parameters};
use crate::api::problem::Problem;
use crate::api::state::AppState;
use crate::api::tag;
use crate::evaluation::live_days::{DayScores, Scope, ScoredDay};
use crate::evaluation::live_scores::InstrumentScore;
use crate::evaluation::track_record::{
    Coverage, METHOD, MeasureRecord, QuantileBin, ReliabilityBin, TrackRecord, track_record,
};
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::envelope::reason;
use crate::opinion::schemas;
use crate::store::StoreError;
use crate::store::scores::{self, Outside, ScoreRow, ScoreSpan};

/// Why there is no record.
mod without {
    /// Nothing was published.
    pub const PUBLISHED: &str = "nothing_published_yet";
    /// No horizon of a publication that counts has passed.
    pub const MATURED: &str = "nothing_matured_yet";
    /// None lies between the asked days.
    pub const IN_SPAN: &str = "nothing_in_span";
    /// The benchmark could not be computed again from the rows of the publication.
    pub const BENCHMARK: &str = "benchmark_not_reproduced";
    /// Nothing more is to be scored.
    pub const WAITS: &str = "nothing_waits";
    /// The whole record was asked for.
    pub const ASKED: &str = "not_asked";
}

const KNOWN: [&str; 3] = ["horizon", "from", "to"];
/// What counts, in words.
const COUNTED: &str = "Live ledger entries alone: of each decision day the first publication, unless it was late; walk-forward \
     entries never. Each is scored once, from the rows known five sessions after its horizon at the latest. Simulated where \
     `simulated` says so.";

/// How the published answers came out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrackRecord)]
pub struct TrackRecordAnswer {
    /// Canonical symbol; `null` with the reason `whole_universe` for the means over all instruments.
    #[schema(schema_with = schemas::optional_symbol)]
    pub symbol: Option<Symbol>,
    /// First decision day that was asked for; `null` for all.
    #[schema(value_type = Option<String>, format = Date, example = "2024-01-02")]
    pub from: Option<Day>,
    /// Last decision day that was asked for; `null` for all.
    #[schema(value_type = Option<String>, format = Date, example = "2024-12-31")]
    pub to: Option<Day>,
    /// One a horizon, shortest first.
    pub horizons: Vec<HorizonRecord>,
    /// What counts.
    #[schema(example = "Live ledger entries alone: ...")]
    pub counted: String,
    /// How the bounds are computed and what they promise. With `from` or `to` that is the promise of a span chosen before
    /// its outcomes were seen.
    #[schema(example = "Empirical-Bernstein confidence sequence (Choe and Ramdas 2023) ...")]
    pub method: String,
    /// Whether the prices are invented.
    pub simulated: bool,
    /// Why a field is `null`, by its name.
    pub reasons: BTreeMap<String, String>,
}

/// The record of one horizon. What is not known yet is `null`, with the reason.
#[derive(Debug, Serialize, ToSchema)]
pub struct HorizonRecord {
    /// How far the answers looked ahead.
    #[schema(schema_with = schemas::horizon)]
    pub horizon: Horizon,
    /// Decision days that count.
    #[schema(example = 61)]
    pub days: usize,
    /// First of them.
    #[schema(value_type = Option<String>, format = Date, example = "2024-07-01")]
    pub first_day: Option<Day>,
    /// Last of them.
    #[schema(value_type = Option<String>, format = Date, example = "2024-09-25")]
    pub last_day: Option<Day>,
    /// Outcomes of instruments behind them.
    #[schema(example = 7930)]
    pub outcomes: usize,
    /// Every measure against the benchmark: losses of ranks, quantiles, volatility and direction, payoffs against holding.
    pub measures: Option<Vec<MeasureRecord>>,
    /// How often the intervals held.
    pub coverage: Option<Vec<Coverage>>,
    /// Between which quantiles the outcomes fell, lowest first: the histogram of the probability integral transform.
    pub between_quantiles: Option<Vec<QuantileBin>>,
    /// Probabilities of a rise against what happened.
    pub reliability: Option<Vec<ReliabilityBin>>,
    /// Publications outside the record, of the whole universe: `waiting` for their horizon or its prices, `late`, `not_first`
    /// of their day.
    #[schema(example = json!({"waiting": 20, "not_first": 3}))]
    pub outside: BTreeMap<String, i64>,
    /// First day on which a waiting publication may mature.
    #[schema(value_type = Option<String>, format = Date, example = "2024-10-28")]
    pub next_due: Option<Day>,
    /// Why a field is `null`, by its name.
    #[schema(example = json!({"next_due": "nothing_published_yet"}))]
    pub reasons: BTreeMap<String, String>,
}

/// Documentation of the parameters.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct TrackRecordParameters {
    /// Only this horizon; all unless given.
    #[param(schema_with = asked::horizon)]
    horizon: Option<String>,
    /// First decision day.
    #[param(value_type = Option<String>, format = Date, example = "2024-01-02")]
    from: Option<String>,
    /// Last decision day.
    #[param(value_type = Option<String>, format = Date, example = "2024-12-31")]
    to: Option<String>,
}

/// How the published answers of the whole universe came out.
///
/// Means are over decision days, of the mean over the instruments of each; `gain` says by how much what was served was
/// better than the benchmark.
#[utoipa::path(
    get, path = "/track-record", operation_id = "find_track_record", tag = tag::OPINIONS, params(TrackRecordParameters),
    responses((status = 200, description = "The record", body = TrackRecordAnswer))
)]
pub async fn find_track_record(
    State(state): State<AppState>,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &KNOWN);
    let asked = Asked::read(&mut parameters);
    parameters.finish()?;
    answer(&state, asked, &condition).await
}

/// How the published answers about one instrument came out.
///
/// Bounds of one instrument are wide: its gains are not averaged over others.
#[utoipa::path(
    get, path = "/track-record/{symbol}", operation_id = "find_instrument_track_record", tag = tag::OPINIONS,
    params(("symbol" = String, Path, description = "Symbol in any case", example = "BABA"), TrackRecordParameters),
    responses((status = 200, description = "The record", body = TrackRecordAnswer))
)]
pub async fn find_instrument_track_record(
    State(state): State<AppState>,
    Path(text): Path<String>,
    uri: Uri,
    condition: Condition,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &KNOWN);
    let asked = Asked::read(&mut parameters);
    let symbol = instruments::only_symbol(parameters, &text)?;
    instruments::known(&state, &symbol).await?;
    let span = ScoreSpan { symbol: Some(symbol), ..asked.span };
    answer(&state, Asked { span, ..asked }, &condition).await
}

/// What was asked for.
struct Asked {
    horizon: Option<Horizon>,
    span: ScoreSpan,
}

impl Asked {
    fn read(parameters: &mut Parameters) -> Self {
        let horizon = parameters.take("horizon", str::parse::<Horizon>);
        let (from, to) = (parameters.take("from", parameters::day), parameters.take("to", parameters::day));
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            parameters.refuse("from", "lies after to");
        }
        Self { horizon, span: ScoreSpan { symbol: None, from, to } }
    }
}

async fn answer(state: &AppState, asked: Asked, condition: &Condition) -> Result<Response, Problem> {
    let rows = scores::counted(&state.pool, &asked.span).await?;
    let outside = scores::outside(&state.pool).await?;
    let wanted = Horizon::ALL.into_iter().filter(|h| asked.horizon.is_none_or(|only| only == *h));
    let horizons =
        wanted.map(|h| horizon_record(h, &rows, &outside, &asked.span)).collect::<Result<_, StoreError>>()?;
    let ScoreSpan { symbol, from, to } = asked.span;
    let absent = [
        ("symbol", symbol.is_none(), reason::WHOLE_UNIVERSE),
        ("from", from.is_none(), without::ASKED),
        ("to", to.is_none(), without::ASKED),
    ];
    let reasons = absent.into_iter().filter(|(_, absent, _)| *absent).map(|(f, _, why)| (f.to_owned(), why.to_owned()));
    let answer = TrackRecordAnswer {
        symbol,
        from,
        to,
        horizons,
        counted: COUNTED.to_owned(),
        method: METHOD.to_owned(),
        simulated: state.settings.simulated,
        reasons: reasons.collect(),
    };
    condition.respond_json(&answer, None)
}

fn horizon_record(
    horizon: Horizon,
    rows: &[ScoreRow],
    outside: &[Outside],
    span: &ScoreSpan,
) -> Result<HorizonRecord, StoreError> {
    let rows: Vec<&ScoreRow> = rows.iter().filter(|row| row.horizon == horizon.label()).collect();
    let outside: Vec<&Outside> = outside.iter().filter(|o| o.horizon == horizon.label()).collect();
    let scope = if span.symbol.is_some() { Scope::Instrument } else { Scope::Universe };
    let days = rows.iter().filter_map(|row| scored_day(row, scope).transpose()).collect::<Result<Vec<_>, _>>()?;
    let record = track_record(&days, horizon, scope);
    let next_due = outside.iter().find_map(|o| o.first_due);
    let mut reasons = BTreeMap::new();
    let mut because = |field: &str, why: &str| reasons.insert(field.to_owned(), why.to_owned());
    if next_due.is_none() {
        because("next_due", if days.is_empty() { without::PUBLISHED } else { without::WAITS });
    }
    if record.is_none() {
        let why = no_record(&rows, &outside, span);
        OF_RECORD.into_iter().for_each(|field| drop(because(field, why)));
    }
    if record.iter().flat_map(|r| &r.measures).any(|m| m.benchmark.is_none()) {
        ["benchmark", "gain", "confidence"]
            .into_iter()
            .for_each(|field| drop(because(&format!("measures.{field}"), without::BENCHMARK)));
    }
    if record.iter().flat_map(|r| &r.coverage).any(|c| c.benchmark.is_none()) {
        because("coverage.benchmark", without::BENCHMARK);
    }
    let outside = outside.iter().map(|o| (o.why.clone(), o.count)).collect();
    Ok(shaped(horizon, record, Beside { outside, next_due, reasons }))
}

/// Fields that are `null` without a record.
const OF_RECORD: [&str; 6] = ["first_day", "last_day", "measures", "coverage", "between_quantiles", "reliability"];

/// Why no day counts: what the newest score says, or that there is none.
fn no_record<'a>(rows: &[&'a ScoreRow], outside: &[&Outside], span: &ScoreSpan) -> &'a str {
    match rows.iter().rev().find_map(|row| row.reason.as_deref()) {
        Some(why) => why,
        None if span.from.is_some() || span.to.is_some() => without::IN_SPAN,
        None if outside.is_empty() => without::PUBLISHED,
        None => without::MATURED,
    }
}

/// A score as the day that it counts for; `None` for one without numbers.
fn scored_day(row: &ScoreRow, scope: Scope) -> Result<Option<ScoredDay>, StoreError> {
    let Some(measures) = row.measures.clone() else { return Ok(None) };
    let scores = match scope {
        Scope::Universe => serde_json::from_value(measures).map_err(StoreError::row)?,
        Scope::Instrument => {
            let score: InstrumentScore = serde_json::from_value(measures).map_err(StoreError::row)?;
            DayScores::of(&[score], BTreeMap::new())
        }
    };
    Ok(Some(ScoredDay { as_of: row.as_of, matured_on: row.matured_on, scores }))
}

/// What stands beside a record.
struct Beside {
    outside: BTreeMap<String, i64>,
    next_due: Option<Day>,
    reasons: BTreeMap<String, String>,
}

fn shaped(horizon: Horizon, record: Option<TrackRecord>, beside: Beside) -> HorizonRecord {
    let Beside { outside, next_due, reasons } = beside;
    let empty = HorizonRecord {
        horizon,
        days: 0,
        first_day: None,
        last_day: None,
        outcomes: 0,
        measures: None,
        coverage: None,
        between_quantiles: None,
        reliability: None,
        outside,
        next_due,
        reasons,
    };
    let Some(record) = record else { return empty };
    HorizonRecord {
        days: record.days,
        first_day: Some(record.first_day),
        last_day: Some(record.last_day),
        outcomes: record.outcomes,
        measures: Some(record.measures),
        coverage: Some(record.coverage),
        between_quantiles: Some(record.between_quantiles),
        reliability: Some(record.reliability),
        ..empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reason: Option<&str>) -> ScoreRow {
        ScoreRow {
            as_of: "2024-09-30".parse().unwrap(),
            horizon: "4w".into(),
            matured_on: "2024-10-28".parse().unwrap(),
            measures: None,
            reason: reason.map(str::to_owned),
            scored_at: "2024-10-28T21:00:00Z".parse().unwrap(),
        }
    }

    fn waiting(horizon: &str) -> Outside {
        let first_due = Some("2024-10-28".parse().unwrap());
        Outside { horizon: horizon.into(), why: "waiting".into(), count: 3, first_due }
    }

    #[test]
    fn without_a_record_the_reason_is_named() {
        let of = |rows: &[ScoreRow], outside: &[Outside], span: ScoreSpan| {
            let record = horizon_record(Horizon::FourWeeks, rows, outside, &span).unwrap();
            assert!(record.measures.is_none() && record.days == 0);
            (record.reasons["measures"].clone(), record.next_due.is_some(), record.outside.len())
        };
        let span = ScoreSpan { from: Some("2024-01-01".parse().unwrap()), ..ScoreSpan::default() };
        let reason = |why: &str| why.to_owned();
        assert_eq!(of(&[], &[], ScoreSpan::default()), (reason("nothing_published_yet"), false, 0));
        assert_eq!(of(&[], &[waiting("1w")], ScoreSpan::default()), (reason("nothing_published_yet"), false, 0));
        assert_eq!(of(&[], &[waiting("4w")], ScoreSpan::default()), (reason("nothing_matured_yet"), true, 1));
        assert_eq!(of(&[], &[waiting("4w")], span), (reason("nothing_in_span"), true, 1));
        let stopped = [row(Some("prices_stopped"))];
        assert_eq!(of(&stopped, &[], ScoreSpan::default()), (reason("prices_stopped"), false, 0));
    }
}

//! `GET /prices/{symbol}`: point-in-time history as JSON, NDJSON or CSV.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::api::adjusted::adjusted;
use crate::api::condition::Condition;
use crate::api::instruments::{known, only_symbol};
use crate::api::parameters::{self, Parameters};
use crate::api::problem::Problem;
use crate::api::ready::Ready;
use crate::api::state::AppState;
use crate::api::tag;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::instrument::Symbol;
use crate::opinion::schemas;
use crate::store::StoreError;
use crate::store::prices::{self, PriceRange, PriceRow};

/// The prices of an instrument.
#[derive(Debug, Serialize, ToSchema)]
pub struct PriceHistory {
    /// Canonical symbol.
    #[schema(schema_with = schemas::symbol)]
    pub symbol: Symbol,
    /// ISO 4217 code of the prices.
    #[schema(example = "USD")]
    pub currency: String,
    /// Whether the past stands on today's share basis with dividends reinvested.
    pub adjusted: bool,
    /// Only rows known at the close of this day were used; `null`: all.
    #[schema(value_type = Option<String>, format = Date)]
    pub as_of: Option<Day>,
    /// Sessions, ascending.
    pub rows: Vec<SessionPrices>,
}

/// The prices of one session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionPrices {
    /// Session.
    #[schema(value_type = String, format = Date, example = "2024-09-30")]
    pub day: Day,
    /// First price.
    pub open: Option<f64>,
    /// Highest price.
    pub high: Option<f64>,
    /// Lowest price.
    pub low: Option<f64>,
    /// Last price.
    #[schema(example = 106.12)]
    pub close: f64,
    /// Shares traded.
    pub volume: Option<f64>,
    /// New shares for one old before this session; 1 without a split.
    #[schema(example = 1.0)]
    pub split: f64,
    /// Cash per share held at the previous close; 0 without a dividend.
    #[schema(example = 0.0)]
    pub dividend: f64,
    /// Name of the source.
    pub source: String,
    /// When the world could know the row.
    #[schema(value_type = String, format = DateTime)]
    pub known_at: DateTime<Utc>,
    /// When this store got the row.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: DateTime<Utc>,
}

/// Documentation of the parameters.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct PriceParameters {
    /// First session.
    #[param(value_type = Option<String>, format = Date, example = "2024-01-01")]
    from: Option<String>,
    /// Last session.
    #[param(value_type = Option<String>, format = Date, example = "2024-09-30")]
    to: Option<String>,
    /// Only rows that the world could know at the close of this day.
    #[param(value_type = Option<String>, format = Date, example = "2024-09-30")]
    as_of: Option<String>,
    /// The past on today's share basis with dividends reinvested; `false` unless given.
    adjusted: Option<bool>,
}

/// The price history of one instrument.
///
/// `Accept` decides between JSON (`application/json`), one JSON object a line (`application/x-ndjson`) and CSV (`text/csv`).
#[utoipa::path(
    get, path = "/prices/{symbol}", operation_id = "find_prices", tag = tag::HISTORY,
    params(("symbol" = String, Path, description = "Symbol in any case", example = "BABA"), PriceParameters),
    responses((status = 200, description = "The history", content(
        (PriceHistory = "application/json"), (String = "application/x-ndjson"), (String = "text/csv")
    )))
)]
pub async fn find_prices(
    State(state): State<AppState>,
    Path(text): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let question = Question::read(&uri, &text)?;
    let currency = known(&state, &question.symbol).await?.instrument.currency;
    let rows = prices::price_rows(&state.pool, &question.symbol, &question.range()).await?;
    let ready = Form::asked(&headers).write(&question.answer(currency, rows))?;
    let mut response = Condition::read(&headers).respond(&ready, HeaderValue::from_static("no-cache"));
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// Which prices are asked for.
struct Question {
    symbol: Symbol,
    from: Option<Day>,
    to: Option<Day>,
    as_of: Option<Day>,
    adjusted: bool,
}

impl Question {
    fn read(uri: &Uri, text: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::read(uri, &["from", "to", "as_of", "adjusted"]);
        let [from, to, as_of] = ["from", "to", "as_of"].map(|name| parameters.take(name, parameters::day));
        let adjusted = parameters.take("adjusted", parameters::flag).unwrap_or(false);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            parameters.refuse("from", "lies after to");
        }
        Ok(Self { symbol: only_symbol(parameters, text)?, from, to, as_of, adjusted })
    }

    /// Adjusting needs the actions after the last day asked for, too.
    fn range(&self) -> PriceRange {
        let to = self.to.filter(|_| !self.adjusted);
        PriceRange { from: self.from, to, known_until: self.as_of.map(calendar::close_of) }
    }

    fn answer(self, currency: String, mut rows: Vec<PriceRow>) -> PriceHistory {
        if self.adjusted {
            rows = adjusted(rows);
            rows.retain(|row| self.to.is_none_or(|to| row.day <= to));
        }
        let rows = rows.into_iter().map(shaped).collect();
        PriceHistory { symbol: self.symbol, currency, adjusted: self.adjusted, as_of: self.as_of, rows }
    }
}

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Csv,
}

impl Form {
    /// The first known media type that the client accepts; JSON when there is none.
    fn asked(headers: &HeaderMap) -> Self {
        let accepted =
            headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        let known = accepted.filter_map(|offer| match offer.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Self::Json),
            "application/x-ndjson" | "application/jsonl" => Some(Self::Lines),
            "text/csv" => Some(Self::Csv),
            _ => None,
        });
        known.into_iter().next().unwrap_or(Self::Json)
    }

    fn write(self, history: &PriceHistory) -> Result<Ready, Problem> {
        let newest = history.rows.iter().map(|row| row.recorded_at).max();
        let (media_type, body) = match self {
            Self::Json => ("application/json", serde_json::to_vec(history).map_err(StoreError::row)?),
            Self::Lines => ("application/x-ndjson", lines(&history.rows).map_err(StoreError::row)?),
            Self::Csv => ("text/csv; charset=utf-8; header=present", csv_text(&history.rows).map_err(StoreError::row)?),
        };
        Ok(Ready::of_type(HeaderValue::from_static(media_type), body, newest))
    }
}

fn lines(rows: &[SessionPrices]) -> serde_json::Result<Vec<u8>> {
    let mut body = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut body, row)?;
        body.push(b'\n');
    }
    Ok(body)
}

fn csv_text(rows: &[SessionPrices]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for row in rows {
        writer.serialize(SessionPrices { source: quoted_formula(&row.source), ..*row })?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

const COLUMNS: [&str; 11] =
    ["day", "open", "high", "low", "close", "volume", "split", "dividend", "source", "known_at", "recorded_at"];

/// A text that a spreadsheet would run as a formula gets an apostrophe before it.
fn quoted_formula(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn shaped(row: PriceRow) -> SessionPrices {
    SessionPrices {
        day: row.day,
        open: row.open,
        high: row.high,
        low: row.low,
        close: row.close,
        volume: row.volume,
        split: row.split,
        dividend: row.dividend,
        source: row.source,
        known_at: row.known_at,
        recorded_at: row.recorded_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> PriceHistory {
        let at: DateTime<Utc> = "2024-09-30T20:00:00Z".parse().unwrap();
        let row = SessionPrices {
            day: at.date_naive(),
            open: None,
            high: Some(107.5),
            low: None,
            close: 106.12,
            volume: Some(1e7),
            split: 1.0,
            dividend: 0.0,
            source: "=desk".into(),
            known_at: at,
            recorded_at: at,
        };
        PriceHistory {
            symbol: Symbol::parse("BABA").unwrap(),
            currency: "USD".into(),
            adjusted: false,
            as_of: None,
            rows: vec![row],
        }
    }

    #[test]
    fn every_form_holds_the_same_row() {
        let text = |form: Form| String::from_utf8(form.write(&history()).unwrap().identity.body.to_vec()).unwrap();
        assert!(text(Form::Json).contains(r#""day":"2024-09-30","open":null,"high":107.5"#));
        assert_eq!(text(Form::Lines).lines().count(), 1);
        let csv = text(Form::Csv);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], "day,open,high,low,close,volume,split,dividend,source,known_at,recorded_at");
        assert_eq!(
            lines[1],
            "2024-09-30,,107.5,,106.12,10000000.0,1.0,0.0,'=desk,2024-09-30T20:00:00Z,2024-09-30T20:00:00Z"
        );
    }

    #[test]
    fn the_first_known_media_type_wins() {
        let form = |accept: &str| {
            Form::asked(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]))
        };
        assert_eq!(form("text/html, text/csv;q=0.9, application/json"), Form::Csv);
        assert_eq!(form("application/x-ndjson"), Form::Lines);
        assert_eq!(form("*/*"), Form::Json);
    }
}

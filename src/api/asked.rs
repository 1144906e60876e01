//! What a request for opinions asks: read once from path, query and headers.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use utoipa::IntoParams;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::api::condition::Condition;
use crate::api::parameters::{self, Parameters};
use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::api::snapshot::EXPLANATION;
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::opinion::chain::Chain;
use crate::opinion::schemas;

/// Opinions a page holds unless asked otherwise.
pub const PAGE_DEFAULT: usize = 100;
/// Opinions a page holds at most.
pub const PAGE_MAX: usize = 1000;

const OF_ONE: [&str; 6] = ["horizon", "as_of", "chain", "fields", "explain", "wait"];
const OF_MANY: [&str; 9] = ["horizon", "symbols", "limit", "cursor", "fields", "explain", "as_of", "chain", "wait"];

/// What an opinion that has one form for all horizons is asked by.
pub const COMMON: [&str; 5] = ["as_of", "chain", "fields", "explain", "wait"];

/// Which opinions.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// How far they look ahead.
    pub horizon: Horizon,
    /// Only of these; `None` for all.
    pub symbols: Option<Vec<Symbol>>,
    /// At most so many.
    pub limit: usize,
    /// Only after this symbol.
    pub cursor: Option<Symbol>,
    /// Only these fields; `None` for all. Of a selection that explains, the explanation is among them.
    pub fields: Option<Vec<String>>,
    /// With the explanation, where there is one.
    pub explain: bool,
}

impl Selection {
    /// Whether it is what a request without parameters (but for the horizon and the explanation) asks.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.symbols.is_none() && self.cursor.is_none() && self.fields.is_none() && self.limit == PAGE_DEFAULT
    }
}

/// A day of the past, and the chain that is to answer for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastDay {
    /// The day.
    pub day: Day,
    /// As it was at the end of the day, or as backfilled for it.
    pub chain: Chain,
}

/// What stands beside the selection.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// From the ledger as of this day.
    pub as_of: Option<PastDay>,
    /// Hold the request so long for a change.
    pub wait: Option<Duration>,
    /// What the client has already.
    pub condition: Condition,
}

/// A request for one opinion.
#[derive(Debug, Clone)]
pub struct AskedOne {
    /// Of whom.
    pub symbol: Symbol,
    /// Which.
    pub selection: Selection,
    /// How.
    pub circumstances: Circumstances,
}

/// A request for many opinions.
#[derive(Debug, Clone)]
pub struct AskedMany {
    /// Which.
    pub selection: Selection,
    /// How.
    pub circumstances: Circumstances,
}

/// A request for an opinion of the whole universe that has one form for all horizons.
#[derive(Debug, Clone)]
pub struct AskedCommon {
    /// Which fields.
    pub selection: Selection,
    /// How.
    pub circumstances: Circumstances,
}

impl<S: Send + Sync> FromRequestParts<S> for AskedOne {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_text(parts, state).await?;
        let mut parameters = Parameters::read(&parts.uri, &OF_ONE);
        let symbol = parameters.place("symbol", &text, Symbol::parse);
        let (selection, circumstances) = read(&mut parameters, parts);
        parameters.finish()?;
        // Without a symbol the reading has just failed.
        let symbol = symbol.ok_or_else(|| Problem::new(ProblemType::NotFound, "no symbol"))?;
        Ok(Self { symbol, selection, circumstances })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AskedMany {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut parameters = Parameters::read(&parts.uri, &OF_MANY);
        let (selection, circumstances) = read(&mut parameters, parts);
        parameters.finish()?;
        Ok(Self { selection, circumstances })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AskedCommon {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut parameters = Parameters::read(&parts.uri, &COMMON);
        let (selection, circumstances) = read(&mut parameters, parts);
        parameters.finish()?;
        Ok(Self { selection, circumstances })
    }
}

/// The last part of the path, decoded.
///
/// # Errors
/// 404 when it is not UTF-8.
pub async fn path_text<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(text)| text).map_err(|_| Problem::new(ProblemType::NotFound, "the address cannot be decoded"))
}

/// Reads what opinions of any kind are asked by; a parameter that the operation does not know is absent here.
pub fn read(parameters: &mut Parameters, parts: &Parts) -> (Selection, Circumstances) {
    let limit = parameters.take("limit", |t| parameters::integer(t, 1..=PAGE_MAX as i64));
    let mut selection = Selection {
        horizon: parameters.take("horizon", str::parse).unwrap_or(Horizon::FourWeeks),
        symbols: parameters.take("symbols", parameters::symbols),
        limit: limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(PAGE_DEFAULT),
        cursor: parameters.take("cursor", Symbol::parse),
        fields: parameters.take("fields", parameters::fields),
        explain: parameters.take("explain", parameters::flag).unwrap_or(false),
    };
    // Asking for the explanation in either way selects it.
    if let Some(fields) = &mut selection.fields {
        let named = fields.iter().any(|name| name == EXPLANATION);
        if selection.explain && !named {
            fields.push(EXPLANATION.to_owned());
        }
        selection.explain |= named;
    }
    let day = parameters.take("as_of", parameters::day);
    let chain = parameters.take("chain", str::parse::<Chain>).unwrap_or_default();
    if !chain.is_live() && !parameters.has("as_of") {
        parameters.refuse("chain", "backfill stands beside as_of only: what is served now is live");
    }
    let as_of = day.map(|day| PastDay { day, chain });
    let wait = parameters.take("wait", parameters::wait);
    if as_of.is_some() && wait.is_some() {
        parameters.refuse("wait", "cannot stand beside as_of: the past does not change");
    }
    (selection, Circumstances { as_of, wait, condition: Condition::read(&parts.headers) })
}

/// Documentation of the parameters of one opinion.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct OneParameters {
    /// How far the opinion looks ahead; `4w` unless given.
    #[param(schema_with = horizon)]
    horizon: Option<String>,
    /// Answer from the ledger as it was at the end of this day (UTC); with `chain=backfill` from the newest backfilled
    /// decision on or before it.
    #[param(value_type = Option<String>, format = Date, example = "2024-09-30")]
    as_of: Option<String>,
    /// `live` unless given; `backfill` answers from the chain of past days that were written afterwards. Only beside `as_of`.
    #[param(schema_with = chain)]
    chain: Option<String>,
    /// Comma-separated names of the fields wanted; all unless given.
    #[param(example = "action,price")]
    fields: Option<String>,
    /// With the numbers that decided and one plain sentence, where the opinion has them; `false` unless given.
    #[param(example = true)]
    explain: Option<bool>,
    /// With `If-None-Match`: hold the request until the answer changes, at most so many seconds (0s to 60s).
    #[param(pattern = "^[0-9]{1,2}s?$", example = "30s")]
    wait: Option<String>,
}

/// Documentation of the parameters of an opinion that has one form for all horizons.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct CommonParameters {
    /// Answer from the ledger as it was at the end of this day (UTC); with `chain=backfill` from the newest backfilled
    /// decision on or before it.
    #[param(value_type = Option<String>, format = Date, example = "2024-09-30")]
    as_of: Option<String>,
    /// `live` unless given; `backfill` answers from the chain of past days that were written afterwards. Only beside `as_of`.
    #[param(schema_with = chain)]
    chain: Option<String>,
    /// Comma-separated names of the fields wanted; all unless given.
    #[param(example = "as_of,ledger")]
    fields: Option<String>,
    /// With the numbers that decided and one plain sentence, where the opinion has them; `false` unless given.
    #[param(example = true)]
    explain: Option<bool>,
    /// With `If-None-Match`: hold the request until the answer changes, at most so many seconds (0s to 60s).
    #[param(pattern = "^[0-9]{1,2}s?$", example = "30s")]
    wait: Option<String>,
}

/// Documentation of the parameters of many opinions.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct ManyParameters {
    /// How far the opinions look ahead; `4w` unless given.
    #[param(schema_with = horizon)]
    horizon: Option<String>,
    /// Comma-separated symbols in any case, at most 1000; all unless given.
    #[param(example = "BABA,JD")]
    symbols: Option<String>,
    /// At most so many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Continue where the page before ended: its `next`.
    #[param(schema_with = schemas::symbol)]
    cursor: Option<String>,
    /// Comma-separated names of the fields wanted of each opinion; all unless given.
    #[param(example = "symbol,action")]
    fields: Option<String>,
    /// With the numbers that decided and one plain sentence, where the opinions have them; `false` unless given.
    #[param(example = true)]
    explain: Option<bool>,
    /// Answer from the ledger as it was at the end of this day (UTC); with `chain=backfill` from the newest backfilled
    /// decision on or before it.
    #[param(value_type = Option<String>, format = Date, example = "2024-09-30")]
    as_of: Option<String>,
    /// `live` unless given; `backfill` answers from the chain of past days that were written afterwards. Only beside `as_of`.
    #[param(schema_with = chain)]
    chain: Option<String>,
    /// With `If-None-Match`: hold the request until the answer changes, at most so many seconds (0s to 60s).
    #[param(pattern = "^[0-9]{1,2}s?$", example = "30s")]
    wait: Option<String>,
}

/// Schema of the parameter `chain`.
#[must_use]
pub fn chain() -> Object {
    let known = [Chain::Live, Chain::Backfill].map(Chain::as_str);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(known)).default(Some(known[0].into())).build()
}

/// Schema of the parameter `horizon`.
#[must_use]
pub fn horizon() -> Object {
    ObjectBuilder::from(schemas::horizon()).default(Some(Horizon::FourWeeks.label().into())).build()
}

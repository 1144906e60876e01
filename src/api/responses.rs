//! `GET /responses`: the models ranked over the universe, and the comparisons from which the rewards were learnt.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderValue;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::api::asked::{self, Circumstances, Selection};
use crate::api::parameters::Parameters;
use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::api::ready::Ready;
use crate::api::snapshot::Snapshot;
use crate::api::state::AppState;
use crate::api::{historic, opinions, tag};
use crate::clock;
use crate::opinion::envelope::Kind;
use crate::store::{StoreError, comparisons};

/// Media type of the comparisons.
pub const JSON_LINES: &str = "application/x-ndjson";

const KNOWN: [&str; 7] = ["horizon", "as_of", "chain", "fields", "explain", "wait", "format"];

/// A request for the ranked responses.
#[derive(Debug, Clone)]
pub struct AskedResponses {
    selection: Selection,
    circumstances: Circumstances,
    form: Form,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The ranking.
    #[default]
    Json,
    /// The comparisons, one JSON object a line.
    Jsonl,
}

impl<S: Send + Sync> FromRequestParts<S> for AskedResponses {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut parameters = Parameters::read(&parts.uri, &KNOWN);
        let (selection, circumstances) = asked::read(&mut parameters, parts);
        let form = parameters.take("format", form).unwrap_or_default();
        if form == Form::Jsonl {
            let parts = [
                ("fields", selection.fields.is_some()),
                ("explain", selection.explain),
                ("horizon", parameters.has("horizon")),
                ("wait", circumstances.wait.is_some()),
            ];
            for (name, _) in parts.into_iter().filter(|(_, given)| *given) {
                parameters.refuse(name, "cannot stand beside format=jsonl, which is sent as a whole");
            }
        }
        parameters.finish()?;
        Ok(Self { selection, circumstances, form })
    }
}

/// Documentation of the parameters.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct ResponsesParameters {
    /// How far the responses look ahead; `4w` unless given. Not with `format=jsonl`: its comparisons are of every horizon
    /// that has any, and each line names its own.
    #[param(schema_with = asked::horizon)]
    horizon: Option<String>,
    /// Answer from the ledger as it was at the end of this day (UTC); with `chain=backfill` from the newest backfilled
    /// decision on or before it.
    #[param(value_type = Option<String>, format = Date, example = "2024-09-30")]
    as_of: Option<String>,
    /// `live` unless given; `backfill` answers from the chain of past days that were written afterwards. Only beside `as_of`.
    #[param(schema_with = asked::chain)]
    chain: Option<String>,
    /// Comma-separated names of the fields wanted; all unless given. Not with `format=jsonl`.
    #[param(example = "responses")]
    fields: Option<String>,
    /// With the numbers that decided and one plain sentence; `false` unless given. Not with `format=jsonl`.
    #[param(example = true)]
    explain: Option<bool>,
    /// With `If-None-Match`: hold the request until the answer changes, at most so many seconds (0s to 60s). Not with
    /// `format=jsonl`.
    #[param(pattern = "^[0-9]{1,2}s?$", example = "30s")]
    wait: Option<String>,
    /// `json` unless given; `jsonl` gives the comparisons that the reward model learnt from, one JSON object a line.
    #[param(inline, example = "json")]
    format: Option<Form>,
}

/// The models ranked over the universe by what their responses earned.
///
/// Each pair of models plays one game a quarter; strengths are Bradley-Terry with ties. With `format=jsonl` the data that
/// the reward model of the same publication learnt from: a state, two responses, which was better and how surely.
#[utoipa::path(
    get, path = "/responses", operation_id = "find_responses", tag = tag::OPINIONS, params(ResponsesParameters),
    responses((status = 200, description = "The ranked models, or the comparisons", content(
        (ref("#/components/schemas/ServedResponses") = "application/json"), (String = "application/x-ndjson")
    )))
)]
pub async fn find_responses(State(state): State<AppState>, asked: AskedResponses) -> Result<Response, Problem> {
    let AskedResponses { selection, circumstances, form } = asked;
    match form {
        Form::Json => opinions::find_of_universe(&state, Kind::Responses, (selection, circumstances)).await,
        Form::Jsonl => comparisons_of(&state, &selection, &circumstances).await,
    }
}

async fn comparisons_of(
    state: &AppState,
    selection: &Selection,
    circumstances: &Circumstances,
) -> Result<Response, Problem> {
    let (snapshot, cache_control) = match circumstances.as_of {
        Some(day) => {
            let then = historic::snapshot(state, Kind::Responses, selection.clone(), day).await?;
            (Arc::new(then), historic::cache_control(day))
        }
        None => {
            let now = state.board.load_full();
            let until = opinions::cache_control(now.next_publication(), clock::now());
            (now, until)
        }
    };
    let ready = state.comparisons.of(state, &model_named_by(&snapshot, selection)?).await?;
    Ok(circumstances.condition.respond(&ready, cache_control))
}

/// The model that the entry names: its rewards were learnt from the comparisons.
fn model_named_by(snapshot: &Snapshot, selection: &Selection) -> Result<String, Problem> {
    let found = snapshot.find(Kind::Responses, selection.horizon, None);
    let item = found.ok_or_else(|| opinions::absent(snapshot, Kind::Responses, selection.horizon, None))?;
    let named: Named = serde_json::from_slice(&item.published().entry).map_err(StoreError::row)?;
    named.model_id.ok_or_else(|| Problem::new(ProblemType::NotFound, "the newest responses name no model"))
}

/// The part of an opinion that names its model.
#[derive(Deserialize)]
struct Named {
    model_id: Option<String>,
}

/// The comparisons that were asked for last, ready to be sent: those of one model never change.
#[derive(Debug, Default)]
pub struct LastComparisons(ArcSwapOption<(String, Arc<Ready>)>);

impl LastComparisons {
    async fn of(&self, state: &AppState, model_id: &str) -> Result<Arc<Ready>, Problem> {
        if let Some(held) = self.0.load().as_ref().filter(|held| held.0 == model_id) {
            return Ok(held.1.clone());
        }
        let _slot = state.store_slot()?;
        let found = comparisons::find(&state.pool, model_id).await?;
        let without = || format!("model {model_id} was stored without comparisons: too few outcomes to learn from");
        let found = found.ok_or_else(|| Problem::new(ProblemType::NotFound, without()))?;
        let media_type = HeaderValue::from_static(JSON_LINES);
        let ready = Arc::new(Ready::of_type(media_type, found.lines, Some(found.recorded_at)));
        self.0.store(Some(Arc::new((model_id.to_owned(), ready.clone()))));
        Ok(ready)
    }

    /// Holds comparisons that no store has to be asked for.
    #[cfg(test)]
    pub fn hold(&self, model_id: &str, lines: &'static str) {
        let ready = Ready::of_type(HeaderValue::from_static(JSON_LINES), lines, None);
        self.0.store(Some(Arc::new((model_id.to_owned(), Arc::new(ready)))));
    }
}

fn form(text: &str) -> Result<Form, &'static str> {
    match text {
        "json" => Ok(Form::Json),
        "jsonl" => Ok(Form::Jsonl),
        _ => Err("must be json or jsonl"),
    }
}

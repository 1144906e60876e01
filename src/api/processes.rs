//! `GET /process/{symbol}`: the decision process as published, or solved again for the settings of the request.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::api::asked::{CommonParameters, Selection};
use crate::api::asked_process::{AskedProcess, ProcessParameters, Wanted};
use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::api::ready::Ready;
use crate::api::snapshot::{EXPLANATION, Item, Snapshot, SolvedFor, served_as};
use crate::api::state::AppState;
use crate::api::{historic, opinions, pick, tag};
use crate::decision::process::ProcessSettings;
use crate::market::instrument::Symbol;
use crate::opinion::canonical::canonical;
use crate::opinion::envelope::Kind;
use crate::opinion::process::Process;
use crate::opinion::process_solution::{settings_of, solve_again};
use crate::store::StoreError;

/// The decision process of one instrument: states, actions, transitions, reactions, and what they make best.
///
/// As published unless `holder`, `cost`, `discount` or `steps` say otherwise; then it is solved again from the published
/// estimates. `solved_for` says which it is; `ledger` names the entry that it comes from either way. The example is of
/// `fields=action,cost,current_state,discount,holder,probability_optimal,solved_for`.
#[utoipa::path(
    get, path = "/process/{symbol}", operation_id = "find_process", tag = tag::OPINIONS,
    params(
        ("symbol" = String, Path, description = "Symbol in any case", example = "BABA"), ProcessParameters, CommonParameters
    ),
    responses((
        status = 200, description = "The process", body = ref("#/components/schemas/ServedProcess"),
        example = json!({
            "action": "hold", "cost": 0.001, "current_state": "level_usual.0", "discount": 0.99,
            "holder": {"exposure": 0, "type": "long_short"},
            "probability_optimal": {"buy": 0.13, "hold": 0.81, "sell": 0.06}, "solved_for": "request"
        })
    ))
)]
pub async fn find_process(State(state): State<AppState>, asked: AskedProcess) -> Result<Response, Problem> {
    let circumstances = asked.circumstances.clone();
    if let Some(day) = circumstances.as_of {
        let of_symbol = Selection { symbols: Some(vec![asked.symbol.clone()]), ..asked.selection.clone() };
        let then = historic::snapshot(&state, Kind::Process, of_symbol, day).await?;
        let ready = shaped(&state, &asked, Arc::new(then)).await?;
        return Ok(circumstances.condition.respond(&ready, historic::cache_control(day)));
    }
    opinions::answer_in_time(&state, &circumstances, |snapshot| shaped(&state, &asked, snapshot)).await
}

async fn shaped(state: &AppState, asked: &AskedProcess, snapshot: Arc<Snapshot>) -> Result<Arc<Ready>, Problem> {
    let AskedProcess { symbol, selection, wanted, .. } = asked;
    let as_published = || opinions::one(&snapshot, Kind::Process, Some(symbol), selection);
    let found = snapshot.find(Kind::Process, selection.horizon, Some(symbol));
    let Some(item) = found.filter(|_| *wanted != Wanted::default()) else { return as_published() };
    let published: Process = serde_json::from_slice(&item.published().entry).map_err(StoreError::row)?;
    let settings = wanted.over(&settings_of(&published))?;
    // Without estimates there is nothing to solve; the entry says why.
    if settings == settings_of(&published) || published.transition.is_none() {
        return as_published();
    }
    let solved = solved(state, published, settings).await?;
    Ok(Arc::new(ready(item, solved, selection)?))
}

/// The process for the settings, as canonical JSON. Solving is kept off the threads that answer, one a processor at a time.
async fn solved(state: &AppState, published: Process, settings: ProcessSettings) -> Result<Bytes, Problem> {
    let turn = state.solving_turn().await?;
    let symbol = published.envelope.symbol.clone();
    let solving = spawn_blocking(move || {
        // The turn ends with the work, also when nobody waits for the answer any more.
        let _turn = turn;
        let process = solve_again(&published, &settings).map_err(|error| error.to_string())?;
        canonical(&process).map_err(|error| error.to_string())
    });
    match solving.await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(error)) => Err(unsolved(symbol.as_ref(), &error)),
        Err(error) => Err(unsolved(symbol.as_ref(), &error.to_string())),
    }
}

/// The solved process in the wanted form, beside the entry from which it was solved.
fn ready(item: &Item, solved: Bytes, selection: &Selection) -> Result<Ready, Problem> {
    let body = if selection.explain { solved } else { pick::without(&solved, EXPLANATION) };
    let served = served_as(item.published(), &body, (item.is_stale(), Some(SolvedFor::Request)));
    let picked = pick::fields(&served.into(), selection.fields.as_deref())?;
    Ok(Ready::json(picked, item.ready.last_modified))
}

fn unsolved(symbol: Option<&Symbol>, error: &str) -> Problem {
    tracing::error!(symbol = symbol.map(Symbol::as_str), error, "a published process could not be solved again");
    Problem::new(ProblemType::Internal, "the process could not be solved for these settings")
}

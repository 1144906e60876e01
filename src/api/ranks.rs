//! `GET /ranks`: the whole universe in one opinion.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::value::RawValue;

use crate::api::asked::{AskedMany, ManyParameters, Selection};
use crate::api::pick::{self, Members, OfSymbol};
use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::api::ready::Ready;
use crate::api::snapshot::Snapshot;
use crate::api::state::AppState;
use crate::api::{historic, opinions, tag};
use crate::opinion::envelope::Kind;

/// The universe by expected rank, best first.
#[utoipa::path(
    get, path = "/ranks", operation_id = "list_ranks", tag = tag::OPINIONS, params(ManyParameters),
    responses((status = 200, description = "A page of the ranks", body = ref("#/components/schemas/RanksPage")))
)]
pub async fn list_ranks(State(state): State<AppState>, asked: AskedMany) -> Result<Response, Problem> {
    let AskedMany { selection, circumstances } = asked;
    let shape = |snapshot: &Snapshot| page_of(snapshot, &selection);
    if let Some(day) = circumstances.as_of {
        let then = historic::snapshot(&state, Kind::Ranks, selection.clone(), day).await?;
        return Ok(circumstances.condition.respond(&*shape(&then)?, historic::cache_control(day)));
    }
    opinions::answer(&state, &circumstances, shape).await
}

fn page_of(snapshot: &Snapshot, selection: &Selection) -> Result<Arc<Ready>, Problem> {
    let absent = || opinions::absent(snapshot, Kind::Ranks, selection.horizon, None);
    let group = snapshot.group(Kind::Ranks, selection.horizon).ok_or_else(absent)?;
    if let Some(ready) = group.first_page(selection.explain).get().filter(|_| selection.is_plain()) {
        return Ok(ready.clone());
    }
    let item = group.find(None).ok_or_else(absent)?;
    let body = written_page(&item.form(selection.explain).identity.body, selection)?;
    let made = Arc::new(Ready::json(body, item.ready.last_modified));
    Ok(if selection.is_plain() { group.first_page(selection.explain).get_or_init(|| made).clone() } else { made })
}

fn written_page(whole: &[u8], selection: &Selection) -> Result<Vec<u8>, Problem> {
    let members = Members::split(whole)?;
    let rows: Vec<&RawValue> = read(members.get("ranks").unwrap_or("[]"))?;
    let named: Vec<(OfSymbol, &str)> =
        rows.into_iter().map(|row| Ok((read(row.get())?, row.get()))).collect::<Result<_, Problem>>()?;
    let page = pick::page(named.iter().map(|(of, text)| (&of.symbol, *text)), selection);
    let ranks = format!("[{}]", page.rows.join(","));
    let missing = serde_json::json!(page.missing).to_string();
    let mut replaced = vec![("missing", missing), ("next", serde_json::json!(page.next).to_string())];
    let wanted = |fields: &Vec<String>| fields.iter().any(|name| name == "ranks");
    if selection.fields.as_ref().is_none_or(wanted) {
        replaced.push(("ranks", ranks));
    }
    let kept = match &selection.fields {
        Some(fields) => members.only(fields)?,
        None => members,
    };
    Ok(kept.write(&replaced))
}

fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| {
        tracing::error!(%error, "the published ranks are not readable");
        Problem::new(ProblemType::Internal, "the published ranks are not readable")
    })
}

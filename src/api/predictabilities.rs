//! `GET /predictability/{symbol}` and `GET /predictabilities`.

use axum::extract::State;
use axum::response::Response;

use crate::api::asked::{AskedMany, AskedOne, ManyParameters, OneParameters};
use crate::api::opinions;
use crate::api::problem::Problem;
use crate::api::state::AppState;
use crate::api::tag;
use crate::opinion::envelope::Kind;

/// Whether anything about one instrument can be predicted.
///
/// For four weeks and for a year, and for the direction of the return, its volatility and its rank: the verdict, the
/// benchmark that had to be beaten, and the tests on forecasts made before their outcome. `horizon` changes nothing,
/// because both terms are answered.
#[utoipa::path(
    get, path = "/predictability/{symbol}", operation_id = "find_predictability", tag = tag::OPINIONS,
    params(("symbol" = String, Path, description = "Symbol in any case", example = "BABA"), OneParameters),
    responses((status = 200, description = "The newest verdicts", body = ref("#/components/schemas/ServedPredictability")))
)]
pub async fn find_predictability(State(state): State<AppState>, asked: AskedOne) -> Result<Response, Problem> {
    opinions::find(&state, Kind::Predictability, asked).await
}

/// The newest verdicts of many instruments.
#[utoipa::path(
    get, path = "/predictabilities", operation_id = "list_predictabilities", tag = tag::OPINIONS, params(ManyParameters),
    responses((status = 200, description = "A page of verdicts", body = ref("#/components/schemas/PredictabilityPage")))
)]
pub async fn list_predictabilities(State(state): State<AppState>, asked: AskedMany) -> Result<Response, Problem> {
    opinions::list(&state, Kind::Predictability, asked).await
}

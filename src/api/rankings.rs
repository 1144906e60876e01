//! `GET /ranking/{symbol}` and `GET /rankings`.

use axum::extract::State;
use axum::response::Response;

use crate::api::asked::{AskedMany, AskedOne, ManyParameters, OneParameters};
use crate::api::opinions;
use crate::api::problem::Problem;
use crate::api::state::AppState;
use crate::api::tag;
use crate::opinion::envelope::Kind;

/// Every action for one instrument by its value, with the game it was read from.
///
/// Best first, with the payoff matrix, the believed crowd and the models ranked.
#[utoipa::path(
    get, path = "/ranking/{symbol}", operation_id = "find_ranking", tag = tag::OPINIONS,
    params(("symbol" = String, Path, description = "Symbol in any case", example = "BABA"), OneParameters),
    responses((status = 200, description = "The newest ranking", body = ref("#/components/schemas/ServedRanking")))
)]
pub async fn find_ranking(State(state): State<AppState>, asked: AskedOne) -> Result<Response, Problem> {
    opinions::find(&state, Kind::Ranking, asked).await
}

/// The newest rankings of many instruments.
#[utoipa::path(
    get, path = "/rankings", operation_id = "list_rankings", tag = tag::OPINIONS, params(ManyParameters),
    responses((status = 200, description = "A page of rankings", body = ref("#/components/schemas/RankingPage")))
)]
pub async fn list_rankings(State(state): State<AppState>, asked: AskedMany) -> Result<Response, Problem> {
    opinions::list(&state, Kind::Ranking, asked).await
}

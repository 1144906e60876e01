//! `GET /rating/{symbol}`, `GET /ratings`, and how the ratings did: `GET /ratings/calibration`.

use axum::extract::State;
use axum::response::Response;

use crate::api::asked::{AskedCommon, AskedMany, AskedOne, CommonParameters, ManyParameters, OneParameters};
use crate::api::opinions;
use crate::api::problem::Problem;
use crate::api::state::AppState;
use crate::api::tag;
use crate::opinion::envelope::Kind;

/// The probabilities of default of one instrument as grades.
///
/// A rating belongs to no horizon: the same one is found whatever the `horizon`. A model estimate, not the opinion of a rating agency.
#[utoipa::path(
    get, path = "/rating/{symbol}", operation_id = "find_rating", tag = tag::OPINIONS,
    params(("symbol" = String, Path, description = "Symbol in any case", example = "BABA"), OneParameters),
    responses((status = 200, description = "The newest rating", body = ref("#/components/schemas/ServedRating")))
)]
pub async fn find_rating(State(state): State<AppState>, asked: AskedOne) -> Result<Response, Problem> {
    opinions::find(&state, Kind::Rating, asked).await
}

/// The newest ratings of many instruments.
#[utoipa::path(
    get, path = "/ratings", operation_id = "list_ratings", tag = tag::OPINIONS, params(ManyParameters),
    responses((status = 200, description = "A page of ratings", body = ref("#/components/schemas/RatingPage")))
)]
pub async fn list_ratings(State(state): State<AppState>, asked: AskedMany) -> Result<Response, Problem> {
    opinions::list(&state, Kind::Rating, asked).await
}

/// How the ratings did: predicted against realized drawdowns by grade, transitions between grades, refused share counts.
///
/// Of the whole universe, by what was known at the publication.
#[utoipa::path(
    get, path = "/ratings/calibration", operation_id = "find_rating_record", tag = tag::OPINIONS,
    params(CommonParameters),
    responses((status = 200, description = "The newest record", body = ref("#/components/schemas/ServedRatingRecord")))
)]
pub async fn find_rating_record(State(state): State<AppState>, asked: AskedCommon) -> Result<Response, Problem> {
    opinions::find_of_universe(&state, Kind::RatingRecord, (asked.selection, asked.circumstances)).await
}

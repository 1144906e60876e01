//! `GET /signal/{symbol}` and `GET /signals`.

use axum::extract::State;
use axum::response::Response;

use crate::api::asked::{AskedMany, AskedOne, ManyParameters, OneParameters};
use crate::api::opinions;
use crate::api::problem::Problem;
use crate::api::state::AppState;
use crate::api::tag;
use crate::opinion::envelope::Kind;

/// The recommended action for one instrument.
///
/// The signal rests on what is predictable, the risk: sell means that the risk is no longer paid, not that the price will fall.
#[utoipa::path(
    get, path = "/signal/{symbol}", operation_id = "find_signal", tag = tag::OPINIONS,
    params(("symbol" = String, Path, description = "Symbol in any case", example = "BABA"), OneParameters),
    responses((status = 200, description = "The newest signal", body = ref("#/components/schemas/ServedSignal")))
)]
pub async fn find_signal(State(state): State<AppState>, asked: AskedOne) -> Result<Response, Problem> {
    opinions::find(&state, Kind::Signal, asked).await
}

/// The newest signals of many instruments.
#[utoipa::path(
    get, path = "/signals", operation_id = "list_signals", tag = tag::OPINIONS, params(ManyParameters),
    responses((status = 200, description = "A page of signals", body = ref("#/components/schemas/SignalPage")))
)]
pub async fn list_signals(State(state): State<AppState>, asked: AskedMany) -> Result<Response, Problem> {
    opinions::list(&state, Kind::Signal, asked).await
}

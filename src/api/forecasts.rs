//! `GET /forecast/{symbol}` and `GET /forecasts`.

use axum::extract::State;
use axum::response::Response;

use crate::api::asked::{AskedMany, AskedOne, ManyParameters, OneParameters};
use crate::api::opinions;
use crate::api::problem::Problem;
use crate::api::state::AppState;
use crate::api::tag;
use crate::opinion::envelope::Kind;

/// The distribution of the return of one instrument over one horizon.
///
/// Mean, volatility, quantiles, intervals, and the same in prices.
#[utoipa::path(
    get, path = "/forecast/{symbol}", operation_id = "find_forecast", tag = tag::OPINIONS,
    params(("symbol" = String, Path, description = "Symbol in any case", example = "BABA"), OneParameters),
    responses((status = 200, description = "The newest forecast", body = ref("#/components/schemas/ServedForecast")))
)]
pub async fn find_forecast(State(state): State<AppState>, asked: AskedOne) -> Result<Response, Problem> {
    opinions::find(&state, Kind::Forecast, asked).await
}

/// The newest forecasts of many instruments.
#[utoipa::path(
    get, path = "/forecasts", operation_id = "list_forecasts", tag = tag::OPINIONS, params(ManyParameters),
    responses((status = 200, description = "A page of forecasts", body = ref("#/components/schemas/ForecastPage")))
)]
pub async fn list_forecasts(State(state): State<AppState>, asked: AskedMany) -> Result<Response, Problem> {
    opinions::list(&state, Kind::Forecast, asked).await
}

//! The way of a request: frame, limits, routes.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::api::openapi::{self, Description};
use crate::api::posting::BODY_MAX_BYTES;
use crate::api::problem::Problem;
use crate::api::problem_type::{self, ProblemType};
use crate::api::state::AppState;
use crate::api::{
    activation, forecasts, frame, health, index, instruments, jobs, ledger, models, posting, predictabilities, prices,
    processes, rankings, ranks, ratings, responses, signals, track_record,
};

/// Every operation inside the frame.
pub fn router(state: AppState) -> Router {
    let (routes, _) = operations(&state).split_for_parts();
    routes
        .merge(SwaggerUi::new("/docs").config(Config::from("/openapi.json")))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(frame::panicked))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(from_fn_with_state(state.clone(), frame::frame))
        .with_state(state)
}

/// The operations with their documentation.
pub(crate) fn operations(state: &AppState) -> OpenApiRouter<AppState> {
    from_memory().merge(from_store().route_layer(from_fn_with_state(state.clone(), take_slot)))
}

/// The operations without a running service, for the documentation alone.
pub(crate) fn documented() -> OpenApiRouter<AppState> {
    from_memory().merge(from_store().route_layer(from_fn(|request: Request, next: Next| next.run(request))))
}

/// Answers that never ask the store (but for `as_of`), so no load of the store holds them up.
fn from_memory() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(signals::find_signal))
        .routes(routes!(signals::list_signals))
        .routes(routes!(ratings::find_rating))
        .routes(routes!(ratings::list_ratings))
        .routes(routes!(ratings::find_rating_record))
        .routes(routes!(rankings::find_ranking))
        .routes(routes!(rankings::list_rankings))
        .routes(routes!(ranks::list_ranks))
        .routes(routes!(responses::find_responses))
        .routes(routes!(processes::find_process))
        .routes(routes!(forecasts::find_forecast))
        .routes(routes!(forecasts::list_forecasts))
        .routes(routes!(predictabilities::find_predictability))
        .routes(routes!(predictabilities::list_predictabilities))
        .routes(routes!(health::check_health))
        .routes(routes!(health::check_readiness))
        .routes(routes!(openapi::show_openapi_json))
        .routes(routes!(openapi::show_openapi_yaml))
        .routes(routes!(problem_type::explain_problem))
        .routes(routes!(index::show_index))
}

/// Answers that ask the store.
fn from_store() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(instruments::list_instruments))
        .routes(routes!(instruments::find_instrument))
        .routes(routes!(prices::find_prices))
        .routes(routes!(posting::post_prices))
        .routes(routes!(ledger::list_ledger_entries))
        .routes(routes!(ledger::find_ledger_head))
        .routes(routes!(ledger::find_ledger_entry))
        .routes(routes!(track_record::find_track_record))
        .routes(routes!(track_record::find_instrument_track_record))
        .routes(routes!(models::list_models))
        .routes(routes!(models::find_model))
        .routes(routes!(activation::activate_model))
        .merge(of_jobs())
}

/// Jobs, whose bodies are short.
fn of_jobs() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(jobs::list_jobs, jobs::ask_for_job))
        .routes(routes!(jobs::find_job, jobs::cancel_job))
        .layer(DefaultBodyLimit::max(jobs::BODY_MAX_BYTES))
}

/// Holds a place among the requests that ask the store while one runs.
async fn take_slot(State(state): State<AppState>, request: Request, next: Next) -> Result<Response, Problem> {
    let _slot = state.store_slot()?;
    Ok(next.run(request).await)
}

async fn not_found() -> Problem {
    Problem::new(ProblemType::NotFound, "nothing lies at this address; /openapi.json lists the operations")
}

async fn method_not_allowed() -> Problem {
    Problem::new(ProblemType::MethodNotAllowed, "the header Allow lists the methods of this address")
}

//! `GET /`: a page for people with links and the current signals.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;
use maud::{DOCTYPE, Markup, html};

use crate::api::asked::Circumstances;
use crate::api::condition::Condition;
use crate::api::opinions;
use crate::api::problem::Problem;
use crate::api::ready::Ready;
use crate::api::snapshot::{Item, Snapshot};
use crate::api::state::AppState;
use crate::api::tag;
use crate::market::horizon::Horizon;
use crate::opinion::envelope::{DISCLAIMER, Kind};
use crate::opinion::served::Served;
use crate::opinion::signal::Signal;

/// A page holds at most so many signals; the lists hold all.
const ROWS_MAX: usize = 1000;
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}\
     table{border-collapse:collapse;width:100%}th,td{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:right}\
     th:first-child,td:first-child,th:nth-child(2),td:nth-child(2),th:nth-child(3),td:nth-child(3){text-align:left}\
     .note{color:#555}";
const LINKS: [(&str, &str); 14] = [
    ("/docs", "documentation"),
    ("/signals", "signals"),
    ("/ratings", "ratings"),
    ("/rankings", "rankings"),
    ("/ranks", "ranks"),
    ("/forecasts", "forecasts"),
    ("/predictabilities", "predictability"),
    ("/responses", "models ranked"),
    ("/ratings/calibration", "record of the ratings"),
    ("/track-record", "track record"),
    ("/instruments", "instruments"),
    ("/ledger/head", "ledger head"),
    ("/models", "models"),
    ("/readyz", "readiness"),
];

/// The index page.
#[utoipa::path(
    get, path = "/", operation_id = "show_index", tag = tag::OPERATION,
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub async fn show_index(State(state): State<AppState>, condition: Condition) -> Result<Response, Problem> {
    let circumstances = Circumstances { as_of: None, wait: None, condition };
    opinions::answer(&state, &circumstances, |snapshot| Ok(Arc::new(page(snapshot)))).await
}

fn page(snapshot: &Snapshot) -> Ready {
    let items = snapshot.group(Kind::Signal, Horizon::FourWeeks).map(|g| g.items()).unwrap_or_default();
    let signals: Vec<Served<Signal>> = items.iter().take(ROWS_MAX).filter_map(read).collect();
    let simulated = signals.iter().any(|s| s.opinion.envelope.simulated);
    let text = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "forecastd" }
                style { (STYLE) }
            }
            body {
                h1 { "forecastd" }
                @if simulated { p { strong { "Simulated market: these instruments do not exist." } } }
                p { @for (address, name) in LINKS { a href=(address) { (name) } " " } }
                (table(&signals))
                p.note { (DISCLAIMER) }
            }
        }
    };
    let last_modified = items.iter().map(|i| i.ready.last_modified).max().flatten();
    Ready::of_type(HeaderValue::from_static("text/html; charset=utf-8"), text.into_string(), last_modified)
}

fn read(item: &Item) -> Option<Served<Signal>> {
    serde_json::from_slice(&item.ready.identity.body).ok()
}

fn table(signals: &[Served<Signal>]) -> Markup {
    html! {
        @if let Some(first) = signals.first() {
            h2 { "Signals for four weeks, as of " (first.opinion.envelope.as_of) }
            table {
                thead { tr {
                    th { "symbol" } th { "action" } th { "basis" } th { "up" } th { "expected" } th { "90 % interval" }
                    th { "volatility" } th { "rating" } th { "last price" }
                } }
                tbody { @for signal in signals { (row(signal)) } }
            }
        } @else {
            p { "No signal has been published yet." }
        }
    }
}

fn row(signal: &Served<Signal>) -> Markup {
    let Signal {
        envelope, action, basis, probability_up, expected_return, interval, volatility, rating, price, ..
    } = &signal.opinion;
    let symbol = envelope.symbol.as_ref().map(ToString::to_string).unwrap_or_default();
    html! {
        tr {
            td { a href={ "/signal/" (symbol) } { (symbol) } @if signal.stale { " (stale)" } }
            td { (word(action.as_ref())) }
            td { (word(basis.as_ref())) }
            td { (percent(*probability_up)) }
            td { (percent(*expected_return)) }
            td { @if let Some(range) = interval { (percent(Some(range.low))) " to " (percent(Some(range.high))) } @else { "-" } }
            td { (percent(volatility.and_then(|v| v.forecast))) }
            td { (rating.short_term.as_deref().unwrap_or("-")) " / " (rating.long_term.as_deref().unwrap_or("-")) }
            td { @if let Some(price) = price { (format!("{:.2} {}", price.last, price.currency)) } @else { "-" } }
        }
    }
}

/// The word by which JSON names a value; a dash where there is none.
fn word<T: serde::Serialize>(value: Option<&T>) -> String {
    let json = value.and_then(|v| serde_json::to_value(v).ok());
    json.and_then(|v| v.as_str().map(|s| s.replace('_', " "))).unwrap_or_else(|| "-".into())
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".into(), |f| format!("{:.1} %", f * 100.0))
}

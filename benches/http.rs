//! The hot path of HTTP without a socket: requests through the router, answered from memory.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use chrono::Utc;
use forecastd::api::board::Board;
use forecastd::api::router::router;
use forecastd::api::snapshot::{PublishedEntry, Snapshot};
use forecastd::api::state::{AppState, Settings};
use forecastd::store::{StoreError, ledger};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::Bench;
use crate::table::{Table, median, rate, seconds, thousands, timed};

/// Requests of one run, and runs of each kind.
const REQUESTS: usize = 20_000;
const RUNS: usize = 3;

/// A kind of request and the status that it must get.
#[derive(Clone)]
struct Asked {
    address: String,
    headers: Vec<(header::HeaderName, String)>,
    status: StatusCode,
}

/// Prints the table.
pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let entries = ledger::newest(&bench.store.pool, i64::MAX).await?;
    let published: Result<Vec<PublishedEntry>, StoreError> =
        entries.into_iter().map(PublishedEntry::try_from).collect();
    let published = published?;
    let count = published.len();
    let symbols: Vec<&str> = published.iter().filter_map(|e| e.symbol.as_ref()).map(|s| s.as_str()).collect();
    let symbol = symbols.iter().find(|s| **s == "BABA").or(symbols.first()).context("nothing is published")?;
    let address = format!("/signal/{symbol}");
    let board = Arc::new(Board::default());
    let (snapshot, build_seconds) = timed(async { Snapshot::build(published, Utc::now()) }).await;
    board.publish(snapshot);
    let service = router(AppState::new(bench.store.pool.clone(), board, Settings::default()));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let heads = ["request", "status", "bytes", "requests/s, 1 task", "microseconds each", "requests/s, all cores"];
    let mut table = Table::new("HTTP: in process, no socket", &bench.caption, &heads);
    for (name, asked) in kinds(&service, &address).await? {
        let (_, bytes) = send(&service, &asked).await?;
        let (alone, together) = (measure(&service, &asked, 1).await?, measure(&service, &asked, cores).await?);
        table.row(&[
            &name,
            asked.status.as_str(),
            &thousands(bytes as f64),
            &rate(REQUESTS as f64, alone),
            &format!("{:.1}", alone / REQUESTS as f64 * 1e6),
            &rate(REQUESTS as f64, together),
        ]);
    }
    table.note(&format!("medians of {RUNS} runs of {} requests; no logging", thousands(REQUESTS as f64)));
    table.note(&format!("laying out the snapshot of {count} answers: {} s", seconds(build_seconds)));
    table.print();
    Ok(())
}

async fn kinds(service: &Router, address: &str) -> anyhow::Result<Vec<(String, Asked)>> {
    let plain = Asked { address: address.into(), headers: vec![], status: StatusCode::OK };
    let (etag, _) = send(service, &plain).await?;
    let with = |name, value: &str| vec![(name, value.to_owned())];
    let unchanged =
        Asked { headers: with(header::IF_NONE_MATCH, &etag), status: StatusCode::NOT_MODIFIED, ..plain.clone() };
    let compressed = Asked { headers: with(header::ACCEPT_ENCODING, "gzip"), ..plain.clone() };
    let list = Asked { address: "/signals".into(), ..plain.clone() };
    Ok(vec![
        (format!("GET {address}"), plain),
        ("  with If-None-Match".into(), unchanged),
        ("  with Accept-Encoding: gzip".into(), compressed),
        ("GET /signals".into(), list),
    ])
}

/// Median seconds of [`REQUESTS`] requests, shared by so many tasks.
async fn measure(service: &Router, asked: &Asked, tasks: usize) -> anyhow::Result<f64> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let (outcome, took) = timed(async {
            let started: Vec<_> =
                (0..tasks).map(|_| tokio::spawn(send_many(service.clone(), asked.clone(), REQUESTS / tasks))).collect();
            for task in started {
                task.await??;
            }
            anyhow::Ok(())
        })
        .await;
        outcome?;
        runs.push(took);
    }
    Ok(median(&runs))
}

async fn send_many(service: Router, asked: Asked, count: usize) -> anyhow::Result<()> {
    for _ in 0..count {
        send(&service, &asked).await?;
    }
    Ok(())
}

/// Sends one request and takes the whole answer: its entity tag and length.
async fn send(service: &Router, asked: &Asked) -> anyhow::Result<(String, usize)> {
    let mut request = Request::get(&asked.address);
    for (name, value) in &asked.headers {
        request = request.header(name, value);
    }
    let response = service.clone().oneshot(request.body(Body::empty())?).await?;
    let status = response.status();
    anyhow::ensure!(status == asked.status, "{} was answered {status}", asked.address);
    let etag = response.headers().get(header::ETAG).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    Ok((etag, response.into_body().collect().await?.to_bytes().len()))
}

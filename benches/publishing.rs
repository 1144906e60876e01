//! Publishing: from the store to a signed ledger head, stage by stage.

use anyhow::Context;
use chrono::{SubsecRound, Utc};
use forecastd::features::price_basis::PriceBasis;
use forecastd::forecast::calibration::Calibration;
use forecastd::forecast::day::{DayInputs, NetworkDay, forecast_day, forecast_ranks};
use forecastd::forecast::samples::{features_on, network_day};
use forecastd::forecast::state::ModelState;
use forecastd::jobs::publish::{compose_again, open_model};
use forecastd::jobs::train::{self, CODE_VERSION, Past};
use forecastd::learning::ensemble::TrainedModel;
use forecastd::market::horizon::Horizon;
use forecastd::publication::compose::Composed;
use forecastd::store::chain::{self, NewEntry, Publication};
use forecastd::store::history::{Revisions, load};
use forecastd::store::open::Store;
use forecastd::store::signing::HeadSigner;
use forecastd::store::{models, pool};
use uuid::Uuid;

use crate::table::{Table, clocked, rate, seconds, timed};
use crate::{Bench, training};

/// Publishes the newest session and prints the tables. Trains benchmarks alone where there is no model yet.
pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let store = &bench.store;
    if models::newest(&store.pool, CODE_VERSION).await?.is_none() {
        train::train(store, &training::recipe(&[("members", 0)])?, Past::Kept).await?;
    }
    let model_id = models::newest(&store.pool, CODE_VERSION).await?.context("no model was stored")?;
    let model = models::find(&store.pool, &model_id).await?.context("the model is gone")?;
    let (opened, open_seconds) = clocked(|| open_model(&model));
    let (state, network) = opened?;
    let mut table = Table::new("Publishing", &bench.caption, &["stage", "answers", "seconds", "answers/s"]);
    table.row(&["open the model", "", &seconds(open_seconds), ""]);
    let cutoff = pool::cutoff(&store.pool).await?;
    let (loaded, load_seconds) = timed(load(&store.pool, cutoff, cutoff, Revisions::Newest)).await;
    let loaded = loaded?;
    table.row(&["load the history", "", &seconds(load_seconds), ""]);
    table.row(&["prepare it (part of composing)", "", &seconds(bench.prepare_seconds), ""]);
    let as_of = *loaded.history.sessions.last().context("the history has no session")?;
    let publication = Publication {
        publication: Uuid::now_v7(),
        as_of,
        published_at: Utc::now().trunc_subsecs(0),
        known_until: cutoff,
        recorded_until: cutoff,
        model_id,
    };
    let (composed, compose_seconds) = timed(compose_again(store, &publication, 1, loaded)).await;
    let composed = composed?;
    let answers = composed.len() as f64;
    let mut step = |name: &str, took: f64| {
        table.row(&[name, &composed.len().to_string(), &seconds(took), &rate(answers, took)]);
    };
    step("compose", compose_seconds);
    let (appended, append_seconds) = timed(append(store, &publication, &composed)).await;
    appended?;
    step("append to the ledger, sign, commit", append_seconds);
    step("whole publication", load_seconds + compose_seconds + append_seconds);
    let bytes: usize = composed.iter().map(|c| c.entry.len()).sum();
    let members = network.as_ref().map_or(0, |n| n.networks.len());
    table.note(&format!("{} KiB of answers; {members} members in the network", bytes / 1024));
    table.print();
    print_horizons(bench, &state, network.as_ref())
}

/// What the job writes in its transaction.
async fn append(store: &Store, publication: &Publication, composed: &[Composed]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let signer = HeadSigner::open(folder.path())?;
    let entries: Vec<NewEntry> = composed.iter().map(new_entry).collect();
    let mut transaction = store.pool.begin().await?;
    pool::lock_ledger(&mut transaction).await?;
    let head = chain::head(&mut transaction).await?;
    let head = chain::append(&mut transaction, publication, head, &entries).await?;
    chain::sign(&mut transaction, head, &signer).await?;
    Ok(transaction.commit().await?)
}

fn new_entry(composed: &Composed) -> NewEntry {
    NewEntry {
        kind: composed.kind.as_str(),
        symbol: composed.symbol.as_ref().map(|s| s.as_str().to_owned()),
        horizon: composed.horizon.label(),
        valid_until: composed.valid_until,
        late: composed.late,
        entry: composed.entry.clone(),
    }
}

fn print_horizons(bench: &Bench, state: &ModelState, network: Option<&TrainedModel>) -> anyhow::Result<()> {
    let prepared = &bench.prepared;
    let session = prepared.sessions() - 1;
    let (said, said_seconds) = clocked(|| said_by(bench, network, session));
    let said = said?;
    let mut ranked = prepared.alive(session);
    ranked.retain(|i| prepared.universe.is_rankable(*i, session));
    let heads = ["horizon", "calibrate s", "forecast s", "rank s"];
    let mut table = Table::new("Publishing: composing by horizon", &bench.caption, &heads);
    for horizon in Horizon::ALL {
        let premium = state.settings.equity_premium;
        let (calibration, calibrate) = clocked(|| Calibration::of_walk(prepared, &state.harx2, horizon, premium));
        let inputs = DayInputs { prepared, state, calibration: &calibration, network: said.as_ref(), session, horizon };
        let (_, forecast) = clocked(|| forecast_day(inputs));
        let (_, rank) = clocked(|| forecast_ranks(inputs, &ranked));
        table.row(&[horizon.label(), &seconds(calibrate), &seconds(forecast), &seconds(rank)]);
    }
    let scenarios = state.settings.scenarios;
    table.note(&format!("{} ranked instruments, {scenarios} scenarios", ranked.len()));
    table.note(&format!("features of the day and the network's outputs, once for all: {} s", seconds(said_seconds)));
    table.print();
    Ok(())
}

fn said_by(bench: &Bench, network: Option<&TrainedModel>, session: usize) -> anyhow::Result<Option<NetworkDay>> {
    let Some(network) = network else { return Ok(None) };
    let prepared = &bench.prepared;
    let table = features_on(prepared, &PriceBasis::infer(&prepared.history), &[session]);
    Ok(Some(network_day(prepared, network, &table, 0)?))
}

//! Looks for drift: features against the training span of the model in force, live scores, stopped prices and gaps. Writes
//! a report, tells of it, and asks for a training where an alarm calls for one.

use anyhow::Context;
use chrono::{DateTime, Days, Utc};
use serde::Serialize;
use serde_json::json;

use crate::cli::drift::DriftArgs;
use crate::evaluation::drift_report::{DriftInputs, Measured, measure};
use crate::jobs::drift_retrain::{self, Retrain, Situation};
use crate::jobs::moment::Moment;
use crate::jobs::train::CODE_VERSION;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::opinion::drift::{Alarm, LivePerformance, UniverseDrift};
use crate::store::drift::{self, NewReport};
use crate::store::events;
use crate::store::history::{LoadedHistory, Revisions, load};
use crate::store::jobs::{self, Lease};
use crate::store::models;
use crate::store::open::Store;

/// Days over which revised bars are counted.
const REVISED_DAYS: u64 = 365;
/// Alarms that an event holds at most, because it must be small.
const TOLD: usize = 10;

/// A finished report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriftReport {
    /// Its number.
    pub report_id: i64,
    /// Newest session that was looked at.
    pub as_of: Day,
    /// The model in force.
    pub model_id: Option<String>,
    /// The universe.
    pub universe: UniverseDrift,
    /// What an operator should see.
    pub alarms: Vec<Alarm>,
    /// Whether a training was asked for.
    pub retrain: Retrain,
}

/// Measures and reports. Everything that stays happens in one transaction, with the end of the job where there is one.
///
/// # Errors
/// When the store fails or holds no prices, or another run of the job took over; then nothing was written.
pub async fn drift(
    store: &Store,
    options: DriftArgs,
    performance: LivePerformance,
    lease: Option<Lease>,
) -> anyhow::Result<DriftReport> {
    let moment = Moment::take(&store.pool).await?;
    let model = match models::newest(&store.pool, CODE_VERSION).await? {
        Some(model_id) => models::record(&store.pool, &model_id, CODE_VERSION).await?,
        None => None,
    };
    let model = model.map(|model| (model.summary.model_id, model.summary.trained_until));
    let loaded = load(&store.pool, moment.known_until, moment.recorded_until, Revisions::Newest).await?;
    let since = loaded.history.sessions.last().and_then(|day| day.checked_sub_days(Days::new(REVISED_DAYS)));
    let since = since.context("the store holds no prices; import some first: forecastd import FOLDER")?;
    let revised_bars = drift::revised_bars(&store.pool, since, moment.recorded_until).await?;
    let work = move || {
        let LoadedHistory { history, .. } = loaded;
        let inputs = DriftInputs {
            history: &history,
            model: model.as_ref().map(|(model_id, until)| (model_id.as_str(), *until)),
            window_sessions: options.drift_sessions as usize,
            newest_closed: calendar::newest_closed_session(moment.now),
            revised_bars: &revised_bars,
            performance: &performance,
        };
        let new_sessions = model.as_ref().map(|(_, until)| history.sessions.iter().filter(|s| *s > until).count());
        measure(inputs).map(|measured| (measured, model.map(|(model_id, _)| model_id), new_sessions))
    };
    let (measured, model_id, new_sessions) =
        tokio::task::spawn_blocking(work).await?.context("no session has bars of half of the instruments")?;
    let situation = Situation { now: moment.now, new_sessions, most: options.drift_trainings };
    let report = write(store, measured, model_id, (situation, lease)).await?;
    for alarm in &report.alarms {
        tracing::warn!(kind = alarm.kind.as_str(), subject = alarm.subject, "drift: {}", alarm.message);
    }
    if let Some(job_id) = report.retrain.job_id {
        tracing::warn!(%job_id, "drift asked for a training");
    }
    Ok(report)
}

async fn write(
    store: &Store,
    measured: Measured,
    model_id: Option<String>,
    (situation, lease): (Situation, Option<Lease>),
) -> anyhow::Result<DriftReport> {
    let mut transaction = store.pool.begin().await?;
    let retrain = drift_retrain::ask(&mut transaction, &measured.alarms, situation).await?;
    let new = new_report(&measured, model_id.clone(), situation.now, &retrain)?;
    let report_id = drift::insert(&mut transaction, &new).await?;
    let Measured { as_of, universe, alarms, .. } = measured;
    let report = DriftReport { report_id, as_of, model_id, universe, alarms, retrain };
    events::emit(&mut transaction, &event(&report)).await?;
    if let Some(lease) = lease {
        jobs::succeed(&mut transaction, lease, &serde_json::to_value(&report)?).await?;
    }
    transaction.commit().await?;
    Ok(report)
}

fn new_report(
    measured: &Measured,
    model_id: Option<String>,
    reported_at: DateTime<Utc>,
    retrain: &Retrain,
) -> anyhow::Result<NewReport> {
    let instruments = measured.instruments.iter().map(|(s, drift)| Ok((s.clone(), serde_json::to_value(drift)?)));
    Ok(NewReport {
        as_of: measured.as_of,
        model_id,
        reported_at,
        universe: serde_json::to_value(&measured.universe)?,
        alarms: serde_json::to_value(&measured.alarms)?,
        train_job_id: retrain.job_id,
        instruments: instruments.collect::<anyhow::Result<_>>()?,
    })
}

/// What everybody who listens hears of a report.
fn event(report: &DriftReport) -> serde_json::Value {
    json!({
        "type": "drift",
        "report_id": report.report_id,
        "as_of": report.as_of,
        "model_id": report.model_id,
        "alarms": report.alarms.iter().take(TOLD).collect::<Vec<_>>(),
        "more_alarms": report.alarms.len().saturating_sub(TOLD),
        "train_job_id": report.retrain.job_id,
    })
}

//! What is measured: the numbers that the store knows, and all of them as the text that Prometheus reads.

use chrono::{DateTime, Utc};
use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde::de::DeserializeOwned;
use sqlx::PgPool;

use crate::api::board::Board;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::opinion::drift::{Alarm, AlarmKind, UniverseDrift};
use crate::store::drift::ReportRow;
use crate::store::metrics::JobCount;
use crate::store::{StoreError, chain, drift, ledger, metrics as counted};

/// Names with what they mean, in the order of the page of documentation.
const HELP: [(&str, &str); 20] = [
    (
        "forecastd_store_up",
        "1 when the store answered the last time it was asked, else 0; the numbers below are the last known.",
    ),
    ("forecastd_build_info", "Always 1; the label is the version."),
    ("forecastd_serving_sequence", "Newest place of the ledger that is served."),
    ("forecastd_ledger_head", "Newest place of the ledger in the store."),
    ("forecastd_snapshot_age_seconds", "Seconds since the newest answer that is served was published."),
    (
        "forecastd_publication_as_of_days_behind",
        "Days by which the newest publication's session lies behind the newest that has closed.",
    ),
    ("forecastd_jobs", "Jobs by kind and state."),
    ("forecastd_oldest_waiting_job_seconds", "Seconds since the oldest job that waits was asked for."),
    ("forecastd_drift_report_age_seconds", "Seconds since the newest drift report."),
    ("forecastd_drift_psi", "Population stability index of a factor's features against the training span."),
    ("forecastd_drift_psi_noise_level", "The same when nothing has changed."),
    ("forecastd_drift_alarms", "Alarms of the newest drift report by kind."),
    ("forecastd_drifted_instruments", "Instruments with a factor that has drifted, each tested by itself."),
    ("forecastd_instruments", "Instruments with prices."),
    ("forecastd_stale_instruments", "Instruments whose prices have stopped."),
    ("forecastd_instruments_with_gaps", "Instruments that lack a session in their last year."),
    ("forecastd_track_record_gain", "Mean live gain over the benchmark."),
    ("forecastd_track_record_gain_bound", "Ends of the confidence sequence of the mean live gain."),
    ("forecastd_track_record_scores", "Live scores that do not overlap."),
    ("forecastd_database_connections", "Connections to the store by state."),
];

/// What the store said.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreNumbers {
    /// Newest place of the ledger.
    pub ledger_head: i64,
    /// Session of the newest publication.
    pub published_as_of: Option<Day>,
    /// Jobs by kind and state.
    pub jobs: Vec<JobCount>,
    /// The newest drift report.
    pub drift: Option<ReportRow>,
}

impl StoreNumbers {
    /// Asks the store, with four short questions.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be reached.
    pub async fn gather(pool: &PgPool) -> Result<Self, StoreError> {
        Ok(Self {
            ledger_head: ledger::head(pool).await?.map_or(0, |head| head.sequence),
            published_as_of: chain::newest_publication(pool).await?.map(|publication| publication.as_of),
            jobs: counted::job_counts(pool).await?,
            drift: drift::newest(pool).await?,
        })
    }
}

/// What is written down.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// Whether the store answered.
    pub is_up: bool,
    /// What it said, or said last.
    pub numbers: Option<&'a StoreNumbers>,
    /// What is served.
    pub board: &'a Board,
    /// The connections to the store.
    pub pool: &'a PgPool,
    /// The time.
    pub now: DateTime<Utc>,
}

/// All numbers in the text format of Prometheus, version 0.0.4. Those that are not known are left out.
#[must_use]
pub fn text(measured: Measured<'_>) -> String {
    // A recorder of its own each time: a kind of job that is gone must not stay at its last number.
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        HELP.iter().for_each(|(name, help)| describe_gauge!(*name, *help));
        own(measured);
        if let Some(numbers) = measured.numbers {
            of_store(numbers, measured.now);
        }
    });
    recorder.handle().render()
}

fn own(measured: Measured<'_>) {
    gauge!("forecastd_store_up").set(f64::from(u8::from(measured.is_up)));
    gauge!("forecastd_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let snapshot = measured.board.load();
    gauge!("forecastd_serving_sequence").set(snapshot.sequence() as f64);
    if let Some(at) = snapshot.published_at() {
        gauge!("forecastd_snapshot_age_seconds").set(seconds(at, measured.now));
    }
    let (open, idle) = (measured.pool.size() as usize, measured.pool.num_idle());
    gauge!("forecastd_database_connections", "state" => "idle").set(idle as f64);
    gauge!("forecastd_database_connections", "state" => "used").set(open.saturating_sub(idle) as f64);
}

fn of_store(numbers: &StoreNumbers, now: DateTime<Utc>) {
    gauge!("forecastd_ledger_head").set(numbers.ledger_head as f64);
    if let Some(as_of) = numbers.published_as_of {
        let behind = (calendar::newest_closed_session(now) - as_of).num_days();
        gauge!("forecastd_publication_as_of_days_behind").set(behind.max(0) as f64);
    }
    for JobCount { kind, state, count, .. } in &numbers.jobs {
        gauge!("forecastd_jobs", "kind" => kind.clone(), "state" => state.clone()).set(*count as f64);
    }
    let waiting = numbers.jobs.iter().filter(|jobs| jobs.state == "queued").filter_map(|jobs| jobs.oldest_at).min();
    gauge!("forecastd_oldest_waiting_job_seconds").set(waiting.map_or(0.0, |at| seconds(at, now)));
    if let Some(report) = &numbers.drift {
        gauge!("forecastd_drift_report_age_seconds").set(seconds(report.reported_at, now));
        of_alarms(report);
        if let Some(universe) = read::<UniverseDrift>(&report.universe) {
            of_universe(&universe);
        }
    }
}

fn of_alarms(report: &ReportRow) {
    let alarms = read::<Vec<Alarm>>(&report.alarms).unwrap_or_default();
    for kind in AlarmKind::ALL {
        let count = alarms.iter().filter(|alarm| alarm.kind == kind).count();
        gauge!("forecastd_drift_alarms", "kind" => kind.as_str()).set(count as f64);
    }
}

fn of_universe(universe: &UniverseDrift) {
    for factor in &universe.factors {
        for (name, value) in
            [("forecastd_drift_psi", factor.psi), ("forecastd_drift_psi_noise_level", factor.psi_noise_level)]
        {
            if let Some(value) = value {
                gauge!(name, "factor" => factor.factor.clone()).set(value);
            }
        }
    }
    for measure in &universe.performance.measures {
        let of = || measure.of.clone();
        gauge!("forecastd_track_record_gain", "of" => of()).set(measure.mean);
        gauge!("forecastd_track_record_gain_bound", "of" => of(), "end" => "lower").set(measure.lower);
        gauge!("forecastd_track_record_gain_bound", "of" => of(), "end" => "upper").set(measure.upper);
        gauge!("forecastd_track_record_scores", "of" => of()).set(f64::from(measure.observations));
    }
    gauge!("forecastd_instruments").set(universe.instruments as f64);
    gauge!("forecastd_drifted_instruments").set(universe.drifted_instruments as f64);
    gauge!("forecastd_stale_instruments").set(universe.stale_instruments as f64);
    gauge!("forecastd_instruments_with_gaps").set(universe.instruments_with_gaps as f64);
}

/// A report of another version may not be readable; its numbers are then left out.
fn read<T: DeserializeOwned>(value: &serde_json::Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn seconds(since: DateTime<Utc>, now: DateTime<Utc>) -> f64 {
    ((now - since).num_milliseconds() as f64 / 1000.0).max(0.0)
}

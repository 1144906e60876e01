//! The schedule on a real store: one job a slot however many ask, and what happens to slots that nobody kept.

use chrono::{DateTime, Utc};
use forecastd::jobs::scheduler::{Scheduled, ask_for_due};
use forecastd::store::arguments::{JobArguments, PublishArguments};
use forecastd::store::jobs::{self, JobRow, Wanted};
use forecastd::store::queue;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::support::store::{count, real};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn daily() -> Scheduled {
    let schedule = "45 16 * * * America/New_York sessions".parse().unwrap();
    Scheduled { arguments: JobArguments::Publish(PublishArguments::default()), schedule }
}

async fn all(pool: &PgPool) -> Vec<JobRow> {
    let mut found = jobs::list(pool, &Wanted::default(), 100).await.unwrap();
    found.sort_by(|a, b| a.slot.cmp(&b.slot));
    found
}

#[sqlx::test]
async fn a_slot_has_one_job_however_many_ask(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let (pool, due) = (&opened.store.pool, daily());
    // A schedule that is new begins now: what was due before it is nobody's.
    assert_eq!(ask_for_due(pool, &due, at("2024-09-27T12:00:00Z")).await.unwrap(), None);
    assert_eq!(ask_for_due(pool, &due, at("2024-09-27T20:44:59Z")).await.unwrap(), None);
    let asking = (0..16).map(|_| {
        let (pool, due) = (pool.clone(), due.clone());
        tokio::spawn(async move { ask_for_due(&pool, &due, at("2024-09-27T20:45:00Z")).await.unwrap() })
    });
    let mut made = 0;
    for asked in asking.collect::<Vec<_>>() {
        made += usize::from(asked.await.unwrap().is_some());
    }
    assert_eq!(made, 1);
    let found = all(pool).await;
    let [job] = &found[..] else { panic!("{found:?}") };
    assert_eq!((job.slot.as_deref(), job.reason.as_str()), (Some("2024-09-27T20:45:00Z"), "schedule"));
    assert_eq!(count(&opened.owner, "forecastd_queue._private_jobs").await, 1);
    // The weekend has no sessions.
    assert_eq!(ask_for_due(pool, &due, at("2024-09-30T12:00:00Z")).await.unwrap(), None);
}

#[sqlx::test]
async fn missed_slots_are_skipped_with_a_reason_and_the_newest_is_run(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let opened = real(options, connect).await;
    let (pool, due) = (&opened.store.pool, daily());
    ask_for_due(pool, &due, at("2024-09-24T12:00:00Z")).await.unwrap();
    let asked = ask_for_due(pool, &due, at("2024-09-30T21:00:00Z")).await.unwrap();
    assert_eq!(asked, Some(at("2024-09-30T20:45:00Z")));
    let states: Vec<(String, String)> =
        all(pool).await.into_iter().map(|job| (job.slot.unwrap()[..10].to_owned(), job.state)).collect();
    let skipped = ["2024-09-24", "2024-09-25", "2024-09-26", "2024-09-27"].map(|day| (day.into(), "skipped".into()));
    assert_eq!(states[..4], skipped);
    assert_eq!(states[4..], [("2024-09-30".to_owned(), "queued".to_owned())]);
    assert!(all(pool).await[0].error.as_deref().unwrap().contains("missed"));
    assert_eq!(ask_for_due(pool, &due, at("2024-09-30T21:00:05Z")).await.unwrap(), None);
    // A clock that is set back asks for nothing twice.
    assert_eq!(ask_for_due(pool, &due, at("2024-09-26T21:00:00Z")).await.unwrap(), None);
    assert_eq!(all(pool).await.len(), 5);
}

#[sqlx::test]
async fn a_job_that_the_queue_lost_is_found_again(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let (pool, due) = (&opened.store.pool, daily());
    ask_for_due(pool, &due, at("2024-09-30T12:00:00Z")).await.unwrap();
    ask_for_due(pool, &due, at("2024-09-30T21:00:00Z")).await.unwrap();
    assert_eq!(queue::repair(pool).await.unwrap(), 0, "nothing is missing");
    sqlx::query("delete from forecastd_queue._private_jobs").execute(&opened.owner).await.unwrap();
    assert_eq!(queue::repair(pool).await.unwrap(), 1);
    assert_eq!(queue::repair(pool).await.unwrap(), 0);
    // Of those that are there nothing changes: neither a retry's delay nor the lock of one that runs.
    let retried = "update forecastd_queue._private_jobs
        set attempts = 3, run_at = now() + interval '1 hour', locked_by = 'a', locked_at = now()";
    sqlx::query(retried).execute(&opened.owner).await.unwrap();
    let rows = "select coalesce(string_agg(j::text, '|' order by id), '') from forecastd_queue._private_jobs j";
    let before: String = sqlx::query_scalar(rows).fetch_one(&opened.owner).await.unwrap();
    assert_eq!(queue::repair(pool).await.unwrap(), 0);
    assert_eq!(sqlx::query_scalar::<_, String>(rows).fetch_one(&opened.owner).await.unwrap(), before);
    // A lock that belongs to none of them is freed.
    let orphaned =
        "update forecastd_queue._private_job_queues set locked_by = 'b', locked_at = now() - interval '1 minute'";
    sqlx::query(orphaned).execute(&opened.owner).await.unwrap();
    queue::repair(pool).await.unwrap();
    let locked = "select count(*) from forecastd_queue._private_job_queues where locked_by is not null";
    assert_eq!(sqlx::query_scalar::<_, i64>(locked).fetch_one(&opened.owner).await.unwrap(), 0);
    let payload: serde_json::Value = sqlx::query_scalar("select payload::jsonb from forecastd_queue._private_jobs")
        .fetch_one(&opened.owner)
        .await
        .unwrap();
    assert_eq!(payload["job_id"], all(pool).await[0].job_id.to_string());
}

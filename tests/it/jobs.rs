//! Jobs in the store: one of each kind and slot, one run that takes effect, and what becomes of all others.

use forecastd::store::StoreError;
use forecastd::store::arguments::{JobArguments, PublishArguments, TrainArguments};
use forecastd::store::asking::{Asked, Asking, ask_once, slot_of_key};
use forecastd::store::jobs::{self, Claim, Ending, JobRow, Lease, NewJob, Renewal, Wanted};
use forecastd::store::kinds::JobKind;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::store::{count, real};

/// The queue's entries; its library shows them by this view.
const QUEUE: &str = "forecastd_queue.jobs";

fn training(slot: Option<&str>) -> NewJob {
    JobKind::Train.new_job(json!({"walk": false}), slot.map(str::to_owned), "test")
}

async fn asked(pool: &PgPool, job: &NewJob) -> Option<Uuid> {
    let mut transaction = pool.begin().await.unwrap();
    let job_id = jobs::ask(&mut transaction, job).await.unwrap();
    transaction.commit().await.unwrap();
    job_id
}

async fn found(pool: &PgPool, job_id: Uuid) -> JobRow {
    jobs::find(pool, job_id).await.unwrap().unwrap()
}

/// Begins a run that must be the one to run.
async fn begun(pool: &PgPool, job_id: Uuid, worker: &str) -> Lease {
    match jobs::claim(pool, job_id, worker).await.unwrap() {
        Claim::Run(job) => Lease { job_id, attempt: job.attempts },
        other => panic!("{other:?}"),
    }
}

/// Lets a minute pass in which nothing was heard of a job's worker.
async fn silence(pool: &PgPool, job_id: Uuid) {
    let aged = "update jobs set renewed_at = renewed_at - interval '1 minute' where job_id = $1";
    sqlx::query(aged).bind(job_id).execute(pool).await.unwrap();
}

/// Ends a run well, as its transaction would.
async fn succeeded(pool: &PgPool, lease: Lease) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await.unwrap();
    jobs::succeed(&mut transaction, lease, &json!({"rows": 7})).await?;
    transaction.commit().await.unwrap();
    Ok(())
}

async fn outcomes(pool: &PgPool, job_id: Uuid) -> Vec<(i16, String, String)> {
    let runs = jobs::attempts(pool, job_id).await.unwrap();
    runs.into_iter().map(|run| (run.attempt, run.worker, run.outcome)).collect()
}

fn outcome(attempt: i16, worker: &str, outcome: &str) -> (i16, String, String) {
    (attempt, worker.to_owned(), outcome.to_owned())
}

#[sqlx::test]
async fn a_job_runs_tells_how_far_it_is_and_ends_well(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let pool = &opened.store.pool;
    let job_id = asked(pool, &training(None)).await.unwrap();
    let queued = found(pool, job_id).await;
    assert_eq!((queued.state.as_str(), queued.attempts, queued.max_attempts), ("queued", 0, 3));
    assert_eq!((queued.kind.as_str(), &queued.arguments), ("train", &json!({"walk": false})));
    assert_eq!(count(&opened.owner, QUEUE).await, 1);

    let lease = begun(pool, job_id, "a").await;
    let progress = json!({"phase": "train", "done": 1, "total": 8, "note": null});
    assert_eq!(jobs::renew(pool, lease, Some(&progress)).await.unwrap(), Renewal::Held);
    assert_eq!(jobs::renew(pool, lease, None).await.unwrap(), Renewal::Held);
    let running = found(pool, job_id).await;
    assert_eq!((running.state.as_str(), running.progress.as_ref()), ("running", Some(&progress)));
    assert!(running.renewed_at >= running.started_at && running.worker.as_deref() == Some("a"));
    assert!(jobs::attempts(pool, job_id).await.unwrap().is_empty(), "a run under way is not among those that ended");

    succeeded(pool, lease).await.unwrap();
    let over = found(pool, job_id).await;
    assert_eq!((over.state.as_str(), over.result), ("succeeded", Some(json!({"rows": 7}))));
    assert!(over.finished_at.is_some() && over.error.is_none());
    assert_eq!(outcomes(pool, job_id).await, [outcome(1, "a", "succeeded")]);
    assert_eq!(jobs::claim(pool, job_id, "b").await.unwrap(), Claim::Over);
    assert_eq!(jobs::renew(pool, lease, None).await.unwrap(), Renewal::Lost);
    assert!(matches!(succeeded(pool, lease).await, Err(StoreError::LeaseLost)), "once is enough");
    assert_eq!(jobs::claim(pool, Uuid::nil(), "b").await.unwrap(), Claim::Over);
}

#[sqlx::test]
async fn a_run_whose_job_was_taken_over_has_no_effect(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let pool = &opened.store.pool;
    let job_id = asked(pool, &training(None)).await.unwrap();
    let dead = begun(pool, job_id, "dead").await;
    assert_eq!(jobs::claim(pool, job_id, "alive").await.unwrap(), Claim::Busy, "its worker was heard of just now");
    silence(pool, job_id).await;
    let alive = begun(pool, job_id, "alive").await;
    assert_eq!((dead.attempt, alive.attempt), (1, 2));
    assert_eq!(jobs::renew(pool, dead, Some(&json!({"phase": "x"}))).await.unwrap(), Renewal::Lost);
    assert!(matches!(succeeded(pool, dead).await, Err(StoreError::LeaseLost)));
    for ending in [Ending::Failed("late".into()), Ending::Cancelled, Ending::Stopped] {
        assert_eq!(jobs::end(pool, dead, &ending).await.unwrap(), "running", "{ending:?}");
    }
    let job = found(pool, job_id).await;
    assert_eq!((job.worker.as_deref(), job.progress, job.error), (Some("alive"), None, None));
    succeeded(pool, alive).await.unwrap();
    assert_eq!(outcomes(pool, job_id).await, [outcome(1, "dead", "lost"), outcome(2, "alive", "succeeded")]);
    assert_eq!(jobs::end(pool, alive, &Ending::Failed("late".into())).await.unwrap(), "succeeded");
}

#[sqlx::test]
async fn a_job_is_given_up_after_its_last_run(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let pool = &opened.store.pool;
    let failing = asked(pool, &training(None)).await.unwrap();
    for state in ["queued", "queued", "failed"] {
        let lease = begun(pool, failing, "a").await;
        let failed = Ending::Failed(format!("run {}", lease.attempt));
        assert_eq!(jobs::end(pool, lease, &failed).await.unwrap(), state);
    }
    let over = found(pool, failing).await;
    assert_eq!((over.error.as_deref(), over.finished_at.is_some()), (Some("run 3"), true));
    assert_eq!(jobs::claim(pool, failing, "a").await.unwrap(), Claim::Over);
    assert_eq!(outcomes(pool, failing).await, [1, 2, 3].map(|run| outcome(run, "a", "failed")));

    let deadly = asked(pool, &training(None)).await.unwrap();
    for _ in 0..3 {
        begun(pool, deadly, "a").await;
    }
    assert_eq!(jobs::claim(pool, deadly, "a").await.unwrap(), Claim::GivenUp);
    let over = found(pool, deadly).await;
    assert!(over.state == "failed" && over.error.is_some_and(|why| why.contains("died")));
    assert_eq!(outcomes(pool, deadly).await, [1, 2, 3].map(|run| outcome(run, "a", "lost")));

    // A worker that is told to end costs the job no run.
    let stopped = asked(pool, &training(None)).await.unwrap();
    for _ in 0..5 {
        let lease = begun(pool, stopped, "a").await;
        assert_eq!(jobs::end(pool, lease, &Ending::Stopped).await.unwrap(), "queued");
    }
    let last = begun(pool, stopped, "b").await;
    succeeded(pool, last).await.unwrap();
    assert_eq!(outcomes(pool, stopped).await.pop(), Some(outcome(6, "b", "succeeded")));
}

#[sqlx::test]
async fn a_cancelled_job_has_no_effect_wherever_it_was(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let pool = &opened.store.pool;
    let state = |job_id| async move { found(pool, job_id).await.state };
    assert_eq!(jobs::cancel(pool, Uuid::nil()).await.unwrap(), None);

    let waiting = asked(pool, &training(None)).await.unwrap();
    let row = jobs::cancel(pool, waiting).await.unwrap().unwrap();
    assert!(row.state == "cancelled" && row.finished_at.is_some());
    assert_eq!(jobs::claim(pool, waiting, "a").await.unwrap(), Claim::Over);
    assert_eq!(jobs::cancel(pool, waiting).await.unwrap(), Some(row), "a second time changes nothing");

    let running = asked(pool, &training(None)).await.unwrap();
    let lease = begun(pool, running, "a").await;
    let row = jobs::cancel(pool, running).await.unwrap().unwrap();
    assert!(row.state == "running" && row.cancel_requested_at.is_some() && row.finished_at.is_none());
    assert_eq!(jobs::renew(pool, lease, None).await.unwrap(), Renewal::CancelRequested);
    assert!(matches!(succeeded(pool, lease).await, Err(StoreError::LeaseLost)), "it must not commit any more");
    assert_eq!(jobs::end(pool, lease, &Ending::Cancelled).await.unwrap(), "cancelled");
    assert_eq!(outcomes(pool, running).await, [outcome(1, "a", "cancelled")]);

    // Its worker dies, or fails, before it hears of it.
    let dead = asked(pool, &training(None)).await.unwrap();
    begun(pool, dead, "a").await;
    jobs::cancel(pool, dead).await.unwrap();
    silence(pool, dead).await;
    assert_eq!(jobs::claim(pool, dead, "b").await.unwrap(), Claim::Over);
    let failed = asked(pool, &training(None)).await.unwrap();
    let lease = begun(pool, failed, "a").await;
    jobs::cancel(pool, failed).await.unwrap();
    jobs::end(pool, lease, &Ending::Failed("broken".into())).await.unwrap();
    assert_eq!(jobs::claim(pool, failed, "b").await.unwrap(), Claim::Over);
    assert_eq!((state(dead).await, state(failed).await), ("cancelled".into(), "cancelled".into()));

    let over = asked(pool, &training(None)).await.unwrap();
    let lease = begun(pool, over, "a").await;
    succeeded(pool, lease).await.unwrap();
    let row = jobs::cancel(pool, over).await.unwrap().unwrap();
    assert!(row.state == "succeeded" && row.cancel_requested_at.is_none());
}

#[sqlx::test]
async fn a_slot_has_one_job_however_many_ask(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let mut asks = JoinSet::new();
    for _ in 0..8 {
        let pool = opened.store.pool.clone();
        asks.spawn(async move { asked(&pool, &training(Some("2024-09-30"))).await });
    }
    assert_eq!(asks.join_all().await.into_iter().flatten().count(), 1);
    assert_eq!((count(&opened.owner, "jobs").await, count(&opened.owner, QUEUE).await), (1, 1));
    let pool = &opened.store.pool;
    assert!(asked(pool, &training(Some("2024-10-07"))).await.is_some());
    let publication = JobKind::Publish.new_job(json!({}), Some("2024-09-30".into()), "test");
    assert!(asked(pool, &publication).await.is_some(), "another kind has slots of its own");
    assert!(asked(pool, &training(None)).await.is_some() && asked(pool, &training(None)).await.is_some());

    let mut connection = pool.acquire().await.unwrap();
    let late = training(Some("2024-10-14"));
    assert!(jobs::skip(&mut connection, &late, "a newer slot is due").await.unwrap());
    assert!(!jobs::skip(&mut connection, &training(Some("2024-10-07")), "too late").await.unwrap());
    drop(connection);
    assert_eq!(asked(pool, &late).await, None);
    let skipped = Wanted { state: Some("skipped".into()), ..Wanted::default() };
    let rows = jobs::list(pool, &skipped, 10).await.unwrap();
    assert_eq!((rows.len(), rows[0].error.as_deref()), (1, Some("a newer slot is due")));
    assert_eq!((count(&opened.owner, "jobs").await, count(&opened.owner, QUEUE).await), (6, 5));
}

#[sqlx::test]
async fn a_transaction_that_rolls_back_leaves_no_job_behind(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let pool = &opened.store.pool;
    let mut transaction = pool.begin().await.unwrap();
    assert!(jobs::ask(&mut transaction, &training(Some("2024-09-30"))).await.unwrap().is_some());
    transaction.rollback().await.unwrap();
    assert_eq!((count(&opened.owner, "jobs").await, count(&opened.owner, QUEUE).await), (0, 0));
    assert!(asked(pool, &training(Some("2024-09-30"))).await.is_some(), "the slot is free again");
    // The end of a run is undone with the effect that failed beside it.
    let job_id = jobs::list(pool, &Wanted::default(), 1).await.unwrap()[0].job_id;
    let lease = begun(pool, job_id, "a").await;
    let mut transaction = pool.begin().await.unwrap();
    jobs::succeed(&mut transaction, lease, &json!({})).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(found(pool, job_id).await.state, "running");
    succeeded(pool, lease).await.unwrap();
}

async fn ask(pool: &PgPool, arguments: JobArguments, slot: Option<String>) -> Asked {
    ask_once(pool, &Asking { arguments, slot, reason: "test".into() }).await.unwrap()
}

fn train(walk: bool) -> JobArguments {
    JobArguments::Train(TrainArguments { walk })
}

#[sqlx::test]
async fn the_same_work_is_asked_for_once(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let pool = &opened.store.pool;
    let mut asks = JoinSet::new();
    for _ in 0..8 {
        let pool = pool.clone();
        asks.spawn(async move { ask(&pool, train(false), None).await });
    }
    let all = asks.join_all().await;
    assert_eq!(all.iter().filter(|asked| matches!(asked, Asked::Made(_))).count(), 1);
    assert_eq!((count(&opened.owner, "jobs").await, count(&opened.owner, QUEUE).await), (1, 1));
    let first = jobs::list(pool, &Wanted::default(), 1).await.unwrap().remove(0);
    assert!(matches!(ask(pool, train(true), None).await, Asked::Made(_)), "with other arguments it is other work");

    // A training that runs counts, a publication that runs has taken its cutoff already.
    let lease = begun(pool, first.job_id, "a").await;
    let Asked::SameWork(same) = ask(pool, train(false), None).await else { panic!("it runs") };
    assert_eq!((same.job_id, same.state.as_str()), (first.job_id, "running"));
    let publish = || JobArguments::Publish(PublishArguments::default());
    let Asked::Made(publication) = ask(pool, publish(), None).await else { panic!("the first") };
    assert!(matches!(ask(pool, publish(), None).await, Asked::SameWork(_)));
    begun(pool, publication.job_id, "a").await;
    assert!(matches!(ask(pool, publish(), None).await, Asked::Made(_)));

    // One that will be cancelled does nobody's work.
    jobs::cancel(pool, first.job_id).await.unwrap();
    assert!(matches!(ask(pool, train(false), None).await, Asked::Made(_)));
    jobs::end(pool, lease, &Ending::Cancelled).await.unwrap();
}

#[sqlx::test]
async fn the_same_request_gives_the_same_job_for_ever(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let pool = &opened.store.pool;
    let slot = |text: &str| Some(slot_of_key(Uuid::nil(), text));
    assert!(!slot("secret").unwrap().contains("secret") && slot("a") != slot("b"));
    let mut asks = JoinSet::new();
    for _ in 0..8 {
        let (pool, slot) = (pool.clone(), slot("first"));
        asks.spawn(async move { ask(&pool, train(false), slot).await });
    }
    let all = asks.join_all().await;
    assert_eq!(all.iter().filter(|asked| matches!(asked, Asked::Made(_))).count(), 1);
    assert_eq!(all.iter().filter(|asked| matches!(asked, Asked::SameRequest(_))).count(), 7);
    let first = jobs::list(pool, &Wanted::default(), 2).await.unwrap().remove(0);

    // Another request is given the same job, and is given it again when that is over.
    let Asked::SameWork(given) = ask(pool, train(false), slot("second")).await else { panic!("it waits") };
    assert_eq!(given.job_id, first.job_id);
    let lease = begun(pool, first.job_id, "a").await;
    succeeded(pool, lease).await.unwrap();
    for name in ["first", "second"] {
        let Asked::SameRequest(given) = ask(pool, train(false), slot(name)).await else { panic!("{name}") };
        assert_eq!((given.job_id, given.state.as_str()), (first.job_id, "succeeded"));
        for other in [train(true), JobArguments::Score] {
            let Asked::SlotTaken(taken) = ask(pool, other, slot(name)).await else { panic!("{name}") };
            assert_eq!(taken.job_id, first.job_id);
        }
    }
    assert!(matches!(ask(pool, train(false), slot("third")).await, Asked::Made(_)));
    let states: Vec<Value> =
        jobs::list(pool, &Wanted::default(), 10).await.unwrap().iter().map(|row| json!(row.state)).collect();
    assert_eq!(states, ["queued", "skipped", "succeeded"]);
}

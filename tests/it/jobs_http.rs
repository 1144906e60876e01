//! Jobs over HTTP: who may ask, what is checked, asking twice, pages, progress, cancelling.

use axum::body::Body;
use axum::http::{Method, Request};
use forecastd::jobs::keys::create;
use forecastd::store::jobs::{self, Claim, Ending, Lease};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::support::requests::{Answer, Service};
use crate::support::store::{Opened, count, real};

/// A service and a key for operating it.
struct Operated {
    opened: Opened,
    service: Service,
    key: String,
}

impl Operated {
    async fn start(options: PgPoolOptions, connect: PgConnectOptions) -> Self {
        let opened = real(options, connect).await;
        let service = Service::of(&opened.store).await;
        let key = create(&opened.store.pool, "operations", vec!["operate".into()], Some(1)).await.unwrap();
        Self { opened, service, key }
    }

    async fn send(&self, method: Method, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let key = format!("Bearer {}", self.key);
        let mut request = Request::builder().method(method).uri(path).header("authorization", key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        self.service.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.send(Method::GET, path, "", &[]).await;
        (answer.status.as_u16(), answer.json())
    }

    async fn post(&self, body: Value) -> Answer {
        self.send(Method::POST, "/jobs", &body.to_string(), &[]).await
    }

    async fn post_named(&self, name: &str, body: &Value) -> Answer {
        self.send(Method::POST, "/jobs", &body.to_string(), &[("idempotency-key", name)]).await
    }

    async fn delete(&self, id: &str) -> Answer {
        self.send(Method::DELETE, &format!("/jobs/{id}"), "", &[]).await
    }

    /// Asks for a job that must be a new one.
    async fn made(&self, body: Value) -> String {
        let answer = self.post(body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Begins a run of a job, as a worker would.
    async fn begin(&self, id: &str) -> Lease {
        let job_id: Uuid = id.parse().unwrap();
        match jobs::claim(&self.opened.store.pool, job_id, "worker-1").await.unwrap() {
            Claim::Run(job) => Lease { job_id, attempt: job.attempts },
            other => panic!("{other:?}"),
        }
    }
}

#[sqlx::test]
async fn only_a_key_for_operating_opens_jobs(options: PgPoolOptions, connect: PgConnectOptions) {
    let mut operated = Operated::start(options, connect).await;
    let id = operated.made(json!({"kind": "score"})).await;
    let pool = operated.opened.store.pool.clone();
    let ingest = create(&pool, "prices", vec!["ingest".into()], Some(1)).await.unwrap();
    let address = format!("/jobs/{id}");
    for (key, status) in [("nonsense".to_owned(), 401), (ingest, 403)] {
        operated.key = key;
        for (method, path, body) in [
            (Method::GET, "/jobs", ""),
            (Method::POST, "/jobs", r#"{"kind":"train"}"#),
            (Method::GET, &address, ""),
            (Method::DELETE, &address, ""),
        ] {
            let answer = operated.send(method.clone(), path, body, &[]).await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
    }
    assert_eq!(operated.service.get("/jobs").await.status, 401);
    assert_eq!(count(&operated.opened.owner, "jobs").await, 1);
    operated.key = create(&pool, "all", vec!["admin".into()], Some(1)).await.unwrap();
    assert_eq!(operated.get("/jobs").await.0, 200);
}

#[sqlx::test]
async fn a_job_is_asked_for_and_told_until_it_ends(options: PgPoolOptions, connect: PgConnectOptions) {
    let operated = Operated::start(options, connect).await;
    let answer = operated.post(json!({"kind": "train", "arguments": {"walk": true}})).await;
    let (job, location) = (answer.json(), answer.header("location").to_owned());
    assert_eq!((answer.status.as_u16(), &job["existing"], &job["state"]), (202, &Value::Null, &json!("queued")));
    assert_eq!(location, format!("/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!((&job["kind"], &job["arguments"]), (&json!("train"), &json!({"walk": true})));
    assert_eq!((&job["attempt"], &job["attempts"], &job["priority"]), (&json!(0), &json!([]), &json!(0)));
    assert_eq!(job["reason"], "asked over HTTP with the key operations");
    for unknown_yet in ["started_at", "finished_at", "worker", "heartbeat_age_seconds", "progress", "error", "result"] {
        assert_eq!(job.get(unknown_yet), Some(&Value::Null), "{unknown_yet}");
    }

    let id = job["id"].as_str().unwrap();
    let pool = &operated.opened.store.pool;
    let lease = operated.begin(id).await;
    jobs::end(pool, lease, &Ending::Failed("out of memory".into())).await.unwrap();
    let lease = operated.begin(id).await;
    let progress = json!({"phase": "train", "done": 3, "total": 8, "note": "member 4"});
    jobs::renew(pool, lease, Some(&progress)).await.unwrap();
    let (status, job) = operated.get(&location).await;
    assert_eq!((status, &job["state"], &job["progress"]), (200, &json!("running"), &progress));
    assert_eq!((&job["attempt"], &job["worker"]), (&json!(2), &json!("worker-1")));
    assert!(job["heartbeat_age_seconds"].as_i64().unwrap() < 60 && job["started_at"].is_string());
    let [run] = job["attempts"].as_array().unwrap().as_slice() else { panic!("{job}") };
    assert_eq!(
        (&run["attempt"], &run["outcome"], &run["error"]),
        (&json!(1), &json!("failed"), &json!("out of memory"))
    );

    let mut transaction = pool.begin().await.unwrap();
    jobs::succeed(&mut transaction, lease, &json!({"model_id": "2024-09-30.3f9c"})).await.unwrap();
    transaction.commit().await.unwrap();
    let (_, job) = operated.get(&location).await;
    assert_eq!((&job["state"], &job["result"]["model_id"]), (&json!("succeeded"), &json!("2024-09-30.3f9c")));
    assert_eq!((&job["heartbeat_age_seconds"], &job["error"]), (&Value::Null, &Value::Null));
    assert_eq!(job["attempts"].as_array().unwrap().len(), 2);
}

#[sqlx::test]
async fn what_is_asked_for_is_checked(options: PgPoolOptions, connect: PgConnectOptions) {
    let operated = Operated::start(options, connect).await;
    for (body, fields) in [
        (json!({}), vec!["kind"]),
        (json!({"kind": "fetch", "color": 1}), vec!["color", "kind"]),
        (json!({"kind": "import", "arguments": {"paths": ["/etc"]}}), vec!["kind"]),
        (json!({"kind": "score", "arguments": {"walk": true}}), vec!["arguments.walk"]),
        (json!({"kind": "train", "arguments": {"walk": "yes"}}), vec!["arguments.walk"]),
        (json!({"kind": "train", "arguments": 7}), vec!["arguments"]),
        (json!({"kind": "backfill"}), vec!["arguments.from", "arguments.to"]),
        (json!({"kind": "backfill", "arguments": {"from": "2024-09-30", "to": "2020-01-02"}}), vec!["arguments.to"]),
        (json!({"kind": "prune", "arguments": {"keep": 0}}), vec!["arguments.keep"]),
    ] {
        let answer = operated.post(body.clone()).await;
        let problem = answer.json();
        let named: Vec<&str> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
        assert_eq!((answer.status.as_u16(), named), (422, fields), "{body}");
    }
    let kinds = operated.post(json!({"kind": "fetch"})).await.json();
    let reason = kinds["errors"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("publish, score, drift, train, prune, backfill"), "{reason}");
    let large = format!("{{\"kind\":\"train\"{}}}", " ".repeat(17 * 1024));
    let plain = [("content-type", "text/plain")];
    assert_eq!(operated.send(Method::POST, "/jobs", &large, &[]).await.status, 413);
    assert_eq!(operated.send(Method::POST, "/jobs", "{", &[]).await.status, 400);
    assert_eq!(operated.send(Method::POST, "/jobs", "", &plain).await.status, 415);
    assert_eq!(operated.send(Method::POST, "/jobs?wait=1", r#"{"kind":"score"}"#, &[]).await.status, 422);
    assert_eq!(count(&operated.opened.owner, "jobs").await, 0);
    for path in ["/jobs?kind=fetch", "/jobs?state=done", "/jobs?limit=0", "/jobs?cursor=x", "/jobs?kind=%00"] {
        assert_eq!(operated.get(path).await.0, 422, "{path}");
    }
    for path in ["/jobs/x", "/jobs/%00", "/jobs/00000000-0000-0000-0000-000000000000"] {
        let (status, problem) = operated.get(path).await;
        assert_eq!((status, &problem["type"]), (404, &json!("/problems/unknown-job")), "{path}");
        assert_eq!(operated.delete(&path[6..]).await.status, 404, "{path}");
    }
}

#[sqlx::test]
async fn asking_twice_makes_one_job(options: PgPoolOptions, connect: PgConnectOptions) {
    let operated = Operated::start(options, connect).await;
    let train = json!({"kind": "train"});
    let first = operated.made(train.clone()).await;
    for _ in 0..2 {
        let again = operated.post(train.clone()).await;
        let job = again.json();
        assert_eq!((again.status.as_u16(), &job["id"], &job["existing"]), (200, &json!(first), &json!("same_work")));
        assert_eq!(again.header("location"), format!("/jobs/{first}"));
    }
    operated.begin(&first).await;
    assert_eq!(operated.post(train.clone()).await.json()["id"], json!(first), "also while it runs");
    operated.made(json!({"kind": "train", "arguments": {"walk": true}})).await;

    let score = json!({"kind": "score", "arguments": {}});
    let named = operated.post_named("nightly-1", &score).await;
    assert_eq!((named.status.as_u16(), &named.json()["existing"]), (202, &Value::Null));
    let id = named.json()["id"].clone();
    operated.begin(id.as_str().unwrap()).await;
    let again = operated.post_named("nightly-1", &json!({"arguments": null, "kind": "score"})).await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["id"], &again.json()["existing"]),
        (200, &id, &json!("same_request"))
    );
    for other in [json!({"kind": "drift"}), train] {
        let refused = operated.post_named("nightly-1", &other).await;
        let problem = refused.json();
        assert_eq!((refused.status.as_u16(), &problem["errors"][0]["field"]), (422, &json!("Idempotency-Key")));
    }
    assert_eq!(operated.post_named("nightly-2", &score).await.status, 202, "a score that runs has begun already");
    assert_eq!(operated.post_named(&"x".repeat(256), &score).await.status, 422);

    // Another key's requests are its own.
    let other = create(&operated.opened.store.pool, "other", vec!["operate".into()], Some(1)).await.unwrap();
    let (opened, service) = (operated.opened, operated.service);
    let operated = Operated { opened, service, key: other };
    assert_eq!(operated.post_named("nightly-1", &json!({"kind": "drift"})).await.status, 202);
}

#[sqlx::test]
async fn jobs_are_listed_newest_first_by_pages(options: PgPoolOptions, connect: PgConnectOptions) {
    let operated = Operated::start(options, connect).await;
    assert_eq!(operated.get("/jobs").await, (200, json!({"items": [], "next": null})));
    let mut ids = vec![];
    for body in [
        json!({"kind": "score"}),
        json!({"kind": "train"}),
        json!({"kind": "train", "arguments": {"walk": true}}),
        json!({"kind": "drift"}),
        json!({"kind": "prune"}),
    ] {
        ids.insert(0, operated.made(body).await);
    }
    let named = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut seen = vec![];
    let mut address = "/jobs?limit=2".to_owned();
    loop {
        let (status, page) = operated.get(&address).await;
        assert_eq!(status, 200);
        seen.extend(named(&page));
        let Some(next) = page["next"].as_str() else { break };
        address = format!("/jobs?limit=2&cursor={next}");
    }
    assert_eq!(seen, ids);
    operated.begin(&ids[0]).await;
    for (query, wanted) in [
        ("kind=train", &ids[2..4]),
        ("state=running", &ids[..1]),
        ("kind=train&state=queued&limit=1", &ids[2..3]),
        ("state=failed", &[]),
    ] {
        let (_, page) = operated.get(&format!("/jobs?{query}")).await;
        assert_eq!(named(&page), wanted, "{query}");
        assert!(page["items"].as_array().unwrap().iter().all(|job| job.get("attempts").is_none()));
    }
}

#[sqlx::test]
async fn a_job_is_cancelled_until_it_is_over(options: PgPoolOptions, connect: PgConnectOptions) {
    let operated = Operated::start(options, connect).await;
    let pool = &operated.opened.store.pool;
    let waiting = operated.made(json!({"kind": "drift"})).await;
    for _ in 0..2 {
        let answer = operated.delete(&waiting).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["state"]), (200, &json!("cancelled")));
    }
    let running = operated.made(json!({"kind": "train"})).await;
    let lease = operated.begin(&running).await;
    let answer = operated.delete(&running).await;
    let job = answer.json();
    assert_eq!((answer.status.as_u16(), &job["state"]), (202, &json!("running")));
    assert!(job["cancel_requested_at"].is_string());
    assert_ne!(operated.made(json!({"kind": "train"})).await, running, "a new one may be asked for meanwhile");
    jobs::end(pool, lease, &Ending::Cancelled).await.unwrap();
    assert_eq!(operated.get(&format!("/jobs/{running}")).await.1["state"], "cancelled");

    let done = operated.made(json!({"kind": "score"})).await;
    let lease = operated.begin(&done).await;
    let mut transaction = pool.begin().await.unwrap();
    jobs::succeed(&mut transaction, lease, &json!({})).await.unwrap();
    transaction.commit().await.unwrap();
    let refused = operated.delete(&done).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["type"]), (409, &json!("/problems/job-over")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("succeeded"));
}

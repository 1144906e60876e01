//! The registry: one model in force at a time, whoever decides and however many at once, and every decision seen.

use axum::body::Body;
use axum::http::Request;
use chrono::{DateTime, Utc};
use forecastd::jobs::keys::create;
use forecastd::jobs::promotion::{OVERTAKEN, Outcome, conclude};
use forecastd::jobs::publish::publish;
use forecastd::jobs::replay::{Replay, replay};
use forecastd::jobs::train::{self, CODE_VERSION, Past};
use forecastd::jobs::{models as commands, simulate};
use forecastd::market::calendar;
use forecastd::opinion::version::STATE_VERSION;
use forecastd::store::jobs::{Lease, Wanted, list};
use forecastd::store::models::{self, StoredModel};
use forecastd::store::open::Store;
use forecastd::store::{promotions, queue, schema};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use uuid::Uuid;

use crate::support::market::{LAST_DAY, market, until};
use crate::support::publishing::{entries, recipe, said, signer, train_and_publish};
use crate::support::requests::{Answer, Service};
use crate::support::store::{count, real, simulated};

/// A model of that name with content of its own.
pub fn model(model_id: &str, code_version: &str) -> StoredModel {
    let at: DateTime<Utc> = "2024-09-30T21:00:00Z".parse().unwrap();
    StoredModel {
        model_id: model_id.into(),
        trained_until: LAST_DAY,
        known_until: at,
        recorded_until: at,
        recipe: json!({"settings": {"seed": 7}}),
        seed: 7,
        data_hash: [1; 32],
        code_version: code_version.into(),
        state: json!({"version": STATE_VERSION, "of": model_id}).to_string().into_bytes(),
        artifact: None,
        scores: json!({"without_network": "no_members_configured"}),
        comparisons: Some(b"{}\n".to_vec()),
    }
}

fn outcome(model: StoredModel) -> Outcome {
    Outcome { model, refusal: None, unjudged: None, benchmarks: None }
}

async fn newest(store: &Store) -> Option<String> {
    models::newest(&store.pool, CODE_VERSION).await.unwrap()
}

/// Who is in force by the list of models.
async fn listed(store: &Store) -> Vec<String> {
    let all = models::summaries(&store.pool, None, 100, CODE_VERSION).await.unwrap();
    all.into_iter().filter(|model| model.in_force).map(|model| model.model_id).collect()
}

async fn activate(service: &Service, id: &str, key: Option<&str>, body: Value) -> Answer {
    let mut request = Request::post(format!("/models/{id}/activate")).header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    service.send(request.body(Body::from(body.to_string())).unwrap()).await
}

#[sqlx::test]
async fn promotions_at_once_follow_one_another(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let store = &opened.store;
    let mut listener = PgListener::connect_with(&store.pool).await.unwrap();
    listener.listen(promotions::CHANNEL).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    for k in 0..12 {
        let (pool, model) = (store.pool.clone(), model(&format!("m{k}"), CODE_VERSION));
        running.spawn(async move {
            if k % 3 == 0 {
                // As a version before the registry does it.
                models::keep_back(&pool, &model, "stored").await.unwrap();
                sqlx::query("insert into trainings (model_id) values ($1)")
                    .bind(&model.model_id)
                    .execute(&pool)
                    .await
                    .unwrap();
            } else {
                conclude(&pool, &outcome(model), None).await.unwrap();
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let rows: Vec<(String, Option<String>, String)> =
        sqlx::query_as("select model_id, previous_model_id, by from promotions order by promotion_id")
            .fetch_all(&store.pool)
            .await
            .unwrap();
    assert_eq!(rows.len(), 12);
    for (k, (_, previous, by)) in rows.iter().enumerate() {
        let before = k.checked_sub(1).map(|before| rows[before].0.clone());
        assert_eq!((previous, by.as_str()), (&before, "training"), "each knows what it replaced: {rows:?}");
    }
    let (last, ..) = rows.last().unwrap();
    assert_eq!((newest(store).await.as_ref(), listed(store).await), (Some(last), vec![last.clone()]));
    for (name, ..) in &rows {
        assert_eq!(listener.recv().await.unwrap().payload(), name, "announced in their order");
    }
}

#[sqlx::test]
async fn a_run_that_lost_its_lease_leaves_nothing_behind(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let store = &opened.store;
    let lost = Lease { job_id: Uuid::now_v7(), attempt: 1 };
    let error = conclude(&store.pool, &outcome(model("a", CODE_VERSION)), Some(lost)).await.unwrap_err().to_string();
    assert!(error.contains("took over"), "{error}");
    for table in ["models", "promotions", "kept_back", "comparison_data"] {
        assert_eq!(count(&opened.owner, table).await, 0, "{table}");
    }
    // What was trained on earlier rows does not replace what was trained on later ones.
    let done = conclude(&store.pool, &outcome(model("a", CODE_VERSION)), None).await.unwrap();
    assert_eq!((done.promoted.as_deref(), done.reason), (Some("a"), None));
    let mut late = model("b", CODE_VERSION);
    late.recorded_until -= chrono::TimeDelta::seconds(1);
    let done = conclude(&store.pool, &outcome(late), None).await.unwrap();
    assert!(done.promoted.is_none() && done.reason.unwrap().starts_with(OVERTAKEN));
    assert_eq!(newest(store).await.as_deref(), Some("a"));
    // A network that failed is kept back, and benchmarks answer only where nothing else does.
    let failed = |id: &str, version: &str| Outcome {
        refusal: Some("canary planted: not found".into()),
        benchmarks: Some(model(&format!("{id}-benchmarks"), version)),
        ..outcome(model(id, version))
    };
    let done = conclude(&store.pool, &failed("c", CODE_VERSION), None).await.unwrap();
    assert_eq!((done.promoted, newest(store).await.as_deref()), (None, Some("a")));
    let done = conclude(&store.pool, &failed("d", "another"), None).await.unwrap();
    assert_eq!(done.promoted.as_deref(), Some("d-benchmarks"));
    let two = [models::newest(&store.pool, "another").await.unwrap(), newest(store).await];
    assert_eq!(two.map(Option::unwrap), ["d-benchmarks", "a"], "two versions answer from their own models");
    assert_eq!(listed(store).await, ["a"]);
}

#[sqlx::test]
async fn an_operator_decides_within_the_rules(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    queue::migrate(&opened.owner).await.unwrap();
    let (store, service) = (&opened.store, Service::of(&opened.store).await);
    for id in ["a", "b"] {
        models::insert(&store.pool, &model(id, CODE_VERSION)).await.unwrap();
    }
    models::keep_back(&store.pool, &model("dead", CODE_VERSION), "canary planted: not found").await.unwrap();
    models::insert(&store.pool, &model("other", "0.0.1+1")).await.unwrap();
    let old = StoredModel { state: b"{\"version\":1}".to_vec(), ..model("old", CODE_VERSION) };
    models::keep_back(&store.pool, &old, "stored").await.unwrap();
    let key = async |scope: &str| create(&store.pool, "desk", vec![scope.into()], None).await.unwrap();
    let (operate, ingest) = (key("operate").await, key("ingest").await);
    let why = || json!({"reason": "it jumps"});
    let forced = || json!({"reason": "it jumps", "force": true});
    for (id, key, body, status, words) in [
        ("a", None, why(), 401, "key"),
        ("a", Some(&ingest), why(), 403, "operate"),
        ("a", Some(&operate), json!({"reason": ""}), 422, "reason"),
        ("a", Some(&operate), json!({}), 400, "reason"),
        ("nobody", Some(&operate), why(), 404, "no model is named nobody"),
        ("dead", Some(&operate), why(), 409, "canary planted: not found"),
        ("other", Some(&operate), forced(), 409, "0.0.1+1"),
        ("old", Some(&operate), forced(), 409, "version 1"),
    ] {
        let answer = activate(&service, id, key.map(String::as_str), body).await;
        assert_eq!(answer.status.as_u16(), status, "{id}: {}", answer.text());
        assert!(answer.text().contains(words), "{id}: {}", answer.text());
    }
    assert_eq!(newest(store).await.as_deref(), Some("b"), "a refusal changes nothing");
    assert!(list(&store.pool, &Wanted::default(), 10).await.unwrap().is_empty());

    let answer = activate(&service, "a", Some(&operate), why()).await.json();
    let promotion = &answer["promotion"];
    assert_eq!((&promotion["by"], &promotion["reason"]), (&json!("operator desk"), &json!("it jumps")));
    assert_eq!((&promotion["previous"], &promotion["forced"]), (&json!("b"), &json!(false)));
    let asked = list(&store.pool, &Wanted::default(), 10).await.unwrap();
    assert_eq!((asked.len(), asked[0].kind.as_str(), asked[0].priority), (1, "publish", -10));
    assert_eq!(answer["job_id"], json!(asked[0].job_id));
    let again = activate(&service, "a", Some(&operate), why()).await.json();
    assert_eq!((&again["changed"], &again["promotion"]), (&json!(false), &Value::Null), "a request may be repeated");

    let dead = activate(&service, "dead", Some(&operate), forced()).await.json();
    assert_eq!((&dead["promotion"]["forced"], &dead["promotion"]["previous"]), (&json!(true), &json!("a")));
    let told = service.found("/models/dead").await;
    assert_eq!((&told["in_force"], &told["kept_back"]), (&json!(true), &json!("canary planted: not found")));
    let lineage = &told["lineage"];
    assert_eq!((&lineage["parent"], &lineage["publications"]), (&json!("b"), &json!(0)));
    assert_eq!(lineage["promotions"][0]["by"], "operator desk");
    assert_eq!(lineage["kept_back"][0]["reason"], "canary planted: not found");
    commands::rollback(store, "back").await.unwrap();
    assert_eq!(listed(store).await, ["a"]);
    commands::rollback(store, "and forth").await.unwrap();
    assert_eq!(listed(store).await, ["dead"], "what was forced comes back forced");
    let refused = commands::activate(store, "other", "x", true).await.unwrap_err().to_string();
    assert!(refused.contains("0.0.1+1"), "{refused}");
    // A version before the registry follows.
    let seen: String = sqlx::query_scalar(
        "select t.model_id from trainings t join models m on m.model_id = t.model_id
         order by (m.code_version = $1) desc, t.training_id desc limit 1",
    )
    .bind(CODE_VERSION)
    .fetch_one(&store.pool)
    .await
    .unwrap();
    assert_eq!(seen, "dead");
    for change in ["delete from promotions", "update promotions set forced = false", "delete from trainings"] {
        assert!(store.pool.execute(change).await.is_err(), "{change}");
    }
}

/// What the newest entry says of a decision.
async fn decision(store: &Store) -> Value {
    said(entries(store).await.last().unwrap())["provenance"]["promotion"].clone()
}

async fn replays(store: &Store) {
    let rows = entries(store).await;
    let size = rows.len() / 2;
    for row in [&rows[0], &rows[size], &rows[rows.len() - 1]] {
        assert_eq!(replay(store, row.sequence).await.unwrap(), Replay::Same(row.entry.len()), "{}", row.sequence);
    }
}

#[sqlx::test]
async fn the_ledger_keeps_a_decision_and_replays_it(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = simulated(options, connect, &market(4, 420)).await;
    queue::migrate(&opened.owner).await.unwrap();
    let (store, signer) = (&opened.store, signer());
    let publish = async || publish(store, &signer.0, false).await.unwrap();
    train_and_publish(store, 0).await;
    let first = newest(store).await.unwrap();
    let other = forecastd::config::RecipeConfig { scenarios: 1600, ..recipe(0) };
    let second = train::train(store, &other, Past::Kept).await.unwrap();
    assert!(publish().await.is_some() && first != second);
    assert!(entries(store).await.iter().all(|row| !String::from_utf8_lossy(&row.entry).contains("\"promotion\"")));

    commands::rollback(store, "the new one jumps").await.unwrap();
    assert!(publish().await.is_some(), "another model is news");
    assert_eq!(decision(store).await, json!({"by": "command", "forced": false, "reason": "the new one jumps"}));
    assert_eq!(said(entries(store).await.last().unwrap())["model_id"], json!(first));
    replays(store).await;

    let kept = models::find(&store.pool, &second).await.unwrap().unwrap();
    let dead = StoredModel { model_id: "2024-09-30.dead".into(), ..kept };
    models::keep_back(&store.pool, &dead, "canary planted: not found").await.unwrap();
    assert!(commands::activate(store, &dead.model_id, "no other", false).await.is_err());
    commands::activate(store, &dead.model_id, "no other", true).await.unwrap();
    assert!(publish().await.is_some());
    assert_eq!(decision(store).await, json!({"by": "command", "forced": true, "reason": "no other"}));
    let decided = entries(store).await.len();
    // Later decisions about the same models change nothing of what was said.
    commands::activate(store, &first, "later", false).await.unwrap();
    models::insert(&store.pool, &dead).await.unwrap();
    replays(store).await;
    models::insert(&store.pool, &models::find(&store.pool, &second).await.unwrap().unwrap()).await.unwrap();
    assert!(publish().await.is_some());
    assert_eq!(decision(store).await, Value::Null, "a training's promotion is the ordinary case");
    assert_eq!(
        replay(store, decided as i64).await.unwrap(),
        Replay::Same(entries(store).await[decided - 1].entry.len())
    );
    let service = Service::of(store).await;
    let lineage = service.found(&format!("/models/{first}")).await["lineage"].clone();
    assert_eq!((&lineage["publications"], &lineage["first_sequence"]), (&json!(2), &json!(1)));
    assert_eq!(lineage["promotions"].as_array().unwrap().len(), 3);
}

#[sqlx::test]
async fn a_scheduled_training_waits_for_new_rows(options: PgPoolOptions, connect: PgConnectOptions) {
    let market = market(4, 423);
    let [start, two, three] = [419, 421, 422].map(|session| market.rows[0].bars[session].day());
    assert_eq!((calendar::add_sessions(start, 3), three), (three, LAST_DAY));
    let opened = simulated(options, connect, &until(&market, start)).await;
    let store = &opened.store;
    let config = recipe(0);
    let training = train::Training { config: &config, past: Past::Kept, unless_fewer_than: Some(3), lease: None };
    let first = train::train_if_due(store, &training).await.unwrap();
    assert!(first.promoted.is_some(), "there was nothing yet: {first:?}");
    simulate::record(store, &until(&market, two)).await.unwrap();
    let waited = train::train_if_due(store, &training).await.unwrap();
    assert_eq!((&waited.model_id, &waited.promoted), (&None, &None));
    let why = waited.reason.unwrap();
    assert!(why.starts_with("too_few_new_rows: 2 sessions") && why.contains("fewer than 3"), "{why}");
    let other = forecastd::config::RecipeConfig { discount: 0.98, ..config.clone() };
    let changed = train::train_if_due(store, &train::Training { config: &other, ..training }).await.unwrap();
    assert!(changed.promoted.is_some(), "another recipe does not wait");
    train::train(store, &config, Past::Kept).await.unwrap();
    simulate::record(store, &market).await.unwrap();
    assert!(train::train_if_due(store, &training).await.unwrap().reason.is_some(), "one session since");
}

/// Brings a database to the schema before the registry.
async fn before_the_registry(owner: &PgPool, after: bool) {
    for migration in schema::MIGRATIONS.iter().filter(|m| (m.version >= 20_261_126_000_004) == after) {
        owner.execute(AssertSqlSafe(migration.sql.as_str().to_owned())).await.unwrap();
    }
}

#[sqlx::test(migrations = false)]
async fn what_versions_before_stored_is_understood(options: PgPoolOptions, connect: PgConnectOptions) {
    let owner = options.connect_with(connect).await.unwrap();
    before_the_registry(&owner, false).await;
    for (id, version) in [("a", "1"), ("b", "2"), ("c", "1")] {
        sqlx::query(
            "insert into models (model_id, trained_until, known_until, recorded_until, recipe, seed, data_hash, code_version, state, sha256, scores)
             values ($1, '2024-09-30', now(), now(), '{}', 1, sha256('x'), $2, 's', sha256('s'), '{}')",
        )
        .bind(id)
        .bind(version)
        .execute(&owner)
        .await
        .unwrap();
        sqlx::query("insert into trainings (model_id) values ($1)").bind(id).execute(&owner).await.unwrap();
    }
    before_the_registry(&owner, true).await;
    let kept: Vec<(String, Option<String>, String)> =
        sqlx::query_as("select model_id, previous_model_id, by from promotions order by promotion_id")
            .fetch_all(&owner)
            .await
            .unwrap();
    let row = |id: &str, previous: Option<&str>| (id.to_owned(), previous.map(str::to_owned), "training".to_owned());
    assert_eq!(kept, [row("a", None), row("b", None), row("c", Some("a"))]);
    for (version, expected) in [("1", "c"), ("2", "b"), ("3", "c")] {
        assert_eq!(models::newest(&owner, version).await.unwrap().as_deref(), Some(expected), "{version}");
    }
    let parent: Option<String> =
        sqlx::query_scalar("select parent from models where model_id = 'c'").fetch_one(&owner).await.unwrap();
    assert_eq!(parent.as_deref(), Some("a"));
    sqlx::query("insert into trainings (model_id) values ('a')").execute(&owner).await.unwrap();
    assert_eq!(models::newest(&owner, "1").await.unwrap().as_deref(), Some("a"));
}

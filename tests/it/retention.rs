//! What may go and what never does; and trainings that find only a part of their record.

use forecastd::jobs::prune::{Pruning, prunable, prune};
use forecastd::jobs::train::{CODE_VERSION, Past, train};
use forecastd::jobs::{models as commands, simulate};
use forecastd::market::bar::{Bar, BarFields};
use forecastd::store::models;
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgPool};

use crate::registry::model;
use crate::support::market::market;
use crate::support::publishing::recipe;
use crate::support::requests::Service;
use crate::support::store::{count, real, simulated};

async fn pruned(owner: &PgPool) -> Vec<String> {
    let rows = sqlx::query_scalar("select model_id from models where pruned_at is not null order by model_id");
    rows.fetch_all(owner).await.unwrap()
}

async fn name_in_ledger(pool: &PgPool, table: &str, model_id: &str) -> sqlx::Result<()> {
    let insert = format!(
        "insert into {table} (publication, as_of, published_at, known_until, recorded_until, model_id, first_sequence, last_sequence)
         values (gen_random_uuid(), '2024-09-30', now(), now(), now(), $1, 1, 1)"
    );
    sqlx::query(AssertSqlSafe(insert)).bind(model_id).execute(pool).await.map(|_| ())
}

#[sqlx::test]
async fn what_the_ledger_names_never_goes(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let (store, owner) = (&opened.store, &opened.owner);
    for id in ["m0", "m1", "m2", "m3", "m4", "m5", "m6"] {
        models::insert(&store.pool, &model(id, CODE_VERSION)).await.unwrap();
    }
    name_in_ledger(&store.pool, "publications", "m0").await.unwrap();
    let walked =
        "create schema if not exists backfill; create table if not exists backfill.publications (like publications)";
    owner.execute(walked).await.unwrap();
    name_in_ledger(owner, "backfill.publications", "m1").await.unwrap();
    // m2 was wanted back, so it and what is in force stay, besides the two stored last.
    models::insert(&store.pool, &model("m2", CODE_VERSION)).await.unwrap();
    models::insert(&store.pool, &model("m3", CODE_VERSION)).await.unwrap();
    let pruning = Pruning { keep: 2, folds: true };
    let would = prunable(store, pruning).await.unwrap();
    assert_eq!((&would.models[..], pruned(owner).await.len()), (&["m4".to_owned()][..], 0));
    let went = prune(store, None, pruning).await.unwrap();
    assert_eq!((went, pruned(owner).await), (would, vec!["m4".to_owned()]));

    // Whoever calls it, with whatever number, and whatever else it tries.
    for attempt in
        ["select prune_models(1)", "select prune_models(0)", "select prune_models(-7)", "select prune_models(null)"]
    {
        store.pool.execute(attempt).await.unwrap();
        assert_eq!(pruned(owner).await, ["m4"], "{attempt}");
    }
    for attempt in [
        "delete from models",
        "update models set artifact = null",
        "update models set pruned_at = now()",
        "delete from comparison_data",
        "delete from folds",
        "delete from backfill.publications",
    ] {
        assert!(store.pool.execute(attempt).await.is_err(), "{attempt}");
    }
    let restored: bool =
        sqlx::query_scalar("select restore_model('m0', 'x', null)").fetch_one(&store.pool).await.unwrap();
    assert!(!restored);
    let as_nobody = "set role none; create role nobody_at_all; set role nobody_at_all; select prune_models(2)";
    assert!(owner.begin().await.unwrap().execute(as_nobody).await.is_err());
    for id in ["m0", "m1", "m2", "m3", "m5", "m6"] {
        assert_eq!(models::find(&store.pool, id).await.unwrap().unwrap().state, model(id, CODE_VERSION).state, "{id}");
    }

    // The record of what went stays, it answers no more, and it comes back when it is trained again.
    let gone = Service::of(store).await.found("/models/m4").await;
    assert!(gone["lineage"]["pruned_at"].is_string() && gone["lineage"]["promotions"].as_array().unwrap().len() == 1);
    assert!(models::find(&store.pool, "m4").await.unwrap_err().to_string().contains("pruned"));
    let refused = commands::activate(store, "m4", "back", true).await.unwrap_err().to_string();
    assert!(refused.contains("pruned"), "{refused}");
    assert!(name_in_ledger(&store.pool, "publications", "m4").await.is_err());
    assert_eq!(count(owner, "comparison_data").await, 6);
    models::insert(&store.pool, &model("m4", CODE_VERSION)).await.unwrap();
    assert_eq!(models::find(&store.pool, "m4").await.unwrap().unwrap().state, model("m4", CODE_VERSION).state);
    assert_eq!((pruned(owner).await.len(), count(owner, "comparison_data").await), (0, 7));
}

#[sqlx::test]
async fn folds_that_nobody_touched_for_a_year_go_when_asked(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let (store, owner) = (&opened.store, &opened.owner);
    let fold = async |name: &str, recipe: &str, fold_age: &str, said_age: &str| {
        let insert = format!(
            "insert into folds values (sha256('{name}'), sha256('{recipe}'), '2020-01-02', now() - interval '{fold_age}', 'w', sha256('w'));
             insert into fold_forecasts values (sha256('{name}'), '2020-01-03', now() - interval '{said_age}', '{{A}}', '{{1}}')"
        );
        owner.execute(AssertSqlSafe(insert)).await.unwrap();
    };
    fold("idle", "idle", "3 years", "2 years").await;
    fold("idle too", "idle", "3 years", "2 years").await;
    fold("old", "living", "3 years", "2 years").await;
    fold("new", "living", "3 years", "1 day").await;
    fold("used", "used", "3 years", "2 years").await;
    let mut user = model("m", CODE_VERSION);
    let used: String = sqlx::query_scalar("select encode(sha256('used'), 'hex')").fetch_one(owner).await.unwrap();
    user.scores = json!({"folds": {"recipe": used, "expected": 1, "missing": 0}});
    models::insert(&store.pool, &user).await.unwrap();
    assert_eq!(prune(store, None, Pruning { keep: 2, folds: false }).await.unwrap().folds, 0);
    let went = prune(store, None, Pruning { keep: 2, folds: true }).await.unwrap();
    assert_eq!((went.folds, went.bytes), (2, 2));
    assert_eq!((count(owner, "folds").await, count(owner, "fold_forecasts").await), (3, 3));
}

#[sqlx::test]
async fn a_part_of_the_record_takes_no_seat_away(options: PgPoolOptions, connect: PgConnectOptions) {
    let mut market = market(5, 1400);
    let opened = simulated(options, connect, &market).await;
    let (store, service) = (&opened.store, Service::of(&opened.store).await);
    let told = async |id: &str| service.found(&format!("/models/{id}")).await;
    let first = train(store, &recipe(1), Past::Kept).await.unwrap();
    let lonely = told(&first).await;
    assert_eq!(
        (&lonely["in_force"], &lonely["without_network"]),
        (&json!(true), &json!("not_walked_yet")),
        "a new installation answers from benchmarks at once"
    );
    let walked = train(store, &recipe(1), Past::Walked).await.unwrap();
    let network = models::find(&store.pool, &walked).await.unwrap().unwrap();
    // Whatever its canaries said of so short a training.
    models::insert(&store.pool, &network).await.unwrap();
    let whole = told(&walked).await;
    assert_eq!((&whole["in_force"], &whole["network"]), (&json!(true), &json!(true)));
    assert_eq!((&whole["lineage"]["parent"], &whole["scores"]["folds"]["missing"]), (&json!(first), &json!(2)));
    // A day of last summer is corrected: the newest fold would have learnt from other rows.
    let old = market.rows[1].bars.iter().position(|bar| bar.day() > "2023-07-03".parse().unwrap()).unwrap();
    let fields = market.rows[1].bars[old].fields();
    let close = fields.close * 1.01;
    market.rows[1].bars[old] =
        Bar::new(BarFields { close, high: fields.high.map(|high| high.max(close)), ..fields }).unwrap();
    simulate::record(store, &market).await.unwrap();
    let partial = train(store, &recipe(1), Past::Kept).await.unwrap();
    let kept = told(&partial).await;
    assert_eq!(
        (&kept["in_force"], &kept["network"], &kept["without_network"]),
        (&json!(false), &json!(false), &json!("record_incomplete"))
    );
    let why = kept["kept_back"].as_str().unwrap();
    assert!(why.starts_with("record_incomplete: 1 of 2 folds"), "{why}");
    assert_eq!(told(&walked).await["in_force"], json!(true), "what is served stays");
    let again = train(store, &recipe(1), Past::Walked).await.unwrap();
    let again = told(&again).await;
    assert_eq!((&again["network"], &again["scores"]["folds"]["missing"]), (&json!(true), &json!(1)));
}

//! The comparisons behind a model's rewards: written with the model, never changed, sent as JSON lines.

use chrono::{DateTime, Utc};
use forecastd::store::chain::{self, NewEntry, Publication};
use forecastd::store::comparisons;
use forecastd::store::models::{self, StoredModel};
use forecastd::store::open::Store;
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::support::market::LAST_DAY;
use crate::support::publishing::signer;
use crate::support::requests::Service;
use crate::support::store::real;

const LINES: &[u8] = b"{\"better\":\"hold\"}\n{\"better\":\"sell\"}\n";

fn model(model_id: &str, comparisons: Option<&[u8]>) -> StoredModel {
    StoredModel {
        model_id: model_id.into(),
        trained_until: LAST_DAY,
        known_until: Utc::now(),
        recorded_until: Utc::now(),
        recipe: json!({}),
        seed: 1,
        data_hash: [1; 32],
        code_version: "test".into(),
        state: vec![],
        artifact: None,
        scores: json!({}),
        comparisons: comparisons.map(<[u8]>::to_vec),
    }
}

/// Publishes ranked responses that name a model.
async fn publish(store: &Store, published_at: &str, model_id: &str) {
    let published_at: DateTime<Utc> = published_at.parse().unwrap();
    let as_of = published_at.date_naive();
    let valid_until = as_of + chrono::Days::new(28);
    let publication = Publication {
        publication: Uuid::now_v7(),
        as_of,
        published_at,
        known_until: published_at,
        recorded_until: published_at,
        model_id: model_id.into(),
    };
    let said = json!({
        "as_of": as_of, "explanation": null, "horizon": "4w", "kind": "responses", "model_id": model_id,
        "published_at": published_at, "reasons": {"symbol": "whole_universe"}, "symbol": null, "valid_until": valid_until,
    });
    let entry = serde_json_canonicalizer::to_vec(&said).unwrap();
    let entry = NewEntry { kind: "responses", symbol: None, horizon: "4w", valid_until, late: false, entry };
    let mut transaction = store.pool.begin().await.unwrap();
    let head = chain::head(&mut transaction).await.unwrap();
    let head = chain::append(&mut transaction, &publication, head, &[entry]).await.unwrap();
    chain::sign(&mut transaction, head, &signer().0).await.unwrap();
    transaction.commit().await.unwrap();
}

#[sqlx::test]
async fn comparisons_are_kept_beside_their_model_for_good(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let pool = &opened.store.pool;
    models::insert(pool, &model("with", Some(LINES))).await.unwrap();
    models::insert(pool, &model("with", Some(b"{}\n"))).await.unwrap();
    models::keep_back(pool, &model("without", None), "test").await.unwrap();
    let kept = comparisons::find(pool, "with").await.unwrap().unwrap();
    assert_eq!((kept.rows, kept.lines.as_slice()), (2, LINES));
    assert_eq!(comparisons::find(pool, "without").await.unwrap(), None);
    assert_eq!(models::find(pool, "with").await.unwrap().unwrap().comparisons, None);
}

#[sqlx::test]
async fn the_comparisons_of_the_answering_model_are_sent_as_lines(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let store = &opened.store;
    models::insert(&store.pool, &model("with", Some(LINES))).await.unwrap();
    models::insert(&store.pool, &model("without", None)).await.unwrap();
    publish(store, "2024-09-30T21:00:00Z", "with").await;
    publish(store, "2024-10-02T21:00:00Z", "without").await;
    let service = Service::of(store).await;
    assert_eq!(service.found("/responses").await["model_id"], "without");
    let none = service.refused("/responses?format=jsonl", 404).await;
    assert!(none["detail"].as_str().unwrap().contains("model without was stored without comparisons"), "{none}");
    for _ in 0..2 {
        let then = service.get("/responses?format=jsonl&as_of=2024-10-01").await;
        assert_eq!((then.status.as_u16(), then.header("content-type")), (200, "application/x-ndjson"));
        assert_eq!(then.text().as_bytes(), LINES);
        assert!(!then.header("etag").is_empty() && !then.header("last-modified").is_empty());
    }
    service.refused("/responses?format=jsonl&horizon=52w", 422).await;
    service.refused("/responses?format=jsonl&fields=symbol", 422).await;
}

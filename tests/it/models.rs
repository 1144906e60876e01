//! The models as an operator sees them: what was trained, who holds which seat by which numbers, and what stays inside.

use chrono::{DateTime, Utc};
use forecastd::store::models::{self, StoredModel};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::support::market::{LAST_DAY, market};
use crate::support::publishing::train_and_publish;
use crate::support::requests::Service;
use crate::support::store::{real, simulated};

fn model(model_id: &str, artifact: Option<&[u8]>, scores: Value) -> StoredModel {
    let at: DateTime<Utc> = "2024-09-30T21:00:00Z".parse().unwrap();
    StoredModel {
        model_id: model_id.into(),
        trained_until: LAST_DAY,
        known_until: at,
        recorded_until: at,
        recipe: json!({"settings": {"seed": 7}}),
        seed: 7,
        data_hash: [1; 32],
        code_version: "test".into(),
        state: b"{\"secret\":\"state\"}".to_vec(),
        artifact: artifact.map(<[u8]>::to_vec),
        scores,
        comparisons: None,
    }
}

fn canaries(last_passed: bool) -> Value {
    json!([{"name": "shuffled_targets", "passed": true}, {"name": "planted", "passed": last_passed, "skill": 0.1}])
}

#[sqlx::test]
async fn models_are_listed_newest_first_and_told_without_their_weights(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let opened = real(options, connect).await;
    let service = Service::of(&opened.store).await;
    assert_eq!(service.found("/models").await, json!({"items": [], "next": null}));
    let gate = json!([{"horizon": "4w", "volatility": {"seated": true, "p_value_one_sided": 0.01}}]);
    let told = json!({"gate": gate, "canaries": canaries(true), "training": {"epochs": 3}, "extra": [1]});
    for (name, artifact, scores) in [
        ("2024-09-27.00ff00ff", None, json!({"without_network": "insufficient_history"})),
        ("2024-09-30.3f9c12ab", Some(&b"weights"[..]), told),
    ] {
        models::insert(&opened.store.pool, &model(name, artifact, scores)).await.unwrap();
    }
    let dead = model("2024-09-30.3f9c12ac", Some(b"others"), json!({"canaries": canaries(false)}));
    models::keep_back(&opened.store.pool, &dead, "canary planted: not found").await.unwrap();
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect()
    };
    let page = service.found("/models?limit=2").await;
    assert_eq!(names(&page), ["2024-09-30.3f9c12ac", "2024-09-30.3f9c12ab"]);
    assert_eq!(
        (&page["items"][0]["canaries_passed"], &page["items"][1]["canaries_passed"]),
        (&json!(false), &json!(true))
    );
    assert_eq!((&page["items"][0]["in_force"], &page["items"][1]["in_force"]), (&json!(false), &json!(true)));
    assert_eq!(
        (&page["items"][0]["kept_back"], &page["items"][1]["kept_back"]),
        (&json!("canary planted: not found"), &Value::Null)
    );
    let rest = service.found(&format!("/models?limit=2&cursor={}", page["next"].as_str().unwrap())).await;
    assert_eq!((names(&rest), &rest["next"]), (vec!["2024-09-27.00ff00ff".to_owned()], &Value::Null));
    let old = &rest["items"][0];
    assert_eq!(
        (&old["network"], &old["in_force"], &old["canaries_passed"]),
        (&json!(false), &json!(false), &Value::Null)
    );
    assert_eq!(old["reasons"]["canaries_passed"], "no_network");

    let answer = service.get("/models/2024-09-30.3f9c12ab").await;
    let found = answer.json();
    assert_eq!(
        (&found["gate"], &found["training"], &found["scores"]),
        (&gate, &json!({"epochs": 3}), &json!({"extra": [1]}))
    );
    assert_eq!(
        (&found["in_force"], &found["seed"], &found["trained_until"]),
        (&json!(true), &json!(7), &json!("2024-09-30"))
    );
    for absent in ["shares", "attribution", "walk"] {
        assert_eq!((&found[absent], &found["reasons"][absent]), (&Value::Null, &json!("not_recorded")), "{absent}");
    }
    assert!(found["model_sha256"].is_string() && found["last_trained_at"].is_string());
    assert!(!answer.text().contains("secret") && !answer.text().contains("weights"), "{}", answer.text());
    let dead = service.found("/models/2024-09-30.3f9c12ac").await;
    assert_eq!((&dead["last_trained_at"], &dead["reasons"]["last_trained_at"]), (&Value::Null, &json!("not_promoted")));
    let without = service.found("/models/2024-09-27.00ff00ff").await;
    assert_eq!(without["without_network"], "insufficient_history");
    assert_eq!(
        (&without["reasons"]["gate"], &without["reasons"]["model_sha256"]),
        (&json!("insufficient_history"), &json!("no_network"))
    );

    let unknown = service.refused("/models/2024-09-30.3f9c12aa", 404).await;
    assert_eq!(unknown["type"], "/problems/unknown-model");
    assert_eq!(unknown["near"], json!(["2024-09-30.3f9c12ab", "2024-09-30.3f9c12ac"]));
    service.refused(&format!("/models/{}", "x".repeat(2000)), 404).await;
    service.refused("/models/%00", 404).await;
    service.refused("/models?cursor=%00", 422).await;
    service.refused("/models?limit=0", 422).await;
    service.refused("/models/2024-09-30.3f9c12ab?fields=gate", 422).await;
    let cursor = service.refused("/models?cursor=nobody", 422).await;
    assert_eq!(cursor["errors"][0]["field"], "cursor");
}

#[sqlx::test]
async fn the_model_of_an_answer_is_found_by_its_name(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = simulated(options, connect, &market(6, 620)).await;
    let service = Service::of(&opened.store).await;
    train_and_publish(&opened.store, 0).await;
    service.refresh().await;
    let signal = service.found("/signal/SIM-PLANTED").await;
    let model = service.found(&format!("/models/{}", signal["model_id"].as_str().unwrap())).await;
    assert_eq!((&model["id"], &model["in_force"]), (&signal["model_id"], &json!(true)));
    assert_eq!(model["code_version"], signal["provenance"]["code_version"]);
    assert_eq!(model["model_sha256"], signal["provenance"]["model_sha256"]);
    assert_eq!(service.found("/models").await["items"][0]["id"], model["id"]);
}

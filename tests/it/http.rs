//! Requests to the service over a real store: keys, posting, history, the ledger, opinions as of a day.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use forecastd::jobs::keys::create;
use forecastd::market::calendar::is_session;
use forecastd::store::chain::{self, NewEntry, Publication, chain_hash};
use forecastd::store::keys::{self, StoredKey, hash_secret};
use forecastd::store::models::{self, StoredModel};
use forecastd::store::open::Store;
use forecastd::store::signing::is_signed;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::support::market::{LAST_DAY, market};
use crate::support::publishing::{signer, train_and_publish};
use crate::support::requests::{Service, posting};
use crate::support::store::{count, real, simulated};

async fn key(store: &Store, scope: &str) -> String {
    create(&store.pool, "test", vec![scope.to_owned()], Some(1)).await.unwrap()
}

fn body(rows: Value) -> String {
    json!({"source": "desk", "rows": rows}).to_string()
}

#[sqlx::test]
async fn only_a_key_in_force_with_the_scope_may_post(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let (store, service) = (&opened.store, Service::of(&opened.store).await);
    let rows = body(json!([{"symbol": "BABA", "day": "2024-09-30", "close": 106.12}]));
    let old = |secret: &str, expires_at: Option<DateTime<Utc>>| StoredKey {
        key_id: Uuid::now_v7(),
        name: "test".into(),
        hash: hash_secret(secret),
        scopes: vec!["ingest".into()],
        created_at: Utc::now(),
        expires_at,
        revoked_at: None,
    };
    keys::insert(&store.pool, &old("expired", Some(Utc::now() - TimeDelta::seconds(1)))).await.unwrap();
    let revoked = old("revoked", None);
    keys::insert(&store.pool, &revoked).await.unwrap();
    assert!(keys::revoke(&store.pool, revoked.key_id).await.unwrap());
    assert!(!keys::revoke(&store.pool, revoked.key_id).await.unwrap(), "once is enough");
    let (operate, ingest) = (key(store, "operate").await, key(store, "ingest").await);
    let mutilated = &ingest[..ingest.len() - 1];
    let cases = [
        (None, 401),
        (Some("nonsense"), 401),
        (Some(mutilated), 401),
        (Some("expired"), 401),
        (Some("revoked"), 401),
        (Some(operate.as_str()), 403),
    ];
    for (key, status) in cases {
        let answer = service.post(key, &rows).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (status, "application/problem+json"),
            "{key:?}"
        );
        assert_eq!(answer.header("www-authenticate").is_empty(), status != 401, "{key:?}");
        assert_eq!(answer.json()["status"], status);
    }
    assert_eq!(count(&opened.owner, "bars").await, 0);
    for secret in [ingest, key(store, "admin").await] {
        assert_eq!(service.post(Some(&secret), &rows).await.status, 200);
    }
    let kept: Vec<String> = sqlx::query_scalar("select k::text from keys k").fetch_all(&opened.owner).await.unwrap();
    assert!(kept.len() == 5 && kept.iter().all(|row| !row.contains("fcd_")), "only hashes are kept: {kept:?}");
}

#[sqlx::test]
async fn posting_is_all_or_nothing_and_a_second_time_changes_nothing(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let opened = real(options, connect).await;
    let service = Service::of(&opened.store).await;
    let key = key(&opened.store, "ingest").await;
    let bad = body(json!([
        {"symbol": "BABA", "day": "2024-09-27", "close": 107.33},
        {"symbol": "BABA", "day": "2024-09-30", "close": -1},
        {"symbol": "JD", "day": "2999-01-01", "close": 40},
        {"symbol": "JD", "day": "2024-09-30", "close": 40, "high": 39},
    ]));
    let refused = service.post(Some(&key), &bad).await;
    assert_eq!(refused.status, 422);
    let named: Vec<(u64, String)> = refused.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["row"].as_u64().unwrap(), e["field"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(named, [(1, "close".to_owned()), (2, "day".to_owned()), (3, "close".to_owned())]);
    assert_eq!((count(&opened.owner, "bars").await, count(&opened.owner, "instruments").await), (0, 0));
    let good = |close: f64| {
        body(json!([
            {"symbol": "JD", "day": "2024-09-30", "close": 40, "open": 39.5, "high": 41, "low": 39, "volume": 1000},
            {"symbol": "baba", "day": "2024-09-30", "close": close, "dividend": 1.0},
            {"symbol": "BABA", "day": "2024-09-27", "close": 107.33},
        ]))
    };
    for (close, expected) in [
        (106.12, json!({"inserted": 3, "revised": 0, "unchanged": 0})),
        (106.12, json!({"inserted": 0, "revised": 0, "unchanged": 3})),
        (106.13, json!({"inserted": 0, "revised": 1, "unchanged": 2})),
        (106.13, json!({"inserted": 0, "revised": 0, "unchanged": 3})),
    ] {
        let answer = service.post(Some(&key), &good(close)).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, expected));
    }
    let rows = &service.found("/prices/BABA").await["rows"];
    assert_eq!(
        (rows.as_array().unwrap().len(), &rows[1]["close"], &rows[1]["dividend"]),
        (2, &json!(106.13), &json!(1.0))
    );
    assert_eq!(rows[1]["source"], "desk");
    let then = &service.found("/prices/BABA?as_of=2024-09-30").await["rows"];
    assert_eq!(then[1]["close"], json!(106.12), "the correction was not known at that close");
    let day_before = &service.found("/prices/BABA?as_of=2024-09-27").await["rows"];
    assert_eq!(day_before.as_array().unwrap().len(), 1);
}

#[sqlx::test]
async fn bodies_that_cannot_be_taken_are_refused(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let service = Service::of(&opened.store).await;
    let key = key(&opened.store, "ingest").await;
    for (text, status) in [("{", 400), ("[]", 400), ("{\"rows\":[]}", 422), (&"x".repeat(9 << 20), 413)] {
        assert_eq!(service.post(Some(&key), text).await.status, status, "{}", &text[..text.len().min(20)]);
    }
    let mut form = posting(Some(&key), "a=b");
    form.headers_mut().insert("content-type", "text/csv".parse().unwrap());
    assert_eq!(service.send(form).await.status, 415);
    assert_eq!(count(&opened.owner, "bars").await, 0);
}

#[sqlx::test]
async fn a_client_that_hangs_up_spoils_nothing(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let service = Service::of(&opened.store).await;
    let key = key(&opened.store, "ingest").await;
    let sessions: Vec<_> = LAST_DAY.iter_days().rev().filter(|day| is_session(*day)).take(800).collect();
    let day = |k: u64| sessions[usize::try_from(k).unwrap()];
    let rows = |symbol: &str| body((0..800).map(|k| json!({"symbol": symbol, "day": day(k), "close": 10.5})).collect());
    for attempt in 0..60u64 {
        let (symbol, patience) = (format!("S{attempt}"), Duration::from_micros(250 * attempt));
        let posted = rows(&symbol);
        let _ = tokio::time::timeout(patience, service.post(Some(&key), &posted)).await;
        let head = service.refused("/ledger/1", 404).await;
        assert_eq!(head["type"], "/problems/not-found", "after attempt {attempt}");
        let instruments = service.found("/instruments?limit=1000").await;
        for item in instruments["items"].as_array().unwrap().iter().filter(|item| item["symbol"] != "LAST") {
            assert!([0, 800].contains(&item["sessions"].as_i64().unwrap()), "after attempt {attempt}: {item}");
        }
        let other = service.post(Some(&key), &body(json!([{"symbol": "LAST", "day": day(attempt), "close": 5}]))).await;
        assert_eq!((other.status.as_u16(), &other.json()["inserted"]), (200, &json!(1)), "after attempt {attempt}");
    }
}

#[sqlx::test]
async fn a_simulated_market_takes_no_real_prices(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = simulated(options, connect, &market(3, 30)).await;
    let service = Service::of(&opened.store).await;
    let key = key(&opened.store, "admin").await;
    let answer = service.post(Some(&key), &body(json!([{"symbol": "BABA", "day": "2024-09-30", "close": 1}]))).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["type"]), (409, &json!("/problems/simulated-market")));
}

#[sqlx::test]
async fn prices_are_cut_adjusted_and_written_in_three_forms(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let service = Service::of(&opened.store).await;
    let key = key(&opened.store, "ingest").await;
    let rows = json!([
        {"symbol": "BABA", "day": "2024-09-25", "close": 400.0, "volume": 10},
        {"symbol": "BABA", "day": "2024-09-26", "close": 100.0, "volume": 40, "split": 4},
        {"symbol": "BABA", "day": "2024-09-27", "close": 99.0, "dividend": 1.0},
        {"symbol": "BABA", "day": "2024-09-30", "close": 110.0},
    ]);
    assert_eq!(service.post(Some(&key), &body(rows)).await.status, 200);
    let closes = async |query: &str| {
        let history = service.found(&format!("/prices/baba?{query}")).await;
        assert_eq!((&history["symbol"], &history["currency"]), (&json!("BABA"), &json!("USD")));
        history["rows"].as_array().unwrap().iter().map(|r| r["close"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(closes("").await, [400.0, 100.0, 99.0, 110.0]);
    assert_eq!(closes("from=2024-09-26&to=2024-09-27").await, [100.0, 99.0]);
    assert_eq!(closes("from=2024-10-01").await, [0.0; 0]);
    assert_eq!(closes("as_of=2024-09-26").await, [400.0, 100.0]);
    assert_eq!(closes("adjusted=true").await, [99.0, 99.0, 99.0, 110.0]);
    assert_eq!(closes("adjusted=true&to=2024-09-25").await, [99.0]);
    let form = async |accept: &str| {
        let mut request = axum::http::Request::get("/prices/BABA").body(axum::body::Body::empty()).unwrap();
        request.headers_mut().insert("accept", accept.parse().unwrap());
        service.send(request).await
    };
    let csv = form("text/csv").await;
    assert!(csv.header("content-type").starts_with("text/csv") && csv.text().starts_with("day,open,high,low,close,"));
    assert_eq!((csv.text().lines().count(), form("application/x-ndjson").await.text().lines().count()), (5, 4));
    let near = service.refused("/prices/BABAA", 404).await;
    assert_eq!((&near["type"], &near["near"][0]), (&json!("/problems/unknown-symbol"), &json!("BABA")));
    for (query, field) in [
        ("from=2024-09-30&to=2024-09-01", "from"),
        ("day=1", "day"),
        ("from=x", "from"),
        ("adjusted=maybe", "adjusted"),
    ] {
        assert_eq!(service.refused(&format!("/prices/BABA?{query}"), 422).await["errors"][0]["field"], field);
    }
}

#[sqlx::test]
async fn instruments_tell_what_is_known_page_by_page(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let service = Service::of(&opened.store).await;
    let key = key(&opened.store, "ingest").await;
    let rows = json!([
        {"symbol": "AAA", "day": "2024-09-03", "close": 1.0},
        {"symbol": "BBB", "day": "2024-09-27", "close": 1.0},
        {"symbol": "BBB", "day": "2024-09-30", "close": 1.0},
        {"symbol": "CCC", "day": "2024-09-03", "close": 1.0},
        {"symbol": "CCC", "day": "2024-09-30", "close": 1.0},
    ]);
    assert_eq!(service.post(Some(&key), &body(rows)).await.status, 200);
    let page = service.found("/instruments?limit=2").await;
    let symbols = |page: &Value| {
        page["items"].as_array().unwrap().iter().map(|i| i["symbol"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((symbols(&page), &page["next"]), (vec!["AAA".to_owned(), "BBB".to_owned()], &json!("BBB")));
    let rest = service.found("/instruments?limit=2&cursor=BBB").await;
    assert_eq!((symbols(&rest), &rest["next"]), (vec!["CCC".to_owned()], &Value::Null));
    let named = service.found("/instruments?symbols=ccc,zzz").await;
    assert_eq!((symbols(&named), &named["missing"]), (vec!["CCC".to_owned()], &json!(["ZZZ"])));
    let of = async |symbol: &str| service.found(&format!("/instruments/{symbol}")).await;
    let (a, b, c) = (of("aaa").await, of("BBB").await, of("CCC").await);
    assert_eq!((&a["stale"], &b["stale"], &a["sessions_behind"]), (&json!(true), &json!(false), &json!(19)));
    assert_eq!((&b["gaps"], &c["gaps"], &c["sessions"]), (&json!(0), &json!(18), &json!(2)));
    assert_eq!((&b["first_day"], &b["last_day"]), (&json!("2024-09-27"), &json!("2024-09-30")));
    assert_eq!(b["reasons"]["name"], "not_described");
    service.refused("/instruments/ZZZZ", 404).await;
    service.refused("/instruments?limit=0", 422).await;
}

/// The hash that a reader computes from a served answer and the hash of the entry before.
fn recomputed(served: &Value, previous_hash: &str) -> String {
    let mut opinion = served.clone();
    let fields = opinion.as_object_mut().unwrap();
    for own in ["ledger", "stale", "next", "missing"] {
        fields.remove(own);
    }
    let previous: [u8; 32] = hex::decode(previous_hash).unwrap().try_into().unwrap();
    hex::encode(chain_hash(&previous, &serde_json_canonicalizer::to_vec(&opinion).unwrap()))
}

#[sqlx::test]
async fn every_answer_is_found_in_the_ledger_by_its_reader(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = simulated(options, connect, &market(6, 620)).await;
    let service = Service::of(&opened.store).await;
    let early = service.get("/signal/SIM-PLANTED").await;
    assert_eq!((early.status.as_u16(), early.header("retry-after").is_empty()), (503, false));
    service.refused("/ledger/head", 503).await;
    assert_eq!(service.get("/readyz").await.status, 503);
    let published = train_and_publish(&opened.store, 0).await;
    service.refresh().await;
    assert_eq!(service.found("/readyz").await["status"], "ready");
    for path in [
        "/signal/sim-planted",
        "/signal/SIM-PLANTED?horizon=52w",
        "/rating/SIM-01",
        "/ranking/SIM-NOISE?horizon=1w",
        "/forecast/SIM-MARKET?horizon=13w",
        "/ranks?horizon=4w",
        "/predictability/SIM-NOISE?horizon=1w",
    ] {
        let explained = format!("{path}{}explain=true", if path.contains('?') { '&' } else { '?' });
        let served = service.found(&explained).await;
        assert_eq!((&served["simulated"], &served["as_of"]), (&json!(true), &json!("2024-09-30")), "{path}");
        let sequence = served["ledger"]["sequence"].as_i64().unwrap();
        let entry = service.found(&format!("/ledger/{sequence}")).await;
        assert_eq!(served["ledger"]["hash"], entry["hash"], "{path}");
        assert_eq!(served["ledger"]["hash"], recomputed(&served, entry["previous_hash"].as_str().unwrap()), "{path}");
    }
    // The whole chain, page by page, down to the signed head.
    let (mut after, mut hash, mut pages) = (0, "00".repeat(32), 0);
    loop {
        let page = service.found(&format!("/ledger?after={after}&limit=40")).await;
        for item in page["items"].as_array().unwrap() {
            assert_eq!((&item["sequence"], &item["previous_hash"]), (&json!(after + 1), &json!(hash)));
            hash = recomputed(&item["entry"], &hash);
            assert_eq!(item["hash"], hash.as_str());
            after += 1;
        }
        pages += 1;
        if page["next"].is_null() {
            break;
        }
        assert_eq!(page["next"], after);
    }
    assert!(pages > 2 && after == published.head.sequence);
    let head = service.found("/ledger/head").await;
    assert_eq!((&head["sequence"], &head["hash"]), (&json!(after), &json!(hash)));
    assert_eq!(head["signed_text"], format!("forecastd ledger head {after} {hash}"));
    let bytes = |field: &str| hex::decode(head[field].as_str().unwrap()).unwrap();
    let (signature, key) = (bytes("signature").try_into().unwrap(), bytes("public_key").try_into().unwrap());
    assert!(is_signed(published.head, &signature, &key));
    service.refused(&format!("/ledger/{}", after + 1), 404).await;
    service.refused("/ledger/0", 422).await;
    // Published answers go on without the store.
    opened.store.pool.close().await;
    assert_eq!(service.get("/signal/SIM-PLANTED").await.status, 200);
    assert_eq!(service.found("/readyz").await["status"], "degraded");
    service.refused("/prices/SIM-PLANTED", 503).await;
}

/// Publishes the signal of one symbol as of a day, at an instant.
async fn publish_signal(store: &Store, published_at: &str, action: &str) {
    let published_at: DateTime<Utc> = published_at.parse().unwrap();
    let as_of = published_at.date_naive();
    let valid_until = as_of + chrono::Days::new(28);
    let publication = Publication {
        publication: Uuid::now_v7(),
        as_of,
        published_at,
        known_until: published_at,
        recorded_until: published_at,
        model_id: "test".into(),
    };
    let said = json!({
        "action": action, "as_of": as_of, "horizon": "4w", "kind": "signal", "late": false, "published_at": published_at,
        "reasons": {}, "provenance": {"publication": publication.publication}, "symbol": "BABA", "valid_until": valid_until,
    });
    let entry = serde_json_canonicalizer::to_vec(&said).unwrap();
    let entry =
        NewEntry { kind: "signal", symbol: Some("BABA".into()), horizon: "4w", valid_until, late: false, entry };
    let mut transaction = store.pool.begin().await.unwrap();
    let head = chain::head(&mut transaction).await.unwrap();
    let head = chain::append(&mut transaction, &publication, head, &[entry]).await.unwrap();
    chain::sign(&mut transaction, head, &signer().0).await.unwrap();
    transaction.commit().await.unwrap();
}

#[sqlx::test]
async fn opinions_as_of_a_day_are_those_published_by_its_end(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = real(options, connect).await;
    let store = &opened.store;
    let model = StoredModel {
        model_id: "test".into(),
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
        comparisons: None,
    };
    models::insert(&store.pool, &model).await.unwrap();
    publish_signal(store, "2024-09-30T21:00:00Z", "hold").await;
    publish_signal(store, "2024-10-02T23:59:59Z", "sell").await;
    publish_signal(store, "2024-10-03T00:00:00Z", "buy").await;
    let service = Service::of(store).await;
    for (day, action) in [
        ("2024-09-30", "hold"),
        ("2024-10-01", "hold"),
        ("2024-10-02", "sell"),
        ("2024-10-03", "buy"),
        ("2025-06-01", "buy"),
    ] {
        let then = service.found(&format!("/signal/BABA?as_of={day}")).await;
        assert_eq!(then["action"], action, "{day}");
        assert_eq!(then["stale"], json!(day == "2025-06-01"), "{day}");
        let list = service.found(&format!("/signals?as_of={day}")).await;
        assert_eq!(list["items"][0]["action"], action, "{day}");
    }
    assert_eq!(service.found("/signal/BABA").await["action"], "buy");
    let before = service.refused("/signal/BABA?as_of=2024-09-29", 404).await;
    assert_eq!((&before["type"], &before["first_day"]), (&json!("/problems/before-ledger"), &json!("2024-09-30")));
    let tomorrow = Utc::now().date_naive() + chrono::Days::new(2);
    service.refused(&format!("/signal/BABA?as_of={tomorrow}"), 422).await;
    service.refused("/signal/JD?as_of=2024-10-02", 404).await;
    service.refused("/rating/BABA?as_of=2024-10-02", 404).await;
}

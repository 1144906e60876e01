//! The ledger: append-only by the rights of the service, chained by the trigger, checked by `verify`.

use chrono::{SubsecRound, Utc};
use forecastd::jobs::publish::publish;
use forecastd::jobs::verify::{Broken, Expectations, verify};
use forecastd::market::bar::Day;
use forecastd::store::chain::{self, GENESIS, Head, NewEntry, Publication, chain_hash};
use forecastd::store::models::{self, StoredModel};
use forecastd::store::open::Store;
use forecastd::store::pool::lock_ledger;
use forecastd::store::signing::{HeadSigner, KeyFile, SigningError, is_signed};
use forecastd::store::{StoreError, ledger};
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use uuid::Uuid;

use crate::support::market::{LAST_DAY, market};
use crate::support::publishing::{entries, other_signer, recipe, signer};
use crate::support::store::{Opened, count, real, simulated};

const AS_OF: Day = LAST_DAY;

const VALID_UNTIL: Day = Day::from_ymd_opt(2024, 10, 28).unwrap();

fn publication() -> Publication {
    Publication {
        publication: Uuid::now_v7(),
        as_of: AS_OF,
        published_at: Utc::now().trunc_subsecs(0),
        known_until: Utc::now().trunc_subsecs(6),
        recorded_until: Utc::now().trunc_subsecs(6),
        model_id: "2024-09-30.test".into(),
    }
}

fn entry(symbol: &str, of: &Publication) -> NewEntry {
    let said = json!({
        "as_of": AS_OF, "horizon": "4w", "kind": "signal", "late": true, "model_id": of.model_id,
        "provenance": {
            "publication": of.publication, "known_until": of.known_until, "recorded_until": of.recorded_until,
        },
        "published_at": of.published_at, "symbol": symbol, "valid_until": VALID_UNTIL,
    });
    NewEntry {
        kind: "signal",
        symbol: Some(symbol.into()),
        horizon: "4w",
        valid_until: VALID_UNTIL,
        late: true,
        entry: said.to_string().into_bytes(),
    }
}

async fn write_model(store: &Store) {
    let model = StoredModel {
        model_id: "2024-09-30.test".into(),
        trained_until: AS_OF,
        known_until: Utc::now(),
        recorded_until: Utc::now(),
        recipe: json!({}),
        seed: 1,
        data_hash: [1; 32],
        code_version: "test".into(),
        state: b"{}".to_vec(),
        artifact: None,
        scores: json!({}),
        comparisons: None,
    };
    models::insert(&store.pool, &model).await.unwrap();
}

/// Publishes entries for some symbols with the rights of the service.
async fn append(store: &Store, signer: &HeadSigner, symbols: &[&str]) -> Head {
    let publication = publication();
    let entries: Vec<NewEntry> = symbols.iter().map(|s| entry(s, &publication)).collect();
    let mut transaction = store.pool.begin().await.unwrap();
    lock_ledger(&mut transaction).await.unwrap();
    let head = chain::head(&mut transaction).await.unwrap();
    let head = chain::append(&mut transaction, &publication, head, &entries).await.unwrap();
    chain::sign(&mut transaction, head, signer).await.unwrap();
    transaction.commit().await.unwrap();
    head
}

/// A ledger of two publications, five entries.
async fn written(options: PgPoolOptions, connect: PgConnectOptions) -> (Opened, HeadSigner, Head) {
    let opened = real(options, connect).await;
    let (signer, _folder) = signer();
    write_model(&opened.store).await;
    append(&opened.store, &signer, &["AAPL", "BABA", "JD"]).await;
    let head = append(&opened.store, &signer, &["AAPL", "BABA"]).await;
    (opened, signer, head)
}

async fn found_broken(pool: &PgPool) -> Broken {
    verify(pool, Expectations::default()).await.expect_err("the ledger was changed")
}

#[sqlx::test]
async fn a_sound_ledger_passes_and_its_head_is_signed(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, signer, head) = written(options, connect).await;
    assert_eq!(head.sequence, 5);
    let pool = &opened.store.pool;
    assert_eq!(verify(pool, Expectations::default()).await.unwrap(), head);
    let own = Expectations { entry: Some((5, head.hash)), public_key: Some(signer.public_key()) };
    assert_eq!(verify(pool, own).await.unwrap(), head);
    let served = ledger::head(pool).await.unwrap().unwrap();
    assert_eq!((served.sequence, served.hash), (5, head.hash));
    let signature: [u8; 64] = served.signature.unwrap().try_into().unwrap();
    let public_key: [u8; 32] = served.public_key.unwrap().try_into().unwrap();
    assert_eq!(public_key, signer.public_key());
    assert!(is_signed(head, &signature, &public_key));
    assert!(!is_signed(Head { sequence: 4, ..head }, &signature, &public_key));
    let rows = entries(&opened.store).await;
    let mut previous = GENESIS;
    for row in rows {
        assert_eq!(row.previous_hash, previous);
        previous = chain_hash(&previous, &row.entry);
    }
    assert_eq!(previous, head.hash);
}

#[sqlx::test]
async fn an_earlier_sighting_and_the_own_key_are_held_against_the_chain(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (opened, _, head) = written(options, connect).await;
    let verify = async |expect: Expectations| verify(&opened.store.pool, expect).await;
    let seen = |sequence, hash| Expectations { entry: Some((sequence, hash)), public_key: None };
    for (sequence, hash) in [(5, [7; 32]), (4, head.hash), (6, head.hash), (0, GENESIS)] {
        let broken = verify(seen(sequence, hash)).await.unwrap_err();
        assert!(matches!(broken, Broken::Expectation { sequence: s, .. } if s == sequence), "{broken}");
    }
    let other = other_signer().0.public_key();
    let broken = verify(Expectations { entry: None, public_key: Some(other) }).await.unwrap_err();
    assert!(matches!(broken, Broken::Signer { sequence: 5, .. }), "{broken}");
}

#[sqlx::test]
async fn another_key_signs_nothing_until_it_is_made_the_successor(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, first, _) = written(options, connect).await;
    let pool = &opened.store.pool;
    let (other, folder) = other_signer();
    let other_file = KeyFile::new(None, folder.path());
    let refused = HeadSigner::for_ledger(pool, &other_file).await.err().unwrap().to_string();
    assert!(refused.contains("--new-signing-key") && refused.contains(&hex::encode(first.public_key())), "{refused}");
    let mut transaction = pool.begin().await.unwrap();
    let head = chain::head(&mut transaction).await.unwrap();
    let refused = chain::sign(&mut transaction, head, &other).await.unwrap_err();
    assert!(matches!(refused, StoreError::OtherSigner { .. }), "{refused}");
    transaction.rollback().await.unwrap();

    // A key that went missing is not made anew in silence, and one that was named is never made.
    let empty = tempfile::tempdir().unwrap();
    let missing = KeyFile::new(None, empty.path());
    assert!(matches!(HeadSigner::for_ledger(pool, &missing).await, Err(SigningError::Lost { .. })));
    assert!(empty.path().read_dir().unwrap().next().is_none());
    let named = KeyFile::new(Some(&empty.path().join("x.key")), empty.path());
    assert!(matches!(HeadSigner::for_ledger(pool, &named).await, Err(SigningError::Missing { .. })));

    // The successor goes on, and vouches for what was signed before; the first key has no say from then on.
    let head = append(&opened.store, &HeadSigner::successor(&other_file).unwrap(), &["AAPL"]).await;
    append(&opened.store, &HeadSigner::for_ledger(pool, &other_file).await.unwrap(), &["BABA"]).await;
    let of = |signer: &HeadSigner| Expectations { entry: Some((6, head.hash)), public_key: Some(signer.public_key()) };
    assert_eq!(verify(pool, of(&other)).await.unwrap().sequence, 7);
    let broken = verify(pool, of(&first)).await.unwrap_err();
    assert!(matches!(broken, Broken::Signer { sequence: 6, .. }), "{broken}");
}

#[sqlx::test]
async fn the_service_may_only_add(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, ..) = written(options, connect).await;
    let service: String = sqlx::query_scalar("select current_user::text").fetch_one(&opened.store.pool).await.unwrap();
    assert_eq!(service, "forecastd_service");
    for statement in [
        "update ledger set entry = '\\x7b7d' where sequence = 1",
        "update ledger set late = false",
        "delete from ledger where sequence = 5",
        "truncate ledger cascade",
        "alter table ledger disable trigger ledger_continues_trigger",
        "drop table ledger cascade",
        "create or replace function ledger_continues() returns trigger language plpgsql as $$ begin return new; end $$",
        "update ledger_heads set signature = signature",
        "delete from ledger_heads",
        "update publications set as_of = as_of",
        "delete from publications",
        "update models set scores = '{}'",
        "delete from models",
        "update comparison_data set rows = 0",
        "delete from comparison_data",
        "update bars set close = 1",
        "delete from bars",
        "update actions set split = 1",
        "update observations set value = 1",
        "update filings set filed = filed",
        "update descriptions set name = 'x'",
        "delete from imports",
        "update store_identity set simulated = true",
        "update keys set scopes = array['admin']",
        "delete from keys",
    ] {
        let error = opened.store.pool.execute(statement).await.expect_err(statement);
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
        assert_eq!(code, "42501", "{statement}: {error}");
    }
    assert_eq!(count(&opened.owner, "ledger").await, 5);
}

#[sqlx::test]
async fn the_trigger_takes_only_the_next_entry_of_the_chain(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, _, head) = written(options, connect).await;
    let of: (Uuid, chrono::DateTime<Utc>) =
        sqlx::query_as("select publication, published_at from publications limit 1")
            .fetch_one(&opened.owner)
            .await
            .unwrap();
    let bytes = entry("BABA", &Publication { publication: of.0, published_at: of.1, ..publication() }).entry;
    let insert = async |pool: &PgPool, sequence: i64, previous: [u8; 32], hash: [u8; 32]| {
        sqlx::query("insert into ledger values ($1, $2, $3, $4, 'signal', 'BABA', '4w', $5, $6, $7, true, $8)")
            .bind(sequence)
            .bind(&previous[..])
            .bind(&hash[..])
            .bind(of.0)
            .bind(AS_OF)
            .bind(of.1)
            .bind(VALID_UNTIL)
            .bind(&bytes)
            .execute(pool)
            .await
    };
    let right = chain_hash(&head.hash, &bytes);
    let first = entries(&opened.store).await[0].hash;
    for (sequence, previous, hash, part) in [
        (7, head.hash, right, "does not follow"),
        (5, head.hash, right, "does not follow"),
        (0, head.hash, right, "does not follow"),
        (6, first, chain_hash(&first, &bytes), "predecessor"),
        (6, GENESIS, chain_hash(&GENESIS, &bytes), "predecessor"),
        (6, head.hash, [9; 32], "wrong hash"),
    ] {
        for pool in [&opened.store.pool, &opened.owner] {
            let error = insert(pool, sequence, previous, hash).await.expect_err(part).to_string();
            assert!(error.contains(part), "{sequence}: {error}");
        }
    }
    insert(&opened.store.pool, 6, head.hash, right).await.unwrap();
    // The chain takes it, and still it belongs to no publication: whoever adds an entry alone is found.
    let broken = verify(&opened.store.pool, Expectations::default()).await.unwrap_err();
    assert!(matches!(broken, Broken::Publication(6)), "{broken}");
}

#[sqlx::test]
async fn one_changed_byte_is_found_with_its_sequence(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, ..) = written(options, connect).await;
    let change = "update ledger set entry = set_byte(entry, 20, get_byte(entry, 20) # 1) where sequence = 3";
    opened.owner.execute(change).await.unwrap();
    let broken = found_broken(&opened.store.pool).await;
    assert!(matches!(broken, Broken::Hash(3)) && broken.to_string().contains("entry 3"), "{broken}");
    opened.owner.execute(change).await.unwrap();
    assert!(verify(&opened.store.pool, Expectations::default()).await.is_ok(), "the byte is as it was");
}

#[sqlx::test]
async fn every_other_change_by_the_owner_is_found(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, signer, _) = written(options, connect).await;
    let cases = [
        ("update ledger set hash = sha256('x') where sequence = 2", "entry 2"),
        ("update ledger set previous_hash = sha256('x') where sequence = 2", "entry 2"),
        ("update ledger set symbol = 'ZM' where sequence = 4", "entry 4"),
        ("update ledger set kind = 'rating' where sequence = 1", "entry 1"),
        ("update ledger set horizon = '1w' where sequence = 5", "entry 5"),
        ("update ledger set as_of = as_of - 1 where sequence = 2", "entry 2"),
        ("update ledger set valid_until = valid_until + 1 where sequence = 2", "entry 2"),
        ("update ledger set published_at = published_at - interval '1 day' where sequence = 2", "entry 2"),
        ("update ledger set late = false where sequence = 2", "entry 2"),
        ("update ledger set publication = gen_random_uuid() where sequence = 2", "entry 2"),
        ("delete from ledger where sequence = 2", "entry 2"),
        ("update ledger_heads set signature = set_byte(signature, 5, get_byte(signature, 5) # 1)", "entry 3"),
        ("update ledger_heads set hash = sha256('x') where sequence = 5", "entry 5"),
        ("delete from ledger where sequence > 3", "entry 5"),
    ];
    for (table, reference) in [("ledger_heads", "ledger_heads_sequence_fkey"), ("ledger", "ledger_publication_fkey")] {
        let drop = AssertSqlSafe(format!("alter table {table} drop constraint {reference}"));
        opened.owner.execute(drop).await.unwrap();
    }
    let mut missed = vec![];
    for (change, named) in cases {
        opened.owner.execute(change).await.unwrap();
        let broken = verify(&opened.store.pool, Expectations::default()).await;
        let text = broken.map_or_else(|broken| broken.to_string(), |_| "nothing".into());
        missed.extend((!text.contains(named)).then(|| format!("{change}: found {text}")));
        // The ledger is written anew for the next case.
        opened.owner.execute("truncate ledger, ledger_heads, publications, scores").await.unwrap();
        append(&opened.store, &signer, &["AAPL", "BABA", "JD"]).await;
        append(&opened.store, &signer, &["AAPL", "BABA"]).await;
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[sqlx::test]
async fn two_publications_at_once_never_fork_the_chain(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = simulated(options, connect, &market(4, 420)).await;
    let store = &opened.store;
    forecastd::jobs::train::train(store, &recipe(0), forecastd::jobs::train::Past::Kept).await.unwrap();
    let (signer, _folder) = signer();
    for (again, expected) in [(false, 1), (true, 2)] {
        let before = entries(store).await.len();
        let (one, other) = tokio::join!(publish(store, &signer, again), publish(store, &signer, again));
        let done: Vec<_> = [one, other].into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(done.len(), expected, "news is published once, what is asked for as often as asked");
        let added = entries(store).await.len() - before;
        assert_eq!(added, done.iter().map(|d| d.entries).sum::<usize>());
        assert!(done.iter().all(|d| d.entries == done[0].entries));
    }
    assert_eq!(count(&opened.owner, "publications").await, 3);
    let own = Expectations { entry: None, public_key: Some(signer.public_key()) };
    assert_eq!(verify(&store.pool, own).await.unwrap().sequence, entries(store).await.len() as i64);
}

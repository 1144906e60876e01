//! The backfilled chain: what would have been answered on past days, beside the live chain and never in it.

use chrono::Utc;
use forecastd::cli::research::{BackfillArgs, BackfillRange};
use forecastd::jobs::backfill::{Backfilled, backfill};
use forecastd::jobs::replay::{Replay, replay};
use forecastd::jobs::simulate;
use forecastd::jobs::verify::{Broken, Expectations, verify, verify_on};
use forecastd::market::bar::{Bar, BarFields, Day};
use forecastd::market::calendar;
use forecastd::market::simulation::SimulatedMarket;
use forecastd::opinion::chain::Chain;
use forecastd::store::jobs::{self, Claim, Lease, NewJob};
use forecastd::store::ledger::LedgerRow;
use forecastd::store::open::Store;
use forecastd::store::{ledger, models, queue};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool};

use crate::support::market::{LAST_DAY, market, until};
use crate::support::publishing::{entries, recipe, said, signer, train_and_publish};
use crate::support::requests::Service;
use crate::support::store::{Opened, count, simulated};

/// Sessions of every market here, of which the last ones are backfilled.
const SESSIONS: usize = 420;

/// The sessions of a market.
fn sessions(market: &SimulatedMarket) -> Vec<Day> {
    market.clone().history().sessions
}

fn asked(from: Day, to: Day) -> BackfillArgs {
    BackfillArgs { range: BackfillRange { from, to, every: 5, retrain_every: 10 }, recipe: recipe(0) }
}

async fn run(store: &Store, from: Day, to: Day) -> Backfilled {
    backfill(store, &signer().0, &asked(from, to), None).await.unwrap()
}

async fn backfilled(store: &Store) -> Vec<LedgerRow> {
    entries(&store.on(Chain::Backfill)).await
}

async fn check(store: &Store, public_key: Option<[u8; 32]>) -> Result<i64, Broken> {
    let expect = Expectations { entry: None, public_key };
    Ok(verify_on(Chain::Backfill, &store.on(Chain::Backfill).pool, expect).await?.sequence)
}

/// A market of which nothing is backfilled yet, with a live publication of its last day.
async fn opened(options: PgPoolOptions, connect: PgConnectOptions) -> (Opened, SimulatedMarket) {
    let market = market(5, SESSIONS);
    let opened = simulated(options, connect, &market).await;
    train_and_publish(&opened.store, 0).await;
    (opened, market)
}

/// Records corrections of the newer closes: what is known later.
async fn correct(store: &Store, market: &SimulatedMarket) {
    let mut market = market.clone();
    for bar in market.rows.iter_mut().flat_map(|rows| rows.bars.iter_mut().skip(300)) {
        let fields = BarFields { open: None, high: None, low: None, close: bar.close() * 1.5, ..bar.fields() };
        *bar = Bar::new(fields).unwrap();
    }
    simulate::record(store, &market).await.unwrap();
}

#[sqlx::test]
async fn past_days_stand_in_a_chain_of_their_own(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, market) = opened(options, connect).await;
    let store = &opened.store;
    let (live, in_force) = (entries(store).await, models::newest(&store.pool, "").await.unwrap());
    let days = sessions(&market);
    let (signer, _folder) = signer();
    let from = days[SESSIONS - 20];
    let done = backfill(store, &signer, &asked(from, LAST_DAY), None).await.unwrap();
    let rows = backfilled(store).await;
    assert_eq!((done.days, done.answers, done.left_out), (4, rows.len(), 0));
    assert_eq!(check(store, Some(signer.public_key())).await.unwrap(), rows.len() as i64);
    assert_eq!(done.head, Some(rows.len() as i64));
    assert_eq!(entries(store).await, live, "the live chain is untouched");
    assert_eq!(verify(&store.pool, Expectations::default()).await.unwrap().sequence, live.len() as i64);
    assert_eq!(models::newest(&store.pool, "").await.unwrap(), in_force, "no model of the past is in force");
    assert!(live.iter().all(|row| said(row).get("chain").is_none()), "live bytes are as they were");
    let mut trained = vec![];
    for row in &rows {
        let said = said(row);
        assert_eq!((&said["chain"], &said["late"], row.late), (&json!("backfill"), &json!(true), true));
        assert!(row.published_at > Utc::now() - chrono::TimeDelta::minutes(10), "written now");
        let known_until: chrono::DateTime<Utc> = said["provenance"]["known_until"].as_str().unwrap().parse().unwrap();
        assert_eq!((known_until - calendar::close_of(row.as_of)).num_minutes(), 45);
        let model = said["model_id"].as_str().unwrap();
        assert!(model[..10] <= *row.as_of.to_string(), "{model} answers as of {}", row.as_of);
        trained.push(model.to_owned());
        let changed_on = said["changed_on"].as_str();
        assert!(changed_on.is_none_or(|day| *day <= *row.as_of.to_string()), "{changed_on:?}, as of {}", row.as_of);
    }
    trained.dedup();
    assert_eq!(trained.len(), 2, "a new model after ten sessions: {trained:?}");
    let again = backfill(store, &signer, &asked(from, LAST_DAY), None).await.unwrap();
    assert_eq!(again, Backfilled::default(), "what is written is not written again");
    let misplaced = verify_on(Chain::Live, &store.on(Chain::Backfill).pool, Expectations::default()).await;
    assert!(matches!(misplaced, Err(Broken::Column { sequence: 1, column: "chain", .. })), "{misplaced:?}");
    opened.owner.execute("delete from backfill.spans").await.unwrap();
    assert!(matches!(check(store, None).await, Err(Broken::Days(1))));
}

/// Replays an entry of each kind.
async fn replay_each_kind(store: &Store, rows: &[LedgerRow]) {
    for kind in ["signal", "rating", "ranking", "ranks", "forecast", "predictability", "process", "responses"] {
        let row = rows.iter().rfind(|row| row.kind == kind).unwrap();
        assert_eq!(replay(store, row.sequence).await.unwrap(), Replay::Same(row.entry.len()), "{kind}");
    }
}

#[sqlx::test]
async fn answers_of_past_days_stay_whatever_comes_later(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, market) = opened(options, connect).await;
    let (store, days) = (&opened.store, sessions(&market));
    let (from, to) = (days[SESSIONS - 12], days[SESSIONS - 4]);
    run(store, from, to).await;
    let rows = backfilled(store).await;
    let service = Service::of(store).await;
    let symbol = &market.rows[0].instrument.symbol;
    let addresses = [
        format!("/signal/{symbol}?as_of={to}&chain=backfill"),
        format!("/rating/{symbol}?as_of={from}&chain=backfill&explain=true"),
        format!("/signals?as_of={to}&chain=backfill"),
        format!("/ranks?as_of={from}&chain=backfill"),
        format!("/responses?as_of={to}&chain=backfill"),
        format!("/process/{symbol}?as_of={to}&chain=backfill&steps=8"),
        "/ledger?chain=backfill&limit=7".to_owned(),
        format!("/signal/{symbol}?as_of={}", Utc::now().date_naive()),
    ];
    let mut before = vec![];
    for address in &addresses {
        service.found(address).await;
        before.push(service.get(address).await.body);
    }
    replay_each_kind(&store.on(Chain::Backfill), &rows).await;
    // Corrections, and backfills of earlier, later and the same days with other settings.
    correct(store, &market).await;
    let denser = BackfillRange { every: 1, ..asked(days[SESSIONS - 15], LAST_DAY).range };
    let args = BackfillArgs { range: denser, recipe: recipe(0) };
    let more = backfill(store, &signer().0, &args, None).await.unwrap();
    assert_eq!(more.days, 6, "three sessions before and three after");
    let all = backfilled(store).await;
    assert_eq!(all[..rows.len()], rows[..]);
    assert!(check(store, None).await.is_ok());
    replay_each_kind(&store.on(Chain::Backfill), &rows).await;
    replay_each_kind(&store.on(Chain::Backfill), &all).await;
    let restarted = Service::of(store).await;
    for (address, before) in addresses.iter().zip(before) {
        assert_eq!(restarted.get(address).await.body, before, "{address}");
    }
    // Days backfilled later know nothing of the later days that were there already.
    for row in &all[rows.len()..] {
        let changed_on = said(row)["changed_on"].as_str().map(str::to_owned);
        assert!(changed_on.is_none_or(|day| day <= row.as_of.to_string()));
    }
}

/// What an entry says beside when it was written and by which run.
fn timeless(row: &LedgerRow) -> Value {
    let mut said = said(row);
    said.as_object_mut().unwrap().remove("published_at").unwrap();
    for field in ["publication", "recorded_until"] {
        said["provenance"].as_object_mut().unwrap().remove(field).unwrap();
    }
    said
}

#[sqlx::test]
async fn past_answers_know_nothing_of_rows_known_later(options: PgPoolOptions, connect: PgConnectOptions) {
    let market = market(6, SESSIONS);
    let days = sessions(&market);
    let (from, to) = (days[SESSIONS - 30], days[SESSIONS - 20]);
    let opened = simulated(options, connect, &until(&market, to)).await;
    let store = &opened.store;
    run(store, from, to).await;
    let early = backfilled(store).await;
    // The same store after a month and many corrections, with nothing backfilled.
    simulate::record(store, &market).await.unwrap();
    correct(store, &market).await;
    let clear = "truncate backfill.spans, backfill.fits, backfill.ledger_heads, backfill.ledger, backfill.publications";
    opened.owner.execute(clear).await.unwrap();
    run(store, from, to).await;
    let late = backfilled(store).await;
    assert_eq!(early.len(), late.len());
    for (early, late) in early.iter().zip(&late) {
        assert_eq!(timeless(early), timeless(late), "{} {:?} as of {}", early.kind, early.symbol, early.as_of);
    }
}

#[sqlx::test]
async fn days_are_found_by_decision_day(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, market) = opened(options, connect).await;
    let (store, days) = (&opened.store, sessions(&market));
    let service = Service::of(store).await;
    let symbol = &market.rows[0].instrument.symbol;
    let nothing = service.refused(&format!("/signal/{symbol}?as_of={LAST_DAY}&chain=backfill"), 404).await;
    assert!(nothing["detail"].as_str().unwrap().contains("nothing has been backfilled"), "{nothing}");
    service.refused("/ledger/head?chain=backfill", 404).await;
    let (from, to) = (days[SESSIONS - 20], days[SESSIONS - 8]);
    run(store, from, to).await;
    for (day, expected) in [(0, 0), (1, 0), (4, 0), (5, 5), (9, 5), (10, 10), (12, 10)] {
        let address = format!("/signal/{symbol}?as_of={}&chain=backfill", days[SESSIONS - 20 + day]);
        let found = service.found(&address).await;
        assert_eq!(found["as_of"], days[SESSIONS - 20 + expected].to_string(), "{address}");
        assert_eq!((&found["chain"], &found["stale"]), (&json!("backfill"), &json!(false)));
        let entry = service.found(&format!("/ledger/{}?chain=backfill", found["ledger"]["sequence"])).await;
        assert_eq!(entry["hash"], found["ledger"]["hash"]);
    }
    let before = service.refused(&format!("/signal/{symbol}?as_of=2020-01-02&chain=backfill"), 404).await;
    assert_eq!((&before["type"], &before["first_day"]), (&json!("/problems/before-ledger"), &json!(from.to_string())));
    let after = service.refused(&format!("/signals?as_of={LAST_DAY}&chain=backfill"), 404).await;
    assert!(after["detail"].as_str().unwrap().contains(&to.to_string()), "{after}");
    service.refused(&format!("/signal/UNHEARD?as_of={to}&chain=backfill"), 404).await;
    let live = service.refused(&format!("/signal/{symbol}?as_of={to}&chain=live"), 404).await;
    assert_eq!(live["first_day"], Utc::now().date_naive().to_string(), "never mixed");
    let head = service.found("/ledger/head?chain=backfill").await;
    assert_eq!(head["sequence"], backfilled(store).await.len());
    assert!(head["signed_text"].as_str().unwrap().starts_with("forecastd backfill head "), "{head}");
    assert_ne!(service.found("/ledger/head").await["hash"], head["hash"]);
}

#[sqlx::test]
async fn the_service_may_only_add_to_it(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, market) = opened(options, connect).await;
    let (store, days) = (&opened.store, sessions(&market));
    let done = run(store, days[SESSIONS - 3], LAST_DAY).await;
    let chain = store.on(Chain::Backfill);
    for statement in [
        "update ledger set entry = '\\x7b7d' where sequence = 1",
        "delete from ledger",
        "truncate ledger cascade",
        "alter table ledger disable trigger ledger_continues_trigger",
        "drop table ledger cascade",
        "create or replace function backfill.ledger_continues() returns trigger language plpgsql as $$ begin return new; end $$",
        "create table backfill.other (x int)",
        "drop schema backfill cascade",
        "update ledger_heads set signature = signature",
        "update publications set as_of = as_of",
        "delete from publications",
        "update backfill.spans set last_day = last_day + 1",
        "delete from backfill.spans",
        "delete from backfill.fits",
    ] {
        let error = chain.pool.execute(statement).await.expect_err(statement);
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
        assert_eq!(code, "42501", "{statement}: {error}");
    }
    let moved = |table: &str| {
        format!(
            "insert into {table} select sequence + 1, previous_hash, hash, publication, kind, symbol, horizon, as_of,
                    published_at, valid_until, late, entry from backfill.ledger where sequence = 1"
        )
    };
    for pool in [&chain.pool, &store.pool, &opened.owner] {
        assert!(refusal(pool, moved("backfill.ledger")).await.contains("does not follow"));
        assert!(refusal(pool, moved("public.ledger")).await.contains("does not follow"), "each against itself");
    }
    let twice = "insert into backfill.spans select publication, first_day, last_day from backfill.spans";
    assert!(refusal(&chain.pool, twice.to_owned()).await.contains("spans_"));
    assert_eq!(count(&opened.owner, "backfill.ledger").await, done.head.unwrap());
}

async fn refusal(pool: &PgPool, statement: String) -> String {
    pool.execute(sqlx::AssertSqlSafe(statement)).await.expect_err("this must be refused").to_string()
}

#[sqlx::test]
async fn a_job_takes_effect_once(options: PgPoolOptions, connect: PgConnectOptions) {
    let (opened, market) = opened(options, connect).await;
    queue::migrate(&opened.owner).await.unwrap();
    let (store, days) = (&opened.store, sessions(&market));
    let early = backfill(store, &signer().0, &asked(days[100], LAST_DAY), None).await.unwrap_err().to_string();
    assert!(early.contains("100 sessions") && early.contains(&days[252].to_string()), "{early}");
    let late = backfill(store, &signer().0, &asked(days[400], calendar::next_session(LAST_DAY)), None).await;
    assert!(late.unwrap_err().to_string().contains("last closed session"));
    let asked = asked(days[SESSIONS - 6], LAST_DAY);
    let job = NewJob {
        kind: "backfill",
        slot: None,
        reason: "test".into(),
        arguments: json!(asked.range),
        priority: 0,
        max_attempts: 3,
    };
    assert_eq!(serde_json::from_value::<BackfillRange>(job.arguments.clone()).unwrap(), asked.range);
    let mut transaction = store.pool.begin().await.unwrap();
    let job_id = jobs::ask(&mut transaction, &job).await.unwrap().unwrap();
    transaction.commit().await.unwrap();
    // The first run was taken over before its first day: it writes none.
    for worker in ["one", "two"] {
        assert!(matches!(jobs::claim(&store.pool, job_id, worker).await.unwrap(), Claim::Run(_)));
        let aged = "update jobs set renewed_at = renewed_at - interval '1 minute' where job_id = $1";
        sqlx::query(aged).bind(job_id).execute(&opened.owner).await.unwrap();
    }
    let lost = backfill(store, &signer().0, &asked, Some(Lease { job_id, attempt: 1 })).await.unwrap_err();
    assert!(lost.to_string().contains("another run"), "{lost}");
    assert_eq!(count(&opened.owner, "backfill.publications").await, 0);
    let done = backfill(store, &signer().0, &asked, Some(Lease { job_id, attempt: 2 })).await.unwrap();
    assert_eq!(done.days, 2);
    let job = jobs::find(&store.pool, job_id).await.unwrap().unwrap();
    assert_eq!((job.state.as_str(), &job.result.unwrap()["days"]), ("succeeded", &json!(2)));
    assert!(check(store, None).await.is_ok());
    let head = ledger::head(&store.on(Chain::Backfill).pool).await.unwrap().unwrap();
    assert_eq!(Some(head.sequence), done.head);
}

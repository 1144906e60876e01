//! Publishing on a simulated market: what is said, that it can be replayed, and that it knows nothing of later rows.

use forecastd::features::universe::Universe;
use forecastd::forecast::prepared::Prepared;
use forecastd::jobs::publish::{compose_again, open_model, publish};
use forecastd::jobs::replay::{Replay, replay};
use forecastd::jobs::simulate;
use forecastd::jobs::train::{Past, train};
use forecastd::market::bar::{Bar, BarFields, Day};
use forecastd::market::calendar;
use forecastd::market::history::History;
use forecastd::market::simulation::SimulatedMarket;
use forecastd::opinion::chain::Chain;
use forecastd::publication::compose::{Composed, PublicationInputs, compose};
use forecastd::publication::header::{Header, Previous};
use forecastd::store::chain;
use forecastd::store::history::{Revisions, load};
use forecastd::store::ledger::LedgerRow;
use forecastd::store::open::Store;
use forecastd::store::{models, pool};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::support::market::{LAST_DAY, market, until};
use crate::support::publishing::{entries, publish_again, recipe, said, signer, train_and_publish};
use crate::support::store::simulated;

/// Replays one entry of each kind among some rows.
async fn replay_one_of_each(store: &Store, rows: &[LedgerRow]) {
    for kind in ["signal", "rating", "ranking", "ranks", "forecast", "predictability"] {
        let of_kind: Vec<&LedgerRow> = rows.iter().filter(|r| r.kind == kind).collect();
        let row = of_kind[of_kind.len() / 2];
        assert_eq!(replay(store, row.sequence).await.unwrap(), Replay::Same(row.entry.len()), "{kind}");
    }
}

/// A market that goes on for some sessions after a first day, and that day.
fn going_on(instruments: usize, sessions: usize, more: usize) -> (SimulatedMarket, Day) {
    let market = market(instruments, sessions + more);
    let day = market.rows[0].bars[sessions - 1].day();
    (market, day)
}

#[sqlx::test]
async fn entries_replay_to_the_same_bytes_whatever_came_later(options: PgPoolOptions, connect: PgConnectOptions) {
    let (mut market, day) = going_on(8, 1010, 15);
    let opened = simulated(options, connect, &until(&market, day)).await;
    let store = &opened.store;
    let first = train_and_publish(store, 1).await;
    assert_eq!(first.as_of, day);
    let rows = entries(store).await;
    assert!(said(&rows[0])["provenance"]["model_sha256"].is_string(), "a network was trained");
    replay_one_of_each(store, &rows).await;
    // Later days, filings and factors, a revision of a known day, another model and another publication.
    let revised = market.rows[3].bars[900].fields();
    let close = revised.close * 1.02;
    let high = revised.high.map(|h| h.max(close));
    market.rows[3].bars[900] = Bar::new(BarFields { close, high, ..revised }).unwrap();
    simulate::record(store, &market).await.unwrap();
    let second = train_and_publish(store, 0).await;
    assert_eq!((second.as_of, second.entries), (LAST_DAY, first.entries));
    let all = entries(store).await;
    assert_eq!(&all[..rows.len()], &rows[..], "the first publication stands as it was");
    replay_one_of_each(store, &rows).await;
    replay_one_of_each(store, &all[rows.len()..]).await;
}

#[sqlx::test]
async fn a_row_that_was_tampered_with_is_noticed_by_replay(options: PgPoolOptions, connect: PgConnectOptions) {
    let opened = simulated(options, connect, &market(4, 420)).await;
    train_and_publish(&opened.store, 0).await;
    sqlx::query("update bars set close = close * 1.001, high = null where day = '2024-09-27'")
        .execute(&opened.owner)
        .await
        .unwrap();
    let error = replay(&opened.store, 1).await.unwrap_err().to_string();
    assert!(error.contains("no longer what they were"), "{error}");
    let missing = replay(&opened.store, 100_000).await.unwrap_err().to_string();
    assert!(missing.contains("no entry 100000"), "{missing}");
}

#[sqlx::test]
async fn without_news_nothing_is_published(options: PgPoolOptions, connect: PgConnectOptions) {
    let (market, day) = going_on(4, 420, 1);
    let opened = simulated(options, connect, &until(&market, day)).await;
    let (store, signer) = (&opened.store, signer());
    let error = publish(store, &signer.0, false).await.unwrap_err().to_string();
    assert!(error.contains("forecastd train"), "{error}");
    let model = train(store, &recipe(0), Past::Kept).await.unwrap();
    let first = publish(store, &signer.0, false).await.unwrap().unwrap();
    assert_eq!(publish(store, &signer.0, false).await.unwrap(), None);
    assert_eq!(
        train(store, &recipe(0), Past::Kept).await.unwrap(),
        model,
        "the same rows and recipe give the same model"
    );
    assert_eq!(publish(store, &signer.0, false).await.unwrap(), None, "the same model is no news");
    // A row that the world cannot know yet.
    sqlx::query(
        "insert into bars (instrument_id, day, recorded_at, known_at, known_at_assumed, close, source)
         select min(instrument_id), '2024-10-01', clock_timestamp(), clock_timestamp() + interval '1 hour', true, 50, 'test'
         from instruments",
    )
    .execute(&opened.owner)
    .await
    .unwrap();
    assert_eq!(publish(store, &signer.0, false).await.unwrap(), None, "what is not known yet is no news");
    simulate::record(store, &market).await.unwrap();
    let second = publish(store, &signer.0, false).await.unwrap().expect("a new session is news");
    assert_eq!((first.as_of, second.as_of), (day, LAST_DAY));
    assert_eq!(second.head.sequence, 2 * first.head.sequence);
}

#[sqlx::test]
async fn a_correction_and_what_becomes_known_are_news(options: PgPoolOptions, connect: PgConnectOptions) {
    let mut market = market(4, 420);
    let opened = simulated(options, connect, &market).await;
    let (store, signer) = (&opened.store, signer());
    // The next session's prices, posted before its close.
    sqlx::query(
        "insert into bars (instrument_id, day, recorded_at, known_at, known_at_assumed, close, source)
         select instrument_id, '2024-10-01', clock_timestamp(), clock_timestamp() + interval '1 hour', true, close, 'test'
         from bars where day = '2024-09-30'",
    )
    .execute(&opened.owner)
    .await
    .unwrap();
    let first = train_and_publish(store, 0).await;
    assert_eq!((first.as_of, publish(store, &signer.0, false).await.unwrap()), (LAST_DAY, None));
    // An hour later.
    sqlx::query("update bars set known_at = clock_timestamp() where day = '2024-10-01'")
        .execute(&opened.owner)
        .await
        .unwrap();
    let second = publish(store, &signer.0, false).await.unwrap().expect("the session has closed");
    assert_eq!(second.as_of, LAST_DAY.succ_opt().unwrap());
    assert_eq!(publish(store, &signer.0, false).await.unwrap(), None);
    let old = market.rows[1].bars[400].fields();
    let close = old.close * 1.01;
    let high = old.high.map(|h| h.max(close));
    market.rows[1].bars[400] = Bar::new(BarFields { close, high, ..old }).unwrap();
    simulate::record(store, &market).await.unwrap();
    let third = publish(store, &signer.0, false).await.unwrap().expect("a correction changes the answers");
    assert_eq!((third.as_of, third.entries), (second.as_of, second.entries));
    assert_eq!(publish(store, &signer.0, false).await.unwrap(), None);
}

/// Lets the prices of an instrument swing by so much a day from a day on.
fn shake(market: &mut SimulatedMarket, instrument: usize, after: Day, swing: f64) {
    let rows = &mut market.rows[instrument];
    rows.actions.retain(|a| a.day <= after);
    let mut close = rows.bars.iter().rfind(|b| b.day() <= after).unwrap().close();
    for (k, bar) in rows.bars.iter_mut().filter(|b| b.day() > after).enumerate() {
        close *= if k % 2 == 0 { 1.0 - swing } else { 1.0 / (1.0 - swing) };
        let fields = BarFields { open: None, high: None, low: None, close, ..bar.fields() };
        *bar = Bar::new(fields).unwrap();
    }
}

#[sqlx::test]
async fn changes_are_dated_by_the_publication_that_made_them(options: PgPoolOptions, connect: PgConnectOptions) {
    let (mut market, day) = going_on(6, 700, 40);
    shake(&mut market, 2, day, 0.12);
    let opened = simulated(options, connect, &until(&market, day)).await;
    let store = &opened.store;
    train_and_publish(store, 0).await;
    let first = entries(store).await;
    simulate::record(store, &market).await.unwrap();
    publish_again(store).await;
    publish_again(store).await;
    let all = entries(store).await;
    let (second, third) = all[first.len()..].split_at(first.len());
    let (day, last) = (day.to_string(), LAST_DAY.to_string());
    let (mut changed, mut kept) = (0, 0);
    for ((one, two), three) in first.iter().zip(second).zip(third) {
        assert_eq!((&one.kind, &one.symbol, &one.horizon), (&two.kind, &two.symbol, &two.horizon));
        let [one, two, three] = [one, two, three].map(said);
        let what = |said: &Value| match said["kind"].as_str() {
            Some("signal") => said["action"].clone(),
            _ => {
                serde_json::json!({"short_term": said["short_term"]["grade"], "long_term": said["long_term"]["grade"]})
            }
        };
        if !["signal", "rating"].contains(&one["kind"].as_str().unwrap()) {
            continue;
        }
        if one["changed_on"].is_null() {
            assert!(one["action"].is_null() && one["short_term"].is_null());
            continue;
        }
        assert_eq!((&one["changed_on"], &one["previous"]), (&Value::from(day.as_str()), &Value::Null));
        assert_eq!(one["reasons"]["previous"], "first_publication");
        if what(&one) == what(&two) {
            kept += 1;
            assert_eq!((&two["changed_on"], &two["previous"]), (&one["changed_on"], &Value::Null));
            assert_eq!(two["reasons"]["previous"], "never_changed");
        } else {
            changed += 1;
            assert_eq!((&two["changed_on"], &two["previous"]), (&Value::from(last.as_str()), &what(&one)));
        }
        assert_eq!(what(&three), what(&two), "nothing new, nothing changes");
        assert_eq!((&three["changed_on"], &three["previous"]), (&two["changed_on"], &two["previous"]));
    }
    assert!(changed > 0 && kept > 0, "{changed} changed, {kept} kept");
}

/// Raises the newer half of the closes up to a day.
fn revise(market: &mut SimulatedMarket, until: Day) {
    for rows in &mut market.rows {
        for bar in rows.bars.iter_mut().filter(|b| b.day() <= until).skip(500) {
            let fields = BarFields { open: None, high: None, low: None, close: bar.close() * 1.5, ..bar.fields() };
            *bar = Bar::new(fields).unwrap();
        }
    }
}

/// The answers that a history gives under a model and a header.
fn answers(history: History, model: &models::StoredModel, header: &Header) -> Vec<Composed> {
    let (state, network) = open_model(model).unwrap();
    let prepared = Prepared::new(history);
    let inputs = PublicationInputs {
        prepared: &prepared,
        state: &state,
        network: network.as_ref(),
        header,
        previous: &Previous::default(),
    };
    compose(&inputs, &|_| ()).unwrap()
}

#[sqlx::test]
async fn answers_know_nothing_of_rows_beyond_the_cutoffs(options: PgPoolOptions, connect: PgConnectOptions) {
    let (mut market, day) = going_on(8, 1010, 30);
    let early = until(&market, day);
    let opened = simulated(options, connect, &early).await;
    let store = &opened.store;
    train_and_publish(store, 1).await;
    let row = entries(store).await.swap_remove(0);
    let (publication, first, _) = chain::publication(&store.pool, row.publication).await.unwrap().unwrap();
    let model = models::find(&store.pool, &publication.model_id).await.unwrap().unwrap();
    let known_until = calendar::close_of(day);
    let load = async |known, recorded| load(&store.pool, known, recorded, Revisions::Newest).await.unwrap();
    let hash = load(known_until, publication.recorded_until).await.inputs_hash;
    // Wilder than what was known, so that a leak would show: later days, and later revisions of earlier ones.
    for instrument in 0..market.rows.len() {
        shake(&mut market, instrument, day, 0.3);
    }
    simulate::record(store, &market).await.unwrap();
    let longer = market.clone().history();
    revise(&mut market, day);
    simulate::record(store, &market).await.unwrap();
    let now = pool::cutoff(&store.pool).await.unwrap();
    let later = load(now, now).await;
    assert_ne!(later.inputs_hash, hash);
    // Each cutoff alone excludes them: they were recorded later, and known later.
    let (recorded, known) = (load(now, publication.recorded_until).await, load(known_until, now).await);
    assert_eq!((recorded.inputs_hash, known.inputs_hash), (hash, hash));
    let header = Header {
        as_of: day,
        published_at: known_until + chrono::TimeDelta::minutes(5),
        simulated: true,
        model_id: model.model_id.clone(),
        has_network: true,
        chain: Chain::Live,
        provenance: serde_json::from_value(said(&row)["provenance"].clone()).unwrap(),
    };
    let expected = answers(early.history(), &model, &header);
    assert!(expected.iter().all(|c| !c.late), "five minutes after the close is in time");
    for (name, history) in [
        ("the rows known by then", known.history),
        ("the rows recorded by then", recorded.history),
        ("a longer history cut off", longer.until(day)),
    ] {
        let found = answers(history, &model, &header);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                found == expected,
                "{name}: {}\n{}",
                String::from_utf8_lossy(&found.entry),
                String::from_utf8_lossy(&expected.entry)
            );
        }
    }
    let again = load(publication.known_until, publication.recorded_until).await;
    let again = compose_again(store, &publication, first, again).await.unwrap();
    let published: Vec<Vec<u8>> = entries(store).await.into_iter().map(|row| row.entry).collect();
    assert!(again.into_iter().map(|composed| composed.entry).eq(published));
}

#[test]
fn the_universe_of_a_cut_history_is_the_same() {
    let (market, day) = going_on(6, 300, 20);
    let (whole, cut) = (market.clone().history(), until(&market, day).history());
    let (whole, cut) = (Universe::new(&whole), Universe::new(&cut));
    for instrument in 0..6 {
        for session in 0..300 {
            assert_eq!(whole.is_rankable(instrument, session), cut.is_rankable(instrument, session));
        }
    }
}

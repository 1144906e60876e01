//! What the store has recorded: whether every slot ran once, and how much of everything there is.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use sqlx::PgPool;

use crate::rehearsal::{Ended, Rehearsal, Slot, in_new_york};

/// Part of the reason for which a slot is skipped.
const MISSED: &str = "missed";

/// Fails unless every slot ran exactly once, or was skipped where all were down, and nothing was published twice.
pub async fn check(rehearsal: &Rehearsal, slots: &[Slot], missed: &BTreeSet<Slot>) -> Result<()> {
    let pool = &rehearsal.pool;
    let mut faults = slot_faults(pool, slots, missed).await?;
    faults.extend(run_faults(pool).await?);
    faults.extend(publication_faults(pool).await?);
    faults.extend(moment_faults(rehearsal, slots, missed).await?);
    ensure!(faults.is_empty(), "{} faults in the record: {}", faults.len(), faults.join("; "));
    Ok(())
}

/// State of a job, and why it did not succeed.
type End = (String, Option<String>);

async fn slot_faults(pool: &PgPool, slots: &[Slot], missed: &BTreeSet<Slot>) -> Result<Vec<String>> {
    let rows: Vec<(String, String, String, Option<String>)> =
        sqlx::query_as("select kind, slot, state, error from jobs where reason = 'schedule'").fetch_all(pool).await?;
    let mut found: BTreeMap<(String, String), Vec<End>> = BTreeMap::new();
    for (kind, slot, state, error) in rows {
        found.entry((kind, slot)).or_default().push((state, error));
    }
    let mut faults = Vec::new();
    for slot in slots {
        let name = (slot.kind.to_owned(), slot.name());
        match found.remove(&name).as_deref() {
            None => faults.push(format!("{name:?} has no job")),
            Some([(state, None)]) if state == "succeeded" && !missed.contains(slot) => {}
            Some([(state, Some(why))]) if state == "skipped" && missed.contains(slot) && why.contains(MISSED) => {}
            Some(jobs) => faults.push(format!("{name:?} has {jobs:?}")),
        }
    }
    faults.extend(found.into_keys().map(|name| format!("{name:?} is no slot, but has a job")));
    Ok(faults)
}

async fn run_faults(pool: &PgPool) -> Result<Vec<String>> {
    let rows: Vec<(String, Option<String>, String, i16, i64, i64)> = sqlx::query_as(
        "select kind, slot, state, attempts, count(a.attempt), count(*) filter (where outcome = 'succeeded')
         from jobs j left join job_attempts a using (job_id)
         group by job_id, kind, slot, state, attempts order by job_id",
    )
    .fetch_all(pool)
    .await?;
    let wrong = rows.into_iter().filter(|(_, _, state, begun, runs, succeeded)| match state.as_str() {
        "succeeded" => (*begun, *runs, *succeeded) != (1, 1, 1),
        "skipped" => (*begun, *runs) != (0, 0),
        _ => true,
    });
    Ok(wrong.map(|row| format!("state and runs do not fit: {row:?}")).collect())
}

/// A session is published once with a model, by one job.
async fn publication_faults(pool: &PgPool) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let doubled: Vec<(NaiveDate, String, i64)> = sqlx::query_as(
        "select as_of, model_id, count(*) from publications group by as_of, model_id having count(*) > 1",
    )
    .fetch_all(pool)
    .await?;
    faults.extend(doubled.iter().map(|(day, model, count)| format!("{day} was published {count} times with {model}")));
    let orphans: Vec<(i64, i64)> = sqlx::query_as(
        "select last_sequence, count(job_id) from publications
         left join jobs on kind = 'publish' and state = 'succeeded' and (result -> 'head' ->> 'sequence')::bigint = last_sequence
         group by last_sequence having count(job_id) <> 1",
    )
    .fetch_all(pool)
    .await?;
    faults.extend(orphans.iter().map(|(sequence, jobs)| format!("the publication up to {sequence} has {jobs} jobs")));
    Ok(faults)
}

/// A publication is made at its slot, of the session that closed last, from what was known by then.
async fn moment_faults(rehearsal: &Rehearsal, slots: &[Slot], missed: &BTreeSet<Slot>) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let published: Vec<(NaiveDate, DateTime<Utc>, DateTime<Utc>)> =
        sqlx::query_as("select as_of, published_at, known_until from publications").fetch_all(&rehearsal.pool).await?;
    for (as_of, at, known_until) in &published {
        let newest = rehearsal.sessions.iter().copied().rfind(|day| in_new_york(*day, (16, 0)) <= *at);
        if newest != Some(*as_of) || known_until != at {
            faults.push(format!("what was published at {at} is as of {as_of} and knows all until {known_until}"));
        }
    }
    let mut catches_up = false;
    for slot in slots.iter().filter(|slot| slot.kind == "publish") {
        let found = published.iter().filter(|(_, at, _)| *at == slot.at).count();
        let expected = match (missed.contains(slot), catches_up) {
            (true, _) => 0..=0,
            (false, false) => 1..=1,
            // A training may be caught up with as well, and its model publishes once more.
            (false, true) => 1..=2,
        };
        if !expected.contains(&found) {
            faults.push(format!("{} has {found} publications", slot.name()));
        }
        catches_up = missed.contains(slot);
    }
    Ok(faults)
}

/// Jobs by kind and state.
pub fn jobs_by_state(ended: &[Ended]) -> BTreeMap<(&str, &str), usize> {
    let mut counted = BTreeMap::new();
    for one in ended {
        *counted.entry((one.job.kind.as_str(), one.job.state.as_str())).or_default() += 1;
    }
    counted
}

/// One line a training: the day, the model, whether it was put in force, and what it decided or why it was kept back.
pub async fn promotions(pool: &PgPool, ended: &[Ended]) -> Result<Vec<String>> {
    let rows: Vec<(String, Value)> = sqlx::query_as("select model_id, scores from models").fetch_all(pool).await?;
    let scores: BTreeMap<String, Value> = rows.into_iter().collect();
    let line = |one: &Ended| {
        let result = one.job.result.clone().unwrap_or_default();
        let text = |name: &str| result[name].as_str().map(str::to_owned);
        let model = text("model_id").unwrap_or_else(|| "none trained".into());
        let outcome = match text("promoted") {
            Some(promoted) if promoted == model => "promoted".into(),
            Some(other) => format!("kept back, {other} promoted instead"),
            None => "what was in force stays".into(),
        };
        let why = text("reason").or_else(|| scores.get(&model).map(decided)).unwrap_or_default();
        format!("{} | {model} | {outcome} | {} | {why}", one.at.date_naive(), one.job.reason)
    };
    Ok(ended.iter().filter(|one| one.job.kind == "train").map(line).collect())
}

/// Which heads of a network are seated, or why none is.
fn decided(scores: &Value) -> String {
    if let Some(reason) = scores["without_network"].as_str() {
        return format!("no network: {reason}");
    }
    let gates = scores["gate"].as_array().map(Vec::as_slice).unwrap_or_default();
    let seated = gates.iter().flat_map(|gate| {
        let heads = gate.as_object().into_iter().flatten();
        let won = heads.filter(|(_, head)| head["seated"] == true || head["weight"].as_f64() > Some(0.0));
        won.map(|(name, _)| format!("{name} {}", gate["horizon"].as_str().unwrap_or_default()))
    });
    let seated: Vec<String> = seated.collect();
    if seated.is_empty() {
        "no head passed its gate".into()
    } else {
        format!("network seated for {}", seated.join(", "))
    }
}

/// Bytes of every table with its indices, the largest first.
pub async fn table_sizes(pool: &PgPool) -> Result<Vec<(String, i64)>> {
    let question = "select c.oid::regclass::text, pg_total_relation_size(c.oid)
                    from pg_class c join pg_namespace n on n.oid = relnamespace
                    where relkind = 'r' and nspname in ('public', 'forecastd_queue') order by 2 desc, 1";
    Ok(sqlx::query_as(question).fetch_all(pool).await?)
}

/// The newest place of the ledger.
pub async fn head(pool: &PgPool) -> Result<i64> {
    Ok(sqlx::query_scalar("select coalesce(max(sequence), 0) from ledger").fetch_one(pool).await?)
}

/// The middle one of some numbers.
pub fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

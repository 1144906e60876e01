//! Scores of what was published: which are due, how they are kept, and the series that the track record is read from.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::store::StoreError;

/// One horizon of a publication that has no scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unscored {
    /// The publication.
    pub publication: Uuid,
    /// Its decision day.
    pub as_of: Day,
    /// How far its answers looked ahead.
    pub horizon: Horizon,
    /// Place of its ranks in the ledger: the entry of the whole universe.
    pub sequence: i64,
    /// It was published after the next session's open.
    pub late: bool,
    /// No other publication of that decision day was written before it.
    pub is_first: bool,
}

/// An entry that scores are formed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidRow {
    /// Place in the ledger.
    pub sequence: i64,
    /// `forecast`, `signal` or `ranks`.
    pub kind: String,
    /// The canonical JSON.
    pub entry: Vec<u8>,
}

/// A score to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewScore {
    /// Place of the scored entry in the ledger.
    pub sequence: i64,
    /// The publication.
    pub publication: Uuid,
    /// Decision day.
    pub as_of: Day,
    /// How far it looked ahead.
    pub horizon: Horizon,
    /// Whose; `None` for the whole universe.
    pub symbol: Option<Symbol>,
    /// Last session of the horizon.
    pub matured_on: Day,
    /// Why it is no part of the track record; `None` for one that is.
    pub left_out: Option<&'static str>,
    /// The numbers, or why there are none.
    pub measures: Result<Value, String>,
    /// Cutoff on `known_at` of the rows that told what happened.
    pub known_until: DateTime<Utc>,
    /// Cutoff on `recorded_at` of these rows.
    pub recorded_until: DateTime<Utc>,
}

/// A score of the track record.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRow {
    /// Decision day.
    pub as_of: Day,
    /// Label of the horizon.
    pub horizon: String,
    /// Last session of the horizon.
    pub matured_on: Day,
    /// The numbers.
    pub measures: Option<Value>,
    /// Why there are none.
    pub reason: Option<String>,
    /// When it was scored.
    pub scored_at: DateTime<Utc>,
}

/// Which scores are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScoreSpan {
    /// Whose; `None` for the whole universe.
    pub symbol: Option<Symbol>,
    /// First decision day.
    pub from: Option<Day>,
    /// Last decision day.
    pub to: Option<Day>,
}

/// What of one horizon is outside the track record, in publications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Label of the horizon.
    pub horizon: String,
    /// Why: `waiting`, or why a score was left out.
    pub why: String,
    /// So many.
    pub count: i64,
    /// The first day on which one that waits may mature.
    pub first_due: Option<Day>,
}

/// What was published and has not been scored though its horizon has passed by the calendar, ascending by decision day.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn unscored(pool: &PgPool, until: Day) -> Result<Vec<Unscored>, StoreError> {
    let rows = sqlx::query!(
        r#"select l.publication, l.as_of, l.horizon, l.sequence, l.late,
                  not exists (select from publications e where e.as_of = p.as_of and e.first_sequence < p.first_sequence)
                      as "is_first!"
           from ledger l join publications p on p.publication = l.publication
           where l.kind = 'ranks' and l.valid_until <= $1
             and not exists (select from scores s where s.sequence = l.sequence)
           order by l.as_of, l.horizon, l.sequence"#,
        until
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(Unscored {
                publication: r.publication,
                as_of: r.as_of,
                horizon: r.horizon.parse().map_err(StoreError::row)?,
                sequence: r.sequence,
                late: r.late,
                is_first: r.is_first,
            })
        })
        .collect()
}

/// The forecasts, signals and ranks of a publication over one horizon, ascending.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn said(pool: &PgPool, publication: Uuid, horizon: Horizon) -> Result<Vec<SaidRow>, StoreError> {
    Ok(sqlx::query_as!(
        SaidRow,
        "select sequence, kind, entry from ledger
         where publication = $1 and horizon = $2 and kind in ('forecast', 'signal', 'ranks') order by sequence",
        publication,
        horizon.label()
    )
    .fetch_all(pool)
    .await?)
}

/// Keeps scores, in the caller's transaction; entries that were scored meanwhile stay as they are. Returns how many are new.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn insert(connection: &mut PgConnection, scores: &[NewScore], code_version: &str) -> Result<u64, StoreError> {
    let column = |value: &dyn Fn(&NewScore) -> Option<String>| scores.iter().map(value).collect::<Vec<_>>();
    let instants = |value: &dyn Fn(&NewScore) -> DateTime<Utc>| scores.iter().map(value).collect::<Vec<_>>();
    let (sequence, publication): (Vec<i64>, Vec<Uuid>) = scores.iter().map(|s| (s.sequence, s.publication)).unzip();
    let (as_of, matured_on): (Vec<Day>, Vec<Day>) = scores.iter().map(|s| (s.as_of, s.matured_on)).unzip();
    let horizon: Vec<String> = scores.iter().map(|s| s.horizon.label().to_owned()).collect();
    let measures: Vec<Option<Value>> = scores.iter().map(|s| s.measures.clone().ok()).collect();
    let done = sqlx::query!(
        "insert into scores (sequence, publication, as_of, horizon, symbol, matured_on, counted, left_out, measures, reason,
                             known_until, recorded_until, code_version)
         select sequence, publication, as_of, horizon, symbol, matured_on, left_out is null, left_out, measures, reason,
                known_until, recorded_until, $11
         from unnest($1::bigint[], $2::uuid[], $3::date[], $4::text[], $5::text[], $6::date[], $7::text[], $8::jsonb[],
                     $9::text[], $10::timestamptz[], $12::timestamptz[])
             as row (sequence, publication, as_of, horizon, symbol, matured_on, left_out, measures, reason, known_until,
                     recorded_until)
         on conflict on constraint scores_pkey do nothing",
        &sequence,
        &publication,
        &as_of,
        &horizon,
        &column(&|s| s.symbol.as_ref().map(|s| s.as_str().to_owned())) as &[Option<String>],
        &matured_on,
        &column(&|s| s.left_out.map(str::to_owned)) as &[Option<String>],
        &measures as &[Option<Value>],
        &column(&|s| s.measures.as_ref().err().cloned()) as &[Option<String>],
        &instants(&|s| s.known_until),
        code_version,
        &instants(&|s| s.recorded_until)
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The scores that count, ascending by horizon's label and decision day.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn counted(pool: &PgPool, span: &ScoreSpan) -> Result<Vec<ScoreRow>, StoreError> {
    Ok(sqlx::query_as!(
        ScoreRow,
        "select as_of, horizon, matured_on, measures, reason, scored_at from scores
         where coalesce(symbol, '') = $1 and counted
           and ($2::date is null or as_of >= $2) and ($3::date is null or as_of <= $3)
         order by horizon, as_of, sequence",
        span.symbol.as_ref().map_or("", |s| s.as_str()),
        span.from,
        span.to
    )
    .fetch_all(pool)
    .await?)
}

/// Publications that are outside the track record, by horizon and reason: not scored yet, or left out.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn outside(pool: &PgPool) -> Result<Vec<Outside>, StoreError> {
    Ok(sqlx::query_as!(
        Outside,
        r#"select l.horizon as "horizon!", coalesce(s.left_out, 'waiting') as "why!", count(*) as "count!",
                  min(l.valid_until) filter (where s.sequence is null) as first_due
           from ledger l left join scores s on s.sequence = l.sequence
           where l.kind = 'ranks' and s.counted is not true
           group by 1, 2 order by 1, 2"#
    )
    .fetch_all(pool)
    .await?)
}

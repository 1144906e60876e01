//! What only the backfilled chain has: the days that each of its publications answers for, and the models of past days.
//! Its schema is named in every query, so these work on any connection.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::market::bar::Day;
use crate::store::StoreError;

/// The days that a publication answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its decision day.
    pub first_day: Day,
    /// The last day before the next decision.
    pub last_day: Day,
}

impl Span {
    /// Whether it holds the day.
    #[must_use]
    pub fn holds(&self, day: Day) -> bool {
        (self.first_day..=self.last_day).contains(&day)
    }
}

/// All spans that reach into the days from one to another, ascending.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn spans(pool: &PgPool, from: Day, to: Day) -> Result<Vec<Span>, StoreError> {
    Ok(sqlx::query_as!(
        Span,
        "select first_day, last_day from backfill.spans where first_day <= $2 and last_day >= $1 order by first_day",
        from,
        to
    )
    .fetch_all(pool)
    .await?)
}

/// First and last day of the whole chain, with gaps between them where nothing was backfilled; `None` while it is empty.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn reach(pool: &PgPool) -> Result<Option<Span>, StoreError> {
    let row = sqlx::query!("select min(first_day) as first_day, max(last_day) as last_day from backfill.spans")
        .fetch_one(pool)
        .await?;
    Ok(row.first_day.zip(row.last_day).map(|(first_day, last_day)| Span { first_day, last_day }))
}

/// The publication that answers for a day.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn answering(pool: &PgPool, day: Day) -> Result<Option<Uuid>, StoreError> {
    let row = sqlx::query!(
        "select publication from backfill.spans where daterange(first_day, last_day, '[]') @> $1::date",
        day
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|r| r.publication))
}

/// Says which days a publication answers for.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached, or another publication answers for one of them.
pub async fn keep_span(connection: &mut PgConnection, publication: Uuid, span: Span) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into backfill.spans (publication, first_day, last_day) values ($1, $2, $3)",
        publication,
        span.first_day,
        span.last_day
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The first entry of a publication whose days are not said, or do not begin with its decision day.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn without_span(pool: &PgPool) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query!(
        "select p.first_sequence
         from backfill.publications p
         left join backfill.spans s on s.publication = p.publication and s.first_day = p.as_of
         where s.publication is null
         order by p.first_sequence limit 1"
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|r| r.first_sequence))
}

/// The newest publication of an earlier day among those written before a place of the chain: what had been answered last.
/// Days are not always backfilled in their order, so the newest one written may know more than the day.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn publication_before(pool: &PgPool, sequence: i64, as_of: Day) -> Result<Option<Uuid>, StoreError> {
    let row = sqlx::query!(
        "select publication from backfill.publications
         where first_sequence < $1 and as_of < $2
         order by as_of desc, first_sequence desc limit 1",
        sequence,
        as_of
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|r| r.publication))
}

/// The model that a fit led to.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn fitted(pool: &PgPool, fingerprint: &[u8; 32]) -> Result<Option<String>, StoreError> {
    let row = sqlx::query!("select model_id from backfill.fits where fingerprint = $1", &fingerprint[..])
        .fetch_optional(pool)
        .await?;
    Ok(row.map(|r| r.model_id))
}

/// Remembers which model a fit led to; a fit that is known stays as it is.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn keep_fit(connection: &mut PgConnection, fingerprint: &[u8; 32], model_id: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into backfill.fits (fingerprint, model_id) values ($1, $2) on conflict do nothing",
        &fingerprint[..],
        model_id
    )
    .execute(connection)
    .await?;
    Ok(())
}

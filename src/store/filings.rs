//! Filings, recorded by difference.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::market::filing::Filing;
use crate::market::history::KnownFiling;
use crate::market::instrument::Symbol;
use crate::store::bars::Recorded;
use crate::store::{StoreError, instruments};

/// Records filings of one instrument by difference.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached; the caller's transaction then rolls back.
pub async fn record(
    connection: &mut PgConnection,
    recorded_at: DateTime<Utc>,
    (symbol, filings): (&Symbol, &[KnownFiling]),
    source: &str,
) -> Result<Recorded, StoreError> {
    let id = instruments::lock(connection, symbol).await?;
    let mut recorded = Recorded::default();
    for known in filings {
        let filing = &known.filing;
        let before = newest(connection, id, filing).await?;
        if before.as_ref() == Some(filing) {
            recorded.unchanged += 1;
            continue;
        }
        let known_at = if before.is_some() { recorded_at } else { known.known_at };
        sqlx::query!(
            "insert into filings (instrument_id, period_end, period_months, filed, recorded_at, known_at, known_at_assumed, body, source)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            id,
            filing.period_end,
            months(filing)?,
            filing.filed,
            recorded_at,
            known_at,
            before.is_none(),
            Json(filing) as _,
            source
        )
        .execute(&mut *connection)
        .await?;
        if before.is_some() { recorded.revised += 1 } else { recorded.inserted += 1 }
    }
    Ok(recorded)
}

/// All filings as they were known and recorded at two cutoffs, by instrument id, ascending by `known_at`: every version,
/// so that a session which lies before a revision still sees what it knew. With `revised` false the first versions alone.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn known(
    connection: &mut PgConnection,
    known_until: DateTime<Utc>,
    recorded_until: DateTime<Utc>,
    revised: bool,
) -> Result<Vec<(i64, KnownFiling)>, StoreError> {
    let rows = sqlx::query!(
        r#"select instrument_id, known_at, body as "body: Json<Filing>" from filings
           where known_at <= $1 and recorded_at <= $2 and (known_at_assumed or $3)
           order by instrument_id, known_at, period_end, period_months, filed, recorded_at"#,
        known_until,
        recorded_until,
        revised
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|r| (r.instrument_id, KnownFiling { known_at: r.known_at, filing: r.body.0 })).collect())
}

async fn newest(connection: &mut PgConnection, id: i64, filing: &Filing) -> Result<Option<Filing>, StoreError> {
    let row = sqlx::query!(
        r#"select body as "body: Json<Filing>" from filings
           where instrument_id = $1 and period_end = $2 and period_months = $3 and filed = $4
           order by recorded_at desc limit 1"#,
        id,
        filing.period_end,
        months(filing)?,
        filing.filed
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|r| r.body.0))
}

fn months(filing: &Filing) -> Result<i32, StoreError> {
    i32::try_from(filing.period_months).map_err(StoreError::row)
}

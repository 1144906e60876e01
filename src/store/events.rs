//! Events: small messages to everybody who listens, sent when the transaction that causes them commits.

use serde_json::Value;
use sqlx::PgConnection;

use crate::store::StoreError;

/// Channel of the events; the payload is a JSON object whose `type` names the sort.
pub const CHANNEL: &str = "forecastd_events";
/// The server refuses payloads of 8000 bytes.
const PAYLOAD_MAX_BYTES: usize = 7_900;

/// Sends an event when the transaction commits. It must be small; one that the server would refuse is not sent, for an
/// event must not undo what it tells of, and `false` is returned.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn emit(connection: &mut PgConnection, event: &Value) -> Result<bool, StoreError> {
    let payload = event.to_string();
    if payload.len() > PAYLOAD_MAX_BYTES {
        return Ok(false);
    }
    sqlx::query!("select pg_notify($1, $2) as sent", CHANNEL, payload).fetch_one(connection).await?;
    Ok(true)
}

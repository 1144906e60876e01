//! Rows for `COPY .. FROM STDIN (FORMAT binary)`, encoded into one buffer.
//!
//! Layout: PostgreSQL documentation, SQL command COPY, section "Binary Format".

use chrono::{DateTime, Utc};

use crate::market::bar::Day;
use crate::store::StoreError;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
const NULL: i32 = -1;
/// Days from 0001-01-01 (day 1 of chrono's count) to 2000-01-01, the epoch of PostgreSQL.
const EPOCH_DAYS: i32 = 730_120;
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// A buffer of binary rows.
pub struct BinaryRows {
    buffer: Vec<u8>,
}

impl BinaryRows {
    /// An empty buffer with its header.
    #[must_use]
    pub fn new() -> Self {
        let mut buffer = Vec::with_capacity(1 << 16);
        buffer.extend_from_slice(SIGNATURE);
        buffer.extend_from_slice(&[0; 8]);
        Self { buffer }
    }

    /// Starts a row of that many columns.
    pub fn row(&mut self, columns: i16) -> &mut Self {
        self.buffer.extend_from_slice(&columns.to_be_bytes());
        self
    }

    /// A `bigint` column.
    pub fn int8(&mut self, value: i64) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    /// A `date` column.
    pub fn date(&mut self, day: Day) -> &mut Self {
        use chrono::Datelike;
        self.field(&(day.num_days_from_ce() - EPOCH_DAYS).to_be_bytes())
    }

    /// A `timestamptz` column.
    pub fn instant(&mut self, at: DateTime<Utc>) -> &mut Self {
        self.field(&(at.timestamp_micros() - EPOCH_MICROSECONDS).to_be_bytes())
    }

    /// A `boolean` column.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.field(&[u8::from(value)])
    }

    /// A `double precision` column.
    pub fn float8(&mut self, value: f64) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    /// A `double precision` column that may be null.
    pub fn optional_float8(&mut self, value: Option<f64>) -> &mut Self {
        match value {
            Some(v) => self.float8(v),
            None => {
                self.buffer.extend_from_slice(&NULL.to_be_bytes());
                self
            }
        }
    }

    /// A `text` column.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.field(value.as_bytes())
    }

    /// Sends the rows with a `COPY table (columns) FROM STDIN (FORMAT binary)` statement; returns how many were stored.
    ///
    /// # Errors
    /// [`StoreError`] when the store refuses a row; then none is kept.
    pub async fn copy(
        mut self,
        connection: &mut sqlx::PgConnection,
        statement: &'static str,
    ) -> Result<u64, StoreError> {
        self.buffer.extend_from_slice(&(-1i16).to_be_bytes());
        let mut copy = connection.copy_in_raw(statement).await?;
        if let Err(error) = copy.send(self.buffer).await {
            copy.abort("the rows could not be sent").await.ok();
            return Err(error.into());
        }
        Ok(copy.finish().await?)
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        // A field is at most a symbol, a file name or eight bytes, far below the 2 GiB of the format.
        let length = i32::try_from(bytes.len()).unwrap_or(NULL);
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(bytes);
        self
    }
}

impl Default for BinaryRows {
    fn default() -> Self {
        Self::new()
    }
}

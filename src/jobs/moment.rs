//! At what moment a job works, and what it may know.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::clock;
use crate::store::{StoreError, pool};

/// A moment with the two cutoffs on rows that belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time.
    pub now: DateTime<Utc>,
    /// Rows that the world could not know by then are left out.
    pub known_until: DateTime<Utc>,
    /// Rows that this store did not have by then are left out.
    pub recorded_until: DateTime<Utc>,
}

impl Moment {
    /// This moment.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be reached.
    pub async fn take(pool: &PgPool) -> Result<Self, StoreError> {
        let recorded_until = pool::cutoff(pool).await?;
        if clock::is_rehearsed() {
            let now = clock::now();
            return Ok(Self { now, known_until: now, recorded_until });
        }
        Ok(Self { now: Utc::now(), known_until: recorded_until, recorded_until })
    }
}

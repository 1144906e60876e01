//! Where a model comes from and what became of it: its parent, its promotions, the entries of the ledger that name it.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::store::StoreError;
use crate::store::promotions::{self, Promotion};

/// The story of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Lineage {
    /// What its code version had in force when it was stored.
    pub parent: Option<String>,
    /// Since when its weights and its state are gone.
    pub pruned_at: Option<DateTime<Utc>>,
    /// Publications that it answered.
    pub publications: i64,
    /// First entry of the ledger that names it.
    pub first_sequence: Option<i64>,
    /// Last entry of the ledger that names it.
    pub last_sequence: Option<i64>,
    /// When it was put in force, oldest first.
    pub promotions: Vec<Promotion>,
    /// When it was kept back, oldest first.
    pub kept_back: Vec<KeptBack>,
}

/// A decision not to put a model in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBack {
    /// When.
    pub decided_at: DateTime<Utc>,
    /// Why.
    pub reason: String,
}

/// The story of the model of that name; empty for one that does not exist.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn lineage(pool: &PgPool, model_id: &str) -> Result<Lineage, StoreError> {
    let row = sqlx::query!(
        r#"select (select m.parent from models m where m.model_id = $1) as parent,
                  (select m.pruned_at from models m where m.model_id = $1) as pruned_at,
                  count(*) as "publications!", min(p.first_sequence) as first_sequence, max(p.last_sequence) as last_sequence
           from publications p where p.model_id = $1"#,
        model_id
    )
    .fetch_one(pool)
    .await?;
    let kept_back = sqlx::query_as!(
        KeptBack,
        "select decided_at, reason from kept_back where model_id = $1 order by kept_back_id",
        model_id
    )
    .fetch_all(pool)
    .await?;
    Ok(Lineage {
        parent: row.parent,
        pruned_at: row.pruned_at,
        publications: row.publications,
        first_sequence: row.first_sequence,
        last_sequence: row.last_sequence,
        promotions: promotions::of_model(pool, model_id).await?,
        kept_back,
    })
}

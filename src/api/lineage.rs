//! The story of a model, as `GET /models/{id}` tells it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::activation::PromotionAnswer;
use crate::store::lineage::Lineage;

/// Where a model comes from and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelLineage)]
pub struct LineageAnswer {
    /// The model that was in force when this one was trained; `null` where none was.
    #[schema(example = "2024-09-23.19ba3777")]
    pub parent: Option<String>,
    /// When it was put in force, by whom and why, oldest first.
    pub promotions: Vec<PromotionAnswer>,
    /// When it was kept from that, and why, oldest first.
    pub kept_back: Vec<KeptBackAnswer>,
    /// Publications that it answered; what is named here is never pruned.
    #[schema(minimum = 0, example = 5)]
    pub publications: i64,
    /// First entry of the ledger that names it; `null` where none does.
    #[schema(minimum = 1)]
    pub first_sequence: Option<i64>,
    /// Last entry of the ledger that names it; `null` where none does.
    #[schema(minimum = 1)]
    pub last_sequence: Option<i64>,
    /// Since when its weights and its state are gone; `null` while they are kept.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub pruned_at: Option<DateTime<Utc>>,
}

/// A decision not to put a model in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelKeptBack)]
pub struct KeptBackAnswer {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: DateTime<Utc>,
    /// Why: a canary that died, weights worse than the last ones, `record_incomplete`, `not_walked_yet`, `overtaken`.
    #[schema(example = "record_incomplete: 3 of 12 folds are missing; walk first: forecastd train --walk")]
    pub reason: String,
}

impl From<Lineage> for LineageAnswer {
    fn from(lineage: Lineage) -> Self {
        let kept_back = lineage.kept_back.into_iter();
        Self {
            parent: lineage.parent,
            promotions: lineage.promotions.into_iter().map(PromotionAnswer::from).collect(),
            kept_back: kept_back.map(|k| KeptBackAnswer { at: k.decided_at, reason: k.reason }).collect(),
            publications: lineage.publications,
            first_sequence: lineage.first_sequence,
            last_sequence: lineage.last_sequence,
            pruned_at: lineage.pruned_at,
        }
    }
}

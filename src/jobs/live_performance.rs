//! How the scored answers of the last year did beside the benchmarks, for the report on drift.

use std::collections::BTreeMap;

use sqlx::PgPool;

use crate::evaluation::live_days::{Scope, ScoredDay};
use crate::evaluation::performance_drift::{PerformanceDrift, performance_drift};
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::opinion::drift::{LivePerformance, PerformanceMeasure};
use crate::store::StoreError;
use crate::store::scores::{self, ScoreRow, ScoreSpan};

/// Reads what the live scores of the universe say on a day.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached or holds scores of another form.
pub async fn live_performance(pool: &PgPool, until: Day) -> Result<LivePerformance, StoreError> {
    let mut days: BTreeMap<Horizon, Vec<ScoredDay>> = BTreeMap::new();
    for row in scores::counted(pool, &ScoreSpan::default()).await? {
        let horizon: Horizon = row.horizon.parse().map_err(StoreError::row)?;
        if let Some(day) = scored_day(row)? {
            days.entry(horizon).or_default().push(day);
        }
    }
    let of = |(horizon, days): (&Horizon, &Vec<ScoredDay>)| performance_drift(days, *horizon, Scope::Universe, until);
    Ok(LivePerformance { measures: days.iter().flat_map(of).map(measure).collect() })
}

fn scored_day(row: ScoreRow) -> Result<Option<ScoredDay>, StoreError> {
    let Some(measures) = row.measures else { return Ok(None) };
    let scores = serde_json::from_value(measures).map_err(StoreError::row)?;
    Ok(Some(ScoredDay { as_of: row.as_of, matured_on: row.matured_on, scores }))
}

fn measure(drift: PerformanceDrift) -> PerformanceMeasure {
    PerformanceMeasure {
        of: format!("{} {}", drift.measure.as_str(), drift.horizon),
        mean: drift.gain,
        lower: drift.bounds.lower,
        upper: drift.bounds.upper,
        observations: u32::try_from(drift.bounds.windows).unwrap_or(u32::MAX),
        drifted: drift.drifted,
    }
}

//! The school: the rows that every fold of a recipe learns from, computed once, and the folds' names.

use crate::features::price_basis::PriceBasis;
use crate::forecast::folds::{FoldId, fold_ids, recipe_hash};
use crate::forecast::prepared::Prepared;
use crate::forecast::samples::{SampleRequest, features_on, samples, training_sessions};
use crate::forecast::training::FitRequest;
use crate::forecast::walk::{VolatilityWalk, refit_sessions};
use crate::learning::dataset::{Samples, TrainingPlan};
use crate::learning::ensemble::{Provenance, TrainedModel, train};
use crate::learning::training::{Control, TrainingError};

/// Sessions of history before the first fold: two years of rows and their targets.
pub const FIRST_FOLD: usize = 756;

/// Rows, refits and names of a recipe's folds.
pub struct School {
    /// Features and targets on every fifth session.
    pub samples: Samples,
    /// The columns, as kept with a network.
    pub schema: serde_json::Value,
    /// Hash of the recipe.
    pub recipe: [u8; 32],
    /// Sessions at which the past refits, ascending, and the fold of each.
    pub folds: Vec<(usize, FoldId)>,
}

impl School {
    /// Computes the rows up to a session and names the folds. `benchmark` must hold the fits of all horizons.
    #[must_use]
    pub fn open(prepared: &Prepared, request: &FitRequest<'_>, benchmark: &VolatilityWalk, last: usize) -> Self {
        let basis = PriceBasis::infer(&prepared.history);
        let table = features_on(prepared, &basis, &training_sessions(last));
        let equity_premium = request.settings.equity_premium;
        let samples = samples(SampleRequest { prepared, benchmark, equity_premium }, &table);
        let schema = serde_json::to_value(&table.schema).unwrap_or_default();
        let recipe = recipe_hash(request.recipe, request.settings.seed, equity_premium, &schema);
        let refits = refit_sessions(&prepared.history.sessions).into_iter();
        let refits: Vec<usize> = refits.filter(|t| (FIRST_FOLD..=last).contains(t)).collect();
        let ids = fold_ids(&samples, &prepared.history, &recipe, &refits);
        Self { samples, schema, recipe, folds: refits.into_iter().zip(ids).collect() }
    }

    /// Whether there is a row to train on by the close of a session.
    #[must_use]
    pub fn learns_by(&self, session: usize, request: &FitRequest<'_>) -> bool {
        plan(session, request).split(&self.samples).is_ok()
    }

    /// Trains the recipe on what was known by the close of a session.
    ///
    /// # Errors
    /// [`TrainingError`].
    pub fn train(
        &self,
        session: usize,
        request: &FitRequest<'_>,
        data_hash: String,
        control: &Control<'_>,
    ) -> Result<TrainedModel, TrainingError> {
        let plan = plan(session, request);
        let provenance = Provenance { seed: request.settings.seed, data_hash, schema: self.schema.clone() };
        train(&self.samples, &plan, request.recipe, provenance, control)
    }
}

fn plan(session: usize, request: &FitRequest<'_>) -> TrainingPlan {
    TrainingPlan { until_day: session as u32, validation_sessions: request.recipe.validation_sessions }
}

//! What each member of a recipe said through the past, out of sample: every fold's members on the days until the next
//! refit. The weights of a fold never change, so neither do these answers.

use sha2::{Digest, Sha256};

use crate::forecast::day::NetworkDay;
use crate::forecast::folds::{FoldShelf, ShelfError};
use crate::forecast::samples::rows_of_session;
use crate::forecast::school::School;
use crate::forecast::training::FitError;
use crate::learning::artifact::load;
use crate::learning::ensemble::TrainedModel;
use crate::learning::forecast::RowForecast;
use crate::learning::task::HEADS;

/// The folds of a recipe, opened one after the other.
pub struct Members<'a> {
    school: &'a School,
    shelf: &'a dyn FoldShelf,
    instruments: usize,
    open: Option<(usize, Option<TrainedModel>)>,
}

impl<'a> Members<'a> {
    /// Nothing is read before a day is asked for.
    #[must_use]
    pub fn new(school: &'a School, shelf: &'a dyn FoldShelf, instruments: usize) -> Self {
        Self { school, shelf, instruments, open: None }
    }

    /// What ensemble and members said at the close of a session, each head at its share; `None` before the first fold and
    /// where the fold in force is on no shelf. Sessions are best asked for in order.
    ///
    /// # Errors
    /// [`FitError`] when a fold cannot be read.
    pub fn day(&mut self, session: usize, shares: &[f32; HEADS]) -> Result<Option<NetworkDay>, FitError> {
        // A fold speaks from the session after its refit on.
        let Some(fold) = self.school.folds.partition_point(|(refit, _)| *refit < session).checked_sub(1) else {
            return Ok(None);
        };
        if self.open.as_ref().is_none_or(|(open, _)| *open != fold) {
            self.open = Some((fold, self.read(fold)?));
        }
        let Some((_, Some(model))) = &self.open else { return Ok(None) };
        let samples = &self.school.samples;
        let rows = rows_of_session(samples, session);
        let width = samples.feature_count;
        let features = &samples.features[rows.start * width..rows.end * width];
        let model = model.clone().with_shrink(*shares);
        let spread = |said: Vec<RowForecast>| {
            let mut by_instrument = vec![None; self.instruments];
            rows.clone().zip(said).for_each(|(row, said)| by_instrument[samples.instrument[row] as usize] = Some(said));
            by_instrument
        };
        let members = model.member_forecasts(features)?.into_iter().map(spread).collect();
        Ok(Some(NetworkDay { ensemble: spread(model.forecast(features)?), members }))
    }

    fn read(&self, fold: usize) -> Result<Option<TrainedModel>, FitError> {
        let (_, id) = self.school.folds[fold];
        if self.shelf.known(&[id])?.is_empty() {
            return Ok(None);
        }
        let bytes =
            self.shelf.artifact(&id)?.ok_or_else(|| ShelfError("the weights of a fold are missing".to_owned()))?;
        Ok(Some(load(&bytes, &hex::encode(Sha256::digest(&bytes)), &self.school.schema)?))
    }
}

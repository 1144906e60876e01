//! The walk of a recipe through the past: a fold at every refit, what it says out of sample until the next, the share of
//! each head that this record supports, and the seats that it wins and loses.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::forecast::audition::{AuditionDay, HeadDecisions, HorizonAudition, SeatedSince};
use crate::forecast::day::NetworkDay;
use crate::forecast::folds::{Fold, FoldDay, FoldId, FoldShelf, ShelfError};
use crate::forecast::prepared::Prepared;
use crate::forecast::samples::{ROW_SPACING, rows_of_session};
use crate::forecast::school::School;
use crate::forecast::state::{ModelState, Seats};
use crate::forecast::training::{FitError, FitRequest};
use crate::learning::artifact::{Artifact, load};
use crate::learning::dataset::{DatasetError, KnownTargets, RowTargets};
use crate::learning::ensemble::TrainedModel;
use crate::learning::forecast::RowForecast;
use crate::learning::task::{HEADS, Head, OUTPUTS, Task};
use crate::learning::training::{Control, TrainingError};
use crate::learning::validation::Validation;
use crate::market::bar::Day;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::scenario::conformal::QuantileMap;

/// Ranks of the record are compared on every so many of its days: they cost a simulation each.
const RANK_EVERY: usize = 4;

/// Where a walk gets folds, and whether it may train missing ones.
#[derive(Clone, Copy)]
pub struct Folds<'a> {
    /// Where they are kept.
    pub shelf: &'a dyn FoldShelf,
    /// Train what is missing; else the walk does without.
    pub train_missing: bool,
}

/// What the record supports at one moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Believed from the close of this session on.
    pub from: usize,
    /// By head, the share of the network's output that is believed.
    pub shares: [f32; HEADS],
    /// By head, loss over the benchmark's on the record at that share; 1 at share 0.
    pub relative_loss: [f64; HEADS],
    /// What of the network is served, by horizon.
    pub seats: [Seats; 5],
    /// Since which session.
    pub since: [SeatedSince; 5],
    /// Interval maps of the network's volatility.
    pub maps: [Option<QuantileMap>; 5],
}

/// The out-of-sample record: rows of the school and what the fold in force said of them.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Row of the samples, ascending.
    pub rows: Vec<usize>,
    /// `[rows]`: session of the decision day.
    pub days: Vec<u32>,
    /// `[rows]`: what happened, also after the session that the walk has reached.
    pub targets: Vec<RowTargets>,
    /// `[rows][OUTPUTS]`, before shares.
    pub outputs: Vec<f32>,
    /// `[rows]`: position in [`Walker::standings`] of what was believed on the row's day.
    pub standing: Vec<usize>,
}

struct Open {
    id: FoldId,
    /// Loaded when first asked.
    model: Option<TrainedModel>,
    days: BTreeMap<Day, FoldDay>,
}

/// A walk in progress.
pub struct Walker<'a> {
    prepared: &'a Prepared,
    request: &'a FitRequest<'a>,
    folds: Folds<'a>,
    benchmarks: ModelState,
    auditions: [HorizonAudition; 5],
    open: Option<Open>,
    next_refit: usize,
    played_until: usize,
    /// Rows and names of the folds; `None` without a network.
    pub school: Option<School>,
    /// The out-of-sample record.
    pub record: Record,
    /// What was believed from each refit on; the first believes nothing.
    pub standings: Vec<Standing>,
    /// What the gate decided at each refit.
    pub decisions: Vec<(Day, Vec<HeadDecisions>)>,
}

impl<'a> Walker<'a> {
    /// Begins a walk that goes no farther than `last`. `benchmarks` must hold harX2 for all horizons if there is a network.
    #[must_use]
    pub fn begin(
        prepared: &'a Prepared,
        request: &'a FitRequest<'a>,
        folds: Folds<'a>,
        benchmarks: &ModelState,
        last: usize,
    ) -> Self {
        let has_network = request.recipe.members > 0 && last >= crate::forecast::school::FIRST_FOLD;
        let nothing = Standing {
            from: 0,
            shares: [0.0; HEADS],
            relative_loss: [1.0; HEADS],
            seats: [Seats::default(); 5],
            since: [SeatedSince::default(); 5],
            maps: [const { None }; 5],
        };
        Self {
            prepared,
            request,
            folds,
            benchmarks: benchmarks.benchmarks(),
            auditions: [(); 5].map(|()| HorizonAudition::default()),
            open: None,
            next_refit: 0,
            played_until: 0,
            school: has_network.then(|| School::open(prepared, request, &benchmarks.harx2, last)),
            record: Record::default(),
            standings: vec![nothing],
            decisions: Vec::new(),
        }
    }

    /// What the network gained at a horizon.
    #[must_use]
    pub fn audition(&self, horizon: Horizon) -> &HorizonAudition {
        &self.auditions[horizon.index()]
    }

    /// What was believed on a session.
    #[must_use]
    pub fn standing_on(&self, session: usize) -> &Standing {
        let count = self.standings.partition_point(|standing| standing.from < session);
        &self.standings[count.max(1) - 1]
    }

    /// Refit session of the fold in force; its days come after. `None` without one.
    #[must_use]
    pub fn played_from(&self) -> Option<usize> {
        let school = self.school.as_ref()?;
        self.open.as_ref()?;
        school.folds.get(self.next_refit.checked_sub(1)?).map(|(refit, _)| *refit)
    }

    /// The folds up to `last`. A refit without a row to learn from has none.
    #[must_use]
    pub fn expected(&self, last: usize) -> Vec<FoldId> {
        let folds = self.school.iter().flat_map(|school| {
            school.folds.iter().filter(|(refit, _)| *refit <= last && school.learns_by(*refit, self.request))
        });
        folds.map(|(_, id)| *id).collect()
    }

    /// Number of folds up to `last` that are on no shelf.
    ///
    /// # Errors
    /// [`FitError::Shelf`].
    pub fn missing(&self, last: usize) -> Result<usize, FitError> {
        let ids = self.expected(last);
        Ok(ids.len() - self.folds.shelf.known(&ids)?.len())
    }

    /// What is believed now.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        // The first is there from the beginning.
        &self.standings[self.standings.len() - 1]
    }

    /// Passes every refit up to a session.
    ///
    /// # Errors
    /// [`FitError`] when a training fails or is cancelled, or the shelf does.
    pub fn advance(&mut self, session: usize, control: &Control<'_>) -> Result<(), FitError> {
        while let Some((refit, id)) =
            self.school.as_ref().and_then(|s| s.folds.get(self.next_refit).copied()).filter(|(r, _)| *r <= session)
        {
            self.settle(refit)?;
            self.open = self.open_fold(refit, id, control)?;
            self.next_refit += 1;
            self.played_until = refit;
        }
        Ok(())
    }

    /// Lets the fold in force play up to a session and judges all that had matured by its close.
    ///
    /// # Errors
    /// [`FitError`].
    pub fn settle(&mut self, session: usize) -> Result<(), FitError> {
        if self.standings.len() > 1 && self.standing().from == session {
            return Ok(());
        }
        self.play(session)?;
        if self.record.rows.is_empty() || self.request.horizons.is_empty() {
            return Ok(());
        }
        let mut standing = Standing { from: session, ..self.standing().clone() };
        (standing.shares, standing.relative_loss) = self.shares(session);
        let mut decisions = Vec::new();
        for &horizon in self.request.horizons {
            let k = horizon.index();
            let decision = self.auditions[k].decide(horizon, session, &standing.since[k]);
            standing.maps[k] = self.auditions[k].map_at(horizon, session);
            standing.seats[k] = decision.seats(standing.maps[k].is_some());
            standing.since[k] = decision.since(&standing.since[k], session);
            decisions.push(decision);
        }
        self.standings.push(standing);
        self.decisions.push((self.prepared.history.sessions[session], decisions));
        Ok(())
    }

    /// The network in force with the shares that are believed; `None` before the first fold.
    ///
    /// # Errors
    /// [`FitError`].
    pub fn network(&mut self) -> Result<Option<TrainedModel>, FitError> {
        let shares = self.standing().shares;
        let Some(open) = &mut self.open else { return Ok(None) };
        let Some(school) = &self.school else { return Ok(None) };
        let model = loaded(open, school, self.folds.shelf)?;
        Ok(Some(model.clone().with_shrink(shares)))
    }

    fn open_fold(&self, refit: usize, id: FoldId, control: &Control<'_>) -> Result<Option<Open>, FitError> {
        let Some(school) = &self.school else { return Ok(None) };
        let shelf = self.folds.shelf;
        if !shelf.known(&[id])?.is_empty() {
            let days = shelf.days(&id)?.into_iter().map(|day| (day.day, day)).collect();
            return Ok(Some(Open { id, model: None, days }));
        }
        if !self.folds.train_missing {
            return Ok(None);
        }
        let model = match school.train(refit, self.request, hex::encode(id), control) {
            Ok(model) => model,
            Err(TrainingError::Dataset(DatasetError::EmptySpan { .. })) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let refit_day = self.prepared.history.sessions[refit];
        let artifact = Artifact::of(&model)?.into_bytes();
        shelf.keep(&Fold { id, recipe: school.recipe, refit_day, artifact })?;
        Ok(Some(Open { id, model: Some(model), days: BTreeMap::new() }))
    }

    /// Adds the days up to a session to the record.
    fn play(&mut self, until: usize) -> Result<(), FitError> {
        let (Some(open), Some(school)) = (&mut self.open, &self.school) else { return Ok(()) };
        let mut said = Vec::new();
        for session in (self.played_until + 1..=until).filter(|t| t % ROW_SPACING == 0) {
            let day = self.prepared.history.sessions[session];
            if !open.days.contains_key(&day) {
                let rows = rows_of_session(&school.samples, session);
                let width = school.samples.feature_count;
                let model = loaded(open, school, self.folds.shelf)?;
                let outputs = model.outputs(&school.samples.features[rows.start * width..rows.end * width])?;
                let symbols = rows.map(|row| symbol(self.prepared, school, row).clone()).collect();
                let new = FoldDay { day, symbols, outputs };
                said.push(new.clone());
                open.days.insert(day, new);
            }
        }
        if !said.is_empty() {
            self.folds.shelf.keep_days(&open.id, &said)?;
        }
        for (position, session) in (self.played_until + 1..=until).filter(|t| t % ROW_SPACING == 0).enumerate() {
            self.remember(session, position % RANK_EVERY == 0);
        }
        self.played_until = self.played_until.max(until);
        Ok(())
    }

    fn remember(&mut self, session: usize, with_ranks: bool) {
        let (Some(open), Some(school)) = (&self.open, &self.school) else { return };
        let Some(day) = open.days.get(&self.prepared.history.sessions[session]) else { return };
        let standing = self.standings.len() - 1;
        let shares = &self.standings[standing].shares;
        let mut ensemble = vec![None; self.prepared.history.instruments.len()];
        for row in rows_of_session(&school.samples, session) {
            let Some(outputs) = day.row(symbol(self.prepared, school, row)) else { continue };
            self.record.rows.push(row);
            self.record.days.push(session as u32);
            self.record.targets.push(school.samples.targets[row]);
            self.record.outputs.extend_from_slice(outputs);
            self.record.standing.push(standing);
            ensemble[school.samples.instrument[row] as usize] = Some(RowForecast::decode(outputs, shares));
        }
        let network = NetworkDay { ensemble, members: vec![] };
        for &horizon in self.request.horizons {
            let tilts = shares[Head::index(Task::Rank, horizon)] > 0.0;
            let day = AuditionDay {
                prepared: self.prepared,
                benchmarks: &self.benchmarks,
                network: &network,
                session,
                with_ranks: with_ranks && tilts,
            };
            self.auditions[horizon.index()].add(day, horizon);
        }
    }

    /// By head, the share with the best lower bound of the gain over all days that had matured. The mean is not shared:
    /// its weight is the gate's.
    fn shares(&self, session: usize) -> ([f32; HEADS], [f64; HEADS]) {
        let known = KnownTargets::until(session as u32, &self.record.targets, &self.record.days);
        let judgement = Validation::fit(known, &self.request.recipe.task_weights).judge(&self.record.outputs);
        let mut shares = judgement.shrink;
        for horizon in Horizon::ALL {
            shares[Head::index(Task::Mean, horizon)] = 1.0;
        }
        (shares, judgement.relative_loss)
    }
}

impl Record {
    /// Number of days.
    #[must_use]
    pub fn day_count(&self) -> usize {
        self.days.chunk_by(|a, b| a == b).count()
    }

    /// What was said of the k-th row.
    #[must_use]
    pub fn output(&self, k: usize) -> &[f32] {
        &self.outputs[k * OUTPUTS..(k + 1) * OUTPUTS]
    }
}

fn symbol<'a>(prepared: &'a Prepared, school: &School, row: usize) -> &'a Symbol {
    &prepared.history.instruments[school.samples.instrument[row] as usize].instrument.symbol
}

fn loaded<'o>(open: &'o mut Open, school: &School, shelf: &dyn FoldShelf) -> Result<&'o TrainedModel, FitError> {
    match open.model {
        Some(ref model) => Ok(model),
        None => {
            let bytes =
                shelf.artifact(&open.id)?.ok_or_else(|| ShelfError("the weights of a fold are missing".into()))?;
            let model = load(&bytes, &hex::encode(Sha256::digest(&bytes)), &school.schema)?;
            Ok(open.model.insert(model))
        }
    }
}

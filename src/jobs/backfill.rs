//! Backfills: writes what would have been answered on past days into a chain of its own. Each day is answered from the rows
//! known by then, by a model that was fitted on rows known before, and is written whole in one transaction. What was
//! written stays: no later backfill answers for the same days, so nobody can try until the past looks well.

use anyhow::Context;
use chrono::SubsecRound;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::cli::research::BackfillArgs;
use crate::clock;
use crate::jobs::backfill_plan::{Plan, PlannedDay, plan};
use crate::jobs::moment::Moment;
use crate::jobs::progress::Phase;
use crate::jobs::publish::{ATTEMPTS, Overtaken, compose_again, new_entry};
use crate::jobs::shelf::{SilentShelf, StoreShelf};
use crate::jobs::train::{CODE_VERSION, Past, fit_rows, recipe, settings};
use crate::market::bar::Day;
use crate::opinion::chain::Chain;
use crate::publication::compose::Composed;
use crate::store::backfill::{self, Span};
use crate::store::chain::{self, NewEntry, Publication};
use crate::store::history::{LoadedHistory, Revisions, load};
use crate::store::jobs::{self, Lease};
use crate::store::open::Store;
use crate::store::signing::HeadSigner;
use crate::store::{ledger, models, pool};

/// What a run of a backfill wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Backfilled {
    /// Decision days.
    pub days: usize,
    /// Answers.
    pub answers: usize,
    /// Days left out, because another run wrote them meanwhile or too few instruments had a price.
    pub left_out: usize,
    /// Newest place of the chain, where anything was written.
    pub head: Option<i64>,
}

/// Backfills the days of a range that nothing answers for yet, in their order. With a lease, its job succeeds with the last.
///
/// # Errors
/// When the range is refused, a fit or the store fails, or the lease was lost. What was written before stays.
pub async fn backfill(
    store: &Store,
    signer: &HeadSigner,
    asked: &BackfillArgs,
    lease: Option<Lease>,
) -> anyhow::Result<Backfilled> {
    let plan = plan(store, &asked.range).await?;
    let run = Run { store: store.on(Chain::Backfill), signer: signer.on(Chain::Backfill), asked, plan: &plan, lease };
    let phase = Phase::start("backfill", "days", plan.days.len() as u64);
    phase.line(&plan.estimate(asked.recipe.members > 0));
    let mut done = Backfilled::default();
    let mut model: Option<(Day, String)> = None;
    let mut ended = false;
    for (i, day) in plan.days.iter().enumerate() {
        let (fitted_on, model_id) = match model.take().filter(|(on, _)| *on == day.fit_on) {
            Some(fitted) => fitted,
            None => {
                phase.pause();
                let model_id = run.model_of(day.fit_on).await?;
                phase.resume();
                (day.fit_on, model_id)
            }
        };
        phase.note(format!("as of {}, model {model_id}", day.as_of));
        let ending = lease.filter(|_| i + 1 == plan.days.len());
        match run.write_day(day, &model_id, (done, ending)).await? {
            Some(more) => (done, ended) = (more, ending.is_some()),
            None => done.left_out += 1,
        }
        phase.advance(1);
        model = Some((fitted_on, model_id));
    }
    if let Some(lease) = lease.filter(|_| !ended) {
        let mut transaction = run.store.pool.begin().await?;
        jobs::succeed(&mut transaction, lease, &json!(done)).await?;
        transaction.commit().await?;
    }
    phase.finish(&format!("{} days, {} answers", done.days, done.answers));
    run.store.pool.close().await;
    Ok(done)
}

struct Run<'a> {
    /// On the backfilled chain.
    store: Store,
    signer: HeadSigner,
    asked: &'a BackfillArgs,
    plan: &'a Plan,
    /// The job, if it is one: a run that lost it writes no further day.
    lease: Option<Lease>,
}

impl Run<'_> {
    async fn load(&self, moment: Moment) -> anyhow::Result<LoadedHistory> {
        Ok(load(&self.store.pool, moment.known_until, moment.recorded_until, Revisions::Newest).await?)
    }

    /// The model that would have been in force from a session on: fitted on what was known at its close, or found where the
    /// same rows were fitted before. It is never put in force now.
    async fn model_of(&self, session: Day) -> anyhow::Result<String> {
        let moment = self.plan.moment_of(session);
        let loaded = self.load(moment).await?;
        let fingerprint = self.fingerprint(&loaded);
        if let Some(model_id) = backfill::fitted(&self.store.pool, &fingerprint).await? {
            return Ok(model_id);
        }
        let shelf = SilentShelf(StoreShelf { pool: self.store.pool.clone(), runtime: Handle::current() });
        let rows = (loaded, moment, self.store.simulated);
        let outcome = fit_rows(rows, &self.asked.recipe, shelf, Past::Walked).await?;
        let model = match outcome.refusal {
            None => outcome.model,
            Some(reason) => {
                tracing::warn!("the network of {session} is kept back, so the benchmarks answer: {reason}");
                outcome.benchmarks.context("a model was kept back without benchmarks in its place")?
            }
        };
        let mut transaction = self.store.pool.begin().await?;
        models::keep_aside(&mut transaction, &model).await?;
        backfill::keep_fit(&mut transaction, &fingerprint, &model.model_id).await?;
        transaction.commit().await?;
        Ok(model.model_id)
    }

    /// Names everything that a fit depends on.
    fn fingerprint(&self, loaded: &LoadedHistory) -> [u8; 32] {
        let config = &self.asked.recipe;
        let recipe = json!({ "settings": settings(config), "network": recipe(config), "device": config.device });
        let rows = hex::encode(loaded.inputs_hash);
        Sha256::digest(json!({ "rows": rows, "recipe": recipe, "code": CODE_VERSION }).to_string()).into()
    }

    /// Composes and writes a day; `None` when it is answered for already, or was no decision day by what was known.
    async fn write_day(
        &self,
        day: &PlannedDay,
        model_id: &str,
        (done, lease): (Backfilled, Option<Lease>),
    ) -> anyhow::Result<Option<Backfilled>> {
        for _ in 0..ATTEMPTS {
            let before = ledger::head(&self.store.pool).await?.map_or(0, |head| head.sequence);
            if backfill::answering(&self.store.pool, day.as_of).await?.is_some() {
                return Ok(None);
            }
            let moment = self.plan.moment_of(day.as_of);
            let loaded = self.load(moment).await?;
            if loaded.history.decision_day() != Some(day.as_of) {
                tracing::warn!("{} is left out: by what was known then, it was no decision day", day.as_of);
                return Ok(None);
            }
            let publication = Publication {
                publication: Uuid::now_v7(),
                as_of: day.as_of,
                published_at: clock::now().trunc_subsecs(0),
                known_until: moment.known_until,
                recorded_until: moment.recorded_until,
                model_id: model_id.to_owned(),
            };
            let composed = compose_again(&self.store, &publication, before + 1, loaded).await?;
            match self.write((&publication, day.last_day), before, &composed, (done, lease)).await {
                Err(error) if error.is::<Overtaken>() => tracing::info!("{error}; composing anew"),
                outcome => return outcome.map(Some),
            }
        }
        Err(Overtaken.into())
    }

    async fn write(
        &self,
        (publication, last_day): (&Publication, Day),
        before: i64,
        composed: &[Composed],
        (done, lease): (Backfilled, Option<Lease>),
    ) -> anyhow::Result<Backfilled> {
        let entries: Vec<NewEntry> = composed.iter().map(new_entry).collect();
        let mut transaction = self.store.pool.begin().await?;
        pool::lock_ledger(&mut transaction).await?;
        let head = chain::head(&mut transaction).await?;
        if head.sequence != before {
            return Err(Overtaken.into());
        }
        let head = chain::append(&mut transaction, publication, head, &entries).await?;
        chain::sign(&mut transaction, head, &self.signer).await?;
        let span = Span { first_day: publication.as_of, last_day };
        backfill::keep_span(&mut transaction, publication.publication, span).await?;
        let done = Backfilled {
            days: done.days + 1,
            answers: done.answers + composed.len(),
            head: Some(head.sequence),
            ..done
        };
        if let Some(lease) = self.lease {
            jobs::hold(&mut transaction, lease).await?;
        }
        if let Some(lease) = lease {
            jobs::succeed(&mut transaction, lease, &json!(done)).await?;
        }
        transaction.commit().await?;
        Ok(done)
    }
}

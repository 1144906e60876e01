//! Scores what was published once its horizon has matured: every answer beside the benchmark that it had to beat, once and
//! for good.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use crate::evaluation::live_days::DayScores;
use crate::evaluation::live_scores::{InstrumentScore, Law, Ranked, Scorable};
use crate::forecast::prepared::Prepared;
use crate::jobs::moment::Moment;
use crate::jobs::progress::Phase;
use crate::jobs::publish::open_model;
use crate::jobs::score_outcome::Outcome;
use crate::jobs::score_reading::{SaidDay, SaidInstrument, benchmark_law, read};
use crate::jobs::train::CODE_VERSION;
use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::horizon::Horizon;
use crate::market::instrument::Symbol;
use crate::publication::benchmark::{BenchmarkDay, benchmark_day};
use crate::store::history::{Revisions, load};
use crate::store::jobs::{self, Lease};
use crate::store::open::Store;
use crate::store::scores::{self, NewScore, Unscored};
use crate::store::{chain, instruments, models};

/// Horizons of publications that one run scores at most; the next run takes the rest.
const RUN_MAX: usize = 500;
/// Annualized volatilities nearer than this are the same, rounded twice.
const SAME_VOLATILITY: f64 = 2e-6;

/// Why a score is no part of the track record.
pub mod left_out {
    /// Published after the next session had opened.
    pub const LATE: &str = "late";
    /// Another publication of that decision day was written before.
    pub const NOT_FIRST: &str = "not_first";
}

/// Reason where no instrument of a day could be scored.
pub const NO_OUTCOME: &str = "no_outcome";

/// What was scored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scored {
    /// Publications and horizons that were scored.
    pub days: usize,
    /// Those of them that count in the track record.
    pub counted: usize,
    /// Rows written, one an instrument and one a day.
    pub rows: u64,
    /// Rows that say why there is no number.
    pub without_numbers: usize,
    /// Publications and horizons whose benchmark could not be computed again.
    pub without_benchmark: usize,
    /// Horizons that have passed by the calendar, but whose prices are not there yet.
    pub waiting: usize,
    /// Left for the next run.
    pub left: usize,
}

/// Scores all that has matured.
///
/// # Errors
/// When the store fails, an entry cannot be read, or the lease was lost; then nothing was scored.
pub async fn score(store: &Store, lease: Option<Lease>) -> anyhow::Result<Scored> {
    score_at(store, Moment::take(&store.pool).await?, lease).await
}

/// Scores all that has matured by a moment, with what was known then.
///
/// # Errors
/// As of [`score`].
pub async fn score_at(store: &Store, moment: Moment, lease: Option<Lease>) -> anyhow::Result<Scored> {
    let due = scores::unscored(&store.pool, calendar::newest_closed_session(moment.known_until)).await?;
    let newest = instruments::newest_day(&store.pool).await?;
    let phase = Phase::start("score", "horizons", due.len() as u64);
    let (mut scored, mut rows) = (Scored::default(), Vec::new());
    let mut outcome: Option<((Day, Horizon), Option<Outcome>)> = None;
    for (position, unscored) in due.iter().enumerate() {
        if scored.days >= RUN_MAX {
            scored.left = due.len() - position;
            break;
        }
        let decided = (unscored.as_of, unscored.horizon);
        // Publications of one decision day share what happened.
        let held = match outcome.take() {
            Some((of, held)) if of == decided => held,
            // Without prices of its last day there is nothing to load.
            _ if newest.is_none_or(|day| day < calendar::add_sessions(decided.0, decided.1.sessions())) => None,
            _ => Outcome::load(store, &moment, decided).await?,
        };
        match &held {
            Some(happened) => score_day(store, unscored, happened, (&mut scored, &mut rows)).await?,
            None => scored.waiting += 1,
        }
        outcome = Some((decided, held));
        phase.advance(1);
    }
    write(store, lease, &mut scored, &rows).await?;
    phase.finish(&format!("{} days over their horizons, {} rows", scored.days, scored.rows));
    Ok(scored)
}

/// Writes all scores and ends the job in one transaction, so that a run which was taken over has no effect.
async fn write(store: &Store, lease: Option<Lease>, scored: &mut Scored, rows: &[NewScore]) -> anyhow::Result<()> {
    let mut transaction = store.pool.begin().await?;
    scored.rows = scores::insert(&mut transaction, rows, CODE_VERSION).await?;
    if let Some(lease) = lease {
        jobs::succeed(&mut transaction, lease, &json!(scored)).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn score_day(
    store: &Store,
    unscored: &Unscored,
    outcome: &Outcome,
    (scored, rows): (&mut Scored, &mut Vec<NewScore>),
) -> anyhow::Result<()> {
    let said = read(&scores::said(&store.pool, unscored.publication, unscored.horizon).await?)?;
    if said.instruments.iter().any(|(symbol, i)| i.law.is_ok() && outcome.awaits(symbol)) {
        scored.waiting += 1;
        return Ok(());
    }
    let benchmark = benchmarks(store, unscored, &said).await?;
    let new = |symbol: Option<Symbol>, sequence: i64, measures| NewScore {
        sequence,
        publication: unscored.publication,
        as_of: unscored.as_of,
        horizon: unscored.horizon,
        symbol,
        matured_on: outcome.matured_on,
        left_out: left_out_of(unscored),
        measures,
        known_until: outcome.known_until,
        recorded_until: outcome.recorded_until,
    };
    let results = score_all(&said, benchmark.as_ref(), outcome);
    let (mut known, mut missing) = (Vec::new(), BTreeMap::new());
    for (symbol, (instrument, result)) in results {
        if let Err(why) = &result {
            *missing.entry(why.clone()).or_insert(0) += 1;
            scored.without_numbers += 1;
        }
        let measures = match &result {
            Ok(score) => Ok(serde_json::to_value(score)?),
            Err(why) => Err(why.clone()),
        };
        rows.push(new(Some(symbol.clone()), instrument.sequence, measures));
        known.extend(result.ok());
    }
    let day = if known.is_empty() {
        Err(NO_OUTCOME.to_owned())
    } else {
        Ok(serde_json::to_value(DayScores::of(&known, missing))?)
    };
    scored.days += 1;
    scored.counted += usize::from(left_out_of(unscored).is_none() && day.is_ok());
    scored.without_benchmark += usize::from(benchmark.is_none());
    rows.push(new(None, unscored.sequence, day));
    Ok(())
}

/// Only the first publication of a decision day counts, and only when it was in time.
fn left_out_of(unscored: &Unscored) -> Option<&'static str> {
    match unscored {
        Unscored { late: true, .. } => Some(left_out::LATE),
        Unscored { is_first: false, .. } => Some(left_out::NOT_FIRST),
        _ => None,
    }
}

/// Where the benchmark's numbers of a publication are.
enum Benchmarks {
    /// No head was the network's, so what was served is the benchmark.
    AsServed,
    /// Computed again from the rows and the model of the publication.
    Again(BenchmarkDay),
}

impl Benchmarks {
    fn law(&self, symbol: &Symbol, served: &Law) -> Option<Law> {
        match self {
            Self::AsServed => Some(served.clone()),
            Self::Again(day) => day.forecasts.get(symbol).and_then(benchmark_law),
        }
    }

    fn quintiles<'a>(&'a self, symbol: &Symbol, served: &'a [f64; 5]) -> Option<&'a [f64; 5]> {
        match self {
            Self::AsServed => Some(served),
            Self::Again(day) => day.quintiles.get(symbol),
        }
    }
}

/// By instrument what was said of it with its score, or why it has none.
type Results<'a> = BTreeMap<&'a Symbol, (&'a SaidInstrument, Result<InstrumentScore, String>)>;

fn score_all<'a>(said: &'a SaidDay, benchmarks: Option<&Benchmarks>, outcome: &Outcome) -> Results<'a> {
    let fifths = outcome.fifths(said.quintiles.keys());
    let fell: BTreeMap<&Symbol, [f64; 5]> = said.quintiles.keys().zip(fifths).collect();
    let result = |symbol: &Symbol, instrument: &SaidInstrument| {
        let served = instrument.law.as_ref().map_err(Clone::clone)?;
        let happened = outcome.of(symbol).map_err(|why| why.as_str().to_owned())?;
        let benchmark = benchmarks.and_then(|b| b.law(symbol, served));
        let ranked = said.quintiles.get(symbol).zip(fell.get(symbol)).map(|(chances, fell)| Ranked {
            served: chances,
            benchmark: benchmarks.and_then(|b| b.quintiles(symbol, chances)),
            fell,
        });
        let scorable = Scorable {
            served,
            benchmark: benchmark.as_ref(),
            ranked,
            decided: instrument.decided.as_ref(),
            network: said.network,
        };
        Ok(InstrumentScore::of(&scorable, &happened))
    };
    said.instruments.iter().map(|(symbol, i)| (symbol, (i, result(symbol, i)))).collect()
}

/// The benchmark's numbers as they were at the publication; `None` where the rows, the model or the code no longer give
/// them.
async fn benchmarks(store: &Store, unscored: &Unscored, said: &SaidDay) -> anyhow::Result<Option<Benchmarks>> {
    let network = said.network;
    if !(network.ranks || network.returns || network.direction) {
        return Ok(Some(Benchmarks::AsServed));
    }
    let found = chain::publication(&store.pool, unscored.publication).await?;
    let (publication, ..) = found.context("a scored publication is missing")?;
    let model = models::find(&store.pool, &publication.model_id).await?;
    let model = model.with_context(|| format!("model {} is missing from the store", publication.model_id))?;
    let loaded = load(&store.pool, publication.known_until, publication.recorded_until, Revisions::Newest).await?;
    let horizon = unscored.horizon;
    let computed = tokio::task::spawn_blocking(move || {
        let inputs_hash = hex::encode(loaded.inputs_hash);
        let (state, _) = open_model(&model)?;
        let prepared = Prepared::new(loaded.history.until(publication.as_of));
        anyhow::Ok((inputs_hash, benchmark_day(&prepared, &state, horizon)))
    })
    .await?;
    Ok(match computed {
        Ok((hash, Some(day))) if hash == said.inputs_hash && agrees(&day, said) => Some(Benchmarks::Again(day)),
        Ok(_) => {
            tracing::warn!("the benchmark of {} over {horizon} is no longer what it was", unscored.as_of);
            None
        }
        Err(error) => {
            tracing::warn!("the benchmark of {} over {horizon} cannot be computed again: {error:#}", unscored.as_of);
            None
        }
    })
}

/// Whether the benchmark's volatilities are those that the forecasts told.
fn agrees(day: &BenchmarkDay, said: &SaidDay) -> bool {
    said.instruments.iter().all(|(symbol, instrument)| match instrument.benchmark_volatility {
        Some(told) => day.forecasts.get(symbol).is_some_and(|f| (f.volatility - told).abs() < SAME_VOLATILITY),
        None => true,
    })
}

//! `forecastd rate`: rates everything as of a day and prints what the ratings rest on and how they went.

use std::fs;

use anyhow::Context;

use crate::cli::research::RateArgs;
use crate::forecast::prepared::Prepared;
use crate::forecast::training::{FitRequest, fit_benchmarks};
use crate::jobs::progress::Phase;
use crate::jobs::rating_report::rating_report;
use crate::jobs::train::{recipe, settings};
use crate::learning::recipe::Recipe;
use crate::market::horizon::Horizon;
use crate::rating::term::RatingSettings;
use crate::store::history::{LoadedHistory, Revisions, load};
use crate::store::open::Store;
use crate::store::pool;

/// Rates and writes `ratings.md` and `ratings.csv`.
///
/// # Errors
/// When the store fails, holds no prices by that day, no interest rate is known, or a file cannot be written.
pub async fn rate(store: &Store, arguments: &RateArgs) -> anyhow::Result<()> {
    let cutoff = pool::cutoff(&store.pool).await?;
    let loaded = load(&store.pool, cutoff, cutoff, Revisions::Newest).await?;
    anyhow::ensure!(
        !loaded.history.sessions.is_empty(),
        "the store holds no prices; import some first: forecastd import FOLDER"
    );
    let (arguments, simulated) = (arguments.clone(), store.simulated);
    tokio::task::spawn_blocking(move || run(loaded, &arguments, simulated)).await?
}

fn run(loaded: LoadedHistory, arguments: &RateArgs, simulated: bool) -> anyhow::Result<()> {
    let newest = loaded.history.decision_day().context("the history has no session")?;
    let first = loaded.history.sessions.first().map(ToString::to_string).unwrap_or_default();
    let day = arguments.to.unwrap_or(newest).min(newest);
    fs::create_dir_all(&arguments.out).with_context(|| format!("{} cannot be made", arguments.out.display()))?;
    let phase = Phase::start("rate", "steps", 2);
    // The whole history: closes of a download are on its last day's split basis, which filings of later days show. All else
    // looks no farther than the session.
    let prepared = Prepared::new(loaded.history.until(newest));
    let session = prepared
        .history
        .session_at(day)
        .with_context(|| format!("no session lies on or before {day}; the history begins on {first}"))?;
    // Ratings rest on the benchmark of the one-year volatility alone.
    let benchmarks_alone = Recipe { members: 0, ..recipe(&arguments.recipe) };
    let request = FitRequest {
        settings: settings(&arguments.recipe),
        recipe: &benchmarks_alone,
        data_hash: hex::encode(loaded.inputs_hash),
        horizons: &[Horizon::Year],
    };
    let benchmarks = fit_benchmarks(&prepared, &request, session);
    phase.advance(1);
    let rating = RatingSettings { equity_premium: request.settings.equity_premium, ..RatingSettings::default() };
    let report = rating_report(&prepared, &benchmarks.harx2, &rating, (session, simulated))?;
    phase.finish(&format!("as of {}", prepared.history.sessions[session]));
    let out = &arguments.out;
    fs::write(out.join("ratings.md"), &report.text)?;
    fs::write(out.join("ratings.csv"), &report.csv)?;
    println!("{}\nwritten to {}", report.text, out.join("ratings.md").display());
    Ok(())
}

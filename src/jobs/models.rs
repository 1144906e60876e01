//! `forecastd models`: what there is, what is in force, and the decisions of whoever operates it.

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};

use crate::api::models::told;
use crate::cli::models::ModelsCommand;
use crate::jobs::prune::{self, Pruning};
use crate::opinion::version::{CODE_VERSION, STATE_VERSION};
use crate::store::activation::{self, Activation, Decision};
use crate::store::models::{self, ModelSummary};
use crate::store::open::Store;
use crate::store::promotions::BY_COMMAND;

/// Runs `forecastd models`.
///
/// # Errors
/// When the store fails, there is no such model, or it must not answer.
pub async fn run(store: &Store, command: &ModelsCommand) -> anyhow::Result<()> {
    match command {
        ModelsCommand::List { limit } => {
            let models = models::summaries(&store.pool, None, i64::from(*limit), CODE_VERSION).await?;
            models.iter().for_each(|model| println!("{}", line(model)));
            Ok(())
        }
        ModelsCommand::Show { id } => {
            let model = told(&store.pool, id).await?.with_context(|| unknown(id))?;
            println!("{}", serde_json::to_string_pretty(&model)?);
            Ok(())
        }
        ModelsCommand::Activate { id, reason, force } => activate(store, id, reason, *force).await,
        ModelsCommand::Rollback { reason } => rollback(store, reason).await,
        ModelsCommand::Prune(arguments) => {
            let pruning = Pruning { keep: arguments.keep, folds: arguments.folds };
            let report = match arguments.dry_run {
                true => prune::prunable(store, pruning).await?,
                false => prune::prune(store, None, pruning).await?,
            };
            print!("{}", report.text(arguments.dry_run));
            Ok(())
        }
    }
}

/// Puts a model in force by the decision of a person at a command line.
///
/// # Errors
/// When the store fails, there is no such model, or it must not answer.
pub async fn activate(store: &Store, id: &str, reason: &str, force: bool) -> anyhow::Result<()> {
    let decision = Decision { by: BY_COMMAND, reason, force, code_version: CODE_VERSION, state_version: STATE_VERSION };
    match activation::activate(&store.pool, id, &decision).await? {
        Activation::Unknown => bail!(unknown(id)),
        Activation::Refused(why) => bail!("model {id} must not answer: {why}"),
        Activation::InForce => println!("{id} is in force already"),
        Activation::Promoted { promotion, .. } => {
            let before = promotion.previous_model_id.map_or_else(String::new, |p| format!(", before it {p}"));
            println!("{id} is in force{before}; `forecastd publish` or a service that runs publishes from it");
        }
    }
    Ok(())
}

/// Puts the model back that was in force before. One that had been forced is forced again.
///
/// # Errors
/// When the store fails, nothing was in force before, or it must not answer any more.
pub async fn rollback(store: &Store, reason: &str) -> anyhow::Result<()> {
    let before = activation::before(&store.pool, CODE_VERSION).await?;
    let (id, forced) = before.context("no other model was in force before; see `forecastd models list`")?;
    activate(store, &id, reason, forced).await
}

fn unknown(id: &str) -> String {
    format!("no model is named {id}; see `forecastd models list`")
}

fn line(model: &ModelSummary) -> String {
    let network = if model.has_network { "network" } else { "benchmarks" };
    let condition = match (model.in_force, &model.kept_back, model.pruned_at) {
        (true, ..) => "in force".to_owned(),
        (false, _, Some(at)) => format!("pruned {}", shown(at)),
        (false, Some(why), None) => format!("kept back: {why}"),
        (false, None, None) => String::new(),
    };
    let (id, version) = (&model.model_id, &model.code_version);
    format!("{id}  {}  {version:<12} {network:<10} {condition}", shown(model.recorded_at)).trim_end().to_owned()
}

fn shown(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

//! The files of an evaluation besides the forecasts themselves: scores of each model, and their comparison.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;

use crate::evaluation::comparison::{ModelComparison, compare};
use crate::evaluation::forecasts::Forecasts;
use crate::market::history::History;

/// Scores and compares all models and writes into `folder`, which must exist: `report.md` to be read, `comparison.csv` and
/// `comparison.json` with every test, `measures.csv` with what else was measured, `scores.json` with all scores of each
/// model, day by day. `settings` are printed in the report.
///
/// # Errors
/// When forecasts cannot be scored or a file cannot be written.
pub fn write_report(
    folder: &Path,
    forecasts: &BTreeMap<String, Forecasts>,
    history: &History,
    settings: &[(String, String)],
) -> anyhow::Result<ModelComparison> {
    let comparison = compare(forecasts, history)?;
    write_file(&folder.join("report.md"), |out| Ok(out.write_all(comparison.markdown(settings).as_bytes())?))?;
    write_file(&folder.join("comparison.csv"), |out| Ok(comparison.write_csv(out)?))?;
    write_file(&folder.join("measures.csv"), |out| Ok(comparison.write_measures_csv(out)?))?;
    write_file(&folder.join("comparison.json"), |out| Ok(serde_json::to_writer_pretty(out, &comparison.json())?))?;
    write_file(&folder.join("scores.json"), |out| Ok(serde_json::to_writer_pretty(out, &comparison.scorecards)?))?;
    Ok(comparison)
}

/// Writes one model's scores as Markdown, `scores.md` in its folder, which is made where there is none.
///
/// # Errors
/// When the model was not scored or the file cannot be written.
pub fn write_scores(folder: &Path, model: &str, comparison: &ModelComparison) -> anyhow::Result<()> {
    let card = comparison.scorecards.get(model).with_context(|| format!("{model} was not scored"))?;
    let text = format!("# Scores of {model}\n\nModel estimates, scored on what happened.\n\n{}", card.markdown());
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    write_file(&folder.join("scores.md"), |out| Ok(out.write_all(text.as_bytes())?))
}

fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path).with_context(|| format!("{} cannot be written", path.display()))?);
    write(&mut out).and_then(|()| Ok(out.flush()?)).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there_even_without_forecasts() {
        let folder = tempfile::tempdir().unwrap();
        let none = BTreeMap::from([("served".to_owned(), Forecasts::default())]);
        let comparison = write_report(folder.path(), &none, &History::default(), &[]).unwrap();
        write_scores(&folder.path().join("served"), "served", &comparison).unwrap();
        for name in
            ["report.md", "comparison.csv", "measures.csv", "comparison.json", "scores.json", "served/scores.md"]
        {
            assert!(fs::metadata(folder.path().join(name)).unwrap().len() > 0, "{name}");
        }
        assert!(write_scores(folder.path(), "network", &comparison).is_err());
    }
}

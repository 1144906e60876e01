//! What jobs are given, by kind: checked when they are asked for and again when they run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::market::bar::Day;
use crate::store::jobs::NewJob;
use crate::store::kinds::JobKind;

/// Decision days of a backfill may lie so many sessions apart: a year.
const DECIDE_EVERY_MAX: u64 = 252;
/// And its trainings: five years.
const RETRAIN_EVERY_MAX: u64 = 1260;
/// At most so many models can be told to be kept.
const KEEP_MAX: u64 = 100_000;

/// What an import is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportArguments {
    /// Files and folders, as the worker sees them.
    pub paths: Vec<String>,
}

/// What a publication is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublishArguments {
    /// Publish also when nothing new was recorded.
    pub again: bool,
}

/// What a training is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainArguments {
    /// Train the folds first that are missing from the out-of-sample record.
    pub walk: bool,
}

/// What a backfill is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillArguments {
    /// First decision day.
    pub from: Day,
    /// Last decision day, not before the first.
    pub to: Day,
    /// Sessions between decision days, 1 to 252; the job's own choice unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
    /// Sessions between trainings, 1 to 1260; the job's own choice unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain_every: Option<u32>,
}

/// What a pruning is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneArguments {
    /// Newest models to keep whatever names them, 1 to 100000; the job's own choice unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

/// The checked arguments of a job, which tell its kind as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobArguments {
    /// Of an import.
    Import(ImportArguments),
    /// Of a publication.
    Publish(PublishArguments),
    /// Scoring takes none.
    Score,
    /// Looking for drift takes none.
    Drift,
    /// Of a training.
    Train(TrainArguments),
    /// Of a backfill.
    Backfill(BackfillArguments),
    /// Of a pruning.
    Prune(PruneArguments),
}

/// One argument that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} {reason}")]
pub struct ArgumentError {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl JobArguments {
    /// Reads the arguments of a kind, an object as in [`NewJob`] and in the record of a job.
    ///
    /// # Errors
    /// Every argument that is unknown, missing or breaks a rule.
    pub fn read(kind: JobKind, given: &Map<String, Value>) -> Result<Self, Vec<ArgumentError>> {
        let mut reader = Reader { given, errors: Vec::new() };
        let read = match kind {
            JobKind::Import => reader.import(),
            JobKind::Publish => {
                reader.known(&["again"]);
                Some(Self::Publish(PublishArguments { again: reader.flag("again") }))
            }
            JobKind::Score => reader.nothing(Self::Score),
            JobKind::Drift => reader.nothing(Self::Drift),
            JobKind::Train => {
                reader.known(&["walk"]);
                Some(Self::Train(TrainArguments { walk: reader.flag("walk") }))
            }
            JobKind::Backfill => reader.backfill(),
            JobKind::Prune => {
                reader.known(&["keep"]);
                Some(Self::Prune(PruneArguments { keep: reader.integer("keep", KEEP_MAX) }))
            }
        };
        match read {
            Some(arguments) if reader.errors.is_empty() => Ok(arguments),
            _ => Err(reader.errors),
        }
    }

    /// The kind that they are for.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Import(_) => JobKind::Import,
            Self::Publish(_) => JobKind::Publish,
            Self::Score => JobKind::Score,
            Self::Drift => JobKind::Drift,
            Self::Train(_) => JobKind::Train,
            Self::Backfill(_) => JobKind::Backfill,
            Self::Prune(_) => JobKind::Prune,
        }
    }

    /// The object that is recorded.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Import(arguments) => json!(arguments),
            Self::Publish(arguments) => json!(arguments),
            Self::Score | Self::Drift => json!({}),
            Self::Train(arguments) => json!(arguments),
            Self::Backfill(arguments) => json!(arguments),
            Self::Prune(arguments) => json!(arguments),
        }
    }

    /// A job with these arguments, not yet asked for.
    #[must_use]
    pub fn new_job(&self, slot: Option<String>, reason: impl Into<String>) -> NewJob {
        self.kind().new_job(self.to_value(), slot, reason)
    }
}

struct Reader<'a> {
    given: &'a Map<String, Value>,
    errors: Vec<ArgumentError>,
}

impl Reader<'_> {
    fn nothing(&mut self, arguments: JobArguments) -> Option<JobArguments> {
        self.known(&[]);
        Some(arguments)
    }

    fn import(&mut self) -> Option<JobArguments> {
        self.known(&["paths"]);
        let list = self.given.get("paths").and_then(Value::as_array);
        let paths: Option<Vec<String>> =
            list.and_then(|list| list.iter().map(|path| path.as_str().map(str::to_owned)).collect());
        let Some(paths) = paths.filter(|paths| !paths.is_empty()) else {
            self.refuse("paths", "must be a list of at least one file or folder");
            return None;
        };
        Some(JobArguments::Import(ImportArguments { paths }))
    }

    fn backfill(&mut self) -> Option<JobArguments> {
        self.known(&["from", "to", "every", "retrain_every"]);
        let (from, to) = (self.day("from"), self.day("to"));
        let every = self.integer("every", DECIDE_EVERY_MAX);
        let retrain_every = self.integer("retrain_every", RETRAIN_EVERY_MAX);
        let (from, to) = (from?, to?);
        if to < from {
            self.refuse("to", "lies before from");
        }
        Some(JobArguments::Backfill(BackfillArguments { from, to, every, retrain_every }))
    }

    fn known(&mut self, names: &[&str]) {
        let unknown: Vec<String> = self.given.keys().filter(|name| !names.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            let short: String = name.chars().take(40).collect();
            match names {
                [] => self.refuse(&short, "is not known; this kind takes no arguments"),
                names => self.refuse(&short, &format!("is not known; known are {}", names.join(", "))),
            }
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.given.get(name) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.refuse(name, "must be true or false");
                false
            }
        }
    }

    fn integer(&mut self, name: &str, max: u64) -> Option<u32> {
        let given = self.given.get(name).filter(|value| !value.is_null())?;
        let number = given.as_u64().filter(|number| (1..=max).contains(number));
        if number.is_none() {
            self.refuse(name, &format!("must be a whole number from 1 to {max}"));
        }
        number.and_then(|number| u32::try_from(number).ok())
    }

    fn day(&mut self, name: &str) -> Option<Day> {
        let text = self.given.get(name).and_then(Value::as_str).filter(|text| text.len() == 10);
        let day = text.and_then(|text| Day::parse_from_str(text, "%Y-%m-%d").ok());
        if day.is_none() {
            self.refuse(name, "must be a day such as 2024-09-30");
        }
        day
    }

    fn refuse(&mut self, name: &str, reason: &str) {
        self.errors.push(ArgumentError { name: name.to_owned(), reason: reason.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: JobKind, given: Value) -> Result<JobArguments, Vec<String>> {
        let Value::Object(given) = given else { panic!("arguments are an object") };
        JobArguments::read(kind, &given).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for (kind, given) in [
            (JobKind::Import, json!({"paths": ["/data"]})),
            (JobKind::Publish, json!({"again": true})),
            (JobKind::Score, json!({})),
            (JobKind::Drift, json!({})),
            (JobKind::Train, json!({"walk": true})),
            (JobKind::Backfill, json!({"from": "2020-01-02", "to": "2024-09-30", "every": 5, "retrain_every": 63})),
            (JobKind::Backfill, json!({"from": "2020-01-02", "to": "2020-01-02"})),
            (JobKind::Prune, json!({"keep": 10})),
            (JobKind::Prune, json!({})),
        ] {
            let arguments = read(kind, given.clone()).unwrap();
            assert_eq!((arguments.kind(), arguments.to_value()), (kind, given));
            let job = arguments.new_job(None, "test");
            assert_eq!((job.kind, job.priority), (kind.as_str(), kind.priority()));
        }
        assert_eq!(read(JobKind::Train, json!({"walk": null})).unwrap().to_value(), json!({"walk": false}));
    }

    #[test]
    fn every_argument_that_breaks_a_rule_is_named() {
        for (kind, given, refused) in [
            (JobKind::Score, json!({"walk": true}), vec!["walk is not known; this kind takes no arguments"]),
            (
                JobKind::Train,
                json!({"again": true, "walk": 1}),
                vec!["again is not known; known are walk", "walk must be true or false"],
            ),
            (
                JobKind::Backfill,
                json!({"from": "2024-9-30", "every": 0}),
                vec![
                    "from must be a day such as 2024-09-30",
                    "to must be a day such as 2024-09-30",
                    "every must be a whole number from 1 to 252",
                ],
            ),
            (JobKind::Backfill, json!({"from": "2024-09-30", "to": "2024-09-27"}), vec!["to lies before from"]),
            (JobKind::Prune, json!({"keep": 1.5}), vec!["keep must be a whole number from 1 to 100000"]),
            (JobKind::Import, json!({"paths": []}), vec!["paths must be a list of at least one file or folder"]),
        ] {
            assert_eq!(read(kind, given).unwrap_err(), refused, "{kind}");
        }
    }
}

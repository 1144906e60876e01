//! What a reader has to say about a file: warnings that make up its quality report, and the refusal of a bad one.

use std::fmt;

use serde::Serialize;

/// How many findings are kept in words; the rest is only counted, so that a bad 1 GB file costs no memory.
pub const KEPT_FINDINGS: usize = 20;

/// A remark about one place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Line of the file, from 1; absent when the remark is about the whole file.
    pub line: Option<u64>,
    /// Column as the header names it, or the symbol of a wide file.
    pub column: Option<String>,
    /// What is the matter, in words for the owner of the file.
    pub reason: String,
}

impl Finding {
    /// A remark about the whole file.
    #[must_use]
    pub fn of_file(reason: impl Into<String>) -> Self {
        Self { line: None, column: None, reason: reason.into() }
    }

    /// A remark about a line.
    #[must_use]
    pub fn at_line(line: u64, reason: impl Into<String>) -> Self {
        Self { line: Some(line), column: None, reason: reason.into() }
    }

    /// A remark about one field.
    #[must_use]
    pub fn at_field(line: u64, column: &str, reason: impl Into<String>) -> Self {
        Self { line: Some(line), column: Some(column.to_owned()), reason: reason.into() }
    }

    /// The remark with its place: `BABA.csv:21 (Close): ...`.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        let line = self.line.map_or_else(String::new, |l| format!(":{l}"));
        let column = self.column.as_ref().map_or_else(String::new, |c| format!(" ({c})"));
        format!("{file}{line}{column}: {}", self.reason)
    }
}

/// The first [`KEPT_FINDINGS`] findings and the number of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    kept: Vec<Finding>,
    total: usize,
}

impl Findings {
    /// Adds a finding; beyond [`KEPT_FINDINGS`] it is only counted.
    pub fn push(&mut self, finding: Finding) {
        self.total += 1;
        if self.kept.len() < KEPT_FINDINGS {
            self.kept.push(finding);
        }
    }

    /// The findings kept, in the order they were made.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How many were made, kept or not.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// One line of text for each finding kept, and one that counts the others.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        let mut lines: Vec<String> = self.kept.iter().map(|f| f.in_file(file)).collect();
        if self.total > self.kept.len() {
            lines.push(format!("{file}: and {} more", self.total - self.kept.len()));
        }
        lines.join("\n")
    }
}

/// Why a file was refused. Nothing of a refused file is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the file.
    pub file: String,
    /// What is wrong, at least one.
    pub problems: Findings,
}

impl Refusal {
    /// A refusal for one reason.
    #[must_use]
    pub fn because(file: &str, finding: Finding) -> Self {
        let mut problems = Findings::default();
        problems.push(finding);
        Self { file: file.to_owned(), problems }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.in_file(&self.file))
    }
}

impl std::error::Error for Refusal {}

/// What is noted while a file is read.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Any of these refuses the file.
    pub problems: Findings,
    /// These go into the quality report.
    pub warnings: Findings,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_their_place_and_stay_few() {
        assert_eq!(Finding::at_field(21, "Close", "is bad").in_file("a.csv"), "a.csv:21 (Close): is bad");
        assert_eq!(Finding::of_file("is empty").in_file("a.csv"), "a.csv: is empty");
        let mut findings = Findings::default();
        (0..25).for_each(|line| findings.push(Finding::at_line(line, "x")));
        assert_eq!((findings.kept().len(), findings.total()), (KEPT_FINDINGS, 25));
        assert!(findings.in_file("a.csv").ends_with("a.csv: and 5 more"));
    }
}

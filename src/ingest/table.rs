//! A text table: the header and then one checked-width row after the other, through the `csv` crate.

use std::io::Read;

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use crate::ingest::finding::Finding;
use crate::ingest::lines::{BoundedLines, LineError};

/// Most rows of a file. A daily series of two centuries has 73,000; the filings of all listed companies fit as well.
pub const MAX_ROWS: usize = 500_000;

/// A table being read.
pub struct Table<'a> {
    reader: Reader<BoundedLines<Box<dyn Read + 'a>>>,
    record: StringRecord,
    width: Option<usize>,
    rows: usize,
}

/// One row with its line in the file.
#[derive(Debug, Clone, Copy)]
pub struct Row<'t> {
    /// Line of the file, from 1.
    pub line: u64,
    record: &'t StringRecord,
}

impl<'t> Row<'t> {
    /// The field at a column of the header, without surrounding blanks.
    #[must_use]
    pub fn field(&self, column: usize) -> &'t str {
        self.record.get(column).unwrap_or_default().trim()
    }
}

impl<'a> Table<'a> {
    /// A table whose first line is still to be read.
    pub fn new(source: impl Read + 'a) -> Self {
        let lines = BoundedLines::new(Box::new(source) as Box<dyn Read + 'a>);
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(lines);
        Self { reader, record: StringRecord::new(), width: None, rows: 0 }
    }

    /// Reads a line of the header; `None` at the end of the file. The first one sets the width of all rows.
    ///
    /// # Errors
    /// A line that is no text, too long, or of another width than the first.
    pub fn header_line(&mut self) -> Result<Option<Header>, Finding> {
        if !self.advance()? {
            return Ok(None);
        }
        self.width.get_or_insert(self.record.len());
        self.check_width()?;
        Ok(Some(Header::new(self.record.iter())))
    }

    /// Reads the next row that is not blank; `None` at the end of the file.
    ///
    /// # Errors
    /// A line that is no text, too long, or of another width than the header; no row at all, or more than
    /// [`MAX_ROWS`] of them.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, Finding> {
        if !self.advance()? {
            let empty = Finding::of_file("the file has a header but no rows");
            return if self.rows == 0 { Err(empty) } else { Ok(None) };
        }
        self.check_width()?;
        self.rows += 1;
        if self.rows > MAX_ROWS {
            return Err(Finding::at_line(self.line(), format!("more than {MAX_ROWS} rows; split the file")));
        }
        Ok(Some(Row { line: self.line(), record: &self.record }))
    }

    /// How many rows were read.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn line(&self) -> u64 {
        self.reader.get_ref().number()
    }

    fn advance(&mut self) -> Result<bool, Finding> {
        loop {
            match self.reader.read_record(&mut self.record) {
                Ok(true) if self.record.iter().all(|f| f.trim().is_empty()) && self.record.len() == 1 => {}
                Ok(more) => return Ok(more),
                Err(error) => return Err(self.explain(error)),
            }
        }
    }

    fn check_width(&self) -> Result<(), Finding> {
        let (found, expected) = (self.record.len(), self.width.unwrap_or_default());
        if found == expected {
            return Ok(());
        }
        let ending = match found < expected && self.reader.get_ref().is_unterminated() {
            true => ", and no newline follows: the file is cut off; get the whole file",
            false => "",
        };
        let reason = format!("the row has {found} fields where the header has {expected}{ending}");
        Err(Finding::at_line(self.line(), reason))
    }

    fn explain(&self, error: csv::Error) -> Finding {
        let reason = match error.into_kind() {
            ErrorKind::Io(e) => match e.get_ref().and_then(|inner| inner.downcast_ref::<LineError>()) {
                Some(line_error) => line_error.to_string(),
                None => return Finding::of_file(format!("cannot be read: {e}")),
            },
            other => format!("{other:?}"),
        };
        Finding::at_line(self.line(), reason)
    }
}

/// The column names, as given and as compared (lower case, blanks as underscores).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    names: Vec<String>,
    keys: Vec<String>,
}

impl Header {
    /// A header of these names.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let names: Vec<String> = names.map(|n| n.trim().to_owned()).collect();
        let keys = names.iter().map(|n| n.to_lowercase().replace(' ', "_")).collect();
        Self { names, keys }
    }

    /// Position of the first column that has one of these keys.
    #[must_use]
    pub fn find(&self, keys: &[&str]) -> Option<usize> {
        keys.iter().find_map(|key| self.keys.iter().position(|k| k == key))
    }

    /// Whether there is a column of that key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.find(&[key]).is_some()
    }

    /// The name of a column as the file gives it.
    #[must_use]
    pub fn name(&self, column: usize) -> &str {
        self.names.get(column).map_or("", String::as_str)
    }

    /// All names as the file gives them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All names as they are compared.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// A name, not empty, that two columns share.
    #[must_use]
    pub fn repeated(&self) -> Option<&str> {
        let mut sorted: Vec<&String> = self.keys.iter().filter(|k| !k.is_empty()).collect();
        sorted.sort_unstable();
        sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_line_whatever_the_line_endings() {
        for text in ["A, b c\n\n1,2\n\n3,\"4,5\"", "A, b c\r\n\r\n1,2\r\n   \r\n3,\"4,5\"\r\n"] {
            let mut table = Table::new(text.as_bytes());
            let header = table.header_line().unwrap().unwrap();
            assert_eq!((header.find(&["b_c"]), header.name(1)), (Some(1), "b c"));
            let first = table.next_row().unwrap().unwrap();
            assert_eq!((first.line, first.field(0)), (3, "1"));
            let second = table.next_row().unwrap().unwrap();
            assert_eq!((second.line, second.field(1)), (5, "4,5"));
            assert!(table.next_row().unwrap().is_none());
        }
    }

    #[test]
    fn a_narrow_row_is_refused_and_a_cut_file_said_to_be_cut() {
        let refusal = |text: &str| {
            let mut table = Table::new(text.as_bytes());
            table.header_line().unwrap();
            table.next_row().unwrap_err()
        };
        assert_eq!(refusal("a,b\n1\n"), Finding::at_line(2, "the row has 1 fields where the header has 2"));
        assert!(refusal("a,b\n1").reason.contains("cut off"));
    }
}

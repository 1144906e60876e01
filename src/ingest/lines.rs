//! Bounded reading: hands a file on line by line and stops at the first line that no text table holds.

use std::io::{self, BufRead, BufReader, Read};

/// Longest line accepted, in bytes: room for a wide file of some 10,000 columns.
pub const MAX_LINE_BYTES: usize = 256 * 1024;

/// Largest file accepted, in bytes.
pub const MAX_FILE_BYTES: u64 = 2 << 30;

/// Why a line cannot belong to a text table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Longer than [`MAX_LINE_BYTES`].
    #[error("the line is longer than {} KiB", MAX_LINE_BYTES / 1024)]
    TooLong,
    /// The file is larger than [`MAX_FILE_BYTES`].
    #[error("the file is larger than {} GiB; split it", MAX_FILE_BYTES >> 30)]
    FileTooLarge,
    /// Not UTF-8.
    #[error("byte {0} of the line is not UTF-8; save the file as UTF-8")]
    NotUtf8(usize),
    /// A zero byte, as in UTF-16 text or a binary file.
    #[error("byte {0} of the line is zero: this is UTF-16 or no text; save the file as UTF-8")]
    ZeroByte(usize),
    /// A quoted field that does not end on its line. Fields with line breaks are not accepted, because one forgotten
    /// quote would turn the rest of the file into a single field.
    #[error("a quoted field does not end on its line")]
    OpenQuote,
    /// The same at the very end of a file without a final newline.
    #[error("the file ends inside a quoted field: it is cut off; get the whole file")]
    CutOff,
}

/// A reader that serves whole checked lines, so that the line being served is the line of the record being parsed.
/// A byte-order mark at the start is dropped.
#[derive(Debug)]
pub struct BoundedLines<R> {
    source: BufReader<R>,
    line: Vec<u8>,
    served: usize,
    number: u64,
    bytes: u64,
    unterminated: bool,
}

impl<R: Read> BoundedLines<R> {
    /// Reads from the start of a source.
    pub fn new(source: R) -> Self {
        let source = BufReader::with_capacity(64 * 1024, source);
        Self { source, line: Vec::new(), served: 0, number: 0, bytes: 0, unterminated: false }
    }

    /// Number of the line served last, from 1; 0 before the first.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the line served last is the end of a file without a final newline.
    pub fn is_unterminated(&self) -> bool {
        self.unterminated
    }

    /// Reads the next line; `false` at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.served = 0;
        let count = self.source.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut self.line)?;
        if count == 0 {
            return Ok(false);
        }
        self.number += 1;
        self.bytes += count as u64;
        self.unterminated = self.line.last() != Some(&b'\n');
        self.check().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        if self.number == 1 && self.line.starts_with(b"\xEF\xBB\xBF") {
            self.served = 3;
        }
        Ok(true)
    }

    fn check(&self) -> Result<(), LineError> {
        if self.bytes > MAX_FILE_BYTES {
            return Err(LineError::FileTooLarge);
        }
        if self.line.len() > MAX_LINE_BYTES {
            return Err(LineError::TooLong);
        }
        std::str::from_utf8(&self.line).map_err(|e| LineError::NotUtf8(e.valid_up_to() + 1))?;
        if let Some(at) = self.line.iter().position(|b| *b == 0) {
            return Err(LineError::ZeroByte(at + 1));
        }
        match self.line.iter().filter(|b| **b == b'"').count() % 2 {
            0 => Ok(()),
            _ if self.unterminated => Err(LineError::CutOff),
            _ => Err(LineError::OpenQuote),
        }
    }
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.served >= self.line.len() && !self.fill()? {
            return Ok(0);
        }
        let rest = &self.line[self.served..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.served += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, (u64, LineError)> {
        let mut lines = BoundedLines::new(bytes);
        let mut text = String::new();
        match lines.read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(e) => Err((lines.number(), *e.get_ref().unwrap().downcast_ref::<LineError>().unwrap())),
        }
    }

    #[test]
    fn good_lines_pass_and_bad_ones_stop_with_their_number() {
        assert_eq!(read(b"\xEF\xBB\xBFa,b\r\n1,2").unwrap(), "a,b\r\n1,2");
        assert_eq!(read(b"a\n\xFF\xFE\n"), Err((2, LineError::NotUtf8(1))));
        assert_eq!(read(b"a\nb\0\n"), Err((2, LineError::ZeroByte(2))));
        assert_eq!(read(b"a\n\"b\nc\n"), Err((2, LineError::OpenQuote)));
        assert_eq!(read(b"a\n\"b"), Err((2, LineError::CutOff)));
        assert_eq!(read(&vec![b'7'; MAX_LINE_BYTES + 5]), Err((1, LineError::TooLong)));
    }

    #[test]
    fn an_endless_line_costs_no_memory() {
        let mut lines = BoundedLines::new(io::repeat(b'7'));
        assert!(lines.read_to_end(&mut Vec::new()).is_err());
        assert!(lines.line.capacity() <= 4 * MAX_LINE_BYTES);
    }
}

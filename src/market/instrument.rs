//! Instruments: what is traded, and the names they go by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest symbol that is accepted, in characters.
pub const SYMBOL_MAX_CHARS: usize = 24;

/// The canonical (upper-case) name of an instrument, matching `[A-Z0-9.^=_-]{1,24}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Symbol(String);

impl Symbol {
    /// Parses a symbol in any case.
    ///
    /// # Errors
    /// [`SymbolError`] when it is empty, longer than 24 characters, or holds a character outside `A-Z 0-9 . ^ = _ -`.
    pub fn parse(text: &str) -> Result<Self, SymbolError> {
        if text.is_empty() {
            return Err(SymbolError::Empty);
        }
        if text.len() > SYMBOL_MAX_CHARS {
            return Err(SymbolError::TooLong);
        }
        match text.chars().find(|c| !(c.is_ascii_alphanumeric() || ".^=_-".contains(*c))) {
            Some(found) => Err(SymbolError::Character(found)),
            None => Ok(Self(text.to_ascii_uppercase())),
        }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Symbol {
    type Err = SymbolError;
    fn from_str(text: &str) -> Result<Self, SymbolError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Symbol {
    type Error = SymbolError;
    fn try_from(text: String) -> Result<Self, SymbolError> {
        Self::parse(&text)
    }
}

impl From<Symbol> for String {
    fn from(symbol: Symbol) -> Self {
        symbol.0
    }
}

/// Why a text is no symbol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SymbolError {
    /// Nothing was given.
    #[error("a symbol must not be empty")]
    Empty,
    /// More than 24 characters.
    #[error("a symbol has at most {SYMBOL_MAX_CHARS} characters")]
    TooLong,
    /// A character outside the alphabet.
    #[error("a symbol may hold letters, digits and . ^ = _ - but not {0:?}")]
    Character(char),
}

/// What sort of thing an instrument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstrumentKind {
    /// A share or depositary receipt of one company.
    Equity,
    /// A fund traded like a share.
    Etf,
    /// A number that cannot be held, such as the VIX: never ranked, never rated.
    Index,
}

impl InstrumentKind {
    /// The word used in files, in the store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equity => "equity",
            Self::Etf => "etf",
            Self::Index => "index",
        }
    }
}

impl FromStr for InstrumentKind {
    type Err = String;
    /// Reads the word of a universe file; `equity_stale` counts as an equity.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "equity" | "equity_stale" => Ok(Self::Equity),
            "etf" => Ok(Self::Etf),
            "index" => Ok(Self::Index),
            other => Err(format!("unknown kind {other:?}; known are equity, etf, index")),
        }
    }
}

/// An instrument as the service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    /// Canonical symbol.
    pub symbol: Symbol,
    /// Name for people, when known.
    pub name: Option<String>,
    /// Sector in the words of the universe file, when known.
    pub sector: Option<String>,
    /// Sort of instrument.
    pub kind: InstrumentKind,
    /// ISO 4217 code of the prices.
    pub currency: String,
}

impl Instrument {
    /// An instrument of which only the symbol is known: an equity priced in US dollars.
    #[must_use]
    pub fn unnamed(symbol: Symbol) -> Self {
        Self { symbol, name: None, sector: None, kind: InstrumentKind::Equity, currency: "USD".into() }
    }

    /// Whether deposits, not debt, finance it, so that a balance-sheet rating would mislead.
    #[must_use]
    pub fn is_financial(&self) -> bool {
        self.sector.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("financials"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_canonical_and_bounded() {
        assert_eq!(Symbol::parse("baba").unwrap().as_str(), "BABA");
        assert_eq!(Symbol::parse("^tnx").unwrap().as_str(), "^TNX");
        assert_eq!(Symbol::parse(""), Err(SymbolError::Empty));
        assert_eq!(Symbol::parse(&"A".repeat(25)), Err(SymbolError::TooLong));
        assert_eq!(Symbol::parse("A/B"), Err(SymbolError::Character('/')));
        assert_eq!(Symbol::parse("Ä"), Err(SymbolError::Character('Ä')));
    }
}

//! The symbol of a price file that does not state one: its name.

use crate::ingest::finding::{Finding, Inspection};
use crate::market::instrument::Symbol;

/// `BABA.csv` is `BABA`. Where the whole stem is no symbol, a number that only orders the files (`07_`) is dropped.
///
/// # Errors
/// A name that is no symbol either way.
pub fn symbol_of_file(name: &str, inspection: &mut Inspection) -> Result<Symbol, Finding> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let error = match Symbol::parse(stem) {
        Ok(symbol) => return Ok(symbol),
        Err(error) => error,
    };
    let unnumbered = stem.split_once('_').filter(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()));
    if let Some(symbol) = unnumbered.and_then(|(_, rest)| Symbol::parse(rest).ok()) {
        let reason = format!("the symbol is taken from the file name without its number: {symbol}");
        inspection.warnings.push(Finding::of_file(reason));
        return Ok(symbol);
    }
    Err(Finding::of_file(format!(
        "the file name is no symbol ({error}); name the file after its instrument, like BABA.csv"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stem_is_the_symbol() {
        let symbol = |name: &str| symbol_of_file(name, &mut Inspection::default()).map(|s| s.to_string());
        for (name, expected) in [
            ("BABA.csv", "BABA"),
            ("brk.b.csv", "BRK.B"),
            ("^tnx.csv", "^TNX"),
            ("05_A.csv", "05_A"),
            ("20_stale_flat_zero_volume.csv", "STALE_FLAT_ZERO_VOLUME"),
        ] {
            assert_eq!(symbol(name).unwrap(), expected);
        }
        for name in ["", "my prices.csv", "a_very_long_name_that_is_no_symbol.csv"] {
            assert!(symbol(name).unwrap_err().reason.contains("BABA.csv"), "{name}");
        }
    }
}

//! The CSV form of forecast rows, one writer a kind; where the bytes go is the caller's business.

use std::io::{self, Write};

use serde::Serialize;

use crate::evaluation::forecasts::{DirectionRow, QuantileRow, RankRow, VolatilityRow};
use crate::market::bar::Day;
use crate::market::instrument::Symbol;

/// Writes `as_of,symbol,q1,q2,q3,q4,q5`, `q1` the worst fifth.
///
/// # Errors
/// What the writer answers.
pub fn write_ranks_csv(rows: &[RankRow], output: &mut impl Write) -> io::Result<()> {
    let record = |r: &RankRow| {
        let [q1, q2, q3, q4, q5] = r.quintile_probabilities;
        RankRecord { as_of: r.as_of, symbol: r.symbol.clone(), q1, q2, q3, q4, q5 }
    };
    write_records(&["as_of", "symbol", "q1", "q2", "q3", "q4", "q5"], rows.iter().map(record), output)
}

/// Writes `as_of,symbol,horizon,sigma`, the standard deviation of the log return over the horizon.
///
/// # Errors
/// What the writer answers.
pub fn write_volatility_csv(rows: &[VolatilityRow], output: &mut impl Write) -> io::Result<()> {
    let records = rows.iter().map(|r| (r.as_of, &r.symbol, r.horizon, r.sigma));
    write_records(&["as_of", "symbol", "horizon", "sigma"], records, output)
}

/// Writes `as_of,symbol,horizon,quantile,value`, the value a log return over the horizon.
///
/// # Errors
/// What the writer answers.
pub fn write_quantiles_csv(rows: &[QuantileRow], output: &mut impl Write) -> io::Result<()> {
    let records = rows.iter().map(|r| (r.as_of, &r.symbol, r.horizon, r.quantile, r.value));
    write_records(&["as_of", "symbol", "horizon", "quantile", "value"], records, output)
}

/// Writes `as_of,symbol,horizon,probability_up`.
///
/// # Errors
/// What the writer answers.
pub fn write_direction_csv(rows: &[DirectionRow], output: &mut impl Write) -> io::Result<()> {
    let records = rows.iter().map(|r| (r.as_of, &r.symbol, r.horizon, r.probability_up));
    write_records(&["as_of", "symbol", "horizon", "probability_up"], records, output)
}

#[derive(Serialize)]
struct RankRecord {
    as_of: Day,
    symbol: Symbol,
    q1: f64,
    q2: f64,
    q3: f64,
    q4: f64,
    q5: f64,
}

fn write_records<R: Serialize>(
    heads: &[&str],
    records: impl Iterator<Item = R>,
    output: &mut impl Write,
) -> io::Result<()> {
    // The heads are written by hand so that a file without rows still has them.
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(output);
    writer.write_record(heads)?;
    for record in records {
        writer.serialize(record)?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn files_have_the_columns_that_scorers_read() {
        let (as_of, symbol) = (Day::from_ymd_opt(2024, 9, 30).unwrap(), Symbol::parse("BRK-B").unwrap());
        let rank = RankRow { as_of, symbol: symbol.clone(), quintile_probabilities: [0.1, 0.2, 0.3, 0.25, 0.15] };
        let ranks = text(|o| write_ranks_csv(&[rank], o));
        assert_eq!(ranks, "as_of,symbol,q1,q2,q3,q4,q5\n2024-09-30,BRK-B,0.1,0.2,0.3,0.25,0.15\n");
        let volatility = VolatilityRow { as_of, symbol: symbol.clone(), horizon: 20, sigma: 0.0625 };
        let volatility = text(|o| write_volatility_csv(&[volatility], o));
        assert_eq!(volatility, "as_of,symbol,horizon,sigma\n2024-09-30,BRK-B,20,0.0625\n");
        let quantile = QuantileRow { as_of, symbol: symbol.clone(), horizon: 5, quantile: 0.05, value: -0.125 };
        let quantiles = text(|o| write_quantiles_csv(&[quantile], o));
        assert_eq!(quantiles, "as_of,symbol,horizon,quantile,value\n2024-09-30,BRK-B,5,0.05,-0.125\n");
        let direction = DirectionRow { as_of, symbol, horizon: 20, probability_up: 0.5 };
        let direction = text(|o| write_direction_csv(&[direction], o));
        assert_eq!(direction, "as_of,symbol,horizon,probability_up\n2024-09-30,BRK-B,20,0.5\n");
        assert_eq!(text(|o| write_direction_csv(&[], o)), "as_of,symbol,horizon,probability_up\n");
    }
}

//! Tables of one day a row and one series a column, as prices, FRED and the French library share them.

use crate::ingest::dated::{self, Dated};
use crate::ingest::finding::{Finding, Inspection};
use crate::ingest::parse::Source;
use crate::ingest::recognize::DATE;
use crate::ingest::table::{Header, Row, Table};
use crate::ingest::value;

/// Most values of a wide file; beyond it the file is to be split by columns.
pub const MAX_VALUES: usize = 4_000_000;

/// A column of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name as the file gives it.
    pub name: String,
    /// Name as it is compared.
    pub key: String,
    position: usize,
}

/// A wide table, ascending by day, one row a day.
#[derive(Debug)]
pub struct Wide {
    /// All columns but the day.
    pub columns: Vec<Column>,
    /// Values in the order of the columns, `None` where the field is empty. Rows without any value are left out.
    pub rows: Vec<Dated<Vec<Option<f64>>>>,
}

/// Reads the table.
///
/// # Errors
/// A line that ends the reading, a column without a name, or more than [`MAX_VALUES`] values.
pub fn read(
    table: &mut Table<'_>,
    header: &Header,
    source: Source<'_>,
    inspection: &mut Inspection,
) -> Result<Wide, Finding> {
    let date = header.find(&DATE).ok_or_else(|| Finding::at_line(1, "there is no column \"Date\""))?;
    let names = header.names().iter().zip(header.keys()).enumerate().filter(|(i, _)| *i != date);
    let columns: Vec<Column> =
        names.map(|(position, (name, key))| Column { name: name.clone(), key: key.clone(), position }).collect();
    if let Some(unnamed) = columns.iter().find(|c| c.name.is_empty()) {
        return Err(Finding::at_line(1, format!("column {} has no name", unnamed.position + 1)));
    }
    let (mut rows, mut count) = (Vec::new(), 0);
    while let Some(row) = table.next_row()? {
        let Some(day) = dated::day_of(row, date, header.name(date), source.today, inspection) else { continue };
        let values = values_of(row, &columns, inspection);
        count += values.len();
        if count > MAX_VALUES {
            return Err(Finding::at_line(
                row.line,
                format!("more than {MAX_VALUES} values; split the file by columns"),
            ));
        }
        if values.iter().any(Option::is_some) {
            rows.push(Dated { day, line: row.line, row: values });
        }
    }
    Ok(Wide { columns, rows: dated::in_order(rows, inspection) })
}

fn values_of(row: Row<'_>, columns: &[Column], inspection: &mut Inspection) -> Vec<Option<f64>> {
    let mut value = |column: &Column| match value::number(row.field(column.position)) {
        Ok(number) => number.map(|n| n.value),
        Err(reason) => {
            inspection.problems.push(Finding::at_field(row.line, &column.name, reason));
            None
        }
    };
    columns.iter().map(&mut value).collect()
}

//! Filings: what a company reported, and from which day on the world could read it.

use serde::{Deserialize, Serialize};

use crate::market::bar::Day;

/// One reported period as first filed. Amounts are in `currency`; flows cover `period_months`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filing {
    /// Last day of the period.
    pub period_end: Day,
    /// Day of filing; the filing is usable from the session after it.
    pub filed: Day,
    /// Months covered by the flows: 3, 6 or 12.
    pub period_months: u32,
    /// ISO 4217 code of the amounts.
    pub currency: String,
    /// Revenue of the period.
    pub revenue: Option<f64>,
    /// Net income to the parent.
    pub net_income: Option<f64>,
    /// Total assets at the period's end.
    pub total_assets: Option<f64>,
    /// Equity of the parent at the period's end.
    pub equity: Option<f64>,
    /// Operating cash flow of the period.
    pub operating_cash_flow: Option<f64>,
    /// Capital expenditure of the period, >= 0 as reported.
    pub capital_expenditure: Option<f64>,
    /// Free cash flow of the period.
    pub free_cash_flow: Option<f64>,
    /// Shares as filed: diluted or outstanding, on the split basis of the filing date.
    pub shares: Option<f64>,
    /// Ordinary shares for one traded unit (an American depositary share of BABA: 8 since 2019-07-30); 1 for plain shares.
    pub shares_per_unit: f64,
    /// Interest-bearing debt where known; partial sums do not count.
    pub debt: Option<f64>,
}

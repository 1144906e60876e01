//! Factor group "fundamentals": what the filings known on the day say, against the price of the day.

use crate::features::balance_sheet::FilingTimeline;
use crate::features::filing_view::FilingView;

/// Columns of the group. Flows cover the last twelve months on file; amounts meet prices at the exchange rate of the day.
///
/// - `earnings_yield`, `book_to_price`, `cash_flow_yield`: net income, equity, operating cash flow over market value;
///   `log_market_value`: its ln, in the currency of the prices.
/// - `leverage`: 1 - equity / total assets; `return_on_assets`, `cash_flow_to_assets`: over total assets; `margin`: net
///   income over revenue.
/// - `revenue_growth`, `asset_growth`: ln of the change over a year; `earnings_growth`: change of net income over a year
///   by total assets.
/// - `filing_age`: years since the day of the newest balance sheet; `filings_missing`: 1 without one or when it is more
///   than 550 days old, else 0.
pub const NAMES: [&str; 13] = [
    "earnings_yield",
    "book_to_price",
    "cash_flow_yield",
    "log_market_value",
    "leverage",
    "return_on_assets",
    "cash_flow_to_assets",
    "margin",
    "revenue_growth",
    "asset_growth",
    "earnings_growth",
    "filing_age",
    "filings_missing",
];
/// Columns that also get a cross-sectional rank.
pub const RANKED: [&str; 5] =
    ["earnings_yield", "book_to_price", "log_market_value", "return_on_assets", "revenue_growth"];
/// Columns that need a market value.
const PRICED: usize = 4;

/// The group for one instrument at the close of a session.
///
/// `market_value` is in the currency of the prices, where known.
pub(crate) fn row(timeline: &FilingTimeline<'_>, session: usize, market_value: Option<f64>) -> [f64; NAMES.len()] {
    let mut row = [f64::NAN; NAMES.len()];
    let Ok(view) = timeline.view(session) else {
        row[NAMES.len() - 1] = 1.0;
        return row;
    };
    let yields = priced(view, market_value, timeline.rate(session).ok());
    row[..PRICED].copy_from_slice(&yields.map(|x| x.unwrap_or(f64::NAN)));
    let [assets, equity] = [view.total_assets, view.equity].map(|x| x.unwrap_or(f64::NAN));
    let over_assets = |x: Option<f64>| x.map_or(f64::NAN, |x| x / assets);
    let growth = |now: Option<f64>, then: Option<f64>| match now.zip(then) {
        Some((now, then)) if now > 0.0 && then > 0.0 => (now / then).ln(),
        _ => f64::NAN,
    };
    let margin = view.net_income.zip(view.revenue).filter(|(_, revenue)| *revenue > 0.0);
    row[PRICED..].copy_from_slice(&[
        1.0 - equity / assets,
        over_assets(view.net_income),
        over_assets(view.operating_cash_flow),
        margin.map_or(f64::NAN, |(income, revenue)| income / revenue),
        growth(view.revenue, view.revenue_year_ago),
        growth(view.total_assets, view.total_assets_year_ago),
        over_assets(view.net_income.zip(view.net_income_year_ago).map(|(now, then)| now - then)),
        timeline.age_days(session, view) / 365.25,
        0.0,
    ]);
    row
}

fn priced(view: &FilingView, market_value: Option<f64>, rate: Option<f64>) -> [Option<f64>; PRICED] {
    let over_price = |amount: Option<f64>| Some(amount? * rate? / market_value?);
    [
        over_price(view.net_income),
        over_price(view.equity),
        over_price(view.operating_cash_flow),
        market_value.map(f64::ln),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::price_basis::PriceBasis;
    use crate::features::sample_history::{Sample, sample};

    #[test]
    fn columns_follow_the_filings_known_on_the_day() {
        let history = sample(&Sample::default());
        let (basis, symbol) = (PriceBasis::default(), "TEST5".parse().unwrap());
        let timeline = FilingTimeline::new(&history, history.find(&symbol).unwrap(), &basis);
        let market_value = timeline.market_value(600).ok();
        let row = row(&timeline, 600, market_value);
        let view = timeline.view(600).unwrap();
        assert!(row.iter().all(|x| x.is_finite()), "{row:?}");
        assert_eq!(row[0], view.net_income.unwrap() / market_value.unwrap());
        assert_eq!(row[12], 0.0);
        assert!(row[11] > 0.08 && row[11] < 0.4, "{}", row[11]);
    }

    #[test]
    fn without_filings_only_the_flag_is_known() {
        let history = sample(&Sample::default());
        let (basis, symbol) = (PriceBasis::default(), "TEST0".parse().unwrap());
        let timeline = FilingTimeline::new(&history, history.find(&symbol).unwrap(), &basis);
        let row = row(&timeline, 600, None);
        assert!(row[..12].iter().all(|x| x.is_nan()) && row[12] == 1.0);
    }
}

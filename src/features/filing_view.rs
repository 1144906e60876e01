//! What the filings known on a day say together: the newest balance sheet and the flows of the last twelve months.

use chrono::Months;

use crate::market::bar::Day;
use crate::market::filing::Filing;
use crate::market::history::KnownFiling;

/// Amounts in the currency of the filings; `None` where the filings do not say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FilingView {
    /// ISO code of all amounts.
    pub currency: String,
    /// Day on which the newest balance sheet was filed.
    pub filed: Day,
    /// Its day.
    pub period_end: Day,
    pub total_assets: Option<f64>,
    pub equity: Option<f64>,
    pub debt: Option<f64>,
    pub total_assets_year_ago: Option<f64>,
    pub revenue: Option<f64>,
    pub revenue_year_ago: Option<f64>,
    pub net_income: Option<f64>,
    pub net_income_year_ago: Option<f64>,
    pub operating_cash_flow: Option<f64>,
    pub free_cash_flow: Option<f64>,
}

/// Days by which the end of a fiscal period may miss the calendar's.
const FISCAL_DRIFT: i64 = 20;
/// Flows may lag the newest balance sheet by this many days.
const FLOW_LAG: i64 = 200;

type Amount = fn(&Filing) -> Option<f64>;

impl FilingView {
    /// Reads filings in the order in which they became known; a later one of the same period takes its place. Where a
    /// company files in several currencies, the one of the newest balance sheet counts, and among those `quote`.
    ///
    /// `None` when no filing holds a balance sheet.
    pub(crate) fn new(known: &[KnownFiling], quote: &str) -> Option<Self> {
        let all = known.iter().map(|k| &k.filing);
        let order = |f: &&Filing| (f.period_end, f.currency == quote, f.filed);
        let balance = all.clone().filter(|f| f.total_assets.is_some()).max_by_key(order)?;
        let filings: Vec<&Filing> = all.filter(|f| f.currency == balance.currency).collect();
        let year_ago = months_before(balance.period_end, 12);
        let flow = |amount: Amount| trailing_newest(&filings, balance.period_end, amount);
        let (revenue, net_income) = (flow(|f| f.revenue), flow(|f| f.net_income));
        let before =
            |found: Option<(Day, f64)>, amount: Amount| trailing(&filings, months_before(found?.0, 12), amount);
        Some(Self {
            currency: balance.currency.clone(),
            filed: balance.filed,
            period_end: balance.period_end,
            total_assets: balance.total_assets,
            equity: balance.equity,
            debt: balance.debt,
            total_assets_year_ago: newest(&filings, |f| near(f.period_end, year_ago) && f.total_assets.is_some())
                .and_then(|f| f.total_assets),
            revenue_year_ago: before(revenue, |f| f.revenue),
            net_income_year_ago: before(net_income, |f| f.net_income),
            revenue: revenue.map(|(_, x)| x),
            net_income: net_income.map(|(_, x)| x),
            operating_cash_flow: flow(|f| f.operating_cash_flow).map(|(_, x)| x),
            free_cash_flow: flow(free_cash_flow).map(|(_, x)| x),
        })
    }

    /// What creditors hold: debt where known, else total assets less equity.
    pub(crate) fn liabilities(&self) -> Option<f64> {
        self.debt.or_else(|| Some(self.total_assets? - self.equity?)).filter(|x| *x >= 0.0)
    }
}

/// As filed, else what is left of the operating cash flow after capital expenditure.
fn free_cash_flow(filing: &Filing) -> Option<f64> {
    let left = || Some(filing.operating_cash_flow? - filing.capital_expenditure?);
    filing.free_cash_flow.or_else(left)
}

/// Twelve months to the newest period end for which they are complete, at most [`FLOW_LAG`] days before `latest`.
fn trailing_newest(filings: &[&Filing], latest: Day, amount: Amount) -> Option<(Day, f64)> {
    let recent = |f: &&&Filing| (0..=FLOW_LAG).contains(&(latest - f.period_end).num_days());
    let mut ends: Vec<Day> = filings.iter().filter(recent).map(|f| f.period_end).collect();
    ends.sort_unstable();
    ends.dedup();
    ends.into_iter().rev().find_map(|end| Some((end, trailing(filings, end, amount)?)))
}

/// Sum over the twelve months to `end`: the year; or four quarters; or two halves; or the year half a year ago with its
/// first half exchanged for the newest.
fn trailing(filings: &[&Filing], end: Day, amount: Amount) -> Option<f64> {
    let over = |months: u32, back: u32| {
        let at = months_before(end, back);
        let found = newest(filings, |f| f.period_months == months && near(f.period_end, at) && amount(f).is_some());
        found.and_then(amount)
    };
    let quarters = || Some(over(3, 0)? + over(3, 3)? + over(3, 6)? + over(3, 9)?);
    let halves = || Some(over(6, 0)? + over(6, 6)?);
    let rolled = || Some(over(12, 6)? + over(6, 0)? - over(6, 12)?);
    over(12, 0).or_else(quarters).or_else(halves).or_else(rolled)
}

fn newest<'a>(filings: &[&'a Filing], wanted: impl Fn(&Filing) -> bool) -> Option<&'a Filing> {
    filings.iter().rev().copied().find(|f| wanted(f))
}

fn near(a: Day, b: Day) -> bool {
    (a - b).num_days().abs() <= FISCAL_DRIFT
}

fn months_before(day: Day, months: u32) -> Day {
    day.checked_sub_months(Months::new(months)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::calendar;

    fn filing(end: (i32, u32, u32), period_months: u32, revenue: f64) -> KnownFiling {
        let period_end = Day::from_ymd_opt(end.0, end.1, end.2).unwrap();
        let filing = Filing {
            period_end,
            filed: period_end,
            period_months,
            currency: "CNY".into(),
            revenue: Some(revenue),
            net_income: None,
            total_assets: Some(revenue * 10.0),
            equity: Some(revenue * 4.0),
            operating_cash_flow: None,
            capital_expenditure: None,
            free_cash_flow: None,
            shares: None,
            shares_per_unit: 1.0,
            debt: None,
        };
        KnownFiling { known_at: calendar::close_of(period_end), filing }
    }

    fn revenues(filings: &[KnownFiling]) -> (Option<f64>, Option<f64>) {
        let view = FilingView::new(filings, "USD").unwrap();
        (view.revenue, view.revenue_year_ago)
    }

    #[test]
    fn four_quarters_make_a_year_in_spite_of_fiscal_drift() {
        let ends = [(2022, 10, 1), (2022, 12, 31), (2023, 4, 1), (2023, 7, 1), (2023, 9, 30), (2023, 12, 30)];
        let quarters: Vec<KnownFiling> = ends.iter().zip(1..).map(|(e, k)| filing(*e, 3, f64::from(k))).collect();
        assert_eq!(revenues(&quarters), (Some(3.0 + 4.0 + 5.0 + 6.0), None));
        let mut gap = quarters;
        gap[5].filing.revenue = None;
        assert_eq!(revenues(&gap), (Some(2.0 + 3.0 + 4.0 + 5.0), None), "the newest complete year");
    }

    #[test]
    fn a_half_rolls_the_year_on() {
        let year = [filing((2020, 3, 31), 12, 100.0), filing((2019, 3, 31), 12, 70.0)];
        assert_eq!(revenues(&year), (Some(100.0), Some(70.0)));
        let halves = [filing((2019, 9, 30), 6, 40.0), filing((2020, 9, 30), 6, 60.0)];
        assert_eq!(revenues(&[&year[..], &halves].concat()).0, Some(120.0));
    }

    #[test]
    fn revisions_and_the_quoted_currency_win() {
        let mut dollars = filing((2020, 3, 31), 12, 15.0);
        dollars.filing.currency = "USD".into();
        let filings = [filing((2020, 3, 31), 12, 100.0), dollars.clone(), filing((2020, 3, 31), 12, 101.0)];
        assert_eq!(FilingView::new(&filings, "USD").unwrap().revenue, Some(15.0));
        assert_eq!(FilingView::new(&filings, "EUR").unwrap().revenue, Some(101.0));
        assert_eq!(FilingView::new(&[dollars], "USD").unwrap().liabilities(), Some(90.0));
    }
}

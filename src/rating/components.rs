//! Grades of the parts of the accounts, by where a company stands among the others on the same day.

use serde::{Deserialize, Serialize};

use super::scale::Grade;
use super::structure::CapitalStructure;
use super::structure::Recovery;

/// Companies of a group that must have a component before it is graded.
pub const MINIMUM_COMPANIES: usize = 10;
/// Most ratios of a component.
const RATIOS: usize = 3;

/// A part of the accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// Margin, growth of revenue, change of net income over a year by total assets.
    IncomeStatement,
    /// Equity over total assets; ln total assets in the currency of the prices.
    BalanceSheet,
    /// `Lbar D/V`; liabilities over operating cash flow, where a cash flow of 0 or less is the worst there is.
    LeverageRatios,
    /// Operating cash flow over total assets and over liabilities, free cash flow over total assets.
    CashFlow,
    /// Return on assets and on equity; the latter only where equity is above 0.
    Profitability,
}

impl Component {
    /// All components, in the order of every array by component.
    pub const ALL: [Self; 5] =
        [Self::IncomeStatement, Self::BalanceSheet, Self::LeverageRatios, Self::CashFlow, Self::Profitability];

    /// Name of the field in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["income_statement", "balance_sheet", "leverage_ratios", "cash_flow", "profitability"][self as usize]
    }
}

/// What the filings known on a day say. Amounts in one currency, flows over twelve months.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Accounts {
    /// Whether the company belongs to the financial sector, which is compared with itself.
    pub financial: bool,
    /// Units of the prices' currency for one of the amounts'; `None` where not known.
    pub exchange_rate: Option<f64>,
    /// In the currency of the prices.
    pub market_value: Option<f64>,
    /// Total assets.
    pub total_assets: Option<f64>,
    /// Equity.
    pub equity: Option<f64>,
    /// Debt where known, else total assets less equity.
    pub liabilities: Option<f64>,
    /// Revenue.
    pub revenue: Option<f64>,
    /// Revenue of the year before.
    pub revenue_year_ago: Option<f64>,
    /// Net income.
    pub net_income: Option<f64>,
    /// Net income of the year before.
    pub net_income_year_ago: Option<f64>,
    /// Operating cash flow.
    pub operating_cash_flow: Option<f64>,
    /// Free cash flow.
    pub free_cash_flow: Option<f64>,
}

/// Why a component has no grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentReason {
    /// The filings hold none of its ratios.
    NotFiled,
    /// Fewer than ten companies of the group have it.
    TooFewCompanies,
    /// No long-term grade was given that day, so there is no scale to read from.
    NoGrades,
}

impl ComponentReason {
    /// The word used as the reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["not_filed", "too_few_companies", "no_grades"][self as usize]
    }
}

/// Ratios of a component; larger is better, `None` where not known.
type Ratios = [Option<f64>; RATIOS];

impl Accounts {
    /// The ratios of a component, each so that larger is better.
    fn ratios(&self, component: Component) -> Ratios {
        let positive = |x: Option<f64>| x.filter(|x| *x > 0.0);
        let over = |amount: Option<f64>, by: Option<f64>| Some(amount? / positive(by)?);
        let assets = self.total_assets;
        match component {
            Component::IncomeStatement => {
                let growth = positive(self.revenue).zip(positive(self.revenue_year_ago));
                let change = self.net_income.zip(self.net_income_year_ago).map(|(now, then)| now - then);
                [over(self.net_income, self.revenue), growth.map(|(now, then)| (now / then).ln()), over(change, assets)]
            }
            Component::BalanceSheet => {
                let size = positive(assets).zip(positive(self.exchange_rate)).map(|(a, rate)| (a * rate).ln());
                [over(self.equity, assets), size, None]
            }
            Component::LeverageRatios => [self.market_leverage().map(|x| -x), self.years_of_cash_flow(), None],
            Component::CashFlow => [
                over(self.operating_cash_flow, assets),
                over(self.operating_cash_flow, self.liabilities),
                over(self.free_cash_flow, assets),
            ],
            Component::Profitability => [over(self.net_income, assets), over(self.net_income, self.equity), None],
        }
    }

    /// `Lbar D/V`.
    fn market_leverage(&self) -> Option<f64> {
        let liabilities = self.liabilities? * self.exchange_rate?;
        let structure = CapitalStructure { equity: self.market_value?, liabilities };
        structure.is_sound().then(|| structure.barrier(Recovery::default()))
    }

    /// Minus the years of operating cash flow that the liabilities are worth.
    fn years_of_cash_flow(&self) -> Option<f64> {
        let (liabilities, flow) = (self.liabilities?, self.operating_cash_flow?);
        Some(if flow > 0.0 { -liabilities / flow } else { f64::NEG_INFINITY })
    }
}

/// Grades every company's components on one day; `grades` are the long-term grades of the universe that day.
///
/// Within the group (financial or not) each ratio becomes a percentile (the share of companies below, plus half of those
/// level); a component's percentile is the mean over its known ratios, and its grade the one that stands at the same
/// percentile of `grades`. The order of the companies does not matter.
#[must_use]
pub fn grade_components(companies: &[Accounts], grades: &[Grade]) -> Vec<[Result<Grade, ComponentReason>; 5]> {
    let mut worst_first = grades.to_vec();
    worst_first.sort_unstable_by(|a, b| b.cmp(a));
    let mut graded = vec![[Err(ComponentReason::NotFiled); 5]; companies.len()];
    for financial in [false, true] {
        let members: Vec<usize> = (0..companies.len()).filter(|k| companies[*k].financial == financial).collect();
        for component in Component::ALL {
            let ratios: Vec<Ratios> = members.iter().map(|k| companies[*k].ratios(component)).collect();
            for (percentile, member) in percentiles(&ratios).into_iter().zip(&members) {
                graded[*member][component as usize] = percentile.and_then(|p| grade_at(p, &worst_first));
            }
        }
    }
    graded
}

/// The mean percentile of each company's ratios, above 0 and below 1.
fn percentiles(ratios: &[Ratios]) -> Vec<Result<f64, ComponentReason>> {
    let known = ratios.iter().filter(|r| r.iter().any(Option::is_some)).count();
    let columns: [Vec<f64>; RATIOS] = std::array::from_fn(|column| {
        let mut values: Vec<f64> = ratios.iter().filter_map(|r| r[column]).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    });
    let percentile = |(value, column): (&Option<f64>, &Vec<f64>)| {
        let value = (*value)?;
        let (below, until) = (column.partition_point(|x| *x < value), column.partition_point(|x| *x <= value));
        Some((below + until) as f64 / 2.0 / column.len() as f64)
    };
    let mean = |own: &Ratios| {
        let found: Vec<f64> = own.iter().zip(&columns).filter_map(percentile).collect();
        match found.len() {
            0 => Err(ComponentReason::NotFiled),
            _ if known < MINIMUM_COMPANIES => Err(ComponentReason::TooFewCompanies),
            n => Ok(found.iter().sum::<f64>() / n as f64),
        }
    };
    ratios.iter().map(mean).collect()
}

fn grade_at(percentile: f64, worst_first: &[Grade]) -> Result<Grade, ComponentReason> {
    let at = (percentile * worst_first.len() as f64) as usize;
    let last = worst_first.len().checked_sub(1).ok_or(ComponentReason::NoGrades)?;
    Ok(worst_first[at.min(last)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn company(k: f64) -> Accounts {
        Accounts {
            exchange_rate: Some(1.0),
            market_value: Some(100.0),
            total_assets: Some(100.0 + k),
            equity: Some(40.0 + k),
            liabilities: Some(60.0),
            revenue: Some(80.0),
            revenue_year_ago: Some(75.0),
            net_income: Some(k),
            net_income_year_ago: Some(1.0),
            operating_cash_flow: Some(k - 2.0),
            ..Accounts::default()
        }
    }

    fn companies(count: usize) -> Vec<Accounts> {
        (0..count).map(|k| company(k as f64)).collect()
    }

    #[test]
    fn better_accounts_stand_at_better_grades() {
        let grades = [Grade::Aaa, Grade::A2, Grade::Baa2, Grade::Ba2, Grade::B2];
        let graded = grade_components(&companies(20), &grades);
        for pair in graded.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(worse, better)| worse.unwrap() >= better.unwrap()));
        }
        let profitability = Component::Profitability as usize;
        assert_eq!(graded[19][profitability], Ok(Grade::Aaa));
        assert_eq!((graded[0][profitability], graded[9][profitability]), (Ok(Grade::B2), Ok(Grade::Baa2)));
    }

    #[test]
    fn a_cash_flow_of_nothing_is_the_worst_and_one_that_is_unknown_is_none() {
        let mut all = companies(20);
        all[5].operating_cash_flow = Some(-1e9);
        all[6].operating_cash_flow = None;
        let graded = grade_components(&all, &Grade::ALL[..20]);
        assert_eq!(graded[6][Component::CashFlow as usize], Err(ComponentReason::NotFiled));
        assert!(graded[6][Component::LeverageRatios as usize].is_ok(), "leverage is known");
        assert_eq!(all[5].ratios(Component::LeverageRatios)[1], Some(f64::NEG_INFINITY));
        let negative = Accounts { equity: Some(-5.0), ..company(3.0) };
        assert_eq!(negative.ratios(Component::Profitability), [Some(3.0 / 103.0), None, None]);
    }

    #[test]
    fn small_groups_and_empty_days_say_why() {
        let mut all = companies(20);
        all[..9].iter_mut().for_each(|c| c.financial = true);
        let graded = grade_components(&all, &[Grade::A1]);
        assert_eq!(graded[0], [Err(ComponentReason::TooFewCompanies); 5]);
        assert_eq!(graded[19], [Ok(Grade::A1); 5]);
        assert_eq!(grade_components(&all, &[])[19], [Err(ComponentReason::NoGrades); 5]);
        assert_eq!(grade_components(&[Accounts::default()], &[Grade::A1])[0], [Err(ComponentReason::NotFiled); 5]);
    }

    prop_compose! {
        fn any_company()(
            financial: bool, amounts in prop::array::uniform10(prop::option::weighted(0.8, -5.0..100.0_f64)),
        ) -> Accounts {
            let [market_value, total_assets, equity, liabilities, revenue, before, income, income_before, cash, free] = amounts;
            Accounts {
                financial,
                exchange_rate: Some(0.5),
                market_value,
                total_assets,
                equity,
                liabilities,
                revenue,
                revenue_year_ago: before,
                net_income: income,
                net_income_year_ago: income_before,
                operating_cash_flow: cash,
                free_cash_flow: free,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn renaming_the_companies_renames_the_grades(
            companies in prop::collection::vec(any_company(), 1..60),
            grades in prop::collection::vec(0..20_usize, 0..40), turn in 0..60_usize,
        ) {
            let grades: Vec<Grade> = grades.into_iter().map(|k| Grade::ALL[k]).collect();
            let graded = grade_components(&companies, &grades);
            let turn = turn % companies.len();
            let mut turned = companies;
            turned.rotate_left(turn);
            turned.reverse();
            let mut expected = graded;
            expected.rotate_left(turn);
            expected.reverse();
            prop_assert_eq!(grade_components(&turned, &grades), expected);
        }

        #[test]
        fn the_currency_of_the_filing_does_not_matter(
            companies in prop::collection::vec(any_company(), 10..40), unit in 0.01..100.0_f64, which in 0..10_usize,
        ) {
            let grades = &Grade::ALL[..20];
            let c = companies[which];
            let scaled = |x: Option<f64>| x.map(|x| x * unit);
            let mut converted = companies.clone();
            converted[which] = Accounts {
                exchange_rate: c.exchange_rate.map(|rate| rate / unit),
                total_assets: scaled(c.total_assets), equity: scaled(c.equity), liabilities: scaled(c.liabilities),
                revenue: scaled(c.revenue), revenue_year_ago: scaled(c.revenue_year_ago),
                net_income: scaled(c.net_income), net_income_year_ago: scaled(c.net_income_year_ago),
                operating_cash_flow: scaled(c.operating_cash_flow), free_cash_flow: scaled(c.free_cash_flow),
                ..c
            };
            prop_assert_eq!(grade_components(&converted, grades), grade_components(&companies, grades));
        }
    }
}

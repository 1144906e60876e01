//! What a simulated world publishes beside prices: quarterly filings and factor series, each as late as the real ones.

use chrono::{Datelike, Days};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::market::bar::{Action, Day};
use crate::market::calendar;
use crate::market::factor::{FactorHistory, Observation};
use crate::market::filing::Filing;
use crate::market::history::KnownFiling;
use crate::market::horizon::SESSIONS_PER_YEAR;
use crate::market::simulated_paths::{Path, normal, random};

/// Days from the end of a quarter to its filing.
const FILING_DELAY_DAYS: u64 = 35;

/// The company behind the reports.
#[derive(Debug, Clone, Copy)]
pub struct Company<'a> {
    /// Close of its first session.
    pub first_price: f64,
    /// Its splits, which change the share count of later filings.
    pub actions: &'a [Action],
}

/// Filings of every quarter that ended and was filed within the days. Revenue grows by a noisy 1.5 % a quarter;
/// equity starts between a quarter and four fifths of the market value and gathers two thirds of the income.
#[must_use]
pub fn file_reports(days: &[Day], company: &Company, random: &mut ChaCha8Rng) -> Vec<KnownFiling> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return vec![] };
    let shares = random.random_range(1e8..2e9f64).round();
    let market_value = shares * company.first_price;
    let mut equity = market_value * random.random_range(0.25..0.8);
    let leverage = random.random_range(1.5..4.0);
    let margin = random.random_range(0.04..0.2);
    let mut revenue = market_value * random.random_range(0.08..0.25);
    let mut filings = vec![];
    for period_end in first.iter_days().filter(|d| is_quarter_end(*d)).take_while(|d| d < last) {
        revenue *= (0.015 + 0.03 * normal(random)).exp();
        let net_income = revenue * (margin + 0.02 * normal(random));
        equity += net_income * 2.0 / 3.0;
        let filed = period_end.checked_add_days(Days::new(FILING_DELAY_DAYS)).unwrap_or(period_end);
        let known_on = calendar::next_session(filed);
        if known_on > *last {
            break;
        }
        let splits: f64 = company.actions.iter().filter(|a| a.day <= filed).map(|a| a.split).product();
        let quarter = Quarter { period_end, filed, revenue, net_income, equity, leverage, shares: shares * splits };
        filings.push(KnownFiling { known_at: calendar::close_of(known_on), filing: quarter.filing() });
    }
    filings
}

struct Quarter {
    period_end: Day,
    filed: Day,
    revenue: f64,
    net_income: f64,
    equity: f64,
    leverage: f64,
    shares: f64,
}

impl Quarter {
    fn filing(&self) -> Filing {
        let operating = self.net_income + 0.05 * self.revenue;
        let capital = 0.04 * self.revenue;
        let debt = 0.4 * self.equity * (self.leverage - 1.0);
        let amount = |value: f64| Some(value.round());
        Filing {
            period_end: self.period_end,
            filed: self.filed,
            period_months: 3,
            currency: "USD".into(),
            revenue: amount(self.revenue),
            net_income: amount(self.net_income),
            total_assets: amount(self.equity * self.leverage),
            equity: amount(self.equity),
            operating_cash_flow: amount(operating),
            capital_expenditure: amount(capital),
            free_cash_flow: amount(operating - capital),
            shares: amount(self.shares),
            shares_per_unit: 1.0,
            debt: amount(debt),
        }
    }
}

fn is_quarter_end(day: Day) -> bool {
    day.month().is_multiple_of(3) && day.succ_opt().is_some_and(|next| next.month() != day.month())
}

/// Two rates (percent), the dollar (index) and implied volatility (points), ascending by id. Rates and volatility are
/// known one session later, the dollar index five.
#[must_use]
pub fn factor_histories(seed: u64, days: &[Day], market: &Path) -> Vec<FactorHistory> {
    let mut chance = random(seed, 50);
    let (mut short, mut slope, mut dollar) = (2.0f64, 1.0f64, 100.0f64);
    let mut values: [Vec<f64>; 4] = Default::default();
    for volatility in &market.volatility {
        short = (short + 0.001 * (2.0 - short) + 0.04 * normal(&mut chance)).max(0.05);
        slope += 0.003 * (1.0 - slope) + 0.025 * normal(&mut chance);
        dollar *= (0.003 * normal(&mut chance)).exp();
        let annual = 100.0 * volatility * SESSIONS_PER_YEAR.sqrt();
        let implied = 1.15 * annual * (0.04 * normal(&mut chance)).exp();
        for (column, value) in values.iter_mut().zip([(short + slope).max(0.05), short, dollar, implied]) {
            column.push((value * 1e4).round() / 1e4);
        }
    }
    let ids = [("DGS10", 1), ("DGS2", 1), ("DTWEXBGS", 5), ("VIXCLS", 1)];
    ids.into_iter().zip(values).map(|((id, delay), column)| series(id, delay, days, column)).collect()
}

fn series(id: &str, delay_sessions: usize, days: &[Day], values: Vec<f64>) -> FactorHistory {
    let known_at = |day: Day| calendar::close_of(calendar::add_sessions(day, delay_sessions));
    let observations =
        days.iter().zip(values).map(|(day, value)| Observation { day: *day, known_at: known_at(*day), value });
    FactorHistory { id: id.into(), observations: observations.collect() }
}

//! What strategies earned: means with intervals, against holding, Sharpe ratios deflated by the number of strategies,
//! year by year.

use std::fmt::Write;

use chrono::Datelike;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::evaluation::overfitting::{DEFAULT_BLOCKS, backtest_overfitting};
use crate::evaluation::paired_tests::{TestResult, diebold_mariano, long_run_variance};
use crate::evaluation::sharpe::{DeflatedSharpe, SharpeMoments, annualized, deflated_sharpe, sharpe_moments};
use crate::market::bar::Day;

/// Level of the intervals.
pub const LEVEL: f64 = 0.9;

/// What one strategy earned, a number a decision day: the mean over the universe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrategyPayoffs {
    /// Name of the strategy.
    pub name: String,
    /// Simple return above cash on one unit, after costs: `e (R - cash) - c |d|`.
    pub money: Vec<f64>,
    /// Certainty equivalent, after costs and the charge for realized risk: `e R - (lambda/2) e^2 RV - c |d|`.
    pub charged: Vec<f64>,
    /// Mean exposure after the action.
    pub exposure: f64,
    /// Share of decisions that traded.
    pub traded: f64,
}

/// Strategies on the same decision days.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PayoffTable {
    /// Decision days, ascending.
    pub days: Vec<Day>,
    /// Decision days that one horizon overlaps; 1 without overlap.
    pub overlap: usize,
    /// Decision days a year.
    pub days_per_year: f64,
    /// The strategies; the one named [`HOLD`] is what the others are compared with.
    pub strategies: Vec<StrategyPayoffs>,
}

/// The strategy that never trades.
pub const HOLD: &str = "always_hold";

/// A mean with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MeanPayoff {
    /// Mean a decision.
    pub mean: f64,
    /// Lower end of the interval at [`LEVEL`]; `None` with fewer than three days or without variation.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// What is left of one strategy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrategySummary {
    /// Name of the strategy.
    pub name: String,
    /// Mean of the money.
    pub money: MeanPayoff,
    /// Mean of the certainty equivalent.
    pub charged: MeanPayoff,
    /// Certainty equivalent above holding's: Diebold-Mariano with the Harvey-Leybourne-Newbold factor.
    pub over_hold: Option<TestResult>,
    /// Mean certainty equivalent above holding's.
    pub gain_over_hold: f64,
    /// Sharpe ratio of the money, a year, as if decisions were independent.
    pub sharpe: Option<f64>,
    /// Deflated by the number of strategies in the table.
    pub deflated: Option<DeflatedSharpe>,
    /// Mean exposure.
    pub exposure: f64,
    /// Share of decisions that traded.
    pub traded: f64,
    /// Year, mean money and mean certainty equivalent of its decisions.
    pub by_year: Vec<(i32, f64, f64)>,
}

impl StrategyPayoffs {
    /// Shape of the money; `None` for a strategy that is never exposed: it bears costs and no risk to be paid for.
    fn moments(&self) -> Option<SharpeMoments> {
        (self.exposure != 0.0).then(|| sharpe_moments(&self.money)).flatten()
    }
}

impl PayoffTable {
    /// Summaries of all strategies, in their order.
    #[must_use]
    pub fn summaries(&self) -> Vec<StrategySummary> {
        let sharpes: Vec<f64> = self.strategies.iter().filter_map(StrategyPayoffs::moments).map(|m| m.sharpe).collect();
        let variance = sample_variance(&sharpes);
        let hold = self.strategies.iter().find(|s| s.name == HOLD);
        self.strategies.iter().map(|s| self.summary(s, hold, (sharpes.len(), variance))).collect()
    }

    /// Probability of backtest overfitting of picking the best Sharpe ratio among the strategies (Bailey et al. 2017);
    /// `None` with too few days.
    #[must_use]
    pub fn overfitting(&self) -> Option<f64> {
        let exposed = self.strategies.iter().filter(|s| s.exposure != 0.0);
        let trials: Vec<Vec<f64>> = exposed.map(|s| s.money.clone()).collect();
        backtest_overfitting(&trials, DEFAULT_BLOCKS).ok().map(|o| o.probability)
    }

    fn summary(
        &self,
        strategy: &StrategyPayoffs,
        hold: Option<&StrategyPayoffs>,
        (trials, variance): (usize, f64),
    ) -> StrategySummary {
        let gains: Vec<f64> = hold
            .map(|hold| strategy.charged.iter().zip(&hold.charged).map(|(own, hold)| own - hold).collect())
            .unwrap_or_default();
        let moments = strategy.moments();
        StrategySummary {
            name: strategy.name.clone(),
            money: self.mean(&strategy.money),
            charged: self.mean(&strategy.charged),
            over_hold: diebold_mariano(&gains, self.overlap).filter(|_| gains.iter().any(|g| *g != 0.0)),
            gain_over_hold: average(&gains),
            sharpe: moments.map(|m| annualized(m.sharpe, self.days_per_year)),
            deflated: moments.and_then(|m| deflated_sharpe(m, trials, variance)),
            exposure: strategy.exposure,
            traded: strategy.traded,
            by_year: self.by_year(strategy),
        }
    }

    fn mean(&self, values: &[f64]) -> MeanPayoff {
        let (n, mean) = (values.len() as f64, average(values));
        let error = (long_run_variance(values, self.overlap) / n).sqrt();
        let quantile = StudentsT::new(0.0, 1.0, n - 1.0).ok().map(|t| t.inverse_cdf(0.5 + 0.5 * LEVEL));
        let half = quantile.filter(|_| values.len() >= 3 && error > 0.0).map(|q| q * error);
        MeanPayoff { mean, low: half.map(|h| mean - h), high: half.map(|h| mean + h) }
    }

    fn by_year(&self, strategy: &StrategyPayoffs) -> Vec<(i32, f64, f64)> {
        let years = self.days.chunk_by(|a, b| a.year() == b.year());
        let mut from = 0;
        let year = |days: &[Day]| {
            let range = from..from + days.len();
            from = range.end;
            (days[0].year(), average(&strategy.money[range.clone()]), average(&strategy.charged[range]))
        };
        years.map(year).collect()
    }

    /// The table in Markdown, means in percent a decision.
    #[must_use]
    pub fn markdown(&self) -> String {
        let summaries = self.summaries();
        let mut text = String::from(
            "| strategy | exposure | traded | payoff above cash after costs, % | 90 % interval | certainty equivalent, % | 90 % interval \
             | over holding, % | DM | p | Sharpe a year | deflated |\n|---|--:|--:|--:|---|--:|---|--:|--:|--:|--:|--:|\n",
        );
        let percent = |x: f64| format!("{:.3}", 100.0 * x);
        let interval = |m: &MeanPayoff| match (m.low, m.high) {
            (Some(low), Some(high)) => format!("{} to {}", percent(low), percent(high)),
            _ => "none".to_owned(),
        };
        let number = |x: Option<f64>, digits: usize| x.map_or_else(|| "none".to_owned(), |x| format!("{x:.digits$}"));
        for s in &summaries {
            let _ = writeln!(
                text,
                "| {} | {:.2} | {:.2} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                s.name,
                s.exposure,
                s.traded,
                percent(s.money.mean),
                interval(&s.money),
                percent(s.charged.mean),
                interval(&s.charged),
                percent(s.gain_over_hold),
                number(s.over_hold.map(|t| t.statistic), 2),
                number(s.over_hold.map(|t| t.p_value_one_sided), 3),
                number(s.sharpe, 2),
                number(s.deflated.map(|d| d.probability), 3),
            );
        }
        text.push_str("\nBy year: payoff above cash after costs / certainty equivalent, % a decision.\n\n| strategy |");
        let years: Vec<i32> = summaries.first().map(|s| s.by_year.iter().map(|y| y.0).collect()).unwrap_or_default();
        years.iter().for_each(|year| text.push_str(&format!(" {year} |")));
        text.push_str(&format!("\n|---|{}\n", "--:|".repeat(years.len())));
        for s in &summaries {
            let cells: Vec<String> =
                s.by_year.iter().map(|(_, m, c)| format!("{:.2} / {:.2}", 100.0 * m, 100.0 * c)).collect();
            let _ = writeln!(text, "| {} | {} |", s.name, cells.join(" | "));
        }
        text
    }
}

fn average(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

fn sample_variance(values: &[f64]) -> f64 {
    let mean = average(values);
    let sum: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    if values.len() < 2 { 0.0 } else { sum / (values.len() - 1) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> PayoffTable {
        let day = |k: u32| Day::from_ymd_opt(2020 + (k / 4) as i32, 1 + 3 * (k % 4), 1).unwrap();
        let strategy = |name: &str, shift: f64, wave: f64| StrategyPayoffs {
            name: name.to_owned(),
            money: (0..8).map(|k| shift + wave * f64::from(k % 3)).collect(),
            charged: (0..8).map(|k| shift - 0.01 + wave * f64::from(k % 2)).collect(),
            exposure: 1.0,
            traded: 0.25,
        };
        let strategies = vec![strategy("served", 0.02, 0.01), strategy(HOLD, 0.01, 0.02)];
        PayoffTable { days: (0..8).map(day).collect(), overlap: 1, days_per_year: 4.0, strategies }
    }

    #[test]
    fn means_and_years_are_those_of_the_days() {
        let summaries = table().summaries();
        let served = &summaries[0];
        assert!((served.money.mean - (0.02 + 0.01 * 7.0 / 8.0)).abs() < 1e-15);
        assert!((served.gain_over_hold - (0.01 - 0.01 * 0.5)).abs() < 1e-15);
        assert_eq!(served.by_year.iter().map(|y| y.0).collect::<Vec<_>>(), [2020, 2021]);
        assert!((served.by_year[0].1 - (0.02 + 0.01 * 3.0 / 4.0)).abs() < 1e-15);
        let (low, high) = (served.money.low.unwrap(), served.money.high.unwrap());
        assert!(low < served.money.mean && served.money.mean < high);
        let test = served.over_hold.unwrap();
        assert!(test.statistic > 0.0 && test.observations == 8);
        assert_eq!(summaries[1].over_hold, None, "holding is not compared with itself");
    }

    #[test]
    fn a_sharpe_ratio_is_deflated_by_the_number_of_strategies() {
        let alone = PayoffTable { strategies: table().strategies[..1].to_vec(), ..table() };
        let [one, two] = [alone, table()].map(|t| t.summaries()[0].deflated);
        assert!(two.unwrap().probability < 1.0);
        assert!(one.is_none_or(|one| one.probability >= two.unwrap().probability));
        let text = table().markdown();
        assert!(text.contains("| served | 1.00 | 0.25 |") && text.contains("| 2020 | 2021 |"), "{text}");
    }
}

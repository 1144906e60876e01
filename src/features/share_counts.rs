//! Share counts as filed, examined one after the other: which to believe, and where they jumped like a split.

use serde::{Deserialize, Serialize};

use crate::market::bar::Day;
use crate::market::filing::Filing;
use crate::market::history::{InstrumentHistory, KnownFiling};
use crate::market::horizon::{Horizon, SESSIONS_PER_YEAR};

/// One filed share count, in traded units (ordinary shares over shares per unit).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ShareCount {
    /// Day of the filing; the count is on the split basis of that day.
    pub filed: Day,
    /// Traded units, unit errors of a thousand or a million repaired.
    pub units: f64,
    /// New units for one old since the count before, where the jump looks like a split that no action records; else 1.
    pub jump: f64,
    /// Whether the count may be used.
    pub accepted: bool,
    /// The verdict behind it.
    pub finding: CountFinding,
}

/// What was found out about a filed share count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountFinding {
    /// Nothing: it is used as filed.
    AsFiled,
    /// Repaired: filed in thousands.
    InThousands,
    /// Repaired: filed in millions.
    InMillions,
    /// Used; it jumps like a split that no recorded action explains, so counts before it are restated.
    UnrecordedSplit,
    /// Refused: not above 0.
    NotPositive,
    /// Refused: about equal to equity, so the amount of equity was filed in its place.
    EqualsEquity,
    /// Refused: the first count, and by it the books would be worth more than fifty times the market value.
    AbsurdBookValue,
    /// Refused: more than three times off the count before.
    OffNeighbours,
    /// Refused: by it less than a fifth of the shares would change hands in a year.
    ImplausibleTurnover,
}

impl CountFinding {
    /// The word used in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        [
            "as_filed",
            "in_thousands",
            "in_millions",
            "unrecorded_split",
            "not_positive",
            "equals_equity",
            "absurd_book_value",
            "off_neighbours",
            "implausible_turnover",
        ][self as usize]
    }
}

/// The prices that counts are examined against.
#[derive(Clone, Copy)]
pub(crate) struct Prices<'a> {
    pub sessions: &'a [Day],
    pub instrument: &'a InstrumentHistory,
}

/// |ln| of count over equity below which the count is taken for a misfiled amount of equity.
const NEAR_EQUITY: f64 = 0.25;
/// The same for a count that continues one already taken for equity.
const CONTINUES_EQUITY: f64 = 0.9;
/// |ln| of two counts that continue each other.
const CONTINUES: f64 = 0.25;
/// A count more than this many times off its neighbours is refused.
const OUTLIER: f64 = 3.0;
/// Refused counts in a row that agree with each other and so become the level.
const NEW_LEVEL: usize = 4;
/// Book value over market value beyond which a first count is refused.
const ABSURD_BOOK: f64 = 50.0;
/// |ln| of total assets across a split: beyond it the shares paid for something.
const SAME_ASSETS: f64 = 0.26;
/// Turnover a year below which a count is not believed. Of 97 large companies over twelve years the quietest quarter had
/// .43; a count 25 times too large gave .06 to .12.
pub(crate) const PLAUSIBLE_TURNOVER: f64 = 0.2;
/// Splits that companies make, with the |ln| by which the jump of diluted averages may miss them.
const SPLITS: [(f64, f64); 19] = [
    (1.5, 0.015),
    (2.0, 0.035),
    (3.0, 0.07),
    (4.0, 0.07),
    (5.0, 0.07),
    (7.0, 0.07),
    (10.0, 0.07),
    (20.0, 0.07),
    (25.0, 0.07),
    (50.0, 0.07),
    (1.0 / 2.0, 0.035),
    (1.0 / 3.0, 0.07),
    (1.0 / 4.0, 0.07),
    (1.0 / 5.0, 0.07),
    (1.0 / 8.0, 0.07),
    (1.0 / 10.0, 0.07),
    (1.0 / 15.0, 0.07),
    (1.0 / 20.0, 0.07),
    (1.0 / 25.0, 0.07),
];

/// Examines the counts in the order in which they became known. Each verdict rests on earlier filings alone.
///
/// A count is refused when it is <= 0, about equal to equity, or more than three times off the count before (splits and
/// unit errors of 10^3 and 10^6 taken out first); four refused counts that agree make the level.
pub(crate) fn examine(filings: &[KnownFiling], prices: Prices<'_>) -> Vec<ShareCount> {
    let mut examiner = Examiner { prices, reference: None, equity_count: None, refused: vec![] };
    filings.iter().filter_map(|known| examiner.next(&known.filing)).collect()
}

impl Prices<'_> {
    /// New units for one old by the recorded splits on sessions after `from`, until `to`.
    pub(crate) fn split_between(&self, from: Day, to: Day) -> f64 {
        let until = self.sessions.partition_point(|d| *d <= to);
        let start = self.sessions.partition_point(|d| *d <= from).min(until);
        self.instrument.split[start..until].iter().product()
    }

    /// Times a year that the units change hands, from the value traded over the quarter that ends at the session, against
    /// their value at its last close; `None` where no volume is known.
    pub(crate) fn annual_turnover(&self, units: f64, session: usize) -> Option<f64> {
        let quarter = (session + 1).saturating_sub(Horizon::Quarter.sessions())..=session;
        // Value traded does not depend on splits, so the window may span one.
        let traded = quarter.map(|t| self.instrument.close[t] * self.instrument.volume[t]).filter(|v| v.is_finite());
        let (sum, count) = traded.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        let close = self.close_until(self.sessions[session])?;
        (count > 0.0 && sum > 0.0).then(|| sum / count * SESSIONS_PER_YEAR / (units * close))
    }

    fn close_until(&self, day: Day) -> Option<f64> {
        let until = self.sessions.partition_point(|d| *d <= day);
        self.instrument.close[..until].iter().rev().copied().find(|c| c.is_finite())
    }
}

struct Reference {
    units: f64,
    filed: Day,
    assets: Option<f64>,
}

struct Examiner<'a> {
    prices: Prices<'a>,
    reference: Option<Reference>,
    /// The last count, where it was taken for equity.
    equity_count: Option<f64>,
    /// Outliers since the last accepted count.
    refused: Vec<f64>,
}

impl Examiner<'_> {
    fn next(&mut self, filing: &Filing) -> Option<ShareCount> {
        let shares = filing.shares?;
        let units = shares / filing.shares_per_unit;
        let refused = |finding| Some(ShareCount { filed: filing.filed, units, jump: 1.0, accepted: false, finding });
        if !(units > 0.0 && units.is_finite()) {
            return refused(CountFinding::NotPositive);
        }
        if self.is_equity(shares, filing.equity) {
            return refused(CountFinding::EqualsEquity);
        }
        let as_filed = (units, 1.0, CountFinding::AsFiled);
        let judged = match &self.reference {
            None if self.is_absurd(units, filing) => Err(CountFinding::AbsurdBookValue),
            None => Ok(as_filed),
            Some(reference) => self.judge(units, filing, reference).ok_or(CountFinding::OffNeighbours),
        };
        let judged = judged.or_else(|finding| if self.becomes_level(units) { Ok(as_filed) } else { Err(finding) });
        let (units, jump, finding) = match judged {
            Ok(accepted) => accepted,
            Err(finding) => {
                self.refused.push(units);
                return refused(finding);
            }
        };
        self.refused.clear();
        self.reference = Some(Reference { units, filed: filing.filed, assets: filing.total_assets });
        Some(ShareCount { filed: filing.filed, units, jump, accepted: true, finding })
    }

    /// The count with its unit repaired, its jump and what was found, or `None` to refuse it.
    fn judge(&self, units: f64, filing: &Filing, reference: &Reference) -> Option<(f64, f64, CountFinding)> {
        let expected = reference.units * self.prices.split_between(reference.filed, filing.filed);
        let assets = filing.total_assets.zip(reference.assets).map(|(now, then)| (now / then).ln().abs());
        let ratio = units / expected;
        if let Some(split) = split_like(ratio, assets) {
            return Some((units, split, CountFinding::UnrecordedSplit));
        }
        if ratio.ln().abs() <= OUTLIER.ln() {
            return Some((units, 1.0, CountFinding::AsFiled));
        }
        let scales = [(1e3, CountFinding::InThousands), (1e6, CountFinding::InMillions)];
        let repaired = scales.into_iter().find(|(scale, _)| (ratio * scale).ln().abs() < CONTINUES);
        repaired.map(|(scale, finding)| (units * scale, 1.0, finding))
    }

    fn is_equity(&mut self, shares: f64, equity: Option<f64>) -> bool {
        let distance = equity.filter(|e| *e > 0.0).map_or(f64::INFINITY, |e| (shares / e).ln().abs());
        let continues = self.equity_count.is_some_and(|last| (shares / last).ln().abs() < CONTINUES);
        let is_equity = distance < NEAR_EQUITY || (continues && distance < CONTINUES_EQUITY);
        self.equity_count = is_equity.then_some(shares);
        is_equity
    }

    fn is_absurd(&self, units: f64, filing: &Filing) -> bool {
        let close = self.prices.close_until(filing.filed);
        let same_currency = filing.currency == self.prices.instrument.instrument.currency;
        let book_to_price = close.zip(filing.equity).map(|(close, equity)| equity / (units * close));
        same_currency && book_to_price.is_some_and(|b| b > ABSURD_BOOK)
    }

    fn becomes_level(&self, units: f64) -> bool {
        let agreeing = self.refused.iter().rev().take_while(|r| (units / **r).ln().abs() < CONTINUES).count();
        agreeing + 1 >= NEW_LEVEL
    }
}

/// The split that a jump looks like; `assets` is |ln| of the change of total assets, where known.
fn split_like(ratio: f64, assets: Option<f64>) -> Option<f64> {
    if assets.is_some_and(|change| change > SAME_ASSETS) {
        return None;
    }
    SPLITS.into_iter().find(|(split, tolerance)| (ratio / split).ln().abs() < *tolerance).map(|(split, _)| split)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::sample_history::{Sample, sample};
    use chrono::{Days, Months};

    /// Filings every quarter with the given counts (in millions), equity 4000 and assets 8000 millions.
    fn verdicts(counts: &[f64]) -> Vec<(bool, f64, f64)> {
        let history = sample(&Sample::default());
        let template = history.find(&"TEST5".parse().unwrap()).unwrap().filings[0].clone();
        let filings: Vec<KnownFiling> = (0u32..)
            .zip(counts)
            .map(|(q, count)| {
                let mut known = template.clone();
                let period_end = Day::from_ymd_opt(2015, 6, 30).unwrap() + Months::new(3 * q);
                known.filing.period_end = period_end;
                known.filing.filed = period_end + Days::new(30);
                known.filing.shares = Some(count * 1e6);
                known.filing.equity = Some(4e9);
                known.filing.total_assets = Some(8e9);
                known
            })
            .collect();
        let prices =
            Prices { sessions: &history.sessions, instrument: history.find(&"TEST5".parse().unwrap()).unwrap() };
        examine(&filings, prices).iter().map(|c| (c.accepted, c.jump, c.units / 1e6)).collect()
    }

    #[test]
    fn splits_are_seen_and_outliers_refused() {
        assert_eq!(verdicts(&[100.0, 699.0, 710.0]), [(true, 1.0, 100.0), (true, 7.0, 699.0), (true, 1.0, 710.0)]);
        assert_eq!(verdicts(&[880.0, 110.0])[1], (true, 1.0 / 8.0, 110.0));
        assert_eq!(verdicts(&[100.0, 1600.0, 101.0]), [(true, 1.0, 100.0), (false, 1.0, 1600.0), (true, 1.0, 101.0)]);
        assert_eq!(verdicts(&[100.0, 164.0])[1], (true, 1.0, 164.0));
        assert!(!verdicts(&[100.0, -1.0])[1].0);
    }

    #[test]
    fn amounts_of_equity_are_not_counts() {
        assert!(verdicts(&[4100.0, 5100.0, 5500.0]).iter().all(|v| !v.0));
        assert_eq!(verdicts(&[100.0, 4700.0, 99.0]).map_accepted(), [true, false, true]);
    }

    #[test]
    fn wrong_units_are_repaired() {
        assert_eq!(verdicts(&[100.0, 0.101, 102.0])[1], (true, 1.0, 101.0));
        assert_eq!(verdicts(&[100.0, 0.0001])[1], (true, 1.0, 100.0));
        assert!(!verdicts(&[0.0001])[0].0, "a book value of millions a share");
    }

    #[test]
    fn four_that_agree_make_the_level() {
        let found = verdicts(&[20.0, 1300.0, 1310.0, 1320.0, 1330.0, 1340.0]).map_accepted();
        assert_eq!(found, [true, false, false, false, true, true]);
    }

    trait Accepted {
        fn map_accepted(&self) -> Vec<bool>;
    }
    impl Accepted for Vec<(bool, f64, f64)> {
        fn map_accepted(&self) -> Vec<bool> {
            self.iter().map(|v| v.0).collect()
        }
    }
}

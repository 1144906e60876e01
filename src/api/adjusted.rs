//! Adjusted prices: the past on today's share basis, with dividends taken as reinvested.

use crate::opinion::canonical::rounded;
use crate::store::prices::PriceRow;

/// The rows with every price before an action multiplied so that ratios of closes are total returns; the last row stays.
///
/// For an action between closes p and c, with split s and dividend d, earlier prices are multiplied by
/// (p - d) / (p s), which makes c over the adjusted p equal to c s / (p - d). Volumes are multiplied by the splits
/// after them. A dividend that is not below p cannot be reinvested and is left out. Prices are rounded to 6 decimals.
#[must_use]
pub fn adjusted(mut rows: Vec<PriceRow>) -> Vec<PriceRow> {
    let (mut price_factor, mut volume_factor) = (1.0, 1.0);
    for position in (0..rows.len()).rev() {
        let previous_close = position.checked_sub(1).map(|before| rows[before].close);
        let row = &mut rows[position];
        let scaled = |price: f64| rounded(price * price_factor);
        row.open = row.open.map(scaled);
        row.high = row.high.map(scaled);
        row.low = row.low.map(scaled);
        row.close = scaled(row.close);
        row.volume = row.volume.map(|volume| rounded(volume * volume_factor));
        let Some(previous) = previous_close else { continue };
        let kept = if row.dividend < previous { (previous - row.dividend) / previous } else { 1.0 };
        price_factor *= kept / row.split;
        volume_factor *= row.split;
    }
    rows
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::*;
    use crate::market::bar::{Action, Day};

    fn row(number: u32, close: f64, split: f64, dividend: f64) -> PriceRow {
        let day = Day::from_ymd_opt(2024, 1, 1).unwrap() + chrono::Days::new(number.into());
        let (known_at, recorded_at) = (DateTime::<Utc>::default(), DateTime::<Utc>::default());
        let (open, high, low, volume) = (Some(close), None, None, Some(10.0));
        PriceRow { day, open, high, low, close, volume, split, dividend, source: "test".into(), known_at, recorded_at }
    }

    #[test]
    fn a_split_and_a_dividend_are_taken_out() {
        let rows = adjusted(vec![row(0, 400.0, 1.0, 0.0), row(1, 100.0, 4.0, 0.0), row(2, 99.0, 1.0, 1.0)]);
        let closes: Vec<f64> = rows.iter().map(|r| r.close).collect();
        assert_eq!(closes, [99.0, 99.0, 99.0]);
        assert_eq!(rows[0].volume, Some(40.0));
        assert_eq!(rows[0].open, Some(99.0));
        assert!(adjusted(Vec::new()).is_empty());
    }

    proptest! {
        #[test]
        fn ratios_of_adjusted_closes_are_total_returns(
            days in proptest::collection::vec((50.0_f64..500.0, 0.5_f64..4.0, 0.0_f64..2.0), 2..30)
        ) {
            let raw: Vec<PriceRow> = days.iter().enumerate().map(|(i, (c, s, d))| row(i as u32, *c, *s, *d)).collect();
            let done = adjusted(raw.clone());
            for i in 1..raw.len() {
                let action = Action { day: raw[i].day, split: raw[i].split, dividend: raw[i].dividend };
                let expected = action.log_return(raw[i - 1].close, raw[i].close).unwrap();
                // Rounding to a millionth limits the agreement for tiny adjusted prices.
                let slack = 2e-6 / done[i - 1].close.min(done[i].close).max(1e-9);
                prop_assert!(((done[i].close / done[i - 1].close).ln() - expected).abs() < 1e-9 + slack || done[i - 1].close < 1e-3);
            }
        }
    }
}

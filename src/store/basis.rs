//! The price basis of a file against the basis of the store.
//!
//! Downloads restate the past: after a split or a dividend every earlier (adjusted) price is multiplied by one constant.
//! A file that differs from the stored prices only by such a factor is unchanged. Days it adds after the stored ones keep
//! the prices as stated, and an action on the first of them joins the two bases; its other days are brought to the
//! stored basis.

use std::collections::BTreeMap;

use crate::market::bar::{Action, Bar, BarFields, Day};

/// Rows as a source states them.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub bars: &'a [Bar],
    pub actions: &'a [Action],
}

/// Rows on the stored basis.
pub(crate) struct Rebased {
    pub bars: Vec<BarFields>,
    pub actions: BTreeMap<Day, Action>,
    /// Largest relative difference between two prices that count as the same.
    pub tolerance: f64,
}

/// A factor this close to 1 is rounding, not another basis.
const SAME_BASIS: f64 = 1e-5;
/// Relative spread of the factor over days that still counts as constant: six decimals of a one-dollar price, twice.
const CONSTANT: f64 = 1e-5;
const EXACT: f64 = 1e-9;
/// Relative difference of a dividend, against the price, that rounding of adjusted closes explains.
const DIVIDEND_ROUNDING: f64 = 1e-5;

pub(crate) fn as_stated(incoming: Incoming<'_>) -> Rebased {
    let bars = incoming.bars.iter().map(Bar::fields).collect();
    Rebased { bars, actions: incoming.actions.iter().map(|a| (a.day, *a)).collect(), tolerance: EXACT }
}

pub(crate) fn rebase(incoming: Incoming<'_>, stored: &BTreeMap<Day, BarFields>) -> Rebased {
    let stated = as_stated(incoming);
    let Some(factor) = constant_factor(&stated.bars, stored) else {
        return stated;
    };
    let Rebased { mut bars, mut actions, .. } = stated;
    let last_stored = stored.keys().next_back().copied();
    for bar in bars.iter_mut().filter(|b| Some(b.day) <= last_stored) {
        *bar = scaled(bar, factor);
        if let Some(action) = actions.get_mut(&bar.day) {
            action.dividend *= factor;
        }
    }
    if let Some(position) = bars.iter().position(|b| Some(b.day) > last_stored) {
        let previous_close = position.checked_sub(1).map_or(f64::NAN, |p| bars[p].close);
        let day = bars[position].day;
        let action = actions.entry(day).or_insert(Action { day, split: 1.0, dividend: 0.0 });
        join(action, factor, previous_close);
    }
    Rebased { bars, actions, tolerance: 2.0 * CONSTANT }
}

pub(crate) fn same_bar(a: &BarFields, b: &BarFields, tolerance: f64) -> bool {
    let same = |x: Option<f64>, y: Option<f64>| match (x, y) {
        (Some(x), Some(y)) => (x - y).abs() <= tolerance * x.abs().max(y.abs()),
        (x, y) => x.is_none() == y.is_none(),
    };
    // Volumes of a rebased file are rounded to whole shares by their source.
    let same_volume = tolerance > EXACT || same(a.volume, b.volume);
    same(Some(a.close), Some(b.close))
        && same(a.open, b.open)
        && same(a.high, b.high)
        && same(a.low, b.low)
        && same_volume
}

pub(crate) fn same_action(a: &Action, b: &Action, close: f64) -> bool {
    (a.split - b.split).abs() <= EXACT.sqrt() * a.split && (a.dividend - b.dividend).abs() <= DIVIDEND_ROUNDING * close
}

/// The factor stored / file, when it is not 1 and 99 % of the common days agree on it.
fn constant_factor(bars: &[BarFields], stored: &BTreeMap<Day, BarFields>) -> Option<f64> {
    let mut ratios: Vec<f64> = bars.iter().filter_map(|b| stored.get(&b.day).map(|s| s.close / b.close)).collect();
    if ratios.len() < 2 {
        return None;
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    let agreeing = ratios.iter().filter(|r| (*r / median - 1.0).abs() <= CONSTANT).count();
    ((median - 1.0).abs() > SAME_BASIS && agreeing * 100 >= ratios.len() * 99).then_some(median)
}

/// Lets the first day of the new basis follow the last of the old: old price = new price x factor. A large factor or one
/// below 1 is a split; a small one above 1 is the cash that an adjusted close took out of the past.
fn join(action: &mut Action, factor: f64, previous_close: f64) {
    let is_cash = factor > 1.0 && factor < 1.2 && previous_close.is_finite();
    if is_cash {
        action.dividend += previous_close * (1.0 - 1.0 / factor);
    } else {
        action.dividend *= factor;
        action.split *= factor;
    }
}

fn scaled(bar: &BarFields, factor: f64) -> BarFields {
    let times = |x: Option<f64>| x.map(|p| p * factor);
    BarFields {
        day: bar.day,
        open: times(bar.open),
        high: times(bar.high),
        low: times(bar.low),
        close: bar.close * factor,
        volume: bar.volume.map(|v| v / factor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(day: u32, close: f64) -> Bar {
        let day = Day::from_ymd_opt(2024, 10, day).unwrap();
        Bar::new(BarFields { day, open: None, high: None, low: None, close, volume: Some(100.0) }).unwrap()
    }

    fn stored(closes: &[(u32, f64)]) -> BTreeMap<Day, BarFields> {
        closes.iter().map(|(d, c)| (bar(*d, *c).day(), bar(*d, *c).fields())).collect()
    }

    #[test]
    fn a_constant_factor_changes_nothing_and_joins_new_days_by_a_split() {
        let old = stored(&[(1, 400.0), (2, 404.0), (3, 408.0)]);
        let file = [bar(1, 100.0), bar(2, 101.0), bar(3, 102.0), bar(4, 103.0)];
        let rebased = rebase(Incoming { bars: &file, actions: &[] }, &old);
        for fields in &rebased.bars[..3] {
            assert!(same_bar(&old[&fields.day], fields, rebased.tolerance));
        }
        let action = rebased.actions[&bar(4, 1.0).day()];
        let joined = action.log_return(408.0, rebased.bars[3].close).unwrap();
        assert!((joined - (103.0f64 / 102.0).ln()).abs() < 1e-12);
        assert_eq!(action.split, 4.0);
    }

    #[test]
    fn an_adjusted_series_lowered_by_a_dividend_joins_by_cash() {
        let old = stored(&[(1, 100.0), (2, 102.0)]);
        let file = [bar(1, 99.0), bar(2, 100.98), bar(3, 101.0)];
        let rebased = rebase(Incoming { bars: &file, actions: &[] }, &old);
        let action = rebased.actions[&bar(3, 1.0).day()];
        assert_eq!(action.split, 1.0);
        assert!((action.log_return(102.0, 101.0).unwrap() - (101.0f64 / 100.98).ln()).abs() < 1e-9);
    }

    #[test]
    fn a_single_other_price_is_a_revision_not_another_basis() {
        let old = stored(&[(1, 100.0), (2, 102.0), (3, 101.0)]);
        let file = [bar(1, 100.0), bar(2, 103.0), bar(3, 101.0)];
        let rebased = rebase(Incoming { bars: &file, actions: &[] }, &old);
        let same: Vec<bool> = rebased.bars.iter().map(|b| same_bar(&old[&b.day], b, rebased.tolerance)).collect();
        assert_eq!(same, [true, false, true]);
    }
}

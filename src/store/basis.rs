//! The price basis of a file against the basis of the store.
//!
//! Downloads restate the past: after a split or a dividend every earlier (adjusted) price is multiplied by one constant.
//! A file that differs from the stored prices only by such factors is unchanged. Days it adds after the stored ones keep
//! the prices as stated, and an action on the first of them joins the two bases; its other days are brought to the
//! stored basis.
//!
//! Both sides tell the same total returns when, from one day to the next, the ratio stored / file of the closes steps by
//! the ratio of their actions: that is how a day that joined two bases is known again when the file comes a second time.

use std::collections::BTreeMap;

use crate::market::bar::{Action, Bar, BarFields, Day};

/// Rows as a source states them.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub bars: &'a [Bar],
    pub actions: &'a [Action],
}

/// Rows in force in the store, over the days of the incoming ones.
#[derive(Default)]
pub(crate) struct InForce {
    pub bars: BTreeMap<Day, BarFields>,
    pub actions: BTreeMap<Day, Action>,
    /// The close on the stored basis before the first incoming day.
    pub close_before: Option<f64>,
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
/// Log of a factor from which on it cannot be a day's return.
const LARGE_FACTOR: f64 = 0.2;
/// Of a hundred common days, so many must agree on the factors.
const AGREEING: usize = 99;

pub(crate) fn as_stated(incoming: Incoming<'_>) -> Rebased {
    let bars = incoming.bars.iter().map(Bar::fields).collect();
    Rebased { bars, actions: incoming.actions.iter().map(|a| (a.day, *a)).collect(), tolerance: EXACT }
}

/// Brings a download to the stored basis where the two differ by factors; as stated otherwise.
pub(crate) fn rebase(incoming: Incoming<'_>, stored: &InForce) -> Rebased {
    let stated = as_stated(incoming);
    let mut rebased = match Factors::find(&stated, stored) {
        Some(factors) => factors.apply(stated, stored),
        None => stated,
    };
    // The first row of a file has no row before it, so the file cannot know of an action there.
    if let Some(first) = rebased.bars.first().map(|b| b.day)
        && let Some(action) = stored.actions.get(&first)
    {
        rebased.actions.entry(first).or_insert(*action);
    }
    rebased
}

/// Whether new fields say the same as stored ones.
pub(crate) fn same_bar(a: &BarFields, b: &BarFields, tolerance: f64) -> bool {
    // A field that the source does not have says nothing against the stored one.
    let same = |stored: Option<f64>, new: Option<f64>| match (stored, new) {
        (Some(x), Some(y)) => (x - y).abs() <= tolerance * x.abs().max(y.abs()),
        (None, Some(_)) => false,
        (_, None) => true,
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

/// The factor stored / file of each common day.
struct Factors {
    first: f64,
    by_day: BTreeMap<Day, f64>,
    /// Days on which the factor steps, because the store joined two bases there.
    joins: Vec<Day>,
}

impl Factors {
    /// `None` when the file is on the stored basis, or differs by more than factors.
    fn find(stated: &Rebased, stored: &InForce) -> Option<Self> {
        let common: Vec<(Day, f64, f64)> =
            stated.bars.iter().filter_map(|b| stored.bars.get(&b.day).map(|s| (b.day, s.close, b.close))).collect();
        let (mut path, mut joins) = (1.0, Vec::new());
        let mut paths = Vec::with_capacity(common.len());
        for (position, &(day, stored_close, file_close)) in common.iter().enumerate() {
            if let Some(&(_, stored_before, file_before)) = position.checked_sub(1).map(|p| &common[p]) {
                let step =
                    growth(stated.actions.get(&day), file_before) / growth(stored.actions.get(&day), stored_before);
                let moved = (stored_close / file_close) / (stored_before / file_before);
                if (step - 1.0).abs() > SAME_BASIS && (moved / step - 1.0).abs() <= 2.0 * CONSTANT {
                    path *= step;
                    joins.push(day);
                }
            }
            paths.push(path);
        }
        let mut levels: Vec<f64> = common.iter().zip(&paths).map(|((_, s, f), path)| s / f / path).collect();
        levels.sort_by(f64::total_cmp);
        let level = *levels.get(levels.len() / 2)?;
        let agreeing = levels.iter().filter(|l| (*l / level - 1.0).abs() <= CONSTANT).count();
        let same_basis = (level - 1.0).abs() <= SAME_BASIS && joins.is_empty();
        if same_basis || agreeing * 100 < levels.len() * AGREEING || is_correction(stated, stored, level) {
            return None;
        }
        let by_day = common.iter().zip(&paths).map(|((day, ..), path)| (*day, level * path)).collect();
        Some(Self { first: level, by_day, joins })
    }

    /// Brings the rows up to the last stored day to the stored basis, and joins the first day after it.
    fn apply(&self, stated: Rebased, stored: &InForce) -> Rebased {
        let last_stored = stored.bars.keys().next_back().copied();
        let Rebased { mut bars, mut actions, .. } = stated;
        let mut factor = self.first;
        for bar in bars.iter_mut().filter(|b| Some(b.day) <= last_stored) {
            let before = factor;
            factor = self.by_day.get(&bar.day).copied().unwrap_or(factor);
            *bar = scaled(bar, factor);
            if self.joins.contains(&bar.day) {
                actions.remove(&bar.day);
                actions.extend(stored.actions.get(&bar.day).map(|a| (a.day, *a)));
            } else if let Some(action) = actions.get_mut(&bar.day) {
                action.dividend *= before;
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
}

/// Whether a factor is the correction of a block of wrong prices, not another basis: the file's first price as stated
/// follows the stored one before it more closely than the stored price of that day does. Small factors cannot be told
/// apart that way and count as a basis. A single common day is a correction, unless it is far off and other days follow.
fn is_correction(stated: &Rebased, stored: &InForce, level: f64) -> bool {
    let large = level.ln().abs() > LARGE_FACTOR;
    let common = stated.bars.iter().filter(|b| stored.bars.contains_key(&b.day)).count();
    if common < 2 {
        let last_stored = stored.bars.keys().next_back().copied();
        return !(large && stated.bars.last().map(|b| b.day) > last_stored);
    }
    let first = stated.bars.first().and_then(|b| Some((b.close, stored.bars.get(&b.day)?.close)));
    match (stored.close_before, first) {
        (Some(before), Some((file, held))) if large => (file / before).ln().abs() < (held / before).ln().abs(),
        _ => false,
    }
}

/// By how much an action lifts the ratio of a close to the one before it.
fn growth(action: Option<&Action>, previous_close: f64) -> f64 {
    action.map_or(1.0, |a| a.split / (1.0 - a.dividend / previous_close))
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

    fn stored(closes: &[(u32, f64)]) -> InForce {
        let bars = closes.iter().map(|(d, c)| (bar(*d, *c).day(), bar(*d, *c).fields()));
        InForce { bars: bars.collect(), ..InForce::default() }
    }

    /// What the store holds after the rebased rows were recorded.
    fn recorded(mut old: InForce, rebased: Rebased) -> InForce {
        for bar in rebased.bars {
            old.bars.entry(bar.day).or_insert(bar);
        }
        old.actions.extend(rebased.actions);
        old
    }

    fn changes(rebased: &Rebased, old: &InForce) -> usize {
        let none = |day| Action { day, split: 1.0, dividend: 0.0 };
        let same = |b: &&BarFields| {
            let action = |of: &BTreeMap<Day, Action>| of.get(&b.day).copied().unwrap_or(none(b.day));
            old.bars.get(&b.day).is_some_and(|o| same_bar(o, b, rebased.tolerance))
                && same_action(&action(&old.actions), &action(&rebased.actions), b.close)
        };
        rebased.bars.iter().filter(|b| !same(b)).count()
    }

    #[test]
    fn a_constant_factor_changes_nothing_and_joins_new_days_by_a_split() {
        let old = stored(&[(1, 400.0), (2, 404.0), (3, 408.0)]);
        let file = [bar(1, 100.0), bar(2, 101.0), bar(3, 102.0), bar(4, 103.0)];
        let rebased = rebase(Incoming { bars: &file, actions: &[] }, &old);
        assert_eq!(changes(&rebased, &old), 1);
        let action = rebased.actions[&bar(4, 1.0).day()];
        let joined = action.log_return(408.0, rebased.bars[3].close).unwrap();
        assert!((joined - (103.0f64 / 102.0).ln()).abs() < 1e-12);
        assert_eq!(action.split, 4.0);
    }

    #[test]
    fn a_restated_file_that_comes_again_changes_nothing() {
        let closes: Vec<(u32, f64)> = (1..=20).map(|d| (d, 400.0 + f64::from(d))).collect();
        let old = stored(&closes);
        let file: Vec<Bar> = (1..=24).map(|d| bar(d, (400.0 + f64::from(d)) / 4.0)).collect();
        let old = recorded(old, rebase(Incoming { bars: &file[..22], actions: &[] }, &stored(&closes)));
        let again = rebase(Incoming { bars: &file[..22], actions: &[] }, &old);
        assert_eq!(changes(&again, &old), 0);
        let longer = rebase(Incoming { bars: &file, actions: &[] }, &old);
        assert_eq!(changes(&longer, &old), 2);
        assert!(longer.actions.get(&bar(23, 1.0).day()).is_none_or(|a| a.split == 1.0 && a.dividend == 0.0));
        // A second split restates all of it once more, on top of the first join.
        let halved: Vec<Bar> = file.iter().map(|b| Bar::new(scaled(&b.fields(), 0.5)).unwrap()).collect();
        let old = recorded(old, longer);
        assert_eq!(changes(&rebase(Incoming { bars: &halved, actions: &[] }, &old), &old), 0);
    }

    #[test]
    fn an_adjusted_series_lowered_by_a_dividend_joins_by_cash() {
        let old = stored(&[(1, 100.0), (2, 102.0)]);
        let file = [bar(1, 99.0), bar(2, 100.98), bar(3, 101.0)];
        let rebased = rebase(Incoming { bars: &file, actions: &[] }, &old);
        let action = rebased.actions[&bar(3, 1.0).day()];
        assert_eq!(action.split, 1.0);
        assert!((action.log_return(102.0, 101.0).unwrap() - (101.0f64 / 100.98).ln()).abs() < 1e-9);
        let old = recorded(old, rebased);
        assert_eq!(changes(&rebase(Incoming { bars: &file, actions: &[] }, &old), &old), 0);
    }

    #[test]
    fn a_single_other_price_is_a_revision_not_another_basis() {
        let old = stored(&[(1, 100.0), (2, 102.0), (3, 101.0)]);
        let file = [bar(1, 100.0), bar(2, 103.0), bar(3, 101.0)];
        let rebased = rebase(Incoming { bars: &file, actions: &[] }, &old);
        let same: Vec<bool> = rebased.bars.iter().map(|b| same_bar(&old.bars[&b.day], b, rebased.tolerance)).collect();
        assert_eq!(same, [true, false, true]);
    }

    #[test]
    fn a_dividend_that_was_missing_is_a_revision_and_one_before_the_file_stays() {
        let mut old = stored(&[(1, 100.0), (2, 102.0), (3, 101.0)]);
        let file: Vec<Bar> = [(1, 100.0), (2, 102.0), (3, 101.0)].map(|(d, c)| bar(d, c)).to_vec();
        let dividend = Action { day: bar(2, 1.0).day(), split: 1.0, dividend: 1.0 };
        assert_eq!(changes(&rebase(Incoming { bars: &file, actions: &[dividend] }, &old), &old), 1);
        old.actions.insert(dividend.day, dividend);
        assert_eq!(changes(&rebase(Incoming { bars: &file[1..], actions: &[] }, &old), &old), 0);
    }

    #[test]
    fn a_retained_dividend_is_not_scaled() {
        let mut old = stored(&[(1, 400.0), (2, 404.0), (3, 408.0)]);
        let dividend = Action { day: bar(1, 1.0).day(), split: 1.0, dividend: 1.0 };
        old.actions.insert(dividend.day, dividend);
        let file = [bar(1, 100.0), bar(2, 101.0), bar(3, 102.0), bar(4, 103.0)];
        let rebased = rebase(Incoming { bars: &file, actions: &[] }, &old);
        assert_eq!(rebased.actions[&dividend.day], dividend);
    }

    #[test]
    fn a_corrected_block_is_a_revision() {
        let mut old = stored(&[(10, 50.0), (11, 50.5), (12, 51.0)]);
        old.close_before = Some(99.0);
        let file = [bar(10, 100.0), bar(11, 101.0), bar(12, 102.0)];
        assert_eq!(changes(&rebase(Incoming { bars: &file, actions: &[] }, &old), &old), 3);
        old.close_before = Some(49.0);
        assert_eq!(changes(&rebase(Incoming { bars: &file, actions: &[] }, &old), &old), 0);
    }

    #[test]
    fn one_common_day_joins_after_a_split_and_is_revised_otherwise() {
        let old = stored(&[(1, 400.0), (2, 404.0)]);
        let split = rebase(Incoming { bars: &[bar(2, 101.0), bar(3, 102.0)], actions: &[] }, &old);
        assert_eq!(split.actions[&bar(3, 1.0).day()].split, 4.0);
        assert_eq!(changes(&split, &old), 1);
        let corrected = rebase(Incoming { bars: &[bar(2, 405.0), bar(3, 406.0)], actions: &[] }, &old);
        assert_eq!(changes(&corrected, &old), 2);
    }
}

//! The walk of ratings: walk-forward, complete, compact; and what it says of the real market where that is given.

use std::time::Instant;

use super::prepared::Prepared;
use super::rating_record::RatingRecord;
use super::rating_walk::RatingWalk;
use super::real_market::real_market;
use super::walk::VolatilityWalk;
use crate::features::sample_history::{Sample, sample};
use crate::market::history::History;
use crate::market::horizon::Horizon;
use crate::rating::term::RatingSettings;
use crate::scenario::volatility::VolatilityModel;

const LONG: Sample = Sample { seed: 5, sessions: 1900, instruments: 14, ranges: true, surroundings: true };

fn walked(history: History) -> (Prepared, VolatilityWalk) {
    let prepared = Prepared::new(history);
    let until = prepared.sessions() - 1;
    let harx2 = VolatilityWalk::fit(&prepared.inputs, VolatilityModel::HarX2, &[Horizon::Year], until);
    (prepared, harx2)
}

#[test]
fn a_walk_knows_nothing_later_than_its_quarters() {
    let history = sample(&LONG);
    let (all, harx2) = walked(history.clone());
    let until = 1700;
    let (early, early_harx2) = walked(history.until(history.sessions[until]));
    let settings = RatingSettings::default();
    let of_all = RatingWalk::new(&all, &harx2, &settings, until);
    let known = RatingWalk::new(&early, &early_harx2, &settings, until);
    assert_eq!(of_all.calibration, known.calibration);
    assert!(known.quarters.len() > 8, "{}", known.quarters.len());
    assert_eq!(of_all.quarters.len(), known.quarters.len());
    for (a, b) in of_all.quarters.iter().zip(&known.quarters) {
        // The histories name the same instruments in the same order.
        assert_eq!((a.session, &a.ratings), (b.session, &b.ratings), "{}", a.day);
    }
    let longer = RatingWalk::new(&all, &harx2, &settings, all.sessions() - 1);
    for (a, b) in of_all.quarters.iter().zip(&longer.quarters) {
        for (a, b) in a.ratings.iter().zip(&b.ratings) {
            assert_eq!(a.map(|r| (r.short_grade(), r.long_term)), b.map(|r| (r.short_grade(), r.long_term)));
        }
    }
}

#[test]
fn a_record_counts_every_rating_once() {
    let (prepared, harx2) = walked(sample(&LONG));
    let until = prepared.sessions() - 1;
    let walk = RatingWalk::new(&prepared, &harx2, &RatingSettings::default(), until);
    let record = RatingRecord::of(&prepared, &walk, until);
    let matured = walk.ratings().filter(|(_, _, r)| r.outcome.is_some()).count();
    assert_eq!(record.by_grade.iter().map(|g| g.rows).sum::<usize>(), matured);
    let begun: usize = record.long_term.counts.iter().map(|t| t.count).sum();
    let quarters = walk.quarters.len() - 4;
    let rated = |q: usize| walk.quarters[q].ratings.iter().flatten().count();
    assert_eq!(begun, (0..quarters).map(rated).sum::<usize>());
    assert!(!record.history.contains_key(&"VIX".parse().unwrap()), "an index is not rated");
    let stopped = &record.history[&"TEST4".parse().unwrap()];
    assert_eq!(stopped.last().unwrap().long_term, None, "withdrawn when its prices stopped");
    for changes in record.history.values() {
        assert!(changes.windows(2).all(|w| w[0].as_of < w[1].as_of && w[0] != w[1]));
    }
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<RatingRecord>(&json).unwrap(), record);
}

#[test]
fn the_real_market_is_walked_fast_and_reported() {
    let Some(history) = real_market() else { return };
    let (prepared, harx2) = walked(history);
    let start = Instant::now();
    let record = RatingRecord::walk(&prepared, &harx2, &RatingSettings::default(), prepared.sessions() - 1);
    let seconds = start.elapsed().as_secs_f64();
    println!("{} ratings at {} quarters in {seconds:.2} s", record.ratings, record.quarters.len());
    println!("{} bytes of JSON", serde_json::to_string(&record).unwrap().len());
    for year in &record.calibration.by_year {
        println!("{year:?}");
    }
    println!("{:?}", record.calibration.fit);
    record.by_grade.iter().for_each(|g| println!("{g:?}"));
    record.outlooks.iter().for_each(|o| println!("{o:?}"));
    println!("stability {:?} {:?}", record.short_term.stability(), record.long_term.stability());
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    record.share_counts.iter().for_each(|c| *counts.entry((c.symbol.clone(), c.finding)).or_default() += 1);
    counts.iter().for_each(|(what, count)| println!("{what:?} {count}"));
    assert!(seconds < 10.0);
}

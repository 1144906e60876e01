//! The rating report of a simulated market, and of the real one where that is given.

use super::market_value_spots::SPOTS;
use super::rating_report::rating_report;
use crate::features::price_basis::PriceBasis;
use crate::features::sample_history::{Sample, sample};
use crate::forecast::prepared::Prepared;
use crate::forecast::rating_sources::RatingSources;
use crate::forecast::real_market::real_market;
use crate::forecast::walk::VolatilityWalk;
use crate::market::history::History;
use crate::market::horizon::Horizon;
use crate::rating::term::RatingSettings;
use crate::scenario::volatility::VolatilityModel;
use crate::scenario::volatility_inputs::Place;

fn report(history: History) -> super::rating_report::RatingReport {
    let prepared = Prepared::new(history);
    let until = prepared.sessions() - 1;
    let harx2 = VolatilityWalk::fit(&prepared.inputs, VolatilityModel::HarX2, &[Horizon::Year], until);
    rating_report(&prepared, &harx2, &RatingSettings::default(), (until, false)).unwrap()
}

#[test]
fn every_rated_instrument_has_a_row_a_term() {
    let found = report(sample(&Sample { seed: 5, sessions: 1500, instruments: 12, ..Sample::default() }));
    let rows: Vec<Vec<&str>> = found.csv.lines().map(|line| line.split(',').collect()).collect();
    // Of twelve shares one has stopped; the fund is rated, the index is not.
    assert_eq!(rows.len(), 1 + 2 * 12);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    assert!(!found.csv.contains("VIX") && found.csv.contains("SPY,etf,price_only,fund"));
    let companies = found.text.lines().filter(|line| line.starts_with("| TEST")).count();
    assert_eq!(companies, 11);
    assert!(found.text.contains("| mean |") && !found.text.contains("NaN"));
}

#[test]
fn the_real_report_and_its_market_values_hold() {
    let Some(history) = real_market() else { return };
    let found = report(history.clone());
    if let Some(folder) = std::env::var_os("FORECASTD_TEST_REPORT").map(std::path::PathBuf::from) {
        std::fs::write(folder.join("ratings.md"), &found.text).unwrap();
        std::fs::write(folder.join("ratings.csv"), &found.csv).unwrap();
    }
    println!("{}", found.text);
    let (prepared, basis) = (Prepared::new(history.clone()), PriceBasis::infer(&history));
    let sources = RatingSources::new(&prepared, &basis);
    let instrument = history.instruments.iter().position(|i| i.instrument.symbol.as_str() == "BABA").unwrap();
    let value = |day: &str| {
        let session = history.sessions.binary_search(&day.parse().unwrap()).unwrap();
        let found = sources.market_value(Place { instrument, session });
        let units = found.map(|value| value / history.instruments[instrument].close[session] / 1e9);
        println!("BABA {day}: {:?} billion dollars, {units:?} billion depositary shares", found.map(|v| v / 1e9));
        units.unwrap()
    };
    // Eight ordinary shares for one depositary share since 2019-07-30, when their number rose eightfold too.
    let table = [
        ("2015-07-01", 2.495),
        ("2018-06-05", 2.529),
        ("2019-07-29", 2.587),
        ("2019-07-31", 2.587),
        ("2020-07-13", 2.686),
        ("2024-09-30", 2.434),
    ];
    for (day, expected) in table {
        assert!((value(day) - expected).abs() < 0.001, "{day}");
    }
    for spot in SPOTS {
        let ratio = spot.computed(&prepared, &sources).unwrap() / spot.reported;
        assert!((0.9..1.15).contains(&ratio), "{spot:?}: {ratio}");
    }
}

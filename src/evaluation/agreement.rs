//! A small market made by rule, whose scores were also computed with numpy, pandas and scipy: both must agree to 1e-6.
//!
//! It holds what scores stumble over: a young and a very young instrument, one that ends, gaps, a flat stretch, ties, an
//! index, decisions named by a Saturday, too early or too late to be scored.

use std::collections::BTreeMap;

use chrono::{Datelike, Days, Weekday};

use crate::evaluation::forecasts::{DirectionRow, Forecasts, QuantileRow, RankRow, VolatilityRow};
use crate::evaluation::report::{Comparison, LossReport};
use crate::evaluation::scorecard::{Scorecard, score};
use crate::market::bar::{Bar, BarFields, Day};
use crate::market::history::{History, InstrumentRows};
use crate::market::instrument::{Instrument, InstrumentKind, Symbol};

const SESSIONS: usize = 1120;
const INSTRUMENTS: usize = 27;
const INDEX: usize = 26;

/// Knuth's 64-bit linear congruential generator: the same numbers in any language.
struct Congruential(u64);

impl Congruential {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn symbol(index: usize) -> Symbol {
    Symbol::parse(&if index == INDEX { "VIX".into() } else { format!("A{index:02}") }).unwrap()
}

fn sessions() -> Vec<Day> {
    let start = Day::from_ymd_opt(2013, 1, 1).unwrap();
    start.iter_days().filter(|d| !matches!(d.weekday(), Weekday::Sat | Weekday::Sun)).take(SESSIONS).collect()
}

fn has_bar(index: usize, session: usize) -> bool {
    match index {
        1 => session >= 400,
        2 => session >= 600,
        3 => session <= 850,
        4 => ![500, 871, 872].contains(&session),
        _ => true,
    }
}

fn market() -> History {
    let (mut random, mut level) = (Congruential(1), [0.0; INSTRUMENTS]);
    let mut bars: Vec<Vec<Bar>> = vec![Vec::new(); INSTRUMENTS];
    for (session, day) in sessions().into_iter().enumerate() {
        let common = random.next() - 0.5;
        for index in 0..INSTRUMENTS {
            let shock = random.next() + random.next() + random.next() - 1.5;
            let flat = index == 5 && (850..900).contains(&session);
            let log_return = 0.01 * common + 0.02 * shock * (0.5 + index as f64 / 26.0);
            level[index] += if flat { 0.0 } else { log_return };
            if index == 7 {
                level[7] = level[6];
            }
            if has_bar(index, session) {
                let close = 100.0 * level[index].exp();
                let fields = BarFields { day, open: None, high: None, low: None, close, volume: None };
                bars[index].push(Bar::new(fields).unwrap());
            }
        }
    }
    let rows = bars.into_iter().enumerate().map(|(index, bars)| {
        let kind = if index == INDEX { InstrumentKind::Index } else { InstrumentKind::Equity };
        let instrument = Instrument { kind, ..Instrument::unnamed(symbol(index)) };
        InstrumentRows { instrument, bars, actions: vec![], filings: vec![] }
    });
    History::assemble(rows.collect(), vec![])
}

fn forecasts() -> Forecasts {
    let (sessions, mut random) = (sessions(), Congruential(2));
    let (mut forecasts, mut ranks) = (Forecasts::default(), Vec::new());
    for session in std::iter::once(200).chain((800..SESSIONS).step_by(10)) {
        let day = sessions[session];
        let as_of = if day.weekday() == Weekday::Fri { day + Days::new(1) } else { day };
        for symbol in (0..INSTRUMENTS).map(symbol) {
            let weights: [f64; 5] = std::array::from_fn(|_| 0.5 + random.next());
            let quintile_probabilities = weights.map(|w| w / weights.iter().sum::<f64>());
            if symbol.as_str() != "VIX" {
                ranks.push(RankRow { as_of, symbol: symbol.clone(), quintile_probabilities });
            }
            add_rows(&mut forecasts, (as_of, &symbol), &mut random);
        }
    }
    Forecasts { ranks: BTreeMap::from([(20, ranks)]), ..forecasts }
}

fn add_rows(forecasts: &mut Forecasts, (as_of, symbol): (Day, &Symbol), random: &mut Congruential) {
    for horizon in [5, 20] {
        let (symbol, root) = (|| symbol.clone(), (horizon as f64).sqrt());
        let sigma = 0.01 * root * (0.5 + random.next());
        forecasts.volatility.push(VolatilityRow { as_of, symbol: symbol(), horizon, sigma });
        for quantile in [0.05, 0.25, 0.5, 0.75, 0.95] {
            let value = (quantile - 0.5) * 0.03 * root * (0.5 + random.next());
            forecasts.quantiles.push(QuantileRow { as_of, symbol: symbol(), horizon, quantile, value });
        }
        let probability_up = 0.3 + 0.4 * random.next();
        forecasts.direction.push(DirectionRow { as_of, symbol: symbol(), horizon, probability_up });
    }
}

fn card() -> Scorecard {
    score(&forecasts(), &market(), None).unwrap()
}

fn close(name: &str, values: &[f64], expected: &[f64]) {
    assert_eq!(values.len(), expected.len(), "{name}");
    for (at, (value, expected)) in values.iter().zip(expected).enumerate() {
        assert!((value - expected).abs() < 1e-6, "{name}[{at}]: {value} is not {expected}");
    }
}

/// Mean and median loss, then benchmark loss, skill, statistic and p-value of each benchmark.
fn numbers(report: &LossReport) -> Vec<f64> {
    let compared = |c: &Comparison| [c.benchmark_loss, c.skill, c.diebold_mariano.unwrap(), c.p_value_two_sided.unwrap()];
    let own = [report.overall.mean, report.overall.median];
    own.into_iter().chain(report.overall.comparisons.iter().flat_map(compared)).collect()
}

//! A small seeded history for tests: volatility clusters, gaps, young, closes-only and index instruments, filings with
//! recorded splits, rates.

use chrono::{Days, Months};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::market::bar::{Action, Bar, BarFields, Day};
use crate::market::calendar;
use crate::market::factor::{FactorHistory, Observation};
use crate::market::filing::Filing;
use crate::market::history::{History, InstrumentRows, KnownFiling};
use crate::market::instrument::{Instrument, InstrumentKind, Symbol};

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub seed: u64,
    pub sessions: usize,
    pub instruments: usize,
    /// Whether bars hold more than closes.
    pub ranges: bool,
    /// Whether there are rates, a market fund, filings and an index.
    pub surroundings: bool,
}

impl Default for Sample {
    fn default() -> Self {
        Self { seed: 7, sessions: 700, instruments: 8, ranges: true, surroundings: true }
    }
}

/// Instrument 1 is young (a fifth of the sessions), instrument 2 has gaps, instrument 3 splits 4:1 half way and files in
/// CNY, instrument 4 ends early.
pub(crate) fn sample(sample: &Sample) -> History {
    let mut random = ChaCha8Rng::seed_from_u64(sample.seed);
    let start = Day::from_ymd_opt(2015, 1, 1).unwrap();
    let days: Vec<Day> = (1..=sample.sessions).map(|k| calendar::add_sessions(start, k)).collect();
    let market: Vec<f64> = clustered(&mut random, days.len(), 0.01);
    let mut rows: Vec<InstrumentRows> = (0..sample.instruments)
        .map(|k| {
            let own = clustered(&mut random, days.len(), 0.01 + 0.002 * k as f64);
            let returns: Vec<f64> = market.iter().zip(&own).map(|(m, o)| (0.5 + 0.1 * k as f64) * m + o).collect();
            instrument_rows(&mut random, (k, sample), &days, &returns)
        })
        .collect();
    let mut factors = vec![];
    if sample.surroundings {
        rows.push(fund("SPY", InstrumentKind::Etf, &days, &market));
        rows.push(fund("VIX", InstrumentKind::Index, &days, &clustered(&mut random, days.len(), 0.05)));
        for (id, level) in [("DGS2", 2.0), ("DGS10", 3.0), ("T10Y2Y", 1.0), ("DTWEXBGS", 110.0), ("CNYUSD", 0.15)] {
            factors.push(factor(&mut random, id, level, &days));
        }
    }
    History::assemble(rows, factors)
}

fn clustered(random: &mut ChaCha8Rng, count: usize, scale: f64) -> Vec<f64> {
    let mut log_volatility = 0.0;
    (0..count)
        .map(|_| {
            let (a, b): (f64, f64) = (StandardNormal.sample(random), StandardNormal.sample(random));
            log_volatility = 0.97 * log_volatility + 0.12 * a;
            scale * f64::exp(log_volatility) * b
        })
        .collect()
}

fn instrument_rows(
    random: &mut ChaCha8Rng,
    (k, sample): (usize, &Sample),
    days: &[Day],
    returns: &[f64],
) -> InstrumentRows {
    let split_at = days.len() / 2;
    let (mut close, mut bars, mut actions) = (50.0, vec![], vec![]);
    for (t, (day, r)) in days.iter().zip(returns).enumerate() {
        let mut open = close * (r * 0.3).exp();
        close *= r.exp();
        if k == 3 && t == split_at {
            (close, open) = (close / 4.0, open / 4.0);
            actions.push(Action { day: *day, split: 4.0, dividend: 0.0 });
        }
        let absent =
            (k == 1 && t < days.len() * 4 / 5) || (k == 2 && t % 11 == 3) || (k == 4 && t > days.len() * 9 / 10);
        if absent {
            continue;
        }
        let wick = 1.0 + 0.004 * random.random::<f64>();
        let range = |x: f64| sample.ranges.then_some(x);
        bars.push(BarFields {
            day: *day,
            open: range(open),
            high: range(open.max(close) * wick),
            low: range(open.min(close) / wick),
            close,
            volume: range(1e6 * (1.0 + random.random::<f64>())),
        });
    }
    let mut instrument = Instrument::unnamed(Symbol::parse(&format!("TEST{k}")).unwrap());
    instrument.sector = Some("Industrials".into());
    let filings = if sample.surroundings && k != 0 { filings(random, k, days) } else { vec![] };
    InstrumentRows { instrument, bars: bars.into_iter().map(|b| Bar::new(b).unwrap()).collect(), actions, filings }
}

fn filings(random: &mut ChaCha8Rng, k: usize, days: &[Day]) -> Vec<KnownFiling> {
    let split_day = days[days.len() / 2];
    let quarters = 8 + days.len() / 63;
    (0..quarters as u32)
        .map(|q| {
            let period_end = Day::from_ymd_opt(2013, 1, 1).unwrap() + Months::new(3 * q) - Days::new(1);
            let filed = period_end + Days::new(30);
            let mut near = |x: f64| Some(x * (1.0 + 0.1 * random.random::<f64>()));
            let filing = Filing {
                period_end,
                filed,
                period_months: 3,
                currency: if k == 3 { "CNY".into() } else { "USD".into() },
                revenue: near(1e9),
                net_income: near(1e8),
                total_assets: near(8e9),
                equity: near(4e9),
                operating_cash_flow: near(1.5e8),
                capital_expenditure: None,
                free_cash_flow: None,
                shares: Some(if k == 3 && filed > split_day { 8e8 } else { 2e8 }),
                shares_per_unit: 1.0,
                debt: (k == 5).then_some(2e9),
            };
            KnownFiling { known_at: calendar::close_of(calendar::next_session(filed)), filing }
        })
        .collect()
}

fn fund(symbol: &str, kind: InstrumentKind, days: &[Day], returns: &[f64]) -> InstrumentRows {
    let mut close = 20.0;
    let bars = days.iter().zip(returns).map(|(day, r)| {
        close *= f64::exp(*r);
        let volume = Some(if kind == InstrumentKind::Index { 0.0 } else { 1e7 });
        Bar::new(BarFields { day: *day, open: None, high: None, low: None, close, volume }).unwrap()
    });
    let bars = bars.collect();
    let instrument = Instrument { kind, ..Instrument::unnamed(Symbol::parse(symbol).unwrap()) };
    InstrumentRows { instrument, bars, actions: vec![], filings: vec![] }
}

fn factor(random: &mut ChaCha8Rng, id: &str, level: f64, days: &[Day]) -> FactorHistory {
    let observation = |day: &Day| {
        let known_at = calendar::close_of(calendar::next_session(*day));
        Observation { day: *day, known_at, value: level * (1.0 + 0.05 * random.random::<f64>()) }
    };
    FactorHistory { id: id.into(), observations: days.iter().map(observation).collect() }
}

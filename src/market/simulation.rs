//! A simulated market for demonstration and tests: correlated instruments with volatility clustering, one with a
//! planted effect, one pure noise. No name can be mistaken for a real one; the days are real sessions.

use crate::market::bar::Day;
use crate::market::calendar;
use crate::market::factor::FactorHistory;
use crate::market::history::{History, InstrumentRows};
use crate::market::instrument::{Instrument, InstrumentKind, Symbol};
use crate::market::simulated_bars::{Listing, trade};
use crate::market::simulated_paths::{Path, SectorPaths, noise_path, planted_path, random};
use crate::market::simulated_reports::{Company, factor_histories, file_reports};

/// The simulated market fund, an ETF.
pub const MARKET_SYMBOL: &str = "SIM-MARKET";

/// Its last 20 sessions' return carries into the next ones.
pub const PLANTED_SYMBOL: &str = "SIM-PLANTED";

/// Independent Gaussian returns of constant volatility: nothing about it can be forecast.
pub const NOISE_SYMBOL: &str = "SIM-NOISE";

/// Sessions of the youngest instrument, the last one of a market of at least [`YOUNG_FROM`].
pub const YOUNG_SESSIONS: usize = 150;

/// Instruments from which on the last one is young.
pub const YOUNG_FROM: usize = 10;

/// Sectors, in turn; one of them is financed by deposits.
const SECTORS: [&str; 4] = ["Information Technology", "Financials", "Energy", "Health Care"];

/// Size, end and seed of a simulated market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationOptions {
    /// Seed of all chance.
    pub seed: u64,
    /// Instruments, the three named ones included: `SIM-MARKET`, `SIM-PLANTED`, `SIM-NOISE`, `SIM-01`, `SIM-02`, ...
    pub instruments: usize,
    /// Sessions, the last one on or before `last_day`.
    pub sessions: usize,
    /// Day on which the simulation ends.
    pub last_day: Day,
}

/// A market as it would come from files.
#[derive(Debug, Clone)]
pub struct SimulatedMarket {
    /// Instruments in the order of [`SimulationOptions::instruments`].
    pub rows: Vec<InstrumentRows>,
    /// `DGS2`, `DGS10` (percent), `VIXCLS` (points), `DTWEXBGS` (index), each known as late as the real series.
    pub factors: Vec<FactorHistory>,
}

impl SimulatedMarket {
    /// The rows laid out over their sessions.
    #[must_use]
    pub fn history(self) -> History {
        History::assemble(self.rows, self.factors)
    }
}

/// Simulates a market. The same options give the same rows; more instruments leave the rows of the earlier ones as they
/// are, except that the last one is young.
///
/// Daily log return = drift + beta x market + sector + own part; each part is a Student-t shock (5 degrees of freedom)
/// times a stochastic log-volatility; own volatility follows the market's by its square root.
#[must_use]
pub fn simulate(options: SimulationOptions) -> SimulatedMarket {
    let days = session_days(options.sessions, options.last_day);
    let sectors = SectorPaths::new(options.seed, days.len(), SECTORS.len());
    let rows = (0..options.instruments).map(|index| simulate_instrument(index, options, &days, &sectors)).collect();
    SimulatedMarket { rows, factors: factor_histories(options.seed, &days, &sectors.market) }
}

fn simulate_instrument(
    index: usize,
    options: SimulationOptions,
    days: &[Day],
    sectors: &SectorPaths,
) -> InstrumentRows {
    let mut random = random(options.seed, 100 + index as u64);
    let path: Path = match index {
        0 => sectors.market.clone(),
        1 => planted_path(days.len(), &mut random),
        2 => noise_path(days.len(), &mut random),
        _ => sectors.member(index % SECTORS.len(), &mut random),
    };
    let young = index + 1 == options.instruments && options.instruments >= YOUNG_FROM;
    let first = if young { days.len().saturating_sub(YOUNG_SESSIONS) } else { 0 };
    let listing = Listing::draw(index, days.len(), &mut random);
    let (bars, actions) = trade(&days[first..], &path.since(first), &listing, &mut random);
    let files = index == 1 || (index > 2 && !index.is_multiple_of(3));
    let filings = match bars.first() {
        Some(bar) if files => {
            let company = Company { first_price: bar.close(), actions: &actions };
            file_reports(&days[first..], &company, &mut random)
        }
        _ => vec![],
    };
    InstrumentRows { instrument: instrument(index), bars, actions, filings }
}

fn instrument(index: usize) -> Instrument {
    let (symbol, name) = match index {
        0 => (MARKET_SYMBOL.to_owned(), "Simulated market fund".to_owned()),
        1 => (PLANTED_SYMBOL.to_owned(), "Simulated company with a planted effect".to_owned()),
        2 => (NOISE_SYMBOL.to_owned(), "Simulated company of pure noise".to_owned()),
        i => (format!("SIM-{:02}", i - 2), format!("Simulated company {}", i - 2)),
    };
    let symbol = Symbol::parse(&symbol).unwrap_or_else(|_| unreachable!("simulated names are short and plain"));
    let kind = if index == 0 { InstrumentKind::Etf } else { InstrumentKind::Equity };
    let sector = (index > 2).then(|| SECTORS[index % SECTORS.len()].to_owned());
    Instrument { name: Some(name), sector, kind, ..Instrument::unnamed(symbol) }
}

/// The last `count` sessions until a day, ascending.
fn session_days(count: usize, last_day: Day) -> Vec<Day> {
    let backwards = last_day.iter_days().rev().filter(|day| calendar::is_session(*day));
    let mut days: Vec<Day> = backwards.take(count).collect();
    days.reverse();
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: SimulationOptions = SimulationOptions {
        seed: 7,
        instruments: 30,
        sessions: 1600,
        last_day: Day::from_ymd_opt(2024, 9, 30).unwrap(),
    };

    fn correlation(x: &[f64], y: &[f64]) -> f64 {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (mx, my) = (mean(x), mean(y));
        let sum = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(a, b)| f(a - mx, b - my)).sum::<f64>();
        sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
    }

    fn returns(history: &History, symbol: &str) -> Vec<f64> {
        history.find(&Symbol::parse(symbol).unwrap()).unwrap().log_return[1..].to_vec()
    }

    /// Correlation of each non-overlapping 20-session return with the next.
    fn block_autocorrelation(history: &History, symbol: &str) -> f64 {
        let blocks: Vec<f64> = returns(history, symbol).chunks_exact(20).map(|c| c.iter().sum()).collect();
        correlation(&blocks[1..], &blocks[..blocks.len() - 1])
    }

    #[test]
    fn the_market_has_the_size_asked_for_and_repeats() {
        let (market, again) = (simulate(OPTIONS), simulate(OPTIONS));
        assert_eq!(market.rows.len(), 30);
        for (rows, twin) in market.rows.iter().zip(&again.rows) {
            assert_eq!((&rows.bars, &rows.actions, &rows.filings), (&twin.bars, &twin.actions, &twin.filings));
            assert!(rows.instrument.symbol.as_str().starts_with("SIM-"));
        }
        assert_eq!(market.factors, again.factors);
        let history = market.history();
        assert_eq!((history.sessions.len(), history.sessions[1599]), (1600, OPTIONS.last_day));
        let young = history.instruments.iter().filter(|i| i.first != Some(0)).count();
        assert_eq!(young, 1);
        assert!(history.instruments.iter().all(|i| i.last == Some(1599) && !i.is_index()));
        let fewer = simulate(SimulationOptions { instruments: 5, ..OPTIONS });
        assert_eq!(fewer.rows[4].bars, again.rows[4].bars);
        assert_ne!(simulate(SimulationOptions { seed: 8, ..OPTIONS }).rows[0].bars, again.rows[0].bars);
    }

    #[test]
    fn stylized_facts_hold() {
        let history = simulate(OPTIONS).history();
        let market = returns(&history, MARKET_SYMBOL);
        let member = returns(&history, "SIM-01");
        assert!(correlation(&market, &member) > 0.2);
        assert!(correlation(&market, &returns(&history, NOISE_SYMBOL)).abs() < 0.1);
        // Volatility clusters in the market and not in the noise: mean absolute returns of neighbouring months.
        let clustering = |r: &[f64]| {
            let months: Vec<f64> = r.chunks_exact(20).map(|c| c.iter().map(|v| v.abs()).sum()).collect();
            correlation(&months[1..], &months[..months.len() - 1])
        };
        assert!(clustering(&market) > 0.3, "{}", clustering(&market));
        assert!(clustering(&returns(&history, NOISE_SYMBOL)) < 0.25);
        let annual = (market.iter().map(|r| r * r).sum::<f64>() / market.len() as f64 * 252.0).sqrt();
        assert!((0.08..0.35).contains(&annual), "{annual}");
    }

    #[test]
    fn the_planted_effect_is_there_and_the_noise_has_none() {
        for seed in 1..4 {
            let history = simulate(SimulationOptions { seed, instruments: 3, ..OPTIONS }).history();
            assert!(block_autocorrelation(&history, PLANTED_SYMBOL) > 0.3);
            assert!(block_autocorrelation(&history, NOISE_SYMBOL).abs() < 0.25);
        }
    }

    #[test]
    fn actions_filings_and_factors_are_there_in_time() {
        // A day on which the quarter has ended but not been filed.
        let last_day = Day::from_ymd_opt(2024, 7, 15).unwrap();
        let market = simulate(SimulationOptions { last_day, ..OPTIONS });
        let splits: Vec<_> = market.rows.iter().flat_map(|r| &r.actions).filter(|a| a.split != 1.0).collect();
        assert_eq!(splits.len(), 1);
        assert!(market.rows.iter().filter(|r| r.actions.iter().any(|a| a.dividend > 0.0)).count() > 5);
        let close = calendar::close_of(last_day);
        let filings = || market.rows.iter().flat_map(|r| &r.filings);
        assert!(filings().count() > 100);
        assert!(filings().all(|f| f.known_at <= close && f.filing.filed > f.filing.period_end));
        let ids: Vec<&str> = market.factors.iter().map(|f| f.id.as_str()).collect();
        assert_eq!(ids, ["DGS10", "DGS2", "DTWEXBGS", "VIXCLS"]);
        assert!(market.factors.iter().flat_map(|f| &f.observations).all(|o| o.known_at > calendar::close_of(o.day)));
    }

    #[test]
    fn tiny_markets_do_not_fail() {
        for (instruments, sessions) in [(0, 0), (1, 1), (12, 2), (4, 30)] {
            let market = simulate(SimulationOptions { instruments, sessions, ..OPTIONS });
            assert_eq!(market.rows.len(), instruments);
            assert!(market.history().sessions.len() <= sessions);
        }
    }
}

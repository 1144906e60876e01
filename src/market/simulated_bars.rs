//! Bars and actions of a simulated instrument, consistent with its log total returns.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::market::bar::{Action, Bar, BarFields, Day};
use crate::market::simulated_paths::{Path, normal};

/// Share of a day's variance that falls between the close and the next open.
const OVERNIGHT_SHARE: f64 = 0.25;

/// Sessions between dividends.
const DIVIDEND_SESSIONS: usize = 63;

/// How an instrument is listed.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    first_price: f64,
    /// Dividend of a quarter over the price; 0 for none.
    dividend_yield: f64,
    /// Session on which four new shares replace one.
    split_on: Option<usize>,
    /// Shares traded on a quiet day.
    usual_volume: f64,
}

impl Listing {
    /// Draws price level and turnover; the fund and every second company pay dividends, `SIM-01` splits once.
    #[must_use]
    pub fn draw(index: usize, sessions: usize, random: &mut ChaCha8Rng) -> Self {
        let pays = index != 2 && index.is_multiple_of(2);
        Self {
            first_price: random.random_range(20.0..200.0),
            dividend_yield: if pays { 0.005 } else { 0.0 },
            split_on: (index == 3).then_some(sessions * 2 / 3),
            usual_volume: random.random_range(5e5..2e7),
        }
    }

    fn action(&self, day: Day, session: usize, previous_close: f64) -> Option<Action> {
        let split = if self.split_on == Some(session) { 4.0 } else { 1.0 };
        let due = session % DIVIDEND_SESSIONS == DIVIDEND_SESSIONS - 1;
        let dividend = if due { round_to(self.dividend_yield * previous_close, 2) } else { 0.0 };
        (split != 1.0 || dividend > 0.0).then_some(Action { day, split, dividend })
    }
}

/// Trades a path: the close follows the return (rounded to a hundredth of a cent), the open takes part of it, high and
/// low are the extremes of a Brownian bridge from open to close.
///
/// # Shapes
/// One bar a day. `path` must be as long as `days`; its first return is unused.
#[must_use]
pub fn trade(days: &[Day], path: &Path, listing: &Listing, random: &mut ChaCha8Rng) -> (Vec<Bar>, Vec<Action>) {
    let (mut bars, mut actions) = (Vec::with_capacity(days.len()), vec![]);
    let mut previous = listing.first_price;
    for (t, day) in days.iter().enumerate() {
        let action = if t == 0 { None } else { listing.action(*day, t, previous) };
        // What the previous close is worth on the new basis.
        let base = action.map_or(previous, |a| (previous - a.dividend) / a.split);
        let log_return = if t == 0 { 0.0 } else { path.log_return[t] };
        let session = Session { base, log_return, volatility: path.volatility[t], usual_volume: listing.usual_volume };
        let bar = Bar::new(session.draw(*day, random));
        // A price that has rounded to nothing has no bar, as a delisted one.
        let Ok(bar) = bar else { break };
        previous = bar.close();
        bars.push(bar);
        actions.extend(action);
    }
    (bars, actions)
}

struct Session {
    base: f64,
    log_return: f64,
    volatility: f64,
    usual_volume: f64,
}

impl Session {
    fn draw(&self, day: Day, random: &mut ChaCha8Rng) -> BarFields {
        let spread = self.volatility * (OVERNIGHT_SHARE * (1.0 - OVERNIGHT_SHARE)).sqrt();
        let overnight = OVERNIGHT_SHARE * self.log_return + spread * normal(random);
        let intraday = self.log_return - overnight;
        let open = self.base * overnight.exp();
        let variance = self.volatility * self.volatility * (1.0 - OVERNIGHT_SHARE);
        let high = open * bridge_maximum(intraday, variance, random).exp();
        let low = open * (-bridge_maximum(-intraday, variance, random)).exp();
        let surprise = self.log_return.abs() / self.volatility.max(f64::MIN_POSITIVE);
        let volume = self.usual_volume * (0.3 * normal(random) + 0.25 * surprise).exp();
        BarFields {
            day,
            open: Some(round_to(open, 4)),
            high: Some(round_to(high, 4)),
            low: Some(round_to(low, 4)),
            close: round_to(self.base * self.log_return.exp(), 4),
            volume: Some(volume.round()),
        }
    }
}

/// Maximum of a Brownian bridge from 0 to `end`: `(end + sqrt(end^2 - 2 variance ln U)) / 2`.
fn bridge_maximum(end: f64, variance: f64, random: &mut ChaCha8Rng) -> f64 {
    let uniform: f64 = 1.0 - random.random::<f64>();
    f64::midpoint(end, (end * end - 2.0 * variance * uniform.ln()).sqrt())
}

fn round_to(value: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::simulated_paths::{noise_path, random};

    #[test]
    fn bars_give_back_the_returns_they_come_from() {
        let first = Day::from_ymd_opt(2020, 1, 1).unwrap();
        let days: Vec<Day> = first.iter_days().take(200).collect();
        let mut random = random(3, 0);
        let path = noise_path(200, &mut random);
        let listing = Listing { first_price: 80.0, dividend_yield: 0.01, split_on: Some(62), usual_volume: 1e6 };
        let (bars, actions) = trade(&days, &path, &listing, &mut random);
        assert_eq!((bars.len(), actions.len()), (200, 3));
        assert_eq!((actions[0].split, actions[0].day), (4.0, days[62]));
        for t in 1..200 {
            let none = Action { day: days[t], split: 1.0, dividend: 0.0 };
            let action = actions.iter().find(|a| a.day == days[t]).unwrap_or(&none);
            let found = action.log_return(bars[t - 1].close(), bars[t].close()).unwrap();
            assert!((found - path.log_return[t]).abs() < 2e-5, "{t}");
        }
    }

    #[test]
    fn ranges_are_as_wide_as_the_volatility_says() {
        let first = Day::from_ymd_opt(2000, 1, 1).unwrap();
        let days: Vec<Day> = first.iter_days().take(4000).collect();
        let mut random = random(5, 0);
        let path = noise_path(4000, &mut random);
        let listing = Listing { first_price: 1e6, dividend_yield: 0.0, split_on: None, usual_volume: 1e6 };
        let (bars, _) = trade(&days, &path, &listing, &mut random);
        // Parkinson (1980): mean (ln high/low)^2 = 4 ln 2 x variance of the open session.
        let ranges = bars.iter().map(|b| b.fields()).map(|f| (f.high.unwrap() / f.low.unwrap()).ln().powi(2));
        let variance = ranges.sum::<f64>() / 4000.0 / (4.0 * 2f64.ln());
        assert!((variance / (0.012 * 0.012 * 0.75) - 1.0).abs() < 0.15, "{variance}");
    }
}

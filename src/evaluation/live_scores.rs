//! What one published answer was worth: its losses, beside those of the benchmark that it had to beat, and what its action
//! paid beside holding.

use serde::{Deserialize, Serialize};

use crate::decision::action::Action;
use crate::decision::holder::Holder;
use crate::evaluation::outcomes::VARIANCE_FLOOR;
use crate::evaluation::rank_scores::{CLASS_COUNT, ranked_probability_score};
use crate::evaluation::scores::{brier_score, pinball_loss, qlike};
use crate::market::history::InstrumentHistory;

/// Pinball losses are in percent of log return.
const PERCENT: f64 = 100.0;
/// Sums of log returns within this of 0 are rounding: the price came back to where it was.
const ROUNDING: f64 = 1e-12;
/// Intervals between and beyond the nine quantiles.
pub const PIT_BINS: usize = 10;

/// What was said of one instrument over one horizon. Log returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Law {
    /// Probabilities, ascending, and the quantiles at them.
    pub quantiles: Vec<(f64, f64)>,
    /// Central interval of 50 %.
    pub interval_50: (f64, f64),
    /// Central interval of 90 %.
    pub interval_90: (f64, f64),
    /// Forecast of the mean daily variance, above 0.
    pub daily_variance: f64,
    /// Probability of a positive return.
    pub probability_up: f64,
}

/// What happened to one instrument over the sessions after a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Happened {
    /// Log total return; exactly 0 for an unchanged price.
    pub log_return: f64,
    /// Mean squared daily log return, of those present.
    pub daily_variance: f64,
    /// Sum of squared daily log returns.
    pub variance: f64,
}

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotScored {
    /// There is no bar on the last session.
    PricesStopped,
    /// Fewer than four fifths of the returns are known.
    PricesMissing,
}

impl NotScored {
    /// The word used in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PricesStopped => "prices_stopped",
            Self::PricesMissing => "prices_missing",
        }
    }
}

impl Happened {
    /// What an instrument did in the sessions after `session` up to and including `end`. A return that is missing counts
    /// as none and the next one spans the gap, as in training.
    ///
    /// # Errors
    /// [`NotScored`]: it stopped trading before the end, or too many of its returns are missing.
    pub fn between(instrument: &InstrumentHistory, session: usize, end: usize) -> Result<Self, NotScored> {
        if !instrument.close.get(end).is_some_and(|close| close.is_finite()) {
            return Err(NotScored::PricesStopped);
        }
        let length = end.saturating_sub(session);
        let returns = instrument.log_return.get(session + 1..=end).unwrap_or_default();
        let present = returns.iter().filter(|r| r.is_finite()).count();
        if present == 0 || 5 * present < 4 * length {
            return Err(NotScored::PricesMissing);
        }
        let variance: f64 = returns.iter().filter(|r| r.is_finite()).map(|r| r * r).sum();
        let log_return = carried_return(instrument, session, end);
        Ok(Self { log_return, daily_variance: variance / present as f64, variance })
    }
}

/// Log total return over the same sessions with missing prices carried forward, so that whoever stopped trading keeps its
/// place among the others.
#[must_use]
pub fn carried_return(instrument: &InstrumentHistory, session: usize, end: usize) -> f64 {
    let returns = instrument.log_return.get(session + 1..=end).unwrap_or_default();
    let sum: f64 = returns.iter().filter(|r| r.is_finite()).sum();
    if sum.abs() < ROUNDING { 0.0 } else { sum }
}

/// The losses of one law on one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Ranked probability score of the fifths; `None` where the instrument was not ranked.
    pub ranked_probability_score: Option<f64>,
    /// Mean pinball loss over the nine quantiles, percent of log return.
    pub pinball_loss: f64,
    /// QLIKE of the variance; `None` where the price did not move.
    pub qlike: Option<f64>,
    /// Brier score of the probability of a rise.
    pub brier_score: f64,
    /// Whether the 50 % interval held the return.
    pub covered_50: bool,
    /// Whether the 90 % interval held the return.
    pub covered_90: bool,
}

impl Losses {
    /// Scores a law, and the chances of the fifths where there are any, beside the fifths that the instrument fell into.
    #[must_use]
    pub fn of(law: &Law, ranked: Option<(&[f64; CLASS_COUNT], &[f64; CLASS_COUNT])>, happened: &Happened) -> Self {
        let r = happened.log_return;
        let holds = |(low, high): (f64, f64)| low <= r && r <= high;
        let losses = law.quantiles.iter().map(|(p, quantile)| pinball_loss(*p, PERCENT * quantile, PERCENT * r));
        let moved = happened.daily_variance > VARIANCE_FLOOR && law.daily_variance > 0.0;
        Self {
            ranked_probability_score: ranked.map(|(chances, fell)| ranked_probability_score(chances, fell)),
            pinball_loss: losses.sum::<f64>() / law.quantiles.len().max(1) as f64,
            qlike: moved.then(|| qlike(happened.daily_variance, law.daily_variance)),
            brier_score: brier_score(law.probability_up, r > 0.0),
            covered_50: holds(law.interval_50),
            covered_90: holds(law.interval_90),
        }
    }
}

/// The served action with the terms on which it was decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decided {
    /// What was served.
    pub action: Action,
    /// For whom.
    pub holder: Holder,
    /// lambda, per unit of exposure squared and variance.
    pub risk_aversion: f64,
    /// c, cost of trading one unit as a fraction.
    pub cost: f64,
}

/// What the served action paid, and what holding would have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Payoffs {
    /// `e R - (lambda/2) e^2 RV - c |d|`, with the realized simple return R and the realized variance RV.
    pub charged: f64,
    /// The same of holding.
    pub hold_charged: f64,
    /// `e R - c |d|`, a simple return on one unit after costs.
    pub money: f64,
    /// The same of holding.
    pub hold_money: f64,
}

impl Payoffs {
    /// What the action paid. What the crowd did is not known afterwards either, so its impact is left out.
    #[must_use]
    pub fn of(decided: &Decided, happened: &Happened) -> Self {
        let simple_return = happened.log_return.exp_m1();
        let pay = |action: Action| {
            let exposure = f64::from(decided.holder.exposure_after(action));
            let change = exposure - f64::from(decided.holder.exposure());
            let money = exposure * simple_return - decided.cost * change.abs();
            (money - 0.5 * decided.risk_aversion * exposure * exposure * happened.variance, money)
        };
        let ((charged, money), (hold_charged, hold_money)) = (pay(decided.action), pay(Action::Hold));
        Self { charged, hold_charged, money, hold_money }
    }
}

/// Which heads of an answer were the network's; the others are the benchmark's own and lose the same by definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkHeads {
    /// The ranks.
    pub ranks: bool,
    /// The law of the return: its mean or its volatility.
    pub returns: bool,
    /// The volatility.
    pub volatility: bool,
    /// The probability of a rise.
    pub direction: bool,
}

/// The score of one instrument over one horizon, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstrumentScore {
    /// Realized log total return.
    pub realized_return: f64,
    /// Realized mean squared daily log return.
    pub realized_variance: f64,
    /// What was served.
    pub served: Losses,
    /// The benchmark; `None` where it could not be computed again.
    pub benchmark: Option<Losses>,
    /// What the action paid; `None` for an entry without one.
    pub payoffs: Option<Payoffs>,
    /// The served probability of a rise.
    pub probability_up: f64,
    /// Quantiles below the return: which of the intervals between them it fell into, 0..=9.
    pub quantiles_below: usize,
    /// The heads that were the network's.
    pub network: NetworkHeads,
}

/// What one instrument is scored on.
#[derive(Debug, Clone, Copy)]
pub struct Scorable<'a> {
    /// The served law.
    pub served: &'a Law,
    /// The benchmark's, where it is known.
    pub benchmark: Option<&'a Law>,
    /// Chances of the fifths: served, the benchmark's, and the fifths that it fell into; `None` where it was not ranked.
    pub ranked: Option<Ranked<'a>>,
    /// The action.
    pub decided: Option<&'a Decided>,
    /// The heads that were the network's.
    pub network: NetworkHeads,
}

/// Ranks of one instrument.
#[derive(Debug, Clone, Copy)]
pub struct Ranked<'a> {
    /// Served chances, worst fifth first.
    pub served: &'a [f64; CLASS_COUNT],
    /// The benchmark's; `None` where they are not known.
    pub benchmark: Option<&'a [f64; CLASS_COUNT]>,
    /// The fifths that it fell into; ties share.
    pub fell: &'a [f64; CLASS_COUNT],
}

impl InstrumentScore {
    /// Scores an instrument.
    #[must_use]
    pub fn of(scorable: &Scorable<'_>, happened: &Happened) -> Self {
        let Scorable { served, benchmark, ranked, decided, network } = *scorable;
        let benchmark_ranked = ranked.and_then(|r| Some((r.benchmark?, r.fell)));
        Self {
            realized_return: happened.log_return,
            realized_variance: happened.daily_variance,
            served: Losses::of(served, ranked.map(|r| (r.served, r.fell)), happened),
            benchmark: benchmark.map(|law| Losses::of(law, benchmark_ranked, happened)),
            payoffs: decided.map(|decided| Payoffs::of(decided, happened)),
            probability_up: served.probability_up,
            quantiles_below: served.quantiles.iter().filter(|(_, q)| *q < happened.log_return).count(),
            network,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::bar::{Bar, BarFields, Day};
    use crate::market::history::{History, InstrumentRows};
    use crate::market::instrument::{Instrument, Symbol};

    fn law() -> Law {
        Law {
            quantiles: vec![(0.25, -0.02), (0.5, 0.0), (0.75, 0.02)],
            interval_50: (-0.02, 0.02),
            interval_90: (-0.06, 0.06),
            daily_variance: 4e-4,
            probability_up: 0.6,
        }
    }

    fn happened(log_return: f64) -> Happened {
        Happened { log_return, daily_variance: 8e-4, variance: 0.004 }
    }

    #[test]
    fn losses_are_those_of_the_closed_forms() {
        // Return, pinball (mean of .25|.5|.75 against -2, 0, 2 percent), covered by 50 and 90 %, quantiles below.
        for (log_return, pinball, covered, below) in [
            (0.01, (0.25 * 3.0 + 0.5 * 1.0 + 0.25 * 1.0) / 3.0, (true, true), 2),
            (-0.04, (0.75 * 2.0 + 0.5 * 4.0 + 0.25 * 6.0) / 3.0, (false, true), 0),
            (0.07, (0.25 * 9.0 + 0.5 * 7.0 + 0.75 * 5.0) / 3.0, (false, false), 3),
            (0.0, (0.25 * 2.0 + 0.0 + 0.25 * 2.0) / 3.0, (true, true), 1),
        ] {
            let scorable = Scorable {
                served: &law(),
                benchmark: None,
                ranked: None,
                decided: None,
                network: NetworkHeads::default(),
            };
            let score = InstrumentScore::of(&scorable, &happened(log_return));
            let losses = score.served;
            assert!((losses.pinball_loss - pinball).abs() < 1e-12, "{log_return}: {}", losses.pinball_loss);
            assert_eq!((losses.covered_50, losses.covered_90), covered, "{log_return}");
            assert_eq!(score.quantiles_below, below, "{log_return}");
            assert!((losses.qlike.unwrap() - (1.0 - 2f64.ln())).abs() < 1e-12);
            let brier = if log_return > 0.0 { 0.16 } else { 0.36 };
            assert!((losses.brier_score - brier).abs() < 1e-12, "{log_return}");
            assert_eq!((losses.ranked_probability_score, score.benchmark, score.payoffs), (None, None, None));
        }
        let still = Losses::of(&law(), None, &Happened { daily_variance: 1e-9, ..happened(0.0) });
        assert_eq!(still.qlike, None, "a price that does not move has no volatility");
    }

    #[test]
    fn ranks_are_scored_on_both_sides_and_the_benchmark_by_its_own_law() {
        let (served, benchmark, fell) = ([0.0, 0.0, 0.0, 0.0, 1.0], [0.2; 5], [0.0, 0.0, 0.0, 0.0, 1.0]);
        let ranked = Ranked { served: &served, benchmark: Some(&benchmark), fell: &fell };
        let wide = Law { probability_up: 0.5, daily_variance: 8e-4, ..law() };
        let scorable = Scorable {
            served: &law(),
            benchmark: Some(&wide),
            ranked: Some(ranked),
            decided: None,
            network: NetworkHeads { ranks: true, ..NetworkHeads::default() },
        };
        let score = InstrumentScore::of(&scorable, &happened(0.01));
        let beside = score.benchmark.unwrap();
        assert_eq!(score.served.ranked_probability_score, Some(0.0));
        assert!((beside.ranked_probability_score.unwrap() - 0.24).abs() < 1e-12);
        assert_eq!((beside.brier_score, beside.qlike), (0.25, Some(0.0)));
        let kept = serde_json::from_value(serde_json::to_value(&score).unwrap()).unwrap();
        assert_eq!(score, kept);
    }

    #[test]
    fn payoffs_charge_risk_and_costs() {
        let (gain, variance) = (0.02f64, 0.004);
        let after = Happened { log_return: gain.ln_1p(), daily_variance: 8e-4, variance };
        for (action, exposure, traded) in [(Action::Sell, 0.0, 1.0), (Action::Hold, 1.0, 0.0), (Action::Buy, 2.0, 1.0)]
        {
            let decided = Decided { action, holder: Holder::default(), risk_aversion: 0.5, cost: 0.001 };
            let payoffs = Payoffs::of(&decided, &after);
            let money = exposure * gain - 0.001 * traded;
            assert!((payoffs.money - money).abs() < 1e-15, "{action}");
            assert!((payoffs.charged - (money - 0.25 * exposure * exposure * variance)).abs() < 1e-15, "{action}");
            assert!((payoffs.hold_money - gain).abs() < 1e-15);
            assert!((payoffs.hold_charged - (gain - 0.25 * variance)).abs() < 1e-15);
        }
    }

    #[test]
    fn an_outcome_needs_its_last_bar_and_most_of_its_returns() {
        let rows = |symbol: &str, closes: &[f64]| {
            let start = Day::from_ymd_opt(2024, 1, 1).unwrap();
            let bars = start.iter_days().zip(closes).filter(|(_, c)| c.is_finite()).map(|(day, close)| {
                Bar::new(BarFields { day, open: None, high: None, low: None, close: *close, volume: None }).unwrap()
            });
            let instrument = Instrument::unnamed(Symbol::parse(symbol).unwrap());
            InstrumentRows { instrument, bars: bars.collect(), actions: vec![], filings: vec![] }
        };
        const NONE: f64 = f64::NAN;
        let history = History::assemble(
            vec![
                rows("A", &[1.0, 2.0, 4.0, 2.0, 1.0, 2.0]),
                rows("B", &[1.0, 2.0, NONE, 4.0, 8.0, 16.0]),
                rows("C", &[1.0, 2.0, 4.0, 2.0, 1.0, NONE]),
                rows("D", &[1.0, NONE, NONE, 4.0, 8.0, 16.0]),
            ],
            vec![],
        );
        let ln2 = 2f64.ln();
        let between = |k: usize| Happened::between(&history.instruments[k], 0, 5);
        let a = between(0).unwrap();
        assert!((a.log_return - ln2).abs() < 1e-12 && (a.variance - 5.0 * ln2 * ln2).abs() < 1e-12);
        let b = between(1).unwrap();
        assert!((b.log_return - 4.0 * ln2).abs() < 1e-12 && (b.daily_variance - ln2 * ln2).abs() < 1e-12);
        assert_eq!((between(2), between(3)), (Err(NotScored::PricesStopped), Err(NotScored::PricesMissing)));
        assert_eq!(carried_return(&history.instruments[2], 0, 5), 0.0, "carried forward, and back where it was");
    }
}

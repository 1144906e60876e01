//! Reads what a publication said over one horizon off its ledger entries, in the form that is scored.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;

use crate::decision::action::Action as Move;
use crate::decision::holder::Holder;
use crate::evaluation::live_scores::{Decided, Law, NetworkHeads};
use crate::market::horizon::SESSIONS_PER_YEAR;
use crate::market::instrument::Symbol;
use crate::opinion::envelope::{Interval, NETWORK, Sources, reason};
use crate::opinion::forecast::{Forecast, Quantile};
use crate::opinion::ranks::Ranks;
use crate::opinion::signal::{Action, Signal};
use crate::publication::benchmark::BenchmarkForecast;
use crate::store::scores::SaidRow;

/// What a publication said over one horizon.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SaidDay {
    /// By instrument.
    pub instruments: BTreeMap<Symbol, SaidInstrument>,
    /// Chances of the fifths of the ranked instruments, worst first.
    pub quintiles: BTreeMap<Symbol, [f64; 5]>,
    /// The heads that were the network's.
    pub network: NetworkHeads,
    /// Hash of the rows that it was computed from, lowercase hexadecimal.
    pub inputs_hash: String,
}

/// What was said of one instrument.
#[derive(Debug, Clone, PartialEq)]
pub struct SaidInstrument {
    /// Place of the forecast in the ledger.
    pub sequence: i64,
    /// The forecast, or why there was none.
    pub law: Result<Law, String>,
    /// The action with its terms, where there was one.
    pub decided: Option<Decided>,
    /// The benchmark's volatility as the forecast told it, annualized; missing from the first versions.
    pub benchmark_volatility: Option<f64>,
}

/// Reads the entries.
///
/// # Errors
/// When an entry cannot be read.
pub fn read(rows: &[SaidRow]) -> anyhow::Result<SaidDay> {
    let mut day = SaidDay::default();
    let mut actions: BTreeMap<Symbol, Decided> = BTreeMap::new();
    for row in rows {
        let sequence = row.sequence;
        match row.kind.as_str() {
            "forecast" => {
                let forecast: Forecast = parsed(row)?;
                let symbol = forecast.envelope.symbol.clone();
                let symbol = symbol.with_context(|| format!("entry {sequence} names no instrument"))?;
                day.instruments.insert(symbol, said(sequence, &forecast));
            }
            "signal" => {
                let signal: Signal = parsed(row)?;
                actions.extend(signal.envelope.symbol.clone().zip(decided(&signal)));
            }
            _ => {
                let ranks: Ranks = parsed(row)?;
                day.network = network_heads(&ranks.envelope.sources);
                day.inputs_hash = ranks.envelope.provenance.inputs_hash;
                let chances = ranks.ranks.into_iter().filter_map(|r| Some((r.symbol, r.quintile_probabilities?)));
                day.quintiles = chances.collect();
            }
        }
    }
    for (symbol, decided) in actions {
        if let Some(instrument) = day.instruments.get_mut(&symbol) {
            instrument.decided = Some(decided);
        }
    }
    Ok(day)
}

/// The benchmarks' forecast as a law; `None` where a part is missing.
#[must_use]
pub fn benchmark_law(forecast: &BenchmarkForecast) -> Option<Law> {
    law(&forecast.quantiles, &forecast.intervals, forecast.volatility, forecast.probability_up)
}

/// The heads that the winners name.
fn network_heads(sources: &Sources) -> NetworkHeads {
    let is = |name: &str| name == NETWORK;
    NetworkHeads {
        ranks: is(&sources.ranks),
        returns: is(&sources.mean) || is(&sources.volatility),
        volatility: is(&sources.volatility),
        direction: is(&sources.direction),
    }
}

fn parsed<'a, T: Deserialize<'a>>(row: &'a SaidRow) -> anyhow::Result<T> {
    serde_json::from_slice(&row.entry)
        .with_context(|| format!("entry {} cannot be read; `forecastd verify` finds what was changed", row.sequence))
}

fn said(sequence: i64, forecast: &Forecast) -> SaidInstrument {
    let known = || {
        let volatility = forecast.volatility?.forecast?;
        law(forecast.quantiles.as_ref()?, forecast.intervals.as_ref()?, volatility, forecast.probability_up?)
    };
    let why = forecast.envelope.reasons.get("mean").map_or(reason::INSUFFICIENT_HISTORY, String::as_str);
    SaidInstrument {
        sequence,
        law: known().ok_or_else(|| why.to_owned()),
        decided: None,
        benchmark_volatility: forecast.explanation.as_ref().map(|e| e.benchmark_volatility),
    }
}

fn law(quantiles: &[Quantile], intervals: &[Interval], volatility: f64, probability_up: f64) -> Option<Law> {
    let interval = |level: f64| {
        let found = intervals.iter().find(|i| (i.level - level).abs() < 1e-9)?;
        Some((found.low.ln_1p(), found.high.ln_1p()))
    };
    let quantiles: Vec<(f64, f64)> = quantiles.iter().map(|q| (q.probability, q.value.ln_1p())).collect();
    let (interval_50, interval_90) = (interval(0.5)?, interval(0.9)?);
    // A loss of everything has no log return.
    let ends = [interval_50.0, interval_50.1, interval_90.0, interval_90.1];
    let finite = quantiles.iter().map(|q| q.1).chain(ends).all(f64::is_finite);
    let daily_variance = volatility * volatility / SESSIONS_PER_YEAR;
    (finite && !quantiles.is_empty()).then_some(Law {
        quantiles,
        interval_50,
        interval_90,
        daily_variance,
        probability_up,
    })
}

fn decided(signal: &Signal) -> Option<Decided> {
    let explanation = signal.explanation.as_ref()?;
    let action = match signal.action? {
        Action::Sell => Move::Sell,
        Action::Hold => Move::Hold,
        Action::Buy => Move::Buy,
    };
    let exposure = i8::try_from(signal.holder.exposure).ok()?;
    Some(Decided {
        action,
        holder: Holder::new(signal.holder.kind.into(), exposure).ok()?,
        risk_aversion: explanation.risk_aversion,
        cost: explanation.cost,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The example of the documentation as an entry of another kind.
    fn row(sequence: i64, kind: &str, change: impl Fn(&mut Value)) -> SaidRow {
        let mut value: Value = serde_json::from_str(include_str!("../api/examples/signal.json")).unwrap();
        value["kind"] = json!(kind);
        change(&mut value);
        SaidRow { sequence, kind: kind.into(), entry: serde_json::to_vec(&value).unwrap() }
    }

    fn forecast(value: &mut Value) {
        value["mean"] = json!(0.003);
        value["quantiles"] = json!([{"probability": 0.5, "value": 0.0}, {"probability": 0.95, "value": 0.2}]);
        value["intervals"] = json!([
            {"level": 0.5, "low": -0.05, "high": 0.05},
            {"level": 0.8, "low": -0.1, "high": 0.1},
            {"level": 0.9, "low": -0.2, "high": 0.25}
        ]);
        value["price_quantiles"] = Value::Null;
        value["explanation"] = Value::Null;
    }

    #[test]
    fn entries_become_laws_in_log_returns() {
        let ranks = |value: &mut Value| {
            value["symbol"] = Value::Null;
            value["sources"]["ranks"] = json!("network");
            value["explanation"] = Value::Null;
            value["ranks"] = json!([{
                "symbol": "BABA", "expected_rank": 1.5, "quintile_probabilities": [0.1, 0.2, 0.4, 0.2, 0.1],
                "action": null, "reason": null
            }]);
        };
        let rows = [row(7, "signal", |_| ()), row(9, "forecast", forecast), row(11, "ranks", ranks)];
        let day = read(&rows).unwrap();
        let said = &day.instruments[&Symbol::parse("BABA").unwrap()];
        let law = said.law.as_ref().unwrap();
        assert_eq!((said.sequence, law.quantiles[1]), (9, (0.95, 0.2f64.ln_1p())));
        assert_eq!(law.interval_90, ((-0.2f64).ln_1p(), 0.25f64.ln_1p()));
        assert!(law.daily_variance > 0.0 && day.network.ranks);
        let decided = said.decided.unwrap();
        assert_eq!((decided.action, decided.holder), (Move::Hold, Holder::default()));
        assert_eq!(day.quintiles.len(), 1);
        assert_eq!(day.inputs_hash.len(), 64);
    }

    #[test]
    fn what_was_not_forecast_keeps_its_reason() {
        let without = |value: &mut Value| {
            forecast(value);
            for name in ["mean", "quantiles", "intervals", "volatility", "probability_up"] {
                value[name] = Value::Null;
            }
            value["reasons"] = json!({"mean": "not_traded"});
        };
        let day = read(&[row(3, "forecast", without)]).unwrap();
        let said = &day.instruments[&Symbol::parse("BABA").unwrap()];
        assert_eq!((said.law.as_ref().unwrap_err().as_str(), said.decided), ("not_traded", None));
        let broken = SaidRow { sequence: 4, kind: "forecast".into(), entry: b"{}".to_vec() };
        assert!(read(&[broken]).unwrap_err().to_string().contains("entry 4"));
    }
}

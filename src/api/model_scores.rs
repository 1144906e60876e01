//! What a model's scores say, cut into the parts of the answer. The parts are served as they were stored; the types here
//! document them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::market::horizon::Horizon;
use crate::opinion::schemas;

/// Reason for a part that the code version which trained the model did not keep.
const NOT_RECORDED: &str = "not_recorded";

/// The parts of a model's scores; `None` where the model has none of that name, with the reason beside them.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// The decision about each seat, by horizon.
    pub gate: Option<Value>,
    /// What the canaries said.
    pub canaries: Option<Value>,
    /// How much of each head is believed.
    pub shares: Option<Value>,
    /// Whether each group of factors matters.
    pub attribution: Option<Value>,
    /// The new weights against those before them.
    pub non_inferiority: Option<Value>,
    /// What the gate said at each refit of the past.
    pub walk: Option<Value>,
    /// The record of the training.
    pub training: Option<Value>,
    /// Why there is no network.
    pub without_network: Option<String>,
    /// Whatever else was stored.
    pub more: Map<String, Value>,
    /// Why a part is absent, by its name.
    pub reasons: BTreeMap<String, String>,
}

impl Parts {
    /// Cuts the stored scores. Anything but an object has no part.
    #[must_use]
    pub fn of(scores: Value) -> Self {
        let mut more = match scores {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        let without_network = more.remove("without_network").and_then(|v| v.as_str().map(str::to_owned));
        let why = without_network.as_deref().unwrap_or(NOT_RECORDED);
        let mut reasons = BTreeMap::new();
        let mut take = |name: &str| {
            let part = more.remove(name).filter(|value| !value.is_null());
            if part.is_none() {
                reasons.insert(name.to_owned(), why.to_owned());
            }
            part
        };
        Self {
            gate: take("gate"),
            canaries: take("canaries"),
            shares: take("shares"),
            attribution: take("attribution"),
            non_inferiority: take("non_inferiority"),
            walk: take("walk"),
            training: take("training"),
            without_network,
            more,
            reasons,
        }
    }
}

/// Whether every canary lived: each element of the stored list says `passed`. `None` when nothing of the kind is stored.
#[must_use]
pub fn all_passed(canaries: Option<&Value>) -> Option<bool> {
    let passed: Option<Vec<bool>> = canaries?.as_array()?.iter().map(|c| c.get("passed")?.as_bool()).collect();
    passed.filter(|list| !list.is_empty()).map(|list| list.iter().all(|passed| *passed))
}

/// The decision about the seats of one horizon.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct HorizonGate {
    /// How far ahead.
    #[schema(schema_with = schemas::horizon)]
    horizon: Horizon,
    /// QLIKE against harX2.
    volatility: HeadGate,
    /// Brier score against the base rate.
    direction: HeadGate,
    /// Ranked probability score against the law of ranks that is served without the network.
    ranks: HeadGate,
    /// The weight of the network's mean.
    mean: MeanGate,
}

/// The decision about one seat, from forecasts that were stored before their outcome. Later versions add numbers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct HeadGate {
    /// The recipe beats the benchmark and is served.
    seated: bool,
    /// Mean of `loss of the benchmark - loss of the recipe`.
    #[schema(example = 0.0021)]
    mean_gain: Option<f64>,
    /// Diebold-Mariano with the factor of Harvey, Leybourne and Newbold.
    #[schema(example = 2.31)]
    statistic: Option<f64>,
    /// Probability of a larger statistic without skill, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 0.011)]
    p_value_one_sided: Option<f64>,
    /// Out-of-sample days.
    #[schema(minimum = 0, example = 420)]
    days: u32,
    /// What decided: `passed`, `kept`, `too_few_days`, `not_finite`, `no_variation`, `not_significant`,
    /// `lost_confidence`, `lost_cumulative`.
    #[schema(example = "passed")]
    reason: String,
    /// The record since the seat was taken; `null` without a seat.
    live: Option<LiveGate>,
}

/// What a seated recipe gained since it was seated.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct LiveGate {
    /// Days since.
    #[schema(minimum = 0, example = 60)]
    days: u32,
    /// Sum of their gains; the seat is lost when it falls below 0.
    #[schema(example = 0.13)]
    cumulative_gain: f64,
    /// Bounds on the mean of the gains that hold at all times at once (Choe and Ramdas 2023); the seat is lost when all of
    /// them lie below 0.
    #[schema(value_type = Option<Object>)]
    confidence: Option<Value>,
}

/// The weight that a mean has earned.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct MeanGate {
    /// Share of the network's mean that is served, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 0.0)]
    weight: f64,
    /// Slope of the outcome on the network's mean.
    slope: Option<f64>,
    /// Its lower bound at one-sided 90 %.
    slope_lower: Option<f64>,
    /// One-sided p-value of Clark and West, 0..1.
    #[schema(minimum = 0, maximum = 1)]
    p_value_one_sided: Option<f64>,
    /// Out-of-sample days.
    #[schema(minimum = 0)]
    days: u32,
    /// What decided.
    #[schema(example = "not_significant")]
    reason: String,
}

/// A trial with a known outcome; a model whose canary dies is not promoted.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct Canary {
    /// Which trial.
    #[schema(example = "shuffled_targets")]
    name: String,
    /// Whether it came out as it must.
    passed: bool,
    /// The number that decided, where there is one.
    #[schema(example = 1.9)]
    statistic: Option<f64>,
    /// What it was held against.
    #[schema(example = 4.0)]
    limit: Option<f64>,
    /// In a sentence.
    #[schema(example = "trained on shuffled targets, the best of 31 heads was mean@1w")]
    detail: String,
}

/// How much of a head's output is used.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct HeadShare {
    /// 0, 1/4, 1/2, 3/4 or 1; 0 is the benchmark.
    #[schema(minimum = 0, maximum = 1, example = 0.5)]
    share: f64,
    /// Its loss over the benchmark's at that share, on the days out of sample; 1 without any.
    #[schema(example = 0.97)]
    relative_loss: f64,
}

/// Which groups of factors matter for the volatility over one horizon.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct HorizonAttribution {
    /// How far ahead.
    #[schema(schema_with = schemas::horizon)]
    horizon: Horizon,
    /// One a group.
    groups: Vec<GroupPermutation>,
}

/// What becomes of the loss when a group is shuffled among the instruments of each day.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct GroupPermutation {
    /// `market`, `momentum`, `fundamentals` or `risk`.
    #[schema(example = "risk")]
    group: String,
    /// Rise of the mean loss; above 0 when the group helps.
    #[schema(example = 0.008)]
    loss_increase: f64,
    /// Diebold-Mariano statistic of that rise.
    #[schema(example = 3.4)]
    statistic: Option<f64>,
    /// Probability of a larger statistic if the group did not help, 0..1.
    #[schema(minimum = 0, maximum = 1, example = 0.0004)]
    p_value: Option<f64>,
    /// Days with a loss.
    #[schema(minimum = 0, example = 48)]
    days: u32,
}

/// The new weights of a seated head against those before them, on the days that these had played.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct NewWeights {
    /// Which head.
    #[schema(example = "volatility@4w")]
    head: String,
    /// Whether they may replace the old ones.
    accepted: bool,
    /// The test: `loss_ratio`, `statistic`, `p_value_one_sided`, `days`, `reason`.
    #[schema(value_type = Object)]
    test: Value,
}

/// What the gate said at one refit of the past.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the documentation reads the fields")]
pub struct WalkedRefit {
    /// The day of the refit.
    #[schema(value_type = String, format = Date, example = "2023-01-03")]
    as_of: String,
    /// The decisions then.
    gate: Vec<HorizonGate>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_cut_and_what_is_missing_has_a_reason() {
        let scores = json!({"gate": [1], "canaries": null, "walk": {"a": 1}, "training": {}, "extra": 3});
        let parts = Parts::of(scores);
        assert_eq!((parts.gate, parts.walk), (Some(json!([1])), Some(json!({"a": 1}))));
        assert_eq!(Value::Object(parts.more), json!({"extra": 3}));
        assert_eq!(parts.reasons.keys().collect::<Vec<_>>(), ["attribution", "canaries", "non_inferiority", "shares"]);
        assert_eq!(parts.reasons["canaries"], NOT_RECORDED);
        let without = Parts::of(json!({"without_network": "insufficient_history"}));
        assert_eq!((without.reasons.len(), without.reasons["gate"].as_str()), (7, "insufficient_history"));
        assert!(Parts::of(Value::Null).more.is_empty());
    }

    #[test]
    fn one_dead_canary_is_enough() {
        for (canaries, expected) in [
            (json!([{"name": "a", "passed": true}, {"name": "b", "passed": true}]), Some(true)),
            (json!([{"name": "a", "passed": true}, {"name": "b", "passed": false}]), Some(false)),
            (json!([]), None),
            (json!([{"name": "a"}]), None),
            (json!("passed"), None),
        ] {
            assert_eq!(all_passed(Some(&canaries)), expected, "{canaries}");
        }
        assert_eq!(all_passed(None), None);
    }
}

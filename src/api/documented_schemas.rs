//! Schemas that are composed rather than derived: opinions as served, pages of lists.

use utoipa::openapi::schema::{AllOfBuilder, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{OpenApi, Ref, RefOr};

use crate::api::snapshot::{EXPLANATION, SolvedFor};
use crate::opinion::schemas;

/// Examples of served opinions with their explanations; their numbers only show the form.
const EXAMPLES: [(&str, &str); 5] = [
    ("Signal", include_str!("examples/signal.json")),
    ("Ranking", include_str!("examples/ranking.json")),
    ("Predictability", include_str!("examples/predictability.json")),
    ("Responses", include_str!("examples/responses.json")),
    ("RatingRecord", include_str!("examples/rating_record.json")),
];
/// The opinions that are served singly.
const OPINIONS: [&str; 9] =
    ["Signal", "Rating", "Ranking", "Forecast", "Ranks", "Predictability", "Process", "Responses", "RatingRecord"];
/// Lists: the schema of the page and of what is on it.
const PAGES: [(&str, &str); 6] = [
    ("SignalPage", "ServedSignal"),
    ("RatingPage", "ServedRating"),
    ("RankingPage", "ServedRanking"),
    ("ForecastPage", "ServedForecast"),
    ("PredictabilityPage", "ServedPredictability"),
    ("InstrumentPage", "Instrument"),
];
/// Schemas some of whose fields may be left out; everywhere else an absent value is written as `null`. Parts of a model are
/// served as the code version that trained it stored them.
const WITH_OPTIONAL_FIELDS: [&str; 15] = [
    "Problem",
    "FieldError",
    "PricesToPost",
    "JobToPost",
    "RowToPost",
    "Canary",
    "GroupPermutation",
    "HeadGate",
    "HeadShare",
    "HorizonAttribution",
    "HorizonGate",
    "LiveGate",
    "MeanGate",
    "NewWeights",
    "WalkedRefit",
];

/// Adds the composed schemas, and says of every field of an answer that it is always there.
pub fn complete(description: &mut OpenApi) {
    let schemas = &mut description.components.get_or_insert_default().schemas;
    for name in OPINIONS {
        let fields = match name {
            "Ranks" => ranks_page_fields(),
            "Process" => process_fields(),
            _ => served_fields(),
        };
        let composed = AllOfBuilder::new().item(Ref::from_schema_name(name)).item(fields).description(Some(SERVED));
        let composed = composed.examples(examples_of(name));
        let served = if name == "Ranks" { "RanksPage".to_owned() } else { format!("Served{name}") };
        schemas.insert(served, RefOr::T(Schema::AllOf(composed.build())));
    }
    for (name, item) in PAGES {
        schemas.insert(name.into(), RefOr::T(Schema::Object(page_of(item))));
    }
    for (name, schema) in schemas.iter_mut().filter(|(name, _)| !WITH_OPTIONAL_FIELDS.contains(&name.as_str())) {
        require_every_field(schema);
        debug_assert!(!name.contains('_'), "{name} was derived from a generic type");
    }
}

const SERVED: &str = "An opinion with its place in the ledger. Ask with `explain=true`, take `ledger` and `stale` (of a process \
     `solved_for`, of a page of ranks that holds all of them `missing` and `next`) away and write the rest as RFC 8785 canonical JSON: `ledger.hash` is \
     SHA-256 of the previous entry's 32 hash bytes followed by those bytes.";

fn served_fields() -> Object {
    let stale = boolean("Past `valid_until`, or the prices have stopped. A stale answer is still the newest answer.");
    ObjectBuilder::new().property("ledger", Ref::from_schema_name("LedgerReference")).property("stale", stale).build()
}

fn ranks_page_fields() -> Object {
    let mut fields = served_fields();
    fields.properties.extend(page_of("ExpectedRank").properties.into_iter().filter(|(name, _)| name != "items"));
    fields
}

fn process_fields() -> Object {
    let solved_for = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .enum_values(Some([SolvedFor::Publication, SolvedFor::Request].map(SolvedFor::as_str)))
        .description(Some(
            "`publication`: the answer is the entry. `request`: it was solved from the entry's estimates for the settings \
             that were asked for; `ledger` names that entry, whose hash is not of these bytes.",
        ));
    let mut fields = served_fields();
    fields.properties.insert("solved_for".into(), RefOr::T(Schema::Object(solved_for.build())));
    fields
}

fn page_of(item: &str) -> Object {
    let missing = ArrayBuilder::new().items(schemas::symbol());
    let missing = missing.description(Some("Symbols that were asked for and are not there"));
    let next = ObjectBuilder::from(schemas::optional_symbol())
        .description(Some("The `cursor` of the next page; `null` on the last"));
    ObjectBuilder::new()
        .description(Some("A page of a list, ascending by symbol"))
        .property("items", ArrayBuilder::new().items(Ref::from_schema_name(item)))
        .property("missing", missing)
        .property("next", next)
        .build()
}

fn boolean(meaning: &str) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::Boolean)).description(Some(meaning)).build()
}

/// The example of an opinion: as it is served unless asked otherwise, and where it has an explanation also with that.
fn examples_of(name: &str) -> Vec<serde_json::Value> {
    let found = EXAMPLES.into_iter().find(|(of, _)| *of == name);
    let Some(explained) = found.and_then(|(_, text)| serde_json::from_str::<serde_json::Value>(text).ok()) else {
        return Vec::new();
    };
    let mut plain = explained.clone();
    let held = plain.as_object_mut().and_then(|fields| fields.remove(EXPLANATION));
    if held.is_some() { vec![plain, explained] } else { vec![plain] }
}

fn require_every_field(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            // Only asked for is it there.
            let always = object.properties.keys().filter(|name| *name != EXPLANATION);
            object.required = always.cloned().collect();
        }
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(require_every_field),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::opinion::predictability::Predictability;
    use crate::opinion::ranking::Ranking;
    use crate::opinion::rating_record::RatingRecord;
    use crate::opinion::responses::{Responses, RewardSource};
    use crate::opinion::served::Served;
    use crate::opinion::signal::Signal;

    fn text(name: &str) -> &'static str {
        EXAMPLES.into_iter().find(|(of, _)| *of == name).unwrap().1
    }

    /// The example, which must be what is written of an opinion.
    fn example<T: Serialize + DeserializeOwned>(name: &str) -> T {
        let served: Served<T> = serde_json::from_str(text(name)).unwrap();
        assert_eq!(serde_json::to_value(&served).unwrap(), serde_json::from_str::<Value>(text(name)).unwrap());
        served.opinion
    }

    #[test]
    fn the_examples_are_opinions_that_agree_with_each_other() {
        let (signal, ranking): (Signal, Ranking) = (example("Signal"), example("Ranking"));
        let predictability: Predictability = example("Predictability");
        assert_eq!(signal.envelope.source, signal.envelope.sources.source());
        assert_eq!(predictability.verdicts(), signal.predictability);
        assert_eq!(ranking.explanation, signal.explanation);
        let record: RatingRecord = example("RatingRecord");
        assert!(record.by_grade.iter().all(|grade| grade.events <= grade.rows));
        let responses: Responses = example("Responses");
        assert_eq!(ranking.responses, responses.models);
        let (policy, rewards) = (ranking.policy.unwrap(), responses.reward_model.unwrap());
        assert_eq!((policy.source, rewards.source), (RewardSource::Network, RewardSource::Network));
        let state = &rewards.table[policy.state as usize];
        for action in ranking.actions.iter().flatten() {
            let reward = [state.sell, state.hold, state.buy][action.action as usize];
            assert_eq!(action.reward, Some(reward), "{:?}", action.action);
        }
        let explanation = signal.explanation.unwrap();
        assert_eq!(explanation.factor_groups, signal.attribution);
        assert_eq!(explanation.columns as usize, ranking.payoffs.unwrap().columns.len());
        assert_eq!(ranking.actions.unwrap()[0].action, signal.action.unwrap());
    }

    #[test]
    fn an_explained_opinion_is_shown_in_both_forms() {
        let [plain, explained] = &examples_of("Signal")[..] else { panic!("two forms") };
        assert_eq!((plain.get(EXPLANATION), explained[EXPLANATION]["reason"].as_str()), (None, Some("near_optimum")));
        assert_eq!(examples_of("Predictability").len(), 2);
        assert!(examples_of("Rating").is_empty());
    }

    #[test]
    fn entries_of_earlier_versions_are_still_read() {
        let without = |name: &str, fields: &[&str]| {
            let mut value: Value = serde_json::from_str(text(name)).unwrap();
            fields.iter().for_each(|field| assert!(value.as_object_mut().unwrap().remove(*field).is_some(), "{field}"));
            value
        };
        let mut signal = without("Signal", &["other_attributions", "explanation"]);
        signal["attribution"] = Value::Null;
        assert!(serde_json::from_value::<Served<Signal>>(signal).is_ok());
        let mut ranking = without("Ranking", &["nash", "policy", "explanation"]);
        ranking["actions"][0].as_object_mut().unwrap().remove("regret");
        ranking["equilibrium"] = json!({
            "concept": "logit_quantal_response", "precision": 5.0, "strategy": {"sell": 0.0, "hold": 1.0, "buy": 0.0}
        });
        assert!(serde_json::from_value::<Served<Ranking>>(ranking).is_ok());
    }
}

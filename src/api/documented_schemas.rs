//! Schemas that are composed rather than derived: opinions as served, pages of lists.

use utoipa::openapi::schema::{AllOfBuilder, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{OpenApi, Ref, RefOr};

use crate::opinion::schemas;

/// An example of a served signal; its numbers only show the form.
const SIGNAL_EXAMPLE: &str = include_str!("examples/signal.json");
/// An example of served verdicts; its numbers only show the form.
const PREDICTABILITY_EXAMPLE: &str = include_str!("examples/predictability.json");
/// The opinions that are served singly.
const OPINIONS: [&str; 6] = ["Signal", "Rating", "Ranking", "Forecast", "Ranks", "Predictability"];
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
const WITH_OPTIONAL_FIELDS: [&str; 14] = [
    "Problem",
    "FieldError",
    "PricesToPost",
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
        let fields = if name == "Ranks" { ranks_page_fields() } else { served_fields() };
        let composed = AllOfBuilder::new().item(Ref::from_schema_name(name)).item(fields).description(Some(SERVED));
        let composed = composed.examples(example_of(name));
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

const SERVED: &str = "An opinion with its place in the ledger. Take `ledger` and `stale` (and of a page of ranks that holds all of \
     them `missing` and `next`) away and write the rest as RFC 8785 canonical JSON: `ledger.hash` is SHA-256 of the previous \
     entry's 32 hash bytes followed by those bytes.";

fn served_fields() -> Object {
    let stale = boolean("Past `valid_until`, or the prices have stopped. A stale answer is still the newest answer.");
    ObjectBuilder::new().property("ledger", Ref::from_schema_name("LedgerReference")).property("stale", stale).build()
}

fn ranks_page_fields() -> Object {
    let mut fields = served_fields();
    fields.properties.extend(page_of("ExpectedRank").properties.into_iter().filter(|(name, _)| name != "items"));
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

fn example_of(name: &str) -> Vec<serde_json::Value> {
    let text = match name {
        "Signal" => SIGNAL_EXAMPLE,
        "Predictability" => PREDICTABILITY_EXAMPLE,
        _ => return Vec::new(),
    };
    serde_json::from_str(text).into_iter().collect()
}

fn require_every_field(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => object.required = object.properties.keys().cloned().collect(),
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(require_every_field),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opinion::predictability::Predictability;
    use crate::opinion::served::Served;
    use crate::opinion::signal::Signal;

    #[test]
    fn the_example_is_a_signal() {
        let signal: Served<Signal> = serde_json::from_str(SIGNAL_EXAMPLE).unwrap();
        assert_eq!(signal.opinion.envelope.source, signal.opinion.envelope.sources.source());
        let written = serde_json::to_value(&signal).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(SIGNAL_EXAMPLE).unwrap());
    }

    #[test]
    fn an_entry_of_the_first_version_is_still_read() {
        let mut value: serde_json::Value = serde_json::from_str(SIGNAL_EXAMPLE).unwrap();
        let fields = value.as_object_mut().unwrap();
        fields.remove("other_attributions");
        fields.insert("attribution".into(), serde_json::Value::Null);
        assert!(serde_json::from_value::<Served<Signal>>(value).is_ok());
    }

    #[test]
    fn the_example_is_a_predictability_that_the_signal_repeats() {
        let served: Served<Predictability> = serde_json::from_str(PREDICTABILITY_EXAMPLE).unwrap();
        let written = serde_json::to_value(&served).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(PREDICTABILITY_EXAMPLE).unwrap());
        let signal: Served<Signal> = serde_json::from_str(SIGNAL_EXAMPLE).unwrap();
        assert_eq!(served.opinion.verdicts(), signal.opinion.predictability);
    }
}

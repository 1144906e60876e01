//! OpenAPI schemas of the checked types of `market`, which know nothing of OpenAPI themselves.

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use crate::market::horizon::Horizon;

/// The alphabet and length of a canonical symbol.
pub const SYMBOL_PATTERN: &str = "^[A-Z0-9.^=_-]{1,24}$";

/// Schema of [`crate::market::instrument::Symbol`].
#[must_use]
pub fn symbol() -> Object {
    symbol_of_type(SchemaType::new(Type::String))
}

/// Schema of an optional symbol.
#[must_use]
pub fn optional_symbol() -> Object {
    symbol_of_type(SchemaType::Array(vec![Type::String, Type::Null]))
}

/// Schema of [`Horizon`].
#[must_use]
pub fn horizon() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(Horizon::ALL.map(Horizon::label)))
        .description(Some("5, 20, 63, 126 or 252 sessions"))
        .build()
}

fn symbol_of_type(schema_type: SchemaType) -> Object {
    ObjectBuilder::new()
        .schema_type(schema_type)
        .pattern(Some(SYMBOL_PATTERN))
        .description(Some("Canonical symbol"))
        .examples(["BABA"])
        .build()
}

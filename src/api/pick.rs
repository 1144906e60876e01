//! Cutting answers: fields of an opinion, pages of a list, all by moving bytes that are already written.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::asked::Selection;
use crate::api::problem::{FieldError, Problem};
use crate::api::problem_type::ProblemType;
use crate::api::snapshot::EXPLANATION;
use crate::market::instrument::Symbol;

/// The members of a JSON object in their order, each with its bytes.
pub struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Splits an object.
    ///
    /// # Errors
    /// 500 when the bytes are no JSON object, which no published answer is.
    pub fn split(body: &'a [u8]) -> Result<Self, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        serde::Deserializer::deserialize_map(&mut reader, MembersVisitor).map_err(unreadable)
    }

    /// Only the wanted members, in the order of the object.
    ///
    /// # Errors
    /// 422 naming every wanted field that the object lacks, but for the explanation.
    pub fn only(mut self, wanted: &[String]) -> Result<Self, Problem> {
        let known: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        // Opinions of earlier versions and of some kinds have no explanation; asking for it there adds nothing.
        let lacking = wanted.iter().filter(|name| !known.contains(&name.as_str()) && *name != EXPLANATION);
        let errors: Vec<FieldError> = lacking
            .map(|name| {
                let short: String = name.chars().take(40).collect();
                FieldError::parameter("fields", format!("{short:?} is not known; known are {}", known.join(", ")))
            })
            .collect();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        self.0.retain(|(name, _)| wanted.contains(name));
        Ok(self)
    }

    /// The bytes of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value.get())
    }

    /// The object again, with some members replaced or added.
    #[must_use]
    pub fn write(&self, replaced: &[(&str, String)]) -> Vec<u8> {
        let mut body = vec![b'{'];
        let kept = self.0.iter().map(|(name, value)| {
            let new = replaced.iter().find(|(other, _)| other == name);
            (name.as_str(), new.map_or(value.get(), |(_, text)| text.as_str()))
        });
        let added = replaced.iter().filter(|(name, _)| self.get(name).is_none());
        for (name, value) in kept.chain(added.map(|(name, text)| (*name, text.as_str()))) {
            if body.len() > 1 {
                body.push(b',');
            }
            // Names are plain identifiers, so quotation marks are all that they need.
            body.extend_from_slice(format!("\"{name}\":{value}").as_bytes());
        }
        body.push(b'}');
        body
    }
}

/// The object without one of its members; unchanged where it lacks that, or where the bytes are no object.
#[must_use]
pub fn without(body: &Bytes, name: &str) -> Bytes {
    let Ok(mut members) = Members::split(body) else { return body.clone() };
    if members.get(name).is_none() {
        return body.clone();
    }
    members.0.retain(|(member, _)| member != name);
    members.write(&[]).into()
}

/// The body with only the wanted fields; unchanged when all are wanted.
///
/// # Errors
/// 422 naming every wanted field that is not there.
pub fn fields(body: &Bytes, wanted: Option<&[String]>) -> Result<Bytes, Problem> {
    match wanted {
        Some(names) => Ok(Members::split(body)?.only(names)?.write(&[]).into()),
        None => Ok(body.clone()),
    }
}

/// One page of a list, and where the next begins.
#[derive(Debug, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub rows: Vec<T>,
    /// Asked-for symbols of which nothing is there.
    pub missing: Vec<Symbol>,
    /// The cursor of the next page; `None` on the last.
    pub next: Option<Symbol>,
}

/// Cuts a page out of rows in any order. The cursor names the last row of the page before.
#[must_use]
pub fn page<'a, T>(rows: impl Iterator<Item = (&'a Symbol, T)>, selection: &Selection) -> Page<T> {
    let all: Vec<(&Symbol, T)> = rows.filter(|(symbol, _)| wants(selection, symbol)).collect();
    let asked = selection.symbols.iter().flatten();
    let missing = asked.filter(|symbol| !all.iter().any(|(there, _)| there == symbol)).cloned().collect();
    let start = selection.cursor.as_ref().map_or(0, |cursor| start_after(&all, cursor));
    let more = all.len() > start + selection.limit;
    let mut next = None;
    let mut kept = Vec::with_capacity(selection.limit.min(all.len()));
    for (symbol, row) in all.into_iter().skip(start).take(selection.limit) {
        next = Some(symbol);
        kept.push(row);
    }
    Page { rows: kept, missing, next: next.filter(|_| more).cloned() }
}

/// Joins written values to a JSON array.
#[must_use]
pub fn array<B: AsRef<[u8]>>(values: &[B]) -> Vec<u8> {
    let mut body = vec![b'['];
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            body.push(b',');
        }
        body.extend_from_slice(value.as_ref());
    }
    body.push(b']');
    body
}

fn wants(selection: &Selection, symbol: &Symbol) -> bool {
    selection.symbols.as_ref().is_none_or(|wanted| wanted.binary_search(symbol).is_ok())
}

/// After the row of that name; where it has gone from an ascending list, after its place.
fn start_after<T>(rows: &[(&Symbol, T)], cursor: &Symbol) -> usize {
    match rows.iter().position(|(symbol, _)| *symbol == cursor) {
        Some(at) => at + 1,
        None => rows.iter().position(|(symbol, _)| *symbol > cursor).unwrap_or(rows.len()),
    }
}

fn unreadable(error: serde_json::Error) -> Problem {
    tracing::error!(%error, "a published answer is not readable");
    Problem::new(ProblemType::Internal, "a published answer is not readable")
}

struct MembersVisitor;

impl<'de> serde::de::Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

/// An element of a list of which only the symbol matters here.
#[derive(Deserialize)]
pub struct OfSymbol {
    /// Of whom.
    pub symbol: Symbol,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::horizon::Horizon;

    fn selection(symbols: Option<&[&str]>, limit: usize, cursor: Option<&str>) -> Selection {
        let parse = |s: &str| Symbol::parse(s).unwrap();
        Selection {
            horizon: Horizon::FourWeeks,
            symbols: symbols.map(|l| l.iter().map(|s| parse(s)).collect()),
            limit,
            cursor: cursor.map(parse),
            fields: None,
            explain: false,
        }
    }

    #[test]
    fn pages_follow_one_another_without_gap() {
        let names: Vec<Symbol> = ["A", "B", "C", "D", "E"].map(|s| Symbol::parse(s).unwrap()).into();
        let mut cursor = None;
        let mut seen = Vec::new();
        loop {
            let found = page(names.iter().map(|s| (s, s.to_string())), &selection(None, 2, cursor.as_deref()));
            seen.extend(found.rows);
            let Some(next) = found.next else { break };
            cursor = Some(next.to_string());
        }
        assert_eq!(seen, ["A", "B", "C", "D", "E"]);
        let some = page(names.iter().map(|s| (s, s)), &selection(Some(&["B", "X"]), 10, None));
        assert_eq!((some.rows.len(), some.missing[0].as_str(), some.next), (1, "X", None));
        let gone = page(names.iter().map(|s| (s, s.to_string())), &selection(None, 2, Some("BB")));
        assert_eq!(gone.rows, ["C", "D"]);
    }

    #[test]
    fn one_member_is_left_out() {
        let body = Bytes::from_static(br#"{"a":1.50,"b":{"a":[1, 2]},"c":null}"#);
        assert_eq!(without(&body, "b"), r#"{"a":1.50,"c":null}"#);
        assert_eq!(without(&body, "a"), r#"{"b":{"a":[1, 2]},"c":null}"#);
        assert_eq!(without(&body, "d"), body);
        assert_eq!(without(&Bytes::from_static(b"[1]"), "a"), "[1]");
    }

    #[test]
    fn fields_keep_their_bytes() {
        let body = Bytes::from_static(br#"{"b":1.50,"a":{"x":[1, 2]},"c":null}"#);
        let wanted = ["c".to_owned(), "b".to_owned()];
        assert_eq!(fields(&body, Some(&wanted)).unwrap(), r#"{"b":1.50,"c":null}"#);
        let body_of_problem = fields(&body, Some(&["z".to_owned(), "y".to_owned()])).unwrap_err().body("r");
        assert_eq!(body_of_problem.errors.len(), 2);
        let members = Members::split(&body).unwrap();
        assert_eq!(
            members.write(&[("c", "[]".into()), ("next", "null".into())]),
            br#"{"b":1.50,"a":{"x":[1, 2]},"c":[],"next":null}"#
        );
    }
}

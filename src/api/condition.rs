//! Conditional requests: which encoding, whether the client has it already, and the answer that follows.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::api::problem::Problem;
use crate::api::ready::{Ready, Representation, http_date};
use crate::store::StoreError;

/// What the headers of a request say about the answer.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    accepts_gzip: bool,
    if_none_match: Option<HeaderValue>,
    if_modified_since: Option<HeaderValue>,
}

impl Condition {
    /// Reads the headers.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        Self {
            accepts_gzip: accepts_gzip(headers),
            if_none_match: headers.get(header::IF_NONE_MATCH).cloned(),
            if_modified_since: headers.get(header::IF_MODIFIED_SINCE).cloned(),
        }
    }

    /// Whether the request names a representation that it has.
    #[must_use]
    pub fn names_a_tag(&self) -> bool {
        self.if_none_match.is_some()
    }

    /// Whether the client has this body already (RFC 9110, 13.1.2 and 13.1.3: a tag decides before a date).
    #[must_use]
    pub fn is_met_by(&self, ready: &Ready) -> bool {
        if let Some(tags) = &self.if_none_match {
            return tags.to_str().is_ok_and(|tags| names(tags, &self.select(ready).0.etag));
        }
        let since = self.if_modified_since.as_ref().and_then(|v| http_date(v.to_str().ok()?));
        since.zip(ready.last_modified).is_some_and(|(since, modified)| modified <= since)
    }

    /// The whole answer, or 304 when the client has it.
    #[must_use]
    pub fn respond(&self, ready: &Ready, cache_control: HeaderValue) -> Response {
        let (representation, encoding) = self.select(ready);
        let met = self.is_met_by(ready);
        let body = if met { Body::empty() } else { Body::from(representation.body.clone()) };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::ETAG, representation.etag.clone());
        if let Some(text) = &ready.last_modified_text {
            headers.insert(header::LAST_MODIFIED, text.clone());
        }
        headers.insert(header::CACHE_CONTROL, cache_control);
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if met {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, ready.media_type.clone());
        if let Some(name) = encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        response
    }

    /// A value that was just read from the store: to be asked for again each time, but not sent again.
    ///
    /// # Errors
    /// 500 when the value cannot be written, which no value of this API is.
    pub fn respond_json<T: Serialize>(
        &self,
        value: &T,
        last_modified: Option<DateTime<Utc>>,
    ) -> Result<Response, Problem> {
        let body = serde_json::to_vec(value).map_err(StoreError::row)?;
        Ok(self.respond(&Ready::json(body, last_modified), HeaderValue::from_static("no-cache")))
    }

    fn select<'a>(&self, ready: &'a Ready) -> (&'a Representation, Option<&'static str>) {
        match self.accepts_gzip.then(|| ready.gzip()).flatten() {
            Some(packed) => (packed, Some("gzip")),
            None => (&ready.identity, None),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Condition {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::read(&parts.headers))
    }
}

fn names(tags: &str, etag: &HeaderValue) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

/// Whether `gzip` (or `*`) is offered with a weight above 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let offers =
        headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let mut any = false;
    for offer in offers {
        let mut parts = offer.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.filter_map(|p| p.strip_prefix("q=")).any(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0));
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return !refused;
        }
        any |= name == "*" && !refused;
    }
    any
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn weights_decide_on_compression() {
        let accepts = |text: &str| accepts_gzip(&headers(&[(header::ACCEPT_ENCODING, text)]));
        for text in ["gzip", "br, gzip;q=0.5", "*", "deflate, *;q=0.1", "GZIP"] {
            assert!(accepts(text), "{text}");
        }
        for text in ["", "identity", "gzip;q=0", "br", "*;q=0", "gzip; q=0.000, *"] {
            assert!(!accepts(text), "{text}");
        }
    }

    #[test]
    fn a_tag_is_recognized_in_a_list_and_decides_before_a_date() {
        let ready = Ready::json("{}", Some("2024-09-30T21:05:12Z".parse().unwrap()));
        let etag = ready.identity.etag.to_str().unwrap().to_owned();
        let met = |pairs: &[(HeaderName, &str)]| Condition::read(&headers(pairs)).is_met_by(&ready);
        assert!(met(&[(header::IF_NONE_MATCH, &format!("\"other\", W/{etag}"))]));
        assert!(met(&[(header::IF_NONE_MATCH, "*")]));
        assert!(met(&[(header::IF_MODIFIED_SINCE, "Mon, 30 Sep 2024 21:05:12 GMT")]));
        assert!(!met(&[(header::IF_MODIFIED_SINCE, "Mon, 30 Sep 2024 21:05:11 GMT")]));
        assert!(!met(&[
            (header::IF_NONE_MATCH, "\"other\""),
            (header::IF_MODIFIED_SINCE, "Tue, 01 Oct 2024 00:00:00 GMT")
        ]));
        assert!(!met(&[]));
    }
}

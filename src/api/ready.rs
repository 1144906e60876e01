//! Ready bytes: a body with its strong validators, compressed once when first asked for.

use std::io::Write;
use std::sync::OnceLock;

use axum::http::HeaderValue;
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// Below this size a compressed body saves no packet.
const COMPRESSED_FROM_BYTES: usize = 860;
/// Level of compression: most of the gain at a fifth of the time of the highest level.
const LEVEL: u32 = 5;
/// RFC 9110 date.
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// A body, ready to be sent in either encoding.
#[derive(Debug)]
pub struct Ready {
    /// As it is.
    pub identity: Representation,
    /// Since when the body has been this one, where that is known.
    pub last_modified: Option<DateTime<Utc>>,
    /// The same for the header.
    pub last_modified_text: Option<HeaderValue>,
    /// Media type.
    pub media_type: HeaderValue,
    gzip: OnceLock<Option<Representation>>,
}

/// A body in one encoding with its own strong entity tag.
#[derive(Debug, Clone)]
pub struct Representation {
    /// The bytes.
    pub body: Bytes,
    /// Strong entity tag, in quotation marks.
    pub etag: HeaderValue,
}

impl Ready {
    /// A JSON body.
    #[must_use]
    pub fn json(body: impl Into<Bytes>, last_modified: Option<DateTime<Utc>>) -> Self {
        Self::of_type(HeaderValue::from_static("application/json"), body, last_modified)
    }

    /// A body of any media type. The tag is the first half of its SHA-256.
    #[must_use]
    pub fn of_type(media_type: HeaderValue, body: impl Into<Bytes>, last_modified: Option<DateTime<Utc>>) -> Self {
        let body = body.into();
        let etag = tag(&hex::encode(&Sha256::digest(&body)[..16]));
        Self {
            identity: Representation { body, etag },
            last_modified: last_modified.map(|at| at.trunc_subsecs(0)),
            last_modified_text: last_modified.map(|at| header(&at.format(HTTP_DATE).to_string())),
            media_type,
            gzip: OnceLock::new(),
        }
    }

    /// The compressed body, made on first use; `None` where compression does not pay.
    #[must_use]
    pub fn gzip(&self) -> Option<&Representation> {
        self.gzip.get_or_init(|| self.compressed()).as_ref()
    }

    fn compressed(&self) -> Option<Representation> {
        let body = &self.identity.body;
        if body.len() < COMPRESSED_FROM_BYTES {
            return None;
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::new(LEVEL));
        encoder.write_all(body).ok()?;
        let packed = encoder.finish().ok()?;
        let etag = tag(&format!("{}-gzip", self.identity.etag.to_str().ok()?.trim_matches('"')));
        Some(Representation { body: packed.into(), etag })
    }
}

/// Reads the date of a conditional request.
#[must_use]
pub fn http_date(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, HTTP_DATE).ok().map(|t| t.and_utc())
}

fn tag(name: &str) -> HeaderValue {
    header(&format!("\"{name}\""))
}

/// Only hexadecimal digits and dates come here, which are always valid header text.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn each_encoding_has_its_own_tag_and_the_same_content() {
        let text = "{\"a\":1}".repeat(200);
        let ready = Ready::json(text.clone(), None);
        let gzip = ready.gzip().unwrap();
        assert_ne!(gzip.etag, ready.identity.etag);
        assert!(gzip.body.len() < text.len() / 4);
        let mut back = String::new();
        flate2::read::GzDecoder::new(&gzip.body[..]).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
        assert!(Ready::json("{}", None).gzip().is_none());
    }

    #[test]
    fn dates_round_trip_without_fractions() {
        let ready = Ready::json("{}", Some("2024-09-30T21:05:12.9Z".parse().unwrap()));
        assert_eq!(ready.last_modified_text.as_ref().unwrap(), "Mon, 30 Sep 2024 21:05:12 GMT");
        assert_eq!(http_date("Mon, 30 Sep 2024 21:05:12 GMT"), ready.last_modified);
        assert_eq!(http_date("yesterday"), None);
    }
}

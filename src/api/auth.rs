//! Keys: `Authorization: Bearer`, known only by their SHA-256, each with the scopes it was made for.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::Utc;
use sqlx::PgPool;
use subtle::ConstantTimeEq;

use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::store::StoreError;
use crate::store::keys::{self, StoredKey};

/// Longer texts are no keys and are not even hashed.
const KEY_MAX_CHARS: usize = 256;
/// How long a shown key is believed without asking the store: a revoked key dies within this time.
const BELIEVED_FOR: Duration = Duration::from_secs(30);
/// At most so many keys are remembered.
const REMEMBERED_MAX: usize = 1024;

/// What a key may be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Reading, where the operator asks for a key: any key will do.
    Read,
    /// Posting history.
    Ingest,
    /// Jobs, models, webhooks.
    Operate,
}

impl Scope {
    /// The word in the store and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ingest => "ingest",
            Self::Operate => "operate",
        }
    }

    /// `admin` covers everything.
    fn is_covered_by(self, scopes: &[String]) -> bool {
        self == Self::Read || scopes.iter().any(|scope| scope == self.as_str() || scope == "admin")
    }
}

/// The answer of a look-up, on its way.
pub type FoundKey = Pin<Box<dyn Future<Output = Result<Option<StoredKey>, StoreError>> + Send>>;

/// Finds keys by their hash and remembers them for a moment.
pub struct KeyRing {
    find: Box<dyn Fn([u8; 32]) -> FoundKey + Send + Sync>,
    shown: Mutex<BTreeMap<[u8; 32], (Instant, StoredKey)>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

impl KeyRing {
    /// Keys of the store.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self::with_lookup(move |hash| {
            let pool = pool.clone();
            Box::pin(async move { keys::find_by_hash(&pool, &hash).await })
        })
    }

    /// Keys from anywhere.
    pub fn with_lookup(find: impl Fn([u8; 32]) -> FoundKey + Send + Sync + 'static) -> Self {
        Self { find: Box::new(find), shown: Mutex::default() }
    }

    /// The key of a request, if it covers the scope.
    ///
    /// # Errors
    /// 401 without a valid key, 403 when it lacks the scope, 503 when the store does not answer.
    pub async fn require(&self, headers: &HeaderMap, scope: Scope) -> Result<StoredKey, Problem> {
        let secret = bearer(headers).ok_or_else(|| unauthorized("a key is needed: Authorization: Bearer KEY"))?;
        let hash = keys::hash_secret(secret);
        let key = self.find(hash).await?.filter(|key| is_valid(key, &hash));
        let key = key.ok_or_else(|| unauthorized("the key is unknown, revoked or expired"))?;
        if scope.is_covered_by(&key.scopes) {
            return Ok(key);
        }
        Err(Problem::new(ProblemType::Forbidden, format!("the key needs the scope {}", scope.as_str())))
    }

    async fn find(&self, hash: [u8; 32]) -> Result<Option<StoredKey>, StoreError> {
        let now = Instant::now();
        if let Some((until, key)) = self.remembered().get(&hash)
            && *until > now
        {
            return Ok(Some(key.clone()));
        }
        let found = (self.find)(hash).await?;
        let mut shown = self.remembered();
        shown.retain(|_, (until, _)| *until > now);
        if let Some(key) = found.as_ref().filter(|_| shown.len() < REMEMBERED_MAX) {
            shown.insert(hash, (now + BELIEVED_FOR, key.clone()));
        }
        Ok(found)
    }

    /// The map is whole after every step, so a panic elsewhere does not spoil it.
    fn remembered(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], (Instant, StoredKey)>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The look-up by hash already found it; comparing again in constant time keeps the decision independent of how the
/// store compares.
fn is_valid(key: &StoredKey, hash: &[u8; 32]) -> bool {
    let same = bool::from(key.hash.ct_eq(hash));
    same && key.revoked_at.is_none() && key.expires_at.is_none_or(|at| at > Utc::now())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let secret = secret.trim();
    let possible = scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty() && secret.len() <= KEY_MAX_CHARS;
    possible.then_some(secret)
}

fn unauthorized(detail: &str) -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"forecastd\"");
    Problem::new(ProblemType::Unauthorized, detail).with_header(header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;

    use super::*;

    fn ring(change: impl Fn(&mut StoredKey), lookups: Arc<AtomicUsize>) -> KeyRing {
        let now = Utc::now();
        let mut key = StoredKey {
            key_id: uuid::Uuid::nil(),
            name: "test".into(),
            hash: keys::hash_secret("good"),
            scopes: vec!["ingest".into()],
            created_at: now,
            expires_at: Some(now + TimeDelta::hours(1)),
            revoked_at: None,
        };
        change(&mut key);
        KeyRing::with_lookup(move |hash| {
            lookups.fetch_add(1, Ordering::SeqCst);
            let found = (hash == keys::hash_secret("good")).then(|| key.clone());
            Box::pin(async move { Ok(found) })
        })
    }

    async fn outcome(ring: &KeyRing, header_text: Option<&str>, scope: Scope) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(text) = header_text {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(text).unwrap());
        }
        ring.require(&headers, scope).await.map_or_else(|p| p.kind().status().as_u16(), |_| 200)
    }

    #[tokio::test]
    async fn a_key_opens_only_what_it_was_made_for() {
        let lookups = Arc::new(AtomicUsize::new(0));
        let good = ring(|_| {}, lookups.clone());
        assert_eq!(outcome(&good, Some("Bearer good"), Scope::Ingest).await, 200);
        assert_eq!(outcome(&good, Some("bearer good"), Scope::Read).await, 200);
        assert_eq!(outcome(&good, Some("Bearer good"), Scope::Operate).await, 403);
        assert_eq!(lookups.load(Ordering::SeqCst), 1);
        for text in [None, Some("Bearer bad"), Some("Bearer "), Some("Basic good"), Some("good")] {
            assert_eq!(outcome(&good, text, Scope::Read).await, 401, "{text:?}");
        }
        let admin = ring(|k| k.scopes = vec!["admin".into()], lookups);
        assert_eq!(outcome(&admin, Some("Bearer good"), Scope::Operate).await, 200);
    }

    #[tokio::test]
    async fn a_revoked_or_expired_key_opens_nothing() {
        let revoked = ring(|k| k.revoked_at = Some(Utc::now()), Arc::default());
        assert_eq!(outcome(&revoked, Some("Bearer good"), Scope::Ingest).await, 401);
        let expired = ring(|k| k.expires_at = Some(Utc::now() - TimeDelta::seconds(1)), Arc::default());
        assert_eq!(outcome(&expired, Some("Bearer good"), Scope::Ingest).await, 401);
    }
}

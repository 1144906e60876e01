//! The signature of the ledger's head: Ed25519 over sequence and hash, with a key kept in the data folder.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use rand::TryRng;
use rand::rngs::SysRng;

use crate::opinion::chain::Chain;
use crate::store::chain::Head;

/// A key that signs the heads of a chain.
#[derive(Clone)]
pub struct HeadSigner {
    key: SigningKey,
    chain: Chain,
}

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file does not hold a key.
    #[error("{path} does not hold 64 hexadecimal digits; restore it from a backup, or move it away to start a new key", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

/// Name of the key's file in the data folder.
const KEY_FILE: &str = "ledger.key";

/// What is signed: a fixed text, so that no other message can be taken for a head, nor a backfilled head for a live one.
#[must_use]
pub fn signed_text(chain: Chain, sequence: i64, hash: &[u8; 32]) -> String {
    let name = match chain {
        Chain::Live => "ledger",
        Chain::Backfill => "backfill",
    };
    format!("forecastd {name} head {sequence} {}", hex::encode(hash))
}

fn message(chain: Chain, head: Head) -> String {
    signed_text(chain, head.sequence, &head.hash)
}

impl HeadSigner {
    /// Loads the key of a folder (`ledger.key`, readable by its owner only), making one where there is none.
    ///
    /// # Errors
    /// [`SigningError`] names the file.
    pub fn open(folder: &Path) -> Result<Self, SigningError> {
        let path = folder.join(KEY_FILE);
        let io = |source| SigningError::Io { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) => {
                let bytes = hex::decode(text.trim()).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
                let secret = bytes.ok_or_else(|| SigningError::Format { path: path.clone() })?;
                Ok(Self::of(&secret))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut secret = [0u8; 32];
                SysRng.try_fill_bytes(&mut secret).map_err(|e| SigningError::Random(e.to_string()))?;
                fs::create_dir_all(folder).map_err(io)?;
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
                file.write_all(hex::encode(secret).as_bytes()).map_err(io)?;
                file.sync_all().map_err(io)?;
                Ok(Self::of(&secret))
            }
            Err(error) => Err(io(error)),
        }
    }

    /// The key of a folder, if it has one.
    ///
    /// # Errors
    /// [`SigningError`] names the file.
    pub fn existing(folder: &Path) -> Result<Option<Self>, SigningError> {
        if folder.join(KEY_FILE).exists() { Self::open(folder).map(Some) } else { Ok(None) }
    }

    /// The same key for the heads of a chain; that of a folder signs live ones.
    #[must_use]
    pub fn on(&self, chain: Chain) -> Self {
        Self { key: self.key.clone(), chain }
    }

    /// The signature of a head, 64 bytes.
    #[must_use]
    pub fn sign(&self, head: Head) -> [u8; 64] {
        self.key.sign(message(self.chain, head).as_bytes()).to_bytes()
    }

    /// The public key, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn of(secret: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(secret), chain: Chain::Live }
    }
}

/// Whether a signature is that of the key over the head of the live chain.
#[must_use]
pub fn is_signed(head: Head, signature: &[u8; 64], public_key: &[u8; 32]) -> bool {
    is_signed_on(Chain::Live, head, signature, public_key)
}

/// Whether a signature is that of the key over the head of a chain.
#[must_use]
pub fn is_signed_on(chain: Chain, head: Head, signature: &[u8; 64], public_key: &[u8; 32]) -> bool {
    let key = VerifyingKey::from_bytes(public_key);
    key.is_ok_and(|k| k.verify(message(chain, head).as_bytes(), &Signature::from_bytes(signature)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_signs_one_head() {
        let folder = tempfile::tempdir().unwrap();
        let signer = HeadSigner::open(folder.path()).unwrap();
        let again = HeadSigner::open(folder.path()).unwrap();
        assert_eq!(signer.public_key(), again.public_key());
        let head = Head { sequence: 7, hash: [3; 32] };
        let signature = signer.sign(head);
        assert!(is_signed(head, &signature, &again.public_key()));
        assert!(!is_signed(Head { sequence: 8, ..head }, &signature, &signer.public_key()));
        let backfilled = signer.on(Chain::Backfill).sign(head);
        assert!(is_signed_on(Chain::Backfill, head, &backfilled, &signer.public_key()));
        assert!(!is_signed(head, &backfilled, &signer.public_key()), "a backfilled head is no live one");
        std::fs::write(folder.path().join("ledger.key"), "nonsense").unwrap();
        assert!(matches!(HeadSigner::open(folder.path()), Err(SigningError::Format { .. })));
    }
}

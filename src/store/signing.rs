//! The signature of the ledger's head: Ed25519 over sequence and hash, with a key that every process that publishes has.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use rand::TryRng;
use rand::rngs::SysRng;
use sqlx::PgPool;

use crate::opinion::chain::Chain;
use crate::store::StoreError;
use crate::store::chain::{self, Head};

/// A key that signs the heads of a chain.
#[derive(Clone)]
pub struct HeadSigner {
    key: SigningKey,
    chain: Chain,
    succeeds: bool,
}

/// Where the key lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
    may_be_made: bool,
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
    /// The file that was named is not there.
    #[error(
        "{path}: there is no signing key; every process that publishes needs the same one. For a new ledger make it with \
         `openssl rand -hex 32 >{path}`",
        path = path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The ledger has signed heads, and the key is not there.
    #[error(
        "{path}: there is no signing key, and the newest head of this ledger was signed by key {newest}. Restore it from a \
         backup or name it by --signing-key; if it is lost, `forecastd publish --new-signing-key` goes on with a new one",
        path = path.display()
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// Public key that signed the newest head.
        newest: String,
    },
    /// The ledger was signed by another key, or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
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

impl KeyFile {
    /// The file that was named, else `ledger.key` in the data folder, which is made when the ledger is new.
    #[must_use]
    pub fn new(named: Option<&Path>, data_dir: &Path) -> Self {
        match named {
            Some(path) => Self { path: path.to_owned(), may_be_made: false },
            None => Self { path: data_dir.join(KEY_FILE), may_be_made: true },
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl HeadSigner {
    /// The key for a ledger. It is made where the ledger has no signed head yet and the file is the data folder's own;
    /// a key other than the one that signed the newest head is refused.
    ///
    /// # Errors
    /// [`SigningError`] names the file and the way out.
    pub async fn for_ledger(pool: &PgPool, file: &KeyFile) -> Result<Self, SigningError> {
        let mut connection = pool.acquire().await.map_err(StoreError::from)?;
        let newest = chain::newest_signer(&mut connection).await?;
        let signer = match (Self::existing(file)?, newest) {
            (Some(signer), _) => signer,
            (None, Some(newest)) => {
                return Err(SigningError::Lost { path: file.path.clone(), newest: hex::encode(newest) });
            }
            (None, None) => Self::make(file)?,
        };
        signer.check_succession(newest)?;
        Ok(signer)
    }

    /// A key that takes over from the one that signed so far: made where the file is the data folder's own and missing.
    ///
    /// # Errors
    /// [`SigningError`] names the file.
    pub fn successor(file: &KeyFile) -> Result<Self, SigningError> {
        let signer = Self::existing(file)?.map_or_else(|| Self::make(file), Ok)?;
        Ok(Self { succeeds: true, ..signer })
    }

    /// Loads the key of a folder (`ledger.key`, readable by its owner only), making one where there is none.
    ///
    /// # Errors
    /// [`SigningError`] names the file.
    pub fn open(folder: &Path) -> Result<Self, SigningError> {
        let file = KeyFile::new(None, folder);
        Self::existing(&file)?.map_or_else(|| Self::make(&file), Ok)
    }

    /// The key in a file, if it is there.
    ///
    /// # Errors
    /// [`SigningError`] names the file; one that was named must be there.
    pub fn existing(file: &KeyFile) -> Result<Option<Self>, SigningError> {
        match fs::read_to_string(&file.path) {
            Ok(text) => {
                let bytes = hex::decode(text.trim()).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
                let secret = bytes.ok_or_else(|| SigningError::Format { path: file.path.clone() })?;
                Ok(Some(Self::of(&secret)))
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SigningError::Io { path: file.path.clone(), source: error })
            }
            Err(_) if file.may_be_made => Ok(None),
            Err(_) => Err(SigningError::Missing { path: file.path.clone() }),
        }
    }

    fn make(file: &KeyFile) -> Result<Self, SigningError> {
        let io = |source| SigningError::Io { path: file.path.clone(), source };
        let mut secret = [0u8; 32];
        SysRng.try_fill_bytes(&mut secret).map_err(|e| SigningError::Random(e.to_string()))?;
        if let Some(folder) = file.path.parent() {
            fs::create_dir_all(folder).map_err(io)?;
        }
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.path).map_err(io)?;
        new.write_all(hex::encode(secret).as_bytes()).map_err(io)?;
        new.sync_all().map_err(io)?;
        Ok(Self::of(&secret))
    }

    /// Refuses to sign after another key, unless this one was made its successor.
    ///
    /// # Errors
    /// [`StoreError::OtherSigner`] names both and the way out.
    pub fn check_succession(&self, newest: Option<[u8; 32]>) -> Result<(), StoreError> {
        let given = self.public_key();
        match newest.filter(|newest| *newest != given && !self.succeeds) {
            Some(newest) => Err(StoreError::OtherSigner { newest: hex::encode(newest), given: hex::encode(given) }),
            None => Ok(()),
        }
    }

    /// The same key for the heads of a chain; that of a file signs live ones.
    #[must_use]
    pub fn on(&self, chain: Chain) -> Self {
        Self { chain, ..self.clone() }
    }

    fn of(secret: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(secret), chain: Chain::Live, succeeds: false }
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
        std::fs::write(folder.path().join("ledger.key"), "nonsense").unwrap();
        assert!(matches!(HeadSigner::open(folder.path()), Err(SigningError::Format { .. })));
    }

    #[test]
    fn a_named_file_is_never_made_and_another_key_is_no_successor_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let named = KeyFile::new(Some(&folder.path().join("given.key")), folder.path());
        assert!(matches!(HeadSigner::existing(&named), Err(SigningError::Missing { .. })));
        assert!(matches!(HeadSigner::successor(&named), Err(SigningError::Missing { .. })));
        assert!(!named.path().exists());
        std::fs::write(named.path(), format!("{}\n", "1f".repeat(32))).unwrap();
        let signer = HeadSigner::existing(&named).unwrap().unwrap();
        assert!(signer.check_succession(None).is_ok());
        assert!(signer.check_succession(Some(signer.public_key())).is_ok());
        let refused = signer.check_succession(Some([7; 32])).unwrap_err().to_string();
        assert!(refused.contains("--new-signing-key") && refused.contains(&"07".repeat(32)), "{refused}");
        assert!(HeadSigner::successor(&named).unwrap().check_succession(Some([7; 32])).is_ok());
    }
}

//! Keys for writing and operating, made on the command line only.

use chrono::{DateTime, Days, Utc};
use rand::TryRng;
use rand::rngs::SysRng;
use sqlx::PgPool;
use uuid::Uuid;

use crate::cli::keys::KeysCommand;
use crate::store::keys::{self, StoredKey};

/// Runs `forecastd keys`.
///
/// # Errors
/// When the store fails, there is no randomness, or there is no such key.
pub async fn run(pool: &PgPool, command: &KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::Create { scope, name, days } => {
            let mut scopes: Vec<String> = scope.iter().map(|s| s.as_str().to_owned()).collect();
            scopes.sort();
            scopes.dedup();
            let secret = create(pool, name, scopes, *days).await?;
            eprintln!("this secret is shown once; send it as `Authorization: Bearer SECRET`");
            println!("{secret}");
        }
        KeysCommand::List => {
            for key in keys::list(pool).await? {
                println!("{}  {:<16} {:<24} {}", key.key_id, key.scopes.join(","), key.name, condition(&key));
            }
        }
        KeysCommand::Revoke { id } => {
            anyhow::ensure!(keys::revoke(pool, *id).await?, "there is no key {id} in force; see `forecastd keys list`");
            println!("revoked {id}");
        }
    }
    Ok(())
}

/// Makes a key of 256 random bits and returns its secret, which is kept nowhere.
///
/// # Errors
/// When the store fails or there is no randomness.
pub async fn create(pool: &PgPool, name: &str, scopes: Vec<String>, days: Option<u32>) -> anyhow::Result<String> {
    let mut random = [0u8; 32];
    SysRng.try_fill_bytes(&mut random)?;
    let secret = format!("fcd_{}", hex::encode(random));
    let now = Utc::now();
    let key = StoredKey {
        key_id: Uuid::now_v7(),
        name: name.to_owned(),
        hash: keys::hash_secret(&secret),
        scopes,
        created_at: now,
        expires_at: days.and_then(|d| now.checked_add_days(Days::new(u64::from(d)))),
        revoked_at: None,
    };
    keys::insert(pool, &key).await?;
    Ok(secret)
}

fn shown(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn condition(key: &StoredKey) -> String {
    match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {}", shown(at)),
        (None, Some(at)) if at <= Utc::now() => format!("expired {}", shown(at)),
        (None, Some(at)) => format!("until {}", shown(at)),
        (None, None) => "without end".into(),
    }
}

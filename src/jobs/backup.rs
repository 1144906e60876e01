//! `forecastd backup` and `restore`: a dump of one moment with a manifest that names what is in it, and an empty database
//! filled from it whose ledger is then verified.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::Connection;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use crate::jobs::train::CODE_VERSION;
use crate::jobs::verify::{Expectations, verify};
use crate::store::backup::{self, Snapshot};
use crate::store::chain::Head;
use crate::store::clients::Clients;
use crate::store::open::{Server, Store};
use crate::store::pool;
use crate::store::signing::{HeadSigner, KeyFile};

/// Version of the manifest's form.
const FORM: u32 = 1;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// What a dump holds, in a file beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub form: u32,
    /// When the dump was begun.
    pub made_at: DateTime<Utc>,
    /// Version of the program that dumped.
    pub code_version: String,
    /// Newest migration of the schema.
    pub schema_version: i64,
    /// Major version of the server.
    pub postgres_version: u32,
    /// Major version of `pg_dump`; an older `pg_restore` may not read the file.
    pub pg_dump_version: u32,
    /// Whether it is a simulated market.
    pub simulated: bool,
    /// Sequence of the ledger's newest entry, 0 without any.
    pub ledger_sequence: i64,
    /// Hash of that entry.
    pub ledger_hash: String,
    /// Public half of the key that signed the newest head; the secret half is not in the dump.
    pub public_key: Option<String>,
    /// Length of the dump.
    pub bytes: u64,
    /// SHA-256 of the dump.
    pub sha256: String,
}

/// Dumps a database into a file, with its manifest in `FILE.json`. In a folder the file is named by the moment.
///
/// # Errors
/// When the file exists or cannot be written, or `pg_dump` is missing or fails; no file is left then.
pub async fn backup(server: &Server, store: &Store, file: &Path) -> anyhow::Result<()> {
    let file = &named(file);
    for path in [file.clone(), beside(file, ".json")] {
        anyhow::ensure!(!path.exists(), "{} exists already; a backup overwrites nothing", path.display());
    }
    let snapshot = Snapshot::take(&store.url).await?.context("the database is empty; there is nothing to back up")?;
    let clients = Clients::find(&server.search_path(), snapshot.server_version)?;
    let partial = beside(file, ".partial");
    let written = dump(&clients, &store.url, &snapshot, &partial).await;
    let outcome = match written {
        Ok((bytes, sha256)) => {
            let manifest = manifest(store, &snapshot, &clients, (bytes, sha256));
            finish(file, &partial, &manifest).await.map(|()| manifest)
        }
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        // What is half written is of no use; the reason is what counts.
        let _ = tokio::fs::remove_file(&partial).await;
    }
    snapshot.release().await?;
    let manifest = outcome?;
    println!("dumped {} bytes to {}, SHA-256 {}", manifest.bytes, file.display(), manifest.sha256);
    println!("ledger head: {}:{}", manifest.ledger_sequence, manifest.ledger_hash);
    if let Some(key) = &manifest.public_key {
        println!(
            "signed by {key}; the signing key is not in the dump, keep {} apart",
            server.key_file().path().display()
        );
    }
    Ok(())
}

/// Fills an empty database from a dump and verifies its ledger.
///
/// # Errors
/// When the dump is not what its manifest says, the database holds anything, or the restored ledger is broken.
pub async fn restore(server: &Server, file: &Path) -> anyhow::Result<()> {
    let manifest = read_manifest(file).await?;
    check_dump(file, &manifest).await?;
    let url = server.bare(manifest.simulated).await?;
    let mut owner = pool::connect_as_owner(&url).await?;
    if let Some(found) = backup::any_relation(&mut owner).await? {
        anyhow::bail!("the database is not empty, it has {found}; a backup is restored into an empty one");
    }
    let wanted = backup::server_version(&mut owner).await?.max(manifest.pg_dump_version);
    let clients = Clients::find(&server.search_path(), wanted)?;
    backup::ensure_role(&mut owner).await?;
    fill(&clients, &url, file).await?;
    backup::settle(&mut owner).await?;
    owner.close().await?;
    let store = if manifest.simulated { server.simulated().await? } else { server.real().await? };
    let checked = check_ledger(&store, &manifest).await;
    store.pool.close().await;
    checked.context("the dump was restored, but its ledger is not what it was; drop the database")?;
    println!("restored {}; ledger verified: {}:{}", file.display(), manifest.ledger_sequence, manifest.ledger_hash);
    advise_on_key(&server.key_file(), manifest.public_key.as_deref());
    Ok(())
}

async fn dump(clients: &Clients, url: &str, snapshot: &Snapshot, partial: &Path) -> anyhow::Result<(u64, String)> {
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial).await;
    let out = out.as_mut().map_err(|error| anyhow::anyhow!("{}: {error}", partial.display()))?;
    let mut command = clients.command("pg_dump", url)?;
    command.args(["--format=custom", "--no-owner", "--no-password"]).arg(format!("--snapshot={}", snapshot.id));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("pg_dump cannot be started")?;
    let mut dumped = child.stdout.take().context("pg_dump has no output")?;
    let complaints = tokio::spawn(text_of(child.stderr.take()));
    let written = copy_hashed(&mut dumped, Some(out)).await;
    drop(dumped);
    ended("pg_dump", child, complaints.await?).await?;
    let written = written.with_context(|| partial.display().to_string())?;
    out.sync_all().await?;
    Ok(written)
}

/// The manifest is there before the dump has its name, so that no dump is without one.
async fn finish(file: &Path, partial: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let path = beside(file, ".json");
    let mut out = OpenOptions::new().write(true).create_new(true).open(&path).await?;
    out.write_all(format!("{}\n", serde_json::to_string_pretty(manifest)?).as_bytes()).await?;
    out.sync_all().await?;
    tokio::fs::rename(partial, file).await?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder).await?.sync_all().await?;
    }
    Ok(())
}

fn manifest(store: &Store, snapshot: &Snapshot, clients: &Clients, (bytes, sha256): (u64, String)) -> Manifest {
    Manifest {
        form: FORM,
        made_at: Utc::now().trunc_subsecs(0),
        code_version: CODE_VERSION.to_owned(),
        schema_version: snapshot.schema_version,
        postgres_version: snapshot.server_version,
        pg_dump_version: clients.major_version,
        simulated: store.simulated,
        ledger_sequence: snapshot.head.sequence,
        ledger_hash: hex::encode(snapshot.head.hash),
        public_key: snapshot.public_key.map(hex::encode),
        bytes,
        sha256,
    }
}

async fn read_manifest(file: &Path) -> anyhow::Result<Manifest> {
    let path = beside(file, ".json");
    let text = tokio::fs::read(&path).await;
    let text = text.with_context(|| format!("{}, the manifest of the dump, cannot be read", path.display()))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).with_context(|| format!("{} is no manifest of a dump", path.display()))?;
    anyhow::ensure!(manifest.form == FORM, "{} has form {}, this version reads {FORM}", path.display(), manifest.form);
    Ok(manifest)
}

/// A damaged dump is found before anything is changed.
async fn check_dump(file: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let mut dump = File::open(file).await.with_context(|| format!("{} cannot be read", file.display()))?;
    let (bytes, sha256) = copy_hashed(&mut dump, None).await?;
    anyhow::ensure!(
        (bytes, &sha256) == (manifest.bytes, &manifest.sha256),
        "{} is damaged: it has {bytes} bytes and SHA-256 {sha256}, its manifest says {} bytes and {}; nothing was restored",
        file.display(),
        manifest.bytes,
        manifest.sha256
    );
    Ok(())
}

/// Everything in one transaction, so that a dump that cannot be restored leaves the database empty.
async fn fill(clients: &Clients, url: &str, file: &Path) -> anyhow::Result<()> {
    let options: sqlx::postgres::PgConnectOptions = url.parse()?;
    let mut command = clients.command("pg_restore", url)?;
    command.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-password", "--dbname"]);
    command.arg(options.get_database().unwrap_or(options.get_username())).arg(file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("pg_restore cannot be started")?;
    let complaints = text_of(child.stderr.take()).await;
    ended("pg_restore", child, complaints).await
}

async fn check_ledger(store: &Store, manifest: &Manifest) -> anyhow::Result<()> {
    let hash = |text: &str| hex::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let head = Head {
        sequence: manifest.ledger_sequence,
        hash: hash(&manifest.ledger_hash).context("the manifest's ledger_hash is no SHA-256")?,
    };
    let public_key = match &manifest.public_key {
        Some(key) => Some(hash(key).context("the manifest's public_key is no key")?),
        None => None,
    };
    let found = verify(&store.pool, Expectations { entry: None, public_key }).await?;
    anyhow::ensure!(
        found == head,
        "it ends with {}:{}, the manifest says {}:{}",
        found.sequence,
        hex::encode(found.hash),
        head.sequence,
        manifest.ledger_hash
    );
    Ok(())
}

/// Tells whether this installation can go on signing.
fn advise_on_key(file: &KeyFile, expected: Option<&str>) {
    let Some(expected) = expected else { return };
    let path = file.path().display();
    match HeadSigner::existing(file) {
        Ok(Some(signer)) if hex::encode(signer.public_key()) == expected => {}
        Ok(Some(_)) => {
            eprintln!("{path} is not the key that signed this ledger ({expected}); publishing will be refused")
        }
        Ok(None) | Err(_) => {
            eprintln!("put the key that signed this ledger ({expected}) into {path} before anything is published");
        }
    }
}

async fn ended(program: &str, mut child: Child, complaints: String) -> anyhow::Result<()> {
    let status = child.wait().await?;
    anyhow::ensure!(status.success(), "{program} failed ({status}): {}", complaints.trim());
    Ok(())
}

async fn text_of(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was said until it broke off is what there is to tell.
        let _ = stream.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads to the end, hashes, and writes on the way; returns length and SHA-256.
async fn copy_hashed(from: &mut (impl AsyncRead + Unpin), mut to: Option<&mut File>) -> std::io::Result<(u64, String)> {
    let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok((bytes, hex::encode(hash.finalize())));
        }
        hash.update(&chunk[..read]);
        bytes += read as u64;
        if let Some(file) = to.as_deref_mut() {
            file.write_all(&chunk[..read]).await?;
        }
    }
}

/// The file itself, or one in the folder that was given.
fn named(file: &Path) -> PathBuf {
    if !file.is_dir() {
        return file.to_owned();
    }
    file.join(format!("forecastd-{}.dump", Utc::now().format("%Y%m%dT%H%M%SZ")))
}

/// The path with something behind its name.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

//! Backup and restore: what is dumped comes back, verifies and replays; what is damaged or in the way is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use forecastd::jobs::backup::{Manifest, backup, restore};
use forecastd::jobs::replay::{Replay, replay};
use forecastd::jobs::verify::{Expectations, verify};
use forecastd::store::open::{Server, Store, StoreOptions};
use forecastd::store::schema::Migrations;
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Executor, PgPool};

use crate::support::market::market;
use crate::support::publishing::{entries, publish_again, signer, train_and_publish};
use crate::support::server::{DataFolder, errors};
use crate::support::store::{Beside, Opened, fingerprint, simulated};

/// A published market, and a server beside whose database an empty one for the simulated market can be made.
struct Case {
    opened: Opened,
    server: Server,
    folder: tempfile::TempDir,
    beside: Beside,
}

impl Case {
    async fn published(options: PgPoolOptions, connect: PgConnectOptions) -> Self {
        let url = connect.to_url_lossy().to_string();
        let mut opened = simulated(options, connect, &market(4, 420)).await;
        opened.store.url = url;
        let beside = Beside::create(&opened.owner).await;
        train_and_publish(&opened.store, 0).await;
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            database_url: Some(beside.url.clone()),
            data_dir: folder.path().join("data"),
            postgres_dir: std::env::var_os("FORECASTD_POSTGRES_DIR").map(PathBuf::from).unwrap_or_default(),
            connections: 4,
            migrations: Migrations::Run,
            signing_key: None,
        };
        let server = Server::start(options, false).await.unwrap();
        Self { opened, server, folder, beside }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn backup(&self, file: &Path) -> anyhow::Result<()> {
        backup(&self.server, &self.opened.store, file).await
    }

    async fn refusal(&self, file: &Path) -> String {
        format!("{:#}", restore(&self.server, file).await.unwrap_err())
    }

    async fn restored(&self) -> Store {
        self.server.simulated().await.unwrap()
    }

    async fn is_empty(&self) -> bool {
        let url = self.server.bare(true).await.unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        let tables = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
        let tables: i64 = sqlx::query_scalar(tables).fetch_one(&pool).await.unwrap();
        pool.close().await;
        tables == 0
    }
}

fn manifest(file: &Path) -> Manifest {
    serde_json::from_slice(&fs::read(format!("{}.json", file.display())).unwrap()).unwrap()
}

#[sqlx::test]
async fn what_was_dumped_comes_back_verifies_and_replays(options: PgPoolOptions, connect: PgConnectOptions) {
    let case = Case::published(options, connect).await;
    let store = &case.opened.store;
    let before = (entries(store).await, fingerprint(&case.opened.owner).await);
    let file = case.file("first.dump");
    case.backup(&file).await.unwrap();
    assert!(case.backup(&file).await.unwrap_err().to_string().contains("exists already"));
    let said = manifest(&file);
    let last = before.0.last().unwrap();
    assert_eq!((said.ledger_sequence, said.ledger_hash.clone()), (last.sequence, hex::encode(last.hash)));
    assert_eq!(said.public_key, Some(hex::encode(signer().0.public_key())));
    assert_eq!((said.simulated, said.bytes), (true, fs::metadata(&file).unwrap().len()));
    // What comes after a dump is not in it.
    publish_again(store).await;

    restore(&case.server, &file).await.unwrap();
    let restored = case.restored().await;
    let own = Expectations { entry: Some((last.sequence, last.hash)), public_key: Some(signer().0.public_key()) };
    assert_eq!(verify(&restored.pool, own).await.unwrap().sequence, last.sequence);
    let owner = PgPool::connect(&restored.url).await.unwrap();
    assert_eq!((entries(&restored).await, fingerprint(&owner).await), before);
    owner.close().await;
    let entry = &before.0[before.0.len() / 2];
    assert_eq!(replay(&restored, entry.sequence).await.unwrap(), Replay::Same(entry.entry.len()));
    let error = restored.pool.execute("delete from ledger").await.unwrap_err();
    assert_eq!(error.as_database_error().and_then(|e| e.code()).as_deref(), Some("42501"), "{error}");
    publish_again(&restored).await;
    restored.pool.close().await;
    let again = case.refusal(&file).await;
    assert!(again.contains("not empty"), "{again}");
    case.beside.clear().await;
}

#[sqlx::test]
async fn a_damaged_dump_changes_nothing(options: PgPoolOptions, connect: PgConnectOptions) {
    let case = Case::published(options, connect).await;
    let file = case.file("good.dump");
    case.backup(&file).await.unwrap();
    let good = fs::read(&file).unwrap();
    let text = fs::read_to_string(case.file("good.dump.json")).unwrap();
    let spoilt = |bytes: &[u8], manifest: &str| {
        fs::write(case.file("bad.dump"), bytes).unwrap();
        fs::write(case.file("bad.dump.json"), manifest).unwrap();
        case.file("bad.dump")
    };
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bytes in [&flipped[..], &good[..good.len() - 1], &[]] {
        let refused = case.refusal(&spoilt(bytes, &text)).await;
        assert!(refused.contains("is damaged") && refused.contains("nothing was restored"), "{refused}");
    }
    // Somebody wrote a manifest that fits the damage: pg_restore fails, and its transaction leaves nothing.
    let half = &good[..good.len() / 2];
    let fitting = manifest(&file);
    let fitting = Manifest { bytes: half.len() as u64, sha256: hex::encode(Sha256::digest(half)), ..fitting };
    let refused = case.refusal(&spoilt(half, &serde_json::to_string(&fitting).unwrap())).await;
    assert!(refused.contains("pg_restore failed"), "{refused}");
    assert!(case.is_empty().await);
    // A manifest that promises another ledger than the dump holds.
    let other = Manifest { ledger_hash: "ab".repeat(32), ..manifest(&file) };
    let refused = case.refusal(&spoilt(&good, &serde_json::to_string(&other).unwrap())).await;
    assert!(refused.contains("drop the database") && refused.contains("the manifest says"), "{refused}");
    fs::remove_file(case.file("bad.dump.json")).unwrap();
    let refused = case.refusal(&case.file("bad.dump")).await;
    assert!(refused.contains("bad.dump.json"), "{refused}");
    case.beside.clear().await;
}

#[sqlx::test]
async fn a_dump_that_cannot_be_taken_leaves_no_file(options: PgPoolOptions, connect: PgConnectOptions) {
    let case = Case::published(options, connect).await;
    let nowhere = case.file("no/such/folder/x.dump");
    assert!(case.backup(&nowhere).await.is_err());
    // Programs that give up half-way, and none at all.
    let (programs, data) = (case.file("programs"), DataFolder::new());
    fs::create_dir(&programs).unwrap();
    let file = case.file("half.dump");
    let dump = |bin: &Path| {
        let command = &mut data.command(["backup", file.to_str().unwrap()]);
        errors(&command.env("DATABASE_URL", &case.opened.store.url).env("PG_BIN_DIR", bin).output().unwrap())
    };
    let missing = dump(&programs);
    assert!(missing.contains("need pg_dump and pg_restore") && missing.contains("found: none"), "{missing}");
    for name in ["pg_dump", "pg_restore"] {
        let script = format!(
            "#!/bin/sh\ncase $1 in --version) echo '{name} (PostgreSQL) 99.1' ;; *) echo half; echo 'no more' >&2; exit 3 ;; esac\n"
        );
        fs::write(programs.join(name), script).unwrap();
        fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let failed = dump(&programs);
    assert!(failed.contains("pg_dump failed") && failed.contains("no more"), "{failed}");
    fs::remove_dir_all(&programs).unwrap();
    case.beside.clear().await;
    let left: Vec<_> = fs::read_dir(case.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

//! The schema across versions: brought up to date once, required by programs that must not touch it, taken when it is ahead.

use std::path::PathBuf;

use forecastd::store::StoreError;
use forecastd::store::open::{OpenError, Server, StoreOptions};
use forecastd::store::queue::NEWEST_MIGRATION;
use forecastd::store::schema::{self, Migrations};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool};

use crate::support::server::{DataFolder, errors};
use crate::support::store::Beside;

/// How many migrations a program misses that may not make them; `None` when it starts.
async fn missed(url: &str) -> Option<usize> {
    let options = StoreOptions {
        database_url: Some(url.to_owned()),
        data_dir: PathBuf::from("unused"),
        postgres_dir: PathBuf::from("unused"),
        connections: 2,
        migrations: Migrations::Require,
        signing_key: None,
    };
    match Server::start(options, false).await.unwrap().real().await {
        Ok(store) => {
            store.pool.close().await;
            None
        }
        Err(OpenError::Store(StoreError::Behind { missing })) => Some(missing),
        Err(error) => panic!("{error}"),
    }
}

async fn newest_of_queue(owner: &PgPool) -> i32 {
    sqlx::query_scalar("select max(id) from forecastd_queue.migrations").fetch_one(owner).await.unwrap()
}

#[sqlx::test(migrations = false)]
async fn a_program_that_may_not_migrate_requires_what_it_knows(options: PgPoolOptions, connect: PgConnectOptions) {
    let url = connect.to_url_lossy().to_string();
    let owner = options.max_connections(2).connect_with(connect).await.unwrap();
    let all = schema::MIGRATIONS.iter().count();
    assert_eq!(missed(&url).await, Some(all), "an empty database");
    let relations: i64 =
        sqlx::query_scalar("select count(*) from pg_class where relnamespace = 'public'::regnamespace")
            .fetch_one(&owner)
            .await
            .unwrap();
    assert_eq!(relations, 0, "nothing was made");

    schema::migrate(&url).await.unwrap();
    assert_eq!(missed(&url).await, None);
    assert_eq!(newest_of_queue(&owner).await, NEWEST_MIGRATION, "the library brought another schema");

    // A later version has been here: both go on side by side.
    let later = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (29990101000001, 'later', true, '\\x00', 0)";
    owner.execute(later).await.unwrap();
    owner.execute("insert into forecastd_queue.migrations (id, breaking) values (1000, false)").await.unwrap();
    assert_eq!(missed(&url).await, None);
    schema::migrate(&url).await.unwrap();

    owner.execute("delete from forecastd_queue.migrations where id >= 22").await.unwrap();
    assert_eq!(missed(&url).await, Some(0), "the queue alone is behind");
    let newest = "delete from _sqlx_migrations where version =
                  (select max(version) from _sqlx_migrations where version < 29990101000001)";
    owner.execute(newest).await.unwrap();
    assert_eq!(missed(&url).await, Some(1), "what is missing counts, also where later ones are there");
    owner.execute("revoke select on _sqlx_migrations from forecastd_service").await.unwrap();
    owner.close().await;
}

#[sqlx::test(migrations = false)]
async fn the_command_migrates_and_the_option_refuses(pool: PgPool) {
    let beside = Beside::create(&pool).await;
    let folder = DataFolder::new();
    let run = |arguments: &[&str]| folder.command(arguments).env("DATABASE_URL", &beside.url).output().unwrap();
    let refused = run(&["--no-migrate", "keys", "list"]);
    assert!(!refused.status.success() && errors(&refused).contains("forecastd migrate"), "{}", errors(&refused));
    let migrated = run(&["--no-migrate", "migrate"]);
    assert!(migrated.status.success(), "{}", errors(&migrated));
    let listed = run(&["--no-migrate", "keys", "list"]);
    assert!(listed.status.success(), "the simulated market's schema is there, too: {}", errors(&listed));
    let mut real = PgConnection::connect(&beside.url).await.unwrap();
    real.execute("insert into instruments (symbol) values ('BABA')").await.unwrap();
    real.execute("delete from forecastd_queue.migrations where id = 22").await.unwrap();
    let behind = run(&["--no-migrate", "keys", "list"]);
    assert!(!behind.status.success() && errors(&behind).contains("job queue"), "{}", errors(&behind));
    real.close().await.unwrap();
    beside.clear().await;
}

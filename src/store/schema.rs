//! The schema: brought up to date by whoever may, or only looked at by programs that run beside newer ones.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, PgConnection};

use crate::store::{StoreError, pool, queue};

/// The migrations compiled in. Those of a later version are left alone, so that both versions work while one replaces
/// the other.
pub static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations");
    migrations.set_ignore_missing(true);
    migrations
});

/// Lets programs that may not own the tables see how far the schema is.
const RIGHTS: &str = "grant select on _sqlx_migrations to forecastd_service";

/// What the server calls a lack of rights.
const NOT_ALLOWED: &str = "42501";

/// What opening a database does about its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Migrations {
    /// Bring it up to date.
    #[default]
    Run,
    /// Change nothing, and refuse one that is behind.
    Require,
    /// Change nothing, and take it as it is.
    Leave,
}

/// Brings the schema and the queue's tables up to date with the rights of the connecting user.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached or a migration fails.
pub async fn migrate(url: &str) -> Result<(), StoreError> {
    let mut connection = pool::connect_as_owner(url).await?;
    MIGRATIONS.run(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    // Two programs that start at once would collide over the same catalogue rows.
    transaction.execute("select pg_advisory_xact_lock(29099034600989187)").await?;
    transaction.execute(RIGHTS).await?;
    transaction.commit().await?;
    connection.close().await?;
    let owner = pool::pool_of_owner(url).await?;
    let queue = queue::migrate(&owner).await;
    owner.close().await;
    queue
}

/// Refuses a schema that lacks a migration of this version. One that is ahead is taken: migrations only add.
///
/// # Errors
/// [`StoreError::Behind`] says what to do.
pub async fn require(url: &str) -> Result<(), StoreError> {
    let mut connection = pool::connect_as_owner(url).await?;
    let applied: BTreeSet<i64> = match applied(&mut connection).await {
        Ok(applied) => applied.into_iter().collect(),
        // Written by a version that did not let the running role look, so it is behind.
        Err(StoreError::Database(sqlx::Error::Database(e))) if e.code().as_deref() == Some(NOT_ALLOWED) => {
            BTreeSet::new()
        }
        Err(error) => return Err(error),
    };
    let known = MIGRATIONS.iter().map(|migration| migration.version);
    let missing = known.filter(|version| !applied.contains(version)).count();
    if missing > 0 || !queue::is_current(&mut connection).await? {
        return Err(StoreError::Behind { missing });
    }
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
    if applied.last().copied() > newest {
        tracing::info!("the schema is of a later version of this program; going on with what this one knows");
    }
    connection.close().await?;
    Ok(())
}

/// Version of the newest migration that a database has; `None` without any.
///
/// # Errors
/// [`StoreError`] when the store cannot be reached.
pub async fn version(connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    Ok(applied(connection).await?.into_iter().max())
}

/// The table is the library's and not there before the first migration, so its queries cannot be checked when they are compiled.
async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, StoreError> {
    let exists: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(vec![]);
    }
    Ok(sqlx::query_scalar("select version from _sqlx_migrations where success").fetch_all(connection).await?)
}

//! What a backup and a restore ask of the database: one moment of it held still, its emptiness, the role it needs, and a
//! queue that no dead worker holds.

use sqlx::{Connection, Executor, PgConnection};

use crate::store::chain::{self, Head};
use crate::store::{StoreError, pool, schema};

/// A moment of the database, held still while a dump of it is taken.
#[derive(Debug)]
pub struct Snapshot {
    connection: PgConnection,
    /// Its name, for other connections.
    pub id: String,
    /// The ledger's newest place.
    pub head: Head,
    /// The key that signed the newest signed head.
    pub public_key: Option<[u8; 32]>,
    /// Newest migration.
    pub schema_version: i64,
    /// Major version of the server.
    pub server_version: u32,
}

impl Snapshot {
    /// Holds this moment until [`Snapshot::release`]; `None` where there is no schema.
    ///
    /// # Errors
    /// [`StoreError`] when the server cannot be reached.
    pub async fn take(url: &str) -> Result<Option<Self>, StoreError> {
        let mut connection = pool::connect_as_owner(url).await?;
        connection.execute("begin isolation level repeatable read read only").await?;
        let Some(schema_version) = schema::version(&mut connection).await? else { return Ok(None) };
        let id = sqlx::query_scalar("select pg_export_snapshot()").fetch_one(&mut connection).await?;
        let head = chain::head(&mut connection).await?;
        let public_key = chain::newest_signer(&mut connection).await?;
        let server_version = server_version(&mut connection).await?;
        Ok(Some(Self { connection, id, head, public_key, schema_version, server_version }))
    }

    /// Lets it go.
    ///
    /// # Errors
    /// [`StoreError`] when the server was lost meanwhile.
    pub async fn release(mut self) -> Result<(), StoreError> {
        self.connection.execute("rollback").await?;
        Ok(self.connection.close().await?)
    }
}

/// Major version of the server.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached.
pub async fn server_version(connection: &mut PgConnection) -> Result<u32, StoreError> {
    let number: i32 = sqlx::query_scalar("select current_setting('server_version_num')::integer / 10000")
        .fetch_one(connection)
        .await?;
    u32::try_from(number).map_err(StoreError::row)
}

/// A table, view or sequence that stands in the database, extensions' own aside; `None` when it is empty.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached.
pub async fn any_relation(connection: &mut PgConnection) -> Result<Option<String>, StoreError> {
    let found = sqlx::query_scalar(
        "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
            and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
         order by c.oid limit 1",
    );
    Ok(found.fetch_optional(connection).await?)
}

/// Makes the running role, which belongs to the server and so is in no dump, and lets the connecting user take it.
///
/// # Errors
/// [`StoreError`] with the administrator's statements when the user may not.
pub async fn ensure_role(connection: &mut PgConnection) -> Result<(), StoreError> {
    Ok(connection.execute(ROLE).await.map(|_| ())?)
}

/// As the migration that grants the rights does.
const ROLE: &str = r"
do $$
begin
    if not exists (select from pg_roles where rolname = 'forecastd_service') then
        create role forecastd_service nologin;
    end if;
    if not pg_has_role(current_user, 'forecastd_service', 'member') then
        execute format('grant forecastd_service to %I', current_user);
    end if;
exception when insufficient_privilege then
    raise exception '% may not make or take the role forecastd_service', current_user
        using hint = format('as an administrator: create role forecastd_service nologin; grant forecastd_service to %I;', current_user);
end
$$";

/// Frees the queue of workers that held jobs when the dump was taken, none of which is alive for this database, and brings
/// the planner's knowledge of the tables up to date.
///
/// # Errors
/// [`StoreError`] when the server cannot be reached.
pub async fn settle(connection: &mut PgConnection) -> Result<(), StoreError> {
    let has_queue: bool = sqlx::query_scalar("select to_regclass('forecastd_queue._private_jobs') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if has_queue {
        connection.execute(FREE_QUEUE).await?;
    }
    // Tables of the server itself are its administrator's, and each would be complained about.
    connection.execute("set client_min_messages = error; analyze; reset client_min_messages").await?;
    Ok(())
}

const FREE_QUEUE: &str = "
    update forecastd_queue._private_jobs set locked_at = null, locked_by = null where locked_at is not null;
    update forecastd_queue._private_job_queues set locked_at = null, locked_by = null where locked_at is not null";

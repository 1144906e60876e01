//! What can go wrong between the service and its store.

/// A failed call to the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The server refused, could not be reached, or broke off.
    #[error("the store did not answer: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The job queue could not be brought up to date.
    #[error("the job queue could not be brought up to date: {0}")]
    Queue(String),
    /// The schema lacks what this version needs, and is not to be changed.
    #[error(
        "the schema of the database is behind this program ({}); run `forecastd migrate` with the rights of its owner, \
         or start without --no-migrate",
        lacking(*.missing)
    )]
    Behind {
        /// Migrations that are missing; 0 when only the queue's are.
        missing: usize,
    },
    /// The newest head of the ledger was signed by another key.
    #[error(
        "the newest head of the ledger was signed by key {newest}, and this process has key {given}: nothing is signed with \
         it. Give every process that publishes the same key (--signing-key or FORECASTD_SIGNING_KEY); to go on with this \
         one for good, run `forecastd publish --new-signing-key` once"
    )]
    OtherSigner {
        /// Public key that signed the newest head.
        newest: String,
        /// Public key of this process.
        given: String,
    },
    /// Another run of the job took over, or it was cancelled.
    #[error("another run of this job took over, or it was cancelled, so this one takes no effect")]
    LeaseLost,
    /// A stored row breaks a rule of the types it is read into.
    #[error("the store holds a row that breaks a rule: {0}")]
    Row(String),
    /// Simulated and real data were about to meet.
    #[error("this database holds {} data and takes no other; use another database or --data-dir", kind(*.simulated))]
    Mixed {
        /// What the database holds.
        simulated: bool,
    },
}

impl StoreError {
    /// A row that breaks a rule.
    pub fn row(error: impl std::fmt::Display) -> Self {
        Self::Row(error.to_string())
    }

    /// Whether a table was asked for that is not there.
    #[must_use]
    pub fn is_missing_table(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01"))
    }

    /// Whether the same call may succeed later, because the server is away, starting, or out of connections.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => true,
            // Class 08: connection exceptions; 57P0x: shutting down or starting up; 53xxx: out of resources.
            Self::Database(sqlx::Error::Database(e)) => {
                e.code().is_some_and(|c| c.starts_with("08") || c.starts_with("57P0") || c.starts_with("53"))
            }
            _ => false,
        }
    }
}

fn lacking(migrations: usize) -> String {
    if migrations == 0 { "in the tables of the job queue".into() } else { format!("migrations missing: {migrations}") }
}

fn kind(simulated: bool) -> &'static str {
    if simulated { "simulated" } else { "real" }
}

/// What the server advises about an error somewhere down the chain of causes.
#[must_use]
pub fn hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.filter_map(|e| e.downcast_ref::<sqlx::Error>()).find_map(|e| {
        let server = e.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
        server.hint().map(str::to_owned)
    })
}

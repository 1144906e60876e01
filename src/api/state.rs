//! What every handler shares.

use std::num::NonZero;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::HeaderValue;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::auth::KeyRing;
use crate::api::board::Board;
use crate::api::problem::Problem;
use crate::api::problem_type::ProblemType;
use crate::api::responses::LastComparisons;
use crate::opinion::chain::Chain;
use crate::store::pool;

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether the store holds a simulated market, which takes no real prices.
    pub simulated: bool,
    /// Whether reading needs a key, too.
    pub private: bool,
    /// Origins whose pages may read the answers.
    pub cors_origins: Vec<HeaderValue>,
    /// Requests that may ask the store at once.
    pub max_concurrency: usize,
    /// Requests that may wait for a change at once.
    pub max_waiters: usize,
    /// A request that has not been answered by then is given up.
    pub request_time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            simulated: false,
            private: false,
            cors_origins: Vec::new(),
            max_concurrency: 512,
            max_waiters: 1000,
            request_time: Duration::from_secs(30),
        }
    }
}

/// What every handler shares; cloning it is cheap.
#[derive(Debug, Clone)]
pub struct AppState {
    /// The store.
    pub pool: PgPool,
    /// The published answers.
    pub board: Arc<Board>,
    /// The keys that were shown lately.
    pub keys: Arc<KeyRing>,
    /// The comparisons that were asked for last.
    pub comparisons: Arc<LastComparisons>,
    /// What the operator decided.
    pub settings: Arc<Settings>,
    backfill: Arc<OnceLock<PgPool>>,
    store_slots: Arc<Semaphore>,
    waiting_slots: Arc<Semaphore>,
    solving_turns: Arc<Semaphore>,
    solving_queue: Arc<Semaphore>,
}

/// Requests that may stand in line for a turn at solving.
const SOLVING_QUEUE: usize = 64;

impl AppState {
    /// The shared state.
    #[must_use]
    pub fn new(pool: PgPool, board: Arc<Board>, settings: Settings) -> Self {
        // One processor stays free for everybody else.
        let solvers = std::thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1);
        Self {
            keys: Arc::new(KeyRing::new(pool.clone())),
            store_slots: Arc::new(Semaphore::new(settings.max_concurrency)),
            waiting_slots: Arc::new(Semaphore::new(settings.max_waiters)),
            solving_turns: Arc::new(Semaphore::new(solvers)),
            solving_queue: Arc::new(Semaphore::new(SOLVING_QUEUE)),
            comparisons: Arc::default(),
            backfill: Arc::default(),
            pool,
            board,
            settings: Arc::new(settings),
        }
    }

    /// Connections on a chain; those on the backfilled one are made when it is first asked for.
    #[must_use]
    pub fn pool_on(&self, chain: Chain) -> &PgPool {
        match chain {
            Chain::Live => &self.pool,
            Chain::Backfill => self.backfill.get_or_init(|| pool::on_chain(&self.pool, chain)),
        }
    }

    /// A place among the requests that ask the store. Answers from memory need none, so they go on under any load.
    ///
    /// # Errors
    /// 503 when all are taken.
    pub fn store_slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        slot(&self.store_slots, "too many requests are asking the store")
    }

    /// A place among the requests that wait for a change.
    ///
    /// # Errors
    /// 503 when all are taken.
    pub fn waiting_slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        slot(&self.waiting_slots, "too many requests are waiting for a change; ask without wait")
    }

    /// A turn at solving a process; others stand in line.
    ///
    /// # Errors
    /// 503 when the line is full or the service stops.
    pub async fn solving_turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let _place = slot(&self.solving_queue, "too many requests are waiting to solve a process")?;
        let turn = self.solving_turns.clone().acquire_owned().await;
        turn.map_err(|_| Problem::new(ProblemType::Overloaded, "the service stops"))
    }
}

fn slot(slots: &Arc<Semaphore>, detail: &str) -> Result<OwnedSemaphorePermit, Problem> {
    slots.clone().try_acquire_owned().map_err(|_| Problem::new(ProblemType::Overloaded, detail))
}

//! Where the current snapshot hangs: readers take it without a lock, a publication swaps it, waiters hear of it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::api::snapshot::Snapshot;

/// The current snapshot and the announcement of its successors.
#[derive(Debug)]
pub struct Board {
    current: ArcSwap<Snapshot>,
    swaps: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self { current: ArcSwap::from_pointee(Snapshot::default()), swaps: watch::Sender::new(0) }
    }
}

impl Board {
    /// Hangs a new snapshot and wakes everybody who waits for a change.
    pub fn publish(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.swaps.send_modify(|count| *count += 1);
    }

    /// The current snapshot, without counting a reference: for answers that are formed at once.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Hears of every later swap.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.swaps.subscribe()
    }

    /// Turns opinions stale that are so at `now`; a publication that comes in between is kept.
    pub fn refresh(&self, now: DateTime<Utc>) {
        if self.load().next_staleness().is_some_and(|at| at <= now) {
            self.current.rcu(|held| held.at(now));
            self.swaps.send_modify(|count| *count += 1);
        }
    }

    /// Refreshes whenever an opinion turns stale. Runs until it is dropped.
    pub async fn keep_fresh(&self) {
        let mut swaps = self.subscribe();
        loop {
            let now = Utc::now();
            self.refresh(now);
            // Waking at least once an hour bounds the error when the system clock is set.
            let hour = Duration::from_secs(3600);
            let rest = self
                .load()
                .next_staleness()
                .and_then(|at| (at - now).to_std().ok())
                .map_or(hour, |rest| rest.min(hour));
            // A swap may bring an earlier moment. The sender lives in self, so the channel stays open.
            let _ = tokio::time::timeout(rest, swaps.changed()).await;
        }
    }
}

//! Where the current snapshot hangs: readers take it without a lock, a publication swaps it, waiters hear of it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::api::snapshot::Snapshot;
use crate::clock;

/// The current snapshot and the announcement of its successors.
#[derive(Debug)]
pub struct Board {
    current: ArcSwap<Snapshot>,
    announced: watch::Sender<Announcement>,
}

/// What waiting requests hear of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Snapshots hung so far.
    pub swaps: u64,
    /// The service stops: answer with what there is.
    pub closing: bool,
}

impl Default for Board {
    fn default() -> Self {
        Self { current: ArcSwap::from_pointee(Snapshot::default()), announced: watch::Sender::default() }
    }
}

impl Board {
    /// Hangs a new snapshot and wakes everybody who waits for a change.
    pub fn publish(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.announced.send_modify(|announcement| announcement.swaps += 1);
    }

    /// The current snapshot, without counting a reference: for answers that are formed at once.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The current snapshot to keep: for answers that take a while to form.
    #[must_use]
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Hears of every later swap, and of the end.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Announcement> {
        self.announced.subscribe()
    }

    /// Sends waiting requests home with the answer they have, so that a stop need not wait for them.
    pub fn close(&self) {
        self.announced.send_modify(|announcement| announcement.closing = true);
    }

    /// Turns opinions stale that are so at `now`; a publication that comes in between is kept.
    pub fn refresh(&self, now: DateTime<Utc>) {
        if self.load().next_staleness().is_some_and(|at| at <= now) {
            self.current.rcu(|held| held.at(now));
            self.announced.send_modify(|announcement| announcement.swaps += 1);
        }
    }

    /// Refreshes whenever an opinion turns stale. Runs until it is dropped.
    pub async fn keep_fresh(&self) {
        let mut announced = self.subscribe();
        loop {
            let now = clock::now();
            self.refresh(now);
            // Waking at least once an hour bounds the error when the system clock is set.
            let hour = Duration::from_secs(3600);
            let rest = self
                .load()
                .next_staleness()
                .and_then(|at| (at - now).to_std().ok())
                .map_or(hour, |rest| rest.min(hour));
            // A swap may bring an earlier moment. The sender lives in self, so the channel stays open.
            let _ = tokio::time::timeout(rest, announced.changed()).await;
        }
    }
}

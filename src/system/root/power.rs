//! The power of a test machine: it can be cut before the n-th change; nothing changes after.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts changes, and refuses those after the cut.
#[derive(Debug)]
pub struct Power {
    changes: AtomicUsize,
    cut_at: AtomicUsize,
}

impl Default for Power {
    fn default() -> Self {
        Self { changes: AtomicUsize::new(0), cut_at: AtomicUsize::new(usize::MAX) }
    }
}

impl Power {
    /// One change; an error once the power is off.
    pub fn change(&self) -> io::Result<()> {
        if self.changes.fetch_add(1, Ordering::Relaxed) >= self.cut_at.load(Ordering::Relaxed) {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }
}

impl super::Root {
    /// Takes a scratch root for the running system's, so that services are told.
    pub fn pretend_live(mut self) -> Self {
        self.live = true;
        self
    }

    /// Lets `changes` more changes happen, and none after them.
    pub fn cut_power_after(&self, changes: usize) {
        self.power.changes.store(0, Ordering::Relaxed);
        self.power.cut_at.store(changes, Ordering::Relaxed);
    }

    /// How many changes were tried since the last call above.
    pub fn changes(&self) -> usize {
        self.power.changes.load(Ordering::Relaxed)
    }
}

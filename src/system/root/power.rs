//! The power of a test machine: it can be cut before the n-th change; nothing changes after.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Counts changes, and refuses those after the cut.
#[derive(Debug)]
pub struct Power {
    changes: AtomicUsize,
    cut_at: AtomicUsize,
    refused: AtomicUsize,
    kills: AtomicBool,
}

impl Default for Power {
    fn default() -> Self {
        let never = || AtomicUsize::new(usize::MAX);
        Self {
            changes: AtomicUsize::new(0),
            cut_at: never(),
            refused: never(),
            kills: AtomicBool::new(false),
        }
    }
}

impl Power {
    /// One change; an error once the power is off.
    pub fn change(&self) -> io::Result<()> {
        let at = self.changes.fetch_add(1, Ordering::Relaxed);
        if at == self.refused.load(Ordering::Relaxed) {
            return Err(io::Error::other("refused this once"));
        }
        if at < self.cut_at.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.kills.load(Ordering::Relaxed) {
            // Nothing is said, as in a cut.
            std::panic::resume_unwind(Box::new("the power is off"));
        }
        Err(io::Error::other("the power is off"))
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

    /// Ends whoever works on the root after so many changes, by unwinding: programs that he would have started
    /// are not started either.
    pub fn kill_after(&self, changes: usize) {
        self.power.kills.store(true, Ordering::Relaxed);
        self.cut_power_after(changes);
    }

    /// Refuses one change after `changes` others; those after it go on.
    pub fn refuse_after(&self, changes: usize) {
        self.power.refused.store(changes, Ordering::Relaxed);
        self.cut_power_after(usize::MAX);
    }

    /// How many changes were tried since the last call above.
    pub fn changes(&self) -> usize {
        self.power.changes.load(Ordering::Relaxed)
    }
}

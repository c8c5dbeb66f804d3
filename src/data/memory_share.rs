//! Memory that threads take in turn, so that many large pictures decoded at once need no more than one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes taken by all shares together.
static TAKEN: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// A share of the memory, given back when dropped.
pub(super) struct MemoryShare(u64);

impl MemoryShare {
    /// Waits until `bytes` more are at most `limit` together, or nobody else holds any.
    ///
    /// Whoever holds a share must not take another one.
    pub(super) fn take(bytes: u64, limit: u64) -> Self {
        let full = |taken: &mut u64| *taken > 0 && taken.saturating_add(bytes) > limit;
        let mut taken = FREED.wait_while(lock(), full).unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_add(bytes);
        Self(bytes)
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        *lock() -= self.0;
        FREED.notify_all();
    }
}

// A sum of bytes cannot be left half-done, so a panic elsewhere does not spoil it.
fn lock() -> MutexGuard<'static, u64> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn shares_never_exceed_the_limit_together() {
        let (holders, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            for _ in 0..200 {
                let _share = MemoryShare::take(40, 100);
                most.fetch_max(holders.fetch_add(1, SeqCst) + 1, SeqCst);
                std::thread::yield_now();
                holders.fetch_sub(1, SeqCst);
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(work))));
        assert!((1..=2).contains(&most.load(SeqCst)));
    }

    #[test]
    fn a_share_beyond_the_limit_is_taken_alone() {
        drop(MemoryShare::take(200, 100));
        drop(MemoryShare::take(200, 100));
    }
}

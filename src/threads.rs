//! How many threads work. The number never changes a result.

use crate::error::{Error, Result};

/// Runs `work` on `threads` threads of its own; `None` is all processors.
///
/// ```
/// let sum = tapetum::with_threads(Some(2), || 1 + 1)?;
/// assert_eq!(sum, 2);
/// # Ok::<(), tapetum::Error>(())
/// ```
///
/// # Errors
/// Where `threads` is 0 or more than the system gives.
pub fn with_threads<R: Send>(threads: Option<usize>, work: impl FnOnce() -> R + Send) -> Result<R> {
    let refused = |reason: String| Error::argument("with_threads", "threads", "a number the system can start", reason);
    match threads {
        Some(0) => Err(refused("0".into())),
        Some(threads) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            Ok(pool.map_err(|error| refused(format!("{threads}: {error}")))?.install(work))
        }
        // Inside the pool from the start: each parallel kernel entered from outside costs some 9 µs.
        None => Ok(rayon::scope(|_| work())),
    }
}

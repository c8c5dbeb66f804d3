//! How many threads work. The number never changes a result.

use crate::error::{Error, Result};

/// More threads than any machine this is for has processors: a slip of the finger should not start a million.
const MOST: usize = 1024;

/// Runs `work` on `threads` threads of its own; `None` is all processors.
///
/// ```
/// let sum = tapetum::with_threads(Some(2), || 1 + 1)?;
/// assert_eq!(sum, 2);
/// assert!(tapetum::with_threads(Some(1_000_000), || 1 + 1).is_err());
/// # Ok::<(), tapetum::Error>(())
/// ```
///
/// # Errors
/// Where `threads` is 0, above 1024, or more than the system gives.
pub fn with_threads<R: Send>(threads: Option<usize>, work: impl FnOnce() -> R + Send) -> Result<R> {
    let Some(threads) = threads else {
        // Inside the pool from the start: each parallel kernel entered from outside costs some 9 µs.
        return Ok(rayon::scope(|_| work()));
    };
    if !(1..=MOST).contains(&threads) {
        return Err(Error::argument("with_threads", "threads", format!("between 1 and {MOST}"), threads));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let refused = |error| Error::argument("with_threads", "threads", "a number the system can start", error);
    Ok(pool.map_err(|error| refused(format!("{threads}: {error}")))?.install(work))
}

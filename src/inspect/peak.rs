//! How fast this machine multiplies and adds: the measure of every kernel.

use crate::error::Result;
use crate::kernels::cpu::peak;
use crate::threads::with_threads;
use std::time::{Duration, Instant};

/// One run: long beside the microseconds in which threads wake, short beside what else the machine does.
const RUN: Duration = Duration::from_millis(4);

/// Runs of which the best counts.
const RUNS: usize = 60;

/// The billions of floating-point operations (GFLOP/s, in `f32`) that `threads` threads do in a second, all at once, if
/// nothing but multiply-adds in registers is to be done: the best of many short runs, in about a third of a second.
///
/// It is measured on the instruction set that the kernels use, [`simd_path`], and is what their speed can be compared
/// with: none can be faster.
///
/// ```
/// let peak = tapetum::inspect::peak_gflops(1)?;
/// println!("{}: {peak:.0} GFLOP/s on one thread", tapetum::inspect::simd_path());
/// assert!(peak > 0.0);
/// # Ok::<(), tapetum::Error>(())
/// ```
///
/// # Errors
/// Where `threads` is 0 or more than the system gives.
pub fn peak_gflops(threads: usize) -> Result<f64> {
    with_threads(Some(threads), || {
        let mut rounds = 1 << 10;
        // Of three, since one may have been interrupted and only seem long.
        while (0..3).any(|_| timed(rounds).1 < RUN) {
            rounds *= 2;
        }
        let speeds = (0..RUNS).map(|_| {
            let (operations, time) = timed(rounds);
            operations as f64 / time.as_secs_f64() / 1e9
        });
        speeds.fold(0.0, f64::max)
    })
}

/// The floating-point operations of all threads together, and how long the last of them took.
fn timed(rounds: u64) -> (u64, Duration) {
    let begin = Instant::now();
    let operations = rayon::broadcast(|_| peak::multiply_add(rounds)).into_iter().sum();
    (operations, begin.elapsed())
}

/// The instruction set that the kernels use in this process: `portable`, `avx2` or `avx512`.
///
/// It is the best one that the machine has, unless the environment variable `TAPETUM_SIMD` names another.
///
/// ```
/// assert!(["portable", "avx2", "avx512"].contains(&tapetum::inspect::simd_path()));
/// ```
pub fn simd_path() -> &'static str {
    peak::path()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_threads_have_no_peak() {
        let error = peak_gflops(0).unwrap_err();
        assert_eq!(error.to_string(), "with_threads: threads must be between 1 and 1024, got 0");
    }

    #[test]
    fn every_thread_counts() {
        let one = with_threads(Some(1), || timed(5).0).unwrap();
        assert_eq!(with_threads(Some(3), || timed(5).0).unwrap(), 3 * one);
    }
}

//! What the tests of the kernels share: drawn numbers, and the comparison of every path with an oracle.

use super::activation::Activation;
use crate::element::Element;
use crate::random::Random;
use crate::shape::{Padding, Window2D};
use crate::simd::largest::NO_TAP;
use crate::simd::{Path, forced};
use std::fmt::Debug;
use std::sync::LazyLock;

/// A type with the relative error that its sums may have.
pub trait Number: Element {
    const TOLERANCE: f64;
}

impl Number for f32 {
    const TOLERANCE: f64 = 2e-6;
}

impl Number for f64 {
    const TOLERANCE: f64 = 1e-12;
}

/// Numbers in [-1, 1) that `f32` holds exactly.
pub fn draw(len: usize, random: &mut Random) -> Vec<f64> {
    (0..len).map(|_| f64::from(random.uniform(-1.0, 1.0) as f32)).collect()
}

/// What a tail writes of its windows, given their largest numbers and the taps of those.
pub fn winners(activation: Activation, largest: &[f64], taps: &[u32]) -> Vec<u8> {
    let is_lost = |y: f64| y == f64::NEG_INFINITY || activation == Activation::Relu && y <= 0.0;
    largest.iter().zip(taps).map(|(&y, &tap)| if is_lost(y) { NO_TAP } else { tap as u8 }).collect()
}

/// From 1 to 2^bits, small ones more often.
pub fn draw_size(bits: usize, random: &mut Random) -> usize {
    let most = 1 << random.below(bits + 1);
    1 + random.below(most)
}

/// A window that may be part of a tail: no pixel is in two of its places.
pub fn tail_window(random: &mut Random) -> Window2D {
    let kernel = [1 + random.below(3), 1 + random.below(3)];
    Window2D {
        kernel,
        stride: kernel.map(|size| size + random.below(2)),
        padding: [Padding::Valid, Padding::Same][random.below(2)],
        ceil_mode: random.chance(0.5),
        ..Window2D::new(1)
    }
}

/// Any small window of a pooling.
pub fn pool_window(random: &mut Random) -> Window2D {
    Window2D {
        kernel: [1 + random.below(3), 1 + random.below(3)],
        stride: [1 + random.below(3), 1 + random.below(3)],
        dilation: [1 + random.below(2), 1 + random.below(2)],
        padding: [Padding::Valid, Padding::Same, Padding::all(1)][random.below(3)],
        ceil_mode: random.chance(0.5),
    }
}

pub fn cast<E: Element>(numbers: &[f64]) -> Vec<E> {
    numbers.iter().map(|&number| E::of(number)).collect()
}

pub fn magnitudes<E: Element>(numbers: &[E]) -> Vec<f64> {
    numbers.iter().map(|number| number.as_f64().abs()).collect()
}

/// `bound` is the sum of the magnitudes of each number's terms.
pub fn close<E: Number>(found: &[E], expected: &[f64], bound: &[f64], what: &str) {
    assert_eq!((found.len(), bound.len()), (expected.len(), expected.len()));
    for (at, ((found, expected), bound)) in found.iter().zip(expected).zip(bound).enumerate() {
        let error = (found.as_f64() - expected).abs();
        assert!(error <= E::TOLERANCE * bound, "{what}: number {at} is {found} instead of {expected}");
    }
}

/// Runs `test` on each path; as below where so many numbers are worth threads.
pub fn on_each_path<T: PartialEq + Debug + Send>(numbers: usize, test: impl Fn() -> T + Sync) {
    match numbers < 1 << 14 {
        true => Path::available().into_iter().for_each(|path| drop(forced::with(path, &test))),
        false => on_each_path_and_pool(test),
    }
}

/// Runs `test` on each path, there with 1, 2 and 8 threads, and compares their bits.
pub fn on_each_path_and_pool<T: PartialEq + Debug + Send>(test: impl Fn() -> T + Sync) {
    static POOLS: LazyLock<[rayon::ThreadPool; 3]> = LazyLock::new(|| {
        [1, 2, 8].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start"))
    });
    for path in Path::available() {
        let results = POOLS.each_ref().map(|pool| pool.install(|| forced::with(path, &test)));
        assert!(results[0] == results[1] && results[0] == results[2], "{path:?}: the threads change bits");
    }
}

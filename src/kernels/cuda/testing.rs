//! What the tests of the kernels share: a GPU, and the proof that the order in which it works does not matter.

#[path = "../../../tests/emulator/mod.rs"]
pub mod emulator;

use super::{Buffer, Gpu};
use std::sync::Arc;

/// A GPU of its own for each test: nothing that others do is in its stream.
pub fn gpu() -> Arc<Gpu> {
    open(false)
}

/// The same, with tensor cores.
pub fn gpu_tf32() -> Arc<Gpu> {
    open(true)
}

fn open(tf32: bool) -> Arc<Gpu> {
    emulator::driver();
    Gpu::open(0, tf32).expect("a GPU opens")
}

/// Numbers that nobody has written: NaN.
pub fn poisoned(gpu: &Gpu, len: usize) -> Buffer<f32> {
    Buffer::of(gpu, &vec![f32::NAN; len]).expect("the GPU has room")
}

/// Numbers behind `before` others that are NaN: so they begin where four can be read at once, or where they cannot.
pub fn behind(gpu: &Gpu, numbers: &[f64], before: usize) -> Buffer<f32> {
    let numbers: Vec<_> = vec![f64::NAN; before].iter().chain(numbers).map(|&number| number as f32).collect();
    Buffer::of(gpu, &numbers).expect("the GPU has room")
}

/// What `work` gives, once its bits were the same with blocks and threads in their order, backwards, and in random ones.
pub fn same_bits(mut work: impl FnMut() -> Vec<f32>) -> Vec<f32> {
    let mut in_order = |order: i32| {
        choose_order(order);
        work()
    };
    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    let first = in_order(0);
    for order in [1, 2, 2] {
        let again = in_order(order);
        assert!(bits(&again) == bits(&first), "order {order} of blocks and threads changes bits");
    }
    choose_order(-1);
    first
}

/// `bound` is the sum of the magnitudes of each number's terms.
pub fn close(found: &[f32], expected: &[f64], bound: &[f64], tolerance: f64, what: &str) {
    assert_eq!((found.len(), bound.len()), (expected.len(), expected.len()));
    for (at, ((&found, expected), bound)) in found.iter().zip(expected).zip(bound).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= tolerance * bound, "{what}: number {at} is {found} instead of {expected}");
    }
}

/// Launches from this thread so far, where the GPU is an emulated one.
pub fn launched() -> Option<usize> {
    let driver = emulator::driver()?;
    // SAFETY: kernels/emulator/driver.cpp defines it so.
    Some(unsafe {
        driver.get::<unsafe extern "C" fn() -> usize>(b"tapetum_emulator_launched").expect("the emulator has it")()
    })
}

/// Of the launches from this thread: 0 forward, 1 backwards, 2 random, -1 each in turn. A real GPU has its own.
fn choose_order(order: i32) {
    let Some(driver) = emulator::driver() else { return };
    // SAFETY: kernels/emulator/driver.cpp defines it so.
    unsafe { driver.get::<unsafe extern "C" fn(i32)>(b"tapetum_emulator_order").expect("the emulator has it")(order) }
}

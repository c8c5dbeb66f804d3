//! The numbers a tensor can hold: `f32` to train with, `f64` to check gradients with.

use crate::simd::{self, Kernel};
use ndarray::NdFloat;
use std::cell::Cell;
use std::iter::Sum;
use std::thread::LocalKey;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A floating-point number: `f32` or `f64`.
///
/// ```
/// use tapetum::prelude::*;
/// fn mean<E: Element>(values: &[E]) -> f64 {
///     values.iter().map(|value| value.as_f64()).sum::<f64>() / values.len() as f64
/// }
/// assert_eq!(mean(&[1.0f32, 2.0]), mean(&[1.0f64, 2.0]));
/// assert_eq!(f32::of(0.1), 0.1);
/// ```
pub trait Element: NdFloat + Sum + Default + sealed::Sealed {
    /// The nearest value of this type.
    fn of(value: f64) -> Self;

    /// The same value as `f64`, without loss.
    fn as_f64(self) -> f64;

    /// Runs `kernel` on the best vector registers of this machine.
    #[doc(hidden)]
    fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output;

    /// Memory that this thread keeps for its kernels.
    #[doc(hidden)]
    fn scratch() -> &'static LocalKey<Cell<Vec<Vec<Self>>>>;
}

impl Element for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn as_f64(self) -> f64 {
        f64::from(self)
    }

    fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output {
        simd::dispatch::<_, 4, _>(kernel)
    }

    fn scratch() -> &'static LocalKey<Cell<Vec<Vec<Self>>>> {
        thread_local!(static SCRATCH: Cell<Vec<Vec<f32>>> = const { Cell::new(Vec::new()) });
        &SCRATCH
    }
}

impl Element for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn as_f64(self) -> f64 {
        self
    }

    fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output {
        simd::dispatch::<_, 2, _>(kernel)
    }

    fn scratch() -> &'static LocalKey<Cell<Vec<Vec<Self>>>> {
        thread_local!(static SCRATCH: Cell<Vec<Vec<f64>>> = const { Cell::new(Vec::new()) });
        &SCRATCH
    }
}

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

    /// Magnitudes below this one are written as 0: the square root of the smallest normal number.
    const TINY: Self;

    /// 0 instead of what is smaller than [`TINY`](Self::TINY), so that no product of two numbers is denormal:
    /// processors are some hundred times slower with those. NaN stays NaN.
    #[inline(always)]
    fn flushed(self) -> Self {
        if self.abs() < Self::TINY { Self::zero() } else { self }
    }

    /// Runs `kernel` on the best vector registers of this machine.
    #[doc(hidden)]
    fn dispatch<K: Kernel<Self>>(kernel: K) -> K::Output;

    /// Memory that this thread keeps for its kernels.
    #[doc(hidden)]
    fn scratch() -> &'static LocalKey<Cell<Vec<Vec<Self>>>>;
}

impl Element for f32 {
    // 2⁻⁶³
    const TINY: Self = f32::from_bits((127 - 63) << 23);

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
    // 2⁻⁵¹¹
    const TINY: Self = f64::from_bits((1023 - 511) << 52);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_that_are_not_flushed_have_no_denormal_product() {
        assert_eq!(f32::TINY * f32::TINY, f32::MIN_POSITIVE);
        assert_eq!(f64::TINY * f64::TINY, f64::MIN_POSITIVE);
        assert_eq!([f32::TINY, -f32::TINY, 0.5].map(Element::flushed), [f32::TINY, -f32::TINY, 0.5]);
        assert_eq!([f32::TINY * 0.99, -f32::TINY * 0.99, 1e-45].map(Element::flushed), [0.0; 3]);
        assert!(f32::NAN.flushed().is_nan() && f64::NEG_INFINITY.flushed() == f64::NEG_INFINITY);
    }
}

//! The numbers a tensor can hold: `f32` to train with, `f64` to check gradients with.

use ndarray::NdFloat;
use std::iter::Sum;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A floating-point number: `f32` or `f64`.
pub trait Element: NdFloat + Sum + Default + sealed::Sealed {
    /// The nearest value of this type.
    fn of(value: f64) -> Self;

    /// The same value as `f64`, without loss.
    fn as_f64(self) -> f64;
}

impl Element for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Element for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn as_f64(self) -> f64 {
        self
    }
}

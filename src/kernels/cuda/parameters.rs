//! Parameters that several kernels take: `kernels/common.cuh`, from the other side.

use super::call::{Parameter, as_it_is};
use crate::kernels::cpu::activation::Activation;

/// A size by which kernels divide numbers below 2³¹; see `common.cuh` for the why.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Divisor {
    size: i32,
    multiplier: u32,
    shift: i32,
}

as_it_is!(Divisor);

impl Divisor {
    /// # Panics
    /// Where the size is 0, or not below 2³¹.
    pub fn new(size: usize) -> Self {
        let small = i32::try_from(size).expect("kernels count in 31 bits");
        assert!(size > 0);
        let shift = (size as u64).next_power_of_two().trailing_zeros();
        let multiplier = (1u64 << (31 + shift)).div_ceil(size as u64);
        Self { size: small, multiplier: u32::try_from(multiplier).expect("below 2³²"), shift: shift as i32 }
    }
}

/// The same as in CUDA: which function, and the slope of a leaky ReLU.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    kind: i32,
    alpha: f32,
}

// SAFETY: `Function` is laid out as `struct Activation` of `common.cuh`.
unsafe impl Parameter for Activation {
    type Passed = Function;

    fn passed(self) -> Function {
        let (kind, alpha) = match self {
            Self::Linear => (0, 0.0),
            Self::Relu => (1, 0.0),
            Self::LeakyRelu(alpha) => (2, alpha as f32),
            Self::Sigmoid => (3, 0.0),
            Self::Tanh => (4, 0.0),
        };
        Function { kind, alpha }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisors_divide() {
        let most = i32::MAX as usize;
        let sizes = (1..200).chain((1..31).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])).chain([most]);
        for size in sizes {
            let Divisor { multiplier, shift, .. } = Divisor::new(size);
            // A quotient changes at the multiples of the size alone.
            let multiples = [1, 2, 3, most / size / 2, most / size].map(|times| (times * size).min(most));
            for n in multiples.into_iter().flat_map(|n| [n.saturating_sub(1), n]).chain([0, 12345, most]) {
                let quotient = ((2 * n as u64 * u64::from(multiplier)) >> 32) >> shift;
                assert_eq!(quotient, (n / size) as u64, "{n} / {size}");
            }
        }
    }
}

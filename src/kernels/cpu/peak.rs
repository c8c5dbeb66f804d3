//! r ← r · a + b, in registers alone: what the machine can do at most, whatever the memory.

use crate::element::Element;
use crate::simd::{Kernel, Simd};
use std::hint::black_box;

/// Sums that do not wait for each other. A unit begins one multiply-add in each cycle and ends it four later, and most
/// processors have two units: eight keep them busy. Large ARM cores have four, and registers for more.
const CHAINS: usize = if cfg!(target_arch = "aarch64") { 24 } else { 12 };

/// Multiplies and adds `rounds` times in each chain; returns how many floating-point operations that was, two for
/// each product and sum of each lane.
pub(crate) fn multiply_add(rounds: u64) -> u64 {
    f32::dispatch(Chains { rounds })
}

struct Chains {
    rounds: u64,
}

impl Kernel<f32> for Chains {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd<Elem = f32>>(self, simd: S) -> u64 {
        // From 0 towards b / (1 − a) = 1: never infinite, never denormal.
        let [a, b] = black_box([0.5; 2]).map(|x| simd.splat(x));
        let mut sums = [simd.splat(0.0); CHAINS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = simd.mul_add(*sum, a, b);
            }
        }
        black_box(sums);
        2 * (S::LANES * CHAINS) as u64 * self.rounds
    }
}

/// The path that kernels take in this process.
pub(crate) fn path() -> &'static str {
    f32::dispatch(Name)
}

struct Name;

impl Kernel<f32> for Name {
    type Output = &'static str;

    #[inline(always)]
    fn run<S: Simd<Elem = f32>>(self, _: S) -> &'static str {
        S::NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Path, forced};

    #[test]
    fn each_path_has_its_name_and_counts_its_lanes() {
        for path in Path::available() {
            let (name, lanes) = match format!("{path:?}").as_str() {
                "Avx512" => ("avx512", 16),
                "Avx2" => ("avx2", 8),
                _ => ("portable", 4),
            };
            let found = forced::with(path, || (super::path(), multiply_add(3)));
            assert_eq!(found, (name, 3 * 2 * lanes * CHAINS as u64));
        }
    }
}

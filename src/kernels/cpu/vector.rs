//! Loops over numbers side by side: sums, and the search for what is not a number.

use super::parallel;
use crate::element::Element;
use crate::simd::{Kernel, Simd};

/// Numbers that one thread goes through at a time.
const CHUNK: usize = 1 << 14;

/// y ← y + x
pub(crate) fn add_into<E: Element>(y: &mut [E], x: &[E]) {
    assert_eq!(y.len(), x.len());
    parallel::chunks_mut(8 * y.len(), y, CHUNK, |chunk, y| {
        E::dispatch(AddInto { x: &x[chunk * CHUNK..][..y.len()], y });
    });
}

struct AddInto<'a, E> {
    x: &'a [E],
    y: &'a mut [E],
}

impl<E: Element> Kernel<E> for AddInto<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y += x;
        }
    }
}

/// The first number that is infinite or NaN.
pub(crate) fn first_not_finite<E: Element>(x: &[E]) -> Option<E> {
    // x · 0 is 0 for finite numbers and NaN for all others: a sum of such products tells quickly that all is well.
    let suspect = parallel::find_chunk(8 * x.len(), x, CHUNK, |x| !E::dispatch(SumOfZeros { x }).is_zero());
    suspect?.iter().copied().find(|x| !x.is_finite())
}

struct SumOfZeros<'a, E> {
    x: &'a [E],
}

impl<E: Element> Kernel<E> for SumOfZeros<'_, E> {
    type Output = E;

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) -> E {
        // Many sums side by side, since the compiler may not reorder one.
        let mut sums = [E::zero(); 64];
        let (blocks, rest) = self.x.as_chunks::<64>();
        for block in blocks {
            for (sum, &x) in sums.iter_mut().zip(block) {
                *sum += x * E::zero();
            }
        }
        let rest = rest.iter().fold(E::zero(), |sum, &x| sum + x * E::zero());
        sums.iter().fold(rest, |sum, &other| sum + other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_not_finite_is_found_wherever_it_is() {
        let mut x = vec![f32::MAX; 3 * CHUNK + 7];
        assert_eq!(first_not_finite(&x), None);
        for at in [0, 63, 64, CHUNK - 1, CHUNK, 3 * CHUNK + 6] {
            x[at] = f32::NEG_INFINITY;
            assert_eq!(first_not_finite(&x), Some(f32::NEG_INFINITY));
            x[at] = f32::NAN;
            assert!(first_not_finite(&x).unwrap().is_nan());
            x[at] = -0.0;
        }
    }

    #[test]
    fn sums_of_any_length() {
        for len in [0, 1, 33, 2 * CHUNK + 5] {
            let mut y: Vec<f64> = (0..len).map(|at| at as f64).collect();
            add_into(&mut y, &vec![0.5; len]);
            assert!(y.iter().enumerate().all(|(at, &y)| y == at as f64 + 0.5));
        }
    }
}

//! y = f(x) for each number on its own.
//!
//! The functions come as closures; where they are without branches, they are done lane by lane.

use super::parallel;
use crate::element::Element;
use crate::simd::{Kernel, Simd};

/// Numbers that one thread takes at a time.
const CHUNK: usize = 1 << 13;

/// What a number is worth in multiply-adds: its way through memory, or an exponential.
const WORK: usize = 32;

/// y ← f(y, x)
pub(crate) fn update<E: Element>(y: &mut [E], x: &[E], f: impl Fn(E, E) -> E + Sync) {
    assert_eq!(x.len(), y.len());
    E::dispatch(Update { y, x, f });
}

struct Update<'a, E, F> {
    y: &'a mut [E],
    x: &'a [E],
    f: F,
}

impl<E: Element, F: Fn(E, E) -> E + Sync> Kernel<E> for Update<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { y, x, f } = self;
        parallel::chunks_mut(WORK * y.len(), y, CHUNK, |chunk, y| {
            simd.vectorize(UpdateChunk { x: &x[chunk * CHUNK..][..y.len()], y, f: &f });
        });
    }
}

struct UpdateChunk<'a, E, F> {
    y: &'a mut [E],
    x: &'a [E],
    f: &'a F,
}

impl<E: Element, F: Fn(E, E) -> E> Kernel<E> for UpdateChunk<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = (self.f)(*y, x);
        }
    }
}

/// (y, x) ← f(x)
pub(crate) fn update_both<E: Element>(y: &mut [E], x: &mut [E], f: impl Fn(E) -> (E, E) + Sync) {
    assert_eq!(x.len(), y.len());
    E::dispatch(UpdateBoth { y, x, f });
}

struct UpdateBoth<'a, E, F> {
    y: &'a mut [E],
    x: &'a mut [E],
    f: F,
}

impl<E: Element, F: Fn(E) -> (E, E) + Sync> Kernel<E> for UpdateBoth<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { y, x, f } = self;
        parallel::zip_chunks_mut(WORK * y.len(), y, x, CHUNK, |_, y, x| simd.vectorize(BothChunk { y, x, f: &f }));
    }
}

struct BothChunk<'a, E, F> {
    y: &'a mut [E],
    x: &'a mut [E],
    f: &'a F,
}

impl<E: Element, F: Fn(E) -> (E, E)> Kernel<E> for BothChunk<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            (*y, *x) = (self.f)(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::Key;

    fn check<E: Number>(x: &[f64], other: &[f64]) {
        let [x, other] = [x, other].map(testing::cast::<E>);
        let expected: Vec<E> = x.iter().zip(&other).map(|(&x, &other)| x * other - x).collect();
        testing::on_each_path(x.len(), || {
            let (mut y, mut both) = (x.clone(), (vec![E::nan(); x.len()], x.clone()));
            update(&mut y, &other, |x, other| x * other - x);
            update_both(&mut both.0, &mut both.1, |x| (-x, x + x));
            assert!(y == expected);
            assert!(x.iter().zip(both.0.iter().zip(&both.1)).all(|(&x, (&y, &changed))| y == -x && changed == x + x));
            y
        });
    }

    #[test]
    fn every_number_is_its_own() {
        let mut random = Key::new(1).named("elementwise").stream();
        for len in (0..2000).map(|round| round % 150).chain([CHUNK - 1, CHUNK + 1, 5 * CHUNK + 3]) {
            let [x, other] = [(); 2].map(|()| testing::draw(len, &mut random));
            check::<f32>(&x, &other);
            check::<f64>(&x, &other);
        }
    }
}

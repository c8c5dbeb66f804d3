//! y = x · m / (1 − p),  m = 0 with probability p, else 1
//!
//! The mask is a function of the key and of the number's place alone. So as many threads as there are can draw it, and
//! it need not be kept: the way back draws it again.

use super::parallel;
use crate::element::Element;
use crate::random::Key;
use crate::simd::{Kernel, Simd};

/// Numbers that one thread takes at a time.
const CHUNK: usize = 1 << 13;

/// What a number is worth in multiply-adds.
const WORK: usize = 16;

/// Overwrites `y`. NaN stays NaN, also where it is left out. The gradient goes the same way: dx = dy · m / (1 − p).
pub(crate) fn dropout<E: Element>(key: Key, rate: f64, x: &[E], y: &mut [E]) {
    assert_eq!(x.len(), y.len());
    E::dispatch(Dropout { key, rate, x, y });
}

struct Dropout<'a, E> {
    key: Key,
    rate: f64,
    x: &'a [E],
    y: &'a mut [E],
}

impl<E: Element> Kernel<E> for Dropout<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { key, rate, x, y } = self;
        // Of the 2⁶⁴ numbers that can be drawn, so many leave out.
        let (leaves, factor) = ((rate * 2.0f64.powi(64)) as u64, E::of(1.0 / (1.0 - rate)));
        parallel::chunks_mut(WORK * x.len(), y, CHUNK, |chunk, y| {
            let first = chunk * CHUNK;
            simd.vectorize(LeaveOut { key, first: first as u64, leaves, factor, x: &x[first..][..y.len()], y });
        });
    }
}

struct LeaveOut<'a, E> {
    key: Key,
    first: u64,
    leaves: u64,
    factor: E,
    x: &'a [E],
    y: &'a mut [E],
}

impl<E: Element> Kernel<E> for LeaveOut<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        for (index, (y, &x)) in (self.first..).zip(self.y.iter_mut().zip(self.x)) {
            *y = x * if self.key.bits(index) < self.leaves { E::zero() } else { self.factor };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Number};
    use super::*;

    fn check<E: Number>(key: Key, rate: f64, x: &[f64]) {
        let x = testing::cast::<E>(x);
        let stays = |index: usize| key.bits(index as u64) as f64 / 2.0f64.powi(64) >= rate;
        let factor = |index: usize| if stays(index) { E::of(1.0 / (1.0 - rate)) } else { E::zero() };
        let expected: Vec<E> = x.iter().enumerate().map(|(index, &x)| x * factor(index)).collect();
        testing::on_each_path(x.len(), || {
            let mut y = vec![E::nan(); x.len()];
            dropout(key, rate, &x, &mut y);
            assert!(y == expected, "{key:?} {rate}");
            y
        });
    }

    #[test]
    fn the_key_and_the_place_decide() {
        let mut random = Key::new(1).named("dropout").stream();
        for round in 0..2000 {
            let len = if round == 0 { 15 * CHUNK + 7 } else { random.below(600) };
            let (rate, x) = (random.below(16) as f64 / 16.0, testing::draw(len, &mut random));
            check::<f32>(Key::new(round), rate, &x);
            check::<f64>(Key::new(round), rate, &x);
        }
    }

    // Each with its neighbour, its neighbour by 2, and itself under the next key: 0.3 · 0.3 of a million, standard
    // deviation 286.
    #[test]
    fn what_is_left_out_tells_nothing_of_others() {
        let mask = |seed: u64| {
            let mut y = vec![0.0f32; 1_000_002];
            dropout(Key::new(seed), 0.3, &vec![1.0; y.len()], &mut y);
            y
        };
        let (one, other) = (mask(1), mask(2));
        for partners in [&one[1..], &one[2..], &other] {
            let both = one.iter().zip(partners).take(1_000_000).filter(|&(&a, &b)| a == 0.0 && b == 0.0).count();
            assert!(both.abs_diff(90_000) < 1500, "{both}");
        }
    }

    #[test]
    fn nan_stays_and_the_highest_rates_leave_nothing() {
        let mut y = [0.0; 100];
        dropout(Key::new(1), 0.5, &[f32::NAN; 100], &mut y);
        assert!(y.iter().all(|y| y.is_nan()));
        dropout(Key::new(1), 1.0 - f64::EPSILON, &[1.0; 100], &mut y);
        assert_eq!(y, [0.0; 100]);
    }
}

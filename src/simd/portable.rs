//! Registers as arrays: plain Rust, for every machine.

use super::{Kernel, Simd};
use crate::element::Element;
use std::marker::PhantomData;

/// Arrays of L numbers. They are 16 bytes long in use: a register of SSE2 or NEON, which the compiler finds by itself.
#[derive(Clone, Copy)]
pub struct Portable<E, const L: usize>(PhantomData<E>);

impl<E, const L: usize> Portable<E, L> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// Runs `kernel` on the only path there is.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn dispatch<E: Element, const L: usize, K: Kernel<E>>(kernel: K) -> K::Output {
    Portable::<E, L>::new().vectorize(kernel)
}

impl<E: Element, const L: usize> Simd for Portable<E, L> {
    type Elem = E;
    type Vector = [E; L];
    type Mask = usize;
    type Tags = [u8; L];
    const NAME: &'static str = "portable";
    const LANES: usize = L;
    const SQUARE: usize = 4;
    const ROWS: usize = 6;

    #[inline(always)]
    fn vectorize<K: Kernel<E>>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, x: E) -> [E; L] {
        [x; L]
    }

    #[inline(always)]
    fn add(self, a: [E; L], b: [E; L]) -> [E; L] {
        let mut sum = a;
        for lane in 0..L {
            sum[lane] += b[lane];
        }
        sum
    }

    #[inline(always)]
    fn sub(self, a: [E; L], b: [E; L]) -> [E; L] {
        let mut difference = a;
        for lane in 0..L {
            difference[lane] -= b[lane];
        }
        difference
    }

    #[inline(always)]
    fn mul_add(self, a: [E; L], b: [E; L], c: [E; L]) -> [E; L] {
        let mut sum = c;
        for lane in 0..L {
            sum[lane] = match cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                true => a[lane].mul_add(b[lane], c[lane]),
                false => a[lane] * b[lane] + c[lane],
            };
        }
        sum
    }

    #[inline(always)]
    fn flush(self, x: [E; L]) -> [E; L] {
        x.map(E::flushed)
    }

    #[inline(always)]
    fn rectify(self, x: [E; L]) -> [E; L] {
        x.map(|x| if x < E::TINY { E::zero() } else { x })
    }

    #[inline(always)]
    fn tag(self, tag: u8) -> [u8; L] {
        [tag; L]
    }

    #[inline(always)]
    fn larger(self, (a, a_tags): ([E; L], [u8; L]), (b, b_tags): ([E; L], [u8; L])) -> ([E; L], [u8; L]) {
        let mut larger = (a, a_tags);
        for lane in 0..L {
            let wins = b[lane] > a[lane] || b[lane].is_nan() && !a[lane].is_nan();
            larger.0[lane] = if wins { b[lane] } else { a[lane] };
            larger.1[lane] = if wins { b_tags[lane] } else { a_tags[lane] };
        }
        larger
    }

    #[inline(always)]
    fn store_tags(self, to: &mut [u8], tags: [u8; L]) {
        to.iter_mut().zip(tags).for_each(|(to, tag)| *to = tag);
    }

    #[inline(always)]
    fn first(self, lanes: usize) -> usize {
        lanes.min(L)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const E) -> [E; L] {
        // SAFETY: the caller vouches for L numbers; an array of them is aligned as one.
        unsafe { from.cast::<[E; L]>().read() }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const E, mask: usize) -> [E; L] {
        let mut loaded = [E::zero(); L];
        // SAFETY: the caller vouches for `mask` numbers, and `first` made that at most L.
        unsafe { from.copy_to_nonoverlapping(loaded.as_mut_ptr(), mask) };
        loaded
    }

    #[inline(always)]
    fn prefetch(self, _: *const E) {}

    #[inline(always)]
    unsafe fn load_tagged(self, from: *const E, tags: *const u8, tag: u8) -> [E; L] {
        // SAFETY: the caller vouches for L numbers and L bytes, and arrays of bytes are aligned as one.
        let (mut loaded, tags) = unsafe { (self.load(from), tags.cast::<[u8; L]>().read()) };
        for lane in 0..L {
            loaded[lane] = if tags[lane] == tag { loaded[lane] } else { E::zero() };
        }
        loaded
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut E, x: [E; L]) {
        // SAFETY: the caller vouches for L numbers; an array of them is aligned as one.
        unsafe { to.cast::<[E; L]>().write(x) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut E, mask: usize, x: [E; L]) {
        // SAFETY: the caller vouches for `mask` numbers, and `first` made that at most L.
        unsafe { to.copy_from_nonoverlapping(x.as_ptr(), mask) }
    }

    #[inline(always)]
    unsafe fn turn(self, from: *const E, from_row: usize, to: *mut E, to_row: usize) {
        for i in 0..Self::SQUARE {
            for j in 0..Self::SQUARE {
                // SAFETY: the caller vouches for rows and columns of both squares.
                unsafe { *to.add(j * to_row + i) = *from.add(i * from_row + j) };
            }
        }
    }
}

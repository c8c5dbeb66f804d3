//! y[r, c] = max_t x[r·step + offset(t) + c], and which t it was
//!
//! A row of windows of max pooling. The first of equal numbers wins; NaN wins and stays. What is written is flushed.

use super::{Kernel, Simd};
use crate::element::Element;

/// A row of windows, all with the same taps of the picture `x`.
#[derive(Clone, Copy)]
pub struct Windows<'a, E> {
    /// The picture from the first window's origin on.
    pub x: &'a [E],
    /// The taps, seen from a window's origin; at least one.
    pub taps: &'a [Tap],
    /// Numbers from one window to the next.
    pub step: usize,
    /// C
    pub channels: usize,
    /// Whether 0 takes the place of negative numbers, once the largest is known.
    pub rectified: bool,
}

/// Where a tap is, and its number.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tap {
    pub offset: usize,
    pub number: u8,
}

impl<E: Element> Windows<'_, E> {
    /// Overwrites `y` [R, C], and `argmax` with the numbers of the taps that won.
    ///
    /// # Panics
    /// Where a tap, or a window's argmax, lies outside its slice.
    pub fn write<S: Simd<Elem = E>>(self, simd: S, y: &mut [E], argmax: Option<&mut [u8]>) {
        if y.is_empty() {
            return;
        }
        let last = (y.len() / self.channels - 1) * self.step;
        let reach = self.taps.iter().map(|tap| tap.offset).max().expect("there is a tap");
        assert!(last.saturating_add(reach).saturating_add(self.channels) <= self.x.len());
        match argmax {
            Some(argmax) => simd.vectorize(Write::<_, true> { windows: self, y, argmax }),
            None => simd.vectorize(Write::<_, false> { windows: self, y, argmax: &mut [] }),
        }
    }
}

/// Only [`Windows::write`] makes one, and it vouches for all taps.
struct Write<'a, E, const TAGS: bool> {
    windows: Windows<'a, E>,
    y: &'a mut [E],
    argmax: &'a mut [u8],
}

impl<E: Element, const TAGS: bool> Kernel<E> for Write<'_, E, TAGS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Windows { x, step, channels, .. } = self.windows;
        for (window, y) in self.y.chunks_exact_mut(channels).enumerate() {
            let argmax = if TAGS { &mut self.argmax[window * channels..][..channels] } else { &mut [] };
            let x = x.as_ptr().wrapping_add(window * step);
            for first in (0..channels).step_by(S::LANES) {
                let lanes = simd.first(channels - first);
                // SAFETY: `write` checked that all taps of all windows lie in x.
                let (best, tags) = unsafe { self.windows.largest(simd, x.wrapping_add(first), lanes) };
                let best = if self.windows.rectified { simd.rectify(best) } else { simd.flush(best) };
                // SAFETY: y has `channels` numbers, and the mask no more lanes than are left of them.
                unsafe { simd.store_first(y.as_mut_ptr().wrapping_add(first), lanes, best) };
                if TAGS {
                    simd.store_tags(&mut argmax[first..], tags);
                }
            }
        }
    }
}

impl<E: Element> Windows<'_, E> {
    /// # Safety
    /// The lanes of `lanes` after each tap of the window at `x` must be valid for reads.
    #[inline(always)]
    unsafe fn largest<S: Simd<Elem = E>>(&self, simd: S, x: *const E, lanes: S::Mask) -> (S::Vector, S::Tags) {
        let mut best = (simd.splat(E::zero()), simd.tag(0));
        for (index, tap) in self.taps.iter().enumerate() {
            // SAFETY: handed on to the caller.
            let next = (unsafe { simd.load_first(x.wrapping_add(tap.offset), lanes) }, simd.tag(tap.number));
            best = if index == 0 { next } else { simd.larger(best, next) };
        }
        best
    }
}

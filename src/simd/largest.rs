//! y[r, c] = max_{u,v} x[r·step + u·row + v·pixel + c], and which (u, v) it was
//!
//! A row of windows of max pooling. The first of equal numbers wins; NaN wins and stays.

use super::{Kernel, Simd};
use crate::element::Element;

/// A row of windows, all with the same taps of the picture `x`.
#[derive(Clone, Copy)]
pub struct Windows<'a, E> {
    /// The picture from the first tap of the first window on.
    pub x: &'a [E],
    /// Taps down and across, at least one.
    pub taps: [usize; 2],
    /// Numbers from one tap to the next, down and across.
    pub steps: [usize; 2],
    /// Numbers from one window to the next.
    pub step: usize,
    /// The number of the first tap, and by how much the next one below it is larger; across it is 1.
    pub tag: [usize; 2],
    /// C
    pub channels: usize,
}

impl<E: Element> Windows<'_, E> {
    /// Overwrites `y` [R, C], and `argmax` with the number of the tap that won.
    ///
    /// # Panics
    /// Where a tap, or a window's argmax, lies outside its slice.
    pub fn write<S: Simd<Elem = E>>(self, simd: S, y: &mut [E], argmax: Option<&mut [u8]>) {
        if y.is_empty() {
            return;
        }
        let last = |count: usize, step: usize| (count - 1) * step;
        let reach = last(y.len() / self.channels, self.step)
            + last(self.taps[0], self.steps[0])
            + last(self.taps[1], self.steps[1]);
        assert!(reach + self.channels <= self.x.len());
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
        let Self { windows: Windows { x, step, channels, .. }, .. } = self;
        for (window, y) in self.y.chunks_exact_mut(channels).enumerate() {
            let argmax = if TAGS { &mut self.argmax[window * channels..][..channels] } else { &mut [] };
            let x = x.as_ptr().wrapping_add(window * step);
            for first in (0..channels).step_by(S::LANES) {
                let lanes = simd.first(channels - first);
                // SAFETY: `write` checked that all taps of all windows lie in x.
                let (best, tags) = unsafe { self.windows.largest(simd, x.wrapping_add(first), lanes) };
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
    /// The lanes of `lanes` after each tap of the window that begins at `x` must be valid for reads.
    #[inline(always)]
    unsafe fn largest<S: Simd<Elem = E>>(&self, simd: S, x: *const E, lanes: S::Mask) -> (S::Vector, S::Tags) {
        // SAFETY: handed on to the caller.
        let mut best = (unsafe { simd.load_first(x, lanes) }, simd.tag(self.tag[0] as u8));
        for u in 0..self.taps[0] {
            for v in 0..self.taps[1] {
                let tap = x.wrapping_add(u * self.steps[0] + v * self.steps[1]);
                let tag = simd.tag((self.tag[0] + u * self.tag[1] + v) as u8);
                // SAFETY: handed on to the caller. The first tap does not beat itself.
                best = simd.larger(best, (unsafe { simd.load_first(tap, lanes) }, tag));
            }
        }
        best
    }
}

//! y[r, c] = max_t x[r·step + offset(t) + c], and which t it was
//!
//! A row of windows of max pooling. The first of equal numbers wins; NaN wins and stays. What is written is flushed.

use super::tile::{load, store};
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
    /// Whether 0 takes the place of negative numbers, once the largest is known, and `NO_TAP` that of their taps.
    pub rectified: bool,
}

/// The number that no tap has: of a window that sees nothing, or whose largest number was not above 0 and became 0.
/// Nothing comes back to such a window.
pub const NO_TAP: u8 = u8::MAX;

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
        // Four taps, as most poolings have, are best known when the loops are compiled.
        match (<&[Tap; 4]>::try_from(self.taps), argmax) {
            (Ok(&taps), Some(argmax)) => simd.vectorize(Write::<_, _, true> { windows: self, taps, y, argmax }),
            (Ok(&taps), None) => simd.vectorize(Write::<_, _, false> { windows: self, taps, y, argmax: &mut [] }),
            (_, Some(argmax)) => simd.vectorize(Write::<_, _, true> { windows: self, taps: self.taps, y, argmax }),
            (_, None) => simd.vectorize(Write::<_, _, false> { windows: self, taps: self.taps, y, argmax: &mut [] }),
        }
    }
}

/// Only [`Windows::write`] makes one, and it vouches for all taps.
struct Write<'a, E, T, const TAGS: bool> {
    windows: Windows<'a, E>,
    taps: T,
    y: &'a mut [E],
    argmax: &'a mut [u8],
}

impl<E: Element, T: AsRef<[Tap]>, const TAGS: bool> Kernel<E> for Write<'_, E, T, TAGS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(mut self, simd: S) {
        let Windows { channels, step, .. } = self.windows;
        assert!(!TAGS || self.argmax.len() >= self.y.len());
        let whole = channels - channels % S::LANES;
        let mut x = self.windows.x.as_ptr();
        for first in (0..self.y.len()).step_by(channels) {
            for c in (0..whole).step_by(S::LANES) {
                // SAFETY: `Windows::write` checked that all taps of all windows lie in x; c is a channel of this window.
                unsafe { self.write::<S, true>(simd, x.wrapping_add(c), first + c, S::LANES) };
            }
            if whole < channels {
                // SAFETY: as above.
                unsafe { self.write::<S, false>(simd, x.wrapping_add(whole), first + whole, channels - whole) };
            }
            x = x.wrapping_add(step);
        }
    }
}

impl<E: Element, T: AsRef<[Tap]>, const TAGS: bool> Write<'_, E, T, TAGS> {
    /// Writes `lanes` numbers from `y[at]` on, all lanes of a register if it is `FULL`.
    ///
    /// # Safety
    /// So many numbers must be valid for reads after each tap of the window at `x`.
    #[inline(always)]
    unsafe fn write<S: Simd<Elem = E>, const FULL: bool>(&mut self, simd: S, x: *const E, at: usize, lanes: usize) {
        let mask = simd.first(lanes);
        let mut best = (simd.splat(E::zero()), simd.tag(0));
        for (index, tap) in self.taps.as_ref().iter().enumerate() {
            // SAFETY: handed on to the caller.
            let [number] = unsafe { load::<S, 1, FULL>(simd, x.wrapping_add(tap.offset), mask) };
            let next = (number, simd.tag(tap.number));
            best = if index == 0 { next } else { simd.larger(best, next) };
        }
        let (largest, tags) = finished(simd, best, self.windows.rectified);
        let y = &mut self.y[at..at + lanes];
        // SAFETY: y has so many numbers.
        unsafe { store::<S, 1, FULL>(simd, y.as_mut_ptr(), mask, [largest]) };
        if TAGS {
            simd.store_tags(&mut self.argmax[at..at + lanes], tags);
        }
    }
}

/// What is written of the largest numbers and their tags: flushed, and, if `rectified`, 0 and `NO_TAP` where they are not
/// above 0.
#[inline(always)]
pub(super) fn finished<S: Simd>(simd: S, largest: (S::Vector, S::Tags), rectified: bool) -> (S::Vector, S::Tags) {
    match rectified {
        true => simd.larger((simd.splat(S::Elem::default()), simd.tag(NO_TAP)), (simd.rectify(largest.0), largest.1)),
        false => (simd.flush(largest.0), largest.1),
    }
}

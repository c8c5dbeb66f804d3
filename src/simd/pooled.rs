//! y[to(w), f] = max_t Σ_k a[from(w) + offset(t) + a(k)] · b[b(k), f] over the four pixels t of window w, and which t it was
//!
//! A convolution and the pooling behind it, window by window: the sums of a window's pixels meet in registers and are
//! never written down. Each sum adds its products in the order in which a tile does.
#![allow(clippy::needless_range_loop, reason = "counters that end at a constant: all loops over registers unroll")]

use super::largest::finished;
use super::tile::{Product, Row, Start, load, store};
use super::{Kernel, Simd};
use crate::element::Element;

/// Pixels of a window.
pub const PIXELS: usize = 4;

/// The largest sums of windows.
#[derive(Clone, Copy)]
pub struct Largest<'a, E> {
    /// The sums; their end is that of the windows, and they begin with zero or a bias.
    pub product: Product<'a, E>,
    /// Where a window's pixels begin to read, seen from where the window does.
    pub offsets: [usize; PIXELS],
    /// Whether 0 takes the place of negative numbers, once the largest is known, and `NO_TAP` that of their pixels.
    pub rectified: bool,
}

impl<E: Element> Largest<'_, E> {
    /// Writes `columns` columns, at most two registers, of these windows of `y`, which begin every `stride` numbers, and
    /// of `argmax` the pixels that won.
    ///
    /// # Panics
    /// Where a pixel, a window or a bias lies outside its slice.
    pub fn write<S: Simd<Elem = E>>(
        self,
        simd: S,
        windows: &[Row],
        y: &mut [E],
        argmax: Option<&mut [u8]>,
        [stride, columns]: [usize; 2],
    ) {
        if windows.is_empty() || columns == 0 {
            return;
        }
        let work = Work { largest: self, windows, y, argmax, stride, columns };
        match (columns > S::LANES, columns % S::LANES == 0) {
            (true, true) => simd.vectorize(Tiles::<_, 2, true>(work)),
            (true, false) => simd.vectorize(Tiles::<_, 2, false>(work)),
            (false, true) => simd.vectorize(Tiles::<_, 1, true>(work)),
            (false, false) => simd.vectorize(Tiles::<_, 1, false>(work)),
        }
    }
}

struct Work<'a, E> {
    largest: Largest<'a, E>,
    windows: &'a [Row],
    y: &'a mut [E],
    argmax: Option<&'a mut [u8]>,
    stride: usize,
    columns: usize,
}

/// Windows of V registers, of which the last is not `FULL` where there are fewer columns.
struct Tiles<'a, E, const V: usize, const FULL: bool>(Work<'a, E>);

impl<E: Element, const V: usize, const FULL: bool> Kernel<E> for Tiles<'_, E, V, FULL> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(mut self, simd: S) {
        let Work { largest, windows, y, argmax, stride, columns } = &self.0;
        let last = windows.iter().fold([0, 0], |last, window| [last[0].max(window.from), last[1].max(window.to)]);
        let reach = largest.offsets.into_iter().fold(0, usize::max);
        largest.product.check::<S, V, FULL>(last[0].saturating_add(reach), *columns);
        let end = last[1].saturating_mul(*stride).saturating_add(*columns);
        assert!(end <= y.len() && argmax.as_ref().is_none_or(|argmax| end <= argmax.len()));
        let mut rest = *windows;
        macro_rules! tiles_of_size {
            ($($windows:literal of $pixels:literal),*) => {
                $(while $pixels <= S::ROWS && let Some((windows, others)) = rest.split_first_chunk::<$windows>() {
                    // SAFETY: checked above.
                    unsafe { self.tile::<S, $windows, $pixels>(simd, windows) };
                    rest = others;
                })*
            };
        }
        tiles_of_size!(3 of 12, 2 of 8, 1 of 4);
    }
}

impl<E: Element, const V: usize, const FULL: bool> Tiles<'_, E, V, FULL> {
    /// W windows with all their P pixels.
    ///
    /// # Safety
    /// `Product::check` must have found all pixels to be inside; for each window, `to` must be one of y, and of argmax if
    /// there is one, with all columns.
    #[inline(always)]
    unsafe fn tile<S: Simd<Elem = E>, const W: usize, const P: usize>(&mut self, simd: S, windows: &[Row; W]) {
        let Work { largest: Largest { product, offsets, rectified }, y, argmax, stride, columns, .. } = &mut self.0;
        let mut from = [0; P];
        for pixel in 0..P {
            from[pixel] = windows[pixel / PIXELS].from + offsets[pixel % PIXELS];
        }
        let lanes = *columns - (V - 1) * S::LANES;
        let last = simd.first(lanes);
        let mut sums = [[simd.splat(E::zero()); V]; P];
        if let Start::Bias(bias) = product.start {
            // SAFETY: there is a bias for each column.
            sums = [unsafe { load::<S, V, FULL>(simd, bias.as_ptr(), last) }; P];
        }
        // SAFETY: handed on to the caller.
        unsafe { product.add::<S, P, V, FULL>(simd, &from, last, &mut sums) };
        for window in 0..W {
            let (at, first) = (windows[window].to * *stride, window * PIXELS);
            let mut written = [simd.splat(E::zero()); V];
            for v in 0..V {
                let mut best = (sums[first][v], simd.tag(0));
                for pixel in 1..PIXELS {
                    best = simd.larger(best, (sums[first + pixel][v], simd.tag(pixel as u8)));
                }
                let (value, tags) = finished(simd, best, *rectified);
                written[v] = value;
                if let Some(argmax) = argmax {
                    let tagged = if v + 1 == V { lanes } else { S::LANES };
                    simd.store_tags(&mut argmax[at + v * S::LANES..][..tagged], tags);
                }
            }
            // SAFETY: this is a window of y.
            unsafe { store::<S, V, FULL>(simd, y.as_mut_ptr().wrapping_add(at), last, written) };
        }
    }
}

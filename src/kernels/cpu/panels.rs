//! The second factor of a product, rearranged for the tile: panels [P] of [T, K, width] numbers, one after the other.
//!
//! A panel holds `width` neighbouring columns, so that the inner loop reads memory from front to back.

use super::matrix::Matrix;
use super::parallel;
use crate::element::Element;
use crate::simd::Simd;

/// A factor [G, T, K, F] (groups, taps, depth, columns) that lies in `data` with any strides.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a, E> {
    pub data: &'a [E],
    pub shape: [usize; 4],
    pub strides: [usize; 4],
}

impl<E: Element> Factor<'_, E> {
    /// Whether each group is a single channel: as many small products as there are channels.
    pub fn is_depthwise(&self) -> bool {
        self.shape[0] > 1 && [self.shape[2], self.shape[3]] == [1, 1]
    }

    /// Panels for one group.
    pub fn panels(&self, width: usize) -> usize {
        self.shape[3].div_ceil(width)
    }

    /// Numbers in one panel.
    pub fn panel_len(&self, width: usize) -> usize {
        self.shape[1] * self.shape[2] * width
    }

    /// Numbers in all panels.
    pub fn packed_len(&self, width: usize) -> usize {
        self.shape[0] * self.panels(width) * self.panel_len(width)
    }

    /// Where the factors of a tap begin; in `reversed` order the last tap is the first one.
    pub fn tap(&self, tap: usize, reversed: bool) -> usize {
        self.strides[1] * if reversed { self.shape[1] - 1 - tap } else { tap }
    }

    /// Overwrites `packed` with panels of two registers' width, group after group, the taps in `reversed` order or not.
    /// Columns beyond the last keep what was there.
    pub fn pack<S: Simd<Elem = E>>(&self, simd: S, reversed: bool, packed: &mut [E]) {
        let ([_, taps, depth, columns], width) = (self.shape, 2 * S::LANES);
        let work = 8 * packed.len();
        parallel::chunks_mut(work, packed, self.panel_len(width), |index, panel| {
            let (group, first) = (index / self.panels(width), index % self.panels(width) * width);
            let columns = width.min(columns - first);
            let origin = group * self.strides[0] + first * self.strides[3];
            for (tap, to) in panel.chunks_exact_mut(depth * width).enumerate().take(taps) {
                let data = &self.data[origin + self.tap(tap, reversed)..];
                let [.., down, across] = self.strides;
                Matrix { data, shape: [depth, columns], strides: [down, across] }.copy_rows(simd, to, width);
            }
        });
    }
}

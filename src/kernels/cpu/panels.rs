//! The second factor of a product, rearranged for the tile: panels [P] of [T, K, width] numbers, one after the other.
//!
//! A panel holds `width` neighbouring columns, so that the inner loop reads memory from front to back.

use super::parallel;
use crate::element::Element;

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

    /// Overwrites `packed` with the panels, group after group. Columns beyond the last keep what was there.
    pub fn pack(&self, width: usize, packed: &mut [E]) {
        let [_, taps, depth, columns] = self.shape;
        let work = 8 * packed.len();
        parallel::chunks_mut(work, packed, self.panel_len(width), |index, panel| {
            let (group, first) = (index / self.panels(width), index % self.panels(width) * width);
            let columns = width.min(columns - first);
            let origin = group * self.strides[0] + first * self.strides[3];
            let rows = (0..taps).flat_map(|tap| (0..depth).map(move |k| (tap, k)));
            for (to, (tap, k)) in panel.chunks_exact_mut(width).zip(rows) {
                let from = &self.data[origin + tap * self.strides[1] + k * self.strides[2]..];
                match self.strides[3] {
                    1 => to[..columns].copy_from_slice(&from[..columns]),
                    stride => to[..columns].iter_mut().enumerate().for_each(|(f, to)| *to = from[f * stride]),
                }
            }
        });
    }
}

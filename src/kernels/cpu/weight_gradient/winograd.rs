//! dw = Gᵀ[Σ (A dy Aᵀ) ⊙ (Bᵀ x B)]G over all squares of four outputs: see [`crate::simd::winograd`].
//!
//! This is the derivative of what a convolution sums up. In each of the 16 planes the sum is a product of matrices,
//! [C, squares] · [squares, F]. The problem alone cuts the squares into chunks, whose sums are added up in order.

use super::super::conv2d::Conv2DShape;
use super::super::vector::add_into;
use super::super::winograd::{Grid, Pictures, is_faster, planes};
use super::super::{parallel, scratch};
use super::{CHUNKS, PIECE, part, units_in_chunk};
use crate::element::Element;
use crate::simd::Simd;
use crate::simd::outer::Outer;
use crate::simd::winograd::{PLANES, Planes, gather_weights};
use std::ops::Range;

/// Whether this is a convolution over 3 × 3 neighbouring pixels, and worth it.
pub(super) fn suits(shape: &Conv2DShape) -> bool {
    let geometry = &shape.geometry;
    let steps_by_one = [geometry.kernel, geometry.stride, geometry.dilation] == [[3, 3], [1, 1], [1, 1]];
    shape.groups == 1 && steps_by_one && is_faster(shape.c_in, shape.c_out, shape.batch, geometry.output)
}

/// Overwrites `dw`.
pub(super) fn weight_gradient<E: Element, S: Simd<Elem = E>>(
    simd: S,
    shape: &Conv2DShape,
    x: &[E],
    dy: &[E],
    dw: &mut [E],
) {
    let cut = Cut::new::<S>(shape);
    let (in_task, work) = (cut.in_task * cut.panel_len(), shape.batch * shape.geometry.pixels() * dw.len());
    let sums_len = cut.chunks() * cut.tasks() * in_task;
    scratch::with(sums_len + cut.panels * cut.panel_len(), |memory| {
        let (sums, taps) = memory.split_at_mut(sums_len);
        parallel::chunks_mut(work, sums, in_task, |index, sums| {
            let (chunk, first) = (index / cut.tasks(), index % cut.tasks() * cut.in_task);
            let squares = chunk * cut.in_chunk..cut.grid.count().min((chunk + 1) * cut.in_chunk);
            cut.add(simd, x, dy, squares, first..cut.panels.min(first + cut.in_task), sums);
        });
        parallel::chunks_mut(8 * sums.len(), taps, cut.panel_len(), |panel, taps| {
            cut.collect(simd, panel, sums, taps);
        });
        let (f, rows) = (shape.c_out, PIECE.div_ceil(shape.c_out));
        parallel::chunks_mut(8 * dw.len(), dw, rows * f, |index, dw| {
            for (row, dw) in (index * rows..).zip(dw.chunks_exact_mut(f)) {
                for (panel, taps) in taps.chunks_exact(cut.panel_len()).enumerate() {
                    let (filters, width) = cut.filters::<S>(panel);
                    let filters = &mut dw[filters];
                    filters.copy_from_slice(&taps[row * width..][..filters.len()]);
                }
            }
        });
    });
}

/// How a problem is cut: by its sizes and those of the registers alone.
struct Cut<'a> {
    shape: &'a Conv2DShape,
    grid: Grid,
    /// Squares in a chunk.
    in_chunk: usize,
    /// Filters in a panel, panels, and panels in a task.
    width: usize,
    panels: usize,
    in_task: usize,
}

impl<'a> Cut<'a> {
    fn new<S: Simd>(shape: &'a Conv2DShape) -> Self {
        let grid = Grid::over(shape.batch, shape.geometry.output);
        let width = if shape.c_out > S::LANES { 2 * S::LANES } else { S::LANES };
        let panels = shape.c_out.div_ceil(width);
        let in_chunk = units_in_chunk(grid.count(), panels * PLANES * shape.c_in * width);
        let cut = Self { shape, grid, in_chunk, width, panels, in_task: panels };
        // Where there are few chunks, threads also share the panels.
        Self { in_task: panels.div_ceil(CHUNKS.div_ceil(cut.chunks().max(1))), ..cut }
    }

    fn chunks(&self) -> usize {
        self.grid.count().div_ceil(self.in_chunk)
    }

    /// Tasks for each chunk.
    fn tasks(&self) -> usize {
        self.panels.div_ceil(self.in_task)
    }

    /// Numbers in the sums of a panel.
    fn panel_len(&self) -> usize {
        PLANES * self.shape.c_in * self.width
    }

    /// The filters of a panel, and how many of its columns are in use: one register is enough for few.
    fn filters<S: Simd>(&self, panel: usize) -> (Range<usize>, usize) {
        let filters = panel * self.width..self.shape.c_out.min((panel + 1) * self.width);
        let width = if filters.len() > S::LANES { self.width } else { S::LANES };
        (filters, width)
    }

    /// Overwrites the sums [panels, 16, C, width] with those of some squares.
    fn add<E: Element, S: Simd<Elem = E>>(
        &self,
        simd: S,
        x: &[E],
        dy: &[E],
        squares: Range<usize>,
        panels: Range<usize>,
        sums: &mut [E],
    ) {
        sums.fill(E::zero());
        let Conv2DShape { geometry, c_in, c_out, .. } = *self.shape;
        let filters = panels.start * self.width..c_out.min(panels.end * self.width);
        let corner = geometry.before.map(|before| -(before as isize));
        let x = Pictures { data: x, size: geometry.input, depth: c_in, channels: 0..c_in };
        let dy = Pictures { data: dy, size: geometry.output, depth: c_out, channels: filters.clone() };
        let depths = [c_in, filters.len()].map(|numbers| numbers.next_multiple_of(S::LANES));
        for run in Grid::runs(squares, depths[0] + depths[1]) {
            let of = depths.map(|numbers| planes(run.len(), numbers));
            scratch::with(PLANES * (of[0].plane + of[1].plane), |memory| {
                let (a, b) = memory.split_at_mut(PLANES * of[0].plane);
                for segment in self.grid.segments(run.clone()) {
                    x.spread::<S, 4>(simd, &segment, corner, of[0], a);
                    dy.spread::<S, 2>(simd, &segment, [0, 0], of[1], b);
                }
                for (panel, sums) in panels.clone().zip(sums.chunks_exact_mut(self.panel_len())) {
                    let b = &b[(panel - panels.start) * self.width..];
                    self.add_products(simd, run.len(), [a, b], of, self.filters::<S>(panel).1, sums);
                }
            });
        }
    }

    /// Adds the products of all planes into a panel's sums.
    fn add_products<E: Element, S: Simd<Elem = E>>(
        &self,
        simd: S,
        squares: usize,
        [a, b]: [&[E]; 2],
        of: [Planes; 2],
        width: usize,
        sums: &mut [E],
    ) {
        let (c, blocks) = (self.shape.c_in, self.shape.c_in.div_ceil(S::ROWS));
        for plane in 0..PLANES {
            for block in (0..blocks).map(|block| part(c, blocks, block)) {
                let outer = Outer {
                    a: &a[plane * of[0].plane + block.start..],
                    b: &b[plane * of[1].plane..],
                    counts: [1, 1, squares],
                    steps: of.map(|planes| [0, 0, planes.square]),
                    ahead: (&[], 0),
                };
                outer.add(simd, block.len(), &mut sums[(plane * c + block.start) * width..][..block.len() * width]);
            }
        }
    }

    /// Overwrites `taps` [9, C, width] with what the sums of all chunks become.
    fn collect<E: Element, S: Simd<Elem = E>>(&self, simd: S, panel: usize, sums: &[E], taps: &mut [E]) {
        let len = self.shape.c_in * self.filters::<S>(panel).1;
        scratch::with(PLANES * len, |total| {
            total.fill(E::zero());
            for sums in sums.chunks_exact(self.tasks() * self.in_task * self.panel_len()) {
                add_into(total, &sums[panel * self.panel_len()..][..total.len()]);
            }
            gather_weights(simd, total, &mut taps[..9 * len]);
        });
    }
}

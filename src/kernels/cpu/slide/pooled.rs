//! A convolution whose sums meet in registers, four for each window of the pooling behind it.

use super::super::activation::Activation;
use super::super::axis::{Axis, Run};
use super::{PLACES, TAPS, Window};
use crate::element::Element;
use crate::shape::Geometry2D;
use crate::simd::Simd;
use crate::simd::pooled::{Largest, PIXELS};
use crate::simd::tile::{Row, Segment};
use std::ops::Range;

/// A pooling over windows of four pixels, all of which meet the picture with every tap.
pub(super) struct Pooled {
    pool: Geometry2D,
    /// All rows, and all columns, that the pooling looks at.
    runs: [Run; 2],
}

/// Products of a sum, up to which it takes about as long to write the sum and to read it again.
const SHORT: usize = 64;

/// Whether whole sums of so many taps and channels are better pooled in registers: where a tile has room for several
/// windows, or where they are short. A single window uses each weight that it reads too seldom.
pub(super) fn is_faster<S: Simd>(sum: [usize; 3]) -> bool {
    S::ROWS >= 3 * PIXELS || sum.iter().product::<usize>() <= SHORT
}

impl Pooled {
    /// None for any other pooling.
    pub fn new(axes: &[Axis; 2], pool: Geometry2D) -> Option<Self> {
        let [row, column] = [0, 1].map(|axis| {
            let reads = (pool.output[axis] - 1) * pool.stride[axis] + pool.kernel[axis];
            let Axis { output, taps, .. } = axes[axis];
            let is_inside = pool.before[axis] == 0 && reads <= output;
            let run = axes[axis].runs(0..reads.min(output), 0..taps).next();
            run.filter(|run| is_inside && run.count == reads && run.taps == taps)
        });
        Some(Self { pool, runs: [row?, column?] }).filter(|_| pool.taps() == PIXELS)
    }

    /// Writes the rows `outputs` of the pictures x [.., input, C] to y [.., rows, columns, F].
    pub fn write<S: Simd>(
        &self,
        window: &Window<'_, S::Elem>,
        simd: S,
        x: &[S::Elem],
        outputs: Range<usize>,
        y: &mut [S::Elem],
        mut argmax: Option<&mut [u8]>,
    ) {
        let Self { pool, runs: [row, column] } = self;
        let (mut segments, [c, f]) = ([Segment::default(); TAPS], window.channels);
        let segments = window.segments(*row, *column, 0..window.weights.shape[2], &mut segments);
        let images = y.len() / (outputs.len() * pool.output[1] * f);
        let rectified = window.tail.activation == Activation::Relu;
        // From a pixel to the next one below it, and to its right.
        let steps = [row.from_step * window.axes[1].input * c, column.from_step * c];
        let offset = |tap: usize| tap / pool.kernel[1] * steps[0] + tap % pool.kernel[1] * steps[1];
        let offsets = std::array::from_fn(offset);
        self.each_row(window, images, steps, outputs, |windows| {
            window.each_panel(simd, x, segments, true, |product, first, columns| {
                let argmax = argmax.as_deref_mut().map(|argmax| &mut argmax[first..]);
                Largest { product, offsets, rectified }.write(simd, windows, &mut y[first..], argmax, [f, columns]);
            });
        });
        if !rectified {
            window.tail.activate(simd, y);
        }
    }

    /// Runs `work` on these rows of windows of each image, on some windows at a time: where they begin to read, and where
    /// they are written.
    fn each_row<E: Element>(
        &self,
        window: &Window<'_, E>,
        images: usize,
        [down, right]: [usize; 2],
        outputs: Range<usize>,
        mut work: impl FnMut(&[Row]),
    ) {
        let Geometry2D { output: [_, columns], stride, .. } = self.pool;
        let image = window.axes[0].input * window.axes[1].input * window.channels[0];
        let mut windows = [Row::default(); PLACES / PIXELS];
        for (index, (n, i)) in (0..images).flat_map(|n| outputs.clone().map(move |i| (n, i))).enumerate() {
            let first = n * image + i * stride[0] * down;
            for start in (0..columns).step_by(windows.len()) {
                let some = start..columns.min(start + windows.len());
                let windows = &mut windows[..some.len()];
                for (window, j) in windows.iter_mut().zip(some) {
                    *window = Row { from: first + j * stride[1] * right, to: index * columns + j };
                }
                work(windows);
            }
        }
    }
}

//! A convolution over 3 × 3 pixels with 16 products for four outputs instead of 36: see [`crate::simd::winograd`].
//!
//! The 16 planes of a run of squares are matrices [squares, C], their products with those of the weights [C, F] matrices
//! [squares, F], of which each square becomes four outputs.

use super::super::activation::Activation;
use super::super::gemm::{Matrix, multiply_panels};
use super::super::winograd::{Ahead, Grid, Pictures, Segment, is_faster, planes};
use super::super::{parallel, scratch};
use super::Window;
use crate::element::Element;
use crate::shape::Geometry2D;
use crate::simd::Simd;
use crate::simd::tile::End;
use crate::simd::winograd::{Outputs, PLANES, Planes, spread_weights};
use std::ops::Range;

/// Taps of the window.
const TAPS: usize = 9;

/// Whether the windows of a pooling are squares of four outputs.
pub(super) fn takes(pool: &Geometry2D) -> bool {
    let inside = (0..2).all(|axis| pool.before[axis] == 0 && 2 * pool.output[axis] <= pool.input[axis]);
    inside && [pool.kernel, pool.stride] == [[2, 2]; 2]
}

/// The weights, and where the pictures begin.
pub(super) struct Winograd<'a, E> {
    /// G w Gᵀ in panels [16, C, 2 registers]
    factors: &'a [E],
    /// From the first output to the first pixel that it reads.
    before: [isize; 2],
}

impl<'a, E: Element> Winograd<'a, E> {
    /// Numbers in the weights, of which there are so many in panels; 0 where the window is another one, or better
    /// multiplied tap by tap.
    pub fn factors_len(window: &Window<'_, E>, images: usize, packed: usize) -> usize {
        let [groups, _, depth, columns] = window.weights.shape;
        let output = window.axes.map(|axis| axis.output);
        let is_one = groups == 1 && window.axes.iter().all(|axis| axis.steps_by_one().is_some());
        if is_one && is_faster(depth, columns, images, output) { packed / TAPS * PLANES } else { 0 }
    }

    /// Overwrites `factors` with what the window's panels [9, C, 2 registers] become.
    pub fn new<S: Simd<Elem = E>>(window: &Window<'_, E>, simd: S, factors: &'a mut [E]) -> Option<Self> {
        let len = window.weights.shape[2] * 2 * S::LANES;
        parallel::chunks_mut(8 * factors.len(), factors, PLANES * len, |index, to| {
            spread_weights(simd, &window.panels[index * TAPS * len..][..TAPS * len], to);
        });
        let [down, across] = window.axes.map(|axis| axis.steps_by_one());
        Some(Self { factors, before: [down?, across?] }).filter(|winograd| !winograd.factors.is_empty())
    }

    /// y[n,i,j,f] for these rows and columns of so many images, and what becomes of it.
    pub fn write<S: Simd<Elem = E>>(
        &self,
        window: &Window<'_, E>,
        simd: S,
        x: &[E],
        images: usize,
        outputs: &[Range<usize>; 2],
        mut to: To<'_, E>,
    ) {
        let ([c, f], size) = (window.channels, [outputs[0].len(), outputs[1].len()]);
        let grid = Grid::over(images, size);
        let x = Pictures { data: x, size: window.axes.map(|axis| axis.input), depth: c, channels: 0..c };
        let corner = [0, 1].map(|axis| outputs[axis].start as isize - self.before[axis]);
        let depth = c.next_multiple_of(S::LANES);
        for run in Grid::runs(0..grid.count(), depth + f) {
            let of @ [of_x, of_y] = [depth, f].map(|numbers| planes(run.len(), numbers));
            scratch::with(PLANES * (of_x.plane + of_y.plane), |memory| {
                let (squares, products) = memory.split_at_mut(PLANES * of_x.plane);
                // What this run writes, and what the next one reads.
                let mut ahead = Ahead { parts: [&[]; 2] };
                for segment in grid.segments(run.clone()) {
                    x.spread::<S, 4>(simd, &segment, corner, of_x, squares);
                    if let To::Outputs(y) = &to
                        && segment.first == 0
                    {
                        let y = Pictures { data: y, size, depth: f, channels: 0..f };
                        ahead.parts[0] = y.behind::<0>(&segment, [0, 0], run.len());
                    }
                    ahead.parts[1] = x.behind::<4>(&segment, corner, run.len());
                }
                self.multiply(simd, [run.len(), c], of, squares, products, &mut ahead);
                for segment in grid.segments(run) {
                    gather(window, simd, &segment, size, (of_y, products), &mut to);
                }
            });
        }
    }

    /// The products of all planes.
    fn multiply<S: Simd<Elem = E>>(
        &self,
        simd: S,
        [count, c]: [usize; 2],
        [of_x, of_y]: [Planes; 2],
        squares: &[E],
        products: &mut [E],
        ahead: &mut Ahead<'_, E>,
    ) {
        let panel = c * 2 * S::LANES;
        for (plane, products) in products.chunks_exact_mut(of_y.plane).enumerate() {
            let a = Matrix { data: &squares[plane * of_x.plane..], shape: [count, c], strides: [of_x.square, 1] };
            let b = (&self.factors[plane * panel..], PLANES * panel);
            multiply_panels(simd, a, b, &mut products[..count * of_y.square], ahead);
        }
    }
}

/// Where the outputs of squares go.
pub(super) enum To<'a, E> {
    /// All of them, [.., rows, columns, F].
    Outputs(&'a mut [E]),
    /// The largest of each square, [.., rows/2, columns/2, F], and which it was.
    Largest(&'a mut [E], Option<&'a mut [u8]>),
}

/// Writes a segment of pictures of this size.
fn gather<S: Simd>(
    window: &Window<'_, S::Elem>,
    simd: S,
    segment: &Segment,
    [height, width]: [usize; 2],
    (planes, products): (Planes, &[S::Elem]),
    to: &mut To<'_, S::Elem>,
) {
    let (f, [row, column]) = (window.channels[1], [segment.row, segment.columns.start].map(|square| 2 * square));
    let outputs = Outputs {
        planes,
        numbers: &products[segment.first * f..],
        channels: f,
        count: segment.columns.len(),
        row: width * f,
        size: [height - row, width - column],
        bias: window.bias,
        end: window.end(),
    };
    match to {
        To::Outputs(y) => outputs.write(simd, &mut y[((segment.image * height + row) * width + column) * f..]),
        To::Largest(y, argmax) => {
            let first = ((segment.image * height / 2 + segment.row) * width / 2 + segment.columns.start) * f;
            let end = if window.tail.activation == Activation::Relu { End::Rectify } else { End::Flush };
            let argmax = argmax.as_deref_mut().map(|argmax| &mut argmax[first..]);
            Outputs { end, ..outputs }.write_largest(simd, &mut y[first..], argmax);
        }
    }
}

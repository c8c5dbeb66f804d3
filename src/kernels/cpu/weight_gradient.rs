//! dw[u,v,c,f] = Σ_{n,i,j} x[n, i·s+u·d−p, j·s+v·d−p, c] · dy[n,i,j,f]
//!
//! A product of matrices: the row (u,v,c) of xᵀ times the column f of dy, for each image, summed over its pixels. The
//! batch is cut into chunks of images, by the problem alone, whose sums are added up in order.

use super::conv2d::Conv2DShape;
use super::slide::{Axis, Frame};
use super::{parallel, scratch};
use crate::element::Element;
use crate::simd::tile::{Finish, Product, Row, Segment};
use crate::simd::{Kernel, Simd};
use ndarray::{ArrayViewMut2, s};
use std::ops::Range;

/// Overwrites `dw`, which is not empty.
pub(super) struct WeightGradient<'a, E> {
    pub shape: &'a Conv2DShape,
    pub x: &'a [E],
    pub dy: &'a [E],
    pub dw: &'a mut [E],
}

/// Numbers in the sums of all chunks, at most, where there are more chunks than one.
const CHUNK_NUMBERS: usize = 1 << 20;

impl<E: Element> Kernel<E> for WeightGradient<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { shape, x, dy, dw } = self;
        let (batch, [height, width]) = (shape.batch, shape.geometry.input);
        let (x_len, dy_len, dw_len) = (height * width * shape.c_in, shape.geometry.pixels() * shape.c_out, dw.len());
        let images = batch.div_ceil((CHUNK_NUMBERS / dw_len).clamp(1, 16)).max(1);
        let chunks = batch.div_ceil(images);
        let work = shape.geometry.pixels() * dw_len;
        let taps = Taps::new(shape);
        scratch::with(chunks * dw_len, |sums| {
            parallel::chunks_mut(work * batch, sums, dw_len, |chunk, sums| {
                sums.fill(E::zero());
                for n in chunk * images..batch.min((chunk + 1) * images) {
                    taps.add_image(simd, &x[n * x_len..][..x_len], &dy[n * dy_len..][..dy_len], sums);
                }
            });
            parallel::chunks_mut(8 * chunks * dw_len, dw, PIECE, |piece, dw| {
                dw.fill(E::zero());
                for sums in sums.chunks_exact(dw_len) {
                    dw.iter_mut().zip(&sums[piece * PIECE..]).for_each(|(dw, &sum)| *dw += sum);
                }
            });
        });
    }
}

/// Numbers of dw that are added up at once.
const PIECE: usize = 4096;

/// What the images of a weight gradient have in common.
struct Taps<'a> {
    shape: &'a Conv2DShape,
    /// A row of x with its zeros.
    frame: Frame,
    /// Where the rows (u,v,c) of one group begin to read, seen from the first u.
    from: Vec<usize>,
}

impl<'a> Taps<'a> {
    fn new(shape: &'a Conv2DShape) -> Self {
        let Conv2DShape { geometry, c_in, groups, .. } = *shape;
        let ([kh, kw], [row_step, column_step]) = (geometry.kernel, geometry.dilation);
        let frame = Axis::forward(&geometry, 1).frame();
        let taps = (0..kh).flat_map(|u| (0..kw).map(move |v| u * row_step * frame.width() + v * column_step));
        let from = taps.flat_map(|pixel| pixel * c_in..pixel * c_in + c_in / groups).collect();
        Self { shape, frame, from }
    }

    /// Adds the products of one image into `dw`.
    fn add_image<S: Simd>(&self, simd: S, x: &[S::Elem], dy: &[S::Elem], dw: &mut [S::Elem]) {
        let Conv2DShape { geometry, c_in, c_out, .. } = *self.shape;
        let mut dw = ArrayViewMut2::from_shape((self.from.len(), c_out), dw).expect("dw is [KH, KW, C/groups, F]");
        self.frame.around(x, 0..geometry.input[0], c_in, |x| {
            let mut us = 0..geometry.kernel[0];
            while let Some(u) = us.next() {
                // Rows of taps that meet the picture from the same rows of outputs go together.
                let outputs = self.outputs(u);
                let more = us.clone().take_while(|&u| self.outputs(u) == outputs).count();
                us.start += more;
                let rows = self.from.len() / geometry.kernel[0];
                let dw = dw.slice_mut(s![u * rows..(u + 1 + more) * rows, ..]);
                self.add_taps(simd, x, dy, u, outputs, dw);
            }
        });
    }

    /// The rows of outputs that meet the picture with the taps of row u.
    fn outputs(&self, u: usize) -> Range<usize> {
        let geometry = &self.shape.geometry;
        // The first i with i·s + u·d ≥ p + pixel
        let first = |pixel: usize| {
            let distance = (geometry.before[0] + pixel).saturating_sub(u * geometry.dilation[0]);
            distance.div_ceil(geometry.stride[0]).min(geometry.output[0])
        };
        first(0)..first(geometry.input[0])
    }

    /// Adds the products of the `outputs` rows of one image into the rows `dw`, which begin with tap (u, 0).
    fn add_taps<S: Simd>(
        &self,
        simd: S,
        x: &[S::Elem],
        dy: &[S::Elem],
        u: usize,
        outputs: Range<usize>,
        mut dw: ArrayViewMut2<'_, S::Elem>,
    ) {
        let Conv2DShape { geometry, c_in, c_out, groups, .. } = *self.shape;
        let (x_row, dy_row) = (self.frame.width() * c_in, geometry.output[1] * c_out);
        let (c, f, steps) = (c_in / groups, c_out / groups, [geometry.stride[1] * c_in, c_out]);
        // Few enough rows that what they read stays in the cache for all of dw.
        let strip = STRIP.div_ceil(dy_row + geometry.stride[0] * x_row);
        for first in outputs.clone().step_by(strip) {
            let segment = |i: usize| Segment {
                a: (i * geometry.stride[0] + u * geometry.dilation[0] - geometry.before[0]) * x_row,
                b: i * dy_row,
                len: geometry.output[1],
            };
            let segments: Vec<_> = (first..outputs.end.min(first + strip)).map(segment).collect();
            if groups > 1 && [c, f] == [1, 1] {
                let dw = dw.view_mut();
                simd.vectorize(Depthwise { from: &self.from, x, dy, steps, segments: &segments, dw });
                continue;
            }
            for group in 0..groups {
                let (x, dy) = (&x[group * c..], &dy[group * f..]);
                let dw = dw.slice_mut(s![.., group * f..(group + 1) * f]);
                let work = strip * geometry.output[1] * dw.len();
                parallel::blocks_mut(work, dw, [4 * S::ROWS, 2 * S::LANES], &|[row, column], mut dw| {
                    let product = Product::new(x, &dy[column..], steps, &segments);
                    let place = |r| Row { from: self.from[row + r], to: r };
                    product.write(simd, dw.nrows(), place, Finish::Add, &mut dw);
                });
            }
        }
    }
}

/// Numbers of x and dy that stay in the second cache.
const STRIP: usize = 1 << 15;

/// Adds the products of a strip where each channel is a group of its own.
struct Depthwise<'a, E> {
    from: &'a [usize],
    x: &'a [E],
    dy: &'a [E],
    steps: [usize; 2],
    segments: &'a [Segment],
    dw: ArrayViewMut2<'a, E>,
}

impl<E: Element> Kernel<E> for Depthwise<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(mut self, _: S) {
        for (dw, from) in self.dw.rows_mut().into_iter().zip(self.from) {
            let dw = dw.into_slice().expect("the channels of a tap lie side by side");
            for segment in self.segments {
                for pixel in 0..segment.len {
                    let x = &self.x[from + segment.a + pixel * self.steps[0]..][..dw.len()];
                    let dy = &self.dy[segment.b + pixel * self.steps[1]..][..dw.len()];
                    dw.iter_mut().zip(x).zip(dy).for_each(|((dw, &x), &dy)| *dw += x * dy);
                }
            }
        }
    }
}

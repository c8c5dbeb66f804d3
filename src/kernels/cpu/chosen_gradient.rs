//! The weight gradient of a first layer, a convolution of 3 × 3 over pictures with one or three channels, and a pooling
//! of 2 × 2: dw[u,v,c,f] = Σ_{n,I,J} dy[n,I,J,f] · x[n, 2I+a+u, 2J+b+v, c] with (a,b) the tap of (I,J) that won for f.
//!
//! Too few channels for the lists of `pooled_gradient`; but few enough that each lane of a register, which stands for a
//! filter, can choose its own patch among the four of a window.

use super::conv2d::Conv2DShape;
use super::pooled_gradient::PooledGradient;
use super::reduce::sum_rows;
use super::weight_gradient::units_in_chunk;
use super::{parallel, scratch};
use crate::element::Element;
use crate::shape::Geometry2D;
use crate::simd::chosen::{Row, TAPS, is_able};
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// Overwrites `dw`, and says so: false where the problem is another, or the path not able.
pub(super) struct ChosenGradient<'a, E> {
    pub shape: &'a Conv2DShape,
    pub x: &'a [E],
    pub gradient: PooledGradient<'a, E>,
    pub dw: &'a mut [E],
}

impl<E: Element> Kernel<E> for ChosenGradient<'_, E> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) -> bool {
        let Self { shape, x, gradient, dw } = self;
        if !is_able::<S>(shape.c_in, shape.c_out) || !takes(shape, &gradient.pool) {
            return false;
        }
        let (images, len) = (units_in_chunk(shape.batch, dw.len()), dw.len());
        let work = shape.batch * gradient.pool.pixels() * len;
        scratch::with(shape.batch.div_ceil(images) * len, |sums| {
            parallel::chunks_mut(work, sums, len, |chunk, sums| {
                sums.fill(E::zero());
                let images = chunk * images..shape.batch.min((chunk + 1) * images);
                rows(shape, x, gradient, images).for_each(|row| row.add(simd, sums));
            });
            sum_rows(sums, dw);
        });
        dw.iter_mut().for_each(|dw| *dw = dw.flushed());
        true
    }
}

/// Whether patches move by a pixel, windows by two, and none of them sees anything beyond the picture.
fn takes(shape: &Conv2DShape, pool: &Geometry2D) -> bool {
    let geometry = &shape.geometry;
    let inside = [0, 1].map(|axis| (geometry.output[axis] - 1 + TAPS, 2 * pool.output[axis]));
    shape.groups == 1
        && [geometry.kernel, geometry.stride, geometry.dilation] == [[TAPS; 2], [1; 2], [1; 2]]
        && [pool.kernel, pool.stride] == [[2; 2]; 2]
        && [geometry.before, pool.before] == [[0; 2]; 2]
        && (0..2).all(|axis| inside[axis].0 <= geometry.input[axis] && inside[axis].1 <= pool.input[axis])
}

/// The rows of windows of some images.
fn rows<'a, E: Element>(
    shape: &Conv2DShape,
    x: &'a [E],
    PooledGradient { pool, dy, argmax }: PooledGradient<'a, E>,
    images: Range<usize>,
) -> impl Iterator<Item = Row<'a, E>> {
    let Conv2DShape { geometry: Geometry2D { input: [height, width], .. }, c_in: channels, c_out: filters, .. } =
        *shape;
    let (x_row, y_row) = (width * channels, pool.output[1] * filters);
    images.flat_map(move |image| (0..pool.output[0]).map(move |i| (image, i))).map(move |(image, i)| {
        let windows = (image * pool.output[0] + i) * y_row..(image * pool.output[0] + i + 1) * y_row;
        let x = &x[(image * height + 2 * i) * x_row..];
        Row { x, x_row, channels, dy: &dy[windows.clone()], argmax: &argmax[windows], filters }
    })
}

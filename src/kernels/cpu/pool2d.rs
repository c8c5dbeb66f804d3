//! Max pooling and average pooling, channels last (thesis 3.8).

use super::parallel;
use super::reduce::{SumBlock, repeat, wide};
use crate::element::Element;
use crate::shape::Geometry2D;
use crate::simd::{Kernel, Simd};

/// The sizes of one pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool2DShape {
    /// N
    pub batch: usize,
    pub geometry: Geometry2D,
    /// C
    pub channels: usize,
}

/// y = max over the window's taps inside the picture; ties go to the first, NaN wins. Overwrites `y`, and `argmax`
/// with the tap u·KW+v. A window that sees nothing of the picture gives −∞ and tap 0.
pub(crate) fn max_forward<E: Element>(shape: &Pool2DShape, x: &[E], y: &mut [E], argmax: Option<&mut [u32]>) {
    shape.check(x, y);
    E::dispatch(MaxForward { shape, x, y, argmax });
}

/// Overwrites `dx` with dy at the taps that won; windows that overlap add up.
pub(crate) fn max_backward<E: Element>(shape: &Pool2DShape, argmax: &[u32], dy: &[E], dx: &mut [E]) {
    shape.check(dx, dy);
    assert_eq!(argmax.len(), dy.len());
    E::dispatch(Backward { shape, dy, dx, share: Share::Max(argmax) });
}

/// y = mean over the window's taps inside the picture, or, with `count_pad`, over all but those that
/// hang over the padded border (`ceil_mode`). Overwrites `y`. A window that sees nothing gives 0.
pub(crate) fn average_forward<E: Element>(shape: &Pool2DShape, count_pad: bool, x: &[E], y: &mut [E]) {
    shape.check(x, y);
    E::dispatch(AverageForward { shape, count_pad, x, y });
}

/// Overwrites `dx`: each tap inside the picture gets its share of dy; windows that overlap add up.
pub(crate) fn average_backward<E: Element>(shape: &Pool2DShape, count_pad: bool, dy: &[E], dx: &mut [E]) {
    shape.check(dx, dy);
    E::dispatch(Backward { shape, dy, dx, share: Share::Average { count_pad } });
}

impl Pool2DShape {
    fn check<E>(&self, x: &[E], y: &[E]) {
        assert_eq!(x.len(), self.batch * self.x_len());
        assert_eq!(y.len(), self.batch * self.geometry.pixels() * self.channels);
    }

    /// Numbers of one picture.
    fn x_len(&self) -> usize {
        self.geometry.input[0] * self.geometry.input[1] * self.channels
    }

    /// Numbers of one row of outputs.
    fn y_row(&self) -> usize {
        self.geometry.output[1] * self.channels
    }

    /// Comparisons or additions, each worth some multiply-adds.
    fn work(&self) -> usize {
        8 * self.batch * self.geometry.pixels() * self.geometry.taps() * self.channels
    }

    /// Whether there is one window for all of the picture.
    pub(in crate::kernels) fn is_global(&self) -> bool {
        let Geometry2D { input, output, kernel, dilation, before, .. } = self.geometry;
        input == kernel && [output, dilation] == [[1, 1]; 2] && before == [0, 0]
    }

    /// The taps of output (i, j) that lie in the picture, in order: u·KW+v, and where the pixel's channels begin.
    #[inline(always)]
    fn taps(&self, i: usize, j: usize) -> impl Iterator<Item = (usize, usize)> {
        let Self { geometry, channels, .. } = *self;
        let rows = (0..geometry.kernel[0]).filter_map(move |u| geometry.meets(0, i, u).map(|row| (u, row)));
        rows.flat_map(move |(u, row)| {
            let columns =
                (0..geometry.kernel[1]).filter_map(move |v| geometry.meets(1, j, v).map(|column| (v, column)));
            columns.map(move |(v, column)| (u * geometry.kernel[1] + v, (row * geometry.input[1] + column) * channels))
        })
    }

    /// The taps that share in output (i, j); at least 1.
    fn count<E: Element>(&self, count_pad: bool, i: usize, j: usize) -> E {
        let geometry = &self.geometry;
        let taps = |axis: usize, out: usize| {
            let padded = geometry.before[axis] + geometry.input[axis] + geometry.after[axis];
            let counts = |tap: &usize| match count_pad {
                true => out * geometry.stride[axis] + tap * geometry.dilation[axis] < padded,
                false => geometry.meets(axis, out, *tap).is_some(),
            };
            (0..geometry.kernel[axis]).filter(counts).count()
        };
        E::of((taps(0, i) * taps(1, j)).max(1) as f64)
    }
}

struct MaxForward<'a, E> {
    shape: &'a Pool2DShape,
    x: &'a [E],
    y: &'a mut [E],
    argmax: Option<&'a mut [u32]>,
}

impl<E: Element> Kernel<E> for MaxForward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { shape, x, y, argmax } = self;
        let rows = shape.geometry.output[0];
        match argmax {
            Some(argmax) => parallel::zip_chunks_mut(shape.work(), y, argmax, shape.y_row(), |row, y, argmax| {
                let x = &x[row / rows * shape.x_len()..];
                simd.vectorize(MaxRow { shape, x, i: row % rows, y, argmax: Some(argmax) });
            }),
            None => parallel::chunks_mut(shape.work(), y, shape.y_row(), |row, y| {
                let x = &x[row / rows * shape.x_len()..];
                simd.vectorize(MaxRow { shape, x, i: row % rows, y, argmax: None });
            }),
        }
    }
}

/// Row i of the outputs of one picture.
struct MaxRow<'a, E> {
    shape: &'a Pool2DShape,
    x: &'a [E],
    i: usize,
    y: &'a mut [E],
    argmax: Option<&'a mut [u32]>,
}

impl<E: Element> Kernel<E> for MaxRow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(mut self, _: S) {
        let channels = self.shape.channels;
        for (j, y) in self.y.chunks_exact_mut(channels).enumerate() {
            let mut argmax = self.argmax.as_mut().map(|argmax| &mut argmax[j * channels..][..channels]);
            let mut taps = self.shape.taps(self.i, j);
            let first = taps.next();
            match first {
                Some((_, at)) => y.copy_from_slice(&self.x[at..][..channels]),
                None => y.fill(E::neg_infinity()),
            }
            if let Some(argmax) = &mut argmax {
                argmax.fill(first.map_or(0, |(tap, _)| tap as u32));
            }
            for (tap, at) in taps {
                let x = &self.x[at..][..channels];
                match &mut argmax {
                    Some(argmax) => y.iter_mut().zip(x).zip(argmax.iter_mut()).for_each(|((y, &x), argmax)| {
                        let wins = beats(x, *y);
                        *y = if wins { x } else { *y };
                        *argmax = if wins { tap as u32 } else { *argmax };
                    }),
                    None => y.iter_mut().zip(x).for_each(|(y, &x)| *y = if beats(x, *y) { x } else { *y }),
                }
            }
        }
    }
}

/// Whether `x` takes the place of `y`: it is larger, or the first NaN. No branch, so that it is done lane by lane.
#[inline(always)]
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "true for NaN, and meant so")]
pub(super) fn beats<E: Element>(x: E, y: E) -> bool {
    !(x <= y) & !y.is_nan()
}

struct AverageForward<'a, E> {
    shape: &'a Pool2DShape,
    count_pad: bool,
    x: &'a [E],
    y: &'a mut [E],
}

impl<E: Element> Kernel<E> for AverageForward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { shape, count_pad, x, y } = self;
        let rows = shape.geometry.output[0];
        parallel::chunks_mut(shape.work(), y, shape.y_row(), |row, y| {
            let x = &x[row / rows * shape.x_len()..];
            simd.vectorize(AverageRow { shape, count_pad, x, i: row % rows, y });
        });
    }
}

/// Row i of the outputs of one picture.
struct AverageRow<'a, E> {
    shape: &'a Pool2DShape,
    count_pad: bool,
    x: &'a [E],
    i: usize,
    y: &'a mut [E],
}

impl<E: Element> Kernel<E> for AverageRow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let channels = self.shape.channels;
        for (j, y) in self.y.chunks_exact_mut(channels).enumerate() {
            if self.shape.is_global() {
                SumBlock { y: &self.x[..self.shape.x_len()], won: None, sums: &mut *y }.run(simd);
                let pixels = E::of(self.shape.geometry.taps() as f64);
                y.iter_mut().for_each(|y| *y /= pixels);
                continue;
            }
            y.fill(E::zero());
            for (_, at) in self.shape.taps(self.i, j) {
                y.iter_mut().zip(&self.x[at..][..channels]).for_each(|(y, &x)| *y += x);
            }
            let count = self.shape.count::<E>(self.count_pad, self.i, j);
            y.iter_mut().for_each(|y| *y /= count);
        }
    }
}

/// Which part of dy a tap gets.
#[derive(Clone, Copy)]
enum Share<'a> {
    /// All, if it is the one that won.
    Max(&'a [u32]),
    Average {
        count_pad: bool,
    },
}

struct Backward<'a, E> {
    shape: &'a Pool2DShape,
    dy: &'a [E],
    dx: &'a mut [E],
    share: Share<'a>,
}

impl<E: Element> Kernel<E> for Backward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { shape, dy, dx, share } = self;
        let y_len = shape.geometry.output[0] * shape.y_row();
        parallel::chunks_mut(shape.work(), dx, shape.x_len(), |n, dx| {
            let share = match share {
                Share::Max(argmax) => Share::Max(&argmax[n * y_len..][..y_len]),
                average => average,
            };
            simd.vectorize(BackwardPicture { shape, dy: &dy[n * y_len..][..y_len], dx, share });
        });
    }
}

/// One picture: windows that overlap add up in the order of the outputs.
struct BackwardPicture<'a, E> {
    shape: &'a Pool2DShape,
    dy: &'a [E],
    dx: &'a mut [E],
    share: Share<'a>,
}

impl<E: Element> Kernel<E> for BackwardPicture<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let (channels, width) = (self.shape.channels, self.shape.geometry.output[1]);
        if self.shape.is_global() && matches!(self.share, Share::Average { .. }) {
            return self.spread_evenly();
        }
        self.dx.fill(E::zero());
        for (pixel, dy) in self.dy.chunks_exact(channels).enumerate() {
            let (i, j) = (pixel / width, pixel % width);
            match self.share {
                Share::Max(argmax) => {
                    let argmax = &argmax[pixel * channels..][..channels];
                    for (tap, at) in self.shape.taps(i, j) {
                        let dx = self.dx[at..][..channels].iter_mut().zip(dy).zip(argmax);
                        dx.for_each(|((dx, &dy), &won)| *dx += if won == tap as u32 { dy } else { E::zero() });
                    }
                }
                Share::Average { count_pad } => {
                    let count = self.shape.count::<E>(count_pad, i, j);
                    for (_, at) in self.shape.taps(i, j) {
                        self.dx[at..][..channels].iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy / count);
                    }
                }
            }
        }
    }
}

impl<E: Element> BackwardPicture<'_, E> {
    /// One window for all: the same share of dy in each pixel.
    #[inline(always)]
    fn spread_evenly(self) {
        let (channels, pixels) = (self.shape.channels, E::of(self.shape.geometry.taps() as f64));
        let (row, rest) = self.dx.split_at_mut(wide(channels).min(self.dx.len()));
        row.iter_mut().zip(self.dy).for_each(|(dx, &dy)| *dx = dy / pixels);
        repeat(row, channels);
        rest.chunks_mut(row.len()).for_each(|rest| rest.copy_from_slice(&row[..rest.len()]));
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive;
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::Key;
    use crate::shape::{Padding, Window2D};

    #[test]
    fn every_pass_agrees_with_the_formula() {
        let mut random = Key::new(1).named("pool2d").stream();
        for round in 0..2000 {
            let window = testing::pool_window(&mut random);
            let picture = [5 + random.below(4), 5 + random.below(4)];
            let global = Window2D { ceil_mode: window.ceil_mode, ..Window2D::new(picture) };
            let window = if round % 5 == 0 { global } else { window };
            let geometry = window.over("pool2d", picture).expect("the window fits");
            let shape = Pool2DShape { batch: round % 3, geometry, channels: testing::draw_size(6, &mut random) };
            // Few different values: ties
            let [x, dy] = naive::pool2d_sizes(&shape)
                .map(|len| (0..len).map(|_| random.below(7) as f64 - 3.0).collect::<Vec<_>>());
            check::<f32>(&shape, &x, &dy);
            check::<f64>(&shape, &x, &dy);
        }
    }

    #[test]
    fn every_pass_agrees_where_it_is_worth_threads() {
        let mut random = Key::new(2).named("pool2d").stream();
        let window = Window2D { stride: [2, 1], padding: Padding::Same, ..Window2D::new(3) };
        let geometry = window.over("pool2d", [21, 13]).expect("the window fits");
        let shape = Pool2DShape { batch: 5, geometry, channels: 35 };
        let [x, dy] = naive::pool2d_sizes(&shape).map(|len| testing::draw(len, &mut random));
        check::<f32>(&shape, &x, &dy);
        let global = Pool2DShape {
            geometry: Window2D::new([21, 13]).over("pool2d", [21, 13]).expect("the window fits"),
            ..shape
        };
        check::<f32>(&global, &x, &dy[..5 * 35]);
    }

    /// All passes, on each path and, where that is worth it, with 1, 2 and 8 threads.
    fn check<E: Number>(shape: &Pool2DShape, x: &[f64], dy: &[f64]) {
        let (y, argmax) = naive::max_forward(shape, x);
        let averages = [false, true].map(|pad| {
            let passes = |x: &[f64], dy: &[f64]| {
                [naive::average_forward(shape, pad, x), naive::average_backward(shape, pad, dy)]
            };
            (passes(x, dy), passes(&testing::magnitudes(x), &testing::magnitudes(dy)))
        });
        let [dx, dx_bound] = [dy.to_vec(), testing::magnitudes(dy)].map(|dy| naive::max_backward(shape, &argmax, &dy));
        let [x, y, dy] = [x, &y, dy].map(testing::cast::<E>);
        testing::on_each_path(x.len(), || {
            let mut found =
                [y.len(), y.len(), x.len(), y.len(), x.len(), y.len(), x.len()].map(|len| vec![E::nan(); len]);
            let mut taps = vec![9; y.len()];
            max_forward(shape, &x, &mut found[0], Some(&mut taps));
            max_forward(shape, &x, &mut found[1], None);
            assert!(found[0] == y && found[1] == y && taps == argmax, "{shape:?}");
            max_backward(shape, &argmax, &dy, &mut found[2]);
            testing::close(&found[2], &dx, &dx_bound, "max backward");
            for (pad, (expected, bounds)) in averages.iter().enumerate() {
                average_forward(shape, pad == 1, &x, &mut found[3 + 2 * pad]);
                testing::close(&found[3 + 2 * pad], &expected[0], &bounds[0], "average forward");
                average_backward(shape, pad == 1, &dy, &mut found[4 + 2 * pad]);
                testing::close(&found[4 + 2 * pad], &expected[1], &bounds[1], "average backward");
            }
            found
        });
    }

    #[test]
    fn nan_wins() {
        let geometry = Window2D::new((1, 3)).over("pool2d", [1, 3]).unwrap();
        let shape = Pool2DShape { batch: 1, geometry, channels: 1 };
        let (mut y, mut argmax) = ([0.0], [9]);
        for at in 0..3 {
            let mut x = [f32::INFINITY, 1.0, 2.0];
            x[at] = f32::NAN;
            max_forward(&shape, &x, &mut y, Some(&mut argmax));
            assert!(y[0].is_nan() && argmax[0] == at as u32, "{x:?}");
        }
    }
}

//! What follows a convolution, or a normalisation, while its rows are in the first cache: max pooling and activation.
//!
//! y[i,j,c] = f(max_{u,v} x[i·s+u−p, j·s+v−p, c]), which is max f(x), since f rises.

use super::activation::{Activation, Values};
use super::axis::Axis;
use crate::element::Element;
use crate::shape::Geometry2D;
use crate::simd::Simd;
use crate::simd::largest::{NO_TAP, Tap, Windows};
use std::ops::Range;

/// An activation, and a pooling whose windows do not overlap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tail {
    pub activation: Activation,
    /// Over the picture [H, W] that comes in; see [`Tail::takes`].
    pub pool: Option<Geometry2D>,
}

/// Taps of a window, at most.
const TAPS: usize = 64;

impl Tail {
    /// Whether a pooling can be part of a tail: no pixel is in two windows, and a window is small.
    pub fn takes(pool: &Geometry2D) -> bool {
        pool.dilation == [1, 1] && (0..2).all(|axis| pool.kernel[axis] <= pool.stride[axis]) && pool.taps() <= TAPS
    }

    /// Height and width of what comes out of a picture of this height and width.
    pub fn output(&self, picture: [usize; 2]) -> [usize; 2] {
        self.pool.map_or(picture, |pool| pool.output)
    }

    /// Whether the winners tell the slope of the activation: where a ReLU gave 0, no tap won.
    pub fn tells_slope(&self) -> bool {
        self.activation == Activation::Linear || self.activation == Activation::Relu && self.pool.is_some()
    }

    /// The rows of the picture that these rows of the output look at.
    pub fn reads(&self, outputs: Range<usize>) -> Range<usize> {
        self.pool.map_or(outputs.clone(), |pool| reads(&pool, 0, outputs))
    }

    /// How many columns of a picture of `width` columns the output looks at.
    pub fn columns(&self, width: usize) -> usize {
        self.pool.map_or(width, |pool| reads(&pool, 1, 0..pool.output[1]).end)
    }

    /// Overwrites rows `outputs` of `y` [.., OW, C], and `argmax` with the tap u·KW+v that won, if there is a pooling, or
    /// with `NO_TAP` where none did.
    /// `x` holds the rows [`reads`](Self::reads) of the picture, each of `width` pixels.
    pub fn write<S: Simd>(
        self,
        simd: S,
        x: &[S::Elem],
        [width, channels]: [usize; 2],
        outputs: Range<usize>,
        y: &mut [S::Elem],
        argmax: Option<&mut [u8]>,
    ) {
        match self.pool {
            None => {
                y.copy_from_slice(x);
                self.activate(simd, y);
            }
            Some(pool) => self.pool(simd, &pool, x, [width, channels], outputs, y, argmax),
        }
    }

    /// Overwrites rows `outputs` of `y` with the largest numbers of their windows. A window that sees nothing of the
    /// picture gives −∞ and no tap.
    #[expect(clippy::too_many_arguments, reason = "what `write` takes, and the pooling")]
    fn pool<E: Element, S: Simd<Elem = E>>(
        self,
        simd: S,
        pool: &Geometry2D,
        x: &[E],
        [width, channels]: [usize; 2],
        outputs: Range<usize>,
        y: &mut [E],
        mut argmax: Option<&mut [u8]>,
    ) {
        let rectified = self.activation == Activation::Relu;
        let first = reads(pool, 0, outputs.clone()).start;
        let mut taps = [Tap::default(); TAPS];
        for row in Axis::forward(pool, 0).runs(outputs, 0..pool.kernel[0]) {
            for column in Axis::forward(pool, 1).runs(0..pool.output[1], 0..pool.kernel[1]) {
                let met = (0..row.taps).flat_map(|u| (0..column.taps).map(move |v| (u, v)));
                let taps = &mut taps[..row.taps * column.taps];
                for (tap, (u, v)) in taps.iter_mut().zip(met) {
                    let number = (row.tap + u) * pool.kernel[1] + column.tap + v;
                    *tap = Tap { offset: (u * width + v) * channels, number: number as u8 };
                }
                for i in 0..row.count {
                    let at = ((row.to + i) * pool.output[1] + column.to) * channels;
                    let y = &mut y[at..][..column.count * channels];
                    let argmax = argmax.as_deref_mut().map(|argmax| &mut argmax[at..][..y.len()]);
                    if taps.is_empty() {
                        y.fill(E::neg_infinity());
                        argmax.into_iter().for_each(|argmax| argmax.fill(NO_TAP));
                        self.activate(simd, y);
                        continue;
                    }
                    let x = &x[((row.from + i * row.from_step - first) * width + column.from) * channels..];
                    let step = column.from_step * channels;
                    Windows { x, taps, step, channels, rectified }.write(simd, y, argmax);
                    if !rectified {
                        self.activate(simd, y);
                    }
                }
            }
        }
    }

    /// y ← f(y)
    pub fn activate<S: Simd>(self, simd: S, y: &mut [S::Elem]) {
        if self.activation != Activation::Linear {
            simd.vectorize(Values { activation: self.activation, y });
        }
    }
}

/// The pixels that the outputs look at along one axis.
fn reads(pool: &Geometry2D, axis: usize, outputs: Range<usize>) -> Range<usize> {
    let pixel =
        |i: usize, u: usize| (i * pool.stride[axis] + u).saturating_sub(pool.before[axis]).min(pool.input[axis]);
    pixel(outputs.start, 0)..pixel(outputs.end - 1, pool.kernel[axis])
}

#[cfg(test)]
mod tests {
    use super::super::naive;
    use super::super::pool2d::Pool2DShape;
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::Key;
    use crate::shape::Window2D;
    use crate::simd::{Kernel, Path, forced};

    /// Pieces of a picture, each of so many rows of the output, against pooling and activation of the whole.
    fn check<E: Number>(pool: Geometry2D, channels: usize, activation: Activation, piece: usize, x: &[f64]) {
        let (largest, taps) = naive::max_forward(&Pool2DShape { batch: 1, geometry: pool, channels }, x);
        let expected: Vec<E> = largest.iter().map(|&y| activation.value(E::of(y))).collect();
        let x = testing::cast::<E>(x);
        testing::on_each_path_and_pool(|| {
            let (mut y, mut argmax) = (vec![E::nan(); largest.len()], vec![9; largest.len()]);
            let row = pool.output[1] * channels;
            for (index, (y, argmax)) in y.chunks_mut(piece * row).zip(argmax.chunks_mut(piece * row)).enumerate() {
                let outputs = index * piece..index * piece + y.len() / row;
                E::dispatch(Write { tail: Tail { activation, pool: Some(pool) }, x: &x, channels, outputs, y, argmax });
            }
            assert!(y == expected, "{pool:?}");
            assert_eq!(argmax, testing::winners(activation, &largest, &taps), "{pool:?}");
            y
        });
    }

    struct Write<'a, E> {
        tail: Tail,
        x: &'a [E],
        channels: usize,
        outputs: Range<usize>,
        y: &'a mut [E],
        argmax: &'a mut [u8],
    }

    impl<E: Element> Kernel<E> for Write<'_, E> {
        type Output = ();

        fn run<S: Simd<Elem = E>>(self, simd: S) {
            let [width, row] = [1, self.channels].map(|depth| self.tail.pool.unwrap().input[1] * depth);
            let reads = self.tail.reads(self.outputs.clone());
            let x = &self.x[reads.start * row..reads.end * row];
            self.tail.write(simd, x, [width, self.channels], self.outputs, self.y, Some(self.argmax));
        }
    }

    #[test]
    fn pieces_agree_with_the_whole() {
        let mut random = Key::new(1).named("tail").stream();
        for round in 0..100 {
            let window = testing::tail_window(&mut random);
            let pool = window.over("tail", [3 + random.below(6), 3 + random.below(6)]).expect("the window fits");
            assert!(Tail::takes(&pool));
            let channels = 1 + random.below(40);
            // Few different values: ties
            let x: Vec<_> =
                (0..pool.input[0] * pool.input[1] * channels).map(|_| random.below(7) as f64 - 3.0).collect();
            let activation = [Activation::Linear, Activation::Relu, Activation::LeakyRelu(0.25)][round % 3];
            check::<f32>(pool, channels, activation, 1 + round % 4, &x);
            check::<f64>(pool, channels, activation, 1 + round % 4, &x);
        }
    }

    #[test]
    fn the_first_nan_wins_and_stays() {
        let window = Window2D { stride: [2, 2], ..Window2D::new(2) };
        let pool = window.over("tail", [2, 4]).expect("the window fits");
        for (channels, activation) in [(1, Activation::Linear), (21, Activation::Relu)] {
            let pixels = [1.0, f32::NAN, 7.0, 7.0, 2.0, f32::NAN, f32::NEG_INFINITY, f32::NAN];
            let x: Vec<_> = pixels.iter().flat_map(|&pixel| vec![pixel; channels]).collect();
            for path in Path::available() {
                let (mut y, mut argmax) = (vec![0.0; 2 * channels], vec![9; 2 * channels]);
                let tail = Tail { activation, pool: Some(pool) };
                let (y_now, argmax_now) = (y.as_mut_slice(), argmax.as_mut_slice());
                let write = Write { tail, x: &x, channels, outputs: 0..1, y: y_now, argmax: argmax_now };
                forced::with(path, || f32::dispatch(write));
                assert!(y.iter().all(|y| y.is_nan()), "{path:?}");
                assert_eq!(argmax, [vec![1; channels], vec![3; channels]].concat(), "{path:?}");
            }
        }
    }
}

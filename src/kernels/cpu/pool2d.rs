//! Max pooling and average pooling, channels last (thesis 3.8).

use crate::element::Element;
use crate::shape::Geometry2D;

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
pub(crate) fn max_forward<E: Element>(shape: &Pool2DShape, x: &[E], y: &mut [E], mut argmax: Option<&mut [u32]>) {
    shape.check(x, y);
    y.fill(E::neg_infinity());
    if let Some(argmax) = argmax.as_deref_mut() {
        assert_eq!(argmax.len(), y.len());
        argmax.fill(0);
    }
    shape.each_tap(|at, x_at, tap| {
        // False only where y stays: y is NaN, or x is a number that is not larger.
        if !y[at].is_nan() && !(x[x_at] <= y[at]) {
            y[at] = x[x_at];
            if let Some(argmax) = argmax.as_deref_mut() {
                argmax[at] = tap as u32;
            }
        }
    });
}

/// Overwrites `dx` with dy at the taps that won; windows that overlap add up.
pub(crate) fn max_backward<E: Element>(shape: &Pool2DShape, argmax: &[u32], dy: &[E], dx: &mut [E]) {
    shape.check(dx, dy);
    assert_eq!(argmax.len(), dy.len());
    dx.fill(E::zero());
    shape.each_tap(|y_at, at, tap| {
        if tap == argmax[y_at] as usize {
            dx[at] += dy[y_at];
        }
    });
}

/// y = mean over the window's taps inside the picture, or, with `count_pad`, over all but those that
/// hang over the padded border (`ceil_mode`). Overwrites `y`. A window that sees nothing gives 0.
pub(crate) fn average_forward<E: Element>(shape: &Pool2DShape, count_pad: bool, x: &[E], y: &mut [E]) {
    shape.check(x, y);
    y.fill(E::zero());
    shape.each_tap(|at, x_at, _| y[at] += x[x_at]);
    y.iter_mut().enumerate().for_each(|(at, y)| *y /= shape.count(count_pad, at));
}

/// Overwrites `dx`: each tap inside the picture gets its share of dy; windows that overlap add up.
pub(crate) fn average_backward<E: Element>(shape: &Pool2DShape, count_pad: bool, dy: &[E], dx: &mut [E]) {
    shape.check(dx, dy);
    dx.fill(E::zero());
    shape.each_tap(|y_at, at, _| dx[at] += dy[y_at] / shape.count(count_pad, y_at));
}

impl Pool2DShape {
    fn check<E>(&self, x: &[E], y: &[E]) {
        assert_eq!(x.len(), self.batch * self.geometry.input[0] * self.geometry.input[1] * self.channels);
        assert_eq!(y.len(), self.batch * self.geometry.pixels() * self.channels);
    }

    /// `meet(y, x, tap)` for every tap inside the picture; the taps of one y come in order.
    fn each_tap(&self, mut meet: impl FnMut(usize, usize, usize)) {
        let Self { batch, geometry, channels } = *self;
        let ([h, w], [oh, ow], [kh, kw]) = (geometry.input, geometry.output, geometry.kernel);
        for (n, i, j) in (0..batch).flat_map(|n| (0..oh).flat_map(move |i| (0..ow).map(move |j| (n, i, j)))) {
            for (u, v) in (0..kh).flat_map(|u| (0..kw).map(move |v| (u, v))) {
                let (Some(row), Some(column)) = (geometry.meets(0, i, u), geometry.meets(1, j, v)) else { continue };
                let (y, x) = (((n * oh + i) * ow + j) * channels, ((n * h + row) * w + column) * channels);
                (0..channels).for_each(|c| meet(y + c, x + c, u * kw + v));
            }
        }
    }

    /// The taps that share in y number `at`; at least 1.
    fn count<E: Element>(&self, count_pad: bool, at: usize) -> E {
        let geometry = &self.geometry;
        let pixel = at / self.channels % geometry.pixels();
        let taps = |axis: usize, out: usize| {
            let padded = geometry.before[axis] + geometry.input[axis] + geometry.after[axis];
            let counts = |tap: &usize| match count_pad {
                true => out * geometry.stride[axis] + tap * geometry.dilation[axis] < padded,
                false => geometry.meets(axis, out, *tap).is_some(),
            };
            (0..geometry.kernel[axis]).filter(counts).count()
        };
        let count = taps(0, pixel / geometry.output[1]) * taps(1, pixel % geometry.output[1]);
        E::of(count.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive;
    use super::*;
    use crate::random::Key;
    use crate::shape::{Padding, Window2D};

    #[test]
    fn every_pass_agrees_with_the_formula() {
        let mut random = Key::new(1).named("pool2d").stream();
        for round in 0..200 {
            let window = Window2D {
                kernel: [1 + random.below(3), 1 + random.below(3)],
                stride: [1 + random.below(3), 1 + random.below(3)],
                dilation: [1 + random.below(2), 1 + random.below(2)],
                padding: [Padding::Valid, Padding::Same, Padding::all(1)][random.below(3)],
                ceil_mode: random.chance(0.5),
            };
            let geometry = window.over("pool2d", [5 + random.below(4), 5 + random.below(4)]).unwrap();
            let shape = Pool2DShape { batch: round % 3, geometry, channels: 1 + random.below(5) };
            // Few different values: ties
            let [x, dy] = naive::pool2d_sizes(&shape)
                .map(|len| (0..len).map(|_| random.below(7) as f64 - 3.0).collect::<Vec<_>>());
            let (mut y, mut argmax, mut dx) = (vec![f64::NAN; dy.len()], vec![9; dy.len()], vec![f64::NAN; x.len()]);
            max_forward(&shape, &x, &mut y, Some(&mut argmax));
            assert_eq!((y.clone(), argmax.clone()), naive::max_forward(&shape, &x));
            max_backward(&shape, &argmax, &dy, &mut dx);
            assert_eq!(dx, naive::max_backward(&shape, &argmax, &dy));
            for count_pad in [false, true] {
                average_forward(&shape, count_pad, &x, &mut y);
                assert_eq!(y, naive::average_forward(&shape, count_pad, &x));
                average_backward(&shape, count_pad, &dy, &mut dx);
                assert_eq!(dx, naive::average_backward(&shape, count_pad, &dy));
            }
        }
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
